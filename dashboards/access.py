"""Who sees what: a reader's place in the hierarchy, and a release as that reader may see it.

docs/pages-access.md has the rules in words. Pages have no other way to a release than a connection made here.
"""

from __future__ import annotations

import csv
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import duckdb

from orchestration.errors import UsageError
from orchestration.ingest.rules import literal
from orchestration.publish.readers import Member, Readers, readers_of
from orchestration.settings import SEEDS

EVERYTHING = "everything"
PAGE_READERS = SEEDS / "page_readers.csv"

# Beside the marts, a SELECT of a page may take rows from these: they make rows out of what it gives them.
ROW_MAKERS = frozenset({"unnest", "range", "generate_series"})


class NotAReader(UsageError):
    """Somebody logged in whom no row of this release is for; the sentence is for that person."""


@dataclass(frozen=True)
class Viewer:
    """Somebody who reads the pages.

    Attributes:
        person_id: who that is in core.reps; None for a reader who is not in the CRM.
        sees: the persons whose rows are open: oneself and everybody below. None: everything is.
    """

    name: str = "Everybody"
    email: str | None = None
    person_id: str | None = None
    role: str | None = None
    sees: frozenset[str] | None = None


def everyone() -> Viewer:
    """Whoever sits at this machine: nothing is hidden."""
    return Viewer()


def viewer_of(database: Path, email: str, policy: Path = PAGE_READERS) -> Viewer:
    """The reader with a verified e-mail address, by the policy in seeds/page_readers.csv, else by core.reps.

    Raises:
        NotAReader: nobody, more than one person, or somebody who has left has that address.
        UsageError: the policy cannot be read, or the release tells no e-mail addresses.
    """
    address = email.strip().lower()
    allowed = page_readers(policy)
    with duckdb.connect(str(database), read_only=True) as connection:
        if address in allowed:
            sees = allowed[address]
            if sees == EVERYTHING:
                return Viewer(name=email, email=address)
            people = _people(connection, "rep_id = ?", sees)
            if not people:
                raise NotAReader(
                    f"seeds/page_readers.csv opens the pages to {address} as {sees}, whom this release does not know: "
                    "ask sales operations to correct the row."
                )
        else:
            people = [row for row in _people(connection, "email = ?", address) if not row[3]]
            if not people:
                raise NotAReader(
                    f"No page is open to {address}: nobody who works here today has this e-mail address in the CRM. "
                    "Ask sales operations to enter it there, or in seeds/page_readers.csv."
                )
            if len(people) > 1:
                raise NotAReader(
                    f"Two people in the CRM have the e-mail address {address}, so that it is not clear whose pages to "
                    "show: ask sales operations to correct it."
                )
        person_id, name, role, _ = people[0]
        if role == "executive":
            return Viewer(name, address, person_id, role)
        # A union of rows, not of all: whoever was found once is not followed again, so that a circle ends.
        below = connection.execute(
            "with recursive below as ("
            "select cast(? as varchar) as person_id union "
            "select reps.rep_id from core.reps as reps inner join below on reps.manager_id = below.person_id "
            "where reps.is_current) select person_id from below",
            [person_id],
        ).fetchall()
        return Viewer(name, address, person_id, role, frozenset(row[0] for row in below))


def page_readers(policy: Path = PAGE_READERS) -> dict[str, str]:
    """What readers who are not, or not enough, in the CRM see, by e-mail: `everything`, or what a person sees.

    Raises:
        UsageError: a row is not complete, or an address stands there twice.
    """
    found: dict[str, str] = {}
    with policy.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            address, sees = (row.get("email") or "").strip().lower(), (row.get("sees") or "").strip()
            if "@" not in address or not sees:
                raise UsageError(
                    f"Line {number} of {policy.name} needs an e-mail address, and everything or the id of a person."
                )
            if address in found:
                raise UsageError(f"{address} stands in {policy.name} twice: keep one of the rows.")
            found[address] = sees
    return found


def restrict(database: Path, readers: dict[str, Any], viewer: Viewer) -> duckdb.DuckDBPyConnection:
    """A connection in which each mart is a view of the rows the viewer may see, and which reads nothing else.

    Args:
        database: `sightline.duckdb` of a release.
        readers: `readers` of its manifest. A mart it says nothing about is empty for whoever does not see everything.
        viewer: whose rows are shown.
    """
    connection = duckdb.connect(config={"autoload_known_extensions": "false", "autoinstall_known_extensions": "false"})
    connection.execute("set TimeZone = 'UTC'")
    # Nobody can name what nobody can guess; only_marts() refuses the name besides.
    release = f"release_{secrets.token_hex(16)}"
    connection.execute(f"attach {literal(str(database))} as {release} (read_only)")
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")
    tables = [
        (str(schema), str(table))
        for schema, table in connection.execute(
            "select schema_name, table_name from duckdb_tables() where database_name = ? order by all", [release]
        ).fetchall()
    ]
    for schema in sorted({schema for schema, _ in tables}):
        connection.execute(f"create schema {schema}")
    if viewer.sees is None:
        for schema, table in tables:
            connection.execute(f"create view {schema}.{table} as from {release}.{schema}.{table}")
        return connection
    rules = {
        label: readers_of(label, readers[label]["rows"]) if label in readers else Readers()
        for label in (f"{schema}.{table}" for schema, table in tables)
    }
    connection.execute("create schema scope")
    connection.execute("create table scope.people as select unnest(?::varchar[]) as id", [sorted(viewer.sees)])
    for name, label, column in (
        ("deals", "core.opportunities", "opportunity_id"),
        ("accounts", "core.accounts", "account_id"),
    ):
        condition = _condition(rules[label]) if label in rules else "false"
        source = f"from {release}.{label} where {condition}" if label in rules else "where false"
        selected = f"select {column} as id" if label in rules else "select null::varchar as id"
        connection.execute(f"create table scope.{name} as {selected} {source}")
    for schema, table in tables:
        label = f"{schema}.{table}"
        connection.execute(f"create view {label} as from {release}.{label} where {_condition(rules[label])}")
    return connection


