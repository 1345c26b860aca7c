"""Funnel: is there enough, what became of the pipeline, where do deals stop, how fast do they go, what is won."""

from __future__ import annotations

import math

import altair as alt
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
    is_over,
    known,
    listed,
    one_of_both,
    spoken,
    told_apart,
    whose,
    with_interval,
)

FILTERS = ("team", "segment", "period")
MEMBERS_SHOWN, DEALS_SHOWN, QUARTERS_SHOWN = 20, 25, 9
MOVEMENTS = {
    "opening": "Open at the start",
    "created": "New",
    "reopened": "Opened again",
    "owner_in": "Came from another owner",
    "owner_out": "Went to another owner",
    "pulled_in": "Pulled in from later",
    "pushed_out": "Slipped to later",
    "amount_up": "Amount increased",
    "amount_down": "Amount decreased",
    "won": "Won",
    "lost": "Lost",
    "no_decision": "Ended without a decision",
    "deleted": "Deleted",
    "closing": "Still open at the end",
}
DIMENSIONS = {
    "segment": "Segment",
    "region": "Region",
    "opportunity_type": "Type of deal",
    "lead_source": "Lead source",
    "product": "Product",
    "manager": "Manager",
    "owner": "Seller",
}
VELOCITY_PARTS = {
    "n": "the number of deals decided",
    "win_rate": "the win rate",
    "mean_amount": "the size of won deals",
    "median_cycle_days": "the length of the cycle",
}
QUARTERS = "(select distinct quarter_name, quarter_start from core.calendar)"


def coverage(release: Release, chosen: Chosen) -> pd.DataFrame:
    """One row per quarter of the scope around the as-of date: target, won, open, and how often that covers the rest."""
    return release.rows(
        "select quarters.quarter_name as quarter, coverage.target, coverage.booked, coverage.open_pipeline, "
        "coverage.overdue_pipeline, coverage.coverage_to_go, coverage.required_coverage, "
        "coverage.required_coverage_n, coverage.required_coverage_level, coverage.won_count, coverage.open_count, "
        "coverage.reason, coverage.target_source, coverage.period_start, coverage.period_end "
        f"from funnel.pipeline_coverage as coverage inner join {QUARTERS} as quarters "
        "on coverage.period_start = quarters.quarter_start "
        "where coverage.period_type = 'quarter' and coverage.scope_type = ? and coverage.scope_id = ? "
        "order by coverage.period_start",
        chosen.scope,
    )


def short_of_pipeline(release: Release, chosen: Chosen, period: Period) -> pd.DataFrame:
    """Who or what of the scope has a target to go in a quarter, the thinnest pipeline against what is needed first."""
    if chosen.team:
        within = (
            "(scope_type = 'manager' and scope_id in (select unnest(?)) and scope_id != ?) or (scope_type = 'seller' "
            "and scope_id in (select rep_id from core.reps where is_current and manager_id in (select unnest(?))))"
        )
        parameters: list[object] = [list(chosen.managers), chosen.team, list(chosen.managers)]
    else:
        within, parameters = "scope_type in ('region', 'segment', 'manager')", []
    return release.rows(
        "select scope_type, scope_name, target, booked, open_pipeline, coverage_to_go, required_coverage, "
        "required_coverage_n, coverage_to_go - required_coverage as above_required "
        "from funnel.pipeline_coverage where period_type = 'quarter' and period_start = ? "
        f"and coverage_to_go is not null and required_coverage is not null and ({within}) "
        f"order by above_required, scope_type, scope_id limit {MEMBERS_SHOWN}",
        [period.start, *parameters],
    )


def waterfall(release: Release, chosen: Chosen) -> pd.DataFrame:
    """One row per movement of the chosen quarter, from the pipeline it opened with to the one it closed with."""
    found = release.rows(
        "select movement, amount, opportunity_count from funnel.pipeline_movements "
        "where period_type = 'quarter' and period_start = ? and scope_type = ? and scope_id = ? "
        "and movement != 'overdue' order by movement_order",
        (chosen.period.start, *chosen.scope),
    )
    found.insert(1, "label", found["movement"].map(lambda name: MOVEMENTS.get(name, name.replace("_", " "))))
    found["is_total"] = found["movement"].isin(["opening", "closing"])
    return found


