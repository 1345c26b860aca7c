"""Releases built once for the whole test session."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest

from orchestration.settings import PROJECT_ROOT
from tests.extracts import write_extract

MAVEN = PROJECT_ROOT.parent / "shared" / "data" / "maven-crm"
DEMO_AS_OF = date(2026, 6, 30)
DEMO_PAST = date(2025, 9, 15)


if not hasattr(sys.modules["__main__"], "__file__"):
    # Beside a second process of tests, Spark takes this one for a run of its own doctests and ends it.
    sys.modules["__main__"].__file__ = __file__

# Minutes each: started first, so that neither of two processes is left with one of them at the end.
LONGEST = [
    "test_spark.py",
    "test_interruption.py",
    "test_increment.py",
    "test_pipeline.py",
    "test_as_of.py",
    "test_signals_oracle.py",
    "test_demo_company.py",
    "test_trouble.py",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@dataclass(frozen=True)
class Run:
    """What one `sightline` command did."""

    home: Path
    exit_code: int
    output: str

    @property
    def database(self) -> Path:
        """The current release's DuckDB file."""
        return self.home / "published" / "current" / "sightline.duckdb"

    def query(self, sql: str) -> list[tuple[object, ...]]:
        with duckdb.connect(str(self.database), read_only=True) as connection:
            return connection.execute(sql).fetchall()


def sightline(home: Path, *arguments: str | Path, seconds: int = 600, **environment: str) -> Run:
    """Runs the command in a process of its own, with settings from nowhere but its arguments."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SIGHTLINE_", "DAGSTER_"))}
    done = subprocess.run(
        [sys.executable, "-m", "orchestration.cli", *map(str, arguments)],
        env={**inherited, "SIGHTLINE_HOME": str(home), "COLUMNS": "200", **environment},
        cwd=home.parent,
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    return Run(home, done.returncode, done.stdout + done.stderr)


def run_here(home: Path, extract: Path, *, as_of: date | str | None = None) -> Run:
    """Runs the same job in this process, which has imported everything already, on the source `extract`."""
    from orchestration.running import run_job
    from orchestration.settings import load_settings

    before = dict(os.environ)
    parsed = home.parents[1] / "parsed"
    if parsed.exists() and not (home / "dbt").exists():
        shutil.copytree(parsed, home / "dbt")
    try:
        result = run_job(
            load_settings(home=home, extract_dir=extract, as_of=as_of, sources="extract"), False, lambda stage: None
        )
    finally:
        os.environ.clear()
        os.environ.update(before)
    if not parsed.exists():
        # dbt's manifest is the same for every home: parse it once a session.
        parsed.mkdir()
        for name in ("manifest.json", "manifest.sha256"):
            shutil.copy(home / "dbt" / name, parsed / name)
    return Run(home, result.exit_code, "\n".join(result.sentences))


def published(home: Path, extract: Path, **options: Any) -> Run:
    """Runs the job and insists on a release."""
    run = run_here(home, extract, **options)
    assert run.exit_code == 0, run.output
    return run


@pytest.fixture(scope="session")
def maven_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    if not MAVEN.is_dir():
        pytest.skip(f"the real CRM export is not at {MAVEN}")
    run = sightline(tmp_path_factory.mktemp("maven") / "home", "run", "--source", "maven", "--extract", MAVEN)
    assert run.exit_code == 0, run.output
    return run


@pytest.fixture(scope="session")
def maven_release(maven_run: Run) -> Path:
    return maven_run.database.resolve()


@pytest.fixture(scope="session")
def demo_extract(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from orchestration.demo.company import write_demo

    directory = tmp_path_factory.mktemp("demo") / "extract"
    write_demo(directory, scale=0.1, until=DEMO_AS_OF)
    return directory


@pytest.fixture(scope="session")
def demo_as_of() -> date:
    return DEMO_AS_OF


@pytest.fixture(scope="session")
def demo_past_as_of() -> date:
    return DEMO_PAST


@pytest.fixture(scope="session")
def demo_run(tmp_path_factory: pytest.TempPathFactory, demo_extract: Path) -> Run:
    return published(tmp_path_factory.mktemp("demo_release") / "home", demo_extract)


@pytest.fixture(scope="session")
def demo_release(demo_run: Run) -> Path:
    return demo_run.database.resolve()


@pytest.fixture(scope="session")
def demo_release_past(demo_run: Run, demo_release: Path, demo_extract: Path) -> Path:
    """The same company told as of a past day, from the same raw zone."""
    from orchestration.publish.releases import roll_back
    from orchestration.settings import load_settings

    past = published(demo_run.home, demo_extract, as_of=DEMO_PAST).database.resolve()
    # Whoever asks for the demo company after this gets that of today again.
    roll_back(load_settings(home=demo_run.home), demo_release.parent.name)
    return past


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The usual four deals, published once."""
    folder = tmp_path_factory.mktemp("small")
    return published(folder / "home", write_extract(folder / "x"))


@pytest.fixture
def after_small_run(small_run: Run, home: Path) -> Run:
    """A home of its own in which the usual four deals are published already."""
    shutil.copytree(small_run.home, home, symlinks=True)
    return Run(home, 0, small_run.output)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "home"
