"""The outbox: a message is a file before it is sent, and is moved when its receiver has it.

`alerts/waiting/<id>.<channel>.json` becomes `alerts/sent/<id>.<channel>.json` by one rename. What is waiting or sent is
never put there again, so telling the same thing twice sends it once.
"""

from __future__ import annotations

import fcntl
import json
import os
import queue
import re
import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime
from http.client import HTTPException
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from orchestration import __version__
from orchestration.publish.candidate import utc_now
from orchestration.settings import Settings

# A receiver that is down costs a run so many seconds a channel, and one that is slow so many in all.
ANSWER_SECONDS = 5.0
MESSAGE_SECONDS = 8.0
SENDING_SECONDS = 30.0
KEEP_SENT = timedelta(days=90)
ADDRESS = re.compile(r"[^@\s,;:<>()\[\]\\\"]+@[^@\s,;:<>()\[\]\\\"]+")


@dataclass(frozen=True)
class Message:
    """One thing that is told to one receiver.

    Attributes:
        id: a hash of what is told; the receiver sees it and can drop what it has already.
        kind: `refused`, `failed`, `red_flags` or `without_address`.
        to: `role` (data_owner, manager), and of a manager `rep_id` and `name`; `email` where it is known.
        details: the same as rows, for a receiver that does more than show the text.
    """

    id: str
    kind: str
    to: dict[str, str | None]
    subject: str
    text: str
    created_at: str
    release: str | None = None
    as_of_date: str | None = None
    details: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Waiting:
    """A message that its receiver does not have yet, and why not."""

    path: Path
    channel: str
    message: Message
    attempts: int
    reason: str


class ReceiverDownError(Exception):
    """The receiver takes nothing now: the others wait too."""


class MessageRefusedError(Exception):
    """The receiver does not take this message; it may take others."""


def channels(settings: Settings) -> list[str]:
    return [name for name, is_set in (("webhook", settings.alert_webhook), ("mail", settings.alert_smtp)) if is_set]


def has_address(email: str | None) -> bool:
    return bool(email and ADDRESS.fullmatch(email))


def put(settings: Settings, message: Message) -> None:
    """Writes a message for each channel that can carry it, unless it is there or was sent already."""
    for channel in channels(settings):
        if channel == "mail" and not has_address(message.to["email"]):
            continue
        name = f"{message.id}.{channel}.json"
        # In this order: a message that is sent meanwhile is found in one place or the other.
        if not (settings.alerts / "waiting" / name).exists() and not (settings.alerts / "sent" / name).exists():
            write_whole(settings.alerts / "waiting" / name, {"attempts": 0, "reason": "", "message": asdict(message)})


