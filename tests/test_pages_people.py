"""The pages Retention, Key accounts, People and Scorecard, in a real browser and as each kind of reader sees them.

What stands on a page is held against SQL of its own over the release file, from other marts where there are any.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from datetime import date
from typing import Any

import pandas as pd
import pytest
from altair.utils import schemapi
from streamlit.testing.v1 import AppTest

from dashboards import addresses, app
from dashboards.access import Viewer, everyone
from dashboards.filters import Chosen, current_period, managers_below, periods
from dashboards.pages import key_accounts, people, retention, scorecard
from dashboards.parts import short, written
from dashboards.release import Release
from orchestration.settings import PROJECT_ROOT
from tests.browser import NARROW, choose, downloaded, drawn, every_part, figures, opened, overflow, part, text, widths
from tests.conftest import Run
from tests.page_sources import tables_named

LAST, YEAR_AGO = date(2026, 6, 1), date(2025, 6, 1)
QUARTER, QUARTER_START, QUARTER_END = "2026-Q2", date(2026, 4, 1), date(2026, 6, 30)
PAGES = ("retention", "key_accounts", "people", "scorecard")
# Evidence that a page shows summed up: each single error of a forecast, as what the step from one to the next added.
MADE_OF = {"forecast_accuracy.forecast_error": "forecast_accuracy.forecast_value_added"}


def percent(value: Any) -> str:
    return f"{100 * float(value):.1f} %"


def money(value: Any) -> str:
    return f"{short(float(value))} USD"


def one(run: Run, sql: str) -> tuple[Any, ...]:
    rows = run.query(sql)
    assert len(rows) == 1
    return rows[0]


def table(page: Any, name: str) -> pd.DataFrame:
    """The rows behind a table of the page, as its CSV button gives them."""
    buttons = page.locator("[data-testid=stDownloadButton] button")
    keys = page.eval_on_selector_all(
        "[data-testid=stElementContainer]:has([data-testid=stDownloadButton])",
        "all => all.map(one => one.className)",
    )
    place = next(place for place, key in enumerate(keys) if f"st-key-{name}-csv" in key)
    with page.expect_download(timeout=60_000) as waiting:
        buttons.nth(place).click()
    return pd.read_csv(waiting.value.path())


@pytest.fixture(scope="module")
def demo(full_run: Run) -> Iterator[Release]:
    release = Release(full_run.database.resolve().parent, everyone())
    yield release
    release.close()


@pytest.fixture(scope="module")
def unsold(maven_run: Run) -> Iterator[Release]:
    """A release in which most entities are missing."""
    release = Release(maven_run.database.resolve().parent, everyone())
    yield release
    release.close()


def test_retention_is_that_of_the_customers_of_a_year_before(chromium: Any, demo_pages: str, full_run: Run) -> None:
    n, kept, nrr, grr = one(
        full_run,
        f"""
        with closings as (
            select customer_id, sum(amount) filter (month_start = '{YEAR_AGO}') as before,
                coalesce(sum(amount) filter (month_start = '{LAST}'), 0) as now
            from retention.arr_movements where movement = 'closing' group by customer_id
        )
        select count(*), count(*) filter (now > 0) / count(*), sum(now) / sum(before),
            sum(greatest(0, least(now, before))) / sum(before)
        from closings where before > 0
        """,
    )
    (due_count, due_amount), (risk_count, risk_amount) = (
        one(
            full_run,
            "select count(*), sum(due_amount) from retention.renewals "
            f"where status not in ('renewed', 'cancelled') {also}",
        )
        for also in ("", "and risk_evidence is not null")
    )
    with opened(chromium, f"{demo_pages}/retention") as page:
        shown, said = figures(page), text(page)
        assert shown["Net retention"] == percent(nrr)
        assert shown["Gross retention"] == percent(grr)
        assert shown["Customers kept"] == percent(kept)
        assert f"Of {n} customers of a year before {percent(kept)} still pay" in said
        assert f"{money(due_amount)} in {due_count} renewals is due" in said
        assert f"for {risk_count} of them ({money(risk_amount)})" in said
        part(page, "Renewals")
        at_risk = table(page, "renewals_at_risk")
        expected = full_run.query(
            "select customer_name, due_amount, replace(risk_evidence, '_', ' '), what_to_do from retention.renewals "
            "where status not in ('renewed', 'cancelled') and risk_evidence is not null "
            "order by due_on, due_amount desc, finance_customer_id limit 25"
        )
        columns = ["customer_name", "due_amount", "risk_evidence", "what_to_do"]
        assert [(name, pytest.approx(float(str(amount))), risk, do) for name, amount, risk, do in expected] == at_risk[
            columns
        ].to_records(index=False).tolist()
        due = table(page, "renewals_due")
        everything = one(full_run, "select sum(due_amount), count(*) from retention.renewals")
        assert due["due_amount"].sum() == pytest.approx(float(everything[0]))
        assert due["renewal_count"].sum() == everything[1]


@pytest.mark.parametrize(("span", "since"), [("The quarter", QUARTER_START), ("Twelve months", date(2025, 7, 1))])
def test_the_bridge_of_recurring_revenue_is_what_customers_did(
    demo: Release, full_run: Run, span: str, since: date
) -> None:
    key = next(key for key, words in retention.SPANS.items() if words == span)
    for segment in (None, "SMB"):
        chosen = Chosen(period=current_period(demo), segment=segment)
        found = retention.bridge(demo, chosen, key).set_index("movement")
        assert retention.untied(found.reset_index()) == 0
        of = f"and segment = '{segment}'" if segment else ""
        by_customer = dict(
            full_run.query(
                f"""
                select movement, round(sum(amount), 2)::double from retention.arr_movements
                where month_start between '{since}' and '{LAST}' and movement not in ('opening', 'closing') {of}
                group by movement
                union all
                select movement, round(sum(amount), 2)::double from retention.arr_movements
                where ((movement = 'opening' and month_start = '{since}')
                    or (movement = 'closing' and month_start = '{LAST}')) {of}
                group by movement
                """
            )
        )
        for movement in (
            "opening",
            "new",
            "reactivation",
            "expansion",
            "price_change",
            "contraction",
            "churn",
            "closing",
        ):
            assert round(found.loc[movement, "amount"], 2) == pytest.approx(by_customer.get(movement, 0), abs=0.005)


def test_a_corrected_month_is_a_step_of_its_own(demo: Release, full_run: Run) -> None:
    corrected = full_run.query(
        """
        with ends as (
            select month_start, sum(amount) filter (movement = 'opening') as opening,
                sum(amount) filter (movement = 'closing') as closing
            from retention.arr_bridges where dimension = 'company' group by month_start
        )
        select month_start, opening - lag(closing) over (order by month_start) as corrected from ends
        qualify corrected != 0 order by month_start
        """
    )
    for month, amount in corrected:
        assert isinstance(month, date)
        period = next(one for one in periods(demo) if one.start <= month <= one.end)
        if month > period.start:
            found = retention.bridge(demo, Chosen(period=period)).set_index("movement")
            assert found.loc["corrected", "amount"] == pytest.approx(float(str(amount)))
    for period in periods(demo):
        for span in retention.SPANS:
            assert retention.untied(retention.bridge(demo, Chosen(period=period), span)) == 0


def test_cohorts_are_told_when_all_of_a_quarter_have_come_so_far(demo: Release, full_run: Run) -> None:
    found = retention.cohorts(demo, Chosen(period=current_period(demo)))
    assert found.loc[found["elapsed_months"] == 0, "customer_retention"].eq(1).all()
    assert found.groupby("cohort")["n"].nunique().eq(1).all()
    first = found[(found["cohort"] == "2024-Q1") & (found["elapsed_months"] == 24)].iloc[0]
    began, left = one(
        full_run,
        """
        with firsts as (
            select customer_id, min(month_start) as began from retention.arr_movements
            where movement = 'closing' and amount > 0 group by customer_id
        )
        select count(*), count(*) filter (not exists (
            select 1 from retention.arr_movements as later
            where later.customer_id = firsts.customer_id and movement = 'closing' and amount > 0
                and later.month_start = began + interval 24 month
        ))
        from firsts where began between '2024-01-01' and '2024-03-31'
        """,
    )
    assert (first["n"], first["active_count"]) == (began, began - left)


def test_filters_of_retention_are_set_by_keyboard_and_survive_reload(
    chromium: Any, demo_pages: str, full_run: Run
) -> None:
    grr = one(
        full_run,
        "select grr from retention.revenue_retention where dimension = 'segment' and member = 'SMB' "
        f"and month_start = '{LAST}'",
    )[0]
    with opened(chromium, f"{demo_pages}/retention") as page:
        choose(page, "Segment", "SMB")
        page.get_by_role("radio", name="Twelve months").focus()
        page.keyboard.press("Enter")
        page.wait_for_timeout(300)
        drawn(page)
        assert "segment=SMB" in page.url and "arr_span=Twelve" in page.url
        page.reload()
        drawn(page)
        said = text(page)
        assert figures(page)["Gross retention"] == percent(grr)
        opening, closing = (
            one(
                full_run,
                f"select amount from retention.arr_bridges where dimension = 'segment' and member = 'SMB' "
                f"and movement = '{end}' and month_start = '{month}'",
            )[0]
            for end, month in (("opening", "2025-07-01"), ("closing", LAST))
        )
        assert f"Recurring revenue of SMB went from {money(opening)} to {money(closing)} in the twelve months" in said
        assert "add up to closing, to the cent" in said


def test_growth_is_against_the_same_days_of_a_year_before(chromium: Any, demo_pages: str, full_run: Run) -> None:
    won = dict(
        full_run.query(
            "select segment, count(*) from core.opportunities where is_won and not is_deleted and amount is not null "
            f"and closed_on between '{QUARTER_START}' and '{QUARTER_END}' group by segment"
        )
    )
    with opened(chromium, f"{demo_pages}/retention?period={QUARTER}&retention_part=Sales+growth") as page:
        found = table(page, "sales_growth").set_index("market")
        segments = found.drop(index="Company")
        assert segments["sale_count"].to_dict() == won
        assert segments["amount"].sum() == pytest.approx(found.loc["Company", "amount"])
        growth = found.loc["Company", "amount"] / found.loc["Company", "amount_year_ago"] - 1
        assert f"{100 * growth:+.1f} % on the same days a year before" in text(page)


def test_key_accounts_say_what_is_wrong_and_why_these(chromium: Any, demo_pages: str, full_run: Run) -> None:
    count, arr, wrong = one(
        full_run,
        """
        select count(*), sum(arr), count(*) filter (account_id in (
            select account_id from key_accounts.key_account_findings where kind = 'concern'
        )) from key_accounts.key_account_health where standing = 'on_list'
        """,
    )
    no_plan = one(
        full_run,
        "select count(*) from key_accounts.key_account_findings as found join key_accounts.key_account_list as list "
        "using (account_id) where list.is_on_list and concern = 'no_plan'",
    )[0]
    with opened(chromium, f"{demo_pages}/key_accounts") as page:
        said = text(page)
        assert f"{count} key accounts bring {money(arr)} of recurring revenue; something is wrong with {wrong}" in said
        assert f"{no_plan} are without a plan" in said
        assert figures(page)["With a concern"] == str(wrong)
        listed = table(page, "key_accounts")
        assert len(listed) == min(count, key_accounts.MOST_ACCOUNTS)
        passed = full_run.query(
            "select account_name, replace(coalesce(rules_passed, ''), '_', ' ') from key_accounts.key_account_list "
            "where is_on_list"
        )
        assert {(row.account_name, row.rules_passed) for row in listed.fillna("").itertuples()} <= set(passed)
        part(page, "Why these and not others")
        near = table(page, "near_the_list")
        assert near["reason"].notna().all()
        reasons = table(page, "standings")
        assert (
            reasons["account_count"].sum()
            == one(full_run, "select count(*) from key_accounts.key_account_list where standing != 'left'")[0]
        )


def test_an_account_is_chosen_by_keyboard_and_stays_chosen(chromium: Any, demo_pages: str, full_run: Run) -> None:
    account, name, arr, share, meetings = one(
        full_run,
        "select account_id, account_name, arr, proactive_share, meeting_count "
        "from key_accounts.key_account_health where standing = 'on_list' and plan_id is not null and meeting_count > 0 "
        "order by concern_count desc, account_id limit 1",
    )
    with opened(chromium, f"{demo_pages}/key_accounts") as page:
        choose(page, "Account", name)
        assert page.url.endswith(f"account={account}")
        page.reload()
        drawn(page)
        said, shown = text(page), figures(page)
        part(page, "People")
        people_said = text(page)
        part(page, "Findings")
        assert f"{name} is on the list since" in said
        assert shown["Pays"] == money(arr)
        assert shown["Value meetings we began"] == percent(share)
        assert f"n = {meetings:,}" in said
        contacts, engaged, gaps, squares = one(
            full_run,
            "select sum(contact_count), sum(engaged_count), count(*) filter (contact_count = 0), count(*) "
            f"from key_accounts.relationship_map where account_id = '{account}'",
        )
        assert f"In touch with us now: {engaged} of {contacts} contacts" in people_said
        assert f"Nobody is known in {gaps} of {squares} squares" in people_said
        assert "account_part" not in page.url
        found = table(page, "account_findings")
        assert (
            len(found)
            == one(full_run, f"select count(*) from key_accounts.key_account_findings where account_id = '{account}'")[
                0
            ]
        )
        assert found.iloc[0]["what_to_do"] in said
        part(page, "White space")
        space = table(page, "whitespace")
        owned = one(
            full_run,
            f"select count(*) from key_accounts.whitespace where account_id = '{account}' and owner_count > 0",
        )[0]
        assert space["expected_amount"].notna().sum() == owned
        part(page, "Plan")
        years = table(page, "plan_execution")
        assert years["fiscal_year"].is_monotonic_decreasing and years["fiscal_year"].iloc[0] == 2026


def seller_with_a_gap(run: Run) -> tuple[Any, ...]:
    return one(
        run,
        "select seller_id, seller_name, manager_name, behaviour, next_check_on from people.coaching_plan "
        "where source = 'diagnosis' and linked_count > 0 order by linked_count desc, seller_id limit 1",
    )


def test_a_sellers_gap_is_split_into_causes_that_add_up(chromium: Any, demo_pages: str, full_run: Run) -> None:
    seller, name, manager, behaviour, check = seller_with_a_gap(full_run)
    with opened(chromium, f"{demo_pages}/people?seller={seller}") as page:
        planned = text(page)
        links = page.eval_on_selector_all("a[href*='/deal?deal=']", "all => all.map(one => one.getAttribute('href'))")
        part(page, "Where the gap comes from")
        said = text(page)
        numbers = r"Booked ([\d,]+), the median peer ([\d,]+): a gap of ([+-][\d,]+) USD. Of it ([+-][\d,]+) is the "
        numbers += r"seller's own, ([+-][\d,]+) comes of other accounts and deals, ([+-][\d,]+) is chance"
        found = re.search(numbers, said)
        assert found, said
        booked, peer, gap, own, mix, chance = (int(part.replace(",", "")) for part in found.groups())
        assert abs(booked - peer - gap) <= 1 and abs(own + mix + chance - gap) <= 2
        won = one(
            full_run,
            "select coalesce(sum(amount), 0) from core.opportunities where is_won and not is_deleted "
            f"and owner_id = '{seller}' and closed_on between '2025-07-01' and '2026-06-30'",
        )[0]
        assert booked == round(float(won)), "what was booked is what the seller won"
        parts = table(page, "diagnosis")
        assert parts[["own_amount", "mix_amount", "chance_amount"]].to_numpy().sum() == pytest.approx(gap, abs=0.51)
        assert parts["contribution_amount"].sum() == pytest.approx(gap, abs=0.51)
        assert f"Behaviour: {behaviour}" in planned
        assert f"With: {manager}" in planned
        assert f"Next check: {check.day} {check:%B %Y}" in planned
        deals = full_run.query(
            "select unnest([opportunity_1_id, opportunity_2_id, opportunity_3_id]) as deal "
            f"from people.coaching_plan where seller_id = '{seller}'"
        )
        assert links == [f"/deal?deal={deal}" for (deal,) in deals if deal]
        credited, quota, won_count = one(
            full_run,
            "select credited_amount, quota_amount, won_count from people.quota_attainment where scope_type = 'seller' "
            f"and scope_id = '{seller}' and period_type = 'quarter' and period_start = '{QUARTER_START}'",
        )
        part(page, "Attainment")
        assert figures(page)[f"Attainment {QUARTER}"] == percent(credited / quota)
        assert f"{money(credited)} of {money(quota)}, {won_count} deals won" in text(page)


def test_a_new_sellers_ramp_stands_in_its_band_and_career_says_what_is_missing(
    chromium: Any, demo_pages: str, full_run: Run
) -> None:
    seller, name, count, low, high, met, criteria = one(
        full_run,
        """
        select rep_id, name, meetings_count, meetings_band_low, meetings_band_high, met_count, criteria_count
        from people.rep_ramp join people.career_path on person_id = rep_id
        where gap_measure is not null and ended_on is null and verdict = 'not_yet' and criteria_count > 1
            and meetings_band_middle is not null
        order by hired_on desc, rep_id limit 1
        """,
    )
    with opened(chromium, f"{demo_pages}/people") as page:
        choose(page, "Seller", name)
        assert f"seller={seller}" in page.url
        page.reload()
        drawn(page)
        part(page, "Ramp")
        bands = table(page, "ramp_bands").set_index("label")
        meetings = bands.loc[[label.startswith("Meetings held") for label in bands.index]].iloc[0]
        assert meetings["value"] == count
        assert (meetings["low"], meetings["high"]) == (pytest.approx(low), pytest.approx(high))
        part(page, "Next level")
        assert f"{met} of {criteria} criteria are met" in text(page)
        career = table(page, "career")
        states = dict(
            full_run.query(
                "select replace(criterion, '_', ' '), replace(status, '_', ' ') from people.career_criteria "
                f"where person_id = '{seller}'"
            )
        )
        assert dict(zip(career["criterion"], career["status"], strict=True)) == states
        assert career.iloc[-1]["status"] == "met" or met == 0, "what is missing stands first"


def test_the_team_is_told_from_its_sellers(chromium: Any, demo_pages: str, full_run: Run) -> None:
    manager, name = one(
        full_run,
        "select rep_id, name from core.reps where is_current and role = 'manager' and name = 'Zoe Kowalski'",
    )
    # Sellers who are judged, of everybody, and of those who report to one manager.
    for team, whose in ((None, "true"), (name, f"manager_id = '{manager}'")):
        n, share, average = one(
            full_run,
            "select count(*), avg((attainment >= 1)::int), avg(attainment) from people.quota_attainment "
            f"where scope_type = 'seller' and period_type = 'quarter' and period_start = '{QUARTER_START}' "
            f"and is_judged and {whose}",
        )
        focus, sellers = one(
            full_run,
            f"select count(*) filter (source != 'none'), count(*) from people.coaching_plan where {whose}",
        )
        with opened(chromium, f"{demo_pages}/people") as page:
            if team:
                choose(page, "Team", team)
                page.reload()
                drawn(page)
            shown, said = figures(page), text(page)
            assert f"{focus} of {sellers} active sellers have one thing to work on" in said
            assert shown[f"Sellers at quota {QUARTER}"] == percent(share)
            assert shown["Average attainment"] == percent(average)
            assert f"n = {n}" in said
            rows = table(page, "team")
            assert len(rows) == min(sellers, people.MOST_SELLERS)
            assert rows["why"].isin(["diagnosis", "ramp", "signal"]).sum() == focus


def test_managers_see_who_saves_deals_and_what_top_sellers_do(chromium: Any, demo_pages: str, full_run: Run) -> None:
    with opened(chromium, f"{demo_pages}/people?people_part=Deals+saved") as page:
        heroes = table(page, "hero_dependency").set_index("manager_name")
        saved = full_run.query(
            """
            select manager_name, sum(amount) filter (is_hero) / sum(amount), count(*)
            from people.manager_deals
            where won_on > (select min(window_start) - 1 from people.manager_coaching)
            group by manager_id, manager_name
            """
        )
        for name, share, n in saved:
            assert heroes.loc[name, "hero_n"] == n
            if pd.notna(heroes.loc[name, "hero_dependency"]):
                assert heroes.loc[name, "hero_dependency"] == pytest.approx(float(str(share or 0)))
        rescuers = [name for name, row in heroes.iterrows() if row["hero_standing"] == "rescues"]
        assert all(
            f"{name} came to save {percent(heroes.loc[name, 'hero_dependency'])}" in text(page) for name in rescuers
        )
        assert rescuers
        part(page, "Managers' coaching")
        said = text(page)
        for words, standing in (
            ("Coach seldom", "coaching_standing = 'coaches_rarely'"),
            ("What was agreed is left open by", "follow_up_standing = 'left_open'"),
        ):
            named = [
                str(name)
                for (name,) in full_run.query(f"select manager_name from people.manager_coaching where {standing}")
            ]
            assert (words in said) == bool(named)
            sentence = said.split(f"{words}: ")[-1].split("\n")[0]
            assert all(name in sentence for name in named)
    with opened(chromium, f"{demo_pages}/people") as page:
        part(page, "Best practices")
        assert "people_part=Best+practices" in page.url
        page.reload()
        drawn(page)
        said = text(page)
        spread = full_run.query(
            "select what_it_is, effect, n from people.best_practices where segment = 'all' and verdict = 'spread_it'"
        )
        for what, effect, n in spread:
            assert f"{what}:" in said and f"{100 * float(str(effect)):+.1f} points" in said and f"{n:,} deals" in said


def test_who_stands_out_and_who_lets_sellers_wait_is_named(chromium: Any, demo_pages: str, full_run: Run) -> None:
    with opened(chromium, f"{demo_pages}/people?people_part=Talent") as page:
        said = text(page)
        stand_out = full_run.query("select seller_name, track from people.talent where verdict = 'high_potential'")
        assert stand_out and all(f"{name} stands out on the {track} track" in said for name, track in stand_out)
        low = full_run.query(
            "select seller_name, low_attainment_probability from people.talent where verdict = 'low_performer'"
        )
        for name, probability in low:
            assert f"{name} is below 70 % of quota in the long run with a probability of {percent(probability)}" in said
        counts = table(page, "talent_counts")
        assert counts.groupby("track")["seller_count"].sum().to_dict() == dict(
            full_run.query("select track, count(*) from people.talent group by track")
        )
    with opened(chromium, f"{demo_pages}/people?people_part=Sales+operations") as page:
        said = text(page)
        served = full_run.query(
            "select function, in_target_share, in_target_share_n from people.sales_ops_service "
            "where period_type = 'window' and in_target_share is not null"
        )
        assert len(served) == 3
        for function, share, n in served:
            assert f"{str(function).replace('_', ' ').capitalize()}: {percent(share)} of {n:,} requests" in said
        slow = full_run.query(
            "select name from people.specialist_engagement where stage = 'all' and time_standing = 'slow'"
        )
        part(page, "Specialists")
        assert slow and all(f"{name} (" in text(page) for (name,) in slow)


def test_the_scorecard_has_six_numbers_and_24_behaviours(chromium: Any, demo_pages: str, full_run: Run) -> None:
    heads = full_run.query(
        "select name, value, unit, target_standing, n from scorecard.world_class_metrics where is_headline"
    )
    rows = full_run.query(
        "select behaviour, name, status, value, unit, n, evidence_table from scorecard.behaviours "
        "order by behaviour_order"
    )
    assert len(heads) == 6 and len(rows) == 24
    with opened(chromium, f"{demo_pages}/scorecard") as page:
        shown, said = figures(page), text(page)
        for name, value, unit, _, _ in heads:
            assert unit == "share" and shown[str(name)] == percent(value)
        met = sum(standing == "met" for *_, standing, _ in heads)
        assert f"Of the six numbers that count {met} reach their target" in said
        statuses = [status for _, _, status, *_ in rows]
        assert f"Of 24 behaviours {statuses.count('met')} are met" in said
        part(page, "Behaviours")
        said = text(page)
        for behaviour, name, _, value, unit, n, _ in rows:
            (words,) = re.findall(rf"{behaviour} {re.escape(str(name))}\. [^\n]+", said)
            assert f"(n {n:,})" in words
            assert scorecard.in_unit(value, str(unit)) in words
        badges = page.locator("[data-testid=stMarkdownBadge], .stMarkdownBadge").all_inner_texts()
        assert badges == [scorecard.STATUSES[str(status)] for status in statuses]
        links = page.eval_on_selector_all("a[href^='/data?table=']", "all => all.map(one => one.getAttribute('href'))")
        assert {f"/data?table={evidence}" for *_, evidence in rows} <= set(links)


def test_evidence_leads_to_a_part_that_there_is(full_run: Run, demo: Release) -> None:
    there = {name: title for name, title, _ in app.PAGES}
    tables = full_run.query(
        "select evidence_table from scorecard.behaviours union select evidence_table from scorecard.world_class_metrics"
    )
    assert len(tables) > 15
    for (evidence,) in tables:
        name, title = addresses.page_of(str(evidence))
        assert there[name] == title
        address = addresses.address_of(str(evidence))
        assert address.startswith(f"/{name}")
        # The page Data shows any table, the one that is asked for.
        shown = MADE_OF.get(str(evidence), str(evidence))
        assert f"table={evidence}" in address if name == "data" else tables_named(f"pages.{name}", {shown}, set())
    # What is not of a part by its name would be shown on the first one, silently.
    assert set(addresses.PARTS) <= {str(evidence) for (evidence,) in tables}
    for evidence, part_of in addresses.PARTS.items():
        name, _ = addresses.page_of(evidence)
        assert part_of in [tab.label for tab in script_of(name, demo, Chosen(period=current_period(demo))).tabs]


def test_what_is_missing_is_said_with_what_to_connect(chromium: Any, maven_pages: str, maven_run: Run) -> None:
    with opened(chromium, f"{maven_pages}/retention") as page:
        said = text(page)
        assert "No source delivers" in said and "subscriptions" in said
        amount, sales = one(
            maven_run,
            "select sum(amount), count(*) from core.opportunities where is_won and closed_on >= '2017-10-01'",
        )
        assert f"Bookings of 2017-Q4: {money(amount)} ({sales:,} sales). Growth cannot be told: the year before" in said
        assert figures(page) == {}
    with opened(chromium, f"{maven_pages}/key_accounts") as page:
        assert "No source delivers" in text(page)
    seller, name = one(maven_run, "select seller_id, seller_name from people.coaching_plan order by 1 limit 1")
    with opened(chromium, f"{maven_pages}/people?seller={seller.replace(' ', '+')}") as page:
        said = text(page)
        assert name in said and "attainment cannot be told: no quota" in said
        assert "Why, cannot be told: no activities known" in said
        assert "none that is clear (no activities known)" in said
        part(page, "Attainment")
        assert figures(page)["Attainment 2017-Q4"] == written(None, "percent")
    with opened(chromium, f"{maven_pages}/scorecard") as page:
        said = text(page)
        assert "Of 24 behaviours 0 are met, 0 partly, 0 not; 24 cannot be told" in said
        part(page, "Behaviours")
        said = text(page)
        reasons = maven_run.query("select behaviour, reason from scorecard.behaviours")
        for behaviour, reason in reasons:
            assert re.search(rf"{behaviour} [^\n]+not enough data( \(n [\d,]+\))?: {reason}", said)


@pytest.mark.long
def test_the_pages_are_readable_on_a_phone_and_on_a_wall(chromium: Any, demo_pages: str, full_run: Run) -> None:
    seller = seller_with_a_gap(full_run)[0]
    account = one(full_run, "select min(account_id) from key_accounts.key_account_health where standing = 'on_list'")[0]
    for place in ("retention", f"key_accounts?account={account}", f"people?seller={seller}", "scorecard"):
        with opened(chromium, f"{demo_pages}/{place}", width=NARROW) as page:
            measured, pictures = 0, 0
            for title in every_part(page):
                for width in widths(page):
                    assert overflow(page) == 0, (place, title, width)
                    boxes = [metric.bounding_box() for metric in page.locator("[data-testid=stMetric]").all()]
                    assert all(box["width"] > 150 and box["x"] + box["width"] <= width for box in boxes), title
                measured += len(boxes)
                pictures += page.locator("[data-testid=stVegaLiteChart]").count()
            assert measured and pictures >= (1 if place == "scorecard" else 2)


def drawn_page(name: str, release: object, chosen: object) -> None:
    """The script of a page; Streamlit's test runs its text, so it stands on nothing outside."""
    import importlib

    importlib.import_module(f"dashboards.pages.{name}").show(release, chosen)