def only_marts(sql: str, marts: frozenset[str]) -> None:
    """Refuses whatever is not one SELECT over marts by their names.

    Views hide rows, not the tables behind them: this is what keeps the catalogue, files, and the release itself out of
    reach, even of a text that somebody should have put together from a URL.

    Raises:
        UsageError: it reads something else, or does something else.
    """
    for name in _names_read(sql):
        if name not in marts:
            raise UsageError(f"Pages read marts and nothing else, not {name}.")


def _people(connection: duckdb.DuckDBPyConnection, condition: str, value: str) -> list[tuple[Any, ...]]:
    try:
        return connection.execute(
            f"select rep_id, name, role, terminated_on is not null from core.reps where is_current and {condition}",
            [value],
        ).fetchall()
    except duckdb.BinderException:
        raise UsageError(
            "This release tells no e-mail addresses of people: publish a new one with sightline run."
        ) from None


def _condition(readers: Readers) -> str:
    """What a row must meet for a viewer who does not see everything; `scope` holds what that viewer sees."""
    if readers.everyone:
        return "true"
    opened = [_is_in(column, "people") for column in readers.person]
    if readers.deal:
        opened.append(_is_in(readers.deal, "deals"))
    if readers.account:
        opened.append(_is_in(readers.account, "accounts"))
    if readers.member:
        opened += _of_member(readers.member)
    if readers.row_of:
        table, columns = readers.row_of
        key = ", ".join(f'"{column}"' for column in columns)
        opened.append(f"({key}) in (select ({key}) from {table})")
    return " or ".join(f"({condition})" for condition in opened) or "false"


def _of_member(member: Member) -> list[str]:
    def of(words: tuple[str, ...]) -> str:
        return f'"{member.of}" in ({", ".join(literal(word) for word in words)})'

    opened = []
    if member.person:
        opened.append(f"{of(member.person)} and {_is_in(member.id, 'people')}")
    if member.account:
        opened.append(f"{of(member.account)} and {_is_in(member.id, 'accounts')}")
    if member.everyone:
        enough = [f'"{column}" >= {int(people)}' for column, people in member.at_least.items()]
        opened.append(" and ".join([of(member.everyone), *enough]))
    return opened


def _is_in(column: str, scope: str) -> str:
    return f'"{column}" in (select id from scope.{scope})'


@lru_cache(maxsize=1024)
def _names_read(sql: str) -> frozenset[str]:
    """Everything one SELECT takes rows from, but its own common table expressions and what makes rows of its values."""
    with _parser().cursor() as cursor:
        (text,) = cursor.execute("select json_serialize_sql(?)", [sql]).fetchone() or ("{}",)
    told = json.loads(text)
    if told.get("error", True):
        raise UsageError(f"Pages read marts with a SELECT and do nothing else: {told.get('error_message', sql)}")
    if len(told["statements"]) != 1:
        raise UsageError("Pages read marts with one SELECT at a time.")
    nodes = list(_nodes(told))
    own = {entry["key"] for node in nodes if "cte_map" in node for entry in node["cte_map"]["map"]}
    read: set[str] = set()
    for node in nodes:
        kind = node.get("type")
        if kind == "BASE_TABLE":
            path = node["qualified_name"]["path"]
            if len(path) != 1 or path[0] not in own:
                read.add(".".join(path))
        elif kind == "TABLE_FUNCTION":
            path = node["function"]["qualified_name"]["path"]
            if len(path) != 1 or path[0] not in ROW_MAKERS:
                read.add(".".join(path))
        elif kind == "SHOW_REF":
            read.add("the catalogue")
    return frozenset(read)


@lru_cache(maxsize=1)
def _parser() -> duckdb.DuckDBPyConnection:
    """A database of nothing, which takes texts apart and runs none of them."""
    return duckdb.connect()


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Every node of a statement that was taken apart."""
    if isinstance(value, dict):
        yield value
        for part in value.values():
            yield from _nodes(part)
    elif isinstance(value, list):
        for part in value:
            yield from _nodes(part)
