"""What sales has sold, held against what finance has billed: on planted breaks, by hand, and at real rates."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from orchestration.demo.company import write_demo
from orchestration.settings import PROJECT_ROOT
from tests.conftest import DEMO_AS_OF, Run
from tests.extracts import ACCOUNTS, write_extract
from tests.warehouse import Warehouse

ECB = PROJECT_ROOT.parent / "shared" / "data" / "ecb-fx" / "eurofxref-hist.csv"
TABLES = ["booking_to_billing", "billing_documents", "bridge_items", "booking_bridge", "forecast_to_billing"]
HEADER = "opportunity_id,account_id,owner_id,stage,amount,currency,created_at,close_date,closed_at\n"


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory, demo_run: Run) -> Warehouse:
    tables = [f"reconciliation.{table}" for table in TABLES]
    return Warehouse(demo_run, tmp_path_factory.mktemp("reconciliation") / "home", tables)


def query(database: Path, sql: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(database), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def won(deal: str, amount: float, currency: str, day: str, account: str = "a1") -> str:
    return f"{deal},{account},s1,Closed Won,{amount},{currency},{day}T00:00:00Z,{day},{day}T12:00:00Z\n"


def assert_found(database: Path, extract: Path) -> None:
    """Every planted break has its row with its status and both amounts, and nothing else is called a break."""
    with duckdb.connect(str(database), read_only=True) as connection:
        connection.execute(f"""
            create temp table planted as
            select
                case
                    when status in ('missing_in_crm', 'lost_in_crm_but_billed') then 'invoice' else 'deal'
                end as row_type,
                case when row_type = 'deal' then opportunity_id else invoice_id end as row_id,
                status,
                crm_amount::decimal(18, 2) as crm_amount,
                finance_amount::decimal(18, 2) as finance_amount
            from read_csv('{extract}/truth/finance_breaks.csv')
        """)
        found = """
            select row_type, row_id, status, crm_amount_source::decimal(18, 2), finance_amount_source::decimal(18, 2)
            from reconciliation.booking_to_billing where is_break
        """
        kinds = connection.execute("select count(distinct status) from planted").fetchone()
        assert kinds == (8,)
        assert connection.execute(f"from planted except all ({found})").fetchall() == []
        assert connection.execute(f"{found} except all from planted").fetchall() == []


def assert_ties(database: Path, extract: Path) -> None:
    """The bridge closes, starts from the deals, ends with finance's own files, and is the sum of its rows."""
    with duckdb.connect(str(database), read_only=True) as connection:
        gaps = """
            select period_type, period_start, currency_basis, currency,
                sum(case line when 'finance' then -amount else amount end)
            from reconciliation.booking_bridge group by all
        """
        cells = connection.execute(f"from ({gaps})").fetchall()
        assert len(cells) > 200
        assert [cell for cell in cells if cell[-1]] == []
        # Invoices and credit notes as they stand in the files, told to the as-of date.
        in_files = f"""
            select date_trunc('month', day)::date as period_start, currency, sum(amount) as amount from (
                select invoice_date as day, currency, amount::decimal(18, 4) as amount
                from read_csv('{extract}/finance/invoices.csv') where status != 'void'
                union all
                select credit_date, currency, -amount::decimal(18, 4)
                from read_csv('{extract}/finance/credit_notes.csv')
            ) group by all
        """
        in_bridge = """
            select period_start, currency, amount from reconciliation.booking_bridge
            where period_type = 'month' and currency_basis = 'source' and line = '{}' and row_count > 0
        """
        assert connection.execute(f"{in_files} except all ({in_bridge.format('finance')})").fetchall() == []
        assert connection.execute(f"{in_bridge.format('finance')} except all ({in_files})").fetchall() == []
        in_crm = """
            select date_trunc('month', closed_on)::date, currency_source, sum(amount_source) from core.opportunities
            where is_won and not is_deleted group by all
        """
        assert connection.execute(f"{in_crm} except all ({in_bridge.format('bookings')})").fetchall() == []
        assert connection.execute(f"{in_bridge.format('bookings')} except all ({in_crm})").fetchall() == []
        # In the reporting currency: deals at plan rate, documents at the rate of their day.
        ((ours, deals, billed, documents, apart),) = connection.execute("""
            select
                sum(amount) filter (line = 'bookings'),
                (select sum(amount) from core.opportunities where is_won and not is_deleted),
                sum(amount) filter (line = 'finance'),
                (select sum(amount) from reconciliation.billing_documents),
                sum(amount) filter (line = 'other_period')
            from reconciliation.booking_bridge where period_type = 'year' and currency_basis = 'reporting'
        """).fetchall()
        assert (ours, billed, apart) == (deals, documents, 0)
        differing = connection.execute("""
            select status from (
                select status, sum(amount_difference) as amount from reconciliation.booking_to_billing group by all
            ) join (
                select line as status, sum(amount) as on_line from reconciliation.booking_bridge
                where period_type = 'year' and currency_basis = 'reporting' group by all
            ) using (status) where amount != on_line
        """).fetchall()
        assert differing == []


