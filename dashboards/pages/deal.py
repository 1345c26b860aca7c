"""Deal: one deal from its beginning, what is wrong with it, and what to do."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from dashboards.filters import Chosen
from dashboards.parts import (
    MISSING,
    chart_beside_table,
    day,
    definition_link,
    draw,
    empty,
    escaped,
    figure,
    folded,
    in_row,
    link,
    show_table,
    written,
)
from dashboards.release import Release
from dashboards.words import (
    VERDICT_MEANINGS,
    deal_name,
    each,
    evidence,
    function_name,
    known,
    percent,
    plural,
    pooled_chance,
    signal_name,
    times,
    verdict_name,
)

FILTERS: tuple[str, ...] = ()
FOUND_SHOWN = 20
CHANGES_SHOWN = 300
BLUE, LIGHT, GREY, RED, GREEN = "#2b6cb0", "#bee3f8", "#718096", "#c53030", "#2f855a"
LABEL_WIDTH = 130
PEOPLE_DRAWN = 8
Picture = alt.Chart | alt.LayerChart | alt.FacetChart
DEAL = """
    deals.opportunity_id, deals.name, deals.account_name, deals.owner_name, deals.manager_name, deals.stage,
    deals.amount, deals.close_date, deals.is_open
"""


def find(release: Release, words: str, limit: int = FOUND_SHOWN) -> pd.DataFrame:
    """Deals in whose id, name, account or owner every word occurs; open ones first, then by amount."""
    return release.rows(
        f"""
        select {DEAL}, count(*) over () as found_count
        from core.opportunities as deals
        where
            not deals.is_deleted
            and len(list_filter(?::varchar[], lambda word: not contains(
                lower(concat_ws(' ', deals.opportunity_id, deals.name, deals.account_name, deals.owner_name)), word
            ))) = 0
        order by deals.is_open desc, coalesce(deals.amount, 0) desc, deals.opportunity_id
        limit ?
        """,
        (words.lower().split(), limit),
    )


def worth_a_look(release: Release, limit: int = 10) -> pd.DataFrame:
    """Open deals in which most can be changed."""
    return release.rows(
        f"""
        select {DEAL}, health.verdict
        from funnel.deal_health as health
        inner join core.opportunities as deals on health.opportunity_id = deals.opportunity_id
        order by
            health.verdict = 'on_track', coalesce(health.amount_to_gain, 0) desc, coalesce(health.amount, 0) desc,
            health.opportunity_id
        limit ?
        """,
        (limit,),
    )


def deal(release: Release, opportunity_id: str) -> Any | None:
    """The deal as known, with its verdict where it is open; None when there is none that the viewer may see."""
    found = release.rows(
        """
        select
            deals.*, health.opportunity_id is not null as is_judged, health.verdict, health.top_signal, health.reason,
            health.next_action, health.requested_function, health.function_open_requests, health.reentry_condition,
            health.p_method, health.p_basis, health.p_win, health.p_slip, health.p_lose, health.p_no_decision,
            health.p_win_this_period, health.p_win_pooled, health.p_n, health.horizon_days,
            health.expected_amount, health.p_break_even,
            health.amount_to_gain, health.hours_to_go, health.hours_to_release, health.guardrail_share,
            health.required_count, health.verified_count, health.claimed_count, health.unknown_count
        from core.opportunities as deals
        left join funnel.deal_health as health on deals.opportunity_id = health.opportunity_id
        where deals.opportunity_id = ?
        """,
        (opportunity_id,),
    )
    return next(each(found), None)


def signals(release: Release, opportunity_id: str) -> pd.DataFrame:
    """One row per signal of the deal, the one closest to a cause first, then the strongest."""
    return release.rows(
        """
        select signals.*, health.top_signal = signals.signal as is_top
        from funnel.deal_signals as signals
        left join funnel.deal_health as health on signals.opportunity_id = health.opportunity_id
        where signals.opportunity_id = ?
        order by is_top desc, signals.severity = 'high' desc, signals.odds_ratio desc nulls last, signals.signal
        """,
        (opportunity_id,),
    )


def question(release: Release, opportunity_id: str) -> Any | None:
    """The question and the drill of the deal's newest review, else of any with the same top signal, or to let go."""
    found = release.rows(
        """
        select agenda.coaching_question, agenda.suggested_drill
        from funnel.review_agenda as agenda
        inner join funnel.deal_health as health
            on (agenda.verdict = 'de_resource') = (health.verdict = 'de_resource')
            and (health.verdict = 'de_resource' or agenda.top_signal = health.top_signal)
        where health.opportunity_id = ?
        order by agenda.opportunity_id = health.opportunity_id desc, agenda.review_on desc, agenda.opportunity_id
        limit 1
        """,
        (opportunity_id,),
    )
    return next(each(found), None)


