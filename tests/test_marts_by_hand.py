"""A company small enough to work out on paper: each figure below was computed by hand from the rows above it."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from tests.conftest import Run
from tests.extracts import write_extract
from tests.warehouse import Warehouse, told_by_hand

TABLES = [
    "core.opportunities",
    "funnel.pipeline_coverage",
    "funnel.pipeline_snapshots",
    "funnel.win_rates",
    "key_accounts.concentration",
    "pricing.price_realization",
]

USERS = """\
user_id,name,role,manager_id,region,segment,hired_on
h1,Head,executive,,,,2019-01-01
m1,Mara,manager,h1,North,,2020-01-06
s1,Sam,account_executive,m1,North,SMB,2021-03-01
s2,Sofia,account_executive,m1,North,SMB,2022-09-12
s3,Silent,account_executive,m1,South,SMB,2023-01-02
"""
ACCOUNTS = "account_id,name,parent_account_id,segment\na1,Arden,,SMB\na2,Arden Dairy,a1,SMB\na3,Birch,,Enterprise\n"
# One euro is 1.10 dollars by plan; nobody knows a rate for the yen.
RATES = (
    "rate_date,from_currency,to_currency,rate_type,rate\n2026-01-01,EUR,USD,plan,1.10\n2026-02-01,EUR,USD,spot,1.50\n"
)
DEALS = """\
opportunity_id,account_id,owner_id,stage,amount,currency,created_at,close_date,closed_at,is_deleted
w1,a1,s1,Closed Won,1000,USD,2026-01-01T00:00:00Z,2026-01-31,2026-01-31T00:00:00Z,
w2,a2,s1,Closed Won,200,EUR,2026-01-10T00:00:00Z,2026-02-19,2026-02-19T00:00:00Z,
w3,a3,s2,Closed Won,500,,2026-01-01T00:00:00Z,2026-03-02,2026-03-02T00:00:00Z,
l1,a1,s1,Closed Lost,400,USD,2026-01-05T00:00:00Z,2026-01-25,2026-01-25T00:00:00Z,
n1,a1,s2,No Decision,300,USD,2026-01-05T00:00:00Z,2026-03-06,2026-03-06T00:00:00Z,
p1,a1,s1,Proposal,700,USD,2026-02-01T00:00:00Z,2026-03-31,,
p2,a3,s2,Discovery,900,USD,2026-03-01T00:00:00Z,2026-05-15,,
p3,a3,s2,Discovery,50,USD,2026-02-01T00:00:00Z,2026-03-01,,
p4,a1,s1,Discovery,1000,JPY,,2026-04-30,,
d1,a1,s1,Proposal,9999,USD,2026-02-01T00:00:00Z,2026-03-31,,true
"""
CHANGES = """\
change_id,opportunity_id,field,old_value,new_value,changed_at
c1,p1,close_date,2026-03-01,2026-03-11,2026-02-10T00:00:00Z
c2,p1,close_date,2026-03-11,2026-03-31,2026-02-20T00:00:00Z
c3,p1,close_date,2026-03-31,2026-03-21,2026-02-21T00:00:00Z
c4,p1,close_date,2026-03-21,2026-03-31,2026-02-22T00:00:00Z
c5,p1,amount,600,650,2026-02-12T00:00:00Z
c6,p1,amount,650,700,2026-02-15T00:00:00Z
c7,p1,stage,Discovery,Proposal,2026-03-05T00:00:00Z
"""
LINES = """\
line_id,opportunity_id,product_id,quantity,list_unit_price,net_unit_price
x1,w1,pr1,10,100,90
x2,w1,pr2,1,,100
x3,p1,pr1,5,100,100
"""
PRODUCTS = "product_id,name,list_price,currency\npr1,Thing,100,USD\npr2,Other,200,USD\n"
QUOTAS = """\
user_id,period_start,period_end,effective_from,amount,currency
s1,2026-01-01,2026-03-31,2026-01-01,5000,USD
s1,2026-01-01,2026-03-31,2026-02-15,4000,USD
s1,2026-01-01,2026-03-31,2026-03-20,9000,USD
s2,2026-01-01,2026-01-31,2026-01-01,100,USD
s2,2026-02-01,2026-02-28,2026-01-01,200,EUR
s2,2026-03-01,2026-03-31,2026-01-01,300,USD
m1,2026-01-01,2026-03-31,2026-01-01,77777,USD
"""
TARGETS = """\
period_start,period_end,metric,scope_type,scope_id,amount,currency
2026-01-01,2026-03-31,bookings,region,North,6000,USD
2026-01-01,2026-01-31,revenue,company,x,1,USD
"""


def told_for(as_of: date, folder: Path, small_run: Run) -> Warehouse:
    extract = write_extract(
        folder / "extract",
        extracted_at="2026-03-15T06:00:00Z",
        crm_users=USERS,
        crm_accounts=ACCOUNTS,
        crm_opportunities=DEALS,
        crm_opportunity_changes=CHANGES,
        crm_opportunity_lines=LINES,
        crm_products=PRODUCTS,
        crm_quotas=QUOTAS,
        finance_fx_rates=RATES,
        finance_targets=TARGETS,
    )
    return told_by_hand(small_run, folder / "home", TABLES, extract, as_of)


@pytest.fixture(scope="module")
def told(small_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    return told_for(date(2026, 3, 15), tmp_path_factory.mktemp("by_hand"), small_run)


def test_amounts_are_at_plan_rate_and_a_missing_rate_is_no_amount(told: Warehouse) -> None:
    amounts = dict(
        told.query("select opportunity_id, amount::double from core.opportunities where amount_source is not null")
    )
    assert amounts["w2"] == 220
    assert amounts["w3"] == 500
    assert amounts["p4"] is None


def test_ages_cycles_and_pushes(told: Warehouse) -> None:
    rows = told.query(
        "select opportunity_id, age_days, cycle_days, stage_age_days, push_count, push_days, amount_change::double "
        "from core.opportunities where opportunity_id in ('w1', 'p1', 'p2', 'p4') order by 1"
    )
    assert rows == [
        # 2026-02-01 to 2026-03-15; in Proposal since 03-05; pushed by 10, 20 and 10 days, pulled in once.
        ("p1", 42, None, 10, 3, 40, 100.0),
        ("p2", 14, None, 14, 0, 0, 0.0),
        # Nobody knows when p4 was created.
        ("p4", None, None, None, 0, 0, 0.0),
        ("w1", 30, 30, None, 0, 0, 0.0),
    ]


def test_list_amount_and_discount(told: Warehouse) -> None:
    rows = told.query(
        "select opportunity_id, list_amount::double, round(discount_share, 10) from core.opportunities "
        "where opportunity_id in ('w1', 'p1', 'w2') order by 1"
    )
    # w1: 10 x 100 + 1 x 200, the list price of the product standing in; 1,000 were paid for 1,200.
    assert rows == [("p1", 500.0, 0.0), ("w1", 1200.0, round(1 - 1000 / 1200, 10)), ("w2", None, None)]


def test_win_rates_of_the_company(told: Warehouse) -> None:
    ((won, lost, none, open_count, n, rate, narrow, low, high, amount_rate, mean, median, mean_cycle),) = told.query(
        "select won_count, lost_count, no_decision_count, open_count, n, win_rate, win_rate_narrow, win_rate_low, "
        "win_rate_high, win_rate_amount, mean_won_amount, median_won_amount, mean_cycle_days "
        "from funnel.win_rates where basis = 'closed' and dimension = 'company'"
    )
    assert (won, lost, none, open_count, n) == (3, 1, 1, 4, 5)
    assert (rate, narrow) == (0.6, 0.75)
    # Wilson, z = 1.6449: centre (0.6 + 0.2706) / 1.5411, half width 1.6449 * sqrt(0.048 + 0.02706) / 1.5411.
    assert (round(float(str(low)), 4), round(float(str(high)), 4)) == (0.2725, 0.8573)
    assert amount_rate == pytest.approx(1720 / 2420, rel=1e-12)
    assert mean == pytest.approx(1720 / 3, rel=1e-12)
    # Cycles of 30, 40, 60, 20 and 60 days.
    assert (median, mean_cycle) == (500, 42)


def test_win_rates_of_sellers_without_a_deal_and_by_period(told: Warehouse) -> None:
    rows = told.query(
        "select member, n, win_rate, reason from funnel.win_rates "
        "where basis = 'closed' and dimension = 'owner' order by 1"
    )
    assert rows == [("s1", 3, 2 / 3, None), ("s2", 2, 0.5, None), ("s3", 0, None, "no deal")]
    rows = told.query(
        "select dimension, member, won_count, n from funnel.win_rates "
        "where dimension in ('close_month', 'created_quarter') order by 1, 2"
    )
    assert rows == [
        ("close_month", "2026-M01", 1, 2),
        ("close_month", "2026-M02", 1, 1),
        ("close_month", "2026-M03", 1, 2),
        ("created_quarter", "2026-Q1", 3, 5),
    ]


def test_snapshots_keep_unchanged_deals_and_leave_out_what_was_not_there(told: Warehouse) -> None:
    rows = told.query(
        "select cast(snapshot_date as varchar), string_agg(opportunity_id, ' ' order by opportunity_id) "
        "from funnel.pipeline_snapshots where is_month_end or snapshot_date = as_of_date group by 1 order by 1"
    )
    assert rows == [
        # On the day it closed w1 is no longer open.
        ("2026-01-31", "n1 w2 w3"),
        ("2026-02-28", "n1 p1 p3 w3"),
        ("2026-03-15", "p1 p2 p3"),
    ]
    # The running quarter has every day.
    assert told.query("select count(distinct snapshot_date) from funnel.pipeline_snapshots") == [(74,)]


def test_coverage_of_the_running_quarter(told: Warehouse) -> None:
    rows = told.query(
        "select scope_type, scope_id, target::double, target_source, booked::double, open_pipeline::double, "
        "overdue_pipeline::double, pipeline_created::double, reason from funnel.pipeline_coverage "
        "where period_type = 'quarter' and period_start = '2026-01-01' order by 1, 2"
    )
    assert rows == [
        # p3 is overdue: in no period.
        # Quotas: 4,000 (the version in force on 03-15) + 100 + 220 + 300; the manager's own is left out.
        ("company", "company", 4620, "quotas", 1720, 700, 50, 4070, None),
        ("manager", "h1", 4620, "quotas", 1720, 700, 50, 4070, None),
        ("manager", "m1", 4620, "quotas", 1720, 700, 50, 4070, None),
        ("region", "North", 6000, "finance_target", 1720, 700, 50, 4070, None),
        ("region", "South", None, None, 0, 0, 0, 0, "no target"),
        ("segment", "Enterprise", None, None, 500, 0, 50, 1450, "no target"),
        ("segment", "SMB", 4620, "quotas", 1220, 700, 0, 2620, None),
        ("seller", "s1", 4000, "quotas", 1220, 700, 0, 2320, None),
        ("seller", "s2", 620, "quotas", 500, 0, 50, 1750, None),
        ("seller", "s3", None, None, 0, 0, 0, 0, "no target"),
    ]
    ((coverage,),) = told.query(
        "select coverage_to_go from funnel.pipeline_coverage "
        "where scope_type = 'company' and period_type = 'quarter' and period_start = '2026-01-01'"
    )
    assert coverage == pytest.approx(700 / (4620 - 1720), rel=1e-12)


def test_a_target_that_is_met_needs_no_coverage(told: Warehouse) -> None:
    rows = told.query(
        "select target::double, booked::double, coverage_to_go, reason from funnel.pipeline_coverage "
        "where scope_id = 's2' and period_type = 'month' and period_start = '2026-03-01'"
    )
    assert rows == [(300, 500, None, "target met")]


def test_price_realisation(told: Warehouse) -> None:
    rows = told.query(
        "select basis, member, line_count, list_amount::double, net_amount::double, price_realization "
        "from pricing.price_realization "
        "where dimension = 'product' and period_type = 'all' order by 1, 2"
    )
    assert rows == [
        ("booked", "pr1", 1, 1000, 900, 0.9),
        ("booked", "pr2", 1, 200, 100, 0.5),
        ("invoiced", "pr1", 0, None, None, None),
        ("invoiced", "pr2", 0, None, None, None),
        ("quoted", "pr1", 1, 500, 500, 1),
        ("quoted", "pr2", 0, None, None, None),
    ]


def test_concentration_rolls_up_groups(told: Warehouse) -> None:
    rows = told.query(
        "select dimension, member_count, round(top_1_share, 6), round(hhi, 2), top_member "
        "from key_accounts.concentration "
        "where period_type = 'all' order by 1"
    )
    shares = [1000 / 1720, 220 / 1720, 500 / 1720]
    groups = [1220 / 1720, 500 / 1720]
    assert rows == [
        ("account", 3, round(shares[0], 6), round(sum(s * s for s in shares) * 1e4, 2), "a1"),
        ("seller", 2, round(groups[0], 6), round(sum(s * s for s in groups) * 1e4, 2), "s1"),
        ("ultimate_parent", 2, round(groups[0], 6), round(sum(s * s for s in groups) * 1e4, 2), "a1"),
    ]


def test_told_for_a_past_day_a_deal_that_closed_later_is_open(small_run: Run, tmp_path: Path) -> None:
    past = told_for(date(2026, 2, 10), tmp_path, small_run)
    rows = past.query(
        "select opportunity_id, stage, is_open, is_won, closed_on is null, cycle_days, push_count "
        "from core.opportunities where not is_deleted order by 1"
    )
    assert rows == [
        ("l1", "Closed Lost", False, False, False, 20, 0),
        # n1, w2 and w3 closed later: open, and their stage then is not known.
        ("n1", None, True, False, True, None, 0),
        # p1 came to Proposal in March: c7 says from where.
        ("p1", "Discovery", True, False, True, None, 1),
        ("p3", "Discovery", True, False, True, None, 0),
        ("w1", "Closed Won", False, True, False, 30, 0),
        ("w2", None, True, False, True, None, 0),
        ("w3", None, True, False, True, None, 0),
    ]
    # p2 was not created yet, p4 first seen in March.
    assert past.query("select win_rate, n from funnel.win_rates where basis = 'closed' and dimension = 'company'") == [
        (0.5, 2)
    ]
