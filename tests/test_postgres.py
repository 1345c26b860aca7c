"""Each release is served in PostgreSQL: every value of it, to whom it is for, and never two in one transaction."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest
import sqlalchemy as sa
from psycopg import IsolationLevel

from orchestration.diagnosis import diagnose
from orchestration.errors import SightlineError, SourceError, UsageError
from orchestration.publish import postgres_server
from orchestration.publish.postgres import Served, examine_postgres, serve_release
from orchestration.publish.releases import roll_back
from orchestration.settings import Settings
from tests.conftest import Run, run_here, sightline
from tests.extracts import write_extract
from tests.servers.postgres import add_login, started

CANARY = "canary-7!x"
Rows = list[tuple[Any, ...]]


@dataclass
class Place:
    """A database, who publishes to it, and a home with releases made by hand."""

    admin: sa.Engine
    name: str
    home: Path
    made: int = 0
    url: str = field(init=False)

    def __post_init__(self) -> None:
        address = self.admin.url.set(drivername="postgresql", database=self.name, username="publisher", password=CANARY)
        self.url = address.render_as_string(False)

    @property
    def settings(self) -> Settings:
        return Settings(home=self.home, publish_postgres=self.url, _env_file=None)

    def connect(self, role: str | None = None, **options: Any) -> psycopg.Connection[Any]:
        """As the administrator, or with what a role may."""
        address = self.admin.url.set(drivername="postgresql", database=self.name).render_as_string(False)
        connection = psycopg.connect(address, **options)
        if role:
            connection.execute(f"set role {role}")
            connection.commit()
        return connection

    def do(self, statement: str) -> None:
        with self.connect(autocommit=True) as connection:
            connection.execute(statement)

    def ask(self, query: str, role: str | None = None) -> Rows:
        with self.connect(role) as connection:
            return connection.execute(query).fetchall()

    def release(self, tables: dict[str, str] | None = None, **manifest: Any) -> str:
        """A release with these tables, by label, each a SELECT; it is the current one."""
        self.made += 1
        name = f"{self.made}-release"
        tables = tables or small(self.made)
        folder = self.home / "published" / name
        folder.mkdir(parents=True)
        with duckdb.connect(str(folder / "sightline.duckdb")) as made:
            made.execute("set TimeZone = 'UTC'")
            for label, query in tables.items():
                made.execute(f"create schema if not exists {label.partition('.')[0]}")
                made.execute(f"create table {label} as {query}")
                made.execute(f"comment on table {label} is 'One row per thing of {label}.'")
            rows = {label: made.execute(f"select count(*) from {label}").fetchone()[0] for label in tables}  # type: ignore[index]
        told = {
            "release": name,
            "as_of_date": "2026-06-30",
            "published_at": f"2026-07-01T00:00:{self.made:02}+00:00",
            "code_version": "0",
            "sources": ["extract"],
            "rows": rows,
            "keys": {label: ["id"] for label in tables},
            **manifest,
        }
        (folder / "manifest.json").write_text(json.dumps(told))
        link = self.home / "published" / "current"
        link.unlink(missing_ok=True)
        link.symlink_to(name)
        return name

    def serve(self, tables: dict[str, str] | None = None, **manifest: Any) -> Served:
        self.release(tables, **manifest)
        return serve_release(self.settings)


def small(number: int, rows: int = 3) -> dict[str, str]:
    """Three tables that all say which release they are of."""
    query = f"select range::integer as id, {number} as release, 'a' || range as account_id from range({rows})"
    return dict.fromkeys(("core.accounts", "funnel.deals", "people.talent"), query)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sa.Engine]:
    with started(tmp_path_factory.mktemp("pg")) as admin:
        add_login(admin, "publisher", CANARY, "createrole")
        yield admin


@pytest.fixture
def place(server: sa.Engine, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Place]:
    name = f"d{abs(hash(request.node.nodeid)) % 10**9}"
    with server.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(f"create database {name}")
        connection.exec_driver_sql(f"grant create on database {name} to publisher")
        yield Place(server, name, tmp_path / "home")
        connection.exec_driver_sql(f"drop database {name} with (force)")


@pytest.fixture(scope="module")
def demo_place(server: sa.Engine, demo_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The demo company's release, served."""
    home = tmp_path_factory.mktemp("demo") / "home"
    shutil.copytree(demo_run.home / "published", home / "published", symlinks=True)
    with server.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("create database demo")
        connection.exec_driver_sql("grant create on database demo to publisher")
    place = Place(server, "demo", home)
    assert serve_release(place.settings).rows > 50_000
    return place


