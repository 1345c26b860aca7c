"""From a CSV or Parquet file to a DuckDB table of text, as it stands, with a finding for all that cannot be read."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import duckdb

from orchestration.ingest.contract import Table
from orchestration.ingest.files import nearest
from orchestration.ingest.rules import identifier, literal

EMPTY = ("is empty, without even a header", "export it again, or remove it when it has no rows")
# A text may be as long as DuckDB reads a line.
LONGEST_LINE = 8 * 1024**2
csv.field_size_limit(2**31 - 1)


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a file, in the words a person gets to read.

    Attributes:
        line: line of the file, 1 for the header, for Parquet the row; None when it concerns the whole file.
        effect: `quarantine` keeps one row out, `refuse` keeps the whole batch out.
    """

    table: str
    file: str
    line: int | None
    column: str | None
    value: str | None
    reason: str
    what_to_do: str
    effect: Literal["quarantine", "refuse"]
    row: str | None = None

    def sentence(self) -> str:
        """For example: crm/users.csv, line 7, column role: 'boss' is not a known role; use one of …."""
        place = [self.file]
        if self.line is not None:
            place.append(f"line {self.line}")
        if self.column:
            place.append(f"column {self.column}")
        value = f"'{self.value[:60]}' " if self.value is not None else ""
        return f"{', '.join(place)}: {value}{self.reason}; {self.what_to_do}."


@dataclass
class Reading:
    """What came of reading one file into the table `landed`.

    Attributes:
        columns: columns of `landed`: the contract's first, then the file's own as `x_<name>`.
        rows: how many of the file are in `landed`.
        absent: contract columns the file does not have.
        filled: columns known to hold a value in each row; of a connector's file alone is this known without looking.
        warnings: columns that look like one of the contract and are none of it, in sentences.
        unreadable: findings of rows that never made it into `landed`.
        refused: findings for which the file cannot be used at all; then there is no `landed`.
    """

    columns: tuple[str, ...] = ()
    rows: int = 0
    absent: tuple[str, ...] = ()
    filled: frozenset[str] = frozenset()
    warnings: list[str] = field(default_factory=list)
    unreadable: list[Finding] = field(default_factory=list)
    refused: list[Finding] = field(default_factory=list)


def read(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    path: Path,
    label: str,
    after: int | None = None,
    is_pulled: bool = False,
) -> Reading:
    """Reads `path` into the temporary table `landed`: text columns, and `_row` counting the readable rows from 1.

    Surrounding white space goes, an empty text is null; nothing else changes. `label` names the file in messages.
    With `after` the rows are added to the so many that other files of the entity have brought.
    A file a connector has just written is that already: `landed` is a view of it, and of `landed_<table>`.
    """
    refuse = _Refusal(table, label, after)
    if path.stat().st_size == 0:
        return refuse(1, table.columns[0].name, *EMPTY)
    if is_pulled:
        header, relation, filled = _register(connection, table, path)
        reading = _land(connection, table, header, relation, None, refuse, is_pulled)
        given = {table.fields.get(name, name) for name in filled}
        reading.filled = frozenset(given.intersection(reading.columns))
        return reading
    return (_read_parquet if path.suffix == ".parquet" else _read_csv)(connection, table, path, refuse)


def lines_of(path: Path, unreadable: list[Finding]) -> list[int]:
    """The line on which each readable row of a CSV file starts, in order.

    Called only when something is wrong with some row: it walks the whole file.
    """
    skip = {finding.line for finding in unreadable}
    lines, start = [], 1
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.reader(file, strict=False)
        next(reader, None)
        start = reader.line_num + 1
        for row in reader:
            if row:
                # A row may span lines; blank lines before it were walked over as empty rows.
                if start not in skip:
                    lines.append(start)
            start = reader.line_num + 1
    return lines


