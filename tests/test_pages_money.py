"""The pages on numbers in a real browser: what stands on them is what the release says, asked for by other ways."""

from __future__ import annotations

import io
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pandas as pd
import pytest

from dashboards.access import viewer_of
from dashboards.filters import Chosen, current_period
from dashboards.pages import funnel as funnel_page
from dashboards.pages import pricing, reconciliation
from dashboards.parts import number_width
from dashboards.release import Release
from tests import browser
from tests.browser import NARROW, drawn, every_part, figures, opened, overflow, part, text, widths
from tests.conftest import Run

PAGES = ("funnel", "forecast", "reconciliation", "pricing")
# The demo company is told as of the last day of this quarter.
QUARTER, START, NEXT = "2026-Q2", "2026-04-01", "2026-07-01"


def money(value: object) -> str:
    """An amount as people say it, with three or four figures."""
    number = float(str(value))
    for step, name in ((1e9, "bn"), (1e6, "m"), (1e3, "k")):
        if abs(number) >= step:
            figure = number / step
            digits = 0 if abs(figure) >= 100 else 1 if abs(figure) >= 10 else 2
            return f"{figure:.{digits}f}{name} USD"
    return f"{number:.0f} USD"


def percent(value: object) -> str:
    return f"{float(str(value)) * 100:.1f} %"


def one(run: Run, sql: str) -> Any:
    return run.query(sql)[0][0]


def file_of(page: Any, table: str, words: str = "csv") -> bytes:
    """What a table's own download button gives."""
    with page.expect_download(timeout=60_000) as waiting:
        page.locator(f".st-key-{table}-{words} button").click()
    return Path(waiting.value.path()).read_bytes()


def rows_of(page: Any, table: str) -> pd.DataFrame:
    """The downloaded rows of a table, as they were written."""
    return pd.read_csv(io.BytesIO(file_of(page, table)), dtype=str, keep_default_na=False)


def choose(page: Any, label: str, option: str, key: str) -> None:
    """Sets a filter by the keyboard alone, and waits until it stands in the address under its key."""
    browser.choose(page, label, option)
    page.wait_for_url(lambda url: key in parse_qs(urlsplit(url).query), timeout=30_000)
    drawn(page)


def added(amounts: pd.Series) -> Decimal:
    """A sum without the error of binary fractions; cells have up to four decimals."""
    return sum((Decimal(amount).quantize(Decimal("0.0001")) for amount in amounts), Decimal(0))


@pytest.fixture(scope="module")
def chief(full_run: Run) -> tuple[str, str]:
    """A manager of managers: id and name."""
    found = full_run.query(
        "select rep_id, name from core.reps where is_current and rep_id in (select manager_id from core.reps "
        "where is_current and rep_id in (select manager_id from core.reps where is_current)) "
        "and manager_id is not null order by rep_id limit 1"
    )
    return str(found[0][0]), str(found[0][1])


@pytest.fixture(scope="module")
def funnel(chromium: Any, demo_pages: str) -> Iterator[Any]:
    with opened(chromium, f"{demo_pages}/funnel") as page:
        yield page


def test_the_funnel_says_whether_there_is_enough(funnel: Any, full_run: Run) -> None:
    target, booked, pipeline = full_run.query(
        f"""select (select target from funnel.pipeline_coverage where scope_type = 'company'
                    and period_type = 'quarter' and period_start = '{NEXT}'),
                   (select coalesce(sum(amount), 0) from core.opportunities where is_won and not is_deleted
                    and closed_on between '{NEXT}' and '2026-09-30'),
                   (select sum(amount) from core.opportunities where is_open and not is_deleted
                    and close_date between '{NEXT}' and '2026-09-30')"""
    )[0]
    needed = one(
        full_run,
        f"select required_coverage from funnel.pipeline_coverage where scope_type = 'company' "
        f"and period_type = 'quarter' and period_start = '{NEXT}'",
    )
    missing = float(target) - float(booked)
    said, shown = text(funnel), figures(funnel)
    assert shown["Coverage, 2026-Q3"] == f"{float(pipeline) / missing:.2f}×"
    assert f"{money(missing)} is missing to the target of {money(target)}" in said
    assert f"the open pipeline of {money(pipeline)}" in said
    lacking = needed * missing - float(pipeline)
    assert (f"{money(lacking)} of pipeline is lacking" in said) == (lacking > 0)
    won, n = full_run.query(
        "select count(*) filter (where is_won), count(*) from core.opportunities where not is_deleted "
        f"and closed_on between '{START}' and '2026-06-30' and created_on is not null and amount is not null"
    )[0]
    assert shown[f"Win rate, {QUARTER}"] == percent(int(str(won)) / int(str(n)))
    assert f"n = {n}" in said


