"""The step between the two parts of the dbt build: from features to chances and forecasts, as Parquet."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from orchestration.forecasting.factors import explain
from orchestration.forecasting.features import FEATURES, Feature, Floats, refuse_afterthoughts, unlisted
from orchestration.forecasting.outcome_model import (
    MODEL,
    POOLED,
    Calibration,
    QuarterModel,
    base_rows,
    brier,
    calibrated_chances,
    choose_calibration,
    is_known,
    log_loss,
    pooled_of_quarter,
    raw_chances,
    train,
    uncompiled,
)
from orchestration.forecasting.periods import (
    AmountRatio,
    Cell,
    Forecaster,
    draw_outlook,
    find_bookings,
    find_scopes,
    learn_ratio,
    learn_shock,
    past_cells,
    range_of,
)
from orchestration.forecasting.policy import ForecastPolicy, forecast_policy
from orchestration.forecasting.reviews import FAR, HORIZONS, WON, Deals, Ints, Reviews, read_reviews, text_of
from orchestration.ingest.rules import literal
from orchestration.publish.candidate import Build
from orchestration.settings import Settings
from orchestration.warehouse.tables import BuiltTables, built_tables

OUTCOMES = ("win", "lose", "no_decision")
SHARE, MONEY = "decimal(9, 6)", "decimal(18, 4)"
LOWER_ENDS, UPPER_ENDS = ("low", "p10"), ("high", "p90")
# The tables of the dbt source `predictions`, and the types they are written in.
TABLES: dict[str, dict[str, str]] = {
    "outcomes": {
        "opportunity_id": "varchar",
        "method": "varchar",
        "model_version": "varchar",
        **{f"p_{outcome}_{horizon}": SHARE for horizon in HORIZONS for outcome in OUTCOMES},
        "amount_ratio": SHARE,
        "is_used": "boolean",
        "snapshot_date": "date",
    },
    "forecasts": {
        "period_type": "varchar",
        "scope_type": "varchar",
        "scope_id": "varchar",
        "weeks_before_end": "bigint",
        "forecast_amount": MONEY,
        "low": MONEY,
        "high": MONEY,
        "period_start": "date",
        "forecast_on": "date",
    },
    "outlooks": {
        "period_type": "varchar",
        "scope_type": "varchar",
        "scope_id": "varchar",
        "method": "varchar",
        "booked": MONEY,
        "from_open_deals": MONEY,
        "from_new_deals": MONEY,
        "median": MONEY,
        "p10": MONEY,
        "p90": MONEY,
        "common_shock": SHARE,
        "reason": "varchar",
        "period_start": "date",
        "period_end": "date",
    },
    "factors": {
        "opportunity_id": "varchar",
        "factor": "varchar",
        "value": "varchar",
        "won_median": "varchar",
        "contribution": SHARE,
        "rank": "bigint",
    },
    "models": {
        "method": "varchar",
        "reason": "varchar",
        "calibration": "varchar",
        "model_version": "varchar",
        "data_hash": "varchar",
        "features_refused": "varchar",
        "feature_count": "bigint",
        "closed_deals": "bigint",
        "pairs": "bigint",
        "n": "bigint",
        "model_brier": SHARE,
        "stage_age_brier": SHARE,
        "model_log_loss": SHARE,
        "stage_age_log_loss": SHARE,
        "common_shock": SHARE,
        "quarter_start": "date",
    },
    "base_rates": {"horizon": "varchar", "base_rate": SHARE, "quarter_start": "date"},
}


@dataclass
class Quarter:
    """One quarter told again: its model, what it is calibrated by, and what came of it.

    Attributes:
        model_chances, pooled: chances of the quarter's reviews, rows × horizons × outcomes.
    """

    start: int
    rows: Ints
    base: Ints
    model: QuarterModel
    key: str
    raw: Floats
    calibrations: list[Calibration]
    model_chances: Floats
    pooled: Floats
    base_rates: dict[str, float]
    ratio: AmountRatio
    method: str = POOLED
    reason: str = ""


@dataclass
class Prediction:
    """What was told, for whoever shows it.

    Attributes:
        trained: models that had to be trained; the others were kept from an earlier run.
    """

    as_of_date: str
    method: str
    reason: str
    reviews: int
    trained: int
    seconds: float
    refused: list[str]
    features: list[str]
    data_hash: str
    model_version: str
    evaluation: list[dict[str, Any]] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)


def predict(
    settings: Settings, build: Build, features: list[Feature] | None = None, use_kept: bool = True
) -> Prediction:
    """Tells chances, forecasts, outlooks and factors for the build's day and writes them beside the warehouse.

    The same tables give the same bytes. Models of quarters whose data are the same as before are not trained again.
    """
    began = time.monotonic()
    policy = forecast_policy()
    as_of = int(np.datetime64(build.as_of_date).astype(int))
    with built_tables(settings, build.target) as built:
        reviews, deals = read_reviews(built, policy)
        lines, jobs = _read_people(built)
    shelf = Shelf(settings.kept_models if use_kept else None)
    usable, refused = refuse_afterthoughts(
        reviews.frame, features or FEATURES, reviews.closed_on < FAR, policy.leak_filled_share
    )
    quarters = tell_quarters(reviews, deals, policy, shelf, usable)
    frames = {"outcomes": _outcomes(reviews, quarters)}
    forecaster = _forecaster(reviews, deals, lines, jobs, quarters, policy)
    frames["forecasts"], frames["outlooks"], shocks = _periods(forecaster, quarters, as_of)
    current = quarters[-1] if quarters and quarters[-1].start == _quarter_of(reviews, as_of) else None
    today = np.flatnonzero(reviews.day == as_of)
    if current is not None and current.method == MODEL:
        frames["factors"] = explain(
            reviews, current.base, today, current.model, current.calibrations[HORIZONS.index("days")], policy
        )
    frames["models"] = _models(reviews, quarters, shocks, refused, as_of)
    frames["base_rates"] = pd.DataFrame(
        [
            {"quarter_start": quarter.start, "horizon": horizon, "base_rate": rate}
            for quarter in quarters
            for horizon, rate in quarter.base_rates.items()
        ]
    )
    newest = quarters[-1] if quarters else None
    prediction = Prediction(
        as_of_date=build.as_of_date,
        method=current.method if current else "none",
        reason=current.reason if current else "no open deal has been reviewed in this quarter",
        reviews=len(frames["outcomes"]),
        trained=shelf.trained,
        seconds=0.0,
        refused=[*unlisted(reviews.frame), *refused, *(newest.model.refused if newest else [])],
        features=sorted(set(newest.model.columns.features)) if newest else [],
        data_hash=_frames_hash(reviews, deals),
        model_version=newest.key if newest else "",
        evaluation=_records(frames["models"]),
        rows={table: len(frames[table]) if table in frames else 0 for table in TABLES},
    )
    _write(settings, frames, newest, prediction)
    shelf.clear_all_but([quarter.key for quarter in quarters])
    prediction.seconds = round(time.monotonic() - began, 1)
    return prediction


def tell_quarters(
    reviews: Reviews, deals: Deals, policy: ForecastPolicy, shelf: Shelf, features: list[Feature]
) -> list[Quarter]:
    """Every quarter that is told: the current, the `backtest_quarters` before, and one more to judge the first by."""
    starts = np.unique(reviews.quarter)
    told: list[Quarter] = []
    first = max(0, len(starts) - policy.backtest_quarters - 2)
    digests = _digests(reviews)
    for place in range(first, len(starts)):
        start = int(starts[place])
        rows = np.flatnonzero(reviews.quarter == start)
        base = base_rows(reviews, starts, place, policy)
        key = _key(reviews, base, start, digests, policy, features)
        model, raw = shelf.model_and_chances(reviews, base, rows, start, key, digests, policy, features)
        pooled, rates = pooled_of_quarter(reviews, base, rows, start, policy)
        before = told[-policy.calibration_quarters :]
        calibrations = _calibrations(reviews, before, start)
        ends = np.column_stack([reviews.ends[horizon][rows] for horizon in HORIZONS]).astype(np.float64)
        quarter = Quarter(
            start=start,
            rows=rows,
            base=base,
            model=model,
            key=key,
            raw=raw,
            calibrations=calibrations,
            model_chances=calibrated_chances(raw, calibrations, ends),
            pooled=pooled,
            base_rates=rates,
            ratio=learn_ratio(reviews, deals, base, start),
        )
        quarter.method, quarter.reason = _choose_method(reviews, before, quarter, policy)
        told.append(quarter)
    return told


def _choose_method(
    reviews: Reviews, before: list[Quarter], quarter: Quarter, policy: ForecastPolicy
) -> tuple[str, str]:
    """The model where it has beaten pooled rates out of time, by what was known before the quarter."""
    if quarter.model.trees is None:
        return POOLED, (
            f"{quarter.model.closed_deals} deals that had been reviewed were decided in the {policy.window_quarters} "
            f"quarters before, of at least {policy.closed_deals_floor}: pooled rates by stage and time in it"
        )
    judged = [
        (old.model_chances[:, 1, 0][known], old.pooled[:, 1, 0][known], won)
        for old in before
        for known, won in [_known_quarter(reviews, old, quarter.start)]
        if old.model.trees is not None
    ]
    if not judged or not sum(len(won) for _, _, won in judged):
        return POOLED, "no quarter before has been told by a model yet: pooled rates by stage and time in it"
    won = np.concatenate([part[2] for part in judged])
    of_model, of_pooled = (brier(np.concatenate([part[place] for part in judged]), won) for place in (0, 1))
    said = (
        f"in {len(judged)} quarter{'s' if len(judged) > 1 else ''} before, out of time, "
        f"Brier {of_model:.4f} for the model and {of_pooled:.4f} for pooled rates"
    )
    return (MODEL if of_model < of_pooled else POOLED), said


def _known_quarter(reviews: Reviews, quarter: Quarter, cutoff: int) -> tuple[Ints, Floats]:
    """Places of the quarter's reviews whose quarter had ended before the cut-off, and whether they were won in it."""
    ends = reviews.ends["quarter"][quarter.rows]
    known = np.flatnonzero((ends < cutoff) & (ends > reviews.day[quarter.rows]))
    rows = quarter.rows[known]
    return known, (reviews.result(rows, ends[known]) == WON).astype(np.float64)