def past_reviews(release: Release, opportunity_id: str) -> pd.DataFrame:
    """One row per weekly review on whose agenda the deal was, newest first."""
    return release.rows(
        "select review_on, verdict, top_signal, why, evidence, what_to_do, place, amount from funnel.review_agenda "
        "where opportunity_id = ? order by review_on desc",
        (opportunity_id,),
    )


def factors(release: Release, opportunity_id: str) -> pd.DataFrame:
    """What sets the deal's chance apart from deals that were won, largest first."""
    return release.rows(
        "select rank, factor, value, won_median, contribution from forecast_accuracy.prediction_factors "
        "where opportunity_id = ? order by rank",
        (opportunity_id,),
    )


def team(release: Release, opportunity_id: str) -> pd.DataFrame:
    """One row per person and function on the deal, those who are still on it first."""
    return release.rows(
        """
        select
            name, function, stage_at_join, joined_on, left_on, last_active_on, activity_count, evidence, is_owner_now
        from funnel.deal_teams
        where opportunity_id = ?
        order by left_on is not null, is_owner_now desc, activity_count desc, joined_on, name, function
        """,
        (opportunity_id,),
    )


def suggestion(release: Release, opportunity_id: str) -> Any | None:
    """The specialist who could be asked; None when the deal has one, or is closed."""
    found = release.rows("select * from funnel.specialist_suggestions where opportunity_id = ?", (opportunity_id,))
    return next(each(found), None)


def history(release: Release, opportunity_id: str) -> pd.DataFrame:
    """One row per stretch of time in which nothing changed, with the end of the last one in `until`."""
    return release.rows(
        """
        select
            history.valid_from, coalesce(history.valid_to, history.as_of_date + interval 1 day) as until,
            coalesce(history.stage, 'not known') as stage, stages.stage_order, history.forecast_category,
            history.amount, history.close_date, history.is_open
        from funnel.opportunity_history as history
        left join core.stages as stages on history.stage = stages.stage
        where history.opportunity_id = ?
        order by history.valid_from
        """,
        (opportunity_id,),
    )


def history_changes(release: Release, opportunity_id: str, limit: int = CHANGES_SHOWN) -> pd.DataFrame:
    """One row per change of stage, amount, close date, forecast category or owner, newest first."""
    return release.rows(
        """
        with stretches as (
            select
                history.valid_from as changed_at, history.stage,
                trim(format('{:t,}', cast(round(history.amount) as bigint))) as amount,
                cast(history.close_date as varchar) as close_date, history.forecast_category,
                coalesce(owners.name, history.owner_id) as owner,
                row_number() over (order by history.valid_from) as stretch
            from funnel.opportunity_history as history
            left join (select rep_id, any_value(name) as name from core.reps group by rep_id) as owners
                on history.owner_id = owners.rep_id
            where history.opportunity_id = ?
        ),

        told as (
            unpivot (
                select
                    changed_at, stretch, coalesce(stage, 'not known') as stage, coalesce(amount, 'not known') as amount,
                    coalesce(close_date, 'not known') as "close date",
                    coalesce(forecast_category, 'not known') as "forecast category",
                    coalesce(owner, 'not known') as owner
                from stretches
            )
            on stage, amount, "close date", "forecast category", owner into name what value now
        ),

        changes as (
            select *, lag(now) over (partition by what order by stretch) as before from told
        )

        select changed_at, what, before, now from changes
        where stretch = 1 or now != before
        order by changed_at desc, what
        limit ?
        """,
        (opportunity_id, limit),
    )


