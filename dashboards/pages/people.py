"""People: a seller's own page first, then what managers need: the team, coaching, practices, talent, help."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pandas as pd
import streamlit as st

from dashboards.charts import (
    TALL,
    against,
    curve,
    gap_split,
    intervals,
    measured,
)
from dashboards.filters import Chosen, choose_one
from dashboards.parts import (
    chart_beside_table,
    day,
    definition_link,
    empty,
    escaped,
    figure,
    in_row,
    in_tabs,
    link,
    show_table,
    written,
)
from dashboards.release import Release
from dashboards.rows import each, first, worded

FILTERS = ("team", "segment", "period")

QUOTA, DIAGNOSIS, RAMP = "people.quota_attainment", "people.rep_diagnosis", "people.rep_ramp"
PLAN, PATH, CRITERIA = "people.coaching_plan", "people.career_path", "people.career_criteria"
COACHING, PRACTICES, TALENT = "people.manager_coaching", "people.best_practices", "people.talent"
FIT, SPECIALISTS, SERVICE = "people.role_fit", "people.specialist_engagement", "people.sales_ops_service"
CURVES = "people.ramp_curves"
TABS = (
    "Team",
    "New sellers",
    "Deals saved",
    "Managers' coaching",
    "Best practices",
    "Talent",
    "Specialists",
    "Sales operations",
)
MEASURES = {"meetings": "Meetings held", "opened": "Deals opened", "won": "Deals won"}
MILESTONES = {
    "first_meeting": "First meeting",
    "first_pipeline": "First deal opened",
    "first_win": "First win",
    "productive": "Productive",
}
MOST_SELLERS, MOST_PEOPLE, MOST_OPTIONS = 100, 30, 2000
QUARTERS = 12
RECENT_DAYS = 730

# Sellers of a team report to one of its managers.
WITHIN = "(? is null or manager_id in (select unnest(?::varchar[]))) and (? is null or segment = ?)"


def _within(chosen: Chosen) -> tuple[Any, ...]:
    return (chosen.team, list(chosen.managers), chosen.segment, chosen.segment)


def sellers(release: Release, chosen: Chosen) -> dict[str, str]:
    """Active sellers of what is chosen, by id, in the order of their names."""
    found = release.rows(
        f"select seller_id, seller_name from {PLAN} where {WITHIN} "
        f"order by seller_name, seller_id limit {MOST_OPTIONS}",
        _within(chosen),
    )
    return dict(zip(found["seller_id"], found["seller_name"], strict=True))


def plan(release: Release, seller: str) -> SimpleNamespace | None:
    """A seller's coaching plan; None for nobody's."""
    return first(release.rows(f"select * from {PLAN} where seller_id = ?", (seller,)))


def attainment(release: Release, seller: str, chosen: Chosen) -> pd.DataFrame:
    """A seller's quarters up to the chosen one, newest first."""
    return release.rows(
        f"""
        select quarter_name as quarter, credited_amount, quota_amount, attainment, won_count, amount_to_go,
            overlay_amount, is_complete, reason, period_start
        from {QUOTA}
        join (select distinct quarter_start, quarter_name from core.calendar) on quarter_start = period_start
        where scope_type = 'seller' and scope_id = ? and period_type = 'quarter' and period_start <= ?
        order by period_start desc limit {QUARTERS}
        """,
        (seller, chosen.period.start),
    )


def diagnosis(release: Release, seller: str) -> pd.DataFrame:
    """A seller's gap to the median peer by factor; the amounts of all factors add up to the gap."""
    return release.rows(
        f"""
        select factor, own_amount, mix_amount, chance_amount, contribution_amount, n, estimate, estimate_low,
            estimate_high, peer_value, own_ratio, own_ratio_low, own_ratio_high, is_top, is_clear, what_is_wrong,
            what_to_do, weakest_stage, lost_signal, verdict, reason, booked_amount, expected_amount, reference_amount,
            gap_amount, peer_count, window_start, window_end
        from {DIAGNOSIS} where seller_id = ? order by factor_order
        """,
        (seller,),
    )


def ramp(release: Release, seller: str) -> SimpleNamespace | None:
    """How a seller got going; None for whoever never held a selling job."""
    return first(release.rows(f"select * from {RAMP} where rep_id = ? order by hired_on desc limit 1", (seller,)))


def career(release: Release, person: str) -> SimpleNamespace | None:
    return first(release.rows(f"select * from {PATH} where person_id = ?", (person,)))


def criteria(release: Release, person: str) -> pd.DataFrame:
    """What the next level asks for, and whether it is there; what is missing first."""
    return release.rows(
        f"""
        select criterion, status, value, value_low, value_high, n, threshold, what_to_do, reason
        from {CRITERIA} where person_id = ?
        order by status = 'met', status = 'not_enough_data', criterion_order
        """,
        (person,),
    )


def team_quarters(release: Release, chosen: Chosen) -> pd.DataFrame:
    """Attainment of the team, segment or company by quarter up to the chosen one, oldest first."""
    return release.rows(
        f"""
        select * from (
            select quarter_name as quarter, n, average_attainment, average_attainment_low, average_attainment_high,
                at_quota_count, at_quota_share, at_quota_share_low, at_quota_share_high, attainment, credited_amount,
                quota_amount, is_complete, coalesce(reason, roll_up_reason) as reason, period_start
            from {QUOTA}
            join (select distinct quarter_start, quarter_name from core.calendar) on quarter_start = period_start
            where scope_type = ? and scope_id = ? and period_type = 'quarter' and period_start <= ?
            order by period_start desc limit {QUARTERS}
        ) order by period_start
        """,
        (*chosen.scope, chosen.period.start),
    )


