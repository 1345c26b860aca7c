"""The ramp of new sellers: worked out by hand, a second time on the demo company, and the planted ramps told apart."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.conftest import DEMO_AS_OF, DEMO_PAST, Run
from tests.extracts import write_extract
from tests.oracles.conversion import wilson
from tests.oracles.ramps import Ramps, add_months, read_books, service_month
from tests.warehouse import Warehouse

AS_OF = date(2026, 6, 30)
TABLES = ["people.rep_ramp", "people.ramp_curves"]
EXECUTIVE = "account_executive"
# Of each two sellers: hired, left, first meeting.
WAITING = {
    "a": ("2025-12-01", "", "2025-12-10"),
    "b": ("2025-12-01", "", "2026-01-15"),
    "c": ("2025-12-01", "2026-01-20", ""),
    "d": ("2026-04-15", "", ""),
    "e": ("2025-12-01", "", "2026-02-20"),
    "f": ("2025-12-01", "", "2026-02-28"),
    "g": ("2025-12-01", "", ""),
    "h": ("2026-06-10", "", "2026-06-12"),
}
PEERS = ("p1", "p2", "p3")


def hand_made(directory: Path) -> Path:
    users = ["user_id,name,role,manager_id,region,segment,hired_on,terminated_on"]
    roles = ["user_id,effective_from,role,manager_id,region,segment"]
    meetings = ["activity_id,activity_type,direction,purpose,user_id,account_id,occurred_at,is_completed"]
    changes = ["change_id,opportunity_id,field,old_value,new_value,changed_at"]
    deals = [
        "opportunity_id,account_id,owner_id,opportunity_type,stage,amount,currency,created_at,close_date,closed_at"
    ]

    def meeting(user_id: str, day: str, kind: str = "meeting", completed: str = "true") -> None:
        meetings.append(f"v{len(meetings)},{kind},outbound,sell,{user_id},a1,{day}T10:00:00Z,{completed}")

    def win(user_id: str, day: str, amount: int, kind: str = "new_business", taken_over_from: str = "") -> None:
        name = f"o{len(deals)}"
        deals.append(f"{name},a1,{user_id},{kind},Closed Won,{amount},USD,{day}T00:00:00Z,{day},{day}T09:00:00Z")
        if taken_over_from:
            changes.append(f"{name}a,{name},owner_id,{taken_over_from},{user_id},{day}T05:00:00Z")
            changes.append(f"{name}b,{name},stage,Proposal,Closed Won,{day}T09:00:00Z")

    for name, (hired, left, met) in WAITING.items():
        for user_id in (f"{name}1", f"{name}2"):
            users.append(f"{user_id},{user_id},{EXECUTIVE},,North,Mid-Market,{hired},{left}")
            if met:
                meeting(user_id, met)
    for peer in PEERS:
        users.append(f"{peer},{peer},{EXECUTIVE},,North,SMB,2020-01-01,")
        meeting(peer, "2024-01-08")
        for month in range(30):
            win(peer, f"{2024 + month // 12}-{month % 12 + 1:02d}-15", 100)
    # A call is no meeting, nor is one that was not held.
    meeting("g1", "2026-01-10", "call")
    meeting("g2", "2026-01-10", completed="false")
    users += [
        f"q,Quin,{EXECUTIVE},,North,SMB,2025-09-01,",
        f"r,Rae,{EXECUTIVE},,North,SMB,2025-10-01,",
        f"s,Sol,{EXECUTIVE},,North,SMB,2025-10-01,2026-02-10",
        f"t,Tia,{EXECUTIVE},,North,SMB,,",
        "u,Uma,development_rep,,North,SMB,2025-10-01,",
        f"v,Vic,{EXECUTIVE},,North,Enterprise,2025-10-01,",
        f"w,Wes,{EXECUTIVE},,North,SMB,2025-10-01,",
        f"x,Xia,{EXECUTIVE},,North,SMB,2026-06-01,2026-05-01",
        "y,Yan,specialist,,North,SMB,2025-10-01,",
    ]
    roles += [
        f"w,2025-10-01,{EXECUTIVE},,North,SMB",
        "w,2026-01-10,manager,,North,SMB",
        "y,2025-10-01,specialist,,North,SMB",
        f"y,2026-01-01,{EXECUTIVE},,North,SMB",
    ]
    for day, amount in (("2025-09-15", 100), ("2025-10-15", 150), ("2026-03-15", 300)):
        win("q", day, amount)
    win("q", "2025-09-10", 1, "renewal")
    for month in (9, 10, 11):
        win("q", f"2025-{month:02d}-05", 900, taken_over_from="p1")
    win("r", "2026-04-15", 300)
    win("s", "2026-02-20", 900)
    return write_extract(
        directory,
        extracted_at="2026-06-30T20:00:00Z",
        crm_users="\n".join(users) + "\n",
        crm_user_roles="\n".join(roles) + "\n",
        crm_opportunities="\n".join(deals) + "\n",
        crm_opportunity_changes="\n".join(changes) + "\n",
        crm_activities="\n".join(meetings) + "\n",
    )


def rows(database: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(database), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def records(database: Path, table: str) -> list[dict[str, Any]]:
    with duckdb.connect(str(database), read_only=True) as connection:
        result = connection.execute(f"from {table}")
        names = [column[0] for column in result.description or []]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


@pytest.fixture(scope="module")
def warehouse(demo_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    return Warehouse(demo_run, tmp_path_factory.mktemp("ramp") / "home", TABLES)


@pytest.fixture(scope="module")
def by_hand(warehouse: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ramp_by_hand")
    warehouse.load([hand_made(folder / "extract")])
    warehouse.build(AS_OF)
    copy = folder / "by_hand.duckdb"
    copy.write_bytes(warehouse.database.read_bytes())
    return copy


@pytest.fixture(scope="module")
def whole(full_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """The demo company in full, as its run left it."""
    return Warehouse(full_run, tmp_path_factory.mktemp("ramp_whole") / "home", TABLES, with_extracts=True)


# ---- by hand


def test_leavers_and_unfinished_months_do_not_shorten_a_curve(by_hand: Path) -> None:
    told = rows(
        by_hand,
        "select month, n, at_risk_count, reached_count, ended_count, round(reached_share, 6), round(ended_share, 6) "
        "from people.ramp_curves where cohort_id = 'account_executive / Mid-Market' and milestone = 'first_meeting' "
        "and month <= 4 order by month",
    )
    assert told == [
        # 16 hires; the two of June have no month behind them, though both have met somebody.
        (1, 16, 14, 2, 0, round(1 / 7, 6), 0),
        # 6/7 still wait: a sixth of them get there, a sixth leave.
        (2, 16, 12, 2, 2, round(2 / 7, 6), round(1 / 7, 6)),
        # The two of April are known for two months. Of the 4/7 that still wait two thirds get there: 2/7 + 8/21.
        (3, 16, 6, 4, 0, round(2 / 3, 6), round(1 / 7, 6)),
        # Two are left, fewer than five: told no more.
        (4, 16, 2, 0, 0, None, None),
    ]
    assert rows(
        by_hand,
        "select distinct median_months, median_months_low, median_months_high, median_reason from people.ramp_curves "
        "where cohort_id = 'account_executive / Mid-Market' and milestone = 'first_meeting'",
    ) == [(3, 2, None, None)]
    # 4 of 14 could be 51 % after two months (Wilson), and 2/3 after three could be less than a half.
    # Without leavers it would be 1 - 6/7 x 5/6 x 1/3 = 16/21, and those who have met have a median of 2 months.


def test_the_interval_of_a_share_without_censoring_is_wilsons(by_hand: Path) -> None:
    ((share, low, high),) = rows(
        by_hand,
        "select reached_share, reached_share_low, reached_share_high from people.ramp_curves "
        "where cohort_id = 'account_executive / Mid-Market' and milestone = 'first_meeting' and month = 1",
    )
    # 2 of 14, z = 1.6449: (0.142857 + 0.096632 -+ 1.6449 x sqrt(0.008746 + 0.003451)) / 1.193265.
    assert (round(share, 4), round(low, 4), round(high, 4)) == (0.1429, 0.0485, 0.3529)


def test_a_curve_that_never_gets_to_half_has_no_median(by_hand: Path) -> None:
    assert rows(
        by_hand,
        "select distinct median_months, median_months_low, median_months_high, median_reason from people.ramp_curves "
        "where cohort_id = 'account_executive / Enterprise' and milestone = 'first_meeting'",
    ) == [(None, None, None, "not enough hires")]
    assert rows(
        by_hand,
        "select distinct median_months, median_reason from people.ramp_curves "
        "where cohort_id = 'account_executive / Mid-Market' and milestone = 'first_win'",
    ) == [(None, "not observed long enough")]


def test_milestones_of_each_seller(by_hand: Path) -> None:
    told = rows(
        by_hand,
        "select rep_id, reason, ending, first_win_state, first_win_on, productive_state, productive_reason, "
        "productive_month, productive_on from people.rep_ramp where rep_id in ('q', 'r', 's', 't', 'u', 'v', 'w', 'x', "
        "'y', 'p1') order by 1",
    )
    met = "hired before history"
    assert told == [
        ("p1", met, None, None, None, None, met, None, None),
        # Peers book 100 a month: the norm is 300, and 240 reach it. October (251) is held in November alone;
        # March (300) in April and May. A renewal is no first win, and what was taken over from somebody is none at all:
        # 900 a month from the first on would have made productive.
        ("q", None, None, "reached", date(2025, 9, 15), "reached", None, 7, date(2026, 3, 31)),
        # April is held, but July is not over.
        ("r", None, None, "reached", date(2026, 4, 15), "waiting", None, None, None),
        # What is won after leaving is not theirs.
        ("s", None, "left", "ended", None, "ended", None, None, None),
        ("t", "no hire date", None, None, None, None, "no hire date", None, None),
        *[
            (who, why, None, None, None, None, why, None, None)
            for who, why in [("u", "development reps sell through others")]
        ],
        # Nobody else is in the segment.
        ("v", None, None, "waiting", None, None, "not enough ramped peers", None, None),
        ("w", None, "other_job", "ended", None, "ended", None, None, None),
        ("x", "left before hired", "left", None, None, None, "left before hired", None, None),
        ("y", "hired for another job", None, None, None, None, "hired for another job", None, None),
    ]


def test_what_to_do_is_said_to_nobody_who_has_left_or_does_not_ramp(by_hand: Path) -> None:
    assert rows(
        by_hand,
        "select rep_id, feedback_reason, gap_measure, what_is_behind, what_to_do from people.rep_ramp "
        "where rep_id in ('c1', 'e1', 'p1', 's', 'w') order by 1",
    ) == [
        ("c1", "has left", None, None, None),
        # Still there, and nobody ramped to stand beside.
        ("e1", "not enough ramped peers", None, None, None),
        ("p1", "hired before history", None, None, None),
        ("s", "has left", None, None, None),
        ("w", "has another job", None, None, None),
    ]


def test_first_meeting_is_told_though_its_month_is_not_over(by_hand: Path) -> None:
    assert rows(
        by_hand,
        "select rep_id, first_meeting_state, first_meeting_month, first_meeting_on from people.rep_ramp "
        "where rep_id in ('c1', 'd1', 'f1', 'g1', 'g2', 'h1') order by 1",
    ) == [
        ("c1", "ended", None, None),
        ("d1", "waiting", None, None),
        ("f1", "reached", 3, date(2026, 2, 28)),
        ("g1", "waiting", None, None),
        ("g2", "waiting", None, None),
        ("h1", "reached", 1, date(2026, 6, 12)),
    ]


def test_a_month_of_service_of_the_31st_ends_with_a_short_month() -> None:
    assert [service_month(date(2025, 1, 31), day) for day in (date(2025, 2, 27), date(2025, 2, 28))] == [1, 2]


# ---- the demo company a second time

POSITIONS = {
    "meetings": ("meetings", "first_meeting", "ramp_weeks"),
    "opened": ("opened", "first_pipeline", "ramp_weeks"),
    "won": ("won", "first_win", "ramp_weeks"),
    "early_opened": ("opened", "first_pipeline", "ramp_early_weeks"),
}


def feedback_reason(row: Mapping[str, Any], ramps: Ramps) -> str | None:
    if row["reason"]:
        return str(row["reason"])
    if row["ending"]:
        return {"left": "has left", "other_job": "has another job"}[row["ending"]]
    if add_months(row["hired_on"], int(ramps.policy["ramped_months"])) <= ramps.books.as_of:
        return "the ramp is over"
    told = any(row[f"{name}_position"] for name in ("meetings", "opened", "won"))
    return None if told else row["meetings_reason"]


def expected_sellers(ramps: Ramps) -> dict[str, dict[str, Any]]:
    made: dict[str, dict[str, Any]] = {}
    for seller in ramps.sellers:
        reasons = list(seller.reason.values())
        row: dict[str, Any] = {
            "rep_id": seller.rep_id, "role": seller.job.role, "segment": seller.job.segment,
            "region": seller.job.region, "hired_on": seller.hired_on, "ended_on": seller.ended_on,
            "ending": seller.ending, "reason": reasons[0] if all(reasons) else None, "week": None,
        }  # fmt: skip
        for milestone, reason in seller.reason.items():
            reached = seller.reached_on[milestone]
            state = "reached" if reached else "ended" if seller.ended_on else "waiting"
            row[f"{milestone}_reason"], row[f"{milestone}_state"] = reason, None if reason else state
            row[f"{milestone}_on"] = reached
            row[f"{milestone}_month"] = service_month(seller.hired_on, reached) if reached and seller.hired_on else None
        made[seller.rep_id] = row
    positions = {
        name: ramps.positions(kind, milestone, int(ramps.policy[weeks]))
        for name, (kind, milestone, weeks) in POSITIONS.items()
    }
    for rep_id, row in made.items():
        gaps = []
        for name, told in positions.items():
            place = told[rep_id]
            if name == "opened":
                row["week"] = place.get("week")
            row[f"{name}_count"], row[f"{name}_n"] = place.get("count"), place.get("n", 0)
            if name != "early_opened":
                row[f"{name}_reason"], row[f"{name}_position"] = place["reason"], place.get("position")
                for end in ("low", "middle", "high"):
                    row[f"{name}_band_{end}"] = place.get(end)
                missing = place.get("middle", 0) - place.get("count", 0)
                if missing >= 1:
                    gaps.append((float(missing) / float(place["middle"]) ** 0.5, name))
            if name in ("early_opened", "opened"):
                row[f"{name}_peer_count"] = place.get("peers")
                for end in ("ratio", "ratio_low", "ratio_high"):
                    row[f"{name}_{end}"] = place.get(end)
        row["feedback_reason"] = feedback_reason(row, ramps)
        row["gap_measure"] = max(gaps)[1] if gaps and row["feedback_reason"] is None else None
        row["pace_reason"] = positions["early_opened"][rep_id]["reason"]
        is_fast = (row["early_opened_ratio_low"] or 0) > 1
        is_slow = row["opened_ratio_high"] is not None and row["opened_ratio_high"] < 1
        row["pace"] = (
            None if row["pace_reason"] else "ordinary" if is_fast == is_slow else "fast" if is_fast else "slow"
        )
    return made


def differences(told: Iterable[Mapping[str, Any]], wanted: Mapping[Any, Mapping[str, Any]], *keys: str) -> list[Any]:
    made: list[Any] = []
    seen = set()
    for row in told:
        assert set(row) >= set(next(iter(wanted.values())))
        key = tuple(row[name] for name in keys) if len(keys) > 1 else row[keys[0]]
        seen.add(key)
        for name, value in wanted.get(key, {"missing": key}).items():
            there = row.get(name)
            is_equal = (
                abs(float(there) - float(value)) <= 1e-8
                if isinstance(there, float) and value is not None
                else there == value
            )
            if not is_equal:
                made.append((key, name, there, value))
    return made + [(key, "not published") for key in wanted if key not in seen]


@pytest.mark.parametrize("as_of", [DEMO_AS_OF, DEMO_PAST])
def test_the_demo_company_worked_out_a_second_time_says_the_same(
    whole: Warehouse, full_extract: Path, as_of: date
) -> None:
    if as_of != DEMO_AS_OF:
        whole.build(as_of)
    sellers = records(whole.database, "people.rep_ramp")
    curves = records(whole.database, "people.ramp_curves")
    if as_of != DEMO_AS_OF:
        whole.build(DEMO_AS_OF)
    ramps = Ramps(read_books([full_extract], as_of))
    wanted = expected_sellers(ramps)
    assert sum(row["reason"] is None for row in wanted.values()) > 40
    assert sum(row["productive_state"] == "reached" for row in wanted.values()) > 15
    assert differences(sellers, wanted, "rep_id") == []

    wanted_curves: dict[tuple[Any, ...], dict[str, Any]] = {}
    for milestone in ("first_meeting", "first_pipeline", "first_win", "productive"):
        for cohort, members in ramps.cohorts(milestone).items():
            curve = ramps.curve(members, milestone)
            half = [row["month"] for row in curve if (row["reached_share"] or 0) >= 0.5 - 1e-9]
            for row in curve:
                wanted_curves[(*cohort, milestone, row["month"])] = {**row, "median_months": min(half, default=None)}
    assert differences(curves, wanted_curves, "cohort_type", "cohort_id", "milestone", "month") == []
    assert sum(row["median_months"] is not None for row in wanted_curves.values()) > 500


def test_every_gap_has_words_and_every_null_a_reason(whole: Warehouse) -> None:
    assert (
        rows(
            whole.database,
            "select rep_id from people.rep_ramp where (gap_measure is null) != (what_is_behind is null) "
            "or (feedback_reason is null) != (what_to_do is not null) "
            "or (feedback_reason is not null and gap_measure is not null) "
            "or regexp_matches(what_is_behind, '^1 (meetings|deals)') or (pace is null) != (pace_reason is not null) "
            "or (opened_position is null) != (opened_reason is not null) "
            "or (productive_state is null) != (productive_reason is not null) "
            "or (reason is not null and coalesce(first_win_on, productive_on, first_meeting_on) is not null)",
        )
        == []
    )
    assert (
        rows(
            whole.database,
            "select cohort_id from people.ramp_curves where (reached_share is null) != (reason is not null) "
            "or reached_share > 1 or reached_share_low between 1e-300 and 1e-9 "
            "or (reached_share > 1 - 1e-9 and reached_share < 1) "
            "or (median_months is null) != (median_reason is not null) "
            "or not (reached_share between reached_share_low - 1e-9 and reached_share_high + 1e-9) "
            "or reached_share + ended_share > 1 + 1e-9 or median_months not between median_months_low "
            "and coalesce(median_months_high, 99)",
        )
        == []
    )
    # Development reps have a row, and nothing in it.
    told = rows(
        whole.database, "select distinct reason, week, pace from people.rep_ramp where role = 'development_rep'"
    )
    assert told == [("development reps sell through others", None, None)]


# ---- what is planted


def ratio(sellers: Iterable[tuple[int, float]], others: Iterable[tuple[int, float]]) -> tuple[float, float, float]:
    """How many times the others' pace, with its interval of 90 %: their share of all deals."""
    (count, norm), (their, norms) = ([sum(column) for column in zip(*rows, strict=True)] for rows in (sellers, others))
    low, high = wilson(count / (count + their), int(count + their))
    assert low is not None and high is not None
    middle, lower, upper = (s / (1 - s) * norms / norm for s in (count / (count + their), low, high))
    return middle, lower, upper


