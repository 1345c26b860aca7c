"""Forecasts, their errors and the record of submitters worked out a second time from docs/forecast-accuracy.md.

Calls and exchange rates come from the extract's files; deals, jobs and days from published tables that have oracles of
their own (`core.calendar`, `core.reps`, `core.opportunities`, `funnel.opportunity_history`,
`funnel.pipeline_snapshots`).
What the outcome model said is taken as given; its range, its errors and the value it adds are not. Money is `Decimal`,
everything else a `Fraction` until the end, so that no half is a matter of rounding.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from tests.oracles import funnel
from tests.oracles.conversion import wilson
from tests.oracles.funnel import CENTS, Entity, Facts, Row, Scope, end_of, value_or_none

DAY = timedelta(days=1)
WEEK = timedelta(days=7)
COMPANY: Scope = ("company", "company")
SELLER_ROLES = ("account_executive", "account_manager")
CHAIN = ["naive_last_period", "stage_weighted", "seller_commit", "manager_commit", "executive_commit", "model"]
NAIVE = ["naive_last_period", "naive_last_year"]
COMMITS = {"seller": "seller_commit", "manager": "manager_commit", "executive": "executive_commit"}
METHODS = ["naive_last_period", "naive_last_year", "run_rate", "stage_weighted", "category_weighted", *COMMITS.values()]
HORIZONS = ["near", "middle", "far", "all"]
Z = 1.6448536269514722

KEYS = ["period_type", "period_start", "weeks_before_end", "scope_type", "scope_id", "method"]
ONLY_FORECASTS = ["booked_amount", "call_count", "range_period_count", "is_ended"]
CELL = ["period_type", "scope_type", "method", "weeks_before_end"]


def read_policy() -> dict[str, Fraction]:
    table = pd.read_csv(Path(__file__).parents[2] / "seeds" / "forecast_policy.csv", dtype=str)
    return {row["name"]: Fraction(row["value"]) for row in table.to_dict("records")}


POLICY = read_policy()


# Numbers


def rounded(number: Fraction, digits: int) -> Decimal:
    """Halves go up."""
    return Decimal(math.floor(number * 10**digits + Fraction(1, 2))).scaleb(-digits)


def ratio(part: Fraction | Decimal | int, whole: Fraction | Decimal | int) -> Fraction | None:
    return Fraction(part) / Fraction(whole) if whole else None


def student(degrees: int) -> float:
    """The 95th percentile of Student's t by its expansion (Abramowitz and Stegun, 26.7.5) in z of the 95th."""
    nu, z = degrees, Z
    return (
        z
        + (z**3 + z) / (4 * nu)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * nu**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * nu**3)
    )


def ratio_interval(
    parts: Sequence[tuple[Fraction, Fraction]],
) -> tuple[Fraction | None, float | None, float | None]:
    """Sum of numerators over sum of denominators of the clusters, with its 90 % interval."""
    m, whole = len(parts), sum((a for _, a in parts), Fraction(0))
    value = ratio(sum((d for d, _ in parts), Fraction(0)), whole)
    if value is None or m < 2:
        return value, None, None
    spread = sum(((d - value * a) ** 2 for d, a in parts), Fraction(0)) / (m - 1)
    reach = student(m - 1) * math.sqrt(m * spread) / float(whole)
    return value, float(value) - reach, float(value) + reach


def percentile(ordered: Sequence[Fraction], p: Fraction) -> Fraction:
    """At place p(n + 1) of n in order, the first being 1; between two places the straight line."""
    place = min(max(p * (len(ordered) + 1), Fraction(1)), Fraction(len(ordered)))
    below = math.floor(place)
    above = min(below + 1, len(ordered))
    return ordered[below - 1] + (place - below) * (ordered[above - 1] - ordered[below - 1])


def shrunk_rate(here: tuple[int, int], of_kind: tuple[int, int], of_all: tuple[int, int]) -> Decimal | None:
    """(n, k) of one kind and week, of the kind in all weeks, and of everything."""
    s = POLICY["pool_strength"]
    if not of_all[0]:
        return None
    r0 = Fraction(of_all[1], of_all[0])
    r1 = (of_kind[1] + s * r0) / (of_kind[0] + s)
    return rounded((here[1] + s * r1) / (here[0] + s), 6)


# Loading


def is_sound_submission(row: Row) -> bool:
    return (
        row.get("submitter_id") is not None
        and row.get("category") in ("commit", "best_case")
        and all(value_or_none(funnel.to_date, row.get(name)) is not None for name in ("period_start", "period_end"))
        and value_or_none(funnel.to_decimal, row.get("amount")) is not None
        and funnel.is_currency(row.get("currency"))
        and funnel.is_readable(funnel.to_time, row.get("submitted_at"))
    )


