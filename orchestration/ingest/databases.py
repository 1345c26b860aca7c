"""The source `sql`: finance entities from a database, by the tables or queries a file names for them.

Everything is read in one transaction that cannot write, on PostgreSQL and SQLite of one moment. dlt fetches and makes
Arrow of it; where to go on from is kept by our batch, so no dlt pipeline, and no state of one, is involved.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
import yaml

from orchestration.errors import SightlineError, SourceError, UsageError
from orchestration.ingest.contract import Column, Table, load_source
from orchestration.ingest.syncing import Memory, Offer, scrubbed, without_exponent
from orchestration.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

    from orchestration.diagnosis import Diagnosis

# The field by which `_sql__sources.yml` asks for changes: the column that `cursor` names.
CURSOR = "_cursor"
PIECE_ROWS = 50_000
CONNECT_SECONDS = 10
# A quoted text, a quoted name or a comment.
QUOTED = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|--[^\n]*|/\*.*?\*/", re.DOTALL)


@dataclass(frozen=True)
class Delivery:
    """Where one entity comes from, as `SIGHTLINE_SQL_TABLES` says.

    Attributes:
        columns: column of the contract to column of the table or query, where they differ.
    """

    table: str | None = None
    query: str | None = None
    cursor: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def place(self) -> str:
        return self.table or "its query"

    @property
    def fingerprint(self) -> str:
        """Another one is other rows, of which the old cursor says nothing."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