def test_the_waterfall_adds_up_to_the_cent_and_is_what_the_release_says(funnel: Any, full_run: Run) -> None:
    part(funnel, "Movements")
    rows = rows_of(funnel, "pipeline_waterfall")
    amounts = dict(zip(rows["label"], rows["amount"], strict=True))
    assert added(rows["amount"].iloc[:-1]) == added(rows["amount"].iloc[-1:])
    assert "add up to the closing, to the cent" in text(funnel)
    opening, created, won, slipped, closing = full_run.query(
        f"""with deals as (
                select distinct on (opportunity_id, movement) opportunity_id, movement, amount
                from funnel.opportunity_movements where scope_type = 'company' and period_type = 'quarter'
                and period_start = '{START}')
            select sum(amount) filter (where movement = 'opening'), sum(amount) filter (where movement = 'created'),
                   sum(amount) filter (where movement = 'won'), sum(amount) filter (where movement = 'pushed_out'),
                   sum(amount) filter (where movement = 'closing') from deals"""
    )[0]
    # Deals that closed twice in a quarter would make this another sum; the demo company has none in this one.
    assert added(pd.Series([amounts["Open at the start"]])) == opening
    assert added(pd.Series([amounts["New"]])) == created
    assert added(pd.Series([amounts["Won"]])) == won
    assert added(pd.Series([amounts["Slipped to later"]])) == slipped
    assert added(pd.Series([amounts["Still open at the end"]])) == closing
    assert f"{QUARTER} opened with {money(opening)}" in text(funnel)


def test_stages_and_win_rates_are_those_of_the_deals(funnel: Any, full_run: Run) -> None:
    part(funnel, "Stages")
    stages = rows_of(funnel, "stage_conversion")
    entered = dict(
        full_run.query(
            "select stage, count(*) from funnel.stage_visits where entered_at >= '2026-04-01' "
            "and entered_at < '2026-07-01' group by stage"
        )
    )
    now = stages[stages["quarter"] == QUARTER]
    assert {row.stage: int(str(row.entered_count)) for row in now.itertuples()} == {
        stage: count for stage, count in entered.items() if stage in set(now["stage"])
    }
    assert len(now) > 3
    assert (now["conversion_rate_low"].astype(float) <= now["conversion_rate"].astype(float)).all()
    part(funnel, "Win rates")
    rates = rows_of(funnel, "win_rates_by_segment")
    found = full_run.query(
        "select segment, count(*), count(*) filter (where is_won) from core.opportunities "
        "where not is_deleted and not is_before_losses and (is_won or is_lost or is_no_decision) group by segment"
    )
    ((left_out,),) = full_run.query("select count(*) from core.opportunities where is_before_losses")
    assert left_out > 100 and f"{left_out:,} won before a lost one is on record" in text(funnel)
    assert {row.member_name: (int(str(row.n)), int(str(row.won_count))) for row in rates.itertuples()} == {
        segment: (n, won) for segment, n, won in found
    }
    n, won = sum(int(str(row[1])) for row in found), sum(int(str(row[2])) for row in found)
    assert f"Of all decided deals {percent(won / n)}" in text(funnel)
    assert f"n = {n:,}" in text(funnel)