def _calibrations(reviews: Reviews, before: list[Quarter], cutoff: int) -> list[Calibration]:
    """Of each horizon, learnt on reviews of quarters before whose horizon had ended before the cut-off."""
    told = [old for old in before if old.model.trees is not None]
    found = []
    for number, horizon in enumerate(HORIZONS):
        chances, outcomes = [], []
        for old in told:
            rows = is_known(reviews, old.rows, horizon, cutoff)
            chances.append(old.raw[np.searchsorted(old.rows, rows), number, 1])
            outcomes.append((reviews.result(rows, reviews.ends[horizon][rows]) == WON).astype(np.float64))
        found.append(choose_calibration(chances, outcomes))
    return found


class Shelf:
    """Models and what they said, kept between runs under a hash of everything they rest on.

    Args:
        folder: None keeps nothing and finds nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.trained = 0

    def model_and_chances(
        self,
        reviews: Reviews,
        base: Ints,
        rows: Ints,
        start: int,
        key: str,
        digests: dict[int, bytes],
        policy: ForecastPolicy,
        features: list[Feature],
    ) -> tuple[QuarterModel, Floats]:
        """The quarter's model, and its chances of the quarter's reviews before calibration."""
        model = self._read(key)
        if model is None:
            model = train(reviews, base, start, policy, features)
            self.trained += 1
            self._keep(key, model)
        days = np.unique(reviews.day[rows])
        kept = self._read_chances(key)
        raw = np.full((len(rows), len(HORIZONS), 3), np.nan)
        missing = []
        for day in days:
            here = np.flatnonzero(reviews.day[rows] == day)
            name = f"{day}-{digests[int(day)].hex()}"
            if name in kept and len(kept[name]) == len(here):
                raw[here] = kept[name]
            else:
                missing.append(here)
        if missing:
            places = np.concatenate(missing)
            # Each review's chance is a sum of its own: threads share the reviews, and change nothing.
            raw[places] = raw_chances(model, reviews, rows[places])
        if missing or len(kept) > len(days):
            self._keep_chances(
                key,
                {f"{day}-{digests[int(day)].hex()}": raw[reviews.day[rows] == day] for day in days},
            )
        return uncompiled(model), raw

    def clear_all_but(self, keys: list[str]) -> None:
        """Forgets what this run had no use for."""
        if self.folder is None or not self.folder.exists():
            return
        for path in self.folder.iterdir():
            if path.name.split(".")[0] not in keys:
                path.unlink()

    def _read(self, key: str) -> QuarterModel | None:
        if self.folder is None or not (self.folder / f"{key}.json").exists():
            return None
        return QuarterModel.from_json(json.loads((self.folder / f"{key}.json").read_text(encoding="utf-8")))

    def _keep(self, key: str, model: QuarterModel) -> None:
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            _put(self.folder / f"{key}.json", json.dumps(model.to_json()).encode())

    def _read_chances(self, key: str) -> dict[str, Floats]:
        if self.folder is None or not (self.folder / f"{key}.npz").exists():
            return {}
        with np.load(self.folder / f"{key}.npz", allow_pickle=False) as kept:
            return dict(kept)

    def _keep_chances(self, key: str, chances: dict[str, Floats]) -> None:
        if self.folder is not None:
            aside = self.folder / f"{key}.aside.npz"
            np.savez(aside, **chances)  # type: ignore[arg-type]
            os.replace(aside, self.folder / f"{key}.npz")


def _digests(reviews: Reviews) -> dict[int, bytes]:
    """Of each day's reviews a digest of everything the model may see of them."""
    if not len(reviews):
        return {}
    hashed = pd.util.hash_pandas_object(reviews.frame, index=False, categorize=True).to_numpy(dtype=np.uint64)
    days, first = np.unique(reviews.day, return_index=True)
    limits = [*first.tolist(), len(reviews)]
    return {
        int(day): hashlib.sha256(hashed[limits[n] : limits[n + 1]].tobytes()).digest()[:12]
        for n, day in enumerate(days)
    }


