"""What top sellers do differently: against a second reckoning, by hand, and without what only long life explains."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime
from math import sqrt
from pathlib import Path
from statistics import NormalDist
from typing import Any

import duckdb
import pytest

from tests.conftest import DEMO_AS_OF, DEMO_PAST, Run
from tests.extracts import ACCOUNTS, OPPORTUNITY_HEADER, USERS, write_extract
from tests.oracles import practices
from tests.warehouse import Warehouse

TABLE = "people.best_practices"
Z = 1.6448536269514722


@pytest.fixture(scope="module")
def warehouse(demo_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    return Warehouse(demo_run, tmp_path_factory.mktemp("practices") / "home", [TABLE])


@pytest.fixture(scope="module")
def whole(full_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """The demo company in full, as its run left it."""
    return Warehouse(full_run, tmp_path_factory.mktemp("practices_whole") / "home", [TABLE], with_extracts=True)


def query(database: Path, sql: str) -> list[dict[str, Any]]:
    with duckdb.connect(str(database), read_only=True) as connection:
        found = connection.execute(sql)
        names = [column[0] for column in found.description or []]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def told(database: Path) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["practice"], row["segment"]): row for row in query(database, f"from {TABLE}")}


def same(found: dict[str, Any], entry: dict[str, Any]) -> bool:
    """To nine digits."""
    numbers = {name: value for name, value in entry.items() if isinstance(value, float)}
    return {name: found[name] for name in entry if name not in numbers} == {
        name: value for name, value in entry.items() if name not in numbers
    } and {name: found[name] for name in numbers} == pytest.approx(numbers, rel=1e-9, abs=1e-12)


def expected(database: Path, extract: Path, as_of: date) -> tuple[list[dict[str, Any]], dict[tuple[str, str], Any]]:
    since = as_of.replace(year=as_of.year - 2)
    deals = {
        row["opportunity_id"]: row
        for row in query(
            database,
            "select * from core.opportunities where not is_deleted and not is_open and created_on is not null "
            f"and closed_on > date '{since}'",
        )
    }
    states: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in query(database, "from intermediate.int_opportunity_stretches order by opportunity_id, valid_from"):
        states[row["opportunity_id"]].append(row)
    stays: dict[str, list[tuple[datetime, str]]] = defaultdict(list)
    for row in query(database, "from funnel.stage_visits order by opportunity_id, visit_number"):
        stays[row["opportunity_id"]].append((row["entered_at"], row["stage"]))

    def owner_at(deal: str, at: datetime) -> str | None:
        for state in states[deal]:
            if state["valid_from"] <= at and (state["valid_to"] is None or at < state["valid_to"]):
                return str(state["owner_id"])
        return None

    facts, messages = practices.what_happened(extract, as_of, deals, owner_at)
    for row in query(
        database,
        "select distinct opportunity_id, changed_at from intermediate.int_opportunity_events "
        "where field = 'next_step' and not is_doubled and not is_unreadable and not is_after",
    ):
        if row["opportunity_id"] in facts:
            facts[row["opportunity_id"]]["next_step"].append((row["changed_at"], row["changed_at"]))
    ratios: dict[str, list[float]] = defaultdict(list)
    for row in query(database, "select seller_id, own_ratio from people.rep_diagnosis where reason is null"):
        ratios[row["seller_id"]].append(row["own_ratio"])
    rows = practices.practised(deals, states, stays, facts, messages)
    return rows, practices.best_practices(rows, ratios)


@pytest.mark.parametrize("as_of", [DEMO_AS_OF, DEMO_PAST])
def test_every_deal_and_figure_is_that_of_the_second_reckoning(
    whole: Warehouse, full_extract: Path, as_of: date
) -> None:
    if as_of != DEMO_AS_OF:
        whole.build(as_of)
    rows, again = expected(whole.database, full_extract, as_of)
    done = {(row["practice"], row["opportunity_id"]): row["is_done"] for row in rows}
    found = query(whole.database, "from intermediate.int_practice_deals")
    assert {(row["practice"], row["opportunity_id"]): row["is_done"] for row in found} == done
    mart = told(whole.database)
    assert set(mart) == set(again)
    for key, entry in again.items():
        assert same(mart[key], entry), key
    # Every practice is done on some deals and not on others.
    for name in {practice for practice, _ in done}:
        assert {is_done for (practice, _), is_done in done.items() if practice == name} == {True, False}


Group = tuple[str, str, int, int, int, int]


def by_hand(warehouse: Warehouse, groups: Sequence[Group], sellers: Sequence[tuple[str, float]] = ()) -> None:
    """Tells the mart from deals of `met_early` alone: segment, type, done and of them won, not done and of them won."""
    rows = []
    for segment, kind, done, done_won, other, other_won in groups:
        for count, won, is_done in ((done, done_won, True), (other, other_won, False)):
            for place in range(count):
                owner = sellers[len(rows) % len(sellers)][0] if sellers else "s"
                rows.append(("met_early", f"o{len(rows)}", owner, segment, kind, is_done, place < won))
    sql = {name: sql for name, _, sql in warehouse.models}[TABLE]
    with duckdb.connect(str(warehouse.database)) as connection:
        connection.execute(
            "create or replace table intermediate.int_practice_deals (practice varchar, opportunity_id varchar, "
            "owner_id varchar, segment varchar, opportunity_type varchar, is_done boolean, is_won boolean, "
            "stage varchar default 'Discovery', size_band varchar default '< 1k', age_group integer default 1)"
        )
        connection.executemany(
            "insert into intermediate.int_practice_deals (practice, opportunity_id, owner_id, segment, "
            "opportunity_type, is_done, is_won) values (?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
        connection.execute(
            "create or replace table people.rep_diagnosis (seller_id varchar, own_ratio double, reason varchar)"
        )
        for seller in sellers:
            connection.execute("insert into people.rep_diagnosis values (?, ?, null)", seller)
        connection.execute(f"create or replace table {TABLE} as {sql}")


def test_alike_deals_are_held_against_each_other_by_hand(warehouse: Warehouse) -> None:
    by_hand(
        warehouse,
        [
            ("North", "new_business", 40, 30, 20, 10),
            ("South", "new_business", 20, 4, 20, 2),
            # Nobody without it to hold them against: they are left out.
            ("South", "renewal", 50, 50, 0, 0),
        ],
    )
    row = told(warehouse.database)["met_early", "all"]
    assert (row["with_count"], row["without_count"], row["n"]) == (110, 40, 100)
    assert (row["strata_count"], row["strata_left_out_count"]) == (2, 1)
    # Weights 40 x 20 / 60 = 40/3 and 20 x 20 / 40 = 10, together 70/3.
    # With: (40/3 x 30/40 + 10 x 4/20) / (70/3) = 12 x 3/70. Without: (40/3 x 10/20 + 10 x 2/20) / (70/3) = 23/70.
    assert row["win_rate_with"] == pytest.approx(36 / 70)
    assert row["win_rate_without"] == pytest.approx(23 / 70)
    assert row["effect"] == pytest.approx(13 / 70)
    # P: (1600 x 10 - 400 x 30 + 800 x -10) / 3600 = -10/9 and (400 x 2 - 400 x 4) / 1600 = -1/2, together -29/18.
    # Q: (30 x 10 + 10 x 10) / 120 = 10/3 and (4 x 18 + 2 x 16) / 80 = 1.3, together 139/30.
    error = sqrt(13 / 70 * -29 / 18 + 139 / 30) / (70 / 3)
    assert error == pytest.approx(0.08922, abs=1e-5)
    assert row["effect_low"] == pytest.approx(13 / 70 - Z * error)
    assert row["strict_high"] == pytest.approx(13 / 70 + 2.6383 * error)
    # 84/110 - 12/40: what it would be without matching.
    assert row["raw_difference"] == pytest.approx(84 / 110 - 12 / 40)
    # It passes at 90 %, but not at what twelve questions ask for.
    assert row["effect_low"] > 0 > row["strict_low"]
    assert (row["verdict"], row["told_count"], row["passed_count"], row["chance_count"]) == ("no_proof", 1, 1, 0.05)
    assert row["what_to_do"].startswith("Try it on a few deals first: it shows by itself")


def test_a_segment_says_no_more_than_all_of_them_together(warehouse: Warehouse) -> None:
    # In the North 90 of 100 against 50 of 100; in the South it is the other way round, so that nothing is left in all.
    by_hand(warehouse, [("North", "renewal", 100, 90, 100, 50), ("South", "renewal", 100, 50, 100, 90)])
    rows = told(warehouse.database)
    assert rows["met_early", "North"]["strict_low"] > 0.2
    assert rows["met_early", "all"]["effect"] == pytest.approx(0)
    assert [rows["met_early", name]["verdict"] for name in ("all", "North", "South")] == ["no_proof"] * 3
    said = [str(rows["met_early", name]["what_to_do"]).split(":")[0] for name in ("all", "North", "South")]
    assert said == ["Ask for it only for other reasons", "Try it on a few deals first", "Do not ask for it"]
    # Where it holds for all, it is spread in the segment in which it holds too, and no proof where it cannot be seen.
    by_hand(warehouse, [("North", "renewal", 100, 90, 100, 50), ("South", "renewal", 40, 20, 40, 20)])
    rows = told(warehouse.database)
    verdicts = [rows["met_early", name]["verdict"] for name in ("all", "North", "South")]
    assert verdicts == ["spread_it", "spread_it", "no_proof"]
    assert rows["met_early", "North"]["what_to_do"].startswith("Offer two days")
    # Two thousand deals on each side and no difference: the upper end, 0.0417, is less than is worth it.
    by_hand(warehouse, [("North", "renewal", 2000, 1000, 2000, 1000)])
    row = told(warehouse.database)["met_early", "all"]
    assert row["strict_high"] == pytest.approx(2.6383 * sqrt(2 * 0.25 / 2000))
    assert row["verdict"] == "does_not_help"


def test_too_little_has_a_reason_and_no_figure(warehouse: Warehouse) -> None:
    reasons = {
        "no deal did it": (0, 0, 50, 20),
        "every deal did it": (50, 20, 0, 0),
        "too few alike deals": (29, 20, 50, 20),
        "the outcomes do not differ": (40, 40, 40, 40),
    }
    for reason, counts in reasons.items():
        by_hand(warehouse, [("North", "renewal", *counts)])
        row = told(warehouse.database)["met_early", "all"]
        assert (row["reason"], row["verdict"], row["effect"], row["effect_low"]) == (
            reason,
            "not_enough_data",
            None,
            None,
        )
    by_hand(warehouse, [("North", "renewal", 50, 20, 0, 0), ("North", "expansion", 0, 0, 50, 20)])
    row = told(warehouse.database)["met_early", "all"]
    assert row["reason"] == "no alike deals to hold against each other"
    assert told(warehouse.database)["three_meetings", "all"]["reason"] == "no deal of that kind was decided"


def test_top_sellers_are_the_best_quarter_by_what_they_make_of_like_deals(warehouse: Warehouse) -> None:
    # Sixteen sellers take turns: the i-th has the deals i, i + 16, i + 32 ...; the first four are the best quarter.
    sellers = [(f"s{place:02}", 1.5 - place / 100) for place in range(16)]
    by_hand(warehouse, [("North", "renewal", 80, 40, 80, 40)], sellers)
    row = told(warehouse.database)["met_early", "all"]
    # 160 deals, ten each, five of them done by everybody: no difference between sellers, so Wilson's interval it is.
    assert (row["top_seller_count"], row["top_n"], row["other_seller_count"], row["other_n"]) == (4, 40, 12, 120)
    assert (row["top_share"], row["other_share"]) == (0.5, 0.5)
    half = Z * sqrt(0.25 / 40 + Z * Z / 4 / 1600) / (1 + Z * Z / 40)
    assert (row["top_share_low"], row["top_share_high"]) == (pytest.approx(0.5 - half), pytest.approx(0.5 + half))
    # With fifteen sellers the quarter is four, rounded up; with twelve it is three, and nothing is told.
    by_hand(warehouse, [("North", "renewal", 75, 40, 75, 40)], sellers[:15])
    assert told(warehouse.database)["met_early", "all"]["top_seller_count"] == 4
    by_hand(warehouse, [("North", "renewal", 80, 40, 80, 40)], sellers[:12])
    row = told(warehouse.database)["met_early", "all"]
    assert (row["share_reason"], row["top_share"], row["other_share"]) == ("too few sellers", None, None)


def test_one_practice_of_all_passes_by_chance_once_in_twenty_companies() -> None:
    quantile = NormalDist().inv_cdf(1 - 0.05 / len(practices.seed("sales_practices")))
    assert practices.policy("practice_strict_z") == pytest.approx(quantile, abs=1e-4)


ACTIVITY_HEADER = "activity_id,activity_type,direction,user_id,opportunity_id,contact_id,occurred_at"


def load(warehouse: Warehouse, folder: Path, deals: list[str], events: list[str], activities: list[str]) -> None:
    extract = write_extract(
        folder / "extract",
        extracted_at="2026-03-31T20:00:00Z",
        crm_users=USERS,
        crm_accounts=ACCOUNTS,
        crm_opportunities="\n".join([OPPORTUNITY_HEADER, *deals, ""]),
        crm_opportunity_changes="\n".join(
            ["change_id,opportunity_id,field,old_value,new_value,changed_at", *events, ""]
        ),
        crm_activities="\n".join([ACTIVITY_HEADER, *activities, ""]),
    )
    warehouse.load([extract])
    warehouse.build(date(2026, 3, 31))


def test_only_what_was_done_before_the_moment_counts_and_only_on_deals_open_then(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    deals, events, activities = [], [], []

    def add(name: str, closed: str, meetings: Sequence[str], *, proposal: str = "", stage: str = "Discovery") -> None:
        deals.append(f"{name},a1,s1,Deal,new_business,Closed Won,100,2026-01-01T09:00:00Z,{closed},{closed}T18:00:00Z")
        steps = [(stage, "Proposal", proposal)] if proposal else []
        steps.append(("Proposal" if proposal else stage, "Closed Won", closed))
        for old, new, day in steps:
            events.append(f"{len(events)},{name},stage,{old},{new},{day}T18:00:00Z")
        for day in meetings:
            number = len(activities)
            activities.append(f"{number},meeting,outbound,s1,{name},c{number % 3},{day}T10:00:00Z")

    # Created on 1 January: the moment of an age of 30 is the end of the 31st, that of 14 the end of the 15th.
    add("in_time", "2026-03-01", ["2026-01-15", "2026-01-20", "2026-01-31"], proposal="2026-01-20")
    add("day_late", "2026-03-01", ["2026-01-16", "2026-01-20", "2026-02-01"], proposal="2026-01-21")
    add("gone_before", "2026-01-31", ["2026-01-02", "2026-01-03", "2026-01-04"])
    add("born_there", "2026-03-01", ["2026-01-02"], stage="Proposal")
    load(warehouse, tmp_path, deals, events, activities)
    found = {
        (row["practice"], row["opportunity_id"]): (row["is_done"], row["fact_count"])
        for row in query(warehouse.database, "from intermediate.int_practice_deals")
    }
    of = {name: {deal: count for (practice, deal), count in found.items() if practice == name} for name, _ in found}
    assert of["met_early"] == {
        "in_time": (True, 1), "day_late": (False, 0), "gone_before": (True, 3), "born_there": (True, 1)
    }  # fmt: skip
    # Closed on its 30th day at 18:00: no longer open when the day ended.
    assert of["three_meetings"] == {"in_time": (True, 3), "day_late": (False, 2), "born_there": (False, 1)}
    # Whoever was created in Proposal has no before. The meeting at 10:00 of the day of arrival at 18:00 counts.
    assert of["three_contacts"] == {"in_time": (False, 2), "day_late": (False, 2)}


def test_what_only_long_life_explains_is_no_practice(warehouse: Warehouse, tmp_path: Path) -> None:
    """Each deal has a meeting every fifth day by the same chance, whatever comes of it; lost ones are lost early."""
    deals, events, activities, draw = [], [], [], 12345
    lived: dict[str, tuple[bool, int]] = {}
    for place in range(400):
        name, is_won = f"o{place}", place % 4 == 0
        draw = (draw * 1103515245 + 12345) % 2**31
        days = 70 if is_won else 12 + draw % 40
        closed = date.fromordinal(date(2026, 1, 1).toordinal() + days)
        outcome = "Closed Won" if is_won else "Closed Lost"
        deals.append(f"{name},a1,s1,Deal,new_business,{outcome},100,2026-01-01T09:00:00Z,{closed},{closed}T18:00:00Z")
        events.append(f"{place},{name},stage,Discovery,{outcome},{closed}T18:00:00Z")
        held = 0
        for day in range(3, days, 5):
            draw = (draw * 1103515245 + 12345) % 2**31
            if draw // 65536 % 2:
                held += 1
                at = date.fromordinal(date(2026, 1, 1).toordinal() + day)
                activities.append(f"{len(activities)},meeting,outbound,s1,{name},,{at}T10:00:00Z")
        lived[name] = is_won, held
    load(warehouse, tmp_path, deals, events, activities)
    many = [is_won for is_won, held in lived.values() if held >= 3]
    few = [is_won for is_won, held in lived.values() if held < 3]
    # Counted over whole lives, three meetings seem to win deals.
    assert sum(many) / len(many) - sum(few) / len(few) > 0.3
    row = told(warehouse.database)["three_meetings", "all"]
    assert row["reason"] is None
    assert row["effect_low"] < 0 < row["effect_high"]
    assert row["verdict"] == "no_proof"


def test_without_activities_there_are_reasons_and_no_errors(warehouse: Warehouse, tmp_path: Path) -> None:
    warehouse.load([write_extract(tmp_path / "extract")])
    warehouse.build(date(2026, 3, 2))
    rows = told(warehouse.database)
    assert {name for name, _ in rows} == {row["practice"] for row in practices.seed("sales_practices")}
    assert {row["verdict"] for row in rows.values()} == {"not_enough_data"}
    assert {row["share_reason"] for row in rows.values()} == {"too few sellers"}
    reasons = {name: row["reason"] for (name, segment), row in rows.items() if segment == "all"}
    assert reasons["met_early"] == "no deal did it"
    assert reasons["answered_in_a_day"] == "no deal of that kind was decided"


def test_what_the_demo_company_makes_of_a_second_contact_is_found(full_run: Run) -> None:
    rows = told(full_run.database)
    # Deals with one person at the buyer are planted as trouble: another person by the 30th day must show.
    second = rows["second_contact", "all"]
    assert second["verdict"] == "spread_it"
    # Renewals need fewer people and are won: without matching it would read the other way round.
    assert second["raw_difference"] < 0 < second["strict_low"]
    assert second["passed_count"] > 2 * second["chance_count"]
    # No row says more than its practice does for all segments.
    for (name, _), row in rows.items():
        assert row["verdict"] in {rows[name, "all"]["verdict"], "no_proof", "not_enough_data"}
