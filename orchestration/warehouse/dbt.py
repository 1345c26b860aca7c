"""How dbt is called: its manifest, its arguments, and what it says when something fails."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

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
        [sys.executable, "-m", "dbt.cli.main", "parse", *_folders(), "--target-path", str(target)],
        env={**os.environ, **settings.environment(), "SIGHTLINE_TARGET": "duckdb"},
        cwd=DBT_PROJECT,
        capture_output=True,
        text=True,
    )
    if parsed.returncode:
        raise SourceError(f"dbt cannot read {DBT_PROJECT}: {parsed.stdout.strip()[-2000:]}")
    os.replace(target / "manifest.json", settings.manifest)
    stamp.write_text(digest.hexdigest())
    return settings.manifest


def build_arguments(build: Build, increment: Increment | None) -> list[str]:
    """`dbt build` for one run: everything but the staging of sources that are not part of it.

    Args:
        build: what is told.
        increment: what has come since the last build; without it tables that grow are told from the beginning.
    """
    variables: dict[str, Any] = {
        "as_of_date": build.as_of_date,
        "reporting_currency": build.reporting_currency,
        "sources": build.sources,
    }
    if increment:
        variables |= asdict(increment)
    arguments = ["build", "--vars", json.dumps(variables)]
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


def _folders() -> list[str]:
    return ["--project-dir", str(DBT_PROJECT), "--profiles-dir", str(DBT_PROJECT)]
