"""The scorecard worked out a second time in pandas, from docs/scorecard.md, the marts it names and the extract's files.

A number is told as `(n, value, low, high)`; what cannot be told is None there.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable
from datetime import date
from math import sqrt
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from orchestration.settings import SEEDS
from tests.oracles.coaching import Z, moment, read, wilson

SELLING = ["account_executive", "account_manager", "development_rep"]
COMMITS = ["executive_commit", "manager_commit", "seller_commit"]
Told = tuple[int, float | None, float | None, float | None]
NOTHING: Told = (0, None, None, None)


def seed(name: str) -> list[dict[str, str]]:
    with (SEEDS / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def policy(name: str) -> dict[str, float]:
    return {row["name"]: float(row["value"]) for row in seed(name)}


def number(text: str) -> float | None:
    return float(text) if text else None


def known(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)


def share(flags: Iterable[bool]) -> Told:
    """Of cases that are or are not so, with Wilson's interval."""
    cases = [bool(flag) for flag in flags]
    if not cases:
        return NOTHING
    rate = sum(cases) / len(cases)
    return len(cases), rate, wilson(rate, len(cases), -1), wilson(rate, len(cases), 1)


def ratio(parts: pd.Series, wholes: pd.Series, *, highest: float | None = 1.0) -> Told:
    """Sum over sum and the interval of a ratio; of a share at least as wide as Wilson's in (Σb)² / Σb² cases."""
    a, b = parts.astype(float).to_numpy(), wholes.astype(float).to_numpy()
    if not len(a) or not b.sum():
        return len(a), None, None, None
    value = a.sum() / b.sum()
    if len(a) < 2:
        return len(a), value, None, None
    half = Z * sqrt(len(a) / (len(a) - 1) * ((a - value * b) ** 2).sum()) / b.sum()
    if highest is None:
        return len(a), value, max(0.0, value - half), value + half
    alike = b.sum() ** 2 / (b**2).sum()
    low, high = wilson(value, alike, -1), wilson(value, alike, 1)
    assert low is not None and high is not None
    return len(a), value, max(0.0, min(low, value - half)), min(highest, max(high, value + half))


def newcombe(first: Told, second: Told) -> Told:
    """The first share less the second; method 10 of Newcombe, Statistics in Medicine 17, 1998."""
    n1, p1, l1, u1 = first
    n2, p2, l2, u2 = second
    if p1 is None or l1 is None or u1 is None or p2 is None or l2 is None or u2 is None:
        return n1 + n2, None, None, None
    gap = p1 - p2
    return n1 + n2, gap, gap - sqrt((p1 - l1) ** 2 + (u2 - p2) ** 2), gap + sqrt((u1 - p1) ** 2 + (p2 - l2) ** 2)


class Company:
    """What is published of a company, with the terms and windows of the scorecard."""

    def __init__(self, database: Path, extract: Path, as_of: date) -> None:
        self.database, self.extract = database, extract
        self.as_of = pd.Timestamp(as_of)
        self.policy = policy("scorecard_policy")
        quarters = self.table(
            "select distinct quarter_start, quarter_end from core.calendar where quarter_start is not null order by 1"
        )
        self.ended = quarters[quarters.quarter_end <= self.as_of]
        count = int(self.policy["scorecard_quarters"])
        self.term = self.ended.tail(count)
        self.term_before = self.ended.iloc[-2 * count : -count]
        self.first_day = self.table("select min(day) as day from core.calendar").day[0]
        self.has_terms = len(self.term) == count
        self.window_start = self.term.quarter_start.iloc[0] if len(self.term) else self.first_day
        self.delivered = dict(self.table("select entity, is_delivered from core.data_coverage").to_numpy())

    def table(self, sql: str) -> pd.DataFrame:
        with duckdb.connect(str(self.database), read_only=True) as connection:
            found = connection.execute(sql).df()
        for name in found.select_dtypes("datetime"):
            found[name] = found[name].astype("datetime64[ns]")
        return found

    def has(self, table: str) -> bool:
        schema, name = table.split(".")
        sql = f"select 1 from information_schema.tables where table_schema = '{schema}' and table_name = '{name}'"
        return len(self.table(sql)) > 0

    def days(self, name: str) -> pd.Timedelta:
        return pd.Timedelta(days=int(self.policy[name]))

    def missing(self, needs: str) -> list[str]:
        return [entity for entity in needs.split() if not self.delivered.get(entity)]

    def sessions(self) -> pd.DataFrame:
        columns = ["manager_id", "rep_id", "opportunity_id", "session_type", "agreed_action", "day"]
        if not (self.extract / "crm" / "coaching_sessions.csv").exists():
            return pd.DataFrame(columns=columns)
        rows = pd.DataFrame(read(self.extract, "coaching_sessions"))
        rows["day"] = [pd.Timestamp(moment(text).date()) for text in rows.occurred_at]
        return rows[rows.day <= self.as_of][columns]

    def deals(self) -> pd.DataFrame:
        return self.table("select * from core.opportunities where not is_deleted")

    def decided_deals(self) -> pd.DataFrame:
        deals = self.deals()
        return deals[(deals.closed_on >= self.window_start) & (deals.closed_on <= self.as_of) & ~deals.is_open]


