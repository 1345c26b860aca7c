"""This week: what a manager talks about in the review, and what changed since the last one."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from dashboards.filters import Chosen
from dashboards.parts import chart_beside_table, day, definition_link, empty, escaped, folded, link, show_table, written
from dashboards.release import Release
from dashboards.words import (
    deal_name,
    each,
    evidence,
    forecast_sentences,
    function_name,
    known,
    plural,
    pooled_chance,
    signal_name,
    verdict_name,
)

FILTERS = ("team", "segment")
AGENDA_SHOWN = 10
AGENDA_ROWS = 200
CHANGES_SHOWN = 8
CHANGES_NAMED = 3
SIGNALS_SHOWN = 15
REVIEWS_BACK = 8
BLUE, LIGHT, GREY, RED = "#2b6cb0", "#bee3f8", "#718096", "#c53030"
# A week that has only begun is held against the review before: nobody meets twice in three days.
DAYS_BETWEEN_REVIEWS = 3

# Less than one percent is rounding.
AMOUNT_MOVED = 0.01

# What can happen to a deal between two reviews, in the order of the page.
CHANGES = {
    "won": "won",
    "lost": "lost",
    "no_decision": "ended without a decision",
    "slipped": "slipped past the end of their quarter",
    "overdue": "passed their close date, still open",
    "back": "went back a stage",
    "smaller": "became smaller",
    "moved_out": "left the team",
    "forward": "moved forward",
    "later": "put off within the quarter",
    "sooner": "pulled in",
    "larger": "became larger",
    "created": "created",
    "reopened": "opened again",
    "moved_in": "came to the team",
}


def reviews(release: Release) -> list[date]:
    """The weekly reviews before the as-of date, newest first: the last days of the calendar's weeks."""
    found = release.rows(
        "select distinct week_end from core.calendar where week_end < ?::date order by week_end desc limit ?",
        (release.as_of, REVIEWS_BACK),
    )
    return [value.date() for value in found["week_end"]]


def last_review(release: Release) -> date | None:
    """The newest weekly review that is not of the last days."""
    days = [day for day in reviews(release) if (release.as_of - day).days >= DAYS_BETWEEN_REVIEWS]
    return days[0] if days else None


def agenda(release: Release, chosen: Chosen, limit: int = AGENDA_ROWS) -> pd.DataFrame:
    """One row per deal of the agenda of the newest review, most to gain first, those not on track before the others.

    Of several managers the lists are merged: `agenda_count` says how many deals there are on them, `in_need` how many
    deals of these managers were not on track, on a list or not.
    """
    return release.rows(
        """
        with agenda as (
            select * from funnel.review_agenda
            where review_on = ?::date and (?::varchar is null or list_contains(?::varchar[], manager_id))
        ),

        told as (
            select
                agenda.place, agenda.opportunity_id, health.name, health.account_name, agenda.owner_id,
                health.owner_name, agenda.manager_id, health.manager_name, health.stage, agenda.verdict,
                agenda.top_signal as signal,
                agenda.why, signals.value, signals.norm, signals.norm_percentile, signals.norm_n, signals.norm_level,
                signals.first_fired_on, agenda.evidence, agenda.coaching_question, agenda.suggested_drill,
                agenda.what_to_do, health.requested_function, agenda.amount, health.p_win, health.p_win_pooled,
                health.p_method, health.p_n, health.horizon_days,
                agenda.amount_to_gain, health.hours_to_release, health.reentry_condition, health.close_date,
                agenda.deals_in_need
            from agenda
            left join funnel.deal_health as health on agenda.opportunity_id = health.opportunity_id
            left join funnel.deal_signals as signals
                on agenda.opportunity_id = signals.opportunity_id and agenda.top_signal = signals.signal
            where ?::varchar is null or health.segment = ?
        )

        select
            *,
            count(*) over () as agenda_count,
            count(case when verdict != 'on_track' then 1 end) over () as agenda_in_need
        from told
        order by verdict = 'on_track', coalesce(amount_to_gain, 0) desc, coalesce(amount, 0) desc, opportunity_id
        limit ?
        """,
        (release.as_of, chosen.team, list(chosen.managers), chosen.segment, chosen.segment, limit),
    )


