"""Prices and discounts worked out a second time from docs/pricing.md, the published columns' comments and the seeds.

Contract extracts (CSV) go in, data frames come out. Deals are those of `tests.oracles.conversion`; which invoice
belongs to which deal is what `tests.oracles.reconciliation` says. Money is `Decimal`; a discount is a `Fraction`, so
that a limit is never a matter of rounding. A count is an int, a rate a float, and what is not known is None.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from pathlib import Path
from statistics import mean, variance
from typing import Any

import pandas as pd

from tests.oracles import conversion, funnel, reconciliation
from tests.oracles.conversion import Opportunity, Z, wilson
from tests.oracles.forecasts import student
from tests.oracles.funnel import CENTS, REPORTING_CURRENCY, STAGES, Entity, Facts, Row, end_of, value_or_none
from tests.oracles.reconciliation import rows_there
from tests.oracles.recurring_revenue import add_months

DAY = timedelta(days=1)
NOTHING = Decimal(0)
SEEDS = Path(__file__).parents[2] / "seeds"
UNKNOWN, COMPANY = "unknown", "company"
NOT_ENOUGH, NOBODY_ELSE = "not enough data", "nobody else to compare with"
DIMENSIONS = ("company", "product", "segment", "region", "seller", "size_band")
PERIODS = ("all", "year", "quarter")


SELLER_ROLES = ("account_executive", "account_manager", "development_rep")


def read_seed(name: str) -> list[dict[str, str]]:
    table = pd.read_csv(SEEDS / f"{name}.csv", dtype=str, keep_default_na=False)
    return [{str(column): text for column, text in row.items()} for row in table.to_dict("records")]


POLICY = {row["name"]: Fraction(row["value"]) for row in read_seed("pricing_policy")}
AUTHORITY = {row["role"]: Fraction(row["maximum_share"]) for row in read_seed("discount_authority")}
RULES = {row["rule"]: row for row in read_seed("discount_rules")}
VERDICTS = {row["verdict"]: row["what_to_do"] for row in read_seed("discount_verdicts")}
BANDS = [
    (row["size_band"], Decimal(row["from_amount"]), Decimal(row["below_amount"] or "Infinity"))
    for row in read_seed("size_bands")
]


def is_sound_approval(row: Row) -> bool:
    share = value_or_none(Decimal, row.get("requested_share"))
    return (
        row.get("opportunity_id") is not None
        and row.get("status") in ("requested", "approved", "rejected")
        and value_or_none(funnel.to_time, row.get("requested_at")) is not None
        and funnel.is_readable(funnel.to_time, row.get("decided_at"))
        and funnel.is_readable(Decimal, row.get("requested_share"))
        and (share is None or 0 <= share <= 1)
    )


def is_sound_invoice_line(row: Row) -> bool:
    return (
        row.get("invoice_id") is not None
        and value_or_none(funnel.to_decimal, row.get("amount")) is not None
        and all(funnel.is_readable(funnel.to_decimal, row.get(name)) for name in ("quantity", "list_unit_price"))
    )


ENTITIES = [
    *reconciliation.ENTITIES,
    Entity("crm/discount_approvals", ("approval_id",), is_sound_approval, event_time="requested_at"),
    Entity("finance/invoice_lines", ("invoice_line_id",), is_sound_invoice_line),
]


def load(directories: list[Path]) -> Facts:
    return funnel.load(directories, ENTITIES)


def size_band(amount: Decimal | None) -> str:
    if amount is None:
        return UNKNOWN
    return next((band for band, start, below in BANDS if start <= amount < below), UNKNOWN)


def number(row: Row, name: str) -> Decimal | None:
    found = value_or_none(funnel.to_decimal, row.get(name))
    assert found is None or isinstance(found, Decimal)
    return found


def added(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """Of those that are known; None when none is."""
    known = [amount for amount in amounts if amount is not None]
    return sum(known, NOTHING) if known else None


def rounded(amount: Decimal) -> Decimal:
    return amount.quantize(CENTS, ROUND_HALF_UP)


# Who is who


@dataclass(frozen=True)
class Job:
    since: date
    role: str | None
    manager_id: str | None
    region: str | None
    segment: str | None


class People:
    """Who had which job, by core.reps."""

    def __init__(self, facts: Facts, as_of: date) -> None:
        self.users = {key[0]: row for key, row in facts.newest_rows("crm/users", as_of).items()}
        self.jobs: dict[str, list[Job]] = defaultdict(list)
        for (user_id, since), row in facts.newest_rows("crm/user_roles", as_of).items():
            if funnel.to_date(since) <= as_of:
                self.add(user_id, funnel.to_date(since), row)
        for user_id, row in self.users.items():
            if user_id not in self.jobs:
                self.add(user_id, value_or_none(funnel.to_date, row.get("hired_on")) or date.min, row)
        for jobs in self.jobs.values():
            jobs.sort(key=lambda job: job.since)

    def add(self, user_id: str, since: date, row: Row) -> None:
        places = (row.get(name) for name in ("role", "manager_id", "region", "segment"))
        self.jobs[user_id].append(Job(since, *places))

    def job(self, user_id: str | None, day: date) -> Job | None:
        held = [job for job in self.jobs.get(user_id or "", []) if job.since <= day]
        return held[-1] if held else None

    def jobs_of(self, users: Iterable[str]) -> list[Job]:
        """By which they have a place of their own, whether they sold there or not: the newest."""
        return [job for user in users for job in self.jobs.get(user, [])[-1:]]

    def name(self, user_id: str | None) -> str | None:
        return (self.users.get(user_id or "") or {}).get("name")

    def authority(self, user_id: str | None, day: date) -> Fraction | None:
        """None without a job on that day; a role that is not listed may give nothing."""
        job = self.job(user_id, day)
        return AUTHORITY.get(job.role or "", Fraction(0)) if job else None


# What everything stands on


@dataclass(frozen=True)
class Priced:
    """A line: list and net amount in the reporting currency, None without a rate; None at all where it has no price."""

    unit: str
    product_id: str | None
    list_amount: Decimal | None
    net_amount: Decimal | None


@dataclass
class Line:
    line_id: str
    product_id: str | None
    list_source: Decimal | None
    net_source: Decimal | None
    row: Row

    @property
    def is_priced(self) -> bool:
        return self.list_source is not None and self.net_source is not None


@dataclass
class Shop:
    """What was known on a day."""

    facts: Facts
    as_of: date
    deals: dict[str, Opportunity] = field(init=False)
    lines: dict[str, list[Line]] = field(init=False)

    def __post_init__(self) -> None:
        facts, as_of = self.facts, self.as_of
        self.deals = {one.opportunity_id: one for one in conversion.opportunities(facts, as_of) if not one.is_deleted}
        self.rates = reconciliation.Rates(facts, as_of)
        self.people = People(facts, as_of)
        self.products = {key[0]: row for key, row in facts.newest_rows("crm/products", as_of).items()}
        self.accounts = {key[0]: row for key, row in facts.newest_rows("crm/accounts", as_of).items()}
        self.sellers = {user for user, jobs in self.people.jobs.items() if jobs[-1].role in SELLER_ROLES}
        self.sellers |= {one.owner_id for one in self.deals.values() if one.owner_id}
        self.lines = defaultdict(list)
        for line_id, row in rows_there(facts, "crm/opportunity_lines", as_of).items():
            quantity, net = number(row, "quantity"), number(row, "net_unit_price")
            at_list = self.list_price(row)
            self.lines[row["opportunity_id"] or ""].append(
                Line(
                    line_id,
                    row["product_id"],
                    None if quantity is None or at_list is None else quantity * at_list,
                    None if quantity is None or net is None else quantity * net,
                    row,
                )
            )

    def list_price(self, row: Row) -> Decimal | None:
        own = number(row, "list_unit_price")
        return own if own is not None else number(self.products.get(row.get("product_id") or "", {}), "list_price")

    def who_acts(self, deal: Opportunity) -> str:
        """The owner while there, else the owner's manager while there, else sales operations."""
        for user in (deal.owner_id, deal.manager_id):
            left_on = value_or_none(funnel.to_date, self.people.users.get(user or "", {}).get("terminated_on"))
            if left_on is None or left_on > self.as_of:
                return self.people.name(user) or user or "sales_operations"
        return "sales_operations"

    def currency(self, deal: Opportunity) -> str:
        last = deal.deal.stretches[-1] if deal.deal else None
        return (last.currency if last else deal.row.get("currency")) or REPORTING_CURRENCY

    def at_plan(self, amount: Decimal, currency: str, day: date) -> Decimal | None:
        rate = self.rates.plan(currency, day)
        return None if rate is None else rounded(amount * rate)

    def priced(self, deal: Opportunity) -> list[Priced]:
        """The priced lines of a deal."""
        day = min(deal.closed_on or self.close_date(deal) or self.as_of, self.as_of)
        made = []
        for line in self.lines[deal.opportunity_id]:
            if line.list_source is None or line.net_source is None:
                continue
            currency = line.row.get("currency") or self.currency(deal)
            made.append(
                Priced(
                    deal.opportunity_id,
                    line.product_id,
                    self.at_plan(rounded(line.list_source), currency, day),
                    self.at_plan(rounded(line.net_source), currency, day),
                )
            )
        return made

    def close_date(self, deal: Opportunity) -> date | None:
        """As the deal's history ends, where it has one."""
        found = (
            deal.deal.stretches[-1].close_date
            if deal.deal
            else funnel.field_value("close_date", deal.row.get("close_date"))
        )
        assert found is None or isinstance(found, date)
        return found

    @property
    def window_start(self) -> date:
        """The day after which deals were won to be looked at."""
        return add_months(self.as_of, -int(POLICY["window_months"]))


