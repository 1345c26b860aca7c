"""Reconciliation: what finance does not confirm and who must act, the bridge from bookings to billing, and the cash."""

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
from dashboards.sentences import counted, known, listed, of_whom, spoken

FILTERS = ("team", "segment", "period")
BREAKS_SHOWN, ITEMS_SHOWN, URGENT_SHOWN, QUARTERS_SHOWN = 500, 25, 3, 8
LINES = {
    "bookings": "Booked in CRM",
    "matched": "Matched, small differences",
    "timing_difference": "Billed late or early",
    "currency_difference": "Billed in another currency",
    "amount_mismatch": "Another amount billed",
    "credited": "Credited",
    "duplicate_in_finance": "Billed twice",
    "missing_in_finance": "Never billed",
    "awaiting_invoice": "Not billed yet, in time",
    "partly_billed": "Instalments to come",
    "missing_in_crm": "Billed without a deal",
    "lost_in_crm_but_billed": "Billed, but not won in CRM",
    "missing_rate": "No exchange rate",
    "other_period": "Billed in another period",
    "fx_difference": "Exchange rates",
    "finance": "Billed by finance",
}
OWNERS = {
    "finance": "Finance",
    "sales_operations": "Sales operations",
    "deal_owners": "Owners of deals or their managers",
}
QUARTERS = "(select distinct quarter_name, quarter_start from core.calendar)"
# Whose rows, and which of them: each condition holds when nothing is asked for. Those of a team are the deals its
# managers had on the day they closed; a document without a deal is in no team and no segment.
WITHIN = (
    "is_break and (?::boolean or opportunity_id in (select opportunity_id from core.opportunities "
    "where manager_id in (select unnest(?::varchar[])))) and (?::varchar is null or segment = ?)"
)


def line_name(line: object) -> str:
    return LINES.get(str(line), str(line).replace("_", " ").capitalize())


def breaks_by_status(release: Release, chosen: Chosen) -> pd.DataFrame:
    """One row per kind of break: how many there are, what differs at one rate, how old, and what to do."""
    found = release.rows(
        "select status, count(*) as break_count, sum(abs(amount_difference)) as differing_amount, "
        "sum(amount_difference) as finance_less_crm_amount, max(age_days) as oldest_days, "
        "count(*) filter (where age_band = 'over 90') as over_90_days_count, "
        "any_value(what_is_wrong) as what_is_wrong, any_value(what_to_do) as what_to_do "
        f"from reconciliation.booking_to_billing where {WITHIN} group by status "
        "order by differing_amount desc nulls first, status",
        _within(chosen),
    )
    found.insert(0, "kind", found["status"].map(line_name))
    return found


def breaks_by_owner(release: Release, chosen: Chosen) -> pd.DataFrame:
    """One row per function that must act: how many breaks, and with how many people they lie."""
    return release.rows(
        "select case when owner in ('finance', 'sales_operations') then owner else 'deal_owners' end as acts, "
        "count(*) as break_count, count(distinct owner) as owner_count, "
        "sum(abs(amount_difference)) as differing_amount "
        f"from reconciliation.booking_to_billing where {WITHIN} group by acts order by break_count desc, acts",
        _within(chosen),
    )


def breaks(
    release: Release, chosen: Chosen, status: str | None = None, acts: str | None = None, age: str | None = None
) -> pd.DataFrame:
    """The breaks that are asked for, those that differ most first: what is wrong, who must act, since when."""
    found = release.rows(
        "select status, owner, age_days, account_name, opportunity_name, amount_difference, what_is_wrong, what_to_do, "
        "crm_amount, finance_amount, fx_difference, age_band, booked_on, row_type, row_id, invoice_id, opportunity_id "
        f"from reconciliation.booking_to_billing where {WITHIN} and (?::varchar is null or status = ?) "
        "and (?::varchar is null or age_band = ?) and (?::varchar is null or "
        "case when owner in ('finance', 'sales_operations') then owner else 'deal_owners' end = ?) "
        f"order by abs(amount_difference) desc nulls first, age_days desc, row_id limit {BREAKS_SHOWN}",
        [*_within(chosen), status, status, age, age, acts, acts],
    )
    found["open"] = [
        link("deal", deal=deal) if row_type == "deal" else None
        for deal, row_type in zip(found["opportunity_id"], found["row_type"], strict=True)
    ]
    found["status"] = found["status"].map(line_name)
    return found.drop(columns=["opportunity_id"])