def _key(
    reviews: Reviews, base: Ints, start: int, digests: dict[int, bytes], policy: ForecastPolicy, features: list[Feature]
) -> str:
    """A hash of everything a quarter's model rests on: code, policy, features, reviews and outcomes known before it."""
    digest = hashlib.sha256(_code_digest().encode())
    digest.update(json.dumps([start, asdict(policy), [asdict(feature) for feature in features]]).encode())
    for day in np.unique(reviews.day[base]):
        digest.update(digests[int(day)])
    is_decided = reviews.closed_on[base] < start
    digest.update(np.where(is_decided, reviews.closed_on[base], FAR).tobytes())
    digest.update(np.where(is_decided, reviews.outcome[base], -1).tobytes())
    return digest.hexdigest()[:16]


def _code_digest() -> str:
    """Of the code that trains and tells, and of the library that grows the trees."""
    from importlib.metadata import version

    digest = hashlib.sha256(version("scikit-learn").encode())
    for name in ("features", "outcome_model", "reviews", "trees"):
        digest.update((Path(__file__).parent / f"{name}.py").read_bytes())
    return digest.hexdigest()


def _frames_hash(reviews: Reviews, deals: Deals) -> str:
    digest = hashlib.sha256()
    for day in _digests(reviews).values():
        digest.update(day)
    for values in (deals.closed_on, deals.outcome, deals.amount, deals.created_on):
        digest.update(values.tobytes())
    return digest.hexdigest()


