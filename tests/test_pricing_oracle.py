"""Prices and discounts against the oracle: cell by cell on the demo company and on an extract made to be awkward."""

from __future__ import annotations

import random
import re
from collections import Counter
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from tests.conftest import DEMO_AS_OF, DEMO_PAST, Run
from tests.extracts import write_extract
from tests.oracles import pricing
from tests.warehouse import Warehouse

KEYS = {
    "price_realization": ["basis", "dimension", "member", "period_type", "period_start"],
    "discount_exceptions": ["opportunity_id"],
    "discount_discipline": ["scope_type", "scope_id"],
}
# Means of discounts are added up as decimals of eight places, so that every engine gets the same.
REACH = {"price_realization": 1e-12, "discount_exceptions": 2e-8, "discount_discipline": 1e-7}

Tables = dict[str, pd.DataFrame]
Cell = tuple[str, tuple[Any, ...], Any, Any]


def published_in(database: Path) -> Tables:
    tables = {}
    with duckdb.connect(str(database), read_only=True) as connection:
        for table in KEYS:
            found = connection.execute(f"from pricing.{table}")
            names = [column[0] for column in found.description or []]
            tables[table] = pd.DataFrame(found.fetchall(), columns=names, dtype=object)
    return tables


def by_key(table: str, rows: pd.DataFrame) -> dict[tuple[Any, ...], dict[str, Any]]:
    found = {tuple(row[name] for name in KEYS[table]): row for row in rows.to_dict("records")}
    assert len(found) == len(rows), f"{table}: a key is there twice"
    return found


def is_same(ours: Any, theirs: Any, reach: float) -> bool:
    """Amounts are the same to the last of their four decimals; shares, which are no decimals, nearly."""
    if isinstance(ours, float) and isinstance(theirs, float):
        return abs(ours - theirs) <= reach * max(1, abs(ours))
    return bool(ours == theirs)


def is_told(figures: list[float], evidence: str) -> bool:
    """Each percentage stands in the sentence, in this order, to a tenth."""
    told = [float(text) for text in re.findall(r"(-?[\d.]+) %", evidence)]
    return len(told) == len(figures) and all(
        abs(ours - theirs) < 0.0501 for ours, theirs in zip(figures, told, strict=True)
    )


def differences(ours_in: Tables, theirs_in: Tables) -> list[Cell]:
    """Column, key, what the oracle says and what is published; column * where a row is only in one of them."""
    made: list[Cell] = []
    for table in KEYS:
        ours, theirs = by_key(table, ours_in[table]), by_key(table, theirs_in[table])
        made += [(f"{table}.*", key, key in ours, key in theirs) for key in ours.keys() ^ theirs.keys()]
        for key in ours.keys() & theirs.keys():
            made += [
                (f"{table}.{column}", key, value, theirs[key][column])
                for column, value in ours[key].items()
                if column != "figures" and not is_same(value, theirs[key][column], REACH[table])
            ]
            if "figures" in ours[key] and not is_told(ours[key]["figures"], theirs[key]["evidence"]):
                made.append((f"{table}.evidence", key, ours[key]["figures"], theirs[key]["evidence"]))
    return sorted(made, key=str)


def assert_same(ours: Tables, theirs: Tables) -> None:
    cells = differences(ours, theirs)
    assert not cells, f"{dict(Counter(column for column, *_ in cells))}, such as {cells[:5]}"


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory, demo_run: Run) -> Warehouse:
    return Warehouse(demo_run, tmp_path_factory.mktemp("pricing") / "home", [f"pricing.{table}" for table in KEYS])


def told_and_published(warehouse: Warehouse, directories: list[Path], as_of: date) -> tuple[Tables, Tables]:
    warehouse.load(directories)
    warehouse.build(as_of)
    return pricing.tell(pricing.load(directories), as_of), published_in(warehouse.database)


# The demo company