def left_over(release: Release, chosen: Chosen) -> float | None:
    """What opening and movements lack to the closing, counted in decimals: 0 when the bridge ties to the cent."""
    value = release.value(
        "select sum(case movement when 'closing' then -amount else amount end) from funnel.pipeline_movements "
        "where period_type = 'quarter' and period_start = ? and scope_type = ? and scope_id = ? "
        "and movement != 'overdue'",
        (chosen.period.start, *chosen.scope),
    )
    return None if value is None else float(value)


def moved_deals(release: Release, chosen: Chosen, movement: str) -> pd.DataFrame:
    """The largest deals behind one bar of the waterfall."""
    found = release.rows(
        "select moved.opportunity_id, deals.name, deals.account_name, deals.owner_name, deals.stage, moved.amount, "
        "deals.close_date from funnel.opportunity_movements as moved "
        "left join core.opportunities as deals on moved.opportunity_id = deals.opportunity_id "
        "where moved.period_type = 'quarter' and moved.period_start = ? and moved.scope_type = ? "
        "and moved.scope_id = ? and moved.movement = ? "
        f"order by abs(moved.amount) desc nulls last, moved.opportunity_id limit {DEALS_SHOWN}",
        (chosen.period.start, *chosen.scope, movement),
    )
    found["open"] = [link("deal", deal=deal) for deal in found["opportunity_id"]]
    return found


def conversion(release: Release, chosen: Chosen) -> pd.DataFrame:
    """One row per stage and quarter, the chosen one and the one before: what became of those who entered it."""
    return release.rows(
        "select conversion.stage, quarters.quarter_name as quarter, conversion.entered_count, "
        "conversion.conversion_rate, conversion.conversion_rate_low, conversion.conversion_rate_high, "
        "conversion.lost_count, conversion.no_decision_count, conversion.regressed_count, "
        "conversion.still_open_count, conversion.median_days, conversion.reason, "
        "conversion.period_start = ?::date as is_chosen "
        f"from funnel.stage_conversion as conversion inner join {QUARTERS} as quarters "
        "on conversion.period_start = quarters.quarter_start "
        "where conversion.period_type = 'quarter' and conversion.segment = ? and conversion.period_start in ("
        "select max(period_start) from funnel.stage_conversion where period_type = 'quarter' and period_start < ?"
        " union all select ?::date) order by conversion.stage_order, conversion.period_start desc",
        (chosen.period.start, chosen.segment or "all", chosen.period.start, chosen.period.start),
    )


def velocity(release: Release, chosen: Chosen) -> pd.DataFrame:
    """One row per quarter up to the chosen one: how fast deals become money, and the four numbers it is made of."""
    found = release.rows(
        "select quarters.quarter_name as quarter, velocity.velocity, velocity.n, velocity.win_rate, "
        "velocity.win_rate_low, velocity.win_rate_high, velocity.mean_amount, velocity.median_cycle_days, "
        "velocity.won_count, velocity.reason, velocity.period_start "
        f"from funnel.sales_velocity as velocity inner join {QUARTERS} as quarters "
        "on velocity.period_start = quarters.quarter_start "
        "where velocity.period_type = 'quarter' and velocity.scope_type = ? and velocity.scope_id = ? "
        f"and velocity.period_start <= ? order by velocity.period_start desc limit {QUARTERS_SHOWN}",
        (*chosen.scope, chosen.period.start),
    )
    return found.iloc[::-1].reset_index(drop=True)


def win_rates(release: Release, chosen: Chosen, dimension: str) -> pd.DataFrame:
    """One row per member of a dimension, those with most decided deals: how many were won, and how sure that is."""
    within, parameters = "", [dimension]
    if chosen.team and dimension in ("owner", "manager"):
        within = (
            " and member in (select rep_id from core.reps where is_current and manager_id in (select unnest(?)))"
            if dimension == "owner"
            else " and member in (select unnest(?))"
        )
        parameters.append(list(chosen.managers))  # type: ignore[arg-type]
    found = release.rows(
        "select * from (select member, member_name, n, won_count - left_out_count as won_count, "
        "win_rate, win_rate_low, win_rate_high, "
        "win_rate_shrunk, win_rate_amount, mean_won_amount, median_cycle_days, "
        "(select any_value(role) from core.reps where is_current and rep_id = member and dimension = 'owner') as role "
        f"from funnel.win_rates where basis = 'closed' and dimension = ? and n > 0{within} "
        f"order by n desc, member limit {MEMBERS_SHOWN}) as largest order by role, win_rate desc, member",
        parameters,
    )
    found["member_name"] = told_apart(found["member_name"], found["member"])
    return found