def _quarter_of(reviews: Reviews, day: int) -> int:
    return int(reviews.calendar.start_of("quarter", np.array([day]))[0])


def _read_people(built: BuiltTables) -> tuple[pd.DataFrame, pd.DataFrame]:
    epoch = "cast('1970-01-01' as date)"
    lines = built.connection.execute(
        f"""
        select rep_id, manager_id, valid_from - {epoch} as valid_from, valid_to - {epoch} as valid_to
        from {built.name("intermediate", "int_reporting_lines_then")}
        order by all
        """
    ).df()
    jobs = built.connection.execute(
        f"""
        select
            rep_id,
            valid_from - {epoch} as valid_from,
            least(coalesce(valid_to - {epoch}, {FAR}), coalesce(terminated_on - {epoch}, {FAR})) as valid_to
        from {built.name("core", "reps")}
        where role in ('account_executive', 'account_manager')
        order by all
        """
    ).df()
    return lines, jobs


def _outcomes(reviews: Reviews, quarters: list[Quarter]) -> pd.DataFrame:
    parts = []
    for quarter in quarters:
        for method, chances in ((MODEL, quarter.model_chances), (POOLED, quarter.pooled)):
            if method == MODEL and quarter.model.trees is None:
                continue
            columns: dict[str, Any] = {
                "opportunity_id": reviews.frame["opportunity_id"].iloc[quarter.rows].to_numpy(dtype=object),
                "snapshot_date": reviews.day[quarter.rows],
                "method": method,
                "model_version": quarter.key if method == MODEL else None,
                "is_used": quarter.method == method,
                "amount_ratio": quarter.ratio.mean[reviews.kind[quarter.rows]],
            }
            for number, horizon in enumerate(HORIZONS):
                for place, outcome in enumerate(OUTCOMES):
                    columns[f"p_{outcome}_{horizon}"] = chances[:, number, place]
            parts.append(pd.DataFrame(columns))
    return pd.concat(parts) if parts else pd.DataFrame()