def read_deliveries(path: Path) -> dict[str, Delivery]:
    """What `SIGHTLINE_SQL_TABLES` names for each entity.

    Raises:
        UsageError: the file is not there or not what it must be; the sentence names file and entity.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); set SIGHTLINE_SQL_TABLES to the file.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not YAML ({_one_line(error)}); see docs/sql.md.") from None
    if not isinstance(content, dict) or not content:
        raise UsageError(f"{path} names no entity; write one as `invoices: {{table: finance.invoices}}`.")
    source = load_source("sql")
    tables = {table.name: table for table in source.tables}
    unknown = sorted(str(name) for name in content if name not in tables)
    if unknown:
        raise UsageError(f"{path}: there is no entity {', '.join(unknown)}; there is {', '.join(tables)}.")
    return {name: _delivery(path, tables[name], entry) for name, entry in content.items()}


def connect_database(settings: Settings) -> Database:
    """Opens the one transaction in which everything is read.

    Raises:
        UsageError: the file of tables or the address is wrong, or the database's driver is not installed.
        SourceError: the database cannot be reached or does not let us in.
    """
    if settings.sql_url is None or settings.sql_tables is None:
        raise UsageError("The source sql needs SIGHTLINE_SQL_URL and SIGHTLINE_SQL_TABLES; see docs/sql.md.")
    deliveries = read_deliveries(settings.sql_tables)
    try:
        url = sa.engine.make_url(settings.sql_url.get_secret_value())
    except (sa.exc.ArgumentError, ValueError):
        raise UsageError(
            "SIGHTLINE_SQL_URL is no address of a database; write it as postgresql://user:password@host:5432/database."
        ) from None
    if url.drivername in ("postgres", "postgresql"):
        url = url.set(drivername="postgresql+psycopg")
    kind = url.get_backend_name()
    if kind == "sqlite" and not (url.database and Path(url.database).is_file()):
        raise SourceError(f"There is no database {url.database or '(in memory)'}; correct SIGHTLINE_SQL_URL.")
    arguments: dict[str, Any] = {}
    if kind == "postgresql":
        arguments = {"connect_timeout": CONNECT_SECONDS, "application_name": "sightline"}
        arguments = {name: value for name, value in arguments.items() if name not in url.query}
    try:
        engine = sa.create_engine(url, connect_args=arguments, poolclass=sa.pool.NullPool, hide_parameters=True)
    except (ModuleNotFoundError, sa.exc.NoSuchModuleError) as error:
        raise UsageError(
            f"SIGHTLINE_SQL_URL wants the driver {url.drivername}, which is not installed ({_one_line(error)}); "
            "install the package it is in."
        ) from None
    where = f"{url.host or ''}{f':{url.port}' if url.port else ''}/{url.database or ''}"
    try:
        connection = engine.connect()
        if kind == "postgresql":
            connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        if kind == "sqlite":
            connection.exec_driver_sql("pragma query_only = on")
            connection.exec_driver_sql("begin")
        connection.execute(sa.text("select 1" if kind != "oracle" else "select 1 from dual"))
    except Exception as error:
        engine.dispose()
        raise SourceError(
            scrubbed(
                settings,
                f"The database {where} cannot be read as {url.username or 'nobody'} ({_said(error)}); "
                "correct SIGHTLINE_SQL_URL, or see that the server is there.",
            )
        ) from None
    return Database(settings, deliveries, connection, where)


def examine_database(settings: Settings) -> list[Diagnosis]:
    """What `sightline doctor` tells of the database: can it be reached, and each entity be read, by whom."""
    from orchestration.diagnosis import Diagnosis

    try:
        database = connect_database(settings)
    except SightlineError as error:
        return [Diagnosis("SQL", "problem", scrubbed(settings, str(error)).rstrip("."))]
    try:
        url = database.connection.engine.url
        found = [Diagnosis("SQL", "ok", f"{url.get_backend_name()} {database.where}, as {url.username or 'nobody'}")]
        for table in load_source("sql").tables:
            found.append(_diagnose_entity(settings, database, table))
        writable = database.writable()
        if writable:
            found.append(
                Diagnosis(
                    "SQL role", "warning", f"may write to {', '.join(writable)}; grant SELECT only, as docs/sql.md says"
                )
            )
        return found
    finally:
        database.close()


def _diagnose_entity(settings: Settings, database: Database, table: Table) -> Diagnosis:
    from orchestration.diagnosis import Diagnosis

    subject = f"SQL {table.name}"
    try:
        offer = database.offer(table)
    except SightlineError as error:
        database.connection.rollback()
        return Diagnosis(subject, "problem", scrubbed(settings, str(error)).rstrip("."))
    if offer.problem:
        return Diagnosis(subject, "ok", offer.problem)
    delivery = database.deliveries[table.name]
    keys = [key for key in table.keys if key not in offer.fields]
    required = [column.name for column in table.columns if column.is_required and column.name not in offer.fields]
    if keys or required:
        return Diagnosis(
            subject,
            "problem",
            f"{delivery.place} has no {', '.join([*keys, *required])}; say under columns which column it is",
        )
    absent = [column.name for column in table.columns if column.name not in offer.fields]
    how = f"changes by {delivery.cursor}" if delivery.cursor else "whole at each run"
    more = f"; not known: {', '.join(absent)}" if absent else ""
    if delivery.cursor and table.deleted_by in absent and table.mode == "current":
        return Diagnosis(
            subject, "warning", f"{delivery.place}, {how}{more}; deleted rows are not noticed, see docs/sql.md"
        )
    return Diagnosis(subject, "ok", f"{delivery.place}, {how}{more}")


class Database:
    """A connector: what `SIGHTLINE_SQL_TABLES` names, read in one transaction."""

    def __init__(
        self, settings: Settings, deliveries: Mapping[str, Delivery], connection: sa.Connection, where: str
    ) -> None:
        self.settings, self.deliveries, self.connection, self.where = settings, deliveries, connection, where
        self.file = settings.sql_tables
        self.overlap = timedelta(minutes=settings.sync_overlap_minutes)
        self.started = datetime.now(UTC)
        self.pulled: set[str] = set()

    def offer(self, table: Table) -> Offer:
        """The columns of the table or query, and beside them the contract's, where the file says which they are."""
        delivery = self.deliveries.get(table.name)
        if delivery is None:
            return Offer(problem=f"is not named in {self.file}: not known")
        statement = sa.select(sa.text("*")).select_from(_relation(delivery)).where(sa.false())
        with self._told(table.name):
            result = self.connection.execute(statement)
            names = list(result.keys())
            types = [getattr(column, "type_display", None) or str(column[1] or "") for column in _description(result)]
            result.close()
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise SourceError(f"{self.file}, {table.name}: {delivery.place} gives {', '.join(doubled)} more than once.")
        given = dict(zip(names, types, strict=True))
        wanted = [*delivery.columns.values(), *([delivery.cursor] if delivery.cursor else [])]
        missing = sorted({name for name in wanted if name not in given})
        if missing:
            raise SourceError(
                f"{self.file}, {table.name}: {delivery.place} has no column {', '.join(missing)}; "
                f"it has {', '.join(names)}."
            )
        fields = given | {column: given[name] for column, name in delivery.columns.items()}
        fields.pop(CURSOR, None)
        if delivery.cursor:
            fields[CURSOR] = given[delivery.cursor]
        return Offer(fields, origin=delivery.fingerprint)

    def pull(
        self, table: Table, fields: Mapping[str, str], since: str | None, memory: Memory
    ) -> Iterator[tuple[pa.Table, str | None]]:
        """The rows whose cursor is not before the last one, less what can come late, or is empty; without one, all."""
        import pyarrow as pa

        delivery = self.deliveries[table.name]
        last = _Position(**json.loads(since)) if since else None
        given: dict[str, sa.ColumnClause[Any]] = {
            column: sa.column(delivery.columns.get(name, name)) for column, name in fields.items()
        }
        selected = [value.label(column) for column, value in given.items()]
        statement = sa.select(*selected).select_from(_relation(delivery))
        if delivery.cursor:
            cursor: sa.ColumnClause[Any] = sa.column(delivery.cursor)
            statement = statement.add_columns(cursor.label(CURSOR))
            begin = last.begin(self.overlap) if last else None
            if begin is not None:
                statement = statement.where(sa.or_(cursor >= begin, cursor.is_(None)))
        columns = {column.name: column for column in table.columns}
        newest: Any = None
        told: str | None = None
        for piece in self._pieces(table.name, [column.key for column in statement.selected_columns], statement):
            if delivery.cursor:
                newest = _later(newest, self._newest(table.name, delivery, piece[CURSOR]))
                if newest is not None:
                    told = _Position.after(newest, last, self.started, self.overlap).write()
            texts = [self._text(table.name, columns.get(name), name, piece[name].combine_chunks()) for name in fields]
            yield pa.table(texts, names=list(fields)), told
        self.pulled.add(table.name)

    def notes(self) -> list[str]:
        notes = []
        earlier = sorted(set(self.deliveries) - self.pulled)
        if earlier:
            notes.append(
                f"{', '.join(earlier)} were read before an interruption, at an earlier moment than the other tables"
            )
        if self.connection.dialect.name not in ("postgresql", "sqlite"):
            notes.append("tables were read one after the other, not all as of one moment")
        return notes

    def close(self) -> None:
        self.connection.close()
        self.connection.engine.dispose()

    def writable(self) -> list[str]:
        """Tables the role may write to, as far as the engine tells."""
        if self.connection.dialect.name != "postgresql":
            return []
        statement = sa.text(
            "select bool_or(has_table_privilege(to_regclass(:name), what)) "
            "from unnest(array['insert', 'update', 'delete', 'truncate']) as what"
        )
        quote = self.connection.dialect.identifier_preparer
        tables = {d.table: quote.format_table(_table_clause(d.table)) for d in self.deliveries.values() if d.table}
        return [
            table for table, name in tables.items() if self.connection.execute(statement, {"name": name}).scalar_one()
        ]

    def _pieces(self, entity: str, names: list[str | None], statement: sa.Select[Any]) -> Iterator[pa.Table]:
        """The rows of a statement as Arrow tables, fetched by dlt on the connection of this sync."""
        from dlt.sources.sql_database import TableLoader, sql_table

        connection = self.connection

        class OneTransaction(TableLoader):
            """dlt opens a connection for each table; then each would be of another moment."""

            def _load_rows(self, query: Any, backend_kwargs: dict[str, Any]) -> Iterator[Any]:
                result = connection.execute(query, execution_options={"yield_per": self.chunk_size})
                try:
                    yield from self._convert_result(result, backend_kwargs)
                finally:
                    result.close()

        # What a column holds is told by the values: a declared `numeric` would be cut to dlt's 38 digits.
        shape = sa.Table(entity, sa.MetaData(), *[sa.Column(name, sa.types.NullType()) for name in names])
        rows = sql_table(
            credentials=connection.engine,
            table=entity,
            metadata=shape.metadata,
            backend="pyarrow",
            chunk_size=PIECE_ROWS,
            type_adapter_callback=lambda kind: None,
            query_adapter_callback=lambda query, table: statement,
            table_loader_class=OneTransaction,
        )
        with self._told(entity):
            yield from rows

    @contextmanager
    def _told(self, entity: str) -> Iterator[None]:
        """Whatever the database says of an entity becomes one sentence."""
        try:
            yield
        except (SightlineError, GeneratorExit):
            raise
        except Exception as error:
            place = self.deliveries[entity].place
            advice = "run again, what was read whole is kept" if _is_gone(error) else "correct it there or grant SELECT"
            text = f"{self.file}, {entity}: {place} cannot be read ({_said(error)}); {advice}."
            raise SourceError(scrubbed(self.settings, text)) from None

    def _newest(self, entity: str, delivery: Delivery, values: pa.ChunkedArray) -> Any:
        """The greatest cursor of a piece, but not one of the future: what comes until then would not be read."""
        import pyarrow.compute as pc

        newest = pc.max(values).as_py()
        if newest is None or (isinstance(newest, (int, float, Decimal)) and not isinstance(newest, bool)):
            return newest
        if isinstance(newest, datetime):
            now = self.started if newest.tzinfo else self.started.replace(tzinfo=None)
            return min(newest, now).astimezone(UTC) if newest.tzinfo else min(newest, now)
        if isinstance(newest, date):
            return min(newest, self.started.date())
        if isinstance(newest, str) and _as_time(newest):
            return min(newest, self.started.isoformat(sep=newest[10:11] or " "))
        raise UsageError(
            f"{self.file}, {entity}: cursor {delivery.cursor} is neither a time nor a number; name another, or none."
        )

    def _text(self, entity: str, column: Column | None, name: str, values: pa.Array) -> pa.Array:
        import pyarrow as pa

        try:
            return as_text(values, column.data_type if column else "text")
        except pa.ArrowException:
            raise SourceError(
                f"{self.file}, {entity}: {name} is of a type ({values.type}) that is no text, number, date or "
                "boolean; cast it in a query."
            ) from None


