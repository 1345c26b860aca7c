"""Forecast: what the quarter will bring and within which range, who makes the number better, and whose calls hold."""

from __future__ import annotations

from functools import partial

import pandas as pd
import streamlit as st

from dashboards import bridges
from dashboards.filters import Chosen, Period
from dashboards.parts import (
    chart_beside_table,
    definition_link,
    empty,
    escaped,
    figure,
    folded,
    in_row,
    in_tabs,
    link,
    show_table,
    written,
)
from dashboards.release import Release
from dashboards.sentences import (
    ahead,
    counted,
    known,
    listed,
    one_of_both,
    points,
    spoken,
    told_apart,
    whose,
    with_interval,
)

FILTERS = ("team", "segment", "period")
NOT_JUDGED = ("not enough calls", "unclear")
QUARTERS_SHOWN, CALLERS_SHOWN, USUAL_WEEKS = 8, 30, 8
METHODS = {
    "naive_last_period": "Last quarter again",
    "naive_last_year": "Last year again",
    "run_rate": "Straight on from today",
    "stage_weighted": "Pipeline by stage",
    "category_weighted": "Pipeline by category",
    "seller_commit": "Sellers' calls",
    "manager_commit": "Managers' calls",
    "executive_commit": "Executives' calls",
    "model": "Outcome model",
}
TARGETS = {"finance_target": "finance's plan", "quotas": "the sum of quotas"}
WHAT_HAPPENED = {
    "won": "won",
    "lost": "lost",
    "no_decision": "ended without a decision",
    "created": "new",
    "amount": "another amount",
    "chance": "another chance",
    "seen_again": "not reviewed on both days",
    "period_over": "the time ran out",
}
HORIZONS = {
    "quarter": "by the end of the quarter",
    "month": "by the end of the month",
    "next_quarter": "by the end of the next quarter",
    "next_month": "by the end of the next month",
    "days": "within the usual days",
    "ever": "ever",
}
WHEN_CALLED = {
    "all": "every week",
    "near": "in the last weeks",
    "middle": "in the middle",
    "far": "early in the quarter",
}
OVER = {"manager": ", over all managers' books,", "segment": ", over all segments,", "seller": ", over all sellers,"}
QUARTERS = "(select distinct quarter_name, quarter_start from core.calendar)"


def method_name(method: object) -> str:
    return METHODS.get(str(method), str(method).replace("_", " "))


def outlooks(release: Release, chosen: Chosen) -> pd.DataFrame:
    """One row for the quarter that runs and one for the next: what each is to bring, with its range."""
    return release.rows(
        "select quarters.quarter_name as quarter, outlook.booked, outlook.from_open_deals, outlook.from_new_deals, "
        "outlook.median, outlook.p10, outlook.p90, outlook.target, outlook.target_source, outlook.gap, "
        "outlook.commit_amount, outlook.method, outlook.method_reason, outlook.reason, outlook.period_start, "
        "outlook.period_end "
        f"from forecast_accuracy.outlook as outlook inner join {QUARTERS} as quarters "
        "on outlook.period_start = quarters.quarter_start where outlook.period_type = 'quarter' "
        "and outlook.scope_type = ? and outlook.scope_id = ? order by outlook.period_start",
        chosen.scope,
    )


