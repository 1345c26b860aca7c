"""HubSpot over its API, by dlt's REST client.

A first read lists the records of an object, a later one searches those that changed. A search gives ten thousand
results, is sorted by one property, and many records can share one moment: so it is sorted by the record's id, and each
page asks for the ids after the last one. Whatever changes meanwhile, nothing is skipped, and there is no page beyond
the limit. What is archived is in no search and is listed at each sync. Associations have no date and are read whole.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.compute as pc
from dlt.common.configuration.specs import RuntimeConfiguration
from dlt.sources.helpers.requests import (
    ChunkedEncodingError,
    Client,
    ConnectionError,
    HTTPError,
    Request,
    RequestException,
    Response,
    Timeout,
)
from dlt.sources.helpers.rest_client import RESTClient
from dlt.sources.helpers.rest_client.auth import BearerTokenAuth
from dlt.sources.helpers.rest_client.paginators import BasePaginator, JSONResponseCursorPaginator

from orchestration.diagnosis import Diagnosis
from orchestration.errors import SourceError
from orchestration.ingest.contract import Table, load_source
from orchestration.ingest.syncing import Memory, Offer
from orchestration.settings import Settings

# The version of the API, in every path. HubSpot ends its support of /v4/ in March 2027 and of /v3/ in September 2027,
# and supports each dated version for eighteen months.
VERSION = "2026-09"

LIST_PAGE = 100
SEARCH_PAGE = 200
BATCH = 100
# With the history of a property HubSpot gives half of what it gives else.
HISTORY_BATCH = 50
ASSOCIATION_BATCH = 1000
# A search is refused beyond 3,000 characters, a list when its address gets too long.
LONGEST_SEARCH = 2900
LONGEST_LIST = 4000

# HubSpot shows what is archived for 90 days.
ARCHIVED_KEPT = timedelta(days=85)

ATTEMPTS = 6
# Seconds: 2, 4, 8, 16, 32 between the attempts, or what HubSpot asks for.
FIRST_WAIT = 2
LONGEST_WAIT = 120
# Locked, being moved, failed, not ready, timed out; 429 is looked at more closely.
PASSING = (408, 423, 477, 500, 502, 503, 504, 524)

# The properties whose history is read, and under which name it lands; those mapped to one of MAPPED come with it.
HISTORY = (
    "amount",
    "closedate",
    "dealstage",
    "hs_deal_stage_probability",
    "hs_manual_forecast_category",
    "hs_next_step",
    "hubspot_owner_id",
)
MAPPED_HISTORY = ("competitor",)
ASSOCIATIONS = {
    "deals": ("companies", "contacts"),
    "line_items": ("deals",),
    "calls": ("deals", "companies", "contacts"),
    "emails": ("deals", "companies", "contacts"),
    "meetings": ("deals", "companies", "contacts"),
    "tasks": ("deals", "companies", "contacts"),
}
# What is not a property of a record, or of no record at all.
BESIDE = {"id": "id", "archived": "bool"}
COMPANY_CURRENCY = "companyCurrency"
OWNER = {
    "id": "id",
    "email": "string",
    "firstName": "string",
    "lastName": "string",
    "userId": "number",
    "primaryTeamId": "string",
    "primaryTeamName": "string",
    "createdAt": "datetime",
    "updatedAt": "datetime",
    "archived": "bool",
}
STAGE = {
    "id": "id",
    "label": "string",
    "displayOrder": "number",
    "probability": "number",
    "isClosed": "bool",
    "archived": "bool",
    "pipelineId": "string",
    "pipelineLabel": "string",
}
CHANGE = {
    "deal_id": "id",
    "property": "string",
    "timestamp": "datetime",
    "value": "string",
    "sourceType": "string",
    "sourceId": "string",
    "updatedByUserId": "number",
}
ASSOCIATION = {
    "from_type": "string",
    "from_id": "id",
    "to_type": "string",
    "to_id": "id",
    "category": "string",
    "typeId": "number",
    "label": "string",
    "archived": "bool",
}

# How a moment is written that comes as milliseconds.
MILLISECONDS = r"^-?\d{9,15}$"
FORMATS = {"date": "%Y-%m-%d", "datetime": "%Y-%m-%dT%H:%M:%SZ"}

Row = dict[str, Any]


class NotGrantedError(SourceError):
    """The key may not read this; the message names what to grant."""


def sleep(seconds: float) -> None:
    """How the client waits: a test replaces it."""
    time.sleep(seconds)


def connect_hubspot(settings: Settings) -> HubSpot:
    """The connector of a portal; nothing is asked yet."""
    return HubSpot(settings)


def examine_hubspot(settings: Settings) -> Iterator[Diagnosis]:
    """Whether HubSpot can be reached, lets us in, has calls left and has our time."""
    hubspot = HubSpot(settings, attempts=2)
    try:
        yield from _examined(hubspot)
    except SourceError as error:
        yield Diagnosis("HubSpot", "problem", str(error))
    finally:
        hubspot.close()


def _examined(hubspot: HubSpot) -> Iterator[Diagnosis]:
    try:
        account = hubspot.account()
    except NotGrantedError:  # The key is known: it is told what it may not.
        account = {}
    portal = f", portal {account['portalId']}" if "portalId" in account else ""
    yield Diagnosis("HubSpot", "ok", f"{hubspot.host} lets us in{portal}")
    left, limit = hubspot.calls_left()
    if left is None:
        yield Diagnosis("HubSpot calls", "ok", "HubSpot does not say how many are left today")
    else:
        is_low = limit is not None and left < limit / 10
        advice = "; a first sync may need more, start it after midnight of the portal's time zone" if is_low else ""
        of_limit = f" of {limit:,}" if limit is not None else ""
        yield Diagnosis("HubSpot calls", "warning" if is_low else "ok", f"{left:,}{of_limit} left today{advice}")
    if hubspot.heard_at and hubspot.told_at:
        seconds = round((hubspot.heard_at - hubspot.told_at).total_seconds())
        ahead = "ahead of" if seconds > 0 else "behind"
        if abs(seconds) > 60:
            text = f"the clock here is {abs(seconds)} seconds {ahead} HubSpot's; set the clock"
            yield Diagnosis("HubSpot clock", "warning", text)
        else:
            yield Diagnosis("HubSpot clock", "ok", "no more than a minute apart")


class HubSpot:
    """The connector: see `syncing.Connector`.

    Attributes:
        told_at: the time by HubSpot's clock when it last answered.
        heard_at: the same by ours.
    """

    def __init__(self, settings: Settings, attempts: int = ATTEMPTS) -> None:
        token = settings.hubspot_token.get_secret_value().strip() if settings.hubspot_token else ""
        self.host = urlsplit(settings.hubspot_url).netloc
        self.overlap = timedelta(minutes=settings.sync_overlap_minutes)
        self.told_at: datetime | None = None
        self.heard_at: datetime | None = None
        self._calls: tuple[int | None, int | None] = (None, None)
        self._offers: dict[str, Offer] = {}
        client = Client(
            request_timeout=(10, 60),
            raise_for_status=False,
            status_codes=(),
            exceptions=(ConnectionError, Timeout, ChunkedEncodingError),
            request_max_attempts=attempts,
            retry_condition=_will_pass,
            request_backoff_factor=FIRST_WAIT,
            request_max_retry_delay=LONGEST_WAIT,
        )
        self._session = client.session
        self._session.send.retry.sleep = lambda seconds: sleep(seconds)  # type: ignore[attr-defined]
        self._client = RESTClient(
            base_url=settings.hubspot_url,
            headers={"Accept": "application/json"},
            auth=BearerTokenAuth(token),
            session=self._session,
            config=RuntimeConfiguration(),
        )

    # What the syncing asks for.

    def offer(self, table: Table) -> Offer:
        """What can be read of a table: its properties, and that a page of it is really given."""
        if table.name not in self._offers:
            try:
                self._offers[table.name] = Offer(self._fields(table), deletions_kept=ARCHIVED_KEPT)
            except NotGrantedError as error:
                return Offer(problem=str(error))
        return self._offers[table.name]

    def pull(
        self, table: Table, fields: Mapping[str, str], since: str | None, memory: Memory
    ) -> Iterator[tuple[pa.Table, str | None]]:
        try:
            yield from self._pieces(table, fields, since)
        except NotGrantedError as error:
            raise SourceError(f"HubSpot's {table.name} {error}, and run again; what was read whole is kept.") from None

    def notes(self) -> list[str]:
        left, limit = self.calls_left()
        if left is None:
            return []
        return [f"HubSpot: {left:,}{f' of {limit:,}' if limit is not None else ''} calls of the day are left"]

    def close(self) -> None:
        self._session.close()

    # What the diagnosis asks for.

    def account(self) -> Row:
        return self._ask(f"account-info/{VERSION}/details")

    def calls_left(self) -> tuple[int | None, int | None]:
        """How many calls of the day are left, and of how many: what answers say, or else the account's own count."""
        if self._calls[0] is None:
            try:
                for usage in self._ask(f"account-info/{VERSION}/api-usage/daily/private-apps").get("results", []):
                    limit = int(usage["usageLimit"])
                    self._calls = (max(limit - int(usage["currentUsage"]), 0), limit)
            except (SourceError, KeyError, ValueError, TypeError):
                pass  # Told as not known.
        return self._calls

    # What can be read.

    def _fields(self, table: Table) -> dict[str, str]:
        if table.name == "owners":
            self._ask(f"crm/owners/{VERSION}", limit=1)
            try:
                return {**self._properties("users"), **OWNER}
            except NotGrantedError:
                return dict(OWNER)
        if table.name == "deal_stages":
            self._ask(f"crm/pipelines/{VERSION}/deals")
            return dict(STAGE)
        if table.name == "associations":
            # Read whole: what cannot be read would look as if it were gone. So all of it is read, or none.
            for kind in sorted({*ASSOCIATIONS, *(other for others in ASSOCIATIONS.values() for other in others)}):
                self._ask(f"crm/objects/{VERSION}/{kind}", limit=1)
            return dict(ASSOCIATION)
        if table.name == "deal_property_history":
            self._properties("deals")
            return dict(CHANGE)
        beside = dict(BESIDE)
        if table.name == "products":
            try:
                if self.account().get(COMPANY_CURRENCY):
                    beside[COMPANY_CURRENCY] = "string"
            except NotGrantedError:
                pass  # Told as a field that is not there or not granted.
        return {**self._properties(table.name), **beside}

    def _properties(self, kind: str) -> dict[str, str]:
        """Properties of an object and their types, if its records can be read as well."""
        found = self._ask(f"crm/properties/{VERSION}/{kind}")["results"]
        self._ask(f"crm/objects/{VERSION}/{kind}", limit=1)
        return {entry["name"]: entry["type"] for entry in found}

    # How each table is read.

    def _pieces(
        self, table: Table, fields: Mapping[str, str], since: str | None
    ) -> Iterator[tuple[pa.Table, str | None]]:
        if table.name == "owners":
            yield _strings(self._owners(fields), fields), None
        elif table.name == "deal_stages":
            yield _strings(self._stages(), fields), None
        elif table.name == "associations":
            for rows in self._associations():
                yield _strings(rows, fields), None
        elif table.name == "deal_property_history":
            yield from self._histories(fields, since)
        else:
            yield from self._records(table, fields, since)

    def _records(
        self, table: Table, fields: Mapping[str, str], since: str | None
    ) -> Iterator[tuple[pa.Table, str | None]]:
        """Records of an object: the archived ones first, so that one archived meanwhile comes once."""
        types = self.offer(table).fields
        begun = self._now()
        constants = {"archived": "true"}
        if COMPANY_CURRENCY in fields.values():
            constants[COMPANY_CURRENCY] = self.account()[COMPANY_CURRENCY]
        properties = sorted({name for name in fields.values() if name not in {*BESIDE, COMPANY_CURRENCY}})
        gone: set[str] = set()
        for rows in self._list(table.name, properties, archived=True):
            gone.update(row["id"] for row in rows)
            yield _piece(rows, properties, types, constants, fields), None
        constants["archived"] = "false"
        cursor = table.cursor if table.cursor in types else None
        newest = _moment(since) if since else None
        is_whole = since is None or cursor is None
        told = set(gone)
        pages = (
            self._list(table.name, properties)
            if is_whole
            else self._changed(table.name, str(cursor), self._from(str(since)), properties)
        )
        for page in pages:
            rows = [row for row in page if row["id"] not in gone]
            if cursor:
                newest = _newest(newest, begun, [row["properties"].get(cursor) for row in rows])
            piece = _piece(rows, properties, types, constants, fields)
            yield piece, _written(newest)
            if not is_whole and "hs_merged_object_ids" in piece.column_names:
                # A whole read shows what is gone; a search does not tell of records that became part of another.
                yield _merged(piece, table, told), None

    def _histories(self, fields: Mapping[str, str], since: str | None) -> Iterator[tuple[pa.Table, str | None]]:
        """What deals' properties were: of every deal at first or when other properties are wanted, then of changed."""
        begun = self._now()
        types = self._properties("deals")
        mapped = load_source("hubspot").table("deals").fields
        names = {name: name for name in HISTORY if name in types}
        names |= {name: column for name, column in mapped.items() if column in MAPPED_HISTORY and name in types}
        wanted = ",".join(f"{name}>{column}" for name, column in sorted(names.items()))
        moment, _, before = (since or "").partition(" ")
        newest = _moment(moment) if moment else None
        is_whole = before != wanted
        clock = "hs_lastmodifieddate"
        archived = (
            [row["id"] for row in rows if is_whole or _moment(row.get("archivedAt", moment)) >= self._from(moment)]
            for rows in self._list("deals", [clock], archived=True)
        )
        pages = self._list("deals", [clock]) if is_whole else self._changed("deals", clock, self._from(moment), [clock])
        alive = ([row["id"] for row in rows] for rows in pages)
        for ids, is_archived in ((archived, True), (alive, False)):
            for batch in _batches(ids, HISTORY_BATCH):
                rows = self._read("deals", batch, [clock], archived=is_archived, history=list(names))
                if not is_archived:
                    newest = _newest(newest, begun, [row["properties"].get(clock) for row in rows])
                changes = [
                    {
                        **change,
                        "deal_id": row["id"],
                        "property": names[name],
                        "value": _iso(change.get("value"), types[name]),
                    }
                    for row in rows
                    for name, history in row.get("propertiesWithHistory", {}).items()
                    if name in names
                    for change in history
                ]
                yield _strings(changes, fields), f"{_written(newest)} {wanted}" if newest else None

    def _owners(self, fields: Mapping[str, str]) -> list[Row]:
        """Owners with their main team, and with the properties of the user each is or, having left, was."""
        wanted = sorted(set(fields.values()) - set(OWNER))
        users: dict[str, Row] = {}
        for archived in (True, False) if wanted else ():
            for rows in self._list("users", ["hubspot_owner_id", *wanted], archived=archived):
                users |= {row["properties"].get("hubspot_owner_id"): row["properties"] for row in rows}
        owners: dict[str, Row] = {}
        for state in ("true", "false"):
            for rows in self._pages(f"crm/owners/{VERSION}", {"limit": LIST_PAGE, "archived": state}):
                for row in rows:
                    team: Row = next((team for team in row.get("teams") or [] if team.get("primary")), {})
                    owners[row["id"]] = {
                        **users.get(row["id"], {}),
                        **row,
                        # One who left has no user any more, but was one.
                        "userId": row.get("userId") or row.get("userIdIncludingInactive"),
                        "primaryTeamId": team.get("id"),
                        "primaryTeamName": team.get("name"),
                        "archived": state,
                    }
        return list(owners.values())

    def _stages(self) -> list[Row]:
        return [
            {
                **stage,
                "probability": stage.get("metadata", {}).get("probability"),
                "isClosed": stage.get("metadata", {}).get("isClosed"),
                "pipelineId": pipeline["id"],
                "pipelineLabel": pipeline["label"],
            }
            for pipeline in self._ask(f"crm/pipelines/{VERSION}/deals")["results"]
            for stage in pipeline["stages"]
        ]

    def _associations(self) -> Iterator[list[Row]]:
        for kind, others in ASSOCIATIONS.items():
            ids = ([row["id"] for row in rows] for rows in self._list(kind, []))
            for batch in _batches(ids, ASSOCIATION_BATCH):
                for other in others:
                    yield from self._associated(kind, other, batch)

    def _associated(self, kind: str, other: str, ids: Sequence[str]) -> Iterator[list[Row]]:
        """Associations of up to a thousand records; those with very many come in several answers."""
        inputs: list[Row] = [{"id": record} for record in ids]
        while inputs:
            found = self._ask(f"crm/associations/{VERSION}/{kind}/{other}/batch/read", {"inputs": inputs})["results"]
            yield [
                {
                    "from_type": kind,
                    "from_id": entry["from"]["id"],
                    "to_type": other,
                    "to_id": to["toObjectId"],
                    **association,
                    "archived": "false",
                }
                for entry in found
                for to in entry["to"]
                for association in to["associationTypes"]
            ]
            inputs = [
                {"id": entry["from"]["id"], "after": entry["paging"]["next"]["after"]}
                for entry in found
                if entry.get("paging", {}).get("next")
            ]

    # Lists, searches and batches of records.

    def _list(self, kind: str, properties: Sequence[str], archived: bool = False) -> Iterator[list[Row]]:
        """All records of an object, by pages."""
        asked = ",".join(properties)
        is_long = len(asked) > LONGEST_LIST
        params = {
            "limit": LIST_PAGE,
            "archived": str(archived).lower(),
            # Asked for nothing, HubSpot gives a few of its choice.
            "properties": "hs_object_id" if is_long or not asked else asked,
        }
        for rows in self._pages(f"crm/objects/{VERSION}/{kind}", params):
            yield self._read(kind, [row["id"] for row in rows], properties, archived) if is_long else rows

    def _changed(self, kind: str, cursor: str, since: datetime, properties: Sequence[str]) -> Iterator[list[Row]]:
        """Records that changed since a moment, by pages in the order of their ids."""
        search: Row = {
            "filterGroups": [
                {
                    "filters": [
                        {"propertyName": cursor, "operator": "GTE", "value": str(int(since.timestamp() * 1000))},
                        {"propertyName": "hs_object_id", "operator": "GT", "value": "0"},
                    ]
                }
            ],
            "sorts": [{"propertyName": "hs_object_id", "direction": "ASCENDING"}],
            "properties": list(properties),
            "limit": SEARCH_PAGE,
        }
        is_long = len(json.dumps(search)) > LONGEST_SEARCH
        if is_long:
            search["properties"] = ["hs_object_id"]
        for rows in self._pages(f"crm/objects/{VERSION}/{kind}/search", search=search):
            if not is_long:
                yield rows
            else:
                for batch in _batches([[row["id"] for row in rows]], BATCH):
                    yield self._read(kind, batch, properties)

    def _read(
        self,
        kind: str,
        ids: Sequence[str],
        properties: Sequence[str],
        archived: bool = False,
        history: Sequence[str] = (),
    ) -> list[Row]:
        """Records by their ids; one that is gone meanwhile is not among them."""
        if not ids:
            return []
        wanted: Row = {"inputs": [{"id": record} for record in ids], "properties": list(properties)}
        if history:
            wanted["propertiesWithHistory"] = list(history)
        return self._ask(f"crm/objects/{VERSION}/{kind}/batch/read", wanted, archived=str(archived).lower())["results"]

    # The line.

    def _pages(self, path: str, params: Row | None = None, search: Row | None = None) -> Iterator[list[Row]]:
        """Pages of records; one that comes again instead of the next is asked for anew."""
        paginator: _Listing | _ById = _ById() if search else _Listing()
        with self._in_one_sentence():
            for page in self._client.paginate(
                path,
                method="POST" if search else "GET",
                params=params,
                json=search,
                paginator=paginator,
                data_selector="results",
                hooks={"response": [self._received]},
            ):
                if not paginator.is_repeated:
                    yield list(page)

    def _ask(self, path: str, content: Row | None = None, **params: Any) -> Row:
        with self._in_one_sentence():
            response = self._client.request(
                path,
                method="GET" if content is None else "POST",
                params=params,
                json=content,
                hooks={"response": [self._received]},
            )
            return response.json()

    def _received(self, response: Response, *args: Any, **kwargs: Any) -> None:
        """Looks at each answer before it counts as one."""
        self.heard_at = datetime.now(UTC)
        try:
            self.told_at = parsedate_to_datetime(response.headers["Date"])
        except (KeyError, ValueError):
            self.told_at = None
        left = response.headers.get("X-HubSpot-RateLimit-Daily-Remaining")
        if left is not None and left.isdigit():
            limit = response.headers.get("X-HubSpot-RateLimit-Daily", "")
            self._calls = (int(left), int(limit) if limit.isdigit() else None)
        if response.status_code >= 400:
            raise HTTPError(response=response)
        try:
            response.json()
        except ValueError:
            raise ChunkedEncodingError("an answer was cut off") from None

    @contextmanager
    def _in_one_sentence(self) -> Iterator[None]:
        try:
            yield
        except HTTPError as error:
            assert error.response is not None  # None is raised here without one.
            raise _told(error.response) from None
        except RequestException as error:
            raise SourceError(
                f"HubSpot at {self.host} does not answer ({type(error).__name__}); see that it can be reached from "
                "here, and run again, what was read whole is kept."
            ) from None

    def _now(self) -> datetime:
        """The time by HubSpot's clock, rather a little early: no change after it was read yet."""
        return self.told_at or datetime.now(UTC)

    def _from(self, since: str) -> datetime:
        """From when on changes are asked for: a search learns of a change some moments later."""
        return _moment(since) - self.overlap


