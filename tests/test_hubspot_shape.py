"""What HubSpot says of a company gives the same figures as the same facts in the extract's own form."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from orchestration.demo.company import write_demo
from orchestration.ingest.contract import load_source
from orchestration.ingest.landing import accept, land
from orchestration.settings import PROJECT_ROOT, SEEDS, Settings
from tests.conftest import DEMO_AS_OF, Run, released_once, run_here, sightline
from tests.shapes.hubspot import ENTITIES, LEFT_OUT, write_hubspot, write_restricted

# Two whole runs.
pytestmark = pytest.mark.long

PAGE = PROJECT_ROOT / "docs" / "hubspot.md"
# All that the rest of the warehouse reads of staging, but for deals told anew, which look at the same versions.
READ = [
    *(f"int_{entity}_known" for entity in ENTITIES),
    "int_opportunities_versions",
    "int_opportunity_changes_versions",
    "int_activities_versions",
]
LOAD = ("_source", "_batch_id")


@pytest.fixture(scope="module")
def hubspot_run(tmp_path_factory: pytest.TempPathFactory, demo_extract: Path) -> Run:
    def told(home: Path) -> Run:
        files = write_hubspot(demo_extract, home.parent / "files")
        return sightline(home, "run", "--source", "hubspot", "--extract", files)

    return released_once(tmp_path_factory, "hubspot_run", told)


@pytest.fixture(scope="module")
def restricted_run(tmp_path_factory: pytest.TempPathFactory, demo_extract: Path) -> Run:
    def told(home: Path) -> Run:
        return run_here(home, write_restricted(demo_extract, home.parent / "files"))

    return released_once(tmp_path_factory, "hubspot_restricted_run", told)


def differences(connection: duckdb.DuckDBPyConnection, relation: str, columns: str = "*") -> int:
    """Rows that one of `ours` and `theirs` has and the other has not, doubled rows counted."""
    found = connection.execute(
        f"""
        select count(*) from (
            (select {columns} from ours.{relation} except all select {columns} from theirs.{relation})
            union all
            (select {columns} from theirs.{relation} except all select {columns} from ours.{relation})
        )
        """
    ).fetchone()
    assert found is not None
    return int(found[0])


@pytest.fixture(scope="module")
def both(hubspot_run: Run, restricted_run: Run) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute(f"attach '{hubspot_run.database.resolve()}' as ours (read_only)")
    connection.execute(f"attach '{restricted_run.database.resolve()}' as theirs (read_only)")
    return connection


def published(connection: duckdb.DuckDBPyConnection, database: str) -> set[str]:
    rows = connection.execute(
        f"select schema_name || '.' || table_name from duckdb_tables() where database_name = '{database}'"
    ).fetchall()
    return {str(name) for (name,) in rows}


def test_every_published_table_is_row_for_row_that_of_the_same_facts_in_the_extracts_form(
    both: duckdb.DuckDBPyConnection,
) -> None:
    names = published(both, "ours")
    assert names == published(both, "theirs")
    assert len(names) > 70
    assert {name: count for name in sorted(names) if (count := differences(both, name))} == {}


def test_the_tables_that_stay_empty_are_those_the_page_lists(both: duckdb.DuckDBPyConnection) -> None:
    empty = {
        name
        for name in published(both, "ours")
        if both.execute(f"select count(*) = 0 from ours.{name}").fetchone() == (True,)
    }
    section = PAGE.read_text().split("## Tables that stay empty")[1].split("\n## ")[0]
    assert empty == set(re.findall(r"`([a-z_]+\.[a-z_]+)`", section))


def test_what_hubspot_does_not_hold_is_said_in_the_coverage_and_on_the_page(hubspot_run: Run) -> None:
    missing = hubspot_run.query("select entity from core.data_coverage where note is not null and not is_delivered")
    every = {table.name for table in load_source("extract").tables}
    assert {name for (name,) in missing} == every - set(ENTITIES)
    section = PAGE.read_text().split("## What HubSpot does not hold")[1].split("\n## ")[0]
    assert every - set(ENTITIES) <= set(re.findall(r"`([a-z_]+)`", section))


def test_the_page_maps_every_column_of_every_delivered_entity_to_a_column_that_lands() -> None:
    source = load_source("hubspot")
    landed = {f"{table.name}.{column.name}" for table in source.tables for column in table.columns}
    mapped = {f"{table.name}.{column.name}" for table in source.tables for column in table.columns if column.is_mapped}
    text = PAGE.read_text()
    rows = re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \| (.+?) \|", text.split("## Mapping")[1].split("\n## ")[0], re.M)
    told = {name: re.findall(r"`([a-z_]+\.\w+)`", fields) for name, fields in rows}
    contract = load_source("extract")
    delivered = {f"{entity}.{column.name}" for entity in ENTITIES for column in contract.table(entity).columns}
    assert set(told) == delivered
    for name, fields in told.items():
        assert set(fields) <= landed, name
        entity, column = name.split(".")
        assert bool(fields) != (column in LEFT_OUT.get(entity, [])), name
    # A column that only a custom property can fill is said to be one.
    for name, fields in rows:
        assert ("custom" in fields) == bool(mapped & set(told[name])), name


class Landed:
    """A raw zone of its own, and the models that stand on staging, told for any day by the SQL a run compiled."""

    def __init__(self, run: Run, source: str, home: Path) -> None:
        self.source, self.run = source, run
        self.settings = Settings(home=home, sources=(source,), _env_file=None)  # type: ignore[call-arg]
        home.mkdir(parents=True)
        compiled = run.home / "dbt" / "target" / "compiled" / "sightline" / "models"
        self.models = [
            *((f"staging.{path.stem}", path) for path in sorted((compiled / "staging" / source).glob("stg_*.sql"))),
            ("intermediate.int_account_crosswalk", compiled / "intermediate" / "int_account_crosswalk.sql"),
            *((f"intermediate.{name}", compiled / "intermediate" / "known" / f"{name}.sql") for name in READ),
        ]
        assert len(self.models) > len(ENTITIES) + len(READ)

    def load(self, directory: Path) -> str:
        """Lets an extract in and returns its batch."""
        batch = land(self.settings, self.source, directory)
        assert batch is not None and accept(self.settings, self.source) is not None
        return batch.batch_id

    def tell(self, as_of: date, folder: Path) -> Path:
        """Makes the models for a day, as tables of a database."""
        folder.mkdir(parents=True)
        path = folder / "sightline.duckdb"
        with duckdb.connect(str(path)) as connection:
            connection.execute("set TimeZone = 'UTC'; create schema policy; create schema staging")
            connection.execute("create schema intermediate")
            for seed in ("aliases", "account_crosswalk"):
                connection.execute(
                    f"create table policy.{seed} as from read_csv('{SEEDS / f'{seed}.csv'}', all_varchar = true)"
                )
            for name, model in self.models:
                sql = model.read_text().replace(str(self.run.home), str(self.settings.home))
                sql = sql.replace(f"cast('{DEMO_AS_OF}' as date)", f"cast('{as_of}' as date)")
                connection.execute(f"create table {name} as {sql}")
        return path


def columns_of(connection: duckdb.DuckDBPyConnection, relation: str, without: Sequence[str] = LOAD) -> str:
    names = [row[0] for row in connection.execute(f"describe {relation}").fetchall()]
    return ", ".join(f'"{name}"' for name in names if name not in without)


@pytest.fixture(scope="module")
def extracts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A full extract, and two of what changed since: quotas, jobs, parents, deals and their history among it."""
    folder = tmp_path_factory.mktemp("hubspot") / "extracts"
    days = [DEMO_AS_OF - timedelta(days=40), DEMO_AS_OF - timedelta(days=1)]
    write_demo(folder, scale=0.1, seed=23, until=DEMO_AS_OF, extracts_on=days)
    return sorted(path for path in folder.iterdir() if path.name != "truth")


