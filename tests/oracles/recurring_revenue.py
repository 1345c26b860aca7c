"""Retention and growth worked out a second time from docs/retention.md and nothing else.

Extracts go in, data frames with the columns of the published tables come out. What is known when, rates and deals are
those of `tests.oracles.funnel` and `tests.oracles.conversion`. Everything is told customer by customer and day by day
in plain Python; money is `Decimal`, so that a comparison can be exact.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from functools import cached_property
from itertools import dropwhile
from pathlib import Path
from typing import Any

import pandas as pd

from tests.oracles import conversion, funnel, signals
from tests.oracles.conversion import wilson
from tests.oracles.funnel import CENTS, DAY, OLDEST_RATE_DAYS, Entity, Facts, Row, end_of, to_date, value_or_none

Z = 1.6448536269514722
ZERO = Decimal(0)
SEEDS = Path(__file__).parents[2] / "seeds"
UNKNOWN = "unknown"
STEPS = ["opening", "new", "reactivation", "expansion", "price_change", "contraction", "churn", "fx", "closing"]
DIMENSIONS = ["company", "segment", "region", "account_manager"]
Unit = tuple[str, ...]
Totals = dict[Unit, Decimal]


def read_policy() -> dict[str, int]:
    table = pd.read_csv(SEEDS / "retention_policy.csv", dtype=str)
    return {row["name"]: int(row["value"]) for row in table.to_dict("records")}


def read_risks() -> dict[str, Row]:
    """The risks, the most urgent one first."""
    table = pd.read_csv(SEEDS / "renewal_risks.csv", dtype=str)
    rows = sorted(table.to_dict("records"), key=lambda row: int(row["rank"]))
    return {row["risk"]: row for row in rows}


POLICY = read_policy()
RISKS = read_risks()
GRACE = POLICY["grace_days"]


# Loading


def is_sound_subscription(row: Row) -> bool:
    return (
        row.get("customer_id") is not None
        and value_or_none(to_date, row.get("start_date")) is not None
        and all(funnel.is_readable(to_date, row.get(name)) for name in ("end_date", "cancelled_on"))
        and value_or_none(funnel.to_decimal, row.get("arr")) is not None
        and funnel.is_currency(row.get("currency"))
        and funnel.is_readable(funnel.to_bool, row.get("is_voluntary"))
    )


def is_sound_invoice(row: Row) -> bool:
    return (
        row.get("customer_id") is not None
        and value_or_none(to_date, row.get("invoice_date")) is not None
        and all(funnel.is_readable(to_date, row.get(name)) for name in ("due_date", "paid_on"))
        and row.get("status") in (None, "open", "paid", "void")
        and value_or_none(funnel.to_decimal, row.get("amount")) is not None
        and funnel.is_currency(row.get("currency"))
    )


def is_sound_credit_note(row: Row) -> bool:
    return (
        row.get("customer_id") is not None
        and value_or_none(to_date, row.get("credit_date")) is not None
        and value_or_none(funnel.to_decimal, row.get("amount")) is not None
        and funnel.is_currency(row.get("currency"))
    )


ENTITIES = [
    *signals.ENTITIES,
    Entity("crm/contacts", ("contact_id",), lambda row: row.get("account_id") is not None),
    Entity("finance/customers", ("customer_id",), lambda row: row.get("name") is not None),
    Entity("finance/subscriptions", ("subscription_id",), is_sound_subscription, event_time="start_date"),
    Entity("finance/invoices", ("invoice_id",), is_sound_invoice, event_time="invoice_date"),
    Entity("finance/credit_notes", ("credit_note_id",), is_sound_credit_note, is_event=True, event_time="credit_date"),
]


def load(directories: list[Path]) -> Facts:
    """What a load says of a later day is known when it is made."""
    facts = funnel.load(directories, ENTITIES)
    for file, versions in facts.versions.items():
        facts.versions[file] = [replace(version, known_at=signals.known_from(version)) for version in versions]
    return facts


def existing(facts: Facts, file: str, day: date) -> dict[funnel.Key, Row]:
    """The newest row of each key known by the end of the day, without those that are deleted by then."""
    newest: dict[funnel.Key, Row | None] = {}
    for version in facts.versions[file]:
        if version.known_at < end_of(day):
            newest[version.key] = version.row
    return {key: row for key, row in newest.items() if row is not None}


# Rows, months and rates


@dataclass(frozen=True)
class Term:
    """A row that counts: one priced period, or a document with the twelve months after it."""

    term_id: str
    finance_customer: str
    product: str | None
    currency: str
    arr: Decimal
    starts: date
    ends: date | None
    cancelled_on: date | None
    opportunity_id: str | None
    change_reason: str | None
    amount: Decimal

    def covers(self, day: date) -> bool:
        return self.starts <= day and (self.ends is None or day < self.ends)

    def is_cancelled_by(self, day: date) -> bool:
        return self.cancelled_on is not None and self.cancelled_on <= day


@dataclass(frozen=True)
class Month:
    start: date
    end: date
    day: date
    before: date
    told_on: date
    is_final: bool


@dataclass(frozen=True)
class Customer:
    customer_id: str
    name: str | None
    segment: str
    region: str
    account_manager: str

    def member(self, dimension: str) -> str:
        return {
            "company": "company",
            "segment": self.segment,
            "region": self.region,
            "account_manager": self.account_manager,
            "customer": self.customer_id,
        }[dimension]


def add_months(day: date, months: int) -> date:
    """The same day of a later month, or its last day where it has no such day."""
    number = day.year * 12 + day.month - 1 + months
    first = date(number // 12, number % 12 + 1, 1)
    return min(first + DAY * (day.day - 1), month_end(first))


def month_end(day: date) -> date:
    return funnel.period_of(day, "month")[1]


def rounded(amount: Decimal) -> Decimal:
    return amount.quantize(CENTS, ROUND_HALF_UP)


class Money:
    def __init__(self, facts: Facts, as_of: date) -> None:
        self.known = funnel.Rates(facts, as_of)

    def quoted(self, currency: str, *kinds: str) -> tuple[str, list[date]]:
        """The first kind of rate that the currency has, and its days."""
        kind = next((kind for kind in kinds if self.known.days.get((kind, currency))), kinds[-1])
        return kind, self.known.days.get((kind, currency), [])

    def constant(self, currency: str) -> Decimal | None:
        if currency == funnel.REPORTING_CURRENCY:
            return Decimal(1)
        kind, days = self.quoted(currency, "plan", "spot")
        if not days:
            return None
        wanted = date(POLICY["constant_rate_year"], 1, 1)
        position = bisect_right(days, wanted)
        if position and (wanted - days[position - 1]).days <= OLDEST_RATE_DAYS[kind]:
            return self.known.rates[kind, currency, days[position - 1]]
        return self.known.rates[kind, currency, days[position] if position < len(days) else days[-1]]

    def actual(self, currency: str, on: date) -> Decimal | None:
        if currency == funnel.REPORTING_CURRENCY:
            return Decimal(1)
        kind, days = self.quoted(currency, "spot", "plan")
        position = bisect_right(days, on)
        if position == 0 or (on - days[position - 1]).days > OLDEST_RATE_DAYS[kind]:
            return None
        return self.known.rates[kind, currency, days[position - 1]]


class Places:
    """Whom a finance customer belongs to, in the hierarchy of the as-of date."""

    def __init__(self, facts: Facts, as_of: date) -> None:
        self.accounts = facts.newest_rows("crm/accounts", as_of)
        self.finance = facts.newest_rows("finance/customers", as_of)

    def account_of(self, finance_customer: str) -> str | None:
        account_id = self.finance.get((finance_customer,), {}).get("crm_account_id")
        return account_id if account_id and (account_id,) in self.accounts else None

    def ultimate_parent(self, account_id: str) -> str:
        while (parent := self.accounts[account_id,].get("parent_account_id")) and (parent,) in self.accounts:
            account_id = parent
        return account_id

    def customer(self, finance_customer: str) -> Customer:
        account_id = self.account_of(finance_customer)
        if account_id is None:
            name = self.finance.get((finance_customer,), {}).get("name")
            return Customer(f"finance:{finance_customer}", name or finance_customer, UNKNOWN, UNKNOWN, UNKNOWN)
        parent = self.ultimate_parent(account_id)
        row = self.accounts[parent,]
        return Customer(
            parent,
            row.get("name"),
            row.get("segment") or UNKNOWN,
            row.get("region") or UNKNOWN,
            row.get("owner_id") or UNKNOWN,
        )


class Books:
    """What finance knew of recurring revenue, day by day, as known on the as-of date."""

    def __init__(self, facts: Facts, as_of: date) -> None:
        self.facts, self.as_of = facts, as_of
        self.money = Money(facts, as_of)
        self.places = Places(facts, as_of)
        has_subscriptions = bool(existing(facts, "finance/subscriptions", as_of))
        choice = POLICY["invoice_basis"]
        self.by_invoice = choice == 2 or (choice == 1 and not has_subscriptions)
        self.basis = "invoices" if self.by_invoice else "subscriptions"
        self.customers: dict[str, Customer] = {}
        self._terms: dict[date, dict[str, list[Term]]] = {}
        self._counting: dict[tuple[date, date], dict[str, list[Term]]] = {}

    # Rows

    def all_terms(self, day: date) -> Iterator[tuple[Row, Term | None]]:
        """Every row known on a day that is a period, with the term, or none where its currency has no rate."""
        if self.by_invoice:
            for (key,), row in existing(self.facts, "finance/invoices", day).items():
                if row.get("status") != "void":
                    yield self.document(f"invoice:{key}", row, row["invoice_date"], 1)
            for (key,), row in existing(self.facts, "finance/credit_notes", day).items():
                yield self.document(f"credit_note:{key}", row, row["credit_date"], -1)
            return
        for (key,), row in existing(self.facts, "finance/subscriptions", day).items():
            starts, ends = to_date(row["start_date"] or ""), value_or_none(to_date, row.get("end_date"))
            if ends is not None and ends <= starts:
                continue
            yield (
                row,
                self.term(
                    key,
                    row,
                    funnel.to_decimal(row["arr"] or ""),
                    starts,
                    ends,
                    product=row.get("product_id"),
                    cancelled_on=value_or_none(to_date, row.get("cancelled_on")),
                    change_reason=row.get("change_reason"),
                ),
            )

    def document(self, key: str, row: Row, day: str | None, sign: int) -> tuple[Row, Term | None]:
        starts = to_date(day or "")
        amount = funnel.to_decimal(row["amount"] or "") * sign
        return row, self.term(key, row, amount, starts, add_months(starts, 12), None, None, None)

    def term(
        self,
        key: str,
        row: Row,
        arr: Decimal,
        starts: date,
        ends: date | None,
        product: str | None,
        cancelled_on: date | None,
        change_reason: str | None,
    ) -> Term | None:
        currency = row.get("currency") or funnel.REPORTING_CURRENCY
        rate = self.money.constant(currency)
        if rate is None:
            return None
        return Term(
            term_id=key,
            finance_customer=row["customer_id"] or "",
            product=product,
            currency=currency,
            arr=arr,
            starts=starts,
            ends=ends,
            cancelled_on=cancelled_on,
            opportunity_id=row.get("crm_opportunity_id"),
            change_reason=change_reason,
            amount=rounded(arr * rate),
        )

    def terms(self, told_on: date) -> dict[str, list[Term]]:
        """The rows known on a day, by customer."""
        if told_on not in self._terms:
            made: dict[str, list[Term]] = defaultdict(list)
            for _, term in self.all_terms(told_on):
                if term is not None:
                    made[self.customer_of(term)].append(term)
            self._terms[told_on] = made
        return self._terms[told_on]

    def customer_of(self, term: Term) -> str:
        customer = self.places.customer(term.finance_customer)
        self.customers[customer.customer_id] = customer
        return customer.customer_id

    def present(self, terms: list[Term], day: date, told_on: date) -> list[Term]:
        """A customer's rows of a day, those that are carried among them."""
        carried = set() if self.by_invoice else carried_on(terms, day, told_on)
        return [term for term in terms if term.covers(day) or term.term_id in carried]

    def counting(self, day: date, told_on: date) -> dict[str, list[Term]]:
        """The rows that count on a day, by customer, as known on another; customers with nothing are left out."""
        if (day, told_on) not in self._counting:
            made = {}
            for customer, terms in self.terms(told_on).items():
                here = self.present(terms, day, told_on)
                if sum((term.amount for term in here), ZERO) > 0:
                    made[customer] = here
            self._counting[day, told_on] = made
        return self._counting[day, told_on]

    # Months

    def month(self, first: date) -> Month:
        last = month_end(first)
        told_on = last + DAY * max(POLICY["final_days"], GRACE)
        return Month(
            start=first,
            end=last,
            day=min(last, self.as_of),
            before=first - DAY,
            told_on=min(told_on, self.as_of),
            is_final=told_on < self.as_of,
        )

    @cached_property
    def counted(self) -> list[tuple[Month, dict[str, list[Term]]]]:
        """By month and customer, the rows that count on its day, as it was first told or by what is known today."""
        files = ["invoices", "credit_notes"] if self.by_invoice else ["subscriptions"]
        known = {version.known_at.date() for file in files for version in self.facts.versions[f"finance/{file}"]}
        starts = [
            term.starts for day in known if day <= self.as_of for terms in self.terms(day).values() for term in terms
        ]
        made = []
        first = min(starts, default=self.as_of + DAY).replace(day=1)
        while first <= self.as_of:
            month = self.month(first)
            here: dict[str, list[Term]] = defaultdict(list)
            for told_on in (month.told_on, self.as_of):
                for customer, terms in self.terms(told_on).items():
                    here[customer] += self.present(terms, month.day, told_on)
            made.append((month, here))
            first = month.end + DAY
        return made

    @cached_property
    def months(self) -> list[Month]:
        """From the first on whose day a row counts to the running one."""
        return [month for month, _ in dropwhile(lambda told: not any(told[1].values()), self.counted)]

    def actual(self, term: Term, on: date) -> Decimal | None:
        rate = self.money.actual(term.currency, on)
        return None if rate is None else rounded(term.arr * rate)

    def total_actual(self, terms: Iterable[Term], on: date) -> Decimal:
        return sum((self.actual(term, on) or ZERO for term in terms), ZERO)

    # What a month did

    @cached_property
    def moves(self) -> dict[bool, list[Move]]:
        """What every customer did in every month, and (True) every customer and product."""
        return {by_product: list(self.tell(by_product)) for by_product in (False, True)}

    def tell(self, by_product: bool) -> Iterator[Move]:
        had: set[Unit] = set()
        for month in self.months:
            before, now = (self.counting(day, month.told_on) for day in (month.before, month.day))
            seen: set[Unit] = set()
            for customer in sorted({*before, *now}):
                old, new = before.get(customer, []), now.get(customer, [])
                is_rated = self.is_rated(customer, month)
                pairs = list(replacements(old, new))
                for product in products_of([*old, *new]) if by_product else [None]:
                    unit, of_unit = self.unit(customer, product, by_product, old, new)
                    priced = [p for p in pairs if not by_product or {term.product for term in p} == {product}]
                    move = self.move(unit, month, *of_unit, priced, is_rated, unit in had)
                    if move.constant["opening"] or move.constant["closing"]:
                        seen.add(unit)
                    yield move
            had |= seen

    def move(
        self,
        unit: Unit,
        month: Month,
        old: list[Term],
        new: list[Term],
        pairs: list[tuple[Term, Term]],
        is_rated: bool,
        has_been: bool,
    ) -> Move:
        opening, closing = (sum((term.amount for term in terms), ZERO) for terms in (old, new))
        priced = [pair for pair in pairs if pair[1].change_reason == "price_change"]
        stays = bool(opening and closing)
        price = sum((after.amount - before.amount for before, after in priced), ZERO) if stays else ZERO
        difference = closing - opening - price
        actual: dict[str, Decimal] = {}
        rest = ZERO
        if is_rated:
            begun, ended = self.total_actual(old, month.before), self.total_actual(new, month.day)
            fx = self.total_actual(old, month.day) - begun
            price_now = (
                self.total_actual([after for _, after in priced], month.day)
                - self.total_actual([before for before, _ in priced], month.day)
                if stays
                else ZERO
            )
            rest = ended - begun - fx - price_now
            actual = {"opening": begun, "closing": ended, "fx": fx, "price_change": price_now}
        if not opening and closing:
            kind = "reactivation" if has_been else "new"
        elif opening and not closing:
            kind = "churn"
        else:
            kind = "expansion" if (difference or rest) > 0 else "contraction"
        constant = {"opening": opening, "closing": closing, "price_change": price, kind: difference}
        if is_rated:
            actual[kind] = rest
        return Move(unit, month, constant, actual if is_rated else None)

    def restatements(self, by_product: bool) -> Iterator[tuple[Unit, Month, Decimal, Decimal | None]]:
        """Closing of final months by what is known today less closing as first told."""
        for month in self.months:
            if not month.is_final:
                continue
            told, known = (self.counting(month.day, day) for day in (month.told_on, self.as_of))
            for customer in sorted({*told, *known}):
                first, today = told.get(customer, []), known.get(customer, [])
                is_rated = self.is_rated(customer, month) and self.has_rates(today, month.day)
                for product in products_of([*first, *today]) if by_product else [None]:
                    unit, (before, after) = self.unit(customer, product, by_product, first, today)
                    amount = sum((term.amount for term in after), ZERO) - sum((term.amount for term in before), ZERO)
                    actual = self.total_actual(after, month.day) - self.total_actual(before, month.day)
                    yield unit, month, amount, actual if is_rated else None

    def unit(
        self, customer: str, product: str | None, by_product: bool, *of_customer: list[Term]
    ) -> tuple[Unit, list[list[Term]]]:
        """The customer and its rows, or the customer and a product and the rows of both."""
        if not by_product:
            return (customer,), list(of_customer)
        return (customer, product or UNKNOWN), [[t for t in terms if t.product == product] for terms in of_customer]

    def is_rated(self, customer: str, month: Month) -> bool:
        """Whether all rows of opening and closing have a rate for the month, and those of the opening before it."""
        opening, closing = (self.counting(day, month.told_on).get(customer, []) for day in (month.before, month.day))
        return self.has_rates([*opening, *closing], month.day) and self.has_rates(opening, month.before)

    def has_rates(self, terms: Iterable[Term], on: date) -> bool:
        return all(self.actual(term, on) is not None for term in terms)

    def closings(self, by_product: bool, in_actual: bool = False) -> dict[date, Totals]:
        """Closing by unit, by the start of the month, of units that are rated."""
        made: dict[date, Totals] = {month.start: {} for month in self.months}
        for move in self.moves[by_product]:
            amounts = move.actual if in_actual else move.constant
            if amounts is not None:
                made[move.month.start][move.unit] = amounts["closing"]
        return made

    def member(self, unit: Unit, dimension: str) -> str:
        return unit[1] if dimension == "product" else self.customers[unit[0]].member(dimension)

    def members(self, dimension: str) -> list[str]:
        """Those of every row that counts, also of a customer whose rows never add up to anything."""
        units: set[Unit] = {
            (customer, term.product or UNKNOWN)
            for _, here in self.counted
            for customer, terms in here.items()
            for term in terms
        }
        return sorted({self.member(unit, dimension) for unit in units})


