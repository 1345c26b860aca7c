"""How the demo keeps time and text: whole numbers and codes until the moment a file is written.

Days count from 1970-01-01 and times are seconds from then, both UTC; `NONE` stands for "not there". An identifier is a
whole number until it is written. Every table also has `known`, the day on which its row, or that version of it, could
be read in the source: what an extract made on a day holds follows from it alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Frames = dict[str, pd.DataFrame]

NONE = -1
DAY = 86_400


def words(codes: Any, labels: Sequence[str]) -> Any:
    """Text as codes into `labels`; a negative code is null."""
    return pd.Categorical.from_codes(np.asarray(codes), categories=pd.Index(labels))


def said(text: str, count: int) -> Any:
    """One text in every row."""
    return words(np.zeros(count, dtype=np.int64), [text])


def stack(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Frames under each other; categories become the union of theirs."""
    frames = [frame for frame in frames if len(frame)] or list(frames[:1])
    columns: dict[str, Any] = {}
    for name in frames[0].columns:
        parts = [frame[name] for frame in frames]
        if isinstance(parts[0].dtype, pd.CategoricalDtype):
            columns[name] = pd.api.types.union_categoricals(parts, ignore_order=True)
        else:
            columns[name] = np.concatenate([part.to_numpy() for part in parts])
    return pd.DataFrame(columns)


def day_number(text: str) -> int:
    return int(np.datetime64(text, "D").astype(np.int64))


def month_start(days: Any) -> Ints:
    """The first day of the month."""
    return np.asarray(days, dtype="datetime64[D]").astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)


def add_months(days: Any, months: Any) -> Ints:
    """The first day of the month so many months after the month of `days`."""
    month = np.asarray(days, dtype="datetime64[D]").astype("datetime64[M]") + np.asarray(months).astype(
        "timedelta64[M]"
    )
    return month.astype("datetime64[D]").astype(np.int64)


def quarter_start(days: Any) -> Ints:
    month = np.asarray(days, dtype="datetime64[D]").astype("datetime64[M]").astype(np.int64)
    return (month - month % 3).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)


def quarter_end(days: Any) -> Ints:
    """The last day of the calendar quarter."""
    return add_months(quarter_start(days), 3) - 1


def year_of(days: Any) -> Ints:
    return np.asarray(days, dtype="datetime64[D]").astype("datetime64[Y]").astype(np.int64) + 1970


def work_time(rng: np.random.Generator, days: Any, low: float = 7.0, high: float = 18.0) -> Ints:
    """A second within working hours (UTC) of each day."""
    days = np.asarray(days, dtype=np.int64)
    return days * DAY + rng.integers(int(low * 3600), int(high * 3600), len(days))


def workday(days: Any) -> Ints:
    """The day, or the Monday after it when it falls on a weekend."""
    days = np.asarray(days, dtype=np.int64)
    weekday = (days + 3) % 7
    return days + np.where(weekday == 5, 2, np.where(weekday == 6, 1, 0))


def logistic(values: Floats) -> Floats:
    return 1.0 / (1.0 + np.exp(-values))