def test_every_planted_break_is_found_and_no_clean_deal_is_flagged(demo_run: Run, demo_extract: Path) -> None:
    assert_found(demo_run.database, demo_extract)


def test_the_bridge_ties_to_the_cent(demo_run: Run, demo_extract: Path) -> None:
    assert_ties(demo_run.database, demo_extract)


@pytest.mark.parametrize("seed", [77, 78, 2601])
def test_the_same_holds_for_companies_nobody_looked_at(warehouse: Warehouse, tmp_path: Path, seed: int) -> None:
    extract = tmp_path / "extract"
    write_demo(extract, scale=0.3, seed=seed, until=DEMO_AS_OF)
    warehouse.load([extract])
    warehouse.build(DEMO_AS_OF)
    assert_found(warehouse.database, extract)
    assert_ties(warehouse.database, extract)


def test_every_row_says_who_should_do_what(demo_run: Run) -> None:
    ((rows, told, named, aged),) = demo_run.query("""
        select count(*), count(what_is_wrong) + count(what_to_do), count(owner), count(age_days)
        from reconciliation.booking_to_billing where is_break
    """)
    assert rows
    assert (told, named, aged) == (2 * int(str(rows)), rows, rows)
    assert demo_run.query("select count(age_days) from reconciliation.booking_to_billing where status = 'matched'") == [
        (0,)
    ]


def test_what_was_called_was_booked_billed_and_paid(demo_run: Run, demo_extract: Path) -> None:
    """The last call of the executive, against the files; a quarter that ended a year ago is billed and paid."""
    rows = demo_run.query(f"""
        with calls as (
            select period_start, arg_max(amount, submitted_at)::decimal(18, 4) as amount
            from read_csv('{demo_extract}/crm/forecast_submissions.csv')
            join read_csv('{demo_extract}/crm/users.csv') on submitter_id = user_id
            where category = 'commit' and manager_id is null
            group by all
        )
        select count(*), count(*) filter (commit_amount = amount), count(*) filter (
            period_end < date '2025-07-01'
            and (billed_share not between 0.85 and 1.15 or paid_share not between 0.8 and 1.2)
        ), count(*) filter (commit_amount + commit_to_booked + booked_to_billed + billed_to_paid != paid_amount)
        from reconciliation.forecast_to_billing join calls using (period_start) where period_type = 'quarter'
    """)
    ((quarters, same, unusual, broken),) = rows
    assert int(str(quarters)) > 15
    assert (same, broken) == (quarters, 0)
    assert int(str(unusual)) <= 2


def test_without_finance_the_tables_are_empty(warehouse: Warehouse, tmp_path: Path) -> None:
    deals = HEADER + won("d1", 100, "USD", "2026-01-10")
    notes = "credit_note_id,customer_id,credit_date,amount\nn1,c1,2026-02-01,10\n"
    for finance in ({}, {"finance_credit_notes": notes}):
        extract = write_extract(tmp_path / str(len(finance)), crm_opportunities=deals, **finance)
        warehouse.load([extract])
        warehouse.build(date(2026, 3, 2))
        for table in TABLES:
            assert query(warehouse.database, f"select count(*) from reconciliation.{table}") == [(0,)], table


