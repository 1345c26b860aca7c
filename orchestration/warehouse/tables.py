"""Tables dbt has built, read with DuckDB whichever engine built them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from orchestration.ingest.rules import literal
from orchestration.settings import Settings

# What the outcome model reads: all of it is built before it speaks.
READS_OF_PREDICTIONS = [
    ("intermediate", "int_outcome_features"),
    ("intermediate", "int_reporting_lines_then"),
    ("core", "opportunities"),
    ("core", "calendar"),
    ("core", "reps"),
]


class BuiltTables:
    """Reads the warehouse; to be closed before dbt opens it again."""

    def __init__(self, settings: Settings, target: str, connection: duckdb.DuckDBPyConnection) -> None:
        self.settings, self.target, self.connection = settings, target, connection

    def name(self, schema: str, table: str) -> str:
        """What to write after `from`."""
        if self.target == "duckdb":
            return f"warehouse.{schema}.{table}"
        return f"read_parquet({literal(str(self.settings.spark_warehouse / f'{schema}.db' / table / '*.parquet'))})"


@contextmanager
def built_tables(settings: Settings, target: str) -> Iterator[BuiltTables]:
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        if target == "duckdb":
            connection.execute(f"attach {literal(str(settings.warehouse))} as warehouse (read_only)")
        yield BuiltTables(settings, target, connection)
