"""The landing gate: what a batch must be before it enters the raw zone."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import duckdb

from expectations.landing import landing_expectations
from orchestration.ingest.contract import load_source
from orchestration.ingest.landing import Batch, read_batch
from orchestration.ingest.reading import Finding
from orchestration.ingest.rules import literal
from orchestration.quality.expectation import gate_limits
from orchestration.quality.gate import Verdict, run_gate
from orchestration.settings import Settings


def judge_batch(settings: Settings, folder: Path) -> Verdict:
    """Judges a batch that waits in `incoming/`."""
    batch = read_batch(folder)
    database = folder.parent / "gate.duckdb"
    database.unlink(missing_ok=True)
    with duckdb.connect(str(database)) as connection:
        _describe(connection, settings, batch)
    return run_gate("landing", database, landing_expectations(gate_limits()), settings.data_docs / "landing")


def findings(settings: Settings, batch: Batch) -> list[Finding]:
    """What is wrong with a batch's files, one finding a row or file, in the order of the files."""
    columns = ", ".join(f'"{name}"' for name in Finding.__dataclass_fields__ if name != "table")
    order = [table.name for table in load_source(batch.source).tables]
    return [
        Finding(table, *row)
        for table in order
        for path in (settings.quarantine / batch.source / batch.batch_id).glob(f"{table}.parquet")
        for row in duckdb.execute(f"select {columns} from {literal(str(path))} order by file, line").fetchall()
    ]


def _describe(connection: duckdb.DuckDBPyConnection, settings: Settings, batch: Batch) -> None:
    """Writes the tables the expectations read: the batch, its files, and what was found wrong."""
    connection.execute(
        "create table batch (batch_id varchar, extracted_at timestamp, landed_at timestamp, mode varchar)"
    )
    connection.execute(
        "insert into batch values (?, ?::timestamp, ?::timestamp, ?)",
        [batch.batch_id, batch.extracted_at.rstrip("Z"), batch.landed_at.rstrip("Z"), batch.mode],
    )
    connection.execute(
        'create table files ("table" varchar, file varchar, sha256 varchar, landed bigint, accepted bigint, '
        "quarantined bigint, superseded bigint, deleted bigint, previous bigint, is_required boolean, example varchar)"
    )
    found = findings(settings, batch)
    source = load_source(batch.source)
    for counts in batch.tables:
        example = next((finding.sentence() for finding in found if finding.table == counts.table), None)
        connection.execute(
            "insert into files values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [*asdict(counts).values(), source.table(counts.table).is_required, example],
        )
    connection.execute("create table findings (effect varchar, sentence varchar)")
    if found:
        connection.executemany("insert into findings values (?, ?)", [[f.effect, f.sentence()] for f in found])
