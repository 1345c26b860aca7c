"""One coaching plan a seller: against a second reckoning, by hand, and with what was planted in the demo company."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Sequence
from datetime import date
from math import sqrt
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.conftest import DEMO_AS_OF, DEMO_PAST, Run
from tests.extracts import USERS, write_extract
from tests.oracles.plans import coaching_plan
from tests.oracles.practices import seed
from tests.test_rep_diagnosis import FACTOR_OF
from tests.warehouse import Warehouse

TABLE = "people.coaching_plan"
Z = 1.6448536269514722


@pytest.fixture(scope="module")
def warehouse(demo_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    return Warehouse(demo_run, tmp_path_factory.mktemp("plans") / "home", [TABLE])


@pytest.fixture(scope="module")
def whole(full_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """The demo company in full, as its run left it."""
    return Warehouse(full_run, tmp_path_factory.mktemp("plans_whole") / "home", [TABLE], with_extracts=True)


def query(database: Path, sql: str) -> list[dict[str, Any]]:
    with duckdb.connect(str(database), read_only=True) as connection:
        found = connection.execute(sql)
        names = [column[0] for column in found.description or []]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def told(database: Path) -> dict[str, dict[str, Any]]:
    rows = query(database, f"from {TABLE}")
    assert len({row["seller_id"] for row in rows}) == len(rows)
    return {row["seller_id"]: row for row in rows}


def watch_words(said: str | None) -> list[str] | None:
    """What is named to watch; of a factor with how far it is from the peers."""
    if said is None:
        return None
    parts = [part.split(":") for part in said.split("; ")]
    ends = {"by less than 20 %": " below", "not clearly apart": " not clearly apart"}
    return [
        name + ends.get(" ".join(rest).split(", ")[-1] if "median peer" in "".join(rest) else "", "")
        for name, *rest in parts
    ]


def differences(database: Path, extract: Path, as_of: date) -> dict[str, Any]:
    """What the mart says otherwise than the second reckoning, by seller."""
    again = coaching_plan(
        extract,
        as_of,
        query(database, "from people.rep_diagnosis"),
        query(database, "from people.rep_ramp"),
        query(database, "from funnel.deal_health"),
        query(database, "from funnel.deal_signals"),
        {row["stage"] for row in query(database, "select distinct stage from funnel.stage_visits")},
        query(database, "from people.role_fit"),
        query(database, "from people.talent_criteria"),
    )
    found = told(database)
    assert set(found) == set(again)
    different: dict[str, Any] = {}
    for seller, entry in again.items():
        row = found[seller]
        row["linked"] = [row[f"opportunity_{place}_id"] for place in (1, 2, 3) if row[f"opportunity_{place}_id"]]
        row["watch"] = watch_words(row["what_to_watch"])
        for name, value in entry.items():
            is_same = row[name] == pytest.approx(value, rel=1e-9) if isinstance(value, float) else row[name] == value
            if not is_same:
                different[f"{seller} {name}"] = row[name], value
    return different


@pytest.mark.parametrize("as_of", [DEMO_AS_OF, DEMO_PAST])
def test_every_plan_is_that_of_the_second_reckoning(whole: Warehouse, full_extract: Path, as_of: date) -> None:
    if as_of != DEMO_AS_OF:
        whole.build(as_of)
    assert differences(whole.database, full_extract, as_of) == {}
    assert {row["source"] for row in told(whole.database).values()} >= {"diagnosis", "none"}


def test_every_active_seller_has_exactly_one_plan_with_all_it_takes(full_run: Run) -> None:
    sellers = {str(row[0]) for row in full_run.query("select distinct seller_id from people.rep_diagnosis")}
    rows = told(full_run.database)
    assert set(rows) == sellers
    for row in rows.values():
        always = ["focus", "behaviour", "practice", "coaching_question", "sign", "next_check_on"]
        assert all(row[name] for name in always), row["seller_id"]
        assert (row["manager_id"] is None) == (row["coach_reason"] is not None)
        assert (row["last_session_on"] is None) == (row["session_reason"] is not None)
        assert (row["linked_count"] == 0) == (row["linked_reason"] is not None)
        assert row["next_check_on"] > DEMO_AS_OF
        # A gap has evidence and a value to reach; where there is none, there is a reason and what to watch.
        gap = [
            "gap",
            "evidence",
            "known_by",
            "measure",
            "n",
            "peer_count",
            "evidence_value",
            "evidence_norm",
            "measure_target",
        ]
        silence = ["reason", "what_to_watch"]
        assert {row[name] is None for name in gap} == {row["source"] == "none"}, row["seller_id"]
        assert {row[name] is None for name in silence} == {row["source"] != "none"}, row["seller_id"]
        if row["source"] in ("diagnosis", "ramp"):
            assert row["measure_now"] < row["measure_target"]
        if row["source"] == "signal":
            assert row["measure_target"] < row["measure_now"]
        if row["source"] != "none":
            assert row["evidence_value_low"] <= row["evidence_value"] <= row["evidence_value_high"]
    owners = dict(
        full_run.query("select opportunity_id, owner_id from funnel.deal_health where verdict != 'de_resource'")
    )
    for row in rows.values():
        linked = [row[f"opportunity_{place}_id"] for place in (1, 2, 3) if row[f"opportunity_{place}_id"]]
        assert len(set(linked)) == row["linked_count"]
        assert {owners[deal] for deal in linked} <= {row["seller_id"]}


def test_planted_weaknesses_get_the_plan_that_goes_with_them(full_run: Run, full_extract: Path) -> None:
    with (full_extract / "truth" / "people.csv").open(encoding="utf-8", newline="") as file:
        weak = {row["user_id"]: FACTOR_OF[row["factor"]] for row in csv.DictReader(file) if row["factor"]}
    assert len(weak) == 10
    rows = told(full_run.database)
    planned = {seller: factor for seller, factor in weak.items() if rows[seller]["source"] == "diagnosis"}
    assert len(planned) >= 6
    assert {seller: rows[seller]["gap"] for seller in planned} == planned
    words = {(row["gap"], row["stage"]): row for row in seed("coaching_practices") if row["source"] == "diagnosis"}
    for seller, factor in planned.items():
        assert rows[seller]["behaviour"] == words[factor, rows[seller]["stage"] or ""]["behaviour"]
    # Of the others nothing is clear; where a diagnosis was told at all the planted factor is what to watch.
    watched = [rows[seller]["what_to_watch"].split(":")[0] == weak[seller] for seller in weak if seller not in planned]
    assert sum(watched) + len(planned) >= 8


def test_plans_say_what_to_do_and_judge_nobody(full_run: Run) -> None:
    spoken = " ".join(
        str(row[name])
        for row in told(full_run.database).values()
        for name in (
            "focus",
            "evidence",
            "behaviour",
            "practice",
            "coaching_question",
            "sign",
            "known_by",
            "what_to_watch",
        )
    )
    spoken += " ".join(" ".join(row.values()) for row in seed("coaching_practices"))
    assert not re.search(
        r"\b(low.performer|weak|weakest|poor|fail|fails|bad|worst|lazy|underperform\w*)\b", spoken, re.I
    )


def test_there_are_words_for_every_gap_and_every_reason() -> None:
    words = {(row["source"], row["gap"]) for row in seed("coaching_practices")}
    factors = {row["factor"] for row in seed("diagnosis_factors") if row["is_actionable"] == "true"}
    assert {gap for source, gap in words if source == "diagnosis"} == factors
    assert {gap for source, gap in words if source == "ramp"} == {row["measure"] for row in seed("ramp_measures")}
    assert {("signal", ""), ("none", "")} <= words
    stages = {row["stage"] for row in seed("stages") if row["is_open"] == "true"}
    assert {row["stage"] for row in seed("coaching_practices")} - {""} <= stages
    signals = {row["signal"] for row in seed("signals")}
    assert {row["signal"] for row in seed("coaching_practices")} - {""} <= signals


SESSIONS = "session_id,manager_id,rep_id,session_type,agreed_action,occurred_at,follow_up_on,completed_on\n"


def plan_of(
    warehouse: Warehouse, folder: Path, sessions: Sequence[str], as_of: date = date(2026, 3, 2)
) -> dict[str, Any]:
    files = {"crm_coaching_sessions": SESSIONS + "".join(f"{row}\n" for row in sessions)} if sessions else {}
    warehouse.load([write_extract(folder / "extract", **files)])
    warehouse.build(date(2026, 3, 2))
    return told(warehouse.database)["s1"]


def test_without_sessions_and_activities_there_are_reasons_and_no_errors(
    warehouse: Warehouse, demo_extract: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(
        demo_extract, bare, ignore=shutil.ignore_patterns("truth", "activities.csv", "coaching_sessions.csv")
    )
    warehouse.load([bare])
    warehouse.build(DEMO_AS_OF, predict_again=False)
    rows = told(warehouse.database)
    assert set(rows) == {row["seller_id"] for row in query(warehouse.database, "from people.rep_diagnosis")}
    assert {row["session_reason"] for row in rows.values()} == {"coaching sessions are not delivered"}
    assert {row["is_check_overdue"] for row in rows.values()} == {True}
    silent = [row for row in rows.values() if row["source"] == "none"]
    assert "diagnosis" not in {row["source"] for row in rows.values()}
    assert {row["reason"] for row in silent} <= {
        "no activities known",
        "still ramping",
        "not ramped for the whole window",
    }
    assert {row["focus"] for row in silent if row["reason"] == "no activities known"} == {"Write down what is done"}


def test_of_a_company_of_yesterday_there_is_a_plan_with_a_reason(warehouse: Warehouse, tmp_path: Path) -> None:
    row = plan_of(warehouse, tmp_path, [])
    assert (row["source"], row["gap"], row["reason"]) == ("none", None, "not enough history")
    assert (row["focus"], row["what_to_watch"]) == ("Keep going and watch", "nothing stands out")
    assert (row["session_reason"], row["last_session_on"]) == ("coaching sessions are not delivered", None)
    # 2 March 2026 is a Monday: the next week begins on the 9th.
    assert (row["next_check_on"], row["is_check_overdue"]) == (date(2026, 3, 9), True)
    assert (row["manager_id"], row["opportunity_1_id"], row["linked_count"]) == ("m1", "o2", 1)
    assert set(told(warehouse.database)) == {"s1", "s2"}


def test_the_next_check_is_what_was_agreed_or_thirty_days_after_the_last_session(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    def check(place: str, *sessions: str) -> tuple[Any, ...]:
        row = plan_of(warehouse, tmp_path / place, sessions)
        return row["last_session_on"], row["next_check_on"], row["is_check_overdue"], row["last_agreed_action"]

    first = "1,m1,s1,one_to_one,Call Ann,2026-02-20T10:00:00Z,2026-03-10,"
    # What was agreed on 20 February is due on 10 March, before the 22nd, thirty days after the session, a Sunday.
    assert check("open", first) == (date(2026, 2, 20), date(2026, 3, 10), False, "Call Ann")
    assert check("done", f"{first}2026-02-25") == (date(2026, 2, 20), date(2026, 3, 23), False, "Call Ann")
    # A later session without an agreement leaves the earlier one standing.
    second = "2,m1,s1,skill,,2026-02-27T10:00:00Z,,"
    assert check("later", first, second) == (date(2026, 2, 27), date(2026, 3, 10), False, "Call Ann")
    # The session was more than thirty days ago, and one that is still to come is not known.
    old, ahead = "1,m1,s1,skill,,2026-01-20T10:00:00Z,,", "2,m1,s1,skill,,2026-03-05T10:00:00Z,,"
    assert check("old", old, ahead) == (date(2026, 1, 20), date(2026, 3, 9), True, None)
    row = plan_of(warehouse, tmp_path / "other", ["1,m1,s2,skill,,2026-02-20T10:00:00Z,,"])
    assert row["session_reason"] == "no session yet"


def test_a_signal_recurs_when_chance_does_not_explain_it_by_hand(warehouse: Warehouse, tmp_path: Path) -> None:
    users = USERS + "".join(f"p{n},Peer {n},account_executive,m1,North,Mid-Market,2021-03-01\n" for n in range(4))
    warehouse.load([write_extract(tmp_path / "extract", crm_users=users)])
    warehouse.build(date(2026, 3, 2))
    sql = {name: sql for name, _, sql in warehouse.models}

    def tell(mine: int, fired: int, peers: int, peers_fired: int) -> dict[str, Any]:
        deals = [(f"d{place:02}", "s1", place < fired) for place in range(mine)]
        deals += [(f"e{place:02}", f"p{place % 4}", place < peers_fired) for place in range(peers)]
        with duckdb.connect(str(warehouse.database)) as connection:
            connection.execute("delete from funnel.deal_health")
            for place, (deal, owner, _) in enumerate(deals):
                connection.execute(
                    "insert into funnel.deal_health (opportunity_id, owner_id, stage, verdict, expected_amount) "
                    "values (?, ?, 'Discovery', 'attention', ?)",
                    [deal, owner, float(place)],
                )
            connection.execute("delete from funnel.deal_signals")
            for deal, _, is_on in deals:
                if is_on:
                    connection.execute(
                        "insert into funnel.deal_signals (opportunity_id, signal) values (?, 'quiet')", [deal]
                    )
            for table in ("intermediate.int_seller_signals", TABLE):
                connection.execute(f"create or replace table {table} as {sql[table]}")
        return told(warehouse.database)["s1"]

    # 4 of 10 against 4 of 40: one was to be expected, and 3 / sqrt(10 x 0.1 x 0.9) = 3.16 is above 3.
    row = tell(10, 4, 40, 4)
    assert (row["source"], row["gap"], row["n"], row["peer_count"]) == ("signal", "quiet", 10, 40)
    assert (row["evidence_value"], row["evidence_norm"]) == (0.4, 0.1)
    middle, half = (0.4 + Z * Z / 20) / (1 + Z * Z / 10), Z * sqrt(0.024 + Z * Z / 400) / (1 + Z * Z / 10)
    assert row["evidence_value_low"] == pytest.approx(middle - half)
    assert (row["measure_now"], row["measure_target"]) == (4, 1)
    assert row["known_by"] == "open deals with the signal: at most 1 (now 4)"
    assert row["evidence"] == "quiet on 4 of 10 open deals; of those of peers on 10.0 % of 40"
    assert row["practice"] == "Re-opening a quiet conversation"
    # Of the four with most at stake first.
    assert [row[f"opportunity_{place}_id"] for place in (1, 2, 3)] == ["d03", "d02", "d01"]
    # 3 of 10: 2 / 0.949 = 2.11 is not above it, so it is what to watch.
    row = tell(10, 3, 40, 4)
    assert (row["source"], row["what_to_watch"]) == (
        "none", "quiet: on 3 of 10 open deals, not clearly more often than peers"
    )  # fmt: skip
    # Two deals are none that recurs, and of 29 deals of peers nothing can be told.
    assert tell(2, 2, 40, 0)["source"] == "none"
    assert tell(10, 9, 29, 0)["source"] == "none"
    # Of peers without any it is half a deal: p = 0.5 / 40, (3 - 0.1) / sqrt(8 x 0.0125 x 0.9875) = 9.2.
    row = tell(8, 3, 40, 0)
    assert (row["source"], row["evidence_norm"], row["measure_target"]) == ("signal", 0.0125, 0)


def test_a_diagnosis_goes_before_the_ramp_and_the_ramp_before_a_signal_by_hand(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    users = USERS.replace("2021-03-01", "2025-12-22")
    warehouse.load([write_extract(tmp_path / "extract", crm_users=users)])
    warehouse.build(date(2026, 3, 2))
    sql = {name: sql for name, _, sql in warehouse.models}[TABLE]

    def tell(*statements: str) -> dict[str, Any]:
        with duckdb.connect(str(warehouse.database)) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.execute(f"create or replace table {TABLE} as {sql}")
        return told(warehouse.database)["s1"]

    recurring = (
        "insert into intermediate.int_seller_signals (seller_id, signal, signal_rank, deal_count, fired_count, "
        "peer_deals, peer_share, z, is_recurring) values ('s1', 'quiet', 11, 10, 4, 40, 0.1, 3.16, true)"
    )
    assert tell(recurring)["source"] == "signal"
    ramp = (
        "update people.rep_ramp set gap_measure = 'meetings', meetings_count = 2, meetings_n = 12, week = 10, "
        "meetings_band_middle = 5, what_is_behind = '2 of 5' where rep_id = 's1'"
    )
    row = tell(ramp)
    assert (row["source"], row["gap"], row["evidence"], row["peer_count"]) == ("ramp", "meetings", "2 of 5", 12)
    assert (row["measure_now"], row["measure_target"]) == (0.2, 0.5)
    # 2 + z2/2 = 3.3528; z times the root of 2 + z2/4 = 1.6449 x 1.6359 = 2.6909.
    assert row["evidence_value_low"] == pytest.approx(0.6618, abs=1e-4)
    assert row["evidence_value_high"] == pytest.approx(6.0436, abs=1e-4)
    # After the 26 weeks of the ramp the count stands still, and the signal is next.
    assert tell("update people.rep_ramp set week = 26 where rep_id = 's1'")["source"] == "signal"
    assert tell("update people.rep_ramp set week = 25 where rep_id = 's1'")["source"] == "ramp"
    diagnosis = (
        "update people.rep_diagnosis set what_is_wrong = 'said', weakest_stage = '{stage}', stage_rate = 0.4, "
        "stage_n = 50, stage_peer_rate = 0.6, estimate = 0.3, own_ratio = 0.75, n = 20, peer_count = 8, "
        "estimate_low = 0.2, estimate_high = 0.4, window_start = date '2025-01-01', window_end = date '2025-12-31' "
        "where seller_id = 's1' and factor = 'win_rate'"
    )
    row = tell(diagnosis.format(stage="Discovery"))
    assert (row["source"], row["gap"], row["stage"], row["focus"]) == (
        "diagnosis", "win_rate", "Discovery", "Win more at Discovery"
    )  # fmt: skip
    # Half of the way from 0.4 to 0.6.
    assert (row["evidence_value"], row["evidence_norm"], row["n"]) == (0.4, 0.6, 50)
    assert row["known_by"] == "share of deals that pass the stage Discovery: at least 50.0 % (now 40.0 %)"
    # Of a stage there are no words for, all of the win rate: 0.3 / 0.75 = 0.4, and half of the way 0.35.
    row = tell(diagnosis.format(stage="Elsewhere"))
    assert (row["stage"], row["focus"], row["n"]) == (None, "Win more of the deals you have", 20)
    assert row["evidence_norm"] == pytest.approx(0.4)
    assert row["known_by"] == "share of decided deals that are won: at least 35.0 % (now 30.0 %)"


def test_who_is_below_peers_in_any_table_is_not_told_to_share_by_hand(warehouse: Warehouse, tmp_path: Path) -> None:
    warehouse.load([write_extract(tmp_path / "extract")])
    warehouse.build(date(2026, 3, 2))
    sql = {name: sql for name, _, sql in warehouse.models}[TABLE]

    def tell(*statements: str) -> tuple[str, str]:
        with duckdb.connect(str(warehouse.database)) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.execute(f"create or replace table {TABLE} as {sql}")
        row = told(warehouse.database)["s1"]
        assert row["reason"] == "no clear gap"
        return row["focus"], row["what_to_watch"]

    share, watch = "Keep going and share", "Watch one thing and keep the rest"
    assert tell("update people.rep_diagnosis set reason = null, is_top = false") == (share, "nothing stands out")
    calibration = "calibration: below peers (people.talent_criteria)"
    below = "update people.talent_criteria set verdict = 'below_peers' where seller_id = 's1' and criterion = '{}'"
    assert tell(below.format("calibration")) == (watch, calibration)
    motion = "hunting: 1 of 24 decided deals won, fewer than of like deals (people.role_fit)"
    misfit = "update people.role_fit set verdict = 'misfit', n = 24, won_count = 1 where seller_id = 's1' and motion = "
    assert tell(f"{misfit}'hunting'") == (watch, f"{motion}; {calibration}")
    # The same number of two tables is told once, and the first of several criteria.
    top = (
        "update people.rep_diagnosis set is_top = true, own_ratio = 0.86, own_ratio_high = {} "
        "where seller_id = 's1' and factor = 'deal_size'"
    )
    said = "deal_size: 0.86 times what the median peer makes of the same deals and accounts, "
    assert tell(top.format(0.92), below.format("deal_size")) == (
        watch, f"{said}below, by less than 20 %; {motion}; {calibration}"
    )  # fmt: skip
    assert tell(top.format(1.1)) == (watch, f"{said}not clearly apart; {motion}; {calibration}")