def _forecaster(
    reviews: Reviews,
    deals: Deals,
    lines: pd.DataFrame,
    jobs: pd.DataFrame,
    quarters: list[Quarter],
    policy: ForecastPolicy,
) -> Forecaster:
    bookings = find_bookings(deals)
    chance = np.full((len(reviews), len(HORIZONS)), np.nan)
    for quarter in quarters:
        used = quarter.model_chances if quarter.method == MODEL else quarter.pooled
        # As they are published.
        chance[quarter.rows] = np.round(used[:, :, 0], 6)
    ratio = {quarter.start: quarter.ratio for quarter in quarters}
    return Forecaster(
        reviews, deals, bookings, find_scopes(reviews, deals, bookings, lines, jobs), chance, ratio, policy
    )


def _periods(
    forecaster: Forecaster, quarters: list[Quarter], as_of: int
) -> tuple[pd.DataFrame, pd.DataFrame, dict[int, float]]:
    """Forecasts of ended and current periods out of time, the outlooks, and the common shock of each quarter."""
    forecasts: list[pd.DataFrame] = []
    outlooks: list[pd.DataFrame] = []
    shocks: dict[int, float] = {}
    if not quarters:
        return pd.DataFrame(), pd.DataFrame(), shocks
    policy, reviews = forecaster.policy, forecaster.reviews
    live = {quarter.start for quarter in quarters if quarter.method == MODEL}
    first = min(live) if live else quarters[-1].start
    seen: list[tuple[Cell, float]] = []
    for cell, weeks in past_cells(forecaster, first, as_of):
        quarter = _quarter_of(reviews, cell.day)
        if quarter not in shocks:
            shocks[quarter] = learn_shock(seen, quarter, policy)
        if cell.period == "quarter":
            seen.append((cell, float(forecaster.booked(cell.start, cell.end)[0])))
        if quarter in live:
            forecasts.append(_forecast_rows(forecaster, cell, weeks, shocks[quarter]))
    quarter = _quarter_of(reviews, as_of)
    shock = shocks.setdefault(quarter, learn_shock(seen, quarter, policy))
    method = POOLED
    if quarters[-1].start == quarter:
        method = quarters[-1].method
    for cell, horizon in _cells_to_come(forecaster, as_of):
        outlook = draw_outlook(forecaster, cell, horizon, shock)
        scope = outlook.scope
        count, unknown = (values[scope] for values in forecaster.unknown(cell, horizon))
        is_told = count - unknown >= policy.outlook_known_share * count
        outlooks.append(
            pd.DataFrame(
                {
                    "period_type": cell.period,
                    "period_start": cell.start,
                    "period_end": cell.end,
                    "scope_type": [forecaster.scopes.types[place] for place in scope],
                    "scope_id": [forecaster.scopes.ids[place] for place in scope],
                    "method": method,
                    "booked": cell.booked[scope],
                    "from_open_deals": np.where(is_told, cell.open_mean[scope], np.nan),
                    "from_new_deals": cell.new_mean[scope],
                    "median": np.where(is_told, outlook.median, np.nan),
                    "p10": np.where(is_told, outlook.p10, np.nan),
                    "p90": np.where(is_told, outlook.p90, np.nan),
                    "common_shock": shock,
                    "reason": [
                        None
                        if told
                        else f"{lacking:.0f} of {n:.0f} open deals have no chance or no amount that is known"
                        for told, lacking, n in zip(is_told, unknown, count, strict=True)
                    ],
                }
            )
        )
    return (
        pd.concat(forecasts) if forecasts else pd.DataFrame(),
        pd.concat(outlooks) if outlooks else pd.DataFrame(),
        shocks,
    )