def team(release: Release, chosen: Chosen) -> pd.DataFrame:
    """Sellers with their quarter and their plan: who has something to work on first, then who is furthest behind."""
    return release.rows(
        f"""
        with quarters as (
            select scope_id as seller_id, attainment, credited_amount, quota_amount, reason as quota_reason
            from {QUOTA} where scope_type = 'seller' and period_type = 'quarter' and period_start = ?
        ),
        told as (select distinct seller_id, verdict from {DIAGNOSIS})
        select plans.seller_id, seller_name, manager_name, attainment, credited_amount, quota_amount, verdict, focus,
            coalesce(plans.reason, plans.source) as why, what_to_watch, last_session_on, next_check_on,
            is_check_overdue
        from (select * from {PLAN} where {WITHIN}) as plans
        left join quarters using (seller_id) left join told using (seller_id)
        order by source = 'none', is_check_overdue desc, attainment nulls last, seller_id limit {MOST_SELLERS}
        """,
        (chosen.period.start, *_within(chosen)),
    )


def team_counts(release: Release, chosen: Chosen) -> SimpleNamespace:
    """How many sellers there are, how many have something to work on, and how many checks are overdue."""
    found = first(
        release.rows(
            f"""
            select count(*) as seller_count, count(*) filter (source != 'none') as focus_count,
                count(*) filter (is_check_overdue and last_session_on is not null) as overdue_count,
                count(*) filter (session_reason = 'no session yet') as no_session_count
            from {PLAN} where {WITHIN}
            """,
            _within(chosen),
        )
    )
    assert found is not None
    return found


def new_sellers(release: Release, chosen: Chosen) -> pd.DataFrame:
    """Who was hired within two years and is still there, the newest first."""
    return release.rows(
        f"""
        select rep_id as seller_id, name, manager_name, hired_on, week, productive_state, meetings_position,
            opened_position, won_position, pace, what_is_behind, what_to_do, coalesce(reason, opened_reason) as reason
        from {RAMP} where ended_on is null and hired_on > ?::date - {RECENT_DAYS} and {WITHIN}
        order by hired_on desc, rep_id limit {MOST_PEOPLE}
        """,
        (release.as_of, *_within(chosen)),
    )


def ramp_curve(release: Release) -> pd.DataFrame:
    """Share of the company's hires who have become productive, by month of service."""
    return release.rows(
        f"""
        select month, n, at_risk_count, reached_share, reached_share_low, reached_share_high, ended_share,
            median_months, median_months_low, median_months_high
        from {CURVES} where cohort_type = 'company' and milestone = 'productive' and reason is null order by month
        """
    )


def coaching(release: Release, chosen: Chosen) -> pd.DataFrame:
    """The managers of what is chosen, those who come to save most first. Never add them up: teams lie in teams."""
    return release.rows(
        f"""
        select * from {COACHING} where ? is null or manager_id in (select unnest(?::varchar[]))
        order by hero_dependency desc nulls last, manager_id limit {MOST_PEOPLE}
        """,
        (chosen.team, list(chosen.managers)),
    )


def practices(release: Release, chosen: Chosen) -> pd.DataFrame:
    """What is done early on deals of the segment, or of all, with what it goes with; the largest effect first."""
    return release.rows(
        f"""
        select practice, effect, effect_low, effect_high, n, verdict, strict_low, strict_high, what_it_is, top_share,
            top_share_low, top_share_high, top_n, other_share, other_share_low, other_share_high, other_n, what_to_do,
            reason, told_count, passed_count, chance_count
        from {PRACTICES} where segment = ? order by effect desc nulls last, practice_rank
        """,
        (chosen.segment or "all",),
    )


def talent(release: Release, chosen: Chosen) -> pd.DataFrame:
    """Who stands out on a track. A seller can stand on both: never add them up."""
    return release.rows(
        f"""
        select seller_name, track, verdict, strength, next_opportunity, true_attainment, true_attainment_low,
            true_attainment_high, low_attainment_probability, above_count, below_count, not_told_count, manager_name
        from {TALENT} where verdict in ('high_potential', 'low_performer') and {WITHIN}
        order by verdict, track, seller_id limit {MOST_PEOPLE}
        """,
        _within(chosen),
    )


def talent_counts(release: Release, chosen: Chosen) -> pd.DataFrame:
    """Sellers by track and verdict; each is in one row of a track."""
    return release.rows(
        f"select track, verdict, count(*) as seller_count from {TALENT} where {WITHIN} "
        "group by track, verdict order by track, seller_count desc",
        _within(chosen),
    )


def misfits(release: Release, chosen: Chosen) -> pd.DataFrame:
    """Who wins clearly less than others do of like deals in the motion of the own job."""
    return release.rows(
        f"""
        select seller_name, role, motion, win_rate, win_rate_low, win_rate_high, expected_win_rate, n, performance,
            performance_low, performance_high, better_motion, what_to_do, manager_name
        from {FIT} where verdict = 'misfit' and is_role_motion and {WITHIN}
        order by performance, seller_id limit {MOST_PEOPLE}
        """,
        _within(chosen),
    )


