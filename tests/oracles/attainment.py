"""Quota attainment worked out a second time, day by day and person by person, from docs/people.md and nothing else.

Contract extracts (CSV) go in, one dictionary per row of `people.quota_attainment` comes out. Deals are those of
`tests.oracles.conversion`; money is `Decimal`, everything else a `Fraction` until the end. It knows the calendar of
months.
"""

from __future__ import annotations

import math
from calendar import monthrange
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pandas as pd

from tests.oracles import conversion, funnel
from tests.oracles.conversion import Opportunity, wilson
from tests.oracles.forecasts import rounded, student
from tests.oracles.funnel import Entity, Facts, Row, end_of, value_or_none

DAY = timedelta(days=1)
NOTHING = Decimal(0)
SEEDS = Path(__file__).parents[2] / "seeds"
SELLER_ROLES = ("account_executive", "account_manager", "development_rep")
PERIOD_TYPES = ("month", "quarter", "year")
KEY = ("scope_type", "scope_id", "period_type", "period_start")

NO_QUOTA, OVERLAP, NO_RATE = "no quota", "quotas overlap", "no exchange rate"
PARTLY, ZERO = "quota covers part of the period", "quota is zero"
RUNNING, TOO_FEW = "period is running", "not enough sellers"
REASONS = (NO_QUOTA, OVERLAP, NO_RATE, PARTLY, ZERO)
BY_QUARTER, BY_YEAR, LONGER = "quota is set by quarter", "quota is set by year", "quota is set for a longer time"
SET_OTHERWISE = (BY_QUARTER, BY_YEAR, LONGER)

Relief = list[tuple[int, Fraction]]


def read_policy() -> dict[str, Fraction]:
    table = pd.read_csv(SEEDS / "people_policy.csv", dtype=str)
    return {row["name"]: Fraction(row["value"]) for row in table.to_dict("records")}


def read_relief() -> Relief:
    table = pd.read_csv(SEEDS / "ramp_relief.csv", dtype=str)
    return sorted((int(row["from_month"]), Fraction(row["quota_share"])) for row in table.to_dict("records"))


POLICY = read_policy()


# Loading


def is_share(text: str | None) -> bool:
    share = value_or_none(Decimal, text)
    return text is None or (share is not None and 0 <= share <= 1)


def is_sound_member(row: Row) -> bool:
    return (
        is_share(row.get("credit_share"))
        and is_share(row.get("overlay_share"))
        and all(funnel.is_readable(funnel.to_time, row.get(name)) for name in ("joined_at", "left_at"))
    )


def is_sound_quota(row: Row) -> bool:
    return (
        all(value_or_none(funnel.to_date, row.get(name)) for name in ("period_start", "period_end", "effective_from"))
        and value_or_none(funnel.to_decimal, row.get("amount")) is not None
        and funnel.is_currency(row.get("currency"))
    )


ENTITIES = [
    *conversion.ENTITIES,
    Entity("crm/opportunity_team", ("opportunity_id", "user_id", "team_role"), is_sound_member, event_time="joined_at"),
    Entity(
        "crm/quotas",
        ("user_id", "period_start", "period_end", "effective_from"),
        is_sound_quota,
        is_event=True,
        event_time="effective_from",
    ),
]


def load(directories: list[Path]) -> Facts:
    return funnel.load(directories, ENTITIES)


def existing(facts: Facts, file: str, as_of: date) -> list[Row]:
    """The newest row of each key that is known and not gone by the end of the day."""
    there: dict[funnel.Key, Row | None] = {}
    for version in facts.versions[file]:
        if version.known_at < end_of(as_of):
            there[version.key] = version.row
    return [row for row in there.values() if row is not None]


# Days and people


def add_months(day: date, months: int) -> date:
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def days_between(first: date, last: date) -> int:
    return max(0, (last - first).days + 1)


