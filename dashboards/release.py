"""A release, as one person may see it."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from dashboards.access import Viewer, only_marts, restrict
from orchestration.errors import UsageError
from orchestration.publish.releases import CURRENT
from orchestration.settings import Settings

# Answers that are kept: a release never changes, and a page asks the same again with every filter.
KEPT_ANSWERS = 256


class Release:
    """One release through the eyes of one viewer: nothing else of it can be read through this.

    Args:
        folder: `published/<release>`.
        viewer: whose rows are shown.
    """

    def __init__(self, folder: Path, viewer: Viewer) -> None:
        self.folder = folder
        self.viewer = viewer
        self.name = folder.name
        self.manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        self._connection = restrict(folder / "sightline.duckdb", self.manifest.get("readers", {}), viewer)
        self._answers: OrderedDict[tuple[Any, ...], pd.DataFrame] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def as_of(self) -> date:
        return date.fromisoformat(self.manifest["as_of_date"])

    @property
    def published_at(self) -> datetime:
        return datetime.fromisoformat(self.manifest["published_at"])

    @property
    def currency(self) -> str:
        return str(self.manifest["reporting_currency"])

    def rows(self, sql: str, parameters: tuple[Any, ...] | list[Any] = ()) -> pd.DataFrame:
        """The rows of a SELECT over the marts, `from funnel.win_rates`; decimals come as float64.

        Args:
            sql: a constant of the code; what a person chose goes into `parameters`, never into the text.
            parameters: values of the question marks.
        """
        only_marts(sql, self._marts)
        key = (sql, *(tuple(value) if isinstance(value, list) else value for value in parameters))
        with self._lock:
            if key in self._answers:
                self._answers.move_to_end(key)
                return self._answers[key].copy()
        with self._connection.cursor() as cursor:
            found: pd.DataFrame = cursor.execute(sql, list(parameters)).fetchdf()
        with self._lock:
            self._answers[key] = found
            while len(self._answers) > KEPT_ANSWERS:
                self._answers.popitem(last=False)
        return found.copy()

    def value(self, sql: str, parameters: tuple[Any, ...] | list[Any] = ()) -> Any:
        """The first value of the first row; None where there is no row or it is not known."""
        found = self.rows(sql, parameters)
        value: Any = found.iloc[0, 0] if len(found) else None
        return None if value is None or pd.isna(value) else value

    def has(self, table: str) -> bool:
        """Whether the viewer sees any row of a mart."""
        self._known(table)
        return bool(len(self.rows(f"select 1 from {table} limit 1")))

    def columns(self, table: str) -> dict[str, str]:
        """The columns of a mart with what each means."""
        return self._meanings[self._known(table)][1]

    def meaning(self, table: str, column: str | None = None) -> str:
        """What a mart, or one of its columns, means: the release's own words."""
        said, columns = self._meanings[self._known(table)]
        return columns.get(column, "") if column else said

    def missing_for(self, table: str) -> list[str]:
        """Entities a mart stands on that no source has delivered."""
        found = self.rows(
            "select entity from core.data_coverage where not is_delivered "
            "and list_contains(string_split(marts, ', '), ?) order by entity",
            (table,),
        )
        return [str(entity) for entity in found["entity"]]

    @cached_property
    def _marts(self) -> frozenset[str]:
        return frozenset(self._meanings)

    @cached_property
    def tables(self) -> list[str]:
        """Every mart, in the order of schema and name."""
        return sorted(self._meanings)

    def close(self) -> None:
        self._connection.close()

    def _known(self, table: str) -> str:
        if table not in self._meanings:
            raise UsageError(f"There is no table {table} in release {self.name}.")
        return table

    @cached_property
    def _meanings(self) -> dict[str, tuple[str, dict[str, str]]]:
        with duckdb.connect(str(self.folder / "sightline.duckdb"), read_only=True) as connection:
            tables = connection.execute(
                "select schema_name || '.' || table_name, comment from duckdb_tables() where not internal"
            ).fetchall()
            columns = connection.execute(
                "select schema_name || '.' || table_name, column_name, comment from duckdb_columns() "
                "where not internal order by column_index"
            ).fetchall()
        found: dict[str, tuple[str, dict[str, str]]] = {table: (comment or "", {}) for table, comment in tables}
        for table, column, comment in columns:
            found[table][1][column] = comment or ""
        return found


def current_folder(settings: Settings) -> Path:
    """The folder of the release that is current now.

    Raises:
        UsageError: nothing is published yet.
    """
    link = settings.published / CURRENT
    if not link.is_symlink():
        raise UsageError(f"Nothing is published in {settings.home} yet. Next: sightline run")
    return link.resolve()
