"""The page Data, and what all pages share, in a real browser."""

from __future__ import annotations

import io
from typing import Any

import pandas as pd
import pytest

from dashboards.app import PAGES
from orchestration.settings import PROJECT_ROOT
from tests.browser import NARROW, choose, downloaded, drawn, every_part, figures, opened, overflow, part, text, widths
from tests.conftest import DEMO_AS_OF, Run


def test_the_page_says_of_what_release_it_is_and_since_when(chromium: Any, demo_pages: str, full_run: Run) -> None:
    release = full_run.database.resolve().parent.name
    with opened(chromium, f"{demo_pages}/data") as page:
        said = text(page)
        assert f"As of {DEMO_AS_OF.day} June 2026 · release {release}" in said
        assert "this machine only, no login" in said
        delivered = full_run.query("select count(*) filter (where is_delivered), count(*) from core.data_coverage")[0]
        assert figures(page)["Entities delivered"] == str(delivered[0])
        assert f"of {delivered[1]}" in said
        tables = [str(row[0]) for row in full_run.query("select schema_name || '.' || table_name from duckdb_tables()")]
        counted = sum(int(str(full_run.query(f"select count(*) from {table}")[0][0])) for table in tables)
        assert figures(page)["Rows in the release"] == f"{counted:,}"
        part(page, "Quarantine")
        assert "9 rows could not be used" in text(page)


def test_the_first_page_has_a_name_too(chromium: Any, demo_pages: str) -> None:
    with opened(chromium, f"{demo_pages}/this_week") as page:
        assert "Page not found" not in page.inner_text("body")
        named = text(page)
    with opened(chromium, demo_pages) as page:
        assert text(page) == named


def test_a_table_is_chosen_by_keyboard_and_stays_chosen(chromium: Any, demo_pages: str, full_run: Run) -> None:
    with opened(chromium, f"{demo_pages}/data") as page:
        choose(page, "Table", "funnel.win_rates")
        assert "table=funnel.win_rates" in page.url
        page.reload()
        drawn(page)
        said = text(page)
        assert "One row per basis, dimension and member" in said
        assert "By the policies, seeds/….csv" in said
        whole = full_run.query("select count(*) from funnel.win_rates")[0][0]
        assert f"the release has {whole}" in said
        rows = pd.read_csv(io.BytesIO(downloaded(page, "CSV", 1)))
        assert len(rows) == 200
        book = pd.read_excel(io.BytesIO(downloaded(page, "Excel", 1)))
        pd.testing.assert_frame_equal(book[["dimension", "n"]], rows[["dimension", "n"]])


def test_a_definition_is_one_step_from_its_number(chromium: Any, demo_pages: str) -> None:
    with opened(chromium, f"{demo_pages}/data?table=funnel.win_rates&column=win_rate") as page:
        assert "won / (won + lost + no decision)" in text(page)
    with opened(chromium, f"{demo_pages}/data?table=funnel.win_rates%3B+drop+table&column=x") as page:
        assert figures(page)["Entities delivered"], "a table that is not there is no table"


def test_what_is_not_delivered_is_said(chromium: Any, maven_pages: str, maven_run: Run) -> None:
    missing = [str(row[0]) for row in maven_run.query("select entity from core.data_coverage where not is_delivered")]
    assert len(missing) > 10
    with opened(chromium, f"{maven_pages}/data") as page:
        part(page, "Coverage")
        said = text(page)
        assert "Not delivered:" in said
        assert all(entity in said for entity in missing)


@pytest.mark.long
def test_it_is_readable_on_a_phone_and_on_a_wall(chromium: Any, demo_pages: str) -> None:
    with opened(chromium, f"{demo_pages}/data", width=NARROW) as page:
        for _ in widths(page):
            assert page.locator("[data-testid=stMetric]").first.bounding_box()["width"] > 150
        assert [overflow(page) for _ in every_part(page) for _ in widths(page)] == [0] * 8


def test_each_page_is_in_the_docs_with_its_picture() -> None:
    told = (PROJECT_ROOT / "docs" / "pages.md").read_text(encoding="utf-8")
    for name, title, _ in PAGES:
        assert f"| {title} | " in told
        assert f"(screenshots/{name}.jpg)" in told
        assert (PROJECT_ROOT / "docs" / "screenshots" / f"{name}.jpg").stat().st_size > 10_000