def manifest_of(place: Place) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((place.home / "published" / "current" / "manifest.json").read_text())
    return told


def ours(place: Place) -> list[str]:
    found = place.ask("select nspname from pg_namespace where nspname like 'sightline%' order by 1")
    return [name for (name,) in found]


def in_order(rows: Rows, width: int) -> Rows:
    return sorted(
        (tuple(v.replace(tzinfo=UTC) if isinstance(v, datetime) else v for v in row) for row in rows),
        key=lambda row: tuple(str(value) for value in row[:width]),
    )


def test_every_value_of_every_table_is_the_releases(demo_place: Place) -> None:
    manifest = manifest_of(demo_place)
    assert len(manifest["rows"]) > 70
    database = demo_place.home / "published" / "current" / "sightline.duckdb"
    with duckdb.connect(str(database), read_only=True) as release, demo_place.connect("sightline_manager") as served:
        for label, count in manifest["rows"].items():
            key = manifest["keys"][label]
            names = [name for name, *_ in release.execute(f"describe {label}").fetchall()]
            columns = ", ".join([*key, *(f'"{name}"' for name in names)])
            there = in_order(served.execute(f"select {columns} from {label}").fetchall(), len(key))
            assert there == in_order(release.execute(f"select {columns} from {label}").fetchall(), len(key)), label
            assert len(there) == count


def test_every_column_has_the_releases_type_name_place_and_comment(demo_place: Place) -> None:
    database = demo_place.home / "published" / "current" / "sightline.duckdb"
    with duckdb.connect(str(database), read_only=True) as release:
        columns = release.execute(
            "select schema_name, table_name, column_name, column_index, data_type, comment from duckdb_columns() "
            "where not internal order by 1, 2, 4"
        ).fetchall()
        tables = release.execute(
            "select schema_name, table_name, comment from duckdb_tables() order by 1, 2"
        ).fetchall()
    names = {"VARCHAR": "text", "DOUBLE": "double precision", "TIMESTAMP": "timestamp with time zone"}

    def named(kind: str) -> str:
        return names.get(kind) or kind.lower().replace("decimal", "numeric")

    assert demo_place.ask(
        "select n.nspname, c.relname, a.attname, a.attnum::int, format_type(a.atttypid, a.atttypmod), "
        "col_description(c.oid, a.attnum) from pg_attribute as a join pg_class as c on c.oid = a.attrelid "
        "join pg_namespace as n on n.oid = c.relnamespace where c.relkind = 'v' and a.attnum > 0 "
        "and n.nspname not in ('pg_catalog', 'information_schema', 'sightline') "
        'order by n.nspname collate "C", c.relname collate "C", 4'
    ) == [(*names_, number, named(kind), comment) for *names_, number, kind, comment in columns]
    assert (
        demo_place.ask(
            "select n.nspname, c.relname, obj_description(c.oid, 'pg_class') from pg_class as c "
            "join pg_namespace as n on n.oid = c.relnamespace where c.relkind = 'v' "
            "and n.nspname not in ('pg_catalog', 'information_schema', 'sightline') "
            'order by n.nspname collate "C", c.relname collate "C"'
        )
        == tables
    )


def test_the_primary_keys_are_those_the_marts_declare_and_large_tables_find_rows_by_id(demo_place: Place) -> None:
    found = demo_place.ask(
        "select replace(c.relname, '__', '.'), array_agg(a.attname::text order by k.place) "
        "from pg_index as i join pg_class as c on c.oid = i.indrelid "
        "cross join unnest(i.indkey::int2[]) with ordinality as k (number, place) "
        "join pg_attribute as a on a.attrelid = c.oid and a.attnum = k.number "
        "where i.indisprimary and c.relnamespace = 'sightline_release_1'::regnamespace group by c.relname"
    )
    assert dict(found) == manifest_of(demo_place)["keys"]
    plan = demo_place.ask("explain (format text) select * from funnel.opportunity_movements where opportunity_id = 'x'")
    assert any("opportunity_id_idx" in line for (line,) in plan), plan
    analysed = demo_place.ask(
        "select count(*) filter (where reltuples < 0), count(*) from pg_class "
        "where relnamespace in ('sightline_release_1'::regnamespace, 'sightline_data'::regnamespace) "
        "and relkind in ('r', 'p')"
    )
    assert analysed == [(0, 2 * len(manifest_of(demo_place)["rows"]))], "the planner knows every table"


