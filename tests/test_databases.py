"""A finance database lands like a finance export: whole, then what changed, and never with its password."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
import sqlalchemy as sa

from orchestration.errors import SightlineError, SourceError, UsageError
from orchestration.ingest import databases, syncing
from orchestration.ingest.contract import load_source
from orchestration.ingest.databases import as_text, connect_database, examine_database
from orchestration.ingest.landing import Batch, accept, accepted_batches, land
from orchestration.ingest.syncing import sync
from orchestration.settings import Settings
from tests.servers.postgres import add_login, started

CANARY = "canary-7!x"
TABLES = """
drop schema if exists finance cascade;
create schema finance;
create table finance.customer (
    id bigint primary key, crm_ref text, legal_name text, currency char(3), changed timestamptz default now()
);
create table finance.invoice (
    invoice_id bigint primary key, customer_id bigint, invoice_date date, due_date date, status text, amount numeric,
    currency char(3), is_deleted boolean default false, updated_at timestamptz
);
create table finance.fx (
    rate_date date, from_currency char(3), to_currency char(3), rate_type text, rate double precision, seq bigint
);
insert into finance.customer values (1, 'a1', 'Arden "Foods", Ltd', 'EUR'), (2, null, E'Two\\nLines', 'USD');
insert into finance.invoice select n, 1, date '2026-01-01' + n, null, 'open', n * 10.50, 'EUR', false,
    timestamptz '2026-01-01 10:00:00+02' + n * interval '1 day' from generate_series(1, 7) as n;
insert into finance.fx values
    ('2026-01-01', 'EUR', 'USD', 'spot', 1.5, 1), ('2026-01-02', 'EUR', 'USD', 'spot', 1e-7, 2);
grant usage on schema finance to reader;
grant select on all tables in schema finance to reader;
"""
YAML = """
customers:
  table: finance.customer
  columns: {customer_id: id, crm_account_id: crm_ref, name: legal_name}
invoices: {table: finance.invoice, cursor: updated_at}
fx_rates:
  query: |
    select *, '12:30' as at_time, rate::numeric as again -- all of them; none is old
    from finance.fx;
  cursor: seq