@dataclass(frozen=True)
class Period:
    period_type: str
    start: date
    end: date
    as_of: date

    @property
    def days(self) -> int:
        return days_between(self.start, self.end)

    @property
    def is_complete(self) -> bool:
        return self.end <= self.as_of

    @property
    def last_day(self) -> date:
        """The day whose organisation counts."""
        return min(self.end, self.as_of)

    def holds(self, day: date) -> bool:
        return self.start <= day <= self.end


def periods(as_of: date, since: date) -> list[Period]:
    """Those of the calendar that began by the as-of date and not too long before it."""
    oldest = add_months(as_of, -int(POLICY["attainment_history_months"]))
    return [
        Period(kind, start, end, as_of)
        for kind in PERIOD_TYPES
        for start, end in conversion.periods(since, as_of, kind)
        if oldest <= start <= as_of
    ]


@dataclass(frozen=True)
class Job:
    since: date
    until: date
    role: str | None
    manager_id: str | None
    region: str | None
    segment: str | None


NO_JOB = Job(date.min, date.max, None, None, None, None)


@dataclass
class Person:
    name: str | None = None
    hired_on: date | None = None
    left_on: date | None = None
    jobs: list[Job] = field(default_factory=list)

    def job(self, day: date) -> Job | None:
        return next((job for job in self.jobs if job.since <= day < job.until), None)

    def days_there(self, first: date, last: date) -> int:
        return days_between(max(first, self.hired_on or first), min(last, self.left_on or last))

    def sold(self, period: Period) -> bool:
        """Held a job that sells on some day of the period, while there."""
        return any(
            job.role in SELLER_ROLES
            and self.days_there(max(period.start, job.since), min(period.last_day, job.until - DAY))
            for job in self.jobs
        )


def read_people(facts: Facts, as_of: date) -> dict[str, Person]:
    people: dict[str, Person] = defaultdict(Person)
    entries: dict[str, list[tuple[date, Row]]] = defaultdict(list)
    for (user_id, since), row in facts.newest_rows("crm/user_roles", as_of).items():
        if funnel.to_date(since) <= as_of:
            entries[user_id].append((funnel.to_date(since), row))
    for (user_id,), row in facts.newest_rows("crm/users", as_of).items():
        hired_on, left_on = (value_or_none(funnel.to_date, row.get(name)) for name in ("hired_on", "terminated_on"))
        people[user_id] = Person(row.get("name"), hired_on, left_on if left_on and left_on <= as_of else None)
        if user_id not in entries and (hired_on is None or hired_on <= as_of):
            entries[user_id].append((hired_on or date.min, row))
    for user_id, rows in entries.items():
        rows.sort(key=lambda entry: entry[0])
        ends = [since for since, _ in rows[1:]] + [date.max]
        people[user_id].jobs = [
            Job(since, until, *(row.get(name) for name in ("role", "manager_id", "region", "segment")))
            for (since, row), until in zip(rows, ends, strict=True)
        ]
    return people


class Lines:
    """Who was above whom on a day."""

    def __init__(self, people: dict[str, Person], day: date) -> None:
        jobs = {user_id: job for user_id, person in people.items() if (job := person.job(day))}
        self.above = {user_id: self.line(jobs, user_id) for user_id in jobs}
        self.leading = {manager for line in self.above.values() for manager in line}

    @staticmethod
    def line(jobs: dict[str, Job], user_id: str) -> list[str]:
        """The nearest first; a line that loops stops."""
        line: list[str] = []
        job: Job | None = jobs[user_id]
        while job and job.manager_id and job.manager_id != user_id and job.manager_id not in line:
            line.append(job.manager_id)
            job = jobs.get(job.manager_id)
        return line


# Revenue credit


@dataclass(frozen=True)
class Credit:
    """What one person, or nobody, is credited with for one deal; without an amount there is overlay alone."""

    user_id: str | None
    won_on: date
    amount: Decimal | None
    overlay: Decimal | None


def fraction(text: str | None) -> Fraction:
    return max(Fraction(0), Fraction(text or "0"))