def test_only_the_release_that_is_read_is_looked_at(demo_place: Place) -> None:
    """A view stands on every release that is kept; the plan runs one of them."""
    (plan,) = demo_place.ask("explain (analyze, format json) select count(*) from funnel.win_rates")[0]
    text = json.dumps(plan)
    assert "sightline.serving" not in text.split("Filter", 1)[-1], "the function is asked once, not for every row"


def test_a_reader_reads_everything_but_people(demo_place: Place) -> None:
    labels = list(manifest_of(demo_place)["rows"])
    about_people = [label for label, said in manifest_of(demo_place)["readers"].items() if said["people"]]
    judged = {
        "talent",
        "rep_diagnosis",
        "rep_ramp",
        "coaching_plan",
        "manager_coaching",
        "quota_attainment",
        "role_fit",
    }
    assert {f"people.{name}" for name in judged} < set(about_people)
    assert "forecast_accuracy.submitter_credibility" in about_people
    for role, refused in (("sightline_reader", about_people), ("sightline_manager", []), ("sightline_executive", [])):
        with demo_place.connect(role, autocommit=True) as reader:
            (release,) = reader.execute("select release from sightline.release").fetchone() or (None,)
            assert release == manifest_of(demo_place)["release"]
            for label in labels:
                if label in refused:
                    with pytest.raises(psycopg.errors.InsufficientPrivilege):
                        reader.execute(f"select count(*) from {label}")
                else:
                    reader.execute(f"select count(*) from {label}")
            for statement in (
                "delete from core.accounts",
                "create table core.mine (id int)",
                "select * from sightline_data.people__talent",
                "select * from sightline_release_1.people__talent",
                "select * from sightline.copies",
                "insert into sightline.servings values (now(), 1)",
                "drop view core.accounts",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    reader.execute(statement)


def test_who_has_no_role_reads_nothing(demo_place: Place) -> None:
    demo_place.do("do $$ begin create role stranger; exception when duplicate_object then null; end $$")
    for label in ("core.accounts", "people.talent", "sightline.release"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            demo_place.ask(f"select * from {label}", "stranger")


def test_the_manifest_says_which_tables_are_about_people(place: Place) -> None:
    def readers(*people: str) -> dict[str, Any]:
        return {label: {"rows": "everyone", "people": label in people} for label in small(1)}

    def refused(label: str, role: str) -> bool:
        try:
            return not place.ask(f"select * from {label}", role)
        except psycopg.errors.InsufficientPrivilege:
            return True

    place.serve(readers=readers("funnel.deals"))
    assert refused("funnel.deals", "sightline_reader") and not refused("funnel.deals", "sightline_manager")
    assert not refused("people.talent", "sightline_reader")
    place.serve(readers=readers("people.talent"))
    assert refused("people.talent", "sightline_reader") and not refused("people.talent", "sightline_manager")
    assert not refused("funnel.deals", "sightline_reader")
    told = {label: rule for label, rule in readers().items() if label not in ("core.accounts", "people.talent")}
    place.serve(readers=told)
    for label in ("core.accounts", "people.talent"):
        assert refused(label, "sightline_manager") and not refused(label, "sightline_executive"), label


def test_values_at_the_edge_arrive_as_they_are(place: Place) -> None:
    place.serve(
        {
            "core.edges": """
                select * from (values
                    (1, 99999999999999.9999::decimal(18, 4), 'infinity'::double, 9223372036854775807, true,
                        date '1900-01-01', timestamp '1969-12-31 23:59:59.999999', '',
                        1.5::decimal(20, 10), ['a', null]),
                    (2, -0.0001, 'nan', -9223372036854775808, false, date '2999-12-31',
                        timestamp '2026-03-29 02:30:00', 'Zoë "quotes", ''single''
and a line\\n\\\\', -1234567890.0123456789, []),
                    (3, null, null, null, null, null, null, null, null, null),
                    (4, 0, -1e-300, 0, null, date '2024-02-29', timestamp '2026-06-30 00:00:00', '日本 🙂', 0, ['é'])
                ) as t (id, amount, share, n, is_it, day, moment, name, rate, tags)
            """,
            "core.nothing": "select 1 as id, 'x' as name where false",
        }
    )
    rows = place.ask("select * from core.edges order by id")
    database = place.home / "published" / "current" / "sightline.duckdb"
    with duckdb.connect(str(database), read_only=True) as release:
        expected = release.execute("select * from core.edges order by id").fetchall()
    assert rows[0][6] == datetime(1969, 12, 31, 23, 59, 59, 999999, UTC)
    assert math.isnan(rows[1][2]) and math.isnan(expected[1][2])
    assert [(*row[:2], *row[3:]) for row in in_order(rows, 1)] == [(*r[:2], *r[3:]) for r in in_order(expected, 1)]
    assert [rows[n][2] for n in (0, 2, 3)] == [expected[n][2] for n in (0, 2, 3)] == [math.inf, None, -1e-300]
    assert str(rows[0][1]) == "99999999999999.9999" and str(rows[3][8]) == "0E-10"
    assert place.ask("select * from core.nothing") == []


def test_what_postgresql_cannot_hold_is_one_sentence(place: Place) -> None:
    place.serve()
    with pytest.raises(UsageError, match=r"core.odd: column s is STRUCT\(a INTEGER\), which is not copied"):
        place.serve({"core.odd": "select 1 as id, {'a': 1} as s"})
    with pytest.raises(SourceError, match="3-release is not in PostgreSQL .core.odd: invalid byte sequence.* stays"):
        place.serve({"core.odd": "select 1 as id, 'a' || chr(0) as s"})
    with pytest.raises(SourceError, match="core.odd: could not create unique index"):
        place.serve({"core.odd": "select 1 as id from range(2)"})
    assert place.ask("select release from sightline.release") == [("1-release",)]
    place.serve()
    assert "sightline_incoming" not in ours(place)


def test_the_same_release_again_changes_nothing(place: Place) -> None:
    assert place.serve().rows == 9
    before = place.ask("select * from sightline.servings") + place.ask("select oid, relname from pg_class order by 1")
    again = serve_release(place.settings)
    assert (again.rows, again.sentence()) == (0, "PostgreSQL serves 1-release already.")
    assert before == place.ask("select * from sightline.servings") + place.ask(
        "select oid, relname from pg_class order by 1"
    )


def test_going_back_serves_the_release_before_without_copying_it(place: Place) -> None:
    place.serve()
    place.serve()
    assert place.ask("select release from core.accounts limit 1") == [(2,)]
    roll_back(place.settings, "1-release")
    served = serve_release(place.settings)
    assert served.rows == 0 and served.sentence().startswith("PostgreSQL serves 1-release now: its rows were there")
    assert place.ask("select release from core.accounts limit 1") == [(1,)]
    assert place.ask("select release, served_from <= now() from sightline.release") == [("1-release", True)]
    place.serve()
    assert place.ask("select distinct release from core.accounts") == [(3,)]
    assert ours(place) == ["sightline", "sightline_data", "sightline_release_1", "sightline_release_3"]
    roll_back(place.settings, "2-release")
    assert serve_release(place.settings).rows == 9, "what is not kept is copied again"
    assert place.ask("select distinct release from people.talent") == [(2,)]


def test_only_the_release_before_is_kept(place: Place) -> None:
    for _ in range(4):
        assert place.serve().notes == []
    assert ours(place) == ["sightline", "sightline_data", "sightline_release_3", "sightline_release_4"]


@pytest.mark.parametrize("level", [IsolationLevel.READ_COMMITTED, IsolationLevel.REPEATABLE_READ])
def test_a_long_reader_sees_one_release_throughout_and_nobody_waits_for_it(place: Place, level: IsolationLevel) -> None:
    place.serve()
    with place.connect("sightline_manager") as reader, place.connect("sightline_manager") as idle:
        for connection in (reader, idle):
            connection.isolation_level = level
        assert reader.execute("select release from core.accounts limit 1").fetchone() == (1,)
        idle.execute("select 1")
        began = time.monotonic()
        assert place.serve().notes == []
        assert time.monotonic() - began < postgres_server.PATIENCE_SECONDS / 2
        for connection in (reader, idle):
            for label in small(1):
                assert connection.execute(f"select distinct release from {label}").fetchall() == [(1,)], label
            assert connection.execute("select release from sightline.release").fetchall() == [("1-release",)]
        assert place.ask("select distinct release from core.accounts", "sightline_reader") == [(2,)]
        # One more, and the reader's release is the one before the last.
        assert place.serve().notes == [
            "1-release stays in PostgreSQL as well: a transaction has been open there since it was served.",
        ]
        assert place.ask("select distinct release from funnel.deals") == [(3,)]
        assert reader.execute("select distinct release from funnel.deals").fetchall() == [(1,)]
        reader.commit()
        assert reader.execute("select distinct release from funnel.deals").fetchall() == [(3,)]
    place.serve()
    assert ours(place) == ["sightline", "sightline_data", "sightline_release_3", "sightline_release_4"]


def test_a_transaction_older_than_what_is_kept_is_told_so(place: Place) -> None:
    place.serve()
    with place.connect("sightline_reader") as reader:
        reader.isolation_level = IsolationLevel.REPEATABLE_READ
        reader.execute("select 1")
        place.serve()
        place.serve()
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="not kept any more; begin another one"):
            reader.execute("select * from core.accounts")
        reader.rollback()
        assert reader.execute("select distinct release from core.accounts").fetchall() == [(3,)]


def test_readers_at_work_neither_wait_nor_see_two_releases_while_releases_come_and_go(place: Place) -> None:
    place.serve()
    stop = threading.Event()
    wrong: list[str] = []
    seen: set[int] = set()
    slowest = [0.0]

    def read(level: IsolationLevel) -> None:
        with place.connect("sightline_manager") as reader:
            reader.isolation_level = level
            while not stop.is_set():
                try:
                    found = []
                    for label in small(1):
                        began = time.monotonic()
                        found += reader.execute(f"select release, count(*) from {label} group by 1").fetchall()
                        slowest[0] = max(slowest[0], time.monotonic() - began)
                    reader.commit()
                    if len(set(found)) != 1 or found[0][1] != 3:
                        wrong.append(str(found))
                    seen.update(release for release, _ in found)
                except psycopg.Error as error:
                    wrong.append(str(error))
                    return

    levels = [IsolationLevel.READ_COMMITTED, IsolationLevel.REPEATABLE_READ] * 2
    threads = [threading.Thread(target=read, args=(level,)) for level in levels]
    for thread in threads:
        thread.start()
    try:
        for _ in range(4):
            place.serve()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not wrong
    assert len(seen) >= 4
    assert slowest[0] < 5, "on a machine however busy"


def test_a_copy_killed_midway_leaves_the_release_before_and_the_next_run_clears_up(place: Place) -> None:
    place.serve()
    large = small(2, rows=250_000)
    for moment in ("created", "filling", "indexed"):
        place.release(large)
        killed = publishing(place)
        wait_for(lambda moment=moment: has_come_to(place, moment))  # type: ignore[misc]
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert "sightline_incoming" in ours(place), "it was killed before it had finished"
        assert place.ask("select release from sightline.release") == [("1-release",)]
        assert place.ask("select distinct release from core.accounts", "sightline_reader") == [(1,)]
    served = serve_release(place.settings)
    assert served.rows == 750_000 and served.release == "4-release"
    assert place.ask("select distinct release, count(*) from people.talent group by 1") == [(2, 250_000)]
    assert ours(place) == ["sightline", "sightline_data", "sightline_release_1", "sightline_release_2"]


def test_breaking_off_at_any_statement_leaves_the_release_before(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The release that comes has other columns, and one table more and one less: everything there is to do."""
    place.serve()
    place.serve()
    statement, rows = postgres_server.Server.do, 0
    passed, ends_at = 0, 10**9

    def do(server: postgres_server.Server, script: str) -> None:
        nonlocal passed
        passed += 1
        if passed == ends_at:
            raise SourceError("broken off")
        statement(server, script)

    monkeypatch.setattr(postgres_server.Server, "do", do)
    other = {"core.accounts": "select 1 as id, 3 as release", "funnel.more": "select 'x' as id, 3 as release"}
    other["people.talent"] = "select 1 as id, 3 as release, 'x' as other_id"
    place.release(other)
    while not rows:
        passed, ends_at = 0, 1 if ends_at == 10**9 else ends_at + 1
        try:
            rows = serve_release(place.settings).rows
        except SourceError:
            # What comes after the swap is no reason to fail: the last is told as a note.
            assert place.ask("select release from sightline.release") == [("2-release",)]
            assert {place.ask(f"select distinct release from {label}")[0] for label in small(2)} == {(2,)}, ends_at
            assert place.ask("select to_regclass('funnel.more')") == [(None,)]
    assert ends_at > 25 and rows == 3
    assert {place.ask(f"select distinct release from {label}")[0] for label in other} == {(3,)}
    assert place.ask("select to_regclass('funnel.deals')") == [(None,)]
    monkeypatch.undo()
    serve_release(place.settings)
    assert ours(place) == ["sightline", "sightline_data", "sightline_release_3"]


def publishing(place: Place) -> subprocess.Popen[bytes]:
    """`sightline postgres` in a process of its own."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SIGHTLINE_")}
    return subprocess.Popen(
        [sys.executable, "-m", "orchestration.cli", "postgres"],
        env={**inherited, "SIGHTLINE_HOME": str(place.home), "SIGHTLINE_PUBLISH_POSTGRES": place.url},
        cwd=place.home.parent,
        stdout=subprocess.DEVNULL,
    )


