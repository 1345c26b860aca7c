"""Readers of a release: older DuckDB clients, and plain Parquet."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from orchestration.publish.candidate import marts
from tests.conftest import Run

OLD_CLIENT = "1.4.4"
SCRIPT = """
import duckdb, sys
connection = duckdb.connect(sys.argv[1], read_only=True)
print(duckdb.__version__, connection.execute("select count(*) from core.opportunities").fetchone()[0])
"""


@pytest.fixture(scope="session")
def old_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with the DuckDB most BI drivers still carry, in an environment of its own."""
    folder = tmp_path_factory.mktemp("old_client")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=120)
    python = folder / "bin" / "python"
    installed = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"duckdb=={OLD_CLIENT}"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    if installed.returncode:
        pytest.skip(f"DuckDB {OLD_CLIENT} cannot be installed here: {installed.stderr.strip()[-200:]}")
    return python


def test_a_release_is_read_by_a_duckdb_of_the_year_before(old_client: Path, demo_run: Run) -> None:
    done = subprocess.run(
        [old_client, "-c", SCRIPT, str(demo_run.database)], capture_output=True, text=True, timeout=60
    )
    ((deals,),) = demo_run.query("select count(*) from core.opportunities")
    assert done.stdout.split() == [OLD_CLIENT, str(deals)], done.stderr
    assert int(str(deals)) > 100


def test_the_parquet_files_hold_the_same_rows_as_the_database(demo_run: Run) -> None:
    tables = demo_run.query("select table_schema, table_name from information_schema.tables")
    assert {f"{schema}.{table}" for schema, table in tables} == {
        mart.label for mart in marts(demo_run.home / "dbt" / "manifest.json")
    }
    for schema, table in tables:
        file = demo_run.database.parent / "parquet" / str(schema) / f"{table}.parquet"
        (row,) = demo_run.query(
            f"select count(*) from ((from {schema}.{table} except all from '{file}') "
            f"union all (from '{file}' except all from {schema}.{table}))"
        )
        assert row == (0,), table
