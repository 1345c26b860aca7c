"""The outcome model: the chances of each open deal to be won, lost, dropped or still open by a horizon's end.

One model a quarter, trained on what was known before the quarter began and used for all its reviews. Three questions in
turn, each answered by boosted trees that see the horizon beside the deal: does it end by then; if so, is it won; if not
won, is it lost or does it end without a decision. docs/outcome-model.md is the rule.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from orchestration.forecasting.features import FEATURES, Columns, Feature, Floats, choose_columns, refuse_oracles
from orchestration.forecasting.policy import ForecastPolicy
from orchestration.forecasting.pooled import pooled_chances
from orchestration.forecasting.reviews import HORIZONS, LOST, OPEN, WON, Clock, Ints, Reviews
from orchestration.forecasting.trees import Trees, grow, log_odds_of, logistic

# How the pairs a model learns from are shared out among the horizons.
PAIR_SHARES = {"month": 0.15, "quarter": 0.35, "next_quarter": 0.15, "days": 0.15, "ever": 0.20}
# Trees and learning rate of each question: ends, won, lost.
GROWTH = ((75, 0.2), (60, 0.1), (30, 0.1))
# Quarters without which nothing is known of how a calibration does in others.
LEAST_QUARTERS = 3
GUARDED_ROWS = 8_000
MODEL, POOLED = "model", "stage_age"


@dataclass(frozen=True)
class Calibration:
    """What is done to a chance of winning: nothing, Platt's curve, or an isotonic function read between its steps."""

    kind: str = "none"
    x: list[float] = field(default_factory=list)
    y: list[float] = field(default_factory=list)

    def apply(self, chance: Floats) -> Floats:
        if self.kind == "platt":
            return logistic(self.x[0] + self.x[1] * log_odds_of(chance))
        if self.kind == "isotonic":
            return np.interp(chance, self.x, self.y)
        return chance