"""


@dataclass
class Finance:
    """The database, and what reads it."""

    admin: sa.Engine
    url: str
    folder: Path

    def do(self, statement: str) -> None:
        with self.admin.begin() as connection:
            connection.exec_driver_sql(statement.replace("%", "%%"))

    def settings(self, yaml: str = YAML, home: str = "home", **more: Any) -> Settings:
        path = self.folder / "finance.yml"
        path.write_text(yaml)
        return Settings(
            **{"home": self.folder / home, "sources": ("sql",), "sql_url": self.url, "sql_tables": path, **more},
            _env_file=None,
        )


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[sa.Engine, str]]:
    """A PostgreSQL of its own with a role that may only read, and needs its password."""
    with started(tmp_path_factory.mktemp("pg")) as admin:
        add_login(admin, "reader", CANARY)
        yield admin, admin.url.set(drivername="postgresql", username="reader", password=CANARY).render_as_string(False)


@pytest.fixture
def finance(server: tuple[sa.Engine, str], tmp_path: Path) -> Finance:
    made = Finance(*server, tmp_path)
    made.do(TABLES)
    return made


def load(settings: Settings) -> Batch:
    batch = land(settings, "sql", sync(settings, "sql"))
    assert batch is not None
    for counts in batch.tables:
        assert counts.landed == counts.accepted + counts.quarantined + counts.superseded
    accept(settings, "sql")
    return accepted_batches(settings, "sql")[-1]


def versions(settings: Settings, table: str, columns: str) -> list[tuple[Any, ...]]:
    files = settings.raw / "sql" / "*" / f"{table}.parquet"
    return duckdb.execute(
        f"select {columns}, _operation from read_parquet('{files}', union_by_name = true) order by _batch_id, {columns}"
    ).fetchall()


def landed(batch: Batch) -> dict[str, int]:
    return {counts.table: counts.landed for counts in batch.tables}


def pulled(settings: Settings, table: str) -> int:
    return int(pa.ipc.open_file(f"{sync(settings, 'sql') / table}.arrow").read_all().num_rows)


def test_the_source_is_the_finance_part_of_the_extract_contract() -> None:
    ours = load_source("sql").tables
    theirs = [table for table in load_source("extract").tables if table.file.startswith("finance/")]
    assert [table.name for table in ours] == [table.name for table in theirs]
    for own, contract in zip(ours, theirs, strict=True):
        assert own.columns[:-1] == contract.columns, own.name
        assert (own.columns[-1].name, own.columns[-1].data_type) == ("is_deleted", "bool")
        assert (own.mode, own.event_time, own.is_required) == (contract.mode, contract.event_time, contract.is_required)
        assert (own.cursor, own.deleted_by) == (databases.CURSOR, "is_deleted")


def test_the_first_load_reads_everything_as_the_contract_writes_it(finance: Finance) -> None:
    settings = finance.settings()
    batch = load(settings)
    assert landed(batch) == {"customers": 2, "invoices": 7, "fx_rates": 2}
    assert versions(settings, "customers", "customer_id, crm_account_id, name, currency") == [
        ("1", "a1", 'Arden "Foods", Ltd', "EUR", "upsert"),
        ("2", None, "Two\nLines", "USD", "upsert"),
    ]
    assert versions(settings, "invoices", "invoice_id, customer_id, invoice_date, due_date, amount, is_deleted")[
        :2
    ] == [
        ("1", "1", "2026-01-02", None, "10.5", "false", "upsert"),
        ("2", "1", "2026-01-03", None, "21", "false", "upsert"),
    ]
    assert versions(settings, "fx_rates", "rate_date, rate") == [
        ("2026-01-01", "1.5", "upsert"),
        ("2026-01-02", "0.0000001", "upsert"),
    ]
    assert "targets is not named in" in " ".join(batch.notes)


def test_the_demo_companys_finance_lands_from_a_database_as_from_its_files(
    finance: Finance, demo_extract: Path
) -> None:
    kinds = {"date": "date", "decimal": "numeric(18,4)", "rate": "numeric(20,10)", "bool": "boolean"}
    tables = [table for table in load_source("extract").tables if table.file.startswith("finance/")]
    typed = {}
    for table in tables:
        columns = ", ".join(f"{c.name} {kinds.get(c.data_type, 'text')}" for c in table.columns)
        typed[table.name] = ", ".join(f"cast({c.name} as {kinds.get(c.data_type, 'text')})" for c in table.columns)
        finance.do(f"create table finance.{table.name} ({columns}); grant select on finance.{table.name} to reader")
        names, *_ = (demo_extract / f"{table.file}.csv").read_text().splitlines()
        raw = finance.admin.raw_connection()
        with raw.cursor() as cursor, cursor.copy(f"copy finance.{table.name} ({names}) from stdin csv header") as into:  # type: ignore[attr-defined]
            into.write((demo_extract / f"{table.file}.csv").read_bytes())
        raw.commit()
        raw.close()
    settings = finance.settings("\n".join(f"{table.name}: {{table: finance.{table.name}}}" for table in tables))
    land(settings, "extract", demo_extract)
    accept(settings, "extract")
    batch = load(settings)
    for table in tables:
        (ours, theirs) = (
            duckdb.execute(
                f"select {typed[table.name]}, least(_known_at, timestamp '2026-06-30 22:00') "
                f"from '{settings.raw}/{source}/2*/{table.name}.parquet' order by all"
            ).fetchall()
            for source in ("sql", "extract")
        )
        assert ours == theirs and ours, table.name
    assert all(counts.quarantined == 0 for counts in batch.tables)


def test_a_later_sync_reads_what_changed_and_rows_that_come_late_or_at_the_same_moment(finance: Finance) -> None:
    settings = finance.settings()
    load(settings)
    finance.do(
        """
        update finance.invoice set status = 'paid', updated_at = '2026-02-01' where invoice_id = 3;
        insert into finance.invoice values
            (8, 1, '2026-01-09', null, 'open', 1, 'EUR', false, timestamptz '2026-01-08 10:00+02'),  -- the newest's own
            (9, 1, '2026-01-09', null, 'open', 1, 'EUR', false, timestamptz '2026-01-08 09:51+02'),  -- nine minutes
            (10, 1, '2026-01-09', null, 'open', 1, 'EUR', false, timestamptz '2026-01-08 09:49+02'); -- eleven
        """
    )
    batch = load(settings)
    assert landed(batch)["invoices"] == 4  # The newest one is read again, and says nothing new.
    assert versions(settings, "invoices", "invoice_id")[7:] == [(n, "upsert") for n in ("3", "8", "9")]
    wider = settings.model_copy(update={"sync_overlap_minutes": 60 * 24 * 60})
    load(wider)
    assert versions(settings, "invoices", "invoice_id")[10:] == [("10", "upsert")]


def test_a_number_that_was_open_when_we_looked_is_read_later(finance: Finance) -> None:
    settings = finance.settings()
    late = "insert into finance.fx values ('2026-01-0{0}', 'EUR', 'USD', 'spot', 1.{0}, {0})"
    load(settings)
    finance.do(late.format(5))
    assert landed(load(settings))["fx_rates"] == 3  # Whatever was open at the first sync is not known.
    finance.do(late.format(4))  # Its transaction was open when 5 was read.
    finance.do(late.format(6))
    soon = load(settings)
    assert versions(settings, "fx_rates", "rate")[3:] == [("1.4", "upsert"), ("1.6", "upsert")]
    assert json.loads(soon.state["fx_rates"]["cursor"])["settled"] == ""
    now = settings.model_copy(update={"sync_overlap_minutes": 0})
    finance.do(late.format(7))
    load(now)
    finance.do(late.format(8))
    assert landed(load(now))["fx_rates"] == 2  # From the newest on, when nothing can come late.


def test_a_row_without_a_cursor_is_read_at_every_sync(finance: Finance) -> None:
    finance.do("insert into finance.invoice values (20, 1, '2026-01-09', null, 'open', 1, 'EUR', false, null)")
    settings = finance.settings()
    load(settings)
    finance.do("update finance.invoice set amount = 2 where invoice_id = 20")
    load(settings)
    assert versions(settings, "invoices", "invoice_id, amount")[8:] == [("20", "2", "upsert")]


def test_a_cursor_of_the_future_hides_nothing(finance: Finance) -> None:
    finance.do("update finance.invoice set updated_at = '2199-01-01' where invoice_id = 7")
    settings = finance.settings()
    load(settings)
    finance.do("update finance.invoice set amount = 5, updated_at = now() where invoice_id = 1")
    load(settings)
    assert versions(settings, "invoices", "invoice_id, amount")[7:] == [("1", "5", "upsert")]


def test_deletions_are_told_by_the_column_or_by_reading_whole(finance: Finance) -> None:
    settings = finance.settings()
    load(settings)
    finance.do("update finance.invoice set is_deleted = true, updated_at = '2026-02-01' where invoice_id = 2")
    finance.do("delete from finance.customer where id = 2")
    finance.do("delete from finance.invoice where invoice_id = 4")  # No row says so: not noticed.
    load(settings)
    assert versions(settings, "invoices", "invoice_id")[7:] == [("2", "delete")]
    assert versions(settings, "customers", "customer_id")[2:] == [("2", "delete")]


def test_another_table_query_or_cursor_is_read_whole(finance: Finance) -> None:
    load(finance.settings())
    query = "select * from finance.invoice where invoice_id > 2"
    again = finance.settings(YAML.replace("table: finance.invoice,", f'query: "{query}",'))
    load(again)
    assert versions(again, "invoices", "invoice_id")[7:] == [("1", "delete"), ("2", "delete")]
    assert pulled(again, "invoices") == 1


def test_a_sync_interrupted_at_every_fetch_loses_and_doubles_nothing(
    finance: Finance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server ends our connection while rows are fetched."""
    monkeypatch.setattr(databases, "PIECE_ROWS", 2)
    undisturbed = finance.settings(home="undisturbed")
    load(undisturbed)
    columns = {"customers": "customer_id, name", "invoices": "invoice_id, amount", "fx_rates": "rate_date, rate"}
    expected = {name: versions(undisturbed, name, text) for name, text in columns.items()}
    as_it_was = databases.Database._pieces
    given, ends_at = 0, 0

    def pieces(self: databases.Database, *arguments: Any) -> Iterator[pa.Table]:
        nonlocal given
        with self._told(arguments[0]):
            for piece in as_it_was(self, *arguments):
                given += 1
                if given == ends_at:
                    finance.do(
                        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'sightline'"
                    )
                yield piece

    monkeypatch.setattr(databases.Database, "_pieces", pieces)
    load(finance.settings(home="counted"))
    fetches = given
    assert fetches == 1 + 4 + 1
    for number in range(1, fetches + 1):
        given, ends_at = 0, number
        settings = finance.settings(home=f"home-{number}")
        with pytest.raises(
            SourceError, match="finance.yml, (customers|invoices|fx_rates): .* cannot be read .* run again"
        ):
            load(settings)
        assert not accepted_batches(settings, "sql")
        ends_at = 0
        batch = load(settings)
        assert {name: versions(settings, name, text) for name, text in columns.items()} == expected, number
        assert ("read before an interruption" in " ".join(batch.notes)) == (number > 1)