def has_come_to(place: Place, moment: str) -> bool:
    if moment == "indexed":
        found = place.ask("select to_regclass('sightline_incoming.core__accounts_pkey') is not null")
    elif moment == "filling":
        found = place.ask("select count(*) > 0 from pg_stat_progress_copy where datname = current_database()")
    else:
        found = place.ask("select to_regnamespace('sightline_incoming') is not null")
    return bool(found[0][0])


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_what_is_not_ours_is_not_touched(place: Place) -> None:
    place.do("create schema funnel; create table funnel.theirs as select 1 as id")
    before = place.ask("select oid, nspname from pg_namespace order by 1")
    with pytest.raises(UsageError, match="has a schema funnel that Sightline did not make, and will not touch; rename"):
        place.serve()
    (found,) = examine_postgres(place.settings)
    assert found.state == "problem" and "a schema funnel that Sightline did not make" in found.text
    assert place.ask("select oid, nspname from pg_namespace order by 1") == before
    place.do("alter schema funnel rename to theirs")
    place.do("create schema other; create view other.v as select 1 as id; create table public.funnel (id int)")
    assert serve_release(place.settings).rows == 9
    place.do("create table funnel.more as select 1 as id")
    with pytest.raises(SourceError, match='relation "more" already exists'):
        place.serve({**small(2), "funnel.more": "select 2 as id"})
    assert place.ask("select * from funnel.more") == [(1,)]
    assert place.ask("select (select id from theirs.theirs), (select id from other.v)") == [(1, 1)]
    assert place.ask("select distinct release from core.accounts") == [(1,)]