def ramps_apart(database: Path, truth: Path) -> dict[str, Any]:
    """The planted ramps against all other account executives hired since, in deals opened to what peers opened."""
    with truth.open() as file:
        planted = {row["user_id"]: row["trait"] for row in csv.DictReader(file) if row["trait"].endswith("_ramp")}
    made: dict[str, Any] = {}
    for trait, measure, weeks in (("fast_ramp", "early_opened", 13), ("slow_ramp", "opened", 26)):
        told = rows(
            database,
            f"select rep_id, {measure}_count, {measure}_peer_count from people.rep_ramp "
            f"where role = '{EXECUTIVE}' and week >= {weeks} and {measure}_peer_count is not null",
        )
        groups = {
            name: [(count, norm) for rep_id, count, norm in told if planted.get(rep_id, "") == name]
            for name in (trait, "")
        }
        made[trait] = (len(groups[trait]), len(groups[""]), *ratio(groups[trait], groups[""]))
    made["verdicts"] = [
        (planted[rep_id], pace)
        for rep_id, pace in rows(database, "select rep_id, pace from people.rep_ramp order by 1")
        if rep_id in planted
    ]
    return made


def test_planted_ramps_are_told_apart_from_the_ordinary(whole: Warehouse, full_extract: Path) -> None:
    apart = ramps_apart(whole.database, full_extract / "truth" / "people.csv")
    *_, fast, fast_low, _ = apart["fast_ramp"]
    *_, slow, _, slow_high = apart["slow_ramp"]
    assert fast > fast_low > 1 > slow_high > slow
    assert ("fast_ramp", "fast") in apart["verdicts"] and ("slow_ramp", "slow") in apart["verdicts"]
    assert ("fast_ramp", "slow") not in apart["verdicts"] and ("slow_ramp", "fast") not in apart["verdicts"]