class _Listing(JSONResponseCursorPaginator):
    """Pages of a list, each with the place of the next."""

    def __init__(self) -> None:
        super().__init__(cursor_path="paging.next.after", cursor_param="after")
        self.is_repeated = False
        self._repeats = 0
        self._ids: list[str] = []

    def update_state(self, response: Response, data: list[Any] | None = None) -> None:
        ids = [row["id"] for row in data or []]
        self.is_repeated = bool(ids) and ids == self._ids
        if self.is_repeated:
            self._repeats = _counted(self._repeats)
            return  # The same place is asked for once more.
        self._ids, self._repeats = ids, 0
        super().update_state(response, data)


class _ById(BasePaginator):
    """Pages of a search sorted by id: each asks for the ids after the last one."""

    def __init__(self) -> None:
        super().__init__()
        self.is_repeated = False
        self._repeats = 0
        self._last = 0

    def update_state(self, response: Response, data: list[Any] | None = None) -> None:
        ids = [int(row["id"]) for row in data or []]
        if ids != sorted(ids):
            raise SourceError("HubSpot did not sort its search by hs_object_id, so rows could be missed; run again.")
        self.is_repeated = bool(ids) and ids[0] <= self._last
        if self.is_repeated:
            self._repeats = _counted(self._repeats)
            return
        self._repeats = 0
        self._last = ids[-1] if ids else self._last
        self._has_next_page = "next" in (response.json().get("paging") or {})

    def update_request(self, request: Request) -> None:
        search: Any = request.json
        search["filterGroups"][0]["filters"][1]["value"] = str(self._last)