def test_views_and_grants_of_others_stand_while_releases_come_and_go(place: Place) -> None:
    place.serve()
    place.do("do $$ begin create role analyst; exception when duplicate_object then null; end $$")
    place.do("create schema reports; create view reports.mine as select release, count(*) from funnel.deals group by 1")
    place.do("grant usage on schema funnel to analyst; grant select on funnel.deals to analyst")
    for _ in range(3):
        place.serve()
    assert place.ask("select * from reports.mine") == [(4, 3)]
    assert place.ask("select distinct release from funnel.deals", "analyst") == [(4,)]


def test_other_columns_wait_for_readers_of_that_table_alone(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_server, "PATIENCE_SECONDS", 1.0)
    place.serve()
    place.do("create schema reports; create view reports.mine as select id from funnel.deals")
    other = {**small(2), "funnel.deals": "select 'x' as id, 2 as release, true as is_new"}
    with pytest.raises(UsageError, match="view reports.mine depends on view funnel.deals; drop what depends on it"):
        place.serve(other)
    place.do("drop view reports.mine")
    with place.connect("sightline_reader") as reader, place.connect("sightline_reader") as elsewhere:
        reader.execute("select * from funnel.deals")
        elsewhere.execute("select * from core.accounts")
        with pytest.raises(SourceError, match="not served: funnel.deals changed .* process [0-9]+ of postgres is in a"):
            serve_release(place.settings)
        assert reader.execute("select distinct release from core.accounts").fetchall() == [(1,)]
        reader.commit()
        assert serve_release(place.settings).rows == 7
        # It began with a release that has lost a table: an error, never half of another one.
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
            elsewhere.execute("select * from funnel.deals")
    assert place.ask("select * from funnel.deals", "sightline_reader") == [("x", 2, True)]
    gone = small(3)
    del gone["people.talent"]
    place.serve(gone)
    assert place.ask("select to_regclass('people.talent')") == [(None,)]
    assert place.ask("select to_regclass('sightline_data.people__talent')") == [(None,)]
    assert place.ask("select distinct release from funnel.deals") == [(3,)]


