"""Receivers of alerts on this machine: a webhook and a mail server, which keep what came and fail as a test asks."""

from __future__ import annotations

import base64
import json
import socketserver
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

LONGEST = 20.0  # No connection of a test lasts longer.


@dataclass
class Webhook:
    """Attributes:
    answers: the statuses of the next requests; 200 when none is left, and 0 hangs up after taking the message.
    drips: it answers a byte a second.
    received: the Idempotency-Key and the content of each request that was taken.
    """

    url: str = ""
    answers: list[int] = field(default_factory=list)
    drips: bool = False
    received: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    seen: int = 0

    def to(self, rep_id: str | None) -> list[dict[str, Any]]:
        return [content for _, content in self.received if content["to"]["rep_id"] == rep_id]


@dataclass
class MailServer:
    """Attributes:
    refuses: the answer to RCPT by address; 250 otherwise.
    login: the user and the password it asks for; none is needed when empty.
    tls: certificate and key for STARTTLS; without it, it is not offered.
    drops_after: it hangs up when it has taken a mail, before it says so.
    received: what came, with `private` whether the connection was encrypted then.
    """

    port: int = 0
    refuses: dict[str, int] = field(default_factory=dict)
    login: tuple[str, str] | None = None
    tls: tuple[Path, Path] | None = None
    drops_after: bool = False
    received: list[EmailMessage] = field(default_factory=list)
    private: list[bool] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)
    seen: int = 0

    def to(self, email: str) -> list[EmailMessage]:
        return [mail for mail in self.received if mail["To"] == email]


@contextmanager
def webhook(port: int = 0) -> Iterator[Webhook]:
    state = Webhook()

    class Handler(BaseHTTPRequestHandler):
        timeout = LONGEST

        def do_POST(self) -> None:
            state.seen += 1
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if state.drips:
                for byte in b"HTTP/1.0 200 OK and much more that never ends":
                    self.wfile.write(bytes([byte]))
                    time.sleep(1)
            status = state.answers.pop(0) if state.answers else 200
            if status in (0, 200):
                state.received.append((self.headers["Idempotency-Key"], json.loads(body)))
            if status == 0:
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("Content-Length", "0")
            if status in (301, 302):
                self.send_header("Location", state.url + "/elsewhere")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            return None

    with _served(ThreadingHTTPServer(("127.0.0.1", port), Handler)) as server:
        state.url = f"http://127.0.0.1:{server.server_address[1]}/hook/token-canary-77"
        yield state


@contextmanager
def mail_server(port: int = 0, **options: Any) -> Iterator[MailServer]:
    state = MailServer(**options)

    class Handler(socketserver.StreamRequestHandler):
        timeout = LONGEST

        def handle(self) -> None:
            try:
                self._talk()
            except OSError:
                return

        def _say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

        def _talk(self) -> None:
            state.seen += 1
            is_private, is_known = False, state.login is None
            self._say("220 receiver")
            while line := self.rfile.readline(10_000):
                words = line.decode().strip()
                verb = words[:4].upper()
                if verb in ("EHLO", "HELO"):
                    self._say("250-receiver")
                    if state.tls and not is_private:
                        self._say("250-STARTTLS")
                    if state.login:
                        self._say("250-AUTH PLAIN")
                    self._say("250 8BITMIME")
                elif words.upper() == "STARTTLS" and state.tls:
                    self._say("220 go on")
                    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                    context.load_cert_chain(*state.tls)
                    self.request = context.wrap_socket(self.connection, server_side=True)
                    self.setup()
                    is_private = True
                elif verb == "AUTH":
                    _, user, password = base64.b64decode(words.split()[2]).decode().split("\0")
                    state.logins.append((user, password))
                    is_known = (user, password) == state.login
                    self._say("235 welcome" if is_known else f"535 {user} {password} is wrong")
                elif verb == "MAIL":
                    self._say("250 ok" if is_known else "530 log in first")
                elif verb == "RCPT":
                    address = words.partition("<")[2].partition(">")[0]
                    self._say(f"{state.refuses.get(address, 250)} {address}")
                elif verb == "DATA":
                    self._say("354 go on")
                    lines: list[bytes] = []
                    while (part := self.rfile.readline(100_000)) not in (b".\r\n", b""):
                        lines.append(part[1:] if part.startswith(b"..") else part)
                    mail = message_from_bytes(b"".join(lines), policy=policy.default)
                    assert isinstance(mail, EmailMessage)
                    state.received.append(mail)
                    state.private.append(is_private)
                    if state.drops_after:
                        return
                    self._say("250 taken")
                elif verb == "QUIT":
                    self._say("221 bye")
                    return
                else:
                    self._say("250 ok")

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    with _served(Server(("127.0.0.1", port), Handler)) as server:
        state.port = server.server_address[1]
        yield state


@contextmanager
def _served(server: Any) -> Iterator[Any]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=LONGEST)
