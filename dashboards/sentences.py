"""How figures are told in words: with what they rest on, and as nothing more than they show."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any

import pandas as pd

from dashboards.filters import Chosen, Period, periods
from dashboards.parts import Format, escaped, written
from dashboards.release import Release


def known(value: Any) -> bool:
    """Whether there is a value."""
    return value is not None and not pd.isna(value)


def spoken(*sentences: str) -> list[str]:
    """Those of some sentences that there is something to say for."""
    return [sentence for sentence in sentences if sentence]


def counted(number: float, one: str, many: str = "") -> str:
    """`1 deal`, `2 deals`."""
    return f"{number:,.0f} {one if round(number) == 1 else many or one + 's'}"


def with_interval(value: Any, low: Any, high: Any, kind: Format = "percent", n: float | None = None) -> str:
    """`42.8 % (90 %: 38.0 % to 47.6 %, n = 283)`; without an interval it says so."""
    if not known(value):
        return written(None, kind)
    said = (
        f"90 %: {written(low, kind)} to {written(high, kind)}"
        if known(low) and known(high)
        else "too few for an interval"
    )
    return f"{written(value, kind)} ({said}{f', n = {n:,.0f}' if n is not None else ''})"


def points(value: float) -> str:
    """A difference of shares: 0.0254 as `2.5 points`."""
    said = f"{abs(value) * 100:.1f}"
    return f"{said} {'point' if said == '1.0' else 'points'}"


def listed(names: Iterable[Any], most: int = 4) -> str:
    """`A, B and C`; of many the first ones and how many more there are."""
    all_names = [escaped(name) for name in names]
    shown = all_names[:most] if len(all_names) > most + 1 else all_names
    rest = len(all_names) - len(shown)
    if rest:
        return f"{', '.join(shown)} and {rest} more"
    return " and ".join(part for part in (", ".join(shown[:-1]), shown[-1] if shown else "") if part)


def told_apart(names: pd.Series, ids: pd.Series) -> pd.Series:
    """Names, and where two have the same one their ids beside it."""
    named = names.fillna(ids)
    return named.where(~named.duplicated(keep=False), named + " (" + ids + ")")


def whose(chosen: Chosen) -> str:
    """Who a table by scope is told for: the team, else the segment, the seller who reads, else the company."""
    if chosen.team:
        return f"the team of {escaped(chosen.team_name)}"
    if chosen.segment:
        return f"the segment {escaped(chosen.segment)}"
    return escaped(chosen.seller_name) if chosen.seller else "the company"


def of_whom(release: Release, chosen: Chosen) -> str:
    """Whose rows a table of deals is counted over; it says so when the reader sees only some of them."""
    said = f"of {whose(chosen)}"
    if chosen.team and chosen.segment:
        said += f" in {escaped(chosen.segment)}"
    return said if release.viewer.sees is None else f"{said} that you may see"


def one_of_both(chosen: Chosen) -> str:
    """What to know when team and segment are chosen and a table is told by one or the other."""
    if chosen.team and chosen.segment:
        return (
            f"Told for {whose(chosen)} in all segments: these figures are by team or by segment, not by both. "
            f"Take the team away to see {escaped(chosen.segment)}."
        )
    return ""


def ahead(release: Release, chosen: Chosen) -> Period:
    """The quarter something can still be done about: the chosen one, or the next when that is just over."""
    if chosen.period.start <= release.as_of < chosen.period.end or chosen.period.end < release.as_of:
        return chosen.period
    if chosen.period.start > release.as_of:
        return chosen.period
    following = [period for period in periods(release) if period.start == chosen.period.end + timedelta(days=1)]
    return following[0] if following else chosen.period


def is_over(period: Period, as_of: date) -> bool:
    return period.end <= as_of
