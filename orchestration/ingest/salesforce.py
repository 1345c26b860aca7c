"""Salesforce over its APIs, through simple-salesforce.

Access is the OAuth 2.0 client credentials flow against the organisation's own address. Describe says which fields the
user may see. Rows come from Bulk API 2.0 query jobs, deleted and archived rows too (`queryAll`), page by page as CSV
straight into Arrow; what Bulk API does not have (it says so when asked) comes from REST with the same query.

Where connectors lose rows, and what is done about it here:

- A row can be written while a job reads, with a stamp earlier than one the job has already read elsewhere: the cursor
  is never later than the moment the job was made.
- A transaction can take minutes from its stamp until it is seen: each sync looks back `sync_overlap_minutes`.
- A formula changes its value without its row saying so: a table of which a formula is read is read whole each time.
- A page can be cut, or come twice: its rows are counted against what Salesforce says it sent, its last row must end,
  and it must not begin with a row an earlier page began with; otherwise it is asked for again. Then all rows of the job
  are counted.
- A field can come, go or change its type: the offer is made anew by describe at each sync; see `syncing`.
- What is deleted is told as long as the recycle bin keeps it: a table last read before that is read whole.

What cannot be seen from here: a row that was purged from the recycle bin at once, by who may do so, in a table that is
not read whole.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from time import sleep
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import requests
import urllib3
from simple_salesforce import Salesforce
from simple_salesforce.exceptions import (
    SalesforceAuthenticationFailed,
    SalesforceError,
    SalesforceExpiredSession,
    SalesforceMalformedRequest,
    SalesforceRefusedRequest,
    SalesforceResourceNotFound,
)
from simple_salesforce.login import token_login
from simple_salesforce.util import call_salesforce

from orchestration.diagnosis import Diagnosis
from orchestration.errors import SightlineError, SourceError, UsageError
from orchestration.ingest.contract import Table
from orchestration.ingest.syncing import Memory, Offer, chosen_fields, scrubbed
from orchestration.settings import Settings

T = TypeVar("T")

API_VERSION = "62.0"
# A page is held in memory until it is known to be whole.
PAGE_ROWS = 50_000
# Of the organisation's API calls of a day, this share is left to others.
RESERVED_SHARE = 0.05
ATTEMPTS = 6
# Seconds.
TIME_OUT = (10, 300)
LONGEST_WAIT = 300
LONGEST_POLL = 30
JOB_PATIENCE = 2 * 3600
# Salesforce keeps results for seven days; a job from yesterday is not what one wants to read today.
JOB_KEPT = timedelta(hours=12)
# The recycle bin keeps what is deleted for 15 days.
DELETIONS_KEPT = timedelta(days=14)
CLOCK_TOLERANCE = timedelta(minutes=5)

PASSING_STATUS = {408, 429, 500, 502, 503, 504}
PASSING_CODES = {"SERVER_UNAVAILABLE", "UNABLE_TO_LOCK_ROW", "REQUEST_LIMIT_EXCEEDED"}
NOT_IN_BULK = "not supported by the Bulk API"
# One field that stands for several: Bulk API 2.0 gives the parts only.
IN_PARTS = {"address": "address", "location": "place"}


class _Cut(Exception):
    """An answer that is not whole."""


class _NotInBulk(Exception):
    """Bulk API 2.0 does not have this object."""


def connect_salesforce(settings: Settings) -> SalesforceConnector:
    """Lets itself in and looks at how many API calls are left.

    Raises:
        UsageError: the address is not one that lets programs in.
        SourceError: Salesforce does not let us in, or too few API calls are left.
    """
    connector = SalesforceConnector.of(settings)
    connector.look_at_limits()
    connector.spare()
    return connector


def examine_salesforce(settings: Settings) -> Iterator[Diagnosis]:
    """For the doctor: credentials, reachability, API calls left and the two clocks. What may be read of each table is
    told by `syncing.lacks`."""
    subject = "Salesforce"
    try:
        connector = SalesforceConnector.of(settings)
        connector.look_at_limits()
    except SightlineError as error:
        yield Diagnosis(subject, "problem", scrubbed(settings, str(error)))
        return
    try:
        yield Diagnosis(subject, "ok", f"lets us in at {settings.salesforce_url}")
        try:
            connector.spare()
            yield Diagnosis(f"{subject} API calls", "ok", connector.calls_left() or "not told to this user")
        except SourceError as error:
            yield Diagnosis(f"{subject} API calls", "problem", str(error))
        ahead = connector.clock_ahead()
        if ahead is not None and abs(ahead) > CLOCK_TOLERANCE:
            minutes = round(abs(ahead).total_seconds() / 60)
            there = "ahead of" if ahead > timedelta() else "behind"
            yield Diagnosis(
                f"{subject} clock",
                "warning",
                f"the clock of Salesforce is {minutes} minutes {there} the one here; set the clock of this machine",
            )
        elif ahead is not None:
            yield Diagnosis(f"{subject} clock", "ok", "the same as here")
    finally:
        connector.close()


class _Http(requests.Session):
    """A session in which every request ends in time, and the headers of the last answer can be read: the library hands
    on bodies only."""

    heard: Mapping[str, str] = {}

    def request(self, method: str, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        kwargs.setdefault("timeout", TIME_OUT)
        self.heard = {}
        response = super().request(method, url, *args, **kwargs)
        self.heard = response.headers
        return response


@dataclass
class SalesforceConnector:
    """One organisation, see `syncing.Connector`."""

    url: str
    client_id: str
    client_secret: str = field(repr=False)
    overlap: timedelta = timedelta(minutes=10)
    http: _Http = field(default_factory=_Http, repr=False)
    client: Salesforce | None = field(default=None, repr=False)
    tokens: list[str] = field(default_factory=list, repr=False)
    calls: tuple[int, int] | None = None
    types: dict[str, dict[str, str]] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings) -> SalesforceConnector:
        url = (settings.salesforce_url or "").strip().rstrip("/")
        host = urlsplit(url).hostname or ""
        if not url.startswith("https://") or host in ("login.salesforce.com", "test.salesforce.com"):
            raise UsageError(
                "SIGHTLINE_SALESFORCE_URL must be the organisation's own address, https://….my.salesforce.com: "
                "see My Domain in Setup."
            )
        if host.endswith(".lightning.force.com"):
            own = host.removesuffix(".lightning.force.com") + ".my.salesforce.com"
            raise UsageError(f"SIGHTLINE_SALESFORCE_URL is the address of the pages; give https://{own} instead.")
        secret = settings.salesforce_client_secret
        if not settings.salesforce_client_id or secret is None:
            raise UsageError("Set SIGHTLINE_SALESFORCE_CLIENT_ID and SIGHTLINE_SALESFORCE_CLIENT_SECRET.")
        overlap = timedelta(minutes=settings.sync_overlap_minutes)
        return cls(url, settings.salesforce_client_id, secret.get_secret_value(), overlap)

    def offer(self, table: Table) -> Offer:
        try:
            told = self._ask(lambda client: client.restful(f"sobjects/{table.name}/describe"))
        except SalesforceError as error:
            if not isinstance(error, SalesforceResourceNotFound) and _said(error)[0] != "INSUFFICIENT_ACCESS":
                raise self._refusal(error, table.name) from None
            told = None
        if not told or not told.get("queryable"):
            return Offer(
                problem="is not there for this user: grant Read on "
                f"{table.name} to it, or leave it if the organisation does not use it"
            )
        described = {entry["name"]: entry for entry in told["fields"]}
        readable = {
            name: f"formula {entry['type']}" if entry.get("calculated") else entry["type"]
            for name, entry in described.items()
            if entry["type"] not in IN_PARTS and entry["type"] != "base64"
        }
        self.types[table.name] = readable
        fields, missing = chosen_fields(table, Offer(readable))
        notes = tuple(
            f"{table.name}.{name} is one field for a whole {IN_PARTS[described[name]['type']]}, which cannot be read: "
            "choose its parts"
            for name in missing
            if name in described and described[name]["type"] in IN_PARTS
        )
        formulas = sorted({name for name in fields.values() if readable[name].startswith("formula ")})
        because = f"{', '.join(formulas)} can change without the row saying so (a formula)" if formulas else ""
        return Offer(readable, whole_because=because, deletions_kept=DELETIONS_KEPT, notes=notes)

    def pull(
        self, table: Table, fields: Mapping[str, str], since: str | None, memory: Memory
    ) -> Iterator[tuple[pa.Table, str | None]]:
        soql = f"SELECT {', '.join(dict.fromkeys(fields.values()))} FROM {table.name}"
        if since is not None and table.cursor is not None:
            soql += f" WHERE {fields[table.cursor]} >= {self._moment(since)}"
        try:
            pages = self._job_pages(table, soql, memory)
            yield from self._pieces(table, fields, pages)
        except _NotInBulk:
            yield from self._pieces(table, fields, self._rest_pages(table, soql))

    def notes(self) -> list[str]:
        left = self.calls_left()
        return [f"Salesforce: {left}"] if left else []

    def close(self) -> None:
        self.http.close()

    def look_at_limits(self) -> None:
        """Asks how many API calls of the day are left."""
        try:
            limits = self._ask(lambda client: client.limits())
        except (SalesforceRefusedRequest, SalesforceResourceNotFound):
            return  # Not told to this user; every answer has it in a header too.
        daily = limits.get("DailyApiRequests")
        if daily:
            self.calls = (int(daily["Remaining"]), int(daily["Max"]))

    def calls_left(self) -> str:
        if self.calls is None:
            return ""
        remaining, most = self.calls
        return f"{remaining:,} of {most:,} API calls of the day are left"

    def spare(self) -> None:
        """Stops before what is kept for others is used.

        Raises:
            SourceError: too few API calls are left.
        """
        if self.calls is None:
            return
        remaining, most = self.calls
        reserved = round(most * RESERVED_SHARE)
        if remaining <= reserved:
            raise SourceError(
                f"Salesforce: {self.calls_left()}, and {reserved:,} are kept for others; run again when the 24 hours "
                "are over, what was read whole is kept."
            )

    def clock_ahead(self) -> timedelta | None:
        """How far the clock of the last answer is ahead of ours; None when it did not say."""
        told = self.http.heard.get("Date")
        return parsedate_to_datetime(told) - datetime.now(UTC) if told else None

    def _moment(self, since: str) -> str:
        """A cursor, set back by the overlap, as SOQL writes it."""
        if len(since) == len("2026-01-01"):
            return since
        return f"{datetime.fromisoformat(since).astimezone(UTC) - self.overlap:%Y-%m-%dT%H:%M:%SZ}"

    def _pieces(
        self, table: Table, fields: Mapping[str, str], pages: Iterator[tuple[pa.Table, str]]
    ) -> Iterator[tuple[pa.Table, str | None]]:
        """Names the columns of pages, and finds the cursor: the newest value, at most the moment that was asked."""
        newest: str | None = None
        for page, asked_at in pages:
            piece = page.select(list(fields.values())).rename_columns(list(fields))
            if table.cursor in fields and piece.num_rows:
                value = pc.max(piece[table.cursor]).as_py()
                newest = max(filter(None, [newest, min(value, asked_at) if value else None]), default=None)
            yield piece, newest

    def _job_pages(self, table: Table, soql: str, memory: Memory) -> Iterator[tuple[pa.Table, str]]:
        """The rows of a query job, each page with the moment the job was made.

        Raises:
            _NotInBulk: the object is not there in Bulk API 2.0.
            SourceError: the job failed, or takes too long.
        """
        try:
            job = self._job(table, soql, memory)
        except SalesforceError as error:
            raise self._refusal(error, table.name) from None
        asked_at = _instant(job["createdDate"])
        expected = job.get("numberRecordsProcessed")
        names = _names(soql)
        begun: set[tuple[str | None, ...]] = set()
        rows = 0

        def fetch(locator: str) -> _Sent:
            def page(client: Salesforce) -> _Sent:
                self.spare()
                return self._page(client, job["id"], locator)

            return self._ask(page)

        def whole(locator: str) -> tuple[_Sent, pa.Table]:
            def page(client: Salesforce) -> tuple[_Sent, pa.Table]:
                self.spare()
                sent = self._page(client, job["id"], locator)
                return sent, sent.rows(names, table, begun)

            return self._ask(page, failed=1)

        try:
            # One page is read while the next one comes.
            with ThreadPoolExecutor(max_workers=1) as line:
                locator, coming = "", line.submit(fetch, "")
                while True:
                    sent = coming.result()
                    if sent.following:
                        coming = line.submit(fetch, sent.following)
                    try:
                        found = sent.rows(names, table, begun)
                    except _Cut as error:
                        # It is asked for again alone; what comes meanwhile is thrown away.
                        coming.exception()
                        sleep(self._wait(error, 1))
                        sent, found = whole(locator)
                        if sent.following:
                            coming = line.submit(fetch, sent.following)
                    rows += found.num_rows
                    yield found, asked_at
                    if not sent.following:
                        break
                    locator = sent.following
        except SalesforceResourceNotFound:
            memory.keep("job", None)
            raise SourceError(f"Salesforce no longer has its answer about {table.name}; run again.") from None
        except SalesforceError as error:
            raise self._refusal(error, table.name) from None
        if expected is not None and rows < expected:
            memory.keep("job", None)
            raise SourceError(
                f"Salesforce read {expected:,} rows of {table.name} and sent {rows:,}; run again, it is asked anew."
            )

    def _job(self, table: Table, soql: str, memory: Memory) -> dict[str, Any]:
        """A complete query job, the one an interrupted sync waited for if it asked the same."""
        kept = memory.notes.get("job", {})
        same = (kept.get("soql"), kept.get("version")) == (soql, API_VERSION)
        if same and datetime.fromisoformat(kept["at"]) > datetime.now(UTC) - JOB_KEPT:
            try:
                return self._complete(table, kept["id"], memory)
            except SalesforceResourceNotFound:
                pass  # Somebody deleted it.
        self.spare()
        content = json.dumps({"operation": "queryAll", "query": soql})
        try:
            job: Any = self._ask(lambda client: client.restful("jobs/query", method="POST", data=content))
        except SalesforceError as error:
            if NOT_IN_BULK in _said(error)[1]:
                raise _NotInBulk from None
            raise
        now = datetime.now(UTC).isoformat()
        memory.keep("job", {"id": job["id"], "soql": soql, "version": API_VERSION, "at": now})
        return self._complete(table, job["id"], memory)

    def _complete(self, table: Table, job_id: str, memory: Memory) -> dict[str, Any]:
        """Waits for a job.

        Raises:
            _NotInBulk, SourceError, SalesforceResourceNotFound: as told by the job, by its age, or because it is gone.
        """
        waited, wait = 0, 1
        while True:
            job = cast(dict[str, Any], self._ask(lambda client: client.restful(f"jobs/query/{job_id}")))
            if job["state"] == "JobComplete":
                return job
            if job["state"] in ("Failed", "Aborted"):
                memory.keep("job", None)
                if NOT_IN_BULK in (job.get("errorMessage") or ""):
                    raise _NotInBulk
                reason = self._safe(job.get("errorMessage") or f"the job is {job['state']}")
                raise SourceError(f"Salesforce could not read {table.name} ({reason}); run again.")
            if waited >= JOB_PATIENCE:
                raise SourceError(
                    f"Salesforce has read {table.name} for {waited // 60} minutes and is not done; run again, "
                    "the job is not lost."
                )
            sleep(wait)
            waited, wait = waited + wait, min(2 * wait, LONGEST_POLL)

    def _page(self, client: Salesforce, job_id: str, locator: str) -> _Sent:
        """One page of a job's rows as it is sent; it says what it holds and what follows, or this raises `_Cut`."""
        response = call_salesforce(
            url=f"{client.bulk2_url}query/{job_id}/results",
            method="GET",
            session=self.http,
            headers={**client.headers, "Accept": "text/csv"},
            params={"maxRecords": PAGE_ROWS, **({"locator": locator} if locator else {})},
            stream=True,
        )
        with closing(response):
            told = response.headers.get("Sforce-NumberOfRecords", "")
            following = response.headers.get("Sforce-Locator", "null")
            if not told.isdigit() or following == locator:
                raise _Cut("a page that does not say what it holds or what follows")
            # What a text field cannot hold and Salesforce sends nevertheless.
            body = b"" if told == "0" else response.raw.read(decode_content=True).replace(b"\0", b"")
        return _Sent(body, int(told), "" if following == "null" else following)

    def _rest_pages(self, table: Table, soql: str) -> Iterator[tuple[pa.Table, str]]:
        """The same rows from REST, for what Bulk API 2.0 does not have: setup objects of few rows."""
        names, types = _names(soql), self.types.get(table.name, {})
        begun: set[tuple[str | None, ...]] = set()
        rows, following, asked_at = 0, "", ""

        def page(client: Salesforce) -> tuple[dict[str, Any], pa.Table]:
            self.spare()
            told = (
                client.query_more(following, identifier_is_url=True)
                if following
                else client.query(soql, include_deleted=True)
            )
            found = pa.table(
                {
                    name: pa.array([_text(record.get(name), types.get(name, "")) for record in told["records"]])
                    for name in names
                },
                schema=pa.schema([(name, pa.string()) for name in names]),
            )
            _not_again(found, table, begun)
            return told, found

        while True:
            try:
                told, found = self._ask(page)
            except SalesforceError as error:
                raise self._refusal(error, table.name) from None
            # What is told first is told as of then; the clock is theirs.
            asked_at = asked_at or _instant((datetime.now(UTC) + (self.clock_ahead() or timedelta())).isoformat())
            rows += found.num_rows
            yield found, asked_at
            if told["done"]:
                break
            following = told["nextRecordsUrl"]
        if rows < told["totalSize"]:
            raise SourceError(
                f"Salesforce has {told['totalSize']:,} rows of {table.name} and sent {rows:,}; run again."
            )

    def _ask(self, what: Callable[[Salesforce], T], failed: int = 0) -> T:
        """Asks until there is an answer: a session that ended is renewed once, what passes is waited for.

        Args:
            failed: how often it was asked before, and waited for.

        Raises:
            SalesforceMalformedRequest, SalesforceResourceNotFound, SalesforceRefusedRequest: the asker knows why.
            SourceError: anything else that does not pass.
        """
        is_renewed, attempt = False, failed
        while True:
            try:
                if self.client is None:
                    self.client = self._let_in()
                answer = what(self.client)
                self._count_calls()
                return answer
            except SalesforceExpiredSession:
                if is_renewed:
                    raise SourceError(
                        "Salesforce ends each session as soon as it is made; look at the session policies of the "
                        "external client app and run again."
                    ) from None
                self.client, is_renewed = None, True
            except (SalesforceError, requests.RequestException, urllib3.exceptions.HTTPError, _Cut) as error:
                self._count_calls()
                attempt += 1
                sleep(self._wait(error, attempt))

    def _let_in(self) -> Salesforce:
        words = base64.b64encode(f"{self.client_id}:{self.client_secret}".encode()).decode()
        try:
            token, instance = token_login(
                f"{self.url}/services/oauth2/token",
                {"grant_type": "client_credentials"},
                self.url,
                self.client_id,
                {"Authorization": f"Basic {words}"},
                None,
                self.http,
            )
        except SalesforceAuthenticationFailed as error:
            if error.code in PASSING_STATUS:
                raise _Cut("an error when asked to let us in") from None
            # An answer that is no JSON could be anything, a token too: only what is told in the proper form is shown.
            told = f"{error.code}: {error.auth_message}" if isinstance(error.code, str) else f"status {error.code}"
            raise SourceError(
                f"Salesforce does not let us in ({self._safe(told)}); check SIGHTLINE_SALESFORCE_CLIENT_ID and "
                "SIGHTLINE_SALESFORCE_CLIENT_SECRET, and that the client credentials flow of the external client app "
                "is on and has a user to run as (docs/salesforce-access.md)."
            ) from None
        except AttributeError:  # No address in it.
            token, instance = None, ""
        if not token:
            raise SourceError(f"{self.url} answers as no Salesforce does; check SIGHTLINE_SALESFORCE_URL.")
        self.tokens.append(token)
        return Salesforce(
            session_id=token,
            instance_url=f"https://{instance}",
            session=self.http,
            version=API_VERSION,
            parse_float=str,
        )

    def _wait(self, error: Exception, attempt: int) -> float:
        """How many seconds to wait before asking again.

        Raises:
            SourceError: it does not pass.
            SalesforceError: it is for the asker.
        """
        code, message = _said(error)
        if code == "REQUEST_LIMIT_EXCEEDED" and "concurrent" not in message.lower():
            raise SourceError(
                "Salesforce takes no more API calls today (REQUEST_LIMIT_EXCEEDED); run again when the 24 hours are "
                "over, what was read whole is kept."
            ) from None
        if isinstance(error, requests.exceptions.SSLError):
            raise SourceError(
                f"The certificate of {self.url} cannot be trusted; if a proxy of yours replaces it, name its "
                "certificate in REQUESTS_CA_BUNDLE."
            ) from None
        if isinstance(error, SalesforceError) and error.status not in PASSING_STATUS and code not in PASSING_CODES:
            if isinstance(error, SalesforceMalformedRequest | SalesforceResourceNotFound | SalesforceRefusedRequest):
                raise error
            raise self._refusal(error, "") from None
        if attempt == ATTEMPTS:
            what = f"status {error.status}" if isinstance(error, SalesforceError) else _plain(error)
            raise SourceError(
                f"Salesforce did not answer {ATTEMPTS} times ({self._safe(what)}); run again, what was read whole "
                "is kept."
            ) from None
        asked = _seconds(self.http.heard.get("Retry-After"))
        if asked > LONGEST_WAIT:
            raise SourceError(
                f"Salesforce wants to be left alone for {round(asked / 60)} minutes; run again then, what was read "
                "whole is kept."
            ) from None
        return asked or 2.0 ** (attempt - 1)

    def _refusal(self, error: SalesforceError, name: str) -> SourceError:
        code, message = _said(error)
        told = self._safe(f"{code}: {message}" if code else f"status {error.status}")
        if code == "INVALID_FIELD":
            return SourceError(f"{name} of Salesforce changed while it was read ({told}); run again.")
        return SourceError(
            f"Salesforce refuses{' ' + name if name else ''} ({told}); see docs/salesforce-access.md for what to grant."
        )

    def _count_calls(self) -> None:
        told = Salesforce.parse_api_usage(self.http.heard.get("Sforce-Limit-Info", "")).get("api-usage")
        if told:
            self.calls = (told.total - told.used, told.total)

    def _safe(self, text: str) -> str:
        """A text of Salesforce on one line, without anything that lets one in."""
        for secret in [*self.tokens, self.client_secret]:
            text = text.replace(secret, "***")
        return " ".join(text.split())[:300].rstrip(".")