# Pages that open on one of several: the key of the tabs, by the title of the first.
TABS_OF = {"Coaching plan": "seller_part", "Findings": "account_part", "The list": "list_part"}
FOLDED = re.findall(
    r'folded\([^\n]*, "(\w+)"\)', "".join(path.read_text() for path in (PROJECT_ROOT / "dashboards/pages").glob("*.py"))
)


def script_of(name: str, release: Release, chosen: Chosen, **asked: str) -> AppTest:
    """A page without a browser, all that is folded open; no exception stands on it."""
    script = AppTest.from_function(drawn_page, args=(name, release, chosen), default_timeout=60)
    for key, value in {**asked, **dict.fromkeys(FOLDED, "true")}.items():
        script.query_params[key] = value
    script.run()
    assert not script.exception, [error.value for error in script.exception]
    return script


def said_by(name: str, release: Release, chosen: Chosen, **asked: str) -> str:
    """What a page says, tables and all."""
    script = script_of(name, release, chosen, **asked)
    words = [
        str(element.value) for kind in (script.markdown, script.caption, script.info, script.header) for element in kind
    ]
    return "\n".join(words + [element.value.to_csv() for element in script.dataframe])


def said_by_parts(name: str, release: Release, chosen: Chosen, **asked: str) -> dict[str, str]:
    """What each part of a page says, by its title."""
    titles = [tab.label for tab in script_of(name, release, chosen, **asked).tabs]
    key = TABS_OF.get(titles[0], f"{name}_part") if titles else ""
    said = {title: said_by(name, release, chosen, **asked, **{key: title}) for title in titles}
    # Each part is another one than that which is open at first: it was the right key.
    assert all(said[title] != said[titles[0]] for title in titles[1:])
    return said or {"": said_by(name, release, chosen, **asked)}


