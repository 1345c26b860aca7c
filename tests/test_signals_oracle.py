"""Reviews, signals, chances and verdicts against the oracle: cell by cell on the demo company, on two dates."""

from __future__ import annotations

import hashlib
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from tests.conftest import DEMO_AS_OF, DEMO_PAST, Run
from tests.extracts import write_extract
from tests.oracles import signals
from tests.oracles.forecasts import Company
from tests.warehouse import Warehouse

TABLES = ["funnel.deal_signals", "funnel.deal_health", "funnel.signal_effectiveness", "funnel.review_agenda"]
OF_A_COMPANY = ["funnel.opportunity_history", "funnel.pipeline_snapshots"]
REVIEW = ["opportunity_id", "snapshot_date"]
KEYS = {
    "intermediate.int_deal_weeks": REVIEW,
    "intermediate.int_deal_norms": ["month_start", "level", "segment", "opportunity_type", "stage"],
    "intermediate.int_deal_reviews": REVIEW,
    "intermediate.int_stage_chances": ["month_start", "opportunity_type", "stage", "stage_time"],
    "intermediate.int_signal_weeks": [*REVIEW, "signal"],
    "intermediate.int_deal_chances": REVIEW,
    "intermediate.int_signal_standing": ["month_start", "signal", "segment"],
    "intermediate.int_deal_verdicts": REVIEW,
    "funnel.deal_signals": ["opportunity_id", "signal"],
    "funnel.deal_health": ["opportunity_id"],
    "funnel.signal_effectiveness": ["signal", "segment"],
    "funnel.review_agenda": ["manager_id", "review_on", "opportunity_id"],
}
PREDICTIONS = "intermediate.int_outcome_predictions"
# In no group had 70 % of the reviews of won deals a specialist.
NEVER_FIRED = {"no_technical_proof"}
# The value of these is not what was seen on the deal but a share of the norm.
WITHOUT_VALUE = {"no_power", "no_technical_proof"}
RELATIVE = 1e-9


# The estimator


ADMISSIONS = [
    (512, 313, 89, 19), (353, 207, 17, 8), (120, 205, 202, 391), (138, 279, 131, 244), (53, 138, 94, 299),
    (22, 351, 24, 317),
]  # fmt: skip


def test_mantel_haenszel_gives_the_published_admissions_to_berkeley() -> None:
    """Bickel, Hammel and O'Connell 1975, Science 187: 398-404, as R's `mantelhaen.test(UCBAdmissions)` gives them.

    Men admitted and rejected, women admitted and rejected.
    """
    assert signals.mantel_haenszel(ADMISSIONS)[0] == pytest.approx(0.9046968, abs=5e-8)


def test_mantel_haenszel_gives_the_published_smokers_of_eight_cities() -> None:
    """Liu 1992, Int. J. Epidemiol. 21: 197-201, in Agresti, Categorical Data Analysis."""
    smokers = [
        (126, 100, 35, 61), (908, 688, 497, 807), (913, 747, 336, 598), (235, 172, 58, 121), (402, 308, 121, 215),
        (182, 156, 72, 98), (60, 99, 11, 43), (104, 89, 21, 36),
    ]  # fmt: skip
    assert signals.mantel_haenszel(smokers)[0] == pytest.approx(2.174, abs=5e-4)


def test_mantel_haenszel_of_one_table_is_its_odds_ratio() -> None:
    assert signals.mantel_haenszel([(10, 20, 5, 40)])[0] == pytest.approx(4)
    assert signals.mantel_haenszel([(0, 0, 5, 40)]) == signals.mantel_haenszel([]) == (None, None)
    # 0 of 3 against 14 of 35: (1/2 x 21 1/2) / (3 1/2 x 14 1/2).
    ratio, error = signals.mantel_haenszel([(0, 3, 14, 21)])
    assert ratio == pytest.approx(10.75 / 50.75)
    assert error == pytest.approx((2 + 1 / 3.5 + 1 / 14.5 + 1 / 21.5) ** 0.5)


