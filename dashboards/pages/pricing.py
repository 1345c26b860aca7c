"""Pricing: what is kept of list price, who discounts more than others on like deals, and which deals to talk about."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboards import bridges
from dashboards.filters import Chosen
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
from dashboards.sentences import counted, known, listed, of_whom, points, spoken, told_apart, with_interval

FILTERS = ("team", "segment", "period")
EXCEPTIONS_SHOWN, URGENT_SHOWN, MEMBERS_SHOWN, QUARTERS_SHOWN = 300, 5, 25, 9
BASES = {"booked": "won deals", "quoted": "open deals", "invoiced": "invoices, less credits"}
DIMENSIONS = {
    "segment": "Segment",
    "region": "Region",
    "product": "Product",
    "size_band": "Size of the deal",
    "seller": "Seller",
}
RULES = {
    "no_approval": "no approval",
    "approver_lacks_authority": "approver lacked authority",
    "above_approved_share": "more than approved",
    "approved_late": "approved after closing",
    "approved_after_quote": "approved after the quote",
    "unlike_others": "far above like deals",
    "nothing_in_return": "nothing in return",
    "no_reason": "no reason written down",
}
VERDICTS = {
    "above_like_deals": "more than others on like deals",
    "lift_at_period_end": "more at the end of quarters",
    "below_like_deals": "less than others on like deals",
    "as_like_deals": "no difference that matters",
    "not_compared": "stands beside nobody",
    "not_enough_data": "not enough data",
}
# Whose deals: each condition holds when nothing is asked for.
WITHIN = "(?::boolean or manager_id in (select unnest(?::varchar[]))) and (?::varchar is null or segment = ?)"
QUARTERS = "(select distinct quarter_name, quarter_start from core.calendar)"


def rule_name(rule: object) -> str:
    return RULES.get(str(rule), str(rule).replace("_", " "))


def realization(release: Release, chosen: Chosen, basis: str) -> pd.DataFrame:
    """One row per quarter up to the chosen one: what was kept of list price, company or segment."""
    dimension, member = ("segment", chosen.segment) if chosen.segment else ("company", "company")
    return release.rows(
        "select quarters.quarter_name as quarter, prices.price_realization, prices.price_realization_low, "
        "prices.price_realization_high, prices.deal_count, prices.line_count, prices.list_amount, prices.net_amount, "
        "prices.reason, prices.interval_reason, prices.period_start "
        f"from pricing.price_realization as prices inner join {QUARTERS} as quarters "
        "on prices.period_start = quarters.quarter_start where prices.period_type = 'quarter' and prices.basis = ? "
        "and prices.dimension = ? and prices.member = ? and prices.period_start <= ? "
        f"order by prices.period_start desc limit {QUARTERS_SHOWN}",
        (basis, dimension, member, chosen.period.start),
    )


def realization_by(release: Release, chosen: Chosen, basis: str, dimension: str) -> pd.DataFrame:
    """One row per member of a dimension in the chosen quarter, the largest by list price, the lowest price first."""
    within, parameters = "", [basis, dimension, chosen.period.start]
    if chosen.team and dimension == "seller":
        within = " and member in (select rep_id from core.reps where is_current and manager_id in (select unnest(?)))"
        parameters.append(list(chosen.managers))
    found = release.rows(
        "select * from (select member_name, price_realization, price_realization_low, price_realization_high, "
        "deal_count, line_count, list_amount, net_amount, interval_reason, member from pricing.price_realization "
        "where period_type = 'quarter' and basis = ? and dimension = ? and period_start = ? "
        f"and price_realization is not null{within} order by list_amount desc, member limit {MEMBERS_SHOWN}) "
        "as largest order by price_realization, member",
        parameters,
    )
    found["member_name"] = told_apart(found["member_name"], found["member"])
    return found


def discipline(release: Release, chosen: Chosen, scope_type: str) -> pd.DataFrame:
    """One row per scope of a kind that can be compared, the highest excess over like deals first."""
    within, parameters = "", [scope_type]
    if chosen.team and scope_type == "manager":
        within = " and scope_id in (select unnest(?))"
        parameters.append(list(chosen.managers))  # type: ignore[arg-type]
    if chosen.team and scope_type == "seller":
        within = " and scope_id in (select rep_id from core.reps where is_current and manager_id in (select unnest(?)))"
        parameters.append(list(chosen.managers))  # type: ignore[arg-type]
    found = release.rows(
        "select scope_name, verdict, excess, excess_low, excess_high, like_n, mean_discount, expected_discount, n, "
        "period_end_lift, period_end_lift_low, period_end_lift_high, late_n, other_n, within_authority_share, "
        "within_authority_share_low, within_authority_share_high, authority_n, reason_share, reason_n, dispersion, "
        "dispersion_of_like_deals, excess_reason, lift_reason, what_to_do, scope_id from pricing.discount_discipline "
        f"where scope_type = ? and n > 0{within} order by excess desc nulls last, n desc, scope_id "
        f"limit {MEMBERS_SHOWN}",
        parameters,
    )
    found["scope_name"] = told_apart(found["scope_name"], found["scope_id"])
    return found


def discipline_of(release: Release, chosen: Chosen) -> pd.DataFrame:
    """The row of the team, or of the company."""
    return release.rows(
        "select scope_name, verdict, n, mean_discount, discount_share, excess, excess_low, excess_high, like_n, "
        "period_end_lift, period_end_lift_low, period_end_lift_high, late_n, other_n, lift_reason, excess_reason, "
        "within_authority_share, within_authority_share_low, within_authority_share_high, authority_n, what_to_do, "
        "win_rate, break_even_win_rate, window_start, scope_id from pricing.discount_discipline "
        "where scope_type = ? and scope_id = ?",
        ("manager", chosen.team) if chosen.team else ("company", "company"),
    )


def exceptions_by_rule(release: Release, chosen: Chosen) -> pd.DataFrame:
    """One row per main reason: how many deals, how many of them still open, and what to do."""
    found = release.rows(
        "select main_reason, count(*) filter (where is_open) as open_count, count(*) filter (where not is_open) as "
        "won_count, sum(list_amount) as list_amount, sum(list_amount * discount_share) as discount_amount, "
        "any_value(what_is_wrong) as what_is_wrong, any_value(what_to_do) as what_to_do "
        f"from pricing.discount_exceptions where {WITHIN} group by main_reason "
        "order by count(*) desc, main_reason",
        _within(chosen),
    )
    found.insert(0, "rule", found["main_reason"].map(rule_name))
    return found


def exceptions(release: Release, chosen: Chosen, rule: str | None = None, which: str | None = None) -> pd.DataFrame:
    """The deals outside of policy that are asked for, open ones first: why, how it is seen, and what to do."""
    found = release.rows(
        "select opportunity_name, account_name, owner_name, is_open, discount_share, reasons, evidence, what_to_do, "
        "who_acts, what_is_wrong, expected_discount, own_authority, list_amount, region, segment, manager_name, "
        "coalesce(closed_on, close_date) as close_on, like_n, opportunity_id, main_reason "
        f"from pricing.discount_exceptions where {WITHIN} and (?::varchar is null or main_reason = ?) "
        "and (?::varchar is null or is_open = (? = 'open')) "
        "order by is_open desc, list_amount * discount_share desc nulls last, opportunity_id "
        f"limit {EXCEPTIONS_SHOWN}",
        [*_within(chosen), rule, rule, which, which],
    )
    found["reasons"] = [", ".join(map(rule_name, str(reasons).split(", "))) for reasons in found["reasons"]]
    found["opportunity_name"] = found["opportunity_name"].fillna(found["opportunity_id"])
    found["open"] = [link("deal", deal=deal) for deal in found["opportunity_id"]]
    return found.drop(columns=["opportunity_id", "main_reason"])


def lead(release: Release, chosen: Chosen) -> list[str]:
    """What the figures of the page say, most urgent first."""
    return spoken(
        _exceptions_sentence(release, chosen),
        _discipline_sentence(release, chosen),
        _realization_sentence(release, chosen),
    )


def show(release: Release, chosen: Chosen) -> None:
    st.title("Pricing")
    if not release.has("pricing.price_realization"):
        empty(release, "pricing.price_realization")
        return
    st.markdown("\n\n".join(lead(release, chosen)) or "Not enough data to say anything about prices.")
    _figures(release, chosen)
    parts = {
        "Exceptions": (_exceptions,),
        "Discipline": (_discipline,),
        "Ends of quarters": (_lift,),
        "List price": (_realization,),
    }
    in_tabs("pricing_part", parts, release, chosen)


def _within(chosen: Chosen) -> list[object]:
    return [chosen.team is None, list(chosen.managers), chosen.segment, chosen.segment]


def _exceptions_sentence(release: Release, chosen: Chosen) -> str:
    found = exceptions_by_rule(release, chosen)
    if found.empty:
        return f"No deal {of_whom(release, chosen)} is outside of the discount policy."
    open_count, won_count = int(found["open_count"].sum()), int(found["won_count"].sum())
    first = found.iloc[0]
    text = (
        f"**{counted(open_count + won_count, 'deal')}** {of_whom(release, chosen)} "
        f"{'is' if open_count + won_count == 1 else 'are'} outside of the discount policy"
    )
    if open_count:
        text += f"; **{open_count:,}** of them can still be put right, before the deal closes."
    else:
        text += "; none of them is open any more."
    return (
        f"{text} The most frequent reason is “{rule_name(first['main_reason'])}” "
        f"({first['open_count'] + first['won_count']:,.0f}): {escaped(first['what_to_do'])}."
    )


def _discipline_sentence(release: Release, chosen: Chosen) -> str:
    said = []
    for scope_type, words in (("region", "region"), ("manager", "manager"), ("seller", "seller")):
        if chosen.team and scope_type == "region":
            continue
        found = discipline(release, chosen, scope_type)
        for row in found[found["verdict"] == "above_like_deals"].head(2).to_dict("records"):
            said.append(
                f"The {words} **{escaped(row['scope_name'])}** gives {points(row['excess'])} more discount than others "
                f"do on like deals (90 %: {points(row['excess_low'])} to {points(row['excess_high'])}, "
                f"n = {row['like_n']:,.0f})."
            )
    own = discipline_of(release, chosen)
    if len(own) and known(own.iloc[0]["period_end_lift_low"]) and own.iloc[0]["period_end_lift_low"] > 0:
        late = own.iloc[0]
        said.append(
            f"In the last days of a quarter discounts are {points(late['period_end_lift'])} higher "
            f"(90 %: {points(late['period_end_lift_low'])} to {points(late['period_end_lift_high'])}; "
            f"{late['late_n']:,.0f} late deals, {late['other_n']:,.0f} others)."
        )
    seen = "" if release.viewer.sees is None else " that you may see"
    return " ".join(said) or (
        f"No {'' if chosen.team else 'region, '}manager or seller{seen} is shown to give more discount than others on "
        "like deals."
    )


def _realization_sentence(release: Release, chosen: Chosen) -> str:
    found = realization(release, chosen, "booked")
    found = found[found["price_realization"].notna()]
    if found.empty or found.iloc[0]["period_start"] != pd.Timestamp(chosen.period.start):
        return ""
    now = found.iloc[0]
    where = f"in {escaped(chosen.segment)}" if chosen.segment else "in the company"
    kept = with_interval(
        now["price_realization"], now["price_realization_low"], now["price_realization_high"], n=now["deal_count"]
    )
    text = f"{chosen.period.name} kept {kept} of list price {where}"
    before = found[found["period_start"] == now["period_start"] - pd.DateOffset(years=1)]
    if before.empty or not known(before.iloc[0]["price_realization_low"]) or not known(now["price_realization_low"]):
        return f"{text}."
    then = before.iloc[0]
    apart = (
        now["price_realization_low"] > then["price_realization_high"]
        or now["price_realization_high"] < then["price_realization_low"]
    )
    change = now["price_realization"] - then["price_realization"]
    return f"{text}, {points(change)} {'more' if change > 0 else 'less'} than {then['quarter']}" + (
        "." if apart else ", which may be chance."
    )


def _figures(release: Release, chosen: Chosen) -> None:
    table = "pricing.discount_discipline"
    prices, own = realization(release, chosen, "booked"), discipline_of(release, chosen)
    now = prices[prices["period_start"] == pd.Timestamp(chosen.period.start)]
    found = exceptions_by_rule(release, chosen)
    row = own.iloc[0] if len(own) else None
    places = in_row(4)
    with places[0]:
        figure(
            release,
            "Kept of list price",
            now.iloc[0]["price_realization"] if len(now) else None,
            "pricing.price_realization",
            "price_realization",
            "percent",
            low=now.iloc[0]["price_realization_low"] if len(now) else None,
            high=now.iloc[0]["price_realization_high"] if len(now) else None,
            n=int(now.iloc[0]["deal_count"]) if len(now) else None,
            note=chosen.period.name if len(now) else f"nothing with a list price was won in {chosen.period.name}",
        )
    with places[1]:
        figure(
            release,
            "Open, out of policy",
            int(found["open_count"].sum()),
            "pricing.discount_exceptions",
            "is_open",
            "count",
            note=f"and {int(found['won_count'].sum()):,} won"
            + ("" if row is None else f" since {written(row['window_start'], 'date')}"),
        )
    with places[2]:
        figure(
            release,
            "Within authority",
            None if row is None else row["within_authority_share"],
            table,
            "within_authority_share",
            "percent",
            low=None if row is None else row["within_authority_share_low"],
            high=None if row is None else row["within_authority_share_high"],
            n=None if row is None else int(row["authority_n"]),
        )
    with places[3]:
        figure(
            release,
            "Quarter-end lift",
            None if row is None else row["period_end_lift"],
            table,
            "period_end_lift",
            "percent",
            low=None if row is None else row["period_end_lift_low"],
            high=None if row is None else row["period_end_lift_high"],
            n=None if row is None else int(row["late_n"]),
            note="" if row is None or not known(row["lift_reason"]) else str(row["lift_reason"]),
        )


def _exceptions(release: Release, chosen: Chosen) -> None:
    table = "pricing.discount_exceptions"
    st.subheader("Which deals are outside of policy, and what to do")
    found = exceptions_by_rule(release, chosen)
    if found.empty:
        if release.has("pricing.discount_discipline"):
            st.markdown(f"There is no deal {of_whom(release, chosen)} outside of it. {definition_link(table)}")
        else:
            empty(release, table)
        return
    drawn = found.melt("rule", ["open_count", "won_count"], "kind", "value").rename(columns={"rule": "label"})
    drawn["kind"] = drawn["kind"].map({"open_count": "open", "won_count": "won"})
    chart_beside_table(
        release,
        bridges.bars(
            drawn, "Deals, by their main reason", colours={"open": bridges.RED, "won": bridges.LIGHT}, form=",.0f"
        ),
        found.drop(columns=["main_reason"]),
        table,
        name="exceptions_by_reason",
        alt_text="Deals outside of policy by main reason: "
        + "; ".join(f"{row.rule} {row.open_count} open and {row.won_count} won" for row in found.itertuples())
        + ".",
        caption="Red: still open. Each deal counts once, under its gravest reason.",
        labels={"discount_amount": "Given away", "open_count": "Open", "won_count": "Won"},
    )
    urgent = exceptions(release, chosen, which="open").head(URGENT_SHOWN)
    if len(urgent):
        st.markdown("**Open, and can be put right now:**")
        st.markdown(
            "\n".join(
                f"- [{escaped(row['opportunity_name'])}]({row['open']}), {escaped(row['who_acts'])}: "
                f"{escaped(row['what_is_wrong']).lower()}; {escaped(row['evidence'])}. {escaped(row['what_to_do'])}."
                for row in urgent.to_dict("records")
            )
        )
    places = st.columns(2)
    rules = dict(zip(found["main_reason"], found["rule"], strict=True))
    with places[0]:
        rule = st.selectbox(
            "Main reason",
            [None, *rules],
            format_func=lambda key: rules.get(key, "All reasons"),
            key="price_rule",
            bind="query-params",
        )
    with places[1]:
        which = st.selectbox(
            "Open or won",
            [None, "open", "won"],
            format_func=lambda key: f"Only {key}" if key else "Both",
            key="price_open",
            bind="query-params",
        )
    rows = exceptions(release, chosen, rule, which)
    if rows.empty:
        st.markdown("No deal of that kind.")
        return
    more = f": the {EXCEPTIONS_SHOWN} that gave away most" if len(rows) == EXCEPTIONS_SHOWN else ""
    st.caption(f"{counted(len(rows), 'deal')}, open ones first{more}. {definition_link(table)}")
    show_table(
        release,
        rows,
        table,
        name="discount_exceptions",
        links={"open": "open the deal"},
        formats={"expected_discount": "percent", "own_authority": "percent"},
    )


def _discipline(release: Release, chosen: Chosen) -> None:
    table = "pricing.discount_discipline"
    st.subheader("Who gives more than others on like deals")
    kinds = {"region": "Region", "manager": "Manager", "seller": "Seller"}
    scope_type = st.selectbox(
        "Compared", list(kinds), format_func=lambda key: kinds[key], key="price_scope", bind="query-params"
    )
    found = discipline(release, chosen, scope_type)
    told = found[found["excess"].notna()]
    if told.empty:
        reasons = found["excess_reason"].dropna().unique()
        why = f"By {kinds[scope_type].lower()}: {', '.join(reasons)}." if len(reasons) else ""
        empty(release, table, why)
        return
    above = told[told["verdict"] == "above_like_deals"]
    if len(above):
        st.markdown(f"{listed(above['scope_name'])}: {escaped(above['what_to_do'].iloc[0])}. {definition_link(table)}")
    else:
        st.markdown(f"Nobody is shown to give more. {definition_link(table)}")
    if chosen.segment:
        st.caption(
            f"Told by region, manager and seller, over all segments; what {escaped(chosen.segment)} keeps of list "
            "price is below."
        )
    silent = len(found) - len(told)
    chart_beside_table(
        release,
        bridges.rates(
            pd.DataFrame(
                {
                    "label": told["scope_name"],
                    "value": told["excess"],
                    "low": told["excess_low"],
                    "high": told["excess_high"],
                    "n": told["like_n"],
                }
            ),
            "Discount above like deals of others",
            form=".1%",
            rule=0.0,
            rule_is="as others",
        ),
        found.drop(columns=["scope_id"]).assign(verdict=found["verdict"].map(lambda name: VERDICTS.get(name, name))),
        table,
        name="discount_discipline",
        labels={"scope_name": "Name"},
        alt_text="Mean discount above that of like deals of others: "
        + "; ".join(f"{row.scope_name} {row.excess:+.1%}" for row in told.itertuples())
        + ".",
        caption="Like in segment, size, term and product; no renewals. One interval in ten lies off by chance."
        + (f" {counted(silent, kinds[scope_type].lower())} with too few deals." if silent else ""),
        formats=dict.fromkeys(
            [
                *(f"{name}{end}" for name in ("excess", "period_end_lift") for end in ("", "_low", "_high")),
                *("mean_discount", "expected_discount", "dispersion", "dispersion_of_like_deals"),
            ],
            "percent",
        ),
    )


def _lift(release: Release, chosen: Chosen) -> None:
    table = "pricing.discount_discipline"
    st.subheader("What the end of a quarter costs")
    own = discipline_of(release, chosen).assign(kind="all")
    parts = [own, *(discipline(release, chosen, kind).assign(kind=kind) for kind in ("region", "manager"))]
    if chosen.team:
        parts.pop(1)
    columns = [
        "scope_name", "kind", "period_end_lift", "period_end_lift_low", "period_end_lift_high", "late_n", "other_n",
        "scope_id",
    ]  # fmt: skip
    rows = pd.concat([part.reindex(columns=columns) for part in parts if len(part)] or [own.reindex(columns=columns)])
    rows = rows.drop_duplicates("scope_id", ignore_index=True)
    told = rows[rows["period_end_lift"].notna()]
    if told.empty:
        empty(release, table, "Too few deals were won at the end of quarters, or at other times.")
        return
    clear = told[told["period_end_lift_low"] > 0]
    st.markdown(
        (
            f"{listed(clear['scope_name'], 6)}: more discount in the last days of a quarter, beyond chance. Take the "
            "prices of deals due then to approval two weeks ahead."
            if len(clear)
            else "No more discount is shown in the last days of a quarter than at other times."
        )
        + f" {definition_link(table, 'period_end_lift')}"
    )
    chart_beside_table(
        release,
        bridges.rates(
            pd.DataFrame(
                {
                    "label": told["scope_name"],
                    "value": told["period_end_lift"],
                    "low": told["period_end_lift_low"],
                    "high": told["period_end_lift_high"],
                    "n": told["late_n"],
                }
            ),
            "Discount at the end of quarters above that at other times",
            form=".1%",
            rule=0.0,
            rule_is="no lift",
        ),
        told.drop(columns=["scope_id"]),
        table,
        name="quarter_end_lift",
        labels={"scope_name": "Name", "late_n": "Late deals", "other_n": "Others"},
        alt_text="Discount in the last days of quarters above that at other times: "
        + "; ".join(f"{row.scope_name} {row.period_end_lift:+.1%}" for row in told.itertuples())
        + ".",
        caption="Both held against like deals, so that other deals at the end of quarters do not make the difference.",
        formats=dict.fromkeys(["period_end_lift", "period_end_lift_low", "period_end_lift_high"], "percent"),
    )


def _realization(release: Release, chosen: Chosen) -> None:
    table = "pricing.price_realization"
    st.subheader("What is kept of list price")
    if chosen.team:
        st.caption("Told for the company, segments and sellers; of sellers those of the team are shown.")
    places = st.columns(2)
    with places[0]:
        basis = st.selectbox(
            "Of", list(BASES), format_func=lambda key: BASES[key], key="price_basis", bind="query-params"
        )
    with places[1]:
        dimension = st.selectbox(
            "Price by", list(DIMENSIONS), format_func=lambda key: DIMENSIONS[key], key="price_by", bind="query-params"
        )
    found = realization(release, chosen, basis)
    told = found[found["price_realization"].notna()].iloc[::-1]
    if told.empty:
        empty(release, table, f"No priced line of {BASES[basis]}.")
        return
    chart_beside_table(
        release,
        bridges.band(
            told.rename(
                columns={
                    "quarter": "x",
                    "price_realization": "value",
                    "price_realization_low": "low",
                    "price_realization_high": "high",
                    "deal_count": "n",
                }
            )[["x", "value", "low", "high", "n"]],
            "Kept of list price",
        ),
        found.drop(columns=["period_start"]),
        table,
        name="price_realization",
        alt_text=f"Share of list price kept, {BASES[basis]}: "
        + "; ".join(f"{row.quarter} {row.price_realization:.1%}" for row in told.itertuples())
        + ".",
        caption=f"{escaped(chosen.segment or 'The company')}, {BASES[basis]}; weighed by money."
        " One large deal moves it.",
        formats=dict.fromkeys(["price_realization", "price_realization_low", "price_realization_high"], "percent"),
    )
    by = realization_by(release, chosen, basis, dimension)
    st.markdown(f"**By {DIMENSIONS[dimension].lower()}, {chosen.period.name}**")
    if by.empty:
        empty(release, table, f"No priced line of {BASES[basis]} in {chosen.period.name}.")
        return
    chart_beside_table(
        release,
        bridges.rates(
            pd.DataFrame(
                {
                    "label": by["member_name"],
                    "value": by["price_realization"],
                    "low": by["price_realization_low"],
                    "high": by["price_realization_high"],
                    "n": by["deal_count"],
                }
            ),
            "Kept of list price",
        ),
        by.drop(columns=["member"]),
        table,
        name="price_realization_by",
        labels={"member_name": DIMENSIONS[dimension]},
        alt_text=f"Share of list price kept by {DIMENSIONS[dimension].lower()}: "
        + "; ".join(f"{row.member_name} {row.price_realization:.1%}" for row in by.itertuples())
        + ".",
        caption="Lowest first; a point without a line rests on too few deals for an interval."
        + (f" The {MEMBERS_SHOWN} with the largest list amount." if len(by) == MEMBERS_SHOWN else ""),
        formats=dict.fromkeys(["price_realization", "price_realization_low", "price_realization_high"], "percent"),
    )