def needs(release: Release, chosen: Chosen) -> tuple[int, int]:
    """Open deals, and of them those not on track."""
    found = release.rows(
        "select count(*) as open_count, count(case when verdict != 'on_track' then 1 end) as in_need "
        "from funnel.deal_health where (?::varchar is null or list_contains(?::varchar[], manager_id)) "
        "and (?::varchar is null or segment = ?)",
        (chosen.team, list(chosen.managers), chosen.segment, chosen.segment),
    )
    return int(found["open_count"][0]), int(found["in_need"][0])


def is_judged(release: Release) -> bool:
    """Whether it can be known which deals are off track: not where nothing is delivered to judge them by."""
    return release.has("funnel.review_agenda") or not release.missing_for("funnel.review_agenda")


def changes(release: Release, chosen: Chosen, since: date, limit: int = CHANGES_SHOWN) -> pd.DataFrame:
    """One row per deal and kind of change since the end of a day, at most `limit` a kind, largest first.

    `change_count` and `change_amount` are of all deals of the kind. A deal belongs to a team when its owner's manager
    then or now does; it can have changed in several ways.
    """
    found = release.rows(
        """
        with states as (
            select * from funnel.opportunity_history
            where (valid_to is null or valid_to >= ?::timestamp) and (?::varchar is null or segment = ?)
        ),

        was as (
            select * from states where valid_from < ?::timestamp
        ),

        now as (
            select * from states where valid_to is null
        ),

        paired as (
            select
                coalesce(now.opportunity_id, was.opportunity_id) as opportunity_id,
                was.opportunity_id is not null and not was.is_deleted as was_there,
                now.opportunity_id is not null and not now.is_deleted as is_there,
                ?::varchar is null or coalesce(list_contains(?::varchar[], was.manager_id), false) as was_ours,
                ?::varchar is null or coalesce(list_contains(?::varchar[], now.manager_id), false) as is_ours,
                coalesce(was.is_open, false) as was_open, coalesce(now.is_open, false) as is_open,
                coalesce(was.is_won, false) as was_won, coalesce(now.is_won, false) as is_won,
                coalesce(was.is_lost, false) as was_lost, coalesce(now.is_lost, false) as is_lost,
                coalesce(was.is_no_decision, false) as was_no_decision,
                coalesce(now.is_no_decision, false) as is_no_decision,
                was.stage as stage_before, now.stage as stage_now,
                stages_before.stage_order as order_before, stages_now.stage_order as order_now,
                was.amount as amount_before, now.amount as amount_now,
                was.close_date as close_before, now.close_date as close_now, quarters.quarter_end
            from now
            full outer join was on now.opportunity_id = was.opportunity_id
            left join core.stages as stages_before on was.stage = stages_before.stage
            left join core.stages as stages_now on now.stage = stages_now.stage
            left join core.calendar as quarters on was.close_date = quarters.day
        ),

        compared as (
            select *, was_there and is_there and was_open and is_open and is_ours as stays from paired
        ),

        kinds as (
            select
                *,
                unnest(list_filter([
                    case when is_ours and is_there and is_won and not was_won then 'won' end,
                    case when is_ours and is_there and is_lost and not was_lost then 'lost' end,
                    case when is_ours and is_there and is_no_decision and not was_no_decision then 'no_decision' end,
                    case when is_ours and is_there and is_open and not was_there then 'created' end,
                    case when is_ours and is_there and is_open and was_there and not was_open then 'reopened' end,
                    case when was_there and is_there and is_open and is_ours and not was_ours then 'moved_in' end,
                    case when was_there and is_there and was_open and was_ours and not is_ours then 'moved_out' end,
                    case when stays and order_now > order_before then 'forward' end,
                    case when stays and order_now < order_before then 'back' end,
                    case when stays and close_now > close_before and close_now > quarter_end then 'slipped' end,
                    case when stays and close_now > close_before and close_now <= quarter_end then 'later' end,
                    case when stays and close_now < close_before then 'sooner' end,
                    case when stays and close_now < ?::date and close_now >= ?::date then 'overdue' end,
                    case when stays and amount_now > amount_before * (1 + ?) then 'larger' end,
                    case when stays and amount_now < amount_before * (1 - ?) then 'smaller' end
                ], lambda kind: kind is not null)) as change
            from compared
        ),

        sized as (
            select
                *,
                case
                    when change in ('larger', 'smaller') then amount_now - amount_before
                    else coalesce(amount_now, amount_before)
                end as amount
            from kinds
        ),

        ranked as (
            select
                *,
                count(*) over (partition by change) as change_count,
                sum(amount) over (partition by change) as change_amount,
                row_number() over (partition by change order by abs(coalesce(amount, 0)) desc, opportunity_id) as rank
            from sized
        )

        select
            ranked.change, ranked.rank, ranked.opportunity_id, deals.name, deals.account_name, deals.owner_name,
            deals.manager_name, deals.created_on, ranked.amount, ranked.amount_before, ranked.amount_now,
            ranked.stage_before, ranked.stage_now, ranked.close_before, ranked.close_now, deals.loss_reason,
            ranked.change_count, ranked.change_amount
        from ranked
        left join core.opportunities as deals on ranked.opportunity_id = deals.opportunity_id
        where ranked.rank <= ?
        order by ranked.rank, ranked.opportunity_id
        """,
        (
            *(since + timedelta(days=1), chosen.segment, chosen.segment, since + timedelta(days=1)),
            *(chosen.team, list(chosen.managers)) * 2,
            *(release.as_of, since, AMOUNT_MOVED, AMOUNT_MOVED, limit),
        ),
    )
    found["change"] = pd.Categorical(found["change"], list(CHANGES), ordered=True)
    return found.sort_values(["change", "rank"], ignore_index=True)


