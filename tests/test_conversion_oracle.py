"""Conversion, velocity, win rates and pushes against the oracle: cell by cell on the demo company, on two dates."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from tests.conftest import DEMO_AS_OF, DEMO_PAST, Run
from tests.oracles import conversion, funnel
from tests.oracles.conversion import BACK, FORWARD, LOST, NO_DECISION
from tests.warehouse import Warehouse

KEYS = {
    "funnel.stage_conversion": ["period_type", "period_start", "segment", "stage"],
    "funnel.stage_transitions": ["period_type", "period_start", "segment", "stage", "next_stage"],
    "funnel.sales_velocity": ["scope_type", "scope_id", "period_type", "period_start"],
    "funnel.win_rates": ["basis", "dimension", "member"],
    "core.opportunities": ["opportunity_id"],
}
RELATIVE = 1e-9

# Weeks in remission of 21 patients on 6-MP and 21 on placebo; those still in remission when last seen are censored.
ON_6_MP = [6, 6, 6, 7, 10, 13, 16, 22, 23]
STILL_ON_6_MP = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
ON_PLACEBO = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]


# The estimators


def test_kaplan_meier_gives_the_published_remissions_of_leukaemia() -> None:
    """Freireich et al. 1963, Blood 21: 699-716, as worked out in Kleinbaum and Klein, Survival Analysis, chapter 2."""
    _, curve = conversion.aalen_johansen([(week, BACK) for week in ON_6_MP] + [(week, None) for week in STILL_ON_6_MP])
    published = {6: 0.8571, 7: 0.8067, 10: 0.7529, 13: 0.6902, 16: 0.6275, 22: 0.5378, 23: 0.4482}
    assert {week: round(float(here), 4) for week, here in curve if week in published} == published
    assert conversion.median_stay(curve) == 23
    _, placebo = conversion.aalen_johansen([(week, BACK) for week in ON_PLACEBO])
    assert conversion.median_stay(placebo) == 8


def test_aalen_johansen_by_hand_with_ties() -> None:
    """Of 7, two leave on day 1: 5/7 stay. On day 3 one of 4 leaves: 5/7 x 3/4 = 15/28. On day 4 one of 2."""
    stays = [(1, FORWARD), (1, LOST), (2, None), (3, FORWARD), (3, None), (4, NO_DECISION), (5, None)]
    shares, curve = conversion.aalen_johansen(stays)
    assert shares == {
        FORWARD: Fraction(1, 7) + Fraction(5, 7) / 4,
        LOST: Fraction(1, 7),
        NO_DECISION: Fraction(15, 28) / 2,
    }
    here = [Fraction(5, 7), Fraction(5, 7), Fraction(15, 28), Fraction(15, 56), Fraction(15, 56)]
    assert curve == list(zip([1, 2, 3, 4, 5], here, strict=True))
    assert conversion.median_stay(curve) == 4


def test_half_is_half_and_not_a_little_less() -> None:
    _, curve = conversion.aalen_johansen([(1, FORWARD), (2, FORWARD), (3, FORWARD), (4, None), (4, None), (4, None)])
    assert curve[2] == (3, Fraction(1, 2)) and conversion.median_stay(curve) == 3
    _, curve = conversion.aalen_johansen([(1, FORWARD), (2, None), (2, None)])
    assert conversion.median_stay(curve) is None


@pytest.mark.parametrize("seed", range(20))
def test_whoever_is_cut_off_hands_what_would_become_of_him_to_those_who_stay_longer(seed: int) -> None:
    """The same estimate another way (Efron 1967; with competing causes Gooley et al. 1999, Stat. Med. 18: 695-706)."""
    chance = random.Random(seed)
    stays = [
        (chance.randrange(1, 15), chance.choice([FORWARD, LOST, NO_DECISION, BACK, None, None]))
        for _ in range(chance.randrange(2, 40))
    ]
    in_order = sorted(stays, key=lambda stay: (stay[0], stay[1] is None))
    weights = [Fraction(1, len(stays)) for _ in stays]
    expected: dict[str, Fraction] = defaultdict(Fraction)
    for position, (time, cause) in enumerate(in_order):
        later = [number for number, (other, _) in enumerate(in_order) if other > time]
        if cause is not None:
            expected[cause] += weights[position]
        for number in later if cause is None else []:
            weights[number] += weights[position] / len(later)
    shares, curve = conversion.aalen_johansen(stays)
    assert shares == expected
    assert sum(shares.values()) + curve[-1][1] == 1


@pytest.mark.parametrize(
    ("seen", "n", "low", "high"), [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611)]
)
def test_wilson_gives_the_published_intervals(seen: int, n: int, low: float, high: float) -> None:
    """95 % intervals of method 3 in Newcombe 1998, Stat. Med. 17: 857-872, table I."""
    assert conversion.wilson(seen / n, n, z=1.959964) == pytest.approx((low, high), abs=5e-5)


def test_shrinkage_by_hand() -> None:
    """1 of 4 and 3 of 4: MSB = 1/2, MSW = 1.5/6 = 1/4, n0 = 4, r = (1/4) / (1/2 + 3/4) = 1/5, so M = 4 at 1/2."""
    assert conversion.shrunk_rates([(1, 4), (3, 4), (0, 0)]) == [3 / 8, 5 / 8, None]
    # They differ less than chance would make them.
    assert conversion.shrunk_rates([(2, 4), (2, 4), (5, 9)]) == [9 / 17] * 3
    assert conversion.shrunk_rates([(0, 3), (3, 3)]) == [0, 1]
    assert conversion.shrunk_rates([(3, 10)]) == [0.3]


# The tables


@pytest.fixture(scope="module")
def told(demo_extract: Path, demo_release: Path, demo_release_past: Path) -> dict[str, Any]:
    """What the oracle and the release say of each table on each date."""
    facts = conversion.load([demo_extract])
    said: dict[str, Any] = {}
    for day, database in ((DEMO_AS_OF, demo_release), (DEMO_PAST, demo_release_past)):
        visits = conversion.read_visits(facts, day)
        left_out = conversion.wins_without_losses(facts, day)
        assert left_out
        ours = {
            "funnel.stage_conversion": conversion.stage_conversion(
                [visit for visit in visits if visit.opportunity_id not in left_out], day
            ),
            "funnel.stage_transitions": conversion.stage_transitions(visits, day),
            "funnel.sales_velocity": conversion.sales_velocity(facts, day),
            "funnel.win_rates": conversion.win_rates(facts, day),
            "core.opportunities": conversion.opportunity_measures(facts, day),
        }
        with duckdb.connect(str(database), read_only=True) as connection:
            for table, frame in ours.items():
                said[table, day] = frame, connection.execute(f"from {table}").df()
            said["jobs", day] = connection.execute(
                "select rep_id, role in ('account_executive', 'account_manager', 'development_rep'), "
                "greatest(valid_from, hired_on), least(valid_to - 1, terminated_on) from core.reps"
            ).fetchall()
    return said


def plain(value: Any) -> Any:
    """Dates as dates, numbers of every kind as Python's, and what is empty as None."""
    if pd.isna(value):
        return None
    if isinstance(value, pd.Timestamp):
        return value.date()
    return value if isinstance(value, str | bool | date) else float(value)