def timeline(stretches: pd.DataFrame, people: pd.DataFrame, seen: pd.DataFrame, currency: str) -> dict[str, Picture]:
    """The deal from its beginning, a chart a title, all over the same time.

    Args:
        stretches: rows of `history`.
        people: rows of `team`; a line runs from somebody's first to the last activity known.
        seen: rows of `past_reviews`.
    """
    rows = stretches.rename(columns={"valid_from": "start", "until": "end"})
    first, last = rows["start"].min(), rows["end"].max()
    time = alt.X(
        "start:T", title=None, scale=alt.Scale(domain=[first.isoformat(), last.isoformat()]), axis=alt.Axis(tickCount=6)
    )
    stages = rows.drop_duplicates("stage").sort_values("stage_order", ascending=False)["stage"].tolist()
    charts: dict[str, Picture] = {
        "Stage": alt.Chart(rows)
        .mark_bar(color=BLUE, height=10)
        .encode(
            x=time,
            x2="end:T",
            y=alt.Y("stage:N", sort=stages, axis=_labels()),
            tooltip=["stage:N", "start:T", "end:T"],
        )
        .properties(height=alt.Step(20)),
        f"Amount, {currency}": _steps(rows, time, "amount", BLUE, _labels("~s"), zero=True),
        "Close date as planned: a step up is a push": _steps(rows, time, "close_date", RED, _labels("%d %b %Y")),
    }
    at_work = people.assign(
        start=people["joined_on"].fillna(people["last_active_on"]),
        end=people[["last_active_on", "joined_on"]].max(axis=1),
        who=people["name"] + ", " + people["function"].str.replace("_", " "),
    )
    # Who helped after the end, or before the first stretch known, is drawn as far as the deal goes.
    at_work = at_work[at_work["start"].notna() & (at_work["start"] <= last)].head(PEOPLE_DRAWN)
    if len(at_work):
        at_work = at_work.assign(start=at_work["start"].clip(lower=first), end=at_work["end"].clip(first, last))
        who = alt.Chart(at_work).encode(x=time, y=alt.Y("who:N", sort=None, axis=_labels()), tooltip=["who:N"])
        charts["At work on it, from the first to the last activity known"] = alt.layer(
            who.mark_rule(color=GREEN, strokeWidth=3).encode(x2="end:T"),
            who.mark_point(color=GREEN, filled=True, size=40, opacity=1),
            who.mark_point(color=GREEN, filled=True, size=40, opacity=1).encode(x="end:T"),
        ).properties(height=alt.Step(20))
    if len(seen):
        told = seen.assign(start=seen["review_on"], on=seen["verdict"].map(verdict_name))
        charts["On the review agenda"] = (
            alt.Chart(told)
            .mark_tick(color=RED, thickness=2, size=12)
            .encode(x=time, y=alt.Y("on:N", axis=_labels(), sort=None), tooltip=["start:T", "why:N"])
            .properties(height=alt.Step(20))
        )
    return charts


def _labels(text: str | None = None) -> alt.Axis:
    """An axis as wide as those above and below it, so that one day stands under the same day."""
    axis = alt.Axis(title=None, labelLimit=LABEL_WIDTH, minExtent=LABEL_WIDTH, maxExtent=LABEL_WIDTH)
    if text:
        axis["format"], axis["tickCount"] = text, 3
    return axis


def _steps(
    rows: pd.DataFrame, time: alt.X, column: str, color: str, axis: alt.Axis, *, zero: bool = False
) -> alt.Chart:
    # The last stretch ends where nothing comes after it: its value once more, so that the line is drawn to the end.
    ends = rows.tail(1).assign(start=rows["end"].iloc[-1])
    kind = "T" if column.endswith("_date") else "Q"
    return (
        alt.Chart(pd.concat([rows, ends], ignore_index=True))
        .mark_line(interpolate="step-after", color=color, strokeWidth=2)
        .encode(x=time, y=alt.Y(f"{column}:{kind}", axis=axis, scale=alt.Scale(zero=zero)), order="start:T")
        .properties(height=90)
    )