ENTITIES = [
    *funnel.ENTITIES,
    Entity(
        "crm/forecast_submissions", ("submission_id",), is_sound_submission, is_event=True, event_time="submitted_at"
    ),
]


def load(directories: list[Path]) -> Facts:
    return funnel.load(directories, ENTITIES)


@dataclass(frozen=True)
class Period:
    kind: str
    start: date
    end: date
    year: int
    number: int

    def holds(self, day: date) -> bool:
        return self.start <= day <= self.end


@dataclass(frozen=True)
class Booking:
    opportunity_id: str
    owner_id: str | None
    region: str | None
    segment: str | None
    amount: Decimal
    won_on: date
    valid_from: datetime
    valid_to: datetime | None
    scopes: frozenset[Scope]

    def is_known_on(self, day: date) -> bool:
        """At the end of the day."""
        return self.valid_from < end_of(day) and (self.valid_to is None or end_of(day) <= self.valid_to)


@dataclass(frozen=True)
class OpenDeal:
    opportunity_id: str
    owner_id: str | None
    stage: str | None
    forecast_category: str | None
    amount: Decimal
    close_date: date | None
    scopes: frozenset[Scope]


@dataclass(frozen=True)
class Call:
    submission_id: str
    submitter_id: str
    amount: Decimal
    submitted_at: datetime


@dataclass(frozen=True)
class Job:
    role: str | None
    manager_id: str | None
    region: str | None
    valid_from: date
    valid_to: date | None


def dictionaries(connection: duckdb.DuckDBPyConnection, table: str) -> list[dict[str, Any]]:
    result = connection.execute(f"select * from {table}")
    names = [column[0] for column in result.description]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def months_before(day: date, months: Fraction) -> date:
    return (pd.Timestamp(day) - pd.DateOffset(months=int(months))).date()


class Organisation:
    """Who had which job, under whom, on a day."""

    def __init__(self, reps: list[dict[str, Any]]) -> None:
        self.jobs: dict[str, list[Job]] = defaultdict(list)
        self.left_on: dict[str, date] = {}
        for row in reps:
            since = row["valid_from"] or date.min
            self.jobs[row["rep_id"]].append(Job(row["role"], row["manager_id"], row["region"], since, row["valid_to"]))
            if row["terminated_on"]:
                self.left_on[row["rep_id"]] = row["terminated_on"]
        self.lines_of_day: dict[date, dict[str, list[str]]] = {}
        self.below_of_day: dict[date, dict[str, set[str]]] = {}

    def job(self, person: str | None, day: date) -> Job | None:
        for job in self.jobs.get(person or "", []):
            if job.valid_from <= day and (job.valid_to is None or day < job.valid_to):
                return job
        return None

    def has_left(self, person: str, day: date) -> bool:
        return person in self.left_on and self.left_on[person] <= day

    def lines(self, day: date) -> dict[str, list[str]]:
        """Everybody above each person on the day, the nearest first; a line that loops stops."""
        if day not in self.lines_of_day:
            above = {person: job.manager_id for person in self.jobs if (job := self.job(person, day))}
            made = {}
            for person in above:
                line: list[str] = []
                manager = above[person]
                while manager and manager != person and manager not in line:
                    line.append(manager)
                    manager = above.get(manager)
                made[person] = line
            self.lines_of_day[day] = made
        return self.lines_of_day[day]

    def above(self, person: str | None, day: date) -> list[str]:
        return self.lines(day).get(person or "", [])

    def below(self, person: str, day: date) -> set[str]:
        if day not in self.below_of_day:
            made: dict[str, set[str]] = defaultdict(set)
            for one, line in self.lines(day).items():
                for manager in line:
                    made[manager].add(one)
            self.below_of_day[day] = made
        return self.below_of_day[day].get(person, set())

    def kind(self, submitter: str, day: date) -> str:
        job = self.job(submitter, day)
        if job and job.role == "executive":
            return "executive"
        is_manager = (job and job.role == "manager") or self.below(submitter, day)
        return "manager" if is_manager else "seller"