# ---- behaviours


def warning_gap(c: Company) -> Told:
    reviews = c.table("select opportunity_id, snapshot_date, is_troubled from intermediate.int_deal_verdicts")
    both = c.decided_deals().merge(reviews, on="opportunity_id")
    both = both[both.snapshot_date <= both.closed_on - c.days("scorecard_warning_days")]
    last = both.sort_values("snapshot_date").drop_duplicates("opportunity_id", keep="last")
    # The cases are all closed deals: what ended without a decision is lost as well, as in win rates.
    return newcombe(share(last[~last.is_won].is_troubled), share(last[last.is_won].is_troubled))


def hopeless_hours(c: Company) -> Told:
    rows = c.table("select hours_to_release, hours_to_go from funnel.deal_health where hours_to_go > 0")
    return ratio(rows.hours_to_release.fillna(0), rows.hours_to_go)


def help_in_time(c: Company) -> Told:
    rows = c.table(
        "select in_target_share, in_target_share_n as n from people.specialist_engagement "
        "where user_id = 'all' and stage = 'all' and in_target_share_n > 0 and in_target_share is not null"
    )
    return share_of(int(round((rows.in_target_share * rows.n).sum())), int(rows.n.sum()))


def share_of(count: int, n: int) -> Told:
    return (n, count / n, wilson(count / n, n, -1), wilson(count / n, n, 1)) if n else NOTHING


def teamed_share(c: Company) -> Told:
    deals = c.decided_deals()
    deals = deals[(deals.opportunity_type.fillna("") != "renewal") & deals.amount.notna()]
    deals = deals[deals.amount >= deals.amount.median()] if len(deals) else deals
    team = c.table("select opportunity_id, function, joined_on from funnel.deal_teams where function != 'sourcing'")
    on = deals[["opportunity_id", "closed_on"]].merge(team, on="opportunity_id")
    functions = on[on.joined_on <= on.closed_on].groupby("opportunity_id").function.nunique()
    return share(deals.opportunity_id.map(functions).fillna(0) >= 2)


def months_to_productive(c: Company) -> Told:
    rows = c.table(
        "select distinct n, median_months, median_months_low, median_months_high from people.ramp_curves "
        "where cohort_type = 'company' and milestone = 'productive'"
    )
    if not len(rows):
        return NOTHING
    (row,) = rows.itertuples()
    return int(row.n), known(row.median_months), known(row.median_months_low), known(row.median_months_high)


def agenda(c: Company) -> pd.DataFrame:
    return c.table("select manager_id, opportunity_id, owner_id, review_on from funnel.review_agenda")


def reviews_on_agenda(c: Company) -> Told:
    rows = c.sessions()
    rows = rows[(rows.session_type == "deal_review") & (rows.day >= c.window_start)]
    listed = dict(list(agenda(c).groupby(["manager_id", "owner_id"])))
    flags = []
    for row in rows.itertuples():
        found = listed.get((row.manager_id, row.rep_id))
        if found is None:
            flags.append(False)
            continue
        near = found[(found.review_on <= row.day) & (found.review_on >= row.day - c.days("scorecard_review_days"))]
        if row.opportunity_id:
            near = near[near.opportunity_id == row.opportunity_id]
        flags.append(len(near) > 0)
    return share(flags)


