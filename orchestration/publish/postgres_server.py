"""The database in which releases are served: what is made there, how a release comes in and an old one goes.

Names of a mart are those of a view, which stays. It reads partitions, one of each release that is kept, and of these
the one `sightline.serving()` names, by when the reader's transaction began.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import parse_qsl, urlencode, urlsplit

from orchestration.errors import SourceError, UsageError
from orchestration.ingest.rules import literal
from orchestration.ingest.syncing import scrubbed
from orchestration.settings import Settings

# The comment by which a schema of ours is known; one of the same name without it is somebody else's.
MARK = "Made by Sightline, which writes it at every release: see docs/postgres.md."
# What readers read of the release, and how; what the views read; and a release while it is copied.
HOME, STORE, INCOMING = "sightline", "sightline_data", "sightline_incoming"
# Each may read what the one before may, and more. They hold rights, nobody logs in as one of them.
READER, MANAGER, EXECUTIVE = ROLES = ("sightline_reader", "sightline_manager", "sightline_executive")
OLDEST_SERVER = 140000
CONNECT_SECONDS = 10
# A table of fewer rows is scanned faster than an index is looked up.
INDEXED_ROWS = 10_000
# How long we may stand in a reader's way at once, and how long we go on trying.
LOCK_MILLISECONDS = 400
PATIENCE_SECONDS = 30.0
# A release is served to transactions that begin so long after the swap was written, so that no transaction begins
# between the moment it is served from and the moment that is known.
AHEAD_SECONDS = 1
# lock_not_available, query_canceled, deadlock_detected
BUSY = {"55P03", "57014", "40P01"}
# dependent_objects_still_exist
DEPENDED_ON = "2BP01"
SET_UP = f"""
create schema {HOME};
create schema {STORE};
comment on schema {HOME} is {literal(MARK)};
comment on schema {STORE} is {literal(MARK)};
create table {HOME}.copies (
    number integer primary key,
    release text not null,
    digest text not null,
    as_of_date date not null,
    published_at timestamptz not null,
    code_version text not null,
    sources text not null,
    row_count bigint not null,
    copied_at timestamptz not null default now()
);
create table {HOME}.servings (
    serves_from timestamptz primary key,
    number integer not null references {HOME}.copies
);
create function {HOME}.serving() returns integer
language plpgsql stable parallel safe security definer set search_path = pg_catalog, pg_temp as $$
declare
    found integer;
begin
    select s.number into found from {HOME}.servings as s
    where s.serves_from <= transaction_timestamp() order by s.serves_from desc limit 1;
    if found is null then
        raise exception 'No release was served yet when this transaction began; begin another one.'
            using errcode = 'object_not_in_prerequisite_state';
    end if;
    if to_regnamespace('sightline_release_' || found) is null then
        raise exception 'The release this transaction began with is not kept any more; begin another one.'
            using errcode = 'object_not_in_prerequisite_state';
    end if;
    return found;
