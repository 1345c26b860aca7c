"""A CRM without field history: six daily loads tell what change events would have told, to the day."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import duckdb
import pytest

from tests.conftest import Run, published
from tests.extracts import write_extract
from tests.test_increment import from_the_beginning, table_hashes
from tests.warehouse import Warehouse

HEADER = (
    "opportunity_id,account_id,owner_id,name,stage,forecast_category,amount,created_at,close_date,closed_at,"
    "competitor,next_step,updated_at\n"
)
LAST = date(2026, 5, 6)
TABLES = [
    "core.opportunities",
    "core.data_coverage",
    "funnel.stage_visits",
    "funnel.pipeline_snapshots",
    "funnel.opportunity_history",
    "funnel.opportunity_movements",
    "funnel.deal_signals",
]

# What was true at the end of each day, from the first load on; a deal that is not named is as the day before.
DAYS: dict[date, dict[str, str]] = {
    date(2026, 5, 1): {
        "d1": "a1,s1,Cold store,Discovery,pipeline,1000,2026-04-01T09:00:00Z,2026-06-15,,,Call,2026-04-20T09:00:00Z",
        "d2": "a1,s1,Second line,Proposal,best_case,500,2026-04-02T09:00:00Z,2026-05-20,,,,2026-04-21T09:00:00Z",
        "d3": "a2,s2,Dairy,Proposal,commit,800,2026-04-03T09:00:00Z,2026-05-31,,,,2026-04-22T09:00:00Z",
        "d4": "a2,s2,Stalled,Discovery,pipeline,300,2026-04-04T09:00:00Z,2026-06-30,,,,2026-04-04T09:00:00Z",
        "d6": "a2,s2,Old loss,Closed Lost,omitted,50,2026-03-01T09:00:00Z,2026-04-15,"
        "2026-04-15T09:00:00Z,,,2026-04-15T09:00:00Z",
    },
    # d1 moves on, and somebody agrees a next step; a deal is created.
    date(2026, 5, 2): {
        "d1": "a1,s1,Cold store,Proposal,best_case,1000,2026-04-01T09:00:00Z,2026-06-15,,,Demo,2026-05-02T10:00:00Z",
        "d5": "a1,s1,New,Discovery,pipeline,70,2026-05-02T11:00:00Z,2026-05-30,,,,2026-05-02T11:00:00Z",
    },
    # d2 is pushed into the next quarter and made smaller; the competitor of d3 is found out.
    date(2026, 5, 3): {
        "d2": "a1,s1,Second line,Proposal,best_case,450,2026-04-02T09:00:00Z,2026-07-10,,,,2026-05-03T12:00:00Z",
        "d3": "a2,s2,Dairy,Proposal,commit,800,2026-04-03T09:00:00Z,2026-05-31,,Rival,,2026-05-03T13:00:00Z",
    },
    # d1 goes to Sofia; d3 is won, which somebody wrote down in the evening.
    date(2026, 5, 4): {
        "d1": "a1,s2,Cold store,Proposal,best_case,1000,2026-04-01T09:00:00Z,2026-06-15,,,Demo,2026-05-04T14:00:00Z",
        "d3": "a2,s2,Dairy,Closed Won,closed,820,2026-04-03T09:00:00Z,2026-05-04,"
        "2026-05-04T15:00:00Z,Rival,,2026-05-04T20:00:00Z",
    },
    # d2 goes back a stage; d4 is lost.
    date(2026, 5, 5): {
        "d2": "a1,s1,Second line,Discovery,pipeline,450,2026-04-02T09:00:00Z,2026-07-10,,,,2026-05-05T09:30:00Z",
        "d4": "a2,s2,Stalled,Closed Lost,omitted,300,2026-04-04T09:00:00Z,2026-05-05,"
        "2026-05-05T16:00:00Z,,,2026-05-05T16:00:00Z",
    },
    LAST: {},
}  # fmt: skip
# The same, as field history would have it.
EVENTS = """\
change_id,opportunity_id,field,old_value,new_value,changed_at
1,d1,stage,Discovery,Proposal,2026-05-02T10:00:00Z
2,d1,forecast_category,pipeline,best_case,2026-05-02T10:00:00Z
3,d1,next_step,Call,Demo,2026-05-02T10:00:00Z
4,d2,amount,500,450,2026-05-03T12:00:00Z
5,d2,close_date,2026-05-20,2026-07-10,2026-05-03T12:00:00Z
6,d3,competitor,,Rival,2026-05-03T13:00:00Z
7,d1,owner_id,s1,s2,2026-05-04T14:00:00Z
8,d3,stage,Proposal,Closed Won,2026-05-04T15:00:00Z
9,d3,forecast_category,commit,closed,2026-05-04T15:00:00Z
10,d3,amount,800,820,2026-05-04T20:00:00Z
11,d3,close_date,2026-05-31,2026-05-04,2026-05-04T20:00:00Z
12,d2,stage,Proposal,Discovery,2026-05-05T09:30:00Z
13,d2,forecast_category,best_case,pipeline,2026-05-05T09:30:00Z
14,d4,stage,Discovery,Closed Lost,2026-05-05T16:00:00Z
15,d4,forecast_category,pipeline,omitted,2026-05-05T16:00:00Z
16,d4,close_date,2026-06-30,2026-05-05,2026-05-05T16:00:00Z
17,d6,stage,Proposal,Closed Lost,2026-04-15T09:00:00Z
"""
# Somebody had a competitor before, so that the field is one that is delivered.
COMPETITOR_KNOWN = {
    "d7": "a2,s1,Lost long ago,Closed Lost,omitted,10,2026-01-01T09:00:00Z,2026-02-01,"
    "2026-02-01T09:00:00Z,Other,,2026-02-01T09:00:00Z"
}  # fmt: skip


def deals_of(day: date) -> str:
    rows = dict(COMPETITOR_KNOWN)
    for until, changed in DAYS.items():
        if until <= day:
            rows |= changed
    return HEADER + "".join(f"{deal},{row}\n" for deal, row in sorted(rows.items()))


def without_updated_at(text: str) -> str:
    return "".join(line.rpartition(",")[0] + "\n" for line in text.splitlines())


Rows = list[tuple[object, ...]]


@pytest.fixture(scope="module")
def warehouse(small_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    return Warehouse(small_run, tmp_path_factory.mktemp("loads") / "home", TABLES)


def daily_loads(folder: Path, text: Callable[[str], str] = str) -> list[Path]:
    """Each day's load is made in the last hour of the day."""
    return [
        write_extract(folder / day.isoformat(), extracted_at=f"{day}T23:30:00Z", crm_opportunities=text(deals_of(day)))
        for day in DAYS
    ]