def new_signals(release: Release, chosen: Chosen, since: date, limit: int = SIGNALS_SHOWN) -> pd.DataFrame:
    """One row per open deal and signal that fires since then, largest amount first; `signal_count` of all of them."""
    return release.rows(
        """
        select
            signals.opportunity_id, health.name, health.account_name, health.owner_name, health.manager_name,
            signals.signal, signals.severity, signals.what_is_wrong, signals.what_to_do, signals.value, signals.norm,
            signals.norm_percentile, signals.norm_n, signals.norm_level, signals.first_fired_on,
            health.amount, count(*) over () as signal_count
        from funnel.deal_signals as signals
        inner join funnel.deal_health as health on signals.opportunity_id = health.opportunity_id
        where
            signals.first_fired_on > ?::date
            and (?::varchar is null or list_contains(?::varchar[], health.manager_id))
            and (?::varchar is null or health.segment = ?)
        order by coalesce(health.amount, 0) desc, signals.opportunity_id, signals.signal
        limit ?
        """,
        (since, chosen.team, list(chosen.managers), chosen.segment, chosen.segment, limit),
    )


def cleared_signals(release: Release, chosen: Chosen, since: date, limit: int = SIGNALS_SHOWN) -> pd.DataFrame:
    """One row per deal of a past agenda that is still open and no longer has the signal it stood there for."""
    return release.rows(
        """
        select
            agenda.opportunity_id, health.name, health.account_name, health.owner_name, health.manager_name,
            agenda.top_signal as signal, agenda.why, agenda.what_to_do, health.amount, health.verdict,
            count(*) over () as signal_count
        from funnel.review_agenda as agenda
        inner join funnel.deal_health as health on agenda.opportunity_id = health.opportunity_id
        left join funnel.deal_signals as signals
            on agenda.opportunity_id = signals.opportunity_id and agenda.top_signal = signals.signal
        where
            agenda.review_on = ?::date
            and agenda.top_signal is not null
            and signals.signal is null
            and (?::varchar is null or list_contains(?::varchar[], health.manager_id))
            and (?::varchar is null or health.segment = ?)
        order by coalesce(health.amount, 0) desc, agenda.opportunity_id
        limit ?
        """,
        (since, chosen.team, list(chosen.managers), chosen.segment, chosen.segment, limit),
    )