def _cells_to_come(forecaster: Forecaster, as_of: int) -> list[tuple[Cell, str]]:
    calendar = forecaster.reviews.calendar
    here = np.array([as_of])
    found = []
    for period in ("month", "quarter"):
        start, end = int(calendar.start_of(period, here)[0]), int(calendar.end_of(period, here)[0])
        found.append((forecaster.cell(period, start, end, as_of, period), period))
        after = np.array([end + 1])
        next_end = int(calendar.end_of(period, after)[0])
        found.append((forecaster.cell(period, end + 1, next_end, as_of, f"next_{period}"), f"next_{period}"))
    return found


def _forecast_rows(forecaster: Forecaster, cell: Cell, weeks: int, shock: float) -> pd.DataFrame:
    forecast, low, high = range_of(cell, shock)
    there = np.flatnonzero(cell.is_there)
    return pd.DataFrame(
        {
            "period_type": cell.period,
            "period_start": cell.start,
            "scope_type": [forecaster.scopes.types[place] for place in there],
            "scope_id": [forecaster.scopes.ids[place] for place in there],
            "weeks_before_end": weeks,
            "forecast_on": cell.day,
            "forecast_amount": forecast[there],
            "low": low[there],
            "high": high[there],
        }
    )


def _models(
    reviews: Reviews, quarters: list[Quarter], shocks: dict[int, float], refused: list[str], as_of: int
) -> pd.DataFrame:
    """A row a quarter: what it was told with and why, and how the two methods did in it, as far as it has ended."""
    rows = []
    for quarter in quarters:
        known, won = _known_quarter(reviews, quarter, as_of + 1)
        of_model, of_pooled = quarter.model_chances[known, 1, 0], quarter.pooled[known, 1, 0]
        has_model = quarter.model.trees is not None and len(won) > 0
        has_pooled = len(won) > 0 and not np.isnan(of_pooled).any()
        rows.append(
            {
                "quarter_start": quarter.start,
                "method": quarter.method,
                "reason": quarter.reason,
                "calibration": quarter.calibrations[HORIZONS.index("quarter")].kind,
                "model_version": quarter.key,
                "data_hash": quarter.key,
                "features_refused": " ".join([*refused, *quarter.model.refused]),
                "feature_count": len(set(quarter.model.columns.features)),
                "closed_deals": quarter.model.closed_deals,
                "pairs": quarter.model.pairs,
                "n": len(won),
                "model_brier": brier(of_model, won) if has_model else np.nan,
                "stage_age_brier": brier(of_pooled, won) if has_pooled else np.nan,
                "model_log_loss": log_loss(of_model, won) if has_model else np.nan,
                "stage_age_log_loss": log_loss(of_pooled, won) if has_pooled else np.nan,
                "common_shock": shocks.get(quarter.start, np.nan),
            }
        )
    return pd.DataFrame(rows)