def win_rate_of_all(release: Release) -> pd.DataFrame:
    """The company's win rate over all deals decided so far; no row without any."""
    return release.rows(
        "select win_rate, win_rate_low, win_rate_high, n, left_out_count from funnel.win_rates "
        "where basis = 'closed' and dimension = 'company' and n > 0"
    )


def lead(release: Release, chosen: Chosen) -> list[str]:
    """What the figures of the page say, most urgent first."""
    return spoken(
        _coverage_sentence(release, chosen),
        _pipeline_sentence(release, chosen),
        _stage_sentence(release, chosen),
    )


def show(release: Release, chosen: Chosen) -> None:
    st.title("Funnel")
    st.markdown("\n\n".join(lead(release, chosen)) or "Not enough data to say anything about this funnel.")
    if one_of_both(chosen):
        st.caption(one_of_both(chosen))
    _figures(release, chosen)
    parts = {
        "Coverage": (_enough,),
        "Movements": (_waterfall,),
        "Stages": (_stages,),
        "Velocity": (_velocity,),
        "Win rates": (_win_rates,),
    }
    in_tabs("funnel_part", parts, release, chosen)


def _row(frame: pd.DataFrame, start: object) -> pd.Series | None:
    found = frame[frame["period_start"] == pd.Timestamp(start)]  # type: ignore[arg-type]
    return found.iloc[0] if len(found) else None


def _coverage_sentence(release: Release, chosen: Chosen) -> str:
    found, target_of = coverage(release, chosen), ahead(release, chosen)
    row = _row(found, target_of.start)
    if row is None:
        return ""
    money = release.currency
    if is_over(target_of, release.as_of):
        if not known(row["target"]):
            return (
                f"**{target_of.name}** is over for {whose(chosen)}: {written(row['booked'], 'money', money)} was won."
            )
        return (
            f"**{target_of.name}** is over for {whose(chosen)}: {written(row['booked'], 'money', money)} was won of a "
            f"target of {written(row['target'], 'money', money)}, {written(row['booked'] / row['target'], 'percent')}."
            if row["target"]
            else ""
        )
    if not known(row["coverage_to_go"]):
        said = row["reason"] if known(row["reason"]) else "not enough data"
        return (
            f"**{target_of.name}**, {whose(chosen)}: {written(row['booked'], 'money', money)} is won and "
            f"{written(row['open_pipeline'], 'money', money)} is open; whether that is enough is not known: "
            f"{escaped(said)}."
        )
    missing = row["target"] - row["booked"]
    text = (
        f"**{target_of.name}**, {whose(chosen)}: {written(missing, 'money', money)} is missing to the target of "
        f"{written(row['target'], 'money', money)}; the open pipeline of "
        f"{written(row['open_pipeline'], 'money', money)} ({counted(row['open_count'], 'deal')}) covers it "
        f"{written(row['coverage_to_go'], 'ratio')}"
    )
    if not known(row["required_coverage"]):
        return f"{text}; what was enough in earlier quarters is not known: {escaped(row['required_coverage_level'])}."
    text += (
        f", where {written(row['required_coverage'], 'ratio')} was enough on the same day of "
        f"{counted(row['required_coverage_n'], 'earlier quarter')}"
    )
    lacking = row["required_coverage"] * missing - row["open_pipeline"]
    if lacking > 0:
        return f"{text}: **{written(lacking, 'money', money)} of pipeline is lacking**, to be created or pulled in."
    return f"{text}: **enough**, if it is looked after."


