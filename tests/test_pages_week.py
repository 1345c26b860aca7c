"""This week and Deal: what they say is what the release says, in a real browser."""

from __future__ import annotations

from datetime import date, timedelta
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote_plus

import pandas as pd
import pytest

from dashboards.access import everyone
from dashboards.filters import Chosen, current_period, managers_below
from dashboards.pages import deal, this_week
from dashboards.parts import short
from dashboards.release import Release
from dashboards.words import evidence, forecast_sentences
from orchestration.settings import SEEDS
from tests.browser import NARROW, choose, drawn, figures, opened, overflow, text, widths
from tests.conftest import DEMO_AS_OF, Run

SINCE = date(2026, 6, 21)
SIGNALS = pd.read_csv(SEEDS / "signals.csv")["signal"].tolist()


@pytest.fixture(scope="module")
def release(full_run: Run) -> Any:
    found = Release(full_run.database.resolve().parent, everyone())
    yield found
    found.close()


@pytest.fixture(scope="module")
def manager(full_run: Run) -> tuple[str, str]:
    """The manager with the longest agenda: id and name."""
    found = full_run.query(
        "select agenda.manager_id, any_value(reps.name) from funnel.review_agenda as agenda "
        "join core.reps as reps on agenda.manager_id = reps.rep_id and reps.is_current "
        f"where review_on = '{DEMO_AS_OF}' group by agenda.manager_id order by count(*) desc, agenda.manager_id limit 1"
    )[0]
    return str(found[0]), str(found[1])


def of_team(release: Release, manager: tuple[str, str]) -> Chosen:
    key, name = manager
    return Chosen(current_period(release), team=key, team_name=name, managers=managers_below(release, key))


def test_a_managers_week_is_that_of_the_release(
    chromium: Any, demo_pages: str, full_run: Run, manager: tuple[str, str]
) -> None:
    key, name = manager
    with opened(chromium, f"{demo_pages}/?team={quote_plus(name)}") as page:
        said = text(page)
        counts = full_run.query(
            "select count(*), count(*) filter (where verdict != 'on_track') from funnel.deal_health "
            f"where manager_id = '{key}'"
        )[0]
        assert f"The team of {name}: {counts[0]} open deals, of which {counts[1]} not on track." in said
        agenda = full_run.query(
            "select opportunity_id, coaching_question, what_to_do from funnel.review_agenda "
            f"where manager_id = '{key}' and review_on = '{DEMO_AS_OF}' order by place"
        )
        assert f"{len(agenda)} deals to talk about" in said
        links = page.eval_on_selector_all(
            "[data-testid=stMain] strong a[href*='/deal?deal=']", "all => all.map(one => one.href.split('deal=')[1])"
        )
        assert links[: len(agenda)] == [row[0] for row in agenda], "the deals of the agenda, in its order"
        assert all(str(question) in said and str(what) in said for _, question, what in agenda)
        (booked, target, median, low, high) = full_run.query(
            "select max(booked) filter (where is_current), max(target) filter (where is_current), "
            "max(median) filter (where not is_current), max(p10) filter (where not is_current), "
            "max(p90) filter (where not is_current) from forecast_accuracy.outlook "
            f"where scope_type = 'manager' and scope_id = '{key}' and period_type = 'quarter'"
        )[0]
        for amount in (booked, target, median, low, high):
            assert f"{short(float(str(amount)))} USD" in said
        ended = full_run.query(
            "select count(*) filter (where is_won), count(*) filter (where is_lost), "
            "count(*) filter (where is_no_decision) from core.opportunities "
            f"where manager_id = '{key}' and closed_on > '{SINCE}' and not is_deleted"
        )[0]
        for count, words in zip(ended, ("won", "lost", "ended without a decision"), strict=True):
            assert count == 0 or f"{count} {words}, " in said
        # What is written for people to read is no link to a table nobody asked for.
        assert page.locator("[data-testid=stMain] a[href*='/data?table=funnel.review_agenda']").count() > 0


def test_a_team_and_a_review_are_chosen_by_keyboard_and_survive_a_reload(
    chromium: Any, demo_pages: str, manager: tuple[str, str]
) -> None:
    with opened(chromium, demo_pages) as page:
        choose(page, "Team", manager[1])
        choose(page, "Since the review of", "7 June 2026")
        assert f"team={quote_plus(manager[1])}" in page.url and "since=7+June+2026" in page.url
        before = text(page)
        page.reload()
        drawn(page)
        assert text(page) == before and f"The team of {manager[1]}" in before
        page.locator("strong a[href*='/deal?deal=']").first.focus()
        assert "/deal?deal=" in page.evaluate("document.activeElement.href")


