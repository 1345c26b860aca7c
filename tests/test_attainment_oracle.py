"""Quota attainment against the second oracle: cell by cell on the demo company and on extracts made to be awkward."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.conftest import DEMO_AS_OF, DEMO_PAST, Run
from tests.extracts import write_extract
from tests.oracles import attainment
from tests.oracles.attainment import (
    BY_QUARTER,
    BY_YEAR,
    KEY,
    LONGER,
    NO_QUOTA,
    NO_RATE,
    OVERLAP,
    PARTLY,
    REASONS,
    RUNNING,
    SET_OTHERWISE,
    TOO_FEW,
    ZERO,
    Relief,
)
from tests.warehouse import Warehouse

AS_OF = date(2026, 6, 30)
EXTRACTED_AT = "2026-06-30T22:00:00Z"
RELATIVE = 1e-9
# A sum of doubles depends on their order, so attainments and the squares of their deviations are added as decimals, of
# twelve places: the mean, and the square of the interval's reach, are held to eleven.
AVERAGE, INTERVAL = "average_attainment", ("average_attainment_low", "average_attainment_high")
ADDED_TO = 1e-11

Cells = dict[str, Any]
Rows = dict[tuple[Any, ...], Cells]


# Comparing


def by_key(rows: Iterable[Cells]) -> Rows:
    made, count = {}, 0
    for row in rows:
        made[tuple(row[name] for name in KEY)] = row
        count += 1
    assert len(made) == count, "a key is there twice"
    return made


def published_in(database: Path) -> Rows:
    with duckdb.connect(str(database), read_only=True) as connection:
        found = connection.execute("from people.quota_attainment")
        names = [column[0] for column in found.description or []]
        return by_key(dict(zip(names, row, strict=True)) for row in found.fetchall())


def is_same(column: str, ours: Cells, theirs: Cells) -> bool:
    """Amounts, counts and words are equal; shares, which are no decimals, nearly."""
    one, other = ours.get(column, "does not tell"), theirs[column]
    if isinstance(one, float) and isinstance(other, float):
        if column in INTERVAL:
            reach, reached = one - ours[AVERAGE], other - theirs[AVERAGE]
            return abs(reach * abs(reach) - reached * abs(reached)) <= ADDED_TO * max(1, reach**2)
        return abs(one - other) <= (ADDED_TO if column == AVERAGE else RELATIVE) * max(1, abs(one))
    return bool(one == other)


def assert_same(ours: Rows, theirs: Rows) -> None:
    assert ours.keys() == theirs.keys(), {
        "only the oracle": sorted(map(str, ours.keys() - theirs.keys()))[:5],
        "only the table": sorted(map(str, theirs.keys() - ours.keys()))[:5],
    }
    wrong = [
        (column, key, "oracle", ours[key].get(column, "does not tell"), "table", value)
        for key, row in theirs.items()
        for column, value in row.items()
        if not is_same(column, ours[key], row)
    ]
    assert not wrong, f"{dict(Counter(column for column, *_ in wrong))}, such as {sorted(wrong, key=str)[:5]}"


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory, demo_run: Run) -> Warehouse:
    return Warehouse(demo_run, tmp_path_factory.mktemp("attainment") / "home", ["people.quota_attainment"])


def first_day(database: Path) -> date:
    """The calendar has a test of its own."""
    with duckdb.connect(str(database), read_only=True) as connection:
        (day,) = connection.execute("select min(day) from core.calendar").fetchone() or (None,)
    assert isinstance(day, date)
    return day


@contextmanager
def relieved(database: Path, relief: Relief | None) -> Iterator[None]:
    """Another ramp relief than the seed's for a while."""

    def write(rows: Iterable[tuple[int, float]]) -> None:
        with duckdb.connect(str(database)) as connection:
            connection.execute("delete from policy.ramp_relief")
            connection.executemany("insert into policy.ramp_relief values (?, ?)", list(rows))

    with duckdb.connect(str(database), read_only=True) as connection:
        kept = connection.execute("from policy.ramp_relief").fetchall()
    write([(month, float(share)) for month, share in relief] if relief else kept)
    try:
        yield
    finally:
        write(kept)


def told_and_published(
    warehouse: Warehouse, directories: list[Path], as_of: date, relief: Relief | None = None
) -> tuple[Rows, Rows]:
    warehouse.load(directories)
    with relieved(warehouse.database, relief):
        warehouse.build(as_of)
    told = attainment.tell(attainment.load(directories), as_of, first_day(warehouse.database), relief)
    return by_key(told), published_in(warehouse.database)


