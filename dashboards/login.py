"""Who reads: nobody asks on this machine alone; beyond it the pages open only behind an OIDC login.

Streamlit does the login itself. What is here decides when there must be one, hands it what it needs, and takes from it
one thing: an e-mail address the provider has verified. docs/pages-access.md says how to set it up.
"""

from __future__ import annotations

import ipaddress
import json
import os
import time
from collections.abc import Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

from dashboards.access import PAGE_READERS, NotAReader, Viewer, everyone, viewer_of
from dashboards.parts import escaped
from orchestration.errors import UsageError
from orchestration.settings import Settings

# Streamlit's cookie lasts thirty days and asks nobody again: a working day is enough.
LOGIN_HOURS = 12
SHORTEST_SECRET = 32
CALLBACK = "/oauth2callback"
DISCOVERY = "/.well-known/openid-configuration"
# What a proxy adds; somebody else sits behind it. None of these is ever believed.
FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip")


def is_loopback(host: str) -> bool:
    """Whether an address to serve on, or the host of a URL, is reached from this machine alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def is_configured(settings: Settings) -> bool:
    """Whether anything of a login is set; then the pages never open without one, on this machine neither."""
    return any(_said(settings).values())


def options(settings: Settings, host: str) -> dict[str, str]:
    """What Streamlit must be started with to serve on an address, with the login where there must be one.

    Raises:
        UsageError: the address is reached from elsewhere and there is no login, or it is not complete.
    """
    secrets = settings.web / "secrets.toml"
    secrets.unlink(missing_ok=True)
    # Headers are never believed, whatever a file of Streamlit's own in the working directory should say.
    chosen = {
        "server.trustedUserHeaders": "{}",
        "server.enableAgentApi": "false",
        "server.enableXsrfProtection": "true",
        "server.enableCORS": "true",
        "secrets.files": str(secrets),
    }
    if not is_configured(settings):
        if not is_loopback(host):
            raise UsageError(
                f"The pages are not opened on {host or 'all addresses'} without a login: set "
                f"{', '.join(_said(settings))} as docs/pages-access.md says, or serve on 127.0.0.1."
            )
        return chosen
    _check(settings)
    if not all(find_spec(name) for name in ("authlib", "httpx")):
        raise UsageError("The login of the pages needs the extra web: make install EXTRAS=web")
    _write(secrets, settings)
    return chosen


def sign_in(settings: Settings) -> str | None:
    """The verified e-mail address of whoever opened the page; None on this machine without a login.

    Whoever may not read gets one sentence, and the script ends.
    """
    import streamlit as st

    if not is_configured(settings):
        served_on = st.get_option("server.address") or ""
        if problem := _not_from_here(served_on, st.context.headers):
            st.error(problem)
            st.stop()
        return None
    _check(settings)
    user: dict[str, Any] = dict(st.user.to_dict())
    if not user.get("is_logged_in"):
        st.write("Sightline opens to people who are logged in.")
        st.button("Log in", on_click=st.login, type="primary")
        st.stop()
    if not _is_recent(user, time.time()):
        st.write(f"You logged in more than {LOGIN_HOURS} hours ago.")
        st.button("Log in again", on_click=st.login, type="primary")
        st.stop()
    try:
        return verified_address(user)
    except NotAReader as error:
        refuse(error, "somebody")


def reader(database: Path, address: str | None) -> Viewer:
    """Who that is in a release; everybody, where nobody had to log in.

    Raises:
        NotAReader: nothing is open to that address.
        UsageError: the policy cannot be read, or the release does not say.
    """
    if address is None:
        return everyone()
    return _viewer(database, address, PAGE_READERS.stat().st_mtime_ns)


def refuse(error: UsageError, address: str | None) -> NoReturn:
    """Says why nothing is shown, and ends the script; whoever is logged in may log in as somebody else."""
    import streamlit as st

    # What somebody's login says stands in the sentence: text, and nothing that Markdown makes of it.
    st.info(escaped(error))
    if address is not None:
        log_out()
    st.stop()


def log_out() -> None:
    """A button for whoever is logged in."""
    import streamlit as st

    st.button("Log out", on_click=st.logout, key="log_out")


def verified_address(user: Mapping[str, Any]) -> str:
    """The e-mail address in the claims of a login, when the provider says that it is this person's.

    Raises:
        NotAReader: there is none, or nobody has verified it.
    """
    address = str(user.get("email") or "").strip().lower()
    if "@" not in address:
        raise NotAReader("Your login tells no e-mail address: ask whoever runs it to send the claim email.")
    # Microsoft Entra does not send the first claim; the second says that the address is of a verified domain.
    if not any(_is_true(user.get(claim)) for claim in ("email_verified", "xms_edov")):
        raise NotAReader(
            f"Your login does not say that {address} is verified to be yours, so that no page is open to you: "
            "verify it with whoever runs the login."
        )
    return address


@lru_cache(maxsize=1024)
def _viewer(database: Path, address: str, policy_changed: int) -> Viewer:
    """A release never changes and the policy is told by its time of change: both are read once."""
    return viewer_of(database, address)


def _not_from_here(served_on: str, headers: Mapping[str, str]) -> str | None:
    """Why a page is not opened without a login; None when it is asked for by somebody at this machine.

    Raised by the name asked for as well: behind a proxy, or under a name that somebody made to point here, this
    machine's own address is not a sign that its own people ask.
    """
    asked = urlsplit(f"//{headers.get('Host') or ''}").hostname or ""
    forwarded = any(headers.get(name) for name in FORWARDED)
    if is_loopback(served_on) and is_loopback(asked) and not forwarded:
        return None
    return (
        "Without a login these pages are for this machine only: open them under 127.0.0.1, or set up the login as "
        "docs/pages-access.md says and start them with sightline web."
    )


def _is_recent(user: Mapping[str, Any], now: float) -> bool:
    try:
        told = float(user["iat"])
    except (KeyError, TypeError, ValueError):
        return False
    return now - LOGIN_HOURS * 3600 <= told <= now + 300


def _is_true(value: object) -> bool:
    return value is True or str(value).lower() in ("true", "1")


def _said(settings: Settings) -> dict[str, str | None]:
    """What is set of a login, by the name of its variable."""
    secret, cookie = settings.web_oidc_client_secret, settings.web_oidc_cookie_secret
    return {
        "SIGHTLINE_WEB_OIDC_ISSUER": settings.web_oidc_issuer,
        "SIGHTLINE_WEB_OIDC_CLIENT_ID": settings.web_oidc_client_id,
        "SIGHTLINE_WEB_OIDC_CLIENT_SECRET": secret.get_secret_value() if secret else None,
        "SIGHTLINE_WEB_OIDC_COOKIE_SECRET": cookie.get_secret_value() if cookie else None,
        "SIGHTLINE_WEB_URL": settings.web_url,
    }


def _check(settings: Settings) -> None:
    said = _said(settings)
    missing = [name for name, value in said.items() if not value]
    if missing:
        raise UsageError(f"The login of the pages is not complete: set {', '.join(missing)} too.")
    for name in ("SIGHTLINE_WEB_OIDC_ISSUER", "SIGHTLINE_WEB_URL"):
        url = urlsplit(said[name] or "")
        plain = url.scheme == "http" and is_loopback(url.hostname or "")
        if not url.hostname or not (url.scheme == "https" or plain) or url.query or url.fragment:
            raise UsageError(f"{name} must be an address that begins with https://; http:// only on this machine.")
    if urlsplit(said["SIGHTLINE_WEB_URL"] or "").path.strip("/"):
        raise UsageError("SIGHTLINE_WEB_URL must be the address of a host, without a path.")
    if len(said["SIGHTLINE_WEB_OIDC_COOKIE_SECRET"] or "") < SHORTEST_SECRET:
        raise UsageError(
            f"SIGHTLINE_WEB_OIDC_COOKIE_SECRET has fewer than {SHORTEST_SECRET} characters: "
            'make one with python -c "import secrets; print(secrets.token_hex(32))".'
        )


def _write(path: Path, settings: Settings) -> None:
    """Streamlit's own file, for its process alone to read."""
    said = {name: value or "" for name, value in _said(settings).items()}
    auth = {
        "redirect_uri": said["SIGHTLINE_WEB_URL"].rstrip("/") + CALLBACK,
        "cookie_secret": said["SIGHTLINE_WEB_OIDC_COOKIE_SECRET"],
        "client_id": said["SIGHTLINE_WEB_OIDC_CLIENT_ID"],
        "client_secret": said["SIGHTLINE_WEB_OIDC_CLIENT_SECRET"],
        "server_metadata_url": said["SIGHTLINE_WEB_OIDC_ISSUER"].rstrip("/") + DISCOVERY,
    }
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        # A string of JSON is one of TOML too.
        file.write("[auth]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in auth.items()))