@pytest.mark.parametrize("copies", [1, 5])
def test_the_interval_from_leaving_out_parts_is_near_the_published_one_and_knows_copies(copies: int) -> None:
    """Robins, Breslow and Greenland give 0.7719 to 1.0603. To see each applicant five times tells no more."""
    rows = [
        (f"{place} {cell} {number}", place, cell in (0, 1), cell in (0, 2))
        for place, table in enumerate(ADMISSIONS)
        for cell, count in enumerate(table)
        for number in range(count)
        for _ in range(copies)
    ]
    seen = pd.DataFrame(rows, columns=["id", "stratum", "is_man", "is_bad"])
    seen["weight"] = 1 / copies
    seen["part"] = [hashlib.md5(one.encode()).hexdigest()[0] for one in seen["id"]]
    ratio, low, high = signals.odds_of(seen, seen["is_man"].to_numpy())
    assert ratio == pytest.approx(0.9046968, abs=5e-8)
    assert low == pytest.approx(0.7719, abs=0.06)
    assert high == pytest.approx(1.0603, abs=0.09)


def test_nearest_rank_is_a_value_that_was_seen() -> None:
    values = [15, 20, 35, 40, 50]
    shares = {"0.05": 15, "0.3": 20, "0.4": 20, "0.5": 35, "1": 50}
    assert {share: signals.nearest_rank(values, signals.Fraction(share)) for share in shares} == shares
    assert signals.nearest_rank(list(range(1, 11)), signals.Fraction("0.9")) == 9
    assert signals.nearest_rank([None], signals.Fraction("0.9")) is None


# The tables


def rows_of(database: Path, table: str) -> pd.DataFrame:
    with duckdb.connect(str(database), read_only=True) as connection:
        found = connection.execute(f"from {table}")
        names = [column[0] for column in found.description or []]
        return pd.DataFrame(found.fetchall(), columns=names, dtype=object)


@pytest.fixture(scope="module")
def companies() -> dict[date, Company]:
    """Bookings on each date, from tables that have an oracle of their own."""
    return {}


def of_the_model(predictions: pd.DataFrame) -> signals.Modelled:
    """What the outcome model says where it is in use: tests/test_outcome_model.py says whether that is right."""
    told = predictions[predictions["method"] == "model"]
    return {
        (one.opportunity_id, one.snapshot_date): (float(one.p_win), float(one.p_lose + one.p_no_decision))
        for one in told.itertuples()
    }


@pytest.fixture(scope="module")
def published(
    tmp_path_factory: pytest.TempPathFactory,
    demo_run: Run,
    demo_extract: Path,
    facts: signals.Facts,
    companies: dict[date, Company],
) -> dict[date, dict[str, pd.DataFrame]]:
    """What the warehouse says on each date, made anew in a copy."""
    warehouse = Warehouse(demo_run, tmp_path_factory.mktemp("signals") / "home", [*TABLES, *OF_A_COMPANY])
    warehouse.load([demo_extract])
    said = {}
    for day in (DEMO_PAST, DEMO_AS_OF):
        warehouse.build(day)
        said[day] = {table: rows_of(warehouse.database, table) for table in [*KEYS, PREDICTIONS]}
        companies[day] = Company(warehouse.database, facts, day)
    return said


@pytest.fixture(scope="module")
def facts(demo_extract: Path) -> signals.Facts:
    return signals.load([demo_extract])