def owner_when_won(one: Opportunity) -> str | None:
    if one.deal is None:
        return one.owner_id
    episode = one.deal.stretches[-1].episode
    return next(
        stretch.owner_id
        for stretch in one.deal.stretches
        if stretch.episode == episode
        and not stretch.is_deleted
        and funnel.is_closed(stretch.stage)
        and funnel.STAGES[stretch.stage or ""].outcome == "won"
    )


def credits_of(won_on: date, amount: Decimal, owner_id: str | None, team: Iterable[Row]) -> list[Credit]:
    shares: dict[str, Fraction] = defaultdict(Fraction)
    overlays: dict[str, Fraction] = defaultdict(Fraction)
    for row in team:
        joined_at = value_or_none(funnel.to_time, row.get("joined_at"))
        if joined_at is None or joined_at.date() <= won_on:
            shares[row["user_id"] or ""] += fraction(row.get("credit_share"))
            overlays[row["user_id"] or ""] += fraction(row.get("overlay_share"))
    whole = sum(shares.values(), Fraction(0))
    if not whole:
        shares = {owner_id: Fraction(1)} if owner_id else {}  # type: ignore[assignment]
        whole = Fraction(1)
    credited: dict[str | None, Decimal] = {}
    so_far, before = Fraction(0), NOTHING
    for user_id in sorted(user_id for user_id, share in shares.items() if share):
        so_far += shares[user_id]
        until = rounded(Fraction(amount) * so_far / whole, 4)
        credited[user_id], before = until - before, until
    if not credited:
        credited[None] = amount
    beside = {user_id: rounded(Fraction(amount) * share, 4) for user_id, share in overlays.items() if share}
    return [
        Credit(user_id, won_on, credited.get(user_id), beside.get(user_id or ""))
        for user_id in [*credited, *(user_id for user_id in beside if user_id not in credited)]
    ]


def read_credits(facts: Facts, as_of: date) -> list[Credit]:
    teams: dict[str, list[Row]] = defaultdict(list)
    for row in existing(facts, "crm/opportunity_team", as_of):
        teams[row["opportunity_id"] or ""].append(row)
    made: list[Credit] = []
    for one in conversion.opportunities(facts, as_of):
        if one.outcome == "won" and not one.is_deleted and one.closed_on:
            made += credits_of(one.closed_on, one.amount or NOTHING, owner_when_won(one), teams[one.opportunity_id])
    return made


# Quotas


@dataclass
class Quota:
    """All versions of what was asked of one person for one stretch of days; None where there is no plan rate."""

    user_id: str
    start: date
    end: date
    days: list[date]
    before_relief: Decimal | None
    amount: Decimal | None

    def lies_within(self, period: Period) -> bool:
        return period.start <= self.start and self.end <= period.end

    def is_exactly(self, period: Period) -> bool:
        return (period.start, period.end) == (self.start, self.end)


def relief_on(day: date, hired_on: date | None, relief: Relief) -> Fraction:
    if hired_on is None:
        return relief[-1][1]
    begun = [share for month, share in relief if add_months(hired_on, month) <= day]
    return begun[-1] if begun else relief[0][1]