def test_all_tables_are_of_one_moment(finance: Finance, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = finance.settings()
    pulled = syncing._pull

    def pull(connector: Any, table: Any, *arguments: Any) -> None:
        pulled(connector, table, *arguments)
        finance.do("insert into finance.invoice (invoice_id, customer_id, invoice_date, amount) "
                   "select max(invoice_id) + 1, 1, '2026-05-05', 1 from finance.invoice")  # fmt: skip

    monkeypatch.setattr(syncing, "_pull", pull)
    assert landed(load(settings))["invoices"] == 7


def test_nothing_can_be_written(finance: Finance) -> None:
    finance.do(
        "create function finance.sneaky() returns bigint language sql as "
        "$$ insert into finance.fx (seq) values (99) returning seq $$; grant insert, select on finance.fx to reader"
    )
    settings = finance.settings("invoices: {query: select finance.sneaky() as invoice_id}")
    with pytest.raises(SourceError, match="read-only transaction"):
        load(settings)
    told = examine_database(finance.settings("fx_rates: {table: finance.fx}"))
    assert [found.text for found in told if found.subject == "SQL role"] == [
        "may write to finance.fx; grant SELECT only, as docs/sql.md says"
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("12345678901234567890123456789012345678901234567890.12345678901234567890", None),
        ("1e30::numeric", "1" + "0" * 30),
        ("1e-12::numeric", "0.000000000001"),
        ("-1e-12::numeric", "-0.000000000001"),
        ("100.00::numeric(12,2)", "100"),
        ("0.10::numeric", "0.1"),
        ("1e21::float8", "1" + "0" * 21),
        ("0.1::float8", "0.1"),
        ("'NaN'::numeric", "NaN"),
        ("42::smallint", "42"),
        ("100::int", "100"),
        ("true", "true"),
        ("null::boolean", None),
        ("date '2026-02-28'", "2026-02-28"),
        ("timestamp '2026-02-28 13:14:15.250'", "2026-02-28T13:14:15.25Z"),
        ("timestamptz '2026-02-28 23:14:15-05'", "2026-03-01T04:14:15Z"),
        ("'it''s \"quoted\", 100%, :name\\'", "it's \"quoted\", 100%, :name\\"),
        ("'a1b2c3d4-0000-4000-8000-000000000001'::uuid", "a1b2c3d4-0000-4000-8000-000000000001"),
    ],
)  # fmt: skip
def test_every_type_becomes_the_contracts_text(finance: Finance, value: str, text: str | None) -> None:
    if text is None and value[0].isdigit():
        text = value.rstrip("0")
    query = json.dumps(f"select 1 as customer_id, {value} as name union all select 2, null")
    connector = connect_database(finance.settings(f"customers: {{query: {query}}}"))
    try:
        table = load_source("sql").table("customers")
        fields = {name: name for name in ("customer_id", "name")}
        (piece,) = [piece for piece, _ in connector.pull(table, fields, None, syncing.Memory(finance.folder / "m"))]
    finally:
        connector.close()
    assert piece.to_pylist() == [{"customer_id": "1", "name": text}, {"customer_id": "2", "name": None}]


