"""Help for sellers: a demo company worked out a second time, planted specialists found, a small company by hand."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from math import sqrt
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.conftest import DEMO_AS_OF, DEMO_PAST, Run
from tests.extracts import OPPORTUNITY_HEADER, USERS, write_extract
from tests.oracles.helping import Requests, engagement, service
from tests.oracles.teaming import Z
from tests.test_teaming_by_hand import Company
from tests.warehouse import Warehouse

TABLES = ["people.specialist_engagement", "people.sales_ops_service"]


@pytest.fixture(scope="module")
def warehouse(demo_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    return Warehouse(demo_run, tmp_path_factory.mktemp("help") / "home", TABLES)


@pytest.fixture(scope="module")
def whole(full_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """The demo company in full, as its run left it."""
    return Warehouse(full_run, tmp_path_factory.mktemp("help_whole") / "home", TABLES, with_extracts=True)


def rows(database: Path, sql: str) -> list[dict[str, Any]]:
    with duckdb.connect(str(database), read_only=True) as connection:
        found = connection.execute(sql)
        names = [column[0] for column in found.description or []]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def engagements(database: Path) -> dict[tuple[str, str, str], dict[str, Any]]:
    found = rows(database, "from people.specialist_engagement")
    return {(row["function"], row["user_id"], row["stage"]): row for row in found}


def services(database: Path) -> dict[tuple[str, str, date], dict[str, Any]]:
    found = rows(database, "from people.sales_ops_service")
    return {(row["function"], row["period_type"], row["period_start"]): row for row in found}


def assert_told(found: Mapping[Any, Mapping[str, Any]], again: Mapping[Any, Mapping[str, Any]]) -> None:
    assert set(found) == set(again)
    for key, entry in again.items():
        got = {name: found[key][name] for name in entry}
        assert {name for name, value in got.items() if value is None} == {
            name for name, value in entry.items() if value is None
        }, key
        for name, value in entry.items():
            assert got[name] == (value if value is None or isinstance(value, str) else pytest.approx(value)), (
                key,
                name,
            )


@pytest.mark.parametrize("as_of", [DEMO_AS_OF, DEMO_PAST])
def test_every_figure_is_that_of_the_requests_one_by_one(whole: Warehouse, full_extract: Path, as_of: date) -> None:
    if as_of != DEMO_AS_OF:
        whole.build(as_of)
    since = date(as_of.year - 2, as_of.month, as_of.day)
    deals = rows(whole.database, "from core.opportunities")
    members = rows(whole.database, "from funnel.deal_teams")
    visits = rows(whole.database, "from funnel.stage_visits")
    quarters = rows(
        whole.database,
        f"select distinct quarter_start, quarter_end from core.calendar "
        f"where quarter_start > '{since}' and quarter_start <= '{as_of}'",
    )
    requests = Requests(full_extract / "crm" / "support_requests.csv", as_of, deals, visits)
    again = engagement(requests, deals, members, visits, as_of, since)
    found = engagements(whole.database)
    assert_told(found, again)
    spans = [(row["quarter_start"], row["quarter_end"]) for row in quarters]
    assert_told(services(whole.database), service(requests, deals, members, visits, as_of, since, spans))
    for row in services(whole.database).values():
        assert row["what_to_do"] and (row["overdue_count"] or "Take the overdue" not in row["what_to_do"])
    for row in found.values():
        assert (row["time_standing"] is None) == (row["time_what_to_do"] is None)
        assert row["waiting_count"] or "wait now" not in (row["time_what_to_do"] or "")
    # What still waits, what came too late and what is not covered is there to be got wrong.
    technical = found["technical", "all", "all"]
    assert technical["waiting_count"] > 0
    assert technical["decided_count"] > 0
    assert technical["coverage_n"] > 0


def test_the_planted_specialists_are_found_by_the_time_they_take(full_run: Run, full_extract: Path) -> None:
    with (full_extract / "truth" / "people.csv").open(encoding="utf-8", newline="") as file:
        planted = {row["user_id"]: row["trait"] for row in csv.DictReader(file)}
    found = {
        row["user_id"]: row
        for key, row in engagements(full_run.database).items()
        if key[0] == "technical" and key[2] == "all" and key[1] != "all"
    }
    expected = {"helpful_specialist": "quick", "slow_specialist": "slow"}
    ordinary = [row for user, row in found.items() if planted.get(user) not in expected]
    assert len(ordinary) >= 4
    for user, row in found.items():
        if planted.get(user) in expected:
            assert row["time_standing"] == expected[planted[user]], user
    # Nobody of ordinary speed lies apart from the two kinds' interval.
    slow = [found[user] for user, trait in planted.items() if trait == "slow_specialist"]
    quick = [found[user] for user, trait in planted.items() if trait == "helpful_specialist"]
    assert min(row["days_to_help_low"] for row in slow) > max(row["days_to_help_high"] for row in ordinary)
    assert max(row["days_to_help_high"] for row in quick) < min(row["days_to_help_low"] for row in ordinary)


REQUESTS = (
    "request_id,opportunity_id,requester_id,function,requested_at,assignee_id,assigned_at,resolved_at,satisfaction"
)
SPECIALISTS = "x1,Xenia Holt,specialist,m1,North,,2021-01-04\nx2,Xaver Bruun,specialist,m1,North,,2021-01-04\n"
DEAL = "o1,a1,s1,Cold store,new_business,Discovery,100,2026-01-01T09:00:00Z,2026-09-01,"


def company(folder: Path, requests: Sequence[str], deal: str = DEAL, events: Sequence[str] = ()) -> Path:
    """One deal, opened in Discovery on 1 January, and requests for help on it."""
    return write_extract(
        folder / "extract",
        extracted_at="2026-04-30T06:00:00Z",
        crm_users=USERS + SPECIALISTS,
        crm_opportunities=f"{OPPORTUNITY_HEADER}\n{deal}\n",
        crm_opportunity_changes="\n".join(
            ["change_id,opportunity_id,field,old_value,new_value,changed_at", *events, ""]
        ),
        crm_support_requests="\n".join([REQUESTS, *requests, ""]),
    )


def at(day: int, hour: int = 9) -> str:
    """So many days after the first of February."""
    return (datetime(2026, 2, 1, hour) + timedelta(days=day)).isoformat() + "Z"


def test_open_requests_lengthen_a_median_and_a_later_answer_is_not_known_before(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    # Ten requests of 1 February, helped after 1 to 10 days; ten more of 20 February nobody has taken on by the 28th.
    helped = [f"h{n},o1,s1,technical,{at(0)},x1,{at(n)},{at(n + 1)},4" for n in range(1, 11)]
    waiting = [f"w{n},o1,s1,technical,{at(19)},,,," for n in range(10)]
    # Taken on in March: on the last of February it waits as well.
    later = [f"l{n},o1,s1,technical,{at(19)},x2,{at(40)},{at(41)},1" for n in range(2)]
    other = [f"d{n},o1,s1,deal_desk,{at(n)},s2,{at(n)},{at(n + 3)},5" for n in range(10)]
    odd = [f"n{n},o1,s1,Translation,{at(n)},s2,{at(n)},{at(n + 2)}," for n in range(10)]
    warehouse.load([company(tmp_path, [*helped, *waiting, *later, *other, *odd])])
    warehouse.build(date(2026, 2, 28))
    row = engagements(warehouse.database)["technical", "all", "all"]
    assert (row["request_count"], row["helped_count"], row["waiting_count"]) == (22, 10, 12)
    # Twelve have waited 8 days and 15 hours, and how much longer they will is not known.
    assert (row["overdue_count"], row["days_to_help_n"]) == (12, 22)
    # By then 8 of 22 were helped. What the two tell that were helped later is too little to speak of half.
    assert row["days_to_help"] is None
    assert row["days_to_help_reason"] == "too many still wait"
    # Of those helped alone it would have been 5 days.
    assert row["in_target_share"] == pytest.approx(7 / 22)
    # None is 30 days old: nothing of a person.
    assert engagements(warehouse.database)["technical", "x1", "all"]["days_to_help_reason"] == "too few requests"
    assert ("technical", "x2", "all") not in engagements(warehouse.database)

    found = services(warehouse.database)
    desk = found["deal_desk", "window", date(2024, 2, 29)]
    assert (desk["turnaround_days"], desk["turnaround_days_low"], desk["turnaround_days_high"]) == (3, 3, 3)
    assert (desk["turnaround_days_p90"], desk["turnaround_days_p90_high"]) == (3, None)
    assert (desk["in_target_share"], desk["in_target_share_n"], desk["satisfaction"]) == (1, 10, 5)
    assert (desk["standing"], desk["what_to_do"]) == ("as_expected", "Nothing: no request is overdue")
    assert (desk["stage_days"], desk["effect"], desk["effect_n"]) == (pytest.approx(3), None, 0)
    # 30 days of waiting in 10 stays of 1 January to 28 February, told once for each request.
    assert desk["stage_days_share"] == pytest.approx(3 / (58 + 15 / 24))
    odd_one = found["translation", "window", date(2024, 2, 29)]
    assert odd_one["turnaround_days"] == 2
    assert odd_one["in_target_reason"] == "policy has no target for this function"
    assert (odd_one["standing"], odd_one["satisfaction"], odd_one["overdue_count"]) == ("not_enough_data", None, None)

    warehouse.build(date(2026, 4, 1))
    row = engagements(warehouse.database)["technical", "x1", "all"]
    # Half of ten by the fifth day. Wilson's interval of 3 of 10 is the first to reach a half, 8 of 10 to lie above.
    assert (row["days_to_help"], row["days_to_help_low"], row["days_to_help_high"]) == (5, 3, 8)
    assert (row["days_to_help_n"], row["time_standing"], row["others_days_to_help"]) == (10, "not_enough_data", None)
    row = engagements(warehouse.database)["technical", "all", "all"]
    assert (row["helped_count"], row["waiting_count"]) == (12, 10)


def test_a_request_of_a_decided_deal_waits_no_longer(warehouse: Warehouse, tmp_path: Path) -> None:
    requests = [f"h{n},o1,s1,technical,{at(0)},x1,{at(2)},{at(9)},4" for n in range(12)]
    requests += [f"m{n},o1,s1,technical,{at(0)},,,," for n in range(3)]
    lost = DEAL.replace("Discovery", "Closed Lost").replace("2026-09-01,", "2026-02-11,2026-02-11T15:00:00Z")
    events = [
        "1,o1,stage,Discovery,Proposal,2026-02-02T09:00:00Z",
        "2,o1,stage,Proposal,Closed Lost,2026-02-11T15:00:00Z",
    ]
    warehouse.load([company(tmp_path, requests, lost, events)])
    warehouse.build(date(2026, 4, 1))
    row = engagements(warehouse.database)["technical", "all", "Discovery"]
    assert (row["request_count"], row["waiting_count"], row["overdue_count"], row["decided_count"]) == (15, 0, 0, 3)
    # Asked in Discovery on the 1st, which the deal left on the 2nd; help came on the 3rd or never.
    assert (row["late_share_n"], row["late_share"]) == (15, 1)
    # The three waited ten days in vain: 12 of 15 were helped in two, none of them later.
    assert (row["days_to_help"], row["in_target_share"]) == (2, pytest.approx(12 / 15))
    assert (row["time_standing"], row["time_what_to_do"]) == ("as_expected", "Nothing: no request waits now")


def test_a_person_is_held_against_deals_without_anybody_and_coverage_against_won_deals(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    made = Company(warehouse)
    made.add("first_won", 18, "Closed Won", joined="2026-01-16")
    made.add("first_lost", 12, "Closed Lost", joined="2026-01-16")
    made.add("second_won", 12, "Closed Won", joined="2026-01-16", by="x2")
    made.add("second_lost", 18, "Closed Lost", joined="2026-01-16", by="x2")
    made.add("alone_won", 9, "Closed Won")
    made.add("alone_lost", 21, "Closed Lost")
    made.add("open_with", 5, "open", joined="2026-03-01")
    made.add("open_without", 10, "open")
    made.tell(tmp_path)
    found = engagements(warehouse.database)
    # 18 and 12 of 30 against 9 of 30; the deals of the other specialist are on neither side.
    half = Z * sqrt(2 * 39 / 90 * 51 / 90 / 30)
    for user, effect, standing in (("x1", 0.3, "helps"), ("x2", 0.1, "not_shown")):
        row = found["technical", user, "all"]
        assert (row["effect_n"], row["control_count"], row["effect_standing"]) == (30, 30, standing)
        ends = (effect, effect - half, effect + half)
        assert (row["effect"], row["effect_low"], row["effect_high"]) == tuple(map(pytest.approx, ends))
        assert (row["coverage_n"], row["coverage_standing"], row["time_standing"]) == (None, None, "not_enough_data")
    assert (found["technical", "x1", "all"]["open_deal_count"], found["technical", "x2", "all"]["open_deal_count"]) == (
        5,
        0,
    )
    everybody = found["technical", "all", "all"]
    assert (everybody["effect"], everybody["effect_n"], everybody["open_deal_count"]) == (pytest.approx(0.2), 60, 5)
    # 30 of 39 won deals had a specialist five days after they came to Proposal; of the 15 there now, 5.
    assert (everybody["coverage_n"], everybody["coverage"]) == (15, pytest.approx(5 / 15))
    assert (everybody["coverage_norm"], everybody["coverage_standing"]) == (pytest.approx(30 / 39), "thin")
    assert found["technical", "all", "Proposal"]["coverage"] == pytest.approx(5 / 15)
    assert ("technical", "all", "Discovery") not in found


def test_without_requests_or_teams_every_function_has_a_row_that_says_so(warehouse: Warehouse, tmp_path: Path) -> None:
    warehouse.load([write_extract(tmp_path / "extract")])
    warehouse.build(date(2026, 3, 2))
    found = engagements(warehouse.database)
    assert set(found) == {(function, "all", "all") for function in ("technical", "product", "executive")}
    for row in found.values():
        assert row["days_to_help_reason"] == "support requests are not delivered"
        assert {row[f"{name}_standing"] for name in ("time", "coverage", "effect")} == {"not_enough_data"}
        assert row["effect_reason"] == "nobody in this function joined a deal decided in the 24 months"
        assert row["coverage_reason"] == "no open deal is in a stage in which most won deals had this function"
        values = ("days_to_help", "in_target_share", "late_share", "satisfaction", "coverage", "effect")
        assert {row[name] for name in values} == {None}
        assert row["time_what_to_do"] == "Write each request and the day it is taken on into the CRM"
    offered = services(warehouse.database)
    assert {key[0] for key in offered} == {"deal_desk", "sales_ops", "legal"}
    for row in offered.values():
        assert row["turnaround_reason"] == row["in_target_reason"] == "support requests are not delivered"
        assert (row["standing"], row["turnaround_days"], row["stage_days"]) == ("not_enough_data", None, None)