# pricing.price_realization


@dataclass(frozen=True)
class Sold:
    """A priced line of a basis, on its day, with the member of each dimension."""

    basis: str
    day: date | None
    members: dict[str, str]
    price: Priced


def places_of(shop: Shop, deal: Opportunity) -> dict[str, str]:
    return {
        "company": COMPANY,
        "segment": deal.segment or UNKNOWN,
        "region": deal.region or UNKNOWN,
        "seller": deal.owner_id or UNKNOWN,
        "size_band": size_band(deal.list_amount),
    }


def sold_lines(shop: Shop) -> list[Sold]:
    made = []
    for deal in shop.deals.values():
        if deal.outcome not in ("won", None):
            continue
        basis, day = ("booked", deal.closed_on) if deal.outcome else ("quoted", shop.close_date(deal))
        places = places_of(shop, deal)
        made += [Sold(basis, day, {**places, "product": one.product_id or UNKNOWN}, one) for one in shop.priced(deal)]
    return made + invoiced_lines(shop)


def invoiced_lines(shop: Shop) -> list[Sold]:
    facts, as_of = shop.facts, shop.as_of
    books = reconciliation.open_books(facts, as_of)
    documents = [one for line in reconciliation.make_lines(books) for one in ((line, each) for each in line.documents)]
    copies = {each.document_id for _, each in documents if each.is_invoice and each.is_duplicate}
    deals_of: dict[str, set[str]] = defaultdict(set)
    for line, each in documents:
        if each.is_invoice and line.deal:
            deals_of[each.document_id].add(line.deal.opportunity_id)
    lines: dict[str, list[Row]] = defaultdict(list)
    for row in rows_there(facts, "finance/invoice_lines", as_of).values():
        lines[row["invoice_id"] or ""].append(row)
    made = []
    for invoice in books.invoices:
        if invoice.invoice_id in copies:
            continue
        named = deals_of[invoice.invoice_id]
        deal = shop.deals[next(iter(named))] if len(named) == 1 else None
        account = shop.accounts.get(invoice.account_id or "", {})
        places = (
            places_of(shop, deal)
            if deal
            else {
                "company": COMPANY,
                "segment": account.get("segment") or UNKNOWN,
                "region": account.get("region") or UNKNOWN,
                "seller": UNKNOWN,
                "size_band": UNKNOWN,
            }
        )
        credits = -sum(
            (
                note.amount
                for note in books.credit_notes
                if note.invoice_id == invoice.invoice_id and note.currency == invoice.currency
            ),
            NOTHING,
        )
        whole = sum((number(row, "amount") or NOTHING for row in lines[invoice.invoice_id]), NOTHING)
        for row in lines[invoice.invoice_id]:
            amount, quantity, at_list = number(row, "amount"), number(row, "quantity"), shop.list_price(row)
            if amount is None or quantity is None or at_list is None:
                continue
            net = amount - (credits * amount / whole if whole else NOTHING)
            price = Priced(
                invoice.invoice_id,
                row.get("product_id"),
                shop.at_plan(rounded(quantity * at_list), invoice.currency, invoice.on),
                shop.at_plan(rounded(net), invoice.currency, invoice.on),
            )
            made.append(Sold("invoiced", invoice.on, {**places, "product": row.get("product_id") or UNKNOWN}, price))
    return made