def test_team_and_quarter_are_in_the_address_and_survive_a_reload(
    chromium: Any, demo_pages: str, full_run: Run, chief: tuple[str, str]
) -> None:
    manager, name = chief
    won = one(
        full_run,
        "select -amount from funnel.pipeline_movements where scope_type = 'manager' and period_type = 'quarter' "
        f"and scope_id = '{manager}' and period_start = '2026-01-01' and movement = 'won'",
    )
    with opened(chromium, f"{demo_pages}/funnel") as page:
        choose(page, "Team", name, "team")
        choose(page, "Quarter", "2026-Q1", "period")
        part(page, "Movements")
        choose(page, "Deals behind a bar", "Won", "funnel_movement")
        asked = parse_qs(urlsplit(page.url).query)
        assert asked == {
            "team": [name],
            "period": ["2026-Q1"],
            "funnel_part": ["Movements"],
            "funnel_movement": ["Won"],
        }
        page.reload()
        drawn(page)
        said = text(page)
        assert f"2026-Q1 is over for the team of {name}" in said
        assert f"{money(won)} (" in said
        behind = rows_of(page, "deals_behind_the_bar")
        below = {
            str(row[0])
            for row in full_run.query(
                "select distinct moved.opportunity_id from funnel.opportunity_movements as moved "
                "where moved.scope_type = 'manager' "
                f"and moved.scope_id = '{manager}' and moved.period_type = 'quarter' "
                "and moved.period_start = '2026-01-01' and moved.movement = 'won'"
            )
        }
        assert len(behind) == min(len(below), 25) > 0
        assert set(behind["opportunity_id"]) <= below


def test_the_forecast_says_its_range_and_what_it_was_worth(chromium: Any, demo_pages: str, full_run: Run) -> None:
    median, low, high, target = full_run.query(
        "select median, p10, p90, target from forecast_accuracy.outlook where scope_type = 'company' "
        f"and period_type = 'quarter' and period_start = '{NEXT}'"
    )[0]
    # Worked out of single forecasts, not of the table the page reads.
    errors: dict[str, float] = {
        str(method): float(str(error))
        for method, error in full_run.query(
            "with told as (select *, dense_rank() over (order by period_start desc) as place "
            "from forecast_accuracy.forecast_error where scope_type = 'company' and period_type = 'quarter' "
            "and weeks_before_end = 8) select method, sum(abs(forecast_amount - actual_amount)) / sum(actual_amount) "
            "from told where place <= 8 group by method"
        )
    }
    naive = min(errors["naive_last_period"], errors["naive_last_year"])
    with opened(chromium, f"{demo_pages}/forecast") as page:
        said, shown = text(page), figures(page)
        assert shown["Expected, 2026-Q3"] == money(median)
        assert f"between {money(low)} and {money(high)}" in said
        gap = float(str(target)) - float(str(median))
        assert f"{money(abs(gap))} {'short of' if gap > 0 else 'above'} the target of {money(target)}" in said
        assert f"the outcome model was off by {percent(errors['model'])} over 8 quarters" in said
        assert f"by {percent(naive)}: {abs(naive - errors['model']) * 100:.1f} points better" in said

        habits = {
            str(verdict): int(str(count))
            for verdict, count in full_run.query(
                "select verdict, count(*) from forecast_accuracy.submitter_credibility "
                "where period_type = 'quarter' and horizon = 'all' group by verdict"
            )
        }
        unknown = habits.pop("not enough calls") + habits.pop("unclear")
        judged = sum(habits.values())
        assert f"Calls of {judged} people can be judged, of {unknown} not yet" in said
        assert f"{habits['optimist']} called more than came" in said
        part(page, "Whose calls hold")
        callers = rows_of(page, "callers")
        for row in callers.itertuples():
            assert float(str(row.bias_low)) <= float(str(row.bias)) <= float(str(row.bias_high))
        assert (callers["verdict"] != "steady").sum() == habits["optimist"] + habits["sandbagger"]

        part(page, "Week by week")
        weeks = rows_of(page, "forecast_by_week")
        held = full_run.query(
            "select weeks_before_end, round(forecast_amount, 2)::varchar from forecast_accuracy.period_forecasts "
            f"where scope_type = 'company' and period_type = 'quarter' and period_start = '{START}' "
            "and method = 'model'"
        )
        assert {row.weeks_before_end: f"{float(str(row.forecast_amount)):.2f}" for row in weeks.itertuples()} == {
            str(week): amount for week, amount in held
        }
        part(page, "Calibration")
        tenths = rows_of(page, "calibration")
        assert len(tenths) == 10
        reviews = one(
            full_run,
            "select n from forecast_accuracy.calibration where method = 'model' and horizon = 'quarter' "
            "and bin = 'all'",
        )
        assert sum(int(str(n)) for n in tenths["n"]) == reviews, "all tenths together are not one of them"


