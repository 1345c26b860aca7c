"""The outcome model: nothing it could not know, the same answer every time, forecasts that follow from its chances."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import duckdb
import numpy as np
import pandas as pd
import pytest

from orchestration.forecasting.factors import _texts, _usual
from orchestration.forecasting.features import (
    FEATURES,
    NUMBER,
    Columns,
    Feature,
    choose_columns,
    refuse_afterthoughts,
    unlisted,
)
from orchestration.forecasting.outcome_model import QuarterModel, base_rows, choose_calibration, train
from orchestration.forecasting.periods import Cell, Forecaster, draw_outlook, range_of
from orchestration.forecasting.policy import ForecastPolicy, forecast_policy
from orchestration.forecasting.pooled import pooled_chances
from orchestration.forecasting.predicting import (
    Shelf,
    _cast,
    _forecaster,
    _periods,
    _read_people,
    predict,
    tell_quarters,
)
from orchestration.forecasting.reviews import FAR, LOST, WON, Calendar, Clock, Deals, Reviews, read_reviews
from orchestration.forecasting.trees import Trees, grow
from orchestration.settings import Settings
from orchestration.warehouse.tables import built_tables
from tests.conftest import DEMO_AS_OF, DEMO_PAST, Run
from tests.warehouse import Warehouse

TABLES = [
    "funnel.deal_health",
    "forecast_accuracy.calibration",
    "forecast_accuracy.outlook",
    "forecast_accuracy.outlook_drivers",
    "forecast_accuracy.outcome_models",
    "forecast_accuracy.prediction_factors",
    "intermediate.int_model_forecasts",
    "intermediate.int_outcome_predictions",
]


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory, demo_run: Run, demo_extract: Path) -> Warehouse:
    made = Warehouse(demo_run, tmp_path_factory.mktemp("outcomes") / "home", TABLES)
    made.load([demo_extract])
    made.build(DEMO_AS_OF)
    return made


@pytest.fixture(scope="module")
def policy() -> ForecastPolicy:
    return forecast_policy()


@pytest.fixture(scope="module")
def read(warehouse: Warehouse, policy: ForecastPolicy) -> tuple[Reviews, Deals]:
    with built_tables(warehouse.settings, "duckdb") as built:
        return read_reviews(built, policy)


@pytest.fixture(scope="module")
def forecaster(warehouse: Warehouse, read: tuple[Reviews, Deals], policy: ForecastPolicy) -> Forecaster:
    reviews, deals = read
    with built_tables(warehouse.settings, "duckdb") as built:
        lines, jobs = _read_people(built)
    quarters = tell_quarters(reviews, deals, policy, Shelf(warehouse.settings.kept_models), FEATURES)
    return _forecaster(reviews, deals, lines, jobs, quarters, policy)


def rows_of(warehouse: Warehouse, query: str) -> pd.DataFrame:
    with duckdb.connect(str(warehouse.database), read_only=True) as connection:
        return connection.execute(query).df()


def hashes(warehouse: Warehouse) -> dict[str, str]:
    files = sorted(warehouse.settings.predictions.glob("*.parquet"))
    assert len(files) == 6
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def last_quarter(reviews: Reviews, policy: ForecastPolicy) -> tuple[np.ndarray, int]:
    starts = np.unique(reviews.quarter)
    return base_rows(reviews, starts, len(starts) - 1, policy), int(starts[-1])


# Nothing it could not know


def test_a_column_that_tells_the_outcome_is_refused_with_a_sentence_and_changes_nothing(
    read: tuple[Reviews, Deals], policy: ForecastPolicy
) -> None:
    reviews, _ = read
    base, cutoff = last_quarter(reviews, policy)
    honest = train(reviews, base, cutoff, policy)
    assert honest.trees is not None and honest.refused == []
    planted = copy.copy(reviews)
    decided = reviews.closed_on < FAR
    noise = np.random.default_rng(1).normal(0, 0.05, len(reviews))
    planted.frame = reviews.frame.assign(
        # What a CRM makes of the probability when a deal closes, and a reason that is asked for when it does.
        final_probability=np.where(decided, (reviews.outcome == WON) * 1.0, 0.4) + noise,
        loss_reason_length=np.where(decided, 12.0, np.nan),
    )
    leaks = [
        Feature("final_probability", NUMBER, "it is not"),
        Feature("loss_reason_length", NUMBER, "it is not"),
    ]
    usable, refused = refuse_afterthoughts(planted.frame, [*FEATURES, *leaks], decided, policy.leak_filled_share)
    model = train(planted, base, cutoff, policy, usable)
    assert {leak.name for leak in leaks} & set(model.columns.features) == set()
    (oracle,), (afterthought,) = model.refused, refused
    assert oracle.startswith("final_probability is refused: alone it tells won from other deals with 0.99")
    assert afterthought.startswith(
        "loss_reason_length is refused: filled on 100% of reviews of decided deals and 0% of"
    )
    assert json.dumps(model.to_json()["trees"]) == json.dumps(honest.to_json()["trees"])
    # On nobody's list, it is not even tried.
    assert [sentence.split(" ")[0] for sentence in unlisted(planted.frame)] == [leak.name for leak in leaks]
    assert unlisted(reviews.frame) == []


def test_what_happened_after_the_quarter_began_changes_nothing_about_its_model(
    read: tuple[Reviews, Deals], policy: ForecastPolicy
) -> None:
    reviews, _ = read
    starts = np.unique(reviews.quarter)
    place = len(starts) - 3
    base, cutoff = base_rows(reviews, starts, place, policy), int(starts[place])
    later = reviews.closed_on >= cutoff
    assert 100 < later[base].sum() < len(base)
    other = copy.copy(reviews)
    draw = np.random.default_rng(2)
    other.closed_on = np.where(later, cutoff + draw.integers(0, 500, len(reviews)), reviews.closed_on)
    other.outcome = np.where(later, draw.integers(WON, LOST + 1, len(reviews)), reviews.outcome)
    assert (other.outcome[base] != reviews.outcome[base]).any()
    told, again = (train(some, base, cutoff, policy).to_json() for some in (reviews, other))
    assert told["trees"] and json.dumps(told) == json.dumps(again)


@pytest.mark.long
def test_a_past_day_told_again_is_told_the_same_with_and_without_what_was_kept(
    warehouse: Warehouse, read: tuple[Reviews, Deals]
) -> None:
    warehouse.build(DEMO_PAST)
    first = hashes(warehouse)
    warehouse.build(DEMO_AS_OF)
    today = hashes(warehouse)
    assert today != first
    build = replace(warehouse.built, as_of_date=DEMO_AS_OF.isoformat())
    # With every model at hand nothing is trained; with none everything is.
    assert predict(warehouse.settings, build).trained == 0
    assert hashes(warehouse) == today
    assert predict(warehouse.settings, build, use_kept=False).trained > 10
    assert hashes(warehouse) == today
    shutil.rmtree(warehouse.settings.kept_models)
    warehouse.build(DEMO_PAST)
    assert hashes(warehouse) == first
    warehouse.build(DEMO_AS_OF)
    assert hashes(warehouse) == today


# What it says


def test_a_model_is_in_use_and_its_record_says_why(warehouse: Warehouse) -> None:
    models = rows_of(warehouse, "select * from forecast_accuracy.outcome_models order by quarter_start")
    assert {"model", "stage_age"} == set(models["method"])
    told = models[models["method"] == "model"]
    assert told["reason"].str.contains("out of time, Brier").all()
    assert (told["closed_deals"] >= 200).all() and (told["pairs"] > 1000).all()
    below = models[models["closed_deals"] < 200]
    assert (below["method"] == "stage_age").all()


def test_chances_are_shares_of_one_and_grow_with_the_horizon(warehouse: Warehouse) -> None:
    wrong = rows_of(
        warehouse,
        """
        select * from intermediate.int_outcome_predictions
        where
            not (p_win + p_lose + p_no_decision + p_slip = 1 and least(p_win, p_lose, p_no_decision, p_slip) >= 0)
            or (method = 'model' and not (p_win_month <= p_win_quarter and p_win_quarter <= p_win_next_quarter))
        """,
    )
    assert len(wrong) == 0
    assert len(rows_of(warehouse, "from intermediate.int_outcome_predictions where p_win between 0.05 and 0.95")) > 500


def test_deal_health_tells_the_chances_of_the_method_in_use(warehouse: Warehouse) -> None:
    health = rows_of(
        warehouse,
        """
        select health.*, told.p_win as told_p_win, told.method
        from funnel.deal_health as health
        inner join intermediate.int_outcome_predictions as told
            on health.opportunity_id = told.opportunity_id and health.as_of_date = told.snapshot_date
        """,
    )
    assert len(health) > 10 and set(health["p_method"]) == {"model"}
    assert (health["p_win"] == health["told_p_win"].astype(float)).all()
    assert np.allclose(health["p_win"] + health["p_slip"] + health["p_lose"], 1)
    assert (health["p_no_decision"] <= health["p_lose"]).all()
    assert (health["p_win_pooled"] != health["p_win"]).any()


def test_calibration_can_be_worked_out_from_the_predictions(warehouse: Warehouse, read: tuple[Reviews, Deals]) -> None:
    reviews, _ = read
    told = rows_of(warehouse, "from staging.stg_predictions__outcomes where method = 'model'")
    frame = pd.DataFrame(
        {
            "opportunity_id": reviews.frame["opportunity_id"],
            "snapshot_date": reviews.frame["snapshot_date"],
            "end": reviews.ends["quarter"],
            "day": reviews.day,
            "is_week_end": reviews.is_week_end,
            "won": ((reviews.closed_on <= reviews.ends["quarter"]) & (reviews.outcome == WON)) * 1.0,
        }
    )
    both = told.merge(frame, on=["opportunity_id", "snapshot_date"])
    both = both[both["is_week_end"] & (both["end"] > both["day"])]
    both = both[both["end"] <= int(np.datetime64(DEMO_AS_OF).astype(int))]
    p, won = both["p_win_quarter"].astype(float), both["won"]
    (row,) = rows_of(
        warehouse, "from forecast_accuracy.calibration where method = 'model' and horizon = 'quarter' and bin = 'all'"
    ).to_dict("records")
    assert row["n"] == len(both) > 500
    assert row["mean_predicted"] == pytest.approx(p.mean())
    assert row["observed_rate"] == pytest.approx(won.mean())
    assert row["brier"] == pytest.approx(((p - won) ** 2).mean())
    held = np.where(won == 1, p, 1 - p).clip(1e-6)
    assert row["log_loss"] == pytest.approx(-np.log(held).mean(), abs=1e-6)
    assert row["skill"] == pytest.approx(1 - row["brier"] / row["base_brier"])
    tenth = both[(p >= 0.3) & (p < 0.4)]
    (row,) = rows_of(
        warehouse, "from forecast_accuracy.calibration where method = 'model' and horizon = 'quarter' and bin_low = 0.3"
    ).to_dict("records")
    assert (row["n"], row["deal_count"]) == (len(tenth), tenth["opportunity_id"].nunique())
    assert row["observed_low"] <= row["observed_rate"] <= row["observed_high"] and np.isnan(row["skill"])


def test_the_outlook_follows_from_bookings_and_chances(warehouse: Warehouse) -> None:
    outlook = rows_of(warehouse, "from forecast_accuracy.outlook")
    assert (outlook["p10"] <= outlook["median"]).all() and (outlook["median"] <= outlook["p90"]).all()
    assert set(outlook["scope_type"]) == {"company", "region", "segment", "manager", "seller"}
    assert len(outlook.groupby(["period_type", "period_start"])) == 4
    (row,) = outlook[
        (outlook["scope_type"] == "company") & (outlook["period_type"] == "quarter") & ~outlook["is_current"]
    ].to_dict("records")
    expected = rows_of(
        warehouse,
        """
        select sum(
            (told.p_win_next_quarter - told.p_win_quarter) * cast(told.amount_ratio * seen.amount as double)
        ) as amount
        from intermediate.int_outcome_predictions as told
        inner join intermediate.int_outcome_features as seen using (opportunity_id, snapshot_date)
        where told.snapshot_date = (select max(as_of_date) from core.opportunities)
        """,
    )["amount"][0]
    assert float(row["from_open_deals"]) == pytest.approx(float(expected), rel=1e-4)
    assert row["booked"] == 0 and row["from_new_deals"] > 0 and row["method"] == "model"
    (now,) = outlook[
        (outlook["scope_type"] == "company") & (outlook["period_type"] == "quarter") & outlook["is_current"]
    ].to_dict("records")
    won = rows_of(
        warehouse,
        f"""
        select sum(amount) as amount from core.opportunities
        where is_won and not is_deleted and closed_on between '{now["period_start"]}' and '{now["period_end"]}'
        """,
    )["amount"][0]
    assert now["booked"] == won and now["commit_amount"] > 0 and now["target"] > 0


def test_drivers_are_told_for_the_company_and_its_managers_and_at_most_as_many_as_policy_says(
    warehouse: Warehouse,
) -> None:
    drivers = rows_of(warehouse, "from forecast_accuracy.outlook_drivers")
    assert {"company", "manager"} == set(drivers["scope_type"])
    assert drivers["rank"].max() <= 10
    assert (drivers[drivers["kind"] == "uncertain"]["swing_amount"] > 0).all()
    assert (drivers[drivers["kind"] == "changed"]["change_amount"] != 0).all()


def test_factors_are_few_sorted_and_unlike_won_deals(warehouse: Warehouse) -> None:
    factors = rows_of(warehouse, "from forecast_accuracy.prediction_factors order by opportunity_id, rank")
    assert factors["opportunity_id"].nunique() > 10
    assert (factors.groupby("opportunity_id").size() <= 5).all()
    size = factors["contribution"].astype(float).abs()
    assert (size.groupby(factors["opportunity_id"]).diff().dropna() <= 0).all()
    assert (factors["value"] != factors["won_median"]).all() and (size >= 0.005).all()
    assert factors[["value", "won_median"]].notna().to_numpy().all()


def test_where_most_won_deals_have_no_value_that_is_the_usual() -> None:
    """Of 40 won deals one had changed hands, 21 have an amount and 20 a region."""
    reviews = Reviews.__new__(Reviews)
    reviews.frame = pd.DataFrame(
        {
            "owner_days": [12.0] + [np.nan] * 40,
            "amount": [float(place) for place in range(1, 22)] + [np.nan] * 20,
            "region": ["North"] * 20 + [None] * 21,
        }
    )
    reviews.deal = np.arange(41)
    won, rows, stage = np.arange(40), np.array([40]), np.zeros(41)
    features = {feature.name: feature for feature in FEATURES}
    told = {
        name: _texts(_usual(reviews, won, rows, stage, features[name]), features[name])
        for name in ("owner_days", "amount", "region")
    }
    assert told == {"owner_days": ["never"], "amount": ["11"], "region": ["North"]}
    reviews.frame["region"] = ["North"] * 19 + [None] * 22
    assert _texts(_usual(reviews, won, rows, stage, features["region"]), features["region"]) == ["none"]


def test_ends_of_a_range_are_rounded_outward_and_nothing_else_is() -> None:
    """All of 29,473.9466 is booked: to the nearest cent it would lie below its own range."""
    known = 29473.9466
    value = {"low": known, "high": known, "p10": 0.1 + 0.2, "p90": 100.1, "median": known, "booked": 0.07}
    with duckdb.connect() as connection:
        connection.register("told", pd.DataFrame([value, dict.fromkeys(value, float("nan"))]))
        columns = ", ".join(_cast(name, "decimal(18, 4)") for name in value)
        rounded, unknown = connection.execute(f"select {columns} from told").fetchall()
    assert [str(amount) for amount in rounded] == [
        "29473.9400", "29473.9500", "0.3000", "100.1000", "29473.9500", "0.0700",
    ]  # fmt: skip
    assert unknown == (None,) * len(value)


# How it is put together


def test_two_moments_and_drawn_outcomes_give_the_same_range(full_run: Run, policy: ForecastPolicy) -> None:
    """With as many deals as a company has; of a few dozen the sums are lumpier than two moments can say."""
    settings = Settings(home=full_run.home, _env_file=None)  # type: ignore[call-arg]
    with built_tables(settings, "duckdb") as built:
        reviews, deals = read_reviews(built, policy)
        lines, jobs = _read_people(built)
    quarters = tell_quarters(reviews, deals, policy, Shelf(settings.kept_models), FEATURES)
    forecaster = _forecaster(reviews, deals, lines, jobs, quarters, policy)
    left = reviews.ends["quarter"] - reviews.day
    days = np.unique(reviews.day[reviews.is_week_end & (left > 40) & (left < 70)])
    shock = 0.08
    for day in [int(day) for day in days[-8:]]:
        here = np.array([day])
        start, end = (int(of("quarter", here)[0]) for of in (reviews.calendar.start_of, reviews.calendar.end_of))
        cell = forecaster.cell("quarter", start, end, day, "quarter")
        _, low, high = range_of(cell, shock)
        drawn = draw_outlook(forecaster, cell, "quarter", shock)
        assert drawn.scope[0] == 0
        to_come = float(cell.open_mean[0] + cell.new_mean[0])
        assert to_come > 0
        # The company, and the same deals under its one head.
        heads = [n for n, s in enumerate(drawn.scope) if forecaster.scopes.types[s] == "manager"]
        widest = max(heads, key=lambda n: cell.open_mean[drawn.scope[n]])
        for drawn_end, told_end in (
            (drawn.p10[0], low[0]),
            (drawn.p90[0], high[0]),
            (drawn.p90[widest], high[drawn.scope[widest]]),
        ):
            assert abs(drawn_end - told_end) < 0.02 * to_come, day


def test_a_shock_shared_by_all_deals_widens_the_range(forecaster: Forecaster) -> None:
    cell = Cell("quarter", 0, 90, 30, *(np.array([x]) for x in (0.0, 100.0, 25.0, 0.0, 0.0)), np.array([True]))
    _, low, high = range_of(cell, 0.0)
    assert (low[0], high[0]) == (pytest.approx(93.6, abs=0.3), pytest.approx(106.4, abs=0.3))
    _, low, high = range_of(cell, 0.2)
    assert (low[0], high[0]) == (pytest.approx(74.5, abs=0.7), pytest.approx(126.9, abs=0.7))


def test_an_outlook_is_told_where_at_least_half_of_the_open_deals_are_known(
    forecaster: Forecaster, read: tuple[Reviews, Deals]
) -> None:
    reviews, _ = read
    as_of = int(np.datetime64(DEMO_AS_OF).astype(int))
    rows = forecaster.rows_on(as_of)
    count = len(rows)
    assert count >= 10
    quarter = SimpleNamespace(start=int(reviews.calendar.start_of("quarter", np.array([as_of]))[0]), method="stage_age")
    for unknown, is_told in ((0, True), (count // 2, True), (count // 2 + 1, False), (count, False)):
        chance = forecaster.chance.copy()
        chance[rows[:unknown]] = np.nan
        _, outlooks, _ = _periods(replace(forecaster, chance=chance), [quarter], as_of)  # type: ignore[list-item]
        company = outlooks[outlooks["scope_type"] == "company"]
        assert len(company) == 4
        told = company[["from_open_deals", "median", "p10", "p90"]].notna()
        assert told.to_numpy().all() if is_told else not told.to_numpy().any(), unknown
        assert company[["booked", "from_new_deals"]].notna().to_numpy().all()
        reason = f"{unknown} of {count} open deals have no chance or no amount that is known"
        assert company["reason"].dropna().tolist() == ([] if is_told else [reason] * 4)
        # Each seller by the seller's own deals.
        owners = reviews.frame["owner_id"].iloc[rows].reset_index(drop=True)
        lacking = owners[:unknown].value_counts().reindex(owners.unique(), fill_value=0)
        dark = set(lacking.index[lacking * 2 > owners.value_counts().reindex(lacking.index)])
        sellers = outlooks[outlooks["scope_type"] == "seller"]
        assert set(sellers.loc[sellers["reason"].notna(), "scope_id"]) == dark


def test_pooled_rates_are_drawn_towards_the_wider_group() -> None:
    """Ten reviews: eight in stage 1, four of them won; two in stage 2, both won. Strength 10."""
    count = 11
    some = np.zeros(count, dtype=np.int64)
    reviews = Reviews.__new__(Reviews)
    reviews.day = np.full(count, 100)
    reviews.ends = {"days": np.full(count, 190)}
    reviews.closed_on = np.full(count, 150)
    reviews.outcome = np.array([WON] * 4 + [LOST] * 4 + [WON] * 2 + [LOST])
    reviews.stage = np.array([1] * 8 + [2] * 2 + [2])
    reviews.time = some
    known = np.arange(10)
    chances, base_rate = pooled_chances(reviews, known, np.array([10]), "days", 191, 10)
    assert base_rate == pytest.approx(0.6)
    by_stage = (2 + 10 * 0.6) / 12
    by_week = (2 + 10 * by_stage) / 12
    assert chances[0, 0] == pytest.approx((2 + 10 * by_week) / 12)
    # A day earlier the horizon had not ended, and nothing was known.
    chances, base_rate = pooled_chances(reviews, known, np.array([10]), "days", 190, 10)
    assert np.isnan(chances).all() and np.isnan(base_rate)
    # Reviews of deals that never end say nothing about how deals end.
    reviews.closed_on = np.full(count, 191)
    chances, base_rate = pooled_chances(reviews, known, np.array([10]), "days", 191, 10)
    assert np.isnan(chances).all() and np.isnan(base_rate)


def reviews_of(calendar: Calendar, day: list[int], closed_on: list[int], **columns: list[int]) -> Reviews:
    """Reviews at week ends, won deals unless said otherwise, of one type in one stage."""
    reviews = Reviews.__new__(Reviews)
    count = len(day)
    reviews.calendar, reviews.day, reviews.closed_on = calendar, np.array(day), np.array(closed_on)
    reviews.close_on = np.full(count, FAR)
    reviews.outcome = np.array(columns.get("outcome", [WON] * count))
    reviews.stage, reviews.stages = np.array(columns.get("stage", [1] * count)), ["", "First", "Second"]
    reviews.kind, reviews.kinds = np.array(columns.get("kind", [0] * count)), ["new_business", "renewal"]
    reviews.is_week_end = np.array(columns.get("is_week_end", [1] * count), dtype=bool)
    return reviews


@pytest.fixture
def two_years() -> Calendar:
    """2024 and 2025 by calendar quarters."""
    days = pd.date_range("2024-01-01", "2025-12-31", unit="s")
    numbers = {
        name: moved.to_numpy(dtype="datetime64[D]").astype(np.int64)
        for name, moved in (
            ("first", days.to_period("Q").start_time.normalize()),
            ("last", days.to_period("Q").end_time.normalize()),
        )
    }
    return Calendar(
        first=int(np.datetime64("2024-01-01").astype(int)),
        starts={"quarter": numbers["first"]},
        ends={"quarter": numbers["last"]},
        season=days.quarter.to_numpy(dtype=np.int64) - 1,
    )


def day_of(text: str) -> int:
    return int(np.datetime64(text).astype(int))


def test_the_pace_of_a_week_is_its_seasons_drawn_to_that_of_all(two_years: Calendar) -> None:
    """Eight hundred reviews, of which a hundred end within the week: one in eight is usual."""
    # Three days after a review its week has one whole week left of the quarter, or five.
    first, second, early = day_of("2024-03-18"), day_of("2024-06-17"), day_of("2024-02-19")
    day = [first] * 200 + [second] * 200 + [early] * 400
    ends = [first + 7] * 100 + [first + 8] * 100 + [FAR] * 600
    reviews = reviews_of(two_years, day, ends)
    pace = np.array(reviews.learn_clock(np.arange(800), day_of("2024-07-01")).pace)
    # One week left: 100 ended of 50 expected in all seasons; of the 25 of a season all 100 and none.
    every = (100 + 50) / (50 + 50)
    assert pace[0, 1] == pytest.approx((100 + 50) / (25 + 50 / every))
    assert pace[1, 1] == pytest.approx((0 + 50) / (25 + 50 / every))
    assert pace[2:, 1] == pytest.approx([every] * 2)
    # Five weeks left: none of 50 expected, all of them in the first season.
    every = (0 + 50) / (50 + 50)
    assert pace[0, 5] == pytest.approx((0 + 50) / (50 + 50 / every))
    assert pace[1:, 5] == pytest.approx([every] * 3)
    assert (np.delete(pace, [1, 5], axis=1) == 1).all()
    # A week that is not over on the day before the quarter says nothing: those of June are the first left out.
    fewer = np.array(reviews.learn_clock(np.arange(800), second + 7).pace)
    assert fewer[1, 1] == pytest.approx((100 + 50) / (200 * 100 / 600 + 50))


def test_a_deal_needs_what_won_deals_of_its_type_took_from_its_stage(two_years: Calendar) -> None:
    took = [20] * 30 + [40] * 29 + [1] * 30 + [300, 9, 9]
    start = day_of("2024-02-05")
    reviews = reviews_of(
        two_years,
        [start] * len(took),
        [start + days for days in took],
        stage=[1] * 30 + [2] * 29 + [1] * 30 + [2, 2, 2],
        kind=[0] * 59 + [1] * 30 + [0, 0, 0],
        # The last three are known too late, no review of a week's end, and lost.
        is_week_end=[1] * 90 + [0, 1],
        outcome=[WON] * 91 + [LOST],
    )
    clock = reviews.learn_clock(np.arange(len(took)), start + 300)
    # Twenty-nine reviews are too few for a time of their own; less than three days are taken for three.
    assert clock.needed == {"new_business": {"First": 20.0}, "renewal": {"First": 3.0}}
    assert clock.usual == 20.0
    assert Clock(**json.loads(json.dumps(asdict(clock)))) == clock
    asked = np.array([0, 30, 59])
    columns = reviews.horizon_columns(asked, np.full(3, start + 14), replace(clock, pace=np.ones((4, 14)).tolist()))
    assert columns[:, 0].tolist() == [14, 14, 14]
    assert columns[:, 3] == pytest.approx([14 / 20, 14 / 20, 14 / 3])
    # Nothing won yet: time is told as it is, in threes of days.
    none = reviews.learn_clock(np.arange(len(took)), start)
    assert (none.needed, none.usual) == ({}, 3.0)


def test_calibration_mends_chances_that_are_too_sure_and_leaves_good_ones_alone() -> None:
    draw = np.random.default_rng(3)
    true = draw.random(20_000)
    won = (draw.random(20_000) < true) * 1.0
    sure = true**2 / (true**2 + (1 - true) ** 2)
    parts = [slice(0, 7000), slice(7000, 14_000), slice(14_000, 20_000)]
    mended = choose_calibration([sure[part] for part in parts], [won[part] for part in parts])
    assert mended.kind in ("platt", "isotonic")
    assert np.abs(mended.apply(sure) - true).mean() < 0.02 < np.abs(sure - true).mean()
    kept = choose_calibration([true[part] for part in parts], [won[part] for part in parts])
    assert np.abs(kept.apply(true) - true).mean() < 0.02
    # Two quarters are nothing to judge by.
    assert choose_calibration([sure[part] for part in parts[:2]], [won[part] for part in parts[:2]]).kind == "none"


def test_calibration_that_would_mend_one_quarter_and_spoil_the_next_is_none() -> None:
    """Chances that are too high by turns and too low: what one quarter teaches is wrong in another."""
    draw = np.random.default_rng(8)
    told = [draw.random(4000) for _ in range(6)]
    outcomes = [
        (draw.random(4000) < np.clip(chance + (0.15 if turn % 2 else -0.15), 0, 1)).astype(np.float64)
        for turn, chance in enumerate(told)
    ]
    assert choose_calibration(told, outcomes).kind == "none"
    # Too high by as much every time is mended.
    steady = [(draw.random(4000) < np.clip(chance - 0.15, 0, 1)).astype(np.float64) for chance in told]
    assert choose_calibration(told, steady).kind != "none"


def test_trees_read_from_json_say_to_the_bit_what_the_library_said() -> None:
    draw = np.random.default_rng(4)
    matrix = draw.normal(size=(3000, 5))
    matrix[draw.random(matrix.shape) < 0.1] = np.nan
    won = np.nan_to_num(matrix[:, 0]) + draw.normal(size=3000) > 0
    grown = grow(matrix, won, 20, 0.1)
    read = Trees.from_json(json.loads(json.dumps(grown.to_json())))
    assert grown.compiled is not None and read.compiled is None
    assert np.array_equal(read.chance(matrix), grown.chance(matrix))
    assert read.chance(matrix).std() > 0.1


def test_a_number_that_is_never_known_is_in_no_tree_and_stops_nobody() -> None:
    draw = np.random.default_rng(5)
    matrix = draw.normal(size=(400, 3))
    won = matrix[:, 0] > 0
    matrix[:, 1] = np.nan
    grown = grow(matrix, won, 5, 0.1)
    assert set(grown.column[grown.left != np.arange(len(grown.left))]) <= {0, 2}
    assert ((grown.chance(matrix) > 0.5) == won).mean() > 0.9
    frame = pd.DataFrame({"amount": [1.0, None], "owner_days": [None, None], "segment": ["SMB", None]})
    listed = [feature for feature in FEATURES if feature.name in frame]
    assert choose_columns(frame, listed) == Columns(["segment", "amount"], ["SMB", None])


def test_below_the_data_floor_pooled_rates_are_told_and_the_library_is_not_even_loaded(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    shutil.copytree(warehouse.settings.warehouse.parent, home / "warehouse")
    program = f"""
