"""Retention: what moved recurring revenue, who stays, what is due next, and who grows."""

from __future__ import annotations

from datetime import date
from types import SimpleNamespace

import pandas as pd
import streamlit as st

from dashboards.charts import (
    BLUE,
    GREEN,
    GREY,
    RED,
    YELLOW,
    heat,
    intervals,
    measured,
    pairs,
    stacks,
    steps,
    trends,
)
from dashboards.filters import Chosen
from dashboards.parts import chart_beside_table, day, empty, escaped, figure, in_row, in_tabs, show_table, written
from dashboards.release import Release
from dashboards.rows import each, first, worded

FILTERS = ("segment", "period")

RETENTION, BRIDGES, COHORTS = "retention.revenue_retention", "retention.arr_bridges", "retention.cohort_retention"
RENEWALS, SALES, ACCOUNTS = "retention.renewals", "retention.sales_growth", "retention.account_growth"
SPANS = {"quarter": "The quarter", "year": "Twelve months"}
GROUPS = {"segment": "Segments", "region": "Regions", "account_manager": "Account managers", "product": "Products"}
RATES = {"nrr": "Net retention", "grr": "Gross retention", "logo_retention": "Customers kept"}
MEASURES = {"bookings": "Bookings", "revenue": "Billed revenue"}
STEP_NAMES = {
    "opening": "Opening",
    "new": "New",
    "reactivation": "Came back",
    "expansion": "Expansion",
    "price_change": "Price",
    "contraction": "Contraction",
    "churn": "Churn",
    "fx": "Exchange rates",
    "corrected": "Corrected since",
    "closing": "Closing",
}
AT_RISK, NO_RISK, RENEWED, CANCELLED = "with a risk", "no risk known", "renewed", "cancelled"
RENEWAL_COLOURS = {RENEWED: GREEN, NO_RISK: BLUE, AT_RISK: YELLOW, CANCELLED: RED}
MOST_RENEWALS = 25
MOST_GROUPS = 30
COHORT_QUARTERS, COHORT_MONTHS = 20, 48


def month(release: Release, chosen: Chosen) -> date | None:
    """The last month of the chosen quarter, or the running one; None where there is no recurring revenue."""
    found = release.value(f"select max(month_start) from {RETENTION} where month_start <= ?", (chosen.period.end,))
    return None if found is None else pd.Timestamp(found).date()


def member(chosen: Chosen) -> tuple[str, str]:
    """Dimension and member of what is looked at: the segment, else the company."""
    return ("segment", chosen.segment) if chosen.segment else ("company", "company")


def rates(release: Release, chosen: Chosen) -> pd.DataFrame:
    """Retention of the last three years up to the chosen quarter, a row a month, oldest first."""
    return release.rows(
        f"""
        select * from {RETENTION}
        where dimension = ? and member = ? and month_start <= ? and month_start > ?::date - interval 36 month
        order by month_start
        """,
        (*member(chosen), month(release, chosen), month(release, chosen)),
    )


def bridge(release: Release, chosen: Chosen, span: str = "quarter") -> pd.DataFrame:
    """What recurring revenue did, a row a step: opening + the steps between = closing, in both currencies.

    Months that were corrected after they were final open with the corrected value; what that is stands in `corrected`.

    Args:
        span: the chosen quarter as far as it has come, or the twelve months up to its end.
    """
    last = month(release, chosen)
    months = "month_start >= ?::date" if span == "quarter" else "month_start > ?::date - interval 12 month"
    return release.rows(
        f"""
        with movements as (
            select * from {BRIDGES}
            where dimension = ? and member = ? and month_start <= ? and {months}
        ),
        ends as (select min(month_start) as first_month, max(month_start) as last_month from movements),
        steps as (
            select movement, movement_order, amount, amount_actual, unit_count
            from movements, ends
            where movement not in ('opening', 'closing', 'restatement')
                or (movement = 'opening' and month_start = first_month)
                or (movement = 'closing' and month_start = last_month)
            union all
            select 'corrected', 8.5, case when movement = 'opening' then amount else -amount end,
                case when movement = 'opening' then amount_actual else -amount_actual end, 0
            from movements, ends
            where (movement = 'opening' and month_start > first_month)
                or (movement = 'closing' and month_start < last_month)
        )
        select movement, sum(amount) as amount, sum(amount_actual) as amount_actual,
            sum(unit_count)::bigint as unit_count
        from steps group by movement, movement_order order by movement_order
        """,
        (*member(chosen), last, chosen.period.start if span == "quarter" else last),
    )