@dataclass(frozen=True)
class _Refusal:
    """Words a refused file; calling it makes the reading that holds nothing else."""

    table: Table
    label: str
    after: int | None = None

    def finding(self, line: int | None, column: str | None, reason: str, what_to_do: str) -> Finding:
        return Finding(self.table.name, self.label, line, column, None, reason, what_to_do, "refuse")

    def __call__(self, line: int | None, column: str | None, reason: str, what_to_do: str) -> Reading:
        return Reading(refused=[self.finding(line, column, reason, what_to_do)])


def _land(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    header: list[str],
    relation: str,
    line: int | None,
    refuse: _Refusal,
    is_pulled: bool = False,
) -> Reading:
    """Makes `landed` from a relation whose columns are the header's, in the contract's names and order."""
    contracted = [column.name for column in table.columns]
    # A field the policy maps to a column counts as that column.
    given = {table.fields.get(name, name): name for name in header}
    fields, header = given, list(given)
    names = _judge_names(table, list(fields.values()), line, refuse)
    if names.refused:
        return names
    extra = {_extra(name): name for name in header if name not in contracted}
    landed = {
        column: identifier(fields[name])
        for column, name in {**{n: n for n in contracted if n in header}, **extra}.items()
    }
    as_text = "{0}" if is_pulled else "nullif(trim(cast({0} as varchar), ' \t\r\n'), '')"
    select = ", ".join(
        f"{as_text.format(landed[name]) if name in landed else 'null::varchar'} as {identifier(name)}"
        for name in [*contracted, *extra]
    )
    if is_pulled:
        view = f'"landed_{table.name}"'
        connection.execute(f"create temp view {view} as select _row, {select} from {relation}")
        connection.execute(f"create or replace temp view landed as from {view}")
    else:
        rows = f"select {refuse.after or 0} + row_number() over () as _row, {select} from {relation}"
        if refuse.after is None:
            connection.execute(f"create or replace temp table landed as {rows}")
        else:
            for name in extra:
                connection.execute(f"alter table landed add column if not exists {identifier(name)} varchar")
            connection.execute(f"insert into landed by name {rows}")
    (count,) = connection.execute("select count(*) from landed").fetchone() or (0,)
    return Reading(
        columns=(*contracted, *extra),
        rows=count - (refuse.after or 0),
        absent=tuple(name for name in contracted if name not in header),
        warnings=[] if is_pulled else names.warnings,
    )


def meant_columns(table: Table, header: list[str]) -> dict[str, str]:
    """Columns of a file that are none of the contract, and the one each looks like, of those that are not there."""
    names = [column.name for column in table.columns]
    absent = [name for name in names if name not in header]
    others = [name for name in header if name not in names and name not in table.fields and not name.startswith("x_")]
    return {other: near for other in others if (near := nearest(other, absent, 0.85))}


def _register(connection: duckdb.DuckDBPyConnection, table: Table, path: Path) -> tuple[list[str], str, list[str]]:
    """The columns of a connector's file, what DuckDB calls it, and the columns without a null; it is read where it
    lies, not into memory."""
    import pyarrow as pa

    name = f"pulled_{table.name}"
    rows = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    # An answer of which not all was fetched is in the way of a new name, as it is not of a new query.
    connection.complete()
    connection.register(name, rows)
    columns = [column for column in rows.column_names if column != "_row"]
    return columns, f'"{name}"', [column for column in columns if not rows[column].null_count]


def _read_parquet(connection: duckdb.DuckDBPyConnection, table: Table, path: Path, refuse: _Refusal) -> Reading:
    relation = f"read_parquet({literal(str(path))})"
    try:
        header = [row[0] for row in connection.execute(f"describe select * from {relation}").fetchall()]
        return _land(connection, table, header, relation, None, refuse)
    except duckdb.Error as error:
        return refuse(None, None, f"cannot be read as Parquet ({_first_line(error)})", "export it again")