def test_load_after_load_the_models_above_staging_read_the_same_for_any_day(
    hubspot_run: Run, restricted_run: Run, extracts: list[Path], tmp_path: Path
) -> None:
    ours, theirs = Landed(hubspot_run, "hubspot", tmp_path / "ours"), Landed(restricted_run, "extract", tmp_path / "t")
    days = []
    for extract in extracts:
        ours.load(write_hubspot(extract, tmp_path / "hubspot" / extract.name, among=extracts))
        theirs.load(write_restricted(extract, tmp_path / "restricted" / extract.name))
        days.append(date.fromisoformat(extract.name))
    for day in [*days, days[0] - timedelta(days=200), days[0] + timedelta(days=7)]:
        connection = duckdb.connect()
        for name, landed in (("ours", ours), ("theirs", theirs)):
            path = landed.tell(day, tmp_path / f"{name}-{day}")
            connection.execute(f"attach '{path}' as {name} (read_only)")
        for model in READ:
            relation = f"intermediate.{model}"
            if day in days:
                assert connection.execute(f"select count(*) > 0 from ours.{relation}").fetchone() == (True,), model
            columns = columns_of(connection, f"ours.{relation}")
            assert differences(connection, relation, columns) == 0, (day, model)


# By hand: what HubSpot tells of one deal on five days.
PRIMARY, ANY = {"category": "HUBSPOT_DEFINED", "typeId": "5", "label": "Primary"}, {"category": "HUBSPOT_DEFINED"}
LABEL = {"category": "USER_DEFINED"}