QUESTIONS = {
    "history": """
        select opportunity_id, stage, forecast_category, owner_id, amount_source::double, close_date::varchar,
            valid_from::date::varchar, valid_to::date::varchar
        from funnel.opportunity_history
        where valid_to is null or valid_to >= '2026-05-01'
        -- What a deal was at the end of the day; the rest of the day has no length then.
        qualify row_number() over (partition by opportunity_id, valid_from::date order by valid_from desc) = 1
        order by opportunity_id, valid_from
    """,
    "visits": """
        select opportunity_id, visit_number, stage, next_stage, direction, entered_at::date::varchar,
            exited_at::date::varchar, is_censored
        from funnel.stage_visits where opportunity_id not in ('d6', 'd7') order by opportunity_id, visit_number
    """,
    "snapshots": """
        select snapshot_date::varchar, opportunity_id, stage, owner_id, amount::double, close_date::varchar
        from funnel.pipeline_snapshots where snapshot_date >= '2026-05-01' order by snapshot_date, opportunity_id
    """,
    "movements": """
        select scope_type, scope_id, movement, opportunity_id, sum(amount)::double
        from funnel.opportunity_movements
        where period_type = 'month' and period_start = '2026-05-01' group by all having sum(amount) != 0 order by all
    """,
    "deals": """
        select opportunity_id, stage, owner_id, amount::double, push_count, push_days, amount_change::double,
            stage_age_days, cycle_days, is_won, is_lost, closed_on::varchar
        from core.opportunities where opportunity_id not in ('d6', 'd7') order by opportunity_id
    """,
    "ticks": """
        select opportunity_id, kind, happened_at::date::varchar from intermediate.int_deal_ticks
        where kind in ('new_owner', 'next_step', 'competitor', 'push', 'delay', 'regression') order by all
    """,
}  # fmt: skip


def answers(warehouse: Warehouse) -> dict[str, Rows]:
    warehouse.build(LAST)
    with duckdb.connect(str(warehouse.database), read_only=True) as connection:
        told = {name: connection.execute(sql).fetchall() for name, sql in QUESTIONS.items()}
        told["coverage"] = connection.execute(
            "select note, told_by_loads_since::varchar, is_delivered from core.data_coverage "
            "where entity = 'opportunity_changes'"
        ).fetchall()
    return told


@pytest.fixture(scope="module")
def by_loads(warehouse: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Rows]:
    warehouse.load(daily_loads(tmp_path_factory.mktemp("daily")))
    return answers(warehouse)


@pytest.fixture(scope="module")
def by_undated_loads(warehouse: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Rows]:
    warehouse.load(daily_loads(tmp_path_factory.mktemp("undated"), without_updated_at))
    return answers(warehouse)