def members(shop: Shop) -> dict[str, dict[str, str]]:
    """Names of those that have a row whether they sold or not."""
    jobs = shop.people.jobs_of(shop.sellers)
    return {
        "company": {COMPANY: "Company"},
        "product": {key: row.get("name") or key for key, row in shop.products.items()},
        "segment": {job.segment: job.segment for job in jobs if job.segment},
        "region": {job.region: job.region for job in jobs if job.region},
        "seller": {seller: shop.people.name(seller) or seller for seller in shop.sellers},
        "size_band": {band: band for band, _, _ in BANDS},
    }


def ratio_interval(units: Sequence[tuple[Decimal, Decimal]]) -> tuple[float, float] | None:
    """Of Σy / Σx over (x, y) of each deal."""
    n, x, y = len(units), sum((x for x, _ in units), NOTHING), sum((y for _, y in units), NOTHING)
    if n < POLICY["realization_minimum_deals"] or x <= 0:
        return None
    ratio = Fraction(y) / Fraction(x)
    squares = math.fsum(float(Fraction(y) - ratio * Fraction(x)) ** 2 for x, y in units)
    reach = student(n - 1) * math.sqrt(n * squares / (n - 1)) / float(x)
    return float(ratio) - reach, float(ratio) + reach


def price_realization(shop: Shop) -> pd.DataFrame:
    """One row per basis, dimension, member and period."""
    sold, always = sold_lines(shop), members(shop)
    rows = []
    for basis in ("booked", "quoted", "invoiced"):
        lines = [one for one in sold if one.basis == basis]
        days = [one.day for one in lines if one.day]
        everything = (min(days, default=shop.as_of), max(days, default=shop.as_of))
        for dimension in DIMENSIONS:
            for period_type in PERIODS:
                cells: dict[tuple[str, date, date], list[Priced]] = defaultdict(list)
                if period_type == "all":
                    cells |= {(member, *everything): [] for member in always[dimension]}
                for one in lines:
                    if period_type != "all" and one.day is None:
                        continue
                    period = everything
                    if period_type != "all" and one.day:
                        period = funnel.period_of(one.day, period_type)
                    cells[one.members[dimension], *period].append(one.price)
                for (member, start, end), prices in cells.items():
                    name = always[dimension].get(member, member)
                    rows.append(
                        {
                            "basis": basis,
                            "dimension": dimension,
                            "member": member,
                            "member_name": name,
                            "period_type": period_type,
                            "period_start": start,
                            "period_end": end,
                            **realization(prices),
                        }
                    )
    return pd.DataFrame(rows, dtype=object)