def _pipeline_sentence(release: Release, chosen: Chosen) -> str:
    found = waterfall(release, chosen).set_index("movement")
    if found.empty:
        return ""

    def part(*names: str) -> str:
        rows = found.reindex(list(names)).fillna({"amount": 0.0, "opportunity_count": 0})
        amount, count = abs(rows["amount"].sum()), int(rows["opportunity_count"].sum())
        if not count:
            return "nothing"
        money = written(amount, "money", release.currency) if amount else "without an amount"
        return f"{money} ({counted(count, 'deal')})"

    came = found.reindex(["created", "reopened", "owner_in", "pulled_in"])["amount"].fillna(0.0).sum()
    over = is_over(chosen.period, release.as_of)
    verb = "was" if over else "is"
    return (
        f"{chosen.period.name} opened with {part('opening')} and {written(came, 'money', release.currency)} came into "
        f"it; {part('won')} {verb} won, {part('lost', 'no_decision')} {verb} lost or given up, {part('pushed_out')} "
        f"slipped to a later quarter, and {part('closing')} "
        + ("was still undecided when it ended." if over else "is still open.")
    )


def _stage_sentence(release: Release, chosen: Chosen) -> str:
    found = conversion(release, chosen)
    found = found[found["is_chosen"] & found["conversion_rate"].notna()]
    if found.empty:
        return ""
    weakest = found.iloc[int(found["conversion_rate"].to_numpy().argmin())]
    others = found[found["stage"] != weakest["stage"]]
    apart = len(others) and bool((others["conversion_rate_low"] > weakest["conversion_rate_high"]).all())
    rate = with_interval(
        weakest["conversion_rate"],
        weakest["conversion_rate_low"],
        weakest["conversion_rate_high"],
        n=weakest["entered_count"],
    )
    segment = f"in {escaped(chosen.segment)}" if chosen.segment else "in all segments"
    return f"Fewest deals go on from **{escaped(weakest['stage'])}**: {rate}, {segment}" + (
        "; every other stage is clearly better." if apart else "; within chance of at least one other stage."
    )


def _figures(release: Release, chosen: Chosen) -> None:
    found, target_of = coverage(release, chosen), ahead(release, chosen)
    now, then = _row(found, chosen.period.start), _row(found, target_of.start)
    speed = velocity(release, chosen)
    last = _row(speed, chosen.period.start)
    places = in_row(4)
    with places[0]:
        figure(
            release,
            f"Won, {chosen.period.name}",
            None if now is None else now["booked"],
            "funnel.pipeline_coverage",
            "booked",
            "money",
            n=None if now is None else int(now["won_count"]),
            note="told for quarters around the as-of date only"
            if now is None
            else f"of a target of {written(now['target'], 'money', release.currency)}"
            if known(now["target"])
            else "no target",
        )
    with places[1]:
        _second_figure(release, target_of, then)
    with places[2]:
        figure(
            release,
            f"Win rate, {chosen.period.name}",
            None if last is None else last["win_rate"],
            "funnel.sales_velocity",
            "win_rate",
            "percent",
            low=None if last is None else last["win_rate_low"],
            high=None if last is None else last["win_rate_high"],
            n=None if last is None else int(last["n"]),
        )
    with places[3]:
        figure(
            release,
            "Velocity",
            None if last is None else last["velocity"],
            "funnel.sales_velocity",
            "velocity",
            "money",
            n=None if last is None else int(last["n"]),
            note=chosen.period.name if last is None or not known(last["reason"]) else str(last["reason"]),
        )


def _second_figure(release: Release, period: Period, row: pd.Series | None) -> None:
    table = "funnel.pipeline_coverage"
    if is_over(period, release.as_of):
        reached = row["booked"] / row["target"] if row is not None and known(row["target"]) and row["target"] else None
        figure(
            release,
            f"Of the target, {period.name}",
            reached,
            table,
            "target",
            "percent",
            note="" if reached is not None else "no target is known",
        )
        return
    note = ""
    if row is not None and known(row["reason"]):
        note = str(row["reason"])
    elif row is not None and known(row["required_coverage"]):
        note = f"{written(row['required_coverage'], 'ratio')} was enough in " + counted(
            row["required_coverage_n"], "quarter"
        )
    elif row is not None and known(row["required_coverage_level"]):
        note = f"what was enough: {row['required_coverage_level']}"
    figure(
        release,
        f"Coverage, {period.name}",
        None if row is None else row["coverage_to_go"],
        table,
        "coverage_to_go",
        "ratio",
        note=note,
    )