def test_weeks_before_the_end_are_chosen_by_keyboard(chromium: Any, demo_pages: str, full_run: Run) -> None:
    with opened(chromium, f"{demo_pages}/forecast") as page:
        choose(page, "Weeks before the end of the quarter", "2", "forecast_week")
        week = int(parse_qs(urlsplit(page.url).query)["forecast_week"][0])
        gained, low = full_run.query(
            "select value_added_over_naive, value_added_over_naive_low from forecast_accuracy.forecast_value_added "
            "where scope_type = 'company' and period_type = 'quarter' and method = 'model' "
            f"and weeks_before_end = {week}"
        )[0]
        said = text(page)
        assert f"{week} weeks before the end the outcome model" in said
        assert f"{abs(float(str(gained))) * 100:.1f} points" in said
        assert f"(90 %: {float(str(low)) * 100:+.1f} to" in said


def test_breaks_are_listed_and_downloaded_as_shown(chromium: Any, demo_pages: str, full_run: Run) -> None:
    held = full_run.query(
        "select row_id, amount_difference, owner, age_days from reconciliation.booking_to_billing where is_break"
    )
    with opened(chromium, f"{demo_pages}/reconciliation") as page:
        said, shown = text(page), figures(page)
        assert shown["Breaks"] == str(len(held))
        assert shown["Differing in them"] == money(sum(abs(float(str(row[1]))) for row in held))
        assert f"{sum(int(str(row[3])) > 90 for row in held)} of them can be seen for more than 90 days" in said
        rows = rows_of(page, "breaks")
        assert sorted(rows["row_id"]) == sorted(str(row[0]) for row in held)
        differs = {str(row[0]): row[1] for row in held}
        for row in rows.itertuples():
            assert Decimal(str(row.amount_difference)).quantize(Decimal("0.0001")) == differs[str(row.row_id)]
        assert (rows["what_is_wrong"] != "").all() and (rows["what_to_do"] != "").all() and (rows["owner"] != "").all()
        book = pd.read_excel(io.BytesIO(file_of(page, "breaks", "xlsx")))
        assert list(book["row_id"]) == list(rows["row_id"])
        assert list(book.columns) == list(rows.columns)

        choose(page, "Who must act", "Finance", "break_owner")
        assert parse_qs(urlsplit(page.url).query)["break_owner"] == ["Finance"]
        page.reload()
        drawn(page)
        mine = rows_of(page, "breaks")
        assert set(mine["owner"]) == {"finance"}
        assert len(mine) == sum(row[2] == "finance" for row in held)


def test_the_bridge_ties_to_the_cent_in_every_currency(chromium: Any, demo_pages: str, full_run: Run) -> None:
    booked, billed_later = full_run.query(
        f"""select (select sum(amount) from core.opportunities where is_won and not is_deleted
                    and closed_on between '{START}' and '2026-06-30'),
                   (select sum(amount) from reconciliation.billing_documents
                    where document_on between '{START}' and '2026-06-30')"""
    )[0]
    euro = one(
        full_run,
        "select sum(amount_source) from reconciliation.billing_documents where currency_source = 'EUR' "
        f"and document_on between '{START}' and '2026-06-30'",
    )
    with opened(chromium, f"{demo_pages}/reconciliation?reconciliation_part=Bridge") as page:
        rows = rows_of(page, "booking_bridge")
        assert added(rows["amount"].iloc[:-1]) == added(rows["amount"].iloc[-1:]) == billed_later
        assert added(rows["amount"].iloc[:1]) == booked
        assert "add up to what finance billed, to the cent" in text(page)
        share = one(
            full_run,
            "select sum(told.finance_amount_at_plan) / sum(told.crm_amount) "
            "from reconciliation.booking_to_billing as told where told.row_type = 'deal' "
            f"and told.booked_on between '{START}' and '2026-06-30'",
        )
        assert figures(page)[f"Billed, {QUARTER}"] == percent(share)
        choose(page, "Currency", "EUR", "bridge_currency")
        rows = rows_of(page, "booking_bridge")
        assert added(rows["amount"].iloc[:-1]) == added(rows["amount"].iloc[-1:]) == euro


