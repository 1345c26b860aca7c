"""`sightline doctor`: is this machine able to run, and what would stop it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from orchestration.errors import SightlineError
from orchestration.ingest.buckets import address_of, is_bucket
from orchestration.ingest.contract import Source, load_source, marts_without, told_by_schema
from orchestration.ingest.extracts import extract_names
from orchestration.ingest.files import PULLED, files_of, stranger_note, strangers
from orchestration.ingest.reading import look_at_header
from orchestration.ingest.syncing import connect, examine, is_configured, lacks, scrubbed
from orchestration.settings import Settings

NEEDED_BYTES = 2 * 1024**3


@dataclass(frozen=True)
class Diagnosis:
    """One thing looked at; `text` says what was found and, when it is not well, what to do."""

    subject: str
    state: Literal["ok", "warning", "problem"]
    text: str


def diagnose(settings: Settings) -> list[Diagnosis]:
    """Looks at Python, packages, disk, clock, settings, extract and release; changes nothing but a test file."""
    return [
        *_python(),
        *_packages(),
        *_home(settings),
        *_clock(settings),
        *_extracts(settings),
        *_systems(settings),
        *_release(settings),
        *_postgres(settings),
        *_spark(settings),
    ]


def spark_problem() -> str | None:
    """Why the target spark cannot run here, in one sentence; None when it can."""
    if importlib.util.find_spec("pyspark") is None or importlib.util.find_spec("dbt.adapters.spark") is None:
        return "The target spark needs its extra: pip install -e '.[spark]' -c requirements.lock."
    java = shutil.which("java") or (os.environ.get("JAVA_HOME") and str(Path(os.environ["JAVA_HOME"]) / "bin" / "java"))
    if not java:
        return "The target spark needs Java 17 or later: install a JRE, or set JAVA_HOME."
    text = subprocess.run([java, "-version"], capture_output=True, text=True).stderr
    version = re.search(r'version "(\d+)', text)
    if not version or int(version.group(1)) < 17:
        return f"The target spark needs Java 17 or later; here is {text.splitlines()[0] if text else 'an unknown one'}."
    return None


def _python() -> Iterator[Diagnosis]:
    yield Diagnosis("Python", "ok", f"{sys.version.split()[0]} in {sys.prefix}")


def _packages() -> Iterator[Diagnosis]:
    names = ["dagster", "dagster-dbt", "dbt-core", "dbt-duckdb", "duckdb", "great-expectations"]
    try:
        yield Diagnosis("Packages", "ok", ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names))
    except importlib.metadata.PackageNotFoundError as error:
        yield Diagnosis(
            "Packages", "problem", f"{error.name} is not installed; run make run, which installs what is locked"
        )


def _home(settings: Settings) -> Iterator[Diagnosis]:
    home = settings.home
    try:
        home.mkdir(parents=True, exist_ok=True)
        probe = home / ".doctor"
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        yield Diagnosis(
            "SIGHTLINE_HOME", "problem", f"{home} cannot be written ({error.strerror}); set it to a folder that can"
        )
        return
    free = shutil.disk_usage(home).free
    state: Literal["ok", "problem"] = "ok" if free >= NEEDED_BYTES else "problem"
    advice = "" if state == "ok" else "; make room or set SIGHTLINE_HOME elsewhere, 2 GiB are needed"
    yield Diagnosis("SIGHTLINE_HOME", state, f"{home}, {free / 1024**3:.1f} GiB free{advice}")


def _clock(settings: Settings) -> Iterator[Diagnosis]:
    from orchestration.ingest.landing import accepted_batches

    newest = max(
        (b.extracted_at for name in settings.sources for b in accepted_batches(settings, name)[-1:]), default=None
    )
    now = datetime.now(UTC)
    if newest and datetime.fromisoformat(newest) > now:
        yield Diagnosis(
            "Clock", "problem", f"it is {now:%Y-%m-%d %H:%M} UTC here but an extract is of {newest}; set the clock"
        )
    else:
        yield Diagnosis("Clock", "ok", f"{now:%Y-%m-%d %H:%M} UTC; newest extract {newest or 'none yet'}")


def _extracts(settings: Settings) -> Iterator[Diagnosis]:
    from orchestration.ingest.deliveries import delivered_elsewhere

    if not settings.directories and settings.sources == ("extract",):
        yield Diagnosis("Extract", "ok", "SIGHTLINE_EXTRACT_DIR is not set: the demo company is used")
        return
    for name in settings.sources:
        if is_configured(settings, load_source(name)) and name not in settings.extract_dirs:
            continue
        directory = settings.directory_of(name)
        if directory is None:
            yield Diagnosis(f"Extract {name}", "problem", f"it has no directory; set SIGHTLINE_EXTRACT_DIRS={name}=DIR")
            continue
        tables = load_source(name).tables
        try:
            names = extract_names(directory, load_source(name))
            there = [table for table in tables if files_of(table, names)]
        except SightlineError as error:
            yield Diagnosis(f"Extract {name}", "problem", str(error).rstrip("."))
            continue
        elsewhere = delivered_elsewhere(settings, name)
        missing = [
            table.file for table in tables if table.is_required and table not in there and table.name not in elsewhere
        ]
        if missing:
            yield Diagnosis(
                f"Extract {name}",
                "problem",
                f"{address_of(directory)} has no {', '.join(missing)}, which are required; export them",
            )
            continue
        problems, warnings = ([], []) if is_bucket(directory) else _headers(directory, load_source(name), names)
        for text in problems:
            yield Diagnosis(f"Extract {name}", "problem", text)
        for text in warnings:
            yield Diagnosis(f"Extract {name}", "warning", text)
        if not problems:
            absent = [table.file for table in tables if table not in there]
            more = f"; not delivered, so not known: {', '.join(absent)}" if absent else ""
            found = f"{len(there)} of {len(tables)} entities in {address_of(directory)}"
            yield Diagnosis(f"Extract {name}", "ok", f"{found}{more}")


def _headers(directory: Path, source: Source, names: list[str]) -> tuple[list[str], list[str]]:
    """What the run would say of the first line of each file: what it refuses, and what it warns of."""
    looked_at = [
        look_at_header(table, directory / file, file)
        for table in source.tables
        for file in files_of(table, names)
        if not file.endswith(PULLED)
    ]
    problems = [finding.sentence().rstrip(".") for reading in looked_at for finding in reading.refused]
    meant = [stranger_note(name, file) for name, file in strangers(source, names).items()]
    return problems, [*(text for reading in looked_at for text in reading.warnings), *meant]


def _systems(settings: Settings) -> Iterator[Diagnosis]:
    """The systems read over the network: whether they let us in, and what each missing permission costs."""
    for name in settings.sources:
        source = load_source(name)
        if source.connector is None or not is_configured(settings, source):
            continue
        try:
            found = examine(settings, source)
            yield from found
            # Of a database each entity is told with what is there and what is not.
            if source.connector != "sql" and not any(diagnosis.state == "problem" for diagnosis in found):
                yield from _grants(settings, source)
        except SightlineError as error:
            yield Diagnosis(name, "problem", scrubbed(settings, str(error)).rstrip("."))


def _grants(settings: Settings, source: Source) -> Iterator[Diagnosis]:
    """What may not be read, and the tables it costs."""
    connector = connect(settings, source)
    try:
        lacking = {lack.table: lack for lack in lacks(connector, source)}
    finally:
        connector.close()
    for table in source.tables:
        lack = lacking.get(table.name)
        if lack is None:
            continue
        marts = told_by_schema(marts_without(source.name, table.name))
        needed = {column.name for column in table.columns if column.is_key or column.is_required} & set(lack.columns)
        state: Literal["problem", "warning"] = "problem" if needed and (table.is_required or lack.fields) else "warning"
        what = lack.problem or f"{', '.join(lack.fields)} may not be read, or is not there"
        cost = f"without it these are empty or say less: {marts}" if marts else "no table stands on it"
        yield Diagnosis(f"{source.name} {table.name}", state, f"{what}; {cost}")
    read = len(source.tables) - sum(bool(lack.problem) for lack in lacking.values())
    yield Diagnosis(source.name, "ok", f"{read} of {len(source.tables)} tables can be read")


def _release(settings: Settings) -> Iterator[Diagnosis]:
    from orchestration.publish.releases import current_release

    name = current_release(settings)
    if name is None:
        yield Diagnosis("Release", "warning", "nothing is published yet; run sightline run")
        return
    import duckdb

    try:
        with duckdb.connect(str(settings.published / name / "sightline.duckdb"), read_only=True) as connection:
            connection.execute("select count(*) from core.opportunities").fetchone()
        yield Diagnosis("Release", "ok", f"{name} can be read")
    except duckdb.Error as error:
        yield Diagnosis(
            "Release", "problem", f"{name} cannot be read ({str(error).splitlines()[0]}); run sightline rollback"
        )


def _postgres(settings: Settings) -> Iterator[Diagnosis]:
    if settings.publish_postgres is None:
        return
    from orchestration.publish.postgres import examine_postgres

    yield from examine_postgres(settings)


def _spark(settings: Settings) -> Iterator[Diagnosis]:
    problem = spark_problem()
    if settings.target == "spark":
        yield Diagnosis("Spark", "problem" if problem else "ok", problem or "ready")
    else:
        yield Diagnosis("Spark", "ok", "not used" + (f" ({problem})" if problem else ", ready"))