def assert_adds_up(rows: Rows) -> None:
    """What the company has is what its sellers have, and what nobody is credited with."""
    for (scope_type, _, period_type, period_start), row in rows.items():
        if scope_type == "company":
            sellers = [
                one for key, one in rows.items() if (key[0], key[2], key[3]) == ("seller", period_type, period_start)
            ]
            assert row["overlay_amount"] == sum(one["overlay_amount"] for one in sellers)
            assert row["won_count"] >= sum(one["won_count"] for one in sellers)
            assert row["n"] == sum(one["is_judged"] for one in sellers)


# The demo company


def test_every_published_cell_is_what_the_oracle_says(demo_release: Path, demo_extract: Path) -> None:
    told = by_key(attainment.tell(attainment.load([demo_extract]), DEMO_AS_OF, first_day(demo_release)))
    assert_same(told, published_in(demo_release))
    assert_adds_up(told)
    reached = [row for row in told.values() if row["attainment"] is not None]
    assert len({row["scope_type"] for row in reached}) == 5 and len(reached) > 100
    assert sum(row["average_attainment"] is not None for row in told.values()) > 20


def test_so_it_is_on_a_past_day(warehouse: Warehouse, demo_extract: Path) -> None:
    told, published = told_and_published(warehouse, [demo_extract], DEMO_PAST)
    assert_same(told, published)
    assert {row["is_complete"] for row in told.values()} == {True, False}


def test_so_it_is_on_the_day_on_which_a_month_begins(warehouse: Warehouse, demo_extract: Path) -> None:
    # The month that began on the very day 60 months before counts; and nothing has happened in the newest one.
    told, published = told_and_published(warehouse, [demo_extract], date(2026, 1, 1))
    assert_same(told, published)
    assert min(start for *_, start in told) == date(2021, 1, 1)


# By hand


def table(header: str, rows: Iterable[Iterable[Any]]) -> str:
    return "\n".join([header, *(",".join("" if cell is None else str(cell) for cell in row) for row in rows), ""])


USER_HEADER = "user_id,name,role,manager_id,region,segment,hired_on,terminated_on"
DEAL_HEADER = (
    "opportunity_id,account_id,owner_id,name,opportunity_type,stage,amount,currency,created_at,close_date,closed_at"
)
TEAM_HEADER = "opportunity_id,user_id,team_role,credit_share,overlay_share,joined_at,left_at"
QUOTA_HEADER = "user_id,period_start,period_end,effective_from,amount,currency"
FX_HEADER = "rate_date,from_currency,to_currency,rate_type,rate"
FX_RATES = table(
    FX_HEADER, [("2025-01-01", "EUR", "USD", "plan", "1.10"), ("2026-01-01", "EUR", "USD", "plan", "1.234567")]
)

QUARTER = ("2026-04-01", "2026-06-30")
APRIL, MAY, JUNE = ("2026-04-01", "2026-04-30"), ("2026-05-01", "2026-05-31"), ("2026-06-01", "2026-06-30")

# Hired on, left on, quotas (period, effective from, amount, currency), won in May; (quota, days, attainment, reason).
SCENES: dict[str, tuple[Any, ...]] = {
    # 9100 × 30/91 + 18200 × 61/91
    "changed": (
        "2020-01-01",
        None,
        [(QUARTER, "2026-04-01", 9100), (QUARTER, "2026-05-01", 18200)],
        7600,
        (15200, 91, 0.5, None),
    ),
    "set_beforehand": (
        "2020-01-01",
        None,
        [(QUARTER, "2025-12-01", 500), (QUARTER, "2026-02-01", 1000), (QUARTER, "2026-07-01", 9)],
        1000,
        (1000, 91, 1.0, None),
    ),
    "came_in_may": ("2026-05-01", None, [(QUARTER, "2026-05-01", 6100)], 6100, (6100, 61, 1.0, None)),
    "came_in_june": ("2026-06-20", None, [(QUARTER, "2026-06-20", 1000)], 3000, (1000, 11, 3.0, None)),
    "left_in_april": ("2020-01-01", "2026-04-30", [(QUARTER, "2026-04-01", 9100)], 1500, (3000, 30, 0.5, None)),
    "two_months": (
        "2020-01-01",
        None,
        [(APRIL, "2026-04-01", 100), (MAY, "2026-05-01", 100)],
        100,
        (200, 61, None, PARTLY),
    ),
    "three_months": (
        "2020-01-01",
        None,
        [(APRIL, "2026-04-01", 100), (MAY, "2026-05-01", 100), (JUNE, "2026-06-01", 200)],
        100,
        (400, 91, 0.25, None),
    ),
    "exact_and_months": (
        "2020-01-01",
        None,
        [(QUARTER, "2026-04-01", 1000), (MAY, "2026-05-01", 100)],
        500,
        (1000, 91, 0.5, None),
    ),
    "overlapping": (
        "2020-01-01",
        None,
        [(("2026-04-01", "2026-05-31"), "2026-04-01", 100), (("2026-05-01", "2026-06-30"), "2026-05-01", 100)],
        100,
        (None, 122, None, OVERLAP),
    ),
    "no_rate": ("2020-01-01", None, [(QUARTER, "2026-04-01", 1000, "GBP")], 100, (None, 91, None, NO_RATE)),
    "in_euro": ("2020-01-01", None, [(QUARTER, "2026-04-01", 1000, "EUR")], 1234.567, (1234.567, 91, 1.0, None)),
    "nothing_asked": ("2020-01-01", None, [(QUARTER, "2026-04-01", 0)], 100, (0, 91, None, ZERO)),
    "of_the_year": (
        "2020-01-01",
        None,
        [(("2026-01-01", "2026-12-31"), "2026-01-01", 1000)],
        100,
        (None, 0, None, BY_YEAR),
    ),
}