class Company:
    """What there was, as told for a date."""

    def __init__(self, database: Path, facts: Facts, as_of: date) -> None:
        self.as_of = as_of
        with duckdb.connect(str(database), read_only=True) as connection:
            calendar = dictionaries(connection, "core.calendar")
            opportunities = dictionaries(connection, "core.opportunities")
            self.history = dictionaries(connection, "funnel.opportunity_history")
            snapshots = dictionaries(connection, "funnel.pipeline_snapshots")
            self.organisation = Organisation(dictionaries(connection, "core.reps"))
        self.week_ends = sorted(row["day"] for row in calendar if row["day"] == row["week_end"])
        self.periods = {kind: read_periods(calendar, kind) for kind in ("month", "quarter")}
        self.bookings = self.read_bookings(opportunities)
        self.snapshots: dict[date, list[OpenDeal]] = defaultdict(list)
        wanted = set(self.week_ends)
        for row in snapshots:
            if row["snapshot_date"] in wanted:
                self.snapshots[row["snapshot_date"]].append(self.open_deal(row))
        self.calls = read_calls(facts, as_of, [period for kind in self.periods.values() for period in kind])
        created = [row["created_on"] for row in opportunities if row["created_on"]]
        won = [row["closed_on"] for row in opportunities if row["is_won"] and row["closed_on"]]
        self.first_day = min(created or won, default=None)
        self.by_period: dict[Period, list[Booking]] = {
            period: [one for one in self.bookings if period.holds(one.won_on)]
            for periods in self.periods.values()
            for period in periods
        }

    # Deals

    def scopes(self, owner: str | None, region: str | None, segment: str | None, day: date) -> frozenset[Scope]:
        named = [("region", region), ("segment", segment), ("seller", owner)]
        above = [("manager", manager) for manager in self.organisation.above(owner, day)]
        return frozenset([COMPANY, *((kind, name) for kind, name in named if name), *above])

    def read_bookings(self, opportunities: list[dict[str, Any]]) -> list[Booking]:
        told = {row["opportunity_id"]: row for row in opportunities}
        episodes: dict[str, dict[int, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
        for row in sorted(self.history, key=lambda row: row["valid_from"]):
            episodes[row["opportunity_id"]][row["episode"]].append(row)
        made = []
        for name, numbered in episodes.items():
            for number, stretches in numbered.items():
                won = [row for row in stretches if row["is_won"] and not row["is_deleted"]]
                deal, is_last = told.get(name, {}), number == max(numbered)
                if won and is_last and not deal.get("is_won") and stretches[-1]["is_won"]:
                    # Its closing lies after the as-of date.
                    continue
                if not won:
                    continue
                first = won[0]
                is_standing = deal.get("is_won") and is_last
                won_on = deal["closed_on"] if is_standing else first["valid_from"].date()
                place = (first["owner_id"], first["region"], first["segment"])
                for row in won:
                    made.append(
                        Booking(
                            name,
                            *place,
                            row["amount"] or Decimal(0),
                            won_on,
                            row["valid_from"],
                            row["valid_to"],
                            self.scopes(*place, won_on),
                        )
                    )
        for name, deal in told.items():
            if name not in episodes and deal["is_won"] and not deal["is_deleted"] and deal["closed_on"]:
                place = (deal["owner_id"], deal["region"], deal["segment"])
                since = datetime.combine(deal["closed_on"], time())
                scopes = self.scopes(*place, deal["closed_on"])
                amount = deal["amount"] or Decimal(0)
                made.append(Booking(name, *place, amount, deal["closed_on"], since, None, scopes))
        return made

    def open_deal(self, row: dict[str, Any]) -> OpenDeal:
        scopes = self.scopes(row["owner_id"], row["region"], row["segment"], row["snapshot_date"])
        names = ["opportunity_id", "owner_id", "stage", "forecast_category"]
        return OpenDeal(*(row[name] for name in names), row["amount"] or Decimal(0), row["close_date"], scopes)

    @cached_property
    def first_seen(self) -> dict[Scope, datetime]:
        """From when on some deal belonged to each region and segment, in whatever state."""
        seen: dict[Scope, datetime] = {}
        kinds = ("region", "segment")
        places = [(row["valid_from"], kind, row[kind]) for row in self.history for kind in kinds]
        places += [(one.valid_from, kind, getattr(one, kind)) for one in self.bookings for kind in kinds]
        for at, kind, name in places:
            if name is not None:
                seen[kind, name] = min(at, seen.get((kind, name), at))
        return seen

    def due(self, period: Period, day: date) -> list[OpenDeal]:
        since = max(period.start, day)
        return [deal for deal in self.snapshots[day] if deal.close_date and since <= deal.close_date <= period.end]

    def booked(self, period: Period, until: date, known_on: date) -> list[Booking]:
        return [one for one in self.by_period[period] if one.won_on <= until and one.is_known_on(known_on)]

    def sums(self, deals: Iterable[Booking]) -> dict[Scope, Decimal]:
        made: dict[Scope, Decimal] = defaultdict(Decimal)
        for one in deals:
            for scope in one.scopes:
                made[scope] += one.amount
        return made

    def actuals(self, period: Period) -> dict[Scope, Decimal]:
        return self.sums(self.booked(period, period.end, self.as_of))

    # Time

    def weeks(self, period: Period) -> dict[int, date]:
        """`forecast_on` of each week before the end."""
        made: dict[int, date] = {}
        for week in range(1, 60):
            place = bisect_left(self.week_ends, period.end - WEEK * week + DAY) - 1
            if place < 0 or self.week_ends[place] < period.start - DAY:
                break
            if self.week_ends[place] <= self.as_of:
                made[week] = self.week_ends[place]
        return made

    def is_visible(self, period: Period) -> bool:
        return self.first_day is not None and period.start > self.first_day

    @property
    def told(self) -> list[Period]:
        first = months_before(self.as_of, POLICY["history_months"])
        return [
            period
            for periods in self.periods.values()
            for period in periods
            if self.is_visible(period) and first < period.start <= self.as_of + DAY
        ]

    def has_ended(self, period: Period) -> bool:
        return period.end <= self.as_of

    def before(self, period: Period) -> Period | None:
        return next((one for one in self.periods[period.kind] if one.end == period.start - DAY), None)

    def year_before(self, period: Period) -> Period | None:
        same = (period.year - 1, period.number)
        return next((one for one in self.periods[period.kind] if (one.year, one.number) == same), None)

    def past(self, period: Period) -> list[Period]:
        """The periods rates of this one are learnt from."""
        first = months_before(period.start, POLICY["rate_months"])
        return [
            one
            for one in self.periods[period.kind]
            if self.is_visible(one) and one.end < period.start and one.start >= first
        ]

    # What is learnt

    @cached_property
    def outcomes(self) -> dict[Period, tuple[Counter[Any], Counter[Any]]]:
        """Of each ended period: how many deals were due, and of these booked, by (column, value, week)."""
        made = {}
        for periods in self.periods.values():
            for period in periods:
                if not self.is_visible(period) or not self.has_ended(period):
                    continue
                won = {one.opportunity_id for one in self.booked(period, period.end, period.end)}
                seen: Counter[Any] = Counter()
                booked: Counter[Any] = Counter()
                for week, day in self.weeks(period).items():
                    for deal in self.due(period, day):
                        for column in ("stage", "forecast_category"):
                            seen[column, getattr(deal, column), week] += 1
                            booked[column, getattr(deal, column), week] += deal.opportunity_id in won
                made[period] = (seen, booked)
        return made

    def rates(self, period: Period, column: str) -> Callable[[str | None, int], Decimal | None]:
        counts: dict[Any, list[int]] = defaultdict(lambda: [0, 0])
        for past in self.past(period):
            for side, counter in enumerate(self.outcomes[past]):
                for (name, value, week), number in counter.items():
                    if name == column:
                        for key in ((value, week), (value,), ()):
                            counts[key][side] += number

        def pair(*key: Any) -> tuple[int, int]:
            n, k = counts.get(key, (0, 0))
            return n, k

        return lambda value, week: shrunk_rate(pair(value, week), pair(value), pair())

    def share_booked(self, period: Period, week: int) -> Fraction | None:
        by_then, in_all = Decimal(0), Decimal(0)
        for past in self.past(period):
            day = self.weeks(past).get(week)
            if day is not None:
                by_then += sum((one.amount for one in self.booked(past, day, past.end)), Decimal(0))
                in_all += sum((one.amount for one in self.booked(past, past.end, past.end)), Decimal(0))
        return ratio(by_then, in_all)

    # Calls

    def standing(self, period: Period, day: date) -> dict[str, Call]:
        """The newest call of each submitter by the end of the day."""
        made: dict[str, Call] = {}
        for call in self.calls.get((period.start, period.end), []):
            if call.submitted_at < end_of(day) and not self.organisation.has_left(call.submitter_id, day):
                made[call.submitter_id] = max(
                    call, made.get(call.submitter_id, call), key=lambda one: (one.submitted_at, one.submission_id)
                )
        return made

    def called(self, period: Period, day: date) -> dict[str, dict[str, Call]]:
        """Standing calls by the kind of submitter."""
        made: dict[str, dict[str, Call]] = {kind: {} for kind in COMMITS}
        for submitter, call in self.standing(period, day).items():
            made[self.organisation.kind(submitter, day)][submitter] = call
        return made

    def seller_calls(self, calls: dict[str, Call], day: date) -> dict[Scope, list[Call]]:
        made: dict[Scope, list[Call]] = defaultdict(list)
        for seller, call in calls.items():
            job = self.organisation.job(seller, day)
            made[COMPANY].append(call)
            made["seller", seller].append(call)
            if job and job.region:
                made["region", job.region].append(call)
            for manager in self.organisation.above(seller, day):
                made["manager", manager].append(call)
        return made

    def book_calls(self, calls: dict[str, Call], day: date) -> dict[Scope, list[Call]]:
        """Of managers or executives: within each scope those above whom no other's call stands."""
        inside: dict[Scope, list[str]] = defaultdict(list)
        for caller in calls:
            inside[COMPANY].append(caller)
            for scope in (caller, *self.organisation.above(caller, day)):
                inside["manager", scope].append(caller)
        return {
            scope: [calls[one] for one in names if not set(self.organisation.above(one, day)) & set(names)]
            for scope, names in inside.items()
        }

    # Forecasts

    def scopes_on(self, period: Period, day: date, booked: dict[Scope, Decimal], calling: Iterable[str]) -> set[Scope]:
        organisation = self.organisation
        sellers = {
            person
            for person in organisation.jobs
            if (job := organisation.job(person, day))
            and job.role in SELLER_ROLES
            and not organisation.has_left(person, day)
        }
        sellers |= {deal.owner_id for deal in self.snapshots[day] if deal.owner_id}
        sellers |= {name for kind, name in booked if kind == "seller"}
        sellers |= set(calling)
        managers = {manager for seller in sellers for manager in organisation.above(seller, day)}
        places = {scope for scope, at in self.first_seen.items() if at < end_of(day)}
        people = {("seller", name) for name in sellers} | {("manager", name) for name in managers}
        return {COMPANY, *places, *people}

    def week_rows(
        self, period: Period, week: int, day: date, rates: dict[str, Callable[[str | None, int], Decimal | None]]
    ) -> Iterator[dict[str, Any]]:
        booked = self.sums(self.booked(period, day, day))
        called = self.called(period, day)
        scopes = self.scopes_on(period, day, booked, called["seller"])
        said: dict[str, tuple[dict[Scope, Any] | None, str | None]] = {}
        for method, earlier in (
            ("naive_last_period", self.before(period)),
            ("naive_last_year", self.year_before(period)),
        ):
            if earlier is None or not self.is_visible(earlier):
                said[method] = None, "no period before"
                continue
            then = self.sums(self.booked(earlier, earlier.end, day))
            said[method] = {one: max(booked.get(one, Decimal(0)), then.get(one, Decimal(0))) for one in scopes}, None
        share = self.share_booked(period, week)
        if share is None:
            said["run_rate"] = None, "no history"
        elif share < POLICY["run_rate_minimum_share"]:
            said["run_rate"] = None, "too early in the period"
        else:
            said["run_rate"] = (
                {one: rounded(Fraction(booked.get(one, Decimal(0))) / share, 2) for one in scopes},
                None,
            )
        due = self.due(period, day)
        for method, column in (("stage_weighted", "stage"), ("category_weighted", "forecast_category")):
            rate = rates[column]
            if rate(None, week) is None:
                said[method] = None, "no history"
                continue
            sums: dict[Scope, Decimal] = defaultdict(Decimal, booked)
            for deal in due:
                for one in deal.scopes:
                    sums[one] += deal.amount * (rate(getattr(deal, column), week) or Decimal(0))
            said[method] = {one: rounded(Fraction(sums.get(one, Decimal(0))), 4) for one in scopes}, None
        for method, (forecasts, reason) in said.items():
            for scope in scopes:
                amount = forecasts[scope] if forecasts is not None else None
                yield self.row(period, week, day, scope, method, amount, reason, booked, None)
        sums_of_calls = {
            "seller_commit": self.seller_calls(called["seller"], day),
            "manager_commit": self.book_calls(called["manager"], day),
            "executive_commit": self.book_calls(called["executive"], day),
        }
        for method, calls in sums_of_calls.items():
            for scope in scopes:
                if not self.speaks_of(method, scope, day):
                    continue
                here = calls.get(scope, [])
                amount = sum((call.amount for call in here), Decimal(0)) if here else None
                yield self.row(period, week, day, scope, method, amount, None if here else "no call", booked, len(here))

    def speaks_of(self, method: str, scope: Scope, day: date) -> bool:
        if method == "seller_commit":
            return scope[0] != "segment"
        if scope[0] == "manager" and method == "executive_commit":
            job = self.organisation.job(scope[1], day)
            return job is not None and job.role == "executive"
        return scope[0] in ("company", "manager")

    def row(
        self,
        period: Period,
        week: int,
        day: date,
        scope: Scope,
        method: str,
        amount: Decimal | None,
        reason: str | None,
        booked: dict[Scope, Decimal],
        call_count: int | None,
    ) -> dict[str, Any]:
        return {
            "period_type": period.kind,
            "period_start": period.start,
            "period_end": period.end,
            "weeks_before_end": week,
            "forecast_on": day,
            "scope_type": scope[0],
            "scope_id": scope[1],
            "method": method,
            "forecast_amount": amount,
            "booked_amount": booked.get(scope, Decimal(0)),
            "call_count": call_count,
            "reason": reason,
        }


def read_periods(calendar: list[dict[str, Any]], kind: str) -> list[Period]:
    made = {(row[f"{kind}_start"], row[f"{kind}_end"], row["fiscal_year"], row[f"fiscal_{kind}"]) for row in calendar}
    return [Period(kind, *one) for one in sorted(made)]


def read_calls(facts: Facts, as_of: date, periods: list[Period]) -> dict[tuple[date, date], list[Call]]:
    rates = funnel.Rates(facts, as_of)
    spans = {(period.start, period.end) for period in periods}
    made: dict[tuple[date, date], list[Call]] = defaultdict(list)
    for (submission_id,), row in facts.newest_rows("crm/forecast_submissions", as_of).items():
        span = (funnel.to_date(row["period_start"] or ""), funnel.to_date(row["period_end"] or ""))
        submitted_at = value_or_none(funnel.to_time, row.get("submitted_at"))
        rate = rates.on(row.get("currency"), min(span[0], as_of))
        if row["category"] != "commit" or span not in spans or submitted_at is None or rate is None:
            continue
        amount = (funnel.to_decimal(row["amount"] or "") * rate).quantize(CENTS, ROUND_HALF_UP)
        made[span].append(Call(submission_id, row["submitter_id"] or "", amount, submitted_at))
    return made


def period_forecasts(company: Company, model: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per period, week, scope and method; `model` holds what the outcome model said, as published."""
    rows: list[dict[str, Any]] = []
    for period in company.told:
        rates = {column: company.rates(period, column) for column in ("stage", "forecast_category")}
        for week, day in company.weeks(period).items():
            rows += company.week_rows(period, week, day, rates)
    spoken = {(row["period_type"], row["method"]) for row in rows if row["call_count"]}
    rows = [row for row in rows if row["call_count"] is None or (row["period_type"], row["method"]) in spoken]
    booked = {tuple(row[name] for name in KEYS[:-1]): row for row in rows if row["method"] == "naive_last_period"}
    for row in model:
        here = booked[tuple(row[name] for name in KEYS[:-1])]
        said = {"method": "model", "forecast_amount": row["forecast_amount"], "reason": row["reason"]}
        rows.append({**here, **said, "call_count": None})
    made = with_ranges(company, rows)
    # The model's range is its own.
    ranges = {tuple(row[name] for name in KEYS[:-1]): (row["low"], row["high"]) for row in model}
    for row in made:
        if row["method"] == "model":
            row["low"], row["high"] = ranges[tuple(row[name] for name in KEYS[:-1])]
            row["range_period_count"] = None
    return made


def with_ranges(company: Company, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    actuals = {(period.kind, period.start): company.actuals(period) for period in company.told}

    def population(row: dict[str, Any]) -> tuple[Any, ...]:
        return row["method"], row["weeks_before_end"], row["period_type"], row["scope_type"]

    ratios: dict[Any, dict[date, list[Fraction]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row["forecast_amount"] and row["forecast_amount"] > 0:
            actual = actuals[row["period_type"], row["period_start"]].get((row["scope_type"], row["scope_id"]), 0)
            ratios[population(row)][row["period_start"]].append(Fraction(actual) / Fraction(row["forecast_amount"]))
    known: dict[Any, tuple[int, tuple[Fraction, Fraction] | None]] = {}
    made = []
    for row in rows:
        key = (population(row), row["period_start"])
        if key not in known:
            starts = sorted(start for start in ratios[key[0]] if start < row["period_start"])
            starts = starts[-int(POLICY["range_periods"]) :]
            ordered = sorted(one for start in starts for one in ratios[key[0]][start])
            is_enough = len(starts) >= POLICY["range_minimum_periods"]
            edges = (percentile(ordered, Fraction(1, 10)), percentile(ordered, Fraction(9, 10))) if is_enough else None
            known[key] = (len(starts), edges)
        count, edges = known[key]
        low = high = None
        if edges and row["forecast_amount"] is not None and row["forecast_amount"] > 0:
            low, high = (
                max(rounded(edge * Fraction(row["forecast_amount"]), 2), row["booked_amount"]) for edge in edges
            )
        period = (row["period_type"], row["period_start"])
        is_ended = row["period_end"] <= company.as_of
        actual = actuals[period].get((row["scope_type"], row["scope_id"]), Decimal(0)) if is_ended else None
        said = {"low": low, "high": high, "range_period_count": count, "actual_amount": actual, "is_ended": is_ended}
        made.append({**row, **said})
    return made


# Errors


def window_length(period_type: str) -> int:
    return int(POLICY["error_quarters" if period_type == "quarter" else "error_months"])


def forecast_errors(forecasts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    by_line: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for row in forecasts:
        if not row["is_ended"] or row["forecast_amount"] is None:
            continue
        actual = row["actual_amount"]
        error = row["forecast_amount"] - actual
        by_line[tuple(row[name] for name in KEYS if name != "period_start")].append(
            {
                **{name: value for name, value in row.items() if name not in ONLY_FORECASTS},
                "error": error,
                "absolute_error": abs(error),
                "relative_error": ratio(error, actual),
                "is_in_range": None if row["low"] is None else row["low"] <= actual <= row["high"],
            }
        )
    made = []
    for rows in by_line.values():
        rows.sort(key=lambda row: row["period_start"])
        for place, row in enumerate(rows):
            recent = rows[max(0, place + 1 - window_length(row["period_type"])) : place + 1]
            bias = ratio(sum(one["error"] for one in recent), sum(one["actual_amount"] for one in recent))
            made.append({**row, "bias": bias})
    return made


def window(company: Company, period_type: str) -> list[date]:
    """The starts of the last periods that have ended."""
    ended = [period.start for period in company.periods[period_type] if company.has_ended(period)]
    return sorted(ended)[-window_length(period_type) :]


def wape(rows: Sequence[dict[str, Any]]) -> Fraction | None:
    return ratio(sum(row["absolute_error"] for row in rows), sum(row["actual_amount"] for row in rows))


def cells_of(company: Company, forecasts: list[dict[str, Any]], errors: list[dict[str, Any]]) -> dict[Any, Any]:
    """The errors of the window by period type, scope type, method and week; empty where there are none."""
    windows = {kind: set(window(company, kind)) for kind in company.periods}
    made: dict[Any, list[dict[str, Any]]] = {tuple(row[name] for name in CELL): [] for row in forecasts}
    for row in errors:
        if row["period_start"] in windows[row["period_type"]]:
            made[tuple(row[name] for name in CELL)].append(row)
    return made


def with_wilson(name: str, seen: Sequence[bool]) -> dict[str, Any]:
    share = ratio(sum(seen), len(seen))
    low, high = wilson(float(share), len(seen)) if share is not None else (None, None)
    return {name: share, f"{name}_low": low, f"{name}_high": high}


def error_summary(
    company: Company, forecasts: list[dict[str, Any]], errors: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    made = []
    for key, rows in cells_of(company, forecasts, errors).items():
        n = len(rows)
        entry = dict(zip(CELL, key, strict=True))
        entry |= {
            "n": n,
            "period_count": len({row["period_start"] for row in rows}),
            "wape": wape(rows),
            "bias_share": ratio(sum(row["error"] for row in rows), sum(row["actual_amount"] for row in rows)),
        }
        won = [row for row in rows if row["actual_amount"] > 0]
        entry["within_n"] = len(won)
        for percent in (5, 10):
            close = [100 * row["absolute_error"] <= percent * row["actual_amount"] for row in won]
            entry |= with_wilson(f"within_{percent}_percent", close)
        ranged = [row["is_in_range"] for row in rows if row["is_in_range"] is not None]
        entry |= {"range_n": len(ranged), **with_wilson("in_range_share", ranged)}
        made.append(entry)
    return made


def beside(own: dict[Any, Any], other: dict[Any, Any]) -> tuple[Any, ...]:
    """The other's wape, what is added to it with its interval, and n, over what both have."""
    shared = sorted(own.keys() & other.keys())
    parts: dict[date, list[Fraction]] = defaultdict(lambda: [Fraction(0), Fraction(0)])
    for key in shared:
        parts[key[0]][0] += Fraction(other[key]["absolute_error"] - own[key]["absolute_error"])
        parts[key[0]][1] += Fraction(own[key]["actual_amount"])
    added, low, high = ratio_interval([(d, a) for d, a in parts.values()])
    if len(parts) < 2:
        added = None
    return wape([other[key] for key in shared]), added, low, high, len(shared)


def value_added(
    company: Company, forecasts: list[dict[str, Any]], errors: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    cells = {
        key: {(row["period_start"], row["scope_id"]): row for row in rows}
        for key, rows in cells_of(company, forecasts, errors).items()
    }
    made = []
    for (period_type, scope_type, method, week), own in cells.items():
        if method not in CHAIN:
            continue

        def rows_of(other: str, at: tuple[Any, ...] = (period_type, scope_type, week)) -> dict[Any, Any]:
            return cells.get((at[0], at[1], other, at[2]), {})

        entry: dict[str, Any] = dict(zip(CELL, (period_type, scope_type, method, week), strict=True))
        step = CHAIN.index(method)
        previous = next((one for one in reversed(CHAIN[:step]) if own.keys() & rows_of(one).keys()), None)
        shared = sorted(own.keys() & rows_of(previous).keys()) if previous else sorted(own) if step == 0 else []
        ours = [own[key] for key in shared]
        entry |= {"previous_method": previous, "n": len(shared), "wape": wape(ours)}
        entry |= {"period_count": len({key[0] for key in shared})}
        entry |= {"wape_of_previous": None, "value_added": None, "value_added_low": None, "value_added_high": None}
        if previous:
            of_previous, added, low, high, _ = beside(own, rows_of(previous))
            entry |= {"wape_of_previous": of_previous, "value_added": added}
            entry |= {"value_added_low": low, "value_added_high": high}
        # Where nothing was won, neither is better than the other.
        naive = [(*one, name) for name in NAIVE if step and (one := beside(own, rows_of(name)))[4]]
        best = min(naive, key=lambda one: (one[0] is None, one[0]), default=(None, None, None, None, 0, None))
        names = ["wape_of_naive", "value_added_over_naive", "value_added_over_naive_low", "value_added_over_naive_high"]
        entry |= dict(zip([*names, "naive_n", "naive_method"], best, strict=True))
        made.append(entry)
    return made


# Submitters


def horizons(week: int) -> list[str]:
    if week <= POLICY["credibility_near_weeks"]:
        return ["near", "all"]
    return ["middle" if week <= POLICY["credibility_middle_weeks"] else "far", "all"]


def verdict(n: int, won: Fraction, bias: Fraction | None, low: float | None, high: float | None) -> tuple[str, str]:
    """The verdict, and why it is none; `low` and `high` as far as they reach."""
    if n < POLICY["credibility_minimum_periods"]:
        return "not enough calls", "few periods"
    if not won or bias is None:
        return "not enough calls", "nothing won"
    if low is None or high is None:
        return "unclear", "wide interval"
    tolerance = POLICY["credibility_tolerance"]
    if low > 0 and bias >= tolerance:
        return "optimist", ""
    if high < 0 and bias <= -tolerance:
        return "sandbagger", ""
    if (high - low) / 2 > POLICY["credibility_width"]:
        return "unclear", "wide interval"
    return "steady", ""


def submitter_credibility(company: Company) -> list[dict[str, Any]]:
    """One row per submitter, period type and horizon."""
    organisation = company.organisation
    books: dict[tuple[str, Period], Decimal] = {}
    heard: dict[tuple[str, str], date] = {}
    calls: dict[Any, dict[Period, list[tuple[Call, Decimal]]]] = defaultdict(lambda: defaultdict(list))
    for period in (one for periods in company.periods.values() for one in periods):
        is_seen = company.first_day is not None and period.start > company.first_day
        if (period.start, period.end) not in company.calls or not is_seen:
            continue
        won = company.booked(period, period.end, company.as_of)
        for week, day in company.weeks(period).items():
            for submitter, call in company.standing(period, day).items():
                heard[submitter, period.kind] = max(day, heard.get((submitter, period.kind), day))
                if not company.has_ended(period) or organisation.has_left(submitter, period.end):
                    continue
                if (call.submission_id, period) not in books:
                    book = {submitter, *organisation.below(submitter, call.submitted_at.date())}
                    total = sum((one.amount for one in won if one.owner_id in book), Decimal(0))
                    books[call.submission_id, period] = total
                for horizon in horizons(week):
                    pair = (call, books[call.submission_id, period])
                    calls[submitter, period.kind, horizon][period].append(pair)
    made = []
    for (submitter, kind), last in sorted(heard.items(), key=lambda item: item[0]):
        for horizon in HORIZONS:
            means = []
            by_period = calls[submitter, kind, horizon]
            for pairs in by_period.values():
                weeks = len(pairs)
                sums = (
                    sum((call.amount for call, _ in pairs), Decimal(0)),
                    sum((actual for _, actual in pairs), Decimal(0)),
                    sum((abs(call.amount - actual) for call, actual in pairs), Decimal(0)),
                )
                means.append([Fraction(rounded(Fraction(total) / weeks, 4)) for total in sums])
            won_in_all = sum((actual for _, actual, _ in means), Fraction(0))
            bias, low, high = ratio_interval([(called - actual, actual) for called, actual, _ in means])
            judged, why = verdict(len(means), won_in_all, bias, low, high)
            made.append(
                {
                    "submitter_id": submitter,
                    "period_type": kind,
                    "horizon": horizon,
                    "caller": organisation.kind(submitter, last),
                    "n": len(means),
                    "call_count": len({call.submission_id for pairs in by_period.values() for call, _ in pairs}),
                    "wape": ratio(sum((off for _, _, off in means), Fraction(0)), won_in_all),
                    "bias": bias,
                    "bias_low": None if low is None else max(low, -1.0),
                    "bias_high": high,
                    "verdict": judged,
                    "reason": why or None,
                }
            )
    return made
