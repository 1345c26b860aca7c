"""The history of deals, and what is counted from it, against the oracle: cell by cell on the demo company."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from tests.conftest import DEMO_AS_OF, DEMO_PAST
from tests.oracles import funnel

KEYS = {
    "opportunity_history": ["opportunity_id", "valid_from"],
    "stage_visits": ["opportunity_id", "visit_number"],
    "pipeline_snapshots": ["snapshot_date", "opportunity_id"],
    "opportunity_movements": ["scope_type", "scope_id", "period_type", "period_start", "movement", "opportunity_id"],
}
HISTORY = [
    "opportunity_id", "valid_from", "valid_to", "stage", "amount_source", "currency_source", "close_date",
    "forecast_category", "owner_id", "is_deleted", "episode",
]  # fmt: skip


def published_rows(database: Path, sql: str) -> pd.DataFrame:
    with duckdb.connect(str(database), read_only=True) as connection:
        return connection.execute(sql).df()


def plain(frame: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """The same cells in one form: text for what is exact, six digits for what is not, in the order of the keys."""
    made = {}
    for name in frame.columns:
        column = frame[name]
        if pd.api.types.is_float_dtype(column) and name == "days":
            made[name] = column.map(lambda value: f"{value:.6f}")
        elif name in ("amount", "amount_source"):
            made[name] = column.map(lambda value: "" if pd.isna(value) else f"{float(value):.4f}")
        elif name in ("close_date", "snapshot_date", "period_start"):
            made[name] = pd.to_datetime(column).dt.strftime("%Y-%m-%d").fillna("")
        elif name in ("valid_from", "valid_to", "entered_at", "exited_at"):
            made[name] = pd.to_datetime(column).dt.strftime("%Y-%m-%d %H:%M:%S.%f").fillna("")
        elif pd.api.types.is_integer_dtype(column) or pd.api.types.is_bool_dtype(column):
            made[name] = column.astype("int64").astype(str)
        else:
            made[name] = column.map(lambda value: "" if pd.isna(value) else str(value))
    return pd.DataFrame(made).sort_values(keys, ignore_index=True)


def assert_same_cells(table: str, ours: pd.DataFrame, theirs: pd.DataFrame) -> None:
    keys = KEYS[table]
    ours, theirs = plain(ours[list(theirs.columns)], keys), plain(theirs, keys)
    both = ours.merge(theirs, on=keys, how="outer", suffixes=("", " of the oracle"), indicator=True)
    alone = both[both["_merge"] != "both"]
    assert alone.empty, f"{table}: {len(alone)} rows on one side only\n{alone.head(8).to_string()}"
    assert len(both) == len(ours) > 0
    for name in set(ours.columns) - set(keys):
        wrong = both[both[name] != both[f"{name} of the oracle"]]
        assert wrong.empty, (
            f"{table}.{name}: {len(wrong)} cells\n{wrong[[*keys, name, f'{name} of the oracle']].head(8).to_string()}"
        )


@pytest.fixture(scope="module")
def facts(demo_extract: Path) -> funnel.Facts:
    return funnel.load([demo_extract])


@pytest.fixture(scope="module", params=[DEMO_AS_OF, DEMO_PAST], ids=str)
def told(request: pytest.FixtureRequest, demo_release: Path, demo_release_past: Path) -> tuple[date, Path]:
    return request.param, demo_release if request.param == DEMO_AS_OF else demo_release_past


def whole_history(database: Path) -> pd.DataFrame:
    """Stretches of the deal itself: those that only its owner's job cuts are put together again."""
    return published_rows(
        database,
        f"""
        with told as (
            select *, hash(stage, amount_source, currency_source, close_date, forecast_category, owner_id, is_deleted,
                episode) as state
            from funnel.opportunity_history
        ), marked as (
            select *, state is distinct from lag(state) over (partition by opportunity_id order by valid_from) as is_new
            from told
        ), numbered as (
            select *, count_if(is_new) over (partition by opportunity_id order by valid_from) as part from marked
        )
        select {", ".join(f"any_value({name}) as {name}" for name in HISTORY if not name.startswith(("valid", "opp")))},
            opportunity_id, min(valid_from) as valid_from,
            case when count(valid_to) = count(*) then max(valid_to) end as valid_to
        from numbered group by opportunity_id, part
        """,
    )


def test_the_history_of_every_deal(facts: funnel.Facts, told: tuple[date, Path]) -> None:
    day, database = told
    theirs = funnel.history(facts, day).rename(columns={"currency": "currency_source"})
    assert_same_cells("opportunity_history", whole_history(database), theirs[HISTORY])


ORACLES: dict[str, Callable[[funnel.Facts, date], pd.DataFrame]] = {
    "stage_visits": funnel.visits,
    "pipeline_snapshots": funnel.snapshots,
}


@pytest.mark.parametrize("table", ORACLES)
def test_visits_and_snapshots(facts: funnel.Facts, told: tuple[date, Path], table: str) -> None:
    day, database = told
    assert_same_cells(table, published_rows(database, f"from funnel.{table}"), ORACLES[table](facts, day))


@pytest.mark.parametrize("period_type", ["month", "quarter", "year"])
def test_movements_of_every_deal_scope_and_period(
    facts: funnel.Facts, told: tuple[date, Path], period_type: str
) -> None:
    day, database = told
    ours = published_rows(database, f"from funnel.opportunity_movements where period_type = '{period_type}'")
    assert_same_cells("opportunity_movements", ours, funnel.movements(facts, day, period_type))


def test_movements_tie_to_the_cent_in_every_scope_and_period(told: tuple[date, Path]) -> None:
    _, database = told
    sums = published_rows(
        database,
        """
        select scope_type, sum(case when movement = 'closing' then -amount else amount end) as gap, count(*) as cells
        from funnel.pipeline_movements where movement != 'overdue'
        group by scope_type, scope_id, period_type, period_start
        """,
    )
    assert set(sums["scope_type"]) == {"company", "region", "segment", "manager", "seller"}
    assert len(sums) > 1_000 and set(sums["cells"]) == {14}
    assert set(sums["gap"]) == {0}
