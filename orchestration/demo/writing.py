"""From the demo's numbers to files: each table is collected on disk and written once, in the order it was made."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal

import duckdb
import numpy as np
import pandas as pd

from orchestration.demo.frames import Ints
from orchestration.ingest.contract import Source, load_source

USER, ACCOUNT, CONTACT, DEAL = "U%06d", "A%06d", "C%07d", "O%07d"
IDS = {
    **dict.fromkeys(
        (
            "user_id manager_id owner_id changed_by_id assessed_by_id requested_by_id approver_id "
            "requester_id assignee_id submitter_id rep_id executive_sponsor_id specialist_id"
        ).split(),
        USER,
    ),
    **dict.fromkeys("account_id parent_account_id crm_account_id".split(), ACCOUNT),
    **dict.fromkeys("contact_id customer_sponsor_contact_id".split(), CONTACT),
    **dict.fromkeys("opportunity_id crm_opportunity_id".split(), DEAL),
    "product_id": "P%02d",
    "change_id": "H%08d",
    "line_id": "L%08d",
    "approval_id": "D%07d",
    "activity_id": "V%09d",
    "evidence_activity_id": "V%09d",
    "submission_id": "F%08d",
    "session_id": "S%07d",
    "request_id": "R%07d",
    "plan_id": "N%06d",
    "objective_id": "J%06d",
    "customer_id": "K%06d",
    "subscription_id": "B%07d",
    "invoice_id": "I%07d",
    "invoice_line_id": "M%08d",
    "credit_note_id": "G%06d",
}
FINE = {"unit_price", "list_unit_price"}


class Writer:
    """Collects tables division by division and writes an extract for each day of `cuts`.

    Args:
        directory: becomes the extract, or holds one extract a day when there are several cuts.
        cuts: days at whose end an extract is made, ascending: the first is a full one, later ones hold what changed.
        file_format: csv or parquet; the truth is always CSV.
    """

    def __init__(self, directory: Path, cuts: Ints, file_format: Literal["csv", "parquet"]) -> None:
        self.directory, self.cuts, self.file_format = directory, cuts, file_format
        self.source: Source = load_source("extract")
        self.tables = {table.name: table for table in self.source.tables}
        directory.mkdir(parents=True, exist_ok=True)
        self.scratch = tempfile.TemporaryDirectory(dir=directory, prefix=".demo-")
        self.connection = duckdb.connect(str(Path(self.scratch.name) / "demo.duckdb"))
        self.connection.execute("set memory_limit = '700MB'")
        self.connection.execute("set threads = 2")
        self.connection.execute("set enable_progress_bar = false")
        self.connection.execute("set TimeZone = 'UTC'")
        self.made: set[str] = set()

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.connection.close()
        self.scratch.cleanup()

    def add(self, name: str, frame: pd.DataFrame, extra: pd.DataFrame | None = None) -> None:
        """Adds rows of a contract table: of each key, the last version at each cut. `extra` is written as it is."""
        if not len(frame):
            return
        table = self.tables[name]
        slot = np.searchsorted(self.cuts, frame["known"].to_numpy())
        inside = slot < len(self.cuts)
        if not inside.all():
            frame, slot = frame[inside], slot[inside]
        frame = frame.assign(_slot=slot)
        last = frame.duplicated([*table.keys, "_slot"], keep="last")
        frame = frame[~last.to_numpy()]
        types = {column.name: column.data_type for column in table.columns}
        self._insert(name, frame, types)
        if extra is not None and len(extra):
            slot = np.searchsorted(self.cuts, extra["known"].to_numpy())
            self._insert(name, extra[slot < len(self.cuts)].assign(_slot=slot[slot < len(self.cuts)]), types)

    def add_truth(self, name: str, frame: pd.DataFrame) -> None:
        """Adds rows of what was planted; read by tests only."""
        if not len(frame):
            return
        until = int(self.cuts[-1])
        if "known" in frame:
            frame = frame[frame["known"].to_numpy() <= until]
        types = {}
        for column in frame.columns:
            if column == "known":
                continue
            is_number = frame[column].dtype.kind in "iu" if hasattr(frame[column].dtype, "kind") else False
            if column in IDS or not (is_number or getattr(frame[column].dtype, "kind", "") == "f"):
                types[column] = "bool" if getattr(frame[column].dtype, "kind", "") == "b" else "text"
            elif column.endswith("_on"):
                types[column] = "date"
            else:
                types[column] = "rate" if not column.endswith("amount") else "decimal"
        self._insert(f"truth_{name}", frame.assign(_slot=0), types)

    def _insert(self, name: str, frame: pd.DataFrame, types: Mapping[str, str]) -> None:
        columns = {column: kind for column, kind in types.items() if column in frame}
        chosen = ", ".join(f'{_written(column, kind, frame)} as "{column}"' for column, kind in columns.items())
        missing = "".join(f', null::varchar as "{column}"' for column in types if column not in frame)
        self.connection.register("frame", frame)
        select = f"select {chosen}{missing}, _slot::usmallint as _slot from frame"
        if name in self.made:
            self.connection.execute(f'insert into "{name}" by name {select}')
        else:
            self.connection.execute(f'create table "{name}" as {select}')
            self.made.add(name)
        self.connection.unregister("frame")

    def write(self) -> dict[str, int]:
        """Writes the files and returns rows per entity, over all extracts."""
        counts: dict[str, int] = {}
        for place, day in enumerate(self.cuts):
            date = str(np.datetime64(int(day), "D"))
            folder = self.directory / date if len(self.cuts) > 1 else self.directory
            folder.mkdir(parents=True, exist_ok=True)
            for name, table in self.tables.items():
                if name not in self.made:
                    continue
                columns = ", ".join(f'"{column.name}"' for column in table.columns)
                path = folder / f"{table.file}.{self.file_format}"
                path.unlink(missing_ok=True)
                rows = self._rows(name, place)
                if not rows and place:
                    continue
                path.parent.mkdir(parents=True, exist_ok=True)
                self._copy(f'select {columns} from "{name}" where _slot = {place}', path)
                counts[name] = counts.get(name, 0) + rows
            header = {"extracted_at": f"{date}T22:00:00Z", "mode": "changes" if place else "full"}
            (folder / "extract.json").write_text(json.dumps(header) + "\n", encoding="utf-8")
        for name in sorted(self.made - set(self.tables)):
            path = self.directory / "truth" / f"{name.removeprefix('truth_')}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            self._copy(f'select * exclude (_slot) from "{name}"', path)
        return counts

    def _rows(self, name: str, slot: int) -> int:
        found = self.connection.execute(f'select count(*) from "{name}" where _slot = {slot}').fetchone()
        assert found is not None
        return int(found[0])

    def _copy(self, query: str, path: Path) -> None:
        form = (
            "format parquet"
            if path.suffix == ".parquet"
            else "format csv, header true, timestampformat '%Y-%m-%dT%H:%M:%SZ'"
        )
        target = str(path).replace("'", "''")
        self.connection.execute(f"copy ({query}) to '{target}' ({form})")


def _written(column: str, kind: str, frame: pd.DataFrame) -> str:
    """SQL that turns a column of numbers and codes into what the contract says."""
    name = f'"{column}"'
    if kind in ("text", "currency"):
        if column in IDS and getattr(frame[column].dtype, "kind", "") in "iu":
            return f"case when {name} >= 0 then printf('{IDS[column]}', {name}) end"
        return f"{name}::varchar"
    if kind == "int":
        return f"nullif({name}::bigint, -1)"
    if kind == "date":
        return f"case when {name} >= 0 then date '1970-01-01' + {name}::integer end"
    if kind == "timestamp":
        return f"case when {name} >= 0 then make_timestamp({name}::bigint * 1000000) end"
    if kind == "bool":
        return f"{name}::boolean"
    digits = {"share": "9, 4", "rate": "18, 6"}.get(kind, "18, 4" if column in FINE else "18, 2")
    return f"case when not isnan({name}::double) then {name}::decimal({digits}) end"