@dataclass(frozen=True)
class Move:
    """What a unit did in a month: amounts by step; the actual ones are None where a rate is missing."""

    unit: Unit
    month: Month
    constant: dict[str, Decimal]
    actual: dict[str, Decimal] | None


def carried_on(terms: list[Term], day: date, told_on: date) -> set[str]:
    """Ids of rows that have ended and still count on a day, because the customer renews late or may yet."""
    paying = [term for term in terms if term.arr > 0]
    made: set[str] = set()
    for end in {term.ends for term in paying if term.ends is not None and term.ends <= day}:
        ending = [term for term in paying if term.ends == end]
        if any(term.covers(end) for term in paying if term.ends != end):
            continue
        later = [term.starts for term in paying if term.starts > end]
        if later:
            following = min(later)
            if (following - end).days <= GRACE and day < following:
                made |= {term.term_id for term in ending}
        elif end <= told_on < end + DAY * GRACE and day <= told_on:
            made |= {term.term_id for term in ending if not term.is_cancelled_by(told_on)}
    return made


def replacements(old: list[Term], new: list[Term]) -> Iterator[tuple[Term, Term]]:
    """Which row that ends is replaced by which that starts."""

    def largest_first(terms: Iterable[Term]) -> list[Term]:
        return sorted(terms, key=lambda term: (-term.arr, term.term_id))

    old_ids, new_ids = ({term.term_id for term in terms} for terms in (old, new))
    ends = [term for term in old if term.term_id not in new_ids]
    starts = [term for term in new if term.term_id not in old_ids]
    rounds: list[Callable[[Term], tuple[str | None, ...]]] = [
        lambda term: (term.finance_customer, term.currency, term.product),
        lambda term: (term.finance_customer, term.currency),
    ]
    for place in rounds:
        paired: set[str] = set()
        for key in {place(term) for term in ends}:
            leaving, coming = (largest_first(t for t in terms if place(t) == key) for terms in (ends, starts))
            for before, after in zip(leaving, coming, strict=False):
                yield before, after
                paired |= {f"end {before.term_id}", f"start {after.term_id}"}
        ends = [term for term in ends if f"end {term.term_id}" not in paired]
        starts = [term for term in starts if f"start {term.term_id}" not in paired]