def _counted(repeats: int) -> int:
    if repeats + 1 >= ATTEMPTS:
        raise SourceError("HubSpot gives the same page again and again; run again, what was read whole is kept.")
    return repeats + 1


def _will_pass(response: Response | None, exception: BaseException | None) -> bool:
    """Whether the same request can go well in a moment."""
    if response is None or response.status_code not in (*PASSING, 429):
        return False
    wait = response.headers.get("Retry-After", "").strip()
    if wait.isdigit() and int(wait) > LONGEST_WAIT:
        return False
    return response.status_code != 429 or _content(response).get("policyName") != "DAILY"


def _told(response: Response) -> SourceError:
    """What an answer that is none means, and what to do."""
    content = _content(response)
    status = response.status_code
    if status == 401:
        return SourceError(
            "HubSpot does not know the key in SIGHTLINE_HUBSPOT_TOKEN (mistyped, rotated or deleted); "
            "copy it again from HubSpot under Development, Keys, Service keys, and run again."
        )
    reason = " ".join(str(content.get(name, "")) for name in ("category", "message")).strip()[:200]
    if status in (403, 404):
        scopes = sorted(
            {
                scope
                for part in (content, *(content.get("errors") or []))
                for name in ("requiredGranularScopes", "requiredScopes", "missingScopes")
                for scope in (part.get("context") or {}).get(name) or []
            }
        )
        # Or the portal's subscription does not have the object at all.
        what = f": grant the key {' or '.join(scopes)}" if scopes else f" ({status} {reason})"
        return NotGrantedError(f"may not be read{what}")
    if status == 429 and content.get("policyName") == "DAILY":
        return SourceError(
            "The calls HubSpot allows in a day are used up; run again after midnight of the portal's time zone, "
            "what was read whole is kept."
        )
    if status in (*PASSING, 429):
        wait = response.headers.get("Retry-After", "").strip()
        when = f"in {wait} seconds" if wait.isdigit() else "later"
        return SourceError(f"HubSpot is busy ({status}); run again {when}, what was read whole is kept.")
    return SourceError(
        f"HubSpot refused {urlsplit(response.url).path} ({status} {reason}); see docs/hubspot-access.md."
    )