def test_every_published_cell_is_what_the_oracle_says(demo_release: Path, demo_extract: Path) -> None:
    told = pricing.tell(pricing.load([demo_extract]), DEMO_AS_OF)
    assert_same(told, published_in(demo_release))
    prices = told["price_realization"]
    assert prices["price_realization_low"].notna().sum() > 100
    assert set(prices["reason"]) >= {None, "no priced line"}
    assert len(told["discount_exceptions"]) > 0


def test_so_it_is_on_a_past_day(warehouse: Warehouse, demo_extract: Path) -> None:
    told, published = told_and_published(warehouse, [demo_extract], DEMO_PAST)
    assert_same(told, published)
    booked = told["price_realization"].query("basis == 'booked' and period_type == 'all'")
    assert booked["period_end"].max() <= DEMO_PAST


# A company in which everything is odd

AS_OF = date(2026, 6, 30)
EXTRACTED_AT = "2026-06-30T22:00:00Z"
USERS = """\
user_id,name,role,manager_id,region,segment,hired_on
e1,Eva,executive,,North,,2019-01-01
m1,Mara,manager,e1,North,,2020-01-06
m3,Mona,manager,e1,Heath,,2020-01-06
m2,Milo,manager,e1,South,,2020-01-06
s1,Sam,account_executive,m1,North,SMB,2021-03-01
s2,Sofia,account_executive,m1,North,Enterprise,2021-03-01
s3,Sol,account_manager,m2,South,SMB,2021-03-01
s4,Sue,account_executive,,,,2021-03-01
s5,Sid,account_executive,m2,South,SMB,2022-02-01
s6,Sven,account_executive,m2,South,SMB,2021-03-01
d1,Dora,development_rep,m2,West,Micro,2021-03-01
x1,Xan,specialist,m2,East,Public,2021-03-01
x2,Xia,product,m2,Nowhere,None,2021-03-01
"""
JOBS = """\
user_id,effective_from,role,manager_id,region,segment
s1,2021-03-01,account_executive,m1,North,SMB
s1,2025-09-01,manager,e1,North,SMB
s1,2026-08-01,executive,e1,West,SMB
s6,2021-03-01,account_executive,m9,Moor,Old
s6,2022-03-01,account_executive,m2,South,SMB
m3,2020-01-06,account_executive,m1,Fen,SMB
m3,2023-01-01,manager,e1,Heath,
s3,2021-03-01,customer_success,m1,Islands,SMB
s3,2025-06-01,account_manager,m2,South,SMB
"""
ACCOUNTS = """\
account_id,name,parent_account_id,segment,region
a1,Arden,,SMB,
a2,Birch,,SMB,Lakes
a3,Cedar,,,
a4,Dune,,Enterprise,Coast
"""
PRODUCTS = """\
product_id,name,family,list_price,currency
p1,Pump,F,100,USD
p2,Quill,F,,USD
p3,Rotor,F,50.25,EUR
p4,Never sold,F,9,USD
"""
CUSTOMERS = """\
customer_id,crm_account_id,name,currency
c1,a1,Arden,USD
c2,a2,Birch,EUR
c3,,Nobody,USD
c4,a4,Dune,USD
c5,a9,Not there,USD
"""
RATES = """\
rate_date,from_currency,to_currency,rate_type,rate
2024-01-01,EUR,USD,plan,1.1
2025-01-01,EUR,USD,plan,1.234567
2026-01-01,EUR,USD,plan,1.2
2026-04-01,EUR,USD,spot,1.17
2025-03-01,SEK,USD,plan,0.1
"""


def table(names: str, rows: list[tuple[Any, ...]]) -> str:
    return "\n".join([names, *(",".join("" if one is None else str(one) for one in row) for row in rows)]) + "\n"