def untied(steps_of: pd.DataFrame) -> float:
    """Opening and all steps less closing, in cents' precision: 0 when a bridge ties."""
    inner = steps_of.loc[steps_of["movement"] != "closing", "amount"].sum()
    return round(float(inner - steps_of.loc[steps_of["movement"] == "closing", "amount"].sum()), 2)


def groups(release: Release, chosen: Chosen, dimension: str) -> pd.DataFrame:
    """Retention of each member of a dimension in the chosen month, those with most revenue first."""
    return release.rows(
        f"""
        select member_name, n, grr, grr_low, grr_high, nrr, nrr_low, nrr_high,
            logo_retention, logo_retention_low, logo_retention_high, arr_year_ago, arr
        from {RETENTION} where dimension = ? and month_start = ? and n > 0
        order by arr_year_ago desc, member limit {MOST_GROUPS}
        """,
        (dimension, month(release, chosen)),
    )


def cohorts(release: Release, chosen: Chosen) -> pd.DataFrame:
    """Customers by the fiscal quarter they began in and months since, where all of a quarter have come so far."""
    return release.rows(
        f"""
        with quarters as (select distinct month_start as cohort_month, quarter_start, quarter_name from core.calendar),
        customers as (
            select cohorts.*, quarter_start, quarter_name from {COHORTS} as cohorts
            join quarters using (cohort_month) where dimension = ? and member = ?
        ),
        sizes as (
            select quarter_start, count(*) as cohort_count from customers where elapsed_months = 0
            group by quarter_start order by quarter_start desc limit {COHORT_QUARTERS}
        )
        select quarter_name as cohort, elapsed_months, sum(n)::bigint as n, sum(active_count)::bigint as active_count,
            sum(active_count) / sum(n) as customer_retention,
            sum(amount) / nullif(sum(starting_amount), 0) as amount_retention
        from customers join sizes using (quarter_start)
        where elapsed_months % 3 = 0 and elapsed_months <= {COHORT_MONTHS}
        group by quarter_start, quarter_name, elapsed_months having count(*) = any_value(cohort_count)
        order by quarter_start, elapsed_months
        """,
        member(chosen),
    )


def due(release: Release, chosen: Chosen) -> pd.DataFrame:
    """What is due by fiscal quarter and state; the states of a quarter add up to it."""
    return release.rows(
        f"""
        select quarter_name as due_in,
            case when status in ('renewed', 'cancelled') then status
                when risk_count > 0 then '{AT_RISK}' else '{NO_RISK}' end as state,
            sum(due_amount) as due_amount, count(*) as renewal_count
        from {RENEWALS} join core.calendar on calendar.day = due_on
        where ? is null or segment = ?
        group by quarter_start, quarter_name, state order by quarter_start, state
        """,
        (chosen.segment, chosen.segment),
    )


def risks(release: Release, chosen: Chosen) -> pd.DataFrame:
    """What speaks for trouble, most money first. A renewal stands under each of its risks: never add them up."""
    return release.rows(
        f"""
        select unnest(string_split(risk_evidence, ', ')) as risk, count(*) as renewal_count,
            sum(due_amount) as due_amount
        from {RENEWALS} where status in ('open', 'overdue') and risk_count > 0 and (? is null or segment = ?)
        group by risk order by due_amount desc, risk
        """,
        (chosen.segment, chosen.segment),
    )