def test_two_publications_do_not_meet(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_server, "PATIENCE_SECONDS", 1.0)
    place.release()
    with place.connect() as other:
        other.execute("select pg_advisory_lock(hashtext('sightline'), 0)")
        with pytest.raises(SourceError, match="Another run is publishing to this PostgreSQL database"):
            serve_release(place.settings)
    assert serve_release(place.settings).rows == 9


def test_rights_that_are_missing_are_asked_for_in_sql(place: Place, server: sa.Engine) -> None:
    place.do(f"revoke create on database {place.name} from publisher")
    sentence = f"as an administrator: grant create on database {place.name} to publisher."
    with pytest.raises(UsageError, match=sentence):
        place.serve()
    (found,) = examine_postgres(place.settings)
    assert (found.state, found.text.endswith(sentence.rstrip("."))) == ("problem", True)
    place.do(f"grant create on database {place.name} to publisher")
    with without_roles(place):
        with pytest.raises(UsageError, match="administrator: create role sightline_executive.*") as refused:
            serve_release(place.settings)
        statements = str(refused.value).partition("administrator: ")[2].rstrip(".").split("; ")
        for statement in statements:
            place.do(statement)
        assert serve_release(place.settings).rows == 9
    assert place.ask("select count(*) from people.talent", "sightline_manager") == [(3,)]