def test_a_missing_rate_is_an_error_row_and_the_bridge_still_closes(warehouse: Warehouse, tmp_path: Path) -> None:
    extract = write_extract(
        tmp_path / "extract",
        crm_opportunities=HEADER
        + won("yen", 5000, "JPY", "2026-01-10")
        + won("euro", 100, "EUR", "2026-01-10")
        + won("late", 100, "EUR", "2026-01-10")
        + won("dollar", 70, "USD", "2026-01-10"),
        finance_invoices="invoice_id,customer_id,crm_opportunity_id,invoice_date,status,amount,currency\n"
        "i1,c1,yen,2026-01-15,open,5000,JPY\n"
        "i2,c1,euro,2026-01-15,open,100,EUR\n"
        "i3,c1,late,2026-02-05,open,100,EUR\n"
        "i4,c1,dollar,2026-01-15,open,70,USD\n",
        # Nobody knows the yen; the last spot rate of the euro is carried for ten days.
        finance_fx_rates="rate_date,from_currency,to_currency,rate_type,rate\n"
        "2026-01-01,EUR,USD,plan,1.1\n2026-01-15,EUR,USD,spot,1.2\n",
    )
    warehouse.load([extract])
    warehouse.build(date(2026, 3, 2))
    rows = query(
        warehouse.database,
        "select row_id, status, status_in_source, crm_amount, finance_amount, difference, fx_difference, is_break "
        "from reconciliation.booking_to_billing order by row_id",
    )
    assert rows == [
        ("dollar", "matched", "matched", 70, 70, 0, 0, False),
        ("euro", "matched", "matched", Decimal("110"), Decimal("120"), Decimal("10"), Decimal("10"), False),
        ("late", "missing_rate", "matched", Decimal("110"), None, None, None, True),
        ("yen", "missing_rate", "matched", None, None, None, None, True),
    ]
    lines = query(
        warehouse.database,
        "select line, amount, row_count from reconciliation.booking_bridge "
        "where period_type = 'quarter' and currency_basis = 'reporting' and row_count > 0 order by line_order",
    )
    # Booked 70 + 110 + 110; of the late one nobody knows what its invoice is worth.
    assert lines == [
        ("bookings", 290, 4),
        ("matched", 0, 2),
        ("missing_rate", -110, 2),
        ("fx_difference", 10, 1),
        ("finance", 190, 4),
    ]


def test_instalments_and_a_joint_invoice_without_a_key_are_groups(warehouse: Warehouse, tmp_path: Path) -> None:
    extract = write_extract(
        tmp_path / "extract",
        extracted_at="2026-09-30T06:00:00Z",
        crm_accounts=ACCOUNTS + "a3,Birch,,Mid-Market\n",
        crm_opportunities=HEADER
        + won("d1", 900, "USD", "2026-01-10")
        + won("d2", 100, "USD", "2026-01-10", "a2")
        + won("d3", 250.5, "USD", "2026-01-12", "a2")
        + won("d4", 80, "USD", "2026-01-12", "a3"),
        finance_customers="customer_id,crm_account_id,name\nc1,a1,Debtor 1\nc2,a2,Debtor 2\nc3,a3,Debtor 3\n",
        finance_invoices="invoice_id,customer_id,invoice_date,status,amount\n"
        "i1,c1,2026-01-15,paid,300\ni2,c1,2026-04-15,paid,300\ni3,c1,2026-07-15,open,300\n"
        "i4,c2,2026-01-20,open,350.5\n"
        "i5,c3,2026-01-20,void,80\ni6,c3,2026-01-21,open,60\n",
        finance_credit_notes="credit_note_id,customer_id,invoice_id,credit_date,amount\nn1,c3,i5,2026-02-01,80\n",
    )
    warehouse.load([extract])
    warehouse.build(date(2026, 9, 30))
    rows = query(
        warehouse.database,
        "select row_type, row_id, status, match_rule, group_type, finance_amount_source, paid_amount_source, "
        "document_count from reconciliation.booking_to_billing order by row_type, row_id",
    )
    assert rows == [
        # Its invoice is void: nobody knows what it takes off.
        ("credit_note", "n1", "credited", None, None, -80, 0, 1),
        ("deal", "d1", "matched", "customer_amount_date", "instalments", 900, 600, 3),
        ("deal", "d2", "matched", "customer_amount_date", "consolidated_invoice", 100, 0, 1),
        ("deal", "d3", "matched", "customer_amount_date", "consolidated_invoice", Decimal("250.5"), 0, 1),
        ("deal", "d4", "amount_mismatch", "customer_date", None, 60, 0, 1),
    ]