def currencies(release: Release) -> list[tuple[str, str]]:
    """What the bridge can be read in: all at once in the reporting currency, then each currency as entered."""
    found = release.rows(
        "select distinct currency_basis, currency from reconciliation.booking_bridge order by currency_basis, currency"
    )
    return list(zip(found["currency_basis"], found["currency"], strict=True))


def bridge(release: Release, chosen: Chosen, basis: str, currency: str) -> pd.DataFrame:
    """One row per line, from what was booked in the quarter to what was billed in it."""
    found = release.rows(
        "select line, amount, row_count from reconciliation.booking_bridge where period_type = 'quarter' "
        "and period_start = ? and currency_basis = ? and currency = ? order by line_order",
        (chosen.period.start, basis, currency),
    )
    found.insert(1, "label", found["line"].map(line_name))
    found["is_total"] = found["line"].isin(["bookings", "finance"])
    return found


def left_over(release: Release, chosen: Chosen, basis: str, currency: str) -> float | None:
    """What bookings and lines lack to finance, counted in decimals: 0 when the bridge ties to the cent."""
    value = release.value(
        "select sum(case line when 'finance' then -amount else amount end) from reconciliation.booking_bridge "
        "where period_type = 'quarter' and period_start = ? and currency_basis = ? and currency = ?",
        (chosen.period.start, basis, currency),
    )
    return None if value is None else float(value)


def items(release: Release, chosen: Chosen, basis: str, currency: str, line: str) -> pd.DataFrame:
    """The largest deals and documents behind one line of the bridge."""
    return release.rows(
        "select items.row_type, items.row_id, told.opportunity_name, told.account_name, told.status, items.amount, "
        "told.booked_on, told.first_invoice_on from reconciliation.bridge_items as items "
        "left join reconciliation.booking_to_billing as told "
        "on items.row_type = told.row_type and items.row_id = told.row_id "
        "where items.period_type = 'quarter' and items.period_start = ? and items.currency_basis = ? "
        "and items.currency = ? and items.line = ? and items.amount != 0 "
        f"order by abs(items.amount) desc, items.row_type, items.row_id limit {ITEMS_SHOWN}",
        (chosen.period.start, basis, currency, line),
    )


def to_billing(release: Release, chosen: Chosen) -> pd.DataFrame:
    """One row per quarter up to the chosen one: what was called, booked, billed for that, and paid."""
    found = release.rows(
        "select quarters.quarter_name as quarter, money.opening_commit_amount, money.commit_amount, "
        "money.booked_amount, money.billed_amount, money.paid_amount, money.booked_share, money.billed_share, "
        "money.paid_share, money.booked_count, money.unbooked_amount, money.missing_rate_count, money.is_complete, "
        "money.reason, money.period_start "
        f"from reconciliation.forecast_to_billing as money inner join {QUARTERS} as quarters "
        "on money.period_start = quarters.quarter_start where money.period_type = 'quarter' "
        f"and money.period_start <= ? order by money.period_start desc limit {QUARTERS_SHOWN}",
        (chosen.period.start,),
    )
    return found


def lead(release: Release, chosen: Chosen) -> list[str]:
    """What the figures of the page say, most urgent first."""
    return spoken(
        _breaks_sentence(release, chosen),
        _owners_sentence(release, chosen),
        _money_sentence(release, chosen),
    )