def realization(prices: list[Priced]) -> dict[str, Any]:
    units: dict[str, tuple[Decimal, Decimal]] = {}
    for one in prices:
        if one.list_amount is not None and one.net_amount is not None:
            x, y = units.get(one.unit, (NOTHING, NOTHING))
            units[one.unit] = (x + one.list_amount, y + one.net_amount)
    at_list = sum((x for x, _ in units.values()), NOTHING) if units else None
    net = sum((y for _, y in units.values()), NOTHING) if units else None
    interval = ratio_interval(list(units.values()))
    reason = None
    if not at_list:
        reason = "no list amount" if prices else "no priced line"
    return {
        "reason": reason,
        "interval_reason": None if interval else NOT_ENOUGH,
        "line_count": len(prices),
        "deal_count": len(units),
        "list_amount": at_list,
        "net_amount": net,
        "price_realization": float(Fraction(net) / Fraction(at_list)) if at_list and net is not None else None,
        "price_realization_low": interval[0] if interval else None,
        "price_realization_high": interval[1] if interval else None,
    }


# Judged deals


@dataclass(frozen=True)
class Approval:
    status: str
    share: Fraction | None
    authority: Fraction
    decided_at: datetime | None
    reason: str | None
    concession: str | None


@dataclass(frozen=True)
class Judged:
    deal: Opportunity
    discount: Fraction | None
    band: str
    term: str
    product_id: str | None
    quoted_at: datetime | None
    own_authority: Fraction | None
    is_period_end: bool
    has_reason: bool
    has_concession: bool | None
    status: str
    is_before_quote: bool | None
    approved_at: datetime | None
    list_amount: Decimal | None
    net_amount: Decimal | None

    @property
    def is_won(self) -> bool:
        return self.deal.outcome == "won"

    @property
    def groups(self) -> list[tuple[Any, ...]]:
        """The narrowest first."""
        names = (self.deal.segment, self.band, self.term, self.product_id)
        return [names[:length] for length in (4, 3, 2, 1, 0)]

    def scope(self, scope_type: str) -> str | None:
        return {
            "company": COMPANY,
            "region": self.deal.region,
            "manager": self.deal.manager_id,
            "seller": self.deal.owner_id,
        }[scope_type]


