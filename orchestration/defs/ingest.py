"""Ingest: an extract lands, the landing gate judges it, the raw zone takes it in."""

from collections.abc import Iterator
from typing import Any

from dagster import (
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSeverity,
    AssetsDefinition,
    AssetSpec,
    Definitions,
    MaterializeResult,
    MetadataValue,
    RetryPolicy,
    asset,
    asset_check,
    multi_asset,
)

from orchestration.defs.resources import Run, told_to_dagster
from orchestration.ingest.contract import Source, load_source
from orchestration.ingest.deliveries import delivered_elsewhere
from orchestration.ingest.extracts import extract_directory
from orchestration.ingest.landing import accept, land, waiting_batch
from orchestration.settings import known_sources

# A share that is away for a moment is tried again; what is wrong with a file is not.
RETRIES = RetryPolicy(max_retries=2, delay=10)


def _ingest(source: Source) -> list[AssetsDefinition | AssetChecksDefinition]:
    """The landing asset, its gate and the raw tables of one source."""

    @asset(
        key=[source.name, "landing"],
        group_name="ingest",
        description=f"What the newest extract of `{source.name}` has that the raw zone does not.",
        kinds={"parquet"},
        retry_policy=RETRIES,
    )
    def landing(run: Run) -> MaterializeResult[Any]:
        settings = run.settings
        with told_to_dagster():
            batch = land(
                settings,
                source.name,
                extract_directory(settings, source.name),
                delivered_elsewhere(settings, source.name),
            )
        if batch is None:
            return MaterializeResult(metadata={"dagster/row_count": 0, "summary": "nothing new"})
        return MaterializeResult(
            metadata={
                "dagster/row_count": sum(table.landed for table in batch.tables),
                "batch": batch.batch_id,
                "extracted_at": batch.extracted_at,
                "rows": MetadataValue.md(_rows_table(batch.tables)),
                "notes": MetadataValue.md("\n".join(f"- {note}" for note in batch.notes) or "none"),
            }
        )

    @asset_check(
        asset=landing,
        name="landing_gate",
        blocking=True,
        description="Great Expectations over the batch; a batch it refuses never enters the raw zone.",
    )
    def landing_gate(run: Run) -> AssetCheckResult:
        from orchestration.quality.landing_gate import judge_batch

        settings = run.settings
        folder = waiting_batch(settings, source.name)
        if folder is None:
            return AssetCheckResult(passed=True, metadata={"summary": "nothing new to judge"})
        verdict = judge_batch(settings, folder)
        return AssetCheckResult(
            passed=verdict.passed,
            severity=AssetCheckSeverity.ERROR,
            metadata={
                "refused_because": MetadataValue.json(verdict.sentences("critical")),
                "what_to_do": MetadataValue.json(verdict.advice()),
                "expectations": len(verdict.outcomes),
                "data_docs": MetadataValue.path(str(verdict.data_docs / "index.html")),
            },
        )

    @multi_asset(
        name=f"{source.name}_raw_zone",
        specs=[
            AssetSpec(
                [source.name, table.name],
                deps=[landing.key],
                group_name="raw",
                description=f"`{table.file}` in the raw zone: every version of every row ever accepted.",
                kinds={"parquet"},
            )
            for table in source.tables
        ],
    )
    def raw_zone(run: Run) -> Iterator[MaterializeResult[Any]]:
        batch = accept(run.settings, source.name)
        counts = {table.table: table for table in batch.tables} if batch else {}
        for table in source.tables:
            new = counts.get(table.name)
            yield MaterializeResult(
                asset_key=[source.name, table.name],
                metadata={
                    "dagster/row_count": (new.previous + new.accepted) if new else None,
                    "accepted": new.accepted if new else 0,
                    "quarantined": new.quarantined if new else 0,
                    "superseded": new.superseded if new else 0,
                    "deleted": new.deleted if new else 0,
                },
            )

    return [landing, landing_gate, raw_zone]


def _rows_table(tables: list[Any]) -> str:
    rows = "\n".join(
        f"| {t.file} | {t.landed:,} | {t.accepted:,} | {t.quarantined:,} | {t.superseded:,} | {t.deleted:,} |"
        for t in tables
    )
    return f"| file | landed | accepted | quarantined | superseded | deleted |\n|---|---|---|---|---|---|\n{rows}"


_everything = [part for name in known_sources() for part in _ingest(load_source(name))]

defs = Definitions(
    assets=[part for part in _everything if not isinstance(part, AssetChecksDefinition)],
    asset_checks=[part for part in _everything if isinstance(part, AssetChecksDefinition)],
)