def renewals(release: Release, chosen: Chosen) -> pd.DataFrame:
    """Renewals of which something speaks for trouble, the next ones first."""
    return release.rows(
        f"""
        select customer_name, due_on, due_amount, risk_evidence, what_is_wrong, what_to_do, account_manager_name,
            engaged_contact_count, days_since_contact, overdue_amount, arr_change_share, renewal_verdict
        from {RENEWALS} where status in ('open', 'overdue') and risk_count > 0 and (? is null or segment = ?)
        order by due_on, due_amount desc, finance_customer_id limit {MOST_RENEWALS}
        """,
        (chosen.segment, chosen.segment),
    )


def sales(release: Release, chosen: Chosen, measure: str) -> pd.DataFrame:
    """The chosen quarter against that of a year ago: the company first, then its segments; never add both up."""
    return release.rows(
        f"""
        select case when dimension = 'company' then 'Company' else member end as market, amount, amount_year_ago,
            growth, growth_actual, sale_count, sale_count_year_ago, reason, told_to
        from {SALES}
        where measure = ? and period_type = 'quarter' and period_start = ? and dimension in ('company', 'segment')
        order by dimension, amount desc, member
        """,
        (measure, chosen.period.start),
    )


def growth(release: Release, chosen: Chosen) -> pd.DataFrame:
    """What last year's customers bring now: by segment, and key accounts against others. Each of both is the whole."""
    return release.rows(
        f"""
        select dimension, member_name, n, arr_year_ago, arr, growth, grown_count, flat_count, shrunk_count, lost_count,
            new_count, new_arr, month_end
        from {ACCOUNTS}
        where dimension in ('segment', 'key')
            and month_start = (select max(month_start) from {ACCOUNTS} where month_start <= ?)
        order by dimension desc, arr_year_ago desc, member
        """,
        (chosen.period.end,),
    )


def sentences(release: Release, chosen: Chosen) -> list[str]:
    """What the figures say, and what is wrong first."""
    said = []
    now = first(rates(release, chosen).iloc[-1:])
    if now and now.grr is not None:
        said.append(
            f"Of {now.n:,} customers of a year before **{written(now.logo_retention, 'percent')} still pay** "
            f"({_between(now, 'logo_retention')}); growth aside they bring **{written(now.grr, 'percent')}** of what "
            f"they brought then ({_between(now, 'grr')}), with it **{written(now.nrr, 'percent')}** "
            f"({_between(now, 'nrr')})."
        )
        if not chosen.segment:
            said.append(_weakest(groups(release, chosen, "segment"), now))
    elif now:
        said.append(f"Retention cannot be told: {now.reason}.")
    ahead = due(release, chosen)
    if len(ahead):
        threatened = ahead[ahead["state"] == AT_RISK]
        pending = ahead[ahead["state"].isin([AT_RISK, NO_RISK])]
        text = (
            f"**{written(pending['due_amount'].sum(), 'money', release.currency)}** in "
            f"{pending['renewal_count'].sum():,} renewals is due within four quarters and not decided; for "
            f"{threatened['renewal_count'].sum():,} of them "
            f"({written(threatened['due_amount'].sum(), 'money', release.currency)}) something speaks for trouble"
        )
        most = first(risks(release, chosen).sort_values(["renewal_count", "risk"], ascending=[False, True]))
        if most:
            text += f", most often *{most.risk.replace('_', ' ')}* ({most.renewal_count:,})"
        said.append(f"{text}.")
    return said


def _weakest(segments: pd.DataFrame, company: SimpleNamespace) -> str:
    behind = segments[segments["grr_high"] < company.grr]
    worst = first(behind.sort_values("grr"))
    if worst:
        return (
            f"Clearly below the company in gross retention: **{escaped(worst.member_name)}** with "
            f"{written(worst.grr, 'percent')} ({_between(worst, 'grr')}, n {worst.n:,})."
        )
    return "No segment is so far below the company in gross retention that it could not be chance."


def _between(row: SimpleNamespace, rate: str) -> str:
    return f"{written(getattr(row, f'{rate}_low'), 'percent')} to {written(getattr(row, f'{rate}_high'), 'percent')}"