def test_a_point_in_time_at_midnight_is_a_date_where_one_is_wanted() -> None:
    import datetime as dt

    moments = pa.array([dt.datetime(2026, 1, 2), dt.datetime(2026, 1, 2, 3), None])
    assert as_text(moments, "date").to_pylist() == ["2026-01-02", "2026-01-02T03:00:00Z", None]
    assert as_text(moments, "timestamp").to_pylist()[0] == "2026-01-02T00:00:00Z"
    texts = pa.array(["1.5E+3", "007.50", "x"])
    assert as_text(texts, "decimal").to_pylist() == ["1500", "007.50", "x"]
    assert as_text(texts, "text").to_pylist() == ["1.5E+3", "007.50", "x"]
    assert as_text(pa.array([Decimal("0.00"), Decimal("-5.00")]), "decimal").to_pylist() == ["0", "-5"]


def test_a_value_the_contract_does_not_allow_goes_to_quarantine_by_its_key(finance: Finance) -> None:
    from orchestration.quality.landing_gate import findings

    finance.do("update finance.invoice set status = 'written off' where invoice_id = 5")
    settings = finance.settings()
    (found,) = findings(settings, load(settings))
    assert found.sentence().startswith("sql invoices 5, column status: 'written off' is not a known status; use one of")


BROKEN: list[tuple[str, type[SightlineError], str]] = [
    (
        "invoices: {table: finance.nope}",
        SourceError,
        'finance.yml, invoices: finance.nope cannot be read (relation "finance.nope" does not exist)',
    ),
    (
        "invoices: {table: finance.invoice, cursor: changed_at}",
        SourceError,
        "finance.yml, invoices: finance.invoice has no column changed_at; it has invoice_id, ",
    ),
    (
        "invoices: {table: finance.invoice, columns: {amount: net}}",
        SourceError,
        "finance.yml, invoices: finance.invoice has no column net",
    ),
    (
        "invoices: {query: 'select amount from finance.invoice'}",
        SourceError,
        "invoices does not let its invoice_id be read",
    ),
    (
        "invoices: {query: 'select *, 1 as amount from finance.invoice'}",
        SourceError,
        "its query gives amount more than once",
    ),
    (
        "invoices: {query: 'select selekt'}",
        SourceError,
        'finance.yml, invoices: its query cannot be read (column "selekt" does not exist)',
    ),
    (
        "invoices: {table: pg_catalog.pg_authid}",
        SourceError,
        "permission denied for table pg_authid); correct it there or grant SELECT",
    ),
    (
        "invoices: {table: finance.invoice, cursor: status}",
        UsageError,
        "finance.yml, invoices: cursor status is neither a time nor a number",
    ),
    (
        "invoices: {query: \"select invoice_id, '{}'::jsonb as amount from finance.invoice\"}",
        SourceError,
        "amount is of a type",
    ),
    ("invoices: {query: 'delete from finance.invoice'}", UsageError, "finance.yml, invoices: query must be one SELECT"),
    ("invoices: {query: 'select 1; select 2'}", UsageError, "finance.yml, invoices: query must be one SELECT"),
    (
        "invoices: {query: select 1, table: x}",
        UsageError,
        "finance.yml, invoices: name a table or a query, one of the two",
    ),
    ("invoices: finance.invoice", UsageError, "finance.yml, invoices: write `{table: schema.name}`"),
    ("invoices: {table: x, curser: y}", UsageError, "finance.yml, invoices: curser is not known"),
    (
        "invoices: {table: x, columns: {net: amount}}",
        UsageError,
        "finance.yml, invoices: the contract has no column net; it has invoice_id",
    ),
    ("invoices: {table: x, columns: [amount]}", UsageError, "finance.yml, invoices: columns must be written as"),
    ("invoice: {table: x}", UsageError, "finance.yml: there is no entity invoice; there is customers, "),
    ("{", UsageError, "finance.yml is not YAML"),
    ("", UsageError, "finance.yml names no entity"),
]


