"""Numbers of seeds/forecast_policy.csv, and the one of seeds/deal_policy.csv the model shares with the signals."""

from __future__ import annotations

import csv
from dataclasses import dataclass, fields
from typing import Any

from orchestration.settings import SEEDS


@dataclass(frozen=True)
class ForecastPolicy:
    """What each number means is said in seeds/forecast_policy.csv."""

    horizon_days: int
    closed_deals_floor: int
    window_quarters: int
    ever_days: int
    training_pairs: int
    backtest_quarters: int
    calibration_quarters: int
    pooled_strength: float
    leak_discrimination: float
    leak_filled_share: float
    inflow_periods: int
    shock_prior: float
    shock_prior_quarters: float
    simulations: int
    factors_told: int
    factor_least: float
    outlook_known_share: float


def forecast_policy() -> ForecastPolicy:
    rows: dict[str, float] = {}
    for name in ("deal_policy", "forecast_policy"):
        with (SEEDS / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            rows |= {row["name"]: float(row["value"]) for row in csv.DictReader(file)}
    numbers: dict[str, Any] = {
        field.name: int(rows[field.name]) if field.type == "int" else rows[field.name]
        for field in fields(ForecastPolicy)
    }
    return ForecastPolicy(**numbers)