def write_company(directory: Path, *, extracted_at: str = EXTRACTED_AT, **files: str) -> Path:
    accounts = table("account_id,name,segment", [("a1", "Arden", "Mid-Market")])
    return write_extract(
        directory, extracted_at=extracted_at, **{"crm_accounts": accounts, "finance_fx_rates": FX_RATES, **files}
    )


def deal(name: str, owner_id: str, amount: Any, won_on: date | str, currency: str = "", **more: Any) -> tuple[Any, ...]:
    stage = more.get("stage", "Closed Won")
    closed_at = f"{won_on}T10:00:00Z" if stage.startswith("Closed") else None
    created_at = more.get("created_at", "2025-01-06T09:00:00Z")
    return (name, "a1", owner_id, name, "new_business", stage, amount, currency, created_at, won_on, closed_at)


def write_scenes(directory: Path) -> Path:
    people = [("m1", "Mara", "manager", "", "North", "", "2019-01-01", None)]
    people += [
        (name, name.title(), "account_executive", "m1", "North", "Mid-Market", hired_on, left_on)
        for name, (hired_on, left_on, *_) in SCENES.items()
    ]
    return write_company(
        directory,
        crm_users=table(USER_HEADER, people),
        crm_opportunities=table(
            DEAL_HEADER, (deal(name, name, won, "2026-05-10") for name, (_, _, _, won, _) in SCENES.items())
        ),
        crm_quotas=table(
            QUOTA_HEADER,
            [
                (name, *period, since, amount, *(currency or [""]))
                for name, (_, _, quotas, *_) in SCENES.items()
                for period, since, amount, *currency in quotas
            ],
        ),
    )


def test_quotas_by_hand(warehouse: Warehouse, tmp_path: Path) -> None:
    told, published = told_and_published(warehouse, [write_scenes(tmp_path / "extract")], AS_OF)
    columns = ("quota_amount", "quota_days", "attainment", "reason")
    found = {
        name: tuple(told["seller", name, "quarter", date(2026, 4, 1)][column] for column in columns) for name in SCENES
    }
    expected = {
        name: (None if quota is None else Decimal(str(quota)), *more) for name, (*_, (quota, *more)) in SCENES.items()
    }
    assert found == expected
    # Eight have an attainment, of whom one came in June and one left in April.
    manager = told["manager", "m1", "quarter", date(2026, 4, 1)]
    judged = [Fraction(1, 2), Fraction(1), Fraction(1), Fraction(1, 4), Fraction(1, 2), Fraction(1)]
    assert (manager["n"], manager["at_quota_count"], manager["at_quota_share"]) == (6, 3, 0.5)
    assert manager["average_attainment"] == pytest.approx(float(sum(judged) / 6))
    # Those with an attainment were there on 6 × 91 + 61 + 11 + 30 - 91 of the days of all with a quota's row.
    assert (manager["reason"], manager["quota_amount"], manager["amount_to_go"]) == (PARTLY, None, None)
    # Half of the quota is missing to both, and one of them has left.
    to_go = [
        told["seller", name, "quarter", date(2026, 4, 1)]["amount_to_go"]
        for name in ("exact_and_months", "left_in_april")
    ]
    assert to_go == [500, None]
    # A quarter's quota is never cut into months, nor one of two months.
    reasons = {
        name: told["seller", name, "month", date(2026, 4, 1)]["reason"]
        for name in ("two_months", "in_euro", "of_the_year", "overlapping")
    }
    assert reasons == {"two_months": None, "in_euro": BY_QUARTER, "of_the_year": BY_YEAR, "overlapping": LONGER}
    assert_same(told, published)