def show(release: Release, chosen: Chosen) -> None:
    st.title("Retention")
    subscribed = release.has(RETENTION)
    if not subscribed:
        empty(release, RETENTION)
    else:
        st.markdown(" ".join(sentences(release, chosen)))
        _figures(release, chosen)
    parts = {
        "What moved it": (_bridge,),
        "Who stays": (_rates,),
        "Cohorts": (_cohorts,),
        "Renewals": (_renewals,),
        "Sales growth": (_growth,),
        "Accounts": (_accounts,),
    }
    in_tabs("retention_part", parts if subscribed else {"Sales growth": (_growth,)}, release, chosen)


def _figures(release: Release, chosen: Chosen) -> None:
    shown = rates(release, chosen)
    if shown.empty:
        empty(release, RETENTION, "Nothing was paid by the end of this quarter.")
        return
    now = first(shown.iloc[-1:])
    assert now is not None
    before = first(shown[shown["month_start"] == now.month_start - pd.DateOffset(years=1)])
    for place, (column, name) in zip(in_row(len(RATES)), RATES.items(), strict=True):
        value, past = getattr(now, column), getattr(before, column, None)
        with place:
            figure(
                release,
                name,
                value,
                RETENTION,
                column,
                "percent",
                low=getattr(now, f"{column}_low"),
                high=getattr(now, f"{column}_high"),
                n=now.n,
                delta=None if value is None or past is None else f"{100 * (value - past):+.1f} points in a year",
                note=now.reason or "",
            )


def _bridge(release: Release, chosen: Chosen) -> None:
    st.subheader("What moved recurring revenue")
    span = st.segmented_control(
        "Bridge over",
        list(SPANS),
        format_func=lambda key: SPANS[key],
        default="quarter",
        required=True,
        key="arr_span",
        bind="query-params",
    )
    found = bridge(release, chosen, str(span))
    if found.empty:
        empty(release, BRIDGES, "No month of this quarter has begun by the as-of date.")
        return
    kept = found["movement"].isin(["opening", "closing"]) | (found["amount"] != 0) | (found["amount_actual"] != 0)
    frame = found[kept].assign(step=lambda rows: rows["movement"].map(STEP_NAMES))
    opening, closing = (float(found.loc[found["movement"] == end, "amount"].sum()) for end in ("opening", "closing"))
    left = untied(found)
    where = chosen.segment or "Company"
    span_words = f"in {chosen.period.name}" if span == "quarter" else f"in the twelve months to {chosen.period.name}"
    st.markdown(
        f"Recurring revenue of {escaped(where)} went from **{written(opening, 'money', release.currency)}** to "
        f"**{written(closing, 'money', release.currency)}** {span_words}, in constant currency. "
        + ("Opening and all steps add up to closing, to the cent." if left == 0 else f"**{left:,.2f} does not tie.**")
    )
    drawn = frame[
        (frame["movement"] != "fx") & ((frame["amount"] != 0) | frame["movement"].isin(["opening", "closing"]))
    ]
    chart_beside_table(
        release,
        steps(
            drawn.assign(label=drawn["step"], is_total=drawn["movement"].isin(["opening", "closing"])),
            f"Recurring revenue, {release.currency}",
            f"{where}: from opening to closing",
            "Grey: what there was. Green: added. Red: taken. The axis does not begin at zero.",
        ),
        frame[["step", "amount", "amount_actual", "unit_count"]],
        BRIDGES,
        name="arr_bridge",
        alt_text=f"Recurring revenue of {where} from {opening:,.0f} to {closing:,.0f}, step by step",
        caption="Amount is in constant currency; with exchange rates it is amount actual.",
        labels={"step": "Step", "unit_count": "Movements"},
    )


