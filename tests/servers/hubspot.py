"""A HubSpot portal on this machine: its API as documented, with the faults a test asks for.

It serves tables of the form in which they land (`dbt_project/models/staging/hubspot/_hubspot__sources.yml`), so any
extract in HubSpot's shape can be read through it. The rows are the test's own dictionaries: what a test changes in them
between two requests is what the next request gives.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from heapq import nsmallest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from orchestration.ingest.contract import load_source

TOKEN = "pat-na1-the-key-of-the-portal"
OBJECTS = (
    "companies",
    "contacts",
    "products",
    "deals",
    "line_items",
    "calls",
    "emails",
    "meetings",
    "tasks",
    "goal_targets",
)
TYPES = {
    "timestamp": "datetime",
    "date": "date",
    "decimal": "number",
    "int": "number",
    "share": "number",
    "bool": "bool",
}
OWNER = {
    "id",
    "email",
    "firstName",
    "lastName",
    "userId",
    "primaryTeamId",
    "primaryTeamName",
    "createdAt",
    "updatedAt",
    "archived",
}
BESIDE = {"id", "archived", "archivedAt", "companyCurrency"}
# As documented.
LIST_PAGE = 100
HISTORY_PAGE = 50
SEARCH_PAGE = 200
SEARCH_BODY = 3000
ASSOCIATION_INPUTS = 1000

Row = dict[str, Any]


@dataclass
class Fault:
    """What one request gets instead of its answer.

    Attributes:
        how: `answer` gives the status and content here; `cut` ends in the middle of the right answer, `garbled` gives
            half of it as if it were all, `again` gives the answer before, `close` gives none.
    """

    how: str = "answer"
    status: int = 503
    content: Row = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


def too_many(policy: str = "TEN_SECONDLY_ROLLING", wait: int | None = None) -> Fault:
    content = {
        "status": "error",
        "message": f"You have reached your {policy.lower()} limit.",
        "errorType": "RATE_LIMIT",
        "policyName": policy,
    }
    return Fault(status=429, content=content, headers={} if wait is None else {"Retry-After": str(wait)})


class _Refused(Exception):
    def __init__(self, status: int, category: str, message: str, context: Row | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.content = {
            "status": "error",
            "message": message,
            "category": category,
            "errors": [{"message": message, "context": context}] if context else [],
        }


class HubSpotServer:
    """The portal; `with HubSpotServer(tables) as server` runs it at `server.url`.

    Attributes:
        types: type of every property of an object, `types["deals"]["amount"]`; what is taken out is not there.
        faults: request number to what it gets.
        before: request number to what happens in the portal just before.
        dead_from: every request from this number on gets no answer.
        denied: object, or path, to the scope that is missing for it.
        requests: method, path and body of every request so far.
    """

    def __init__(
        self,
        tables: Mapping[str, Iterable[Row]],
        *,
        page: int = LIST_PAGE,
        search_limit: int = 10_000,
        association_page: int = 500,
    ) -> None:
        self.tables: dict[str, list[Row]] = {name: list(rows) for name, rows in tables.items()}
        self.page, self.search_limit, self.association_page = page, search_limit, association_page
        self.token = TOKEN
        self.currency = "USD"
        self.daily: tuple[int, int] | None = (250_000, 250_000)
        self.usage: Row | None = {"name": "private-apps-api-calls-daily", "usageLimit": 250_000, "currentUsage": 1_000}
        self.clock: Callable[[], datetime] = lambda: datetime.now(UTC)
        self.types = {kind: self._types(kind) for kind in (*OBJECTS, "users")}
        self.faults: dict[int, Fault] = {}
        self.before: dict[int, Callable[[], None]] = {}
        self.dead_from: int | None = None
        self.denied: dict[str, str] = {}
        self.requests: list[tuple[str, str, Row | None]] = []
        self._last = b"{}"
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> HubSpotServer:
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)

    def row(self, kind: str, key: str) -> Row:
        return next(row for row in self.tables[kind] if row["id"] == key)

    def archive(self, kind: str, key: str) -> None:
        """As HubSpot does: the record's last change stays what it was."""
        self.row(kind, key).update(archived="true", archivedAt=_written(self.clock()))

    def paths(self) -> list[str]:
        return [path for _, path, _ in self.requests]

    def _types(self, kind: str) -> dict[str, str]:
        """HubSpot's own properties, and whatever the rows have beyond them."""
        found = {"hs_object_id": "number", "hs_lastmodifieddate": "datetime", "createdate": "datetime"}
        if kind == "users":
            names = {name for row in self.tables.get("owners", []) for name in row} - OWNER
            return {**found, "hubspot_owner_id": "string", **dict.fromkeys(sorted(names), "string")}
        table = load_source("hubspot").table(kind)
        found |= {c.name: TYPES.get(c.data_type, "string") for c in table.columns if not c.is_mapped}
        names = {name for row in self.tables.get(kind, []) for name in row}
        found |= dict.fromkeys(sorted(names - set(found)), "string")
        return {name: type_ for name, type_ in found.items() if name not in BESIDE}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1
            timeout = 10

            def do_GET(self) -> None:
                server._serve(self)

            def do_POST(self) -> None:
                server._serve(self)

            def date_time_string(self, timestamp: float | None = None) -> str:
                return server.clock().strftime("%a, %d %b %Y %H:%M:%S GMT")

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        length = int(request.headers.get("Content-Length") or 0)
        text = request.rfile.read(length)
        with self._lock:
            number = len(self.requests) + 1
            self.requests.append((request.command, request.path, json.loads(text) if text else None))
            if number in self.before:
                self.before.pop(number)()
            fault = self.faults.pop(number, None)
            if self.dead_from is not None and number >= self.dead_from:
                fault = Fault("close")
            status, headers = 200, {}
            try:
                status, content = self._answer(request, text)
            except _Refused as refused:
                status, content = refused.status, refused.content
            body = json.dumps(content).encode()
            if fault and fault.how == "close":
                request.close_connection = True
                request.connection.shutdown(socket.SHUT_RDWR)
                return
            if fault and fault.how == "answer":
                status, headers, body = fault.status, dict(fault.headers), json.dumps(fault.content).encode()
            if fault and fault.how == "again":
                body = self._last
            if fault and fault.how == "garbled":
                body = body[: len(body) // 2]
            if status < 300:
                self._last = body
        request.send_response(status)
        request.send_header("Content-Type", "application/json;charset=utf-8")
        request.send_header("Content-Length", str(len(body)))
        if self.daily and "/search" not in request.path:
            request.send_header("X-HubSpot-RateLimit-Daily", str(self.daily[1]))
            request.send_header("X-HubSpot-RateLimit-Daily-Remaining", str(self.daily[0] - number))
        for name, value in headers.items():
            request.send_header(name, value)
        request.end_headers()
        if fault and fault.how == "cut":
            request.wfile.write(body[: len(body) // 2])
            request.wfile.flush()
            request.close_connection = True
            request.connection.shutdown(socket.SHUT_RDWR)
            return
        request.wfile.write(body)

    def _answer(self, request: BaseHTTPRequestHandler, text: bytes) -> tuple[int, Row]:
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            raise _Refused(401, "INVALID_AUTHENTICATION", "Authentication credentials not found.")
        address = urlsplit(request.path)
        for what, scope in self.denied.items():
            if what in address.path.split("/") or address.path.startswith(what):
                raise _Refused(
                    403,
                    "MISSING_SCOPES",
                    "This app hasn't been granted all required scopes to make this call.",
                    {"requiredGranularScopes": [scope]},
                )
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        content = json.loads(text) if text else {}
        match [request.command, *address.path.strip("/").split("/")]:
            case ["GET", "crm", "properties", "2026-09", kind]:
                types = self._known(kind)
                return 200, {"results": [{"name": name, "label": name, "type": type_} for name, type_ in types.items()]}
            case ["GET", "crm", "objects", "2026-09", kind]:
                return 200, self._list(kind, query)
            case ["POST", "crm", "objects", "2026-09", kind, "search"]:
                if len(text) > SEARCH_BODY:
                    raise _Refused(400, "VALIDATION_ERROR", "The request body is too long.")
                return 200, self._search(kind, content)
            case ["POST", "crm", "objects", "2026-09", kind, "batch", "read"]:
                return self._batch(kind, content, query.get("archived") == "true")
            case ["GET", "crm", "owners", "2026-09"]:
                return 200, self._owners(query)
            case ["GET", "crm", "pipelines", "2026-09", "deals"]:
                return 200, {"results": self._pipelines()}
            case ["POST", "crm", "associations", "2026-09", kind, other, "batch", "read"]:
                return self._associations(kind, other, content)
            case ["GET", "account-info", "2026-09", "details"]:
                return 200, {"portalId": 62515, "accountType": "STANDARD", "companyCurrency": self.currency}
            case ["GET", "account-info", "2026-09", "api-usage", "daily", "private-apps"] if self.usage:
                return 200, {"results": [self.usage]}
        raise _Refused(404, "OBJECT_NOT_FOUND", f"There is no {address.path}.")

    def _known(self, kind: str) -> dict[str, str]:
        if kind not in self.types:
            raise _Refused(400, "VALIDATION_ERROR", f"Unable to infer object type from: {kind}")
        return self.types[kind]

    def _rows(self, kind: str, archived: bool) -> list[Row]:
        if kind == "users":  # Who left is archived here as well.
            rows: Iterable[Row] = (
                {**row, "id": f"9{row['id']}", "hubspot_owner_id": row["id"]} for row in self.tables.get("owners", [])
            )
        else:
            rows = self.tables.get(kind, [])
        return sorted(
            (row for row in rows if (row.get("archived") == "true") == archived), key=lambda row: int(row["id"])
        )

    def _record(self, kind: str, row: Row, properties: Iterable[str]) -> Row:
        values = {name: row.get(name) for name in properties if name in self.types[kind]}
        record: Row = {
            "id": row["id"],
            "properties": {**values, "hs_object_id": row["id"]},
            "createdAt": row.get("createdate"),
            "updatedAt": row.get("hs_lastmodifieddate") or row.get("lastmodifieddate"),
            "archived": row.get("archived") == "true",
        }
        if record["archived"]:
            record["archivedAt"] = row.get("archivedAt") or record["updatedAt"]
        return record

    def _records(self, kind: str, rows: list[Row], properties: Iterable[str], history: Iterable[str]) -> list[Row]:
        """Records with what their properties were, newest first."""
        records = [self._record(kind, row, properties) for row in rows]
        if not history:
            return records
        names = [name for name in history if name in self.types[kind]]
        kept: dict[str, dict[str, list[Row]]] = {row["id"]: {name: [] for name in names} for row in rows}
        for change in sorted(self.tables.get("deal_property_history", []), key=lambda c: c["timestamp"], reverse=True):
            if change["deal_id"] in kept and change["property"] in names:
                given: Row = {key: value for key, value in change.items() if value is not None}
                if "updatedByUserId" in given:
                    given["updatedByUserId"] = int(given["updatedByUserId"])
                del given["deal_id"], given["property"]
                kept[change["deal_id"]][change["property"]].append({"value": "", **given})
        return [{**record, "propertiesWithHistory": kept[record["id"]]} for record in records]

    def _paged(self, rows: list[Row], query: Mapping[str, str], most: int) -> tuple[list[Row], Row]:
        """A page from the record whose id `after` names."""
        limit = int(query.get("limit", 10))
        if limit > most:
            raise _Refused(400, "VALIDATION_ERROR", f"limit must be at most {most}")
        after = int(query.get("after", 0))
        limit = min(limit, self.page)
        left = nsmallest(limit + 1, (row for row in rows if int(row["id"]) >= after), key=lambda row: int(row["id"]))
        following = left[limit:]
        return left[:limit], {"paging": {"next": {"after": following[0]["id"]}}} if following else {}

    def _list(self, kind: str, query: Mapping[str, str]) -> Row:
        self._known(kind)
        history = [name for name in query.get("propertiesWithHistory", "").split(",") if name]
        rows, paging = self._paged(
            self._rows(kind, query.get("archived") == "true"), query, HISTORY_PAGE if history else LIST_PAGE
        )
        names = query.get("properties", "").split(",")
        return {"results": self._records(kind, rows, names, history), **paging}

    def _search(self, kind: str, content: Row) -> Row:
        types = self._known(kind)
        limit, after = int(content.get("limit", 10)), int(content.get("after") or 0)
        sorts = content.get("sorts") or [{"propertyName": "createdate", "direction": "ASCENDING"}]
        filters = content["filterGroups"][0]["filters"]
        if limit > SEARCH_PAGE or len(sorts) > 1 or len(filters) > 6:
            raise _Refused(400, "VALIDATION_ERROR", "There was a problem with the request.")
        limit = min(limit, self.page)
        if after + limit > self.search_limit:
            raise _Refused(400, "VALIDATION_ERROR", "Attempting to page beyond the limit of a search.")
        for name in (sorts[0]["propertyName"], *(part["propertyName"] for part in filters)):
            if name not in types:
                raise _Refused(400, "VALIDATION_ERROR", f"There is no property {name}.")
        tests: dict[str, Callable[[int, int], bool]] = {
            "GT": lambda have, want: have > want,
            "GTE": lambda have, want: have >= want,
            "LTE": lambda have, want: have <= want,
        }
        found = [
            row
            for row in self._rows(kind, archived=False)
            if all(tests[p["operator"]](_number(row, p["propertyName"]), int(p["value"])) for p in filters)
        ]
        found.sort(key=lambda row: _number(row, sorts[0]["propertyName"]), reverse=sorts[0]["direction"] != "ASCENDING")
        rows = found[after : after + limit]
        paging = {"paging": {"next": {"after": str(after + limit)}}} if len(found) > after + limit else {}
        names = content.get("properties", [])
        return {"total": len(found), "results": [self._record(kind, row, names) for row in rows], **paging}

    def _batch(self, kind: str, content: Row, archived: bool) -> tuple[int, Row]:
        self._known(kind)
        history = content.get("propertiesWithHistory", [])
        if len(content["inputs"]) > (HISTORY_PAGE if history else LIST_PAGE):
            raise _Refused(400, "VALIDATION_ERROR", "Too many inputs.")
        wanted = {entry["id"] for entry in content["inputs"]}
        rows = [row for row in self._rows(kind, archived) if row["id"] in wanted]
        results = self._records(kind, rows, content.get("properties", []), history)
        missing = len(wanted) - len(rows)
        errors = {"numErrors": 1, "errors": [{"category": "OBJECT_NOT_FOUND"}]} if missing else {}
        return 207 if missing else 200, {"status": "COMPLETE", "results": results, **errors}

    def _owners(self, query: Mapping[str, str]) -> Row:
        archived = query.get("archived") == "true"
        rows, paging = self._paged(self._rows("owners", archived), query, 500)
        return {"results": [_owner(row, archived) for row in rows], **paging}

    def _pipelines(self) -> list[Row]:
        """What is archived is not among them, nor is a stage that was deleted."""
        pipelines: dict[str, Row] = {}
        for row in self.tables.get("deal_stages", []):
            pipeline = pipelines.setdefault(
                row["pipelineId"],
                {"id": row["pipelineId"], "label": row["pipelineLabel"], "archived": False, "stages": []},
            )
            pipeline["stages"].append(
                {
                    "id": row["id"],
                    "label": row["label"],
                    "displayOrder": int(row.get("displayOrder") or 0),
                    "archived": row.get("archived") == "true",
                    "metadata": {"isClosed": row.get("isClosed"), "probability": row.get("probability")},
                }
            )
        return list(pipelines.values())

    def _associations(self, kind: str, other: str, content: Row) -> tuple[int, Row]:
        if len(content["inputs"]) > ASSOCIATION_INPUTS:
            raise _Refused(400, "VALIDATION_ERROR", "Too many inputs.")
        starts = {entry["id"]: int(entry.get("after") or 0) for entry in content["inputs"]}
        # A record that is archived has no associations.
        gone = {(name, row["id"]) for name in (kind, other) for row in self._rows(name, archived=True)}
        found: dict[str, dict[str, list[Row]]] = {}
        for row in self.tables.get("associations", []):
            if (
                (row["from_type"], row["to_type"]) == (kind, other)
                and row["from_id"] in starts
                and not {(kind, row["from_id"]), (other, row["to_id"])} & gone
            ):
                types = found.setdefault(row["from_id"], {}).setdefault(row["to_id"], [])
                types.append({"category": row["category"], "typeId": int(row["typeId"]), "label": row.get("label")})
        results = []
        for key, others in found.items():
            to = [{"toObjectId": to_id, "associationTypes": types} for to_id, types in others.items()]
            end = starts[key] + self.association_page
            entry: Row = {"from": {"id": key}, "to": to[starts[key] : end]}
            if len(to) > end:
                entry["paging"] = {"next": {"after": str(end)}}
            results.append(entry)
        missing = set(starts) - set(found)
        errors = {"numErrors": len(missing), "errors": [{"subCategory": "crm.associations.NO_ASSOCIATIONS_FOUND"}]}
        return 207 if missing else 200, {"status": "COMPLETE", "results": results, **(errors if missing else {})}


def _owner(row: Row, archived: bool) -> Row:
    user = int(row["userId"]) if row.get("userId") else None
    owner: Row = {name: row.get(name) for name in ("id", "email", "firstName", "lastName", "createdAt", "updatedAt")}
    owner |= {"userId": None if archived else user, "userIdIncludingInactive": user, "archived": archived}
    if row.get("primaryTeamName"):
        owner["teams"] = [
            {"id": "1", "name": "Everybody", "primary": False},
            {"id": row.get("primaryTeamId") or "2", "name": row["primaryTeamName"], "primary": True},
        ]
    return owner


def _number(row: Row, name: str) -> int:
    """A value as a search compares it: moments as milliseconds; what is empty is before everything."""
    value = row["id"] if name == "hs_object_id" else row.get(name)
    if not value:
        return -1
    return int(value) if value.isdigit() else round(datetime.fromisoformat(value).timestamp() * 1000)


def _written(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