def scope(release: Release, chosen: Chosen) -> tuple[str, str]:
    """Whose forecast is told: what is chosen, else the viewer's own."""
    person = release.viewer.person_id
    if chosen.team or release.viewer.sees is None or person is None:
        return chosen.scope
    leads = release.value(
        "select 1 from forecast_accuracy.outlook where scope_type = 'manager' and scope_id = ? limit 1", (person,)
    )
    return ("manager", person) if leads else ("seller", person)


def outlook(release: Release, chosen: Chosen) -> pd.DataFrame:
    """One row per quarter that runs or comes next: what it will bring to the team, beside target and commit."""
    return release.rows(
        """
        select
            outlook.scope_type, outlook.scope_name, quarters.quarter_name as period, outlook.period_start,
            outlook.period_end, outlook.is_current, outlook.booked, outlook.from_open_deals, outlook.from_new_deals,
            outlook.median, outlook.p10, outlook.p90, outlook.target, outlook.gap,
            outlook.commit_amount, outlook.method, outlook.method_reason
        from forecast_accuracy.outlook as outlook
        left join core.calendar as quarters on outlook.period_start = quarters.day
        where outlook.scope_type = ? and outlook.scope_id = ? and outlook.period_type = 'quarter'
        order by outlook.period_start
        """,
        scope(release, chosen),
    )


def change_words(row: Any, currency: str) -> str:
    """What one change of `changes` was, without the deal's name: `from 28 June 2026 to 13 July 2026`."""
    if row.change in ("slipped", "later", "sooner"):
        return f"from {day(row.close_before)} to {day(row.close_now)}"
    if row.change == "overdue":
        return f"was to close on {day(row.close_now)}"
    if row.change in ("forward", "back"):
        return f"from {row.stage_before} to {row.stage_now}"
    if row.change in ("larger", "smaller"):
        return f"from {written(row.amount_before, 'money')} to {written(row.amount_now, 'money', currency)}"
    if row.change in ("lost", "no_decision") and known(row.loss_reason):
        return f"{written(row.amount, 'money', currency)}, {str(row.loss_reason).lower()}"
    return written(row.amount, "money", currency)


def forecast_chart(
    outlook: pd.DataFrame, currency: str, width: int | str = "container"
) -> alt.LayerChart | alt.FacetChart:
    """What is won, what is to be expected with its range, and the target, a line per quarter."""
    base = alt.Chart(outlook).encode(y=alt.Y("period:N", sort=None, title=None))
    money = alt.Axis(format="~s", title=currency, tickCount=5)
    return alt.layer(
        base.mark_bar(color=LIGHT, height=16).encode(x=alt.X("booked:Q", axis=money, scale=alt.Scale(zero=True))),
        base.mark_rule(color=GREY, strokeWidth=3).encode(x="p10:Q", x2="p90:Q"),
        base.mark_point(color=BLUE, filled=True, size=90, opacity=1).encode(
            x="median:Q",
            tooltip=[alt.Tooltip(name, format=",.0f") for name in ("booked", "p10", "median", "p90", "target")],
        ),
        base.transform_filter("isValid(datum.target)").mark_tick(color=RED, thickness=3, size=28).encode(x="target:Q"),
    ).properties(width=width, height=max(44 * len(outlook), 60))


def forecast_alt(outlook: pd.DataFrame, as_of: date, currency: str) -> str:
    return "Forecast by quarter. " + " ".join(forecast_sentences(outlook, as_of, currency))


def show(release: Release, chosen: Chosen) -> None:
    st.title("This week")
    _opening(release, chosen)
    _forecast(release, chosen)
    _agenda(release, chosen)
    _since(release, chosen)


def _opening(release: Release, chosen: Chosen) -> None:
    open_count, in_need = needs(release, chosen)
    if open_count:
        count = _number(plural(open_count, "open deal"), "funnel.deal_health", "opportunity_id")
        off = _number(f"{in_need:,}", "funnel.deal_health", "verdict")
        who = "What you may see" if _is_own(release, chosen) else chosen.words[:1].upper() + chosen.words[1:]
        told = f"of which {off} not on track" if is_judged(release) else "which of them are off track is not known"
        st.markdown(f"**{escaped(who)}**: {count}, {told}.")
    else:
        empty(release, "funnel.deal_health")


