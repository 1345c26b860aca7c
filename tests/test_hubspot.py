"""HubSpot, driven through the real client against a portal on this machine, with everything that goes wrong there."""

from __future__ import annotations

import csv
import logging
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from orchestration.errors import SourceError
from orchestration.ingest import hubspot, landing, syncing
from orchestration.ingest.contract import Source, load_source
from orchestration.ingest.hubspot import connect_hubspot, examine_hubspot
from orchestration.ingest.landing import Batch, accept, accepted_batches, land
from orchestration.ingest.syncing import sync
from orchestration.settings import Settings
from tests.servers.hubspot import TOKEN, Fault, HubSpotServer, too_many
from tests.shapes.hubspot import write_hubspot

OLD = "2026-01-01T00:00:00.000Z"
TABLES = ("owners", "companies", "deal_stages", "deals", "deal_property_history", "associations")
ALL = load_source("hubspot")


def company(number: int, changed: str = OLD, **more: str) -> dict[str, Any]:
    return {
        "id": str(number),
        "name": f"Company {number}",
        "hubspot_owner_id": "7",
        "createdate": OLD,
        "hs_lastmodifieddate": changed,
        **more,
    }


def deal(number: int, changed: str = OLD, **more: str) -> dict[str, Any]:
    return {
        "id": str(number),
        "dealname": f"Deal {number}",
        "dealstage": "one",
        "hubspot_owner_id": "7",
        "amount": "100",
        "rival": "",
        "createdate": OLD,
        "closedate": "2026-03-31T00:00:00Z",
        "hs_lastmodifieddate": changed,
        **more,
    }


def was(deal: int, name: str, value: str, at: str = OLD) -> dict[str, Any]:
    return {
        "deal_id": str(deal),
        "property": name,
        "timestamp": at,
        "value": value,
        "sourceType": "CRM_UI",
        "sourceId": "userId:77",
        "updatedByUserId": "77",
    }


def stage(key: str, label: str) -> dict[str, Any]:
    return {
        "id": key,
        "label": label,
        "displayOrder": "0",
        "probability": "0.2",
        "isClosed": "false",
        "archived": "false",
        "pipelineId": "default",
        "pipelineLabel": "Sales",
    }


def owner(number: int, **more: str) -> dict[str, Any]:
    return {
        "id": str(number),
        "email": f"{number}@example.com",
        "firstName": "Ann",
        "lastName": f"Owner {number}",
        "userId": str(number * 11),
        "primaryTeamId": "3",
        "primaryTeamName": "North",
        "createdAt": OLD,
        "updatedAt": OLD,
        "archived": "false",
        "job": "manager",
        **more,
    }


def tie(from_type: str, from_id: int, to_type: str, to_id: int, kind: int = 5) -> dict[str, Any]:
    return {
        "from_type": from_type,
        "from_id": str(from_id),
        "to_type": to_type,
        "to_id": str(to_id),
        "category": "HUBSPOT_DEFINED",
        "typeId": str(kind),
        "label": "Primary",
    }


def portal() -> dict[str, list[dict[str, Any]]]:
    return {
        "owners": [owner(7), owner(8, archived="true")],
        "companies": [company(number) for number in (1, 2, 30)],
        "deal_stages": [stage("one", "Discovery"), stage("two", "Proposal")],
        "deals": [deal(number) for number in (100, 101, 1000)],
        "deal_property_history": [
            was(100, "dealstage", "one"),
            was(100, "closedate", "1774915200000"),
            was(101, "amount", "100"),
            was(1000, "rival", "Initech"),
        ],
        "associations": [tie("deals", 100, "companies", 1), tie("deals", 101, "companies", 2)],
    }


@pytest.fixture
def server() -> Iterator[HubSpotServer]:
    with HubSpotServer(portal(), page=2) as running:
        yield running


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the client waited, without waiting."""
    waited: list[float] = []
    monkeypatch.setattr(hubspot, "sleep", waited.append)
    return waited


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Source:
    """Six of HubSpot's tables, with two custom properties mapped."""
    chosen = {"deals": {"rival": "competitor", "shoe": "x_shoe"}, "owners": {"job": "role"}}
    small = replace(ALL, tables=tuple(replace(ALL.table(name), fields=dict(chosen.get(name, {}))) for name in TABLES))
    use(monkeypatch, small)
    return small


def use(monkeypatch: pytest.MonkeyPatch, source: Source) -> None:
    for module in (syncing, landing, hubspot):
        monkeypatch.setattr(module, "load_source", lambda name: source if name == "hubspot" else load_source(name))
    monkeypatch.setattr(hubspot, "ASSOCIATIONS", {"deals": ("companies",)})