def odd_company(seed: int) -> dict[str, str]:
    """Files of a company whose deals, lines, approvals and invoices lack now this and now that."""
    chance = random.Random(seed)
    choose = chance.choice
    deals, changes, lines, approvals, invoices, invoice_lines, credits = ([] for _ in range(7))  # type: ignore[var-annotated]

    def moment(day: date) -> str:
        at = choose(["09:30:00", "12:00:00", "00:00:00", "23:59:59"])
        return f"{day}T{at}Z"

    for number in range(300):
        deal = f"o{number}"
        stage = choose(["Closed Won"] * 7 + ["Proposal", "Discovery", "Closed Lost", "No Decision"])
        is_open = stage in ("Proposal", "Discovery")
        # Around the window's edge, ends of quarters, and the as-of date.
        fixed = [
            date(2024, 6, 30),
            date(2024, 7, 1),
            date(2026, 6, 30),
            date(2026, 3, 31),
            date(2025, 12, 22),
            date(2025, 12, 21),
        ]
        day = choose([*fixed, AS_OF - timedelta(days=chance.randrange(900))])
        close_date = day
        if is_open:
            close_date = choose([AS_OF + timedelta(days=chance.randrange(-60, 300)), AS_OF, None])  # type: ignore[assignment]
        created = day - timedelta(days=choose([20, 100, 300]))
        closed_at = None if is_open else choose([moment(day), moment(day), None])
        currency = choose(["USD", "USD", "EUR", "", "SEK", "CHF"])
        owner = choose(["s1", "s2", "s3", "s4", "s5", "x1", "gone"])
        kind = choose(["new_business", "new_business", "expansion", "renewal", ""])
        # Who has no place of their own sells to accounts that have none, and to no customer of finance.
        is_nowhere = owner in ("s4", "gone")
        account = choose(["a3", ""]) if is_nowhere else choose(["a1", "a1", "a2", "a3", "a4", ""])
        deals.append(
            (deal, account, owner, f"Deal {number}", kind, stage, choose([1000, 5000, ""]), currency, moment(created))
            + (close_date, closed_at, choose(["p1", "p2", "p3", ""]))
        )
        quoted = created + timedelta(days=choose([1, 5, 19]))
        if choose([True, True, False]):
            changes.append((f"h{number}", deal, "stage", "Discovery", "Proposal", moment(quoted)))
            if stage not in ("Proposal",):
                ended = closed_at or f"{day}T00:00:00Z"
                if is_open:
                    ended = moment(quoted + timedelta(days=1))
                changes.append((f"k{number}", deal, "stage", "Proposal", stage, ended))
        # Most are like many others; the rest is odd.
        for place in range(choose([1, 1, 1, 2, 3, 0])):
            is_odd = chance.random() < 0.3
            at_list = choose([100, 1000, "", 0, 33.3333]) if is_odd else 100
            net = (
                choose(["", 0, 120, 90.1234, 61.5])
                if is_odd
                else choose([100, 98.9, 95, 92, 90, 88, 86.9, 84.7, 80, 70, 55])
            )
            quantity = choose(["", 0, 1, 7.5, 1000]) if is_odd else choose([3, 20, 20, 150])
            product = choose(["p1", "p2", "p3", "p9"]) if is_odd else choose(["p1", "p1", "p2"])
            lines.append(
                (f"l{number}-{place}", deal, product, quantity, at_list, net)
                + (choose([currency, "", "EUR", "CHF"]) if is_odd else currency, choose(["", "", 12, 36, 9]))
                + (choose(["", "", "Volume"]),)
            )
        for place in range(choose([0, 0, 1, 1, 2])):
            asked = choose([created + timedelta(days=1), quoted, day, day + timedelta(days=1)])
            status = choose(["approved", "approved", "approved", "rejected", "requested"])
            decided = None
            if status != "requested" or choose([True, False]):
                decided = choose([asked, asked + timedelta(days=1), day, day + timedelta(days=2), None])
            approvals.append(
                (f"g{number}-{place}", deal, owner, choose([0.05, 0.14, 0.15, 0.21, 0.3, 0.45, ""]))
                + (choose(["", "Volume"]), choose(["", "Longer term"]), status)
                + (choose(["m1", "m2", "e1", "s1", "s2", "gone", ""]), moment(asked))
                + (moment(decided) if decided else None,)
            )
        for place in range(choose([1, 1, 0, 2])):
            # Some of deals that are lost, some of none, some copies.
            on = choose([day, day + timedelta(days=3), day + timedelta(days=60)])
            key = choose([deal, deal, deal, "", "o999"])
            invoice = f"i{number}-{place}"
            amount = choose([1000, 1000, 5000, 300])
            invoices.append(
                (
                    invoice,
                    choose(["c3", "c5"] if is_nowhere else ["c1", "c1", "c2", "c3", "c4", "c5"]),
                    key,
                    on,
                    choose(["open", "paid", "void", "", ""]),
                )
                + (amount, choose([currency, currency, "USD"]))
            )
            for part in range(choose([1, 2, 2, 3, 0])):
                invoice_lines.append(
                    (f"{invoice}-{part}", invoice, choose(["p1", "p2", "p3", "", "p9"]), choose([1, 10, 10, "", 0]))
                    + (choose([100, 33.3333, "", 0]), choose([100, 300, 300, 0, -100, -300, 333.3333]))
                )
            if choose([True, False, False]):
                credits.append(
                    (f"n{number}-{place}", invoices[-1][1], choose([invoice, invoice, invoice, ""]))
                    + (on + timedelta(days=choose([0, 10, 100])), choose([10, 77.77, 1000]))
                    + (choose([invoices[-1][6], invoices[-1][6], "EUR"]),)
                )
    return {
        "crm_users": USERS,
        "crm_user_roles": JOBS,
        "crm_accounts": ACCOUNTS,
        "crm_products": PRODUCTS,
        "crm_opportunities": table(
            "opportunity_id,account_id,owner_id,name,opportunity_type,stage,amount,currency,created_at,close_date,closed_at,"
            "product_id",
            deals,
        ),
        "crm_opportunity_changes": table("change_id,opportunity_id,field,old_value,new_value,changed_at", changes),
        "crm_opportunity_lines": table(
            "line_id,opportunity_id,product_id,quantity,list_unit_price,net_unit_price,currency,term_months,discount_reason",
            lines,
        ),
        "crm_discount_approvals": table(
            "approval_id,opportunity_id,requested_by_id,requested_share,reason,concession_received,status,approver_id,"
            "requested_at,decided_at",
            approvals,
        ),
        "finance_customers": CUSTOMERS,
        "finance_fx_rates": RATES,
        "finance_invoices": table(
            "invoice_id,customer_id,crm_opportunity_id,invoice_date,status,amount,currency", invoices
        ),
        "finance_invoice_lines": table(
            "invoice_line_id,invoice_id,product_id,quantity,list_unit_price,amount", invoice_lines
        ),
        "finance_credit_notes": table("credit_note_id,customer_id,invoice_id,credit_date,amount,currency", credits),
    }