def ready(release: Release, chosen: Chosen) -> pd.DataFrame:
    """Who has met all the next level asks for, or is nearest to it."""
    return release.rows(
        f"""
        select person_name, role, level, next_role, next_level, verdict, met_count, criteria_count, missing_count,
            not_told_count, months_in_level, what_to_do, manager_name
        from {PATH} where verdict in ('ready', 'not_yet')
            and (? is null or manager_id in (select unnest(?::varchar[])))
        order by verdict = 'not_yet', missing_count, months_in_level desc, person_id limit {MOST_PEOPLE}
        """,
        (chosen.team, list(chosen.managers)),
    )


def specialists(release: Release) -> pd.DataFrame:
    """Specialists and executives over all stages: each function together, then everybody, slowest first."""
    return release.rows(
        f"""
        select function, coalesce(name, 'All of them') as who, days_to_help, days_to_help_low, days_to_help_high,
            days_to_help_n, others_days_to_help, target_days, in_target_share, in_target_share_low,
            in_target_share_high, request_count, waiting_count, overdue_count, satisfaction, satisfaction_n, effect,
            effect_low, effect_high, effect_n, time_standing, time_statement,
            time_what_to_do, user_id = 'all' as is_all
        from {SPECIALISTS} where stage = 'all' and request_count > 0
        order by function, user_id != 'all', days_to_help desc nulls last, user_id limit 100
        """
    )


def service(release: Release) -> pd.DataFrame:
    """Services to sellers over the whole window, the least often in time first."""
    return release.rows(
        f"""
        select function, in_target_share, in_target_share_low, in_target_share_high, in_target_share_n, target_days,
            turnaround_days, turnaround_days_p90, satisfaction, satisfaction_low, satisfaction_high, satisfaction_n,
            request_count, open_count, overdue_count, statement, what_to_do, in_target_reason
        from {SERVICE} where period_type = 'window' order by in_target_share nulls last, function
        """
    )


def service_quarters(release: Release) -> pd.DataFrame:
    """The same by quarter, the last four of each service; they are in the window too, never add both up."""
    return release.rows(
        f"""
        select function, quarter_name as quarter, in_target_share, in_target_share_low, in_target_share_high,
            in_target_share_n
        from {SERVICE} join (select distinct quarter_start, quarter_name from core.calendar)
            on quarter_start = period_start
        where period_type = 'quarter' and in_target_share is not null
        qualify row_number() over (partition by function order by period_start desc) <= 4
        order by function, period_start
        """
    )


def seller_sentences(release: Release, seller: str, chosen: Chosen) -> list[str]:
    """What one seller's figures say: what came in, what of it is the seller's own, and what is next."""
    agreed = plan(release, seller)
    if agreed is None:
        return []
    name = escaped(agreed.seller_name)
    said = []
    quarter = first(attainment(release, seller, chosen))
    if quarter and quarter.attainment is not None:
        said.append(
            f"In {quarter.quarter} **{name}** reached **{written(quarter.attainment, 'percent')}** of quota: "
            f"{written(quarter.credited_amount, 'money', release.currency)} of "
            f"{written(quarter.quota_amount, 'money', release.currency)}, {quarter.won_count:,} deals won."
        )
    elif quarter:
        said.append(
            f"In {quarter.quarter} **{name}** was credited "
            f"{written(quarter.credited_amount, 'money', release.currency)}; attainment cannot be told: "
            f"{escaped(quarter.reason)}."
        )
    told = first(diagnosis(release, seller))
    if told and told.reason is None:
        way = "less" if told.gap_amount < 0 else "more"
        said.append(
            f"In the four quarters to {day(told.window_end)} "
            f"**{written(abs(told.gap_amount), 'money', release.currency)} {way}** came in than with the median of "
            f"{told.peer_count:,} peers."
        )
    elif told:
        said.append(f"Why, cannot be told: {escaped(told.reason)}.")
    if agreed.source == "none":
        watch = f"; to watch: {escaped(agreed.what_to_watch)}" if agreed.what_to_watch else ""
        said.append(f"No gap is clear beyond chance{watch}.")
    else:
        said.append(f"**To work on: {escaped(agreed.focus)}.** Evidence: {escaped(agreed.evidence)}.")
    due = f" with {escaped(agreed.manager_name)}" if agreed.manager_name else ""
    said.append(f"Next check{due}: **{day(agreed.next_check_on)}**{', now' if agreed.is_check_overdue else ''}.")
    return said


def team_sentences(release: Release, chosen: Chosen) -> list[str]:
    """What the team's figures say."""
    said = []
    now = first(team_quarters(release, chosen).iloc[-1:])
    whose = f" of {escaped(chosen.words)}" if chosen.team or chosen.segment else ""
    if now and now.at_quota_share is not None:
        said.append(
            f"Of {now.n:,} sellers{whose} **{written(now.at_quota_share, 'percent')}** reached the quota in "
            f"{now.quarter} ({written(now.at_quota_share_low, 'percent')} to "
            f"{written(now.at_quota_share_high, 'percent')}); on average they came to "
            f"{written(now.average_attainment, 'percent')} ({written(now.average_attainment_low, 'percent')} to "
            f"{written(now.average_attainment_high, 'percent')})."
        )
        if not now.is_complete:
            said.append("The quarter still runs.")
    elif now:
        said.append(f"How many reach the quota cannot be told: {escaped(now.reason or 'not enough sellers')}.")
    counts = team_counts(release, chosen)
    said.append(
        f"**{counts.focus_count:,} of {counts.seller_count:,}** active sellers have one thing to work on; "
        f"{counts.overdue_count:,} checks are due now and {counts.no_session_count:,} sellers have no coaching "
        "session on record."
    )
    return said