def _enough(release: Release, chosen: Chosen) -> None:
    table, target_of = "funnel.pipeline_coverage", ahead(release, chosen)
    st.subheader("Is there enough to make the number?")
    found = coverage(release, chosen)
    if found.empty:
        empty(release, table)
        return
    drawn = found.melt("quarter", ["booked", "open_pipeline", "overdue_pipeline"], "kind", "value").rename(
        columns={"quarter": "label"}
    )
    names = {"booked": "won", "open_pipeline": "open", "overdue_pipeline": "overdue: the close date has passed"}
    drawn["kind"] = drawn["kind"].map(names)
    colours = dict(zip(names.values(), (bridges.BLUE, "#90cdf4", "#d69e2e"), strict=True))
    chart = bridges.bars(drawn, f"Amount, {release.currency}", colours=colours)
    if found["target"].notna().any():
        ticks = alt.Chart(found[found["target"].notna()]).mark_tick(color=bridges.RED, thickness=3, size=22)
        chart = alt.layer(
            chart,
            ticks.encode(
                y=alt.Y("quarter:N", sort=None),
                x="target:Q",
                tooltip=[alt.Tooltip("quarter:N", title=" "), alt.Tooltip("target:Q", title="Target", format=",.0f")],
            ),
        )
    chart_beside_table(
        release,
        chart,
        found.drop(columns=["period_start", "period_end", "target_source"]),
        table,
        name="coverage_by_quarter",
        alt_text=f"Won and open by quarter for {chosen.words}, with the target of each quarter.",
        caption="Red: the target. What is overdue is in no quarter until somebody dates it again.",
        formats={"coverage_to_go": "%.2f", "required_coverage": "%.2f"},
    )
    if is_over(target_of, release.as_of):
        return
    if chosen.segment and not chosen.team:
        return
    members = short_of_pipeline(release, chosen, target_of)
    if members.empty:
        st.caption(
            f"Nobody below has a target for {target_of.name} that is not met yet and a history to hold it against. "
            f"{definition_link(table)}"
        )
        return
    lacking = members[members["above_required"] < 0]
    st.markdown(
        f"**Where {target_of.name} lacks pipeline:** "
        + (
            f"{listed(lacking['scope_name'])} {'have' if len(lacking) > 1 else 'has'} less open than was enough before."
            if len(lacking)
            else "nowhere; everybody with a target has as much open as was enough before."
        )
        + " Regions, segments and managers are three cuts of the same deals; never add them up." * (not chosen.team)
    )
    show_table(
        release,
        members,
        table,
        name="where_pipeline_lacks",
        labels={"above_required": "Coverage above what is needed"},
        formats={"coverage_to_go": "%.2f", "required_coverage": "%.2f", "above_required": "%.2f"},
    )


def _waterfall(release: Release, chosen: Chosen) -> None:
    table = "funnel.pipeline_movements"
    st.subheader(f"What became of the pipeline of {chosen.period.name}")
    found = waterfall(release, chosen)
    if found.empty:
        why = f"{chosen.period.name} has not begun." if chosen.period.start > release.as_of else ""
        empty(release, table, why)
        return
    missing = left_over(release, chosen)
    drawn = found[found["is_total"] | (found["opportunity_count"] > 0)]
    chart_beside_table(
        release,
        bridges.bridge(drawn, f"Amount, {release.currency}"),
        found.drop(columns=["movement", "is_total"]),
        table,
        name="pipeline_waterfall",
        alt_text=(
            f"From the pipeline {chosen.period.name} opened with, by what came and went, to what was open at its end: "
            + "; ".join(f"{row.label} {written(row.amount, 'money')}" for row in drawn.itertuples())
            + "."
        ),
        caption="Opening and all movements add up to the closing, to the cent."
        if missing == 0
        else f"The bars do not add up: {missing:,.4f} is left over. Tell whoever runs this; it must not happen.",
        labels={"label": "Movement", "opportunity_count": "Deals"},
        formats={"amount": "%,.2f"},
    )
    if not release.has("funnel.opportunity_movements"):
        return
    names = {name: MOVEMENTS.get(name, name) for name in found.loc[found["opportunity_count"] > 0, "movement"]}
    if not names:
        return
    movement = st.selectbox(
        "Deals behind a bar",
        list(names),
        index=None,
        format_func=lambda name: names[name],
        key="funnel_movement",
        bind="query-params",
        placeholder="Which deals slipped, were won, lost, …",
    )
    if movement:
        deals = moved_deals(release, chosen, movement)
        if deals.empty:
            st.markdown("None of these deals is yours to see.")
            return
        whole = int(found.loc[found["movement"] == movement, "opportunity_count"].iloc[0])
        st.caption(
            f"The {len(deals)} largest of {whole:,}."
            if release.viewer.sees is None
            else f"{len(deals)} that you may see, of {whole:,}."
        )
        show_table(
            release, deals, "funnel.opportunity_movements", name="deals_behind_the_bar", links={"open": "open the deal"}
        )