def show(release: Release, chosen: Chosen) -> None:
    st.title("Reconciliation")
    table = "reconciliation.booking_to_billing"
    if not release.has("reconciliation.booking_bridge"):
        empty(release, table)
        return
    st.markdown("\n\n".join(lead(release, chosen)) or "Not enough data to say anything about billing.")
    _figures(release, chosen)
    parts = {"Breaks": (_breaks,), "Bridge": (_bridge,), "From forecast to cash": (_to_billing,)}
    in_tabs("reconciliation_part", parts, release, chosen)


def _within(chosen: Chosen) -> list[object]:
    return [chosen.team is None, list(chosen.managers), chosen.segment, chosen.segment]


def _now(release: Release, chosen: Chosen) -> pd.Series | None:
    found = to_billing(release, chosen)
    found = found[found["period_start"] == pd.Timestamp(chosen.period.start)]
    return found.iloc[0] if len(found) else None


def _breaks_sentence(release: Release, chosen: Chosen) -> str:
    found = breaks_by_status(release, chosen)
    if found.empty:
        if release.viewer.sees is not None:
            return "None of the breaks is yours to see."
        return f"No break {of_whom(release, chosen)}: finance confirms what sales has sold, or has time left to."
    count, old = int(found["break_count"].sum()), int(found["over_90_days_count"].sum())
    text = (
        f"**{counted(count, 'break')}** {of_whom(release, chosen)} {'waits' if count == 1 else 'wait'} for somebody "
        "to act; "
        f"{old:,} of them can be seen for more than 90 days."
    )
    told = found[found["differing_amount"].notna()]
    if len(told):
        most = told.iloc[0]
        text += (
            f" Most money lies in “{escaped(most['kind'])}”: {counted(most['break_count'], 'row')}, "
            f"{written(most['differing_amount'], 'money', release.currency)}. {escaped(most['what_to_do'])}."
        )
    return text


def _owners_sentence(release: Release, chosen: Chosen) -> str:
    found = breaks_by_owner(release, chosen)
    parts = []
    for acts, count, people in zip(found["acts"], found["break_count"], found["owner_count"], strict=True):
        with_people = f" ({counted(people, 'person', 'people')})" if acts == "deal_owners" else ""
        parts.append(f"{OWNERS[acts].lower()}{with_people}: {count:,}")
    return f"Who must act: {', '.join(parts)}." if parts else ""


def _money_sentence(release: Release, chosen: Chosen) -> str:
    row, money = _now(release, chosen), release.currency
    if row is None or not row["booked_count"]:
        return ""
    if not known(row["billed_share"]):
        return ""
    text = (
        f"Of {written(row['booked_amount'], 'money', money)} booked in {chosen.period.name} "
        f"({counted(row['booked_count'], 'deal')}), finance has billed "
        f"{written(row['billed_amount'], 'money', money)} so far, {written(row['billed_share'], 'percent')}; "
        f"{written(row['paid_amount'], 'money', money)} of it is paid."
    )
    if row["missing_rate_count"]:
        text += f" {counted(row['missing_rate_count'], 'deal')} without an exchange rate are not in these sums."
    return text


def _figures(release: Release, chosen: Chosen) -> None:
    table, money = "reconciliation.booking_to_billing", "reconciliation.forecast_to_billing"
    row, found = _now(release, chosen), breaks_by_status(release, chosen)
    places = in_row(4)
    with places[0]:
        figure(
            release,
            "Breaks",
            int(found["break_count"].sum()),
            table,
            "is_break",
            "count",
            note=f"{int(found['over_90_days_count'].sum()):,} older than 90 days",
        )
    with places[1]:
        figure(
            release,
            "Differing in them",
            float(found["differing_amount"].sum()),
            table,
            "amount_difference",
            "money",
            n=int(found["break_count"].sum()),
            note="too much and too little added up, at one rate",
        )
    with places[2]:
        figure(
            release,
            f"Billed, {chosen.period.name}",
            None if row is None else row["billed_share"],
            money,
            "billed_share",
            "percent",
            n=None if row is None else int(row["booked_count"]),
            note="the company; younger quarters are still being billed",
        )
    with places[3]:
        figure(
            release,
            "Billed, no deal",
            None if row is None else row["unbooked_amount"],
            money,
            "unbooked_amount",
            "money",
            note=f"{chosen.period.name}, the company",
        )