def products_of(terms: Iterable[Term]) -> list[str | None]:
    return sorted({term.product for term in terms}, key=lambda product: product or "")


def frame(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), dtype=object)


# Movements


def arr_movements(books: Books) -> pd.DataFrame:
    """One row per customer, month and movement."""
    rows = []

    def add(customer_id: str, month: Month, movement: str, amount: Decimal, actual: Decimal | None) -> None:
        customer = books.customers[customer_id]
        rows.append(
            {
                "customer_id": customer_id,
                "month_start": month.start,
                "movement": movement,
                "customer_name": customer.name,
                "segment": customer.segment,
                "region": customer.region,
                "account_manager_id": customer.account_manager,
                "basis": books.basis,
                "amount": amount,
                "amount_actual": actual,
                "is_final": month.is_final,
                "month_end": month.end,
            }
        )

    for move in books.moves[False]:
        for step in STEPS:
            amount = move.constant.get(step, ZERO)
            actual = None if move.actual is None else move.actual.get(step, ZERO)
            if amount or actual:
                add(move.unit[0], move.month, step, amount, actual)
    for unit, month, amount, actual in books.restatements(by_product=False):
        if amount or actual:
            add(unit[0], month, "restatement", amount, actual)
    return frame(rows)


def arr_bridges(books: Books) -> pd.DataFrame:
    """The movements added up by dimension, zeros included; by product those of customer and product."""
    rows = []
    for dimension in [*DIMENSIONS, "product"]:
        sums: dict[tuple[str, date, str], list[Decimal]] = defaultdict(lambda: [ZERO, ZERO])
        counts: dict[tuple[str, date, str], int] = defaultdict(int)
        for move in books.moves[dimension == "product"]:
            member = books.member(move.unit, dimension)
            for step in STEPS:
                key = (member, move.month.start, step)
                amount, actual = move.constant.get(step, ZERO), (move.actual or {}).get(step, ZERO)
                sums[key][0] += amount
                sums[key][1] += actual
                counts[key] += bool(amount or actual)
        for unit, month, amount, restated in books.restatements(dimension == "product"):
            key = (books.member(unit, dimension), month.start, "restatement")
            sums[key][0] += amount
            sums[key][1] += restated or ZERO
            counts[key] += bool(amount or restated)
        for member in books.members(dimension):
            for month in books.months:
                for step in [*STEPS, "restatement"]:
                    key = (member, month.start, step)
                    rows.append(
                        {
                            "dimension": dimension,
                            "member": member,
                            "month_start": month.start,
                            "movement": step,
                            "basis": books.basis,
                            "amount": sums[key][0],
                            "amount_actual": sums[key][1],
                            "unit_count": counts[key],
                            "is_final": month.is_final,
                            "month_end": month.end,
                        }
                    )
    return frame(rows)