def verified_share(c: Company) -> Told:
    rows = c.table("select verified_count, required_count from funnel.deal_health where required_count > 0")
    return ratio(rows.verified_count, rows.required_count)


def coached_after_flag(c: Company) -> Told:
    rows = agenda(c)
    first = rows.sort_values("review_on").drop_duplicates(["manager_id", "opportunity_id"])
    later = c.days("scorecard_coaching_days")
    first = first[(first.review_on >= c.window_start) & (first.review_on <= c.as_of - later)]
    sessions = c.sessions()
    sessions = sessions[sessions.session_type.isin(["deal_review", "ride_along", "skill"])]
    held = dict(list(sessions.groupby(["manager_id", "rep_id"])))
    flags = []
    for row in first.itertuples():
        found = held.get((row.manager_id, row.owner_id))
        if found is None:
            flags.append(False)
            continue
        near = found[(found.day >= row.review_on) & (found.day <= row.review_on + later)]
        flags.append(((near.opportunity_id == "") | (near.opportunity_id == row.opportunity_id)).any())
    return share(flags)


def hero_share(c: Company) -> Told:
    deals = c.decided_deals()
    deals = deals[deals.is_won & (deals.amount > 0)]
    saved = set(c.table("select opportunity_id from people.manager_deals where is_hero").opportunity_id)
    return ratio(deals.amount.astype(float) * deals.opportunity_id.isin(saved), deals.amount)


def seller_led_share(c: Company) -> Told:
    rows = c.table(
        "select coalesce(sum(seller_led_count), 0) a, coalesce(sum(seller_led_n), 0) b from people.manager_coaching"
    )
    return share_of(int(rows.a[0]), int(rows.b[0]))


def sellers_now(c: Company) -> pd.Series:
    rows = c.table("select rep_id, role, hired_on, terminated_on from core.reps where is_current")
    is_there = rows.terminated_on.isna() | (rows.terminated_on > c.as_of)
    # Whose day of hiring nobody knows is there since before the window, as with managers' sellers.
    since = rows.hired_on.isna() | (rows.hired_on <= c.as_of - c.days("scorecard_action_days"))
    return rows[rows.role.isin(SELLING) & is_there & since].rep_id


def with_action(c: Company) -> set[str]:
    rows = c.sessions()
    is_late = rows.day > c.as_of - c.days("scorecard_action_days")
    return set(rows[is_late & (rows.agreed_action != "")].rep_id)


def sellers_with_action(c: Company) -> Told:
    return share(sellers_now(c).isin(with_action(c)))


def leaders_from_within(c: Company) -> Told:
    jobs = c.table("select rep_id, role, valid_from from core.reps")
    began = jobs[jobs.role == "manager"].groupby("rep_id").valid_from.min()
    began = began[began > c.as_of - pd.DateOffset(months=int(c.policy["scorecard_leader_months"]))]
    sold = jobs[jobs.role.isin(SELLING)].groupby("rep_id").valid_from.min()
    return share(rep in sold.index and sold[rep] < since for rep, since in began.items())


def low_with_line_of_sight(c: Company) -> Told:
    rows = c.table(
        "select scope_id, sum(credited_amount)::double as credited, sum(quota_amount)::double as quota "
        "from people.quota_attainment where scope_type = 'seller' and period_type = 'quarter' and is_judged "
        f"and is_complete and period_start >= '{c.window_start.date()}' group by 1"
    )
    low = rows[rows.credited < c.policy["scorecard_low_attainment"] * rows.quota]
    low = low[low.scope_id.isin(sellers_now(c))]
    told = set(c.table("select seller_id from people.rep_diagnosis where verdict != 'not_enough_data'").seller_id)
    return share(low.scope_id.isin(told & with_action(c)))


def key_accounts(c: Company) -> pd.DataFrame:
    return c.table("select * from key_accounts.key_account_health where standing = 'on_list'")


def proactive_share(c: Company) -> Told:
    rows = key_accounts(c)
    rows = rows[rows.meeting_count.fillna(0) > 0]
    return ratio(rows.proactive_meeting_count, rows.meeting_count)