def _is_own(release: Release, chosen: Chosen) -> bool:
    """Whether nothing is chosen by a reader who does not see everything."""
    return release.viewer.sees is not None and not chosen.team and not chosen.segment


def _forecast(release: Release, chosen: Chosen) -> None:
    found = outlook(release, chosen)
    if found.empty:
        empty(release, "forecast_accuracy.outlook")
        return
    whose = "" if found["scope_type"][0] in ("company", "manager") else f" ({escaped(found['scope_name'][0])})"
    if chosen.segment and chosen.team:
        whose = " (the whole team, all segments)"
    for sentence in forecast_sentences(found, release.as_of, release.currency):
        st.markdown(f"{escaped(sentence)}{whose} {definition_link('forecast_accuracy.outlook', 'median')}")
    if place := folded("Forecast as a picture and a table", "forecast_table"):
        with place:
            chart_beside_table(
                release,
                forecast_chart(found, release.currency),
                found[["period", "booked", "median", "p10", "p90", "target", "gap", "commit_amount"]],
                "forecast_accuracy.outlook",
                name="forecast",
                alt_text=forecast_alt(found, release.as_of, release.currency),
                caption="Bar: won. Point: what is to be expected; line: four results out of five. Red: target.",
            )


def _agenda(release: Release, chosen: Chosen) -> None:
    st.header("Agenda")
    found = agenda(release, chosen)
    if found.empty:
        empty(release, "funnel.review_agenda", "No deal is off track and none shows a signal.")
        return
    count, off = int(found["agenda_count"][0]), int(found["agenda_in_need"][0])
    managers = found["manager_id"].nunique()
    text = f"{plural(count, 'deal')} to talk about, {off} of them not on track."
    if managers > 1:
        text += f" They are on the lists of {managers} managers"
        text += f"; here are the {AGENDA_SHOWN} with most to gain." if count > AGENDA_SHOWN else "."
    st.markdown(f"{text} {definition_link('funnel.review_agenda')}")
    for number, row in enumerate(each(found.head(AGENDA_SHOWN)), start=1):
        with st.container(border=True):
            st.markdown(_card(release, row, number, managers > 1))
    if place := folded("The agenda as a table", "agenda_table"):
        with place:
            shown = found.drop(columns=["agenda_count", "agenda_in_need"])
            shown.insert(0, "open", [link("deal", deal=key) for key in shown["opportunity_id"]])
            show_table(release, shown, "funnel.review_agenda", name="agenda", links={"open": "open"})


def _card(release: Release, row: Any, number: int, with_manager: bool) -> str:
    """One deal of the agenda, in the order in which it is talked about."""
    lines = [f"**{number}. {_deal(row)}** · {_verdict(row)}"]
    facts = [
        _number(written(row.amount, "money", release.currency), "funnel.review_agenda", "amount"),
        escaped(row.stage) if known(row.stage) else "stage not known",
        escaped(row.owner_name if known(row.owner_name) else row.owner_id),
    ]
    if with_manager and known(row.manager_name):
        facts.append(f"team of {escaped(row.manager_name)}")
    if known(row.close_date):
        facts.append(f"to close {_number(day(row.close_date), 'funnel.deal_health', 'close_date')}")
    chance = _number(written(row.p_win, "percent"), "funnel.deal_health", "p_win")
    facts.append(
        f"chance to be won in {row.horizon_days:.0f} days {chance}" if known(row.p_win) else "chance: not enough data"
    )
    if pooled_chance(row):
        facts.append(_number(pooled_chance(row), "funnel.deal_health", "p_win_pooled"))
    lines.append(" · ".join(facts))
    lines.append(f"**What is wrong.** {escaped(row.why)}. {escaped(agenda_evidence(row))}")
    lines.append(f"**Ask.** *{escaped(row.coaching_question)}*")
    do = f"**Do.** {escaped(row.what_to_do)}."
    if known(row.requested_function):
        do += f" Bring in {escaped(function_name(row.requested_function))}."
    if row.verdict == "de_resource" and known(row.hours_to_release):
        hours = _number(f"{row.hours_to_release:.1f} hours", "funnel.deal_health", "hours_to_release")
        do += f" That frees {hours}. {escaped(row.reentry_condition) if known(row.reentry_condition) else ''}"
    elif known(row.amount_to_gain) and row.amount_to_gain > 0:
        gain = _number(written(row.amount_to_gain, "money", release.currency), "funnel.review_agenda", "amount_to_gain")
        do += f" To gain, as in past deals: {gain}."
    lines.append(do)
    lines.append(f"**Practise.** {escaped(row.suggested_drill)}")
    return "\n\n".join(lines)


