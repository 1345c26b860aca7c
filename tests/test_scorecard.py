"""The scorecard: every cell worked out a second time, thresholds that move statuses, and nothing said without data."""

from __future__ import annotations

import csv
import math
import shutil
from collections import defaultdict
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from orchestration.ingest.contract import load_source
from tests.conftest import DEMO_AS_OF, DEMO_PAST, Run
from tests.oracles.scorecard import MEASURES, Company, behaviours, judge, metrics, policy, rules, seed
from tests.warehouse import Warehouse

TABLES = ["scorecard.behaviours", "scorecard.world_class_metrics"]
ORDER = [*(f"F{n}" for n in range(1, 6)), *(f"C{n}" for n in range(1, 9))]
ORDER += [*(f"K{n}" for n in range(1, 5)), *(f"E{n}" for n in range(1, 8))]
OPTIONAL = sorted(table.name for table in load_source("extract").tables if not table.is_required)
# Nobody's executive sponsor meets a customer in the demo company, so K4 is 0; the edges below move it.
STILL = {"K4"}


@pytest.fixture(scope="module")
def whole(full_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """The demo company in full, as its run left it."""
    return Warehouse(full_run, tmp_path_factory.mktemp("scorecard_whole") / "home", TABLES, with_extracts=True)


def told(database: Path, table: str) -> dict[str, dict[str, Any]]:
    """The rows of a table by behaviour or measure, in its order, with None for what is null."""
    order = "behaviour_order" if table == "scorecard.behaviours" else "metric_order, measure_order"
    with duckdb.connect(str(database), read_only=True) as connection:
        found = connection.execute(f"from {table} order by {order}")
        names = [column[0] for column in found.description or []]
        rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    return {row[names[0 if table == "scorecard.behaviours" else 1]]: row for row in rows}


def is_same(said: Any, again: Any) -> bool:
    if isinstance(again, pd.Timestamp):
        return bool(said == again.date())
    if isinstance(again, float) and said is not None:
        return math.isclose(float(said), again, rel_tol=1e-9, abs_tol=1e-9)
    return bool(said == again)


def warehouse_of(release: Path) -> Path:
    """The warehouse a release was published from."""
    return release.parents[2] / "warehouse" / "sightline.duckdb"


def insist_on_the_oracle(database: Path, extract: Path, as_of: date) -> None:
    company = Company(database, extract, as_of)
    for table, again in zip(TABLES, (behaviours(company), metrics(company)), strict=True):
        found = told(database, table)
        assert set(again) <= set(found)
        for name, entry in again.items():
            row = found[name]
            assert set(row) == set(entry) | {"reason", "as_of_date"}, name
            differing = {at: (row[at], value) for at, value in entry.items() if not is_same(row[at], value)}
            assert not differing, (name, differing)
            is_told = entry["value"] is not None and entry.get("previous_value", 0) is not None
            assert (row["reason"] is None) == is_told, name
            assert entry["value"] is None or row["reason"] in (None, "no value before"), name
            assert row["as_of_date"] == as_of


def test_every_cell_of_the_full_company_is_that_of_the_second_reckoning(whole: Warehouse, full_extract: Path) -> None:
    insist_on_the_oracle(whole.database, full_extract, DEMO_AS_OF)
    # Enough is told for a difference to show: a table that says nothing agrees with everything.
    assert sum(row["value"] is not None for row in told(whole.database, TABLES[0]).values()) >= 18
    assert all(row["value"] is not None for row in told(whole.database, TABLES[1]).values())


def test_every_cell_of_a_past_day_is_that_of_the_second_reckoning(demo_release_past: Path, demo_extract: Path) -> None:
    insist_on_the_oracle(warehouse_of(demo_release_past), demo_extract, DEMO_PAST)


def test_what_is_published_is_what_the_warehouse_holds(full_run: Run, whole: Warehouse) -> None:
    for table in TABLES:
        assert told(full_run.database, table) == told(whole.database, table)


def test_no_row_says_the_same_of_every_company_and_day(full_run: Run, demo_release_past: Path) -> None:
    for table in TABLES:
        now, then = told(full_run.database, table), told(demo_release_past, table)
        assert list(now) == list(then)
        both = [name for name in now if now[name]["value"] is not None and then[name]["value"] is not None]
        assert len(both) >= 10
        assert {name for name in both if now[name]["value"] == then[name]["value"]} <= STILL


def test_thresholds_decide_every_status(whole: Warehouse) -> None:
    """The policy is changed around each value, and nothing else."""
    before = told(whole.database, TABLES[0])
    ((_, _, sql),) = [model for model in whole.models if model[0] == TABLES[0]]
    judged = {name: row for name, row in before.items() if row["value"] is not None}
    assert len(judged) >= 18
    with duckdb.connect(str(whole.database)) as connection:
        ((schema,),) = connection.execute(
            "select table_schema from information_schema.tables where table_name = 'scorecard_behaviours'"
        ).fetchall()
        for status, met, partly in (("met", 0, -1), ("partly", 1, 0), ("not_met", 2, 1), ("not_met", 1, 1e-6)):
            connection.execute("begin")
            for name, row in judged.items():
                side = 1 if row["is_higher_better"] else -1
                connection.execute(
                    f"update {schema}.scorecard_behaviours set met_at = ?, partly_at = ? where behaviour = ?",
                    [row["value"] + side * met, row["value"] + side * partly, name],
                )
            moved = dict(connection.execute(f"select behaviour, status from ({sql.rstrip().rstrip(';')})").fetchall())
            connection.execute("rollback")
            assert {moved[name] for name in judged} == {status}
            assert all(moved[name] == "not_enough_data" for name in before if name not in judged)
    assert told(whole.database, TABLES[0]) == before


# ---- days on and beside the edges of what counts


def days_ago(days: int) -> str:
    return (DEMO_AS_OF - timedelta(days)).isoformat()


class Additions:
    """Rows to add to an extract."""

    def __init__(self) -> None:
        self.rows: dict[str, list[dict[str, object]]] = defaultdict(list)

    def person(self, user: str, hired_on: str, jobs: list[tuple[str, str]], terminated_on: str = "") -> None:
        job: dict[str, object] = {"user_id": user, "level": 2, "manager_id": "U000015", "segment": "SMB"}
        is_active = str(not terminated_on).lower()
        self.rows["users"].append(
            {**job, "name": user, "role": jobs[-1][1], "hired_on": hired_on, "terminated_on": terminated_on}
            | {"email": f"{user}@meridian.example", "is_active": is_active}
        )
        self.rows["user_roles"] += [{**job, "effective_from": since, "role": role} for since, role in jobs]

    def session(
        self, manager: str, rep: str, day: str, kind: str, *, deal: str = "", action: str = "Meet the buyer"
    ) -> None:
        rows = self.rows["coaching_sessions"]
        rows.append(
            {"session_id": f"SX{len(rows)}", "manager_id": manager, "rep_id": rep, "opportunity_id": deal}
            | {"session_type": kind, "led_by": "rep", "agreed_action": action, "occurred_at": f"{day}T00:00:00Z"}
        )

    def sponsor(self, account: str, sponsor: str, met_on: str | None) -> None:
        plans, meetings = self.rows["account_plans"], self.rows["activities"]
        plans.append(
            {"plan_id": f"NX{len(plans)}", "account_id": account, "fiscal_year": DEMO_AS_OF.year, "status": "active"}
            | {"executive_sponsor_id": sponsor, "approved_on": days_ago(3), "currency": "USD", "target_revenue": 1000}
        )
        if met_on:
            meetings.append(
                {"activity_id": f"VX{len(meetings)}", "activity_type": "meeting", "direction": "outbound"}
                | {"purpose": "value_review", "user_id": "U000013", "account_id": account, "is_completed": "true"}
                | {"occurred_at": f"{met_on}T00:00:00Z", "duration_minutes": 30}
            )

    def write(self, extract: Path) -> None:
        for entity, rows in self.rows.items():
            path = extract / "crm" / f"{entity}.csv"
            with path.open(encoding="utf-8", newline="") as file:
                names = next(csv.reader(file))
            with path.open("a", encoding="utf-8", newline="") as file:
                csv.DictWriter(file, names, restval="", lineterminator="\n").writerows(rows)


@pytest.fixture(scope="module")
def on_and_beside(demo_run: Run, demo_extract: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A tenth of the company with people, plans, meetings and sessions on the days that count and beside them."""
    add = Additions()
    keys = demo_run.query(
        "select account_id from key_accounts.key_account_health where standing = 'on_list' order by account_id"
    )
    sponsor = "U000013"
    met = [(sponsor, days_ago(89)), (sponsor, days_ago(90)), (sponsor, days_ago(91)), (sponsor, days_ago(0))]
    for (account,), (who, day) in zip(keys, [*met, (sponsor, None), ("", days_ago(5))], strict=False):
        add.sponsor(str(account), who, day)
    seller, leader = "account_executive", "manager"
    add.person("XA", "2020-01-01", [("2020-01-01", seller), ("2023-06-30", leader)])
    add.person("XB", "2020-01-01", [("2020-01-01", seller), ("2023-07-01", leader)])
    add.person("XC", "2023-06-29", [("2023-06-29", leader)])
    add.person("XD", "2024-01-01", [("2024-01-01", leader)])
    add.person("XE", "2020-01-01", [("2020-01-01", "specialist"), ("2024-01-01", leader), ("2025-01-01", seller)])
    add.person("XF", "2020-01-01", [("2020-01-01", "development_rep"), ("2025-06-30", leader)], "2026-01-01")
    add.person("XG", "2020-01-01", [("2020-01-01", "customer_success"), (days_ago(0), leader)])
    add.person("XH", "2020-01-01", [("2020-01-01", "account_manager"), (days_ago(-1), leader)])
    for days in (89, 90, 91):
        add.person(f"XN{days}", days_ago(days), [(days_ago(days), seller)])
        add.session("U000015", f"XN{days}", days_ago(days), "skill")
    add.person("XU", "", [(days_ago(300), "account_manager")])
    for days in (-1, 0, 1):
        add.person(f"XL{days}", days_ago(300), [(days_ago(300), seller)], days_ago(days))
        add.session("U000015", f"XL{days}", days_ago(10), "skill")
    add.session("U000015", "U000011", days_ago(90), "skill")
    add.session("U000015", "U000027", days_ago(1), "skill", action="")
    add.session("U000028", "U000028", days_ago(0), "skill")
    ((elsewhere,),) = demo_run.query("select min(opportunity_id) from core.opportunities")
    agenda: list[Any] = demo_run.query(
        "select manager_id, owner_id, opportunity_id, min(review_on) as first_on, max(review_on) "
        "from funnel.review_agenda where manager_id is not null group by all "
        "having first_on >= date '2025-07-01' order by first_on, opportunity_id"
    )
    for place, (manager, owner, deal, first, last) in enumerate(agenda[:60]):
        after, about, kind, who = [
            (first + timedelta(0), deal, "deal_review", owner),
            (first + timedelta(14), "", "skill", owner),
            (first + timedelta(15), "", "skill", owner),
            (first + timedelta(3), elsewhere, "ride_along", owner),
            (first + timedelta(3), "", "pipeline_review", owner),
            (last + timedelta(7), deal, "deal_review", owner),
            (last + timedelta(8), deal, "deal_review", owner),
            (last + timedelta(1), elsewhere, "deal_review", owner),
            (first - timedelta(1), "", "deal_review", owner),
            (first + timedelta(0), deal, "deal_review", "U000028"),
        ][place % 10]
        add.session(manager, who, after.isoformat(), kind, deal=str(about))
    for day in ("2025-06-30", "2025-07-01"):
        add.session(agenda[0][0], agenda[0][1], day, "deal_review")
    folder = tmp_path_factory.mktemp("scorecard_edges")
    shutil.copytree(demo_extract, folder / "extract")
    add.write(folder / "extract")
    warehouse = Warehouse(demo_run, folder / "home", TABLES)
    warehouse.load([folder / "extract"])
    warehouse.build(DEMO_AS_OF, predict_again=False)
    return folder / "extract", warehouse.database


def test_what_lies_on_the_edge_of_a_window_is_told_as_the_rule_says(
    on_and_beside: tuple[Path, Path], demo_run: Run
) -> None:
    extract, database = on_and_beside
    insist_on_the_oracle(database, extract, DEMO_AS_OF)
    before, now = told(demo_run.database, TABLES[0]), told(database, TABLES[0])
    assert all(now[name]["value"] != before[name]["value"] for name in ("C1", "C3", "C5", "C6", "C7", "K4"))
    # By hand: of nine key accounts two met their sponsor in 90 days; of six new managers three had sold before.
    assert (now["K4"]["n"], now["K4"]["value"]) == (9, pytest.approx(2 / 9))
    assert (now["C7"]["n"], now["C7"]["value"]) == (6, 0.5)


# ---- what is not delivered


@pytest.fixture(scope="module", params=[0, 1], ids=["without one half", "without the other half"])
def halved(
    request: pytest.FixtureRequest, demo_run: Run, demo_extract: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[set[str], Path]:
    """The optional entities that were taken away, and the warehouse of what is left."""
    without = set(OPTIONAL[request.param :: 2])
    folder = tmp_path_factory.mktemp("scorecard_half")
    extract = folder / "extract"
    shutil.copytree(demo_extract, extract, ignore=lambda _, names: [n for n in names if n.split(".")[0] in without])
    warehouse = Warehouse(demo_run, folder / "home", TABLES)
    warehouse.load([extract])
    # What the outcome model said is not what is looked at here, and takes long to say again.
    warehouse.build(DEMO_AS_OF, predict_again=False)
    return without, warehouse.database


def test_without_what_it_needs_a_behaviour_is_not_judged_and_says_what_is_missing(
    halved: tuple[set[str], Path], demo_run: Run
) -> None:
    without, database = halved
    assert len(OPTIONAL) == 23
    assert 11 <= len(without) <= 12
    with_all, found = told(demo_run.database, TABLES[0]), told(database, TABLES[0])
    assert list(found) == ORDER
    hit = {rule["behaviour"]: without & set(rule["needs"].split()) for rule in rules()}
    assert sum(bool(missing) for missing in hit.values()) >= 6
    for name, missing in hit.items():
        row = found[name]
        if missing:
            assert row["status"] == "not_enough_data", name
            assert any(row["reason"] == f"{entity} is not delivered" for entity in missing), (name, row["reason"])
            assert (row["value"], row["value_low"], row["value_high"]) == (None, None, None)
            assert (row["is_clear"], row["what_to_do"]) == (None, None)
        elif row["status"] == "not_enough_data":
            assert "delivered" not in row["reason"], name
        else:
            # It needs none of these, but what it counts may be known less well.
            assert row["status"] in ("met", "partly", "not_met")
    told_without = {name for name in ORDER if found[name]["value"] is not None}
    assert told_without
    assert told_without < {name for name in ORDER if with_all[name]["value"] is not None}


def test_without_what_it_needs_a_metric_has_no_value_and_meets_nothing(halved: tuple[set[str], Path]) -> None:
    without, database = halved
    found = told(database, TABLES[1])
    lines = {row["measure"]: row for row in seed("scorecard_metrics")}
    assert list(found) == list(lines)
    hit = {name for name, row in lines.items() if without & set(row["needs"].split())}
    assert hit
    for name in hit:
        row = found[name]
        assert any(row["reason"] == f"{entity} is not delivered" for entity in without), (name, row["reason"])
        assert (row["value"], row["value_low"], row["value_high"], row["change"]) == (None,) * 4
        assert row["direction"] == "not_enough_data"
        assert row["target_standing"] in ("not_enough_data", "no_target")
        assert row["benchmark_standing"] in ("not_enough_data", "no_benchmark")
    assert any(row["value"] is not None for row in found.values())


def test_every_optional_entity_a_behaviour_or_metric_needs_can_be_missing() -> None:
    needs = {entity for row in [*rules(), *seed("scorecard_metrics")] for entity in row["needs"].split()}
    every = {table.name for table in load_source("extract").tables}
    assert needs <= every
    assert len(needs & set(OPTIONAL)) >= 12


# ---- the seeds


def test_the_24_behaviours_are_there_once_and_in_order() -> None:
    assert [rule["behaviour"] for rule in rules()] == ORDER == list(MEASURES)
    assert [rule["behaviour_order"] for rule in rules()] == list(range(1, 25))
    assert len({rule["measure"] for rule in rules()}) == len({rule["name"] for rule in rules()}) == 24


def test_the_words_say_the_distance_from_the_end_that_policy_has() -> None:
    weeks = int(policy("scorecard_policy")["scorecard_forecast_weeks"])
    said = [rule["what_is_measured"] for rule in rules() if rule["behaviour"] == "E1"]
    of_errors = [row for row in seed("scorecard_metrics") if row["metric"] == "forecast_accuracy"]
    said += [row["name"] for row in of_errors]
    assert all(f"{weeks} weeks before the end" in words for words in said) and len(said) == 3
    assert all(f"weeks_before_end = {weeks}" in row["evidence_filter"] for row in of_errors)


@pytest.mark.parametrize("rule", rules(), ids=ORDER)
def test_a_behaviour_has_a_rule_words_and_thresholds_in_order(rule: dict[str, Any]) -> None:
    for name in ("name", "measure", "what_is_measured", "what_to_do", "needs", "evidence_table"):
        assert rule[name].strip() == rule[name] != ""
    assert rule["unit"] in ("share", "ratio", "months")
    assert rule["minimum_n"] > 0
    side = 1 if rule["is_higher_better"] else -1
    assert side * rule["met_at"] > side * rule["partly_at"]
    # One row on each side of both thresholds: they can be reached from either.
    for value, status in (
        (rule["met_at"], "met"),
        (rule["met_at"] - side * 1e-6, "partly"),
        (rule["partly_at"], "partly"),
        (rule["partly_at"] - side * 1e-6, "not_met"),
    ):
        assert judge(rule, (rule["minimum_n"], value, value, value), [])["status"] == status
    assert judge(rule, (rule["minimum_n"] - 1, rule["met_at"], None, None), [])["status"] == "not_enough_data"


@pytest.mark.parametrize("rule", rules(), ids=ORDER)
def test_the_evidence_of_a_behaviour_is_published(rule: dict[str, Any], full_run: Run) -> None:
    schema, table = rule["evidence_table"].split(".")
    published = full_run.query(
        f"select 1 from information_schema.tables where table_schema = '{schema}' and table_name = '{table}'"
    )
    assert published
    ((rows,),) = full_run.query(f"select count(*) from {rule['evidence_table']}")
    assert int(str(rows)) > 0


def test_a_benchmark_has_a_source_and_a_year_and_what_has_none_says_why() -> None:
    lines = seed("scorecard_metrics")
    assert len({row["measure"] for row in lines}) == len(lines)
    assert [row["metric"] for row in lines if row["is_headline"] == "true"] == [
        "sales_growth",
        "account_retention",
        "forecast_accuracy",
        "quota_attainment",
        "opportunity_growth",
        "account_growth",
    ]
    for row in lines:
        published = [row["benchmark_low"], row["benchmark_high"], row["benchmark_source"], row["benchmark_year"]]
        assert all(published) or not any(published), row["measure"]
        assert row["benchmark_note"], row["measure"]
        if all(published):
            assert float(row["benchmark_low"]) <= float(row["benchmark_high"])
            assert row["benchmark_year"] in row["benchmark_source"] or "20" not in row["benchmark_source"]
            assert 2015 <= int(row["benchmark_year"]) <= DEMO_AS_OF.year
        assert row["is_higher_better"] in ("true", "false")


@pytest.mark.parametrize("row", seed("scorecard_metrics"), ids=[row["measure"] for row in seed("scorecard_metrics")])
def test_the_evidence_of_a_metric_is_found_by_its_filter(row: dict[str, str], full_run: Run) -> None:
    ((found, every),) = full_run.query(
        f"select count(*) filter (where {row['evidence_filter']}), count(*) from {row['evidence_table']}"
    )
    assert 0 < int(str(found)) <= int(str(every))