def qualified_share(c: Company) -> Told:
    reviews = c.table("select account_id, is_below, reviewed_on from key_accounts.key_account_reviews")
    last = reviews[reviews.reviewed_on == reviews.reviewed_on.max()].set_index("account_id").is_below
    return share(~key_accounts(c).account_id.map(last).astype(bool))


def deep_share(c: Company) -> Told:
    rows = key_accounts(c)
    return share((rows.engaged_function_count.fillna(0) >= 2) & (rows.engaged_senior_count.fillna(0) >= 1))


def planned_share(c: Company) -> Told:
    rows = key_accounts(c)
    plans = c.table("select plan_id, is_current, has_executive_sponsor, year_end from key_accounts.plan_execution")
    plans = plans[plans.year_end == c.as_of]
    good = set(plans[plans.is_current.fillna(False) & plans.has_executive_sponsor.fillna(False)].plan_id)
    has_plan = rows.plan_id.isin(good)
    is_unknown = has_plan & (rows.sponsor_reason == "nothing of the sponsor on record")
    if is_unknown.any() and not (has_plan & ~is_unknown).any():
        return len(rows), None, None, None
    is_met = rows.last_sponsor_meeting_on > c.as_of - c.days("scorecard_action_days")
    return share((has_plan & is_met)[~is_unknown])


def commit_value_added(c: Company) -> Told:
    rows = c.table(
        "select * from forecast_accuracy.forecast_value_added where scope_type = 'company' "
        f"and period_type = 'quarter' and weeks_before_end = {int(c.policy['scorecard_forecast_weeks'])}"
    ).set_index("method")
    for method in COMMITS:
        if method in rows.index and pd.notna(rows.value_added_over_naive[method]):
            row = rows.loc[method]
            low, high = row.value_added_over_naive_low, row.value_added_over_naive_high
            return int(row.naive_n), float(row.value_added_over_naive), known(low), known(high)
    return NOTHING


def confirmed_share(c: Company) -> Told:
    rows = c.table("select * from reconciliation.booking_to_billing where row_type = 'deal'")
    rows = rows[(rows.booked_on >= c.window_start) & (rows.booked_on <= c.as_of) & (rows.crm_amount > 0)]
    rows = rows[(rows.status == "matched") | rows.is_break]
    return ratio(rows.crm_amount.astype(float) * (rows.status == "matched"), rows.crm_amount)


def satisfied_share(c: Company) -> Told:
    """From the extract's requests, by the rules for requests of docs/help.md."""
    if not (c.extract / "crm" / "support_requests.csv").exists():
        return NOTHING
    kinds = {row["function"]: row["kind"] for row in seed("help_functions")}
    names = {name: row["function"] for row in seed("help_functions") for name in row["also_called"].lower().split()}
    content = []
    for row in read(c.extract, "support_requests"):
        function = row["function"].lower()
        is_service = kinds.get(names.get(function, function), "service") == "service"
        asked = pd.Timestamp(moment(row["requested_at"]).date())
        is_answered = bool(row["resolved_at"]) and pd.Timestamp(moment(row["resolved_at"]).date()) <= c.as_of
        if is_service and is_answered and c.window_start <= asked <= c.as_of and row["satisfaction"] in list("12345"):
            content.append(int(row["satisfaction"]) >= 4)
    return share(content)


def within_authority_share(c: Company) -> Told:
    rows = c.table(
        "select authority_n, within_authority_share, within_authority_share_low, within_authority_share_high "
        "from pricing.discount_discipline where scope_type = 'company'"
    )
    if not len(rows):
        return NOTHING
    n, value, low, high = rows.iloc[0]
    return int(n), known(value), known(low), known(high)


def covered_share(c: Company) -> Told:
    rows = c.table(
        "select coverage_n as n, coverage, coverage_norm from people.specialist_engagement "
        "where user_id = 'all' and stage = 'all' and coverage_n > 0 and coverage is not null"
    )
    n, norm = int(rows.n.sum()), float((rows.n * rows.coverage_norm).sum())
    if not n or not norm:
        return n, None, None, None
    covered = round(float((rows.n * rows.coverage).sum()))
    return n, covered / norm, wilson(covered / n, n, -1) * n / norm, wilson(covered / n, n, 1) * n / norm