def is_within(share: Fraction | None, limit: Fraction | None) -> bool:
    return share is not None and limit is not None and share <= limit + POLICY["tolerance"]


def closed_moment(deal: Opportunity) -> tuple[datetime, bool]:
    """When a won deal closed, and whether only the day is known: then the end of it."""
    assert deal.closed_on
    at = value_or_none(funnel.to_time, deal.row.get("closed_at"))
    if at and at.date() == deal.closed_on and at.time() != time():
        return at, False
    return end_of(deal.closed_on), True


def is_decided_by(approval: Approval, deal: Opportunity) -> bool:
    if approval.decided_at is None or deal.outcome is None:
        # Of an open deal: what is decided after the as-of date counts as requested.
        return approval.decided_at is not None
    closed, is_end_of_day = closed_moment(deal)
    return approval.decided_at < closed if is_end_of_day else approval.decided_at <= closed


def judge(shop: Shop) -> list[Judged]:
    facts, as_of = shop.facts, shop.as_of
    rows = rows_there(facts, "crm/discount_approvals", as_of)
    approvals: dict[str, list[Approval]] = defaultdict(list)
    for row in rows.values():
        if funnel.to_time(row["requested_at"] or "") >= end_of(as_of):
            continue
        decided_at = value_or_none(funnel.to_time, row.get("decided_at"))
        if row["status"] == "requested" or (decided_at is not None and decided_at >= end_of(as_of)):
            decided_at = None
        share = value_or_none(Fraction, row.get("requested_share"))
        authority = shop.people.authority(row.get("approver_id"), decided_at.date()) if decided_at else None
        approvals[row["opportunity_id"] or ""].append(
            Approval(
                (row["status"] or "") if decided_at else "requested",
                share,
                authority or Fraction(0),
                decided_at,
                row.get("reason"),
                row.get("concession_received"),
            )
        )
    made = []
    for deal in shop.deals.values():
        is_won = deal.outcome == "won" and deal.closed_on is not None and deal.closed_on > shop.window_start
        prices = shop.priced(deal)
        if deal.row.get("opportunity_type") == "renewal" or not prices or not (is_won or deal.is_open):
            continue
        made.append(judge_one(shop, deal, prices, approvals[deal.opportunity_id], bool(rows)))
    return [one for one in made if one.discount is not None]


def judge_one(shop: Shop, deal: Opportunity, prices: list[Priced], approvals: list[Approval], is_known: bool) -> Judged:
    lines = shop.lines[deal.opportunity_id]
    priced = [line for line in lines if line.is_priced]
    whole = sum((Fraction(line.list_source or 0) for line in priced), Fraction(0))
    net = sum((Fraction(line.net_source or 0) for line in priced), Fraction(0))
    d = 1 - net / whole if whole else None
    terms = [int(line.row["term_months"] or "") for line in lines if line.row.get("term_months")]
    largest = min(
        lines,
        key=lambda line: (
            line.list_source is None,
            -(line.list_source or NOTHING),
            line.product_id or "",
            line.line_id,
        ),
    )
    quoted = [
        stretch.valid_from
        for stretch in (deal.deal.stretches if deal.deal else [])
        if (stage := STAGES.get(stretch.stage or "")) and stage.is_open and stage.order >= POLICY["quote_stage_order"]
    ]
    quoted_at = min(quoted, default=None)
    own = shop.people.authority(deal.owner_id, deal.closed_on or shop.as_of)
    covering = [one for one in approvals if one.status == "approved" and d is not None and is_within(d, one.share)]
    valid = [one for one in covering if is_within(d, one.authority)]
    timely = [one for one in valid if is_decided_by(one, deal)]
    statuses = {one.status for one in approvals}
    if own is None or not is_known:
        status = UNKNOWN
    elif is_within(d, own):
        status = "own_authority"
    elif timely:
        status = "approved"
    elif valid:
        status = "approved_late"
    elif covering:
        status = "approver_lacks_authority"
    elif "approved" in statuses:
        status = "above_approved_share"
    elif "rejected" in statuses:
        status = "rejected"
    else:
        status = "awaiting" if "requested" in statuses else "not_asked"
    is_before_quote = None
    if status not in (UNKNOWN, "own_authority") and quoted_at is not None:
        is_before_quote = any(one.decided_at is not None and one.decided_at <= quoted_at for one in timely)
    is_period_end = False
    if deal.closed_on:
        _, end = funnel.period_of(deal.closed_on, "quarter")
        is_period_end = (end - deal.closed_on).days < POLICY["period_end_days"]
    rated = [one for one in prices if one.list_amount is not None and one.net_amount is not None]
    return Judged(
        deal=deal,
        discount=d,
        band=size_band(deal.list_amount),
        term=str(max(terms)) if terms else "none",
        product_id=largest.product_id,
        quoted_at=quoted_at,
        own_authority=own,
        is_period_end=is_period_end,
        has_reason=any(line.row.get("discount_reason") for line in lines) or any(one.reason for one in approvals),
        has_concession=any(one.concession and one.status != "requested" for one in approvals) if is_known else None,
        status=status,
        is_before_quote=is_before_quote,
        approved_at=min((one.decided_at for one in timely if one.decided_at), default=None),
        list_amount=added(one.list_amount for one in rated),
        net_amount=added(one.net_amount for one in rated),
    )