# Net and gross retention


def ratio(part: Decimal, whole: Decimal) -> float | None:
    return float(part / whole) if whole else None


def spread(pairs: Sequence[tuple[Decimal, Decimal]]) -> float | None:
    """Half the width of the 90 % interval of Σ part / Σ whole, by linearization; None below two."""
    n, whole = len(pairs), sum((whole for _, whole in pairs), ZERO)
    if n < 2 or not whole:
        return None
    share = sum((part for part, _ in pairs), ZERO) / whole
    squares = sum(((part - share * of) ** 2 for part, of in pairs), ZERO)
    return Z * math.sqrt(float(squares) * n / (n - 1)) / float(whole)


def total_ratio(pairs: Sequence[tuple[Decimal, Decimal]]) -> float | None:
    return ratio(sum((part for part, _ in pairs), ZERO), sum((whole for _, whole in pairs), ZERO))


def interval(name: str, pairs: Sequence[tuple[Decimal, Decimal]], is_share: bool) -> dict[str, float | None]:
    """A ratio of two totals and its interval, of a share at least as wide as that of units of one size."""
    middle, reach = total_ratio(pairs), spread(pairs)
    low, high = (None, None) if middle is None or reach is None else (middle - reach, middle + reach)
    if is_share and middle is not None:
        sizes = [float(whole) for _, whole in pairs]
        alike_low, alike_high = wilson(middle, sum(sizes) ** 2 / sum(size**2 for size in sizes), Z)
        low = alike_low if low is None else min(max(0.0, low), alike_low)
        high = alike_high if high is None else max(min(1.0, high), alike_high)
    return {name: middle, f"{name}_low": low, f"{name}_high": high}