def read_quotas(facts: Facts, people: dict[str, Person], as_of: date, relief: Relief) -> list[Quota]:
    rates = funnel.Rates(facts, as_of)
    known: dict[tuple[str, date, date], list[tuple[date, Row]]] = defaultdict(list)
    for row in existing(facts, "crm/quotas", as_of):
        start, end, since = (
            funnel.to_date(row[name] or "") for name in ("period_start", "period_end", "effective_from")
        )
        if since <= as_of:
            known[row["user_id"] or "", start, end].append((since, row))
    made = []
    for (user_id, start, end), versions in known.items():
        versions.sort(key=lambda version: version[0])
        person = people.get(user_id, Person())
        # Each day belongs to a version and a relief share; days that belong to the same are a stretch.
        stretches: dict[tuple[int, Fraction], list[date]] = defaultdict(list)
        for number in range(days_between(start, min(end, person.left_on or end))):
            day = start + DAY * number
            place = max([0, *(place for place, (since, _) in enumerate(versions) if place and since <= day)])
            stretches[place, relief_on(day, person.hired_on, relief)].append(day)
        before_relief: Decimal | None = NOTHING
        amount: Decimal | None = NOTHING
        for place, _ in stretches:
            if rates.on(versions[place][1].get("currency"), min(start, as_of)) is None:
                before_relief = amount = None
        for (place, share), days in stretches.items():
            if before_relief is None or amount is None:
                break
            row = versions[place][1]
            rate = rates.on(row.get("currency"), min(start, as_of))
            asked = Fraction(funnel.to_decimal(row["amount"] or "")) * Fraction(rate or 0)
            carried = rounded(asked * len(days) / days_between(start, end), 4)
            before_relief += carried
            amount += rounded(Fraction(carried) * share, 4)
        in_force = sorted(day for days in stretches.values() for day in days)
        if any(person.days_there(day, day) for day in in_force):
            made.append(Quota(user_id, start, end, in_force, before_relief, amount))
    return made


# Rows of sellers


def named(start: date, end: date) -> str:
    """How a quota of such days is set."""
    is_first = start.day == 1
    if is_first and start.month in (1, 4, 7, 10) and end == add_months(start, 3) - DAY:
        return BY_QUARTER
    return BY_YEAR if is_first and start.month == 1 and end == add_months(start, 12) - DAY else LONGER


@dataclass
class Seller:
    """One person in one period."""

    user_id: str
    person: Person
    period: Period
    job: Job
    above: list[str]
    is_leading: bool
    credits: list[Credit]
    quotas: list[Quota]
    around: list[Quota]

    @property
    def credited(self) -> Decimal:
        return sum((one.amount for one in self.credits if one.amount is not None), NOTHING)

    @property
    def overlay(self) -> Decimal:
        return sum((one.overlay for one in self.credits if one.overlay is not None), NOTHING)

    @property
    def won_count(self) -> int:
        return sum(one.amount is not None for one in self.credits)

    @property
    def days_there(self) -> int:
        return self.person.days_there(self.period.start, self.period.end)

    @property
    def counted_quotas(self) -> list[Quota]:
        return [one for one in self.quotas if one.is_exactly(self.period)] or self.quotas

    @property
    def quota_days(self) -> int:
        return sum(self.person.days_there(day, day) for one in self.counted_quotas for day in one.days)

    @property
    def covered_share(self) -> Fraction | None:
        return Fraction(self.quota_days, self.days_there) if self.days_there else None

    @property
    def set_otherwise(self) -> str | None:
        """Of which time there is a quota, where the period is only a part of it."""
        found = {named(one.start, one.end) for one in self.around}
        return next((reason for reason in SET_OTHERWISE if reason in found), None)

    @property
    def is_untold(self) -> str | None:
        """Why there is no amount of quota."""
        counted = self.counted_quotas
        if not counted:
            return self.set_otherwise or NO_QUOTA
        together = sum(days_between(one.start, one.end) for one in counted)
        if not counted[0].is_exactly(self.period) and together > self.period.days:
            return OVERLAP
        return NO_RATE if any(one.amount is None for one in counted) else None

    def quota(self, column: str) -> Decimal | None:
        if self.is_untold:
            return None
        return sum((getattr(one, column) for one in self.counted_quotas), NOTHING)

    @property
    def reason(self) -> str | None:
        if self.is_untold:
            return self.is_untold
        if self.covered_share is None or self.covered_share < POLICY["attainment_covered_share"]:
            return PARTLY
        return ZERO if self.quota("amount") == 0 else None

    @property
    def attainment(self) -> Fraction | None:
        if self.reason:
            return None
        return Fraction(self.credited) / Fraction(self.quota("amount") or NOTHING)

    @property
    def is_judged(self) -> bool:
        return (
            self.period.is_complete
            and self.attainment is not None
            and not self.is_leading
            and self.quota_days >= POLICY["attainment_days_share"] * self.period.days
        )