def cells(frame: pd.DataFrame, keys: list[str], columns: list[str]) -> dict[tuple[Any, ...], list[Any]]:
    made = {}
    for row in frame[[*keys, *columns]].astype(object).itertuples(index=False, name=None):
        values = [plain(value) for value in row]
        made[tuple(values[: len(keys)])] = values[len(keys) :]
    assert len(made) == len(frame) > 0
    return made


def is_same(name: str, ours: Any, theirs: Any) -> bool:
    if isinstance(ours, float) and isinstance(theirs, float) and not name.endswith(("_count", "n", "_order")):
        return abs(ours - theirs) <= RELATIVE * max(1, abs(ours))
    return ours == theirs


def assert_same(told: dict[str, Any], table: str, columns: list[str] | None = None, least: int = 1) -> None:
    """On both dates; and that at least so many cells of each column were not empty."""
    keys = KEYS[table]
    for day in (DEMO_AS_OF, DEMO_PAST):
        ours, theirs = told[table, day]
        names = columns or [name for name in ours.columns if name not in keys]
        expected, published = cells(ours, keys, names), cells(theirs, keys, names)
        both = expected.keys() & published.keys()
        assert len(both) > 100
        for place, name in enumerate(names):
            wrong = [
                (key, published[key][place], expected[key][place])
                for key in sorted(both)
                if not is_same(name, expected[key][place], published[key][place])
            ]
            assert not wrong, f"{table}.{name} on {day}: {len(wrong)} of {len(both)}, such as {wrong[:5]}"
            assert sum(expected[key][place] is not None for key in both) >= least, name