TEAMS: dict[str, tuple[list[tuple[Any, ...]], dict[str, Any]]] = {
    # Members: who, credit share, overlay share, joined at. What each is credited with of 100.0001, s1 being the owner.
    "whole": ([("s1", 0.5, ""), ("s2", 0.5, "")], {"s1": "50.0001", "s2": "50"}),
    "thirds": ([("s1", 1, ""), ("s2", 1, ""), ("s3", 1, "")], {"s1": "33.3334", "s2": "33.3333", "s3": "33.3334"}),
    "too_little": ([("s2", 0.25, ""), ("s3", 0.5, "")], {"s2": "33.3334", "s3": "66.6667"}),
    "nobody_said": ([("s2", 0, 0.5), ("s3", "", "")], {"s1": "100.0001"}),
    "negative": ([("s2", -0.5, ""), ("s3", 0.5, "")], {"s3": "100.0001"}),
    "too_late": ([("s2", 1, "", "2026-05-11T00:00:00Z"), ("s3", 1, "", "2026-05-10T23:59:59Z")], {"s3": "100.0001"}),
}


@pytest.mark.parametrize("name", TEAMS)
def test_credit_by_hand(name: str) -> None:
    members, expected = TEAMS[name]
    rows = [
        {
            "user_id": who,
            "credit_share": str(share),
            "overlay_share": str(overlay) or None,
            "joined_at": (*joined, None)[0],
        }
        for who, share, overlay, *joined in members
        if not str(share).startswith("-")
    ]
    for row in rows:
        row["credit_share"] = row["credit_share"] or None
    made = attainment.credits_of(date(2026, 5, 10), Decimal("100.0001"), "s1", rows)
    assert {one.user_id: one.amount for one in made if one.amount is not None} == {
        who: Decimal(amount) for who, amount in expected.items()
    }


def write_teams(directory: Path, amount: str = "100.0001") -> Path:
    people = [(f"s{n}", f"Seller {n}", "account_executive", "", "North", "", "2020-01-01", None) for n in (1, 2, 3)]
    return write_company(
        directory,
        crm_users=table(USER_HEADER, people),
        crm_opportunities=table(DEAL_HEADER, (deal(name, "s1", amount, "2026-05-10") for name in TEAMS)),
        crm_opportunity_team=table(
            TEAM_HEADER,
            [
                (name, who, f"role{place}", share, overlay, *(joined or [""]), "")
                for name, (members, _) in TEAMS.items()
                for place, (who, share, overlay, *joined) in enumerate(members)
            ],
        ),
    )


def test_every_cell_of_the_teams_is_what_the_oracle_says(warehouse: Warehouse, tmp_path: Path) -> None:
    told, published = told_and_published(warehouse, [write_teams(tmp_path / "extract")], AS_OF)
    assert_same(told, published)
    earned = {
        who: sum((Decimal(amounts.get(who, 0)) for _, amounts in TEAMS.values()), Decimal(0))
        for who in ("s1", "s2", "s3")
    }
    assert {who: told["seller", who, "month", date(2026, 5, 1)]["credited_amount"] for who in earned} == earned


def test_halves_of_overlay_go_up(warehouse: Warehouse, tmp_path: Path) -> None:
    """23760.8670 × 0.25 = 5940.21675."""
    directory = write_company(
        tmp_path / "extract",
        crm_users=table(USER_HEADER, [("s1", "Sam", "account_executive", "", "North", "", "2020-01-01", None)]),
        crm_opportunities=table(DEAL_HEADER, [deal("o1", "s1", "23760.8670", "2026-05-10")]),
        crm_opportunity_team=table(TEAM_HEADER, [("o1", "s2", "specialist", 0, 0.25, "", "")]),
    )
    told, published = told_and_published(warehouse, [directory], AS_OF)
    assert told["seller", "s2", "month", date(2026, 5, 1)]["overlay_amount"] == Decimal("5940.2168")
    assert_same(told, published)