def timeline_alt(stretches: pd.DataFrame, currency: str) -> str:
    """What the timeline shows, in words."""
    stages = list(dict.fromkeys(stretches["stage"]))
    first, last = stretches.iloc[0], stretches.iloc[-1]
    return (
        f"From {day(first.valid_from)}: {', then '.join(stages)}. "
        f"Amount from {written(first.amount, 'money', currency)} to {written(last.amount, 'money', currency)}; "
        f"close date from {written(first.close_date, 'date')} to {written(last.close_date, 'date')}."
    )


def factor_chart(found: pd.DataFrame) -> alt.Chart:
    """By how many points of the chance each factor sets the deal apart from deals that were won."""
    return (
        alt.Chart(found)
        .mark_bar()
        .encode(
            x=alt.X("contribution:Q", axis=alt.Axis(format="+.0%", title="points of the chance", tickCount=5)),
            y=alt.Y("factor:N", sort=None, title=None, axis=alt.Axis(labelLimit=220)),
            color=alt.condition("datum.contribution < 0", alt.value(RED), alt.value(GREEN)),
            tooltip=["factor:N", "value:N", "won_median:N", alt.Tooltip("contribution:Q", format="+.1%")],
        )
        .properties(height=30 * len(found) + 60)
    )


def show(release: Release, chosen: Chosen) -> None:
    st.title("Deal")
    asked = st.text_input(
        "Find a deal: its name, account, owner or id",
        key="deal",
        bind="query-params",
        placeholder="for example a part of the account's name",
    )
    words = (asked or "").strip()
    if not words:
        _choose_one(release)
        return
    found = deal(release, words)
    if found is None:
        _matches(release, words)
        return
    _head(release, found)
    _what_to_do(release, found)
    _chance(release, found)
    _timeline(release, found)
    _people(release, found)


def _choose_one(release: Release) -> None:
    found = worth_a_look(release)
    if found.empty:
        empty(release, "core.opportunities" if not release.has("core.opportunities") else "funnel.deal_health")
        return
    st.markdown(
        f"Open deals in which most can be changed now {definition_link('funnel.deal_health', 'amount_to_gain')}:"
    )
    _links(release, found)


def _matches(release: Release, words: str) -> None:
    found = find(release, words)
    if found.empty:
        st.info(
            f"There is no deal with **{escaped(words)}** in its name, account, owner or id that you may see here. "
            "Deals deleted in the CRM are not shown."
        )
        return
    count = int(found["found_count"][0])
    more = f"; here are {len(found)} of them, write more of the name to see fewer" if count > len(found) else ""
    st.markdown(f"{plural(count, 'deal')} found{more}.")
    _links(release, found)


def _links(release: Release, found: pd.DataFrame) -> None:
    lines = []
    for row in each(found):
        name = escaped(deal_name(row.name, row.account_name, row.opportunity_id))
        facts = [
            written(row.amount, "money", release.currency) if known(row.amount) else "",
            str(row.stage) if known(row.stage) else "",
            str(row.owner_name) if known(row.owner_name) else "",
            verdict_name(row.verdict) if "verdict" in found else "",
        ]
        lines.append(f"- [{name}]({link('deal', deal=row.opportunity_id)}) {escaped(' · '.join(filter(None, facts)))}")
    st.markdown("\n".join(lines))