def show(release: Release, chosen: Chosen) -> None:
    st.title("People")
    known = sellers(release, chosen)
    if not known:
        empty(release, PLAN, "No active seller of what is chosen.")
    else:
        own = release.viewer.person_id
        default = own if own in known else next(iter(known)) if len(known) == 1 else None
        seller = choose_one("Seller", known, "seller", whole="The whole team", default=default)
        if seller:
            _seller(release, seller, chosen)
            return
    _managers(release, chosen)


def _seller(release: Release, seller: str, chosen: Chosen) -> None:
    agreed = plan(release, seller)
    if agreed is None:
        empty(release, PLAN, "No active seller.")
        return
    st.header(str(agreed.seller_name))
    about = [str(part).replace("_", " ") for part in (agreed.role, agreed.segment, agreed.region) if part]
    st.caption(escaped(" · ".join(about)))
    st.markdown(" ".join(seller_sentences(release, seller, chosen)))
    parts = {
        "Coaching plan": (lambda: _plan(agreed),),
        "Attainment": (lambda: _attainment(release, seller, chosen),),
        "Where the gap comes from": (lambda: _diagnosis(release, seller),),
        "Ramp": (lambda: _ramp(release, seller),),
        "Next level": (lambda: _career(release, seller),),
    }
    in_tabs("seller_part", parts)


def _plan(agreed: SimpleNamespace) -> None:
    st.subheader("Coaching plan: one thing at a time")
    with st.container(border=True):
        deals = [
            f"[{escaped(getattr(agreed, f'opportunity_{number}_name'))}]"
            f"({link('deal', deal=getattr(agreed, f'opportunity_{number}_id'))})"
            for number in (1, 2, 3)
            if getattr(agreed, f"opportunity_{number}_id")
        ]
        session = (
            f"{str(agreed.last_session_type).replace('_', ' ')} on {day(agreed.last_session_on)}"
            if (agreed.last_session_on)
            else escaped(agreed.session_reason or "")
        )
        if agreed.last_session_on and agreed.last_agreed_action:
            session += f", agreed: {escaped(agreed.last_agreed_action)}"
        lines = {
            "Gap": escaped(agreed.focus if agreed.source != "none" else f"none that is clear ({agreed.reason})"),
            "Instead": escaped(agreed.focus or "") if agreed.source == "none" else "",
            "Evidence": escaped(agreed.evidence or ""),
            "To watch": escaped(agreed.what_to_watch or ""),
            "Behaviour": escaped(agreed.behaviour or ""),
            "Practise": escaped(agreed.practice or ""),
            "Ask": escaped(agreed.coaching_question or ""),
            "On": ", ".join(deals) or escaped(agreed.linked_reason or ""),
            "With": escaped(agreed.manager_name or agreed.coach_reason or ""),
            "Last session": session,
            "Next check": f"{day(agreed.next_check_on)}{' (now)' if agreed.is_check_overdue else ''}",
            "Both will see": escaped(agreed.sign or ""),
            "It worked when": escaped(agreed.known_by or "")
            + (f", on {day(agreed.measure_due_on)}" if agreed.known_by and agreed.measure_due_on else ""),
        }
        st.markdown("\n".join(f"- **{name}:** {text}" for name, text in lines.items() if text))
        st.caption(f"[definition]({link('data', table=PLAN)})")


def _attainment(release: Release, seller: str, chosen: Chosen) -> None:
    st.subheader("Attainment")
    found = attainment(release, seller, chosen)
    if found.empty:
        empty(release, QUOTA)
        return
    now = first(found)
    assert now is not None
    year = found.iloc[:4]
    told = len(year) == 4 and bool(year["attainment"].notna().all()) and float(year["quota_amount"].sum()) > 0
    places = in_row(3)
    with places[0]:
        figure(
            release,
            f"Attainment {now.quarter}",
            now.attainment,
            QUOTA,
            "attainment",
            "percent",
            note=now.reason or ("" if now.is_complete else "the quarter still runs"),
        )
    with places[1]:
        figure(
            release,
            f"Credited {now.quarter}",
            now.credited_amount,
            QUOTA,
            "credited_amount",
            "money",
            n=now.won_count,
            note="deals won",
        )
    with places[2]:
        figure(
            release,
            "Attainment of four quarters",
            float(year["credited_amount"].sum() / year["quota_amount"].sum()) if told else None,
            QUOTA,
            "attainment",
            "percent",
            note="credited over quotas of the last four" if told else "not all four have an attainment",
        )
    rows = found.drop(columns=["period_start"])
    if not found["credited_amount"].any() and found["quota_amount"].isna().all():
        show_table(release, rows, QUOTA, name="seller_attainment")
        return
    shown = found.iloc[::-1]
    chart_beside_table(
        release,
        against(
            shown.assign(label=shown["quarter"], amount=shown["credited_amount"], norm=shown["quota_amount"]),
            f"Credited, {release.currency}",
            "Credited against quota",
            "Bar: credited. Red: quota.",
        ),
        rows,
        QUOTA,
        name="seller_attainment",
        alt_text="Credited amount and quota by quarter",
        caption="It says what came in, not why. Overlay is the same money again: never add it.",
    )


