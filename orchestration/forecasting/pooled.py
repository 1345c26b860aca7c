"""Pooled rates: what deals in the same stage, as long in it, came to by the end of a horizon. They need no model."""

from __future__ import annotations

import numpy as np

from orchestration.forecasting.features import Floats
from orchestration.forecasting.reviews import LOST, NO_DECISION, WON, Ints, Reviews

WEEKS_AT_MOST = 40


def pooled_chances(
    reviews: Reviews, base: Ints, rows: Ints, horizon: str, cutoff: int, strength: float
) -> tuple[Floats, float]:
    """Chances of winning, losing and no decision by the horizon, and the plain share won.

    From wide to narrow: all, stage, stage × weeks left, stage × weeks left × time in stage; each share is drawn towards
    that of the group before it, (cases + strength × share before) / (reviews + strength). Not a number where nothing
    is known: no review, or none of a deal that has ended, as where an export tells no history of ended deals.

    Args:
        base: reviews before the cut-off; of them, those whose horizon ended before it count.
        rows: reviews that are told.

    Returns:
        rows × 3, and the share won of all that counted: the base rate that was known.
    """
    ends = reviews.ends[horizon]
    known = base[(ends[base] < cutoff) & (ends[base] > reviews.day[base])]
    result = reviews.result(known, ends[known])
    if not np.isin(result, (WON, LOST, NO_DECISION)).any():
        chances = np.full((len(rows), 3), np.nan)
        chances[ends[rows] <= reviews.day[rows]] = 0.0
        return chances, float("nan")
    both = np.concatenate([known, rows])
    weeks = np.minimum((ends[both] - reviews.day[both]) // 7, WEEKS_AT_MOST)
    weeks = np.zeros_like(weeks) if horizon in ("days", "ever") else np.maximum(weeks, 0)
    shares = np.bincount(result, minlength=4)[[WON, LOST, NO_DECISION]] / len(known)
    told = shares[None, :]
    group = np.zeros(len(both), dtype=np.int64)
    for code in (reviews.stage[both], weeks, reviews.time[both]):
        width = int(code.max()) + 1
        group, told = group * width + code, np.repeat(told, width, axis=0)
        counts = np.bincount(group[: len(known)] * 4 + result, minlength=len(told) * 4).reshape(-1, 4)
        told = (counts[:, [WON, LOST, NO_DECISION]] + strength * told) / (counts.sum(axis=1) + strength)[:, None]
    chances = told[group[len(known) :]]
    chances[ends[rows] <= reviews.day[rows]] = 0.0
    return chances, float(shares[0])