def _rates(release: Release, chosen: Chosen) -> None:
    st.subheader("Who stays")
    shown = rates(release, chosen)
    told = shown[shown["grr"].notna()]
    if told.empty:
        empty(release, RETENTION, str(shown.iloc[-1]["reason"]) if len(shown) else "")
        return
    lines = pd.concat(
        [
            pd.DataFrame(
                {
                    "x": told["month_end"],
                    "series": name,
                    "value": told[column],
                    "low": told[f"{column}_low"],
                    "high": told[f"{column}_high"],
                }
            )
            for column, name in RATES.items()
        ]
    )
    columns = ["month_end", "n", *(f"{rate}{end}" for rate in RATES for end in ("", "_low", "_high"))]
    chart_beside_table(
        release,
        trends(lines, "Of a year before", "Retention over twelve months"),
        told[columns].iloc[::-1],
        RETENTION,
        name="retention",
        alt_text=f"Net, gross and customer retention of {chosen.segment or 'the company'} by month",
        caption="Of those who were customers twelve months before; who came since is not in it.",
    )
    by = st.segmented_control(
        "Compare",
        list(GROUPS),
        format_func=lambda key: GROUPS[key],
        default="segment",
        required=True,
        key="retention_by",
        bind="query-params",
    )
    found = groups(release, chosen, str(by))
    if found.empty:
        empty(release, RETENTION)
        return
    drawn = measured(found, "member_name", "grr", "n")
    company = release.value(
        f"select grr from {RETENTION} where dimension = 'company' and month_start = ?", (month(release, chosen),)
    )
    if company is not None:
        drawn["norm"] = company
    chart_beside_table(
        release,
        intervals(
            drawn,
            "Gross retention",
            f"Gross retention by {str(by).replace('_', ' ')}",
            zero=False,
            norm_is="the company" if company is not None else "",
        ),
        found,
        RETENTION,
        name="retention_groups",
        alt_text=f"Gross retention with its interval, by {str(by).replace('_', ' ')}",
        caption="Whose line crosses the red tick cannot be told from the company.",
        labels={"member_name": GROUPS[str(by)]},
    )


def _cohorts(release: Release, chosen: Chosen) -> None:
    st.subheader("Customers by the quarter they began in")
    by = st.segmented_control(
        "Of each quarter's customers",
        ["customers", "amount"],
        format_func=lambda key: {"customers": "Customers kept", "amount": "Revenue kept"}[key],
        default="customers",
        required=True,
        key="cohort_by",
        bind="query-params",
    )
    found = cohorts(release, chosen)
    if found.empty:
        empty(release, COHORTS)
        return
    column = "customer_retention" if by == "customers" else "amount_retention"
    sizes = found[found["elapsed_months"] == 0].set_index("cohort")["n"]
    rows = found["cohort"] + " (n " + found["cohort"].map(sizes).astype(str) + ")"
    chart_beside_table(
        release,
        heat(
            found.assign(x=found["elapsed_months"], y=rows, value=found[column]),
            "Months since they began",
            "Began in",
            "Customers who still pay" if by == "customers" else "Revenue against the first month",
            "A square once all customers of the quarter have come so far. Dark: all; pale: half or less.",
        ),
        found[["cohort", "elapsed_months", column, "n", *({"customer_retention", "amount_retention"} - {column})]],
        COHORTS,
        name="cohorts",
        alt_text="Share of each quarter's customers kept by months since they began",
        caption="Quarters with few customers swing; n stands beside each.",
    )


def _renewals(release: Release, chosen: Chosen) -> None:
    st.subheader("Renewals due")
    ahead = due(release, chosen)
    if ahead.empty:
        empty(release, RENEWALS, "Nothing is due within four quarters.")
        return
    st.caption("What is due from today on, whatever quarter is chosen.")
    chart_beside_table(
        release,
        stacks(
            ahead.assign(label=ahead["due_in"], kind=ahead["state"], amount=ahead["due_amount"]),
            f"Due, {release.currency}",
            "Due by quarter, and what speaks for trouble",
            RENEWAL_COLOURS,
        ),
        ahead,
        RENEWALS,
        name="renewals_due",
        alt_text="Amount due by quarter: renewed, no risk known, with a risk, cancelled",
        caption="A risk is a fact that is met, not a chance of losing the customer.",
    )
    listed = renewals(release, chosen)
    if listed.empty:
        st.markdown("Of no renewal anything that is known speaks for trouble.")
        return
    st.markdown(f"**The next {len(listed)} of which something speaks for trouble**, and the first thing to do about it")
    show_table(
        release,
        worded(listed, "risk_evidence"),
        RENEWALS,
        name="renewals_at_risk",
        labels={"risk_evidence": "What speaks for trouble"},
    )