def _diagnosis(release: Release, seller: str) -> None:
    st.subheader("Where the gap comes from")
    found = diagnosis(release, seller)
    now = first(found)
    if now is None or now.reason is not None:
        empty(release, DIAGNOSIS, now.reason if now else "")
        return
    own, mix, chance = (float(found[f"{part}_amount"].sum()) for part in ("own", "mix", "chance"))
    ties = round(own + mix + chance - now.gap_amount, 2) == 0
    st.markdown(
        f"Booked **{now.booked_amount:,.0f}**, the median peer **{now.reference_amount:,.0f}**: "
        f"a gap of **{now.gap_amount:+,.0f} {release.currency}**. Of it {own:+,.0f} is the seller's own, {mix:+,.0f} "
        f"comes of other accounts and deals, {chance:+,.0f} is chance"
        + (", which adds up to the gap." if ties else f". **{own + mix + chance - now.gap_amount:,.2f} does not tie.**")
    )
    top = first(found[found["is_top"] & found["what_is_wrong"].notna()])
    if top:
        st.markdown(f"**{escaped(top.what_is_wrong)}.** To do: {escaped(top.what_to_do)}.")
    else:
        st.markdown("No factor is clearly short: judge by the interval of the own ratio, never by the gap alone.")
    parts = {"own_amount": "own", "mix_amount": "accounts and deals", "chance_amount": "chance"}
    names = found["factor"].str.replace("_", " ")
    drawn = pd.concat(
        [pd.DataFrame({"factor": names, "kind": kind, "amount": found[column]}) for column, kind in parts.items()]
    )
    columns = [
        "factor",
        *parts,
        "contribution_amount",
        "n",
        "estimate",
        "estimate_low",
        "estimate_high",
        "peer_value",
        "own_ratio",
        "own_ratio_low",
        "own_ratio_high",
    ]
    chart_beside_table(
        release,
        gap_split(drawn, "The gap by cause", "Red is the seller's own part. Landing late comes back as carried over."),
        worded(found[columns], "factor"),
        DIAGNOSIS,
        name="diagnosis",
        alt_text=f"The gap of {now.gap_amount:,.0f} split into six factors, each in own, accounts and chance",
        caption="In one year most of a gap is chance. The own part is told from up to five years.",
    )


def _ramp(release: Release, seller: str) -> None:
    now = ramp(release, seller)
    if now is None:
        empty(release, RAMP, "Nothing is known of this seller's first months.")
        return
    if now.reason:
        empty(release, RAMP, now.reason)
        return
    st.markdown(
        f"Hired on {day(now.hired_on)}."
        + (f" {escaped(now.what_is_behind)}. **To do:** {escaped(now.what_to_do)}." if now.what_is_behind else "")
    )
    bands = pd.DataFrame(
        [
            {
                "label": f"{words} (n {getattr(now, f'{name}_n')})",
                "value": getattr(now, f"{name}_count"),
                "low": getattr(now, f"{name}_band_low"),
                "high": getattr(now, f"{name}_band_high"),
                "norm": getattr(now, f"{name}_band_middle"),
                "n": getattr(now, f"{name}_n"),
                "position": getattr(now, f"{name}_position"),
            }
            for name, words in MEASURES.items()
            if getattr(now, f"{name}_band_middle") is not None
        ]
    )
    if bands.empty:
        empty(release, RAMP, now.meetings_reason or now.opened_reason or "")
    else:
        chart_beside_table(
            release,
            intervals(
                bands,
                "Count so far",
                f"After {now.week} weeks, beside earlier hires",
                percent=False,
                norm_is="their middle",
                marks="Point: this seller. Line: middle half of earlier hires.",
            ),
            bands,
            RAMP,
            name="ramp_bands",
            alt_text="Meetings, deals opened and deals won beside the middle half of earlier hires",
            caption="n: earlier hires who were there at the same week.",
            labels={
                "label": "Measure",
                "value": "Count",
                "low": "Band from",
                "high": "Band to",
                "norm": "Their middle",
            },
        )
    steps = pd.DataFrame(
        [
            {
                "milestone": words,
                "state": getattr(now, f"{name}_state"),
                "reached_on": getattr(now, f"{name}_on"),
                "month": getattr(now, f"{name}_month"),
                "reason": getattr(now, f"{name}_reason"),
            }
            for name, words in MILESTONES.items()
        ]
    )
    steps["reached_on"] = pd.to_datetime(steps["reached_on"])
    show_table(release, steps, RAMP, name="milestones", labels={"month": "Month of service"})


def _career(release: Release, seller: str) -> None:
    st.subheader("The next level")
    now = career(release, seller)
    if now is None:
        empty(release, PATH)
        return
    if now.verdict == "no_next_level":
        st.markdown(f"There is none: {escaped(now.reason)}. {definition_link(PATH)}")
        return
    st.markdown(
        f"{escaped(str(now.role).replace('_', ' ')).capitalize()}, level {now.level}, for "
        f"{now.months_in_level:.0f} months; next: {escaped(str(now.next_role).replace('_', ' '))}, level "
        f"{now.next_level}. **{now.met_count} of {now.criteria_count}** criteria are met, {now.missing_count} missing, "
        f"{now.not_told_count} cannot be told." + (f" **To do:** {escaped(now.what_to_do)}." if now.what_to_do else "")
    )
    show_table(release, worded(criteria(release, seller), "criterion", "status"), CRITERIA, name="career")