def net_interval(net: dict[str, float | None], gross: dict[str, float | None]) -> dict[str, float | None]:
    """Nobody pays less than nothing, and what may go of the gross goes of the net."""
    low, gross_low = net["nrr_low"], gross["grr_low"]
    if low is None or gross_low is None:
        return net
    return {**net, "nrr_low": min(max(0.0, low), gross_low)}


def kept(then: Decimal, now: Decimal) -> Decimal:
    return max(ZERO, min(now, then))


def revenue_retention(books: Books) -> pd.DataFrame:
    """One row per dimension, member and month."""
    events = renewal_events(books)
    unrated = {month: unrated_count(books, month) for month in books.months}
    rows = []
    for dimension in [*DIMENSIONS, "product"]:
        by_product = dimension == "product"
        closings, actuals = books.closings(by_product), books.closings(by_product, in_actual=True)
        for member in books.members(dimension):
            for place, month in enumerate(books.months):
                row: dict[str, Any] = {"dimension": dimension, "member": member, "month_start": month.start}
                year_ago = books.months[place - 12] if place >= 12 else None
                then_all = closings[year_ago.start] if year_ago else {}
                cohort = [
                    unit for unit, amount in then_all.items() if amount > 0 and books.member(unit, dimension) == member
                ]
                pairs = [(max(ZERO, closings[month.start].get(unit, ZERO)), then_all[unit]) for unit in cohort]
                held = [(kept(then, now), then) for now, then in pairs]
                in_both = [
                    (now, then)
                    for unit in cohort
                    if year_ago
                    and (then := actuals[year_ago.start].get(unit)) is not None
                    and (now := actual_now(unit, month, closings, actuals)) is not None
                ]
                n, retained = len(cohort), sum(now > 0 for now, _ in pairs)
                low, high = wilson(retained / n, n, Z) if n else (None, None)
                reason = None
                if not n:
                    reason = "no customer a year before" if year_ago else "less than 12 months of history"
                row |= {
                    "basis": books.basis,
                    "reason": reason,
                    "n": n,
                    "retained_count": retained,
                    "arr_year_ago": sum((then for _, then in pairs), ZERO),
                    "arr": sum((now for now, _ in pairs), ZERO),
                    **net_interval(interval("nrr", pairs, is_share=False), interval("grr", held, is_share=True)),
                    **interval("grr", held, is_share=True),
                    "logo_retention": retained / n if n else None,
                    "logo_retention_low": low,
                    "logo_retention_high": high,
                    "nrr_actual": total_ratio(in_both),
                    "grr_actual": total_ratio([(kept(then, now), then) for now, then in in_both]),
                    "unrated_count": unrated[month],
                    "month_end": month.end,
                }
                since = add_months(month.start, -12)
                due = [
                    event
                    for event in events
                    if event.is_decided
                    and not by_product
                    and month_end(since) < event.day <= month.day
                    and books.customers[event.customer].member(dimension) == member
                ]
                row |= {
                    "renewals_due_count": None if by_product or books.by_invoice else len(due),
                    "renewals_due_amount": None
                    if by_product or books.by_invoice
                    else sum((event.due for event in due), ZERO),
                    **interval("gross_renewal_rate", [(min(one.renewed, one.due), one.due) for one in due], True),
                    "net_renewal_rate": total_ratio([(event.renewed, event.due) for event in due]),
                }
                rows.append(row)
    return frame(rows)


def actual_now(unit: Unit, month: Month, closings: dict[date, Totals], actuals: dict[date, Totals]) -> Decimal | None:
    """Nothing is nothing in every currency; None where a rate is missing."""
    if closings[month.start].get(unit, ZERO) <= 0:
        return ZERO
    return actuals[month.start].get(unit)


def unrated_count(books: Books, month: Month) -> int:
    """How many rows are left out of a month because their currency has no constant rate."""
    made = 0
    for row, term in books.all_terms(month.told_on):
        if term is None:
            starts = to_date(row.get("start_date") or row.get("invoice_date") or row.get("credit_date") or "")
            ends = add_months(starts, 12) if books.by_invoice else value_or_none(to_date, row.get("end_date"))
            made += starts <= month.day and (ends is None or month.day < ends)
    return made


# Renewals


@dataclass(frozen=True)
class Event:
    """A finance customer and a day on which at least one row is due."""

    finance_customer: str
    customer: str
    day: date
    terms: list[Term]
    renewals: list[Term]
    is_cancelled: bool
    is_decided: bool

    @property
    def due(self) -> Decimal:
        return sum((term.amount for term in self.terms), ZERO)

    @property
    def renewed(self) -> Decimal:
        return sum((term.amount for term in self.renewals), ZERO)


