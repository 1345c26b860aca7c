"""Reviews of open deals as arrays: what was seen, when each horizon ends, and what the deal came to."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from orchestration.forecasting.features import Columns, Floats, design
from orchestration.forecasting.policy import ForecastPolicy
from orchestration.warehouse.tables import BuiltTables

Ints = npt.NDArray[np.int64]
WON, LOST, NO_DECISION, OPEN = range(4)
# The end of the month, of the quarter, of those after them, `horizon_days` and `ever_days` from the review.
HORIZONS = ("month", "quarter", "next_month", "next_quarter", "days", "ever")
FAR = 10**7
SEASONS, PACE_WEEKS, PACE_STRENGTH = 4, 14, 50
# Reviews from which a type and stage has a time of its own, and the least it is taken for, in days.
NEEDED_REVIEWS, NEEDED_LEAST = 30, 3.0


@dataclass
class Calendar:
    """The fiscal calendar by day number (days since 1970): `first` is the day of place 0.

    Attributes:
        starts, ends: per period type, the period's first and last day for each day.
        season: which quarter of the fiscal year each day lies in, from 0.
    """

    first: int
    starts: dict[str, Ints]
    ends: dict[str, Ints]
    season: Ints

    def end_of(self, period: str, day: Ints) -> Ints:
        return self.ends[period][day - self.first]

    def start_of(self, period: str, day: Ints) -> Ints:
        return self.starts[period][day - self.first]

    def next_end(self, period: str, day: Ints) -> Ints:
        """The end of the period after the one of the day; the calendar reaches two years beyond the as-of date."""
        return self.end_of(period, self.end_of(period, day) + 1)


@dataclass(frozen=True)
class Clock:
    """How time passes for deals, learnt from what had ended before a cut-off.

    Attributes:
        pace: seasons × weeks left in the quarter: how fast deals end, beside all weeks.
        needed: by type and stage, the median days from a review in it until a deal that was won closed.
        usual: the same of all types and stages, for those with too few reviews.
    """

    pace: list[list[float]]
    needed: dict[str, dict[str, float]]
    usual: float


@dataclass
class Deals:
    """Deals that are not deleted, sorted by id; `closed_on` is FAR while open."""

    ids: npt.NDArray[np.object_]
    owner: npt.NDArray[np.object_]
    region: npt.NDArray[np.object_]
    segment: npt.NDArray[np.object_]
    amount: Floats
    created_on: Ints
    closed_on: Ints
    outcome: Ints


@dataclass
class Reviews:
    """Reviews in the order of day and deal.

    Attributes:
        ends: per horizon the last day that counts.
        closed_on, outcome: of the deal, as known on the as-of date; FAR and OPEN while it is open.
        stage, time, kind: numbers for the stage, the time in it and the type of deal; `stages` and `kinds` are names.
        lot: a number drawn by the deal's id and the day, the same in every run.
        quarter: first day of the fiscal quarter of the review.
    """

    frame: pd.DataFrame
    calendar: Calendar
    day: Ints
    quarter: Ints
    amount: Floats
    close_on: Ints
    ends: dict[str, Ints]
    deal: Ints
    closed_on: Ints
    outcome: Ints
    stage: Ints
    stages: list[str]
    time: Ints
    kind: Ints
    kinds: list[str]
    is_week_end: npt.NDArray[np.bool_]
    lot: npt.NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.day)

    def seen(self, rows: Ints, columns: Columns) -> Floats:
        """What the model sees of the deals at these reviews."""
        return design(self.frame.iloc[rows], columns)

    def learn_clock(self, base: Ints, cutoff: int) -> Clock:
        """What the reviews of `base` tell of time, from what had ended before the cut-off."""
        rows = base[self.is_week_end[base]]
        won = rows[(self.outcome[rows] == WON) & (self.closed_on[rows] < cutoff)]
        left = pd.DataFrame(
            {"kind": self.kind[won], "stage": self.stage[won], "days": (self.closed_on - self.day)[won]}
        )
        needed: dict[str, dict[str, float]] = {}
        told = left.groupby(["kind", "stage"], sort=True, as_index=False)["days"].agg(["median", "size"])
        for kind, stage, median, size in told.itertuples(index=False):
            if size >= NEEDED_REVIEWS:
                needed.setdefault(self.kinds[kind], {})[self.stages[stage]] = max(float(median), NEEDED_LEAST)
        usual = max(float(left["days"].median()), NEEDED_LEAST) if len(left) else NEEDED_LEAST
        return Clock(self._learn_pace(rows, cutoff).tolist(), needed, usual)

    def _learn_pace(self, rows: Ints, cutoff: int) -> Floats:
        """How fast deals end by season and weeks left in the quarter: what ends within seven days of a week's end.

        A week counts as `PACE_STRENGTH` endings at the usual pace besides its own, and that of a season as so many at
        the pace the week has in all seasons: quarters end in a rush, and years with a holiday.
        """
        rows = rows[self.day[rows] + 7 < cutoff]
        if not len(rows):
            return np.ones((SEASONS, PACE_WEEKS))
        has_ended = self.closed_on[rows] <= self.day[rows] + 7
        place = self._week_of(self.day[rows] + 4)
        usual = max(float(has_ended.mean()), 1e-9)
        ended = np.bincount(place[has_ended], minlength=SEASONS * PACE_WEEKS).reshape(SEASONS, PACE_WEEKS)
        expected = np.bincount(place, minlength=SEASONS * PACE_WEEKS).reshape(SEASONS, PACE_WEEKS) * usual
        every = (ended.sum(axis=0) + PACE_STRENGTH) / (expected.sum(axis=0) + PACE_STRENGTH)
        return (ended + PACE_STRENGTH) / (expected + PACE_STRENGTH / every)

    def _week_of(self, day: Ints) -> Ints:
        """Place of the days' weeks in a table of seasons × weeks left in the quarter."""
        weeks = np.minimum((self.calendar.end_of("quarter", day) - day) // 7, PACE_WEEKS - 1)
        return self.calendar.season[day - self.calendar.first] * PACE_WEEKS + weeks

    def horizon_columns(self, rows: Ints, ends: Ints, clock: Clock) -> Floats:
        """Of a horizon: days to its end at the pace of their weeks, days to the quarter's end and on to the close date,
        and how many times over the first are what deals that are won need from the stage on."""
        day, close = self.day[rows], self.close_on[rows]
        beyond = np.where(close == FAR, np.nan, close - ends)
        every = np.arange(self.calendar.first, self.calendar.first + len(self.calendar.ends["quarter"]))
        walked = np.concatenate([[0.0], np.cumsum(np.array(clock.pace).ravel()[self._week_of(every)])])
        last = np.minimum(ends, every[-1]) - self.calendar.first
        paced = walked[last + 1] - walked[day - self.calendar.first + 1]
        needed = np.array(
            [[clock.needed.get(kind, {}).get(stage, clock.usual) for stage in self.stages] for kind in self.kinds]
        )
        times = paced / needed[self.kind[rows], self.stage[rows]]
        return np.column_stack([paced, self.calendar.end_of("quarter", day) - day, beyond, times])

    def result(self, rows: Ints, ends: Ints) -> Ints:
        """What the deals had come to by the end of the horizon."""
        return np.where(self.closed_on[rows] <= ends, self.outcome[rows], OPEN)


def read_reviews(built: BuiltTables, policy: ForecastPolicy) -> tuple[Reviews, Deals]:
    """Everything the model learns from and speaks about, as the first part of the build left it."""
    connection = built.connection
    calendar = _read_calendar(built)
    table = connection.execute(
        f"""
        select
            opportunity_id, owner_id, region, segment, opportunity_type, amount, created_on, closed_on,
            case
                when is_won then {WON} when is_lost then {LOST} when is_no_decision then {NO_DECISION} else {OPEN}
            end as outcome
        from {built.name("core", "opportunities")}
        where not is_deleted
        order by opportunity_id
        """
    ).df()
    deals = Deals(
        ids=table["opportunity_id"].to_numpy(dtype=object),
        owner=_words(table["owner_id"]),
        region=_words(table["region"]),
        segment=_words(table["segment"]),
        amount=table["amount"].to_numpy(dtype=np.float64, na_value=0.0),
        created_on=_days(table["created_on"]),
        closed_on=_days(table["closed_on"]),
        outcome=table["outcome"].to_numpy(dtype=np.int64),
    )
    # A closed stage that policy calls neither won, lost nor no decision is lost.
    deals.outcome[(deals.outcome == OPEN) & (deals.closed_on < FAR)] = LOST
    frame = connection.execute(
        f"select * from {built.name('intermediate', 'int_outcome_features')} order by snapshot_date, opportunity_id"
    ).df()
    return arrange_reviews(_as_doubles(frame), calendar, deals, policy), deals


def arrange_reviews(frame: pd.DataFrame, calendar: Calendar, deals: Deals, policy: ForecastPolicy) -> Reviews:
    """Args:
    frame: rows of `int_outcome_features`, by day and deal.
    """
    day = _days(frame["snapshot_date"])
    ids = frame["opportunity_id"].to_numpy(dtype=object)
    place = np.searchsorted(deals.ids.astype(str), ids.astype(str)) if len(ids) else np.zeros(0, dtype=np.int64)
    drawn = {name: zlib.crc32(name.encode()) for name in pd.unique(frame["opportunity_id"])}
    lot = frame["opportunity_id"].map(drawn).to_numpy(dtype=np.uint64)
    stage, stages = _numbered(frame["stage"])
    kind, kinds = pd.factorize(frame["opportunity_type"].astype(str), sort=True)
    return Reviews(
        frame=frame,
        calendar=calendar,
        day=day,
        quarter=calendar.start_of("quarter", day),
        amount=frame["amount"].to_numpy(dtype=np.float64, na_value=0.0),
        close_on=_days(frame["close_date"]),
        ends={
            "month": calendar.end_of("month", day),
            "quarter": calendar.end_of("quarter", day),
            "next_month": calendar.next_end("month", day),
            "next_quarter": calendar.next_end("quarter", day),
            "days": day + policy.horizon_days,
            "ever": day + policy.ever_days,
        },
        deal=place.astype(np.int64),
        closed_on=deals.closed_on[place],
        outcome=deals.outcome[place],
        stage=stage,
        stages=stages,
        time=_numbered(frame["stage_time"])[0],
        kind=kind.astype(np.int64),
        kinds=[str(name) for name in kinds],
        is_week_end=frame["is_week_end"].to_numpy(dtype=bool),
        lot=_mixed(lot * np.uint64(100_003) + day.astype(np.uint64)),
    )


def _as_doubles(frame: pd.DataFrame) -> pd.DataFrame:
    """Numbers as doubles to nine digits: engines choose other types for a column and add in their own order."""
    numbers = dict.fromkeys(frame.select_dtypes("number").columns, np.float64)
    return frame.astype(numbers).round(dict.fromkeys(numbers, 9))


def _read_calendar(built: BuiltTables) -> Calendar:
    table = built.connection.execute(
        f"""
        select day, month_start, month_end, quarter_start, quarter_end, fiscal_quarter
        from {built.name("core", "calendar")} order by day
        """
    ).df()
    season = table.pop("fiscal_quarter").to_numpy(dtype=np.int64) - 1
    days = {name: _days(table[name]) for name in table}
    return Calendar(
        first=int(days["day"][0]),
        starts={"month": days["month_start"], "quarter": days["quarter_start"]},
        ends={"month": days["month_end"], "quarter": days["quarter_end"]},
        season=season,
    )


def _days(column: pd.Series[Any]) -> Ints:
    """Days since 1970; FAR where there is none."""
    values = column.to_numpy(dtype="datetime64[D]")
    return np.where(np.isnat(values), FAR, values.astype(np.int64))


def _numbered(column: pd.Series[Any]) -> tuple[Ints, list[str]]:
    """Values numbered in their order, from 1, and the name of each number; 0 is not known, and has none."""
    numbers, names = pd.factorize(column, sort=True)
    return numbers.astype(np.int64) + 1, ["", *map(str, names)]


def _words(column: pd.Series[Any]) -> npt.NDArray[np.object_]:
    return column.astype(object).where(column.notna(), None).to_numpy(dtype=object)


def _mixed(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """A lot from a number: Vigna's splitmix64."""
    with np.errstate(over="ignore"):
        x = (x + np.uint64(0x9E3779B97F4A7C15)) & np.uint64(0xFFFFFFFFFFFFFFFF)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def text_of(day: int) -> str:
    return str(np.datetime64(int(day), "D"))