def association(from_type: str, from_id: str, to_type: str, to_id: str, **kind: str) -> dict[str, str]:
    return {"from_type": from_type, "from_id": from_id, "to_type": to_type, "to_id": to_id, **kind}


def deal(stage: str, modified: str, **more: str) -> dict[str, str]:
    return {
        "id": "7",
        "dealname": "A deal",
        "dealstage": stage,
        "amount": "100",
        "createdate": "2026-02-01T09:00:00.000Z",
        "closedate": "2026-05-31T00:00:00Z",
        "hubspot_owner_id": "1",
        "hs_lastmodifieddate": modified,
        **more,
    }


def value(property_name: str, at: str, text: str) -> dict[str, str]:
    return {"deal_id": "7", "property": property_name, "timestamp": at, "value": text, "updatedByUserId": "501"}


DAYS: list[tuple[str, dict[str, list[dict[str, str]]]]] = [
    (
        "2026-03-02",
        {
            "owners": [{"id": "1", "firstName": "Ada", "userId": "501"}, {"id": "2", "email": "b@example.com"}],
            "companies": [{"id": "11", "name": "North"}, {"id": "12", "domain": "south.example"}],
            "deal_stages": [{"id": "s1", "label": "Qualified To Buy"}, {"id": "s2", "label": "Proposal"}],
            "deals": [deal("s2", "2026-02-20T08:00:00Z")],
            "deal_property_history": [
                value("dealstage", "2026-02-20T08:00:00Z", "s2"),
                value("dealstage", "2026-02-01T09:00:00Z", "s1"),
                value("amount", "2026-02-01T09:00:00.000Z", "100"),
                value("hs_next_step", "2026-02-20T08:00:00.250Z", "Call them"),
                value("dealname", "2026-02-21T08:00:00Z", "A deal"),
                value("closedate", "2026-02-01T09:00:00Z", "2026-04-30T00:00:00Z"),
                value("closedate", "2026-02-22T08:00:00Z", "2026-05-31T00:00:00Z"),
            ],
            "line_items": [
                {"id": "41", "price": "10", "quantity": "3", "hs_discount_percentage": "15", "name": "Bolt"}
            ],
            "contacts": [
                {"id": "31", "lastname": "Cho", "associatedcompanyid": "11"},
                {"id": "32", "lastname": "Diaz"},
            ],
            "calls": [
                {"id": "51", "hs_timestamp": "2026-02-10T10:00:00Z", "hs_call_duration": "90000"},
                {"id": "52", "hs_timestamp": "2026-02-11T10:00:00Z", "hs_call_direction": "INBOUND"},
            ],
            "associations": [
                association("deals", "7", "companies", "11", typeId="341", **ANY),
                association("deals", "7", "companies", "11", **PRIMARY),
                association("deals", "7", "companies", "12", typeId="341", **ANY),
                association("deals", "7", "contacts", "31", typeId="3", **ANY),
                association("deals", "7", "contacts", "31", typeId="1", label="Champion", **LABEL),
                association("deals", "7", "contacts", "31", typeId="9", label="Golf partner", **LABEL),
                association("line_items", "41", "deals", "7", typeId="20", **ANY),
                association("calls", "51", "deals", "7", typeId="206", **ANY),
            ],
            "goal_targets": [
                {
                    "id": "61",
                    "hubspot_owner_id": "1",
                    "hs_start_datetime": "2026-01-01T00:00:00Z",
                    "hs_end_datetime": "2026-03-31T23:59:59.999Z",
                    "hs_target_amount": "5000",
                    "hs_kpi_unit_type": "currency",
                },
                {
                    "id": "62",
                    "hubspot_owner_id": "1",
                    "hs_start_datetime": "2026-01-01T00:00:00Z",
                    "hs_end_datetime": "2026-03-31T23:59:59.999Z",
                    "hs_target_amount": "40",
                    "hs_kpi_unit_type": "count",
                },
            ],
        },
    ),
    (
        # Nothing changed in the deal itself, but its company, a role, its stage's name, a call's contact, a quota.
        "2026-03-03",
        {
            "deal_stages": [{"id": "s1", "label": "Qualified To Buy"}, {"id": "s2", "label": "Negotiation"}],
            "associations": [
                association("deals", "7", "companies", "11", archived="true", **PRIMARY),
                association("deals", "7", "companies", "12", **PRIMARY),
                association("deals", "7", "contacts", "31", typeId="1", label="Champion", archived="true", **LABEL),
                association("deals", "7", "contacts", "31", typeId="2", label="Decision maker", **LABEL),
                association("calls", "51", "contacts", "31", typeId="194", **ANY),
            ],
            "goal_targets": [
                {
                    "id": "61",
                    "hubspot_owner_id": "2",
                    "hs_start_datetime": "2026-01-01T00:00:00Z",
                    "hs_end_datetime": "2026-03-31T23:59:59.999Z",
                    "hs_target_amount": "5000",
                    "hs_kpi_unit_type": "currency",
                },
            ],
        },
    ),
    (
        # The deal went on, the stage it was in is gone, and the contact is no longer on it.
        "2026-03-04",
        {
            "deal_stages": [{"id": "s1", "label": "Qualified To Buy"}, {"id": "s3", "label": "Closed Won"}],
            "deals": [
                deal(
                    "s3",
                    "2026-03-04T10:00:00Z",
                    hs_is_closed="true",
                    hs_v2_date_entered_current_stage="2026-03-04T10:00:00Z",
                )
            ],
            "deal_property_history": [value("dealstage", "2026-03-04T10:00:00Z", "s3")],
            "associations": [
                association("deals", "7", "contacts", "31", typeId="2", archived="true", **LABEL),
                association("deals", "7", "contacts", "31", typeId="3", archived="true", **ANY),
                association("deals", "7", "contacts", "31", typeId="9", archived="true", **LABEL),
            ],
            "calls": [{"id": "52", "hs_timestamp": "2026-02-11T10:00:00Z", "archived": "true"}],
            "goal_targets": [
                {
                    "id": "61",
                    "hs_start_datetime": "2026-01-01T00:00:00Z",
                    "hs_end_datetime": "2026-03-31T23:59:59.999Z",
                    "archived": "true",
                }
            ],
        },
    ),
    (
        # The line went to another deal, this one is deleted, and the stage it came from is called as that it went to.
        "2026-03-05",
        {
            "deal_stages": [{"id": "s1", "label": "Negotiation"}, {"id": "s3", "label": "Closed Won"}],
            "associations": [
                association("line_items", "41", "deals", "7", typeId="20", archived="true", **ANY),
                association("line_items", "41", "deals", "8", typeId="20", **ANY),
            ],
            "deals": [deal("s3", "2026-03-05T10:00:00Z", archived="true")],
        },
    ),
    (
        "2026-03-06",
        {"associations": [association("line_items", "41", "deals", "8", typeId="20", archived="true", **ANY)]},
    ),
]