@pytest.fixture
def settings(server: HubSpotServer, waits: list[float], source: Source, tmp_path: Path) -> Settings:
    return for_home(server, tmp_path / "home")


def for_home(server: HubSpotServer, home: Path) -> Settings:
    return Settings(
        home=home, sources=("hubspot",), hubspot_token=TOKEN, hubspot_url=server.url, extract_dir=None, _env_file=None
    )


def load(settings: Settings) -> Batch | None:
    """One sync; what it asked the portal is what `requests` of it holds afterwards."""
    batch = land(settings, "hubspot", sync(settings, "hubspot"))
    for counts in batch.tables if batch else ():
        assert counts.landed == counts.accepted + counts.quarantined + counts.superseded
        assert counts.quarantined == 0, counts
    accept(settings, "hubspot")
    return batch


def versions(settings: Settings, table: str, *columns: str) -> list[tuple[Any, ...]]:
    """Columns and operation of every version in the order they became known."""
    names = ", ".join(f'"{name}"' for name in columns)
    files = settings.raw / "hubspot" / "*" / f"{table}.parquet"
    return duckdb.execute(
        f"select {names}, _operation from read_parquet('{files}', union_by_name = true) "
        f"order by _extracted_at, _batch_id, {names}"
    ).fetchall()


def everything(settings: Settings) -> list[tuple[Any, ...]]:
    """All that landed, but for when."""
    found: list[tuple[Any, ...]] = []
    for table in TABLES:
        files = settings.raw / "hubspot" / "*" / f"{table}.parquet"
        rows = duckdb.execute(
            "select * exclude (_row, _batch_id, _extracted_at, _known_at, filename), "
            "dense_rank() over (order by filename) as load "
            f"from read_parquet('{files}', union_by_name = true, filename = true)"
        ).fetchall()
        found += sorted((table, *map(str, row)) for row in rows)
    return found


def read_csv(path: Path) -> list[dict[str, Any]]:
    """Rows as a portal has them: an empty field is none."""
    with path.open(encoding="utf-8", newline="") as file:
        return [{name: value or None for name, value in row.items()} for row in csv.DictReader(file)]


def now(seconds: float = 0) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def test_what_the_portal_has_is_what_lands(server: HubSpotServer, settings: Settings) -> None:
    batch = load(settings)
    assert batch is not None
    assert versions(settings, "companies", "id", "name", "archived") == [
        ("1", "Company 1", "false", "upsert"),
        ("2", "Company 2", "false", "upsert"),
        ("30", "Company 30", "false", "upsert"),
    ]
    assert versions(settings, "owners", "id", "userId", "primaryTeamName", "role", "archived") == [
        ("7", "77", "North", "manager", "false", "upsert"),
        ("8", "88", "North", "manager", "true", "upsert"),
    ]
    assert versions(settings, "deal_stages", "id", "label", "probability", "pipelineLabel") == [
        ("one", "Discovery", "0.2", "Sales", "upsert"),
        ("two", "Proposal", "0.2", "Sales", "upsert"),
    ]
    assert versions(settings, "deal_property_history", "deal_id", "property", "value", "updatedByUserId") == [
        ("100", "closedate", "2026-03-31T00:00:00.000Z", "77", "upsert"),
        ("100", "dealstage", "one", "77", "upsert"),
        ("1000", "competitor", "Initech", "77", "upsert"),
        ("101", "amount", "100", "77", "upsert"),
    ]
    assert versions(settings, "associations", "from_id", "to_id", "typeId", "label") == [
        ("100", "1", "5", "Primary", "upsert"),
        ("101", "2", "5", "Primary", "upsert"),
    ]
    assert batch.state["deals"]["cursor"] == OLD


