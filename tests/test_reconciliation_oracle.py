"""Bookings against billing against the oracle: cell by cell on the demo company and on extracts made to be awkward."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from tests.conftest import DEMO_AS_OF, DEMO_PAST, Run
from tests.extracts import write_extract
from tests.oracles import reconciliation
from tests.oracles.reconciliation import BY_AMOUNT, BY_DATE, BY_DUPLICATE, BY_KEY, STATUSES, Told
from tests.warehouse import Warehouse

PERIOD = ["period_type", "period_start"]
KEYS = {
    "booking_to_billing": ["row_type", "row_id"],
    "billing_documents": ["row_type", "row_id", "document_type", "document_id"],
    "bridge_items": ["row_type", "row_id", *PERIOD, "currency_basis", "currency", "line"],
    "booking_bridge": [*PERIOD, "currency_basis", "currency", "line"],
    "forecast_to_billing": PERIOD,
}
AS_OF = date(2026, 6, 30)
EXTRACTED_AT = "2026-06-30T22:00:00Z"
RELATIVE = 1e-12

Cell = tuple[str, tuple[Any, ...], Any, Any]


# Comparing


def published_in(database: Path) -> dict[str, pd.DataFrame]:
    tables = {}
    with duckdb.connect(str(database), read_only=True) as connection:
        for table in KEYS:
            found = connection.execute(f"from reconciliation.{table}")
            names = [column[0] for column in found.description or []]
            tables[table] = pd.DataFrame(found.fetchall(), columns=names, dtype=object)
    bridge = tables["booking_bridge"]
    orders = sorted(set(bridge["line_order"]))
    tables["booking_bridge"] = bridge.assign(line_order=[orders.index(order) + 1 for order in bridge["line_order"]])
    forecast = tables["forecast_to_billing"]
    tables["forecast_to_billing"] = forecast.assign(has_reason=forecast["reason"].notna())
    return tables


def by_key(table: str, rows: pd.DataFrame) -> dict[tuple[Any, ...], dict[str, Any]]:
    found = {tuple(row[name] for name in KEYS[table]): row for row in rows.to_dict("records")}
    assert len(found) == len(rows), f"{table}: a key is there twice"
    return found


def is_same(ours: Any, theirs: Any) -> bool:
    """Amounts are the same to the last of their four decimals; shares, which are no decimals, nearly."""
    if isinstance(ours, float) and isinstance(theirs, float):
        return abs(ours - theirs) <= RELATIVE * max(1, abs(ours))
    return bool(ours == theirs)


def differences(told: Told, published: dict[str, pd.DataFrame]) -> list[Cell]:
    """Column, key, what the oracle says and what is published; column * where a row is only in one of them."""
    made: list[Cell] = []
    for table in KEYS:
        ours, theirs = by_key(table, told.tables[table]), by_key(table, published[table])
        made += [(f"{table}.*", key, key in ours, key in theirs) for key in ours.keys() ^ theirs.keys()]
        for key in ours.keys() & theirs.keys():
            made += [
                (f"{table}.{column}", key, value, theirs[key][column])
                for column, value in ours[key].items()
                if not is_same(value, theirs[key][column])
            ]
    return sorted(made, key=str)


def assert_same(told: Told, published: dict[str, pd.DataFrame]) -> None:
    cells = differences(told, published)
    assert not cells, f"{dict(Counter(column for column, *_ in cells))}, such as {cells[:5]}"


def imbalances(bridge: pd.DataFrame) -> pd.Series:
    """Bookings and the lines between, minus finance, of each period and currency that does not come out."""
    signed = bridge["amount"].where(bridge["line"] != "finance", -bridge["amount"])
    sums = signed.groupby([bridge[name] for name in (*PERIOD, "currency_basis", "currency")]).sum()
    return sums[sums != 0]


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory, demo_run: Run) -> Warehouse:
    home = tmp_path_factory.mktemp("reconciliation") / "home"
    return Warehouse(demo_run, home, [f"reconciliation.{table}" for table in KEYS])


def first_day(database: Path) -> date:
    """The calendar has a test of its own."""
    with duckdb.connect(str(database), read_only=True) as connection:
        (day,) = connection.execute("select min(day) from core.calendar").fetchone() or (None,)
    assert isinstance(day, date)
    return day


def told_and_published(
    warehouse: Warehouse, directories: list[Path], as_of: date
) -> tuple[Told, dict[str, pd.DataFrame]]:
    warehouse.load(directories)
    warehouse.build(as_of)
    since = first_day(warehouse.database)
    return reconciliation.tell(reconciliation.load(directories), as_of, since), published_in(warehouse.database)


# The demo company


def test_every_published_cell_is_what_the_oracle_says(demo_release: Path, demo_extract: Path) -> None:
    told = reconciliation.tell(reconciliation.load([demo_extract]), DEMO_AS_OF, first_day(demo_release))
    assert_same(told, published_in(demo_release))
    assert len(told.lines) > 250
    statuses = {line.status for line in told.lines}
    assert len(statuses) > 8, statuses
    assert imbalances(told.tables["booking_bridge"]).empty
    assert told.tables["forecast_to_billing"]["commit_amount"].notna().sum() > 10


def test_so_it_is_on_a_past_day(warehouse: Warehouse, demo_extract: Path) -> None:
    told, published = told_and_published(warehouse, [demo_extract], DEMO_PAST)
    assert_same(told, published)
    assert max(line.day for line in told.lines) <= DEMO_PAST and len(told.lines) > 150


# By hand


@dataclass
class Scene:
    """Deals and documents of one account, and what becomes of them.

    Deals are (amount, closed on, currency, stage); invoices (key, date, amount, currency, status, customer), the key
    being the number of a deal, a text or None; credit notes (number of an invoice, date, amount, currency). They are
    called by their place, as in o1, i1, c1. What is expected is (status, rule, group, amount in finance).
    """

    deals: list[tuple[Any, ...]]
    invoices: list[tuple[Any, ...]]
    expected: dict[str, tuple[Any, ...]]
    credits: list[tuple[Any, ...]] = field(default_factory=list)


SCENES = {
    "by_key": Scene([(1000, "2026-05-10")], [(1, "2026-05-20", 1000)], {"o1": ("matched", BY_KEY, None, 1000)}),
    "at_the_tolerance": Scene(
        [(1000, "2026-05-10")], [(1, "2026-05-20", 1005)], {"o1": ("matched", BY_KEY, None, 1005)}
    ),
    "above_the_tolerance": Scene(
        [(1000, "2026-05-10")], [(1, "2026-05-20", 1005.01)], {"o1": ("amount_mismatch", BY_KEY, None, 1005.01)}
    ),
    "on_the_last_day": Scene([(100, "2026-03-01")], [(1, "2026-04-15", 100)], {"o1": ("matched", BY_KEY, None, 100)}),
    "a_day_late": Scene(
        [(100, "2026-03-01")], [(1, "2026-04-16", 100)], {"o1": ("timing_difference", BY_KEY, None, 100)}
    ),
    "too_early": Scene(
        [(100, "2026-03-20")], [(1, "2026-03-04", 100)], {"o1": ("timing_difference", BY_KEY, None, 100)}
    ),
    "not_billed": Scene(
        [(100, "2026-05-16"), (100, "2026-05-15"), (1, "2025-05-15"), (None, "2025-05-15")],
        [],
        {
            "o1": ("awaiting_invoice", None, None, None),
            "o2": ("missing_in_finance", None, None, None),
            "o3": ("matched", None, None, None),
            "o4": ("missing_in_finance", None, None, None),
        },
    ),
    "amount_not_known": Scene(
        [(None, "2026-05-10")], [(1, "2026-05-20", 10)], {"o1": ("amount_mismatch", BY_KEY, None, 10)}
    ),
    "negative": Scene([(-100, "2026-05-10")], [(1, "2026-05-20", -100)], {"o1": ("matched", BY_KEY, None, -100)}),
    "instalments": Scene(
        [(1200, "2026-01-10")],
        [(None, "2026-01-20", 400), (None, "2026-02-20", 400), (None, "2026-03-20", 400)],
        {"o1": ("matched", BY_AMOUNT, "instalments", 1200)},
    ),
    "instalments_to_come": Scene(
        [(1200, "2026-01-10")],
        [(1, "2026-01-20", 600), (1, "2026-03-22", 300)],
        {"o1": ("partly_billed", BY_KEY, "instalments", 900)},
    ),
    "instalments_that_stopped": Scene(
        [(1200, "2026-01-10")],
        [(1, "2026-01-20", 600), (1, "2026-03-21", 300)],
        {"o1": ("amount_mismatch", BY_KEY, "instalments", 900)},
    ),
    "consolidated_and_credited": Scene(
        [(700, "2026-03-01"), (500, "2026-03-10")],
        [(None, "2026-03-20", 1202)],
        # 100 x 700 / 1202 = 58.2363, of which the half up is 58.24 taken off.
        {
            "o1": ("credited", BY_AMOUNT, "consolidated_invoice", 641.76),
            "o2": ("credited", BY_AMOUNT, "consolidated_invoice", 460.24),
        },
        credits=[(1, "2026-04-20", 100)],
    ),
    "half_a_cent_off_goes_up": Scene(
        [(100, "2026-03-01"), (100, "2026-03-10")],
        [(None, "2026-03-20", 200)],
        {
            "o1": ("matched", BY_AMOUNT, "consolidated_invoice", 99.91),  # -0.095 is -0.09
            "o2": ("matched", BY_AMOUNT, "consolidated_invoice", 99.9),
        },
        credits=[(1, "2026-04-20", 0.19)],
    ),
    "two_that_do_not_follow_each_other": Scene(
        [(100, "2026-03-01"), (999, "2026-03-02"), (200, "2026-03-03")],
        [(None, "2026-03-20", 300)],
        {
            "o1": ("matched", BY_AMOUNT, "consolidated_invoice", 100),
            "o2": ("missing_in_finance", None, None, None),
            "o3": ("matched", BY_AMOUNT, "consolidated_invoice", 200),
        },
    ),
    "three_that_follow_each_other": Scene(
        [(100, "2026-03-01"), (200, "2026-03-02"), (400, "2026-03-03"), (950, "2026-03-04")],
        [(None, "2026-03-20", 700)],
        {
            **{
                f"o{number}": ("matched", BY_AMOUNT, "consolidated_invoice", amount)
                for number, amount in ((1, 100), (2, 200), (3, 400))
            },
            "o4": ("missing_in_finance", None, None, None),
        },
    ),
    "three_that_do_not": Scene(
        [(100, "2026-03-01"), (200, "2026-03-02"), (950, "2026-03-03"), (401, "2026-03-04")],
        [(None, "2026-04-20", 701)],
        {
            **{f"o{number}": ("missing_in_finance", None, None, None) for number in (1, 2, 3, 4)},
            "i1": ("missing_in_crm", None, None, 701),
        },
    ),
    "more_than_its_own_deal": Scene(
        [(300, "2026-02-09"), (500, "2026-02-05")],
        [(1, "2026-02-20", 800)],
        {
            "o1": ("matched", BY_KEY, "consolidated_invoice", 300),
            "o2": ("matched", BY_AMOUNT, "consolidated_invoice", 500),
        },
    ),
    "more_than_its_own_deal_in_two_invoices": Scene(
        [(300, "2026-02-09"), (500, "2026-02-05")],
        [(1, "2026-02-20", 800), (1, "2026-05-20", 100)],
        {
            "o1": ("amount_mismatch", BY_KEY, "instalments", 900),
            "o2": ("missing_in_finance", None, None, None),
        },
    ),
    "billed_twice": Scene(
        [(900, "2026-04-01")],
        [(1, "2026-04-01", 900), (None, "2026-04-11", 900)],
        {"o1": ("duplicate_in_finance", BY_KEY, None, 1800)},
    ),
    "billed_again_later": Scene(
        [(900, "2026-04-01")],
        [(1, "2026-04-01", 900), (None, "2026-04-12", 900)],
        {"o1": ("matched", BY_KEY, None, 900), "i2": ("missing_in_crm", None, None, 900)},
    ),
    "billed_twice_and_put_right": Scene(
        [(900, "2026-04-01")],
        [(1, "2026-04-01", 900), (1, "2026-04-02", 900)],
        {"o1": ("matched", BY_KEY, None, 900)},
        credits=[(2, "2026-05-01", 900)],
    ),
    "consolidated_and_billed_twice": Scene(
        [(700, "2026-03-01"), (500, "2026-03-10")],
        [(None, "2026-03-20", 1200), (None, "2026-03-25", 1200)],
        {
            "o1": ("matched", BY_AMOUNT, "consolidated_invoice", 700),
            "o2": ("duplicate_in_finance", BY_AMOUNT, "consolidated_invoice", 1700),
        },
    ),
    "the_copy_comes_first": Scene(
        [(900, "2026-04-01")],
        [(None, "2026-03-31", 900), (1, "2026-04-05", 900)],
        {"o1": ("duplicate_in_finance", BY_KEY, None, 1800)},
    ),
    "credited": Scene(
        [(1000, "2026-04-01")],
        [(1, "2026-04-01", 1000)],
        {"o1": ("credited", BY_KEY, None, 800)},
        credits=[(1, "2026-05-01", 200)],
    ),
    "two_currencies_by_key": Scene(
        [(1000, "2026-04-01", "EUR")],
        [(1, "2026-04-01", 1100, "USD"), (1, "2026-04-02", 1000, "EUR")],
        {"o1": ("matched", BY_KEY, None, 1000), "i1": ("currency_difference", BY_KEY, None, 1100)},
    ),
    "two_other_currencies_by_key": Scene(
        [(1000, "2026-04-01", "EUR")],
        [(1, "2026-04-02", 900, "GBP"), (1, "2026-04-01", 1100)],
        {"o1": ("currency_difference", BY_KEY, None, 1100), "i1": ("currency_difference", BY_KEY, None, 900)},
    ),
    "another_currency_by_date": Scene(
        [(1000, "2026-04-01", "EUR")],
        [(None, "2026-04-20", 601)],  # 1000 EUR are 1200 at plan
        {"o1": ("currency_difference", BY_DATE, None, 601)},
    ),
    "too_little_in_another_currency": Scene(
        [(1000, "2026-04-01", "EUR")],
        [(None, "2026-04-20", 599)],
        {"o1": ("missing_in_finance", None, None, None), "i1": ("missing_in_crm", None, None, 599)},
    ),
    "no_rate_to_compare_at": Scene(
        [(1000, "2026-04-01", "CHF")],
        [(None, "2026-04-20", 1000)],
        {"o1": ("missing_rate", None, None, None), "i1": ("missing_in_crm", None, None, 1000)},
    ),
    "no_rate": Scene(
        [(1000, "2026-04-01", "CHF")], [(1, "2026-04-20", 1000, "CHF")], {"o1": ("missing_rate", BY_KEY, None, 1000)}
    ),
    "either_way_by_a_third_currency": Scene(
        [(100, "2026-04-01", "SEK"), (100, "2026-05-20", "SEK")],
        [(1, "2026-04-11", 100, "SEK"), (2, "2026-05-20", 100, "SEK")],
        {"o1": ("matched", BY_KEY, None, 100), "o2": ("matched", BY_KEY, None, 100)},
    ),
    "a_currency_that_ended": Scene(
        [(100, "2026-04-30", "NOK"), (100, "2026-05-01", "NOK"), (100, "2026-04-29", "NOK")],
        [(1, "2026-04-30", 100, "NOK"), (3, "2026-05-01", 100, "NOK")],
        {
            "o1": ("matched", BY_KEY, None, 100),
            "o2": ("missing_in_finance", None, None, None),
            "o3": ("missing_rate", BY_KEY, None, 100),
        },
    ),
    "long_before_any_deal": Scene(
        [],
        [(None, "2023-05-01", 100), (None, "2022-12-31", 50)],
        {"i1": ("missing_in_crm", None, None, 100), "i2": ("missing_in_crm", None, None, 50)},
    ),
    "another_amount": Scene(
        [(1000, "2026-02-01")], [(None, "2026-03-03", 500)], {"o1": ("amount_mismatch", BY_DATE, None, 500)}
    ),
    "another_amount_later": Scene(
        [(1000, "2026-04-01")],
        [(None, "2026-05-02", 500)],
        {"o1": ("missing_in_finance", None, None, None), "i1": ("missing_in_crm", None, None, 500)},
    ),
    "two_customers": Scene(
        [(100, "2026-04-01"), (100, "2026-04-02")],
        [
            (1, "2026-04-05", 50, "", "open", "c"),
            (1, "2026-04-06", 50, "", "open", "d"),
            (2, "2026-04-05", 50, "", "open", "d"),
            (2, "2026-04-06", 50, "", "open", "c"),
        ],
        {f"o{number}": ("matched", BY_KEY, None, 100) for number in (1, 2)},
    ),
    "no_won_deal": Scene(
        [
            (100, "2026-04-01", "", "Closed Lost"),
            (200, "2026-04-01", "", "No Decision"),
            (300, "2026-09-01", "", "Proposal"),
        ],
        [(1, "2026-04-20", 100), (2, "2026-04-20", 200), (3, "2026-04-20", 300), ("ghost", "2026-04-20", 400)],
        {
            "i1": ("lost_in_crm_but_billed", BY_KEY, None, 100),
            "i2": ("lost_in_crm_but_billed", BY_KEY, None, 200),
            "i3": ("missing_in_crm", BY_KEY, None, 300),
            "i4": ("missing_in_crm", None, None, 400),
        },
    ),
    "taken_back": Scene(
        [],
        [(None, "2026-04-20", 100), (None, "2026-04-21", 200), (None, "2026-04-22", 300, "", "void")],
        {
            "i1": ("credited", None, None, 1),
            "i2": ("missing_in_crm", None, None, 198.9),
            "c3": ("credited", None, None, -300),
            "c4": ("credited", None, None, -5),
        },
        credits=[(1, "2026-05-20", 99), (2, "2026-05-20", 1.1), (3, "2026-05-20", 300), (2, "2026-05-20", 5, "EUR")],
    ),
    "which_of_two_deals": Scene(
        [(250, "2026-02-01"), (250, "2026-02-01")],
        [(None, "2026-02-11", 250)],
        {"o1": ("matched", BY_AMOUNT, None, 250), "o2": ("missing_in_finance", None, None, None)},
    ),
    "the_nearer_deal": Scene(
        [(250, "2026-02-01"), (251, "2026-02-11"), (251, "2026-02-12")],
        [(None, "2026-02-13", 251)],
        {
            "o1": ("missing_in_finance", None, None, None),
            "o2": ("missing_in_finance", None, None, None),
            "o3": ("matched", BY_AMOUNT, None, 251),
        },
    ),
    "one_to_one_before_several": Scene(
        [(100, "2026-02-01"), (200, "2026-02-01"), (300, "2026-02-28")],
        [(None, "2026-03-13", 300)],
        {
            "o1": ("missing_in_finance", None, None, None),
            "o2": ("missing_in_finance", None, None, None),
            "o3": ("matched", BY_AMOUNT, None, 300),
        },
    ),
    "equals_in_turn": Scene(
        [(50, "2026-02-01")] * 6,
        [(None, "2026-02-02", 50)] * 6,
        {f"o{number}": ("matched", BY_AMOUNT, None, 50) for number in range(1, 7)},
    ),
    "a_fifth_round": Scene(
        # One, two, three ... days from each to the next: every deal but the first is nearest to the invoice before it.
        [(50, "2026-02-01"), (50, "2026-02-04"), (50, "2026-02-11"), (50, "2026-02-22"), (50, "2026-03-09")],
        [
            (None, "2026-02-02", 50),
            (None, "2026-02-07", 50),
            (None, "2026-02-16", 50),
            (None, "2026-03-01", 50),
            (None, "2026-03-18", 50),
        ],
        {
            **{f"o{number}": ("matched", BY_AMOUNT, None, 50) for number in (1, 2, 3, 4)},
            "o5": ("missing_in_finance", None, None, None),
            "i5": ("missing_in_crm", None, None, 50),
        },
    ),
}
FX_RATES = """\
rate_date,from_currency,to_currency,rate_type,rate
2025-12-01,EUR,USD,plan,1.10
2026-01-01,EUR,USD,plan,1.20
2026-03-01,EUR,USD,spot,1.15
2026-03-12,EUR,USD,spot,1.16
2026-04-01,USD,EUR,spot,0.80
2026-04-01,USD,GBP,spot,0.625
2026-04-01,SEK,EUR,spot,0.10
2026-05-20,EUR,SEK,spot,10
2026-01-01,NOK,USD,plan,0.11
2026-04-25,NOK,USD,spot,0.10
2026-04-30,NOK,USD,spot,0.09
2026-05-20,EUR,USD,spot,1.30
2026-06-29,EUR,USD,spot,1.05
2026-06-29,USD,GBP,spot,0.75
"""
USERS = """\
user_id,name,role,manager_id,region,segment,hired_on
h1,Head,executive,,,,2019-01-01
m1,Mara,manager,h1,North,,2020-01-06
m2,Milo,manager,h1,South,,2020-01-06
s1,Sam,account_executive,m1,North,SMB,2021-03-01
s2,Sofia,account_executive,m2,South,SMB,2026-03-12
"""
SUBMISSIONS = """\
submission_id,submitter_id,period_start,period_end,category,amount,currency,submitted_at
f01,m1,2026-01-01,2026-03-31,commit,500,USD,2026-01-05T09:00:00Z
f02,m1,2026-01-01,2026-03-31,commit,600,USD,2026-03-31T23:59:59Z
f03,m1,2026-01-01,2026-03-31,commit,999,USD,2026-04-01T00:00:00Z
f04,m2,2026-01-01,2026-03-31,commit,100,EUR,2026-01-07T23:59:59Z
f05,m2,2026-01-01,2026-03-31,best_case,900,EUR,2026-03-01T09:00:00Z
f06,s1,2026-01-01,2026-03-31,commit,77,USD,2026-03-01T09:00:00Z
f07,h1,2026-04-01,2026-06-30,commit,800,,2026-04-08T00:00:00Z
f08,h1,2026-04-01,2026-06-30,commit,700,,2026-06-20T09:00:00Z
f09,h1,2026-04-01,2026-06-30,commit,750,,2026-06-20T09:00:00Z
f10,m1,2026-04-01,2026-06-30,commit,300,USD,2026-06-29T09:00:00Z
f11,h1,2026-01-01,2026-12-31,best_case,5000,USD,2026-02-01T09:00:00Z
f12,s1,2026-06-01,2026-06-30,commit,5,CHF,2026-06-02T09:00:00Z
"""
DEAL_HEADER = (
    "opportunity_id,account_id,owner_id,name,opportunity_type,stage,amount,currency,created_at,close_date,closed_at"
)
INVOICE_HEADER = "invoice_id,customer_id,crm_opportunity_id,invoice_date,paid_on,status,amount,currency"
CREDIT_HEADER = "credit_note_id,customer_id,invoice_id,credit_date,amount,currency"


def table(header: str, rows: Iterable[Iterable[Any]]) -> str:
    return "\n".join([header, *(",".join("" if cell is None else str(cell) for cell in row) for row in rows), ""])


def write_scenes(directory: Path, scenes: dict[str, Scene]) -> Path:
    deals: list[tuple[Any, ...]] = []
    invoices: list[tuple[Any, ...]] = []
    credits: list[tuple[Any, ...]] = []
    for name, scene in scenes.items():
        for number, (amount, closed_on, *more) in enumerate(scene.deals, start=1):
            currency, stage = [*more, *("", "Closed Won")[len(more) :]]
            closed_at = None if stage == "Proposal" else f"{closed_on}T10:00:00Z"
            deal = (f"{name}.o{number}", name, "s1", name, "new_business", stage, amount, currency)
            deals.append((*deal, "2025-12-05T09:00:00Z", closed_on, closed_at))
        for number, (key, on, amount, *more) in enumerate(scene.invoices, start=1):
            currency, status, customer = [*more, *("", "open", "c")[len(more) :]]
            named = f"{name}.o{key}" if isinstance(key, int) else key
            invoices.append((f"{name}.i{number}", f"{name}.{customer}", named, on, None, status, amount, currency))
        for number, (of, on, amount, *more) in enumerate(scene.credits, start=1):
            credits.append((f"{name}.c{number}", f"{name}.c", f"{name}.i{of}", on, amount, *(more or [""])))
    return write_extract(
        directory,
        extracted_at=EXTRACTED_AT,
        crm_users=USERS,
        crm_accounts=table("account_id,name", ((name, name) for name in scenes)),
        crm_opportunities=table(DEAL_HEADER, deals),
        crm_forecast_submissions=SUBMISSIONS,
        finance_customers=table(
            "customer_id,crm_account_id,name",
            ((f"{name}.{customer}", name, name) for name in scenes for customer in "cd"),
        ),
        finance_invoices=table(INVOICE_HEADER, invoices),
        finance_credit_notes=table(CREDIT_HEADER, credits),
        finance_fx_rates=FX_RATES,
    )


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scenes(tmp_path_factory.mktemp("scenes") / "extract", SCENES)


@pytest.fixture(scope="module")
def told_by_hand(by_hand: Path) -> Told:
    # The first document is of December 2022.
    return reconciliation.tell(reconciliation.load([by_hand]), AS_OF, date(2022, 1, 1))


def test_every_cell_of_the_scenes_is_what_the_oracle_says(
    warehouse: Warehouse, by_hand: Path, told_by_hand: Told
) -> None:
    _, published = told_and_published(warehouse, [by_hand], AS_OF)
    assert_same(told_by_hand, published)
    assert imbalances(published["booking_bridge"]).empty
    assert {line.status for line in told_by_hand.lines} == set(STATUSES)


@pytest.mark.parametrize("name", SCENES)
def test_the_oracle_says_what_was_worked_out_by_hand(name: str, told_by_hand: Told) -> None:
    rows = told_by_hand.tables["booking_to_billing"]
    rows = rows[[row_id.startswith(f"{name}.") for row_id in rows["row_id"]]]
    columns = ["row_id", "status", "match_rule", "group_type", "finance_amount_source"]
    found = {row_id.split(".")[1]: tuple(cells) for row_id, *cells in rows[columns].itertuples(index=False, name=None)}
    expected = {
        row_id: (*words, None if amount is None else Decimal(str(amount)))
        for row_id, (*words, amount) in SCENES[name].expected.items()
    }
    assert found == expected


def row_of(told: Told, table: str, **cells: Any) -> dict[str, Any]:
    rows = told.tables[table]
    for name, value in cells.items():
        rows = rows[rows[name] == value]
    assert len(rows) == 1
    return dict(rows.to_dict("records")[0])


def test_what_the_calls_of_the_top_were(told_by_hand: Told) -> None:
    columns = ["opening_commit_amount", "commit_amount", "submitter_count"]

    def called(kind: str, start: date) -> list[Any]:
        row = row_of(told_by_hand, "forecast_to_billing", period_type=kind, period_start=start)
        return [row[name] for name in columns]

    # Mara's and Milo's together: the head has not called, Sam is below Mara. 100 EUR are 120 USD on 1 January.
    assert called("quarter", date(2026, 1, 1)) == [Decimal(620), Decimal(720), 2]
    # The head's of 8 April is too late for the first week, and of two in one second the later id stands.
    assert called("quarter", date(2026, 4, 1)) == [None, Decimal(750), 1]
    assert called("month", date(2026, 6, 1)) == [None, None, 1]
    assert called("year", date(2026, 1, 1)) == [None, None, 0]


MONEY = Scene(
    # The same currency at four rates, and what was won in March and billed in April.
    [(1000, "2026-02-10", "EUR"), (100, "2026-03-10", "EUR"), (100, "2025-12-20", "EUR"), (100, "2026-03-20")],
    [
        (1, "2026-03-11", 1000, "EUR"),
        (2, "2026-04-05", 100, "EUR"),
        (3, "2026-01-10", 100, "EUR"),
        (4, "2026-04-10", 100),
    ],
    {},
)


def test_money_by_hand(warehouse: Warehouse, tmp_path: Path) -> None:
    told, published = told_and_published(warehouse, [write_scenes(tmp_path / "extract", {"money": MONEY})], AS_OF)
    assert_same(told, published)
    columns = [
        "crm_amount",
        "finance_amount",
        "finance_amount_at_plan",
        "difference",
        "amount_difference",
        "fx_difference",
    ]

    def money(row_id: str) -> list[Any]:
        row = row_of(told, "booking_to_billing", row_id=row_id)
        return [row["status"], *(None if row[name] is None else float(row[name]) for name in columns)]

    # The spot rate of 1 March is ten days old on the 11th.
    assert money("money.o1") == ["matched", 1200, 1150, 1200, -50, 0, -50]
    # 1 / 0.80 since 1 April.
    assert money("money.o2") == ["matched", 120, 125, 120, 5, 0, 5]
    # Before the first spot rate there is none, also where there is a plan rate.
    assert money("money.o3") == ["missing_rate", 110, None, 110, None, None, None]

    def bridge(start: date, currency_basis: str, currency: str) -> dict[str, float]:
        rows = told.tables["booking_bridge"]
        chosen = (rows["period_type"] == "month") & (rows["period_start"] == start)
        chosen &= (rows["currency_basis"] == currency_basis) & (rows["currency"] == currency) & (rows["amount"] != 0)
        return {line: float(amount) for line, amount in rows[chosen][["line", "amount"]].itertuples(index=False)}

    assert bridge(date(2026, 3, 1), "source", "USD") == {"bookings": 100, "other_period": -100}
    assert bridge(date(2026, 4, 1), "source", "USD") == {"other_period": 100, "finance": 100}
    assert bridge(date(2026, 3, 1), "reporting", "USD") == {
        "bookings": 220,
        "other_period": 980,  # 1200 of February less the 220 billed in April
        "fx_difference": -50,
        "finance": 1150,
    }
    # Booked at plan, billed at no rate: neither side of the document counts, and the booking is what is left.
    assert bridge(date(2025, 12, 1), "reporting", "USD") == {"bookings": 110, "missing_rate": -110}
    assert bridge(date(2026, 1, 1), "reporting", "USD") == {}


def test_without_invoices_nothing_is_said(warehouse: Warehouse, tmp_path: Path) -> None:
    scene = Scene([(100, "2026-02-10")], [], {})
    directory = write_scenes(tmp_path / "extract", {"quiet": scene})
    (directory / "finance" / "invoices.csv").unlink()
    told, published = told_and_published(warehouse, [directory], AS_OF)
    assert all(published[name].empty and told.tables[name].empty for name in KEYS)


def test_what_is_known_changes_from_load_to_load(warehouse: Warehouse, tmp_path: Path) -> None:
    """An invoice that goes, one that comes late, one that is corrected, a deal lost."""
    same = Scene([(100, "2026-02-10")], [(1, "2026-02-20", 100)], {}, credits=[(1, "2026-03-01", 100)])
    first = {
        "same": same,
        "gone": Scene([(100, "2026-02-10")], [(1, "2026-02-20", 100)], {}),
        "late": Scene([(100, "2026-02-10")], [], {}),
        "corrected": Scene([(100, "2026-02-10")], [(1, "2026-02-20", 170)], {}),
        "lost": Scene([(100, "2026-02-10")], [(1, "2026-02-20", 100)], {}),
    }
    second = {
        "same": same,
        "gone": Scene([(100, "2026-02-10")], [], {}),
        "late": Scene([(100, "2026-02-10")], [(1, "2026-02-20", 100)], {}),
        "corrected": Scene([(100, "2026-02-10")], [(1, "2026-02-20", 100)], {}, credits=[(1, "2026-03-01", 5)]),
        "lost": Scene([(100, "2026-02-10", "", "Closed Lost")], [(1, "2026-02-20", 100)], {}),
    }
    directories = [
        write_scenes(tmp_path / "1", first),
        write_scenes(tmp_path / "2", second),
    ]
    for directory, extracted_at in zip(directories, ("2026-04-01T22:00:00Z", "2026-05-01T22:00:00Z"), strict=True):
        (directory / "extract.json").write_text(f'{{"extracted_at": "{extracted_at}"}}')
    warehouse.load(directories)
    facts = reconciliation.load(directories)
    said = {}
    for day in (date(2026, 4, 30), date(2026, 5, 1)):
        warehouse.build(day)
        told = reconciliation.tell(facts, day, first_day(warehouse.database))
        assert_same(told, published_in(warehouse.database))
        said[day] = {line.row_id: line.status for line in told.lines}
    assert said[date(2026, 4, 30)] == {
        "same.o1": "credited",
        "gone.o1": "matched",
        "late.o1": "missing_in_finance",
        "corrected.o1": "amount_mismatch",
        "lost.o1": "matched",
    }
    assert said[date(2026, 5, 1)] == {
        "same.o1": "credited",
        "gone.o1": "missing_in_finance",
        "late.o1": "matched",
        "corrected.o1": "credited",
        "lost.i1": "lost_in_crm_but_billed",
    }


# By chance


def write_company(directory: Path, seed: int) -> Path:
    """A few accounts with so many deals and documents of so few amounts and days that much fits more than one thing."""
    chance = random.Random(seed)
    accounts = [f"a{number}" for number in range(chance.choice([2, 4, 8]))]
    currencies = ["USD", "USD", "USD", "EUR", "", "GBP", "CHF"] if seed % 2 else ["USD", "EUR", ""]
    days = chance.choice([120, 300])
    deals: list[tuple[Any, ...]] = []
    invoices: list[tuple[Any, ...]] = []
    credits: list[tuple[Any, ...]] = []

    def bill(account: str, key: str | None, on: date, amount: float, currency: str) -> None:
        invoice_id, customer = f"i{chance.randrange(10**6):06d}", account if chance.random() < 0.95 else "nobody"
        status = chance.choices(["paid", "open", "void", ""], [5, 3, 0.4, 1])[0]
        paid_on = on + timedelta(chance.randrange(80)) if status == "paid" and chance.random() < 0.8 else None
        invoices.append((invoice_id, customer, key, on, paid_on, status, round(amount, 4), currency))
        if chance.random() < 0.12:
            part, noted_on = chance.choice([1, 0.5, 0.33333, 1.2]), on + timedelta(chance.randrange(60))
            credited = (invoice_id if chance.random() < 0.9 else "", noted_on, round(amount * part, 2))
            credits.append((f"n{len(credits)}", customer, *credited, currency if chance.random() < 0.9 else "USD"))
        if chance.random() < 0.12:
            again = on + timedelta(chance.choice([0, 0, 3, 10, 11]))
            bill(account, key if chance.random() < 0.5 else None, again, amount, currency)

    for number in range(70):
        stage = chance.choices(["Closed Won", "Closed Lost", "No Decision", "Proposal"], [12, 1, 1, 1])[0]
        amount = chance.choice([100, 100, 200, 300, 150, 50, 1000, 99.5, 100.5, 0.75, 333.33])
        if chance.random() < 0.04:
            amount = chance.choice([None, 0, -100, 1])
        closed_on = AS_OF - timedelta(chance.randrange(days + 1))
        account, currency = chance.choice(accounts) if chance.random() < 0.98 else "", chance.choice(currencies)
        owner_id = chance.choice(["s1", "s2", "m1", "gone"])
        deal = (f"o{number:02d}", account, owner_id, f"Deal {number}", "new_business", stage, amount, currency)
        closed_at = None if stage == "Proposal" else f"{closed_on}T10:00:00Z"
        deals.append((*deal, "2025-06-01T09:00:00Z", closed_on, closed_at))
    for opportunity_id, account, *_, amount, currency, _, closed_on, _ in deals:
        amount = amount or 100
        on = closed_on + timedelta(chance.choice([0, 1, 2, 5, 10, -15, -16, 20, 30, 31, 45, 46, 120, 121]))
        how = chance.random()
        if how < 0.25:
            bill(account, opportunity_id, on, amount, chance.choices([currency, "USD", "EUR"], [8, 1, 1])[0])
        elif how < 0.5:
            bill(account, None, on, amount, currency)
        elif how < 0.6:
            parts, apart = chance.choice([2, 3, 4]), chance.choice([0, 30, 90])
            for part in range(parts):
                key = opportunity_id if chance.random() < 0.15 else None
                bill(account, key, on + timedelta(part * apart), amount / parts, currency)
        elif how < 0.7:
            share = chance.choice([0.5, 0.6, 2, 1.9, 0.49, 1.004, 0.995, 1.006])
            bill(account, None, on, amount * share, chance.choice([currency, "EUR", "USD", "GBP"]))
        elif how < 0.85:
            others = sum(other[6] or 0 for other in chance.sample(deals, chance.choice([1, 1, 2, 3])))
            bill(account, opportunity_id if chance.random() < 0.6 else None, on, amount + others, currency)
        elif how < 0.88:
            bill(account, "nothing", on, amount, currency)
    for account in accounts:
        won = sorted(
            (deal for deal in deals if deal[1] == account and deal[5] == "Closed Won"),
            key=lambda deal: (deal[9], deal[0]),
        )
        for _ in range(3 if len(won) > 3 else 0):
            first = chance.randrange(len(won) - 2)
            group = won[first : first + chance.choice([2, 3, 4, 6])]
            on = group[-1][9] + timedelta(chance.randrange(20))
            bill(account, None, on, sum(deal[6] or 0 for deal in group), group[0][7])
    chance.shuffle(invoices)
    rates = ["2025-01-01,EUR,USD,plan,1.10", "2026-01-01,EUR,USD,plan,1.20", "2026-02-01,CHF,USD,plan,1.15"]
    for number in range(0, 400, 1):
        day = date(2025, 5, 27) + timedelta(number)
        if day.weekday() < 5 and not date(2026, 4, 1) <= day <= date(2026, 4, 16):
            rates.append(f"{day},EUR,USD,spot,{1.05 + 0.001 * (number % 70):.4f}")
            rates.append(f"{day},USD,GBP,spot,{0.80 + 0.001 * (number % 30):.4f}")
    return write_extract(
        directory,
        extracted_at=EXTRACTED_AT,
        crm_users=USERS,
        crm_accounts=table("account_id,name", ((name, name) for name in accounts)),
        crm_opportunities=table(DEAL_HEADER, deals),
        crm_forecast_submissions=SUBMISSIONS,
        finance_customers=table(
            "customer_id,crm_account_id,name", [*((name, name, name) for name in accounts), ("nobody", None, "Nobody")]
        ),
        finance_invoices=table(INVOICE_HEADER, invoices),
        finance_credit_notes=table(CREDIT_HEADER, credits),
        finance_fx_rates="\n".join([FX_RATES.splitlines()[0], *rates, ""]),
    )


def test_chance_brings_out_what_the_rules_are_for(tmp_path: Path) -> None:
    seen: Counter[Any] = Counter()
    for seed in range(4):
        facts = reconciliation.load([write_company(tmp_path / str(seed), seed)])
        told = reconciliation.tell(facts, AS_OF, date(2025, 1, 1))
        for line in told.lines:
            seen[line.status] += 1
            seen.update(one.rule for one in line.documents)
            seen["keyed and shared"] += line.is_deal and any(
                one.rule == BY_KEY and one.is_shared for one in line.documents
            )
            seen["instalments found"] += line.is_deal and [one.rule for one in line.invoices].count(BY_AMOUNT) > 1
            seen["credit on shared"] += any(one.is_shared for one in line.credits)
    wanted = [*STATUSES, BY_KEY, BY_AMOUNT, BY_DATE, BY_DUPLICATE]
    wanted += ["keyed and shared", "instalments found", "credit on shared"]
    assert {name: seen[name] for name in wanted if seen[name] < 2} == {}


@pytest.mark.parametrize("seed", range(4))
def test_every_cell_is_what_the_oracle_says_whatever_happened(seed: int, warehouse: Warehouse, tmp_path: Path) -> None:
    told, published = told_and_published(warehouse, [write_company(tmp_path / "extract", seed)], AS_OF)
    assert_same(told, published)
    assert imbalances(published["booking_bridge"]).empty