def _growth(release: Release, chosen: Chosen) -> None:
    st.subheader("Growth by segment")
    measure = str(
        st.segmented_control(
            "Growth of",
            list(MEASURES),
            format_func=lambda key: MEASURES[key],
            default="bookings",
            required=True,
            key="growth_of",
            bind="query-params",
        )
    )
    found = sales(release, chosen, measure)
    if found.empty:
        empty(release, SALES, "Nothing was sold in or before this quarter.")
        return
    company = first(found)
    assert company is not None
    if company.growth is None:
        st.markdown(
            f"{MEASURES[measure]} of {chosen.period.name}: **{written(company.amount, 'money', release.currency)}** "
            f"({company.sale_count:,} sales). Growth cannot be told: {company.reason or 'not enough data'}."
        )
    else:
        st.markdown(
            f"{MEASURES[measure]} of {chosen.period.name} to {day(company.told_to)}: "
            f"**{written(company.amount, 'money', release.currency)}** from {company.sale_count:,} sales, "
            f"**{100 * company.growth:+.1f} %** on the same days a year before "
            f"({written(company.amount_year_ago, 'money', release.currency)}, {company.sale_count_year_ago:,} sales)."
        )
    segments = found.iloc[1:]
    if segments.empty:
        show_table(release, found, SALES, name="sales_growth", labels={"market": "Segment"})
        return
    drawn = pd.concat(
        [
            pd.DataFrame(
                {
                    "label": segments["market"],
                    "when": "a year before",
                    "amount": segments["amount_year_ago"].where(segments["growth"].notna()),
                }
            ),
            pd.DataFrame({"label": segments["market"], "when": chosen.period.name, "amount": segments["amount"]}),
        ]
    )
    chart_beside_table(
        release,
        pairs(
            drawn, f"{MEASURES[measure]}, {release.currency}", f"{MEASURES[measure]} by segment against a year before"
        ),
        found.drop(columns=["told_to"]),
        SALES,
        name="sales_growth",
        alt_text=f"{MEASURES[measure]} by segment in {chosen.period.name} and a year before",
        caption="The company is the sum of its segments; growth actual has exchange rates in it.",
        labels={"market": "Segment"},
    )


def _accounts(release: Release, chosen: Chosen) -> None:
    found = growth(release, chosen)
    if found.empty:
        empty(release, ACCOUNTS)
        return
    st.subheader("Growth of accounts")
    kept = found[found["dimension"] == "segment"]
    said = [
        f"{escaped(row.member_name).lower()} {100 * row.growth:+.1f} % (n {row.n:,})"
        for row in each(found[found["dimension"] == "key"])
        if row.growth is not None
    ]
    if said:
        st.markdown(
            f"What customers of a year before bring now, on {day(found.iloc[0].month_end)}: {'; '.join(said)}. "
            "Key is who was on the list a year ago."
        )
    kinds = {"grown": GREEN, "flat": GREY, "shrunk": YELLOW, "lost": RED}
    drawn = pd.concat(
        [pd.DataFrame({"label": kept["member_name"], "kind": kind, "amount": kept[f"{kind}_count"]}) for kind in kinds]
    )
    chart_beside_table(
        release,
        stacks(drawn, "Customers of a year before", "Who grew, who shrank", kinds, money=False, upright=False),
        found.drop(columns=["month_end"]),
        ACCOUNTS,
        name="account_growth",
        alt_text="Customers of a year before by segment: grown, flat, shrunk, lost",
        caption="By segment and by key: each of both is all customers. Customers who came since are not in growth.",
        labels={"dimension": "By", "member_name": "Member"},
    )