@pytest.mark.parametrize(
    ("seed", "as_of", "without"),
    [
        (1, AS_OF, None),
        (2, date(2025, 11, 30), None),
        (3, AS_OF, "crm_discount_approvals"),
        (3, AS_OF, "crm_opportunity_lines"),
        (4, AS_OF, "crm_products"),
        (5, AS_OF, "finance_invoices"),
    ],
)
def test_so_it_is_of_a_company_in_which_everything_is_odd(
    warehouse: Warehouse, tmp_path: Path, seed: int, as_of: date, without: str | None
) -> None:
    files = {name: text for name, text in odd_company(seed).items() if name != without}
    directory = write_extract(tmp_path / "odd", extracted_at=EXTRACTED_AT, **files)
    told, published = told_and_published(warehouse, [directory], as_of)
    assert_same(told, published)
    if not without:
        assert len(told["discount_exceptions"]) > 20
        assert set(told["price_realization"]["reason"]) == {None, "no list amount", "no priced line"}
        assert told["discount_discipline"]["excess"].notna().sum() > 1
        assert told["price_realization"]["price_realization_low"].notna().sum() > 50


def thinned(text: str, seed: int) -> str:
    """One row in eight is gone, and of one in eight a number is another one."""
    chance = random.Random(seed)
    names, *rows = text.splitlines()
    kept = []
    for row in rows:
        fate = chance.randrange(8)
        if fate == 1:
            row = row.replace(",100,", ",110,").replace(",0.15,", ",0.25,").replace(",300", ",250")
        if fate:
            kept.append(row)
    return "\n".join([names, *kept]) + "\n"


