"""A Salesforce organisation on this machine, as far as its REST API and Bulk API 2.0 are documented.

It serves the tables it is given over TLS, because the client library speaks nothing else: set REQUESTS_CA_BUNDLE to
`certificate` and the library trusts it. Faults are switched on by the test.
"""

from __future__ import annotations

import base64
import gzip
import ipaddress
import json
import re
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, quote, unquote, urlsplit

import duckdb
import pyarrow as pa
import pyarrow.csv

Rows = list[dict[str, Any]] | pa.Table
Fault = Literal[
    # The connection ends before the request is served, or after.
    "kill",
    "late kill",
    # The body is shorter than was said; not ended; or cut in its last value, with the right length for what is there.
    "truncated",
    "chunked cut",
    "half value",
    "half text",
    # The first page comes in place of the one asked for; or the last in sight is not the last.
    "twice",
    "early end",
    "no session",
    "429",
    "503",
    "503 date",
    "500",
]

CLIENT_ID = "3MVG9.consumer-key"
CLIENT_SECRET = "consumer-secret-canary-5F2A"


@dataclass
class Job:
    job_id: str
    soql: str
    version: str
    created: str
    polls: int
    result: pa.Table
    error: str = ""
    is_complete: bool = False


@dataclass
class SalesforceServer:
    """One organisation.

    Attributes:
        tables: by object name, the rows as dictionaries or as an Arrow table; change them while it runs.
        types: by object and field, the type describe tells; without one it is told from the name.
        formulas: by object, the fields that are formulas.
        denied: objects the user may not read; hidden: fields, by object, that he may not see.
        rest_only: objects Bulk API 2.0 does not have.
        failing: by object, the error its jobs end in; {token} in it stands for the token of the session.
        polls: how often a job is looked at before it is complete.
        page_rows: how many rows a page holds at most, of Bulk API 2.0 and of REST.
        calls_used, calls_most: API calls of the day.
        token_requests: how many requests a token lasts; None is for ever.
        clock_ahead: how wrong its clock is.
        is_compressed: whether pages of CSV are sent with gzip.
        hides_limits: whether the user may not ask how many calls are left.
        seen, queries: method and path of each request, and the SOQL of each query.
        before_job: called when a job is about to be made.
        rendered: pages made ahead, see `render`.
    """

    tables: dict[str, Rows]
    types: dict[str, dict[str, str]] = field(default_factory=dict)
    formulas: dict[str, set[str]] = field(default_factory=dict)
    denied: set[str] = field(default_factory=set)
    hidden: dict[str, set[str]] = field(default_factory=dict)
    rest_only: set[str] = field(default_factory=set)
    failing: dict[str, str] = field(default_factory=dict)
    polls: int = 1
    page_rows: int = 1_000_000
    calls_used: int = 0
    calls_most: int = 15_000
    hides_limits: bool = False
    token_requests: int | None = None
    clock_ahead: timedelta = timedelta()
    is_compressed: bool = False
    dies_at: int | None = None
    seen: list[tuple[str, str]] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    jobs: dict[str, Job] = field(default_factory=dict)
    before_job: Callable[[], None] | None = None
    rendered: dict[tuple[str, int], bytes] = field(default_factory=dict)
    _faults: list[tuple[str, Fault]] = field(default_factory=list)
    _uses: int = 0
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"https://127.0.0.1:{self._server.server_port}"

    @property
    def certificate(self) -> Path:
        return _certificate()

    def __enter__(self) -> SalesforceServer:
        class Handler(_Handler):
            organisation = self

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(_certificate())
        # The handshake belongs to the thread of the connection, not to the one that accepts.
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()

    def fail(self, path_part: str, fault: Fault, times: int = 1) -> None:
        """The next so many requests whose path has `path_part` in it go wrong."""
        self._faults += [(path_part, fault)] * times

    def die_at(self, number: int | None) -> None:
        """From the request of that number on, counted from now, every connection is cut; None mends it."""
        self.dies_at = None if number is None else len(self.seen) + number

    def end_session(self) -> None:
        """The token that was given out last is no longer good."""
        self.tokens.append("ended")

    def render(self, name: str, page_rows: int) -> None:
        """Makes the pages of a query for all of a table ahead, for a client whose speed is measured."""
        rows = _as_text(self.tables[name], self.fields(name))
        for start in range(0, rows.num_rows, page_rows):
            self.rendered[name, start] = as_csv(rows.slice(start, page_rows))

    def fields(self, name: str) -> dict[str, str]:
        """The fields of an object the user may see, and their types."""
        rows = self.tables[name]
        names = rows.column_names if isinstance(rows, pa.Table) else list(dict.fromkeys(k for row in rows for k in row))
        told = self.types.get(name, {})
        shown = dict.fromkeys([*names, *told])
        return {name_: told.get(name_, _type_of(name_)) for name_ in shown if name_ not in self.hidden.get(name, ())}

    def select(self, soql: str, with_deleted: bool) -> pa.Table:
        """Rows of a query as text columns, empty for null.

        Raises:
            Refused: the query asks for what is not there.
        """
        match = re.fullmatch(
            r"SELECT ([\w, ]+) FROM (\w+)(?: WHERE (\w+) >= ([\d\-T:.Z]+))?(?: ORDER BY [\w, ]+)?", soql.strip()
        )
        if match is None:
            raise Refused(400, "MALFORMED_QUERY", f"unexpected token: {soql}")
        selected, name, cursor, since = match.groups()
        names = [part.strip() for part in selected.split(",")]
        if name not in self.tables or name in self.denied:
            raise Refused(400, "INVALID_TYPE", f"sObject type '{name}' is not supported.")
        fields = self.fields(name)
        for asked in [*names, *([cursor] if cursor else [])]:
            if asked not in fields:
                raise Refused(400, "INVALID_FIELD", f"No such column '{asked}' on entity '{name}'.")
            if fields[asked] in ("address", "location"):
                raise Refused(400, "FeatureNotEnabled", "Selecting compound data not supported in Bulk Query")
        if len(set(names)) < len(names):
            raise Refused(400, "INVALID_FIELD", "duplicate field selected")
        table = _as_text(self.tables[name], list(fields))
        condition = "true"
        if cursor:
            # Datetimes of text columns, told in one form: they compare as instants.
            condition = f"try_cast(\"{cursor}\" as timestamptz) >= '{since}'::timestamptz"
        if not with_deleted and "IsDeleted" in fields:
            condition += " and lower(\"IsDeleted\") is distinct from 'true'"
        chosen = ", ".join(f'"{asked}"' for asked in names)
        if condition == "true":
            return table.select(names)
        connection = duckdb.connect()
        connection.execute("set TimeZone = 'UTC'")
        connection.register("rows", table)
        return connection.sql(f"select {chosen} from rows where {condition}").to_arrow_table()