def test_a_deal_shows_its_signals_with_their_evidence(
    chromium: Any, demo_pages: str, full_run: Run, release: Release
) -> None:
    (key, amount, p_win) = full_run.query(
        "select opportunity_id, amount, p_win from funnel.deal_health "
        "where top_signal is not null and amount is not null "
        "order by signal_count desc, opportunity_id limit 1"
    )[0]
    fired = full_run.query(
        f"select what_is_wrong, what_to_do, norm_n from funnel.deal_signals where opportunity_id = '{key}'"
    )
    with opened(chromium, f"{demo_pages}/deal?deal={key}") as page:
        said, told = text(page), figures(page)
        assert told["Amount"] == f"{short(float(str(amount)))} USD"
        assert told["Chance to win"] == f"{float(str(p_win)) * 100:.1f} %"
        assert len(fired) > 1
        for wrong, what, n in fired:
            assert str(wrong) in said and str(what) in said
            assert (f"n = {n:,} won deals" if n else "limit of the policy") in said
        for row in deal.signals(release, str(key)).itertuples():
            assert evidence(row) in said
        asked = full_run.query(
            f"select coaching_question from funnel.review_agenda where opportunity_id = '{key}' order by review_on desc"
        )
        assert str(asked[0][0]) in said
        # Stage, amount and close date, and below each other.
        assert page.locator("[data-testid=stVegaLiteChart]").count() >= 4
        assert page.locator("[data-testid=stMain] [aria-label*='Amount from']").count() >= 3
        people = full_run.query(
            f"select name from funnel.deal_teams where opportunity_id = '{key}' and left_on is null"
        )
        assert people and all(str(name) in said for (name,) in people)


def test_a_deal_is_found_by_what_people_remember_of_it(chromium: Any, demo_pages: str, full_run: Run) -> None:
    (key, account, count) = full_run.query(
        "select max(opportunity_id), account_name, count(*) from core.opportunities where not is_deleted "
        "and account_name is not null group by account_name having count(*) between 2 and 9 "
        "order by account_name limit 1"
    )[0]
    with opened(chromium, f"{demo_pages}/deal") as page:
        page.get_by_label("Find a deal: its name, account, owner or id").focus()
        page.keyboard.type(str(account).upper())
        page.keyboard.press("Enter")
        page.wait_for_timeout(500)
        drawn(page)
        assert f"{count} deals found" in text(page)
        assert page.locator(f"a[href*='/deal?deal={key}']").count() == 1
        assert f"deal={quote_plus(str(account).upper())}" in page.url
    with opened(chromium, f"{demo_pages}/deal?deal={quote_plus('<script>nobody</script>')}") as page:
        assert "There is no deal with <script>nobody</script>" in text(page)


def test_a_closed_deal_is_not_judged(chromium: Any, demo_pages: str, full_run: Run) -> None:
    (key, reason) = full_run.query(
        "select opportunity_id, loss_reason from core.opportunities where is_lost and loss_reason is not null "
        "and not is_deleted order by closed_on desc, opportunity_id limit 1"
    )[0]
    with opened(chromium, f"{demo_pages}/deal?deal={key}") as page:
        said = text(page)
        assert f"Lost: {reason}." in said and "Verdict" not in said and "Timeline" in said


def test_what_a_crm_export_does_not_say_is_said(chromium: Any, maven_pages: str, maven_run: Run) -> None:
    (open_count,) = maven_run.query("select count(*) from funnel.deal_health")[0]
    with opened(chromium, maven_pages) as page:
        said = text(page)
        assert f"{open_count:,} open deals, which of them are off track is not known" in said
        assert "No source delivers activities" in said
    key = maven_run.query("select min(opportunity_id) from funnel.deal_health")[0][0]
    with opened(chromium, f"{maven_pages}/deal?deal={key}") as page:
        said = text(page)
        assert figures(page)["Amount"] == "not enough data"
        assert "no source delivers qualifications" in said and "opportunity_changes" in said