@dataclass(frozen=True)
class _Sent:
    """A page as it was sent: CSV, how many rows it says it has, and the locator of the next, empty after the last."""

    body: bytes
    told: int
    following: str

    def rows(self, names: list[str], table: Table, begun: set[tuple[str | None, ...]]) -> pa.Table:
        """Its rows as text columns.

        Raises:
            _Cut: it is not whole, or was there before.
        """
        if not self.told:  # Then there may be no header either.
            return pa.table({name: pa.array([], pa.string()) for name in names})
        try:
            page = pyarrow.csv.read_csv(
                pa.BufferReader(self.body),
                read_options=pyarrow.csv.ReadOptions(block_size=1 << 22),
                parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
                convert_options=pyarrow.csv.ConvertOptions(
                    include_columns=names,
                    column_types={name: pa.string() for name in names},
                    null_values=[""],
                    strings_can_be_null=True,
                ),
            )
        except (pa.ArrowException, KeyError) as error:
            raise _Cut(f"a page that is not the CSV asked for: {error}") from None
        # A row that ends in the middle of its last value can have all its fields.
        is_whole = self.body.endswith(b"\n") and self.body.count(b'"') % 2 == 0
        if not is_whole or page.num_rows != self.told:
            raise _Cut(f"a page of {self.told} rows that ends in row {page.num_rows}")
        _not_again(page, table, begun)
        return page