def waiting(settings: Settings) -> list[Waiting]:
    """What has not been delivered, oldest first."""
    found = []
    for path in (settings.alerts / "waiting").glob("*.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        channel = path.name.split(".")[1]
        found.append(Waiting(path, channel, Message(**content["message"]), content["attempts"], content["reason"]))
    return sorted(found, key=lambda item: (item.message.created_at, item.path.name))


def deliver(settings: Settings) -> int:
    """Sends what waits, as far as receivers take it and time allows; returns how many messages went out.

    Whoever calls this holds the outbox (`alone`).
    """
    senders: dict[str, Callable[[Settings, Message], None]] = {"webhook": _post, "mail": _mail}
    until = time.monotonic() + SENDING_SECONDS
    down: dict[str, str] = {}
    count = 0
    (settings.alerts / "sent").mkdir(parents=True, exist_ok=True)
    for item in waiting(settings):
        if item.channel not in channels(settings) or time.monotonic() > until:
            continue
        if item.channel in down:
            _note(item, item.attempts, down[item.channel])
            continue
        try:
            _within(MESSAGE_SECONDS, senders[item.channel], settings, item.message)
        except (ReceiverDownError, MessageRefusedError) as error:
            if isinstance(error, ReceiverDownError):
                down[item.channel] = str(error)
            _note(item, item.attempts + 1, str(error))
        else:
            # A crash before this line is the one way a message goes out twice: under the same id.
            os.replace(item.path, settings.alerts / "sent" / item.path.name)
            count += 1
    _forget_old(settings)
    return count


@contextmanager
def alone(settings: Settings, seconds: float = MESSAGE_SECONDS) -> Iterator[bool]:
    """Holds the outbox for this process; False when another one holds it for longer than that."""
    settings.alerts.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + seconds
    with (settings.alerts / "lock").open("a") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    yield False
                    return
                time.sleep(0.05)
        yield True


def write_whole(path: Path, content: dict[str, Any]) -> None:
    """Writes a file that is there as a whole or not at all, also after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.{os.getpid()}")
    with staged.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=1, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    os.replace(staged, path)


def _note(item: Waiting, attempts: int, reason: str) -> None:
    if (attempts, reason) != (item.attempts, item.reason):
        write_whole(item.path, {"attempts": attempts, "reason": reason, "message": asdict(item.message)})


def _within(seconds: float, send: Callable[[Settings, Message], None], settings: Settings, message: Message) -> None:
    """Waits so long at most: neither a name server nor an answer that comes byte by byte holds a run up."""
    ended: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()

    def work() -> None:
        try:
            send(settings, message)
        except Exception as error:  # Handed on to the thread that waits.
            ended.put(error)
        else:
            ended.put(None)

    threading.Thread(target=work, daemon=True).start()
    try:
        error = ended.get(timeout=seconds)
    except queue.Empty:
        raise ReceiverDownError(f"no answer within {seconds:.0f} seconds") from None
    if isinstance(error, (ReceiverDownError, MessageRefusedError)):
        raise error
    if error is not None:
        # What a library says may hold an address or a password: only the kind of error is told.
        raise MessageRefusedError(f"it cannot be sent ({type(error).__name__})")


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, *arguments: Any) -> None:
        return None


def _post(settings: Settings, message: Message) -> None:
    assert settings.alert_webhook is not None
    request = Request(
        settings.alert_webhook.get_secret_value(),
        data=json.dumps(asdict(message), ensure_ascii=False).encode(),
        headers={
            "Content-Type": "application/json; charset=utf-8",
            "Idempotency-Key": message.id,
            "User-Agent": f"sightline/{__version__}",
        },
        method="POST",
    )
    try:
        build_opener(_NoRedirects).open(request, timeout=ANSWER_SECONDS).close()
    except HTTPError as error:
        error.close()
        # Too large, or not understood, is about the message; everything else about the receiver.
        if error.code in (400, 413, 415, 422):
            raise MessageRefusedError(f"the webhook answered {error.code}") from None
        raise ReceiverDownError(f"the webhook answered {error.code}") from None
    except (OSError, HTTPException) as error:
        raise ReceiverDownError(f"the webhook cannot be reached ({_cause(error)})") from None


def _mail(settings: Settings, message: Message) -> None:
    assert settings.alert_smtp is not None
    parts = urlsplit(settings.alert_smtp.get_secret_value())
    host = parts.hostname or ""
    try:
        server = _server(parts.scheme, host, parts.port)
        try:
            server.ehlo_or_helo_if_needed()
            is_private = parts.scheme == "smtps"
            if not is_private and server.has_extn("starttls"):
                server.starttls(context=ssl.create_default_context())
                is_private = True
            if parts.username:
                if not is_private and not _is_loopback(host):
                    raise ReceiverDownError("the mail server offers no encryption, so the password was not sent")
                server.login(unquote(parts.username), unquote(parts.password or ""))
            server.send_message(as_mail(settings, message))
        finally:
            # It has the mail or not: how it says good-bye changes nothing.
            with suppress(OSError, smtplib.SMTPException):
                server.quit()
    except smtplib.SMTPRecipientsRefused as error:
        code = next(iter(error.recipients.values()))[0]
        raise _refusal(code, "does not take mail for this address") from None
    except smtplib.SMTPNotSupportedError:
        raise MessageRefusedError("the mail server cannot carry this address, or offers no login") from None
    except smtplib.SMTPDataError as error:
        raise _refusal(error.smtp_code, "does not take this mail") from None
    except smtplib.SMTPSenderRefused as error:
        raise ReceiverDownError(f"the mail server takes no mail from this sender ({error.smtp_code})") from None
    except smtplib.SMTPAuthenticationError as error:
        raise ReceiverDownError(f"the mail server refused user and password ({error.smtp_code})") from None
    except smtplib.SMTPResponseException as error:
        raise ReceiverDownError(f"the mail server answered {error.smtp_code}") from None
    except (OSError, smtplib.SMTPException) as error:
        raise ReceiverDownError(f"the mail server cannot be reached ({_cause(error)})") from None


def _server(scheme: str, host: str, port: int | None) -> smtplib.SMTP:
    if scheme == "smtps":
        return smtplib.SMTP_SSL(host, port or 465, timeout=ANSWER_SECONDS, context=ssl.create_default_context())
    return smtplib.SMTP(host, port or 587, timeout=ANSWER_SECONDS)


def as_mail(settings: Settings, message: Message) -> EmailMessage:
    """The message as a mail whose bytes are the same at each attempt."""
    sender = settings.alert_from or settings.alert_data_owner or ""
    mail = EmailMessage()
    mail["From"] = sender
    mail["To"] = message.to["email"]
    mail["Subject"] = " ".join(message.subject.split())
    mail["Date"] = format_datetime(datetime.fromisoformat(message.created_at))
    mail["Message-ID"] = f"<{message.id}@{sender.strip('>').rpartition('@')[2] or 'sightline'}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(message.text)
    return mail


def _refusal(code: int, words: str) -> ReceiverDownError | MessageRefusedError:
    text = f"the mail server {words} ({code})"
    return MessageRefusedError(text) if code >= 500 else ReceiverDownError(text)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _cause(error: Exception) -> str:
    """The reason in the words of the operating system, without the address."""
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, TimeoutError):
        return "no answer in time"
    if isinstance(reason, ssl.SSLCertVerificationError):
        return "its certificate is not trusted"
    if isinstance(reason, socket.gaierror):
        return "its name is not known"
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    return type(reason).__name__


def _forget_old(settings: Settings) -> None:
    oldest = (utc_now() - KEEP_SENT).timestamp()
    for path in (settings.alerts / "sent").glob("*.json"):
        if path.stat().st_ctime < oldest:
            path.unlink()