def _content(response: Response) -> Row:
    """The body of an error, as far as it is one; every field of it is optional."""
    try:
        content = response.json()
    except (ValueError, RequestException):
        return {}
    return content if isinstance(content, dict) else {}


def _batches(pages: Iterable[Sequence[str]], size: int) -> Iterator[list[str]]:
    """Ids of many pages, as many at once as a batch may hold."""
    waiting: list[str] = []
    for ids in pages:
        waiting += ids
        while len(waiting) >= size:
            yield waiting[:size]
            waiting = waiting[size:]
    if waiting:
        yield waiting


def _strings(rows: Sequence[Row], fields: Mapping[str, str]) -> pa.Table:
    """Rows as text under the names of their columns."""
    columns = {
        column: pa.array([None if row.get(name) is None else _word(row[name]) for row in rows], pa.string())
        for column, name in fields.items()
    }
    return pa.table(columns)


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _piece(
    rows: Sequence[Row],
    properties: Sequence[str],
    types: Mapping[str, str],
    constants: Mapping[str, str],
    fields: Mapping[str, str],
) -> pa.Table:
    """A page of records as text: its properties, their ids, and what is the same for all of them."""
    schema = pa.schema([(name, pa.string()) for name in properties])
    table = pa.Table.from_pylist([row["properties"] for row in rows], schema=schema)
    found = {
        name: _iso_column(table.column(name), types[name]) if types[name] in FORMATS else table.column(name)
        for name in properties
    }
    found["id"] = pa.chunked_array([pa.array([row["id"] for row in rows], pa.string())])
    found |= {name: pa.chunked_array([pa.array([value] * len(rows), pa.string())]) for name, value in constants.items()}
    return pa.table({column: found[name] for column, name in fields.items()})