def fitting_share(c: Company) -> Told:
    return share(c.table("select verdict from people.role_fit where verdict in ('fits', 'misfit')").verdict == "fits")


def moving_share(c: Company) -> Told:
    rows = c.table("select verdict, in_level_since from people.career_path where verdict != 'no_next_level'")
    since = c.as_of - pd.DateOffset(months=int(c.policy["scorecard_level_months"]))
    return share((rows.in_level_since >= since) | (rows.verdict == "ready"))


MEASURES: dict[str, tuple[Callable[[Company], Told], tuple[str, ...]]] = {
    "F1": (warning_gap, ()),
    "F2": (hopeless_hours, ()),
    "F3": (help_in_time, ("people.specialist_engagement",)),
    "F4": (teamed_share, ()),
    "F5": (months_to_productive, ()),
    "C1": (reviews_on_agenda, ()),
    "C2": (verified_share, ()),
    "C3": (coached_after_flag, ()),
    "C4": (hero_share, ()),
    "C5": (seller_led_share, ()),
    "C6": (sellers_with_action, ()),
    "C7": (leaders_from_within, ()),
    "C8": (low_with_line_of_sight, ()),
    "K1": (proactive_share, ()),
    "K2": (qualified_share, ()),
    "K3": (deep_share, ()),
    "K4": (planned_share, ()),
    "E1": (commit_value_added, ()),
    "E2": (confirmed_share, ()),
    "E3": (satisfied_share, ("people.sales_ops_service",)),
    "E4": (within_authority_share, ()),
    "E5": (covered_share, ("people.specialist_engagement",)),
    "E6": (fitting_share, ("people.role_fit",)),
    "E7": (moving_share, ("people.career_path",)),
}


def status_of(value: float | None, rule: dict[str, Any]) -> str:
    if value is None:
        return "not_enough_data"
    side = 1 if rule["is_higher_better"] else -1
    for name, threshold in (("met", rule["met_at"]), ("partly", rule["partly_at"])):
        if side * value >= side * threshold:
            return name
    return "not_met"


def judge(rule: dict[str, Any], told: Told, missing: list[str]) -> dict[str, Any]:
    """A behaviour's status, and whether its interval has the same one."""
    n, value, low, high = told
    if missing or n < rule["minimum_n"] or value is None:
        value = low = high = None
    status = status_of(value, rule)
    clear = None
    if value is not None:
        # An interval with one end has none on the other side.
        ends = (-math.inf if low is None else low, math.inf if high is None else high)
        clear = (low, high) != (None, None) and {status_of(end, rule) for end in ends} == {status}
    return {
        "n": n,
        "value": value,
        "value_low": low,
        "value_high": high,
        "status": status,
        "is_clear": clear,
        "what_to_do": rule["what_to_do"] if status in ("partly", "not_met") else None,
    }


def rules() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for row in seed("scorecard_behaviours"):
        typed: dict[str, Any] = dict(row)
        typed["is_higher_better"] = row["is_higher_better"] == "true"
        for name in ("met_at", "partly_at"):
            typed[name] = float(row[name])
        for name in ("behaviour_order", "minimum_n"):
            typed[name] = int(row[name])
        found.append(typed)
    return found


def behaviours(c: Company) -> dict[str, dict[str, Any]]:
    """What each behaviour's row says; without those whose tables are not there."""
    found: dict[str, dict[str, Any]] = {}
    for rule in rules():
        measure, tables = MEASURES[rule["behaviour"]]
        if all(map(c.has, tables)):
            kept = {name: value for name, value in rule.items() if name != "needs"}
            found[rule["behaviour"]] = kept | judge(rule, measure(c), c.missing(rule["needs"]))
    return found


# ---- metrics


def of_term(rows: pd.DataFrame, term: pd.DataFrame) -> pd.DataFrame | None:
    """The rows of the term's quarters, where there is one of each."""
    found = rows[rows.period_start.isin(term.quarter_start)]
    return found if len(term) and len(found) == len(term) else None