@pytest.mark.parametrize("as_of", [AS_OF, date(2026, 7, 15)])
def test_so_it_is_after_two_loads(warehouse: Warehouse, tmp_path: Path, as_of: date) -> None:
    first = odd_company(6)
    changing = ("crm_opportunity_lines", "crm_discount_approvals", "finance_invoice_lines", "finance_invoices")
    second = {name: thinned(text, 6) if name in changing else text for name, text in first.items()}
    directories = [
        write_extract(tmp_path / "first", extracted_at=EXTRACTED_AT, **first),
        write_extract(tmp_path / "second", extracted_at="2026-07-10T22:00:00Z", **second),
    ]
    told, published = told_and_published(warehouse, directories, as_of)
    assert_same(told, published)
    assert len(told["discount_exceptions"]) > 20


# By hand

DEALS = "opportunity_id,account_id,owner_id,opportunity_type,stage,currency,created_at,close_date,closed_at"
LINES = "line_id,opportunity_id,product_id,quantity,list_unit_price,net_unit_price,currency,discount_reason"
APPROVALS = "approval_id,opportunity_id,requested_share,concession_received,status,approver_id,requested_at,decided_at"


def won(deal: str, day: str, currency: str = "USD", owner: str = "s2", account: str = "a4") -> tuple[Any, ...]:
    return (deal, account, owner, "expansion", "Closed Won", currency, "2026-01-10T09:00:00Z", day, f"{day}T12:00:00Z")


def by_hand(folder: Path, **files: str) -> Path:
    names = ("users", "accounts", "products")
    usual = {f"crm_{name}": text for name, text in zip(names, (USERS, ACCOUNTS, PRODUCTS), strict=True)}
    usual |= {"finance_customers": CUSTOMERS, "finance_fx_rates": RATES}
    return write_extract(folder / "by_hand", extracted_at=EXTRACTED_AT, **usual | files)


def test_prices_counted_by_hand(warehouse: Warehouse, tmp_path: Path) -> None:
    """A list price of the product, none at all, two currencies, one without rate, list 0, a credit, a copy, a void."""
    deals = [
        won("o1", "2026-05-10"),
        won("o2", "2026-05-12", "EUR"),
        won("o3", "2026-05-14"),
        won("o4", "2026-05-15", "CHF"),
    ]
    deals.append(("o5", "a4", "s2", "expansion", "Proposal", "USD", "2026-06-10T09:00:00Z", "2026-08-01", None))
    lines = [
        ("l1", "o1", "p1", 10, 100, 90, "USD", None),
        ("l2", "o1", "p1", 5, None, 80, "USD", None),  # 100, the product's
        ("l3", "o1", "p2", 1, None, 50, "USD", None),  # no list price
        ("l4", "o2", "p1", 10, 50, 40, "EUR", None),  # at 1.2
        ("l5", "o2", "p1", 1, 100, 100, "USD", None),
        ("l6", "o3", "p1", 1, 0, 25, "USD", None),
        ("l7", "o4", "p1", 1, 100, 90, "CHF", None),  # no rate
        ("l8", "o5", "p1", 2, 100, 95, "USD", None),
    ]
    invoices = [
        ("i1", "c4", "o1", "2026-05-20", "open", 1300, "USD"),
        ("i2", "c4", "o1", "2026-05-22", "open", 1300, "USD"),
        ("i3", "c4", "o2", "2026-05-25", "open", 480, "EUR"),
        ("i4", "c4", "o2", "2026-05-26", "void", 480, "EUR"),
    ]
    billed = [
        ("b1", "i1", "p1", 10, 100, 900),
        ("b2", "i1", "p1", 5, None, 400),
        ("b3", "i2", "p1", 10, 100, 1300),
        ("b4", "i3", "p1", 10, 50, 480),
        ("b5", "i4", "p1", 10, 50, 480),
    ]
    directory = by_hand(
        tmp_path,
        crm_opportunities=table(DEALS, deals),
        crm_opportunity_lines=table(LINES, lines),
        finance_invoices=table(
            "invoice_id,customer_id,crm_opportunity_id,invoice_date,status,amount,currency", invoices
        ),
        finance_invoice_lines=table("invoice_line_id,invoice_id,product_id,quantity,list_unit_price,amount", billed),
        finance_credit_notes="credit_note_id,customer_id,invoice_id,credit_date,amount,currency\nn1,c4,i1,2026-06-01,130,USD\n",
    )
    told, published = told_and_published(warehouse, [directory], AS_OF)
    assert_same(told, published)
    rows = by_key("price_realization", published["price_realization"])
    found = {key[0]: row for key, row in rows.items() if key[1] == "company" and key[3] == "all"}
    columns = ("line_count", "deal_count", "list_amount", "net_amount")
    assert {basis: tuple(row[name] for name in columns) for basis, row in found.items()} == {
        "booked": (6, 3, 1500 + 700 + 0, 1300 + 580 + 25),
        "quoted": (1, 1, 200, 190),
        "invoiced": (3, 2, 1500 + 600, 1300 - 130 + 576),
    }
    assert found["invoiced"]["price_realization"] == pytest.approx(1746 / 2100)


