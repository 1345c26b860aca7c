"""Who is on a deal, whether it helps, and whom to add: worked out by hand, from files to tables."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from math import sqrt
from pathlib import Path

import duckdb
import pytest

from tests.conftest import DEMO_AS_OF, Run
from tests.extracts import ACCOUNTS, OPPORTUNITY_HEADER, USERS, write_extract
from tests.oracles.teaming import effects
from tests.warehouse import Warehouse

AS_OF = date(2026, 3, 31)
Z = 1.6448536269514722
PEOPLE = USERS + "x1,Xenia Holt,specialist,m1,North,,2021-01-04\nx2,Xaver Bruun,specialist,m1,North,,2021-01-04\n"
PRODUCTS = "product_id,name\np1,Cold store\np2,Scale\n"
Rows = list[tuple[object, ...]]


class Company:
    """Deals of one seller, all created on 1 January, in Proposal from the 11th, told on 31 March."""

    def __init__(self, warehouse: Warehouse) -> None:
        self.warehouse = warehouse
        self.deals: list[str] = []
        self.events: list[str] = []
        self.team: list[str] = []
        self.activities: list[str] = []

    def add(
        self,
        name: str,
        number: int,
        outcome: str,
        *,
        product: str = "p1",
        joined: str | None = None,
        by: str = "x1",
        last_stage: str = "Proposal",
    ) -> None:
        """So many deals with an outcome on 20 February, or still open, which somebody joined or nobody did."""
        for place in range(number):
            deal = f"{name}{place}"
            closed = "" if outcome == "open" else "2026-02-20T09:00:00Z"
            stage = last_stage if outcome == "open" else outcome
            self.deals.append(
                f"{deal},a1,s1,Deal,new_business,{stage},100,2026-01-01T09:00:00Z,2026-02-20,{closed},{product}"
            )
            steps = ["Discovery", *(["Proposal"] if last_stage == "Proposal" else [])]
            steps += [] if outcome == "open" else [outcome]
            days = {"Proposal": "2026-01-11", outcome: "2026-02-20"}
            for old, new in zip(steps, steps[1:], strict=False):
                self.events.append(f"{len(self.events)},{deal},stage,{old},{new},{days[new]}T09:00:00Z")
            if joined:
                self.team.append(f"{deal},{by},specialist,{joined}T10:00:00Z")

    def tell(self, folder: Path, as_of: date = AS_OF) -> None:
        extract = write_extract(
            folder / "extract",
            extracted_at="2026-03-31T20:00:00Z",
            crm_users=PEOPLE,
            crm_accounts=ACCOUNTS,
            crm_products=PRODUCTS,
            crm_opportunities="\n".join([f"{OPPORTUNITY_HEADER},product_id", *self.deals, ""]),
            crm_opportunity_changes="\n".join(
                ["change_id,opportunity_id,field,old_value,new_value,changed_at", *self.events, ""]
            ),
            crm_opportunity_team="\n".join(["opportunity_id,user_id,team_role,joined_at", *self.team, ""]),
            crm_activities="\n".join(
                ["activity_id,activity_type,direction,user_id,opportunity_id,occurred_at", *self.activities, ""]
            ),
        )
        self.warehouse.load([extract])
        self.warehouse.build(as_of)

    def query(self, sql: str) -> Rows:
        with duckdb.connect(str(self.warehouse.database), read_only=True) as connection:
            return connection.execute(sql).fetchall()

    def effect(self, columns: Sequence[str], segment: str = "all") -> tuple[object, ...]:
        (row,) = self.query(
            f"select {', '.join(columns)} from funnel.teaming_effect "
            f"where function = 'specialist' and segment = '{segment}'"
        )
        return row


@pytest.fixture(scope="module")
def warehouse(demo_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    tables = ["funnel.deal_teams", "funnel.teaming_effect", "funnel.specialist_suggestions"]
    return Warehouse(demo_run, tmp_path_factory.mktemp("teaming") / "home", tables)


@pytest.fixture
def company(warehouse: Warehouse) -> Company:
    """Thirty deals with a specialist, of which 18 are won; thirty without, of which 9; ten lost before any help."""
    made = Company(warehouse)
    made.add("helped_won", 18, "Closed Won", joined="2026-01-16")
    made.add("helped_lost", 12, "Closed Lost", joined="2026-01-16")
    made.add("alone_won", 8, "Closed Won")
    made.add("alone_lost", 21, "Closed Lost")
    # The specialist came to hand over what had been won, on the day it was: no help in winning it.
    made.add("after_won", 1, "Closed Won", joined="2026-02-20")
    made.add("early_lost", 10, "Closed Lost", last_stage="Discovery")
    return made


def test_deals_with_help_are_held_against_those_at_the_same_stage_and_age(company: Company, tmp_path: Path) -> None:
    company.tell(tmp_path)
    counts = company.effect(["treated_count", "matched_count", "control_count", "other_count", "strata_count"])
    assert counts == (30, 30, 30, 40, 1)
    # 18/30 against 9/30. Against all others it would be 9/40: those that never came to Proposal make help look better.
    effect = company.effect(["win_rate_with", "win_rate_without", "effect", "raw_difference", "p_at_join", "reason"])
    assert effect == (pytest.approx(0.6), pytest.approx(0.3), pytest.approx(0.3), pytest.approx(0.375), 0.45, None)
    # Both sides have the variance 0.45 x 0.55 / 30.
    half = Z * sqrt(2 * 0.45 * 0.55 / 30)
    assert company.effect(["effect_low", "effect_high"]) == (pytest.approx(0.3 - half), pytest.approx(0.3 + half))


def test_help_that_came_on_the_day_of_closing_or_later_is_none(company: Company, tmp_path: Path) -> None:
    for place in range(100):
        company.add(f"later{place}_won", 1, "Closed Won", joined="2026-02-21")
    company.tell(tmp_path)
    # A hundred wins that were joined when they were won count among those without.
    assert company.effect(["treated_count", "control_count", "win_rate_with", "win_rate_without"]) == (
        30, 130, pytest.approx(0.6), pytest.approx(109 / 130),
    )  # fmt: skip
    assert company.query(
        "select function, stage_at_join, days_from_creation from funnel.deal_teams "
        "where opportunity_id = 'later0_won0' order by 1"
    ) == [("owner", "Discovery", 0), ("specialist", "Closed Won", 51)]


def test_with_one_deal_less_nothing_is_said_and_why(company: Company, tmp_path: Path) -> None:
    company.team.remove("helped_won0,x1,specialist,2026-01-16T10:00:00Z")
    company.tell(tmp_path)
    columns = ["matched_count", "effect", "effect_low", "effect_high", "win_rate_with", "raw_difference", "reason"]
    assert company.effect(columns) == (29, None, None, None, None, None, "too few deals could be matched")


def test_with_one_deal_less_to_hold_them_against_nothing_is_said_and_why(company: Company, tmp_path: Path) -> None:
    company.deals = [row for row in company.deals if not row.startswith("alone_lost0,")]
    company.tell(tmp_path)
    columns = ["matched_count", "control_count", "effect", "win_rate_without", "raw_difference", "reason"]
    why = "too few deals without this function were in the same stage at the same age"
    assert company.effect(columns) == (30, 29, None, None, None, why)


def test_deals_nobody_was_like_are_left_out_and_counted(company: Company, tmp_path: Path) -> None:
    # Joined in Discovery within 30 days, which only they and the lost ten passed alone; the rest passed it too.
    company.add("odd", 3, "Closed Won", joined="2026-02-15", last_stage="Discovery")
    company.tell(tmp_path)
    # At the age of 45 days nobody else in Discovery but the ten: they are the three's measure, all lost.
    assert company.effect(["treated_count", "matched_count", "strata_count", "strata_left_out_count"]) == (33, 33, 2, 0)
    assert company.effect(["effect"]) == (pytest.approx((30 * 0.3 + 3 * 1) / 33),)
    company.deals = [row for row in company.deals if not row.startswith("early_lost")]
    company.tell(tmp_path / "again")
    assert company.effect(["treated_count", "matched_count", "strata_count", "strata_left_out_count"]) == (33, 30, 1, 1)
    assert company.effect(["effect"]) == (pytest.approx(0.3),)


def test_told_for_a_day_before_help_came_nobody_is_there(company: Company, tmp_path: Path) -> None:
    company.tell(tmp_path, date(2026, 1, 15))
    assert company.query("select distinct function from funnel.deal_teams") == [("owner",)]
    assert company.query("select count(*) from funnel.teaming_effect") == [(0,)]
    assert company.query("select count(*) from funnel.specialist_suggestions") == [(70,)]


def test_a_manager_who_meets_the_buyer_is_on_the_deal(company: Company, tmp_path: Path) -> None:
    company.add("open", 1, "open")
    company.activities += [
        "1,meeting,outbound,s1,open0,2026-01-20T09:00:00Z",
        "2,meeting,outbound,m1,open0,2026-01-21T09:00:00Z",
        "3,call,outbound,m1,open0,2026-01-25T09:00:00Z",
    ]
    company.tell(tmp_path)
    assert company.query(
        "select user_id, function, evidence, activity_count, joined_on, stage_at_join "
        "from funnel.deal_teams where opportunity_id = 'open0' order by 1"
    ) == [
        ("m1", "manager", "activity", 2, date(2026, 1, 21), "Proposal"),
        ("s1", "owner", "ownership, activity", 1, date(2026, 1, 1), "Discovery"),
    ]


@pytest.fixture
def records(warehouse: Warehouse) -> Company:
    """The first specialist has won 16 of 20, the second 2 of 10; one deal waits for help. Eight open deals are full."""
    made = Company(warehouse)
    for name, by, won, lost in (("first", "x1", 16, 4), ("second", "x2", 2, 8)):
        made.add(f"{name}_won", won, "Closed Won", joined="2026-01-16", by=by)
        made.add(f"{name}_lost", lost, "Closed Lost", joined="2026-01-16", by=by)
    made.add("waiting", 1, "open")
    return made


SUGGESTED = (
    "select suggested_user_id, record_level, n, win_rate_shrunk, open_deal_count, free_specialist_count, reason "
    "from funnel.specialist_suggestions where opportunity_id = 'waiting0'"
)


def test_the_specialist_with_the_best_record_is_suggested_until_full(records: Company, tmp_path: Path) -> None:
    # Rates 0.8 and 0.2 around 0.6: between 20 x 0.04 + 10 x 0.16 = 2.4, within (20 x 0.16 + 10 x 0.16) / 28 = 4.8 / 28,
    # and members of 30 - 500 / 30 = 40 / 3 deals.
    correlation = (2.4 - 4.8 / 28) / (2.4 + (40 / 3 - 1) * 4.8 / 28)
    prior = 1 / correlation - 1
    records.add("first_open", 7, "open", joined="2026-02-02", by="x1")
    records.tell(tmp_path / "free")
    shrunk = pytest.approx((16 + prior * 0.6) / (20 + prior))
    assert records.query(SUGGESTED) == [("x1", "segment and product", 20, shrunk, 7, 2, None)]
    records.add("one_more", 1, "open", joined="2026-02-02", by="x1")
    records.tell(tmp_path / "full")
    shrunk = pytest.approx((2 + prior * 0.6) / (10 + prior))
    assert records.query(SUGGESTED) == [("x2", "segment and product", 10, shrunk, 0, 1, None)]


def test_when_nobody_has_capacity_nobody_is_named(records: Company, tmp_path: Path) -> None:
    for by in ("x1", "x2"):
        records.add(f"open_{by}_", 8, "open", joined="2026-02-02", by=by)
    records.tell(tmp_path)
    assert records.query(SUGGESTED) == [(None, None, None, None, None, 0, "no specialist has capacity")]


def test_a_product_too_few_deals_tell_about_falls_back_to_the_segment(records: Company, tmp_path: Path) -> None:
    records.deals[-1] = records.deals[-1].replace(",p1", ",p2")
    records.tell(tmp_path)
    assert [row[:3] for row in records.query(SUGGESTED)] == [("x1", "segment", 20)]


def test_the_effects_of_the_demo_company_are_those_worked_out_deal_by_deal(demo_run: Run) -> None:
    def rows(table: str) -> list[dict[str, object]]:
        with duckdb.connect(str(demo_run.database), read_only=True) as connection:
            found = connection.execute(f"from {table}")
            names = [column[0] for column in found.description or []]
            return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    expected = effects(
        rows("core.opportunities"),
        rows("funnel.deal_teams"),
        rows("funnel.stage_visits"),
        DEMO_AS_OF.replace(year=DEMO_AS_OF.year - 2),
    )
    told = {(row["function"], row["segment"]): row for row in rows("funnel.teaming_effect")}
    assert set(told) == set(expected)
    for key, entry in expected.items():
        assert {name: told[key][name] for name in entry} == pytest.approx(entry), key
    assert [key for key, entry in expected.items() if entry["effect"] is not None]
    assert [key for key, entry in expected.items() if entry["strata_left_out_count"]]
