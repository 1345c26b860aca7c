"""What a period will bring: booked so far, open deals by their chances, and deals that do not exist yet.

Of the past, for every scope and week, by two moments; of the current and next periods by drawing outcomes. A test holds
the one against the other. docs/outcome-model.md is the rule.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from orchestration.forecasting.features import Floats
from orchestration.forecasting.policy import ForecastPolicy
from orchestration.forecasting.reviews import FAR, HORIZONS, WON, Calendar, Deals, Ints, Reviews

PERIODS = ("month", "quarter")
TENTH = 1.2815515655446004
RATIO_REVIEW_DAYS = 180
RATIO_MINIMUM = 20
YEAR = 365


@dataclass
class Scopes:
    """Every scope there ever was, numbered; and who stood where when.

    Attributes:
        types, ids: of each scope.
        of_reviews, of_deals: per scope type but manager, the scope of each review, and of each won deal; -1 for none.
        managers_of_deals: pairs of a won deal and the scope of somebody above its owner on the day it was won.
        lines: seller's scope, manager's scope, first and last-but-one day.
        jobs: seller's scope, first and last-but-one day of a selling job.
    """

    types: list[str]
    ids: list[str]
    of_reviews: dict[str, Ints]
    of_deals: dict[str, Ints]
    managers_of_deals: tuple[Ints, Ints]
    lines: tuple[Ints, Ints, Ints, Ints]
    jobs: tuple[Ints, Ints, Ints]

    def __len__(self) -> int:
        return len(self.ids)

    def lines_on(self, day: int) -> tuple[Ints, Ints]:
        """Scopes of sellers, and of a manager above each, on a day."""
        below, above, begins, ends = self.lines
        valid = (begins <= day) & (day < ends)
        return below[valid], above[valid]


@dataclass(frozen=True)
class AmountRatio:
    """What a deal is won at, of the amount it bore at a review: mean and scatter by number of the type of deal."""

    mean: Floats
    scatter: Floats


@dataclass
class Bookings:
    """Deals won by the as-of date, by the day they were won."""

    deal: Ints
    day: Ints
    created_on: Ints
    amount: Floats


def find_bookings(deals: Deals) -> Bookings:
    won = np.flatnonzero((deals.outcome == WON) & (deals.closed_on < FAR))
    won = won[np.argsort(deals.closed_on[won], kind="stable")]
    return Bookings(won, deals.closed_on[won], deals.created_on[won], deals.amount[won])


def find_scopes(reviews: Reviews, deals: Deals, bookings: Bookings, lines: pd.DataFrame, jobs: pd.DataFrame) -> Scopes:
    """Args:
    lines: `int_reporting_lines_then`: rep_id, manager_id, valid_from, valid_to as day numbers.
    jobs: selling jobs of `core.reps`: rep_id, valid_from, valid_to as day numbers.
    """
    frame = reviews.frame

    def everybody(count: int) -> pd.Series[Any]:
        return pd.Series(["company"] * count, dtype=object)

    members: dict[str, tuple[pd.Series[Any], pd.Series[Any]]] = {
        "company": (
            everybody(len(frame)),
            everybody(len(bookings.deal)),
        ),
        "region": (frame["region"], pd.Series(deals.region[bookings.deal], dtype=object)),
        "segment": (frame["segment"], pd.Series(deals.segment[bookings.deal], dtype=object).fillna("unknown")),
        "seller": (frame["owner_id"], pd.Series(deals.owner[bookings.deal], dtype=object)),
    }
    types: list[str] = []
    ids: list[str] = []
    of_reviews: dict[str, Ints] = {}
    of_deals: dict[str, Ints] = {}
    places: dict[str, dict[str, int]] = {}
    for kind, (open_members, won_members) in members.items():
        names = set(open_members.dropna()) | set(won_members.dropna())
        if kind == "company":
            names = {"company"}
        if kind == "seller":
            names |= set(jobs["rep_id"]) | set(lines["rep_id"])
        ordered = sorted(map(str, names))
        places[kind] = {name: len(ids) + number for number, name in enumerate(ordered)}
        types += [kind] * len(ordered)
        ids += ordered
        of_reviews[kind] = _ints(open_members.map(places[kind]).fillna(-1))
        of_deals[kind] = _ints(won_members.map(places[kind]).fillna(-1))
    ordered = sorted(set(lines["manager_id"]))
    managers = {name: len(ids) + number for number, name in enumerate(ordered)}
    types += ["manager"] * len(ordered)
    ids += ordered
    seller_of_line = _ints(lines["rep_id"].map(places["seller"]))
    manager_of_line = _ints(lines["manager_id"].map(managers))
    begins, ends = _ints(lines["valid_from"]), _ints(lines["valid_to"])
    joined = pd.merge(
        pd.DataFrame({"booking": np.arange(len(bookings.deal)), "seller": of_deals["seller"], "day": bookings.day}),
        pd.DataFrame({"seller": seller_of_line, "manager": manager_of_line, "begins": begins, "ends": ends}),
        on="seller",
    )
    joined = joined[(joined["day"] >= joined["begins"]) & (joined["day"] < joined["ends"])]
    return Scopes(
        types,
        ids,
        of_reviews,
        of_deals,
        (_ints(joined["booking"]), _ints(joined["manager"])),
        (seller_of_line, manager_of_line, begins, ends),
        (
            _ints(jobs["rep_id"].map(places["seller"])),
            _ints(jobs["valid_from"]),
            _ints(jobs["valid_to"]),
        ),
    )


def _ints(column: pd.Series[Any]) -> Ints:
    values: Ints = column.to_numpy(dtype=np.int64)
    return values


def learn_ratio(reviews: Reviews, deals: Deals, base: Ints, cutoff: int) -> AmountRatio:
    """Of deals won before the cut-off, at their reviews in the last half year before the end."""
    rows = base[
        (reviews.outcome[base] == WON)
        & (reviews.closed_on[base] < cutoff)
        & (reviews.closed_on[base] - reviews.day[base] <= RATIO_REVIEW_DAYS)
        & (reviews.amount[base] > 0)
    ]
    then, at_closing, kinds = reviews.amount[rows], deals.amount[reviews.deal[rows]], reviews.kind[rows]
    every = _ratio(then, at_closing) or (1.0, 0.0)
    of_kinds = [_ratio(then[kinds == kind], at_closing[kinds == kind]) or every for kind in range(len(reviews.kinds))]
    return AmountRatio(np.array([mean for mean, _ in of_kinds]), np.array([scatter for _, scatter in of_kinds]))


def _ratio(then: Floats, at_closing: Floats) -> tuple[float, float] | None:
    if len(then) < RATIO_MINIMUM:
        return None
    ratio = float(at_closing.sum() / then.sum())
    return ratio, float(np.sqrt(((at_closing - ratio * then) ** 2).sum() / (then**2).sum()))


@dataclass
class Cell:
    """One period seen from one day, for every scope: moments of what is still to come."""

    period: str
    start: int
    end: int
    day: int
    booked: Floats
    open_mean: Floats
    open_variance: Floats
    new_mean: Floats
    new_variance: Floats
    is_there: npt.NDArray[np.bool_]


@dataclass
class Forecaster:
    """What is needed to tell any period from any day.

    Attributes:
        chance: reviews × horizons, of winning, of the method in use.
        ratio: per quarter what amounts become.
    """

    reviews: Reviews
    deals: Deals
    bookings: Bookings
    scopes: Scopes
    chance: Floats
    ratio: dict[int, AmountRatio]
    policy: ForecastPolicy

    def __post_init__(self) -> None:
        self.review_days = self.reviews.day
        self.lacks_amount = self.reviews.frame["amount"].isna().to_numpy()
        self._totals: dict[tuple[int, int], Floats] = {}

    def rows_on(self, day: int) -> Ints:
        first, last = np.searchsorted(self.review_days, [day, day + 1])
        return np.arange(first, last)

    def worth(self, rows: Ints, horizon: str) -> tuple[Floats, Floats, Floats]:
        """Chance, mean amount at closing, and its standard deviation, of each deal."""
        chance = np.nan_to_num(self.chance[rows, HORIZONS.index(horizon)])
        mean, scatter = np.ones(len(rows)), np.zeros(len(rows))
        for quarter in np.unique(self.reviews.quarter[rows]):
            here = self.reviews.quarter[rows] == quarter
            ratio, kinds = self.ratio[int(quarter)], self.reviews.kind[rows[here]]
            mean[here], scatter[here] = ratio.mean[kinds], ratio.scatter[kinds]
        amount = self.reviews.amount[rows]
        return chance, amount * mean, amount * scatter

    def cell(self, period: str, start: int, end: int, day: int, horizon: str) -> Cell:
        """One period seen from one day.

        Args:
            horizon: the column of chances that ends with the period; where the period has not begun, what is won before
                its start is taken off.
        """
        scopes, size = self.scopes, len(self.scopes)
        rows = self.rows_on(day)
        chance, mean, deviation = self.worth(rows, horizon)
        if start > day + 1:
            earlier, _, _ = self.worth(rows, horizon.removeprefix("next_"))
            chance = np.maximum(chance - earlier, 0)
        expected = chance * mean
        variance = chance * (mean**2 + deviation**2) - expected**2
        open_mean = self.sum_open(rows, expected, day)
        open_variance = self.sum_open(rows, variance, day)
        is_there = np.zeros(size, dtype=bool)
        for place in scopes.of_reviews.values():
            here = place[rows]
            is_there[here[here >= 0]] = True
        sellers, begins, ends = scopes.jobs
        is_there[sellers[(begins <= day) & (day < ends)]] = True
        booked = self.booked(start, min(day, end))
        is_there |= booked != 0
        below, above = scopes.lines_on(day)
        is_there[above[is_there[below]]] = True
        is_there[0] = True
        new_mean, new_variance = self.new_deals(period, start, end, day)
        return Cell(period, start, end, day, booked, open_mean, open_variance, new_mean, new_variance, is_there)

    def sum_open(self, rows: Ints, values: Floats, day: int) -> Floats:
        """Sum over the reviews of a day, by scope."""
        scopes, size = self.scopes, len(self.scopes)
        summed = np.zeros(size)
        for place in scopes.of_reviews.values():
            here = place[rows]
            kept = here >= 0
            summed += np.bincount(here[kept], weights=values[kept], minlength=size)
        below, above = scopes.lines_on(day)
        return summed + np.bincount(above, weights=summed[below], minlength=size)

    def unknown(self, cell: Cell, horizon: str) -> tuple[Floats, Floats]:
        """Open deals by scope, and those of them whose chance or amount is not known: they count as nothing."""
        rows = self.rows_on(cell.day)
        chance = self.chance[rows, HORIZONS.index(horizon)]
        is_unknown = np.isnan(chance) | (self.lacks_amount[rows] & (chance > 0))
        return self.sum_open(rows, np.ones(len(rows)), cell.day), self.sum_open(rows, is_unknown * 1.0, cell.day)

    def booked(self, first: int, last: int) -> Floats:
        """Won from `first` to `last`, by scope."""
        if last < first:
            return np.zeros(len(self.scopes))
        known = self._totals.get((first, last))
        if known is None:
            known = self._sum_bookings(np.arange(*np.searchsorted(self.bookings.day, [first, last + 1])))
            self._totals[first, last] = known
        return known

    def _sum_bookings(self, chosen: Ints) -> Floats:
        scopes, size = self.scopes, len(self.scopes)
        amount = np.zeros(len(self.bookings.day))
        amount[chosen] = self.bookings.amount[chosen]
        summed = np.zeros(size)
        for place in scopes.of_deals.values():
            here = place[chosen]
            kept = here >= 0
            summed += np.bincount(here[kept], weights=amount[chosen][kept], minlength=size)
        booking, manager = scopes.managers_of_deals
        return summed + np.bincount(manager, weights=amount[booking], minlength=size)

    def new_deals(self, period: str, start: int, end: int, day: int) -> tuple[Floats, Floats]:
        """What deals will bring that do not exist on the day: mean and variance, by scope.

        At the same distance from the end of earlier periods, what was created afterwards and still won in the period;
        the same season counts twice. Scaled by the growth of deals created. A scope's part is two thirds its part of
        those wins and one third its part of all that was booked in these periods.
        """
        calendar, bookings, size = self.reviews.calendar, self.bookings, len(self.scopes)
        distance = end - day
        past = [p for p in earlier_periods(calendar, period, start, self.policy.inflow_periods) if p[1] <= day]
        first_day = int(bookings.day[0]) if len(bookings.day) else FAR
        past = [p for p in past if p[0] >= first_day]
        if not past:
            return np.zeros(size), np.zeros(size)
        season = calendar.season[start - calendar.first]
        amounts, weights, chosen = [], [], []
        for past_start, past_end in past:
            first = max(past_start, past_end - distance + 1)
            inside = np.arange(*np.searchsorted(bookings.day, [first, past_end + 1]))
            new = inside[bookings.created_on[inside] > past_end - distance]
            chosen.append(new)
            amounts.append(float(bookings.amount[new].sum()))
            weights.append(2.0 if calendar.season[past_start - calendar.first] == season else 1.0)
        amount, weight = np.array(amounts), np.array(weights)
        growth = self._growth(day, float(np.average([end - p[1] for p in past], weights=weight)))
        mean = float(np.average(amount, weights=weight)) * growth
        variance = float(np.average((amount * growth - mean) ** 2, weights=weight)) * len(past) / max(len(past) - 1, 1)
        of_new = self._sum_bookings(np.concatenate(chosen))
        of_all = self.booked(past[-1][0], past[0][1])
        parts = [part / part[0] for part in (of_new, of_all) if part[0] > 0]
        if not parts:
            return np.zeros(size), np.zeros(size)
        share = parts[0] * 2 / 3 + parts[1] / 3 if len(parts) == 2 else parts[0]
        return mean * share, variance * share

    def _growth(self, day: int, distance: float) -> float:
        """Growth of deals created over `distance` days, by the last two years; within half and double."""
        created = self.deals.created_on
        last = int(((created > day - YEAR) & (created <= day)).sum())
        before = int(((created > day - 2 * YEAR) & (created <= day - YEAR)).sum())
        if before < 50 or created.min(initial=FAR) > day - 2 * YEAR:
            return 1.0
        return float(np.clip((last / before) ** (distance / YEAR), 0.5, 2.0))


def earlier_periods(calendar: Calendar, period: str, start: int, count: int) -> list[tuple[int, int]]:
    """First and last days of the periods before one, newest first; not before the calendar begins."""
    found: list[tuple[int, int]] = []
    while len(found) < count and start > calendar.first:
        end = start - 1
        start = int(calendar.start_of(period, np.array([end]))[0])
        found.append((start, end))
    return found


def past_cells(forecaster: Forecaster, from_quarter: int, as_of: int) -> Iterator[tuple[Cell, int]]:
    """Every period and week of it that could be told out of time, with its weeks before the end."""
    reviews = forecaster.reviews
    calendar = reviews.calendar
    week_ends = np.unique(reviews.day[reviews.is_week_end])
    for day in week_ends[(week_ends <= as_of)]:
        here = np.array([day])
        if calendar.start_of("quarter", here)[0] < from_quarter:
            continue
        for period in PERIODS:
            seen = [(calendar.start_of(period, here)[0], calendar.end_of(period, here)[0], period)]
            if seen[0][1] == day:
                after = np.array([day + 1])
                seen.append((calendar.start_of(period, after)[0], calendar.end_of(period, after)[0], f"next_{period}"))
            for start, end, horizon in seen:
                weeks = int(end - day) // 7
                if weeks >= 1:
                    yield forecaster.cell(period, int(start), int(end), int(day), horizon), weeks


def learn_shock(cells: list[tuple[Cell, float]], cutoff: int, policy: ForecastPolicy) -> float:
    """How much more the company's sum scatters than independent deals would: a share of what is still to come.

    Args:
        cells: quarters' cells with what was booked in the end; those that ended before the cut-off count, of the last
            `calibration_quarters` of them.
    """
    sums: dict[int, list[float]] = {}
    for cell, actual in cells:
        if cell.period != "quarter" or cell.end >= cutoff:
            continue
        to_come = cell.open_mean[0] + cell.new_mean[0]
        error = actual - cell.booked[0] - to_come
        entry = sums.setdefault(cell.start, [0.0, 0.0])
        entry[0] += error**2 - cell.open_variance[0] - cell.new_variance[0]
        entry[1] += to_come**2
    newest = [sums[start] for start in sorted(sums)[-policy.calibration_quarters :]]
    ratios = [over / weight for over, weight in newest if weight > 0]
    prior = policy.shock_prior**2 * policy.shock_prior_quarters
    return float(np.sqrt(max((sum(ratios) + prior) / (len(ratios) + policy.shock_prior_quarters), 0.0)))


def range_of(cell: Cell, shock: float) -> tuple[Floats, Floats, Floats]:
    """Forecast, P10 and P90 by scope: a gamma distribution of what is still to come (Wilson and Hilferty 1931)."""
    to_come = cell.open_mean + cell.new_mean
    variance = cell.open_variance + cell.new_variance + (shock * cell.open_mean) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        shape = to_come**2 / variance
        middle, width = 1 - 1 / (9 * shape), TENTH / (3 * np.sqrt(shape))
        low = to_come * np.maximum(middle - width, 0) ** 3
        high = to_come * np.maximum(middle + width, 0) ** 3
    is_sure = ~(variance > 0) | ~(to_come > 0)
    return (
        cell.booked + to_come,
        cell.booked + np.where(is_sure, to_come, low),
        cell.booked + np.where(is_sure, to_come, high),
    )


@dataclass
class Outlook:
    """One period to come, for every scope there is on the day; amounts."""

    cell: Cell
    scope: Ints
    median: Floats
    p10: Floats
    p90: Floats


def draw_outlook(forecaster: Forecaster, cell: Cell, horizon: str, shock: float) -> Outlook:
    """Draws what open deals come to, what new ones bring, and the shock they share: the same draws for a day."""
    count = forecaster.policy.simulations
    scopes = forecaster.scopes
    rows = forecaster.rows_on(cell.day)
    chance, mean, deviation = forecaster.worth(rows, horizon)
    if cell.start > cell.day + 1:
        earlier, _, _ = forecaster.worth(rows, horizon.removeprefix("next_"))
        chance = np.maximum(chance - earlier, 0)
    rng = np.random.default_rng([cell.start, cell.day])
    common = np.sqrt(np.log1p(shock**2))
    shared = np.exp(common * rng.standard_normal(count) - common**2 / 2)
    lucky = rng.random((len(rows), count)) < chance[:, None]
    worth = np.maximum(mean[:, None] + deviation[:, None] * rng.standard_normal((len(rows), count)), 0)
    drawn = np.where(lucky, worth, 0.0) * shared
    below, above = scopes.lines_on(cell.day)
    members = {kind: place[rows] for kind, place in scopes.of_reviews.items()}
    there = np.flatnonzero(cell.is_there)
    quantiles = np.empty((len(there), 3))
    for number, scope in enumerate(there):
        if scopes.types[scope] == "manager":
            mine = np.isin(members["seller"], below[above == scope])
        else:
            mine = members[scopes.types[scope]] == scope
        total = drawn[mine].sum(axis=0) + cell.booked[scope]
        if cell.new_mean[scope] > 0 and cell.new_variance[scope] > 0:
            own = np.random.default_rng(
                [cell.start, cell.day, zlib.crc32(f"{scopes.types[scope]} {scopes.ids[scope]}".encode())]
            )
            shape = cell.new_mean[scope] ** 2 / cell.new_variance[scope]
            total = total + own.gamma(shape, cell.new_variance[scope] / cell.new_mean[scope], count)
        else:
            total = total + cell.new_mean[scope]
        quantiles[number] = np.quantile(total, [0.5, 0.1, 0.9])
    return Outlook(cell, there, quantiles[:, 0], quantiles[:, 1], quantiles[:, 2])