def at_the_limit(folder: Path, beyond: str) -> Path:
    """Deals that give a hundredth more than was approved, which is the tolerance, for each hundredth."""
    deals, lines, approvals = [], [], []
    for asked in range(13, 99):
        deal = f"o{asked}"
        deals.append(won(deal, "2026-05-10"))
        lines.append((f"l{asked}", deal, "p1", 1, 100, Decimal(99 - asked) - Decimal(beyond), "USD", "Volume"))
        moments = ("2026-02-01T09:00:00Z", "2026-02-02T09:00:00Z")
        approvals.append((f"g{asked}", deal, Decimal(asked) / 100, "Longer term", "approved", "e1", *moments))
    return by_hand(
        folder,
        crm_opportunities=table(DEALS, deals),
        crm_opportunity_lines=table(LINES, lines),
        crm_discount_approvals=table(APPROVALS, approvals),
    )


def test_a_discount_beyond_the_tolerance_is_above_what_was_approved(warehouse: Warehouse, tmp_path: Path) -> None:
    told, published = told_and_published(warehouse, [at_the_limit(tmp_path, "0.01")], AS_OF)
    assert_same(told, published)
    assert set(published["discount_exceptions"]["approval_status"]) == {"above_approved_share"}
    assert len(published["discount_exceptions"]) == 86


def test_a_discount_at_the_tolerance_is_not_above_what_was_approved(warehouse: Warehouse, tmp_path: Path) -> None:
    told, published = told_and_published(warehouse, [at_the_limit(tmp_path, "0")], AS_OF)
    found = published["discount_exceptions"]
    above = dict(zip(found["opportunity_id"], found["reasons"], strict=True))
    assert not [deal for deal, reasons in above.items() if "above_approved_share" in reasons]
    assert_same(told, published)


def test_who_is_known_has_one_name(warehouse: Warehouse, tmp_path: Path) -> None:
    """Also for deals that closed before the person came."""
    directory = by_hand(
        tmp_path,
        crm_users=USERS.replace("South,SMB,2022-02-01", "South,SMB,2026-06-01"),
        crm_opportunities=table(DEALS, [won("o1", "2026-05-10", owner="s5")]),
        crm_opportunity_lines=table(LINES, [("l1", "o1", "p1", 1, 100, 90, "USD", None)]),
    )
    told, published = told_and_published(warehouse, [directory], AS_OF)
    rows = published["price_realization"]
    assert set(rows[rows["member"] == "s5"]["member_name"]) == {"Sid"}
    assert_same(told, published)