def test_prices_are_those_of_the_lines_and_exceptions_say_what_to_do(
    chromium: Any, demo_pages: str, full_run: Run
) -> None:
    # Of sellers, where the page reads the company's row: their lines are the same ones, once each.
    kept = one(
        full_run,
        "select sum(net_amount) / sum(list_amount) from pricing.price_realization where basis = 'booked' "
        f"and dimension = 'seller' and period_type = 'quarter' and period_start = '{START}'",
    )
    still_open, won = full_run.query(
        "select count(*) filter (where is_open), count(*) filter (where not is_open) from pricing.discount_exceptions"
    )[0]
    with opened(chromium, f"{demo_pages}/pricing") as page:
        said, shown = text(page), figures(page)
        assert shown["Kept of list price"] == percent(kept)
        assert shown["Open, out of policy"] == str(still_open)
        assert f"{int(str(still_open)) + int(str(won))} deals of the company are outside of the discount policy" in said
        rows = rows_of(page, "discount_exceptions")
        assert list(rows["is_open"]) == ["True"] * int(str(still_open)) + ["False"] * int(str(won))
        assert (rows["what_to_do"] != "").all()
        for name in rows.loc[rows["is_open"] == "True", "opportunity_name"]:
            assert name in said, "what is open is told in words"
        lift, n = full_run.query(
            "select period_end_lift, late_n from pricing.discount_discipline where scope_type = 'company'"
        )[0]
        assert shown["Quarter-end lift"] == percent(lift)
        assert f"n = {n}" in said
        above = full_run.query(
            "select scope_name, excess from pricing.discount_discipline "
            "where verdict = 'above_like_deals' and scope_type = 'region'"
        )
        for region, excess in above:
            assert f"The region {region} gives {float(str(excess)) * 100:.1f} points more discount" in said
        part(page, "Discipline")
        compared = rows_of(page, "discount_discipline")
        assert set(compared["scope_name"]) == {
            row[0]
            for row in full_run.query(
                "select scope_name from pricing.discount_discipline where scope_type = 'region' and n > 0"
            )
        }
        choose(page, "Segment", "SMB", "segment")
        part(page, "Exceptions")
        few = one(full_run, "select count(*) from pricing.discount_exceptions where segment = 'SMB'")
        assert f"{few} deals of the segment SMB are outside of the discount policy" in text(page)
        assert set(rows_of(page, "discount_exceptions")["segment"]) == {"SMB"}


def test_what_a_release_does_not_know_is_said(chromium: Any, maven_pages: str, maven_run: Run) -> None:
    won = one(
        maven_run,
        "select sum(amount) from core.opportunities where is_won and closed_on between '2017-10-01' and '2017-12-31'",
    )
    with opened(chromium, f"{maven_pages}/funnel") as page:
        said = text(page)
        assert figures(page)["Won, 2017-Q4"] == money(won)
        assert figures(page)["Coverage, 2018-Q1"] == "not enough data"
        assert "no target" in said
        part(page, "Stages")
        assert "No source delivers opportunity_changes" in text(page)
        part(page, "Movements")
        rows = rows_of(page, "pipeline_waterfall")
        assert added(rows["amount"].iloc[:-1]) == added(rows["amount"].iloc[-1:])
    with opened(chromium, f"{maven_pages}/forecast") as page:
        assert "no target is known" in text(page)
        assert "which may be chance" in text(page)
        part(page, "Whose calls hold")
        assert "No source delivers forecast_submissions" in text(page)
    with opened(chromium, f"{maven_pages}/reconciliation") as page:
        said = text(page)
        assert "Not known. No source delivers" in said and "invoices" in said
        assert figures(page) == {}
    with opened(chromium, f"{maven_pages}/pricing") as page:
        listed, net = maven_run.query(
            "select sum(list_amount), sum(net_amount) from pricing.price_realization where basis = 'booked' "
            "and dimension = 'product' and period_type = 'quarter' and period_start = '2017-10-01'"
        )[0]
        assert figures(page)["Kept of list price"] == percent(float(str(net)) / float(str(listed)))
        assert figures(page)["Within authority"] == "not enough data"