def _head(release: Release, row: Any) -> None:
    st.header(escaped(deal_name(row.name, row.account_name, row.opportunity_id)))
    facts = [
        f"{row.stage}" if known(row.stage) else "stage not known",
        str(row.opportunity_type).replace("_", " ") if known(row.opportunity_type) else "",
        str(row.segment) if known(row.segment) else "",
        str(row.product_name) if known(row.product_name) else "",
        f"owner {row.owner_name}" if known(row.owner_name) else "",
        f"team of {row.manager_name}" if known(row.manager_name) else "",
        f"called {str(row.forecast_category).replace('_', ' ')}" if known(row.forecast_category) else "",
        str(row.opportunity_id),
    ]
    st.caption(escaped(" · ".join(part for part in facts if part)))
    if row.is_deleted:
        st.warning("This deal was deleted in the CRM. It is kept for its history and left out of every figure.")
    places = in_row(4)
    with places[0]:
        figure(release, "Amount", row.amount, "core.opportunities", "amount", "money")
    with places[1]:
        if row.is_judged:
            figure(
                release,
                "Chance to win",
                row.p_win,
                "funnel.deal_health",
                "p_win",
                "percent",
                n=row.p_n if row.p_method == "pooled" else None,
                note=f"within {row.horizon_days:.0f} days" if known(row.p_win) else "no like deal has ended yet",
            )
        else:
            figure(
                release,
                "Cycle",
                row.cycle_days,
                "core.opportunities",
                "cycle_days",
                "days",
                note="" if known(row.cycle_days) else "a date is missing, or it was created closed",
            )
    with places[2]:
        column = "close_date" if row.is_open else "closed_on"
        date = getattr(row, column)
        figure(
            release,
            "Planned close" if row.is_open else "Closed",
            f"{date.day} {date:%b}" if known(date) else None,
            "core.opportunities",
            column,
            "text",
            note=f"{date.year}, {_pushes(row)}" if known(date) else _pushes(row),
        )
    with places[3]:
        if row.is_open:
            note = f"{plural(row.age_days, 'day')} old" if known(row.age_days) else "age not known"
            figure(
                release, "In this stage", row.stage_age_days, "core.opportunities", "stage_age_days", "days", note=note
            )
        else:
            share = row.discount_share
            figure(
                release,
                "Discount",
                share,
                "core.opportunities",
                "discount_share",
                "percent",
                note="" if known(share) else "no lines with a list price",
            )


def _pushes(row: Any) -> str:
    if not known(row.push_count):
        return "pushes not known"
    return f"put off {times(row.push_count)}" if row.push_count else "never put off"


def _what_to_do(release: Release, row: Any) -> None:
    if not row.is_open:
        how = "won" if row.is_won else "lost" if row.is_lost else "ended without a decision"
        why = f": {row.loss_reason}" if known(row.loss_reason) and not row.is_won else ""
        against = f" A competitor was named: {row.competitor}." if known(row.competitor) else ""
        st.markdown(f"**{how.capitalize()}{escaped(why)}.**{escaped(against)} There is nothing left to judge.")
        return
    st.subheader("What is wrong, and what to do")
    if not row.is_judged:
        empty(release, "funnel.deal_health", "The deal is in no stage the policy knows, so it is not reviewed.")
        return
    found = signals(release, row.opportunity_id)
    meaning = VERDICT_MEANINGS.get(row.verdict, "")
    st.markdown(
        f"**Verdict: {definition_link('funnel.deal_health', 'verdict', escaped(verdict_name(row.verdict)))}**"
        + (f", {escaped(meaning)}." if meaning else ".")
    )
    if pooled_chance(row):
        said = definition_link("funnel.deal_health", "p_win_pooled", escaped(pooled_chance(row)))
        st.markdown(f"Beside the chance above: {said}.")
    if row.verdict == "de_resource":
        _let_go(row)
    if row.verdict == "extra_effort" or (row.verdict == "attention" and known(row.requested_function)):
        load = ""
        if known(row.function_open_requests):
            open_requests = plural(row.function_open_requests, "request")
            waiting = definition_link("funnel.deal_health", "function_open_requests", open_requests)
            load = f" Nobody has resolved {waiting} there yet."
        st.markdown(
            f"Bring in {escaped(function_name(row.requested_function))}.{load}" if known(row.requested_function) else ""
        )
    if found.empty:
        missing = release.missing_for("funnel.deal_signals")
        if missing:
            empty(release, "funnel.deal_signals")
        else:
            st.markdown(f"No signal fires. {definition_link('funnel.deal_signals')}")
    for signal in each(found):
        with st.container(border=True):
            st.markdown(_signal(signal))
    asked = question(release, row.opportunity_id)
    if asked is not None:
        st.markdown(
            f"**Ask:** *{escaped(asked.coaching_question)}*  \n**Practise:** {escaped(asked.suggested_drill)} "
            f"{definition_link('funnel.review_agenda', 'coaching_question')}"
        )
    if len(found):
        if place := folded("The signals as a table", "signals_table"):
            with place:
                show_table(
                    release,
                    found.drop(columns=["opportunity_id", "is_top", "as_of_date"]),
                    "funnel.deal_signals",
                    name="signals",
                )
    _qualification(release, row)