@dataclass(frozen=True)
class QuarterModel:
    """What one quarter is told with.

    Attributes:
        quarter: first day; everything it rests on lies before.
        clock: how time passes for deals.
        trees: ends, won, lost; None below the data floor.
        refused: a sentence for each feature that was not used.
        pairs: reviews and horizons it was trained on.
    """

    quarter: int
    columns: Columns
    clock: Clock
    trees: tuple[Trees, Trees, Trees] | None
    refused: list[str]
    closed_deals: int
    pairs: int

    def to_json(self) -> dict[str, Any]:
        return {
            "quarter": self.quarter,
            "columns": {"features": self.columns.features, "values": self.columns.values},
            "clock": asdict(self.clock),
            "trees": [tree.to_json() for tree in self.trees] if self.trees else None,
            "refused": self.refused,
            "closed_deals": self.closed_deals,
            "pairs": self.pairs,
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> QuarterModel:
        trees = content["trees"]
        return cls(
            quarter=content["quarter"],
            columns=Columns(**content["columns"]),
            clock=Clock(**content["clock"]),
            trees=tuple(Trees.from_json(tree) for tree in trees) if trees else None,  # type: ignore[arg-type]
            refused=content["refused"],
            closed_deals=content["closed_deals"],
            pairs=content["pairs"],
        )


def base_rows(reviews: Reviews, quarters: Ints, place: int, policy: ForecastPolicy) -> Ints:
    """Reviews a quarter's model may learn from: those of the quarters before it.

    Args:
        quarters: first days of all quarters, in order; `place` is the one that is told.
    """
    first = quarters[max(0, place - policy.window_quarters)]
    return np.flatnonzero((reviews.quarter >= first) & (reviews.quarter < quarters[place]))


def train(
    reviews: Reviews, base: Ints, cutoff: int, policy: ForecastPolicy, features: list[Feature] | None = None
) -> QuarterModel:
    """The model of the quarter that begins on `cutoff`. Nothing that ended on or after that day is looked at."""
    features = FEATURES if features is None else features
    ended = base[reviews.closed_on[base] < cutoff]
    closed_deals = len(np.unique(reviews.deal[ended]))
    if closed_deals < policy.closed_deals_floor:
        return QuarterModel(cutoff, Columns([], []), Clock([], {}, 0.0), None, [], closed_deals, 0)
    usable, refused = _usable(reviews, base, cutoff, policy, features)
    columns = choose_columns(reviews.frame.iloc[base], usable)
    clock = reviews.learn_clock(base, cutoff)
    matrices, results = [], []
    for number, (horizon, share) in enumerate(PAIR_SHARES.items()):
        ends = reviews.ends[horizon]
        rows = base[(ends[base] < cutoff) & (ends[base] > reviews.day[base])]
        rows = _drawn(reviews, rows, int(policy.training_pairs * share), number)
        of_horizon = reviews.horizon_columns(rows, ends[rows], clock)
        matrices.append(np.column_stack([reviews.seen(rows, columns), of_horizon]))
        results.append(reviews.result(rows, ends[rows]))
    matrix, result = np.concatenate(matrices), np.concatenate(results)
    ends_by_then = result != OPEN
    is_won = result == WON
    if ends_by_then.sum() < policy.closed_deals_floor:
        return QuarterModel(cutoff, columns, clock, None, refused, closed_deals, len(result))
    with one_thread():
        trees = (
            grow(matrix, ends_by_then, *GROWTH[0]),
            grow(matrix[ends_by_then], is_won[ends_by_then], *GROWTH[1]),
            grow(matrix[ends_by_then & ~is_won], (result == LOST)[ends_by_then & ~is_won], *GROWTH[2]),
        )
    return QuarterModel(cutoff, columns, clock, trees, refused, closed_deals, len(result))


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums over threads come in whatever order the threads end: one thread grows the same trees everywhere."""
    import sklearn.ensemble  # noqa: F401  its threads are there to be limited once it is loaded
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield


def uncompiled(model: QuarterModel) -> QuarterModel:
    """The model as it will be read next time."""
    if model.trees is None:
        return model
    closes, wins, loses = (replace(tree, compiled=None) for tree in model.trees)
    return replace(model, trees=(closes, wins, loses))


def raw_chances(model: QuarterModel, reviews: Reviews, rows: Ints) -> Floats:
    """Rows × horizons × (ends, won, lost), before calibration; not a number below the data floor."""
    told = np.full((len(rows), len(HORIZONS), 3), np.nan)
    if model.trees is None or not len(rows):
        return told
    seen = reviews.seen(rows, model.columns)
    for number, horizon in enumerate(HORIZONS):
        ends = reviews.ends[horizon][rows]
        matrix = np.column_stack([seen, reviews.horizon_columns(rows, ends, model.clock)])
        closes, wins, loses = (trees.chance(matrix) for trees in model.trees)
        is_over = ends <= reviews.day[rows]
        told[:, number, 0] = np.where(is_over, 0.0, closes)
        told[:, number, 1] = np.where(is_over, 0.0, closes * wins)
        told[:, number, 2] = loses
    return told


def calibrated_chances(raw: Floats, calibrations: list[Calibration], ends: Floats) -> Floats:
    """Rows × horizons × (win, lose, no decision).

    A deal that has been won or has ended by one day has been by every later one: chances grow with the horizon.

    Args:
        calibrations: of each horizon.
        ends: rows × horizons.
    """
    is_over = raw[:, :, 0] == 0.0
    applied = [calibration.apply(raw[:, number, 1]) for number, calibration in enumerate(calibrations)]
    win = np.where(is_over, 0.0, np.stack(applied, axis=1))
    # What calibration adds to winning it takes from the other outcomes in equal shares.
    left = 1 - raw[:, :, 1]
    closes = np.where(is_over, 0.0, win + (raw[:, :, 0] - raw[:, :, 1]) * (1 - win) / np.where(left > 0, left, 1.0))
    order = np.argsort(ends, axis=1, kind="stable")
    back = np.argsort(order, axis=1, kind="stable")
    win = np.take_along_axis(np.maximum.accumulate(np.take_along_axis(win, order, 1), axis=1), back, 1)
    closes = np.take_along_axis(np.maximum.accumulate(np.take_along_axis(closes, order, 1), axis=1), back, 1)
    closes = np.maximum(closes, win)
    lose = (closes - win) * raw[:, :, 2]
    return np.stack([win, lose, closes - win - lose], axis=2)


def choose_calibration(chances: list[Floats], outcomes: list[Floats]) -> Calibration:
    """None, Platt or isotonic: the one that is surely better, else none.

    Each is learnt without one of the quarters and held against it, in turn; what it gains over no calibration (log
    loss) has to be more than the standard error of these gains. A calibration of few quarters is mostly their chance.

    Args:
        chances, outcomes: out of time, a quarter each, oldest first: chances of winning, and 1 where it was won.
    """
    filled = [
        # Quarters in order are put in order together much faster.
        (p[order], y[order])
        for p, y in zip(chances, outcomes, strict=True)
        if len(p) >= 100 and 0 < y.sum() < len(y)
        for order in [np.argsort(p, kind="stable")]
    ]
    if len(filled) < LEAST_QUARTERS:
        return Calibration()
    as_told = np.array([log_loss(p, y) for p, y in filled])
    chosen, sure = "none", 0.0
    for kind in ("platt", "isotonic"):
        losses = []
        for place, (p, y) in enumerate(filled):
            others = _stacked(filled[:place] + filled[place + 1 :])
            losses.append(log_loss(_calibrate(kind, *others).apply(p), y))
        gains = as_told - np.array(losses)
        surely = float(gains.mean() - gains.std(ddof=1) / np.sqrt(len(gains)))
        if surely > sure:
            chosen, sure = kind, surely
    return _calibrate(chosen, *_stacked(filled))


def log_loss(chance: Floats, outcome: Floats) -> float:
    held = np.clip(chance, 1e-6, 1 - 1e-6)
    return float(-np.mean(outcome * np.log(held) + (1 - outcome) * np.log(1 - held)))


def brier(chance: Floats, outcome: Floats) -> float:
    return float(np.mean((chance - outcome) ** 2))


def pooled_of_quarter(
    reviews: Reviews, base: Ints, rows: Ints, cutoff: int, policy: ForecastPolicy
) -> tuple[Floats, dict[str, float]]:
    """Rows × horizons × (win, lose, no decision) by pooled rates, and the base rate of each horizon."""
    told, rates = [], {}
    for horizon in HORIZONS:
        chances, rates[horizon] = pooled_chances(reviews, base, rows, horizon, cutoff, policy.pooled_strength)
        told.append(chances)
    return np.stack(told, axis=1), rates


def _usable(
    reviews: Reviews, base: Ints, cutoff: int, policy: ForecastPolicy, features: list[Feature]
) -> tuple[list[Feature], list[str]]:
    looked_at = _drawn(reviews, base, GUARDED_ROWS, 99)
    is_decided = reviews.closed_on[looked_at] < cutoff
    return refuse_oracles(
        reviews.frame.iloc[looked_at],
        features,
        is_decided,
        is_decided & (reviews.outcome[looked_at] == WON),
        policy.leak_discrimination,
    )


def _drawn(reviews: Reviews, rows: Ints, count: int, number: int) -> Ints:
    """The rows with the lowest lots, in order: the same ones however many others there are."""
    if len(rows) <= count:
        return rows
    lot = reviews.lot[rows] ^ np.uint64(number * 0x9E3779B97F4A7C15 % 2**64)
    return np.sort(rows[np.argsort(lot, kind="stable")[:count]])


def _stacked(parts: list[tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
    return np.concatenate([p for p, _ in parts]), np.concatenate([y for _, y in parts])


def _calibrate(kind: str, chance: Floats, outcome: Floats) -> Calibration:
    if kind == "platt":
        return Calibration("platt", _platt(chance, outcome))
    if kind == "isotonic":
        return _isotonic(chance, outcome)
    return Calibration()


def _platt(chance: Floats, outcome: Floats) -> list[float]:
    """Intercept and slope on log odds (Platt 1999), by Newton's method."""
    x = log_odds_of(chance)
    intercept, slope = 0.0, 1.0
    for _ in range(30):
        p = logistic(intercept + slope * x)
        weight = p * (1 - p) + 1e-12
        error = outcome - p
        a, b, c = weight.sum(), (weight * x).sum(), (weight * x * x).sum()
        g, h = error.sum(), (error * x).sum()
        divisor = a * c - b * b
        if divisor <= 0:
            break
        step = ((c * g - b * h) / divisor, (a * h - b * g) / divisor)
        intercept, slope = intercept + step[0], slope + step[1]
        if max(abs(step[0]), abs(step[1])) < 1e-10:
            break
    return [float(intercept), float(slope)]


def _isotonic(chance: Floats, outcome: Floats) -> Calibration:
    """Pool adjacent violators over two hundred groups of equal size, read off a line between their middles."""
    order = np.argsort(chance, kind="stable")
    parts = np.array_split(order, min(200, len(order)))
    blocks: list[list[float]] = []
    for part in parts:
        blocks.append([float(chance[part].sum()), float(outcome[part].sum()), float(len(part))])
        while len(blocks) > 1 and blocks[-2][1] * blocks[-1][2] >= blocks[-1][1] * blocks[-2][2]:
            last = blocks.pop()
            blocks[-1] = [a + b for a, b in zip(blocks[-1], last, strict=True)]
    x = [block[0] / block[2] for block in blocks]
    y = [min(max(block[1] / block[2], 1e-3), 1 - 1e-3) for block in blocks]
    return Calibration("isotonic", x, y)


def is_known(reviews: Reviews, rows: Ints, horizon: str, cutoff: int) -> Ints:
    """Of the rows, those whose horizon had ended before the cut-off."""
    ends = reviews.ends[horizon][rows]
    return rows[(ends < cutoff) & (ends > reviews.day[rows])]
