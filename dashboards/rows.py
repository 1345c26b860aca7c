"""Rows as plain values, for sentences: a whole number stays one, and what is not known is None."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pandas as pd


def each(frame: pd.DataFrame) -> list[SimpleNamespace]:
    """The rows of a frame; attributes are its columns."""
    columns = {name: [_plain(value) for value in frame[name]] for name in frame.columns}
    return [SimpleNamespace(**{name: values[place] for name, values in columns.items()}) for place in range(len(frame))]


def first(frame: pd.DataFrame) -> SimpleNamespace | None:
    """The first row; None where there is none."""
    found = each(frame.iloc[:1])
    return found[0] if found else None


def _plain(value: Any) -> Any:
    if isinstance(value, str) or not pd.api.types.is_scalar(value):
        return value
    if pd.isna(value):
        return None
    return value.item() if hasattr(value, "item") else value


def worded(frame: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """The same rows with the words of some columns as people write them: `no_plan` as `no plan`."""
    return frame.assign(**{column: frame[column].astype("string").str.replace("_", " ") for column in columns})