@pytest.mark.parametrize(("yaml", "kind", "words"), BROKEN)
def test_what_is_wrong_with_the_file_or_a_table_is_one_sentence(
    finance: Finance, yaml: str, kind: type[SightlineError], words: str
) -> None:
    with pytest.raises(kind) as failure:
        sync(finance.settings(yaml), "sql")
    assert words in str(failure.value)
    assert "\n" not in str(failure.value)
    assert CANARY not in str(failure.value)


def test_no_password_is_in_any_message_or_file(finance: Finance, capfd: pytest.CaptureFixture[str]) -> None:
    wrong = f"{CANARY}-wrong"
    messages = []
    for url in (
        finance.url.replace("canary-7%21x", wrong).replace(CANARY, wrong),
        f"postgresql://reader:{wrong}@127.0.0.1:1/finance",
        f"postgresql://reader:{wrong}@nowhere.invalid/finance",
        f"nonsense://reader:{wrong}@host/x",
        f"reader:{wrong}@host",
        f"mysql://reader:{wrong}@host/x",
    ):
        settings = finance.settings(sql_url=url)
        with pytest.raises(SightlineError) as failure:
            sync(settings, "sql")
        messages.append(str(failure.value))
        (found,) = examine_database(settings)
        assert found.state == "problem"
        messages.append(found.text)
    assert 'password authentication failed for user "reader"' in messages[0]
    assert "127.0.0.1:1/finance cannot be read as reader" in messages[2]
    assert "nonsense" in messages[6] and "is no address of a database" in messages[8]
    load(finance.settings())
    captured = capfd.readouterr()
    for text in (*messages, captured.out, captured.err):
        assert CANARY not in text and "\n" not in text.strip()
    files = [path for path in (finance.folder / "home").rglob("*") if path.is_file()]
    assert len(files) > 10
    for path in files:
        assert CANARY.encode() not in path.read_bytes(), path