def _read_csv(connection: duckdb.DuckDBPyConnection, table: Table, path: Path, refuse: _Refusal) -> Reading:
    header = _csv_header(table, path, refuse)
    if isinstance(header, Reading):
        return header
    with path.open("rb") as file:
        # Whoever writes a CSV ends its last line; one that is not ended may have lost the end of its last value.
        file.seek(-1, io.SEEK_END)
        is_ended = file.read(1) in (b"\n", b"\r")
    connection.execute("drop table if exists reject_errors; drop table if exists reject_scans")
    types = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in header)
    relation = (
        f"read_csv({literal(str(path))}, auto_detect = false, header = true, delim = ',', quote = '\"', escape = '\"', "
        f"strict_mode = true, store_rejects = true, rejects_limit = 0, max_line_size = {LONGEST_LINE}, "
        f"columns = {{{types}}})"
    )
    try:
        reading = _land(connection, table, header, relation, 1, refuse)
        if reading.refused:
            return reading
    except duckdb.Error as error:
        return refuse(None, None, f"cannot be read as CSV ({_first_line(error)})", "export it again as RFC 4180")
    _explain_rejects(connection, table, path, header, refuse, reading)
    if not is_ended and not reading.refused:
        reading.refused.append(
            refuse.finding(
                path.read_bytes().count(b"\n") + 1,
                header[-1],
                "does not end with a line break, so the file may be cut off",
                "export it again, or end its last line if it is whole",
            )
        )
    return reading