def _managers(release: Release, chosen: Chosen) -> None:
    drawers = (_team, _new_sellers, _saves, _coaching, _practices, _talent, _specialists, _operations)
    in_tabs("people_part", {title: (draw,) for title, draw in zip(TABS, drawers, strict=True)}, release, chosen)


def _team(release: Release, chosen: Chosen) -> None:
    st.markdown(" ".join(team_sentences(release, chosen)))
    quarters = team_quarters(release, chosen)
    told = quarters[quarters["at_quota_share"].notna()]
    now = first(quarters.iloc[-1:])
    if now is None:
        empty(release, QUOTA)
    else:
        places = in_row(3)
        with places[0]:
            figure(
                release,
                f"Sellers at quota {now.quarter}",
                now.at_quota_share,
                QUOTA,
                "at_quota_share",
                "percent",
                low=now.at_quota_share_low,
                high=now.at_quota_share_high,
                n=now.n,
                note=now.reason or "",
            )
        with places[1]:
            figure(
                release,
                "Average attainment",
                now.average_attainment,
                QUOTA,
                "average_attainment",
                "percent",
                low=now.average_attainment_low,
                high=now.average_attainment_high,
                n=now.n,
                note=now.reason or "",
            )
        with places[2]:
            figure(release, "Credited", now.credited_amount, QUOTA, "credited_amount", "money", note=now.quarter)
    st.subheader("How many reach their quota")
    if told.empty:
        empty(release, QUOTA, str(now.reason) if now and now.reason else "")
    else:
        chart_beside_table(
            release,
            curve(
                told.assign(
                    x=told["quarter"],
                    value=told["at_quota_share"],
                    low=told["at_quota_share_low"],
                    high=told["at_quota_share_high"],
                ),
                "Quarter",
                "Sellers at quota",
                f"Sellers at quota: {chosen.words}",
            ).properties(height=TALL),
            told[
                [
                    "quarter",
                    "n",
                    "at_quota_share",
                    "at_quota_share_low",
                    "at_quota_share_high",
                    "average_attainment",
                    "average_attainment_low",
                    "average_attainment_high",
                    "attainment",
                    "credited_amount",
                    "quota_amount",
                ]
            ].iloc[::-1],
            QUOTA,
            name="team_attainment",
            alt_text="Share of sellers at quota by quarter with its interval",
            caption="Two sellers at three times their quota can carry eight at half of it: look at both.",
        )
    st.subheader("Sellers")
    rows = team(release, chosen)
    if rows.empty:
        empty(release, PLAN)
        return
    st.caption("Who has something to work on first. Open one for the page of that seller.")
    show_table(
        release,
        _with_address(worded(rows, "verdict", "why")),
        PLAN,
        name="team",
        links={"open": "open"},
        labels={"open": " ", "why": "From, or why not", "verdict": "Diagnosis"},
    )


def _with_address(rows: pd.DataFrame) -> pd.DataFrame:
    out = rows.drop(columns=["seller_id"])
    out.insert(0, "open", "/people?seller=" + rows["seller_id"])
    return out


def _new_sellers(release: Release, chosen: Chosen) -> None:
    found = ramp_curve(release)
    now = first(found)
    if now is None:
        empty(release, CURVES)
    else:
        half = (
            f"Half of all {now.n:,} hires are productive by month **{now.median_months}** "
            f"({written(now.median_months_low, 'count')} to {written(now.median_months_high, 'count')})."
            if now.median_months
            else f"Of {now.n:,} hires less than half become productive in the time looked at."
        )
        st.markdown(half)
        chart_beside_table(
            release,
            curve(
                found.assign(
                    x=found["month"],
                    value=found["reached_share"],
                    low=found["reached_share_low"],
                    high=found["reached_share_high"],
                ),
                "Months since hire",
                "Productive",
                "New sellers of the company who are productive",
            ).properties(height=TALL),
            found.drop(columns=["median_months", "median_months_low", "median_months_high"]),
            CURVES,
            name="ramp_curve",
            alt_text="Share of new sellers who are productive by month of service",
            caption="Leavers are in it: who left without it did not get there.",
        )
    st.subheader("Who was hired within two years")
    rows = new_sellers(release, chosen)
    if rows.empty:
        empty(release, RAMP, "Nobody of what is chosen was hired within two years.")
        return
    show_table(release, _with_address(rows), RAMP, name="new_sellers", links={"open": "open"}, labels={"open": " "})


def _coached(release: Release, chosen: Chosen) -> pd.DataFrame:
    """The managers of what is chosen; says so where there is none, and what a segment does to them."""
    found = coaching(release, chosen)
    if found.empty:
        empty(release, COACHING)
    elif chosen.segment:
        st.caption("A manager is told with the whole team, whatever segment is chosen.")
    return found