def _merged(piece: pa.Table, table: Table, told: set[str]) -> pa.Table:
    """A row that says archived for each record that was merged into one of these and is not told of yet."""
    ids = pc.split_pattern(piece["hs_merged_object_ids"].combine_chunks(), ";")
    survivors = piece.take(pc.list_parent_indices(ids))
    merged = pc.utf8_trim_whitespace(pc.list_flatten(ids))
    nothing = pa.nulls(len(merged), pa.string())
    # A row without what its table cannot do without would be held back.
    needed = {column.name for column in table.columns if column.is_required}
    rows = pa.table(
        {name: survivors[name] if name in needed else nothing for name in piece.column_names}
        | {"id": merged, "archived": pa.array(["true"] * len(merged), pa.string())}
    )
    is_new = []
    for one, survivor in zip(merged.to_pylist(), survivors["id"].to_pylist(), strict=True):
        is_new.append(bool(one) and one != survivor and one not in told)
        told.add(one)
    return rows.filter(pa.array(is_new, pa.bool_()))


def _iso_column(column: pa.ChunkedArray, kind: str) -> pa.ChunkedArray:
    """Moments that are given as milliseconds, written as moments."""
    is_number = pc.fill_null(pc.match_substring_regex(column, MILLISECONDS), False)
    if not pc.any(is_number).as_py():
        return column
    moments = pc.if_else(is_number, column, None).cast(pa.int64()).cast(pa.timestamp("ms"))
    return pc.if_else(is_number, pc.strftime(moments, FORMATS[kind]), column)


def _iso(value: str | None, kind: str) -> str | None:
    """The same for one value."""
    if value is None or kind not in FORMATS or not re.match(MILLISECONDS, value):
        return value
    written = _written(datetime.fromtimestamp(int(value) / 1000, UTC))
    return written[:10] if written and kind == "date" else written


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _written(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if moment else None


def _newest(newest: datetime | None, begun: datetime, values: Sequence[str | None]) -> datetime | None:
    """The newest moment so far, but none after the read began: what changed since is asked for next time."""
    column = _iso_column(pa.chunked_array([pa.array(values, pa.string())]), "datetime")
    last = pc.max(column.cast(pa.timestamp("ms", "UTC"))).as_py()
    if last is None:
        return newest
    last = min(last, begun)
    return max(newest, last) if newest else last
