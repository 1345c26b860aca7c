"""Recurring revenue: known answers, bridges that tie, months that do not move, what speaks for trouble."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from orchestration.settings import PROJECT_ROOT
from tests.conftest import DEMO_AS_OF, Run
from tests.extracts import ACCOUNTS, OPPORTUNITIES, USERS, write_extract
from tests.warehouse import Warehouse

PLAYBOOK = PROJECT_ROOT.parent / "shared" / "data" / "mrr-playbook" / "subscription_periods.csv"
TABLES = [
    f"retention.{name}"
    for name in (
        "arr_movements", "arr_bridges", "revenue_retention", "cohort_retention", "renewals", "account_growth",
        "sales_growth",
    )
]  # fmt: skip
AS_OF = date(2026, 5, 20)
EXTRACTED = [date(2026, 3, 10), date(2026, 4, 10), date(2026, 5, 10)]
COLUMNS = [
    "subscription_id", "customer_id", "product_id", "start_date", "end_date", "cancelled_on", "arr", "currency",
    "crm_opportunity_id", "change_reason",
]  # fmt: skip
SUBSCRIPTION_HEADER = ",".join(COLUMNS)
CUSTOMERS = """\
customer_id,crm_account_id,name,currency
f1,a1,One,USD
f2,a2,Two,USD
f3,,Three,USD
f4,nobody,Four,USD
"""
# In the last extract the dairy has left its parent and belongs to nobody.
RE_PARENTED = ACCOUNTS.replace("a2,Arden Dairy,a1", "a2,Arden Dairy,")
PLAN = "2020-01-01,EUR,USD,plan,1.1234"
SPOT = {
    "EUR": [(date(2024, 1, 31) + timedelta(days=9 * step), Decimal(11000 + 7 * step) / 10000) for step in range(94)],
    # Fixings are missing in the last spring and the last autumn, and none came since April.
    "GBP": [
        (day, Decimal(13000 - 11 * step) / 10000)
        for step, day in enumerate(date(2024, 1, 31) + timedelta(days=9 * step) for step in range(91))
        if day.month not in (5, 10)
    ],
}
RATES = "\n".join(
    [
        "rate_date,from_currency,to_currency,rate_type,rate",
        PLAN,
        *(f"{day},{currency},USD,spot,{rate}" for currency, fixings in SPOT.items() for day, rate in fixings),
        "",
    ]
)


def query(database: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(database), read_only=True) as connection:
        return connection.execute(sql).fetchall()


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory, demo_run: Run) -> Warehouse:
    return Warehouse(demo_run, tmp_path_factory.mktemp("retention") / "home", TABLES)


def broken_bridges(database: Path) -> list[tuple[Any, ...]]:
    """Where a bridge does not tie: by customer, company, segment and product, and between the levels."""
    ties = [
        f"""
        select '{table}' as what, {keys} from retention.{table} where movement != 'restatement' group by all
        having sum(case when movement = 'closing' then -amount else amount end) != 0
            or sum(case when movement = 'closing' then -amount_actual else amount_actual end) != 0
        """
        for table, keys in (
            ("arr_movements", "customer_id, month_start::varchar"),
            ("arr_movements", "segment, month_start::varchar"),
            ("arr_movements", "'company', month_start::varchar"),
            ("arr_bridges", "dimension || ' ' || member, month_start::varchar"),
        )
    ]
    levels = """
        select 'levels' as what, movement, month_start::varchar from (
            select dimension, movement, month_start, sum(amount) as amount, sum(amount_actual) as amount_actual
            from retention.arr_bridges where dimension != 'product' or movement in ('opening', 'closing', 'restatement')
            group by all
            union all
            select 'customer', movement, month_start, sum(amount), coalesce(sum(amount_actual), 0)
            from retention.arr_movements group by all
        )
        group by all
        having max(amount) != min(amount)
            and count(distinct amount) filter (where amount != 0) > 1
    """
    return query(database, " union all ".join([*ties, levels]))


# ---- known answers


@pytest.mark.skipif(not PLAYBOOK.is_file(), reason="the public subscription periods are not beside this project")
def test_the_public_subscription_periods_give_the_published_changes(warehouse: Warehouse, tmp_path: Path) -> None:
    with PLAYBOOK.open(encoding="utf-8", newline="") as file:
        periods = list(csv.DictReader(file))
    lines = [
        f"{row['subscription_id']},{row['customer_id']},,{row['start_date']},{row['end_date']},,"
        f"{12 * int(row['monthly_amount'])},USD,,"
        for row in periods
    ]
    names = sorted({row["customer_id"] for row in periods}, key=int)
    extract = write_extract(
        tmp_path / "playbook",
        extracted_at="2020-06-30T06:00:00Z",
        crm_opportunities=OPPORTUNITIES.splitlines()[0]
        + "\no1,a1,s1,X,new_business,Proposal,1,2020-01-05T09:00:00Z,2020-09-01,\n",
        finance_customers="customer_id,name\n" + "".join(f"{name},Customer {name}\n" for name in names),
        finance_subscriptions="\n".join([SUBSCRIPTION_HEADER, *lines]) + "\n",
    )
    warehouse.load([extract])
    warehouse.build(date(2020, 6, 30))
    changes = query(
        warehouse.database,
        "select movement, sum(amount) / 12 from retention.arr_movements "
        "where movement not in ('opening', 'closing') group by movement",
    )
    assert {word: float(amount) for word, amount in changes} == {
        "new": 2295, "expansion": 660, "reactivation": 150, "contraction": -555, "churn": -2550,
    }  # fmt: skip
    assert query(warehouse.database, "select count(distinct customer_id) from retention.arr_movements") == [(55,)]
    assert broken_bridges(warehouse.database) == []
    assert query(
        warehouse.database,
        "select count(*), count(distinct basis), min(basis), count(*) filter (where customer_id not like 'finance:%') "
        "from retention.arr_movements",
    )[0][1:] == (1, "subscriptions", 0)


# ---- random histories


@st.composite
def subscription_rows(draw: st.DrawFn, identifier: str) -> dict[str, str]:
    start = date(2024, 3, 1) + timedelta(days=15 * draw(st.integers(0, 58)))
    days = draw(st.sampled_from([None, 5, 20, 31, 90, 181, 365, 366]))
    end = start + timedelta(days=days) if days else None
    # A contract often begins where another has ended, or a little later.
    return {
        "subscription_id": identifier,
        "customer_id": draw(st.sampled_from(["f1", "f1", "f2", "f2", "f3", "f4"])),
        "product_id": draw(st.sampled_from(["p", "p", "q", ""])),
        "start_date": str(start),
        "end_date": str(end or ""),
        "cancelled_on": str(end - timedelta(days=40)) if end and draw(st.integers(0, 3)) == 0 else "",
        "arr": draw(st.sampled_from(["100", "120.5", "99.9999", "1000", "-50", "0"])),
        "currency": draw(st.sampled_from(["USD", "USD", "EUR", "EUR", "GBP", "CHF", ""])),
        "crm_opportunity_id": "",
        "change_reason": draw(st.sampled_from(["", "price_change", "price_change", "expansion"])),
    }


@st.composite
def subscription_histories(draw: st.DrawFn) -> list[dict[str, dict[str, str]]]:
    """The subscriptions of three full extracts made one after the other, by id."""
    names = [f"s{number:02}" for number in range(draw(st.integers(2, 9)))]
    state: dict[str, dict[str, str]] = {}
    extracts = []
    for number in range(3):
        for name in names:
            choice = draw(st.integers(0, 9))
            if name not in state and (number or choice < 8 or name == names[0]):
                state[name] = draw(subscription_rows(name))
                before = draw(st.sampled_from([None, *names]))
                if before in state and before != name and state[before]["end_date"]:
                    gap = draw(st.sampled_from([0, 0, 10, 30, 31]))
                    begin = date.fromisoformat(state[before]["end_date"]) + timedelta(days=gap)
                    state[name] |= {
                        "start_date": str(begin),
                        "end_date": str(begin + timedelta(days=120)),
                        "customer_id": state[before]["customer_id"],
                        "currency": state[before]["currency"],
                        "cancelled_on": "",
                    }
            elif name in state and number and choice == 0 and len(state) > 1:
                del state[name]
            elif name in state and number and choice == 1:
                state[name] = {**state[name], "arr": draw(st.sampled_from(["80", "140.25"]))}
            elif name in state and number and choice == 2:
                state[name] = draw(subscription_rows(name))
        extracts.append({name: dict(row) for name, row in state.items()})
    return extracts


def write_history(folder: Path, extracts: Sequence[Mapping[str, Mapping[str, str]]]) -> list[Path]:
    return [
        write_extract(
            folder / str(number),
            extracted_at=f"{EXTRACTED[number]}T22:00:00Z",
            crm_users=USERS,
            crm_accounts=RE_PARENTED if number == 2 else ACCOUNTS,
            finance_customers=CUSTOMERS,
            finance_subscriptions="\n".join(
                [SUBSCRIPTION_HEADER, *(",".join(row[column] for column in COLUMNS) for row in rows.values())]
            )
            + "\n",
            finance_fx_rates=RATES,
        )
        for number, rows in enumerate(extracts)
    ]


@pytest.mark.long
@settings(
    max_examples=4,
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(extracts=subscription_histories())
def test_a_final_month_never_moves_whatever_becomes_known_later(
    warehouse: Warehouse, tmp_path_factory: pytest.TempPathFactory, extracts: list[dict[str, dict[str, str]]]
) -> None:
    folders = write_history(tmp_path_factory.mktemp("final"), extracts)
    # The hierarchy is that of today in every build, so it stays the same here.
    (folders[2] / "crm" / "accounts.csv").write_text(ACCOUNTS)
    final = (
        "select customer_id, month_start, movement, amount, amount_actual from retention.arr_movements "
        "where is_final and movement != 'restatement' and month_start <= '{}' order by all"
    )
    told = []
    warehouse.load([])
    for folder, at in zip(folders, EXTRACTED, strict=True):
        warehouse.load_more([folder])
        warehouse.build(at)
        months = query(warehouse.database, "select max(month_start) from retention.arr_bridges where is_final")
        told.append((at, months[0][0], query(warehouse.database, final.format(months[0][0]))))
    warehouse.build(AS_OF)
    assert broken_bridges(warehouse.database) == []
    told_now = {final.format(last): query(warehouse.database, final.format(last)) for _, last, _ in told if last}
    for at, last, was in told:
        if last is None:
            continue
        # From everything there is now, told for the last day and for the same day again.
        assert told_now[final.format(last)] == was
        if at != EXTRACTED[-1]:
            warehouse.build(at)
            assert query(warehouse.database, final.format(last)) == was


# ---- rules by hand


def by_hand(folder: Path, lines: Sequence[str], **files: str) -> Path:
    return write_extract(
        folder,
        extracted_at="2026-05-20T06:00:00Z",
        **{
            "finance_customers": CUSTOMERS,
            "finance_subscriptions": "\n".join([SUBSCRIPTION_HEADER, *lines]) + "\n",
            "finance_fx_rates": RATES,
            **files,
        },
    )


def moves(warehouse: Warehouse, customer: str) -> list[tuple[str, str, float]]:
    rows = query(
        warehouse.database,
        "select strftime(month_start, '%Y-%m'), movement, amount from retention.arr_movements "
        f"where customer_id = '{customer}' and movement not in ('opening', 'closing') "
        "order by month_start, movement_order",
    )
    return [(month, movement, float(amount)) for month, movement, amount in rows if amount]


@pytest.mark.parametrize(
    ("rule", "lines", "expected"),
    [
        (
            "new, price, expansion, contraction, churn and back",
            [
                "1,f3,p,2025-01-15,2025-03-01,,100,USD,,",
                "2,f3,p,2025-03-01,2025-05-01,,110,USD,,price_change",
                "3,f3,p,2025-05-01,2025-07-01,,150,USD,,expansion",
                "4,f3,p,2025-07-01,2025-09-01,,90,USD,,",
                "5,f3,p,2025-11-10,,,95,USD,,price_change",
            ],
            [
                ("2025-01", "new", 100), ("2025-03", "price_change", 10), ("2025-05", "expansion", 40),
                ("2025-07", "contraction", -60), ("2025-09", "churn", -90), ("2025-11", "reactivation", 95),
            ],
        ),
        (
            "a renewal on the last day of grace is late, a day later it is churn",
            ["1,f3,p,2025-01-01,2025-06-15,,100,USD,,", "2,f3,p,2025-07-15,2025-09-15,,100,USD,,",
             "3,f3,p,2025-10-16,,,100,USD,,"],
            [("2025-01", "new", 100), ("2025-09", "churn", -100), ("2025-10", "reactivation", 100)],
        ),
        (
            "who comes and goes between two days is in no month, and new when he comes to stay",
            ["1,f3,p,2025-01-03,2025-01-20,,100,USD,,", "2,f3,p,2025-06-01,,,70,USD,,"],
            [("2025-06", "new", 70)],
        ),
        (
            "a switch of plan inside one month is what is left of it",
            ["1,f3,p,2025-01-01,2025-02-10,,100,USD,,", "2,f3,q,2025-02-10,,,130,USD,,expansion"],
            [("2025-01", "new", 100), ("2025-02", "expansion", 30)],
        ),
        (
            "of several subscriptions one that lapses is a contraction, the last one churn",
            ["1,f3,p,2025-01-01,2025-03-01,,100,USD,,", "2,f3,q,2025-01-01,2025-05-01,,40,USD,,"],
            [("2025-01", "new", 140), ("2025-03", "contraction", -100), ("2025-05", "churn", -40)],
        ),
        (
            "a price that rises while seats are given back is told apart",
            ["1,f3,p,2025-01-01,2025-03-01,,100,USD,,", "2,f3,q,2025-01-01,2025-03-01,,50,USD,,",
             "3,f3,p,2025-03-01,,,120,USD,,price_change", "4,f3,q,2025-03-01,,,10,USD,,"],
            [("2025-01", "new", 150), ("2025-03", "price_change", 20), ("2025-03", "contraction", -40)],
        ),
        (
            "a credit held as a row takes off while the customer is there, and nothing afterwards",
            ["1,f3,p,2025-01-01,2025-03-01,,100,USD,,", "2,f3,p,2025-02-01,,,-30,USD,,"],
            [("2025-01", "new", 100), ("2025-02", "contraction", -30), ("2025-03", "churn", -70)],
        ),
        (
            "whether he renews is not decided for the days of grace, unless he has said no",
            ["1,f3,p,2025-01-01,2026-05-02,,100,USD,,"],
            [("2025-01", "new", 100)],
        ),
        (
            "who has said no is gone on the day",
            ["1,f3,p,2025-01-01,2026-05-02,2026-03-01,100,USD,,"],
            [("2025-01", "new", 100), ("2026-05", "churn", -100)],
        ),
    ],
)  # fmt: skip
def test_each_movement(
    warehouse: Warehouse, tmp_path: Path, rule: str, lines: list[str], expected: list[tuple[str, str, float]]
) -> None:
    warehouse.load([by_hand(tmp_path / "x", lines)])
    warehouse.build(AS_OF)
    assert moves(warehouse, "finance:f3") == expected, rule
    assert broken_bridges(warehouse.database) == []


def test_a_subsidiary_that_gets_a_parent_and_a_merged_account_are_no_churn(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    lines = ["1,f1,p,2025-01-01,2025-06-01,,100,USD,,", "2,f2,p,2025-06-01,,,100,USD,,"]
    warehouse.load([by_hand(tmp_path / "apart", lines, crm_accounts=RE_PARENTED)])
    warehouse.build(AS_OF)
    assert moves(warehouse, "a1") == [("2025-01", "new", 100), ("2025-06", "churn", -100)]
    warehouse.load([by_hand(tmp_path / "together", lines)])
    warehouse.build(AS_OF)
    assert moves(warehouse, "a1") == [("2025-01", "new", 100)]
    assert moves(warehouse, "a2") == []
    # Merged: the second finance customer is booked on the first one's account.
    merged = CUSTOMERS.replace("f2,a2", "f2,a1")
    warehouse.load([by_hand(tmp_path / "merged", lines, crm_accounts=RE_PARENTED, finance_customers=merged)])
    warehouse.build(AS_OF)
    assert moves(warehouse, "a1") == [("2025-01", "new", 100)]


def test_a_correction_of_a_final_month_is_its_own_line(warehouse: Warehouse, tmp_path: Path) -> None:
    first = by_hand(tmp_path / "x", ["1,f3,p,2025-11-01,,,100,USD,,"])
    (first / "extract.json").write_text('{"extracted_at": "2026-03-10T06:00:00Z", "mode": "full"}')
    second = by_hand(tmp_path / "y", ["1,f3,p,2025-11-01,,,80,USD,,"])
    warehouse.load([first, second])
    warehouse.build(AS_OF)
    rows = query(
        warehouse.database,
        "select strftime(month_start, '%Y-%m'), movement, amount::double, is_final from retention.arr_movements "
        "where customer_id = 'finance:f3' order by month_start, movement_order",
    )
    # 45 days after its end a month is final; the correction was known on 2026-05-20.
    assert [row[:3] for row in rows if row[1] == "restatement"] == [
        (month, "restatement", -20) for month in ("2025-11", "2025-12", "2026-01", "2026-02", "2026-03")
    ]
    assert [row[2] for row in rows if row[1] == "closing"] == [100] * 5 + [80, 80]
    # Told after the correction, April opens with what is known then.
    assert [row[2] for row in rows if row[1] == "opening"] == [100] * 4 + [80, 80]
    assert [row[3] for row in rows if row[1] == "closing"] == [True] * 5 + [False, False]


def test_without_subscriptions_retention_is_told_from_invoices_and_says_so(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    extract = by_hand(
        tmp_path / "x",
        [],
        finance_subscriptions=SUBSCRIPTION_HEADER + "\n",
        finance_invoices="invoice_id,customer_id,invoice_date,status,amount,currency\n"
        "i1,f3,2024-02-10,paid,100,USD\ni2,f3,2025-03-15,paid,60,USD\ni3,f3,2025-08-01,void,999,USD\n"
        "i4,f4,2024-03-01,paid,50,USD\n",
        finance_credit_notes="credit_note_id,customer_id,credit_date,amount,currency\n"
        "k1,f3,2025-04-02,10,USD\nk2,f4,2025-05-02,20,USD\n",
    )
    warehouse.load([extract])
    warehouse.build(AS_OF)
    assert moves(warehouse, "finance:f3") == [
        ("2024-02", "new", 100), ("2025-02", "churn", -100), ("2025-03", "reactivation", 60),
        ("2025-04", "contraction", -10), ("2026-03", "churn", -50),
    ]  # fmt: skip
    # A credit after the customer has left takes nothing from nobody.
    assert moves(warehouse, "finance:f4") == [("2024-03", "new", 50), ("2025-03", "churn", -50)]
    for table in ("arr_movements", "arr_bridges", "revenue_retention", "cohort_retention", "account_growth"):
        assert query(warehouse.database, f"select distinct basis from retention.{table}") == [("invoices",)], table
    assert query(
        warehouse.database,
        "select n, arr_year_ago::int, arr::int, nrr from retention.revenue_retention "
        "where dimension = 'company' and month_start = '2025-03-01'",
    ) == [(2, 150, 60, 0.4)]


def test_without_finance_every_table_is_empty_and_sales_have_bookings_alone(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    warehouse.load([write_extract(tmp_path / "x", extracted_at="2026-05-20T06:00:00Z")])
    warehouse.build(AS_OF)
    for table in TABLES[:-1]:
        assert query(warehouse.database, f"select count(*) from {table}") == [(0,)], table
    assert query(warehouse.database, "select distinct measure from retention.sales_growth") == [("bookings",)]


def touch(number: int, kind: str, direction: str, purpose: str, contact: str, day: str) -> str:
    return f"t{number},{kind},{direction},{purpose},s1,a1,{contact},{day}T09:00:00Z,true\n"


def test_a_renewal_names_what_speaks_for_trouble(warehouse: Warehouse, tmp_path: Path) -> None:
    extract = by_hand(
        tmp_path / "x",
        [
            "1,f1,p,2025-08-01,2026-08-01,,100,USD,,",
            "2,f1,q,2025-08-01,2026-08-01,,50,USD,,",
            "3,f2,p,2025-08-01,2026-08-01,2026-05-01,80,USD,,",
            "4,f3,p,2025-09-01,2026-09-01,,70,USD,,",
            "5,f3,p,2026-09-01,2027-09-01,,75,USD,,",
            "6,f4,p,2025-05-15,2026-05-15,,60,USD,,",
            "7,f4,q,2025-05-15,2027-06-01,,60,USD,,",
        ],
        crm_contacts="contact_id,account_id,name\nc1,a1,Ann\nc2,a1,Ben\n",
        crm_activities="activity_id,activity_type,direction,purpose,user_id,account_id,contact_id,occurred_at,is_completed\n"
        # Ann has written; Ben was written to, and met us too long ago.
        + touch(1, "email", "inbound", "sell", "c1", "2026-05-10")
        + touch(2, "email", "outbound", "sell", "c2", "2026-05-12")
        + touch(3, "meeting", "outbound", "sell", "c2", "2026-03-01")
        + "".join(touch(10 + day, "call", "inbound", "support", "c1", f"2026-04-{day:02}") for day in (1, 2, 3)),
        finance_invoices="invoice_id,customer_id,invoice_date,due_date,paid_on,status,amount,currency\n"
        "i1,f1,2025-08-01,2025-08-31,2025-09-15,paid,100,USD\ni2,f1,2026-03-01,2026-03-31,,open,30,USD\n"
        "i3,f1,2025-10-01,2025-10-31,2025-10-31,paid,10,USD\ni4,f1,2026-05-01,2026-05-31,,open,10,USD\n",
    )
    warehouse.load([extract])
    warehouse.build(AS_OF)
    rows = query(
        warehouse.database,
        "select finance_customer_id, status, due_on::varchar, subscription_count, due_amount::int, "
        "renewed_amount::int, "
        "risk_evidence, risk_count, engaged_contact_count, days_since_contact, support_count, support_count_before, "
        "invoice_count, round(late_share, 4), overdue_amount::int, overdue_days, top_risk, what_to_do is not null "
        "from retention.renewals order by 1",
    )
    assert rows == [
        (
            "f1", "open", "2026-08-01", 2, 150, 0,
            "payment_overdue, no_renewal_deal, single_contact, support_rising", 4, 1, 10, 3, 0,
            3, 0.6667, 30, 50, "payment_overdue", True,
        ),
        ("f2", "cancelled", "2026-08-01", 1, 80, 0, None, None, 0, None, 0, 0, 0, None, 0, 0, None, False),
        # No account: what the CRM knows is not known of it.
        ("f3", "renewed", "2026-09-01", 1, 70, 75, None, None, None, None, None, None, 0, None, 0, 0, None, False),
        (
            "f4", "overdue", "2026-05-15", 1, 60, 0, "shrinking", 1, None, None, None, None,
            0, None, 0, 0, "shrinking", True,
        ),
    ]  # fmt: skip


def test_old_bills_credited_ones_and_people_who_left_say_nothing_of_a_renewal(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    extract = by_hand(
        tmp_path / "x",
        ["1,f1,p,2025-08-01,2026-08-01,,100,USD,,"],
        crm_contacts="contact_id,account_id,name,is_active\nc1,a1,Ann,false\nc2,a1,Ben,\n",
        crm_activities="activity_id,activity_type,direction,purpose,user_id,account_id,contact_id,occurred_at,is_completed\n"
        + touch(1, "email", "inbound", "sell", "c1", "2026-05-10")
        + touch(2, "email", "inbound", "sell", "c2", "2026-05-12"),
        # Two years old; half credited; credited as a whole; paid.
        finance_invoices="invoice_id,customer_id,invoice_date,due_date,paid_on,status,amount,currency\n"
        "i1,f1,2024-03-01,2024-03-31,,open,500,USD\ni2,f1,2026-03-01,2026-03-31,,open,30,USD\n"
        "i3,f1,2025-10-01,2025-10-31,,open,10,USD\ni4,f1,2026-04-01,2026-04-30,2026-04-20,paid,10,USD\n",
        finance_credit_notes="credit_note_id,customer_id,invoice_id,credit_date,amount,currency\n"
        "n1,f1,i2,2026-04-02,15,USD\nn2,f1,i3,2025-12-01,10,USD\n",
    )
    warehouse.load([extract])
    warehouse.build(AS_OF)
    told = "select engaged_contact_count, invoice_count, overdue_amount::int, overdue_days from retention.renewals"
    assert query(warehouse.database, told) == [(1, 3, 15, 50)]


def test_a_running_period_is_held_against_as_many_days_of_the_year_before(warehouse: Warehouse, tmp_path: Path) -> None:
    header = (
        "opportunity_id,account_id,owner_id,name,opportunity_type,stage,amount,currency,created_at,close_date,closed_at"
    )
    deals = "".join(
        f"o{number},a1,s1,X,new_business,Closed Won,{amount},{currency},2024-01-05T09:00:00Z,{day},{day}T15:00:00Z\n"
        for number, (day, amount, currency) in enumerate(
            [
                ("2024-01-01", 7, "USD"), ("2025-04-01", 100, "EUR"), ("2025-05-20", 50, "USD"),
                ("2025-05-21", 900, "USD"), ("2026-04-02", 100, "EUR"), ("2026-05-20", 80, "USD"),
                ("2026-04-03", 5, "CHF"),
            ]
        )
    )  # fmt: skip
    warehouse.load([by_hand(tmp_path / "x", [], crm_opportunities=f"{header}\n{deals}")])
    warehouse.build(AS_OF)
    (row,) = query(
        warehouse.database,
        "select amount, amount_year_ago, growth, amount_actual, sale_count, sale_count_year_ago, unrated_count, "
        "told_to::varchar, reason from retention.sales_growth where measure = 'bookings' and dimension = 'company' "
        "and period_type = 'quarter' and period_start = '2026-04-01'",
    )
    amount, year_ago = Decimal("112.34") + 80, Decimal("112.34") + 50
    assert row[:2] == (amount, year_ago)
    assert row[2] == pytest.approx(float(amount / year_ago) - 1)
    # A deal in a currency without a rate: actual currency cannot be told.
    assert row[3:] == (None, 2, 2, 1, "2026-05-20", None)
    reasons = query(
        warehouse.database,
        "select period_start::varchar, reason from retention.sales_growth where measure = 'bookings' "
        "and dimension = 'company' and period_type = 'year' order by 1",
    )
    assert reasons == [("2024-01-01", "the year before is not on record"), ("2025-01-01", None), ("2026-01-01", None)]


# ---- the demo company


def test_the_bridges_of_the_demo_company_tie_at_every_level(demo_release: Path) -> None:
    assert broken_bridges(demo_release) == []
    assert query(demo_release, "select count(*) > 5000 from retention.arr_movements") == [(True,)]


def test_retention_from_the_bridge_differs_by_what_newcomers_did(demo_release: Path) -> None:
    """What docs/retention.md says it differs by, to the cent: there are no restatements in a first load."""
    rows = query(
        demo_release, "select customer_id, month_start, movement, amount from retention.arr_movements where amount != 0"
    )
    closing: dict[tuple[str, date], Decimal] = {}
    moved: dict[tuple[str, date], Decimal] = defaultdict(Decimal)
    for customer, month, movement, amount in rows:
        if movement == "closing":
            closing[customer, month] = amount
        elif movement not in ("opening", "new"):
            moved[customer, month] += amount
    months = sorted({month for _, month in closing})
    differing = 0
    for place in range(12, len(months)):
        earlier, window = months[place - 12], months[place - 11 : place + 1]
        opening = sum(amount for (_, month), amount in closing.items() if month == earlier)
        cohort = {customer for customer, month in closing if month == earlier}
        bridge = opening + sum(amount for (_, month), amount in moved.items() if month in window)
        others = sum(
            amount for (customer, month), amount in moved.items() if month in window and customer not in cohort
        )
        ((year_ago, arr),) = query(
            demo_release,
            "select arr_year_ago, arr from retention.revenue_retention "
            f"where dimension = 'company' and month_start = '{months[place]}'",
        )
        assert (year_ago, arr) == (opening, bridge - others)
        differing += others != 0
    assert differing >= 12


def test_retention_is_in_bounds_and_a_cohort_never_outgrows_its_start(demo_release: Path) -> None:
    assert query(
        demo_release,
        "select count(*) from retention.revenue_retention where grr > 1 or nrr < grr or grr < 0 or logo_retention > 1 "
        "or not (grr between grr_low and grr_high) or not (nrr between nrr_low and nrr_high)",
    ) == [(0,)]
    assert query(demo_release, "select count(*) from retention.cohort_retention where active_count > n") == [(0,)]
    # By reactivation a cohort rises again.
    assert query(
        demo_release,
        "select count(*) > 0 from (select active_count - lag(active_count) over (partition by cohort_month "
        "order by elapsed_months) as rise from retention.cohort_retention where dimension = 'company') where rise > 0",
    ) == [(True,)]


def test_sales_are_those_of_the_tables_they_come_from(demo_release: Path) -> None:
    """Without exchange rates, in the reporting currency alone, both measures are plain sums."""
    (bookings,) = query(
        demo_release,
        "select sum(sale_count), (select count(*) from core.opportunities where is_won and not is_deleted and "
        "amount_source is not null) from retention.sales_growth where measure = 'bookings' and period_type = 'month' "
        "and dimension = 'company'",
    )
    assert bookings[0] == bookings[1] > 100
    for dimension in ("segment", "region"):
        assert query(
            demo_release,
            "select count(*) from (select measure, period_type, period_start, "
            "sum(case when dimension = 'company' then amount else -amount end) as gap, "
            "sum(case when dimension = 'company' then amount_actual else -amount_actual end) as gap_actual "
            f"from retention.sales_growth where dimension in ('company', '{dimension}') group by all "
            "having gap != 0 or gap_actual != 0)",
        ) == [(0,)]


def test_planted_shrinking_accounts_shrink(demo_release: Path, demo_extract: Path) -> None:
    with (demo_extract / "truth" / "accounts.csv").open(encoding="utf-8", newline="") as file:
        traits = {row["account_id"]: row["trait"] for row in csv.DictReader(file)}
    growth = {
        trait: [
            value
            for (value,) in query(
                demo_release,
                "select growth from retention.account_growth where dimension = 'customer' and n = 1 "
                "and growth > -1 and member in ("
                + ", ".join(f"'{account}'" for account, of in traits.items() if of == trait)
                + ")",
            )
        ]
        for trait in ("shrinking", "steady")
    }
    assert len(growth["shrinking"]) >= 3 and len(growth["steady"]) >= 3, {k: len(v) for k, v in growth.items()}
    means = {trait: sum(values) / len(values) for trait, values in growth.items()}
    assert means["shrinking"] < 0 < means["steady"] + 0.1
    assert means["shrinking"] < means["steady"] - 0.1


def test_the_demo_company_is_told_for_its_day(demo_release: Path) -> None:
    for table in TABLES:
        assert query(demo_release, f"select distinct as_of_date from {table}") == [(DEMO_AS_OF,)], table