def _csv_header(table: Table, path: Path, refuse: _Refusal) -> list[str] | Reading:
    """The names in the header of a CSV file, which may be packed; a refusal when it cannot be used."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        first = file.readline(LONGEST_LINE)
    if first[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return refuse(1, table.columns[0].name, "is UTF-16, not UTF-8", "save it as UTF-8 and export again")
    try:
        header = [name.strip() for name in next(csv.reader(io.StringIO(first.decode("utf-8-sig"))))]
    except UnicodeDecodeError:
        return refuse(1, None, "is not UTF-8", "save it as UTF-8 and export again")
    except (csv.Error, StopIteration):
        header = []
    if not header:
        return refuse(1, None, "has no header that can be read", "put the column names on the first line")
    problem = _header_problem(table, header)
    return refuse(1, *problem) if problem else header


def look_at_header(table: Table, path: Path, label: str) -> Reading:
    """What reading a file would say of its header, without reading the rest: what refuses it, and what it warns of."""
    refuse = _Refusal(table, label)
    if path.stat().st_size == 0:
        return refuse(1, table.columns[0].name, *EMPTY)
    if path.suffix == ".parquet":
        try:
            relation = f"read_parquet({literal(str(path))})"
            header = [row[0] for row in duckdb.execute(f"describe select * from {relation}").fetchall()]
        except duckdb.Error as error:
            return refuse(None, None, f"cannot be read as Parquet ({_first_line(error)})", "export it again")
        return _judge_names(table, header, None, refuse)
    try:
        names = _csv_header(table, path, refuse)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return refuse(None, None, "is no whole gzip file", "export it again")
    return names if isinstance(names, Reading) else _judge_names(table, names, 1, refuse)


def _judge_names(table: Table, header: list[str], line: int | None, refuse: _Refusal) -> Reading:
    """Which columns of the contract are missing, and which of the others look like one of it."""
    given = {table.fields.get(name, name) for name in header}
    near = meant_columns(table, header)
    looks_like = {name: other for other, name in near.items()}
    needed = [column.name for column in table.columns if column.is_key or column.is_required]
    return Reading(
        refused=[
            refuse.finding(
                line,
                name,
                "is a required column but is not there",
                f"{looks_like[name]} looks like it: give it that name"
                if name in looks_like
                else "name it in the header, and export again",
            )
            for name in needed
            if name not in given
        ],
        warnings=[
            f"{refuse.label}, column {other}: is not known, so it is not used; it looks like {name}: give it that name"
            for other, name in near.items()
        ],
    )


def _header_problem(table: Table, header: list[str]) -> tuple[str | None, str, str] | None:
    """The column, what is wrong with the header, and what to do; nothing when it can be used."""
    if header[0].lower().startswith("sep="):
        return None, f"begins with {header[0]}, which only spreadsheets read", "remove this line and export again"
    for sign, word in {";": "semicolons", "\t": "tabs", "|": "bars"}.items():
        if len(header) <= 2 and header[0].count(sign):
            return (
                None,
                f"has its columns separated by {word}, not by commas",
                "save it again as CSV with commas (in a spreadsheet: CSV UTF-8, field separator comma)",
            )
    unnamed = [str(number) for number, name in enumerate(header, start=1) if not name]
    if unnamed:
        which = ("column " if len(unnamed) == 1 else "columns ") + ", ".join(unnamed)
        return None, f"has no name for {which} of {len(header)}", "name it in the header, or take the column out"
    advice = "give each column its own name"
    for place, name in enumerate(header):
        if name in header[:place]:
            return name, "stands twice in the header", advice
        # To a database they are one.
        same = next((other for other in header[:place] if other.lower() == name.lower()), None)
        if same:
            return same, f"is the same name as {name} but for capital letters", advice
        contracted = [column.name for column in table.columns]
        if any(other != name and _extra(other) == name and other not in contracted for other in header):
            return name.removeprefix("x_"), f"is kept as {name}, which stands in the header too", advice
    return None


def _explain_rejects(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    path: Path,
    header: list[str],
    refuse: _Refusal,
    reading: Reading,
) -> None:
    """Turns the rows DuckDB would not read into findings, on the line where each stands in the file."""
    rejects = connection.execute(
        """
        select line_byte_position, error_type, min_by(column_name, column_idx), any_value(csv_line)
        from reject_errors group by all order by line_byte_position
        """
    ).fetchall()
    if not rejects:
        return
    data = path.read_bytes()
    seen: set[int] = set()
    for position, error_type, column, text in rejects:
        # The position counts from 1 and may stand on the line break before the row.
        begin = position - 1
        while data[begin : begin + 1] in (b"\r", b"\n"):
            begin += 1
        line = data.count(b"\n", 0, begin) + 1
        if line in seen:
            continue
        seen.add(line)
        end = data.find(b"\n", begin)
        row = data[begin : end if end >= 0 else len(data)].decode("utf-8", errors="replace").strip("\r\n")
        is_last = end < 0 and error_type in ("MISSING COLUMNS", "UNQUOTED VALUE")
        if is_last or (error_type == "UNQUOTED VALUE" and "\n" in (text or "").strip("\r\n")):
            reason = "ends in the middle of a row" if is_last else "opens a quote that is never closed"
            reading.refused.append(refuse.finding(line, column, reason, "the file looks cut off: export it again"))
            continue
        fields = len(next(csv.reader([row]), []))
        if error_type == "MISSING COLUMNS" and fields < len(header):
            column = header[fields]
        reason, what_to_do = {
            "MISSING COLUMNS": (
                f"has {fields} fields where the header has {len(header)}",
                "quote fields that hold a comma or a line break",
            ),
            "TOO MANY COLUMNS": (
                f"has {fields} fields where the header has {len(header)}",
                "quote fields that hold a comma",
            ),
            "INVALID ENCODING": ("is not UTF-8", "save the file as UTF-8"),
            "LINE SIZE OVER MAXIMUM": ("is longer than 8 MB", "shorten its texts, or leave the row out"),
            "UNQUOTED VALUE": ("has a quote in the wrong place", "double the quotes inside a quoted field"),
        }.get(error_type, (f"cannot be read ({error_type.lower()})", "export it again as RFC 4180"))
        reading.unreadable.append(
            Finding(table.name, refuse.label, line, column, None, reason, what_to_do, "quarantine", row)
        )


def _extra(name: str) -> str:
    """The column a field beyond the contract is kept in."""
    return name if name.startswith("x_") else f"x_{name}"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