class Refused(Exception):
    """An answer that is an error, in Salesforce's form."""

    def __init__(self, status: int, code: str, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.headers = status, code, message, headers


class _Handler(BaseHTTPRequestHandler):
    organisation: SalesforceServer
    protocol_version = "HTTP/1.1"
    fault: Fault | None = None
    # Nagle and delayed acknowledgement wait for each other, 40 ms an answer.
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = 60

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (ConnectionError, ssl.SSLError, TimeoutError, OSError):
            self.close_connection = True

    def date_time_string(self, timestamp: float | None = None) -> str:
        ahead = self.organisation.clock_ahead.total_seconds()
        return formatdate(time.time() + ahead, usegmt=True)

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        org = self.organisation
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        split = urlsplit(self.path)
        with org._lock:
            org.seen.append((self.command, split.path))
            is_dead = org.dies_at is not None and len(org.seen) >= org.dies_at
            self.fault = "kill" if is_dead else None
            if not is_dead:
                for entry in org._faults:
                    if entry[0] in self.path:
                        org._faults.remove(entry)
                        self.fault = entry[1]
                        break
        if self.fault == "kill":
            self._cut()
            return
        try:
            with org._lock:
                self._answer(split.path, {key: values[0] for key, values in parse_qs(split.query).items()}, body)
        except Refused as refusal:
            content = json.dumps([{"errorCode": refusal.code, "message": refusal.message}]).encode()
            self._send(refusal.status, content, **refusal.headers)

    def _answer(self, path: str, query: dict[str, str], body: bytes) -> None:
        org = self.organisation
        if self.fault in ("429", "503", "500", "503 date"):
            waits = {"429": {"Retry-After": "7"}, "503": {"Retry-After": "11"}, "500": {}}
            at = {"Retry-After": formatdate(time.time() + 30, usegmt=True)}
            codes = {"429": "REQUEST_LIMIT_EXCEEDED", "500": "UNABLE_TO_LOCK_ROW"}
            words = {"429": "ConcurrentRequests (Concurrent API Requests) Limit exceeded."}
            raise Refused(
                int(self.fault[:3]),
                codes.get(self.fault, "SERVER_UNAVAILABLE"),
                words.get(self.fault, "server temporarily unavailable"),
                **waits.get(self.fault, at),
            )
        if path == "/services/oauth2/token":
            self._token(body)
            return
        self._check_session()
        org.calls_used += 1
        if org.calls_used > org.calls_most:
            raise Refused(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
        match = re.fullmatch(r"/services/data/v([\d.]+)/(.+?)/?", path)
        if match is None:
            raise Refused(404, "NOT_FOUND", "The requested resource does not exist")
        version, rest = match.groups()
        parts = rest.split("/")
        if rest == "limits":
            self._limits()
        elif parts[0] == "sobjects" and parts[-1] == "describe" and len(parts) == 3:
            self._describe(parts[1])
        elif parts[0] in ("query", "queryAll") and len(parts) == 1:
            self._rows(query["q"], 0, version, parts[0] == "queryAll")
        elif parts[0] in ("query", "queryAll"):
            soql, start, with_deleted = json.loads(base64.urlsafe_b64decode(unquote(parts[1])))
            self._rows(soql, start, version, with_deleted)
        elif rest == "jobs/query" and self.command == "POST":
            self._create(json.loads(body), version)
        elif parts[:2] == ["jobs", "query"] and len(parts) >= 3:
            job = org.jobs.get(parts[2])
            if job is None:
                raise Refused(404, "NOT_FOUND", "The requested resource does not exist")
            if len(parts) == 3:
                self._job(job)
            else:
                self._results(job, query, version)
        else:
            raise Refused(404, "NOT_FOUND", "The requested resource does not exist")

    def _token(self, body: bytes) -> None:
        org = self.organisation
        form = {key: values[0] for key, values in parse_qs(body.decode()).items()}
        if form.get("grant_type") != "client_credentials":
            self._json(400, {"error": "unsupported_grant_type", "error_description": "grant type not supported"})
            return
        given = self.headers.get("Authorization", "")
        client, _, secret = base64.b64decode(given.removeprefix("Basic ") or b"").decode().partition(":")
        if client != CLIENT_ID:
            self._json(400, {"error": "invalid_client_id", "error_description": "client identifier invalid"})
        elif secret != CLIENT_SECRET:
            self._json(400, {"error": "invalid_client", "error_description": "invalid client credentials"})
        else:
            token = f"00Dxx0000001gPL!canary-token-{len(org.tokens)}"
            org.tokens.append(token)
            org._uses = 0
            self._json(
                200,
                {
                    "access_token": token,
                    "instance_url": org.url,
                    "id": f"{org.url}/id/00Dxx0000001gPLEAY/005xx000001SwiUAAS",
                    "token_type": "Bearer",
                    "issued_at": str(int(time.time() * 1000)),
                    "scope": "api",
                },
            )

    def _check_session(self) -> None:
        org = self.organisation
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        org._uses += 1
        is_over = org.token_requests is not None and org._uses > org.token_requests
        if self.fault == "no session" or is_over or not org.tokens or given != org.tokens[-1]:
            raise Refused(401, "INVALID_SESSION_ID", "Session expired or invalid")

    def _limits(self) -> None:
        org = self.organisation
        if org.hides_limits:
            raise Refused(403, "FUNCTIONALITY_NOT_ENABLED", "This feature is not currently enabled for this user.")
        left = {"Max": org.calls_most, "Remaining": org.calls_most - org.calls_used}
        self._json(200, {"DailyApiRequests": left, "DailyBulkV2QueryJobs": {"Max": 10000, "Remaining": 9990}})

    def _describe(self, name: str) -> None:
        org = self.organisation
        if name not in org.tables or name in org.denied:
            raise Refused(404, "NOT_FOUND", "The requested resource does not exist")
        entries = [
            {
                "name": field_name,
                "type": kind,
                "calculated": field_name in org.formulas.get(name, ()),
                "custom": field_name.endswith("__c"),
                "length": 255,
            }
            for field_name, kind in org.fields(name).items()
        ]
        self._json(200, {"name": name, "queryable": True, "fields": entries})

    def _rows(self, soql: str, start: int, version: str, with_deleted: bool) -> None:
        org = self.organisation
        if start == 0:
            org.queries.append(soql)
        found = org.select(soql, with_deleted)
        name = soql.split(" FROM ")[1].split()[0]
        kinds = org.fields(name)
        size = min(org.page_rows, 2000)
        records = [
            {
                "attributes": {"type": name},
                **{key: _as_json(value, kinds[key]) for key, value in row.items()},
            }
            for row in found.slice(0 if self.fault == "twice" else start, size).to_pylist()
        ]
        told: dict[str, Any] = {
            "totalSize": found.num_rows,
            "done": start + size >= found.num_rows,
            "records": records,
        }
        if not told["done"]:
            mark = base64.urlsafe_b64encode(json.dumps([soql, start + size, with_deleted]).encode()).decode()
            told["nextRecordsUrl"] = f"/services/data/v{version}/query/{quote(mark)}"
        self._json(200, told)

    def _create(self, content: dict[str, Any], version: str) -> None:
        org = self.organisation
        if org.before_job is not None:
            org.before_job()
        soql = content["query"]
        name = soql.split(" FROM ")[1].split()[0]
        if name in org.rest_only:
            raise Refused(400, "INVALIDENTITY", f"Entity '{name}' is not supported by the Bulk API.")
        result = org.select(soql, content["operation"] == "queryAll")
        org.queries.append(soql)
        job_id = f"750xx{len(org.jobs):013d}"
        now = datetime.now(UTC) + org.clock_ahead
        created = f"{now:%Y-%m-%dT%H:%M:%S}.000+0000"
        org.jobs[job_id] = Job(job_id, soql, version, created, org.polls, result, org.failing.get(name, ""))
        self._json(200, self._told(org.jobs[job_id], "UploadComplete"))

    def _job(self, job: Job) -> None:
        if job.polls > 0:
            job.polls -= 1
            self._json(200, self._told(job, "InProgress"))
        elif job.error:
            self._json(
                200, {**self._told(job, "Failed"), "errorMessage": job.error.format(token=self.organisation.tokens[-1])}
            )
        else:
            job.is_complete = True
            self._json(200, {**self._told(job, "JobComplete"), "numberRecordsProcessed": job.result.num_rows})

    def _told(self, job: Job, state: str) -> dict[str, Any]:
        return {
            "id": job.job_id,
            "operation": "queryAll",
            "object": job.soql.split(" FROM ")[1].split()[0],
            "createdDate": job.created,
            "state": state,
            "concurrencyMode": "Parallel",
            "contentType": "CSV",
            "apiVersion": float(job.version),
            "lineEnding": "LF",
            "columnDelimiter": "COMMA",
        }

    def _results(self, job: Job, query: dict[str, str], version: str) -> None:
        org = self.organisation
        if version != job.version or not job.is_complete:
            raise Refused(409 if version != job.version else 400, "API_ERROR", "the job is not complete")
        start = int(base64.urlsafe_b64decode(query["locator"])) if "locator" in query else 0
        size = min(int(query.get("maxRecords", 50_000)), org.page_rows)
        shown = 0 if self.fault == "twice" else start
        page = org.rendered.get((job.soql.split(" FROM ")[1], shown))
        if page is None:
            page = as_csv(job.result.slice(shown, size))
        is_last = start + size >= job.result.num_rows or self.fault == "early end"
        following = "null" if is_last else base64.urlsafe_b64encode(str(start + size).encode()).decode()
        rows = min(size, job.result.num_rows - shown)
        headers = {"Sforce-Locator": following, "Sforce-NumberOfRecords": str(rows)}
        self._send(200, page, "text/csv", **headers)

    def _json(self, status: int, content: Any) -> None:
        self._send(status, json.dumps(content).encode())

    def _send(self, status: int, content: bytes, kind: str = "application/json", **headers: str) -> None:
        org = self.organisation
        if self.fault == "half value" and kind == "text/csv":
            content = content[: content.rstrip(b'\n"').rfind(b'"') + 1]
        if self.fault == "half text" and kind == "text/csv":
            content = content[: content.rstrip(b"\n").rfind(b"\n") + 1]
        if self.fault == "late kill":
            self._cut()
            return
        if org.is_compressed and kind == "text/csv":
            content = gzip.compress(content, 1)
            headers["Content-Encoding"] = "gzip"
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Sforce-Limit-Info", f"api-usage={org.calls_used}/{org.calls_most}")
        for name, value in headers.items():
            self.send_header(name, value)
        if self.fault == "chunked cut":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            half = content[: len(content) // 2]
            self.wfile.write(b"%x\r\n" % len(half) + half + b"\r\n")
            self._cut()
            return
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.fault == "truncated":
            self.wfile.write(content[: len(content) // 2])
            self._cut()
            return
        self.wfile.write(content)
        self.wfile.flush()

    def _cut(self) -> None:
        self.close_connection = True
        try:
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def as_csv(table: pa.Table) -> bytes:
    """A table of text as Bulk API 2.0 writes it: every value in quotes, null as an empty one."""
    filled = pa.table({name: table[name].fill_null("") for name in table.column_names})
    buffer = BytesIO()
    pyarrow.csv.write_csv(filled, buffer, pyarrow.csv.WriteOptions(quoting_style="all_valid"))
    return buffer.getvalue()


def _as_text(rows: Rows, names: Iterable[str]) -> pa.Table:
    """Rows as text columns, with null for what a row does not have."""
    if isinstance(rows, pa.Table):
        missing = [name for name in names if name not in rows.column_names]
        table = rows.cast(pa.schema([(name, pa.string()) for name in rows.column_names]))
        for name in missing:
            table = table.append_column(name, pa.nulls(table.num_rows, pa.string()))
        return table
    columns = {
        name: [None if row.get(name) in (None, "") else _plain_text(row[name]) for row in rows] for name in names
    }
    return pa.table(columns, schema=pa.schema([(name, pa.string()) for name in columns]))


def _plain_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _as_json(value: str | None, kind: str) -> Any:
    """A text as REST tells it: numbers and truth are JSON's own, a moment ends in an offset."""
    if value is None:
        return None
    if kind == "boolean":
        return value == "true"
    if kind in ("double", "currency", "percent"):
        return float(value)
    if kind == "int":
        return int(value)
    if kind == "datetime":
        return value.removesuffix("Z") + "+0000"
    return value


def _type_of(name: str) -> str:
    """What a field of that name mostly is."""
    if name == "Id":
        return "id"
    if name.startswith("Is"):
        return "boolean"
    if name in ("SystemModstamp", "CreatedDate", "LastModifiedDate") or name.endswith("DateTime"):
        return "datetime"
    return "date" if name.endswith("Date") else "string"


@cache
def _certificate() -> Path:
    """A certificate for 127.0.0.1 with its key, made for this process; it is its own authority."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a Salesforce organisation on this machine")])
    now = datetime.now(UTC)
    usage = dict.fromkeys(
        ["content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign"], False
    )
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True, key_cert_sign=True, encipher_only=False, decipher_only=False, **usage
            ),
            critical=True,
        )
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = Path(tempfile.mkdtemp(prefix="salesforce-")) / "certificate.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path
