"""A release in PostgreSQL: copied beside the one that is read, then served by one transaction.

`funnel.win_rates` there is a view that stays; the rows of each release are tables in a schema of their own,
`sightline_release_<number>`, attached to what the view reads. `sightline.serving()` says which number a transaction
reads, by when it began. So nobody waits for anybody: a transaction that began before the swap goes on reading its
release, in every table and at every isolation level, and the next one reads the new. docs/postgres.md says it for
people who read there.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import duckdb

from orchestration.errors import SightlineError, UsageError
from orchestration.ingest.rules import literal
from orchestration.ingest.syncing import scrubbed
from orchestration.publish.postgres_server import (
    EXECUTIVE,
    HOME,
    MANAGER,
    READER,
    Column,
    Mart,
    Server,
    connected,
    quoted,
)
from orchestration.publish.releases import current_release, release_manifest
from orchestration.settings import Settings

if TYPE_CHECKING:
    from orchestration.diagnosis import Diagnosis

BATCH_ROWS = 65_536
# Names of PostgreSQL are cut off beyond this.
NAME_BYTES = 63
TYPES = {
    "BOOLEAN": "boolean",
    "TINYINT": "smallint",
    "SMALLINT": "smallint",
    "INTEGER": "integer",
    "BIGINT": "bigint",
    "FLOAT": "real",
    "DOUBLE": "double precision",
    "VARCHAR": "text",
    "DATE": "date",
    # Every timestamp of a release is UTC.
    "TIMESTAMP": "timestamp with time zone",
    "TIMESTAMP WITH TIME ZONE": "timestamp with time zone",
}


@dataclass(frozen=True)
class Served:
    """What became of serving a release.

    Attributes:
        rows: how many were copied; none where the release was there already.
        notes: what is worth telling, a sentence each.
    """

    release: str
    rows: int
    seconds: float
    notes: list[str] = field(default_factory=list)

    def sentence(self) -> str:
        if not self.seconds:
            return f"PostgreSQL serves {self.release} already."
        how = f"{self.rows:,} rows copied" if self.rows else "its rows were there"
        return f"PostgreSQL serves {self.release} now: {how}, {self.seconds:.1f} s."


def serve_release(settings: Settings, on_table: Callable[[str], None] = lambda label: None) -> Served:
    """Puts the current release into PostgreSQL, if it is not what is served there already.

    Raises:
        UsageError: the setting, the rights or the extra are not there, or a schema of ours is somebody else's.
        SourceError: the server failed; what was served before is still served.
    """
    name = current_release(settings)
    if name is None:
        raise UsageError("Nothing is published yet; run sightline run first.")
    begun = time.monotonic()
    manifest = release_manifest(settings, name)
    digest = hashlib.sha256((settings.published / name / "manifest.json").read_bytes()).hexdigest()
    database = settings.published / name / "sightline.duckdb"
    with duckdb.connect(str(database), read_only=True) as release, connected(settings) as server:
        release.execute("set TimeZone = 'UTC'")
        release.execute("set threads = 2")
        marts = read_marts(release, manifest)
        with server.doing(f"Release {name} is not in PostgreSQL"):
            server.take_lock()
            server.prepare({mart.schema for mart in marts})
            server.clear()
            served = server.served()
            if served and served[1] == digest:
                return Served(name, 0, 0.0)
            rows = 0
            number = server.stored(digest)
            if number is None:
                server.retire(served[0] if served else None)
                number = server.next_number()
                rows = _copy(release, server, marts, number, on_table)
                server.swap(marts, number, _copy_row(number, digest, manifest, rows))
            else:
                server.point_to(marts, number)
        server.finish(marts if rows else [])
    return Served(name, rows, time.monotonic() - begun, server.notes)


def examine_postgres(settings: Settings) -> list[Diagnosis]:
    """What `sightline doctor` tells of the server: can it be reached, what is served, and may we do what we must."""
    from orchestration.diagnosis import Diagnosis

    subject = "PostgreSQL"
    try:
        with connected(settings) as server, server.doing("It cannot be examined"):
            schemas: set[str] = set()
            name = current_release(settings)
            if name:
                schemas = {label.partition(".")[0] for label in release_manifest(settings, name)["rows"]}
            server.check(schemas)
            served = server.served()
            release = server.value(f"select release from {HOME}.copies where number = {served[0]}") if served else None
            user = server.value("select current_user")
            text = f"{server.where} as {user}; serves {release or 'no release yet'}"
            if name and release != name:
                text += f", and {name} after the next run or sightline postgres"
            return [Diagnosis(subject, "ok", text)]
    except SightlineError as error:
        return [Diagnosis(subject, "problem", scrubbed(settings, str(error)).rstrip("."))]


def read_marts(release: duckdb.DuckDBPyConnection, manifest: Mapping[str, Any]) -> list[Mart]:
    """The tables of a release with what its own comments and its manifest say of them.

    Raises:
        UsageError: a column's type, or the length of a name, is none PostgreSQL has.
    """
    columns: dict[tuple[str, str], list[Column]] = {}
    for schema, table, column, kind, comment in release.execute(
        "select schema_name, table_name, column_name, data_type, coalesce(comment, '') from duckdb_columns() "
        "where not internal order by schema_name, table_name, column_index"
    ).fetchall():
        type_ = postgres_type(kind)
        if type_ is None:
            raise UsageError(f"{schema}.{table}: column {column} is {kind}, which is not copied to PostgreSQL.")
        columns.setdefault((schema, table), []).append(Column(column, type_, comment))
    readers, keys, rows = manifest.get("readers", {}), manifest.get("keys", {}), manifest["rows"]
    found = []
    for schema, table, comment in release.execute(
        "select schema_name, table_name, coalesce(comment, '') from duckdb_tables() where not internal order by all"
    ).fetchall():
        label = f"{schema}.{table}"
        role = _role(schema, readers.get(label) if readers else None, bool(readers))
        mart = Mart(
            schema, table, comment, rows[label], tuple(columns[schema, table]), tuple(keys.get(label, ())), role
        )
        if len(mart.stored.encode()) > NAME_BYTES:
            raise UsageError(f"{label}: the name is too long for PostgreSQL, {NAME_BYTES - 2} letters at most.")
        found.append(mart)
    return found


def postgres_type(kind: str) -> str | None:
    """PostgreSQL's type for one of DuckDB's; None where there is none that keeps the value."""
    if kind.endswith("[]"):
        inner = postgres_type(kind[:-2])
        return None if inner is None or inner.startswith("numeric") or inner.endswith("[]") else f"{inner}[]"
    decimal = re.fullmatch(r"DECIMAL\((\d+),(\d+)\)", kind)
    return f"numeric({decimal[1]},{decimal[2]})" if decimal else TYPES.get(kind)


def _role(schema: str, readers: Mapping[str, Any] | None, is_told: bool) -> str:
    """The least role that may read a table; what nobody has opened is for executives."""
    if not is_told:
        return MANAGER if schema == "people" else READER
    if readers is None:
        return EXECUTIVE
    return MANAGER if readers.get("people") else READER


def _copy(
    release: duckdb.DuckDBPyConnection,
    server: Server,
    marts: Sequence[Mart],
    number: int,
    on_table: Callable[[str], None],
) -> int:
    """Copies every table into the schema `sightline_incoming`, with keys, indexes and statistics; returns the rows."""
    server.begin_copy()
    total = 0
    for mart in marts:
        on_table(mart.label)
        server.action = mart.label
        names = ", ".join(quoted(column.name) for column in mart.columns)
        rows = release.sql(f"select {names} from {quoted(mart.schema)}.{quoted(mart.name)}")
        total += server.copy(mart, number, rows.to_arrow_reader(BATCH_ROWS))
    server.action = ""
    return total


def _copy_row(number: int, digest: str, manifest: Mapping[str, Any], rows: int) -> str:
    """What `sightline.copies` says of a release."""
    told = (
        manifest["release"],
        digest,
        manifest["as_of_date"],
        manifest["published_at"],
        manifest["code_version"],
        ", ".join(manifest["sources"]),
    )
    return f"{number}, {', '.join(map(literal, told))}, {rows}"