def test_a_reader_sees_the_own_page_first_and_nobody_elses(full_run: Run, demo: Release) -> None:
    seller, name, *_ = seller_with_a_gap(full_run)
    manager = one(full_run, f"select manager_id from core.reps where is_current and rep_id = '{seller}'")[0]
    team = {str(row[0]) for row in full_run.query(f"select rep_id from core.reps where manager_id = '{manager}'")}
    names = {
        str(row[0]): str(row[1]) for row in full_run.query("select seller_id, seller_name from people.coaching_plan")
    }
    folder = full_run.database.resolve().parent
    own = Release(folder, Viewer(name, "x@example.com", seller, "account_executive", frozenset({seller})))
    lead = Release(folder, Viewer("L", "l@example.com", manager, "manager", frozenset({manager, *team})))
    try:
        for reader, open_to in ((own, {seller}), (lead, {manager, *team})):
            chosen = Chosen(period=current_period(reader))
            others = {
                one for key, one in names.items() if key not in open_to and one not in {names.get(k) for k in open_to}
            }
            assert set(people.sellers(reader, chosen)) <= open_to
            for page in PAGES:
                for title, said in said_by_parts(page, reader, chosen).items():
                    assert [one for one in others if one in said] == [], (page, title)
        assert name in said_by("people", own, Chosen(period=current_period(own)))
        stranger = next(key for key in names if key not in team and key != seller)
        assert people.plan(own, stranger) is None and people.diagnosis(own, stranger).empty
        assert names[stranger] not in said_by("people", own, Chosen(period=current_period(own)), seller=stranger)
    finally:
        own.close()
        lead.close()