def alone(told: dict[str, Any], table: str, day: date) -> tuple[set[tuple[Any, ...]], set[tuple[Any, ...]]]:
    """Keys that only the oracle has, and those that only the table has."""
    ours, theirs = (set(cells(frame, KEYS[table], [])) for frame in told[table, day])
    return ours - theirs, theirs - ours


@pytest.mark.parametrize("table", ["funnel.stage_conversion", "funnel.stage_transitions"])
def test_what_became_of_the_visits_of_every_period_segment_and_stage(told: dict[str, Any], table: str) -> None:
    assert_same(told, table, least=500)
    for day in (DEMO_AS_OF, DEMO_PAST):
        assert alone(told, table, day) == (set(), set())


def test_the_cohorts_are_ones_in_which_censoring_matters(told: dict[str, Any]) -> None:
    """Else dividing converted by entered would pass the tests above."""
    ours, _ = told["funnel.stage_conversion", DEMO_AS_OF]
    naive = ours["converted_count"] / ours["entered_count"]
    assert ((ours["conversion_rate"] - naive).abs() > 0.01).sum() >= 20
    assert {*ours.columns[ours.dtypes == "int64"]} >= {"regressed_count", "still_open_count", "no_decision_count"}
    assert ours[["regressed_count", "still_open_count", "no_decision_count"]].sum().min() > 50


@pytest.mark.parametrize("day", [date(2025, 3, 17), date(2026, 1, 20)])
def test_every_deal_of_the_full_company_is_told_as_it_stood(
    full_run: Run, full_extract: Path, tmp_path: Path, day: date
) -> None:
    """Deals that are deleted, lost again or moved later are told as if nobody knew."""
    warehouse = Warehouse(full_run, tmp_path / "home", ["core.opportunities"], with_extracts=True)
    warehouse.build(day)
    with duckdb.connect(str(warehouse.database), read_only=True) as connection:
        theirs = connection.execute("from core.opportunities").df()
    ours = conversion.opportunity_measures(conversion.load([full_extract]), day)
    columns = [name for name in ours.columns if name != "opportunity_id"]
    expected, published = (cells(frame, ["opportunity_id"], columns) for frame in (ours, theirs))
    assert expected.keys() == published.keys()
    wrong = [
        (name, key, published[key][place], expected[key][place])
        for place, name in enumerate(columns)
        for key in expected
        if not is_same(name, expected[key][place], published[key][place])
    ]
    assert not wrong, f"{Counter(name for name, *_ in wrong)}, such as {wrong[:5]}"
    told = theirs.set_index("opportunity_id")
    assert told.loc[told["is_open"], "stage"].notna().sum() > 150
    if day == date(2025, 3, 17):
        # Deleted on the 26th; open again from the 22nd until it was lost a second time in April.
        columns = ["stage", "is_open", "is_lost", "is_deleted", "closed_on"]
        rows = {key: [plain(value) for value in told.loc[key, columns]] for key in ("O0004929", "O0004863")}
        assert rows == {
            "O0004929": ["Closed Lost", False, True, False, date(2025, 3, 14)],
            "O0004863": ["Closed Lost", False, True, False, date(2025, 2, 28)],
        }


def test_pushes_ages_and_changes_of_amount_of_every_deal(told: dict[str, Any]) -> None:
    assert_same(told, "core.opportunities", ["push_count", "push_days", "amount_change", "age_days"], least=500)
    assert_same(told, "core.opportunities", ["stage_age_days"], least=15)
    states = ["is_open", "is_won", "is_lost", "is_no_decision", "is_deleted", "created_on", "closed_on"]
    assert_same(told, "core.opportunities", states, least=500)
    places = ["owner_id", "manager_id", "region", "segment", "amount", "list_amount"]
    assert_same(told, "core.opportunities", places, least=500)
    for day in (DEMO_AS_OF, DEMO_PAST):
        ours, _ = told["core.opportunities", day]
        assert (ours["push_count"] > 1).sum() > 10 and (ours["amount_change"] < 0).sum() > 100
        assert alone(told, "core.opportunities", day) == (set(), set())


def test_cycles_of_every_deal(told: dict[str, Any]) -> None:
    assert_same(told, "core.opportunities", ["cycle_days"], least=500)


def test_cycles_of_every_deal_that_was_not_created_closed(told: dict[str, Any]) -> None:
    for day in (DEMO_AS_OF, DEMO_PAST):
        ours, theirs = (cells(frame, ["opportunity_id"], ["cycle_days"]) for frame in told["core.opportunities", day])
        known = {key for key, (days,) in ours.items() if days is not None}
        assert len(known) > 500 and {key: theirs[key] for key in known} == {key: ours[key] for key in known}