def write_day(folder: Path, day: str, tables: dict[str, list[dict[str, str]]], *, is_first: bool) -> Path:
    folder.mkdir(parents=True)
    for table, rows in tables.items():
        columns = list(dict.fromkeys(name for row in rows for name in row))
        with (folder / f"{table}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    header: dict[str, Any] = {"extracted_at": f"{day}T22:00:00Z", "mode": "full" if is_first else "changes"}
    (folder / "extract.json").write_text(json.dumps(header if is_first else {**header, "whole": ["deal_stages"]}))
    return folder


@pytest.fixture(scope="module")
def told(hubspot_run: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """By last load and as-of day: the models, told after each load for its day and for every earlier one."""
    base = tmp_path_factory.mktemp("by-hand")
    landed = Landed(hubspot_run, "hubspot", base / "home")
    databases = {}
    for number, (day, tables) in enumerate(DAYS):
        landed.load(write_day(base / "files" / day, day, tables, is_first=number == 0))
        for earlier, _ in DAYS[: number + 1]:
            databases[day, earlier] = landed.tell(date.fromisoformat(earlier), base / day / earlier)
    return databases


def ask(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def test_a_later_company_role_or_stage_name_makes_a_known_version_of_the_deal(
    told: dict[tuple[str, str], Path],
) -> None:
    deals = "select account_id, stage, close_date, closed_at, _is_deleted from intermediate.int_opportunities_known"
    roles = "select contact_id, buying_role from intermediate.int_opportunity_contacts_known where not _is_deleted"
    close = date(2026, 5, 31)
    first, second, third, fourth, _ = (told[day, day] for day, _ in DAYS)
    assert ask(first, deals) == [("11", "Proposal", close, None, False)]
    assert ask(first, roles) == [("31", "champion")]
    assert ask(second, deals) == [("12", "Negotiation", close, None, False)]
    assert ask(second, roles) == [("31", "decision_maker")]
    (closed,) = ask(third, deals)
    assert closed[:2] == ("12", "Closed Won") and str(closed[3]) == "2026-03-04 10:00:00"
    assert ask(third, roles) == []
    assert ask(fourth, deals)[0][4] is True


def test_a_renamed_stage_keeps_one_name_in_history_and_a_deleted_one_its_last(
    told: dict[tuple[str, str], Path],
) -> None:
    changes = """
        select field, old_value, new_value, changed_by_id from intermediate.int_opportunity_changes_known
        order by changed_at
    """
    next_step, redated = ("next_step", None, "Call them", "1"), ("close_date", "2026-04-30", "2026-05-31", "1")
    first, second, third, fourth, _ = (told[day, day] for day, _ in DAYS)
    # What the deal was created with is no change, nor is a property the marts do not read.
    assert ask(first, changes) == [("stage", "Discovery", "Proposal", "1"), next_step, redated]
    assert ask(second, changes) == [("stage", "Discovery", "Negotiation", "1"), next_step, redated]
    assert ask(third, changes)[-1] == ("stage", "Negotiation", "Closed Won", "1")
    # From a stage to one of the same name is no change.
    assert ask(fourth, changes) == [next_step, redated, ("stage", "Negotiation", "Closed Won", "1")]
    versions = "select distinct stage from intermediate.int_opportunities_versions order by stage"
    assert ask(second, versions) == [("Negotiation",)]
    assert ask(third, versions) == [("Closed Won",), ("Negotiation",)]


def test_lines_calls_and_quotas_follow_their_records(told: dict[tuple[str, str], Path]) -> None:
    first, second, third, fourth, fifth = (told[day, day] for day, _ in DAYS)
    lines = """
        select opportunity_id, product_id, list_unit_price, net_unit_price from intermediate.int_opportunity_lines_known
        where not _is_deleted
    """
    assert [(o, p, float(a), float(b)) for o, p, a, b in ask(first, lines)] == [("7", "Bolt", 10, 8.5)]
    assert ask(fourth, lines)[0][0] == "8"
    assert ask(fifth, lines) == []
    # Both deals of a line that was moved are told anew.
    moved = "select distinct opportunity_id from staging.stg_hubspot__opportunity_lines"
    assert {("7",), ("8",)} <= set(ask(fourth, moved))
    calls = """
        select activity_id, opportunity_id, contact_id, direction, duration_minutes, is_completed, _is_deleted
        from intermediate.int_activities_known order by activity_id
    """
    assert ask(first, calls) == [
        ("51", "7", None, None, 1, True, False),
        ("52", None, None, "inbound", None, True, False),
    ]
    assert ask(second, calls)[0][:3] == ("51", "7", "31")
    assert [row[-1] for row in ask(third, calls)] == [False, True]
    quotas = "select user_id, effective_from, _is_deleted from intermediate.int_quotas_known order by user_id"
    start = date(2026, 1, 1)
    assert ask(first, quotas) == [("1", start, False)]
    assert ask(second, quotas) == [("1", start, True), ("2", start, False)]
    assert ask(third, quotas) == [("1", start, True), ("2", start, True)]


def test_a_past_day_told_again_is_what_it_was(told: dict[tuple[str, str], Path]) -> None:
    for (day, earlier), path in told.items():
        connection = duckdb.connect()
        connection.execute(f"attach '{told[earlier, earlier]}' as ours (read_only)")
        connection.execute(f"attach '{path}' as theirs (read_only)")
        for model in READ:
            columns = columns_of(connection, f"ours.intermediate.{model}", ())
            assert differences(connection, f"intermediate.{model}", columns) == 0, (day, earlier, model)


def test_whatever_differs_from_the_last_build_has_a_version_of_the_new_load(
    told: dict[tuple[str, str], Path],
) -> None:
    contract = load_source("extract")
    changed = 0
    for (before, _), (day, _) in zip(DAYS, DAYS[1:], strict=False):
        connection = duckdb.connect()
        connection.execute(f"attach '{told[before, before]}' as old (read_only)")
        connection.execute(f"attach '{told[day, day]}' as new (read_only)")
        for entity in ENTITIES:
            model, keys = f"intermediate.int_{entity}_known", ", ".join(contract.table(entity).keys)
            new_batch = f"replace('{day}', '-', '') || '%'"
            unseen = connection.execute(
                f"""
                select {keys} from (
                    (select * from new.{model} except all select * from old.{model})
                    union all
                    (select * from old.{model} except all select * from new.{model})
                )
                except
                select {keys} from new.staging.stg_hubspot__{entity}
                where _batch_id like {new_batch} or cast(_known_at as date) > date '{before}'
                """
            ).fetchall()
            assert unseen == [], (day, entity)
            changed += len(connection.execute(f"select * from new.{model} except select * from old.{model}").fetchall())
    assert changed >= 8