def test_halves_of_credit_go_up(warehouse: Warehouse, tmp_path: Path) -> None:
    """A quarter of 23760.8670 is 5940.21675, and a half of 100.0011 is 50.00055."""
    users = [(f"s{n}", f"Seller {n}", "account_executive", "", "North", "", "2020-01-01", None) for n in (1, 2)]
    quotas = [("s1", "2025-11-01", "2025-11-30", since, "100.0011", "") for since in ("2025-11-01", "2025-11-16")]
    directory = write_company(
        tmp_path / "extract",
        crm_users=table(USER_HEADER, users),
        crm_opportunities=table(DEAL_HEADER, [deal("o1", "s1", "23760.8670", "2025-11-10")]),
        crm_opportunity_team=table(
            TEAM_HEADER, [("o1", "s1", "seller", 0.25, "", "", ""), ("o1", "s2", "seller", 0.75, "", "", "")]
        ),
        crm_quotas=table(QUOTA_HEADER, quotas),
    )
    told, published = told_and_published(warehouse, [directory], AS_OF)
    assert_same(told, published)
    first, second = (published["seller", who, "month", date(2025, 11, 1)] for who in ("s1", "s2"))
    assert [first["credited_amount"], second["credited_amount"]] == [Decimal("5940.2168"), Decimal("17820.6502")]
    assert first["quota_amount"] == 2 * Decimal("50.0006")


def write_quotas(directory: Path, quotas: dict[str, list[tuple[Any, ...]]], won: dict[str, Any]) -> Path:
    """Sellers hired on 1 December 2025, quotas (first day, last day, since, amount) and what was won on 10 December."""
    return write_company(
        directory,
        crm_users=table(
            USER_HEADER,
            ((who, who.title(), "account_executive", "", "North", "", "2025-12-01", None) for who in quotas),
        ),
        crm_opportunities=table(DEAL_HEADER, (deal(who, who, amount, "2025-12-10") for who, amount in won.items())),
        crm_quotas=table(QUOTA_HEADER, ((who, *one, "") for who, mine in quotas.items() for one in mine)),
    )


DECEMBER = ("2025-12-01", "2025-12-31")


@pytest.mark.parametrize(
    ("amount", "later", "share", "before_relief", "quota"),
    [
        # 333.33 × 0.625 = 208.33125: halves go up.
        ("333.33", "333.33", "0.625", "333.33", "208.3313"),
        # 100 × 10/31 is rounded to 32.2581, and 0.75 of that, 24.193575, to 24.1936; of what was not rounded 24.1935.
        ("100", "0", "0.75", "32.2581", "24.1936"),
    ],
)
def test_relief_of_what_was_rounded_is_rounded_again(
    amount: str, later: str, share: str, before_relief: str, quota: str, warehouse: Warehouse, tmp_path: Path
) -> None:
    versions = [(*DECEMBER, "2025-12-01", amount), *([(*DECEMBER, "2025-12-11", later)] if later != amount else [])]
    directory = write_quotas(tmp_path / "extract", {"sam": versions}, {"sam": 100})
    told, published = told_and_published(warehouse, [directory], AS_OF, [(0, Fraction(share)), (6, Fraction(1))])
    row = told["seller", "sam", "month", date(2025, 12, 1)]
    assert (row["quota_before_relief"], row["quota_amount"]) == (Decimal(before_relief), Decimal(quota))
    assert_same(told, published)


def test_relief_by_months_of_service(warehouse: Warehouse, tmp_path: Path) -> None:
    """A third of the quarter's 90 days at a fifth, 28 of them at a half."""
    quotas = {"sam": [("2026-01-01", "2026-03-31", "2026-01-01", 900)]}
    relief = [(0, Fraction(1, 10)), (1, Fraction(1, 5)), (2, Fraction(1, 2)), (3, Fraction(1))]
    directory = write_quotas(tmp_path / "extract", quotas, {"sam": 100})
    told, published = told_and_published(warehouse, [directory], AS_OF, relief)
    row = told["seller", "sam", "quarter", date(2026, 1, 1)]
    assert (row["quota_before_relief"], row["quota_amount"]) == (900, 62 + 140 + 310)
    assert_same(told, published)


@pytest.mark.parametrize("divisor", [3, 7, 1000])
def test_sellers_who_are_equal_have_no_spread(divisor: int, warehouse: Warehouse, tmp_path: Path) -> None:
    names = [f"s{number}" for number in range(5)]
    quotas = {who: [(*DECEMBER, "2025-12-01", divisor)] for who in names}
    directory = write_quotas(tmp_path / "extract", quotas, dict.fromkeys(names, 1))
    told, published = told_and_published(warehouse, [directory], AS_OF)
    key = ("company", "company", "month", date(2025, 12, 1))
    assert [told[key][column] for column in (AVERAGE, *INTERVAL)] == pytest.approx([1 / divisor] * 3)
    assert [published[key][column] for column in (AVERAGE, *INTERVAL)] == pytest.approx([1 / divisor] * 3, abs=1e-6)
    assert_same(told, published)


