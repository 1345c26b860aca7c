"""How dbt is called: its manifest, its arguments, and what it says when something fails."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from orchestration.errors import SourceError
from orchestration.publish.candidate import Build
from orchestration.settings import DBT_PROJECT, SEEDS, Settings, known_sources
from orchestration.warehouse.increment import Increment


def ensure_manifest(settings: Settings) -> Path:
    """The manifest the Dagster assets are made from, parsed again when the dbt project has changed.

    It is written aside and put in place by one rename: an interrupted parse leaves no half manifest.
    """
    digest = hashlib.sha256()
    for path in sorted([*DBT_PROJECT.rglob("*.sql"), *DBT_PROJECT.rglob("*.yml"), *SEEDS.glob("*.csv")]):
        digest.update(path.read_bytes())
    stamp = settings.manifest_digest
    if settings.manifest.exists() and stamp.exists() and stamp.read_text() == digest.hexdigest():
        return settings.manifest
    settings.dbt_home.mkdir(parents=True, exist_ok=True)
    target = settings.dbt_home / "parse"
    parsed = subprocess.run(
        [
            sys.executable,
            "-m",
            "dbt.cli.main",
            "parse",
            *_folders(),
            *_variables(settings),
            "--target-path",
            str(target),
        ],
        env={**os.environ, **settings.environment(), "SIGHTLINE_TARGET": "duckdb"},
        cwd=DBT_PROJECT,
        capture_output=True,
        text=True,
    )
    if parsed.returncode:
        raise SourceError(f"dbt cannot read {DBT_PROJECT}: {parsed.stdout.strip()[-2000:]}")
    os.replace(target / "manifest.json", settings.manifest)
    stamp.write_text(digest.hexdigest())
    # The first build need not read the project again.
    build_target = settings.dbt_home / "target"
    if not build_target.exists():
        build_target.mkdir()
        shutil.copy(target / "partial_parse.msgpack", build_target)
    return settings.manifest


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


def build_arguments(settings: Settings, build: Build, increment: Increment | None) -> list[str]:
    """`dbt build` for one run: everything but the staging of sources that are not part of it."""
    arguments = ["build", *_variables(settings)]
    # The extract's staging stays: its shape types an entity that no source of the run delivers.
    absent = [name for name in known_sources() if name not in build.sources and name != "extract"]
    for name in absent:
        arguments += ["--exclude", f"path:models/staging/{name}"]
    # Unit tests try the rules on made-up rows: that is for whoever changes a model, not for every run.
    arguments += ["--exclude-resource-type", "unit_test"]
    if not increment:
        arguments += ["--full-refresh"]
    return arguments


def failures(target_path: Path) -> tuple[list[str], bool]:
    """What the last `dbt build` says went wrong, a sentence each, and whether only tests failed."""
    path = target_path / "run_results.json"
    if not path.exists():
        return [], False
    results = json.loads(path.read_text(encoding="utf-8"))["results"]
    failed = [result for result in results if result["status"] in ("error", "fail", "runtime error")]
    sentences = [
        f"{result['unique_id'].split('.')[2]}: {' '.join((result['message'] or '').split())[:500]}" for result in failed
    ]
    return sentences, bool(failed) and all(result["unique_id"].startswith("test.") for result in failed)


def _variables(settings: Settings) -> list[str]:
    """The same for every run with these settings: dbt keeps what it has read of the project."""
    variables = {"reporting_currency": settings.reporting_currency, "sources": list(settings.sources)}
    return ["--vars", json.dumps(variables)]


def _folders() -> list[str]:
    return ["--project-dir", str(DBT_PROJECT), "--profiles-dir", str(DBT_PROJECT)]