def renewal_events(books: Books) -> list[Event]:
    """Nothing is due for renewal where there are only invoices."""
    if books.by_invoice:
        return []
    as_of = books.as_of
    types = {
        key: row.get("opportunity_type") for (key,), row in books.facts.newest_rows("crm/opportunities", as_of).items()
    }
    of_finance: dict[str, list[Term]] = defaultdict(list)
    for terms in books.terms(as_of).values():
        for term in terms:
            if term.arr > 0:
                of_finance[term.finance_customer].append(term)

    def is_other_sale(term: Term) -> bool:
        """Its deal is known to be of another type; one without a type may be a renewal."""
        return types.get(term.opportunity_id or "") not in (None, "renewal")

    made = []
    for finance_customer, terms in sorted(of_finance.items()):
        due: dict[date, list[Term]] = defaultdict(list)
        for term in terms:
            if term.ends is None or term.ends > add_months(as_of, 12):
                continue
            starting = [other for other in terms if other.starts == term.ends and other is not term]
            if not (starting and all(is_other_sale(other) for other in starting)):
                due[term.ends].append(term)
        renewals: dict[date, list[Term]] = defaultdict(list)
        for term in terms:
            days = [day for day in due if day <= term.starts]
            if days and not is_other_sale(term) and (term.starts - max(days)).days <= GRACE:
                renewals[max(days)].append(term)
        for day, ending in sorted(due.items()):
            is_cancelled = all(term.is_cancelled_by(as_of) for term in ending)
            made.append(
                Event(
                    finance_customer=finance_customer,
                    customer=books.places.customer(finance_customer).customer_id,
                    day=day,
                    terms=ending,
                    renewals=renewals[day],
                    is_cancelled=is_cancelled,
                    is_decided=any(term.starts <= as_of for term in renewals[day])
                    or (is_cancelled and day < as_of)
                    or as_of >= day + DAY * GRACE,
                )
            )
    return made


@dataclass(frozen=True)
class Touch:
    """An activity of the customer's: an inbound one, or a meeting or demo that was held."""

    day: date
    contact_id: str | None


def renewals(books: Books, deal_health: pd.DataFrame | None = None) -> pd.DataFrame:
    """One row per event that is due within four quarters, or was and is not decided.

    Args:
        deal_health: what funnel.deal_health says of each deal: verdict, signal_count, top_signal.
    """
    facts, as_of = books.facts, books.as_of
    contacts = {key: row["account_id"] for (key,), row in facts.newest_rows("crm/contacts", as_of).items()}
    there = existing(facts, "crm/contacts", as_of)
    gone = set(contacts) - {key for (key,) in there}
    gone |= {key for (key,), row in there.items() if value_or_none(funnel.to_bool, row.get("is_active")) is False}
    touches: dict[str, list[Touch]] = defaultdict(list)
    support: dict[str, list[date]] = defaultdict(list)
    activities = [
        (funnel.to_time(row["occurred_at"] or ""), row)
        for row in facts.newest_rows("crm/activities", as_of).values()
        if funnel.to_time(row["occurred_at"] or "") < end_of(as_of)
    ]
    for at, row in activities:
        contact_id = row.get("contact_id")
        account_id = row.get("account_id") or contacts.get(contact_id or "")
        is_held = value_or_none(funnel.to_bool, row.get("is_completed")) is not False
        is_meeting = row["activity_type"] in signals.MET and row.get("direction") != "internal"
        if account_id and (row.get("direction") == "inbound" or (is_meeting and is_held)):
            touches[account_id].append(Touch(at.date(), contact_id))
        if row.get("purpose") == "support" and account_id:
            support[account_id].append(at.date())
    invoices: dict[str, list[Row]] = defaultdict(list)
    for row in existing(facts, "finance/invoices", as_of).values():
        if row.get("status") != "void":
            invoices[row["customer_id"] or ""].append(row)
    credited: dict[str, list[Row]] = defaultdict(list)
    for row in existing(facts, "finance/credit_notes", as_of).values():
        if to_date(row["credit_date"] or "") <= as_of:
            credited[row.get("invoice_id") or ""].append(row)
    has_invoices = bool(facts.newest_rows("finance/invoices", as_of))
    deals: dict[str, list[conversion.Opportunity]] = defaultdict(list)
    for deal in conversion.opportunities(facts, as_of):
        if deal.is_open and not deal.is_deleted and deal.row.get("opportunity_type") == "renewal":
            deals[deal.row.get("account_id") or ""].append(deal)
    health = {} if deal_health is None else deal_health.set_index("opportunity_id").to_dict("index")
    closings = books.closings(False)
    last = books.months[-1] if books.months else None
    year_ago = books.months[-13] if len(books.months) > 12 else None

    def days_within(days: Iterable[date], first: int, end: int) -> int:
        """How many were at least `first` and less than `end` days ago."""
        return sum(first <= (as_of - day).days < end for day in days)

    rows = []
    for event in renewal_events(books):
        is_ahead = as_of < event.day <= add_months(as_of, 12)
        is_behind = as_of - DAY * GRACE <= event.day <= as_of and not event.is_decided
        if not (is_ahead or is_behind):
            continue
        account_id = books.places.account_of(event.finance_customer)
        customer = books.customers[event.customer]
        status = "open" if is_ahead else "overdue"
        if event.is_cancelled:
            status = "cancelled"
        if event.renewals:
            status = "renewed"
        row: dict[str, Any] = {
            "finance_customer_id": event.finance_customer,
            "due_on": event.day,
            "customer_id": event.customer,
            "customer_name": customer.name,
            "account_id": account_id,
            "segment": customer.segment,
            "region": customer.region,
            "account_manager_id": customer.account_manager,
            "status": status,
            "subscription_count": len(event.terms),
            "due_amount": event.due,
            "renewed_amount": event.renewed,
            "renewed_on": min((term.starts for term in event.renewals), default=None),
        }
        met: dict[str, bool] = {}
        row |= dict.fromkeys(["engaged_contact_count", "days_since_contact", "support_count", "support_count_before"])
        if account_id and activities and contacts:
            mine = touches[account_id]
            recent = {one.contact_id for one in mine if (as_of - one.day).days < POLICY["engaged_days"]}
            recent -= {None, *gone}
            row["engaged_contact_count"] = len(recent)
            row["days_since_contact"] = min(((as_of - one.day).days for one in mine), default=None)
            met |= {"no_engaged_contact": len(recent) == 0, "single_contact": len(recent) == 1}
        if account_id and support:
            window = POLICY["support_days"]
            now, before = (
                days_within(support[account_id], 0, window),
                days_within(support[account_id], window, 2 * window),
            )
            row |= {"support_count": now, "support_count_before": before}
            met["support_rising"] = now >= POLICY["support_factor"] * before and now >= POLICY["support_minimum"]
        row |= payment(books, invoices[event.finance_customer], credited) if has_invoices else dict.fromkeys(PAYMENT)
        if has_invoices:
            met["payment_overdue"] = row["overdue_days"] >= POLICY["overdue_days"]
        dated = [(deal.row.get("close_date") or "9999", deal.opportunity_id) for deal in deals[account_id or ""]]
        deal_id = min(dated)[1] if account_id and dated else None
        said = health.get(deal_id, {})
        row |= {
            "renewal_opportunity_id": deal_id,
            "renewal_verdict": said.get("verdict"),
            "renewal_top_signal": said.get("top_signal"),
            "renewal_signal_count": said.get("signal_count"),
        }
        if said.get("verdict"):
            met["deal_in_trouble"] = said["verdict"] != "on_track"
        if account_id:
            met["no_renewal_deal"] = deal_id is None and (event.day - as_of).days < POLICY["renewal_deal_days"]
        then = closings[year_ago.start].get((event.customer,), ZERO) if year_ago else ZERO
        now_amount = closings[last.start].get((event.customer,), ZERO) if last else ZERO
        change = float(now_amount / then - 1) if then > 0 else None
        row["arr_change_share"] = change
        if change is not None:
            met["shrinking"] = change < 0
        risks = [risk for risk in RISKS if met.get(risk)]
        is_at_risk = status in ("open", "overdue")
        first = RISKS[risks[0]] if is_at_risk and risks else {}
        row |= {
            "risk_count": len(risks) if is_at_risk else None,
            "risk_evidence": ", ".join(risks) if is_at_risk and risks else None,
            "top_risk": first.get("risk"),
            "what_is_wrong": first.get("what_is_wrong"),
            "what_to_do": first.get("what_to_do"),
        }
        rows.append(row)
    return frame(rows)


