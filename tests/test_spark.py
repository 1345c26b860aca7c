"""Spark gives the same answers as DuckDB, table by table."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from orchestration.diagnosis import spark_problem
from orchestration.publish.candidate import marts
from tests.conftest import Run, sightline


@pytest.fixture(scope="session")
def spark_run(tmp_path_factory: pytest.TempPathFactory, demo_extract: Path) -> Run:
    problem = spark_problem()
    if problem:
        pytest.skip(problem)
    home = tmp_path_factory.mktemp("spark") / "home"
    # Few rows in many statements: compiling each one and planning it anew while it runs costs more than it saves.
    (home.parent / "spark-defaults.conf").write_text(
        "spark.sql.codegen.wholeStage false\n"
        "spark.sql.codegen.factoryMode NO_CODEGEN\n"
        "spark.sql.adaptive.enabled false\n"
    )
    run = sightline(
        home,
        "run",
        "--extract",
        demo_extract,
        "--target",
        "spark",
        cold=True,
        SPARK_CONF_DIR=str(home.parent),
        SIGHTLINE_SPARK_PARTITIONS="1",
        # A process of some minutes, most of whose code is run a few times.
        JAVA_TOOL_OPTIONS="-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m -XX:+UseSerialGC",
        seconds=1800,
    )
    assert run.exit_code == 0, run.output
    return run


@pytest.mark.long
def test_every_published_table_is_the_same_on_both_engines(spark_run: Run, demo_release: Path) -> None:
    tables = spark_run.query("select table_schema, table_name from information_schema.tables order by 1, 2")
    assert {f"{schema}.{table}" for schema, table in tables} == {
        mart.label for mart in marts(spark_run.home / "dbt" / "manifest.json")
    }
    different = {}
    with duckdb.connect(str(spark_run.database), read_only=True) as connection:
        connection.execute(f"attach '{demo_release}' as other (read_only)")
        for schema, table in tables:
            described = connection.execute(f"describe {schema}.{table}").fetchall()
            assert described == connection.execute(f"describe other.{schema}.{table}").fetchall(), table
            # Fractions may differ in the last bits, for each engine adds in its own order.
            columns = ", ".join(
                f'round("{c[0]}", 9) as "{c[0]}"' if c[1] == "DOUBLE" else f'"{c[0]}"' for c in described
            )
            here, there = f"(select {columns} from {schema}.{table})", f"(select {columns} from other.{schema}.{table})"
            rows = connection.execute(
                f"select * from ((from {here} except all from {there}) union all (from {there} except all from {here}))"
            ).fetchall()
            if rows:
                different[f"{schema}.{table}"] = rows[:2]
    assert different == {}
