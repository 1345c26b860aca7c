"""The semantic layer says what the marts say: every metric, asked through MetricFlow, is its column of a mart."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest
from metricflow.engine.metricflow_engine import MetricFlowEngine, MetricFlowQueryRequest
from metricflow.protocols.sql_client import SqlEngine
from metricflow.sql.render.duckdb_renderer import DuckDbSqlPlanRenderer
from metricflow_semantics.model.dbt_manifest_parser import parse_manifest_from_dbt_generated_manifest
from metricflow_semantics.model.semantic_manifest_lookup import SemanticManifestLookup

from orchestration.settings import DBT_PROJECT, PROJECT_ROOT, SEEDS
from tests.conftest import Run
from tests.page_sources import PAGES, tables_named

TOLERANCE = 1e-9  # Relative, of fractions; amounts and counts agree exactly.


class DuckDbClient:
    """What MetricFlow asks of a database to write its SQL; the SQL is run here, so that decimals stay decimals."""

    sql_engine_type = SqlEngine.DUCKDB
    sql_plan_renderer = DuckDbSqlPlanRenderer()


@dataclass(frozen=True)
class Agreement:
    """One line of what a metric must agree with; dbt_project/models/semantic/deals.yml says what each field means."""

    metric: str
    table: str
    column: str
    where: str
    by: dict[str, str]
    filter: str | None = None
    told: str = "true"
    since: dict[str, str] | None = None

    def __str__(self) -> str:
        return f"{self.metric} is {self.table}.{self.column} where {self.where} by {self.by}"


@dataclass(frozen=True)
class Compared:
    """How many rows of the mart say something, and up to five that the metric contradicts."""

    told_count: int
    wrong: list[tuple[Any, ...]]


def semantic_manifest_of(run: Run) -> dict[str, Any]:
    path = run.home / "dbt" / "target" / "semantic_manifest.json"
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def engine_of(semantic_manifest: dict[str, Any]) -> MetricFlowEngine:
    parsed = parse_manifest_from_dbt_generated_manifest(json.dumps(semantic_manifest))
    return MetricFlowEngine(SemanticManifestLookup(parsed), DuckDbClient())  # type: ignore[arg-type]


def agreements_of(semantic_manifest: dict[str, Any]) -> list[Agreement]:
    return [
        Agreement(**{"metric": metric["name"], "table": meta["table"], "column": meta["column"], **line})
        for metric in semantic_manifest["metrics"]
        for meta in [metric["config"]["meta"]]
        for line in [*meta.get("agrees", []), *meta.get("agrees_too", [])]
    ]


@pytest.fixture(scope="module")
def release(full_run: Run) -> Iterator[duckdb.DuckDBPyConnection]:
    """The release of the demo company, with room for temporary tables beside it."""
    with duckdb.connect(str(full_run.database), read_only=True) as connection:
        yield connection


def compare(connection: duckdb.DuckDBPyConnection, engine: MetricFlowEngine, agreement: Agreement) -> Compared:
    """Asks MetricFlow for the metric by the group-bys of the agreement and holds it against the mart's column.

    What has no name is `unknown` in a mart, or in none of its rows; a period the mart does not tell is not compared.
    Where nothing happened MetricFlow has no row and the mart has one: of counts and sums that is 0, of fractions null.
    """
    filters = [agreement.filter] if agreement.filter else []
    for dimension, column in (agreement.since or {}).items():
        ((day,),) = connection.execute(
            f"select max({column}) from {agreement.table} where {agreement.where}"
        ).fetchall()
        filters.append(f"{{{{ TimeDimension('{dimension}', 'day') }}}} >= '{day}'")
    request = MetricFlowQueryRequest.create(
        metric_names=[agreement.metric],
        group_by_names=list(agreement.by.values()) or None,
        where_constraints=filters or None,
    )
    connection.execute(f"create or replace temp table asked as {engine.explain(request).sql_statement.sql}")
    keys = {f"key_{number}": pair for number, pair in enumerate(agreement.by.items())}
    columns = "".join(f", {column} as {key}" for key, (column, _) in keys.items())
    connection.execute(
        "create or replace temp table told as "
        f"select {agreement.column} as value, {agreement.told} as is_told{columns} "
        f"from {agreement.table} where {agreement.where}"
    )
    types = {
        (table, column): kind
        for table, column, kind in connection.execute(
            "select table_name, column_name, data_type from duckdb_columns() where database_name = 'temp'"
        ).fetchall()
    }
    metric = agreement.metric
    names, of_asked, of_told, known, on, shown = "", ["true"], "", ["true"], ["true"], ""
    for key, (_, name) in keys.items():
        names += f", coalesce(cast(cast({name} as {types['told', key]}) as varchar), 'unknown') as {key}"
        # Rows of the table that are none of the semantic model: nothing under no name.
        of_asked.append(f"({metric} is not null or {name} is not null)")
        of_told += f", coalesce(cast({key} as varchar), 'unknown') as {key}"
        may_be_missing = "true" if types["told", key] == "DATE" else f"{key} = 'unknown'"
        known.append(f"({key} in (select {key} from of_told) or not {may_be_missing})")
        on.append(f"of_asked.{key} = of_told.{key}")
        shown += f"coalesce(of_asked.{key}, of_told.{key}) as {key}, "
    if "DOUBLE" in (types["asked", metric], types["told", "value"]):
        is_same = (
            f"coalesce(abs(by_metric - by_mart) <= {TOLERANCE} * greatest(abs(by_metric), abs(by_mart)), "
            "by_metric is null and by_mart is null)"
        )
    else:
        is_same = "coalesce(by_metric, 0) = coalesce(by_mart, 0)"
    connection.execute(
        f"""create or replace temp table compared as
        with of_told as (select value as by_mart, is_told{of_told} from told),
        all_asked as (select {metric} as by_metric{names} from asked where {" and ".join(of_asked)}),
        of_asked as (select * from all_asked where {" and ".join(known)})
        select {shown} by_metric, by_mart, {is_same} as is_same
        from of_asked full outer join of_told on {" and ".join(on)}
        where coalesce(is_told, true)"""
    )
    ((told_count,),) = connection.execute("select count(case when by_mart != 0 then 1 end) from compared").fetchall()
    return Compared(told_count, connection.execute("from compared where not is_same order by all limit 5").fetchall())


def test_every_metric_is_its_column_of_a_mart(full_run: Run, release: duckdb.DuckDBPyConnection) -> None:
    manifest = semantic_manifest_of(full_run)
    engine = engine_of(manifest)
    wrong = []
    for agreement in agreements_of(manifest):
        compared = compare(release, engine, agreement)
        if compared.wrong:
            wrong.append(f"{agreement}: {compared.wrong}")
        elif not compared.told_count:
            wrong.append(f"{agreement}: nothing to agree with")
    assert not wrong, "\n".join(wrong)


def test_it_is_so_too_where_most_entities_are_missing(maven_run: Run) -> None:
    manifest = semantic_manifest_of(maven_run)
    engine = engine_of(manifest)
    told = set()
    with duckdb.connect(str(maven_run.database), read_only=True) as connection:
        for agreement in agreements_of(manifest):
            compared = compare(connection, engine, agreement)
            assert not compared.wrong, (str(agreement), compared.wrong)
            if compared.told_count:
                told.add(agreement.metric)
    assert {"win_rate", "won_amount", "median_cycle_days", "velocity", "hhi"} <= told


def test_at_least_forty_metrics_bear_the_name_of_their_column_and_every_one_has_its_meaning_and_unit(
    demo_run: Run,
) -> None:
    manifest = semantic_manifest_of(demo_run)
    named = {one.metric for one in agreements_of(manifest) if one.metric == one.column}
    assert len(named) >= 40
    assert {"win_rate", "velocity", "coverage_to_go", "nrr", "grr", "logo_retention", "attainment", "wape"} <= named
    columns = set(
        demo_run.query("select table_schema || '.' || table_name, column_name from information_schema.columns")
    )
    for metric in manifest["metrics"]:
        meta = metric["config"]["meta"]
        assert metric["description"].endswith(".") and metric["label"] and meta["unit"], metric["name"]
        # What agrees with nothing is there for others to be computed from.
        said = {"unit", "table", "column", "agrees"} if "agrees" in meta else {"unit"}
        assert set(meta) - {"agrees_too"} == said, metric["name"]
        if "agrees" in meta:
            assert (meta["table"], meta["column"]) in columns, metric["name"]
            assert {(meta["table"], column) for line in meta["agrees"] for column in line["by"]} <= columns
    for model in manifest["semantic_models"]:
        assert model["description"].endswith("."), model["name"]
        for element in (*model["entities"], *model["dimensions"]):
            assert element["description"] or element["type"] == "primary", (model["name"], element["name"])


def test_every_metric_that_is_off_by_a_few_millionths_is_found(
    full_run: Run, release: duckdb.DuckDBPyConnection
) -> None:
    manifest = semantic_manifest_of(full_run)
    agreements = {one.metric: one for one in reversed(agreements_of(manifest))}
    # Each measure by another factor, so that they do not cancel out where one is divided by another.
    for number, measure in enumerate(one for model in manifest["semantic_models"] for one in model["measures"]):
        factor, rule = 1 + (number + 1) / 1_000_000, f"({measure['expr'] or measure['name']})"
        if measure["agg"] == "count":
            measure.update(agg="sum", expr=f"case when {rule} is not null then {factor} end")
        elif measure["agg"] != "count_distinct":
            measure.update(expr=f"{rule} * {factor}")
    engine = engine_of(manifest)
    unseen = {name for name, agreement in agreements.items() if not compare(release, engine, agreement).wrong}
    # How many different ones there are cannot be a little more: see the rules below.
    assert unseen == {"opportunity_count", "period_count"}


@pytest.mark.parametrize(
    ("metric", "measure", "rule"),
    [
        ("win_rate", "decided_count", "case when (is_won or is_lost) and not is_deleted then 1 end"),
        ("won_amount", "won_amount", "case when is_won and not is_deleted then amount_source end"),
        ("open_pipeline", "open_pipeline", "case when is_open and not is_deleted then amount end"),
        ("velocity", "timed_cycle_days", "case when is_won and not is_deleted then cast(cycle_days as double) end"),
        ("grr", "kept_arr", "case when dimension = 'customer' then arr end"),
        ("wape", "absolute_error", "error"),
        ("at_quota_share", "at_quota_count", "case when is_judged and attainment > 1.1 then 1 end"),
        ("quota_amount", "quota_amount", "case when attainment is not null then quota_amount end"),
        ("billed_amount", "billed_amount", "case when row_type = 'deal' then amount end"),
        ("opportunity_count", "opportunity_count", "left(opportunity_id, 4)"),
        ("period_count", "period_count", "year(period_start)"),
    ],
)
def test_a_metric_with_a_wrong_rule_is_found(
    metric: str, measure: str, rule: str, full_run: Run, release: duckdb.DuckDBPyConnection
) -> None:
    manifest = semantic_manifest_of(full_run)
    (one,) = [one for model in manifest["semantic_models"] for one in model["measures"] if one["name"] == measure]
    one["expr"] = rule
    engine = engine_of(manifest)
    agreements = [one for one in agreements_of(manifest) if one.metric == metric]
    assert [str(one) for one in agreements if compare(release, engine, one).wrong]


def test_the_tables_of_the_page_about_metrics_are_made_from_the_metrics(demo_run: Run) -> None:
    spec = importlib.util.spec_from_file_location("metrics", PROJECT_ROOT / "docs" / "metrics.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    # `make run && make docs` writes its tables again.
    text = (PROJECT_ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert text == module.with_tables(text, semantic_manifest_of(demo_run))
    assert "| `win_rate` |" in text


@pytest.mark.long
def test_the_commands_of_that_page_answer_from_the_release(demo_run: Run, tmp_path: Path) -> None:
    text = (PROJECT_ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    (commands,) = re.findall(r"```\n(cd dbt_project\n.*?)```", text, flags=re.S)
    # Not in the checkout itself: dbt and MetricFlow write beside the project.
    shutil.copytree(DBT_PROJECT, tmp_path / "dbt_project", ignore=shutil.ignore_patterns("target", "logs"))
    shutil.copytree(SEEDS, tmp_path / "seeds")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands.replace("../.venv/bin/", f"{Path(sys.executable).parent}/")],
        cwd=tmp_path,
        env={**os.environ, "SIGHTLINE_HOME": str(demo_run.home), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "logo_retention" in done.stdout and "win_rate" in done.stdout
    with (tmp_path / "dbt_project" / "target" / "retention.csv").open() as file:
        asked = {
            (row["customer__segment"], row["metric_time__fiscal_month"][:10]): row["nrr"]
            for row in csv.DictReader(file)
            if row["nrr"]
        }
    told = demo_run.query(
        "select member, month_start::varchar, nrr from retention.revenue_retention "
        "where dimension = 'segment' and nrr is not null "
        "and month_start in (select month_start from retention.account_growth)"
    )
    assert told
    assert {key: pytest.approx(float(nrr), rel=TOLERANCE) for key, nrr in asked.items()} == {
        (member, month): nrr for member, month, nrr in told
    }


@pytest.mark.long
def test_the_docs_of_dbt_are_built_and_load_nothing_from_elsewhere(demo_run: Run, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    # The raw zone is only read; the warehouse admits one process.
    (home / "raw").symlink_to(demo_run.home / "raw")
    shutil.copytree(demo_run.home / "warehouse", home / "warehouse")
    done = subprocess.run(
        [sys.executable, "-m", "dbt.cli.main", "docs", "generate", "--static", "--target-path", str(tmp_path / "docs")],
        cwd=DBT_PROJECT,
        env={**os.environ, "SIGHTLINE_HOME": str(home), "DBT_PROFILES_DIR": str(DBT_PROJECT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "docs" / "static_index.html").read_text(encoding="utf-8")
    assert "metric.sightline.win_rate" in page and "exposure.sightline.page_this_week" in page
    assert not re.findall(r"<(?:script|link|img)\b[^>]*\b(?:src|href)=[\"']?(?:https?:)?//", page)
    # Without this the page counts its readers.
    assert '"send_anonymous_usage_stats": false' in page
    catalog = json.loads((tmp_path / "docs" / "catalog.json").read_text(encoding="utf-8"))
    assert "model.sightline.win_rates" in catalog["nodes"] and not catalog["errors"]


def test_exposures_say_which_tables_each_page_and_the_pack_and_postgres_read(demo_run: Run) -> None:
    manifest = json.loads((demo_run.home / "dbt" / "manifest.json").read_text(encoding="utf-8"))
    marts = {
        name: f"{node['schema']}.{node['alias']}"
        for name, node in manifest["nodes"].items()
        if node["resource_type"] == "model" and node["path"].startswith("marts/")
    }
    exposed = {
        exposure["name"]: {marts[name] for name in exposure["depends_on"]["nodes"]}
        for exposure in manifest["exposures"].values()
    }
    assert exposed.pop("postgres") == set(marts.values())
    assert "weekly_pack" in exposed and {name for name in exposed if name != "weekly_pack"} == {
        f"page_{name}"
        for name in (
            "this_week deal funnel forecast reconciliation retention key_accounts people pricing scorecard data".split()
        )
    }
    assert all(exposed.values())
    for path in [*(PAGES / "pages").glob("*.py"), *PAGES.glob("pack.py")]:
        if path.stem == "__init__":
            continue
        module, exposure = (
            ("pack", "weekly_pack") if path.stem == "pack" else (f"pages.{path.stem}", f"page_{path.stem}")
        )
        named = tables_named(module, set(marts.values()), set())
        assert exposed[exposure] == named, (
            f"{exposure} of dbt_project/models/exposures.yml: add {sorted(named - exposed[exposure])}, "
            f"take out {sorted(exposed[exposure] - named)}"
        )