def _let_go(row: Any) -> None:
    lines = [f"The rules it meets: {escaped(row.reason)}."]
    if known(row.hours_to_release):
        hours = definition_link("funnel.deal_health", "hours_to_release", f"{row.hours_to_release:.1f} hours")
        lines.append(f"Letting it go frees about {hours}, the median of what won deals took from here.")
    if known(row.p_break_even):
        even = definition_link("funnel.deal_health", "p_break_even", written(row.p_break_even, "percent"))
        lines.append(f"The effort pays from a chance of {even} on.")
    if known(row.reentry_condition):
        lines.append(f"{escaped(row.reentry_condition)}.")
    if known(row.guardrail_share):
        share = definition_link("funnel.deal_health", "guardrail_share", written(row.guardrail_share, "percent"))
        lines.append(f"Of what was won in the past, the same rules would have dropped {share}.")
    st.markdown(" ".join(lines))


def _signal(row: Any) -> str:
    """One signal: what is wrong, how we know, what to do, and how often it has been right."""
    value = _number(f"{row.value:,.4g}", "value") if known(row.value) else MISSING
    since = f"since {day(row.first_fired_on)}" if known(row.first_fired_on) else ""
    norm = f"norm {_number(f'{row.norm:,.4g}', 'norm')} " if known(row.norm) else ""
    percentile = (
        f"({percent(row.norm_percentile)} percentile) " if known(row.norm_percentile) else "(limit of the policy) "
    )
    deals = (
        f"n = {_number(f'{row.norm_n:,.0f}', 'norm_n')} won deals, {escaped(row.norm_level)} · "
        if known(row.norm_n)
        else ""
    )
    odds = (
        f"odds of losing or slipping, when it fired: × {_number(f'{row.odds_ratio:.1f}', 'odds_ratio')}, "
        if known(row.odds_ratio)
        else ""
    )
    return "\n\n".join(
        [
            f"**{escaped(row.what_is_wrong)}** ({escaped(signal_name(row.signal))}, {escaped(row.severity)}, {since})",
            escaped(evidence(row)),
            f"**Do.** {escaped(row.what_to_do)}.",
            f":small[value {value} · {norm}{percentile}· {deals}{odds}{escaped(row.standing)}]",
        ]
    )


def _number(text: str, column: str) -> str:
    return definition_link("funnel.deal_signals", column, escaped(text))


def _qualification(release: Release, row: Any) -> None:
    if "qualifications" in release.missing_for("funnel.deal_health"):
        st.caption("Qualification: not known, no source delivers qualifications.")
    elif row.required_count:
        counts = {name: f"{getattr(row, name + '_count'):,}" for name in ("verified", "claimed", "unknown")}
        told = ", ".join(
            f"{definition_link('funnel.deal_health', name + '_count', count)} {name}" for name, count in counts.items()
        )
        facts = plural(row.required_count, "fact")
        st.markdown(f"**Qualification.** Of {facts} that must be known in {escaped(row.stage)}: {told}.")
    else:
        st.caption("Qualification: nothing has to be known at this stage yet.")


def _chance(release: Release, row: Any) -> None:
    if not row.is_judged:
        return
    st.subheader("The chance, and what goes with it")
    if not known(row.p_win):
        empty(release, "funnel.deal_health", "No earlier deal in the same state has ended yet.")
        return

    def chance(column: str) -> str:
        return definition_link("funnel.deal_health", column, escaped(written(getattr(row, column), "percent")))

    decision = f" ({chance('p_no_decision')} without a decision)" if known(row.p_no_decision) else ""
    quarter = (
        f" By the end of the quarter: {chance('p_win_this_period')} to be won." if known(row.p_win_this_period) else ""
    )
    basis = str(row.p_basis)
    n = f" (n = {definition_link('funnel.deal_health', 'p_n', f'{row.p_n:,}')})" if row.p_method == "pooled" else ""
    st.markdown(
        f"Within {row.horizon_days:.0f} days: {chance('p_win')} won, {chance('p_slip')} still open, "
        f"{chance('p_lose')} lost{decision}.{quarter} Told by {escaped(basis)}{n}."
    )
    found = factors(release, row.opportunity_id)
    if found.empty:
        empty(
            release,
            "forecast_accuracy.prediction_factors",
            "Factors are told where the outcome model is in use; pooled rates have none.",
        )
        return
    chart_beside_table(
        release,
        factor_chart(found),
        found,
        "forecast_accuracy.prediction_factors",
        name="factors",
        alt_text="Factors of the chance: "
        + "; ".join(f"{f.factor} {f.contribution * 100:+.1f} points" for f in each(found)),
        caption="Held against deals won, in the same stage. Associations: no promise that a change moves the deal.",
    )


