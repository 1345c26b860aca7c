"""The import for Superset covers every published table, and a real Superset renders each of its charts.

The second part needs Superset's own environment: `SIGHTLINE_TEST_SUPERSET` names it, and how it is made is in
docs/superset/start.sh.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from zipfile import ZipFile

import pytest
import requests
import yaml

from orchestration.settings import PROJECT_ROOT
from tests.conftest import Run

FOLDER = PROJECT_ROOT / "docs" / "superset"
PASSWORD = "only-for-this-test"


@pytest.fixture(scope="module")
def export_module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("superset_export", FOLDER / "export.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def export(module: ModuleType, run: Run, database: str = "duckdb:///sightline.duckdb") -> dict[str, dict[str, Any]]:
    charts = yaml.safe_load((FOLDER / "charts.yml").read_text())
    files: dict[str, dict[str, Any]] = module.Export(
        module.read_tables(run.database), charts, database, "Sightline"
    ).files
    return files


def of_kind(files: dict[str, dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [content for name, content in files.items() if name.startswith(f"{kind}/")]


def test_every_published_column_is_in_a_dataset_with_what_it_means(export_module: ModuleType, demo_run: Run) -> None:
    published = demo_run.query(
        "select schema_name, table_name, column_name, comment from duckdb_columns() where not internal"
    )
    files = export(export_module, demo_run)
    found = [
        (dataset["schema"], dataset["table_name"], column["column_name"], column["description"])
        for dataset in of_kind(files, "datasets")
        for column in dataset["columns"]
    ]
    assert sorted(found) == sorted(published)
    metrics = [metric for dataset in of_kind(files, "datasets") for metric in dataset["metrics"]]
    assert len(metrics) > len(of_kind(files, "datasets")) and all(metric["description"] for metric in metrics)


def test_each_schema_has_one_dashboard_with_each_of_its_tables(export_module: ModuleType, demo_run: Run) -> None:
    files = export(export_module, demo_run)
    schema_of = {dataset["uuid"]: dataset["schema"] for dataset in of_kind(files, "datasets")}
    charts = {chart["uuid"]: chart for chart in of_kind(files, "charts")}
    shown = {}
    for dashboard in of_kind(files, "dashboards"):
        placed = [item["meta"]["uuid"] for name, item in dashboard["position"].items() if name.startswith("CHART-")]
        datasets = {charts[uuid]["dataset_uuid"] for uuid in placed}
        (schema,) = {schema_of[uuid] for uuid in datasets}
        assert dashboard["dashboard_title"] == f"Sightline: {schema}"
        shown[schema] = datasets
    assert shown == {schema: {uuid for uuid in schema_of if schema_of[uuid] == schema} for schema in schema_of.values()}


def test_the_same_release_gives_the_same_bytes(export_module: ModuleType, demo_run: Run, tmp_path: Path) -> None:
    for name in ("a.zip", "b.zip"):
        export_module.write_zip(tmp_path / name, export(export_module, demo_run), "2026-07-01T00:00:00+00:00")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with ZipFile(tmp_path / "a.zip") as archive:
        assert yaml.safe_load(archive.read("sightline/metadata.yaml"))["version"] == "1.0.0"


def test_a_chart_of_a_column_that_is_not_there_is_refused_in_a_sentence(
    export_module: ModuleType, demo_run: Run
) -> None:
    chart = {"table": "core.reps", "title": "T", "kind": "table", "columns": ["rep_id", "shoe_size"]}
    with pytest.raises(SystemExit, match=r"charts\.yml: T: core\.reps has no column shoe_size; correct the chart"):
        export_module.Export(export_module.read_tables(demo_run.database), [chart], "duckdb:///x", "Sightline")


@pytest.fixture(scope="module")
def superset(full_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Superset on this machine, started as the document says, over the demo company's release."""
    environment = os.environ.get("SIGHTLINE_TEST_SUPERSET")
    if not environment:
        pytest.skip("SIGHTLINE_TEST_SUPERSET names no environment with Superset (docs/superset/start.sh makes one)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = tmp_path_factory.mktemp("superset")
    log = (home / "log").open("w")
    server = subprocess.Popen(
        [FOLDER / "start.sh"],
        env={
            **os.environ,
            "SIGHTLINE_HOME": str(full_run.home),
            "SIGHTLINE_PYTHON": sys.executable,
            "SUPERSET_HOME": str(home),
            "SUPERSET_VENV": environment,
            "SUPERSET_PORT": str(port),
            "SUPERSET_ADMIN_PASSWORD": PASSWORD,
        },
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        until = time.monotonic() + 600
        while not _answers(f"http://127.0.0.1:{port}/health"):
            assert server.poll() is None and time.monotonic() < until, (home / "log").read_text()[-2000:]
            time.sleep(1)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=60)
        log.close()


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False


def test_superset_renders_each_chart_with_the_rows_of_the_release(superset: str, full_run: Run) -> None:
    session = requests.Session()
    login = {"username": "admin", "password": PASSWORD, "provider": "db", "refresh": False}
    token = session.post(f"{superset}/api/v1/security/login", json=login, timeout=60).json()["access_token"]
    session.headers["Authorization"] = f"Bearer {token}"
    session.headers["X-CSRFToken"] = session.get(f"{superset}/api/v1/security/csrf_token/", timeout=60).json()["result"]
    session.headers["Referer"] = superset

    def listed(kind: str) -> list[dict[str, Any]]:
        pages = [
            session.get(f"{superset}/api/v1/{kind}/?q=(page:{page},page_size:100)", timeout=60).json()["result"]
            for page in range(3)
        ]
        return [row for page in pages for row in page]

    schemas = {schema for (schema,) in full_run.query("select distinct schema_name from duckdb_tables()")}
    assert {row["dashboard_title"] for row in listed("dashboard")} == {f"Sightline: {schema}" for schema in schemas}
    rows = dict(full_run.query("select schema_name || '.' || table_name, estimated_size from duckdb_tables()"))
    charts = listed("chart")
    assert len(charts) > len(rows)
    for chart in charts:
        asked = session.get(f"{superset}/api/v1/chart/{chart['id']}", timeout=60).json()["result"]["query_context"]
        answer = session.post(f"{superset}/api/v1/chart/data", json=json.loads(asked), timeout=120)
        assert answer.status_code == 200, (chart["slice_name"], answer.text[:500])
        (result,) = answer.json()["result"]
        assert result["status"] == "success" and not result.get("error"), chart["slice_name"]
        if chart["slice_name"] in rows:
            assert result["rowcount"] == min(100, int(str(rows[chart["slice_name"]]))), chart["slice_name"]
        else:
            assert result["rowcount"] > 0, chart["slice_name"]
    # Nothing that is typed in Superset changes a release.
    before = full_run.database.stat().st_mtime_ns
    (database,) = listed("database")
    for sql in ("drop table core.reps", "create table core.mine as select 1"):
        asked = {"database_id": database["id"], "sql": sql, "schema": "core", "runAsync": False}
        assert not session.post(f"{superset}/api/v1/sqllab/execute/", json=asked, timeout=60).ok
    assert full_run.database.stat().st_mtime_ns == before
    asked = {"database_id": database["id"], "sql": "select count(*) as n from core.reps", "schema": "core"}
    counted = session.post(f"{superset}/api/v1/sqllab/execute/", json=asked, timeout=60).json()
    assert counted["data"] == [{"n": rows["core.reps"]}]