def test_who_has_no_job_yet_has_a_name(warehouse: Warehouse, tmp_path: Path) -> None:
    """Won before the first job that is known; the name stands in crm/users."""
    directory = write_company(
        tmp_path / "extract",
        crm_users=table(USER_HEADER, [("s1", "Sam Oduya", "account_executive", "", "", "", "2026-01-01", None)]),
        crm_opportunities=table(DEAL_HEADER, [deal("o1", "s1", 100, "2025-12-10")]),
    )
    told, published = told_and_published(warehouse, [directory], AS_OF)
    key = ("seller", "s1", "month", date(2025, 12, 1))
    assert (told[key]["scope_name"], published[key]["scope_name"]) == ("Sam Oduya", "Sam Oduya")


@pytest.mark.parametrize(
    ("hired_on", "left_on"), [("2020-01-01", "2025-11-30"), ("2026-01-01", "")], ids=["left before", "hired after"]
)
def test_a_quota_of_days_when_nobody_was_there_is_none(
    hired_on: str, left_on: str, warehouse: Warehouse, tmp_path: Path
) -> None:
    """Somebody with a deal and a quota of December, who came after it or left before."""
    user = ("s1", "Sam", "account_executive", "", "North", "", hired_on, left_on)
    directory = write_company(
        tmp_path / "extract",
        crm_users=table(USER_HEADER, [user]),
        crm_user_roles=table(
            "user_id,effective_from,role,manager_id,region,segment",
            [("s1", "2020-01-01", "account_executive", "", "North", "")],
        ),
        crm_opportunities=table(DEAL_HEADER, [deal("o1", "s1", 100, "2025-12-10")]),
        crm_quotas=table(QUOTA_HEADER, [("s1", *DECEMBER, "2025-11-01", 900, "")]),
    )
    told, published = told_and_published(warehouse, [directory], AS_OF)
    for scope in (("seller", "s1"), ("company", "company")):
        row = published[(*scope, "month", date(2025, 12, 1))]
        assert (row["reason"], row["quota_amount"], row["quota_days"]) == (NO_QUOTA, None, 0)
    assert_same(told, published)


def test_a_version_that_never_held_needs_no_rate(warehouse: Warehouse, tmp_path: Path) -> None:
    """900 GBP, for which there is no rate, became 900 USD before the month began."""
    directory = write_company(
        tmp_path / "extract",
        crm_users=table(USER_HEADER, [("s1", "Sam", "account_executive", "", "", "", "2020-01-01", None)]),
        crm_opportunities=table(DEAL_HEADER, [deal("o1", "s1", 100, "2025-12-10")]),
        crm_quotas=table(
            QUOTA_HEADER, [("s1", *DECEMBER, "2025-11-01", 900, "GBP"), ("s1", *DECEMBER, "2025-11-15", 900, "USD")]
        ),
    )
    told, published = told_and_published(warehouse, [directory], AS_OF)
    row = published["seller", "s1", "month", date(2025, 12, 1)]
    assert (row["reason"], row["quota_amount"]) == (None, 900)
    assert_same(told, published)