def agenda_evidence(row: Any) -> str:
    """What was seen beside what it is held against; nothing where the reason has said it all."""
    if not known(row.signal):
        return ""
    return evidence(row) if known(row.value) else f"{row.evidence}."


def _since(release: Release, chosen: Chosen) -> None:
    days = reviews(release)
    if not days:
        return
    default = last_review(release) or days[-1]
    st.header("What changed")
    since = st.selectbox(
        "Since the review of",
        [value.isoformat() for value in days],
        index=days.index(default),
        format_func=lambda text: day(date.fromisoformat(text)),
        key="since",
        bind="query-params",
    )
    compared = date.fromisoformat(since)
    found = changes(release, chosen, compared)
    if found.empty:
        empty(release, "funnel.opportunity_history", f"No deal changed since {day(compared)}.")
    else:
        st.markdown("\n".join(_change_lines(release, found)) + f"\n\n{definition_link('funnel.opportunity_history')}")
        if place := folded("The changes as a table", "changes_table"):
            with place:
                shown = found.drop(columns=["rank", "change_count", "change_amount"])
                shown["change"] = shown["change"].astype(str).map(CHANGES)
                shown.insert(0, "open", [link("deal", deal=key) for key in shown["opportunity_id"]])
                show_table(release, shown, "funnel.opportunity_history", name="changes", links={"open": "open"})
                st.caption(f"At most the {CHANGES_SHOWN} largest of each kind.")
    _signals(release, new_signals(release, chosen, compared), "New signals", compared)
    _signals(
        release,
        cleared_signals(release, chosen, compared),
        "Signals that cleared",
        compared,
    )


def _change_lines(release: Release, found: pd.DataFrame) -> list[str]:
    lines = []
    for change, rows in found.groupby("change", observed=True):
        count, amount = int(rows["change_count"].iloc[0]), rows["change_amount"].iloc[0]
        named = [
            f"{_deal(row)} ({escaped(change_words(row, release.currency))})" for row in each(rows.head(CHANGES_NAMED))
        ]
        more = f" and {count - len(named)} more" if count > len(named) else ""
        lines.append(
            f"- **{count:,} {CHANGES[str(change)]}**, {escaped(written(amount, 'money', release.currency))}: "
            f"{'; '.join(named)}{more}"
        )
    return lines


def _signals(release: Release, found: pd.DataFrame, title: str, since: date) -> None:
    st.subheader(title)
    if found.empty:
        empty(release, "funnel.deal_signals", f"None since {day(since)}.")
        return
    lines = []
    for row in each(found.head(CHANGES_SHOWN)):
        name = f"**{escaped(signal_name(row.signal))}**"
        said = f"{name}. {escaped(evidence(row))}" if "value" in found else f"no longer {name}, now {_verdict(row)}"
        lines.append(f"- {_deal(row)}: {said}")
    count = int(found["signal_count"][0])
    more = f"\n\nand {count - len(lines)} more." if count > len(lines) else ""
    st.markdown("\n".join(lines) + more + f"\n\n{definition_link('funnel.deal_signals')}")


def _deal(row: Any) -> str:
    """A deal as a link to its page."""
    name = escaped(deal_name(row.name, row.account_name, row.opportunity_id))
    return f"[{name}]({link('deal', deal=row.opportunity_id)})"


def _verdict(row: Any) -> str:
    return definition_link("funnel.deal_health", "verdict", verdict_name(row.verdict))


def _number(text: str, table: str, column: str) -> str:
    """A number as a link to what it means."""
    return definition_link(table, column, escaped(text))