def results(release: Release, chosen: Chosen) -> pd.DataFrame:
    """The quarters that have ended with what they brought, then those of the outlook with their range."""
    past = release.rows(
        "select quarters.quarter_name as quarter, max(told.actual_amount) as won, max(coverage.target) as target "
        f"from forecast_accuracy.period_forecasts as told inner join {QUARTERS} as quarters "
        "on told.period_start = quarters.quarter_start left join funnel.pipeline_coverage as coverage "
        "on coverage.period_type = 'quarter' and coverage.period_start = told.period_start "
        "and coverage.scope_type = told.scope_type and coverage.scope_id = told.scope_id "
        "where told.period_type = 'quarter' and told.is_ended and told.scope_type = ? and told.scope_id = ? "
        f"group by quarters.quarter_name, told.period_start order by told.period_start desc limit {QUARTERS_SHOWN}",
        chosen.scope,
    ).iloc[::-1]
    coming = outlooks(release, chosen)
    coming = coming[~coming["quarter"].isin(past["quarter"])].rename(columns={"booked": "won"})
    columns = ["quarter", "won", "median", "p10", "p90", "target"]
    parts = [part.reindex(columns=columns) for part in (past, coming) if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def told(release: Release, chosen: Chosen) -> pd.DataFrame:
    """One row per method and week of the chosen quarter: what was said then, and what had been won by then."""
    found = release.rows(
        "select method, weeks_before_end, forecast_on, forecast_amount, low, high, booked_amount, actual_amount, "
        "call_count, reason, is_ended from forecast_accuracy.period_forecasts "
        "where period_type = 'quarter' and period_start = ? and scope_type = ? and scope_id = ? "
        "order by method_order, forecast_on",
        (chosen.period.start, *chosen.scope),
    )
    found.insert(0, "name", found["method"].map(method_name))
    return found


def value_added(release: Release, chosen: Chosen, weeks: int) -> pd.DataFrame:
    """One row per step of the chain, so many weeks before the end: whether it was better than what costs nothing."""
    found = release.rows(
        "select method, value_added_over_naive, value_added_over_naive_low, value_added_over_naive_high, naive_n, "
        "naive_method, wape_of_naive, wape, n, period_count, previous_method, wape_of_previous, value_added, "
        "value_added_low, value_added_high, reason from forecast_accuracy.forecast_value_added "
        "where period_type = 'quarter' and scope_type = ? and weeks_before_end = ? order by step",
        (chosen.scope[0], weeks),
    )
    for column in ("method", "naive_method", "previous_method"):
        found[column] = found[column].map(lambda value: method_name(value) if known(value) else None)
    return found


def errors(release: Release, chosen: Chosen) -> pd.DataFrame:
    """One row per method and week before the end: how far off it was over the last quarters that have ended."""
    found = release.rows(
        "select method, weeks_before_end, wape, bias_share, n, period_count, within_10_percent, "
        "within_10_percent_low, within_10_percent_high, within_n, in_range_share, in_range_share_low, "
        "in_range_share_high, range_n, reason from forecast_accuracy.forecast_error_summary "
        "where period_type = 'quarter' and scope_type = ? order by method_order, weeks_before_end desc",
        (chosen.scope[0],),
    )
    found["method"] = found["method"].map(method_name)
    return found


def calibration(release: Release, method: str, horizon: str) -> pd.DataFrame:
    """One row per tenth of the chance told: how often it came so."""
    return release.rows(
        "select bin, mean_predicted, observed_rate, observed_low, observed_high, deal_count, n "
        "from forecast_accuracy.calibration where method = ? and horizon = ? and bin != 'all' order by bin_low",
        (method, horizon),
    )


def skill(release: Release, method: str, horizon: str) -> pd.DataFrame:
    """All tenths together; no row where nothing was told."""
    return release.rows(
        "select skill, brier, base_brier, n, deal_count from forecast_accuracy.calibration "
        "where method = ? and horizon = ? and bin = 'all'",
        (method, horizon),
    )


def submitters(release: Release, chosen: Chosen, horizon: str) -> pd.DataFrame:
    """One row per caller of the team who can be judged, the greatest habit first."""
    within, parameters = _callers_within(chosen)
    found = release.rows(
        "select submitter_name, caller, verdict, bias, bias_low, bias_high, wape, n, call_count, submitter_id "
        "from forecast_accuracy.submitter_credibility where period_type = 'quarter' and horizon = ? "
        f"and verdict not in {NOT_JUDGED}{within} "
        f"order by verdict = 'steady', abs(bias) desc, submitter_id limit {CALLERS_SHOWN}",
        [horizon, *parameters],
    )
    found["submitter_name"] = told_apart(found["submitter_name"], found["submitter_id"])
    return found


def verdicts(release: Release, chosen: Chosen, horizon: str) -> dict[str, int]:
    """How many callers of the team there are by verdict."""
    within, parameters = _callers_within(chosen)
    found = release.rows(
        "select verdict, count(*) as callers from forecast_accuracy.submitter_credibility "
        f"where period_type = 'quarter' and horizon = ?{within} group by verdict",
        [horizon, *parameters],
    )
    return dict(zip(found["verdict"], found["callers"].astype(int), strict=True))


def not_judged(release: Release, chosen: Chosen, horizon: str) -> pd.DataFrame:
    """How many callers of the team cannot be judged, by reason."""
    within, parameters = _callers_within(chosen)
    return release.rows(
        "select reason, count(*) as callers from forecast_accuracy.submitter_credibility where period_type = 'quarter' "
        f"and horizon = ? and verdict in {NOT_JUDGED}{within} group by reason order by callers desc, reason",
        [horizon, *parameters],
    )


def drivers(release: Release, chosen: Chosen, kind: str) -> pd.DataFrame:
    """The deals that decide the quarter that runs, or that changed since last week; for the company and managers."""
    found = release.rows(
        "select name, owner_name, stage, amount, p_win, p_win_before, swing_amount, change_amount, what_happened, "
        "compared_on, opportunity_id from forecast_accuracy.outlook_drivers where period_type = 'quarter' "
        "and period_start = ? and scope_type = ? and scope_id = ? and kind = ? order by rank",
        (chosen.period.start, *chosen.scope, kind),
    )
    found["what_happened"] = found["what_happened"].map(WHAT_HAPPENED)
    found["open"] = [link("deal", deal=deal) for deal in found["opportunity_id"]]
    return found


def lead(release: Release, chosen: Chosen, weeks: int) -> list[str]:
    """What the figures of the page say, most urgent first."""
    return spoken(
        _outlook_sentence(release, chosen),
        _record_sentence(release, chosen, weeks),
        _callers_sentence(release, chosen),
    )


def weeks_told(release: Release, chosen: Chosen) -> list[int]:
    """The weeks before the end that errors are told for, longest first."""
    found = release.rows(
        "select distinct weeks_before_end from forecast_accuracy.forecast_error_summary "
        "where period_type = 'quarter' and scope_type = ? and n > 0 order by weeks_before_end desc",
        (chosen.scope[0],),
    )
    return [int(week) for week in found["weeks_before_end"]]


def usual_week(release: Release, chosen: Chosen, weeks: list[int]) -> int:
    """Where a quarter that runs stands now; of any other eight weeks before the end."""
    wanted = USUAL_WEEKS
    if chosen.period.start <= release.as_of < chosen.period.end:
        wanted = max((chosen.period.end - release.as_of).days // 7, 1)
    return min(weeks, key=lambda week: (abs(week - wanted), week)) if weeks else wanted


def show(release: Release, chosen: Chosen) -> None:
    st.title("Forecast")
    weeks = weeks_told(release, chosen)
    usual = usual_week(release, chosen, weeks)
    place = st.container()
    week = usual
    if weeks:
        week = st.selectbox(
            "Weeks before the end of the quarter",
            weeks,
            index=weeks.index(usual),
            key="forecast_week",
            bind="query-params",
        )
    with place:
        st.markdown("\n\n".join(lead(release, chosen, week)) or "Not enough data to say anything about forecasts.")
        if one_of_both(chosen):
            st.caption(one_of_both(chosen))
    parts = {
        "Outlook": (_outlook, _drivers),
        "Week by week": (_fan,),
        "Value added": (partial(_value_added, weeks=week), _errors),
        "Whose calls hold": (_callers,),
        "Calibration": (_calibration,),
    }
    in_tabs("forecast_part", parts, release, chosen)


def _callers_within(chosen: Chosen) -> tuple[str, list[object]]:
    if not chosen.team:
        return "", []
    return (
        " and (submitter_id in (select unnest(?)) or submitter_id in "
        "(select rep_id from core.reps where is_current and manager_id in (select unnest(?))))",
        [list(chosen.managers), list(chosen.managers)],
    )


def _row(frame: pd.DataFrame, period: Period) -> pd.Series | None:
    found = frame[frame["period_start"] == pd.Timestamp(period.start)]
    return found.iloc[0] if len(found) else None


def _outlook_sentence(release: Release, chosen: Chosen) -> str:
    period, money = ahead(release, chosen), release.currency
    found = outlooks(release, chosen)
    row = _row(found, period)
    if row is None:
        past = told(release, chosen)
        ended = past["actual_amount"].dropna()
        if len(ended):
            return f"**{chosen.period.name}**, {whose(chosen)}: {written(ended.iloc[0], 'money', money)} was won."
        if len(found):
            return (
                f"**{period.name}** is too far away: the outlook is told for {listed(found['quarter'])}, and for no "
                "other quarter."
            )
        return ""
    if not known(row["median"]):
        return (
            f"**{period.name}**, {whose(chosen)}: what is to be expected cannot be told, {escaped(row['reason'])}; "
            f"{written(row['booked'], 'money', money)} is won, "
            + (
                f"of a target of {written(row['target'], 'money', money)}."
                if known(row["target"])
                else "no target is known."
            )
        )
    text = (
        f"**{period.name}**, {whose(chosen)}: {written(row['median'], 'money', money)} is to be expected; four results "
        f"out of five lie between {written(row['p10'], 'money', money)} and {written(row['p90'], 'money', money)}"
    )
    if known(row["gap"]):
        lacking = row["gap"] > 0
        whole = row["p90"] < row["target"] if lacking else row["p10"] > row["target"]
        text += (
            f". That is {written(abs(row['gap']), 'money', money)} {'short of' if lacking else 'above'} the target of "
            f"{written(row['target'], 'money', money)}, "
            + (
                f"and the whole range lies {'below' if lacking else 'above'} it."
                if whole
                else "and the target lies within the range: it is open."
            )
        )
    else:
        text += "; no target is known."
    if known(row["commit_amount"]):
        inside = row["p10"] <= row["commit_amount"] <= row["p90"]
        text += (
            f" People call {written(row['commit_amount'], 'money', money)}, "
            f"{'within' if inside else 'outside'} that range."
        )
    return text


def _record_sentence(release: Release, chosen: Chosen, weeks: int) -> str:
    found = value_added(release, chosen, weeks)
    found = found[found["value_added_over_naive"].notna()]
    if found.empty:
        return ""
    last = found.iloc[-1]
    gained, low, high = (last[f"value_added_over_naive{end}"] for end in ("", "_low", "_high"))
    text = (
        f"{counted(weeks, 'week')} before the end{OVER.get(chosen.scope[0], '')} the "
        f"{escaped(last['method']).lower()} was off by "
        f"{written(last['wape_of_naive'] - gained, 'percent')} over {counted(last['period_count'], 'quarter')}, "
        f"“{escaped(last['naive_method']).lower()}” by {written(last['wape_of_naive'], 'percent')}: "
        f"{points(gained)} {'better' if gained > 0 else 'worse'}"
    )
    beyond = low > 0 or high < 0
    return (
        f"{text} (90 %: {low * 100:+.1f} to {high * 100:+.1f}, n = {last['naive_n']:,.0f})"
        f"{'' if beyond else ', which may be chance'}."
    )


def _callers_sentence(release: Release, chosen: Chosen) -> str:
    counts = verdicts(release, chosen, "all")
    unknown = sum(counts.pop(verdict, 0) for verdict in NOT_JUDGED)
    judged = sum(counts.values())
    if not judged:
        return f"Nobody's calls can be judged yet: {counted(unknown, 'caller')} with too little." if unknown else ""
    found = submitters(release, chosen, "all")
    seen = "" if release.viewer.sees is None else " that you may see"
    said = [f"Calls of {counted(judged, 'person', 'people')}{seen} can be judged, of {unknown:,} not yet."]
    for verdict, words in (("optimist", "more"), ("sandbagger", "less")):
        some = found[found["verdict"] == verdict]
        if len(some):
            first = some.iloc[0]
            ends = sorted(abs(first[end]) for end in ("bias_low", "bias_high"))
            said.append(
                f"{counts[verdict]} called {words} than came, {'most ' * (counts[verdict] > 1)}"
                f"{escaped(first['submitter_name'])}: by {with_interval(abs(first['bias']), *ends)} over "
                f"{counted(first['n'], 'quarter')}."
            )
    return " ".join(said if len(said) > 1 else [*said, "No habit shows."])


def _outlook(release: Release, chosen: Chosen) -> None:
    table = "forecast_accuracy.outlook"
    found, period = outlooks(release, chosen), ahead(release, chosen)
    row = _row(found, period)
    if row is not None:
        places = in_row(4)
        with places[0]:
            figure(
                release,
                f"Expected, {period.name}",
                row["median"],
                table,
                "median",
                "money",
                note=f"4 of 5 results: {written(row['p10'], 'money')} to {written(row['p90'], 'money')}"
                if known(row["median"])
                else escaped(row["reason"]),
            )
        with places[1]:
            figure(release, "Already won", row["booked"], table, "booked", "money")
        with places[2]:
            figure(
                release,
                "From open deals",
                row["from_open_deals"],
                table,
                "from_open_deals",
                "money",
                note=f"and {written(row['from_new_deals'], 'money')} from deals that do not exist yet",
            )
        with places[3]:
            figure(
                release,
                "Missing to the target" if not known(row["gap"]) or row["gap"] > 0 else "Above the target",
                abs(row["gap"]) if known(row["gap"]) else None,
                table,
                "gap",
                "money",
                note=f"of {written(row['target'], 'money')}, {TARGETS[str(row['target_source'])]}"
                if known(row["target"])
                else "no target is delivered",
            )
    st.subheader("What quarters brought, and what the next will bring")
    drawn = results(release, chosen)
    if drawn.empty:
        empty(release, table)
        return
    chart_beside_table(
        release,
        bridges.results(drawn, f"Won, {release.currency}"),
        drawn.iloc[::-1],
        table,
        name="results_and_outlook",
        alt_text=f"What each quarter brought for {chosen.words}, and what the next is to bring with its range: "
        + "; ".join(
            f"{each.quarter} {written(each.median if known(each.median) else each.won, 'money')}"
            for each in drawn.itertuples()
        )
        + ".",
        caption="Grey: won. Blue: half of the results lie below the point, four out of five within the bar. "
        "Red: the target, where one is known."
        + (
            f" Chances by {escaped(found['method'].iloc[0])}: {escaped(found['method_reason'].iloc[0])}."
            * bool(len(found))
        ),
        formats={"won": "%,.0f"},
    )


def _fan(release: Release, chosen: Chosen) -> None:
    table = "forecast_accuracy.period_forecasts"
    st.subheader(f"What was said of {chosen.period.name}, week by week")
    found = told(release, chosen)
    names = {
        method: method_name(method) for method in dict.fromkeys(found.loc[found["forecast_amount"].notna(), "method"])
    }
    if not names:
        why = ""
        if chosen.period.start > release.as_of:
            why = f"{chosen.period.name} has not begun; forecasts of it are told weekly from its first day."
        empty(release, table, why)
        return
    keys = list(names)
    usual = "model" if "model" in names else keys[-1]
    method = st.selectbox(
        "Method",
        keys,
        index=keys.index(usual),
        format_func=lambda key: names[key],
        key="forecast_method",
        bind="query-params",
    )
    drawn = found[(found["method"] == method) & found["forecast_amount"].notna()]
    ended = bool(drawn["is_ended"].iloc[0])
    row = _row(outlooks(release, chosen), chosen.period)
    chart_beside_table(
        release,
        bridges.fan(
            drawn[["forecast_on", "forecast_amount", "low", "high", "booked_amount"]],
            f"Won in {chosen.period.name}, {release.currency}",
            target=None if row is None else row["target"],
            actual=drawn["actual_amount"].iloc[0] if ended else None,
        ),
        drawn[
            ["weeks_before_end", "forecast_on", "forecast_amount", "low", "high", "booked_amount", "actual_amount"]
        ].iloc[::-1],
        table,
        name="forecast_by_week",
        alt_text=f"{names[method]}, week by week for {chosen.period.name}: from "
        f"{written(drawn['forecast_amount'].iloc[0], 'money')} to {written(drawn['forecast_amount'].iloc[-1], 'money')}"
        + (f"; {written(drawn['actual_amount'].iloc[0], 'money')} came." if ended else "."),
        caption="Band: the range four results out of five should fall into."
        + ("" if drawn["low"].notna().any() else " Too few quarters before this one for a range."),
        formats={"low": "%,.0f", "high": "%,.0f"},
    )
    last = found[found["weeks_before_end"] == found["weeks_before_end"].min()]
    columns = ["name", "forecast_amount", "low", "high", "booked_amount", "actual_amount", "call_count", "reason"]
    label = f"All methods, {counted(last['weeks_before_end'].iloc[0], 'week')} before the end"
    if place := folded(label, "methods_table"):
        with place:
            show_table(
                release,
                last[columns],
                table,
                name="methods",
                labels={"name": "Method"},
                formats={"low": "%,.0f", "high": "%,.0f"},
            )


def _drivers(release: Release, chosen: Chosen) -> None:
    table = "forecast_accuracy.outlook_drivers"
    uncertain, changed = (drivers(release, chosen, kind) for kind in ("uncertain", "changed"))
    if uncertain.empty and changed.empty:
        return
    st.subheader(f"Which deals decide {chosen.period.name}")
    if len(uncertain):
        st.markdown(
            f"Talk about these in the forecast call: each moves the quarter most either way. {definition_link(table)}"
        )
        show_table(
            release,
            uncertain[["name", "owner_name", "stage", "amount", "p_win", "swing_amount", "open"]],
            table,
            name="deals_that_decide",
            labels={"p_win": "Chance", "swing_amount": "Moves it by"},
            links={"open": "open the deal"},
            formats={"p_win": "percent"},
        )
    if len(changed):
        since = written(changed["compared_on"].iloc[0], "date")
        st.markdown(f"What changed the number most since {since}. {definition_link(table)}")
        show_table(
            release,
            changed[
                ["name", "owner_name", "what_happened", "amount", "p_win_before", "p_win", "change_amount", "open"]
            ],
            table,
            name="deals_that_changed",
            labels={"p_win": "Chance", "p_win_before": "Chance before"},
            links={"open": "open the deal"},
            formats={"p_win": "percent", "p_win_before": "percent"},
        )


def _value_added(release: Release, chosen: Chosen, weeks: int) -> None:
    table = "forecast_accuracy.forecast_value_added"
    found = value_added(release, chosen, weeks)
    drawn = found[found["value_added_over_naive"].notna()]
    if drawn.empty:
        reasons = found["reason"].dropna().unique()
        empty(release, table, "; ".join(reasons))
        return
    better = drawn[drawn["value_added_over_naive_low"] > 0]
    worse = drawn[drawn["value_added_over_naive_high"] < 0]
    said = [f"Of {counted(len(drawn), 'way')} to forecast"]
    said.append(
        f"{listed(better['method'])} clearly {'beat' if len(better) > 1 else 'beats'}"
        if len(better)
        else "none clearly beats"
    )
    st.markdown(
        f"{said[0]} {said[1]} what costs nothing: last quarter's or last year's result again, whichever was closer."
        + (f" Clearly worse: {listed(worse['method'])}." if len(worse) else "")
        + " The rest may be chance." * (len(better) + len(worse) < len(drawn))
    )
    cells = {
        "company": "the company",
        "manager": "all managers' books",
        "segment": "all segments",
        "seller": "all sellers",
    }
    chart_beside_table(
        release,
        bridges.rates(
            pd.DataFrame(
                {
                    "label": drawn["method"],
                    "value": drawn["value_added_over_naive"],
                    "low": drawn["value_added_over_naive_low"],
                    "high": drawn["value_added_over_naive_high"],
                    "n": drawn["naive_n"],
                }
            ),
            "Error taken away against naive",
            rule=0.0,
            rule_is="no better than naive",
        ),
        found,
        table,
        name="value_added",
        labels={"wape": "Error", "wape_of_naive": "Error of naive", "wape_of_previous": "Error of the previous"},
        alt_text=f"Value added over naive, {weeks} weeks before the end: "
        + "; ".join(f"{row.method} {row.value_added_over_naive:+.1%}" for row in drawn.itertuples())
        + ".",
        caption="Right of zero is better. Over the last quarters that have ended, "
        f"{cells.get(chosen.scope[0], 'all')}.",
        formats=dict.fromkeys(
            [column for column in found.columns if column.startswith(("wape", "value_added"))],
            "percent",
        ),
    )


def _callers(release: Release, chosen: Chosen) -> None:
    table = "forecast_accuracy.submitter_credibility"
    st.subheader("Whose calls hold")
    if not release.has(table):
        empty(release, table)
        return
    if chosen.segment:
        st.caption("A caller's book is not cut by segment: told over all segments.")
    horizon = st.selectbox(
        "Calls made",
        list(WHEN_CALLED),
        format_func=lambda name: WHEN_CALLED[name],
        key="forecast_called",
        bind="query-params",
    )
    found = submitters(release, chosen, horizon)
    others = not_judged(release, chosen, horizon)
    if found.empty:
        reasons = "; ".join(others["reason"])
        empty(release, table, reasons)
        return
    habits = found[found["verdict"] != "steady"]
    if len(habits):
        st.markdown(
            f"Ask {listed(habits['submitter_name'], 6)} which deals were in the last call and did not come, or came "
            "without being called; until that changes, read their calls with the habit taken off."
        )
    drawn = found.rename(
        columns={"submitter_name": "label", "bias": "value", "bias_low": "low", "bias_high": "high"}
    ).assign(kind=found["verdict"])
    colours = {"optimist": bridges.RED, "sandbagger": "#b7791f", "steady": bridges.GREY}
    chart_beside_table(
        release,
        bridges.coloured_rates(
            drawn[["label", "value", "low", "high", "n", "kind"]],
            "Called more (right) or less (left) than came",
            colours=colours,
        ),
        found.drop(columns=["submitter_id"]),
        table,
        name="callers",
        labels={"submitter_name": "Name", "wape": "Error", "n": "Quarters", "call_count": "Calls"},
        alt_text="How much more each caller called than came: "
        + "; ".join(f"{row.submitter_name} {row.bias:+.0%}, {row.verdict}" for row in found.itertuples())
        + ".",
        caption="Each quarter counts once, however often it was called; line: 90 % interval."
        + (f" The {CALLERS_SHOWN} with the greatest habit." if len(found) == CALLERS_SHOWN else ""),
        formats={"bias": "percent", "bias_low": "percent", "bias_high": "percent", "wape": "percent"},
    )
    if len(others):
        st.caption(
            "Not judged: "
            + "; ".join(
                f"{counted(callers, 'caller')}, {escaped(reason)}"
                for callers, reason in zip(others["callers"], others["reason"], strict=True)
            )
            + "."
        )


def _errors(release: Release, chosen: Chosen) -> None:
    table = "forecast_accuracy.forecast_error_summary"
    st.subheader("How far off, how long before the end")
    found = errors(release, chosen)
    drawn = found[found["wape"].notna()]
    if drawn.empty:
        empty(release, table, "; ".join(found["reason"].dropna().unique()))
        return
    first = drawn[drawn["weeks_before_end"] == drawn["weeks_before_end"].min()]
    best = first.iloc[int(first["wape"].to_numpy().argmin())]
    st.markdown(
        f"{counted(best['weeks_before_end'], 'week')} before the end the {escaped(best['method']).lower()} is closest: "
        f"off by {written(best['wape'], 'percent')} (n = {best['n']:,.0f}), "
        + (
            f"and its range held in "
            f"{with_interval(best['in_range_share'], best['in_range_share_low'], best['in_range_share_high'])} "
            "of cases; it promises 80 %."
            if known(best["in_range_share"])
            else "with too few quarters for a range."
        )
    )
    chart_beside_table(
        release,
        bridges.lines(
            pd.DataFrame({"x": drawn["weeks_before_end"], "value": drawn["wape"], "kind": drawn["method"]}),
            "Weeks before the end",
            "All errors over all that was won",
            form=".0%",
        ),
        found,
        table,
        name="error_by_week",
        labels={"wape": "Error", "bias_share": "Bias"},
        alt_text="Error of each method by week before the end of the quarter; "
        + "; ".join(f"{row.method} {row.wape:.0%} in the last week" for row in first.itertuples())
        + ".",
        caption="Errors without their sign over what was won, so that too much in one quarter does not hide too little "
        "in another.",
        formats={"wape": "percent", "within_10_percent": "percent"}
        | {f"within_10_percent_{end}": "percent" for end in ("low", "high")},
    )


def _calibration(release: Release, chosen: Chosen) -> None:
    table = "forecast_accuracy.calibration"
    st.subheader("When we said 70 %, did it happen in 70 of 100?")
    told_by = release.value(
        "select method from forecast_accuracy.outlook where scope_type = 'company' and period_type = 'quarter' "
        "order by period_start limit 1"
    )
    kinds = release.rows("select distinct horizon from forecast_accuracy.calibration where method = ?", (told_by,))
    horizons = [name for name in HORIZONS if name in set(kinds["horizon"])]
    if not horizons:
        empty(release, table)
        return
    horizon = st.selectbox(
        "Chance to be won",
        horizons,
        format_func=lambda name: HORIZONS[name],
        key="forecast_chance",
        bind="query-params",
    )
    found = calibration(release, told_by, horizon)
    whole = skill(release, told_by, horizon)
    off = found[(found["mean_predicted"] < found["observed_low"]) | (found["mean_predicted"] > found["observed_high"])]
    said = (
        f"In {len(off)} of {len(found)} tenths what was told lies outside of what came"
        if len(off)
        else f"In all {len(found)} tenths what was told lies within chance of what came"
        if len(found) > 1
        else "All chances told lie in one tenth: these deals are not told apart"
    )
    if len(off):
        said += f": {listed(off['bin'])}"
    if len(whole) and known(whole["skill"].iloc[0]):
        one = whole.iloc[0]
        said += (
            f". Against telling every deal the usual rate the squared error is {written(one['skill'], 'percent')} "
            f"smaller ({counted(one['n'], 'review')} of {counted(one['deal_count'], 'deal')})"
        )
    st.markdown(f"{said}.")
    if chosen.team or chosen.segment:
        st.caption("Told over all deals, not by team or segment.")
    chart_beside_table(
        release,
        bridges.told_and_come(found),
        found,
        table,
        name="calibration",
        labels={"bin": "Told", "mean_predicted": "Told on average", "observed_rate": "Came", "n": "Reviews"},
        alt_text="Chance told and how often it came so: "
        + "; ".join(
            f"{row.mean_predicted:.0%} told, {row.observed_rate:.0%} came of {row.deal_count:,.0f} deals"
            for row in found.itertuples()
        )
        + ".",
        caption="On the dashed line chances came as told. Each chance was told by what was known before its quarter.",
        formats=dict.fromkeys(["mean_predicted", "observed_low", "observed_high"], "percent"),
    )