@pytest.mark.long
def test_they_are_readable_on_a_phone_and_on_a_wall(
    chromium: Any, demo_pages: str, full_run: Run, manager: tuple[str, str]
) -> None:
    key = full_run.query("select opportunity_id from funnel.deal_health order by signal_count desc limit 1")[0][0]
    for address in (f"{demo_pages}/?team={quote_plus(manager[1])}", f"{demo_pages}/deal?deal={key}"):
        with opened(chromium, address, width=NARROW) as page:
            assert [overflow(page) for _ in widths(page)] == [0, 0]


def test_changes_since_a_review_are_those_of_the_history(full_run: Run, release: Release) -> None:
    found = this_week.changes(release, Chosen(current_period(release)), SINCE, limit=100_000)
    history = pd.DataFrame(
        full_run.query(
            "select opportunity_id, valid_from, valid_to, stage, amount, close_date, is_open, is_won, is_lost, "
            "is_no_decision, is_deleted from funnel.opportunity_history"
        ),
        columns=["id", "start", "end", "stage", "amount", "close", "open", "won", "lost", "undecided", "deleted"],
    )
    moment = pd.Timestamp(SINCE + timedelta(days=1))
    before = history[(history["start"] < moment) & ~(history["end"] < moment)].set_index("id")
    now = history[history["end"].isna()].set_index("id")
    order = dict(full_run.query("select stage, stage_order from core.stages"))
    quarter_end = dict(full_run.query("select day, quarter_end from core.calendar"))
    expected: set[tuple[str, str]] = set()
    for key, new in now.iterrows():
        old = before.loc[key] if key in before.index else None
        if new["deleted"]:
            continue
        if old is None or old["deleted"]:
            ended = {"won": new["won"], "lost": new["lost"], "no_decision": new["undecided"], "created": new["open"]}
            expected |= {(str(key), change) for change, holds in ended.items() if holds}
            continue
        stays = old["open"] and new["open"]
        pushed = stays and pd.notna(old["close"]) and pd.notna(new["close"]) and new["close"] > old["close"]
        past = pushed and new["close"] > quarter_end[old["close"]]
        old_order, new_order = order.get(old["stage"]), order.get(new["stage"])
        moves = stays and old_order is not None and new_order is not None
        known = stays and pd.notna(old["amount"]) and pd.notna(new["amount"])
        for change, holds in {
            "won": new["won"] and not old["won"],
            "lost": new["lost"] and not old["lost"],
            "no_decision": new["undecided"] and not old["undecided"],
            "reopened": new["open"] and not old["open"],
            "forward": moves and new_order > old_order,
            "back": moves and new_order < old_order,
            "slipped": past,
            "later": pushed and not past,
            "sooner": stays and pd.notna(old["close"]) and pd.notna(new["close"]) and new["close"] < old["close"],
            "overdue": stays and pd.notna(new["close"]) and SINCE <= new["close"] < DEMO_AS_OF,
            "larger": known and float(new["amount"]) > float(old["amount"]) * 1.01,
            "smaller": known and float(new["amount"]) < float(old["amount"]) * 0.99,
        }.items():
            if holds:
                expected.add((str(key), change))
    told = {(str(row.opportunity_id), str(row.change)) for row in found.itertuples()}
    assert told == expected
    assert {change for _, change in told} >= {"won", "lost", "no_decision", "slipped", "overdue", "forward", "smaller"}
    counts = found.groupby("change", observed=True)["change_count"].agg(["first", "size"])
    assert (counts["first"] == counts["size"]).all()


def test_signals_since_a_review_are_new_or_gone(full_run: Run, release: Release, manager: tuple[str, str]) -> None:
    chosen = of_team(release, manager)
    new = this_week.new_signals(release, chosen, SINCE, limit=1000)
    expected = full_run.query(
        "select opportunity_id, signal from funnel.deal_signals semi join (from funnel.deal_health where "
        f"manager_id = '{manager[0]}') using (opportunity_id) where first_fired_on > '{SINCE}'"
    )
    assert set(zip(new["opportunity_id"], new["signal"], strict=True)) == set(expected) and expected
    gone = this_week.cleared_signals(release, Chosen(current_period(release)), SINCE, limit=1000)
    fired = set(full_run.query("select opportunity_id, signal from funnel.deal_signals"))
    stood = set(
        full_run.query(f"select opportunity_id, top_signal from funnel.review_agenda where review_on = '{SINCE}'")
    )
    is_open = {row[0] for row in full_run.query("select opportunity_id from funnel.deal_health")}
    assert set(zip(gone["opportunity_id"], gone["signal"], strict=True)) == {
        (key, signal) for key, signal in stood - fired if key in is_open and signal is not None
    }


