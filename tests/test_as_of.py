"""Told for a past day, everything is what it was told on that day."""

from __future__ import annotations

import random
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pytest

from orchestration.demo.company import write_demo
from tests.conftest import DEMO_AS_OF, Run
from tests.warehouse import Warehouse

TABLES = [
    "core.opportunities",
    "funnel.opportunity_history",
    "funnel.pipeline_snapshots",
    "funnel.pipeline_movements",
    "funnel.stage_visits",
    "funnel.deal_signals",
    "funnel.signal_effectiveness",
    "funnel.deal_health",
    "funnel.review_agenda",
    "funnel.deal_teams",
    "funnel.teaming_effect",
    "funnel.specialist_suggestions",
    "key_accounts.key_account_reviews",
    "key_accounts.key_account_list",
    "key_accounts.key_account_findings",
    "key_accounts.key_account_health",
    "key_accounts.relationship_map",
    "key_accounts.whitespace",
    "key_accounts.plan_execution",
    "reconciliation.booking_to_billing",
    "reconciliation.booking_bridge",
    "reconciliation.forecast_to_billing",
    "forecast_accuracy.period_forecasts",
    "forecast_accuracy.forecast_error",
    "forecast_accuracy.forecast_value_added",
    "forecast_accuracy.submitter_credibility",
    "retention.arr_movements",
    "retention.arr_bridges",
    "retention.revenue_retention",
    "retention.cohort_retention",
    "retention.renewals",
    "retention.account_growth",
    "retention.sales_growth",
    "people.specialist_engagement",
    "people.sales_ops_service",
]
DAYS, DATES = 60, 10


@pytest.fixture(scope="module")
def extracts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One full extract and what changed on each of the sixty days after it."""
    folder = tmp_path_factory.mktemp("days") / "extracts"
    days = [DEMO_AS_OF - timedelta(days=count) for count in range(1, DAYS + 1)]
    write_demo(folder, scale=0.1, seed=23, until=DEMO_AS_OF, extracts_on=days)
    return folder


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory, demo_run: Run) -> Warehouse:
    return Warehouse(demo_run, tmp_path_factory.mktemp("as_of") / "home", TABLES)


@pytest.mark.long
def test_ten_random_past_days_are_told_as_they_were_told_then(
    warehouse: Warehouse, extracts: Path, tmp_path: Path
) -> None:
    days = sorted(path.name for path in extracts.iterdir() if path.name != "truth")
    chosen = sorted(random.Random(20260630).sample(days[1:], DATES))
    assert len(chosen) == DATES
    then = tmp_path / "then.duckdb"
    warehouse.load([])
    loaded = 0
    for day in chosen:
        # What was published on the evening of the day, from the loads there had been.
        upto = days.index(day) + 1
        warehouse.load_more([extracts / name for name in days[loaded:upto]])
        loaded = upto
        warehouse.build(date.fromisoformat(day))
        with duckdb.connect(str(then)) as connection:
            connection.execute(f"attach '{warehouse.database}' as built (read_only)")
            connection.execute(f'create schema "{day}"')
            for table in TABLES:
                connection.execute(f'create table "{day}"."{table}" as from built.{table}')
    warehouse.load_more([extracts / name for name in days[loaded:]])
    rows = dict.fromkeys(TABLES, 0)
    for day in chosen:
        warehouse.build(date.fromisoformat(day))
        with duckdb.connect(str(then), read_only=True) as connection:
            connection.execute(f"attach '{warehouse.database}' as built (read_only)")
            for table in TABLES:
                was, told = f'"{day}"."{table}"', f"built.{table}"
                differing = connection.execute(
                    f"(from {was} except all from {told}) union all (from {told} except all from {was}) limit 4"
                ).fetchall()
                assert differing == [], f"{table} told for {day}"
                rows[table] += connection.execute(f"select count(*) from {was}").fetchone()[0]  # type: ignore[index]
    assert all(count > DATES for count in rows.values()), rows