PAYMENT = ["invoice_count", "late_share", "late_share_low", "late_share_high", "overdue_amount", "overdue_days"]


def payment(books: Books, invoices: list[Row], credited: Mapping[str, list[Row]]) -> dict[str, Any]:
    """How a finance customer pays: invoices due within a year, and what is overdue of them."""
    as_of = books.as_of

    def is_unpaid(row: Row) -> bool:
        paid_on = value_or_none(to_date, row.get("paid_on"))
        return paid_on > as_of if paid_on else row.get("status") != "paid"

    dated = [(to_date(row["due_date"] or ""), row) for row in invoices if row.get("due_date")]
    within = [(day, row) for day, row in dated if 0 <= (as_of - day).days < POLICY["payment_days"]]
    late = [
        row for day, row in within if is_unpaid(row) or (row.get("paid_on") and to_date(row["paid_on"] or "") > day)
    ]
    n = len(within)

    def in_money(row: Row) -> Decimal:
        rate = books.money.constant(row.get("currency") or funnel.REPORTING_CURRENCY)
        return rounded(funnel.to_decimal(row["amount"] or "") * rate) if rate is not None else ZERO

    left = [
        (day, in_money(row) - sum((in_money(note) for note in credited.get(row["invoice_id"] or "", [])), ZERO))
        for day, row in within
        if day < as_of and is_unpaid(row)
    ]
    overdue = [(day, amount) for day, amount in left if amount > 0]
    low, high = wilson(len(late) / n, n, Z) if n else (None, None)
    return {
        "invoice_count": n,
        "late_share": len(late) / n if n else None,
        "late_share_low": low,
        "late_share_high": high,
        "overdue_amount": sum((amount for _, amount in overdue), ZERO),
        "overdue_days": max(((as_of - day).days for day, _ in overdue), default=0),
    }


# Cohorts


def cohort_retention(books: Books) -> pd.DataFrame:
    """One row per dimension, member, cohort and month since."""
    closings = books.closings(False)
    first: dict[Unit, int] = {}
    for place, month in enumerate(books.months):
        for unit, amount in closings[month.start].items():
            if amount > 0:
                first.setdefault(unit, place)
    rows = []
    for dimension in ("company", "segment"):
        cohorts: dict[tuple[str, int], list[Unit]] = defaultdict(list)
        for unit, place in first.items():
            cohorts[books.member(unit, dimension), place].append(unit)
        for (member, place), units in sorted(cohorts.items()):
            n, starting = len(units), sum((closings[books.months[place].start][unit] for unit in units), ZERO)
            for elapsed, month in enumerate(books.months[place:]):
                amounts = [closings[month.start].get(unit, ZERO) for unit in units]
                active, amount = sum(one > 0 for one in amounts), sum(amounts, ZERO)
                low, high = wilson(active / n, n, Z)
                rows.append(
                    {
                        "dimension": dimension,
                        "member": member,
                        "cohort_month": books.months[place].start,
                        "elapsed_months": elapsed,
                        "basis": books.basis,
                        "n": n,
                        "active_count": active,
                        "starting_amount": starting,
                        "amount": amount,
                        "customer_retention": active / n,
                        "customer_retention_low": low,
                        "customer_retention_high": high,
                        "amount_retention": ratio(amount, starting),
                        "month_start": month.start,
                        "month_end": month.end,
                    }
                )
    return frame(rows)


# Growth