# What like deals get


@dataclass(frozen=True)
class Like:
    """The like deals of one: which group was taken, how many they are, their mean and variance."""

    group: tuple[Any, ...]
    m: int
    expected: float
    variance: float


class LikeDeals:
    """Of one kind of scope."""

    def __init__(self, judged: list[Judged], scope_type: str) -> None:
        self.scope_type = scope_type
        self.of_group: dict[tuple[Any, ...], list[tuple[str | None, float]]] = defaultdict(list)
        self.found: dict[tuple[tuple[Any, ...], str | None], Like | None] = {}
        for one in judged:
            if one.is_won and one.discount is not None:
                for group in one.groups:
                    self.of_group[group].append((one.scope(scope_type), float(one.discount)))

    def of(self, one: Judged) -> Like | None:
        scope = one.scope(self.scope_type)
        for group in one.groups:
            if (group, scope) not in self.found:
                self.found[group, scope] = self.make(group, scope)
            found = self.found[group, scope]
            if found:
                return found
        return None

    def make(self, group: tuple[Any, ...], scope: str | None) -> Like | None:
        others = [d for other, d in self.of_group[group] if self.scope_type == "company" or other != scope]
        if len(others) < POLICY["like_minimum_deals"]:
            return None
        return Like(group, len(others), mean(others), variance(others))


# pricing.discount_discipline


def share(told: Sequence[bool], name: str) -> dict[str, float | None]:
    n = len(told)
    if n < POLICY["rate_minimum_deals"]:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    rate = sum(told) / n
    low, high = wilson(rate, n)
    return {name: rate, f"{name}_low": low, f"{name}_high": high}


def discount_discipline(shop: Shop) -> pd.DataFrame:
    """One row per company, region, manager and seller."""
    judged = [one for one in judge(shop) if one.is_won]
    jobs = shop.people.jobs_of(shop.sellers)
    decided = [
        one
        for one in shop.deals.values()
        if one.outcome and one.closed_on and one.closed_on > shop.window_start
        and one.row.get("opportunity_type") != "renewal"
    ]  # fmt: skip
    ended = [*decided, *(one.deal for one in judged)]
    scopes: dict[str, set[str]] = {
        "company": {COMPANY},
        "region": {job.region for job in jobs if job.region} | {one.region for one in ended if one.region},
        "manager": {job.manager_id for job in jobs if job.manager_id}
        | {one.manager_id for one in ended if one.manager_id},
        "seller": set(shop.sellers),
    }
    rows = []
    for scope_type, scope_ids in scopes.items():
        like_deals = LikeDeals(judged, scope_type)
        for scope_id in sorted(scope_ids):
            mine = [one for one in judged if one.scope(scope_type) == scope_id]
            out_of = [one for one in decided if scope_of(one, scope_type) == scope_id]
            name = {"company": "Company", "region": scope_id}.get(scope_type) or shop.people.name(scope_id) or scope_id
            rows.append(
                {
                    "scope_type": scope_type,
                    "scope_id": scope_id,
                    "scope_name": name,
                    **discipline(mine, like_deals, out_of),
                    "window_start": shop.window_start + DAY,
                }
            )
    return pd.DataFrame(rows, dtype=object)


def scope_of(deal: Opportunity, scope_type: str) -> str | None:
    return {"company": COMPANY, "region": deal.region, "manager": deal.manager_id, "seller": deal.owner_id}[scope_type]


