"""Draws the picture of each page under docs/marts/ from a release: `python docs/pictures.py RELEASE.duckdb FOLDER`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import altair as alt
import duckdb
import pandas as pd

from dashboards.charts import (
    BLUE,
    GREEN,
    GREY,
    RED,
    WIDTH,
    YELLOW,
    Chart,
    curve,
    gap_split,
    intervals,
    of_unit,
    percent,
    table,
)

Query = Callable[[str], pd.DataFrame]


def quota_attainment(query: Query) -> Chart:
    frame = query(
        """
        select strftime(period_start, '%Y-%m') as x, at_quota_share as value,
            at_quota_share_low as low, at_quota_share_high as high
        from people.quota_attainment
        where scope_type = 'company' and period_type = 'quarter' and is_complete and roll_up_reason is null
        order by period_start
        """
    )
    return curve(frame, "Quarter from", "Sellers at quota", "How many sellers reach their quota?")


def rep_diagnosis(query: Query) -> Chart:
    frame = query(
        """
        with one as (
            select seller_id, seller_name, gap_amount, replace(factor, '_', ' ') as top from people.rep_diagnosis
            where is_top and is_clear order by own_amount, seller_id limit 1
        ),
        parts as (
            unpivot (
                select seller_id, factor, factor_order, own_amount as own, mix_amount as "accounts and deals",
                    chance_amount as chance
                from people.rep_diagnosis
            )
            on own, "accounts and deals", chance into name kind value amount
        )
        select replace(factor, '_', ' ') as factor, kind, amount, one.*
        from parts join one using (seller_id) order by factor_order, kind
        """
    )
    title = f"{frame.seller_name[0]}: {frame.gap_amount[0]:,.0f} against peers, split to the cent"
    subtitle = f"Red is the seller's own part. To work on: {frame.top[0]}."
    return gap_split(frame, title, subtitle)


def rep_ramp(query: Query) -> Chart:
    parts = " union all ".join(
        f"select name, week, '{words}' as label, {name}_count as value, {name}_band_low as low, "
        f"{name}_band_high as high, {name}_band_middle as norm from one"
        for name, words in (("meetings", "Meetings held"), ("opened", "Deals opened"), ("won", "Deals won"))
    )
    frame = query(
        f"""
        with one as (
            select * from people.rep_ramp
            where gap_measure is not null and meetings_band_middle is not null and opened_band_middle is not null
            order by week desc, rep_id limit 1
        )
        {parts}
        """
    )
    title = f"{frame.name[0]} after {frame.week[0]} weeks, beside earlier hires at that week"
    marks = "Point: this seller. Line: middle half of earlier hires."
    return intervals(frame, "Count so far", title, percent=False, norm_is="their middle", marks=marks)


def ramp_curves(query: Query) -> Chart:
    frame = query(
        """
        select month as x, reached_share as value, reached_share_low as low, reached_share_high as high, median_months
        from people.ramp_curves
        where cohort_type = 'company' and milestone = 'productive' and reason is null
        order by month
        """
    )
    half = "" if pd.isna(frame.median_months[0]) else f": half by month {frame.median_months[0]:.0f}"
    return curve(frame, "Months since hire", "Productive", f"New sellers who are productive{half}")


def manager_coaching(query: Query) -> Chart:
    frame = query(
        """
        select manager_name as label, hero_dependency as value, hero_dependency_low as low,
            hero_dependency_high as high, others_hero_dependency as norm
        from people.manager_coaching
        where hero_dependency is not null and coaching_n > 0
        order by hero_dependency desc, manager_id
        """
    )
    title = "Deals that a manager came to save"
    return intervals(frame, "Share of the team's won amount", title, norm_is="the other managers together")


def manager_deals(query: Query) -> Chart:
    frame = query(
        """
        with one as (
            select manager_id from people.manager_coaching order by hero_dependency desc nulls last, manager_id limit 1
        )
        select manager_name, days_at_meeting / life_days as value, won_on,
            case when is_hero then involvement else 'no rescue' end as kind
        from people.manager_deals join one using (manager_id)
        where met_on is not null and life_days > 0
        order by won_on, opportunity_id
        """
    )
    kinds = alt.Scale(domain=["late", "after flag", "taken over", "no rescue"], range=[RED, YELLOW, BLUE, GREY])
    points = (
        alt.Chart(frame)
        .mark_point(filled=True, size=60, opacity=0.9)
        .encode(
            x=alt.X("won_on:T", title="Won on", axis=alt.Axis(format="%Y-%m")),
            y=alt.Y("value:Q", title="Deal's life over when first met", axis=alt.Axis(format=".0%")),
            color=alt.Color("kind:N", title=None, scale=kinds),
        )
    )
    title = f"When {frame.manager_name[0]} first met the buyer"
    return points.properties(width=WIDTH - 150, height=220, title=alt.Title(title, anchor="start"))


def price_realization(query: Query) -> Chart:
    frame = query(
        """
        with told as (
            select * from pricing.price_realization
            where basis = 'booked' and period_type = 'all' and price_realization is not null
        )
        select member_name as label, price_realization as value, price_realization_low as low,
            price_realization_high as high, (select price_realization from told where dimension = 'company') as norm
        from told where dimension = 'product' order by price_realization, member
        """
    )
    title = "Price realization of won deals by product"
    return intervals(frame, "Paid of each unit of list price", title, zero=False, norm_is="the company")


def discount_discipline(query: Query) -> Chart:
    frame = query(
        """
        select scope_type || ' ' || scope_name as label, period_end_lift as value, period_end_lift_low as low,
            period_end_lift_high as high, 0.0 as norm
        from pricing.discount_discipline
        where scope_type in ('region', 'manager') and period_end_lift is not null
        order by scope_type desc, period_end_lift desc, scope_id
        """
    )
    title = "Discounts in the last days of the quarter"
    return intervals(frame, "Points of discount more than earlier in the quarter", title, norm_is="no difference")


def discount_exceptions(query: Query) -> Chart:
    frame = query(
        "select opportunity_name as Deal, owner_name as Owner, "
        "printf('%.1f %%', 100 * discount_share) as Discount, what_is_wrong as Why, what_to_do as \"What to do\" "
        "from pricing.discount_exceptions order by reason_count desc, list_amount desc, opportunity_id limit 4"
    )
    return table(frame, [22, 18, 11, 40, 40], "Deals outside policy, and why")


def world_class_metrics(query: Query) -> Chart:
    frame = query("from scorecard.world_class_metrics where is_headline order by metric_order")
    shown = pd.DataFrame({"Metric": frame.name})
    for name, column in (("Now", "value"), ("Before", "previous_value"), ("Target", "target")):
        shown[name] = [of_unit(value, unit) for value, unit in zip(frame[column], frame.unit, strict=True)]
    shown["Published"] = [
        "–" if pd.isna(low) else f"{percent(low)}" if low == high else f"{percent(low)} to {percent(high)}"
        for low, high in zip(frame.benchmark_low, frame.benchmark_high, strict=True)
    ]
    shown["Direction"] = frame.direction.str.replace("_", " ")
    shown["Target is"] = frame.target_standing.str.replace("_", " ")
    return table(shown, [30, 10, 10, 10, 16, 18, 14], "The six metrics, headlines")


def behaviours(query: Query) -> Chart:
    frame = query("from scorecard.behaviours order by behaviour_order")
    colours = frame.status.map({"met": GREEN, "partly": YELLOW, "not_met": RED, "not_enough_data": GREY})
    shown = pd.DataFrame(
        {"Status": frame.status.str.replace("_", " "), " ": frame.behaviour, "The organisation": frame.name}
    )
    shown["Value"] = [of_unit(value, unit) for value, unit in zip(frame.value, frame.unit, strict=True)]
    shown["90 % interval"] = [
        "–" if pd.isna(low) or pd.isna(high) else f"{of_unit(low, unit)} to {of_unit(high, unit)}"
        for low, high, unit in zip(frame.value_low, frame.value_high, frame.unit, strict=True)
    ]
    shown["Met at"] = [of_unit(value, unit) for value, unit in zip(frame.met_at, frame.unit, strict=True)]
    shown["n"] = frame.n
    return table(shown, [17, 5, 44, 12, 24, 10, 6], "The 24 behaviours", colours=colours)


def specialist_engagement(query: Query) -> Chart:
    frame = query(
        """
        select coalesce(name, user_id) as label, days_to_help as value, days_to_help_low as low,
            days_to_help_high as high, others_days_to_help as norm
        from people.specialist_engagement
        where function = 'technical' and user_id != 'all' and stage = 'all' and days_to_help is not null
        order by days_to_help desc, user_id
        """
    )
    title = "How long deals wait for each technical specialist"
    return intervals(frame, "Days from asking to help, median", title, percent=False, norm_is="the others together")


def sales_ops_service(query: Query) -> Chart:
    frame = query(
        """
        select replace(function, '_', ' ') || ' ' || strftime(period_start, '%Y-%m') as label, in_target_share as value,
            in_target_share_low as low, in_target_share_high as high
        from people.sales_ops_service
        where period_type = 'quarter' and in_target_share is not null
        qualify row_number() over (partition by function order by period_start desc) <= 4
        order by function, period_start
        """
    )
    return intervals(frame, "Requests answered within the target days", "Services to sellers, by quarter", zero=False)


def talent(query: Query) -> Chart:
    frame = query(
        """
        select seller_name as Name, track as Track, replace(verdict, '_', ' ') as Verdict, above_count as Above,
            below_count as Below, not_told_count as "Not told", next_opportunity as "What to offer"
        from people.talent where verdict = 'high_potential' order by track, seller_id limit 6
        """
    )
    return table(frame, [20, 9, 17, 8, 8, 10, 56], "High potentials on the two tracks")


def talent_criteria(query: Query) -> Chart:
    frame = query(
        """
        select criteria.* from people.talent_criteria as criteria
        join people.talent using (seller_id, track)
        where talent.verdict = 'high_potential'
        qualify dense_rank() over (order by track desc, seller_id) = 1
        order by criterion_order
        """
    )
    shown = pd.DataFrame({"Criterion": frame.criterion.str.replace("_", " ")})
    for name, column in (("Value", "value"), ("From", "value_low"), ("To", "value_high"), ("Norm", "norm")):
        shown[name] = ["–" if pd.isna(value) else f"{value:,.2f}" for value in frame[column]]
    shown["n"] = ["–" if pd.isna(n) else f"{n:,.0f}" for n in frame.n]
    shown["Verdict"] = frame.verdict.str.replace("_", " ")
    title = f"{frame.seller_name[0]}: the evidence on the {frame.track[0]} track"
    return table(shown, [24, 9, 9, 9, 9, 7, 18], title)


def role_fit(query: Query) -> Chart:
    frame = query(
        """
        with one as (
            select seller_id, role from people.role_fit where verdict = 'misfit'
            order by n desc, seller_id limit 1
        )
        select replace(motion, '_', ' ') as label, win_rate as value, win_rate_low as low, win_rate_high as high,
            expected_win_rate as norm, seller_name, replace(one.role, '_', ' ') as role
        from people.role_fit join one using (seller_id)
        where win_rate is not null
        order by motion_type, motion
        """
    )
    title = f"{frame.seller_name[0]}, {frame.role[0]}: deals won in each motion"
    return intervals(frame, "Win rate", title, norm_is="what all sellers make of like deals")


def career_path(query: Query) -> Chart:
    frame = query(
        """
        select person_name as Name, replace(role, '_', ' ') as Job, level as Level,
            replace(verdict, '_', ' ') as Verdict, met_count || ' of ' || criteria_count as Met,
            round(months_in_level) as Months, what_to_do as "What to do"
        from people.career_path where verdict != 'no_next_level'
        qualify row_number() over (partition by verdict order by months_in_level desc, person_id) <= 2
        order by verdict desc, months_in_level desc
        """
    )
    frame["Months"] = frame.Months.map("{:.0f}".format)
    return table(frame, [20, 19, 7, 17, 9, 8, 56], "Where people stand on the way to the next level")


def career_criteria(query: Query) -> Chart:
    frame = query(
        """
        select * from people.career_criteria
        where person_id = (
            select person_id from people.career_path where verdict = 'not_yet' and met_count > 0
            order by months_in_level desc, person_id limit 1
        )
        order by criterion_order
        """
    )
    shown = pd.DataFrame(
        {"Criterion": frame.criterion.str.replace("_", " "), "Status": frame.status.str.replace("_", " ")}
    )
    for name, column in (("Value", "value"), ("From", "value_low"), ("To", "value_high"), ("Asked for", "threshold")):
        shown[name] = ["–" if pd.isna(value) else f"{value:,.2f}" for value in frame[column]]
    shown["What to do"] = frame.what_to_do.fillna("–")
    return table(shown, [24, 17, 9, 9, 9, 11, 50], f"{frame.person_name[0]}: what the next level asks for")


def best_practices(query: Query) -> Chart:
    frame = query(
        """
        select replace(practice, '_', ' ') as label, effect as value, strict_low as low, strict_high as high,
            0.0 as norm
        from people.best_practices where segment = 'all' and effect is not null
        order by effect desc, practice_rank
        """
    )
    title = "What early practices go with, in points of win rate"
    axis, marks = (
        "Win rate with it less that of like deals without",
        "Line: interval that allows for as many practices.",
    )
    return intervals(frame, axis, title, norm_is="no difference", marks=marks)


def coaching_plan(query: Query) -> Chart:
    frame = query(
        """
        select * from people.coaching_plan where source = 'diagnosis' and linked_count > 0
        order by linked_count desc, seller_id limit 1
        """
    )
    plan = frame.iloc[0]
    deals = [plan[f"opportunity_{number}_name"] for number in (1, 2, 3)]
    lines = {
        "Work on": plan.focus,
        "Evidence": plan.evidence,
        "Do": plan.behaviour,
        "Practise": plan.practice,
        "Ask": plan.coaching_question,
        "On": ", ".join(name for name in deals if name),
        "With": plan.manager_name,
        "Next check": f"{plan.next_check_on:%d %B %Y}",
        "It worked when": plan.known_by,
    }
    shown = pd.DataFrame({" ": lines.keys(), "Plan": lines.values()})
    return table(shown, [17, 84], f"{plan.seller_name}: one gap, one behaviour, one date")


PICTURES: dict[str, Callable[[Query], Chart]] = {
    "people.best_practices": best_practices,
    "people.career_criteria": career_criteria,
    "people.career_path": career_path,
    "people.coaching_plan": coaching_plan,
    "people.manager_coaching": manager_coaching,
    "people.manager_deals": manager_deals,
    "people.quota_attainment": quota_attainment,
    "people.ramp_curves": ramp_curves,
    "people.rep_diagnosis": rep_diagnosis,
    "people.rep_ramp": rep_ramp,
    "people.role_fit": role_fit,
    "people.sales_ops_service": sales_ops_service,
    "people.specialist_engagement": specialist_engagement,
    "people.talent": talent,
    "people.talent_criteria": talent_criteria,
    "pricing.discount_discipline": discount_discipline,
    "pricing.discount_exceptions": discount_exceptions,
    "pricing.price_realization": price_realization,
    "scorecard.behaviours": behaviours,
    "scorecard.world_class_metrics": world_class_metrics,
}


def main(release: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(str(release), read_only=True) as connection:
        for name, draw in PICTURES.items():
            chart = draw(lambda sql: connection.execute(sql).df()).configure(
                background="white", font="Liberation Sans, Arial, Helvetica, sans-serif"
            )
            chart.configure_view(stroke=None).save(folder / f"{name}.svg")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