def account_growth(books: Books) -> pd.DataFrame:
    """One row per dimension, member and last month of a quarter, and the running month."""
    closings, actuals = books.closings(False), books.closings(False, in_actual=True)
    rows = []
    for dimension in [*DIMENSIONS, "customer"]:
        for place, month in enumerate(books.months):
            if place < 12 or (month.start.month % 3 and month is not books.months[-1]):
                continue
            then_all, now_all = closings[books.months[place - 12].start], closings[month.start]
            for member in books.members(dimension):
                units = [unit for unit in {*then_all, *now_all} if books.member(unit, dimension) == member]
                cohort = [unit for unit in units if then_all.get(unit, ZERO) > 0]
                come = [unit for unit in units if unit not in cohort and now_all.get(unit, ZERO) > 0]
                if dimension == "customer" and not cohort and not come:
                    continue
                pairs = [(now_all.get(unit, ZERO), then_all[unit]) for unit in cohort]
                in_both = [
                    (now, then)
                    for unit in cohort
                    if (then := actuals[books.months[place - 12].start].get(unit)) is not None
                    and (now := actual_now(unit, month, closings, actuals)) is not None
                ]
                growths = [total_ratio(some) for some in (pairs, in_both)]
                rows.append(
                    {
                        "dimension": dimension,
                        "member": member,
                        "month_start": month.start,
                        "basis": books.basis,
                        "reason": None if cohort else "no customer a year before",
                        "n": len(cohort),
                        "arr_year_ago": sum((then for _, then in pairs), ZERO),
                        "arr": sum((now for now, _ in pairs), ZERO),
                        "growth": None if growths[0] is None else growths[0] - 1,
                        "growth_actual": None if growths[1] is None else growths[1] - 1,
                        "new_arr": sum((now_all[unit] for unit in come), ZERO),
                        "grown_count": sum(now > then for now, then in pairs),
                        "flat_count": sum(now == then for now, then in pairs),
                        "shrunk_count": sum(0 < now < then for now, then in pairs),
                        "lost_count": sum(now <= 0 for now, _ in pairs),
                        "new_count": len(come),
                        "is_key": None,
                        "month_end": month.end,
                    }
                )
    return frame(rows)


@dataclass(frozen=True)
class Sale:
    day: date
    members: dict[str, str]
    amount: Decimal | None
    actual: Decimal | None


def sales(books: Books) -> dict[str, list[Sale]]:
    facts, as_of, money = books.facts, books.as_of, books.money
    made: dict[str, list[Sale]] = {"bookings": [], "revenue": []}

    def sale(day: date, amount: Decimal, currency: str | None, segment: str | None, region: str | None) -> Sale:
        rates = [
            money.constant(currency or funnel.REPORTING_CURRENCY),
            money.actual(currency or funnel.REPORTING_CURRENCY, day),
        ]
        worth = [None if rate is None else rounded(amount * rate) for rate in rates]
        members = {"company": "company", "segment": segment or UNKNOWN, "region": region or UNKNOWN}
        return Sale(day, members, worth[0], worth[1])

    for deal in conversion.opportunities(facts, as_of):
        last = deal.deal.stretches[-1] if deal.deal else None
        amount = last.amount_source if last else funnel.field_value("amount", deal.row.get("amount"))
        currency = last.currency if last else deal.row.get("currency")
        if deal.outcome == "won" and not deal.is_deleted and amount is not None and deal.closed_on:
            made["bookings"].append(sale(deal.closed_on, amount, currency, deal.segment, deal.region))
    for file, day_column, sign in (("invoices", "invoice_date", 1), ("credit_notes", "credit_date", -1)):
        for row in existing(facts, f"finance/{file}", as_of).values():
            day = to_date(row[day_column] or "")
            if row.get("status") != "void" and day <= as_of:
                customer = books.places.customer(row["customer_id"] or "")
                amount = funnel.to_decimal(row["amount"] or "") * sign
                made["revenue"].append(sale(day, amount, row.get("currency"), customer.segment, customer.region))
    return made


def sales_growth(books: Books) -> pd.DataFrame:
    """One row per measure, dimension, member and fiscal period."""
    rows = []
    for measure, sold in sales(books).items():
        if not sold:
            continue
        first = min(sale.day for sale in sold)
        for period_type in ("month", "quarter", "year"):
            start, _ = funnel.period_of(first, period_type)
            while start <= books.as_of:
                _, end = funnel.period_of(start, period_type)
                told_to = min(end, books.as_of)
                start_before = add_months(start, -12)
                _, end_before = funnel.period_of(start_before, period_type)
                is_running = told_to < end
                told_to_before = min(start_before + (told_to - start), end_before) if is_running else end_before
                now_all = [sale for sale in sold if start <= sale.day <= told_to]
                then_all = [sale for sale in sold if start_before <= sale.day <= told_to_before]
                for dimension in ("company", "segment", "region"):
                    for member in sorted({sale.members[dimension] for sale in sold}):
                        now, then = (
                            [sale for sale in some if sale.members[dimension] == member] for some in (now_all, then_all)
                        )
                        rows.append(
                            {
                                "measure": measure,
                                "dimension": dimension,
                                "member": member,
                                "period_type": period_type,
                                "period_start": start,
                                "period_end": end,
                                "told_to": told_to,
                                **growth_of(now, then, first > start_before),
                            }
                        )
                start = end + DAY
    return frame(rows)


def growth_of(now: list[Sale], then: list[Sale], is_before_record: bool) -> dict[str, Any]:
    rated = [[sale for sale in some if sale.amount is not None] for some in (now, then)]
    amounts = [sum((sale.amount or ZERO for sale in some), ZERO) for some in rated]
    actuals = [
        None if any(sale.actual is None for sale in some) else sum((sale.actual or ZERO for sale in some), ZERO)
        for some in (now, then)
    ]
    reason = None
    if is_before_record:
        reason = "the year before is not on record"
    elif amounts[1] <= 0:
        reason = "nothing was sold a year before"
    growth_actual = None
    if reason is None and actuals[0] is not None and actuals[1] is not None and actuals[1] > 0:
        growth_actual = float(actuals[0] / actuals[1] - 1)
    return {
        "reason": reason,
        "sale_count": len(rated[0]),
        "sale_count_year_ago": len(rated[1]),
        "unrated_count": len(now) + len(then) - len(rated[0]) - len(rated[1]),
        "amount": amounts[0],
        "amount_year_ago": amounts[1],
        "amount_actual": actuals[0],
        "amount_actual_year_ago": actuals[1],
        "growth": float(amounts[0] / amounts[1] - 1) if reason is None else None,
        "growth_actual": growth_actual,
    }