def _stages(release: Release, chosen: Chosen) -> None:
    table = "funnel.stage_conversion"
    st.subheader("Where deals stop")
    found = conversion(release, chosen)
    if chosen.team:
        st.caption("By stage, conversion is told for the company and its segments, not by team.")
    told = found[found["conversion_rate"].notna()]
    if told.empty:
        reasons = found["reason"].dropna().unique()
        empty(release, table, f"{chosen.period.name}: {', '.join(reasons)}." if len(reasons) else "")
        return
    drawn = pd.DataFrame(
        {
            "label": told["stage"],
            "kind": told["quarter"],
            "value": told["conversion_rate"],
            "low": told["conversion_rate_low"],
            "high": told["conversion_rate_high"],
            "n": told["entered_count"],
        }
    )
    before = [quarter for quarter in told["quarter"].unique() if quarter != chosen.period.name]
    colours = {chosen.period.name: bridges.BLUE} | dict.fromkeys(before, bridges.LIGHT)
    chart_beside_table(
        release,
        bridges.rates(drawn, "Share that goes on to a later stage", colours=colours),
        found.drop(columns=["is_chosen"]),
        table,
        name="stage_conversion",
        alt_text="Share of deals that go on from each stage, with its 90 % interval: "
        + "; ".join(f"{row.label} {row.value:.0%} in {row.kind}" for row in drawn.itertuples())
        + ".",
        caption="Deals that entered a stage in the quarter, followed until they left; those still there count for as "
        "long as they were seen. Where the lines of two quarters overlap, the difference may be chance.",
    )


def _velocity(release: Release, chosen: Chosen) -> None:
    table = "funnel.sales_velocity"
    st.subheader("How fast deals become money")
    found = velocity(release, chosen)
    told = found[found["velocity"].notna()]
    if told.empty:
        reasons = found["reason"].dropna().unique()
        empty(release, table, ", ".join(reasons))
        return
    said = velocity_change(told, release.currency)
    if said:
        st.markdown(said)
    drawn = pd.DataFrame({"x": told["quarter"], "value": told["velocity"], "kind": "velocity"})
    chart_beside_table(
        release,
        bridges.lines(drawn, "Quarter", f"{release.currency} for a day of the cycle", named=False),
        found.drop(columns=["period_start"]).iloc[::-1],
        table,
        name="sales_velocity",
        alt_text=f"Velocity by quarter for {chosen.words}.",
        caption="Decided deals × win rate × mean won deal ÷ median cycle, all four over the same deals.",
        formats={"velocity": "%,.0f", "mean_amount": "%,.0f", "median_cycle_days": "%.0f"},
    )


