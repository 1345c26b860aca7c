"""Random histories: whatever events and loads say, the bridge ties and the oracle sees the same."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import Run
from tests.extracts import ACCOUNTS, write_extract
from tests.oracles import funnel
from tests.test_funnel_history import HISTORY, KEYS, ORACLES, assert_same_cells, published_rows, whole_history
from tests.warehouse import Warehouse

AS_OF = date(2026, 5, 20)
FIRST = datetime(2025, 11, 1)
USERS = """\
user_id,name,role,manager_id,region,segment,hired_on
h1,Head,executive,,,,2019-01-01
m1,Mara,manager,h1,North,,2020-01-06
m2,Milo,manager,h1,South,,2020-01-06
s1,Sam,account_executive,m1,North,Mid-Market,2021-03-01
s2,Sofia,account_executive,m2,South,Enterprise,2022-09-12
"""
ROLES = """\
user_id,effective_from,role,manager_id,region,segment
s2,2022-09-12,account_executive,m2,South,Enterprise
s2,2026-02-10,account_executive,m1,North,Enterprise
"""
RATES = "rate_date,from_currency,to_currency,rate_type,rate\n2025-06-01,EUR,USD,plan,1.1234567\n"
VALUES = {
    "stage": ["Discovery", "Proposal", "Negotiation", "Closed Won", "Closed Lost", "No Decision"],
    "amount": ["100", "250.50", "1000.0001", "-5", ""],
    "close_date": ["2025-12-31", "2026-01-31", "2026-02-28", "2026-04-01", "2026-05-19", "2026-09-30"],
    "forecast_category": ["pipeline", "commit"],
    "owner_id": ["s1", "s2", "gone"],
}
MOMENTS = st.integers(min_value=-3, max_value=180 * 24).map(
    # Few different moments: the same second must happen.
    lambda hours: FIRST + timedelta(hours=hours - hours % 36)
)
COLUMNS = [
    "opportunity_id", "account_id", "owner_id", "stage", "forecast_category", "amount", "currency", "created_at",
    "close_date", "closed_at", "updated_at", "is_deleted",
]  # fmt: skip


@st.composite
def rows(draw: st.DrawFn, identifier: str) -> dict[str, str]:
    row = {name: draw(st.sampled_from(values)) for name, values in VALUES.items()}
    closed = row["stage"] in VALUES["stage"][3:]
    return {
        **row,
        "opportunity_id": identifier,
        "account_id": draw(st.sampled_from(["a1", "a2", ""])),
        "currency": draw(st.sampled_from(["USD", "EUR", "CHF", ""])),
        "created_at": draw(st.one_of(st.just(""), MOMENTS.map(datetime.isoformat))),
        "closed_at": draw(st.one_of(st.just(""), MOMENTS.map(datetime.isoformat))) if closed else "",
        "updated_at": draw(st.one_of(st.just(""), MOMENTS.map(datetime.isoformat))),
        "is_deleted": draw(st.sampled_from(["", "", "", "true"])),
    }


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, str]]:
    """The files of three extracts made one after the other."""
    deals = [f"o{number}" for number in range(draw(st.integers(1, 4)))]
    events: list[str] = []
    extracts = []
    for number in range(3):
        for _ in range(draw(st.integers(0, 8))):
            field = draw(st.sampled_from(list(VALUES)))
            old, new = draw(st.sampled_from(VALUES[field])), draw(st.sampled_from(VALUES[field]))
            at = draw(MOMENTS).isoformat()
            events.append(
                f"{draw(st.integers(10, 99))}-{len(events)},{draw(st.sampled_from(deals))},{field},{old},{new},{at}"
            )
        present = [deal for deal in deals if number == 0 or draw(st.integers(0, 3))] or deals[:1]
        lines = [draw(rows(deal)) for deal in present]
        extracts.append(
            {
                "extracted_at": f"2026-0{3 + number}-10T22:00:00Z",
                "opportunities": "\n".join([",".join(COLUMNS), *(",".join(row[c] for c in COLUMNS) for row in lines)])
                + "\n",
                "changes": "\n".join(["change_id,opportunity_id,field,old_value,new_value,changed_at", *events]) + "\n",
            }
        )
    return extracts


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory, demo_run: Run) -> Warehouse:
    tables = [f"funnel.{table}" for table in (*KEYS, "pipeline_movements")]
    return Warehouse(demo_run, tmp_path_factory.mktemp("random") / "home", tables)


@pytest.mark.long
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(extracts=histories())
def test_random_histories_tie_and_are_what_the_oracle_says(
    warehouse: Warehouse, tmp_path_factory: pytest.TempPathFactory, extracts: list[dict[str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("history")
    directories = [
        write_extract(
            folder / str(number),
            extracted_at=extract["extracted_at"],
            crm_users=USERS,
            crm_accounts=ACCOUNTS,
            crm_user_roles=ROLES,
            crm_opportunities=extract["opportunities"],
            crm_opportunity_changes=extract["changes"],
            finance_fx_rates=RATES,
        )
        for number, extract in enumerate(extracts)
    ]
    warehouse.load(directories)
    warehouse.build(AS_OF)
    database = warehouse.database
    (broken,) = published_rows(
        database,
        """
        select count(*) as broken from (
            select scope_id from funnel.pipeline_movements where movement != 'overdue'
            group by scope_type, scope_id, period_type, period_start
            having sum(case when movement = 'closing' then -amount else amount end) != 0
        )
        """,
    )["broken"]
    assert broken == 0
    facts = funnel.load(directories)
    theirs = funnel.history(facts, AS_OF).rename(columns={"currency": "currency_source"})
    if theirs.empty:
        return
    assert_same_cells("opportunity_history", whole_history(database), theirs[HISTORY])
    for table, oracle in ORACLES.items():
        expected = oracle(facts, AS_OF)
        if not expected.empty:
            assert_same_cells(table, published_rows(database, f"from funnel.{table}"), expected)
    for period_type in ("month", "quarter"):
        expected = funnel.movements(facts, AS_OF, period_type)
        if not expected.empty:
            ours = published_rows(database, f"from funnel.opportunity_movements where period_type = '{period_type}'")
            assert_same_cells("opportunity_movements", ours, expected)