def test_what_is_known_changes_from_load_to_load(warehouse: Warehouse, tmp_path: Path) -> None:
    """Somebody leaves, a quota is raised and another one corrected, a team is changed and a deal opened again."""
    people = [("m1", "Mara", "manager", "", "", "", "2019-01-01")]
    people += [(f"s{n}", f"Seller {n}", "account_executive", "m1", "North", "", "2020-01-01") for n in range(1, 7)]
    quotas = [(f"s{n}", *QUARTER, "2026-04-01", 1000 * n, "") for n in range(1, 7)]
    deals = [deal(f"o{n}", f"s{n}", 900 * n, f"2026-04-{n + 10}") for n in range(1, 7)]
    team = [("o1", who, "seller", 0.5, "", "2026-04-02T08:00:00Z", "") for who in ("s2", "s1")]
    first = write_company(
        tmp_path / "1",
        extracted_at="2026-05-01T22:00:00Z",
        crm_users=table(USER_HEADER, ((*one, None) for one in people)),
        crm_quotas=table(QUOTA_HEADER, quotas),
        crm_opportunities=table(DEAL_HEADER, deals),
        crm_opportunity_team=table(TEAM_HEADER, team),
    )
    reopened = deal("o3", "s3", 2700, "2026-09-30", stage="Proposal")
    second = write_company(
        tmp_path / "2",
        extracted_at="2026-06-01T22:00:00Z",
        crm_users=table(USER_HEADER, ((*one, "2026-05-20" if one[0] == "s6" else None) for one in people)),
        crm_quotas=table(
            QUOTA_HEADER, [*quotas[:-2], (*quotas[-2][:4], 7000, ""), ("s4", *QUARTER, "2026-06-10", 8000, "")]
        ),
        crm_opportunities=table(DEAL_HEADER, [*deals[:2], reopened, *deals[3:]]),
        crm_opportunity_team=table(TEAM_HEADER, team[1:]),
    )
    said = {}
    for day in (date(2026, 4, 30), date(2026, 5, 31), date(2026, 6, 1), date(2026, 6, 9), date(2026, 6, 30)):
        told, published = told_and_published(warehouse, [first, second], day)
        assert_same(told, published)
        said[day] = [
            [told["seller", f"s{n}", "quarter", date(2026, 4, 1)][column] for n in range(1, 7)]
            for column in ("credited_amount", "quota_amount")
        ]
    assert said[date(2026, 5, 31)] == [[450, 2250, 2700, 3600, 4500, 5400], [1000, 2000, 3000, 4000, 5000, 6000]]
    left = Decimal("3296.7033")  # 6000 × 50/91
    assert said[date(2026, 6, 9)] == [[900, 1800, 0, 3600, 4500, 5400], [1000, 2000, 3000, 4000, 7000, left]]
    # 4000 × 70/91 + 8000 × 21/91
    assert said[date(2026, 6, 30)][1][3] == Decimal("3076.9231") + Decimal("1846.1538")


# By chance


def write_by_chance(directory: Path, seed: int) -> Path:
    """A dozen people who come, go and change places, with quotas of all sorts and teams that do not add up."""
    chance = random.Random(seed)
    start, as_of = date(2025, 7, 1), DAYS[seed]
    days = (as_of - start).days + 1

    def some_day() -> date:
        return start + timedelta(chance.randrange(days))

    names = [f"u{number:02d}" for number in range(16)]
    selling = ["account_executive", "account_executive", "account_manager", "development_rep"]
    roles = {name: chance.choice([*selling, *selling, "specialist"]) for name in names}
    roles |= {"u00": "executive", "u01": "manager", "u02": "manager"}
    users, jobs = [], []
    for place, name in enumerate(names):
        manager = chance.choice(names[:3]) if place > 2 else ("u00" if place else "")
        region, segment = chance.choice(["North", "South", ""]), chance.choice(["Mid-Market", "Enterprise"])
        first_day = None if chance.random() < 0.1 else some_day() if chance.random() < 0.3 else date(2024, 1, 31)
        last_day = some_day() if place > 2 and chance.random() < 0.25 else None
        if first_day and last_day:
            last_day = max(first_day, last_day)
        users.append((name, name.upper(), roles[name], manager, region, segment, first_day, last_day))
        if place and chance.random() < 0.5:
            # A job history that begins late, goes on to other jobs, and now and then makes one of them a manager.
            for since in sorted({some_day() for _ in range(chance.choice([1, 2, 3]))}):
                role = chance.choice([roles[name], roles[name], "manager", "specialist", "account_executive"])
                above = chance.choice([manager, manager, chance.choice(names)])
                jobs.append((name, since, role, above, chance.choice([region, "East"]), segment))
    quotas: dict[tuple[Any, ...], tuple[Any, ...]] = {}

    def ask(name: str, first: date, last: date) -> None:
        currency = chance.choices(["USD", "", "EUR", "GBP"], [6, 2, 3, 1])[0]
        for _ in range(chance.choice([1, 1, 1, 2, 3])):
            since = first + timedelta(chance.randrange(-40, (last - first).days + 20))
            if chance.random() < 0.5:
                since = first
            quotas[name, first, last, since] = (chance.choice([0, 333.33, 900, 1000.01, 4000, 25000]), currency)

    for name in [*names, "stranger"]:
        kind = chance.choice(["quarter", "quarter", "quarter", "month", "year", "odd", "mixed", "none"])
        for number in range(4):
            first = attainment.add_months(start, 3 * number)
            if kind in ("quarter", "mixed") and chance.random() < 0.85:
                ask(name, first, attainment.add_months(first, 3) - timedelta(1))
            if kind in ("month", "mixed"):
                for month in range(3):
                    if chance.random() < 0.9:
                        ask(
                            name,
                            attainment.add_months(first, month),
                            attainment.add_months(first, month + 1) - timedelta(1),
                        )
            if kind == "odd":
                begin = first + timedelta(chance.randrange(40))
                ask(name, begin, begin + timedelta(chance.randrange(60)))
        if kind == "year":
            ask(name, date(2026, 1, 1), date(2026, 12, 31))
            ask(name, date(2025, 1, 1), date(2025, 12, 31))

    deals, team, changes = [], [], []
    for number in range(90):
        name, won_on = f"o{number:02d}", some_day()
        stage = chance.choices(["Closed Won", "Closed Lost", "Proposal"], [10, 1, 1])[0]
        currency = chance.choices(["USD", "", "EUR", "GBP"], [6, 2, 3, 0.5])[0]
        amount = chance.choice([None, 0, -50, 100, 250.01, 999.99, 1500.5, 333.33, 12000])
        created_at = None if chance.random() < 0.05 else "2025-06-01T09:00:00Z"
        owner = chance.choice([*names, "stranger"])
        deals.append(deal(name, owner, amount, won_on, currency, stage=stage, created_at=created_at))
        if stage == "Closed Won" and chance.random() < 0.2:
            # Handed over after it was won, or before.
            at = f"{won_on + timedelta(chance.choice([-10, 5]))}T08:00:00Z"
            changes.append((f"c{number}", name, "owner_id", chance.choice(names), owner, at))
        for place in range(chance.choice([0, 0, 1, 2, 3, 4])):
            joined_on = won_on + timedelta(chance.choice([-100, -30, 0, 0, 1, 20]))
            share = chance.choice([0, "", 0.25, 0.5, 0.3333, 1, 0.1, -0.5])
            overlay = chance.choice(["", "", 0, 0.5, 0.25, 0.333, 1])
            joined_at = "" if chance.random() < 0.2 else f"{joined_on}T10:00:00Z"
            team.append((name, chance.choice([*names, "helper"]), f"role{place}", share, overlay, joined_at, ""))
    return write_company(
        directory,
        extracted_at=f"{as_of}T22:00:00Z",
        crm_users=table(USER_HEADER, users),
        crm_user_roles=table("user_id,effective_from,role,manager_id,region,segment", jobs),
        crm_opportunities=table(DEAL_HEADER, deals),
        crm_opportunity_changes=table("change_id,opportunity_id,field,old_value,new_value,changed_at", changes),
        crm_opportunity_team=table(TEAM_HEADER, team),
        crm_quotas=table(QUOTA_HEADER, (key + cells for key, cells in quotas.items())),
    )