def _records(models: pd.DataFrame) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    for row in models.to_dict("records"):
        record = {str(name): (None if value != value else value) for name, value in row.items()}
        record["quarter_start"] = text_of(int(row["quarter_start"]))
        records.append(record)
    return records


def _write(settings: Settings, frames: dict[str, pd.DataFrame], newest: Quarter | None, prediction: Prediction) -> None:
    """Writes every table aside and puts them in place by one rename."""
    folder = settings.predictions
    aside = folder.with_name(f".{folder.name}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    with duckdb.connect() as connection:
        for table, types in TABLES.items():
            frame = frames.get(table)
            file = literal(str(aside / f"{table}.parquet"))
            if frame is None or not len(frame):
                columns = ", ".join(f"cast(null as {kind}) as {name}" for name, kind in types.items())
                query = f"select {columns} where false"
            else:
                connection.register("told", frame)
                columns = ", ".join(_cast(name, kind) for name, kind in types.items())
                query = f"select {columns} from told order by all"
            connection.execute(f"copy ({query}) to {file} (format parquet, compression zstd)")
    model = {
        **asdict(prediction),
        "calibrations": {
            horizon: asdict(calibration)
            for horizon, calibration in zip(HORIZONS, newest.calibrations if newest else [], strict=False)
        },
        "trees": newest.model.to_json() if newest else None,
        "features_known_because": {feature.name: feature.why_known for feature in FEATURES},
    }
    (aside / "model.json").write_text(json.dumps(model), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(aside, folder)


def _cast(name: str, kind: str) -> str:
    """A column in its type; money to cents and shares to six digits, and what is no number is not known.

    Halves go up, but the ends of a range outward, so that no result is outside by less than a cent.
    """
    if kind == "date":
        return f"cast('1970-01-01' as date) + cast({name} as integer) as {name}"
    if kind in (SHARE, MONEY):
        # What is booked ties to the deals behind it to the last digit.
        digits = 1_000_000 if kind == SHARE else 10_000 if name == "booked" else 100
        if name in LOWER_ENDS + UPPER_ENDS:
            # A double is not exact: a ten-thousandth of a cent is nothing.
            whole = f"{'floor' if name in LOWER_ENDS else 'ceil'}(round({name} * {digits}, 4))"
        else:
            whole = f"floor({name} * {digits} + 0.5)"
        return f"cast(case when not isnan({name}) then {whole} / {digits} end as {kind}) as {name}"
    return f"cast({name} as {kind}) as {name}"


def _put(path: Path, content: bytes) -> None:
    aside = path.with_suffix(".aside")
    aside.write_bytes(content)
    os.replace(aside, path)
