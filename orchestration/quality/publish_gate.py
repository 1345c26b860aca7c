"""The publish gate: what the candidate must be before it is read."""

from __future__ import annotations

import json
from typing import Any

import duckdb

from expectations.publish import HEADLINES, Previous, publish_expectations
from orchestration.publish.candidate import candidate_folder, read_build
from orchestration.publish.releases import current_release, release_manifest, verdict_summary
from orchestration.quality.expectation import gate_limits
from orchestration.quality.gate import Verdict, run_gate
from orchestration.settings import Settings


def judge_candidate(settings: Settings) -> Verdict:
    """Judges the candidate, and leaves the result where the release picks it up."""
    previous = _previous(settings)
    folder = candidate_folder(settings)
    expectations = publish_expectations(gate_limits(), previous)
    verdict = run_gate("publish", folder / "sightline.duckdb", expectations, settings.data_docs / "publish")
    (settings.warehouse.parent / "verdict.json").write_text(json.dumps(verdict_summary(verdict)), encoding="utf-8")
    return verdict


def last_verdict(settings: Settings) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((settings.warehouse.parent / "verdict.json").read_text(encoding="utf-8"))
    return content


def _previous(settings: Settings) -> Previous | None:
    """What the current release said, if the candidate can be held against it: same sources, no earlier day."""
    name, build = current_release(settings), read_build(settings)
    if not name or not (settings.published / name / "sightline.duckdb").exists():
        return None
    manifest = release_manifest(settings, name)
    same = manifest["sources"] == build.sources and manifest["reporting_currency"] == build.reporting_currency
    if not same or manifest["as_of_date"] > build.as_of_date:
        return None
    with duckdb.connect(str(settings.published / name / "sightline.duckdb"), read_only=True) as connection:
        values = {key: connection.execute(query).fetchone() for key, query in HEADLINES.items()}
    return Previous(name, manifest["rows"], {key: row[0] if row else None for key, row in values.items()})