def sellers_of(
    period: Period, people: dict[str, Person], credits: dict[str | None, list[Credit]], quotas: list[Quota]
) -> list[Seller]:
    mine: dict[str, list[Quota]] = defaultdict(list)
    for quota in quotas:
        if quota.lies_within(period):
            mine[quota.user_id].append(quota)
    earned = {
        user_id: [one for one in made if period.holds(one.won_on)] for user_id, made in credits.items() if user_id
    }
    who = {user_id for user_id, person in people.items() if person.sold(period)}
    who |= mine.keys()
    who |= {user_id for user_id, rows in earned.items() if rows}
    lines = Lines(people, period.last_day)
    return [
        Seller(
            user_id,
            people.get(user_id, Person()),
            period,
            people.get(user_id, Person()).job(period.last_day) or NO_JOB,
            lines.above.get(user_id, []),
            user_id in lines.leading,
            earned.get(user_id, []),
            mine[user_id],
            [one for one in quotas if one.user_id == user_id and one.start <= period.start and period.end <= one.end],
        )
        for user_id in sorted(who)
    ]


def to_go(attainment: Fraction | None, credited: Decimal, quota: Decimal | None) -> Decimal | None:
    return None if attainment is None or quota is None else max(NOTHING, quota - credited)


def as_float(number: Fraction | None) -> float | None:
    return None if number is None else float(number)


ONLY_ROLL_UPS = (
    "roll_up_reason",
    "n",
    "average_attainment",
    "average_attainment_low",
    "average_attainment_high",
    "at_quota_count",
    "at_quota_share",
    "at_quota_share_low",
    "at_quota_share_high",
)
ONLY_SELLERS = ("role", "manager_id", "manager_name", "region", "segment", "covered_share", "is_judged", "is_leading")


def period_cells(period: Period) -> dict[str, Any]:
    return {
        "period_type": period.period_type,
        "period_start": period.start,
        "period_end": period.end,
        "is_complete": period.is_complete,
        "as_of_date": period.as_of,
    }


def seller_row(seller: Seller, people: dict[str, Person]) -> dict[str, Any]:
    quota = seller.quota("amount")
    return {
        "scope_type": "seller",
        "scope_id": seller.user_id,
        "scope_name": seller.person.name or seller.user_id,
        **period_cells(seller.period),
        "role": seller.job.role,
        "manager_id": seller.job.manager_id,
        "manager_name": people.get(seller.job.manager_id or "", Person()).name,
        "region": seller.job.region,
        "segment": seller.job.segment,
        "reason": seller.reason,
        "credited_amount": seller.credited,
        "overlay_amount": seller.overlay,
        "won_count": seller.won_count,
        "quota_before_relief": seller.quota("before_relief"),
        "quota_amount": quota,
        "quota_days": seller.quota_days,
        "covered_share": as_float(seller.covered_share),
        "attainment": as_float(seller.attainment),
        "amount_to_go": None
        if seller.person.left_on and seller.person.left_on < seller.period.last_day
        else to_go(seller.attainment, seller.credited, quota),
        "is_judged": seller.is_judged,
        "is_leading": seller.is_leading,
        **dict.fromkeys(ONLY_ROLL_UPS),
    }


# Roll-ups