def test_velocity_of_every_scope_and_period(told: dict[str, Any]) -> None:
    assert_same(told, "funnel.sales_velocity", least=300)
    for day in (DEMO_AS_OF, DEMO_PAST):
        missing, extra = alone(told, "funnel.sales_velocity", day)
        # Who had no selling job in a period and decided no deal has no row.
        ours, _ = told["funnel.sales_velocity", day]
        assert {n for key, (n,) in cells(ours, KEYS["funnel.sales_velocity"], ["n"]).items() if key in missing} <= {0}
        for scope_type, seller, period_type, start in missing:
            assert scope_type == "seller"
            _, end = funnel.period_of(start, period_type)
            jobs = [job for who, *job in told["jobs", day] if who == seller]
            assert jobs, seller
            for is_selling, first, last in jobs:
                assert not is_selling or first > end or (last is not None and last < start), (seller, start)
        # Who counts as a seller without a deal is not written down; whoever does has nothing to show.
        _, theirs = told["funnel.sales_velocity", day]
        assert {n for key, (n,) in cells(theirs, KEYS["funnel.sales_velocity"], ["n"]).items() if key in extra} <= {0}
        assert {key[0] for key in extra} <= {"seller"}


COUNTS = ["won_count", "lost_count", "no_decision_count", "open_count", "left_out_count", "n"]
RATES = ["win_rate", "win_rate_low", "win_rate_high", "win_rate_narrow", "mean_won_amount", "median_won_amount"]


def test_win_rates_of_every_member(told: dict[str, Any]) -> None:
    assert_same(told, "funnel.win_rates", [*COUNTS, *RATES], least=200)
    assert_same(told, "funnel.win_rates", ["period_start"], least=150)
    for day in (DEMO_AS_OF, DEMO_PAST):
        _, extra = alone(told, "funnel.win_rates", day)
        _, theirs = told["funnel.win_rates", day]
        shown = cells(theirs, KEYS["funnel.win_rates"], [*COUNTS, *RATES])
        assert {key[1] for key in extra} <= {"owner"}
        assert all(not any(shown[key]) for key in extra)


def test_a_month_without_a_deal_has_a_row(told: dict[str, Any]) -> None:
    for day in (DEMO_AS_OF, DEMO_PAST):
        missing, _ = alone(told, "funnel.win_rates", day)
        assert not missing


def test_shrunk_win_rates(told: dict[str, Any]) -> None:
    assert_same(told, "funnel.win_rates", ["win_rate_shrunk"], least=200)


@pytest.mark.parametrize("column", ["won_amount", "won_list_amount", "lost_list_amount", "win_rate_amount"])
def test_win_rates_by_amount(told: dict[str, Any], column: str) -> None:
    assert_same(told, "funnel.win_rates", [column], least=200)


def test_win_rates_by_amount_where_there_is_one(told: dict[str, Any]) -> None:
    for day in (DEMO_AS_OF, DEMO_PAST):
        for column, count in {"won_amount": "won_count", "won_list_amount": "won_count", "win_rate_amount": "won_count",
                              "lost_list_amount": "lost_count"}.items():  # fmt: skip
            ours, theirs = (
                cells(frame[frame[count] > 0], KEYS["funnel.win_rates"], [column])
                for frame in told["funnel.win_rates", day]
            )
            assert ours.keys() == theirs.keys() and len(ours) > 150
            assert all(is_same(column, ours[key][0], theirs[key][0]) for key in ours)


@pytest.mark.parametrize("column", ["mean_cycle_days", "median_cycle_days"])
def test_cycles_of_every_member(told: dict[str, Any], column: str) -> None:
    assert_same(told, "funnel.win_rates", [column], least=200)


@pytest.mark.parametrize(
    ("table", "rate", "n"),
    [
        ("funnel.stage_conversion", "conversion_rate", "entered_count"),
        ("funnel.sales_velocity", "velocity", "n"),
        ("funnel.win_rates", "win_rate", "n"),
    ],
)
def test_a_rate_or_the_reason_why_there_is_none(told: dict[str, Any], table: str, rate: str, n: str) -> None:
    for day in (DEMO_AS_OF, DEMO_PAST):
        _, theirs = told[table, day]
        shown = theirs[[rate, "reason", n]].astype(object)
        assert (shown[rate].isna() == shown["reason"].notna()).all()
        assert shown[rate].isna().any() and (theirs[n] > 0).any() and (theirs[rate].notna() <= (theirs[n] > 0)).all()