def test_every_table_of_the_source_is_read(
    server: HubSpotServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(hubspot, "sleep", lambda seconds: None)
    for kind in ("contacts", "products", "line_items", "calls", "emails", "meetings", "tasks", "goal_targets"):
        clock = {"hs_lastmodifieddate": OLD, "lastmodifieddate": OLD, "hs_timestamp": OLD}
        server.tables[kind] = [{"id": str(number), **clock, "hs_start_datetime": OLD} for number in (1, 2, 3)]
        for row in server.tables[kind]:
            row["hs_end_datetime"] = OLD
    server.tables["associations"] += [tie("calls", 1, "contacts", 2, 194), tie("line_items", 3, "deals", 100, 20)]
    batch = load(settings)
    assert batch is not None
    landed = {counts.table: counts.accepted for counts in batch.tables}
    assert landed == {table.name: 3 for table in ALL.tables} | {
        "owners": 2,
        "deal_stages": 2,
        "deal_property_history": 3,
        "associations": 4,
    }, "a history of a property that is mapped nowhere is not read"
    assert versions(settings, "products", "companyCurrency")[0] == ("USD", "upsert")
    assert {batch.state[kind]["cursor"] for kind in ("contacts", "calls", "goal_targets")} == {OLD}
    searched = len(server.requests)
    load(settings)
    again = server.paths()[searched:]
    assert "/crm/objects/2026-09/contacts/search" in again and "/crm/objects/2026-09/goal_targets/search" in again


def test_the_demo_company_lands_through_the_api_as_it_does_from_files(
    demo_extract: Path, waits: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = write_hubspot(demo_extract, tmp_path / "files")
    tables = {path.stem: read_csv(path) for path in files.glob("*.csv")}
    mapped = {table.name: [column.name for column in table.columns if column.is_mapped] for table in ALL.tables}
    source = replace(
        ALL, tables=tuple(replace(table, fields={name: name for name in mapped[table.name]}) for table in ALL.tables)
    )
    for module in (syncing, landing, hubspot):
        monkeypatch.setattr(module, "load_source", lambda name: source if name == "hubspot" else load_source(name))
    gone = {
        (name, row["id"]) for name in ("companies", "deals") for row in tables[name] if row.get("archived") == "true"
    }
    assert gone
    with HubSpotServer(tables) as portal:
        over = for_home(portal, tmp_path / "over")
        land(over, "hubspot", sync(over, "hubspot"))
        accept(over, "hubspot")
    from_files = Settings(home=tmp_path / "from", sources=("hubspot",), _env_file=None)
    land(from_files, "hubspot", files)
    accept(from_files, "hubspot")
    for table in ALL.tables:
        if not tables[table.name]:
            continue
        # What the files do not have, the portal has to give all the same: that nothing is archived, for example.
        columns = ", ".join(f'"{name}"' for name in tables[table.name][0] if name != "hs_lastmodifieddate")
        rows = [
            sorted(
                duckdb.execute(
                    f"select {columns} from read_parquet('{settings.raw}/hubspot/*/{table.name}.parquet', "
                    "union_by_name = true)"
                ).fetchall(),
                key=str,
            )
            for settings in (over, from_files)
        ]
        if table.name == "associations":  # A portal does not give those of a record that is archived.
            rows[1] = [row for row in rows[1] if not {tuple(row[:2]), tuple(row[2:4])} & gone]
        assert rows[0] == rows[1], table.name
        assert len(rows[0]) > 5


def change(server: HubSpotServer) -> None:
    """What happens in the portal between two syncs: one of everything."""
    at = now()
    server.row("companies", "2").update(name="Renamed", hs_lastmodifieddate=at)
    server.tables["companies"].append(company(31, at))
    server.archive("companies", "30")
    server.row("deals", "100").update(dealstage="two", hs_lastmodifieddate=at)
    server.tables["deal_property_history"].append(was(100, "dealstage", "two", at))
    server.tables["associations"][0] = tie("deals", 100, "companies", 31)
    server.row("owners", "7").update(archived="true")
    del server.tables["deal_stages"][0]


@pytest.mark.long
def test_a_sync_interrupted_at_any_request_goes_on_without_loss_or_double(
    server: HubSpotServer, settings: Settings, tmp_path: Path
) -> None:
    first = for_home(server, tmp_path / "first")
    load(first)
    requests = len(server.requests)
    landed = everything(first)
    assert requests > 25 and len(landed) == 2 + 3 + 2 + 3 + 4 + 2
    for number in range(1, requests + 1):
        home = for_home(server, tmp_path / f"home-{number}")
        server.requests.clear()
        server.dead_from = number
        with pytest.raises(SourceError, match="does not answer"):
            load(home)
        assert not accepted_batches(home, "hubspot")
        server.dead_from = None
        load(home)
        assert everything(home) == landed, number

    change(server)
    shutil.copytree(first.home, tmp_path / "second")
    second = for_home(server, tmp_path / "second")
    server.requests.clear()
    load(second)
    requests = len(server.requests)
    landed = everything(second)
    assert requests > 25 and len(landed) == 16 + 1 + 3 + 1 + 1 + 1 + 2
    for number in range(1, requests + 1):
        shutil.copytree(first.home, tmp_path / f"again-{number}")
        home = for_home(server, tmp_path / f"again-{number}")
        server.requests.clear()
        server.dead_from = number
        with pytest.raises(SourceError, match="does not answer"):
            load(home)
        assert len(accepted_batches(home, "hubspot")) == 1
        server.dead_from = None
        load(home)
        assert everything(home) == landed, number


def test_what_changed_is_searched_and_nothing_else(server: HubSpotServer, settings: Settings) -> None:
    load(settings)
    change(server)
    server.requests.clear()
    load(settings)
    assert versions(settings, "companies", "id", "name", "archived")[3:] == [
        ("2", "Renamed", "false", "upsert"),
        ("30", "Company 30", "true", "upsert"),
        ("31", "Company 31", "false", "upsert"),
    ]
    assert versions(settings, "deals", "id", "dealstage")[3:] == [("100", "two", "upsert")]
    assert versions(settings, "deal_property_history", "deal_id", "property", "value")[4:] == [
        ("100", "dealstage", "two", "upsert")
    ]
    assert versions(settings, "owners", "id", "archived")[2:] == [("7", "true", "upsert")]
    lists = [path for path in server.paths() if path.startswith("/crm/objects/2026-09/companies?")]
    assert [path for path in lists if "archived=false" in path] == []


def test_a_search_goes_beyond_its_limit_and_over_ties(settings: Settings, server: HubSpotServer) -> None:
    load(settings)
    server.search_limit = 6
    at = now()
    # Ids of one, two and three digits, all changed at the same moment.
    server.tables["companies"] = [company(number, at, name="Changed") for number in range(1, 120)]
    load(settings)
    changed = {key for key, name, _ in versions(settings, "companies", "id", "name") if name == "Changed"}
    assert changed == {str(number) for number in range(1, 120)}
    asked = [content for _, path, content in server.requests if path.endswith("companies/search")]
    assert all(content is not None and "after" not in content for content in asked)


def test_what_changes_while_it_is_read_comes_with_the_next_sync(server: HubSpotServer, settings: Settings) -> None:
    load(settings)
    server.tables["companies"] = [company(number, now()) for number in range(1, 12)]

    def meanwhile() -> None:
        server.row("companies", "1").update(name="Late", hs_lastmodifieddate=now(1))
        server.row("companies", "9").update(name="Soon", hs_lastmodifieddate=now(2))
        server.archive("companies", "10")

    server.requests.clear()
    probe = for_home(server, settings.home.with_name("probe"))
    shutil.copytree(settings.home, probe.home)
    load(probe)
    second_page = [n for n, path in enumerate(server.paths(), 1) if path.endswith("companies/search")][1]
    server.requests.clear()
    server.before[second_page] = meanwhile
    batch = load(settings)
    assert batch is not None
    names = {key: name for key, name, _ in versions(settings, "companies", "id", "name")}
    assert names["1"] == "Company 1" and names["9"] == "Soon" and len(names) == 11, "10 is in neither list"
    assert batch.state["companies"]["cursor"] <= now(), "what is newer than the read began would be skipped over"
    settings = settings.model_copy(update={"sync_overlap_minutes": 0})
    load(settings)
    names = {key: (name, gone) for key, name, gone, _ in versions(settings, "companies", "id", "name", "archived")}
    assert names["1"] == ("Late", "false") and names["10"] == ("Company 10", "true")


def test_a_change_that_a_search_learns_of_late_is_not_missed(server: HubSpotServer, settings: Settings) -> None:
    server.row("companies", "2").update(hs_lastmodifieddate=now(-60))
    load(settings)
    server.row("companies", "1").update(name="Late", hs_lastmodifieddate=now(-300))
    shutil.copytree(settings.home, settings.home.with_name("strict"))
    strict = for_home(server, settings.home.with_name("strict")).model_copy(update={"sync_overlap_minutes": 0})
    load(settings)
    load(strict)
    assert versions(settings, "companies", "id", "name")[3:] == [("1", "Late", "upsert")]
    assert versions(strict, "companies", "id", "name")[3:] == [], "which is what the overlap is for"


def test_what_is_restored_while_it_is_read_comes_once(server: HubSpotServer, settings: Settings) -> None:
    server.archive("companies", "2")
    load(for_home(server, settings.home.with_name("probe")))
    page = [n for n, path in enumerate(server.paths(), 1) if "2026-09/companies?limit=100&archived=false" in path][0]
    server.requests.clear()
    server.before[page] = lambda: server.row("companies", "2").update(archived="false", hs_lastmodifieddate=now(1))
    load(settings)
    assert ("2", "true", "upsert") in versions(settings, "companies", "id", "archived")
    load(settings)
    assert versions(settings, "companies", "id", "archived")[3:] == [("2", "false", "upsert")]


def test_a_first_list_that_is_written_to_misses_nothing(server: HubSpotServer, settings: Settings) -> None:
    server.tables["companies"] = [company(number) for number in range(1, 12)]

    def meanwhile() -> None:
        server.row("companies", "1").update(name="Late", hs_lastmodifieddate=now(1))
        server.archive("companies", "2")
        server.archive("companies", "8")
        server.tables["companies"].append(company(12, now(1)))

    pages: list[int] = []
    probe = for_home(server, settings.home.with_name("probe"))
    load(probe)
    pages = [n for n, path in enumerate(server.paths(), 1) if "2026-09/companies?limit=100&archived=false" in path]
    server.requests.clear()
    server.before[pages[2]] = meanwhile
    load(settings)
    settings = settings.model_copy(update={"sync_overlap_minutes": 0})
    load(settings)
    last = {key: (name, gone) for key, name, gone, _ in versions(settings, "companies", "id", "name", "archived")}
    assert len(last) == 12
    assert last["1"] == ("Late", "false")
    assert {key for key, (_, gone) in last.items() if gone == "true"} == {"2", "8"}


def test_it_waits_as_long_as_hubspot_asks(server: HubSpotServer, settings: Settings, waits: list[float]) -> None:
    server.faults = {3: too_many(wait=7), 9: Fault(status=503, headers={"Retry-After": "11"})}
    load(settings)
    assert waits == [7, 11]
    assert len(versions(settings, "companies", "id")) == 3


@pytest.mark.parametrize("status", [423, 429, 477, 502, 503, 504])
def test_it_waits_longer_each_time_and_not_for_ever(
    server: HubSpotServer, settings: Settings, waits: list[float], status: int
) -> None:
    fault = too_many("SECONDLY") if status == 429 else Fault(status=status)
    server.faults = dict.fromkeys((4, 5, 6), fault)
    load(settings)
    assert waits == [2, 4, 8]
    waits.clear()
    server.requests.clear()
    server.faults = dict.fromkeys(range(1, 50), fault)
    with pytest.raises(SourceError, match=rf"HubSpot is busy \({status}\); run again later"):
        sync(settings, "hubspot")
    assert waits == [2, 4, 8, 16, 32]


def test_a_day_that_is_used_up_is_not_waited_for(server: HubSpotServer, settings: Settings, waits: list[float]) -> None:
    server.faults[12] = too_many("DAILY", wait=1)
    with pytest.raises(SourceError, match="allows in a day are used up; run again after midnight"):
        sync(settings, "hubspot")
    server.faults[len(server.requests) + 1] = too_many(wait=3600)
    with pytest.raises(SourceError, match="run again in 3600 seconds"):
        sync(settings, "hubspot")
    assert waits == []


@pytest.mark.parametrize("how", ["cut", "garbled", "close"])
def test_an_answer_that_is_cut_off_is_asked_for_again(
    server: HubSpotServer, settings: Settings, waits: list[float], how: str
) -> None:
    load(settings)
    whole = everything(settings)
    requests = len(server.requests)
    server.requests.clear()
    server.faults = {number: Fault(how) for number in range(1, 2 * requests, 2)}
    elsewhere = for_home(server, settings.home.with_name("elsewhere"))
    load(elsewhere)
    assert everything(elsewhere) == whole
    assert len(server.requests) == 2 * requests


def test_a_page_that_comes_twice_is_counted_once(server: HubSpotServer, settings: Settings) -> None:
    server.tables["companies"] = [company(number) for number in range(1, 8)]
    load(settings)
    pages = [n for n, path in enumerate(server.paths(), 1) if "2026-09/companies?limit=100&archived=false" in path]
    server.requests.clear()
    server.faults = {pages[1]: Fault("again"), pages[1] + 1: Fault("again"), pages[3]: Fault("again")}
    elsewhere = for_home(server, settings.home.with_name("elsewhere"))
    batch = load(elsewhere)
    assert batch is not None
    assert everything(elsewhere) == everything(settings)
    assert [counts.superseded for counts in batch.tables] == [0] * len(TABLES)

    server.tables["companies"] = [company(number, now(), name="Changed") for number in range(1, 8)]
    shutil.copytree(settings.home, settings.home.with_name("probe"))
    server.requests.clear()
    load(for_home(server, settings.home.with_name("probe")))
    pages = [n for n, path in enumerate(server.paths(), 1) if path.endswith("companies/search")]
    server.requests.clear()
    server.faults = {pages[1]: Fault("again"), pages[3]: Fault("again")}
    batch = load(settings)
    assert batch is not None
    assert len(versions(settings, "companies", "id")) == 14
    server.requests.clear()
    server.tables["companies"][3]["hs_lastmodifieddate"] = now()
    server.faults = {number: Fault("again") for number in range(pages[1], pages[1] + 9)}
    with pytest.raises(SourceError, match="the same page again and again"):
        sync(settings, "hubspot")


def test_what_is_archived_is_a_deletion_where_the_contract_has_no_other_word_for_it(
    server: HubSpotServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, replace(ALL, tables=tuple(ALL.table(name) for name in ("contacts", "deals"))))
    people = [{"id": str(number), "email": f"{number}@example.com", "lastmodifieddate": OLD} for number in (1, 2, 3)]
    server.tables["contacts"] = people
    server.archive("contacts", "3")
    load(settings)
    assert versions(settings, "contacts", "id") == [("1", "upsert"), ("2", "upsert")], "3 was gone before we came"
    server.archive("contacts", "2")
    server.archive("deals", "101")
    load(settings)
    assert versions(settings, "contacts", "id")[2:] == [("2", "delete")]
    assert versions(settings, "deals", "id", "archived")[3:] == [("101", "true", "upsert")]
    server.row("contacts", "2").update(archived="false", lastmodifieddate=now())
    load(settings)
    assert versions(settings, "contacts", "id")[3:] == [("2", "upsert")], "restored"
    load(settings)
    assert len(versions(settings, "contacts", "id")) == 4


def test_a_record_that_was_merged_into_another_is_archived(server: HubSpotServer, settings: Settings) -> None:
    load(settings)
    at = now()
    for kind in ("companies", "deals"):
        first, second, *_ = [row["id"] for row in server.tables[kind]]
        server.tables[kind] = [row for row in server.tables[kind] if row["id"] != second]
        server.row(kind, first).update(hs_merged_object_ids=f"{second};{first}", hs_lastmodifieddate=at)
    load(settings)
    assert versions(settings, "companies", "id", "archived")[3:] == [("1", "false", "upsert"), ("2", "true", "upsert")]
    assert versions(settings, "deals", "id", "archived", "dealstage")[3:] == [
        ("100", "false", "one", "upsert"),
        ("101", "true", "one", "upsert"),
    ]


def test_a_stage_that_is_gone_keeps_its_label(server: HubSpotServer, settings: Settings) -> None:
    load(settings)
    del server.tables["deal_stages"][0]
    server.row("deal_stages", "two").update(label="Negotiation")
    load(settings)
    assert versions(settings, "deal_stages", "id", "label") == [
        ("one", "Discovery", "upsert"),
        ("two", "Proposal", "upsert"),
        ("one", None, "delete"),
        ("two", "Negotiation", "upsert"),
    ]


def test_associations_are_read_whole_because_no_date_tells_of_their_change(
    server: HubSpotServer, settings: Settings
) -> None:
    load(settings)
    server.association_page = 2
    server.tables["associations"] = [tie("deals", 100, "companies", number) for number in (1, 2, 30, 4, 5)]
    load(settings)
    assert versions(settings, "associations", "from_id", "to_id")[2:] == [
        ("100", "2", "upsert"),
        ("100", "30", "upsert"),
        ("100", "4", "upsert"),
        ("100", "5", "upsert"),
        ("101", "2", "delete"),
    ]


def test_a_property_that_comes_goes_or_changes_its_type(server: HubSpotServer, settings: Settings) -> None:
    load(settings)
    assert {key: value for key, value, _ in versions(settings, "deals", "id", "competitor")} == dict.fromkeys(
        ("100", "101", "1000"), None
    )
    server.types["deals"]["shoe"] = "string"
    for row in server.tables["deals"]:
        row["shoe"] = "left"  # A default: no record says that it changed.
    batch = load(settings)
    assert batch is not None
    assert {shoe for shoe, _ in versions(settings, "deals", "x_shoe")[3:]} == {"left"}
    assert "deals now also gives shoe: read again from the beginning" in batch.notes
    del server.types["deals"]["shoe"]
    server.types["deals"]["rival"] = "enumeration"
    server.row("deals", "100").update(rival="Hooli", hs_lastmodifieddate=now())
    batch = load(settings)
    assert batch is not None
    assert "deals no longer gives shoe: empty in rows that change from now on" in batch.notes
    assert "deals has other types: rival (string, now enumeration)" in batch.notes
    assert versions(settings, "deals", "id", "competitor")[6] == ("100", "Hooli", "upsert")


def test_a_property_that_goes_while_it_is_read_is_missed_and_told_next_time(
    server: HubSpotServer, settings: Settings
) -> None:
    load(settings)
    lists = [n for n, path in enumerate(server.paths(), 1) if "2026-09/deals?limit=100&archived=false" in path]
    elsewhere = for_home(server, settings.home.with_name("elsewhere"))
    server.requests.clear()
    server.before[lists[1]] = lambda: server.types["deals"].pop("amount") and None
    load(elsewhere)
    assert {(key, amount) for key, amount, _ in versions(elsewhere, "deals", "id", "amount")} == {
        ("100", "100"),
        ("101", "100"),
        ("1000", None),
    }
    server.types["deals"]["amount"] = "number"
    server.row("deals", "1000").update(hs_lastmodifieddate=now())
    load(elsewhere)
    assert versions(elsewhere, "deals", "id", "amount")[3:] == [("1000", "100", "upsert")]


def test_a_history_that_is_wanted_later_is_read_of_every_deal(
    server: HubSpotServer, settings: Settings, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = [replace(table, fields={}) if table.name == "deals" else table for table in source.tables]
    use(monkeypatch, replace(source, tables=tuple(without)))
    server.row("deals", "100").update(hs_lastmodifieddate=now())
    load(settings)
    assert len(versions(settings, "deal_property_history", "deal_id")) == 3
    use(monkeypatch, source)
    load(settings)
    assert versions(settings, "deal_property_history", "deal_id", "property", "value")[3:] == [
        ("1000", "competitor", "Initech", "upsert")
    ]
    server.requests.clear()
    load(settings)
    read = [content for _, path, content in server.requests if "deals/batch/read" in path]
    assert [content["inputs"] for content in read if content] == [[{"id": "100"}]], "the only one that changed since"


def test_the_history_of_a_deal_archived_since_is_read(server: HubSpotServer, settings: Settings) -> None:
    load(settings)
    server.tables["deal_property_history"].append(was(101, "amount", "200", now()))
    server.archive("deals", "101")
    load(settings)
    assert versions(settings, "deal_property_history", "deal_id", "value")[4:] == [("101", "200", "upsert")]


def test_many_properties_are_read_in_batches(
    server: HubSpotServer, settings: Settings, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"a_property_with_a_long_name_{number:04d}" for number in range(200)]
    for name in names:
        server.types["companies"][name] = "string"
        for row in server.tables["companies"]:
            row[name] = "x"
    chosen = {name: f"x_{name}" for name in names}
    use(monkeypatch, replace(source, tables=(replace(source.table("companies"), fields=chosen),)))
    load(settings)
    server.row("companies", "2").update(hs_lastmodifieddate=now(), **{names[-1]: "y"})
    load(settings)
    assert [row[:2] for row in versions(settings, "companies", "id", f"x_{names[-1]}")] == [
        ("1", "x"),
        ("2", "x"),
        ("30", "x"),
        ("2", "y"),
    ]
    assert max(len(path) for path in server.paths()) < 4000


def test_a_scope_that_is_missing_is_told_and_the_rest_is_read(server: HubSpotServer, settings: Settings) -> None:
    server.denied = {"companies": "crm.objects.companies.read", "users": "crm.objects.users.read"}
    batch = load(settings)
    assert batch is not None
    assert "companies may not be read: grant the key crm.objects.companies.read" in batch.notes
    assert "associations may not be read: grant the key crm.objects.companies.read" in batch.notes
    assert "owners does not offer job: not there, or not granted" in batch.notes
    assert len(versions(settings, "deals", "id")) == 3 and len(versions(settings, "owners", "id")) == 2
    server.denied = {}
    load(settings)
    assert len(versions(settings, "companies", "id")) == 3


def test_an_object_the_portal_does_not_have_is_told_and_the_rest_is_read(
    server: HubSpotServer, settings: Settings, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, replace(source, tables=(ALL.table("goal_targets"), source.table("deals"))))
    server.faults[1] = Fault(status=403, content={"category": "FORBIDDEN", "message": "Not in your subscription."})
    batch = load(settings)
    assert batch is not None
    assert "goal_targets may not be read (403 FORBIDDEN Not in your subscription.)" in batch.notes
    assert len(versions(settings, "deals", "id")) == 3


def test_associations_that_are_read_in_part_would_look_gone(
    server: HubSpotServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hubspot, "ASSOCIATIONS", {"deals": ("companies",), "line_items": ("deals",)})
    load(settings)
    server.denied = {"line_items": "crm.objects.line_items.read"}
    batch = load(settings)
    assert batch is not None
    assert "associations may not be read: grant the key crm.objects.line_items.read" in batch.notes
    assert len(versions(settings, "associations", "from_id")) == 2


def test_a_scope_taken_away_while_reading_ends_the_sync(server: HubSpotServer, settings: Settings) -> None:
    load(settings)
    page = [n for n, path in enumerate(server.paths(), 1) if "2026-09/companies?limit=100&archived=false" in path][1]
    server.requests.clear()
    server.before[page] = lambda: server.denied.update({"companies": "crm.objects.companies.read"})
    elsewhere = for_home(server, settings.home.with_name("elsewhere"))
    with pytest.raises(
        SourceError, match="HubSpot's companies may not be read: grant the key crm.objects.companies.read"
    ):
        sync(elsewhere, "hubspot")
    server.denied = {}
    load(elsewhere)
    assert everything(elsewhere) == everything(settings)


def test_a_key_that_is_rotated_while_reading_is_told_and_nothing_is_lost(
    server: HubSpotServer, settings: Settings, waits: list[float]
) -> None:
    load(settings)
    whole = everything(settings)
    elsewhere = for_home(server, settings.home.with_name("elsewhere"))
    server.requests.clear()
    server.before[15] = lambda: setattr(server, "token", "another")
    with pytest.raises(SourceError, match="does not know the key in SIGHTLINE_HUBSPOT_TOKEN"):
        sync(elsewhere, "hubspot")
    assert len(server.requests) == 15 and waits == []
    load(
        elsewhere.model_copy(update={"hubspot_token": Settings(hubspot_token="another", _env_file=None).hubspot_token})
    )
    assert everything(elsewhere) == whole


def test_a_key_is_in_no_message_and_in_no_file(
    server: HubSpotServer, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    echo = {"message": f"Bearer {TOKEN} is not what we expect", "category": "VALIDATION_ERROR"}
    faults = [
        Fault(status=400, content=echo),
        Fault(status=401, content=echo),
        Fault(status=403, content=echo),
        too_many("DAILY"),
        Fault(status=501, content=echo),
    ]
    for fault in faults:
        server.faults[len(server.requests) + 5] = fault
        with pytest.raises(SourceError) as failure:
            sync(settings, "hubspot")
        assert TOKEN not in str(failure.value) and failure.value.__cause__ is None
        assert failure.value.__suppress_context__
    server.dead_from = len(server.requests) + 3
    with pytest.raises(SourceError) as failure:
        sync(settings, "hubspot")
    assert TOKEN not in str(failure.value)
    server.dead_from = None
    load(settings)
    files = [path for path in settings.home.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert not [path for path in files if TOKEN.encode() in path.read_bytes()]
    assert TOKEN not in caplog.text
    assert TOKEN not in repr(settings) and TOKEN not in repr(connect_hubspot(settings).__dict__)


def test_what_is_left_of_the_day_is_told(server: HubSpotServer, settings: Settings) -> None:
    batch = load(settings)
    assert batch is not None
    left = 250_000 - len(server.requests)
    assert f"HubSpot: {left:,} of 250,000 calls of the day are left" in batch.notes
    server.daily = None
    assert connect_hubspot(settings).notes() == ["HubSpot: 249,000 of 250,000 calls of the day are left"]
    server.usage = None
    assert connect_hubspot(settings).notes() == []


def test_the_doctor_looks_at_the_key_the_line_the_budget_and_the_clock(
    server: HubSpotServer, settings: Settings, waits: list[float]
) -> None:
    def told() -> dict[str, tuple[str, str]]:
        return {found.subject: (found.state, found.text) for found in examine_hubspot(settings)}

    host = server.url.removeprefix("http://")
    assert told() == {
        "HubSpot": ("ok", f"{host} lets us in, portal 62515"),
        "HubSpot calls": ("ok", "249,999 of 250,000 left today"),
        "HubSpot clock": ("ok", "no more than a minute apart"),
    }
    server.daily = (20_000, 250_000)
    server.clock = lambda: datetime.now(UTC) - timedelta(minutes=5)
    assert told()["HubSpot calls"][0] == "warning"
    state, text = told()["HubSpot clock"]
    assert state == "warning" and re.fullmatch(
        r"the clock here is 30[01] seconds ahead of HubSpot's; set the clock", text
    )
    server.token = "another"
    assert told()["HubSpot"][0] == "problem" and "SIGHTLINE_HUBSPOT_TOKEN" in told()["HubSpot"][1]
    server.dead_from = 1
    assert told()["HubSpot"][0] == "problem" and "does not answer" in told()["HubSpot"][1]
    assert len(waits) <= 4, "a doctor does not keep one waiting"


def test_a_clock_that_is_wrong_here_loses_nothing(server: HubSpotServer, settings: Settings) -> None:
    server.clock = lambda: datetime.now(UTC) - timedelta(hours=2)
    server.row("companies", "1").update(hs_lastmodifieddate=now(-7200 + 60))
    batch = load(settings)
    assert batch is not None
    assert batch.state["companies"]["cursor"] < now(-7199), "by HubSpot's clock it changed after the read began"


def test_pieces_are_text(server: HubSpotServer, settings: Settings, source: Source) -> None:
    connector = connect_hubspot(settings)
    memory = syncing.Memory(settings.home / "memory.json")
    for table in source.tables:
        fields, _ = syncing.chosen_fields(table, connector.offer(table))
        for piece, _ in connector.pull(table, fields, None, memory):
            assert piece.column_names == list(fields)
            assert set(piece.schema.types) == {pa.string()}
    connector.close()
