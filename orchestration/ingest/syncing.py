"""What a connector brings: all that changed in a system since the last accepted batch, as an extract that lands.

Each table is pulled into a file of its own under `inbox/<source>/`. A pull that is interrupted goes on with the tables
it had not finished. Where the next one goes on from is part of the batch: it counts when the batch is accepted,
together with its rows, so a batch that is refused or lost is asked for again.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from orchestration.errors import SightlineError, SourceError, UsageError
from orchestration.ingest.contract import Source, Table, load_source
from orchestration.ingest.files import PULLED
from orchestration.ingest.landing import accepted_batches
from orchestration.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

    from orchestration.diagnosis import Diagnosis

# What each connector cannot do without.
NEEDED = {
    "salesforce": ("salesforce_url", "salesforce_client_id", "salesforce_client_secret"),
    "hubspot": ("hubspot_token",),
    "sql": ("sql_url", "sql_tables"),
}


# A number written as 1.25E7.
EXPONENT = r"^[+-]?\d+(\.\d*)?[eE][+-]?\d+$"


@dataclass(frozen=True)
class Offer:
    """What a system lets us read of one table.

    Attributes:
        fields: every field that can be read, and the system's type of it.
        problem: why the table cannot be read at all, and what to grant; empty when it can.
        whole_because: why changes alone are not enough, so that the table is read whole at each sync; mostly empty.
        deletions_kept: how long the system tells of a deleted row; a table that was not read for longer is read whole.
        notes: what a person wants to know of this table.
        origin: what the rows are of, where that is a setting; those of another one are all read.
    """

    fields: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""
    whole_because: str = ""
    deletions_kept: timedelta | None = None
    notes: tuple[str, ...] = ()
    origin: str = ""


@dataclass(frozen=True)
class Lack:
    """What cannot be read of one table.

    Attributes:
        problem: why nothing can be read of it, and what to grant; empty when something can.
        fields: fields that are wanted and not offered.
        columns: the columns of the source's table that are not filled for it.
    """

    table: str
    problem: str = ""
    fields: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()


@dataclass
class Memory:
    """What a connector has to remember between two attempts at one pull, for example the job it waits for."""

    path: Path
    notes: dict[str, Any] = field(default_factory=dict)

    def keep(self, name: str, value: Any) -> None:
        """Written at once; None forgets."""
        if value is None:
            self.notes.pop(name, None)
        else:
            self.notes[name] = value
        _write(self.path, self.notes)


class Connector(Protocol):
    """One system that is read over the network. Whatever fails in it ends as one sentence in a `SourceError`."""

    def offer(self, table: Table) -> Offer:
        """What can be read of a table now."""

    def pull(
        self, table: Table, fields: Mapping[str, str], since: str | None, memory: Memory
    ) -> Iterator[tuple[pa.Table, str | None]]:
        """Reads a table, in pieces of text columns, each with the newest value of its cursor read so far.

        Args:
            fields: column of the source's table to field of the system.
            since: the cursor of the last accepted batch; None reads everything. What it tells apart, minutes or rows,
                is the connector's; it looks back as far as changes can come late.
            memory: of this pull, kept over an interruption.
        """

    def notes(self) -> list[str]:
        """What a person wants to know of this sync, for example how much of the day's calls is left."""

    def close(self) -> None:
        """Lets go of connections."""


def is_configured(settings: Settings, source: Source) -> bool:
    """Whether a source is to be read over the network: something of its access is set."""
    return source.connector is not None and any(getattr(settings, name) for name in NEEDED[source.connector])


def connect(settings: Settings, source: Source) -> Connector:
    """The connector of a source.

    Raises:
        UsageError: a setting or a package is missing.
        SourceError: the system does not let us in.
    """
    with _at_hand(settings, source) as kind:
        if kind == "salesforce":
            from orchestration.ingest.salesforce import connect_salesforce

            return connect_salesforce(settings)
        if kind == "hubspot":
            from orchestration.ingest.hubspot import connect_hubspot

            return connect_hubspot(settings)
        from orchestration.ingest.databases import connect_database

        return connect_database(settings)


def examine(settings: Settings, source: Source) -> list[Diagnosis]:
    """What `sightline doctor` tells of the access itself: who we are there, the budget of calls, the clock.

    Raises:
        UsageError: a setting or a package is missing.
    """
    with _at_hand(settings, source) as kind:
        if kind == "salesforce":
            from orchestration.ingest.salesforce import examine_salesforce

            return list(examine_salesforce(settings))
        if kind == "hubspot":
            from orchestration.ingest.hubspot import examine_hubspot

            return list(examine_hubspot(settings))
        from orchestration.ingest.databases import examine_database

        return examine_database(settings)