def velocity_change(told: pd.DataFrame, currency: str) -> str:
    """What moved velocity most against the same quarter of the year before; the four parts multiply to the change.

    Args:
        told: rows of `velocity`, oldest first, all with a velocity.
    """
    now = told.iloc[-1]
    year_before = now["period_start"] - pd.DateOffset(years=1)
    earlier = told[told["period_start"] == year_before]
    if earlier.empty or not now["velocity"] or not earlier.iloc[0]["velocity"]:
        return ""
    then = earlier.iloc[0]
    change = now["velocity"] / then["velocity"] - 1
    weights = {
        name: math.log(now[name] / then[name]) * (-1 if name == "median_cycle_days" else 1) for name in VELOCITY_PARTS
    }
    name = max(weights, key=lambda part: weights[part] * math.copysign(1, change))
    moved = now[name] / then[name] - 1
    return (
        f"{now['quarter']} made {written(now['velocity'], 'money', currency)} for each day of its median cycle, "
        f"{abs(change) * 100:.0f} % {'more' if change > 0 else 'less'} than {then['quarter']} "
        f"({written(then['velocity'], 'money', currency)}). Most of it is {VELOCITY_PARTS[name]}: "
        f"{abs(moved) * 100:.0f} % {'up' if moved > 0 else 'down'} (n = {now['n']:,.0f} and {then['n']:,.0f} deals)."
    )


def _win_rates(release: Release, chosen: Chosen) -> None:
    table = "funnel.win_rates"
    st.subheader("What is won, and where")
    dimension = st.selectbox(
        "By", list(DIMENSIONS), format_func=lambda name: DIMENSIONS[name], key="funnel_by", bind="query-params"
    )
    found = win_rates(release, chosen, dimension)
    whole = win_rate_of_all(release)
    if found.empty or whole.empty:
        empty(release, table)
        return
    company = whole.iloc[0]
    rate = with_interval(company["win_rate"], company["win_rate_low"], company["win_rate_high"], n=company["n"])
    st.markdown(f"Of all decided deals {rate} are won. {_who_stands_apart(found, company['win_rate'], dimension)}")
    drawn = found.rename(
        columns={"member_name": "label", "win_rate": "value", "win_rate_low": "low", "win_rate_high": "high"}
    )
    if dimension == "owner":
        roles = found["role"].fillna("no job today").str.replace("_", " ")
        chart = bridges.coloured_rates(
            drawn[["label", "value", "low", "high", "n"]].assign(kind=roles),
            "Win rate",
            colours=dict(zip(roles.unique(), bridges.COLOURS, strict=False)),
            rule=company["win_rate"],
        )
    else:
        chart = bridges.rates(
            drawn[["label", "value", "low", "high", "n"]], "Win rate", rule=company["win_rate"], rule_is="company"
        )
    chart_beside_table(
        release,
        chart,
        found.drop(columns=["member"] if dimension == "owner" else ["member", "role"]),
        table,
        name=f"win_rates_by_{dimension}",
        alt_text=f"Win rate by {DIMENSIONS[dimension].lower()} with its 90 % interval: "
        + "; ".join(f"{row.label} {row.value:.0%} of {row.n:,.0f}" for row in drawn.itertuples())
        + ".",
        caption="All deals ever decided, those without a decision as not won. Dashed: the company."
        + (
            f" Left out: {company['left_out_count']:,.0f} won before a lost one is on record."
            if company["left_out_count"]
            else ""
        )
        + (f" The {MEMBERS_SHOWN} with most deals." if len(found) == MEMBERS_SHOWN else ""),
        labels={"member_name": DIMENSIONS[dimension]},
        formats={"mean_won_amount": "%,.0f", "median_cycle_days": "%.0f"},
    )


def _who_stands_apart(found: pd.DataFrame, company: float, dimension: str) -> str:
    """Whose interval does not reach the company's rate; of people only what can be compared."""
    if dimension == "owner":
        return (
            "Who renews wins more often than who sells anew: compare sellers within a role, and by the shrunk rate in "
            "the table."
        )
    if len(found) == 1:
        return f"There is one {DIMENSIONS[dimension].lower()} only: {escaped(found['member_name'].iloc[0])}."
    above = found[found["win_rate_low"] > company]
    below = found[found["win_rate_high"] < company]
    if not len(above) and not len(below):
        return f"No {DIMENSIONS[dimension].lower()} differs from that by more than chance."
    said = []
    if len(above):
        said.append(f"Clearly above: {listed(above['member_name'])}.")
    if len(below):
        said.append(f"Clearly below: {listed(below['member_name'].iloc[::-1])}.")
    if len(found) >= 10:
        said.append(f"Of {len(found)} such intervals about {len(found) / 10:.0f} lie apart by chance alone.")
    if dimension == "manager":
        said.append("Teams that renew win more often than teams that sell anew; compare like with like.")
    return " ".join(said)