SEEDS = range(4)
RELIEFS: dict[int, Relief | None] = {
    0: None,
    1: None,
    2: [(0, Fraction(0)), (2, Fraction(1))],
    3: [(1, Fraction(1)), (3, Fraction(0)), (6, Fraction(1))],
}
DAYS = {0: AS_OF, 1: date(2026, 5, 17), 2: AS_OF, 3: date(2026, 3, 31)}


def test_chance_brings_out_what_the_rules_are_for(tmp_path: Path) -> None:
    seen: Counter[Any] = Counter()
    for seed in SEEDS:
        facts = attainment.load([write_by_chance(tmp_path / str(seed), seed)])
        for row in attainment.tell(facts, DAYS[seed], date(2025, 1, 1), RELIEFS[seed]):
            kind = "seller" if row["scope_type"] == "seller" else "roll-up"
            seen[kind, row["reason"]] += 1
            seen[row["roll_up_reason"]] += kind == "roll-up"
            seen["judged"] += bool(row["is_judged"])
            seen["relieved"] += row["quota_amount"] != row["quota_before_relief"]
            seen["average"] += row["average_attainment"] is not None
            seen["negative"] += row["credited_amount"] < 0
            seen["overlay"] += row["overlay_amount"] > 0
    wanted: list[Any] = [("seller", reason) for reason in (*REASONS, None)]
    wanted += [("seller", reason) for reason in SET_OTHERWISE]
    wanted += [("roll-up", reason) for reason in (NO_QUOTA, BY_QUARTER, PARTLY, None)]
    wanted += [RUNNING, TOO_FEW, None, "judged", "relieved", "average", "negative", "overlay"]
    assert {name: seen[name] for name in wanted if seen[name] < 2} == {}


@pytest.mark.parametrize("seed", SEEDS)
def test_every_cell_is_what_the_oracle_says_whatever_happened(seed: int, warehouse: Warehouse, tmp_path: Path) -> None:
    directory = write_by_chance(tmp_path / "extract", seed)
    told, published = told_and_published(warehouse, [directory], DAYS[seed], RELIEFS[seed])
    assert_same(told, published)
    assert_adds_up(told)
