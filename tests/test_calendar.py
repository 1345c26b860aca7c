"""The fiscal calendar against calendars published elsewhere, through the SQL that was compiled for a run."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import duckdb
import pytest

from tests.conftest import DEMO_AS_OF, Run

# National Retail Federation, 4-5-4 calendars: first day of the fiscal year and number of weeks.
RETAIL_YEARS = {
    2012: (date(2012, 1, 29), 53),
    2013: (date(2013, 2, 3), 52),
    2017: (date(2017, 1, 29), 53),
    2018: (date(2018, 2, 4), 52),
    2023: (date(2023, 1, 29), 53),
    2024: (date(2024, 2, 4), 52),
}


@pytest.fixture
def calendar_sql(demo_run: Run) -> str:
    path = demo_run.home / "dbt" / "target" / "compiled" / "sightline" / "models" / "marts" / "core" / "calendar.sql"
    sql = path.read_text()
    assert f"'{DEMO_AS_OF}'" in sql
    return sql


def calendar(
    tmp_path: Path, sql: str, policy: tuple[object, ...], first: date, as_of: date
) -> duckdb.DuckDBPyConnection:
    """Builds the calendar for a company whose first deal is of `first`."""
    connection = duckdb.connect(str(tmp_path / "sightline.duckdb"))
    connection.execute("create schema policy; create schema intermediate")
    connection.execute(
        "create table policy.fiscal_calendar (calendar_type varchar, first_month int, week_starts_on int, "
        "year_end_rule varchar, year_named_after varchar)"
    )
    connection.execute("insert into policy.fiscal_calendar values (?, ?, ?, ?, ?)", policy)
    connection.execute(
        "create table intermediate.int_opportunities_known as "
        "select ?::timestamp as created_at, null::date as close_date, null::timestamp as closed_at",
        [first],
    )
    finance = {"subscriptions": "start_date", "invoices": "invoice_date", "credit_notes": "credit_date"}
    for entity, column in finance.items():
        connection.execute(f"create table intermediate.int_{entity}_versions ({column} date)")
    connection.execute(f"create table calendar as {sql.replace(str(DEMO_AS_OF), str(as_of))}")
    return connection


def test_retail_years_are_those_of_the_national_retail_federation(calendar_sql: str, tmp_path: Path) -> None:
    built = calendar(tmp_path, calendar_sql, ("4-5-4", 2, 7, "nearest", "start"), date(2012, 6, 1), date(2023, 6, 30))
    years = built.execute(
        "select fiscal_year, min(day), max(fiscal_week) from calendar group by 1 having fiscal_year in "
        f"({', '.join(map(str, RETAIL_YEARS))})"
    ).fetchall()
    assert {year: (start, weeks) for year, start, weeks in years} == RETAIL_YEARS
    # February has four weeks, March five, April four; a 53rd week makes the last month longer.
    assert built.execute(
        "select fiscal_month, count(*) / 7 from calendar where fiscal_year = 2023 group by 1 order by 1"
    ).fetchall() == [(month, weeks) for month, weeks in enumerate([4, 5, 4, 4, 5, 4, 4, 5, 4, 4, 5, 5], start=1)]


def test_a_year_that_ends_on_the_last_saturday_of_september(calendar_sql: str, tmp_path: Path) -> None:
    """Apple's annual reports: fiscal 2022 ended 2022-09-24 after 52 weeks, fiscal 2023 ended 2023-09-30 after 53."""
    built = calendar(tmp_path, calendar_sql, ("4-4-5", 10, 7, "last", "end"), date(2021, 12, 1), date(2024, 2, 1))
    years = built.execute(
        "select fiscal_year, max(day), max(fiscal_week) from calendar "
        "where fiscal_year in (2022, 2023) group by 1 order by 1"
    ).fetchall()
    assert years == [(2022, date(2022, 9, 24), 52), (2023, date(2023, 9, 30), 53)]


def test_calendar_months_from_april_are_named_after_the_year_they_end_in(calendar_sql: str, tmp_path: Path) -> None:
    built = calendar(tmp_path, calendar_sql, ("calendar", 4, 1, "last", "end"), date(2024, 5, 1), date(2025, 1, 15))
    row = built.execute(
        "select quarter_name, month_name, quarter_start, quarter_end, year_start, year_end, week_start, week_end "
        "from calendar where day = '2025-01-15'"
    ).fetchone()
    assert row == (
        "2025-Q4", "2025-M10", date(2025, 1, 1), date(2025, 3, 31), date(2024, 4, 1), date(2025, 3, 31),
        date(2025, 1, 13), date(2025, 1, 19),
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["calendar", "4-4-5", "4-5-4", "5-4-4"])
def test_every_day_is_there_once_and_periods_nest(calendar_sql: str, tmp_path: Path, kind: str) -> None:
    built = calendar(tmp_path, calendar_sql, (kind, 7, 1, "nearest", "start"), date(2019, 3, 3), date(2024, 2, 29))
    days, distinct, first, last = built.execute(
        "select count(*), count(distinct day), min(day), max(day) from calendar"
    ).fetchone() or (0, 0, date.min, date.min)
    assert days == distinct == (last - first).days + 1
    assert first <= date(2019, 3, 3) and last >= date(2025, 12, 28)
    assert built.execute(
        "select count(*) from calendar where not (day between month_start and month_end "
        "and month_start >= quarter_start and month_end <= quarter_end "
        "and quarter_start >= year_start and quarter_end <= year_end and day between week_start and week_end)"
    ).fetchone() == (0,)
    assert built.execute(
        "select distinct count(distinct fiscal_quarter) from calendar group by fiscal_year"
    ).fetchall() == [(4,)]