@pytest.mark.long
def test_every_part_is_drawn_for_every_team_segment_and_quarter(demo: Release, unsold: Release) -> None:
    known = periods(demo)
    team = next(iter(people.sellers(demo, Chosen(period=known[0]))))
    manager = demo.value("select manager_id from people.coaching_plan where seller_id = ?", (team,))
    choices = [
        Chosen(period=known[0]),
        Chosen(period=known[-1], segment="Strategic"),
        Chosen(period=current_period(demo), team=manager, team_name="T", managers=managers_below(demo, manager)),
    ]
    for chosen in choices:
        for page in PAGES:
            said_by_parts(page, demo, chosen)
        said_by_parts("people", demo, chosen, seller=team)
    bare = Chosen(period=current_period(unsold))
    for title, said in said_by_parts("people", unsold, bare).items():
        assert "No source delivers" in said or title == "Best practices"


@pytest.mark.long
def test_every_chart_is_one_that_vega_lite_knows(demo: Release, full_run: Run) -> None:
    # A server holds no chart against the schema; here each is, on every part of every page.
    assert schemapi.DEBUG_MODE
    chosen = Chosen(period=current_period(demo))
    deal, account = one(
        full_run,
        "select (select opportunity_id from funnel.deal_health order by signal_count desc, opportunity_id limit 1), "
        "(select min(account_id) from key_accounts.key_account_health where standing = 'on_list')",
    )
    seller = seller_with_a_gap(full_run)[0]
    drawn_charts = 0
    for name, asked in (
        *((name, {}) for name, *_ in app.PAGES),
        ("deal", {"deal": deal}),
        ("key_accounts", {"account": account}),
        ("people", {"seller": seller}),
    ):
        titles = [tab.label for tab in script_of(name, demo, chosen, **asked).tabs]
        key = TABS_OF.get(titles[0], f"{name}_part") if titles else ""
        for title in titles or [""]:
            script = script_of(name, demo, chosen, **asked, **({key: title} if title else {}))
            drawn_charts += len(script.get("vega_lite_chart"))
    assert drawn_charts > 40


def test_downloads_hold_what_is_shown(chromium: Any, demo_pages: str, demo: Release) -> None:
    with opened(chromium, f"{demo_pages}/scorecard?scorecard_part=Behaviours") as page:
        rows = table(page, "behaviours")
        book = pd.read_excel(io.BytesIO(downloaded(page, "Excel", 0)))
        assert list(rows["behaviour"]) == list(scorecard.behaviours(demo)["behaviour"])
        assert book["behaviour"].tolist() == rows["behaviour"].tolist()