def sales_growth(c: Company, measure: str) -> dict[str, Any]:
    rows = c.table(
        "select * from retention.sales_growth where dimension = 'company' and period_type = 'quarter' "
        f"and measure = '{measure}'"
    )

    def growth(term: pd.DataFrame) -> tuple[int | None, float | None, float | None]:
        found = of_term(rows, term)
        if found is None or found.amount_year_ago.isna().any() or not found.amount_year_ago.sum():
            return None, None, None
        year_ago = float(found.amount_year_ago.sum())
        return int(found.sale_count.sum()), float(found.amount.sum()) / year_ago - 1, year_ago

    n, value, year_ago = growth(c.term)
    told = {"n": n, "value": value, "previous_value": growth(c.term_before)[1]}
    if measure == "bookings" and year_ago:
        targets = c.table(
            "select * from funnel.pipeline_coverage where scope_type = 'company' and period_type = 'quarter'"
        )
        found = of_term(targets, c.term)
        if found is not None and found.target.notna().all():
            base = won_a_year_before(c)
            told["target"] = float(found.target.sum()) / base - 1 if base else None
            sources = set(found.target_source)
            told["target_source"] = sources.pop() if len(sources) == 1 else sources
    return told


def won_a_year_before(c: Company) -> float:
    """Amounts of deals won four quarters before each of the term's, at the plan rates of the targets."""
    deals = c.deals()
    deals = deals[deals.is_won & deals.amount_source.notna()]
    path = c.extract / "finance" / "fx_rates.csv"
    rates = pd.read_csv(path).query("rate_type == 'plan'").sort_values("rate_date") if path.exists() else None
    total = 0.0
    ended = c.ended.reset_index(drop=True)
    for place in ended.index[-len(c.term) :]:
        if place < 4:
            continue
        before, day = ended.loc[place - 4], min(ended.quarter_start[place], c.as_of)
        found = deals[(deals.closed_on >= before.quarter_start) & (deals.closed_on <= before.quarter_end)]
        for currency, amount in zip(found.currency_source, found.amount_source, strict=True):
            rate = 1.0
            if not pd.isna(currency) and currency != "USD":
                assert rates is not None
                rate = rates[(rates.from_currency == currency) & (rates.rate_date <= str(day.date()))].rate.iloc[-1]
            total += float(amount) * rate
    return total


def recurring(
    c: Company, table: str, told: Callable[[Any], tuple[Any, ...]], where: str, *, at_quarters: bool = False
) -> dict[str, Any]:
    """Of the last month that has ended and the last that had twelve months before; or of the quarters' ends."""
    rows = c.table(f"select * from {table} where {where}").sort_values("month_end")

    def at(day: pd.Timestamp) -> Any:
        found = rows[rows.month_end <= day]
        return found.iloc[-1] if len(found) else None

    def at_quarter(back: int) -> Any:
        if len(c.ended) < back:
            return None
        found = rows[rows.month_end == c.ended.quarter_end.iloc[-back]]
        return found.iloc[-1] if len(found) else None

    if at_quarters:
        now, before = at_quarter(1), at_quarter(1 + int(c.policy["scorecard_quarters"]))
    else:
        now, before = at(c.as_of), at(c.as_of - pd.DateOffset(months=12))
    if now is None:
        return {}
    n, value, low, high = told(now)
    previous = None if before is None else told(before)[1]
    return {
        "n": n,
        "value": value,
        "value_low": low,
        "value_high": high,
        "previous_value": previous,
        "method": now.basis,
    }


def retention(c: Company, name: str) -> dict[str, Any]:
    return recurring(
        c,
        "retention.revenue_retention",
        lambda row: (int(row.n), known(row[name]), known(row[f"{name}_low"]), known(row[f"{name}_high"])),
        "dimension = 'company'",
    )


def account_growth(c: Company, where: str) -> dict[str, Any]:
    kept = c.table("select month_end, nrr_low, nrr_high from retention.revenue_retention where dimension = 'company'")
    kept = kept.set_index("month_end")

    def told(row: Any) -> tuple[Any, ...]:
        low = high = None
        if row.dimension == "company" and row.month_end in kept.index:
            low, high = (known(kept[name][row.month_end]) for name in ("nrr_low", "nrr_high"))
        minus_one = [None if end is None else end - 1 for end in (low, high)]
        return int(row.n), known(row.growth), *minus_one

    return recurring(c, "retention.account_growth", told, where, at_quarters=True)


