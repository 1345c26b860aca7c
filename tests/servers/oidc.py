"""An OpenID provider on this machine: discovery, authorisation code with PKCE, token, keys, logout.

Who logs in is `claims`: there is no form, the browser comes back at once as that person.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT = "sightline-pages"
SECRET = "the-secret-of-the-pages"


@dataclass
class Provider:
    """What the provider knows, and what it was asked.

    Attributes:
        claims: what it says of whoever logs in next.
        issued: ago, in seconds, that the next login claims to have been.
    """

    issuer: str = ""
    claims: dict[str, Any] = field(default_factory=dict)
    issued: int = 0
    requests: list[str] = field(default_factory=list)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "k1", "use": "sig"}))

    def answer(self, path: str, query: dict[str, str], authorization: str) -> tuple[int, dict[str, Any] | str]:
        """Status, and content or the address to go on to."""
        self.requests.append(path)
        if path == "/.well-known/openid-configuration":
            return 200, {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/jwks",
                "end_session_endpoint": f"{self.issuer}/logout",
                "code_challenge_methods_supported": ["S256"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
            }
        if path == "/jwks":
            return 200, {"keys": [self.key.as_dict(private=False)]}
        if path == "/authorize":
            if query.get("client_id") != CLIENT or query.get("response_type") != "code" or not query.get("nonce"):
                return 400, {"error": "invalid_request"}
            code = secrets.token_hex(8)
            self.codes[code] = query
            return 302, f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"
        if path == "/logout":
            return 302, query["post_logout_redirect_uri"]
        if path == "/token":
            return self._token(query, authorization)
        return 404, {"error": "not_found"}

    def _token(self, query: dict[str, str], authorization: str) -> tuple[int, dict[str, Any] | str]:
        asked = self.codes.pop(query.get("code", ""), None)
        told = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        if asked is None or authorization != f"Basic {told}" or query["redirect_uri"] != asked["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        challenge = base64.urlsafe_b64encode(hashlib.sha256(query.get("code_verifier", "").encode()).digest())
        if challenge.rstrip(b"=").decode() != asked.get("code_challenge"):
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        issued = now - self.issued
        claims = {
            "iss": self.issuer, "aud": CLIENT, "sub": "1", "nonce": asked["nonce"], "iat": issued, "exp": now + 3600,
            **self.claims,
        }  # fmt: skip
        token = jwt.encode({"alg": "RS256", "kid": "k1"}, claims, self.key)
        return 200, {"access_token": "a", "token_type": "Bearer", "expires_in": 3600, "id_token": token}


@contextmanager
def provider() -> Iterator[Provider]:
    """A provider on a free port of loopback, until the block ends."""
    known = Provider()

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            self._say(parse_qs(urlsplit(self.path).query))

        def do_POST(self) -> None:
            self._say(parse_qs(self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()))

        def _say(self, query: dict[str, list[str]]) -> None:
            status, content = known.answer(
                urlsplit(self.path).path,
                {name: values[0] for name, values in query.items()},
                self.headers.get("Authorization") or "",
            )
            self.send_response(status)
            if isinstance(content, str):
                self.send_header("Location", content)
            body = b"" if isinstance(content, str) else json.dumps(content).encode()
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    known.issuer = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield known
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