@pytest.fixture(scope="module")
def by_events(warehouse: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Rows]:
    folder = tmp_path_factory.mktemp("events")
    warehouse.load(
        [
            write_extract(
                folder / "all",
                extracted_at=f"{LAST}T23:30:00Z",
                crm_opportunities=deals_of(LAST),
                crm_opportunity_changes=EVENTS,
            )
        ]
    )
    return answers(warehouse)


@pytest.mark.parametrize("question", QUESTIONS)
def test_daily_loads_tell_what_change_events_would(
    by_loads: dict[str, Rows], by_events: dict[str, Rows], question: str
) -> None:
    assert by_loads[question] == by_events[question]
    assert by_events[question]


@pytest.mark.parametrize("question", ["history", "visits", "snapshots", "movements", "deals"])
def test_loads_of_a_crm_that_dates_nothing_tell_the_same_days(
    by_undated_loads: dict[str, Rows], by_events: dict[str, Rows], question: str
) -> None:
    assert by_undated_loads[question] == by_events[question]


def test_what_the_loads_tell_by_hand(by_loads: dict[str, Rows]) -> None:
    assert by_loads["deals"] == [
        # In Proposal for 4 days, now Sofia's.
        ("d1", "Proposal", "s2", 1000, 0, 0, 0, 4, None, False, False, None),
        # Pushed by 51 days from 05-20; 50 less; back in Discovery since yesterday.
        ("d2", "Discovery", "s1", 450, 1, 51, -50, 1, None, False, False, None),
        ("d3", "Closed Won", "s2", 820, 0, 0, 20, None, 31, True, False, "2026-05-04"),
        ("d4", "Closed Lost", "s2", 300, 0, 0, 0, None, 31, False, True, "2026-05-05"),
        ("d5", "Discovery", "s1", 70, 0, 0, 0, 4, None, False, False, None),
    ]
    assert [row for row in by_loads["visits"] if row[0] in ("d1", "d2")] == [
        ("d1", 1, "Discovery", "Proposal", "advance", "2026-04-01", "2026-05-02", False),
        ("d1", 2, "Proposal", None, "open", "2026-05-02", None, True),
        ("d2", 1, "Proposal", "Discovery", "regress", "2026-04-02", "2026-05-05", False),
        ("d2", 2, "Discovery", None, "open", "2026-05-05", None, True),
    ]


def test_coverage_says_from_when_loads_are_the_history(by_loads: dict[str, Rows], by_events: dict[str, Rows]) -> None:
    assert by_loads["coverage"] == [("no field history: told by loads since 2026-05-01", "2026-05-01", False)]
    assert by_events["coverage"] == [(None, None, True)]


def test_one_load_says_nothing_of_how_deals_changed(warehouse: Warehouse, tmp_path: Path) -> None:
    warehouse.load(daily_loads(tmp_path)[-1:])
    told = answers(warehouse)
    assert {row[4:8] for row in told["deals"]} == {(None, None, None, None)}
    assert told["coverage"] == [("no field history: told by loads since 2026-05-06", "2026-05-06", False)]


@pytest.mark.long
def test_loads_one_by_one_give_the_bytes_of_one_build(tmp_path: Path) -> None:
    """The second load is the first that tells how deals changed: of all of them, then."""
    loads = daily_loads(tmp_path)[:3]
    for folder in loads:
        grown = published(tmp_path / "grown" / "home", folder)
    assert grown.query("select push_count from core.opportunities where opportunity_id = 'd2'") == [(1,)]
    whole = from_the_beginning(grown.home, tmp_path / "whole" / "home", loads[-1])
    assert table_hashes(grown) == table_hashes(whole)


def test_a_field_that_comes_to_be_delivered_is_no_change(warehouse: Warehouse, tmp_path: Path) -> None:
    def late(text: str) -> str:
        """Up to the third day nobody delivered a next step or a competitor."""
        return text if "Rival" in text else text.replace(",Call,", ",,").replace(",Demo,", ",,").replace("Other", "")

    warehouse.load(daily_loads(tmp_path, late))
    assert [row[:2] for row in answers(warehouse)["ticks"] if row[1] in ("competitor", "next_step")] == []


def test_when_field_history_is_turned_on_loads_stay_the_history_of_the_time_before(
    warehouse: Warehouse, by_events: dict[str, Rows], tmp_path: Path
) -> None:
    header, *rows = EVENTS.splitlines(keepends=True)
    late = header + "".join(row for row in rows if "2026-05-04T" in row or "2026-05-05T" in row)
    loads = daily_loads(tmp_path)
    for folder in loads[-2:]:
        write_extract(
            folder,
            extracted_at=f"{folder.name}T23:30:00Z",
            crm_opportunities=deals_of(date.fromisoformat(folder.name)),
            crm_opportunity_changes=late,
        )
    warehouse.load(loads)
    told = answers(warehouse)
    for question in QUESTIONS:
        assert told[question] == by_events[question], question
    assert told["coverage"] == [(None, None, True)]