def arr_growth(c: Company) -> dict[str, Any]:
    def told(row: Any) -> tuple[Any, ...]:
        value = (float(row.arr) + float(row.new_arr)) / float(row.arr_year_ago) - 1 if row.arr_year_ago else None
        return int(row.n + row.new_count), value, None, None

    return recurring(c, "retention.account_growth", told, "dimension = 'company'", at_quarters=True)


def forecast_error(c: Company, methods: list[str]) -> dict[str, Any]:
    rows = c.table(
        "select * from forecast_accuracy.forecast_error where scope_type = 'company' and period_type = 'quarter' "
        f"and weeks_before_end = {int(c.policy['scorecard_forecast_weeks'])}"
    )

    def error(method: str, term: pd.DataFrame) -> float | None:
        found = of_term(rows[(rows.method == method) & rows.forecast_amount.notna()], term)
        if found is None or not found.actual_amount.sum():
            return None
        return float(found.absolute_error.sum()) / float(found.actual_amount.sum())

    for method in methods:
        value = error(method, c.term)
        if value is not None:
            before = error(method, c.term_before)
            return {"n": len(c.term), "value": value, "previous_value": before, "method": method}
    return {}


def attainment(c: Company, name: str) -> dict[str, Any]:
    rows = c.table(
        "select scope_id, period_start, attainment, credited_amount, quota_amount from people.quota_attainment "
        "where scope_type = 'seller' and period_type = 'quarter' and is_judged"
    )
    least = policy("people_policy")["attainment_minimum_sellers"]

    def of(term: pd.DataFrame) -> Told:
        found = rows[rows.period_start.isin(term.quarter_start)]
        found = found.assign(at=found.attainment >= 1, one=1)
        a, b = ("at", "one") if name == "at_quota_share" else ("credited_amount", "quota_amount")
        sellers = found.astype({a: float, b: float}).groupby("scope_id")[[a, b]].sum()
        if len(sellers) < least:
            return len(sellers), None, None, None
        return ratio(sellers[a], sellers[b], highest=1.0 if name == "at_quota_share" else None)

    n, value, low, high = of(c.term)
    return {"n": n, "value": value, "value_low": low, "value_high": high, "previous_value": of(c.term_before)[1]}


def pipeline_created(c: Company) -> dict[str, Any]:
    deals = c.deals()
    count = len(c.term)

    def created(term: pd.DataFrame) -> pd.DataFrame:
        return deals[(deals.created_on >= term.quarter_start.iloc[0]) & (deals.created_on <= term.quarter_end.iloc[-1])]

    def growth(term: pd.DataFrame, before: pd.DataFrame) -> float | None:
        if not c.has_terms or len(before) < count or not deals.created_on.min() <= before.quarter_start.iloc[0]:
            return None
        earlier = float(created(before).amount.sum())
        return float(created(term).amount.sum()) / earlier - 1 if earlier else None

    value = growth(c.term, c.term_before)
    n = len(created(c.term)) if len(c.term) else None
    return {"n": n, "value": value, "previous_value": growth(c.term_before, c.ended.iloc[-3 * count : -2 * count])}


def coverage(c: Company) -> dict[str, Any]:
    rows = c.table("select * from funnel.pipeline_coverage where scope_type = 'company' and period_type = 'quarter'")
    rows = rows[rows.period_end > c.as_of].sort_values("period_end")
    if not len(rows):
        return {}
    row = rows.iloc[0]
    told = {
        "n": int(row.open_count),
        "value": known(row.coverage_to_go),
        "period_start": row.period_start,
        "period_end": row.period_end,
    }
    if pd.notna(row.required_coverage):
        told |= {"target": float(row.required_coverage), "target_source": "required coverage"}
    return told


def velocity(c: Company) -> dict[str, Any]:
    rows = c.table("select * from funnel.sales_velocity where scope_type = 'company' and period_type = 'quarter'")

    def mean(term: pd.DataFrame) -> tuple[int | None, float | None]:
        found = of_term(rows, term)
        if found is None or found.velocity.isna().any():
            return None, None
        return int(found.n.sum()), float(found.velocity.mean())

    n, value = mean(c.term)
    return {"n": n, "value": value, "previous_value": mean(c.term_before)[1]}