def _saves(release: Release, chosen: Chosen) -> None:
    found = _coached(release, chosen)
    if found.empty:
        return
    rows = each(found)
    # Without activities nobody knows when a manager first met the buyer; the mart then counts no rescue.
    met_known = "activities" not in release.missing_for(COACHING)
    saves = [row for row in rows if row.hero_standing == "rescues"]
    said = [
        f"**{escaped(row.manager_name)}** came to save {written(row.hero_dependency, 'percent')} of the team's won "
        f"amount ({written(row.hero_dependency_low, 'percent')} to {written(row.hero_dependency_high, 'percent')}, "
        f"{row.hero_n:,} deals). To do: {escaped(row.hero_what_to_do)}."
        for row in saves
    ]
    if met_known and not saves:
        said.append("Of no manager it can be shown that deals are won by being saved.")
    if said:
        st.markdown(" ".join(said))
    told = found[found["hero_dependency"].notna() & met_known]
    columns = [
        "manager_name",
        "hero_dependency",
        "hero_dependency_low",
        "hero_dependency_high",
        "hero_n",
        "others_hero_dependency",
        "hero_standing",
        "hero_what_to_do",
        "hero_reason",
    ]
    st.subheader("Deals a manager came to save")
    if told.empty:
        empty(release, COACHING, rows[0].hero_reason or "")
    else:
        chart_beside_table(
            release,
            intervals(
                measured(told, "manager_name", "hero_dependency", "hero_n", norm="others_hero_dependency"),
                "Share of the team's won amount",
                "What was won by being saved",
                norm_is="the other managers together",
            ),
            found[columns],
            COACHING,
            name="hero_dependency",
            alt_text="Share of each team's won amount in deals the manager came to save",
            caption="Never add managers up: whoever leads managers holds their teams' deals too.",
        )


def _coaching(release: Release, chosen: Chosen) -> None:
    found = _coached(release, chosen)
    if found.empty:
        return
    rows = each(found)
    seldom = [row for row in rows if row.coaching_standing == "coaches_rarely"]
    open_ones = [row for row in rows if row.follow_up_standing == "left_open"]
    if seldom:
        st.markdown(f"Coach seldom: {_people(seldom)}.")
    if open_ones:
        st.markdown(f"What was agreed is left open by: {_people(open_ones)}.")
    st.subheader("Sessions, ride-alongs, follow-ups")
    told = found[found["sessions_per_seller_month"].notna()]
    if told.empty:
        empty(release, COACHING, rows[0].coaching_reason or "")
        return
    columns = [
        "manager_name",
        "sessions_per_seller_month",
        "sessions_per_seller_month_low",
        "sessions_per_seller_month_high",
        "coaching_n",
        "coaching_standing",
        "coaching_what_to_do",
        "seller_led_share",
        "seller_led_share_low",
        "seller_led_share_high",
        "seller_led_n",
        "ride_along_standing",
        "ride_along_what_to_do",
        "follow_up_done_share",
        "follow_up_done_share_low",
        "follow_up_done_share_high",
        "follow_up_due_count",
        "follow_up_standing",
        "follow_up_what_to_do",
    ]
    chart_beside_table(
        release,
        intervals(
            measured(told, "manager_name", "sessions_per_seller_month", "coaching_n").sort_values(
                "value", ascending=False
            ),
            "Coaching sessions a seller and month",
            "How often managers coach",
            percent=False,
        ),
        found[columns],
        COACHING,
        name="manager_coaching",
        alt_text="Coaching sessions per seller and month of each manager",
        caption="n: sellers who report to the manager directly.",
    )


def _people(rows: list[SimpleNamespace]) -> str:
    return ", ".join(escaped(row.manager_name) for row in rows)


def _practices(release: Release, chosen: Chosen) -> None:
    found = practices(release, chosen)
    if found.empty:
        empty(release, PRACTICES)
        return
    where = chosen.segment or "all segments together"
    spread = [row for row in each(found) if row.verdict == "spread_it"]
    said = [
        f"**{escaped(row.what_it_is)}:** such deals of {escaped(where)} are won {100 * row.effect:+.1f} points more "
        f"often than like deals without it ({100 * row.effect_low:+.1f} to {100 * row.effect_high:+.1f}, "
        f"{row.n:,} deals). To do: {escaped(row.what_to_do)}."
        for row in spread
    ] or [f"Of no practice an effect can be shown for {escaped(where)}."]
    row = first(found)
    if row and row.told_count:
        said.append(
            f"Of {row.told_count} questions asked in all segments {row.passed_count} pass upwards; "
            f"{row.chance_count:.1f} would by chance."
        )
    st.markdown("\n\n".join(said))
    told = found[found["effect"].notna()]
    if told.empty:
        empty(release, PRACTICES, str(found.iloc[0]["reason"]))
        return
    chart_beside_table(
        release,
        intervals(
            told.assign(
                label=told["practice"].str.replace("_", " ") + " (n " + told["n"].astype(str) + ")",
                value=told["effect"],
                low=told["strict_low"],
                high=told["strict_high"],
                norm=0.0,
            ),
            "Win rate with it less that of like deals without",
            f"What early practices go with: {where}",
            norm_is="no difference",
            marks="Line: interval that allows for as many practices.",
        ),
        worded(found, "practice", "verdict").drop(columns=["told_count", "passed_count", "chance_count"]),
        PRACTICES,
        name="best_practices",
        alt_text="Difference in win rate of deals with each early practice, with its interval",
        caption="An association, not a cause. Effects overlap: never add them.",
    )