def _breaks(release: Release, chosen: Chosen) -> None:
    table = "reconciliation.booking_to_billing"
    st.subheader("What is broken, and what to do")
    found = breaks_by_status(release, chosen)
    if found.empty:
        st.markdown(f"There is no break {of_whom(release, chosen)}. {definition_link(table)}")
        return
    drawn = pd.DataFrame({"label": found["kind"], "kind": "differs", "value": found["differing_amount"]}).dropna()
    chart_beside_table(
        release,
        bridges.bars(drawn, f"Differs at one rate, {release.currency}", colours={"differs": bridges.RED}),
        found.drop(columns=["status"]),
        table,
        name="breaks_by_kind",
        alt_text="Money that differs by kind of break: "
        + "; ".join(f"{row.label} {written(row.value, 'money')}" for row in drawn.itertuples())
        + ".",
        caption="Too much and too little added up without their sign; what exchange rates make is left out.",
        labels={"break_count": "Breaks", "over_90_days_count": "Older than 90 days", "oldest_days": "Oldest, days"},
    )
    st.markdown("**First:**")
    st.markdown(
        "\n".join(
            f"- {escaped(row['what_is_wrong'])} ({row['break_count']:,.0f}, "
            f"{written(row['differing_amount'], 'money', release.currency)}): {escaped(row['what_to_do'])}."
            for row in found.head(URGENT_SHOWN).to_dict("records")
        )
    )
    st.markdown("**The list, to work through**")
    places = st.columns(3)
    kinds = dict(zip(found["status"], found["kind"], strict=True))
    acts = list(breaks_by_owner(release, chosen)["acts"])
    ages = release.rows(
        "select distinct age_band from reconciliation.booking_to_billing where is_break and age_band is not null "
        "order by age_band"
    )["age_band"]
    with places[0]:
        status = st.selectbox(
            "Kind of break",
            [None, *kinds],
            format_func=lambda key: kinds.get(key, "All kinds"),
            key="break_kind",
            bind="query-params",
        )
    with places[1]:
        act = st.selectbox(
            "Who must act",
            [None, *acts],
            format_func=lambda key: OWNERS.get(key, "Everybody"),
            key="break_owner",
            bind="query-params",
        )
    with places[2]:
        age = st.selectbox(
            "Age in days",
            [None, *ages],
            format_func=lambda key: key or "Any age",
            key="break_age",
            bind="query-params",
        )
    rows = breaks(release, chosen, status, act, age)
    if rows.empty:
        st.markdown("No break is of that kind, owner and age.")
        return
    more = f"the {BREAKS_SHOWN} that differ most; narrow the choice for the others" if len(rows) == BREAKS_SHOWN else ""
    st.caption(
        f"{counted(len(rows), 'break')}, most money first{f': {more}' if more else ''}. {definition_link(table)}"
    )
    show_table(
        release,
        rows,
        table,
        name="breaks",
        links={"open": "open the deal"},
        formats=dict.fromkeys(["crm_amount", "finance_amount", "amount_difference", "fx_difference"], "%,.2f"),
    )