def as_text(values: pa.Array, data_type: str) -> pa.Array:
    """Values of a database as the contract writes them: always the same text for the same value.

    Numbers have no exponent and no zeros at the end, points in time are UTC, a point in time that is midnight is a
    date where one is wanted.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = values.type
    if pa.types.is_timestamp(kind):
        moments = values.cast(pa.timestamp("us"))
        texts = pc.binary_join_element_wise(_without_zeros(pc.strftime(moments, "%Y-%m-%dT%H:%M:%S")), "Z", "")
        if data_type != "date":
            return texts
        is_midnight = pc.equal(moments, pc.floor_temporal(moments, unit="day"))
        return pc.if_else(is_midnight, pc.strftime(moments, "%Y-%m-%d").cast(pa.string()), texts)
    texts = values.cast(pa.string())
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _without_zeros(without_exponent(texts))
    if data_type in ("int", "decimal", "rate", "share"):
        return without_exponent(texts)
    return texts


def _without_zeros(texts: pa.Array) -> pa.Array:
    """1.50 as 1.5 and 1.00 as 1."""
    import pyarrow.compute as pc

    return pc.if_else(pc.match_substring(texts, "."), pc.utf8_rtrim(pc.utf8_rtrim(texts, "0"), "."), texts)


@dataclass(frozen=True)
class _Position:
    """How far a table was read by its cursor.

    Attributes:
        value: the newest cursor, as text.
        settled: of a number, the one before which nothing can come any more; empty when there is none yet. Numbers
            are given before they can be seen, so one that was open when we looked lies before the newest.
        read_at: when.
    """

    kind: str
    value: str
    settled: str
    read_at: str

    @classmethod
    def after(cls, newest: Any, last: _Position | None, now: datetime, overlap: timedelta) -> _Position:
        kind, settled = type(newest).__name__, ""
        if isinstance(newest, (int, float, Decimal)):
            kind = "number"
            if not overlap:
                settled = str(newest)
            elif last and last.kind == kind:
                is_old = now - datetime.fromisoformat(last.read_at) >= overlap
                settled = last.value if is_old else last.settled
        value = newest.isoformat() if isinstance(newest, date) else str(newest)
        return cls(kind, value, settled, now.isoformat())

    def write(self) -> str:
        return json.dumps(asdict(self))

    def begin(self, overlap: timedelta) -> Any:
        """The first value to be read again; None for all of them."""
        if self.kind == "number":
            if not self.settled:
                return None
            number = Decimal(self.settled)
            # Compared as a decimal, a column of integers would lose its index.
            return int(number) if number == int(number) else number
        if self.kind == "date":
            return (datetime.combine(date.fromisoformat(self.value), time()) - overlap).date()
        moment = datetime.fromisoformat(self.value) - overlap
        if self.kind == "datetime":
            return sa.literal(moment, sa.DateTime(timezone=moment.tzinfo is not None))
        # Texts are compared as texts: a shorter one comes before those that go on with a fraction or a zone.
        return moment.strftime("%Y-%m-%d" if len(self.value) == 10 else f"%Y-%m-%d{self.value[10]}%H:%M:%S")


def _delivery(path: Path, table: Table, entry: Any) -> Delivery:
    where = f"{path}, {table.name}"
    if not isinstance(entry, dict):
        raise UsageError(f"{where}: write `{{table: schema.name}}` or `{{query: select …}}`.")
    unknown = sorted(str(name) for name in entry if name not in ("table", "query", "cursor", "columns"))
    if unknown:
        raise UsageError(f"{where}: {', '.join(unknown)} is not known; there is table, query, cursor, columns.")
    if ("table" in entry) == ("query" in entry):
        raise UsageError(f"{where}: name a table or a query, one of the two.")
    for name in ("table", "query", "cursor"):
        if name in entry and not (isinstance(entry[name], str) and entry[name].strip()):
            raise UsageError(f"{where}: {name} must be a text.")
    columns = entry.get("columns", {})
    if not isinstance(columns, dict) or not all(isinstance(text, str) for pair in columns.items() for text in pair):
        raise UsageError(f"{where}: columns must be written as `{{contract_column: database_column}}`.")
    known = [column.name for column in table.columns]
    strange = sorted(set(columns) - set(known))
    if strange:
        raise UsageError(f"{where}: the contract has no column {', '.join(strange)}; it has {', '.join(known)}.")
    query = entry.get("query")
    if query is not None:
        query = query.strip().removesuffix(";").strip()
        bare = QUOTED.sub(" ", query).strip()
        if not re.match(r"(select|with)\b", bare, re.IGNORECASE) or ";" in bare:
            raise UsageError(f"{where}: query must be one SELECT.")
    return Delivery(entry.get("table"), query, entry.get("cursor"), columns)


def _table_clause(name: str) -> sa.TableClause:
    schema, _, table = name.rpartition(".")
    return sa.table(table, schema=schema or None)


def _relation(delivery: Delivery) -> sa.FromClause:
    if delivery.table:
        return _table_clause(delivery.table)
    # A colon names no parameter here. A comment at the end must not swallow what follows.
    text = str(delivery.query).replace(":", r"\:")
    return sa.text(f"{text}\n").columns().subquery("delivered")


def _description(result: sa.CursorResult[Any]) -> Any:
    return result.cursor.description if result.cursor else ()


def _as_time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _later(one: Any, other: Any) -> Any:
    return other if one is None else one if other is None else max(one, other)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what is behind it, what the database itself said last."""
    inner: BaseException | None = error
    while inner is not None:
        yield inner
        inner = getattr(inner, "orig", None) or inner.__cause__


def _said(error: BaseException) -> str:
    return _one_line([*_causes(error)][-1])


def _is_gone(error: BaseException) -> bool:
    """Whether the connection broke."""
    return any(getattr(cause, "connection_invalidated", False) for cause in _causes(error))


def _one_line(error: BaseException) -> str:
    # PostgreSQL shows the statement behind what it says.
    text = re.split(r"\sLINE \d+:", " ".join(str(error).split()))[0].rstrip(".")
    return text[:300] or type(error).__name__
