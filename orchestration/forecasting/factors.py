"""Why a chance is what it is: each factor of a deal against what deals that were won looked like in its stage."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from orchestration.forecasting.features import CATEGORY, FEATURES, Feature, Floats
from orchestration.forecasting.outcome_model import Calibration, QuarterModel, calibrated_chances
from orchestration.forecasting.policy import ForecastPolicy
from orchestration.forecasting.reviews import WON, Ints, Reviews

WON_DEALS_AT_LEAST = 30


def explain(
    reviews: Reviews, base: Ints, rows: Ints, model: QuarterModel, calibration: Calibration, policy: ForecastPolicy
) -> pd.DataFrame:
    """The factors that move the chance of a win within `horizon_days` most, a row each.

    A factor's contribution is the chance as it is less the chance the same deal would have with the factor at the
    median of the reviews won deals had in its stage (a category: at the most frequent value), or without a value where
    most of these reviews have none. One factor is moved at a time: contributions need not add up, and they say what
    goes together in past deals, not what a change would bring.

    Returns:
        opportunity_id, factor, value, won_median (texts), contribution, rank.
    """
    if model.trees is None or not len(rows):
        return pd.DataFrame(columns=["opportunity_id", "factor", "value", "won_median", "contribution", "rank"])
    frame = reviews.frame
    seen = reviews.seen(rows, model.columns)
    ends = reviews.ends["days"][rows]
    horizon = reviews.horizon_columns(rows, ends, model.clock)
    now = _chance(model, calibration, reviews, rows, np.column_stack([seen, horizon]))
    won = base[(reviews.outcome[base] == WON) & (reviews.closed_on[base] < model.quarter)]
    stage = frame["stage_order"].to_numpy(dtype=np.float64, na_value=-1)
    used = set(model.columns.features)
    parts = []
    for feature in FEATURES:
        if not feature.words or feature.name not in used:
            continue
        usual = _usual(reviews, won, rows, stage, feature)
        moved, moved_horizon = seen.copy(), horizon.copy()
        for place, (name, value) in enumerate(zip(model.columns.features, model.columns.values, strict=True)):
            if name == feature.name:
                moved[:, place] = usual if value is None else (usual == value).astype(np.float64)
        if feature.name == "days_to_close":
            moved_horizon[:, 2] = np.asarray(usual, dtype=np.float64) - (ends - reviews.day[rows])
        contribution = now - _chance(model, calibration, reviews, rows, np.column_stack([moved, moved_horizon]))
        parts.append(
            pd.DataFrame(
                {
                    "opportunity_id": frame["opportunity_id"].iloc[rows].to_numpy(dtype=object),
                    "factor": feature.words,
                    "value": _texts(frame[feature.name].iloc[rows].to_numpy(dtype=object), feature),
                    "won_median": _texts(usual, feature),
                    "contribution": np.round(contribution, 6),
                }
            )
        )
    every = pd.concat(parts)
    every = every[every["contribution"].abs() >= policy.factor_least]
    every = every[every["value"] != every["won_median"]]
    every["size"] = -every["contribution"].abs()
    every = every.sort_values(["opportunity_id", "size", "factor"], kind="stable", ignore_index=True)
    every["rank"] = every.groupby("opportunity_id").cumcount() + 1
    return every[every["rank"] <= policy.factors_told].drop(columns="size")


def _chance(model: QuarterModel, calibration: Calibration, reviews: Reviews, rows: Ints, matrix: Floats) -> Floats:
    assert model.trees is not None
    closes, wins = (model.trees[place].chance(matrix) for place in (0, 1))
    raw = np.stack([closes, closes * wins, np.full(len(rows), 0.5)], axis=1)[:, None, :]
    return calibrated_chances(raw, [calibration], reviews.ends["days"][rows][:, None].astype(np.float64))[:, 0, 0]


def _usual(reviews: Reviews, won: Ints, rows: Ints, stage: Floats, feature: Feature) -> Any:
    """Of each row, the median or most frequent value at reviews of won deals in its stage, else in all; none if most
    have none."""
    values = reviews.frame[feature.name]
    told: Any = np.empty(len(rows), dtype=object)
    for place in np.unique(stage[rows]):
        of_stage = won[stage[won] == place]
        if len(np.unique(reviews.deal[of_stage])) < WON_DEALS_AT_LEAST:
            of_stage = won
        known = values.iloc[of_stage].dropna()
        if 2 * len(known) < len(of_stage) or not len(known):
            usual: Any = None
        elif feature.kind == CATEGORY:
            counts = known.astype(str).value_counts()
            usual = sorted(counts.index[counts == counts.max()])[0]
        else:
            ordered = np.sort(known.to_numpy(dtype=np.float64))
            usual = float(ordered[(len(ordered) - 1) // 2])
        told[stage[rows] == place] = usual
    return told if feature.kind == CATEGORY else told.astype(np.float64)


def _texts(values: Any, feature: Feature) -> list[str]:
    return [feature.absent if pd.isna(value) else _text(value, feature) for value in values]


def _text(value: Any, feature: Feature) -> str:
    if feature.kind == CATEGORY:
        return str(value)
    if feature.name.startswith(("has_", "is_")):
        return "yes" if value else "no"
    number = float(value)
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.2f}".rstrip("0").rstrip(".")