def _names(soql: str) -> list[str]:
    return soql.removeprefix("SELECT ").split(" FROM ")[0].split(", ")


def _not_again(page: pa.Table, table: Table, begun: set[tuple[str | None, ...]]) -> None:
    """Remembers the first row of a page.

    Raises:
        _Cut: another page began with it.
    """
    if page.num_rows:
        keys = [name for name in table.keys if name in page.column_names] or page.column_names
        first = tuple(page[name][0].as_py() for name in keys)
        if first in begun:
            raise _Cut("a page twice")
        begun.add(first)


def _instant(text: str) -> str:
    """A moment as Bulk API 2.0 writes it, so that two of them compare as texts."""
    return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%dT%H:%M:%S}.000Z"


def _text(value: Any, kind: str) -> str | None:
    """A value of JSON as Bulk API 2.0 writes it."""
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    return text.removesuffix("+0000") + "Z" if kind.endswith("datetime") and text.endswith("+0000") else text


def _said(error: Exception) -> tuple[str, str]:
    """Error code and message of an answer of Salesforce; empty when it has none."""
    content = getattr(error, "content", None)
    entry = content[0] if isinstance(content, list) and content else content
    if not isinstance(entry, dict):
        return "", ""
    return str(entry.get("errorCode", "")), str(entry.get("message", ""))


def _plain(error: Exception) -> str:
    """What a library says, in a word: it likes to quote whole objects."""
    return str(error) if isinstance(error, _Cut) else type(error).__name__


def _seconds(text: str | None) -> float:
    """Seconds from a Retry-After header, which is a number or a date."""
    if not text:
        return 0.0
    if text.strip().isdigit():
        return float(text)
    return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