end $$;
create view {HOME}.release as
select c.release, c.as_of_date, c.published_at, s.served_from, c.code_version, c.sources, c.row_count
from {HOME}.copies as c
cross join (
    select max(serves_from) as served_from from {HOME}.servings where serves_from <= transaction_timestamp()
) as s
where c.number = (select {HOME}.serving());
comment on table {HOME}.copies is 'One row per release that was copied.';
comment on table {HOME}.servings is 'One row per time a release began to be read.';
comment on view {HOME}.release is 'One row: the release this transaction reads.';
comment on column {HOME}.release.release is 'Name of the release.';
comment on column {HOME}.release.as_of_date is 'The day it tells everything as known on.';
comment on column {HOME}.release.published_at is 'When it was published.';
comment on column {HOME}.release.served_from is 'Since when it is read here.';
comment on column {HOME}.release.code_version is 'The version of Sightline that made it.';
comment on column {HOME}.release.sources is 'The sources it is made from.';
comment on column {HOME}.release.row_count is 'Rows of all its tables.';
"""


@dataclass(frozen=True)
class Column:
    name: str
    type: str
    comment: str


@dataclass(frozen=True)
class Mart:
    """A table of a release, as PostgreSQL is to have it.

    Attributes:
        columns: in order, with PostgreSQL's types.
        key: columns of the primary key; empty where the release names none.
        role: the least role that may read it.
    """

    schema: str
    name: str
    comment: str
    rows: int
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    role: str

    @property
    def label(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def stored(self) -> str:
        """Name of its tables where the rows are."""
        return f"{self.schema}__{self.name}"

    @property
    def view(self) -> str:
        return f"{quoted(self.schema)}.{quoted(self.name)}"

    @property
    def parent(self) -> str:
        return f"{STORE}.{quoted(self.stored)}"

    @property
    def shape(self) -> list[tuple[str, str]]:
        return [*((column.name, column.type) for column in self.columns), ("number", "integer")]

    @property
    def indexes(self) -> list[str]:
        """Ids by which rows are looked up, where the key does not lead to them already."""
        if self.rows < INDEXED_ROWS:
            return []
        return [c.name for c in self.columns if c.name.endswith("_id") and c.name not in self.key[:2]]


@contextmanager
def connected(settings: Settings) -> Iterator[Server]:
    """A connection to the server of `SIGHTLINE_PUBLISH_POSTGRES`."""
    if settings.publish_postgres is None:
        raise UsageError("SIGHTLINE_PUBLISH_POSTGRES is not set; write it as postgresql://user:password@host/database.")
    try:
        import pyarrow  # noqa: F401
        from adbc_driver_postgresql import dbapi
    except ModuleNotFoundError:
        raise UsageError("Serving in PostgreSQL needs its extra: make install EXTRAS=postgres.") from None
    address = settings.publish_postgres.get_secret_value()
    try:
        url = urlsplit(address)
        given = dict(parse_qsl(url.query, strict_parsing=bool(url.query)))
        port = f":{url.port}" if url.port else ""
    except ValueError:
        url, given, port = urlsplit(""), {}, ""
    if url.scheme not in ("postgres", "postgresql"):
        raise UsageError(
            "SIGHTLINE_PUBLISH_POSTGRES is no address of a PostgreSQL database; "
            "write it as postgresql://user:password@host:5432/database."
        )
    asked = {"connect_timeout": str(CONNECT_SECONDS), "application_name": "sightline"} | given
    where = f"{url.hostname or given.get('host', '')}{port}{url.path}"
    try:
        connection = dbapi.connect(url._replace(query=urlencode(asked)).geturl())
    except Exception as error:
        raise SourceError(
            scrubbed(
                settings,
                f"PostgreSQL at {where} does not let us in as {url.username or 'nobody'} ({_said(error)}); "
                "correct SIGHTLINE_PUBLISH_POSTGRES, or see that the server is there.",
            )
        ) from None
    try:
        yield Server(settings, connection, where)
    finally:
        try:
            connection.close()
        except Exception:
            # The server is gone, and what had to be told of that is told already.
            pass


class Server:
    """The database in which releases are served. `notes` holds what is worth telling afterwards."""

    def __init__(self, settings: Settings, connection: Any, where: str) -> None:
        self.settings, self.connection, self.where = settings, connection, where
        self.cursor = connection.cursor()
        self.notes: list[str] = []
        self.action = ""

    def do(self, script: str) -> None:
        """Statements, in the transaction that is open: `executescript` would commit it first."""
        statement = self.cursor.adbc_statement
        statement.set_sql_query(script)
        statement.execute_update()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = self.cursor.execute(query).fetchall()
        return found

    def value(self, query: str) -> Any:
        return self.rows(query)[0][0]

    def commit(self) -> None:
        self.connection.commit()

    @contextmanager
    def doing(self, outcome: str) -> Iterator[None]:
        """Turns what the driver says into a sentence."""
        from adbc_driver_manager import Error

        try:
            yield
        except Error as error:
            what = f"{self.action}: " if self.action else ""
            told = f"{outcome} ({what}{_said(error)}); what is served there stays, and the next run tries again."
            raise SourceError(scrubbed(self.settings, told)) from None

    def take_lock(self) -> None:
        """One publication at a time; that of a process which was killed ends when the server notices."""
        end = time.monotonic() + PATIENCE_SECONDS
        while not self.value("select pg_try_advisory_lock(hashtext('sightline'), 0)"):
            self.commit()
            if time.monotonic() > end:
                raise SourceError("Another run is publishing to this PostgreSQL database; the next run tries again.")
            time.sleep(0.5)
        self.commit()

    def check(self, schemas: set[str]) -> None:
        """May we do here what we must?

        Raises:
            UsageError: we may not; the sentence says what to do.
        """
        if self.version() < OLDEST_SERVER:
            raise UsageError("Serving needs PostgreSQL 14 or later.")
        if not self.value("select has_database_privilege(current_database(), 'create')"):
            user, database = self.rows("select quote_ident(current_user), quote_ident(current_database())")[0]
            raise UsageError(
                f"PostgreSQL does not let {user} make schemas; as an administrator: "
                f"grant create on database {database} to {user}."
            )
        if self.missing_roles() and not self.may_make_roles():
            statements = "; ".join(
                [f"create role {role}" for role in self.missing_roles()]
                + [f"grant {low} to {high}" for low, high in zip(ROLES, ROLES[1:], strict=False)]
            )
            raise UsageError(f"PostgreSQL does not let us make roles; as an administrator: {statements}.")
        names = ", ".join(literal(name) for name in sorted({*schemas, HOME, STORE, INCOMING}))
        foreign = self.rows(
            "select nspname, obj_description(oid, 'pg_namespace') is not distinct from "
            f"{literal(MARK)}, pg_has_role(nspowner, 'usage') from pg_namespace where nspname in ({names}) order by 1"
        )
        for name, is_ours, is_owned in foreign:
            if not is_ours:
                raise UsageError(
                    f"PostgreSQL has a schema {name} that Sightline did not make, and will not touch; "
                    "rename it, or give Sightline a database of its own."
                )
            if not is_owned:
                raise UsageError(
                    f"The schema {name} belongs to another user than SIGHTLINE_PUBLISH_POSTGRES names; "
                    "publish as the user who made it, or drop it."
                )

    def version(self) -> int:
        return int(self.value("select current_setting('server_version_num')::int"))

    def missing_roles(self) -> list[str]:
        there = {name for (name,) in self.rows("select rolname from pg_roles where rolname like 'sightline%'")}
        return [role for role in ROLES if role not in there]

    def may_make_roles(self) -> bool:
        return bool(self.value("select rolcreaterole or rolsuper from pg_roles where rolname = current_user"))

    def prepare(self, schemas: set[str]) -> None:
        """Makes what every release needs: roles, the record of releases, and the schemas readers know."""
        self.check(schemas)
        self.do("set client_min_messages = warning; set timezone = 'UTC'")
        self.do("set maintenance_work_mem = '256MB'; set lock_timeout = '10s'")
        missing = self.missing_roles()
        for role in missing:
            self.do(f"create role {role}")
        for low, high in zip(ROLES, ROLES[1:], strict=False):
            if low in missing or high in missing:
                self.do(f"grant {low} to {high}")
        there = {name for (name,) in self.rows("select nspname::text from pg_namespace")}
        if HOME not in there:
            self.do(SET_UP)
        for schema in sorted(schemas - there):
            self.do(f"create schema {quoted(schema)}; comment on schema {quoted(schema)} is {literal(MARK)}")
        names = ", ".join(map(quoted, sorted({HOME, *schemas})))
        self.do(f"grant usage on schema {names} to {READER}; grant select on {HOME}.release to {READER}")
        self.commit()

    def served(self) -> tuple[int, str] | None:
        """Number and digest of what new transactions read."""
        if self.value(f"select to_regclass('{HOME}.servings') is null"):
            return None
        found = self.rows(
            f"select c.number, c.digest from {HOME}.servings join {HOME}.copies as c using (number) "
            "order by serves_from desc limit 1"
        )
        return (found[0][0], found[0][1]) if found else None

    def stored(self, digest: str) -> int | None:
        """Number of the release of this digest, if its rows are still there."""
        found = self.rows(
            f"select max(number) from {HOME}.copies where digest = {literal(digest)} "
            "and to_regnamespace('sightline_release_' || number) is not null"
        )
        return found[0][0] if found else None

    def next_number(self) -> int:
        return int(self.value(f"select coalesce(max(number), 0) + 1 from {HOME}.copies"))

    def shapes(self) -> dict[str, list[tuple[str, str]]]:
        """Columns and types of what the views read, as the last release was."""
        found: dict[str, list[tuple[str, str]]] = {}
        for table, column, kind in self.rows(
            "select c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod) "
            "from pg_class as c join pg_attribute as a on a.attrelid = c.oid "
            f"where c.relnamespace = '{STORE}'::regnamespace and c.relkind = 'p' and a.attnum > 0 "
            "and not a.attisdropped order by c.relname, a.attnum"
        ):
            found.setdefault(table, []).append((column, kind))
        return found

    def begin_copy(self) -> None:
        self.do(f"create schema {INCOMING}; comment on schema {INCOMING} is {literal(MARK)}")
        self.commit()

    def copy(self, mart: Mart, number: int, rows: Any) -> int:
        """One table of the incoming release, with its key, indexes and statistics."""
        table = f"{INCOMING}.{quoted(mart.stored)}"
        columns = ", ".join(f"{quoted(column.name)} {column.type}" for column in mart.columns)
        # The check lets the table be attached without being read again.
        self.do(f"create table {table} ({columns}, number integer not null default {number} check (number = {number}))")
        self.commit()
        # The driver makes a transaction of its own for this.
        self.connection.adbc_connection.set_autocommit(True)
        count = self.cursor.adbc_ingest(mart.stored, rows, mode="append", db_schema_name=INCOMING)
        self.connection.adbc_connection.set_autocommit(False)
        if count != mart.rows:
            raise SourceError(
                f"PostgreSQL has {count:,} rows of {mart.label} where the release has {mart.rows:,}; "
                "what is served there stays, and the next run tries again."
            )
        if mart.key:
            names = ", ".join(map(quoted, mart.key))
            is_empty = " or ".join(f"{quoted(name)} is null" for name in mart.key)
            # A key of which a part may be empty is none to PostgreSQL.
            has_gap = self.value(f"select exists (select 1 from {table} where {is_empty})")
            self.do(
                f"create index on {table} ({names})" if has_gap else f"alter table {table} add primary key ({names})"
            )
        for name in mart.indexes:
            self.do(f"create index on {table} ({quoted(name)})")
        self.do(f"analyze {table}")
        self.commit()
        return int(count)

    def swap(self, marts: Sequence[Mart], number: int, copy_row: str) -> None:
        """The incoming release becomes the one that is served: one transaction, which waits for no reader.

        Only tables whose columns are others than before, or that are no more, are made anew, and those of their
        readers who are in a transaction are waited for.
        """
        shapes = self.shapes()
        wanted = {mart.stored: mart.shape for mart in marts}
        outdated = sorted(name for name, shape in shapes.items() if wanted.get(name) != shape)
        new = [mart for mart in marts if mart.stored not in shapes or mart.stored in outdated]

        def write() -> None:
            if outdated:
                self._remove(outdated)
            self.do(f"alter schema {INCOMING} rename to sightline_release_{number}")
            self.do("; ".join(map(_make_view, new)) or "select 1")
            self.do(
                "; ".join(
                    f"alter table {mart.parent} attach partition sightline_release_{number}.{quoted(mart.stored)} "
                    f"for values in ({number})"
                    for mart in marts
                )
            )
            self._describe(marts)
            self._grant(marts)
            self.do(f"insert into {HOME}.copies select {copy_row}")
            # With the older releases gone there is nothing to serve until then.
            self._point_to(number, ahead=0 if outdated else AHEAD_SECONDS)

        self._patiently(write, outdated)

    def point_to(self, marts: Sequence[Mart], number: int) -> None:
        """A release whose rows are still there is served again."""

        def write() -> None:
            self._describe(marts)
            self._grant(marts)
            self._point_to(number, AHEAD_SECONDS)

        self._patiently(write, [])

    def _point_to(self, number: int, ahead: int) -> None:
        self.do(f"insert into {HOME}.servings select clock_timestamp() + interval '{ahead} s', {number}")

    def finish(self, marts: Sequence[Mart]) -> None:
        """Comes back when the release is served; meanwhile the planner learns what it needs of whole tables."""
        end = time.monotonic() + AHEAD_SECONDS
        try:
            # Older servers know no `only`, and sample the tables below once more.
            only = "only " if self.version() >= 180000 else ""
            for mart in marts:
                self.do(f"analyze {only}{mart.parent}")
                self.commit()
        except Exception as error:
            self.notes.append(
                f"PostgreSQL serves the release, but its statistics are not complete ({_said(error)}): "
                "queries may be slower until the next one."
            )
        time.sleep(max(0.0, end - time.monotonic()))

    def retire(self, served: int | None) -> None:
        """Takes out of service each release that is not served any more, unless somebody still reads there."""
        parents = [f"{STORE}.{quoted(name)}" for name in self.shapes()]
        for number, release in self.rows(
            f"select number, release from {HOME}.copies "
            "where to_regnamespace('sightline_release_' || number) is not null order by number"
        ):
            if number == served:
                continue
            if self._lock_out(parents):
                self.do(f"alter schema sightline_release_{number} rename to sightline_outdated_{number}")
                self.commit()
            else:
                self.notes.append(
                    f"{release} stays in PostgreSQL as well: a transaction has been open there since it was served."
                )
        self.clear()

    def clear(self) -> None:
        """Drops what a run that broke off has left, and the tables of releases that are out of service."""
        self.do(f"drop schema if exists {INCOMING} cascade")
        self.commit()
        outdated = (
            "from pg_namespace as n where n.nspname like 'sightline\\_outdated\\_%' "
            f"and obj_description(n.oid, 'pg_namespace') = {literal(MARK)}"
        )
        for schema, table in self.rows(
            f"select s.schema, c.relname::text from (select n.oid, n.nspname::text as schema {outdated}) as s "
            "join pg_class as c on c.relnamespace = s.oid and c.relkind = 'r' order by s.schema, c.relname"
        ):
            parent = f"{STORE}.{quoted(table)}"
            if self.value(f"select to_regclass({literal(parent)}) is null") or self._lock_out([parent], tries=3):
                self.do(f"drop table {schema}.{quoted(table)}")
                self.commit()
        for (schema,) in self.rows(
            f"select n.nspname::text {outdated} and not exists (select from pg_class where relnamespace = n.oid)"
        ):
            self.do(f"drop schema {schema}")
        self.commit()

    def _lock_out(self, relations: Sequence[str], tries: int = 20) -> bool:
        """Nobody reads these until the transaction ends, or False: somebody does, and is let be.

        Tried without waiting, so that nobody has to queue behind us; at last once with a wait too short to be noticed.
        """
        for attempt in range(tries + 1):
            is_last = attempt == tries
            limit = LOCK_MILLISECONDS if is_last else 0
            try:
                self.do(f"set local statement_timeout = {limit}")
                self.do(f"lock table {', '.join(relations)} in access exclusive mode{'' if is_last else ' nowait'}")
                self.do("set local statement_timeout = 0")
                return True
            except Exception as error:
                if getattr(error, "sqlstate", None) not in BUSY:
                    raise
                self.connection.rollback()
                time.sleep(0.1)
        return False

    def _patiently(self, write: Callable[[], None], waited_for: Sequence[str]) -> None:
        """One transaction, tried again while somebody holds what it needs; nobody waits for it longer than a moment."""
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                self.do(f"set local lock_timeout = {LOCK_MILLISECONDS}")
                write()
                self.commit()
                return
            except Exception as error:
                self.connection.rollback()
                state = getattr(error, "sqlstate", None)
                if state == DEPENDED_ON:
                    raise UsageError(
                        f"This release has other columns than the last one, and {_dependants(error)}; "
                        "drop what depends on it and make it again after the next run."
                    ) from None
                if state not in BUSY:
                    raise
                if time.monotonic() > end:
                    self._give_up(waited_for)
                time.sleep(0.5)

    def _give_up(self, waited_for: Sequence[str]) -> NoReturn:
        names = ", ".join(literal(f"{STORE}.{quoted(name)}") for name in waited_for) or "null"
        who = self.rows(
            "select distinct 'process ' || a.pid || ' of ' || coalesce(a.usename, '?') "
            "from pg_locks as l join pg_stat_activity as a using (pid) "
            f"where l.relation::regclass = any (array[{names}]::regclass[]) and a.pid != pg_backend_pid()"
        )
        tables = ", ".join(name.replace("__", ".", 1) for name in waited_for) or "the tables of the release"
        raise SourceError(
            f"The release is copied to PostgreSQL but not served: {tables} changed columns and "
            f"{', '.join(name for (name,) in who) or 'somebody'} is in a transaction that reads there; "
            "what was served stays, and the next run tries again."
        )

    def _remove(self, outdated: Sequence[str]) -> None:
        """Takes away tables whose columns are no longer these, and every older release with them."""
        views = [".".join(map(quoted, name.split("__", 1))) for name in outdated]
        parents = [f"{STORE}.{quoted(name)}" for name in outdated]
        self.do(f"set local statement_timeout = {LOCK_MILLISECONDS}")
        self.do(f"lock table {', '.join([*views, *parents])} in access exclusive mode")
        self.do("set local statement_timeout = 0")
        for (schema,) in self.rows(
            "select nspname::text from pg_namespace where nspname like 'sightline\\_release\\_%' "
            f"and obj_description(oid, 'pg_namespace') = {literal(MARK)}"
        ):
            # A transaction that began with it would find some of its tables gone: serving() tells it so.
            self.do(f"alter schema {schema} rename to {schema.replace('release', 'outdated')}")
        self.do(f"drop view {', '.join(views)}; drop table {', '.join(parents)}")

    def _describe(self, marts: Sequence[Mart]) -> None:
        """Comments of tables and columns, where they are others than the last release's."""
        told = {
            (schema, table, column): text
            for schema, table, column, text in self.rows(
                "select n.nspname::text, c.relname::text, coalesce(a.attname::text, ''), d.description "
                "from pg_description as d join pg_class as c on d.classoid = 'pg_class'::regclass and d.objoid = c.oid "
                "join pg_namespace as n on n.oid = c.relnamespace left join pg_attribute as a "
                "on a.attrelid = c.oid and a.attnum = d.objsubid and d.objsubid > 0 where c.relkind = 'v'"
            )
        }
        new = [
            f"comment on view {mart.view} is {literal(mart.comment)}"
            for mart in marts
            if told.get((mart.schema, mart.name, "")) != mart.comment
        ] + [
            f"comment on column {mart.view}.{quoted(column.name)} is {literal(column.comment)}"
            for mart in marts
            for column in mart.columns
            if told.get((mart.schema, mart.name, column.name), "") != column.comment
        ]
        if new:
            self.do("; ".join(new))

    def _grant(self, marts: Sequence[Mart]) -> None:
        """Each table to the least role that may read it, and to none below."""
        may = {
            (schema, view, role)
            for schema, view, role in self.rows(
                "select n.nspname::text, c.relname::text, r.rolname::text from pg_class as c "
                "join pg_namespace as n on n.oid = c.relnamespace cross join pg_roles as r "
                f"where c.relkind = 'v' and r.rolname in ({', '.join(map(literal, ROLES))}) "
                "and has_table_privilege(r.oid, c.oid, 'select')"
            )
        }
        changes = []
        for mart in marts:
            below = ROLES[: ROLES.index(mart.role)]
            is_open_below = any((mart.schema, mart.name, role) in may for role in below)
            if is_open_below:
                changes.append(f"revoke all on {mart.view} from public, {', '.join(below)}")
            if is_open_below or (mart.schema, mart.name, mart.role) not in may:
                changes.append(f"grant select on {mart.view} to {mart.role}")
        if changes:
            self.do("; ".join(changes))