@contextmanager
def without_roles(place: Place) -> Iterator[None]:
    """A publisher who may not make roles, and a role that is not there."""
    place.do("do $$ begin create role sightline_executive; exception when duplicate_object then null; end $$")
    place.do("alter role sightline_executive rename to away; alter role publisher nocreaterole")
    try:
        yield
    finally:
        place.do("alter role publisher createrole")
        place.do("reassign owned by away to postgres; drop owned by away; drop role away")


def test_doctor_says_where_and_what_is_served(place: Place) -> None:
    place.release()
    (found,) = examine_postgres(place.settings)
    assert found.state == "ok"
    assert found.text.endswith(
        " as publisher; serves no release yet, and 1-release after the next run or sightline postgres"
    )
    serve_release(place.settings)
    (found,) = [each for each in diagnose(place.settings) if each.subject == "PostgreSQL"]
    assert (found.state, found.text.endswith(f"/{place.name} as publisher; serves 1-release")) == ("ok", True)


def test_no_password_is_in_any_sentence(place: Place) -> None:
    place.release()
    for url, words in (
        (
            place.url.replace("canary-7%21x", "canary-7-wrong").replace(CANARY, "canary-7-wrong"),
            "authentication failed",
        ),
        (
            "postgresql://publisher:canary-7@127.0.0.1:1/x",
            "PostgreSQL at 127.0.0.1:1/x does not let us in as publisher",
        ),
        ("postgresql://publisher:canary-7@nowhere.invalid/x", "nowhere.invalid"),
        ("mysql://publisher:canary-7@host/x", "is no address of a PostgreSQL database"),
        ("publisher:canary-7@host", "is no address of a PostgreSQL database"),
        ("postgresql://publisher:canary-7@host:port/x", "is no address of a PostgreSQL database"),
    ):
        settings = Settings(home=place.home, publish_postgres=url, _env_file=None)
        with pytest.raises(SightlineError) as failure:
            serve_release(settings)
        (found,) = examine_postgres(settings)
        for text in (str(failure.value), found.text):
            assert words in text
            assert "canary-7" not in text and "\n" not in text
        assert found.state == "problem"