def tables_of(told: signals.Told) -> dict[str, pd.DataFrame]:
    return {
        "intermediate.int_deal_weeks": told.reviews,
        "intermediate.int_deal_norms": told.norms,
        "intermediate.int_deal_reviews": told.reviews,
        "intermediate.int_stage_chances": told.stage_chances,
        "intermediate.int_signal_weeks": told.fired,
        "intermediate.int_deal_chances": told.chances,
        "intermediate.int_signal_standing": told.standing,
        "intermediate.int_deal_verdicts": told.verdicts,
        "funnel.deal_signals": told.deal_signals,
        "funnel.deal_health": told.deal_health,
        "funnel.signal_effectiveness": told.effectiveness.rename(
            columns={"bad_share": "lost_or_slipped_share", "fired_bad_share": "fired_lost_or_slipped_share"}
        ),
        "funnel.review_agenda": told.agenda,
    }


@pytest.fixture(scope="module")
def expected(
    facts: signals.Facts, published: dict[date, dict[str, pd.DataFrame]], companies: dict[date, Company]
) -> dict[date, dict[str, pd.DataFrame]]:
    return {
        day: tables_of(signals.tell(facts, companies[day], of_the_model(tables[PREDICTIONS])))
        for day, tables in published.items()
    }


OF_THE_MODEL = {"p_win", "p_slip", "p_lose", "expected_amount"}


def is_nothing(value: Any) -> bool:
    return value is None or value is pd.NaT or (isinstance(value, float) and value != value)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def is_same(ours: Any, theirs: Any) -> bool:
    if is_nothing(ours) or is_nothing(theirs):
        return is_nothing(ours) and is_nothing(theirs)
    if is_number(ours) and is_number(theirs):
        return abs(float(ours) - float(theirs)) <= RELATIVE * max(1, abs(float(theirs)))
    return bool(ours == theirs)


def by_key(table: str, rows: pd.DataFrame) -> dict[tuple[Any, ...], dict[str, Any]]:
    if table == "intermediate.int_deal_weeks" and "economic_buyer_count" in rows:
        rows = rows.assign(has_economic_buyer=[count > 0 for count in rows["economic_buyer_count"]])
    found = {}
    for row in rows.astype(object).to_dict("records"):
        found[tuple(None if is_nothing(row[name]) or row[name] == "" else row[name] for name in KEYS[table])] = row
    assert len(found) == len(rows), f"{table}: a key is there twice"
    return found


def differences(table: str, ours: pd.DataFrame, theirs: pd.DataFrame) -> list[tuple[Any, ...]]:
    """Column, key, what the oracle says and what is published; column * where a row is only in one of them."""
    expected, found = by_key(table, ours), by_key(table, theirs)
    if table == "intermediate.int_signal_standing":
        # A cell nobody was decided in has a row or not.
        found = {key: row for key, row in found.items() if key in expected or row["n"] > 0}
    made: list[tuple[Any, ...]] = [("*", key, key in expected, key in found) for key in expected.keys() ^ found.keys()]
    first_row = next(iter(found.values()))
    columns = [name for name in next(iter(expected.values())) if name in first_row]
    assert len(columns) > len(KEYS[table])
    for key in expected.keys() & found.keys():
        for column in columns:
            if column in KEYS[table]:
                continue
            if column in ("value", "norm", "severity") and found[key].get("signal") in WITHOUT_VALUE:
                continue
            # What the outcome model says is none of this oracle's business.
            if column in OF_THE_MODEL and found[key].get("p_method") == "model":
                continue
            if column == "next_action" and found[key]["verdict"] == "de_resource":
                continue
            said = found[key][column]
            if column in ("base_n", "p_n") and is_nothing(said):
                said = 0
            if not is_same(expected[key][column], said):
                made.append((column, key, expected[key][column], said))
    return sorted(made, key=str)


@pytest.mark.parametrize("day", [DEMO_AS_OF, DEMO_PAST])
@pytest.mark.parametrize("table", list(KEYS))
def test_every_cell_is_what_the_oracle_says(
    table: str,
    day: date,
    expected: dict[date, dict[str, pd.DataFrame]],
    published: dict[date, dict[str, pd.DataFrame]],
) -> None:
    ours, theirs = expected[day][table], published[day][table]
    assert len(ours) > 10 and len(theirs) > 10
    differ = differences(table, ours, theirs)
    assert not differ, f"{len(differ)} differ, such as {differ[:5]}"