def test_who_no_longer_sells_and_owns_nothing_is_no_seller(warehouse: Warehouse, tmp_path: Path) -> None:
    """Mona sold until 2023, in a region of her own."""
    directory = by_hand(
        tmp_path,
        crm_user_roles=JOBS,
        crm_opportunities=table(DEALS, [won("o1", "2026-05-10")]),
        crm_opportunity_lines=table(LINES, [("l1", "o1", "p1", 1, 100, 90, "USD", None)]),
    )
    told, published = told_and_published(warehouse, [directory], AS_OF)
    members = set(published["price_realization"]["member"])
    assert "s6" in members and not members & {"m3", "Fen", "Heath", "Moor"}
    assert not {"m3", "Fen", "Heath"} & set(published["discount_discipline"]["scope_id"])
    assert_same(told, published)


def test_what_was_only_asked_for_is_not_decided(warehouse: Warehouse, tmp_path: Path) -> None:
    """Whatever day of decision, and whatever in return, stands beside it."""
    directory = by_hand(
        tmp_path,
        crm_opportunities=table(DEALS, [won("o1", "2026-05-10")]),
        crm_opportunity_lines=table(LINES, [("l1", "o1", "p1", 1, 100, 70, "USD", "Volume")]),
        crm_discount_approvals=table(
            APPROVALS,
            [("g1", "o1", 0.3, "Longer term", "requested", "e1", "2026-02-01T09:00:00Z", "2026-02-02T09:00:00Z")],
        ),
    )
    told, published = told_and_published(warehouse, [directory], AS_OF)
    (row,) = published["discount_exceptions"].to_dict("records")
    assert (row["approval_status"], row["has_concession"]) == ("awaiting", False)
    assert row["reasons"] == "no_approval, nothing_in_return"
    assert_same(told, published)


def test_a_discount_at_the_threshold_needs_no_reason(warehouse: Warehouse, tmp_path: Path) -> None:
    """1 - 0.85 is more than 0.15 in doubles; so may be whatever threshold one sets."""
    directory = by_hand(
        tmp_path,
        crm_opportunities=table(DEALS, [won(f"o{net}", "2026-05-10") for net in range(80, 100)]),
        crm_opportunity_lines=table(
            LINES, [(f"l{net}", f"o{net}", "p1", 1, 100, net, "USD", None) for net in range(80, 100)]
        ),
        crm_discount_approvals=table(
            APPROVALS, [("g1", "o99", 0.3, "Longer term", "approved", "e1", "2026-02-01T09:00:00Z", None)]
        ),
    )
    warehouse.load([directory])
    with duckdb.connect(str(warehouse.database)) as connection:
        connection.execute("update policy.pricing_policy set value = 0.15 where name = 'reason_from_share'")
    try:
        warehouse.build(AS_OF)
        found = published_in(warehouse.database)["discount_exceptions"]
    finally:
        with duckdb.connect(str(warehouse.database)) as connection:
            connection.execute("update policy.pricing_policy set value = 0.10 where name = 'reason_from_share'")
    without = {
        deal for deal, reasons in zip(found["opportunity_id"], found["reasons"], strict=True) if "reason" in reasons
    }
    assert without == {f"o{net}" for net in range(80, 85)}


def test_an_invoice_is_where_its_deal_is(warehouse: Warehouse, tmp_path: Path) -> None:
    """Nowhere, then, and not where the customer is, who has another account."""
    directory = by_hand(
        tmp_path,
        crm_opportunities=table(DEALS, [won("o1", "2026-05-10", owner="s4", account="a3")]),
        finance_invoices="invoice_id,customer_id,crm_opportunity_id,invoice_date,amount,currency\ni1,c4,o1,2026-05-20,90,USD\n",
        finance_invoice_lines="invoice_line_id,invoice_id,product_id,quantity,list_unit_price,amount\nb1,i1,p1,1,100,90\n",
    )
    told, published = told_and_published(warehouse, [directory], AS_OF)
    assert_same(told, published)
