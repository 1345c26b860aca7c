"""Figures about people: worked out by hand on a small company, and held against the demo company as a whole."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from tests.conftest import Run
from tests.extracts import write_extract
from tests.warehouse import Warehouse, told_by_hand

USERS = """\
user_id,name,role,manager_id,region,segment,hired_on,terminated_on
m,Mara,manager,,North,,2020-01-01,
a,Ann,account_executive,m,North,SMB,2020-01-01,
b,Bob,account_executive,m,North,SMB,2020-01-01,
c,Cy,account_executive,m,North,SMB,2020-01-01,
d,Dee,account_executive,m,North,SMB,2020-01-01,
e,Eve,account_executive,m,North,SMB,2026-03-22,
f,Fay,account_executive,m,North,SMB,2020-01-01,2025-12-31
s,Sol,specialist,m,North,SMB,2020-01-01,
"""
ROLES = """\
user_id,effective_from,role,manager_id,region,segment
c,2020-01-01,account_executive,m,North,SMB
c,2026-03-31,account_executive,m,South,SMB
"""
DEALS = """\
opportunity_id,account_id,owner_id,stage,amount,currency,created_at,close_date,closed_at
o1,a1,a,Closed Won,350,USD,2026-01-02T00:00:00Z,2026-02-01,2026-02-01T00:00:00Z
o2,a1,c,Closed Won,100,USD,2026-01-02T00:00:00Z,2026-03-31,2026-03-31T00:00:00Z
o3,a2,m,Closed Won,10,USD,2025-12-01T00:00:00Z,2026-01-01,2026-01-01T00:00:00Z
o5,a2,a,Closed Won,20,USD,2026-03-01T00:00:00Z,2026-04-10,2026-04-10T00:00:00Z
o6,a2,d,Discovery,900,USD,2026-03-01T00:00:00Z,2026-06-10,
"""
TEAM = """\
opportunity_id,user_id,team_role,credit_share,overlay_share,joined_at
o1,a,owner,0.6,,2026-01-02T00:00:00Z
o1,b,peer,0.1,,2026-01-02T00:00:00Z
o2,c,owner,1,,2026-01-02T00:00:00Z
o2,s,specialist,0,0.25,2026-01-05T00:00:00Z
"""
# Ann: 45 of 90 days at 125, the others at 75.
QUOTAS = """\
user_id,period_start,period_end,effective_from,amount,currency
a,2026-01-01,2026-03-31,2026-01-01,125,USD
a,2026-01-01,2026-03-31,2026-02-15,75,USD
a,2026-04-01,2026-06-30,2026-04-01,100,USD
b,2026-01-01,2026-01-31,2026-01-01,30,USD
b,2026-02-01,2026-02-28,2026-02-01,30,USD
b,2026-03-01,2026-03-31,2026-03-01,40,USD
c,2026-01-01,2026-03-31,2026-01-01,100,USD
d,2026-01-01,2026-03-31,2026-01-01,100,USD
e,2026-01-01,2026-03-31,2026-03-22,10,USD
m,2026-01-01,2026-03-31,2026-01-01,400,USD
"""
QUARTER = "period_type = 'quarter' and period_start = '2026-01-01'"


def told_for(as_of: date, folder: Path, small_run: Run) -> Warehouse:
    extract = write_extract(
        folder / "extract",
        extracted_at="2026-04-30T20:00:00Z",
        crm_users=USERS,
        crm_user_roles=ROLES,
        crm_opportunities=DEALS,
        crm_opportunity_team=TEAM,
        crm_quotas=QUOTAS,
    )
    return told_by_hand(small_run, folder / "home", ["people.quota_attainment"], extract, as_of)


@pytest.fixture(scope="module")
def told(small_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    return told_for(date(2026, 4, 30), tmp_path_factory.mktemp("people"), small_run)


def test_attainment_of_each_seller_of_a_quarter(told: Warehouse) -> None:
    rows = told.query(
        "select scope_id, region, reason, credited_amount::double, overlay_amount::double, quota_amount::double, "
        f"quota_days, attainment, is_judged from people.quota_attainment where scope_type = 'seller' and {QUARTER} "
        "order by 1"
    )
    assert rows == [
        # The shares of o1 add up to 0.7: 350 x 0.6 / 0.7 is Ann's.
        ("a", "North", None, 300, 0, 100, 90, 3, True),
        # Months add up to the quarter.
        ("b", "North", None, 50, 0, 100, 90, 0.5, True),
        # In the South on the last day.
        ("c", "South", None, 100, 0, 100, 90, 1, True),
        # No deal is a result.
        ("d", "North", None, 0, 0, 100, 90, 0, True),
        # There for ten days only; the quota was set for them.
        ("e", "North", None, 0, 0, 10, 10, 0, False),
        # A manager's quota repeats those below.
        ("m", "North", None, 10, 0, 400, 90, 0.025, False),
        ("s", "North", "no quota", 0, 25, None, 0, None, False),
    ]


def test_roll_ups_say_the_average_and_the_share_at_quota(told: Warehouse) -> None:
    rows = told.query(
        "select scope_type, scope_id, reason, roll_up_reason, credited_amount::double, overlay_amount::double, "
        "quota_amount::double, round(attainment, 6), n, average_attainment, at_quota_count, at_quota_share "
        f"from people.quota_attainment where scope_type != 'seller' and {QUARTER} order by 1, 2"
    )
    assert rows == [
        # Four sellers at 3, 0.5, 1 and 0: half of them at quota, and 1.125 on average.
        ("company", "company", None, None, 460, 25, 410, round(460 / 410, 6), 4, 1.125, 2, 0.5),
        ("manager", "m", None, None, 450, 25, 410, round(450 / 410, 6), 4, 1.125, 2, 0.5),
        ("region", "North", None, "not enough sellers", 360, 25, 310, round(360 / 310, 6), 3, None, 1, None),
        ("region", "South", None, "not enough sellers", 100, 0, 100, 1, 1, None, 1, None),
        ("segment", "SMB", None, None, 450, 25, 410, round(450 / 410, 6), 4, 1.125, 2, 0.5),
        # Mara has no segment: without her deal the segments would not add up to the company.
        ("segment", "unknown", "no quota", "not enough sellers", 10, 0, None, None, 0, None, 0, None),
    ]
    ((low, high, share_low, share_high),) = told.query(
        "select average_attainment_low, average_attainment_high, at_quota_share_low, at_quota_share_high "
        f"from people.quota_attainment where scope_type = 'company' and {QUARTER}"
    )
    # s^2 = (10.25 - 4 x 1.125^2) / 3 = 1.7292; t with 3 degrees is 2.353; 2.353 x sqrt(1.7292 / 4) = 1.547.
    # 1.125 - 1.547 is below 0, where nobody can be who is credited with nothing below 0.
    assert float(str(low)) == 0
    assert float(str(high)) == pytest.approx(1.125 + 1.547, abs=0.01)
    # Wilson: 0.5 -+ 1.6449 x sqrt(0.0625 + 0.04227) / 1.6764.
    assert (round(float(str(share_low)), 4), round(float(str(share_high)), 4)) == (0.1824, 0.8176)


def test_a_running_period_is_told_to_date_and_judges_nobody(told: Warehouse) -> None:
    rows = told.query(
        "select scope_type, scope_id, reason, roll_up_reason, credited_amount::double, quota_amount::double, "
        "attainment, amount_to_go::double, n, at_quota_share from people.quota_attainment "
        "where period_type = 'quarter' and period_start = '2026-04-01' and scope_id in ('a', 'd', 'company') "
        "order by 1, 2"
    )
    assert rows == [
        ("company", "company", None, "period is running", 20, 100, 0.2, 80, 0, None),
        ("seller", "a", None, None, 20, 100, 0.2, 80, None, None),
        ("seller", "d", "no quota", None, 0, None, None, None, None, None),
    ]
    # The year has quotas for no more than half of it, and a quarter's quota is never cut into months.
    assert told.query(
        "select period_type, reason from people.quota_attainment "
        "where scope_id = 'a' and period_start = '2026-01-01' and period_type != 'quarter' order by 1"
    ) == [("month", "quota is set by quarter"), ("year", "quota covers part of the period")]
    # The quotas of Ann and others for a part of the year beside the deals of all of it would be read as the year's.
    assert told.query(
        "select scope_type, scope_id, reason, credited_amount::double, quota_amount, amount_to_go "
        "from people.quota_attainment where period_type = 'year' and period_start = '2026-01-01' "
        "and scope_type in ('company', 'segment') order by 1, 2"
    ) == [
        ("company", "company", "quota covers part of the period", 480, None, None),
        ("segment", "SMB", "quota covers part of the period", 470, None, None),
        ("segment", "unknown", "no quota", 10, None, None),
    ]
    # Of the months of the quarter only Bob has quotas; of those of the South nobody.
    assert told.query(
        "select scope_id, reason from people.quota_attainment where period_type = 'month' "
        "and period_start = '2026-03-01' and scope_type in ('company', 'region') order by 1"
    ) == [("North", None), ("South", "quota is set by quarter"), ("company", None)]


def test_told_for_a_past_day_neither_a_later_quota_nor_a_later_deal_counts(small_run: Run, tmp_path: Path) -> None:
    past = told_for(date(2026, 2, 10), tmp_path, small_run)
    rows = past.query(
        "select scope_id, region, reason, credited_amount::double, quota_amount::double, attainment, is_judged "
        f"from people.quota_attainment where scope_type = 'seller' and {QUARTER} and scope_id in ('a', 'b', 'c', 'e') "
        "order by 1"
    )
    assert rows == [
        ("a", "North", None, 300, 125, 2.4, False),
        # March was not set yet. Eve was not there.
        ("b", "North", "quota covers part of the period", 50, 60, None, False),
        ("c", "North", None, 0, 100, 0, False),
    ]


def test_revenue_credit_of_the_demo_company_is_what_was_booked_each_deal_once(demo_run: Run) -> None:
    rows = demo_run.query(
        "with booked as (select q.period_type, q.period_start, coalesce(sum(o.amount), 0) as amount "
        "from people.quota_attainment q left join core.opportunities o on o.is_won and not o.is_deleted "
        "and o.closed_on between q.period_start and q.period_end where q.scope_type = 'company' group by all), "
        "sellers as (select period_type, period_start, sum(credited_amount) as amount from people.quota_attainment "
        "where scope_type = 'seller' group by all) "
        "select count(*), count(case when c.credited_amount != booked.amount then 1 end), "
        "count(case when sellers.amount > c.credited_amount then 1 end) "
        "from people.quota_attainment c join booked using (period_type, period_start) "
        "join sellers using (period_type, period_start) where c.scope_type = 'company'"
    )
    ((periods, differ, more),) = rows
    assert int(str(periods)) > 40
    assert (differ, more) == (0, 0)


def test_shares_and_intervals_of_the_demo_company_hold_together(demo_run: Run) -> None:
    ((told,),) = demo_run.query("select count(*) from people.quota_attainment where at_quota_share is not null")
    assert int(str(told)) > 20
    assert (
        demo_run.query(
            "select scope_type, scope_id, period_start from people.quota_attainment where "
            "not (at_quota_share between at_quota_share_low and at_quota_share_high) "
            "or not (average_attainment between average_attainment_low and average_attainment_high) "
            "or (attainment is null) != (reason is not null) "
            "or (scope_type != 'seller' and (at_quota_share is null) != (roll_up_reason is not null)) "
            "or (n is not null and at_quota_count > n)"
        )
        == []
    )
    # Regions, and segments, hold everybody, and who has none is unknown.
    for scope in ("region", "segment"):
        assert (
            demo_run.query(
                "select c.period_start from people.quota_attainment c join people.quota_attainment r "
                f"using (period_type, period_start) where c.scope_type = 'company' and r.scope_type = '{scope}' "
                "group by c.period_type, c.period_start, c.credited_amount, c.overlay_amount, c.won_count "
                "having sum(r.credited_amount) != c.credited_amount or sum(r.overlay_amount) != c.overlay_amount "
                "or sum(r.won_count) != c.won_count"
            )
            == []
        )
    # Nobody who has left has something to go.
    assert (
        demo_run.query(
            "select scope_id from people.quota_attainment join core.reps on rep_id = scope_id and is_current "
            "where scope_type = 'seller' and amount_to_go is not null and terminated_on < least(period_end, as_of_date)"
        )
        == []
    )