def _make_view(mart: Mart) -> str:
    columns = ", ".join(f"{quoted(name)} {kind}" for name, kind in mart.shape)
    names = ", ".join(quoted(column.name) for column in mart.columns)
    return (
        f"create table {mart.parent} ({columns}) partition by list (number); "
        f"create view {mart.view} as select {names} from {mart.parent} where number = (select {HOME}.serving())"
    )


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _dependants(error: Exception) -> str:
    detail = _details(error).get("PG_DIAG_MESSAGE_DETAIL", "").splitlines()
    return detail[0] if detail else "something depends on one of its views"


def _details(error: Exception) -> dict[str, str]:
    """What the server said, by the names its protocol has for each part."""
    found = getattr(error, "details", None) or []
    return {key.decode(): value.decode() for key, value in found if isinstance(value, bytes)}


def _said(error: Exception) -> str:
    """What the server or the driver says, in one line."""
    told = _details(error).get("PG_DIAG_MESSAGE_PRIMARY")
    if told:
        return told
    text = str(error)
    found = re.search(r"(?:ERROR|FATAL): *([^\n]+)(?:\n(CONTEXT: [^\n]+))?", text)
    if found:
        return found[1].strip() + (f", {found[2]}" if found[2] else "")
    return " ".join(text.split())