@contextmanager
def _at_hand(settings: Settings, source: Source) -> Iterator[str]:
    """The kind of connector a source has, when all it needs is set; a package that is missing is one sentence."""
    kind = source.connector
    if kind is None:
        raise UsageError(f"The source {source.name} is read from files: give --extract DIR.")
    missing = [f"SIGHTLINE_{name.upper()}" for name in NEEDED[kind] if not getattr(settings, name)]
    if missing:
        raise UsageError(f"The source {source.name} needs {', '.join(missing)}; set it in the environment or in .env.")
    try:
        yield kind
    except ModuleNotFoundError as error:
        raise UsageError(
            f"The source {source.name} needs its extra ({error.name} is not installed): "
            f"pip install -e '.[{kind}]' -c requirements.lock."
        ) from None


def sync(settings: Settings, source_name: str) -> Path:
    """Pulls what changed and returns the directory it can be landed from.

    Raises:
        UsageError: the connector is not configured.
        SourceError: the system failed; what was pulled whole is kept for the next attempt.
    """
    source = load_source(source_name)
    history = accepted_batches(settings, source_name)
    state: dict[str, Any] = history[-1].state if history else {}
    # A row that was kept out may be let in by what policy has learnt since, and would not come by itself.
    kept_out = {counts.table for batch in history for counts in batch.tables if counts.quarantined}
    for name in kept_out & set(state):
        if state[name].get("rules") != source.fingerprint:
            state[name] = {**state[name], "cursor": None}
    folder = settings.inbox / source_name
    progress = _Progress.resume(folder, base=history[-1].batch_id if history else "", rules=source.fingerprint)
    try:
        connector = connect(settings, source)
        try:
            for table in source.tables:
                if table.name not in progress.tables:
                    _pull(connector, table, state.get(table.name, {}), progress)
            notes = [*progress.notes, *connector.notes()]
        finally:
            connector.close()
    except SightlineError as error:
        raise type(error)(scrubbed(settings, str(error))) from None
    except Exception as error:
        raise SourceError(
            f"{source_name} could not be read ({scrubbed(settings, f'{type(error).__name__}: {error}')}); "
            "run again, what was read whole is kept."
        ) from None
    told = {
        # When everything in it is known: the last table was read just now.
        "extracted_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "mode": "changes",
        "whole": sorted(name for name, part in progress.tables.items() if part.get("whole")),
        "state": {**state, **{name: part["state"] for name, part in progress.tables.items() if "state" in part}},
        "notes": notes,
    }
    _write(folder / "extract.json", told)
    return folder


def scrubbed(settings: Settings, text: str) -> str:
    """A text without any secret in it."""
    for secret in settings.secrets():
        text = text.replace(secret, "***")
    return text


def chosen_fields(table: Table, offer: Offer) -> tuple[dict[str, str], list[str]]:
    """Column to field of what is to be read, and the fields that are wanted but cannot be."""
    mapped = {column: name for name, column in table.fields.items()}
    wanted = {column.name: mapped.get(column.name, "" if column.is_mapped else column.name) for column in table.columns}
    wanted |= {column: name for column, name in mapped.items() if column.startswith("x_")}
    fields = {column: name for column, name in wanted.items() if name in offer.fields}
    return fields, sorted(name for name in wanted.values() if name and name not in offer.fields)


def lacks(connector: Connector, source: Source) -> Iterator[Lack]:
    """What a system does not let us read of a source, a table after the other."""
    for table in source.tables:
        offer = connector.offer(table)
        fields, missing = chosen_fields(table, offer)
        if offer.problem:
            yield Lack(table.name, offer.problem, columns=tuple(column.name for column in table.columns))
        elif missing:
            # A mapped column that no field was chosen for is not lacking: nobody asked for it.
            asked = [column.name for column in table.columns if not column.is_mapped]
            asked += [column for column in table.fields.values() if column not in asked]
            unfilled = tuple(column for column in asked if column not in fields)
            yield Lack(table.name, fields=tuple(missing), columns=unfilled)


@dataclass
class _Progress:
    """What one sync has got so far: `progress.json` beside the files."""

    folder: Path
    base: str
    rules: str
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def resume(cls, folder: Path, base: str, rules: str) -> _Progress:
        """Goes on with an interrupted sync; one that is complete, or began from another batch, is thrown away."""
        path = folder / "progress.json"
        if path.exists() and not (folder / "extract.json").exists():
            kept = json.loads(path.read_text(encoding="utf-8"))
            if kept["base"] == base and kept["rules"] == rules:
                return cls(folder, **kept)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        fresh = cls(folder, base, rules)
        fresh.save()
        return fresh

    def save(self) -> None:
        content = asdict(self)
        del content["folder"]
        _write(self.folder / "progress.json", content)