def test_a_deal_that_is_open_again_or_deleted_is_no_booking(warehouse: Warehouse, tmp_path: Path) -> None:
    deals = HEADER + "".join(won(deal, 100, "USD", "2026-01-10") for deal in ("d1", "d2", "d3"))
    invoices = "invoice_id,customer_id,crm_opportunity_id,invoice_date,status,amount\n" + "".join(
        f"i{number},c1,d{number},2026-01-15,open,100\n" for number in (1, 2, 3)
    )
    before = write_extract(
        tmp_path / "before",
        extracted_at="2026-02-01T06:00:00Z",
        crm_opportunities=deals,
        finance_invoices=invoices,
    )
    after = write_extract(
        tmp_path / "after",
        extracted_at="2026-02-10T06:00:00Z",
        crm_opportunities=HEADER
        + won("d1", 100, "USD", "2026-01-10")
        + "d2,a1,s1,Proposal,100,USD,2026-01-10T00:00:00Z,2026-04-10,\n",
        finance_invoices=invoices,
    )
    warehouse.load([before, after])
    told = "select row_type, row_id, status, opportunity_id from reconciliation.booking_to_billing order by row_id"
    warehouse.build(date(2026, 2, 10))
    assert query(warehouse.database, told) == [
        ("deal", "d1", "matched", "d1"),
        ("invoice", "i2", "missing_in_crm", "d2"),
        ("invoice", "i3", "missing_in_crm", None),
    ]
    # Told for the day before, as it was told then.
    warehouse.build(date(2026, 2, 9))
    assert [row[2] for row in query(warehouse.database, told)] == ["matched"] * 3


def test_real_rates_cross_carry_and_end(warehouse: Warehouse, tmp_path: Path) -> None:
    if not ECB.exists():
        pytest.skip(f"the European Central Bank's rates are not at {ECB}")
    fixings = tmp_path / "fx_rates.csv"
    with duckdb.connect() as connection:
        connection.execute(f"""
            create table fixings as
            select "Date"::date as rate_date, currency, try_cast(fixing as decimal(20, 10)) as rate
            from (
                unpivot (from read_csv('{ECB}', all_varchar = true)) on columns(* exclude "Date")
                into name currency value fixing
            )
            where rate is not null
        """)
        connection.execute(f"""
            copy (
                select rate_date, 'EUR' as from_currency, currency as to_currency, 'spot' as rate_type, rate
                from fixings
            ) to '{fixings}' (header)
        """)
        ended = connection.execute("""
            select currency, max(rate_date) from fixings
            group by all having max(rate_date) < date '2026-04-13' order by 1
        """).fetchall()
    assert len(ended) == 12
    last = dict(ended)
    (after, until) = (last["HRK"] + timedelta(days=1), last["HRK"])
    extract = write_extract(
        tmp_path / "extract",
        extracted_at="2026-04-13T18:00:00Z",
        crm_opportunities=HEADER
        + won("pound", 1000, "GBP", "2017-12-29")
        + won("euro", 1000, "EUR", "2017-12-25")
        + won("kuna", 1000, "HRK", str(until))
        + won("ended", 1000, "HRK", str(after))
        + won("no_more", 1000, "HRK", "2025-06-30"),
        finance_fx_rates=fixings.read_text(),
        finance_invoices="invoice_id,customer_id,crm_opportunity_id,invoice_date,status,amount,currency\n"
        "i1,c1,pound,2017-12-29,paid,1000,GBP\ni2,c1,euro,2017-12-26,paid,1000,EUR\n"
        f"i3,c1,kuna,{until},paid,1000,HRK\n",
    )
    warehouse.load([extract])
    warehouse.build(date(2026, 4, 13))
    rates = query(
        warehouse.database,
        "select document_id, round(transaction_rate, 6), round(plan_rate, 6) from reconciliation.billing_documents "
        "where currency_source != 'HRK' order by document_id",
    )
    assert rates == [
        ("i1", Decimal("1.351735"), Decimal("1.351735")),
        # No fixing from 23 to 26 December: that of the 22nd is carried.
        ("i2", Decimal("1.185300"), Decimal("1.185300")),
    ]
    statuses = query(
        warehouse.database,
        "select row_id, status, crm_amount is null from reconciliation.booking_to_billing order by row_id",
    )
    assert statuses == [
        ("ended", "missing_rate", True),
        ("euro", "matched", False),
        ("kuna", "matched", False),
        ("no_more", "missing_rate", True),
        ("pound", "matched", False),
    ]
    # The last day of each of the twelve is the last day of its rate; all others hold today.
    ends = query(
        warehouse.database,
        "select from_currency, max(valid_to) - 1 from intermediate.int_fx_rates_carried group by all "
        "having max(valid_to) <= date '2026-04-13' order by 1",
    )
    assert ends == [(currency, day) for currency, day in ended]
    # Told for a day on which nobody could know that it was over, the last rate is carried for ten days.
    warehouse.build(until + timedelta(days=5))
    carried = query(
        warehouse.database,
        "select status, crm_amount > 0 from reconciliation.booking_to_billing where row_id = 'ended'",
    )
    assert carried == [("awaiting_invoice", True)]