def test_a_quarter_that_has_not_begun_has_no_past(chromium: Any, demo_pages: str) -> None:
    asked = urlencode({"period": "2026-Q4"})
    with opened(chromium, f"{demo_pages}/funnel?{asked}") as page:
        part(page, "Movements")
        assert "2026-Q4 has not begun" in text(page)
    with opened(chromium, f"{demo_pages}/forecast?{asked}") as page:
        assert "2026-Q4 is too far away" in text(page)


@pytest.mark.long
@pytest.mark.parametrize("name", PAGES)
def test_it_is_readable_on_a_phone_and_on_a_wall(chromium: Any, demo_pages: str, name: str) -> None:
    with opened(chromium, f"{demo_pages}/{name}", width=NARROW) as page:
        for _ in widths(page):
            assert page.locator("[data-testid=stMetric]").first.bounding_box()["width"] > 150
        for title in every_part(page):
            for width in widths(page):
                assert overflow(page) == 0, title
                charts = page.locator("[data-testid=stVegaLiteChart]")
                assert charts.count() >= 1, title
                assert 280 < charts.first.bounding_box()["width"] <= width, title
                # A chart is told in words for those who do not see it.
                words = page.eval_on_selector_all(
                    "[data-testid=stVegaLiteChart]",
                    "all => all.filter(one => one.matches('[aria-label]') || one.querySelector('[aria-label]')).length",
                )
                assert words == charts.count(), title


def test_who_sees_some_rows_is_not_told_that_there_are_no_others(full_run: Run) -> None:
    busy, breaks, exceptions = full_run.query(
        "select sellers.email, (select count(*) from reconciliation.booking_to_billing as told where told.is_break "
        "and told.owner_id = sellers.rep_id) as breaks, (select count(*) from pricing.discount_exceptions as told "
        "where told.owner_id = sellers.rep_id) as exceptions from core.reps as sellers "
        "where sellers.is_current and sellers.terminated_on is null and sellers.role = 'account_executive' "
        "and sellers.email is not null order by exceptions desc, breaks desc, sellers.rep_id limit 1"
    )[0]
    outside = one(
        full_run,
        "select email from core.reps where is_current and terminated_on is null and role = 'specialist' "
        "and email is not null order by rep_id limit 1",
    )
    assert int(str(breaks)) > 0 and int(str(exceptions)) > 0
    for email, says in (
        (busy, (f"{exceptions} deal", "that you may see")),
        (outside, ("None of the breaks is yours to see",)),
    ):
        release = Release(full_run.database.resolve().parent, viewer_of(full_run.database, str(email)))
        try:
            chosen = Chosen(period=current_period(release))
            said = " ".join([*reconciliation.lead(release, chosen), *pricing.lead(release, chosen)])
            assert all(words in said for words in says), said
            assert "No break of the company" not in said
            # What is no one person's is told to everybody alike.
            assert "finance has billed" in said
            assert funnel_page.left_over(release, chosen) == 0
        finally:
            release.close()


@pytest.mark.parametrize(
    ("numbers", "head", "written", "pixels"),
    [
        # Nine characters of eight pixels, and the margins: one number among eight empty cells.
        ([9_763_907.4, *[None] * 8], "Median", "%,.0f", 96),
        # The minus is a character too.
        ([-12_345_678.0, 1.0, *[None] * 8], "Gap", "%,.0f", 112),
        ([1.0, *[None] * 8], "Amount of the gap", "%,.0f", 160),
        # The grid finds these widths itself.
        ([9_763_907.4] * 9, "Median", "%,.0f", None),
        ([0.5, *[None] * 8], "Chance", "percent", None),
        ([None] * 9, "Median", "%,.0f", None),
    ],
)
def test_a_large_number_among_empty_cells_is_shown_whole(
    numbers: list[float | None], head: str, written: str, pixels: int | None
) -> None:
    assert number_width(pd.Series(numbers, dtype=float), head, written) == pixels