def _bridge(release: Release, chosen: Chosen) -> None:
    table = "reconciliation.booking_bridge"
    st.subheader(f"From what was booked in {chosen.period.name} to what was billed in it")
    names = {
        (basis, currency): f"{currency}, all currencies at plan rate"
        if basis == "reporting"
        else f"{currency} as entered"
        for basis, currency in currencies(release)
    }
    basis, currency = st.selectbox(
        "Currency", list(names), format_func=lambda key: names[key], key="bridge_currency", bind="query-params"
    )
    found = bridge(release, chosen, basis, currency)
    if found.empty:
        why = f"{chosen.period.name} has not begun." if chosen.period.start > release.as_of else ""
        empty(release, table, why)
        return
    missing = left_over(release, chosen, basis, currency)
    drawn = found[found["is_total"] | (found["amount"] != 0)]
    chart_beside_table(
        release,
        bridges.bridge(drawn, f"Amount, {currency}"),
        found.drop(columns=["line", "is_total"]),
        table,
        name="booking_bridge",
        alt_text=f"From bookings to billing in {chosen.period.name}: "
        + "; ".join(f"{row.label} {written(row.amount, 'money')}" for row in drawn.itertuples())
        + ".",
        caption="Bookings and all lines add up to what finance billed, to the cent. The whole company; team and "
        "segment narrow the breaks above."
        if missing == 0
        else f"The lines do not add up: {missing:,.4f} is left over. Tell whoever runs this; it must not happen.",
        labels={"label": "Line", "row_count": "Deals and documents"},
        formats={"amount": "%,.2f"},
    )
    lines = {line: line_name(line) for line in drawn.loc[drawn["row_count"] > 0, "line"]}
    line = st.selectbox(
        "Rows behind a line",
        list(lines),
        index=None,
        format_func=lambda key: lines[key],
        key="bridge_line",
        bind="query-params",
        placeholder="Which deals and documents make a line",
    )
    if line:
        behind = items(release, chosen, basis, currency, line)
        if behind.empty:
            empty(release, "reconciliation.bridge_items")
            return
        seen = "" if release.viewer.sees is None else " that you may see"
        st.caption(f"{counted(len(behind), 'row')}{seen}, largest first.")
        show_table(
            release, behind, "reconciliation.bridge_items", name="rows_behind_the_line", formats={"amount": "%,.2f"}
        )


def _to_billing(release: Release, chosen: Chosen) -> None:
    table = "reconciliation.forecast_to_billing"
    st.subheader("From forecast to cash")
    found = to_billing(release, chosen)
    if found.empty:
        empty(release, table)
        return
    names = {
        "commit_amount": "last commit",
        "booked_amount": "booked",
        "billed_amount": "billed",
        "paid_amount": "paid",
    }
    drawn = found.iloc[::-1].melt("quarter", list(names), "kind", "value").rename(columns={"quarter": "label"})
    drawn["kind"] = drawn["kind"].map(names)
    colours = dict(zip(names.values(), (bridges.LIGHT, bridges.BLUE, "#319795", bridges.GREEN), strict=True))
    ended = found[found["is_complete"]]
    called = ended[ended["commit_amount"].notna() & (ended["commit_amount"] > 0)]
    if len(called):
        share = called["booked_amount"].sum() / called["commit_amount"].sum()
        st.markdown(
            f"Over {counted(len(called), 'quarter')} that have ended, {written(share, 'percent')} of the last commit "
            f"was booked. {definition_link(table, 'booked_share')}"
        )
    without = ended[ended["commit_amount"].isna()]
    if len(without):
        st.caption(f"No commit is known for {listed(without['quarter'])}.")
    chart_beside_table(
        release,
        bridges.bars(drawn, f"Amount, {release.currency}", colours=colours, lying=False),
        found.drop(columns=["period_start"]),
        table,
        name="forecast_to_billing",
        alt_text="What was called, booked, billed and paid by quarter: "
        + "; ".join(
            f"{row.quarter} booked {written(row.booked_amount, 'money')}, billed {written(row.billed_amount, 'money')}"
            for row in found.itertuples()
        )
        + ".",
        caption="Billed and paid are of the deals booked in the quarter, whenever it happened. The whole company.",
        formats=dict.fromkeys(["commit_amount", "opening_commit_amount"], "%,.0f"),
    )
