"""Releases: what was published, which one is read, and how to go back."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from orchestration import __version__
from orchestration.errors import UsageError
from orchestration.ingest.landing import Batch, accepted_batches
from orchestration.publish.candidate import candidate_folder, keys, lineage, marts, read_build, utc_now
from orchestration.quality.gate import Verdict
from orchestration.settings import Settings

CURRENT = "current"


def publish(settings: Settings, verdict: dict[str, Any], rows: dict[str, int]) -> str:
    """Turns the candidate into a release and makes it the current one; returns the release's name.

    Nothing a reader sees changes before the last step, which is one rename.
    """
    candidate = candidate_folder(settings)
    build = read_build(settings)
    name = _free_name(settings)
    manifest = {
        "release": name,
        "published_at": utc_now().isoformat(timespec="seconds"),
        "code_version": __version__,
        **asdict(build),
        "rows": rows,
        "lineage": lineage(settings.manifest),
        "keys": keys(settings.manifest),
        "checks": verdict,
        "readers": {
            mart.label: {"rows": mart.readers, "people": mart.is_about_people} for mart in marts(settings.manifest)
        },
        "outcome_model": _model_summary(candidate),
        "batches": [_batch_summary(batch) for source in build.sources for batch in accepted_batches(settings, source)],
        "sha256": {
            path.relative_to(candidate).as_posix(): _sha256(path)
            for path in sorted(candidate.rglob("*"))
            if path.is_file()
        },
    }
    (candidate / "manifest.json").write_text(json.dumps(manifest, indent=2), encoding="utf-8")
    os.replace(candidate, settings.published / name)
    _switch(settings, name)
    _prune(settings)
    return name


def verdict_summary(verdict: Verdict) -> dict[str, Any]:
    """A gate's result as it stands in a manifest."""
    return {
        "passed": verdict.passed,
        "expectations": len(verdict.outcomes),
        "met": sum(outcome.passed for outcome in verdict.outcomes),
        "warnings": verdict.sentences("warning"),
    }


def releases(settings: Settings) -> list[str]:
    """Names of the releases on disk, oldest first."""
    return sorted(path.parent.name for path in settings.published.glob("[0-9]*/manifest.json"))


def current_release(settings: Settings) -> str | None:
    link = settings.published / CURRENT
    return os.readlink(link) if link.is_symlink() else None


def release_manifest(settings: Settings, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((settings.published / name / "manifest.json").read_text(encoding="utf-8"))
    return content


def roll_back(settings: Settings, name: str | None) -> str:
    """Makes an earlier release the current one: the one named, or the one before the current.

    Raises:
        UsageError: there is no such release.
    """
    known, current = releases(settings), current_release(settings)
    if not known:
        raise UsageError(f"Nothing is published in {settings.home} yet, so there is nothing to go back to.")
    if name is None:
        earlier = [release for release in known if current and release < current]
        if not earlier:
            raise UsageError("There is no release before the current one; `sightline status` lists what there is.")
        name = earlier[-1]
    if name not in known:
        raise UsageError(f"There is no release {name}; there is {', '.join(known) or 'none'}.")
    _switch(settings, name)
    return name


def _switch(settings: Settings, name: str) -> None:
    link = settings.published / f".{CURRENT}"
    link.unlink(missing_ok=True)
    link.symlink_to(name)
    os.replace(link, settings.published / CURRENT)


def _prune(settings: Settings) -> None:
    """Removes the oldest releases beyond what is kept; a reader that has one open keeps its file."""
    for name in releases(settings)[: -settings.keep_releases]:
        if name != current_release(settings):
            shutil.rmtree(settings.published / name)


def _free_name(settings: Settings) -> str:
    """A name that sorts after every release there is, even within one second."""
    stamp = utc_now().strftime("%Y%m%dT%H%M%SZ")
    number = 1
    while (settings.published / f"{stamp}-{number}").exists():
        number += 1
    return f"{stamp}-{number}"


def _batch_summary(batch: Batch) -> dict[str, Any]:
    totals = {
        key: sum(getattr(table, key) for table in batch.tables)
        for key in ("landed", "accepted", "quarantined", "superseded", "deleted")
    }
    return {
        "source": batch.source,
        "batch_id": batch.batch_id,
        "extracted_at": batch.extracted_at,
        **totals,
        "notes": batch.notes,
    }


def _model_summary(candidate: Path) -> dict[str, Any]:
    """What the release's chances were told with; the model itself is beside the manifest."""
    told = json.loads((candidate / "model.json").read_text(encoding="utf-8"))
    names = ("method", "reason", "model_version", "data_hash", "features", "refused", "evaluation")
    return {name: told[name] for name in names}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