def test_a_segment_narrows_the_week(full_run: Run, release: Release) -> None:
    whole = Chosen(current_period(release))
    parts = [Chosen(current_period(release), segment=name) for name in ("Enterprise", "Mid-Market", "SMB", "Strategic")]
    assert sum(this_week.needs(release, part)[0] for part in parts) == this_week.needs(release, whole)[0]
    assert sum(len(this_week.agenda(release, part)) for part in parts) == len(this_week.agenda(release, whole))
    assert this_week.scope(release, parts[0]) == ("segment", "Enterprise")


def test_the_last_review_is_not_that_of_yesterday(release: Release) -> None:
    # 30 June 2026 is a Tuesday: the review of Sunday was two days ago.
    assert this_week.reviews(release)[:2] == [date(2026, 6, 28), SINCE]
    assert this_week.last_review(release) == SINCE


def row(**values: object) -> Any:
    usual = {"norm_percentile": 0.9, "norm_n": 40, "norm_level": "type and stage"}
    return SimpleNamespace(**{**usual, **values})


def test_every_signal_of_the_policy_is_told_in_words() -> None:
    for signal in SIGNALS:
        said = evidence(row(signal=signal, value=12.0, norm=3.0))
        assert said.endswith(".") and "against" not in said and "_" not in said
    assert evidence(row(signal="our_own", value=2.0, norm=1.0)).startswith("2.00 against 1.00")


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (row(signal="quiet", value=7.0, norm=6.0), "7 days without any activity; 9 in 10 of 40 deals won"),
        (row(signal="quiet", value=1.0, norm=0.0), "1 day without"),
        (row(signal="impossible_date", value=5.0, norm=30.0, norm_percentile=0.1), "9 in 10 of 40 deals"),
        (row(signal="single_threaded", value=1.0, norm=3.0, norm_percentile=0.25), "1 person at the buyer; 3 in 4 of"),
        (row(signal="stalled", value=0.04, norm=0.05), "were won in 4 % of cases; the limit is 5 %"),
        (row(signal="stalled", value=90.0, norm=30.0), "90 days in this stage; 9 in 10 of"),
        (row(signal="repeated_push", value=2.0, norm=3.0), "twice, by more days than half of the usual cycle"),
        (row(signal="repeated_push", value=2.0, norm=0.0), "had been never"),
        (row(signal="value_erosion", value=0.554, norm=0.8), "55 % of the amount is left; the limit is 80 %"),
        (row(signal="quiet", value=None, norm=6.0), "not enough data"),
    ],
)
def test_evidence_says_what_was_seen_and_what_it_is_held_against(seen: Any, words: str) -> None:
    assert words in evidence(seen)


def outlook(**values: object) -> pd.DataFrame:
    usual = {
        "period": "2026-Q2",
        "period_start": pd.Timestamp("2026-04-01"),
        "period_end": pd.Timestamp("2026-06-30"),
        "booked": 10.0,
        "median": 100.0,
        "p10": 80.0,
        "p90": 130.0,
        "target": 150.0,
        "gap": 50.0,
        "commit_amount": 90.0,
    }
    return pd.DataFrame([{**usual, **values}])


@pytest.mark.parametrize(
    ("values", "as_of", "said"),
    [
        (
            {},
            "2026-05-01",
            "2026-Q2: 100 USD is to be expected, 50 USD short of the target of 150 USD. "
            "Four results out of five lie between 80 USD and 130 USD. 10 USD is won. The commit is 90 USD.",
        ),
        (
            {"gap": -5.0, "commit_amount": None},
            "2026-03-01",
            "2026-Q2: 100 USD is to be expected, 5 USD above the target of 150 USD. "
            "Four results out of five lie between 80 USD and 130 USD.",
        ),
        (
            {"gap": 140.0},
            "2026-06-30",
            "2026-Q2 ends today with 10 USD won, 140 USD short of the target of 150 USD. The last commit was 90 USD.",
        ),
        (
            {"median": None, "target": None, "gap": None, "commit_amount": None},
            "2026-05-01",
            "2026-Q2: not enough data for a forecast; 10 USD is won; no target is known.",
        ),
    ],
)
def test_the_forecast_is_one_line(values: dict[str, object], as_of: str, said: str) -> None:
    assert forecast_sentences(outlook(**values), as_of, "USD") == [said]
