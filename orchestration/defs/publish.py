"""Publish: the marts become a candidate, the publish gate judges it, one rename makes it the release; PostgreSQL
serves it too."""

import json
from collections.abc import Iterator
from typing import Any

from dagster import (
    AssetCheckResult,
    AssetCheckSeverity,
    AssetExecutionContext,
    AssetKey,
    AssetObservation,
    Definitions,
    MaterializeResult,
    MetadataValue,
    asset,
    asset_check,
)

from orchestration.defs.resources import Run, told_to_dagster
from orchestration.publish.candidate import candidate_folder, marts, previews, write_candidate
from orchestration.publish.releases import publish as publish_candidate
from orchestration.settings import load_settings
from orchestration.warehouse.dbt import ensure_manifest


@asset(
    deps=[AssetKey([mart.schema, mart.model]) for mart in marts(ensure_manifest(load_settings()))],
    group_name="publish",
    description="The files of the next release: one DuckDB database and one Parquet file a table, not yet visible.",
    kinds={"duckdb", "parquet"},
)
def candidate(context: AssetExecutionContext, run: Run) -> MaterializeResult[Any]:
    counts = write_candidate(run.settings)
    # Each mart's own page shows how many rows it has and what the first ones look like.
    for mart, preview in previews(run.settings):
        context.log_event(
            AssetObservation(
                [mart.schema, mart.model],
                metadata={"dagster/row_count": counts[mart.label], "preview": MetadataValue.md(preview)},
            )
        )
    (candidate_folder(run.settings) / "rows.json").write_text(json.dumps(counts), encoding="utf-8")
    rows = "\n".join(f"| {table} | {count:,} |" for table, count in counts.items())
    return MaterializeResult(
        metadata={
            "dagster/row_count": sum(counts.values()),
            "rows": MetadataValue.md(f"| table | rows |\n|---|---|\n{rows}"),
        }
    )


@asset_check(
    asset=candidate,
    name="publish_gate",
    blocking=True,
    description="Great Expectations over the candidate: volume, reconciliation, distribution, drift.",
)
def publish_gate(run: Run) -> AssetCheckResult:
    from orchestration.quality.publish_gate import judge_candidate

    verdict = judge_candidate(run.settings)
    return AssetCheckResult(
        passed=verdict.passed,
        severity=AssetCheckSeverity.ERROR,
        metadata={
            "refused_because": MetadataValue.json(verdict.sentences("critical")),
            "what_to_do": MetadataValue.json(verdict.advice()),
            "warnings": MetadataValue.json(verdict.sentences("warning")),
            "expectations": len(verdict.outcomes),
            "data_docs": MetadataValue.path(str(verdict.data_docs / "index.html")),
        },
    )


@asset(
    deps=[candidate],
    group_name="publish",
    description="What BI reads: `published/current` points at it; the last one stands until this one is complete.",
    kinds={"duckdb", "parquet"},
)
def release(run: Run) -> MaterializeResult[Any]:
    from orchestration.quality.publish_gate import last_verdict

    settings = run.settings
    rows_file = candidate_folder(settings) / "rows.json"
    rows = json.loads(rows_file.read_text(encoding="utf-8"))
    rows_file.unlink()
    with told_to_dagster():
        name = publish_candidate(settings, last_verdict(settings), rows)
    return MaterializeResult(
        metadata={
            "release": name,
            "path": MetadataValue.path(str(settings.published / name)),
            "dagster/row_count": sum(rows.values()),
        }
    )


@asset(
    deps=[release],
    group_name="publish",
    output_required=False,
    description="The release in PostgreSQL, where SIGHTLINE_PUBLISH_POSTGRES names a database; else there is none.",
    kinds={"postgres"},
)
def postgres(context: AssetExecutionContext, run: Run) -> Iterator[MaterializeResult[Any]]:
    settings = run.settings
    if settings.publish_postgres is None:
        return
    from orchestration.publish.postgres import serve_release

    with told_to_dagster():
        served = serve_release(settings, lambda label: context.log.debug(f"Copying {label}"))
    yield MaterializeResult(
        metadata={
            "served": served.release,
            "dagster/row_count": served.rows,
            "seconds": round(served.seconds, 1),
            "notes": MetadataValue.json(served.notes),
        }
    )


defs = Definitions(assets=[candidate, release, postgres], asset_checks=[publish_gate])