def test_without_the_extra_a_sentence_says_how_to_get_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.release()
    monkeypatch.setitem(sys.modules, "adbc_driver_postgresql", None)
    with pytest.raises(UsageError, match=r"^Serving in PostgreSQL needs its extra: make install EXTRAS=postgres.$"):
        serve_release(place.settings)


@pytest.mark.long
def test_a_copy_that_fails_leaves_the_release_published_and_the_next_run_tries_again(
    place: Place, after_small_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.home = after_small_run.home
    extract = write_extract(after_small_run.home.parent / "x")
    (before,) = after_small_run.query("select count(*) from core.opportunities")
    monkeypatch.setenv("SIGHTLINE_PUBLISH_POSTGRES", place.url.replace(place.name, "not_there"))
    failed = run_here(place.home, extract)
    assert failed.exit_code == 3 and "canary" not in failed.output
    assert re.fullmatch(r"PostgreSQL at \S* does not let us in as publisher .*not_there.*\.", failed.output)
    published = manifest_of(place)["release"]
    assert published != after_small_run.database.parent.name, "it is a new one, and it is read"
    assert failed.query("select count(*) from core.opportunities") == [before]
    monkeypatch.setenv("SIGHTLINE_PUBLISH_POSTGRES", place.url)
    again = run_here(place.home, extract)
    assert again.exit_code == 0, again.output
    assert place.ask("select release from sightline.release") == [(manifest_of(place)["release"],)]
    assert place.ask("select count(*) from core.opportunities") == [before]
    assert place.ask("select count(*) from sightline.copies") == [(1,)]
    back = sightline(place.home, "rollback", SIGHTLINE_PUBLISH_POSTGRES=place.url)
    assert back.exit_code == 0, back.output
    assert place.ask("select release from sightline.release") == [(published,)]


def test_the_asset_is_skipped_without_the_setting_and_fails_with_its_sentence(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dagster import AssetKey, materialize

    from orchestration.defs.publish import candidate, postgres, release
    from orchestration.defs.resources import Run as RunResource

    def outcome(url: str) -> tuple[bool, int, str, str]:
        monkeypatch.setenv("SIGHTLINE_PUBLISH_POSTGRES", url)
        if not url:
            monkeypatch.delenv("SIGHTLINE_PUBLISH_POSTGRES")
        result = materialize(
            [candidate, release, postgres],
            selection=[postgres],
            resources={"run": RunResource()},
            raise_on_error=False,
        )
        made = [event.materialization for event in result.get_asset_materialization_events()]
        metadata = {name: value.value for event in made for name, value in event.metadata.items()}
        assert all(event.asset_key == AssetKey("postgres") for event in made)
        failures = [event.step_failure_data.user_failure_data for event in result.filter_events(_has_failed)]
        said = " ".join(f"{failure.metadata['exit_code'].value} {failure.description}" for failure in failures)
        return result.success, len(made), str(metadata.get("served", "")), said

    monkeypatch.chdir(place.home.parent)
    monkeypatch.setenv("SIGHTLINE_HOME", str(place.home))
    place.release()
    assert outcome("") == (True, 0, "", "")
    assert outcome(place.url) == (True, 1, "1-release", "")
    is_well, made, _, said = outcome("postgresql://publisher:canary@127.0.0.1:1/x")
    assert (is_well, made) == (False, 0) and said.startswith("3 PostgreSQL at 127.0.0.1:1/x does not let us in")
    assert outcome("x://y")[3].startswith("2 SIGHTLINE_PUBLISH_POSTGRES is no address")


def _has_failed(event: Any) -> bool:
    return bool(event.event_type_value == "STEP_FAILURE")


def test_a_run_says_that_it_published_and_what_failed_then(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What becomes of the job is held above; this is what the command makes of it."""
    import typer

    from orchestration import cli, running

    result = running.RunResult(3, "id", ["PostgreSQL is away."], release="1-release")
    monkeypatch.setattr(running, "run_job", lambda *arguments: result)
    monkeypatch.setattr(cli, "_print_summary", lambda settings, release, seconds: print(f"Release {release}"))
    monkeypatch.setenv("SIGHTLINE_HOME", str(place.home))
    with pytest.raises(typer.Exit) as end:
        cli.run()
    printed = capsys.readouterr()
    assert end.value.exit_code == 3
    assert printed.out == "Release 1-release\n"
    assert printed.err == "Published, but: PostgreSQL is away.\n"
