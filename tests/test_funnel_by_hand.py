"""The funnel in small: a worked example, and what other tools get wrong, each with an answer worked out by hand."""

from __future__ import annotations

from datetime import date

import pytest

from tests.conftest import Run
from tests.extracts import ACCOUNTS, OPPORTUNITY_HEADER, USERS, write_extract
from tests.warehouse import Warehouse, told_by_hand

TABLES = [
    "core.opportunities",
    "funnel.pipeline_movements",
    "funnel.pipeline_snapshots",
    "funnel.sales_velocity",
    "funnel.stage_visits",
    "funnel.win_rates",
]

# The quarter from 2026-01-01: a and b and c open it, d is created in it, e is pulled into it.
BRIDGE = f"""\
{OPPORTUNITY_HEADER},forecast_category
a,a1,s1,Lost,new_business,Closed Lost,271125,2025-11-01T09:00:00Z,2026-02-10,2026-02-10T15:00:00Z,omitted
b,a1,s1,Won,new_business,Closed Won,287487,2025-11-02T09:00:00Z,2026-02-20,2026-02-20T15:00:00Z,closed
c,a2,s2,Smaller,new_business,Proposal,142655,2025-11-03T09:00:00Z,2026-03-20,,hopeful
d,a2,s2,Larger,new_business,Proposal,1682049,2026-01-10T09:00:00Z,2026-03-25,,commit
e,a2,s1,Sooner,expansion,Proposal,149382,2025-11-05T09:00:00Z,2026-03-28,,commit
stalled,a1,s2,Stalled,new_business,Discovery,5000,2024-11-30T09:00:00Z,2026-12-31,,pipeline
early,a1,s1,Created late,new_business,Closed Won,700,2026-02-08T09:00:00Z,2026-02-05,2026-02-05T09:00:00Z,closed
"""
EVENTS = """\
change_id,opportunity_id,field,old_value,new_value,changed_at
1,a,stage,Proposal,Closed Lost,2026-02-10T15:00:00Z
2,b,stage,Proposal,Closed Won,2026-02-20T15:00:00Z
3,c,amount,698947,142655,2026-01-20T10:00:00Z
4,d,amount,1501878,1682049,2026-02-01T10:00:00Z
5,e,close_date,2026-05-15,2026-03-28,2026-02-03T10:00:00Z
"""


@pytest.fixture(scope="module")
def bridge(small_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    folder = tmp_path_factory.mktemp("bridge")
    extract = write_extract(
        folder / "extract",
        extracted_at="2026-03-15T06:00:00Z",
        crm_users=USERS + "s3,Sven Idle,account_executive,m1,North,Enterprise,2023-01-09\n",
        crm_accounts=ACCOUNTS,
        crm_opportunities=BRIDGE,
        crm_opportunity_changes=EVENTS,
    )
    return told_by_hand(small_run, folder / "home", TABLES, extract, date(2026, 3, 15))


def moved(told: Warehouse, scope_type: str, scope_id: str) -> dict[str, float]:
    rows = told.query(
        "select movement, amount::double from funnel.pipeline_movements where period_type = 'quarter' "
        f"and period_start = '2026-01-01' and scope_type = '{scope_type}' and scope_id = '{scope_id}'"
    )
    return {str(movement): float(str(amount)) for movement, amount in rows}


def test_the_worked_example(bridge: Warehouse) -> None:
    assert moved(bridge, "company", "company") == {
        "opening": 1_257_559,
        "created": 1_501_878,
        "reopened": 0,
        "owner_in": 0,
        "owner_out": 0,
        "pulled_in": 149_382,
        "pushed_out": 0,
        "amount_up": 180_171,
        "amount_down": -556_292,
        "won": -287_487,
        "lost": -271_125,
        "no_decision": 0,
        "deleted": 0,
        "closing": 1_974_086,
        "overdue": 0,
    }


def test_the_worked_example_by_seller(bridge: Warehouse) -> None:
    assert {name: amount for name, amount in moved(bridge, "seller", "s1").items() if amount} == {
        "opening": 558_612,
        "pulled_in": 149_382,
        "won": -287_487,
        "lost": -271_125,
        "closing": 149_382,
    }
    # Who has no deal is there, with zeros.
    assert list(moved(bridge, "seller", "s3").values()) == [0] * 15


def test_a_deal_nothing_happened_to_for_400_days_is_in_every_snapshot(bridge: Warehouse) -> None:
    assert bridge.query(
        "select count(distinct snapshot_date) from funnel.pipeline_snapshots where snapshot_date >= '2024-11-30'"
    ) == bridge.query("select count(*) from funnel.pipeline_snapshots where opportunity_id = 'stalled'")
    assert bridge.query("select max(age_days) from funnel.pipeline_snapshots where opportunity_id = 'stalled'") == [
        (470,)
    ]
    (visit,) = bridge.query(
        "select stage, round(days, 4), is_censored, direction from funnel.stage_visits where opportunity_id = 'stalled'"
    )
    # From 2024-11-30 09:00 to the end of 2026-03-15.
    assert visit == ("Discovery", 470.625, True, "open")


def test_a_deal_closed_before_it_was_created_counts_as_won_and_not_in_cycles(bridge: Warehouse) -> None:
    assert bridge.query("select is_won, cycle_days from core.opportunities where opportunity_id = 'early'") == [
        (True, None)
    ]
    assert bridge.query("select count(*) from funnel.stage_visits where opportunity_id = 'early'") == [(0,)]
    assert bridge.query(
        "select n, won_count, median_cycle_days from funnel.sales_velocity where scope_type = 'company' "
        "and period_type = 'quarter' and period_start = '2026-01-01'"
    ) == [(2, 1, 105.5)]


def test_a_seller_who_has_only_won_has_a_rate_and_not_nothing(bridge: Warehouse) -> None:
    # b and early won, a lost by s1; s2 has decided nothing.
    assert bridge.query(
        "select member, won_count, lost_count, win_rate, reason, win_rate_low is null, win_rate_high is null "
        "from funnel.win_rates "
        "where basis = 'closed' and dimension = 'owner' order by 1"
    ) == [
        ("s1", 2, 1, 2 / 3, None, False, False),
        ("s2", 0, 0, None, "no closed deal", True, True),
        ("s3", 0, 0, None, "no deal", True, True),
    ]


def test_a_category_the_policy_does_not_know_is_kept_as_it_is_called(bridge: Warehouse) -> None:
    assert bridge.query(
        "select distinct forecast_category from funnel.pipeline_snapshots where opportunity_id = 'c'"
    ) == [("hopeful",)]
