"""From an extract directory to a batch that waits for the landing gate, and from there into the raw zone.

A batch holds what is new: rows whose content differs from the newest accepted version of their key, and a `delete` row
for each key a full extract no longer has. It is written under `incoming/`, judged there, and enters `raw/` by one
rename, so a reader of the raw zone sees all of it or nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import duckdb

from orchestration.errors import RefusedError, SourceError, UsageError
from orchestration.ingest.contract import Source, Table, load_source
from orchestration.ingest.files import HEADER, PULLED, files_of, names_in, stranger_note, strangers, unpack
from orchestration.ingest.reading import Finding, Reading, lines_of, read
from orchestration.ingest.rules import identifier, literal, rules_for
from orchestration.settings import Settings, known_sources

EMPTY_BATCH = "0-contract"
MEMORY = "2GB"
# Known ever since: an attribute without history takes its first known version.
EVER_SINCE = "timestamp '1900-01-01'"


@dataclass(frozen=True)
class TableCounts:
    """What became of one entity's rows: landed = accepted + quarantined + superseded.

    Attributes:
        superseded: rows that say nothing new: doubled in the file, or the same as the newest version already accepted.
        deleted: keys a full extract no longer has.
        previous: live keys before this batch.
    """

    table: str
    file: str
    sha256: str
    landed: int
    accepted: int
    quarantined: int
    superseded: int
    deleted: int
    previous: int


@dataclass(frozen=True)
class Batch:
    """One load of one source, as written to its `batch.json`.

    Attributes:
        state: where a connector goes on from; accepted together with the rows it speaks of.
    """

    source: str
    batch_id: str
    extracted_at: str
    landed_at: str
    mode: Literal["full", "changes"]
    rules: str
    tables: list[TableCounts] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)


def read_batch(path: Path) -> Batch:
    content = json.loads((path / "batch.json").read_text(encoding="utf-8"))
    return Batch(**{**content, "tables": [TableCounts(**table) for table in content["tables"]]})


def accepted_batches(settings: Settings, source: str) -> list[Batch]:
    """Batches of a source in the raw zone, oldest extract first."""
    folders = sorted(folder for folder in (settings.raw / source).glob("*") if (folder / "batch.json").exists())
    return [read_batch(folder) for folder in folders]


def prepare_raw_zone(settings: Settings) -> None:
    """Puts a file without rows for every table of every source: what nobody delivers is typed and empty."""
    connection = duckdb.connect()
    for name in known_sources():
        source = load_source(name)
        folder = settings.raw / name / EMPTY_BATCH
        marker = folder / source.fingerprint
        if marker.exists():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        for table in source.tables:
            columns = ", ".join(f'null::varchar as "{column.name}"' for column in table.columns)
            staged = folder / f".{table.name}.parquet"
            connection.execute(
                f"copy (select {columns}, null::bigint as _row, null::varchar as _row_hash, "
                "null::varchar as _operation, null::varchar as _batch_id, null::timestamp as _extracted_at, "
                "null::timestamp as _known_at limit 0) "
                f"to {literal(str(staged))} (format parquet)"
            )
            os.replace(staged, folder / f"{table.name}.parquet")
        marker.touch()


def land(
    settings: Settings, source_name: str, directory: Path, delivered_elsewhere: frozenset[str] = frozenset()
) -> Batch | None:
    """Lands what an extract directory has that is new; None when there is nothing.

    Args:
        delivered_elsewhere: entities that need not be there, because another source of the run delivers them.

    Raises:
        UsageError: the directory is not there.
        SourceError: `extract.json` cannot be understood.
        RefusedError: the extract is older than the newest accepted one: what was published then did not know it.
    """
    if directory.is_file():
        raise UsageError(f"{directory} is a file; give the folder that has crm/ in it, not one of its files.")
    if not directory.is_dir():
        raise UsageError(f"The extract directory {directory} is not there; set SIGHTLINE_EXTRACT_DIR or --extract.")
    source = load_source(source_name)
    prepare_raw_zone(settings)
    _clean(settings, source_name)
    history = accepted_batches(settings, source_name)
    header = _extract_header(directory)
    names = names_in(directory, source)
    if "state" not in header:
        names = [name for name in names if not name.endswith(PULLED)]
    files = {table.name: paths for table in source.tables if (paths := files_of(table, names))}
    checksums = {table: _checksum(directory, paths) for table, paths in files.items()}
    changed = {
        table: paths
        for table, paths in files.items()
        if _last_seen(history, table) != (checksums[table], source.fingerprint)
    }
    # A day on which nothing changed in a file sends none of it.
    is_full = header.get("mode", "full") == "full"
    missing = [
        table
        for table in source.tables
        if table.is_required
        and table.name not in files
        and table.name not in delivered_elsewhere
        and (is_full or not _last_seen(history, table.name))
    ]
    newest = history[-1].extracted_at if history else None
    stated = header.get("extracted_at")
    if not changed and not missing and (stated is None or stated == newest):
        return None

    # However large the files are, memory is not: what does not fit is set aside on disk.
    spill: dict[str, Any] = {"temp_directory": str(settings.incoming / ".spill"), "memory_limit": MEMORY}
    connection = duckdb.connect(config=spill)
    connection.execute("set TimeZone = 'UTC'; set preserve_insertion_order = true")
    landing = _Landing(settings, source, connection, directory, header, history)
    beside = strangers(source, names)
    landing.notes += [stranger_note(name, meant) for name, meant in beside.items()]
    for table in missing:
        name = f"{table.file}.csv or {table.file}.parquet"
        near = next((other for other, meant in beside.items() if meant.split(".")[0] == table.file), None)
        what_to_do = f"{near} looks like it: give it that name" if near else "export it again"
        landing.findings.append(
            Finding(table.name, name, None, None, None, "is required but is not there", what_to_do, "refuse")
        )
    for name, paths in changed.items():
        landing.read(source.table(name), paths)
    extracted_at = stated or landing.newest_value() or _utc_now()
    if newest and extracted_at < newest:
        raise RefusedError(
            f"The extract in {directory} is of {extracted_at}, older than the newest accepted one of {newest}: "
            "releases were made without it. Load extracts in order, or start again with an empty SIGHTLINE_HOME."
        )
    return landing.write(extracted_at, checksums)


def accept(settings: Settings, source_name: str) -> Batch | None:
    """Lets the batch that passed the gate into the raw zone; None when none is waiting."""
    for folder in _waiting(settings, source_name):
        batch = read_batch(folder)
        os.replace(folder, settings.raw / source_name / batch.batch_id)
        # What a connector brought is in the raw zone now.
        shutil.rmtree(settings.inbox / source_name, ignore_errors=True)
        return batch
    return None


def waiting_batch(settings: Settings, source_name: str) -> Path | None:
    """The folder of the batch that waits for the gate, if there is one."""
    return next(_waiting(settings, source_name), None)


def newest_extract(settings: Settings) -> datetime:
    """When the newest accepted extract of the run's sources was made: the default as-of date.

    Raises:
        SourceError: nothing was ever accepted.
    """
    times = [batch.extracted_at for name in settings.sources for batch in accepted_batches(settings, name)[-1:]]
    if not times:
        raise SourceError(
            f"No extract of {', '.join(settings.sources)} was ever accepted; run again with --extract DIR."
        )
    return datetime.fromisoformat(max(times))


@dataclass(frozen=True)
class _Part:
    """One file of an entity: its rows follow the `after` rows of the files before it."""

    path: Path
    label: str
    after: int
    reading: Reading

    @cached_property
    def lines(self) -> list[int]:
        return lines_of(self.path, self.reading.unreadable) if self.path.suffix == ".csv" else []

    def line(self, number: int) -> int:
        """Where a row of `landed` stands in the file."""
        own = number - self.after
        return self.lines[own - 1] if self.lines else own


class _Landing:
    """One batch in the making: files read into DuckDB one after the other, judged, compared, written."""

    def __init__(
        self,
        settings: Settings,
        source: Source,
        connection: duckdb.DuckDBPyConnection,
        directory: Path,
        header: dict[str, Any],
        history: list[Batch],
    ) -> None:
        self.settings, self.source, self.connection = settings, source, connection
        self.directory, self.history = directory, history
        self.mode: Literal["full", "changes"] = header.get("mode", "full")
        self.whole = set(header.get("whole", [])) if self.mode == "changes" else {t.name for t in source.tables}
        self.state = header.get("state", {})
        self.is_pulled = "state" in header
        self.findings: list[Finding] = []
        self.notes: list[str] = list(header.get("notes", []))
        self.readings: dict[str, Reading] = {}
        self.counts: dict[str, dict[str, int]] = {}
        self.known_at: dict[str, str] = {}
        # Tables whose new rows are in the order of their file, as those of a first load without a doubled key are.
        self.in_order: set[str] = set()
        # Of the entity that is being read, the rows that are there by now.
        self.rows: int | None = None

    def read(self, table: Table, names: list[str]) -> None:
        """Reads and judges the files of one entity; its new rows end in the temporary table `new_<table>`."""
        unpacked = self.settings.incoming / self.source.name / ".unpacked"
        try:
            parts = [part for name in names if (part := self._read_file(table, name, unpacked))]
            if len(parts) < len(names):
                return
            columns = list(dict.fromkeys(column for part in parts for column in part.reading.columns))
            if len(parts) > 1:
                # Whichever file comes first, a row stays the same row.
                columns[len(table.columns) :] = sorted(columns[len(table.columns) :])
            unreadable = [finding for part in parts for finding in part.reading.unreadable]
            filled = parts[0].reading.filled if len(parts) == 1 else frozenset()
            reading = Reading(columns=tuple(columns), filled=filled, unreadable=unreadable)
            self.readings[table.name] = reading
            self.findings += unreadable
            self._judge(table, reading)
            self.findings += self._findings(table, parts, reading)
            self._compare(table, reading)
        finally:
            self.rows = None
            shutil.rmtree(unpacked, ignore_errors=True)

    def _read_file(self, table: Table, name: str, unpacked: Path) -> _Part | None:
        """Adds one file to `landed`; None, with a finding, when it cannot be used."""
        label = f"{self.source.name} {table.file}" if self.is_pulled else name
        path = self.directory / name
        if path.suffix == ".gz" and path.stat().st_size:
            path, problem = unpack(path, unpacked)
            if problem:
                self.findings.append(Finding(table.name, label, None, None, None, problem, "export it again", "refuse"))
                return None
        reading = read(self.connection, table, path, label, self.rows, self.is_pulled)
        self.findings += reading.refused
        if reading.refused:
            return None
        self.notes += reading.warnings
        if reading.absent:
            self.notes.append(f"{label} has no {', '.join(reading.absent)}: not known")
        part = _Part(path, label, self.rows or 0, reading)
        self.rows = part.after + reading.rows
        return part

    def _judge(self, table: Table, reading: Reading) -> None:
        """Marks each row of `landed` with what is wrong with it, and doubled keys with the row that stands."""
        rules = rules_for(self.source, table)
        self.rules = rules
        bad = " or ".join(rule.bad for rule in rules) or "false"
        content = _content(reading)
        keys = ", ".join(f'"{key}"' for key in table.keys)
        updated = table.cursor or "updated_at"
        is_dated = updated in reading.columns
        newest_first = f'"{updated}" desc nulls last, _row' if is_dated else "_row"
        # Two versions of a key in one file: the later update wins; without one nobody can say which is right.
        later = f'"{updated}" is distinct from first_value("{updated}") over same_key' if is_dated else "false"
        rows, form = "landed", "table"
        if self.is_pulled:
            # A file a connector wrote can be read again: what is sound in it need not be kept in between.
            rows = f'"landed_{table.name}"'
            is_sound = not self._says(f"select 1 from {rows} where {bad}")
            bad, form = ("false", "view") if is_sound else (bad, "table")
        self.connection.execute(
            f"""
            create temp {form} "hashed_{table.name}" as
            select *, md5({content}) as _row_hash, {bad} as _is_bad from {rows}
            """
        )
        is_doubled = self._says(
            f'select 1 from "hashed_{table.name}" where not _is_bad group by {keys} having count(*) > 1'
        )
        # Most files double no key: then each row is the first of its key, and nothing need be put in order.
        place = (
            f"""
            case when not _is_bad then row_number() over same_key end as _place,
            case when not _is_bad then first_value(_row) over same_key end as _first_row,
            case
                when not _is_bad then _row_hash = first_value(_row_hash) over same_key or {later}
            end as _is_settled
            """
            if is_doubled
            else "1 as _place, _row as _first_row, true as _is_settled"
        )
        window = f"window same_key as (partition by _is_bad, {keys} order by {newest_first})" if is_doubled else ""
        self.connection.execute(
            f"""
            create temp {"table" if is_doubled else "view"} "judged_{table.name}" as
            with placed as (select *, {place} from "hashed_{table.name}" {window})
            select
                *,
                case
                    when _is_bad then 'bad'
                    when _place = 1 then 'first'
                    when _is_settled then 'doubled'
                    else 'contradicting'
                end as _verdict
            from placed
            """
        )
        if is_doubled:
            self._drop(f"hashed_{table.name}")
        else:
            self.in_order.add(table.name)

    def _findings(self, table: Table, parts: list[_Part], reading: Reading) -> list[Finding]:
        keys = ", ".join(f'"{key}"' for key in table.keys)
        tests = ", ".join(
            f"case when {rule.bad} then {{'rule': {number}, 'value': \"{rule.column}\"}} end"
            for number, rule in enumerate(self.rules)
        )
        row = ", ".join(f"{literal(name)}, {identifier(name)}" for name in reading.columns)
        broken = (
            self.connection.execute(
                f"""
            select _row, unnest(list_filter([{tests}], lambda x: x is not null), recursive := true), json_object({row})
            from "judged_{table.name}" where _verdict = 'bad' order by _row
            """
            ).fetchall()
            if self.rules
            else []
        )
        doubled = self.connection.execute(
            f"select _row, _first_row, json_object({row}), {keys} "
            f"from \"judged_{table.name}\" where _verdict = 'contradicting' order by _row"
        ).fetchall()
        if not broken and not doubled:
            return []

        def part(number: int) -> _Part:
            return parts[bisect_right([part.after for part in parts], number - 1) - 1]

        def line(number: int) -> int | None:
            # A row of a system is found by its key, not by a line.
            return None if self.is_pulled else part(number).line(number)

        def place(number: int, text: str) -> str:
            label = part(number).label
            return " ".join([label, *(str(json.loads(text)[key]) for key in table.keys)]) if self.is_pulled else label

        def rival(number: int, first: int) -> str:
            if self.is_pulled:
                return "came twice with other values"
            where = f"in {part(first).label}, " if part(first) is not part(number) else "on "
            return f"stands already {where}line {line(first)} with other values"

        findings = [
            Finding(
                table.name,
                place(number, text),
                line(number),
                self.rules[rule].column,
                value,
                self.rules[rule].reason,
                self.rules[rule].what_to_do,
                "quarantine",
                text,
            )
            for number, rule, value, text in broken
        ]
        findings += [
            Finding(
                table.name,
                place(number, text),
                line(number),
                table.keys[0],
                " / ".join(key),
                rival(number, first),
                "give each row its own key, or keep the one that is right",
                "quarantine",
                text,
            )
            for number, first, text, *key in doubled
        ]
        return findings

    def _compare(self, table: Table, reading: Reading) -> None:
        """Keeps of the judged rows what differs from the newest accepted versions, and finds the keys that are gone."""
        keys = ", ".join(f'"{key}"' for key in table.keys)
        using = f"using ({keys})"
        files = literal(str(self.settings.raw / self.source.name / "*" / f"{table.name}.parquet"))
        self.connection.execute(
            f"""
            create or replace temp table newest as
            select {keys}, _row_hash as _known_hash, _operation as _known_operation
            from read_parquet({files}, union_by_name = true)
            qualify row_number() over (partition by {keys} order by _extracted_at desc, _batch_id desc) = 1
            """
        )
        is_first_load = self.connection.execute("select count(*) = 0 from newest").fetchone()[0]  # type: ignore[index]
        event_time = f'least(try_cast("{table.event_time}" as timestamp), $at)' if table.event_time else EVER_SINCE
        known_at = f"coalesce({event_time}, $at)" if is_first_load else "$at"
        is_deleted = f"coalesce(lower(\"{table.deleted_by}\") in ('true', '1'), false)" if table.deleted_by else "false"
        operation = f"case when {is_deleted} then 'delete' else 'upsert' end"
        # A row that is deleted says nothing new unless it was there.
        is_new = f"""
            case
                when {is_deleted} then coalesce(_known_operation = 'upsert', false)
                else _known_hash is null or _known_hash != _row_hash or _known_operation = 'delete'
            end"""
        judged = f'"judged_{table.name}"'
        # Of a first load everything is new that is not deleted: then nothing need be compared, nor copied.
        self.connection.execute(
            f"""
            create temp view "new_{table.name}" as
            select
                * exclude (_is_bad, _place, _first_row, _is_settled, _verdict),
                'upsert' as _operation
            from {judged}
            where _verdict = 'first' and not {is_deleted}
            """
            if is_first_load
            else f"""
            create temp table "new_{table.name}" as
            select judged.* exclude (_is_bad, _place, _first_row, _is_settled, _verdict), {operation} as _operation
            from {judged} as judged left join newest {using}
            where _verdict = 'first' and {is_new}
            """
        )
        # A row that cannot be read may be the one that looks gone: then nothing is taken for deleted.
        is_whole = table.name in self.whole and table.mode == "current"
        if is_whole and not is_first_load and not reading.unreadable:
            self.connection.execute(
                f"""
                insert into "new_{table.name}" by name
                select {keys}, 'delete' as _operation
                from newest anti join {judged} {using}
                where _known_operation = 'upsert'
                """
            )
        self.known_at[table.name] = known_at
        landed, bad, accepted, superseded, deleted, previous = self.connection.execute(
            f"""
            select
                (select count(*) from {judged}),
                (select count(*) from {judged} where _verdict in ('bad', 'contradicting')),
                (select count(*) from "new_{table.name}" where _row is not null),
                (select count(*) from {judged} as judged left join newest {using} where
                    _verdict = 'doubled' or (_verdict = 'first' and not ({is_new}))),
                (select count(*) from "new_{table.name}" where _operation = 'delete'),
                (select count(*) from newest where _known_operation = 'upsert')
            """
        ).fetchone()  # type: ignore[misc]
        if not is_first_load:
            self.in_order.discard(table.name)
            for name in (f"judged_{table.name}", f"hashed_{table.name}", f"landed_{table.name}"):
                self._drop(name)
        unreadable = len(reading.unreadable)
        self.counts[table.name] = {
            "landed": landed + unreadable,
            "accepted": accepted,
            "quarantined": bad + unreadable,
            "superseded": superseded,
            "deleted": deleted,
            "previous": previous,
        }

    def _says(self, query: str) -> bool:
        """Whether a query finds a row."""
        return bool(self.connection.execute(f"select exists ({query})").fetchone()[0])  # type: ignore[index]

    def _drop(self, name: str) -> None:
        """Drops a temporary table or view, whichever it is, if it is there."""
        for (kind,) in self.connection.execute(
            "select table_type from information_schema.tables where table_name = ?", [name]
        ).fetchall():
            self.connection.execute(f'drop {"view" if kind == "VIEW" else "table"} "{name}"')

    def newest_value(self) -> str | None:
        """The newest value of the column that dates an export without a date, as a point in time."""
        if not self.source.dated_by or self.source.dated_by[0] not in self.readings:
            return self.history[-1].extracted_at if self.source.dated_by and self.history else None
        table, column = self.source.dated_by
        (newest,) = self.connection.execute(  # type: ignore[misc]
            f'select strftime(max(try_cast("{column}" as timestamp)), \'%Y-%m-%dT%H:%M:%SZ\') from "new_{table}"'
        ).fetchone()
        known = [batch.extracted_at for batch in self.history[-1:]]
        return max(filter(None, [newest, *known]), default=None)

    def write(self, extracted_at: str, checksums: dict[str, str]) -> Batch:
        number = len(self.history) + 1
        digest = hashlib.sha256(json.dumps([extracted_at, self.mode, sorted(checksums.items())]).encode()).hexdigest()
        stamp = extracted_at.replace("-", "").replace(":", "").replace("+0000", "Z")
        batch_id = f"{stamp}-{number:05d}-{digest[:8]}"
        folder = self.settings.incoming / self.source.name / batch_id
        folder.mkdir(parents=True)
        at = datetime.fromisoformat(extracted_at).astimezone(UTC).replace(tzinfo=None)
        for name in self.counts:
            order = "" if name in self.in_order else "order by _row"
            # What a system sent has no order; its rows can be written as they come.
            is_any_order = self.is_pulled and name in self.in_order
            self.connection.execute(f"set preserve_insertion_order = {'false' if is_any_order else 'true'}")
            self.connection.execute(
                f"""
                copy (
                    select
                        *,
                        {literal(batch_id)} as _batch_id,
                        $at::timestamp as _extracted_at,
                        case when _operation = 'delete' then $at::timestamp
                             else ({self.known_at[name].replace("$at", "$at::timestamp")})::timestamp end as _known_at
                    from "new_{name}" {order}
                ) to {literal(str(folder / f"{name}.parquet"))} (format parquet, compression zstd)
                """,
                {"at": at},
            )
        batch = Batch(
            source=self.source.name,
            batch_id=batch_id,
            extracted_at=extracted_at,
            landed_at=_utc_now(),
            mode=self.mode,
            rules=self.source.fingerprint,
            tables=[
                TableCounts(table=name, file=self.source.table(name).file, sha256=checksums[name], **counts)
                for name, counts in self.counts.items()
            ],
            notes=self.notes,
            state=self.state,
        )
        self._write_findings(batch)
        (folder / "batch.json").write_text(json.dumps(asdict(batch), indent=2), encoding="utf-8")
        return batch

    def _write_findings(self, batch: Batch) -> None:
        if not self.findings:
            return
        import pandas as pd

        frame = pd.DataFrame([asdict(finding) for finding in self.findings], dtype=object)
        frame["line"] = frame["line"].astype("Int64")
        frame["place"] = range(len(frame))
        self.connection.register("findings_frame", frame)
        folder = self.settings.quarantine / batch.source / batch.batch_id
        folder.mkdir(parents=True)
        for name in frame["table"].unique():
            self.connection.execute(
                f"""
                copy (
                    select
                        "table" as entity,
                        {literal(batch.batch_id)} as batch_id,
                        file,
                        line,
                        string_agg("column", ', ' order by place) as "column",
                        case when count(*) = 1 then max(value) end as value,
                        case
                            when count(*) = 1 then max(reason)
                            else string_agg(
                                concat_ws(' ', "column", '''' || value || '''', reason), ', ' order by place
                            )
                        end as reason,
                        string_agg(what_to_do, '; ' order by place) filter (is_new_advice) as what_to_do,
                        effect,
                        row
                    from (
                        select
                            *,
                            row_number() over (partition by file, line, effect, row, what_to_do order by place) = 1
                                as is_new_advice
                        from findings_frame
                        where "table" = {literal(name)}
                    )
                    group by "table", file, line, effect, row
                    order by file, line
                ) to {literal(str(folder / f"{name}.parquet"))} (format parquet)
                """
            )


def _content(reading: Reading) -> str:
    """SQL for all that a row says: `column=value` of each value that is there, with chr(31) between them.

    Columns without a null are put together in one go, which costs a third less.
    """
    first, *others = reading.columns
    if first not in reading.filled:
        return f"concat_ws(chr(31), {', '.join(map(_said, reading.columns))})"
    parts = [literal(f"{first}="), identifier(first)]
    for name in others:
        is_filled = name in reading.filled
        parts += [f"chr(31) || {literal(f'{name}=')}", identifier(name)] if is_filled else [f"chr(31) || {_said(name)}"]
    return f"concat({', '.join(parts)})"


def _said(name: str) -> str:
    return f"{literal(f'{name}=')} || {identifier(name)}"


def _clean(settings: Settings, source: str) -> None:
    """Removes what an interrupted or refused landing left behind."""
    shutil.rmtree(settings.incoming / source, ignore_errors=True)
    for folder in (settings.quarantine / source).glob("*"):
        if not (settings.raw / source / folder.name).exists():
            shutil.rmtree(folder)


def _waiting(settings: Settings, source: str) -> Iterator[Path]:
    return (path.parent for path in sorted((settings.incoming / source).glob("*/batch.json")))


def _last_seen(history: list[Batch], table: str) -> tuple[str, str] | None:
    return next(
        (
            (counts.sha256, batch.rules)
            for batch in reversed(history)
            for counts in batch.tables
            if counts.table == table
        ),
        None,
    )


def _extract_header(directory: Path) -> dict[str, Any]:
    path = directory / HEADER
    if not path.exists():
        return {}
    form = '{"extracted_at": "2026-11-23T06:00:00Z", "mode": "full"}'
    try:
        header = json.loads(path.read_text(encoding="utf-8"))
        if "extracted_at" in header:
            at = datetime.fromisoformat(header["extracted_at"])
            at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
            header["extracted_at"] = at.strftime("%Y-%m-%dT%H:%M:%SZ")
        if header.get("mode", "full") not in ("full", "changes"):
            raise ValueError("mode must be full or changes")
        return header
    except (ValueError, TypeError, AttributeError) as error:
        raise SourceError(f"{path} cannot be understood ({error}); write it as {form}.") from None


def _checksum(directory: Path, names: list[str]) -> str:
    """Of one file, its own; of several, one over theirs. A connector's file is never the one of before."""
    digests = {}
    for name in names:
        if name.endswith(PULLED):
            return hashlib.sha256(f"{name}|{(directory / name).stat().st_mtime_ns}".encode()).hexdigest()
        with (directory / name).open("rb") as file:
            digests[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests[names[0]] if len(names) == 1 else hashlib.sha256(json.dumps(digests).encode()).hexdigest()


def _utc_now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