def _timeline(release: Release, row: Any) -> None:
    st.subheader("Timeline")
    stretches = history(release, row.opportunity_id)
    if stretches.empty:
        empty(release, "funnel.opportunity_history", "The deal has no history that may be seen here.")
        return
    seen = past_reviews(release, row.opportunity_id)
    charts = timeline(stretches, team(release, row.opportunity_id), seen, release.currency)
    said = timeline_alt(stretches, release.currency)
    left, right = st.columns([3, 2], gap="medium")
    with left:
        for title, chart in charts.items():
            st.caption(title)
            draw(chart, f"{title}. {said}")
        if release.missing_for("funnel.opportunity_history"):
            st.caption("No source delivers changes of fields: only what loads have shown.")
        st.caption(definition_link("funnel.opportunity_history"))
    with right:
        show_table(
            release,
            history_changes(release, row.opportunity_id),
            "funnel.opportunity_history",
            name="history",
            labels={"changed_at": "When", "what": "What", "before": "Before", "now": "Then"},
        )
    if len(seen):
        if place := folded(f"On the review agenda in {plural(len(seen), 'week')}", "reviews_table"):
            with place:
                show_table(release, seen, "funnel.review_agenda", name="reviews")


def _people(release: Release, row: Any) -> None:
    st.subheader("Who is on it")
    found = team(release, row.opportunity_id)
    if found.empty:
        empty(release, "funnel.deal_teams", "Nobody is known to work on it.")
    else:
        here = found[found["left_on"].isna()]
        lines = [
            f"- **{escaped(person.name)}**, {escaped(str(person.function).replace('_', ' '))}"
            + (f" since {day(person.joined_on)}" if known(person.joined_on) else "")
            + (f", last active {day(person.last_active_on)}" if known(person.last_active_on) else ", no activity known")
            for person in each(here.head(12))
        ]
        st.markdown("\n".join(lines) + f"\n\n{definition_link('funnel.deal_teams')}")
        if place := folded("Everybody who was on it, as a table", "people_table"):
            with place:
                show_table(release, found, "funnel.deal_teams", name="team")
    asked = suggestion(release, row.opportunity_id)
    if asked is not None:
        st.markdown(_suggested(asked))


def _suggested(row: Any) -> str:
    link_to = definition_link("funnel.specialist_suggestions")
    if not known(row.suggested_name):
        return f"**No specialist to suggest.** {escaped(row.reason) if known(row.reason) else MISSING} {link_to}"
    if known(row.reason) or not row.n:
        record = escaped(row.reason) if known(row.reason) else MISSING
    else:
        rate = definition_link(
            "funnel.specialist_suggestions",
            "win_rate",
            escaped(
                f"{written(row.win_rate, 'percent')} of n = {row.n:,} decided deals won "
                f"(90 %: {written(row.win_rate_low, 'percent')} to {written(row.win_rate_high, 'percent')})"
            ),
        )
        record = f"{rate}, over {escaped(_level(row.record_level))}"
    return (
        f"**Nobody technical is on it. Ask {escaped(row.suggested_name)}**: {record}; "
        f"on {plural(row.open_deal_count, 'open deal')} now, {row.capacity_deals:,} are enough. {link_to}"
    )


def _level(level: Any) -> str:
    return "all deals" if level == "all" else f"deals of the same {level}"
