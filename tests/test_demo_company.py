"""The demo company is the same for the same arguments, whatever the machine, and however its history arrives."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestration.demo.company import write_demo
from orchestration.errors import UsageError
from orchestration.ingest.contract import load_source
from orchestration.ingest.landing import accept, land
from orchestration.settings import PROJECT_ROOT, Settings
from tests.conftest import DEMO_AS_OF, Run, published
from tests.warehouse import Warehouse

SMALL = 0.1
DAYS = 60
WRITE = """
import sys
from datetime import date
from pathlib import Path
from orchestration.demo.company import write_demo
write_demo(Path(sys.argv[1]), scale=0.3, seed=11, file_format=sys.argv[2])
"""


def digests(directory: Path) -> dict[str, str]:
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("file_format", ["csv", "parquet"])
def test_the_same_arguments_give_the_same_bytes_on_another_kind_of_processor(tmp_path: Path, file_format: str) -> None:
    """The second process has other vector instructions, another hash seed, another time zone and one core."""
    kinds: list[dict[str, str]] = [
        {},
        {
            "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX2 FMA3",
            "PYTHONHASHSEED": "12345",
            "TZ": "Asia/Tokyo",
            "OMP_NUM_THREADS": "1",
            "LC_ALL": "C",
        },
    ]
    made = []
    for place, environment in enumerate(kinds):
        directory = tmp_path / f"machine{place}"
        # Not every processor has every one of the features named: numpy warns about those it has not.
        command = [sys.executable, "-W", "ignore", "-c", WRITE, str(directory), file_format]
        if place:
            command = ["taskset", "-c", str(min(os.sched_getaffinity(0))), *command]
        subprocess.run(command, check=True, env={**os.environ, **environment}, cwd=PROJECT_ROOT, timeout=120)
        made.append(digests(directory))
    assert len(made[0]) == 26 + 1 + 6
    assert made[0] == made[1]


def test_another_seed_or_last_day_is_another_company(tmp_path: Path) -> None:
    write_demo(tmp_path / "a", scale=SMALL, seed=1)
    write_demo(tmp_path / "b", scale=SMALL, seed=2)
    write_demo(tmp_path / "c", scale=SMALL, seed=1, until=date(2026, 6, 29))
    first, second, third = (digests(tmp_path / name) for name in "abc")
    same = {name for name in first if first[name] == second[name]}
    assert same == {"extract.json", "crm/products.csv"}
    assert first["crm/opportunities.csv"] != third["crm/opportunities.csv"]


def test_every_entity_of_the_contract_has_rows_and_every_column_a_value(tmp_path: Path) -> None:
    write_demo(tmp_path, scale=SMALL)
    never_known = {
        ("contacts", "email"),
        ("qualifications", "evidence_activity_id"),
        ("coaching_sessions", "opportunity_id"),
    }
    for table in load_source("extract").tables:
        relation = duckdb.sql(f"from read_csv('{tmp_path / table.file}.csv', all_varchar = true)")
        assert relation.columns == [column.name for column in table.columns]
        counts = duckdb.sql(
            "select " + ", ".join(f'count("{column.name}")' for column in table.columns) + " from relation"
        ).fetchall()[0]
        for column, count in zip(table.columns, counts, strict=True):
            assert count > 0 or (table.name, column.name) in never_known, f"{table.name}.{column.name} is always empty"


def test_a_company_that_cannot_be_made_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="scale 0.01 cannot be made: choose one between 0.1 and 1000"):
        write_demo(tmp_path, scale=0.01)
    with pytest.raises(UsageError, match="of the 1825 days before 2026-06-30"):
        write_demo(tmp_path, scale=SMALL, extracts_on=[date(2010, 1, 1)])
    assert list(tmp_path.iterdir()) == []


# ---- however its history arrives


def load_every(home: Path, directory: Path) -> Settings:
    """Lands the extracts of a directory in order of day and lets each in without asking the gate."""
    to = Settings(home=home, _env_file=None)
    for folder in sorted(path for path in directory.iterdir() if path.name != "truth"):
        land(to, "extract", folder)
        accept(to, "extract")
    return to


# Signals and chances tell what could be seen at each past review: a load on a day knows which meetings were booked
# then, and one load of everything does not.
SEEN_THEN = {
    "funnel.deal_signals",
    "funnel.signal_effectiveness",
    "funnel.deal_health",
    "funnel.review_agenda",
    "forecast_accuracy.calibration",
    "forecast_accuracy.outcome_models",
    "forecast_accuracy.outlook",
    "forecast_accuracy.outlook_drivers",
    "forecast_accuracy.prediction_factors",
    "people.coaching_plan",
    "people.manager_coaching",
    "people.manager_deals",
    "scorecard.behaviours",
}
# Columns in which the ways to load differ: how late events came, and signals as they were seen.
SEEN_THEN_COLUMNS = {
    "core.data_coverage": "late_count",
    "people.rep_diagnosis": (
        "lost_signal, lost_signal_share, lost_signal_share_low, lost_signal_share_high, lost_signal_peer_share"
    ),
}

# Rows that are chances added up.
SEEN_THEN_ROWS = {
    f"forecast_accuracy.{table}": "method != 'model'"
    for table in ("period_forecasts", "forecast_error", "forecast_error_summary", "forecast_value_added")
}

# So do these, over years: accounts are reviewed by what was known at the end of a quarter, which decides who is on the
# list; and a month that is final keeps what was told of it, so that a subscription that came too late is a restatement.
TOLD_ONCE = {
    "key_accounts.key_account_findings",
    "key_accounts.key_account_health",
    "key_accounts.key_account_list",
    "key_accounts.key_account_reviews",
    "key_accounts.plan_execution",
    "key_accounts.relationship_map",
    "key_accounts.whitespace",
    "retention.account_growth",
    "retention.arr_bridges",
    "retention.arr_movements",
    "retention.cohort_retention",
    "retention.renewals",
    "retention.revenue_retention",
    "scorecard.world_class_metrics",
}


def published_tables(release: Path) -> list[str]:
    with duckdb.connect(str(release), read_only=True) as connection:
        rows = connection.execute(
            "select table_schema || '.' || table_name from information_schema.tables order by 1"
        ).fetchall()
    return [str(name) for (name,) in rows if name not in SEEN_THEN]


def assert_same_tables(built: Path, release: Path, tables: list[str], compared: dict[str, str] | None = None) -> None:
    """Every row of every table of the release is in the other database, and no other one.

    Args:
        compared: which rows of a table, where not all are; their number is the same all the same.
    """
    with duckdb.connect(str(built), read_only=True) as connection:
        connection.execute(f"attach '{release}' as whole (read_only)")
        for table in tables:
            columns = f"* exclude ({SEEN_THEN_COLUMNS[table]})" if table in SEEN_THEN_COLUMNS else "*"
            rows = (compared or {}).get(table, "true")
            (here, there, alone) = connection.execute(
                f"""
                select (select count(*) from {table}), (select count(*) from whole.{table}),
                    (select count(*) from (
                        select {columns} from {table} where {rows}
                        except all select {columns} from whole.{table} where {rows}
                    ))
                """
            ).fetchone() or (None, None, None)
            assert (here, alone) == (there, 0), table


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory, demo_run: Run, demo_release: Path) -> Warehouse:
    return Warehouse(demo_run, tmp_path_factory.mktemp("whole") / "home", published_tables(demo_release))


@pytest.mark.long
@settings(max_examples=5, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(back=st.sets(st.integers(min_value=1, max_value=1_700), min_size=1, max_size=5))
def test_whatever_days_extracts_were_made_on_the_end_is_the_same(
    tmp_path_factory: pytest.TempPathFactory, warehouse: Warehouse, demo_release: Path, back: set[int]
) -> None:
    folder = tmp_path_factory.mktemp("cuts")
    days = [DEMO_AS_OF - timedelta(days=count) for count in back]
    write_demo(folder, scale=SMALL, until=DEMO_AS_OF, extracts_on=days)
    made = sorted(path for path in folder.iterdir() if path.name != "truth")
    assert len(made) == len(days) + 1
    warehouse.load(made)
    # What the model said rests on what was seen of the deals then, which is what the ways to load differ in.
    warehouse.build(DEMO_AS_OF, predict_again=False)
    tables = [table for table in published_tables(demo_release) if table not in TOLD_ONCE]
    assert len(tables) > 25
    assert_same_tables(warehouse.database, demo_release, tables)


@pytest.fixture(scope="module")
def day_by_day(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("daily")
    days = [DEMO_AS_OF - timedelta(days=count) for count in range(1, DAYS + 1)]
    write_demo(folder / "extracts", scale=SMALL, until=DEMO_AS_OF, extracts_on=days)
    to = load_every(folder / "home", folder / "extracts")
    return published(to.home, folder / "extracts" / DEMO_AS_OF.isoformat())


@pytest.mark.long
def test_sixty_days_one_by_one_publish_what_one_full_load_publishes(day_by_day: Run, demo_run: Run) -> None:
    (batches,) = duckdb.execute(
        "select count(distinct _batch_id) from read_parquet(?, union_by_name = true)",
        [str(day_by_day.home / "raw" / "extract" / "*" / "activities.parquet")],
    ).fetchone() or (0,)
    assert batches > 40
    tables = published_tables(demo_run.database.resolve())
    assert len(tables) > 12
    assert_same_tables(day_by_day.database, demo_run.database.resolve(), tables, SEEN_THEN_ROWS)
    # Chances differ where something else was seen of the deal on the day, and forecasts on these days: nothing else.
    with duckdb.connect(str(day_by_day.home / "warehouse" / "sightline.duckdb"), read_only=True) as connection:
        connection.execute(f"attach '{demo_run.home / 'warehouse' / 'sightline.duckdb'}' as whole (read_only)")
        different = "select * from {0} except all select * from whole.{0}"
        (alone, unexplained, told, forecasts, compared) = (
            connection.execute(
                f"""
            with seen as ({different.format("intermediate.int_outcome_features")}),
            chances as ({different.format("staging.stg_predictions__outcomes")}),
            forecasts as ({different.format("intermediate.int_model_forecasts")})
            select
                (select count(*) from seen),
                (select count(*) from chances anti join seen using (opportunity_id, snapshot_date)),
                (select count(*) from staging.stg_predictions__outcomes where method = 'model'),
                (select count(*) from forecasts anti join chances on forecasts.forecast_on = chances.snapshot_date),
                (select count(*) from intermediate.int_model_forecasts)
            """
            ).fetchone()
            or (0,) * 5
        )
    assert alone < told / 10 and (unexplained, forecasts) == (0, 0), (alone, unexplained, forecasts)
    assert told > 1000 and compared > 1000