def discipline(mine: list[Judged], like_deals: LikeDeals, ended: list[Opportunity]) -> dict[str, Any]:
    is_company = like_deals.scope_type == "company"
    discounts = [float(one.discount) for one in mine if one.discount is not None]
    at_list, net = added(one.list_amount for one in mine), added(one.net_amount for one in mine)
    discount_share = float(1 - Fraction(net) / Fraction(at_list)) if at_list and net is not None else None
    compared = [
        (one, float(one.discount), like) for one in mine if one.discount is not None and (like := like_deals.of(one))
    ]
    row: dict[str, Any] = {
        "n": len(mine),
        "list_amount": at_list,
        "net_amount": net,
        "mean_discount": mean(discounts) if discounts else None,
        "discount_share": discount_share,
        "like_n": len(compared),
        "expected_discount": mean(like.expected for *_, like in compared) if compared else None,
        **excess(compared, is_company),
        **lift(compared),
    }
    known = [one for one in mine if one.status != UNKNOWN]
    asked = [one for one in known if one.status != "own_authority"]
    quoted = [one for one in asked if one.is_before_quote is not None]
    large = [one for one in mine if one.discount is not None and one.discount > POLICY["reason_from_share"]]
    row |= {"authority_n": len(known), "approval_n": len(asked), "before_quote_n": len(quoted), "reason_n": len(large)}
    row |= share([one.status in ("own_authority", "approved") for one in known], "within_authority_share")
    row |= share([one.is_before_quote is True for one in quoted], "approved_before_quote_share")
    row |= share([one.has_concession is True for one in asked], "concession_share")
    row |= share([one.has_reason for one in large], "reason_share")
    won = share([one.outcome == "won" for one in ended], "win_rate")
    row |= {"decided_n": len(ended), "win_rate": won["win_rate"]}
    for end in ("", "_low", "_high"):
        rate = won[f"win_rate{end}"]
        is_told = rate is not None and discount_share is not None and discount_share != 1
        row[f"break_even_win_rate{end}"] = rate / (1 - discount_share) if is_told else None  # type: ignore[operator]
    verdict = verdict_of(row, is_company)
    return {**row, "verdict": verdict, "what_to_do": VERDICTS[verdict]}


Compared = list[tuple[Judged, float, Like]]


def excess(compared: Compared, is_company: bool) -> dict[str, Any]:
    n = len(compared)
    row: dict[str, Any] = dict.fromkeys(
        ["excess", "excess_low", "excess_high", "dispersion", "dispersion_low", "dispersion_high"]
    )
    row["dispersion_of_like_deals"] = math.sqrt(mean(like.variance for *_, like in compared)) if compared else None
    row["excess_reason"] = NOBODY_ELSE if is_company else NOT_ENOUGH
    if n < POLICY["discipline_minimum_deals"]:
        return row
    beyond = [d - like.expected for _, d, like in compared]
    v = variance(beyond)
    reach = math.exp(Z / math.sqrt(2 * (n - 1)))
    row |= {
        "dispersion": math.sqrt(v),
        "dispersion_low": math.sqrt(v) / reach,
        "dispersion_high": math.sqrt(v) * reach,
    }
    if is_company:
        return row
    taken: dict[tuple[Any, ...], list[Like]] = defaultdict(list)
    for *_, like in compared:
        taken[like.group].append(like)
    of_groups = math.fsum((len(group) / n) ** 2 * group[0].variance / group[0].m for group in taken.values())
    half = student(n - 1) * math.sqrt(v / n + of_groups)
    middle = mean(beyond)
    return row | {"excess": middle, "excess_low": middle - half, "excess_high": middle + half, "excess_reason": None}


def lift(compared: Compared) -> dict[str, Any]:
    late = [d - like.expected for one, d, like in compared if one.is_period_end]
    other = [d - like.expected for one, d, like in compared if not one.is_period_end]
    row: dict[str, Any] = {
        "late_n": len(late),
        "other_n": len(other),
        "period_end_lift": None,
        "period_end_lift_low": None,
        "period_end_lift_high": None,
        "lift_reason": NOT_ENOUGH,
    }
    if min(len(late), len(other)) < POLICY["lift_minimum_deals"]:
        return row
    middle = mean(late) - mean(other)
    a, b = variance(late) / len(late), variance(other) / len(other)
    half = 0.0
    if a + b > 0:
        half = welch_student((a + b) ** 2 / (a**2 / (len(late) - 1) + b**2 / (len(other) - 1))) * math.sqrt(a + b)
    return row | {
        "period_end_lift": middle,
        "period_end_lift_low": middle - half,
        "period_end_lift_high": middle + half,
        "lift_reason": None,
    }