def expansion_share(c: Company) -> dict[str, Any]:
    rows = c.table("select * from retention.arr_bridges where dimension = 'company'")

    def of(day: pd.Timestamp) -> tuple[int | None, float | None]:
        ended = sorted(rows[rows.month_end <= day].month_end.unique())[-12:]
        found = rows[rows.month_end.isin(ended)].groupby("movement").amount.sum().astype(float)
        own = found.get("expansion", 0.0) + found.get("price_change", 0.0)
        whole = own + found.get("new", 0.0) + found.get("reactivation", 0.0)
        return (12, own / whole) if len(ended) == 12 and whole else (None, None)

    n, value = of(c.as_of)
    method = rows.basis.max() if value is not None else None
    return {
        "n": n,
        "value": value,
        "previous_value": of(c.as_of - pd.DateOffset(months=12))[1],
        "method": method,
    }


METRICS: dict[str, Callable[[Company], dict[str, Any]]] = {
    "bookings_growth": lambda c: sales_growth(c, "bookings"),
    "revenue_growth": lambda c: sales_growth(c, "revenue"),
    "arr_growth": arr_growth,
    "gross_retention": lambda c: retention(c, "grr"),
    "net_retention": lambda c: retention(c, "nrr"),
    "logo_retention": lambda c: retention(c, "logo_retention"),
    "commit_error": lambda c: forecast_error(c, COMMITS),
    "outlook_error": lambda c: forecast_error(c, ["model"]),
    "at_quota_share": lambda c: attainment(c, "at_quota_share"),
    "attainment": lambda c: attainment(c, "attainment"),
    "pipeline_created_growth": pipeline_created,
    "coverage": coverage,
    "velocity": velocity,
    "account_growth": lambda c: account_growth(c, "dimension = 'company'"),
    "key_account_growth": lambda c: account_growth(c, "dimension = 'key' and member = 'key'"),
    "other_account_growth": lambda c: account_growth(c, "dimension = 'key' and member = 'other'"),
    "expansion_share": expansion_share,
}


def standings(row: dict[str, Any], steady: float) -> dict[str, Any]:
    """Better or worse than before, than the target and than what is published."""
    value, before, low, high = row["value"], row["previous_value"], row["value_low"], row["value_high"]
    side = 1 if row["is_higher_better"] else -1
    direction = "not_enough_data"
    change = None
    if value is not None and before is not None:
        change = value - before
        size = abs(change / before) if row["unit"].startswith("amount") else abs(change)
        is_same = low <= before <= high if low is not None and high is not None else size < steady
        direction = "no_clear_change" if is_same else "better" if side * change > 0 else "worse"
    target, least, most = row["target"], row["benchmark_low"], row["benchmark_high"]
    standing = beside = "not_enough_data"
    if value is not None:
        standing = "no_target" if target is None else "met" if side * value >= side * target else "missed"
        beside = "no_benchmark"
    if value is not None and least is not None:
        beside = "as_benchmark" if least <= value <= most else "better" if side * (value - least) > 0 else "worse"
    return {"change": change, "direction": direction, "target_standing": standing, "benchmark_standing": beside}


def metrics(c: Company) -> dict[str, dict[str, Any]]:
    """What each measure's row says."""
    found: dict[str, dict[str, Any]] = {}
    for line in seed("scorecard_metrics"):
        row: dict[str, Any] = {name: value or None for name, value in line.items() if name != "needs"}
        for name in ("is_headline", "is_higher_better"):
            row[name] = line[name] == "true"
        for name in ("metric_order", "measure_order", "benchmark_year"):
            row[name] = int(line[name]) if line[name] else None
        for name in ("target", "benchmark_low", "benchmark_high"):
            row[name] = number(line[name])
        row["target_source"] = None if row["target"] is None else "policy"
        row |= dict.fromkeys(("n", "value", "value_low", "value_high", "previous_value", "method"))
        row |= {"period_start": None, "period_end": None}
        if c.has_terms:
            row |= {"period_start": c.term.quarter_start.iloc[0], "period_end": c.term.quarter_end.iloc[-1]}
        if not c.missing(line["needs"]):
            row |= METRICS[line["measure"]](c)
        row |= standings(row, c.policy["scorecard_steady_change"])
        found[line["measure"]] = row
    return found