def test_doctor_tells_how_each_entity_is_read(finance: Finance) -> None:
    told = {found.subject: (found.state, found.text) for found in examine_database(finance.settings())}
    assert told["SQL"][0] == "ok" and told["SQL"][1].endswith("as reader")
    assert told["SQL invoices"] == (
        "ok",
        "finance.invoice, changes by updated_at; not known: crm_opportunity_id, paid_on",
    )
    assert told["SQL customers"] == ("ok", "finance.customer, whole at each run; not known: is_deleted")
    assert told["SQL targets"][0] == "ok" and "is not named in" in told["SQL targets"][1]
    by_time = YAML.replace("customer\n", "customer\n  cursor: changed\n").replace("finance.invoice", "finance.none")
    told = {found.subject: (found.state, found.text) for found in examine_database(finance.settings(by_time))}
    assert told["SQL customers"][0] == "warning" and "deleted rows are not noticed" in told["SQL customers"][1]
    assert told["SQL invoices"][0] == "problem"
    assert told["SQL fx_rates"][0] == "ok", "one that fails does not hide the next"
    short = finance.settings("invoices: {table: finance.customer}")
    told = {found.subject: (found.state, found.text) for found in examine_database(short)}
    assert told["SQL invoices"] == (
        "problem",
        "finance.customer has no invoice_id, customer_id, invoice_date, amount; say under columns which column it is",
    )


def test_a_sqlite_file_is_read_the_same_way(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "books.db"
    with sqlite3.connect(path) as books:
        books.executescript(
            """
            create table invoice (
                invoice_id integer, customer_id text, invoice_date text, amount numeric, currency text, changed text
            );
            insert into invoice values
                (1, 'c1', '2026-01-02', 10.50, 'EUR', '2026-01-02 10:00:00'),
                (2, 'c1', '2026-01-03', 20, 'EUR', '2026-01-03 10:00:00.5');
            """
        )
    yaml = tmp_path / "finance.yml"
    yaml.write_text("invoices: {table: invoice, cursor: changed}")
    settings = Settings(home=tmp_path / "home", sql_url=f"sqlite:///{path}", sql_tables=yaml, _env_file=None)
    load(settings)
    with sqlite3.connect(path) as books:
        books.execute("insert into invoice values (3, 'c1', '2026-01-04', 1, 'EUR', '2026-01-03 09:55:00')")
        books.execute("insert into invoice values (4, 'c1', '2026-01-04', 1, 'EUR', '2026-01-03 09:45:00')")
    load(settings)
    assert versions(settings, "invoices", "invoice_id, amount") == [
        ("1", "10.5", "upsert"),
        ("2", "20", "upsert"),
        ("3", "1", "upsert"),
    ]
    gone = settings.model_copy(update={"sql_url": type(settings.sql_url)(f"sqlite:///{tmp_path / 'none.db'}")})
    with pytest.raises(SourceError, match="There is no database"):
        sync(gone, "sql")
    assert not (tmp_path / "none.db").exists()


def test_nothing_is_written_beside_the_home(finance: Finance) -> None:
    """dlt keeps folders of its own for pipelines; there is none here."""
    for name in ("person", "cwd"):
        (finance.folder / name).mkdir()
    settings = finance.settings()
    program = (
        "from pathlib import Path; from orchestration.settings import load_settings; "
        "from orchestration.ingest.landing import land; from orchestration.ingest.syncing import sync; "
        f"s = load_settings(home={str(settings.home)!r}); land(s, 'sql', sync(s, 'sql'))"
    )
    subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        cwd=finance.folder / "cwd",
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("SIGHTLINE_")},
            "HOME": str(finance.folder / "person"),
            "SIGHTLINE_SQL_URL": finance.url,
            "SIGHTLINE_SQL_TABLES": str(settings.sql_tables),
        },
    )
    assert (settings.home / "incoming" / "sql").is_dir()
    assert not [*(finance.folder / "person").rglob("*"), *(finance.folder / "cwd").rglob("*")]
