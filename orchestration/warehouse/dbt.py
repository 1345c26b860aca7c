"""How dbt is called: its manifest, its arguments, and what it says when something fails."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, cast

from orchestration.errors import SourceError
from orchestration.publish.candidate import Build
from orchestration.settings import DBT_PROJECT, SEEDS, TELEMETRY_OFF, Settings, known_sources
from orchestration.warehouse.increment import Increment

if TYPE_CHECKING:
    from dbt.cli.main import dbtRunnerResult
    from dbt.contracts.graph.manifest import Manifest

    from orchestration.warehouse.dbt_invocation import DbtInvocation


# What dbt has read of the project, for homes that are new: reading it all takes as long as a small run.
KEPT = DBT_PROJECT / "target" / "read"
# The project as it was last parsed in this process, by what it was parsed for.
_parsed: dict[tuple[str, ...], Manifest] = {}
# What was started last.
_invocations: list[DbtInvocation] = []


def ensure_manifest(settings: Settings) -> Path:
    """The manifest the Dagster assets are made from, parsed again when the dbt project has changed.

    It is written aside and put in place by one rename: an interrupted parse leaves no half manifest.
    """
    digest = _project_digest()
    stamp = settings.manifest_digest
    if settings.manifest.exists() and stamp.exists() and stamp.read_text() == digest:
        return settings.manifest
    settings.dbt_home.mkdir(parents=True, exist_ok=True)
    _parse(settings, "duckdb", digest, "--write-json")
    shutil.copy(settings.dbt_target / "manifest.json", settings.dbt_home / "manifest.json.new")
    os.replace(settings.dbt_home / "manifest.json.new", settings.manifest)
    stamp.write_text(digest)
    return settings.manifest


def invoke_dbt(settings: Settings, arguments: Sequence[str]) -> DbtInvocation:
    """A command of dbt for one run. The project is parsed once a process, and as far as it has changed."""
    from orchestration.warehouse.dbt_invocation import DbtInvocation

    manifest = _parse(settings, settings.target, _project_digest(), "--no-write-json")
    invocation = DbtInvocation([*arguments, *_general(settings, settings.target), "--no-write-json"], manifest)
    _invocations[:] = [invocation]
    return invocation


def stop_dbt() -> None:
    """Ends dbt where a run ends before it: nothing is at work on the warehouse when the next run begins."""
    for invocation in _invocations:
        invocation.stop()


def _parse(settings: Settings, target: str, digest: str, *flags: str) -> Manifest:
    general = _general(settings, target)
    key = (digest, target, *general[:2])
    if "--write-json" in flags or key not in _parsed:
        from orchestration.warehouse.dbt_invocation import DbtInvocation

        read = settings.dbt_target / "partial_parse.msgpack"
        # For each set of variables: what was read with others is of no use.
        kept = KEPT / f"{hashlib.sha256(str(general[:4]).encode()).hexdigest()[:16]}.msgpack"
        if not read.exists() and kept.exists():
            settings.dbt_target.mkdir(parents=True, exist_ok=True)
            shutil.copy(kept, read)
        with _no_home():
            result = DbtInvocation(["parse", "--log-level", "none", *general, *flags]).wait()
        if not result.success:
            raise SourceError(f"dbt cannot read {DBT_PROJECT}: {result.exception}")
        _parsed[key] = cast("Manifest", result.result)
        # An installation that cannot be written to does without.
        with suppress(OSError):
            KEPT.mkdir(parents=True, exist_ok=True)
            aside = kept.with_suffix(f".{os.getpid()}")
            shutil.copy(read, aside)
            os.replace(aside, kept)
    return _parsed[key]


@contextmanager
def _no_home() -> Iterator[None]:
    """The project means the same whatever the home; dbt would read all of it again where a variable is another one."""
    before = dict(os.environ)
    os.environ.update({**TELEMETRY_OFF, "SIGHTLINE_HOME": "."})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _project_digest() -> str:
    digest = hashlib.sha256()
    for path in sorted([*DBT_PROJECT.rglob("*.sql"), *DBT_PROJECT.rglob("*.yml"), *SEEDS.glob("*.csv")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def build_environment(build: Build, increment: Increment | None) -> dict[str, str]:
    """What the macro `told` reads: facts that change from run to run, and for that reason are no variables of dbt.

    Args:
        build: what is told.
        increment: what has come since the last build; without it tables that grow are told from the beginning.
    """
    last = increment or Increment(last_as_of_date=None, new_batches=[])
    return {
        "SIGHTLINE_BUILD": json.dumps({"as_of_date": build.as_of_date, "delivered": build.delivered, **asdict(last)})
    }


def build_arguments(build: Build, increment: Increment | None) -> list[str]:
    """`dbt build` for one run: everything but the staging of sources that are not part of it."""
    arguments = ["build"]
    # The extract's staging stays: its shape types an entity that no source of the run delivers.
    absent = [name for name in known_sources() if name not in build.sources and name != "extract"]
    for name in absent:
        arguments += ["--exclude", f"path:models/staging/{name}"]
    # Unit tests try the rules on made-up rows: that is for whoever changes a model, not for every run.
    arguments += ["--exclude-resource-type", "unit_test"]
    if not increment:
        arguments += ["--full-refresh"]
    return arguments


def failures(result: dbtRunnerResult) -> tuple[list[str], bool]:
    """What an invocation says went wrong, a sentence each, and whether only tests failed."""
    results = getattr(result.result, "results", [])
    failed = [one for one in results if one.status in ("error", "fail", "runtime error")]
    sentences = [f"{one.node.name}: {' '.join((one.message or '').split())[:500]}" for one in failed]
    return sentences, bool(failed) and all(one.node.resource_type == "test" for one in failed)


def _general(settings: Settings, target: str) -> list[str]:
    """What every command is told, the variables first: the same for every run with these settings, for dbt reads the
    whole project again when they are others than the last time."""
    variables = {"reporting_currency": settings.reporting_currency, "sources": list(settings.sources)}
    return [
        *("--vars", json.dumps(variables)),
        *("--target", target),
        *("--project-dir", str(DBT_PROJECT)),
        *("--profiles-dir", str(DBT_PROJECT)),
        *("--target-path", str(settings.dbt_target)),
    ]