@pytest.mark.parametrize("day", [DEMO_AS_OF, DEMO_PAST])
def test_what_is_compared_has_something_to_say(day: date, expected: dict[date, dict[str, pd.DataFrame]]) -> None:
    tables = expected[day]
    fired = tables["intermediate.int_signal_weeks"]
    assert set(signals.SIGNALS) - set(fired["signal"]) == NEVER_FIRED
    assert (fired["signal"].value_counts() > 5).sum() == len(signals.SIGNALS) - len(NEVER_FIRED)
    verdicts = tables["intermediate.int_deal_verdicts"]
    assert set(verdicts["verdict"]) == {"on_track", "attention", "extra_effort", "de_resource"}
    assert set(verdicts["rules_required"].dropna()) >= {2, 3}
    assert set(tables["intermediate.int_deal_reviews"]["norm_level"].dropna()) >= {"type and stage", "stage"}
    assert len(verdicts) > 5000 and verdicts["p_win"].notna().sum() > 5000
    judged = tables["intermediate.int_signal_standing"]
    assert set(judged["fired_count"] >= signals.POLICY["signal_minimum_fired"]) == {True, False}


# What the demo company never does


SCENE_DAY = date(2026, 6, 30)
SCENE = {
    "crm_users": [
        "user_id,name,role,manager_id,region,segment,hired_on",
        "h1,Head,executive,,,,2019-01-01",
        "m1,Mara,manager,h1,North,,2020-01-06",
        "s1,Sam,account_executive,m1,North,SMB,2021-03-01",
        "s2,Sofia,account_executive,m1,North,SMB,2021-03-01",
        "t1,Tess,specialist,m1,North,,2021-03-01",
    ],
    "crm_user_roles": [
        "user_id,effective_from,role,manager_id,region,segment",
        "t1,2021-03-01,account_executive,m1,North,",
        "t1,2026-05-20,specialist,m1,North,",
    ],
    "crm_accounts": ["account_id,name,segment", "a1,Arden,SMB"],
    "crm_contacts": ["contact_id,account_id,name,buying_role", "c1,a1,Ann,", "c2,a1,Bo,economic_buyer"],
    "crm_opportunities": [
        "opportunity_id,account_id,owner_id,opportunity_type,stage,forecast_category,amount,currency,created_at,"
        "close_date,competitor,updated_at",
        "o1,a1,s2,new_business,Proposal,pipeline,900,USD,2026-04-01T09:00:00Z,2026-09-30,Acme,2026-06-20T09:00:00Z",
    ],
    "crm_opportunity_changes": [
        "change_id,opportunity_id,field,old_value,new_value,changed_at",
        "h1,o1,stage,Discovery,Solution,2026-04-20T09:00:00Z",
        "h2,o1,amount,1200,900,2026-04-25T09:00:00Z",
        "h3,o1,owner_id,s1,s2,2026-05-01T09:00:00Z",
        "h4,o1,stage,Solution,Proposal,2026-06-20T09:00:00Z",
    ],
    "crm_activities": [
        "activity_id,activity_type,direction,user_id,opportunity_id,contact_id,occurred_at,duration_minutes,is_completed",
        "v1,email,outbound,s1,o1,c1,2026-04-03T09:00:00Z,,true",
        "v2,call,inbound,s1,o1,c1,2026-04-10T09:00:00Z,30,",
        "v3,meeting,outbound,s1,o1,c1,2026-04-14T09:00:00Z,60,false",
        "v4,meeting,,s1,o1,,2026-07-02T09:00:00Z,60,false",
    ],
    "crm_opportunity_contacts": ["opportunity_id,contact_id,buying_role,added_at", "o1,c1,,2026-04-02T09:00:00Z"],
    "crm_qualifications": ["opportunity_id,element,assessed_at,status", "o1,metrics,2026-04-15T09:00:00Z,claimed"],
}
SCENES = [
    pytest.param({}, id="nothing_odd"),
    pytest.param({"crm_activities": ["v9,email,outbound,h1,o1,c1,2026-05-03T09:00:00Z,,true"]}, id="executive_waits"),
    pytest.param(
        {
            "crm_activities": [
                "v9,email,outbound,h1,o1,c1,2026-05-03T09:00:00Z,,true",
                "v11,call,inbound,s2,o1,c2,2026-05-09T09:00:00Z,10,true",
                "v12,task,,s2,o1,c2,2026-05-10T09:00:00Z,10,",
            ],
            "crm_qualifications": ["o1,competition,2026-06-22T09:00:00Z,verified"],
            "crm_opportunity_changes": [
                "h5,o1,competitor,,Acme,2026-06-01T09:00:00Z",
                "h6,o1,close_date,2026-06-15,2026-09-30,2026-06-10T09:00:00Z",
                "h7,o1,next_step,,Call,2026-05-15T09:00:00Z",
            ],
        },
        id="answers_and_pushes",
    ),
    pytest.param(
        {"crm_activities": ["v9,demo,outbound,t1,o1,c1,2026-06-03T09:00:00Z,60,true"]}, id="specialist_by_then"
    ),
    pytest.param(
        {"crm_activities": ["v9,demo,outbound,t1,o1,c1,2026-05-03T09:00:00Z,60,true"]},
        id="specialist_only_since",
    ),
    pytest.param(
        {
            "crm_activities": ["v9,call,inbound,s1,o1,c2,2026-05-03T09:00:00Z,30,true"],
            "crm_opportunity_contacts": ["o1,c2,economic_buyer,2026-06-10T09:00:00Z"],
        },
        id="named_economic_buyer_later",
    ),
    pytest.param(
        {"crm_opportunity_contacts": ["o1,c2,,"]}, id="named_nobody_knows_when"
    ),
    pytest.param(
        {
            "crm_qualifications": [
                "o1,champion,2026-05-03T09:00:00Z,verified",
                "o1,champion,2026-06-03T09:00:00Z,unknown",
            ]
        },
        id="no_longer_known",
    ),
    pytest.param(
        {"crm_activities": ["v9,meeting,internal,s2,o1,,2026-05-08T09:00:00Z,60,true"]},
        id="new_owner_met_colleagues",
    ),
    pytest.param(
        {
            "crm_opportunity_changes": [
                "h5,o1,stage,Solution,Closed Lost,2026-05-10T09:00:00Z",
                "h6,o1,competitor,,Acme,2026-05-12T09:00:00Z",
                "h7,o1,stage,Closed Lost,Solution,2026-05-14T09:00:00Z",
            ]
        },
        id="competitor_named_while_closed",
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def scenery(tmp_path_factory: pytest.TempPathFactory, demo_run: Run) -> Warehouse:
    return Warehouse(demo_run, tmp_path_factory.mktemp("scenes") / "home", ["funnel.deal_signals"])


@pytest.mark.parametrize("more", SCENES)
def test_a_review_sees_what_was_known(more: dict[str, list[str]], scenery: Warehouse, tmp_path: Path) -> None:
    files = {name: "\n".join([*lines, *more.get(name, []), ""]) for name, lines in SCENE.items()}
    directory = write_extract(tmp_path / "extract", extracted_at="2026-06-30T12:00:00Z", **files)
    scenery.load([directory])
    scenery.build(SCENE_DAY)
    table = "intermediate.int_deal_weeks"
    ours = signals.reviews(signals.load([directory]), SCENE_DAY)
    differ = differences(table, ours, rows_of(scenery.database, table))
    assert len(ours) >= 13 and not differ, differ[:5]
