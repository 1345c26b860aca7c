"""Managers' coaching: a whole demo company worked out a second time from its files, and the planted managers found."""

from __future__ import annotations

import csv
from collections import defaultdict
from datetime import date, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.conftest import DEMO_AS_OF, DEMO_PAST, Run
from tests.extracts import write_extract
from tests.oracles.coaching import coaching, moment, read
from tests.warehouse import Warehouse

TABLES = ["people.manager_coaching", "people.manager_deals"]


@pytest.fixture(scope="module")
def warehouse(demo_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    return Warehouse(demo_run, tmp_path_factory.mktemp("managers") / "home", TABLES)


@pytest.fixture(scope="module")
def whole(full_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """The demo company in full, as its run left it."""
    return Warehouse(full_run, tmp_path_factory.mktemp("managers_whole") / "home", TABLES, with_extracts=True)


def told(database: Path) -> dict[str, dict[str, Any]]:
    with duckdb.connect(str(database), read_only=True) as connection:
        found = connection.execute("from people.manager_coaching")
        names = [column[0] for column in found.description or []]
        return {row[0]: dict(zip(names, row, strict=True)) for row in found.fetchall()}


def expected(warehouse: Warehouse, company: Path, as_of: date, window_start: date) -> dict[str, dict[str, Any]]:
    with duckdb.connect(str(warehouse.database), read_only=True) as connection:

        def rows(sql: str) -> list[tuple[Any, ...]]:
            return connection.execute(sql).fetchall()

        owners: dict[str, list[tuple[datetime, str]]] = defaultdict(list)
        won_by: dict[str, tuple[int, str]] = {}
        for deal, since, owner, is_won, episode in rows(
            "select opportunity_id, valid_from, owner_id, is_won, episode from intermediate.int_opportunity_stretches "
            "order by 1, 2"
        ):
            if not owners[deal] or owners[deal][-1][1] != owner:
                owners[deal].append((since, owner))
            if is_won and won_by.get(deal, (-1, ""))[0] != episode:
                won_by[deal] = episode, owner
        won = {
            deal: {
                "amount": amount or 0,
                "created_on": created_on,
                "won_on": won_on,
                "owner_id": won_by[deal][1] if deal in won_by else owner,
            }
            for deal, amount, created_on, won_on, owner in rows(
                "select opportunity_id, amount, created_on, closed_on, owner_id from core.opportunities "
                "where is_won and not is_deleted"
            )
        }
        reviews: dict[str, list[tuple[date, date]]] = defaultdict(list)
        for deal, day, month in rows(
            "select opportunity_id, snapshot_date, month_start from intermediate.int_deal_reviews order by 1, 2"
        ):
            reviews[deal].append((day, month))
        active = set(
            rows("select signal, month_start from intermediate.int_signal_standing where segment = 'all' and is_active")
        )
        fired = set(rows("select opportunity_id, signal, snapshot_date from intermediate.int_signal_weeks"))
    flags: dict[str, set[date]] = defaultdict(set)
    for deal, signals in groupby(sorted({row[:2] for row in fired}), key=lambda row: row[0]):
        for _, signal in signals:
            was_up = False
            for day, month in reviews[deal]:
                is_up = (deal, signal, day) in fired and (signal, month) in active
                if is_up and not was_up:
                    flags[deal].add(day)
                was_up = is_up
    return coaching(company, as_of, window_start, won, owners, flags)


@pytest.mark.parametrize(("as_of", "window_start"), [(DEMO_AS_OF, date(2025, 7, 1)), (DEMO_PAST, date(2024, 7, 1))])
def test_every_figure_of_every_manager_is_that_of_the_files(
    whole: Warehouse, full_extract: Path, as_of: date, window_start: date
) -> None:
    if as_of != DEMO_AS_OF:
        whole.build(as_of)
    found = told(whole.database)
    again = expected(whole, full_extract, as_of, window_start)
    assert set(found) == set(again)
    for manager, entry in again.items():
        assert found[manager]["window_start"] == window_start
        got = {name: None if found[manager][name] is None else float(found[manager][name]) for name in entry}
        assert got == pytest.approx(entry), manager
    with duckdb.connect(str(whole.database), read_only=True) as connection:
        behind = connection.execute(
            "select manager_id, count(*), sum(amount), coalesce(sum(amount) filter (is_hero), 0) "
            "from people.manager_deals where won_on >= $1 group by 1",
            [window_start],
        ).fetchall()
    sums = {row[0]: row[1:] for row in behind}
    for manager, row in found.items():
        assert sums.get(manager, (0, 0, 0)) == (row["hero_n"], row["team_won_amount"], row["hero_amount"])
    begins_on = min(
        moment(row["occurred_at"]).date()
        for row in read(full_extract, "activities")
        if row["opportunity_id"]
        and row["activity_type"] != "task"
        and row["is_completed"] != "false"
        and row["direction"] != "internal"
        and row["purpose"] != "coaching"
    )
    with duckdb.connect(str(whole.database), read_only=True) as connection:
        silent = connection.execute("select involvement, won_on from people.manager_deals where met_on is null")
        assert all((kind == "not known") == (won_on < begins_on) for kind, won_on in silent.fetchall())
    # Every kind of involvement is there to be got wrong.
    kinds = ("late_amount", "after_flag_amount", "left_behind_amount")
    assert all(sum(entry[kind] for entry in again.values()) > 0 for kind in kinds)


def test_the_rescuing_and_the_coaching_manager_are_found(full_run: Run, full_extract: Path) -> None:
    with (full_extract / "truth" / "people.csv").open(encoding="utf-8", newline="") as file:
        planted = {row["trait"]: row["user_id"] for row in csv.DictReader(file)}
    found = told(full_run.database)
    rescuer, coach = found.pop(planted["rescuing_manager"]), found.pop(planted["coaching_manager"])
    ordinary = [row for row in found.values() if row["coaching_n"] and row["session_count"]]
    assert len(ordinary) >= 6
    others = [*ordinary, coach]
    assert rescuer["hero_dependency"] > max(row["hero_dependency"] for row in others)
    assert rescuer["hero_standing"] == "rescues"
    assert [row["manager_id"] for row in others if row["hero_standing"] == "rescues"] == []
    assert rescuer["hero_dependency_low"] > max(row["hero_dependency"] for row in others)
    assert rescuer["ride_along_standing"] == "manager_leads"
    assert coach["hero_dependency"] <= min(row["hero_dependency"] for row in ordinary)
    assert coach["sessions_per_seller_month_low"] > max(row["sessions_per_seller_month_high"] for row in ordinary)
    assert (coach["ride_along_standing"], coach["follow_up_standing"]) == ("seller_leads", "kept")
    for row in [*ordinary, rescuer]:
        assert row["ride_along_standing"] != "seller_leads"
        assert row["follow_up_standing"] != "kept"


def test_without_sessions_nothing_is_said_about_coaching_and_every_manager_has_a_row(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    warehouse.load([write_extract(tmp_path / "extract")])
    warehouse.build(date(2026, 3, 2))
    (row,) = told(warehouse.database).values()
    assert (row["manager_id"], row["hero_reason"], row["hero_n"]) == ("m1", "too few won deals", 1)
    assert row["coaching_reason"] == row["ride_along_reason"] == "coaching sessions are not delivered"
    assert (row["hero_dependency"], row["sessions_per_seller_month"], row["coaching_share"]) == (None, None, None)
    assert row["follow_up_what_to_do"] == "End each session with one agreed action and a date for it"


def test_of_a_manager_who_writes_nothing_down_nobody_knows_that_no_deal_was_saved(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    header = "opportunity_id,account_id,owner_id,stage,amount,created_at,close_date,closed_at\n"
    deals = "".join(
        f"w{n},a1,s1,Closed Won,100,2025-10-01T09:00:00Z,2025-12-{n:02d},2025-12-{n:02d}T09:00:00Z\n"
        for n in range(1, 13)
    )
    columns = "activity_id,activity_type,direction,user_id,opportunity_id,occurred_at\n"
    of_seller = "t1,email,outbound,s1,w1,2025-11-01T09:00:00Z\n"
    of_manager = "t2,call,outbound,m1,,2025-11-02T09:00:00Z\n"
    for activities, expected in (
        (of_seller, (None, "no activity of the manager is on record")),
        (of_seller + of_manager, (0, None)),
    ):
        extract = write_extract(tmp_path / "x", crm_opportunities=header + deals, crm_activities=columns + activities)
        warehouse.load([extract])
        warehouse.build(date(2026, 3, 2))
        row = told(warehouse.database)["m1"]
        assert row["hero_n"] == 12
        assert (row["hero_dependency"], row["hero_reason"]) == expected
