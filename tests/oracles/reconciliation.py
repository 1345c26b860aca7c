"""Bookings against billing worked out a second time from docs/reconciliation.md and nothing else.

Contract extracts (CSV) go in, data frames come out, of the columns that the document or a published column's comment
speaks of. Deals are those of `tests.oracles.conversion`; money is `Decimal`, so that a comparison can be exact.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd

from tests.oracles import conversion, funnel
from tests.oracles.funnel import CENTS, REPORTING_CURRENCY, Entity, Facts, Row, end_of, value_or_none

DAY = timedelta(days=1)
NOTHING = Decimal(0)
SEEDS = Path(__file__).parents[2] / "seeds"
BY_KEY, BY_AMOUNT, BY_DATE, BY_DUPLICATE = (
    "crm_opportunity_id", "customer_amount_date", "customer_date", "duplicate_document",
)  # fmt: skip
ROUNDS = 4


def read_policy() -> dict[str, Decimal]:
    table = pd.read_csv(SEEDS / "reconciliation_policy.csv", dtype=str)
    return {row["name"]: Decimal(row["value"]) for row in table.to_dict("records")}


def read_statuses() -> dict[str, Row]:
    table = pd.read_csv(SEEDS / "reconciliation_statuses.csv", dtype=str)
    return {
        row["status"]: row
        for row in table.sort_values("status_order", key=lambda at: at.astype(int)).to_dict("records")
    }


def read_carry_days() -> dict[str, int]:
    limits = pd.read_csv(SEEDS / "gate_limits.csv", dtype=str).set_index("limit_name")["limit_value"]
    return {"spot": int(limits["fx_spot_carry_days"]), "plan": int(limits["fx_plan_carry_days"])}


POLICY = read_policy()
STATUSES = read_statuses()
CARRY_DAYS = read_carry_days()


def days_of(name: str) -> int:
    return int(POLICY[name])


# Where the text can be read in more than one way

# The bridge in source currency has a row without a rate on the line that says so, as the other one has.
SOURCE_BRIDGE_STATUS = "status"
# The plan rate of a currency whose spot rates have ended still holds.
ENDED_KINDS = ("spot",)
# A document that has a plan rate counts as billed only where it has a transaction rate too.
IS_BILLED_WITHOUT_TRANSACTION_RATE = False


# Loading


def is_sound_customer(row: Row) -> bool:
    return row.get("name") is not None and funnel.is_currency(row.get("currency"))


def is_sound_invoice(row: Row) -> bool:
    return (
        row.get("customer_id") is not None
        and value_or_none(funnel.to_date, row.get("invoice_date")) is not None
        and value_or_none(funnel.to_decimal, row.get("amount")) is not None
        and row.get("status") in (None, "open", "paid", "void")
        and funnel.is_currency(row.get("currency"))
        and all(funnel.is_readable(funnel.to_date, row.get(name)) for name in ("due_date", "paid_on"))
    )


def is_sound_credit_note(row: Row) -> bool:
    return (
        row.get("customer_id") is not None
        and value_or_none(funnel.to_date, row.get("credit_date")) is not None
        and value_or_none(funnel.to_decimal, row.get("amount")) is not None
        and funnel.is_currency(row.get("currency"))
    )


def is_sound_submission(row: Row) -> bool:
    return (
        row.get("submitter_id") is not None
        and all(value_or_none(funnel.to_date, row.get(name)) for name in ("period_start", "period_end"))
        and row.get("category") in ("commit", "best_case")
        and value_or_none(funnel.to_decimal, row.get("amount")) is not None
        and funnel.is_currency(row.get("currency"))
        and value_or_none(funnel.to_time, row.get("submitted_at")) is not None
    )


ENTITIES = [
    *conversion.ENTITIES,
    Entity("finance/customers", ("customer_id",), is_sound_customer),
    Entity("finance/invoices", ("invoice_id",), is_sound_invoice, event_time="invoice_date"),
    Entity("finance/credit_notes", ("credit_note_id",), is_sound_credit_note, is_event=True, event_time="credit_date"),
    Entity(
        "crm/forecast_submissions",
        ("submission_id",),
        is_sound_submission,
        is_event=True,
        event_time="submitted_at",
    ),
]


def load(directories: list[Path]) -> Facts:
    return funnel.load(directories, ENTITIES)


def rows_there(facts: Facts, file: str, as_of: date) -> dict[str, Row]:
    """The newest row of each key that is known and not deleted by the end of the day."""
    there: dict[str, Row] = {}
    for version in facts.versions[file]:
        if version.known_at >= end_of(as_of):
            continue
        if version.row is None:
            there.pop(version.key[0], None)
        else:
            there[version.key[0]] = version.row
    return there


# Money


class Rates:
    """Rates of both kinds to the reporting currency, as known on a date."""

    def __init__(self, facts: Facts, as_of: date) -> None:
        quoted: dict[tuple[str, date], dict[tuple[str, str], Decimal]] = defaultdict(dict)
        for row in facts.newest_rows("finance/fx_rates", as_of).values():
            day = funnel.to_date(row["rate_date"] or "")
            if day <= as_of:
                pair = (row["from_currency"] or "", row["to_currency"] or "")
                quoted[row["rate_type"] or "", day][pair] = funnel.to_decimal(row["rate"] or "", funnel.RATE_DIGITS)
        self.rates: dict[tuple[str, str], dict[date, Decimal]] = defaultdict(dict)
        for (kind, day), pairs in sorted(quoted.items()):
            for currency in sorted({currency for pair in pairs for currency in pair} - {REPORTING_CURRENCY}):
                rate = funnel.rate_of_day(pairs, currency)
                if rate is not None:
                    self.rates[kind, currency][day] = rate.quantize(funnel.RATE_DIGITS, ROUND_HALF_UP)
        last_spot = {currency: max(days) for (kind, currency), days in self.rates.items() if kind == "spot"}
        newest = max(last_spot.values(), default=None)
        self.ended_on = {
            currency: day for currency, day in last_spot.items() if newest and (newest - day).days > CARRY_DAYS["spot"]
        }

    def plan(self, currency: str, day: date) -> Decimal | None:
        return self._on("plan" if ("plan", currency) in self.rates else "spot", currency, day)

    def transaction(self, currency: str, day: date) -> Decimal | None:
        return self._on("spot" if ("spot", currency) in self.rates else "plan", currency, day)

    def _on(self, kind: str, currency: str, day: date) -> Decimal | None:
        if currency == REPORTING_CURRENCY:
            return Decimal(1)
        rates = self.rates.get((kind, currency), {})
        days = list(rates)
        position = bisect_right(days, day)
        if position == 0 or (day - days[position - 1]).days > CARRY_DAYS[kind]:
            return None
        if kind in ENDED_KINDS and currency in self.ended_on and day > self.ended_on[currency]:
            return None
        return rates[days[position - 1]]


def at_rate(amount: Decimal, rate: Decimal | None) -> Decimal | None:
    return None if rate is None else (amount * rate).quantize(CENTS, ROUND_HALF_UP)


def total(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """Null when there is nothing to add, or one of them is not known."""
    made = list(amounts)
    return sum((one for one in made if one is not None), NOTHING) if made and None not in made else None


# What is put together


@dataclass(frozen=True)
class Deal:
    opportunity_id: str
    name: str | None
    account_id: str | None
    owner_id: str | None
    owner_name: str | None
    acts: str | None
    manager_name: str | None
    region: str | None
    segment: str | None
    outcome: str | None
    amount: Decimal | None
    currency: str
    closed_on: date

    @property
    def place(self) -> tuple[date, str]:
        return self.closed_on, self.opportunity_id


@dataclass(frozen=True)
class Invoice:
    """`amount` is that of the invoice, or, where it is an excess, what is left of it for other deals."""

    invoice_id: str
    customer_id: str
    account_id: str | None
    key: str | None
    on: date
    amount: Decimal
    currency: str
    is_paid: bool
    is_excess: bool = False

    @property
    def place(self) -> tuple[date, str]:
        return self.on, self.invoice_id


@dataclass(frozen=True)
class CreditNote:
    credit_note_id: str
    customer_id: str
    account_id: str | None
    invoice_id: str | None
    on: date
    amount: Decimal
    currency: str


@dataclass
class Books:
    """Both sides as known on a date."""

    as_of: date
    deals: dict[str, Deal]
    invoices: list[Invoice]
    credit_notes: list[CreditNote]
    rates: Rates
    accounts: dict[str, Row]
    was_delivered: bool

    @property
    def won(self) -> list[Deal]:
        return [deal for deal in self.deals.values() if deal.outcome == "won"]


def open_books(facts: Facts, as_of: date) -> Books:
    users = {key[0]: row for key, row in facts.newest_rows("crm/users", as_of).items()}
    hierarchy = funnel.Hierarchy(facts, as_of)

    def name_of(user_id: str | None) -> str | None:
        return (users.get(user_id or "") or {}).get("name")

    def has_left(user_id: str | None) -> bool:
        left_on = value_or_none(funnel.to_date, (users.get(user_id or "") or {}).get("terminated_on"))
        return left_on is not None and left_on <= as_of

    deals = {}
    for one in conversion.opportunities(facts, as_of):
        if one.is_deleted:
            continue
        last = one.deal.stretches[-1] if one.deal else None
        amount = last.amount_source if last else funnel.field_value("amount", one.row.get("amount"))
        currency = last.currency if last else one.row.get("currency")
        has_job = hierarchy.job(one.owner_id, one.closed_on or as_of) is not None
        owner_name = (name_of(one.owner_id) or one.owner_id) if has_job else None
        acts: str | None = owner_name or one.owner_id
        if has_left(one.owner_id):
            acts = None if has_left(one.manager_id) else name_of(one.manager_id) or one.manager_id
        deals[one.opportunity_id] = Deal(
            opportunity_id=one.opportunity_id,
            name=one.row.get("name"),
            account_id=one.row.get("account_id"),
            owner_id=one.owner_id,
            owner_name=owner_name,
            acts=acts,
            manager_name=name_of(one.manager_id),
            region=one.region,
            segment=one.segment,
            outcome=one.outcome if one.closed_on else None,
            amount=amount,
            currency=currency or REPORTING_CURRENCY,
            closed_on=one.closed_on or as_of,
        )
    account_of = {key: row.get("crm_account_id") for key, row in rows_there(facts, "finance/customers", as_of).items()}
    invoices = []
    for key, row in rows_there(facts, "finance/invoices", as_of).items():
        on, paid_on = funnel.to_date(row["invoice_date"] or ""), value_or_none(funnel.to_date, row.get("paid_on"))
        if row.get("status") == "void" or on > as_of:
            continue
        named = row.get("crm_opportunity_id")
        invoices.append(
            Invoice(
                invoice_id=key,
                customer_id=row["customer_id"] or "",
                account_id=account_of.get(row["customer_id"] or ""),
                key=named if named in deals else None,
                on=on,
                amount=funnel.to_decimal(row["amount"] or ""),
                currency=row.get("currency") or REPORTING_CURRENCY,
                is_paid=paid_on <= as_of if paid_on else row.get("status") == "paid",
            )
        )
    credit_notes = [
        CreditNote(
            credit_note_id=key,
            customer_id=row["customer_id"] or "",
            account_id=account_of.get(row["customer_id"] or ""),
            invoice_id=row.get("invoice_id"),
            on=funnel.to_date(row["credit_date"] or ""),
            amount=-funnel.to_decimal(row["amount"] or ""),
            currency=row.get("currency") or REPORTING_CURRENCY,
        )
        for key, row in rows_there(facts, "finance/credit_notes", as_of).items()
        if funnel.to_date(row["credit_date"] or "") <= as_of
    ]
    return Books(
        as_of=as_of,
        deals=deals,
        invoices=sorted(invoices, key=lambda one: one.place),
        credit_notes=sorted(credit_notes, key=lambda one: (one.on, one.credit_note_id)),
        rates=Rates(facts, as_of),
        accounts={key[0]: row for key, row in facts.newest_rows("crm/accounts", as_of).items()},
        was_delivered=bool(facts.newest_rows("finance/invoices", as_of)),
    )


# How documents are matched


@dataclass
class Match:
    """Deals of one invoice, the last one last, and by which rule each was found."""

    invoice: Invoice
    deals: list[Deal]
    rules: list[str]


@dataclass(frozen=True)
class Candidate:
    order: int
    rule: str
    deals: tuple[Deal, ...]
    invoices: tuple[Invoice, ...]
    turns: int = 0

    @property
    def things(self) -> set[tuple[str, str]]:
        return {("deal", one.opportunity_id) for one in self.deals} | {
            ("invoice", one.invoice_id) for one in self.invoices
        }

    @property
    def rank(self) -> tuple[Any, ...]:
        difference = sum_of(self.deals) - sum((one.amount for one in self.invoices), NOTHING)
        return (
            self.order,
            len(self.deals) + len(self.invoices),
            abs(difference) if self.order < 4 else NOTHING,
            abs((self.invoices[0].on - self.deals[-1].closed_on).days),
            self.turns,
            self.invoices[0].invoice_id,
            self.deals[0].opportunity_id,
            self.deals[-1].opportunity_id,
        )


def sum_of(deals: Iterable[Deal]) -> Decimal:
    return sum((deal.amount or NOTHING for deal in deals), NOTHING)


def tolerance(crm_amount: Decimal) -> Decimal:
    return max(POLICY["amount_tolerance"], POLICY["amount_tolerance_share"] * abs(crm_amount))


def agree(crm_amount: Decimal | None, finance_amount: Decimal | None) -> bool:
    if crm_amount is None or finance_amount is None:
        return False
    return abs(finance_amount - crm_amount) <= tolerance(crm_amount)


def fits(invoice: Invoice, deal: Deal, days: str) -> bool:
    return -days_of("early_days") <= (invoice.on - deal.closed_on).days <= days_of(days)


def runs(things: list[Any], shortest: int, longest: int) -> Iterator[tuple[Any, ...]]:
    for length in range(shortest, longest + 1):
        for start in range(len(things) - length + 1):
            yield tuple(things[start : start + length])


def turns(things: Sequence[Deal | Invoice]) -> dict[int, int]:
    """Of each thing how many of its currency and amount there are up to it."""
    seen: Counter[tuple[str, Decimal | None]] = Counter()
    found = {}
    for one in things:
        seen[one.currency, one.amount] += 1
        found[id(one)] = seen[one.currency, one.amount]
    return found


def candidates(deals: list[Deal], invoices: list[Invoice], rates: Rates) -> Iterator[Candidate]:
    """Of one account; both sides are sorted."""
    deal_turns, invoice_turns = turns(deals), turns([one for one in invoices if not one.is_excess])
    for invoice in invoices:
        same = [deal for deal in deals if deal.currency == invoice.currency]
        for deal in same:
            if agree(deal.amount, invoice.amount) and fits(invoice, deal, "match_days"):
                apart = abs(deal_turns[id(deal)] - invoice_turns.get(id(invoice), 1))
                yield Candidate(1, BY_AMOUNT, (deal,), (invoice,), apart)
        for several in [*combinations(same, 2), *runs(same, 3, 6)]:
            if agree(sum_of(several), invoice.amount) and all(fits(invoice, deal, "match_days") for deal in several):
                yield Candidate(2, BY_AMOUNT, several, (invoice,))
    for deal in deals:
        same_invoices = [one for one in invoices if one.currency == deal.currency and not one.is_excess]
        for parts in runs(same_invoices, 2, 12):
            billed = sum((one.amount for one in parts), NOTHING)
            if agree(deal.amount, billed) and all(fits(one, deal, "instalment_days") for one in parts):
                yield Candidate(3, BY_AMOUNT, (deal,), parts)
        for invoice in invoices:
            if not invoice.is_excess and fits(invoice, deal, "loose_match_days") and is_alike(deal, invoice, rates):
                yield Candidate(4, BY_DATE, (deal,), (invoice,))


def is_alike(deal: Deal, invoice: Invoice, rates: Rates) -> bool:
    sold, billed = deal.amount, invoice.amount
    if sold is not None and deal.currency != invoice.currency:
        sold = at_rate(sold, rates.plan(deal.currency, deal.closed_on))
        rate = rates.transaction(invoice.currency, invoice.on)
        if rate is None:
            return False
        billed = at_rate(billed, rate) or NOTHING
    return sold is not None and min(sold, billed) >= POLICY["loose_amount_share"] * max(sold, billed)


def taken(offered: list[Candidate]) -> list[Candidate]:
    left = sorted(offered, key=lambda one: one.rank)
    chosen: list[Candidate] = []
    for _ in range(ROUNDS):
        first: dict[tuple[str, str], Candidate] = {}
        for one in left:
            for thing in one.things:
                first.setdefault(thing, one)
        now = [one for one in left if all(first[thing] is one for thing in one.things)]
        gone = {thing for one in now for thing in one.things}
        chosen += now
        left = [one for one in left if not one.things & gone]
    return chosen


def match(books: Books) -> list[Match]:
    """One for each invoice that belongs to a deal or several."""
    matches: dict[str, Match] = {}
    keyed: dict[str, list[Invoice]] = defaultdict(list)
    for invoice in books.invoices:
        if invoice.key and books.deals[invoice.key].outcome == "won":
            keyed[invoice.key].append(invoice)
    excesses = []
    for key, named in keyed.items():
        deal = books.deals[key]
        currencies = {one.currency for one in named}
        currency = deal.currency if deal.currency in currencies else named[0].currency
        own = [one for one in named if one.currency == currency]
        for invoice in own:
            matches[invoice.invoice_id] = Match(invoice, [deal], [BY_KEY])
        if len(own) == 1 and currency == deal.currency and deal.amount is not None:
            excess = own[0].amount - deal.amount
            if excess > tolerance(deal.amount):
                excesses.append(replace(own[0], amount=excess, is_excess=True))
    free_deals: dict[str, list[Deal]] = defaultdict(list)
    for deal in sorted(books.won, key=lambda one: one.place):
        if deal.account_id and deal.opportunity_id not in keyed and deal.amount is not None and deal.amount > 0:
            free_deals[deal.account_id].append(deal)
    free_invoices: dict[str, list[Invoice]] = defaultdict(list)
    for invoice in sorted([*books.invoices, *excesses], key=lambda one: one.place):
        if invoice.account_id and (invoice.is_excess or (invoice.key is None and invoice.amount > 0)):
            free_invoices[invoice.account_id].append(invoice)
    for account_id, deals in free_deals.items():
        for one in taken(list(candidates(deals, free_invoices[account_id], books.rates))):
            for invoice in one.invoices:
                if invoice.is_excess:
                    matches[invoice.invoice_id].deals += one.deals
                    matches[invoice.invoice_id].rules += [one.rule] * len(one.deals)
                else:
                    matches[invoice.invoice_id] = Match(invoice, list(one.deals), [one.rule] * len(one.deals))
    belonging = list(matches.values())
    for free in free_invoices.values():
        for invoice in free:
            if invoice.is_excess or invoice.invoice_id in matches:
                continue
            alike = [
                one
                for one in belonging
                if (one.invoice.account_id, one.invoice.currency, one.invoice.amount)
                == (invoice.account_id, invoice.currency, invoice.amount)
                and abs((one.invoice.on - invoice.on).days) <= days_of("duplicate_days")
            ]
            if alike:
                nearest = min(alike, key=lambda one: (abs((one.invoice.on - invoice.on).days), one.invoice.place))
                matches[invoice.invoice_id] = Match(invoice, [nearest.deals[-1]], [BY_DUPLICATE])
    return list(matches.values())


# What belongs to a row


@dataclass(frozen=True)
class Document:
    """An invoice or credit note, or the part of it that belongs to a row."""

    kind: str
    document_id: str
    invoice_id: str | None
    customer_id: str
    account_id: str | None
    rule: str | None
    currency: str
    source: Decimal
    whole: Decimal
    on: date
    transaction_rate: Decimal | None
    plan_rate: Decimal | None
    is_shared: bool
    is_paid: bool
    is_duplicate: bool = False

    @property
    def amount(self) -> Decimal | None:
        return at_rate(self.source, self.transaction_rate)

    @property
    def at_plan(self) -> Decimal | None:
        return at_rate(self.source, self.plan_rate)

    @property
    def is_invoice(self) -> bool:
        return self.kind == "invoice"

    @property
    def place(self) -> tuple[date, str]:
        return self.on, self.document_id


@dataclass
class Line:
    """A row of booking_to_billing."""

    row_type: str
    row_id: str
    deal: Deal | None
    day: date
    documents: list[Document] = field(default_factory=list)
    crm_amount: Decimal | None = None
    status_in_source: str = ""
    status: str = ""

    @property
    def is_deal(self) -> bool:
        return self.row_type == "deal"

    @property
    def crm_source(self) -> Decimal | None:
        return self.deal.amount if self.is_deal and self.deal else None

    @property
    def crm_currency(self) -> str | None:
        return self.deal.currency if self.is_deal and self.deal else None

    @property
    def currency(self) -> str | None:
        currencies = {one.currency for one in self.documents}
        assert len(currencies) <= 1
        return next(iter(currencies), None)

    @property
    def net(self) -> Decimal | None:
        return total(one.source for one in self.documents)

    @property
    def invoices(self) -> list[Document]:
        return sorted((one for one in self.documents if one.is_invoice), key=lambda one: one.place)

    @property
    def credits(self) -> list[Document]:
        return [one for one in self.documents if not one.is_invoice]

    @property
    def is_rate_missing(self) -> bool:
        return (self.crm_source is not None and self.crm_amount is None) or any(
            one.transaction_rate is None or one.plan_rate is None for one in self.documents
        )


def parts_of(match: Match) -> list[Decimal]:
    """What each of its deals gets of an invoice."""
    own = [deal.amount or NOTHING for deal in match.deals[:-1]]
    return [*own, match.invoice.amount - sum(own, NOTHING)]


def parts_of_credit(amount: Decimal, parts: list[Decimal]) -> list[Decimal]:
    """What each gets of a credit note on it, which is negative."""
    made = []
    for part in parts[:-1]:
        exact = Fraction(amount) * Fraction(part) / Fraction(sum(parts, NOTHING)) * 100 + Fraction(1, 2)
        made.append(Decimal(exact.numerator // exact.denominator) / 100)
    return [*made, amount - sum(made, NOTHING)]


def make_lines(books: Books) -> list[Line]:
    rates = books.rates
    lines = {}
    for deal in books.won:
        rate = rates.plan(deal.currency, deal.closed_on)
        crm_amount = None if deal.amount is None else at_rate(deal.amount, rate)
        lines[deal.opportunity_id] = Line("deal", deal.opportunity_id, deal, deal.closed_on, crm_amount=crm_amount)
    matched = {one.invoice.invoice_id: one for one in match(books)}
    credits: dict[str, list[CreditNote]] = defaultdict(list)
    currency_of = {one.invoice_id: one.currency for one in books.invoices}
    alone: list[Line] = []

    def document(
        one: Invoice | CreditNote,
        source: Decimal,
        plan_day: date,
        invoice: Invoice | None,
        shared: bool,
        rule: str | None,
    ) -> Document:
        is_invoice = isinstance(one, Invoice)
        return Document(
            kind="invoice" if is_invoice else "credit_note",
            document_id=one.invoice_id if isinstance(one, Invoice) else one.credit_note_id,
            invoice_id=invoice.invoice_id if invoice else None,
            customer_id=one.customer_id,
            account_id=one.account_id,
            rule=rule,
            currency=one.currency,
            source=source,
            whole=one.amount,
            on=one.on,
            transaction_rate=rates.transaction(one.currency, one.on),
            plan_rate=rates.plan(one.currency, plan_day),
            is_shared=shared,
            is_paid=invoice.is_paid if invoice else False,
        )

    for note in books.credit_notes:
        if note.invoice_id and currency_of.get(note.invoice_id) == note.currency:
            credits[note.invoice_id].append(note)
        else:
            line = Line("credit_note", note.credit_note_id, None, note.on)
            line.documents.append(document(note, note.amount, note.on, None, False, None))
            alone.append(line)
    for invoice in books.invoices:
        notes = credits[invoice.invoice_id]
        one = matched.get(invoice.invoice_id)
        if one is None:
            line = Line("invoice", invoice.invoice_id, books.deals.get(invoice.key or ""), invoice.on)
            rule = BY_KEY if invoice.key else None
            for each in [invoice, *notes]:
                line.documents.append(document(each, each.amount, invoice.on, invoice, False, rule))
            alone.append(line)
            continue
        parts = parts_of(one)
        is_shared = len(one.deals) > 1
        for each, shares in [(invoice, parts), *((note, parts_of_credit(note.amount, parts)) for note in notes)]:
            for deal, part, found_by in zip(one.deals, shares, one.rules, strict=True):
                lines[deal.opportunity_id].documents.append(
                    document(each, part, deal.closed_on, invoice, is_shared, found_by)
                )
    made = [*lines.values(), *alone]
    for line in made:
        mark_duplicates(line)
        line.status_in_source = status_of_deal(line, books.as_of) if line.is_deal else status_of_document(line)
        line.status = "missing_rate" if line.is_rate_missing else line.status_in_source
    return made


def mark_duplicates(line: Line) -> None:
    if not line.is_deal:
        return
    invoices = line.invoices
    line.documents = [
        replace(
            one,
            is_duplicate=one.is_invoice
            and any(
                other.place < one.place
                and (other.currency, other.whole) == (one.currency, one.whole)
                and (one.on - other.on).days <= days_of("duplicate_days")
                for other in invoices
            ),
        )
        for one in line.documents
    ]


def status_of_deal(line: Line, as_of: date) -> str:
    deal, net, invoices = line.deal, line.net, line.invoices
    assert deal is not None
    sold = deal.amount
    if net is None:
        if sold is not None and abs(sold) <= POLICY["amount_tolerance"]:
            return "matched"
        is_early = (as_of - deal.closed_on).days <= days_of("billing_days")
        return "awaiting_invoice" if is_early else "missing_in_finance"
    if line.currency != deal.currency:
        return "currency_difference"
    if sold is None:
        return "amount_mismatch"
    if agree(sold, net):
        days = (invoices[0].on - deal.closed_on).days
        return "matched" if -days_of("early_days") <= days <= days_of("billing_days") else "timing_difference"
    if line.credits and net < sold:
        return "credited"
    if any(one.is_duplicate for one in invoices) and net > sold:
        return "duplicate_in_finance"
    is_small = all(one.whole <= POLICY["instalment_share"] * sold for one in invoices)
    if net < sold and is_small and (as_of - invoices[-1].on).days <= days_of("instalment_gap_days"):
        return "partly_billed"
    return "amount_mismatch"


def status_of_document(line: Line) -> str:
    if line.row_type == "credit_note" or (line.credits and (line.net or NOTHING) <= POLICY["amount_tolerance"]):
        return "credited"
    if line.deal and line.deal.outcome in ("lost", "no_decision"):
        return "lost_in_crm_but_billed"
    if line.deal and line.deal.outcome == "won":
        return "currency_difference"
    return "missing_in_crm"


# The tables


def booking_to_billing(books: Books, lines: list[Line]) -> pd.DataFrame:
    return pd.DataFrame([row_of(books, line) for line in lines], dtype=object)


def age_band(days: int | None) -> str | None:
    if days is None:
        return None
    first, second, third = (days_of(f"ageing_days_{number}") for number in (1, 2, 3))
    if days <= first:
        return f"0-{first}"
    if days <= second:
        return f"{first + 1}-{second}"
    return f"{second + 1}-{third}" if days <= third else f"over {third}"


def row_of(books: Books, line: Line) -> dict[str, Any]:
    deal, invoices, documents = line.deal, line.invoices, line.documents
    account_id = (deal and deal.account_id) or (documents[0].account_id if documents else None)
    account = books.accounts.get(account_id or "") or {}
    finance, at_plan = total(one.amount for one in documents), total(one.at_plan for one in documents)
    crm = line.crm_amount
    is_missing = line.is_rate_missing
    last_on = max((one.on for one in documents), default=None)
    seen_on = line.day if not line.is_deal or last_on is None else last_on
    age_days = None if line.status == "matched" else (books.as_of - seen_on).days
    words = STATUSES[line.status]
    owner = words["owner"]
    if owner == "deal_owner":
        owner = (deal and deal.acts) or "sales_operations"
    found = [one for one in invoices if one.rule != BY_DUPLICATE]
    group_type = None
    if line.is_deal and any(one.is_shared for one in invoices):
        group_type = "consolidated_invoice"
    elif line.is_deal and sum(not one.is_duplicate for one in invoices) > 1:
        group_type = "instalments"
    is_one_currency = line.crm_currency is None or line.currency is None or line.crm_currency == line.currency
    billing_days = None
    if invoices:
        billing_days = (invoices[0].on - deal.closed_on).days if line.is_deal and deal else 0
    return {
        "row_type": line.row_type,
        "row_id": line.row_id,
        "opportunity_id": deal.opportunity_id if deal else None,
        "opportunity_name": deal.name if deal else None,
        "account_id": account_id,
        "account_name": account.get("name"),
        "customer_id": (invoices or documents)[0].customer_id if documents else None,
        "invoice_id": invoices[0].document_id if invoices else None,
        "region": deal.region if deal else account.get("region"),
        "segment": deal.segment if deal else account.get("segment"),
        "manager_name": deal.manager_name if deal else None,
        "owner_id": deal.owner_id if deal else None,
        "status": line.status,
        "status_in_source": line.status_in_source,
        "match_rule": (found or documents)[0].rule if documents else None,
        "group_type": group_type,
        "age_band": age_band(age_days),
        "owner": owner,
        "what_is_wrong": words["what_is_wrong"],
        "what_to_do": words["what_to_do"],
        "crm_currency": line.crm_currency,
        "finance_currency": line.currency,
        "crm_amount_source": line.crm_source,
        "finance_amount_source": line.net,
        "difference_source": (line.net or NOTHING) - (line.crm_source or NOTHING) if is_one_currency else None,
        "credited_amount_source": -sum((one.source for one in line.credits), NOTHING) if documents else None,
        "paid_amount_source": sum((one.source for one in documents if one.is_paid), NOTHING) if documents else None,
        "crm_amount": crm,
        "finance_amount": finance,
        "finance_amount_at_plan": at_plan,
        "difference": None if is_missing else (finance or NOTHING) - (crm or NOTHING),
        "amount_difference": None if is_missing else (at_plan or NOTHING) - (crm or NOTHING),
        "fx_difference": None if is_missing else (finance or NOTHING) - (at_plan or NOTHING),
        "document_count": len(documents),
        "billing_days": billing_days,
        "age_days": age_days,
        "is_break": words["is_break"] == "true",
        "booked_on": line.day,
        "first_invoice_on": invoices[0].on if invoices else None,
        "last_document_on": last_on,
    }


def billing_documents(lines: list[Line]) -> pd.DataFrame:
    rows = [
        {
            "row_type": line.row_type,
            "row_id": line.row_id,
            "document_type": one.kind,
            "document_id": one.document_id,
            "invoice_id": one.invoice_id,
            "opportunity_id": line.deal.opportunity_id if line.deal else None,
            "customer_id": one.customer_id,
            "account_id": one.account_id,
            "match_rule": one.rule,
            "currency_source": one.currency,
            "amount_source": one.source,
            "amount": one.amount,
            "amount_at_plan": one.at_plan,
            "transaction_rate": one.transaction_rate,
            "plan_rate": one.plan_rate,
            "is_shared": one.is_shared,
            "is_duplicate": one.is_duplicate,
            "is_paid": one.is_paid,
            "document_on": one.on,
        }
        for line in lines
        for one in line.documents
    ]
    return pd.DataFrame(rows, dtype=object)


# The bridge


BRIDGE_LINES = ["bookings", *STATUSES, "other_period", "fx_difference", "finance"]
Period = tuple[str, date, date]


def periods(lines: list[Line], as_of: date, since: date) -> list[Period]:
    """Those that have begun, from the first deal or document on; `since` is the first day of the calendar."""
    days = [line.day for line in lines] + [one.on for line in lines for one in line.documents]
    first = min((day for day in days if day >= since), default=None)
    if first is None:
        return []
    made = []
    for kind in funnel.PERIOD_MONTHS:
        start, end = funnel.period_of(first, kind)
        while start <= as_of:
            made.append((kind, start, end))
            start, end = funnel.period_of(end + DAY, kind)
    return made


@dataclass(frozen=True)
class Item:
    """What a row contributes to a line in a period."""

    row: tuple[str, str]
    period: Period
    basis: str
    currency: str
    line: str
    amount: Decimal


def items(lines: list[Line], as_of: date, since: date) -> list[Item]:
    amounts: dict[tuple[Any, ...], Decimal] = {}
    begun = periods(lines, as_of, since)
    for line in lines:
        row = (line.row_type, line.row_id)
        for basis in ("source", "reporting"):
            status = getattr(line, SOURCE_BRIDGE_STATUS) if basis == "source" else line.status
            moved = "timing_difference" if status == "timing_difference" else "other_period"
            for period in begun:

                def add(name: str, currency: str, amount: Decimal, *where: Any) -> None:
                    key = (*where, currency, name)
                    amounts[key] = amounts.get(key, NOTHING) + amount

                where = (row, period, basis)
                is_here = period[1] <= line.day <= period[2]
                if line.is_deal and is_here:
                    currency = line.crm_currency if basis == "source" else REPORTING_CURRENCY
                    booked = (line.crm_source if basis == "source" else line.crm_amount) or NOTHING
                    add("bookings", currency or "", booked, *where)
                    add(status, currency or "", -booked, *where)
                for one in line.documents:
                    if basis == "source":
                        currency, plan, finance = one.currency, one.source, one.source
                    elif one.amount is None or one.at_plan is None:
                        currency, plan, finance = REPORTING_CURRENCY, NOTHING, NOTHING
                    else:
                        currency, plan, finance = REPORTING_CURRENCY, one.at_plan, one.amount
                    is_dated_here = period[1] <= one.on <= period[2]
                    if is_here:
                        add(status, currency, plan, *where)
                    if is_here and not is_dated_here:
                        add(moved, currency, -plan, *where)
                    if is_dated_here and not is_here:
                        add(moved, currency, plan, *where)
                    if is_dated_here:
                        add("fx_difference", currency, finance - plan, *where)
                        add("finance", currency, finance, *where)
    return [Item(*key, amount) for key, amount in amounts.items() if key[-1] != "fx_difference" or amount != 0]


def bridge_items(made: list[Item]) -> pd.DataFrame:
    rows = [
        {
            "row_type": one.row[0],
            "row_id": one.row[1],
            "period_type": one.period[0],
            "period_start": one.period[1],
            "currency_basis": one.basis,
            "currency": one.currency,
            "line": one.line,
            "amount": one.amount,
        }
        for one in made
    ]
    return pd.DataFrame(rows, dtype=object)


def booking_bridge(lines: list[Line], made: list[Item], as_of: date, since: date) -> pd.DataFrame:
    currencies = {name for line in lines for name in (line.crm_currency, line.currency) if name}
    there: dict[tuple[Any, ...], list[Item]] = defaultdict(list)
    for one in made:
        there[one.period, one.basis, one.currency, one.line].append(one)
    rows = []
    for period in periods(lines, as_of, since):
        for basis, currency in [*(("source", name) for name in sorted(currencies)), ("reporting", REPORTING_CURRENCY)]:
            for order, name in enumerate(BRIDGE_LINES, start=1):
                found = there[period, basis, currency, name]
                rows.append(
                    {
                        "period_type": period[0],
                        "period_start": period[1],
                        "period_end": period[2],
                        "currency_basis": basis,
                        "currency": currency,
                        "line": name,
                        "line_order": order,
                        "amount": sum((one.amount for one in found), NOTHING),
                        "row_count": len({one.row for one in found}),
                    }
                )
    return pd.DataFrame(rows, dtype=object)


# From forecast to billing


@dataclass(frozen=True)
class Call:
    submission_id: str
    submitter_id: str
    period: tuple[date, date]
    amount: Decimal
    currency: str
    at: Any


def read_calls(facts: Facts, as_of: date) -> list[Call]:
    calls = [
        Call(
            submission_id=key,
            submitter_id=row["submitter_id"] or "",
            period=(funnel.to_date(row["period_start"] or ""), funnel.to_date(row["period_end"] or "")),
            amount=funnel.to_decimal(row["amount"] or ""),
            currency=row.get("currency") or REPORTING_CURRENCY,
            at=funnel.to_time(row["submitted_at"] or ""),
        )
        for key, row in rows_there(facts, "crm/forecast_submissions", as_of).items()
        if row["category"] == "commit"
    ]
    return sorted(calls, key=lambda one: (one.at, one.submission_id))


def commits(
    calls: list[Call], hierarchy: funnel.Hierarchy, rates: Rates, period: tuple[date, date], as_of: date
) -> tuple[Decimal | None, Decimal | None, int]:
    """The last call of the top, what the same people had called in the first week, and how many they are."""
    last_day = min(period[1], as_of)
    made = [one for one in calls if one.period == period and one.at < end_of(last_day)]
    submitters = {one.submitter_id for one in made}
    top = {
        one
        for one in submitters
        if hierarchy.job(one, last_day) and not (set(hierarchy.managers(one, last_day)) - {one}) & submitters
    }

    def called(before: Any) -> Decimal | None:
        last = {one.submitter_id: one for one in made if one.submitter_id in top and one.at < before}
        rate_day = min(period[0], as_of)
        return total(at_rate(one.amount, rates.plan(one.currency, rate_day)) for one in last.values())

    return called(end_of(last_day)), called(end_of(period[0] + 6 * DAY)), len(top)


def forecast_to_billing(facts: Facts, books: Books, lines: list[Line], since: date) -> pd.DataFrame:
    calls, hierarchy = read_calls(facts, books.as_of), funnel.Hierarchy(facts, books.as_of)

    def added(amounts: Iterable[Decimal | None]) -> Decimal:
        return sum((one for one in amounts if one is not None), NOTHING)

    def share(part: Decimal, whole: Decimal | None) -> float | None:
        if whole and abs(part - whole) < Decimal("0.005"):
            return 1.0
        return float(Fraction(part) / Fraction(whole)) if whole else None

    rows = []
    for kind, start, end in periods(lines, books.as_of, since):
        here = [line for line in lines if start <= line.day <= end]
        deals = [line for line in here if line.is_deal]
        documents = [
            one
            for line in deals
            for one in line.documents
            if IS_BILLED_WITHOUT_TRANSACTION_RATE or one.amount is not None
        ]
        commit, opening, top_count = commits(calls, hierarchy, books.rates, (start, end), books.as_of)
        booked = added(line.crm_amount for line in deals)
        billed = added(one.at_plan for one in documents)
        paid = added(one.at_plan for one in documents if one.is_paid)
        rows.append(
            {
                "period_type": kind,
                "period_start": start,
                "period_end": end,
                "has_reason": commit is None,
                "opening_commit_amount": opening,
                "commit_amount": commit,
                "commit_to_booked": None if commit is None else booked - commit,
                "booked_amount": booked,
                "booked_to_billed": billed - booked,
                "billed_amount": billed,
                "billed_to_paid": paid - billed,
                "paid_amount": paid,
                "fx_difference": added(
                    one.amount - one.at_plan for one in documents if one.amount is not None and one.at_plan is not None
                ),
                "unbooked_amount": added(
                    one.at_plan
                    for line in here
                    if line.status in ("missing_in_crm", "lost_in_crm_but_billed")
                    for one in line.documents
                    if IS_BILLED_WITHOUT_TRANSACTION_RATE or one.amount is not None
                ),
                "booked_share": share(booked, commit),
                "billed_share": share(billed, booked),
                "paid_share": share(paid, billed),
                "submitter_count": top_count,
                "booked_count": len(deals),
                "missing_rate_count": sum(line.status == "missing_rate" for line in deals),
                "is_complete": end <= books.as_of,
            }
        )
    return pd.DataFrame(rows, dtype=object)


@dataclass
class Told:
    lines: list[Line]
    tables: dict[str, pd.DataFrame]


def tell(facts: Facts, as_of: date, since: date) -> Told:
    books = open_books(facts, as_of)
    lines = make_lines(books) if books.was_delivered else []
    made = items(lines, as_of, since)
    return Told(
        lines,
        {
            "booking_to_billing": booking_to_billing(books, lines),
            "billing_documents": billing_documents(lines),
            "bridge_items": bridge_items(made),
            "booking_bridge": booking_bridge(lines, made, as_of, since),
            "forecast_to_billing": forecast_to_billing(facts, books, lines, since),
        },
    )