def welch_student(degrees: float) -> float:
    """The same expansion takes degrees of freedom that are no whole number."""
    return student(degrees)  # type: ignore[arg-type]


def verdict_of(row: dict[str, Any], is_company: bool) -> str:
    tolerance = float(POLICY["excess_tolerance"])
    if row["excess_low"] is not None and row["excess_low"] > tolerance:
        return "above_like_deals"
    if row["period_end_lift_low"] is not None and row["period_end_lift_low"] > float(POLICY["lift_tolerance"]):
        return "lift_at_period_end"
    if is_company:
        return "not_compared"
    if row["excess"] is None:
        return "not_enough_data"
    return "below_like_deals" if row["excess_high"] < -tolerance else "as_like_deals"


# pricing.discount_exceptions


def broken_rules(one: Judged, like: Like | None, is_known: bool) -> Iterable[str]:
    """In the order of the document."""
    d = one.discount
    if one.is_won or one.quoted_at is not None:
        if one.status in ("not_asked", "awaiting", "rejected"):
            yield "no_approval"
        if one.status in ("approver_lacks_authority", "above_approved_share", "approved_late"):
            yield one.status
        if one.status == "approved" and one.is_before_quote is False:
            yield "approved_after_quote"
    if d is None:
        return
    if like and float(d) - like.expected > POLICY["outlier_share"]:
        yield "unlike_others"
    if d > POLICY["concession_from_share"] and is_known and not one.has_concession:
        yield "nothing_in_return"
    if d > POLICY["reason_from_share"] and not one.has_reason:
        yield "no_reason"


def figures(one: Judged, like: Like | None) -> list[float]:
    """The percentages that the evidence must name."""
    shares = [one.discount, one.own_authority, like.expected if like else None]
    return [100 * float(share) for share in shares if share is not None]


def discount_exceptions(shop: Shop) -> pd.DataFrame:
    """One row per judged deal that breaks a rule."""
    judged = judge(shop)
    like_deals = LikeDeals(judged, "seller")
    is_known = bool(rows_there(shop.facts, "crm/discount_approvals", shop.as_of))
    rows = []
    for one in judged:
        like = like_deals.of(one)
        reasons = list(broken_rules(one, like, is_known))
        if not reasons:
            continue
        deal, d = one.deal, None if one.discount is None else float(one.discount)
        main = min(reasons, key=lambda rule: int(RULES[rule]["rank"]))
        rows.append(
            {
                "opportunity_id": deal.opportunity_id,
                "opportunity_name": deal.row.get("name"),
                "account_name": (shop.accounts.get(deal.row.get("account_id") or "") or {}).get("name"),
                "owner_id": deal.owner_id,
                "owner_name": shop.people.name(deal.owner_id),
                "manager_id": deal.manager_id,
                "manager_name": shop.people.name(deal.manager_id),
                "region": deal.region,
                "segment": deal.segment or UNKNOWN,
                "size_band": one.band,
                "term": one.term,
                "product_id": one.product_id,
                "reasons": ", ".join(reasons),
                "main_reason": main,
                "what_is_wrong": RULES[main]["what_is_wrong"],
                "what_to_do": RULES[main]["what_to_do"],
                "who_acts": shop.who_acts(deal),
                "approval_status": one.status,
                "list_amount": deal.list_amount,
                "discount_share": d,
                "own_authority": None if one.own_authority is None else float(one.own_authority),
                "expected_discount": like.expected if like else None,
                "excess": d - like.expected if like and d is not None else None,
                "like_n": like.m if like else None,
                "reason_count": len(reasons),
                "is_open": deal.is_open,
                "has_reason": one.has_reason,
                "has_concession": one.has_concession,
                "is_approved_before_quote": one.is_before_quote,
                "is_period_end": one.is_period_end,
                "quoted_at": one.quoted_at,
                "approved_at": one.approved_at,
                "close_date": shop.close_date(deal),
                "closed_on": deal.closed_on,
                "figures": figures(one, like),
            }
        )
    return pd.DataFrame(rows, dtype=object)


TABLES = {
    "price_realization": price_realization,
    "discount_exceptions": discount_exceptions,
    "discount_discipline": discount_discipline,
}


def tell(facts: Facts, as_of: date) -> dict[str, pd.DataFrame]:
    shop = Shop(facts, as_of)
    return {table: make(shop) for table, make in TABLES.items()}