def judged_cells(period: Period, members: list[Seller]) -> dict[str, Any]:
    attainments = [one.attainment for one in members if one.is_judged and one.attainment is not None]
    n, at_quota = len(attainments), sum(one >= 1 for one in attainments)
    reason = None
    if not period.is_complete:
        reason = RUNNING
    elif n < POLICY["attainment_minimum_sellers"]:
        reason = TOO_FEW
    cells: dict[str, Any] = dict.fromkeys(ONLY_ROLL_UPS)
    cells |= {"roll_up_reason": reason, "n": n, "at_quota_count": at_quota}
    if reason is None:
        average = mean(attainments)
        reach = student(n - 1) * stdev(map(float, attainments)) / math.sqrt(n)
        share_low, share_high = wilson(at_quota / n, n)
        cells |= {
            "average_attainment": float(average),
            "average_attainment_low": max(float(average) - reach, 0.0 if min(attainments) >= 0 else -math.inf),
            "average_attainment_high": float(average) + reach,
            "at_quota_share": at_quota / n,
            "at_quota_share_low": share_low,
            "at_quota_share_high": share_high,
        }
    return cells


def roll_up(
    scope: tuple[str, str], name: str | None, period: Period, members: list[Seller], to_nobody: list[Credit]
) -> dict[str, Any]:
    credited = sum((one.credited for one in members), NOTHING)
    credited += sum((one.amount for one in to_nobody if one.amount is not None), NOTHING)
    with_row = [one for one in members if not one.is_leading and one.counted_quotas]
    reached = [one for one in with_row if one.reason is None]
    before_relief, quota = (
        sum((one.quota(column) or NOTHING for one in reached), NOTHING) if reached else None
        for column in ("before_relief", "amount")
    )
    there, told = (sum(one.days_there for one in group) for group in (with_row, reached))
    reason = None
    if not with_row:
        otherwise = {one.set_otherwise for one in members if not one.is_leading}
        reason = next((reason for reason in SET_OTHERWISE if reason in otherwise), NO_QUOTA)
    elif not quota or told < POLICY["attainment_covered_share"] * there:
        reason = PARTLY
    attainment = Fraction(credited) / Fraction(quota) if reason is None and quota else None
    return {
        "scope_type": scope[0],
        "scope_id": scope[1],
        "scope_name": name,
        **period_cells(period),
        **dict.fromkeys(ONLY_SELLERS),
        "reason": reason,
        "credited_amount": credited,
        "overlay_amount": sum((one.overlay for one in members), NOTHING),
        "won_count": sum(one.won_count for one in members) + len(to_nobody),
        "quota_before_relief": None if reason else before_relief,
        "quota_amount": None if reason else quota,
        "quota_days": sum(one.quota_days for one in reached),
        "attainment": as_float(attainment),
        "amount_to_go": to_go(attainment, credited, quota),
        **judged_cells(period, members),
    }


def tell(facts: Facts, as_of: date, since: date, relief: Relief | None = None) -> list[dict[str, Any]]:
    """Every row of the table.

    Args:
        since: the first day of the calendar, which has a test of its own.
        relief: of the ramp, (from month, share), instead of what the seed says.
    """
    people = read_people(facts, as_of)
    credits: dict[str | None, list[Credit]] = defaultdict(list)
    for credit in read_credits(facts, as_of):
        credits[credit.user_id].append(credit)
    quotas = read_quotas(facts, people, as_of, relief or read_relief())
    rows = []
    for period in periods(as_of, since):
        sellers = sellers_of(period, people, credits, quotas)
        rows += [seller_row(one, people) for one in sellers]
        to_nobody = [one for one in credits[None] if period.holds(one.won_on)]
        rows.append(roll_up(("company", "company"), "Company", period, sellers, to_nobody))
        members: dict[tuple[str, str], list[Seller]] = defaultdict(list)
        for one in sellers:
            members["region", one.job.region or "unknown"].append(one)
            members["segment", one.job.segment or "unknown"].append(one)
            for manager in one.above:
                members["manager", manager].append(one)
        unknown = [("region", "unknown"), ("segment", "unknown")]
        for scope in unknown if to_nobody else []:
            members.setdefault(scope, [])
        for scope, group in members.items():
            name = (people.get(scope[1], Person()).name if scope[0] == "manager" else None) or scope[1]
            rows.append(roll_up(scope, name, period, group, to_nobody if scope in unknown else []))
    return rows