def _pull(connector: Connector, table: Table, last: dict[str, Any], progress: _Progress) -> None:
    """Pulls one table into its file and remembers that it is done."""
    import pyarrow as pa

    offer = connector.offer(table)
    if offer.problem:
        progress.notes.append(f"{table.name} {offer.problem}")
        progress.tables[table.name] = {}
        progress.save()
        return
    if last and offer.origin != last.get("origin", ""):
        last = {**last, "cursor": None}
    fields, missing = chosen_fields(table, offer)
    keys = [key for key in table.keys if key not in fields]
    if keys:
        raise SourceError(f"{table.name} does not let its {', '.join(keys)} be read; grant the field and run again.")
    types = {name: offer.fields[name] for name in fields.values()}
    progress.notes += [*offer.notes, *_differences(table, types, missing, last)]
    began = datetime.now(UTC)
    if offer.whole_because and table.cursor is not None:
        progress.notes.append(f"{table.name} is read whole at each sync: {offer.whole_because}")
    # A field that is new here, or of another type, has values in rows that do not change for it: all are read again.
    is_new = not fields.items() <= last.get("fields", {}).items() or not types.items() <= last.get("types", {}).items()
    is_late = offer.deletions_kept is not None and (
        "read_at" in last and began - datetime.fromisoformat(last["read_at"]) > offer.deletions_kept
    )
    has_cursor = table.cursor is not None and table.cursor in offer.fields
    is_whole = not has_cursor or is_new or is_late or bool(offer.whole_because)
    since = None if is_whole else last.get("cursor")
    path = progress.folder / f"{table.file}{PULLED}"
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    schema = pa.schema([("_row", pa.int64()), *((column, pa.string()) for column in fields)])
    cursor, rows = since, 0
    memory_path = progress.folder / f"{table.name}.memory.json"
    memory = Memory(memory_path, json.loads(memory_path.read_text()) if memory_path.exists() else {})

    def write(piece: pa.Table, after: int) -> None:
        writer.write_table(_tidied(piece, table, schema, after))

    # One piece is written while the next is asked for.
    with pa.ipc.new_file(str(part), schema) as writer, ThreadPoolExecutor(max_workers=1) as hand:
        written: Future[None] | None = None
        for piece, newest in connector.pull(table, fields, since, memory):
            if written:
                written.result()
            written = hand.submit(write, piece, rows)
            cursor, rows = newest or cursor, rows + piece.num_rows
        if written:
            written.result()
    if rows or since is None:
        os.replace(part, path)
    else:
        part.unlink()
    progress.tables[table.name] = {
        "whole": since is None,
        "state": {
            "cursor": cursor,
            "fields": fields,
            "types": types,
            "read_at": began.isoformat(timespec="seconds"),
            "rules": progress.rules,
            "origin": offer.origin,
        },
    }
    progress.save()
    memory_path.unlink(missing_ok=True)


def without_exponent(texts: Any) -> Any:
    """1.25E7 as 12500000, in an Arrow array or its chunks; there are few, so they are written one by one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    has = pc.fill_null(pc.match_substring_regex(texts, EXPONENT), False)
    if not pc.any(has).as_py():
        return texts
    plain = [format(Decimal(text), "f") for text in texts.filter(has).to_pylist()]
    if isinstance(texts, pa.ChunkedArray):
        texts, has = texts.combine_chunks(), has.combine_chunks()
    return pc.replace_with_mask(texts, has, pa.array(plain, pa.string()))


def _tidied(piece: pa.Table, table: Table, schema: pa.Schema, after: int) -> pa.Table:
    """The columns of `schema`, its rows counted on from `after`: without white space around a value, an empty value is
    null, and a number has all its digits."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    numbers = {column.name for column in table.columns if column.data_type in ("int", "decimal", "rate", "share")}
    nothing = pa.scalar(None, pa.string())
    columns = [pa.array(np.arange(after + 1, after + piece.num_rows + 1))]
    for name in schema.names[1:]:
        column = pc.ascii_trim_whitespace(piece[name].cast(pa.string()))
        is_empty = pc.equal(pc.binary_length(column), 0)
        if pc.any(is_empty).as_py():
            column = pc.if_else(is_empty, nothing, column)
        columns.append(without_exponent(column) if name in numbers else column)
    return pa.table(columns, schema=schema)


def _differences(table: Table, types: dict[str, str], missing: list[str], last: dict[str, Any]) -> list[str]:
    """What is other than at the last sync, a sentence each."""
    notes = []
    if missing:
        notes.append(f"{table.name} does not offer {', '.join(missing)}: not there, or not granted")
    if not last:
        return notes
    before: dict[str, str] = last["types"]
    gone = sorted(set(before) - set(types))
    come = sorted(set(types) - set(before))
    retyped = [
        f"{name} ({before[name]}, now {types[name]})"
        for name in sorted(types)
        if before.get(name, types[name]) != types[name]
    ]
    if gone:
        notes.append(f"{table.name} no longer gives {', '.join(gone)}: empty in rows that change from now on")
    if come:
        notes.append(f"{table.name} now also gives {', '.join(come)}: read again from the beginning")
    if retyped:
        notes.append(f"{table.name} has other types: {', '.join(retyped)}")
    return notes


def _write(path: Path, content: Any) -> None:
    """All of it or nothing."""
    staged = path.with_name(f".{path.name}")
    staged.write_text(json.dumps(content), encoding="utf-8")
    os.replace(staged, path)
