"""Releases built once for the whole test session."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest

from orchestration.settings import PROJECT_ROOT
from tests import warm
from tests.browser import browser, served
from tests.extracts import write_extract

MAVEN = PROJECT_ROOT.parent / "shared" / "data" / "maven-crm"
DEMO_AS_OF = date(2026, 6, 30)
DEMO_PAST = date(2025, 9, 15)


# Minutes each: started first, so that neither of two processes is left with one of them at the end.
LONGEST = [
    "test_spark.py",
    "test_interruption.py",
    "test_increment.py",
    "test_pipeline.py",
    # Makes the whole company, for which the other process need not wait.
    "test_best_practices.py",
    "test_as_of.py",
    "test_signals_oracle.py",
    "test_demo_company.py",
    "test_trouble.py",
    "test_loads_as_history.py",
    "test_sources.py",
    "test_salesforce_shape.py",
    "test_hubspot_shape.py",
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


def sightline(home: Path, *arguments: str | Path, seconds: int = 600, cold: bool = False, **environment: str) -> Run:
    """Runs the command in a process of its own, with settings from nowhere but its arguments.

    Args:
        home: of the run.
        arguments: of the command.
        seconds: after which it has failed.
        cold: as a user starts it, everything imported anew; else forked from a process that has the libraries.
        environment: settings, by the names of their variables.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SIGHTLINE_", "DAGSTER_"))}
    variables = {**inherited, "SIGHTLINE_HOME": str(home), "COLUMNS": "200", **environment}
    words = [str(argument) for argument in arguments]
    if cold:
        done = subprocess.run(
            [sys.executable, "-m", "orchestration.cli", *words],
            env=variables,
            cwd=home.parent,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
        return Run(home, done.returncode, done.stdout + done.stderr)
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as output:
        process = warm.start(words, variables, home.parent, Path(output.name))
        process.join(seconds)
        if process.exitcode is None:
            process.kill()
            process.join()
            pytest.fail(f"sightline {' '.join(words)} was at work for {seconds} s:\n{output.read()}")
        return Run(home, process.exitcode, output.read())


def run_here(home: Path, extract: Path, *, as_of: date | str | None = None) -> Run:
    """Runs the same job in this process, which has imported everything already, on the source `extract`."""
    from orchestration.running import run_job
    from orchestration.settings import load_settings

    before = dict(os.environ)
    parsed = (
        next((above / "shared" for above in home.parents if (above / "shared").is_dir()), home.parents[1]) / "parsed"
    )
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
        kept = Path(tempfile.mkdtemp(dir=parsed.parent))
        (kept / "target").mkdir()
        for name in ("manifest.json", "manifest.sha256", "target/semantic_manifest.json"):
            shutil.copy(home / "dbt" / name, kept / name)
        with suppress(OSError):  # The other process of tests was first.
            kept.rename(parsed)
    return Run(home, result.exit_code, "\n".join(result.sentences))


def published(home: Path, extract: Path, **options: Any) -> Run:
    """Runs the job and insists on a release."""
    run = run_here(home, extract, **options)
    assert run.exit_code == 0, run.output
    return run


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], str]) -> tuple[Path, str]:
    """A folder that all processes of a test session share, and what `make` said of it; tests only read it.

    Whoever comes first makes it, and the others wait for that.
    """
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    shared = base / "shared"
    shared.mkdir(exist_ok=True)
    folder, said = shared / name, shared / f"{name}.said"
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not said.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            text = make(folder)
            said.write_text(text, encoding="utf-8")
    return folder, said.read_text(encoding="utf-8")


def released_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Run]) -> Run:
    """A home with a release, made by `make` and shared as by `made_once`."""

    def home(folder: Path) -> str:
        run = make(folder / "home")
        assert run.exit_code == 0, run.output
        return run.output

    folder, output = made_once(factory, name, home)
    return Run(folder / "home", 0, output)


def demo_once(factory: pytest.TempPathFactory, name: str, scale: float) -> Path:
    from orchestration.demo.company import write_demo

    def write(folder: Path) -> str:
        write_demo(folder / "extract", scale=scale, until=DEMO_AS_OF)
        return ""

    return made_once(factory, name, write)[0] / "extract"


@pytest.fixture(scope="session")
def maven_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    if not MAVEN.is_dir():
        pytest.skip(f"the real CRM export is not at {MAVEN}")
    return released_once(
        tmp_path_factory,
        "maven",
        lambda home: sightline(home, "run", "--source", "maven", "--extract", MAVEN, cold=True),
    )


@pytest.fixture(scope="session")
def maven_release(maven_run: Run) -> Path:
    return maven_run.database.resolve()


@pytest.fixture(scope="session")
def demo_extract(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tenth of the demo company."""
    return demo_once(tmp_path_factory, "demo_extract", 0.1)


@pytest.fixture(scope="session")
def demo_as_of() -> date:
    return DEMO_AS_OF


@pytest.fixture(scope="session")
def demo_past_as_of() -> date:
    return DEMO_PAST


@pytest.fixture(scope="session")
def demo_run(tmp_path_factory: pytest.TempPathFactory, demo_extract: Path) -> Run:
    return released_once(tmp_path_factory, "demo_run", lambda home: run_here(home, demo_extract))


@pytest.fixture(scope="session")
def demo_release(demo_run: Run) -> Path:
    return demo_run.database.resolve()


@pytest.fixture(scope="session")
def demo_release_past(tmp_path_factory: pytest.TempPathFactory, demo_run: Run, demo_extract: Path) -> Path:
    """The same company told as of a past day, from the same raw zone."""

    def told_again(home: Path) -> Run:
        shutil.copytree(demo_run.home, home, symlinks=True)
        return run_here(home, demo_extract, as_of=DEMO_PAST)

    return released_once(tmp_path_factory, "demo_past", told_again).database.resolve()


@pytest.fixture(scope="session")
def full_extract(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo company of `make run`, as large as it is planted in; `truth/` says what was planted."""
    return demo_once(tmp_path_factory, "full_extract", 1)


@pytest.fixture(scope="session")
def full_run(tmp_path_factory: pytest.TempPathFactory, full_extract: Path) -> Run:
    return released_once(tmp_path_factory, "full_run", lambda home: run_here(home, full_extract))


@pytest.fixture(scope="module")
def chromium(full_run: Run) -> Iterator[Any]:
    """A browser. It keeps an event loop going in this process: whatever runs a job here comes before and after it."""
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def demo_pages(full_run: Run) -> Iterator[str]:
    """The address of the pages of the demo company. A server has its time, which all files together would outlast."""
    with served(full_run.home) as address:
        yield address


@pytest.fixture(scope="module")
def maven_pages(maven_run: Run) -> Iterator[str]:
    """The address of the pages of a CRM export in which most entities are missing."""
    with served(maven_run.home) as address:
        yield address


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The usual four deals, published once."""

    def small(home: Path) -> Run:
        return run_here(home, write_extract(home.parent / "x"))

    return released_once(tmp_path_factory, "small_run", small)


@pytest.fixture
def after_small_run(small_run: Run, home: Path) -> Run:
    """A home of its own in which the usual four deals are published already."""
    shutil.copytree(small_run.home, home, symlinks=True)
    return Run(home, 0, small_run.output)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "home"