import sys
from dataclasses import asdict, replace
from pathlib import Path
from orchestration.forecasting import predicting
from orchestration.publish.candidate import read_build
from orchestration.settings import Settings
policy = replace(predicting.forecast_policy(), closed_deals_floor=10**6)
predicting.forecast_policy = lambda: policy
settings = Settings(home=Path({str(home)!r}), _env_file=None)
told = predicting.predict(settings, replace(read_build(settings), as_of_date={DEMO_AS_OF.isoformat()!r}))
print(told.method, "sklearn" in sys.modules, told.reason, sep="|")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    method, is_loaded, reason = done.stdout.strip().split("|")
    assert (method, is_loaded) == ("stage_age", "False")
    assert "of at least 1000000: pooled rates by stage and time in it" in reason
    file = home / "warehouse" / "predictions" / "outcomes.parquet"
    with duckdb.connect() as connection:
        methods = connection.execute(
            f"select method, count(p_win_quarter) > 500 from '{file}' group by method"
        ).fetchall()
    assert methods == [("stage_age", True)]


def test_the_release_holds_the_model_with_its_record_features_and_hash(demo_run: Run) -> None:
    release = demo_run.database.parent
    manifest = json.loads((release / "manifest.json").read_text())
    stored = json.loads((release / "model.json").read_text())
    assert manifest["sha256"]["model.json"] == hashlib.sha256((release / "model.json").read_bytes()).hexdigest()
    told = manifest["outcome_model"]
    assert told["data_hash"] == stored["data_hash"] and len(told["data_hash"]) == 64
    assert told["method"] == "model" and len(told["features"]) > 20 and len(told["evaluation"]) > 8
    assert set(stored["features_known_because"]) >= set(told["features"])
    model = QuarterModel.from_json(stored["trees"])
    assert model.trees is not None and date.fromisoformat(told["evaluation"][-1]["quarter_start"]) <= DEMO_AS_OF