def _talent(release: Release, chosen: Chosen) -> None:
    if not release.has(TALENT):
        empty(release, TALENT)
        return
    found = talent(release, chosen)
    rows = each(found)
    said = [
        f"**{escaped(row.seller_name)}** stands out on the {row.track} track. {escaped(row.next_opportunity)}."
        for row in rows
        if row.verdict == "high_potential"
    ] or ["Nobody stands out beyond chance."]
    said += [
        f"**{escaped(row.seller_name)}** is below 70 % of quota in the long run with a probability of "
        f"{written(row.low_attainment_probability, 'percent')} (true attainment "
        f"{written(row.true_attainment, 'percent')}, {written(row.true_attainment_low, 'percent')} to "
        f"{written(row.true_attainment_high, 'percent')}). {escaped(row.next_opportunity)}."
        for row in rows
        if row.verdict == "low_performer"
    ]
    st.markdown("\n\n".join(said))
    st.caption("No statement is no verdict: it means that nothing beyond chance can be shown.")
    left, right = st.columns([3, 2], gap="medium")
    with left:
        if rows:
            show_table(release, worded(found, "verdict", "strength"), TALENT, name="talent")
    with right:
        show_table(release, worded(talent_counts(release, chosen), "verdict"), TALENT, name="talent_counts")
    st.subheader("Who may sit in the wrong job")
    wrong = misfits(release, chosen)
    if wrong.empty:
        empty(release, FIT, "Of nobody this can be shown.")
    else:
        chart_beside_table(
            release,
            intervals(
                measured(wrong, "seller_name", "win_rate", "n", norm="expected_win_rate"),
                "Win rate in the motion of the job",
                "Below what all sellers make of like deals",
                norm_is="what all sellers make of like deals",
            ),
            worded(wrong, "role", "motion", "better_motion"),
            FIT,
            name="misfits",
            alt_text="Win rate of sellers clearly below like deals of all sellers",
            caption="Read the seller's own page first: one weak stage looks the same.",
        )
    st.subheader("Who is near the next level")
    near = ready(release, chosen)
    if near.empty:
        empty(release, PATH)
    else:
        show_table(release, worded(near, "role", "next_role", "verdict"), PATH, name="career_path")


def _specialists(release: Release, chosen: Chosen) -> None:
    if chosen.team or chosen.segment:
        st.caption("Help is told for the whole company, whatever team and segment are chosen.")
    st.subheader("Specialists and executives")
    found = specialists(release)
    if found.empty:
        empty(release, SPECIALISTS)
    else:
        together = [row for row in each(found) if row.is_all]
        st.markdown(
            "\n".join(
                f"- **{escaped(row.function).capitalize()}:** half of {row.days_to_help_n:,} requests got help within "
                f"{row.days_to_help:.1f} days ({row.days_to_help_low:.1f} to {row.days_to_help_high:.1f}; the target "
                f"is {row.target_days}), {row.waiting_count:,} wait"
                + (
                    f". {escaped(row.time_statement)}. To do: {escaped(row.time_what_to_do)}."
                    if row.time_statement
                    else "."
                )
                for row in together
                if row.days_to_help is not None
            )
        )
        slow = [row for row in each(found) if not row.is_all and row.time_standing == "slow"]
        if slow:
            names = ", ".join(
                f"{escaped(row.who)} ({row.days_to_help:.1f} days, {row.days_to_help_low:.1f} to "
                f"{row.days_to_help_high:.1f}, n {row.days_to_help_n:,})"
                for row in slow
            )
            st.markdown(
                f"Sellers wait clearly longer than for the others, and beyond the target, for **{names}**. "
                f"To do: {escaped(slow[0].time_what_to_do)}."
            )
        people = found[~found["is_all"].astype(bool) & found["days_to_help"].notna()]
        if len(people):
            chart_beside_table(
                release,
                intervals(
                    measured(people, "who", "days_to_help", "days_to_help_n", norm="others_days_to_help"),
                    "Days from asking to help, median",
                    "How long deals wait",
                    percent=False,
                    norm_is="the others of the function together",
                ),
                found.drop(columns=["is_all"]),
                SPECIALISTS,
                name="specialists",
                alt_text="Median days from asking to help for each specialist",
                caption="All of them holds everybody below it: never add it.",
            )


def _operations(release: Release, chosen: Chosen) -> None:
    if chosen.team or chosen.segment:
        st.caption("Help is told for the whole company, whatever team and segment are chosen.")
    st.subheader("Sales operations, deal desk, legal")
    found = service(release)
    if found.empty or not found["request_count"].fillna(0).gt(0).any():
        empty(release, SERVICE)
        return
    st.markdown(
        "\n".join(
            f"- **{escaped(str(row.function).replace('_', ' ')).capitalize()}:** "
            f"{written(row.in_target_share, 'percent')} of {row.in_target_share_n:,} requests within "
            f"{row.target_days} days ({written(row.in_target_share_low, 'percent')} to "
            f"{written(row.in_target_share_high, 'percent')})"
            + (f". {escaped(row.statement)}. To do: {escaped(row.what_to_do)}." if row.statement else ".")
            for row in each(found)
            if row.in_target_share is not None
        )
    )
    quarters = service_quarters(release)
    if len(quarters):
        chart_beside_table(
            release,
            intervals(
                quarters.assign(
                    label=quarters["function"].str.replace("_", " ")
                    + " "
                    + quarters["quarter"]
                    + " (n "
                    + quarters["in_target_share_n"].astype(str)
                    + ")",
                    value=quarters["in_target_share"],
                    low=quarters["in_target_share_low"],
                    high=quarters["in_target_share_high"],
                ),
                "Requests answered within the target days",
                "Services to sellers, by quarter",
                zero=False,
            ),
            quarters,
            SERVICE,
            name="sales_ops_quarters",
            alt_text="Share of requests answered in time by service and quarter",
        )
    show_table(release, found, SERVICE, name="sales_ops_service")
