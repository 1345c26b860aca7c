"""The ramp of new sellers worked out a second time, seller by seller, from docs/ramp.md and nothing else.

Contract extracts (CSV) go in; shares are fractions until the end. Deals' histories are those of `tests.oracles.funnel`.
It knows the calendar of months and of weeks from Monday on, and sources that record meetings, deals opened and won.
"""

from __future__ import annotations

import csv
import math
from calendar import monthrange
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import Any

from orchestration.settings import SEEDS
from tests.oracles import funnel
from tests.oracles.conversion import wilson
from tests.oracles.funnel import (
    CENTS,
    STAGES,
    Entity,
    closed_moment,
    is_closed,
    to_bool,
    to_date,
    to_time,
    value_or_none,
)

CARRIES_QUOTA = ("account_executive", "account_manager")
SELLS = (*CARRIES_QUOTA, "development_rep")
WAITED_FOR = {"first_meeting": "meetings", "first_pipeline": "opened", "first_win": "won", "productive": "won"}
LAST = date.max
ENTITIES = [
    *funnel.ENTITIES,
    Entity(
        "crm/activities",
        ("activity_id",),
        lambda row: row.get("activity_type") is not None and value_or_none(to_time, row.get("occurred_at")) is not None,
        is_event=True,
        event_time="occurred_at",
    ),
    Entity(
        "crm/opportunity_team",
        ("opportunity_id", "user_id", "team_role"),
        lambda row: 0 <= (value_or_none(Decimal, row.get("credit_share") or "0") or 0) <= 1,
        event_time="joined_at",
    ),
]


def policy() -> dict[str, float]:
    with (SEEDS / "people_policy.csv").open() as file:
        return {row["name"]: float(row["value"]) for row in csv.DictReader(file)}


def add_months(day: date, months: int) -> date:
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def service_month(hired_on: date, day: date) -> int:
    """1 from the day of hire until before the same day of the next month."""
    month = 1
    while add_months(hired_on, month) <= day:
        month += 1
    return month


def month_end(number: int) -> date:
    return add_months(date(number // 12, number % 12 + 1, 1), 1) - timedelta(days=1)


def month_of(day: date) -> int:
    return day.year * 12 + day.month - 1


@dataclass(frozen=True)
class Job:
    role: str
    segment: str | None
    region: str | None
    since: date
    until: date


@dataclass
class Person:
    jobs: list[Job]
    hired_on: date | None
    left_on: date | None

    def job(self, day: date) -> Job | None:
        """The job of a day on which the person was there."""
        if self.hired_on is None or day < self.hired_on or (self.left_on and day > self.left_on):
            return None
        return next((job for job in self.jobs if job.since <= day < job.until), None)


@dataclass
class Books:
    """What the figures stand on."""

    as_of: date
    people: dict[str, Person]
    facts: dict[str, dict[str, Counter[date]]]
    booked: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))


def read_people(facts: funnel.Facts, as_of: date) -> dict[str, Person]:
    history: dict[str, list[tuple[date, funnel.Row]]] = defaultdict(list)
    for (user_id, since), row in facts.newest_rows("crm/user_roles", as_of).items():
        if to_date(since) <= as_of:
            history[user_id].append((to_date(since), row))
    people = {}
    for (user_id,), user in facts.newest_rows("crm/users", as_of).items():
        hired_on = value_or_none(to_date, user.get("hired_on"))
        left_on = value_or_none(to_date, user.get("terminated_on"))
        rows = sorted(history.get(user_id) or [(hired_on or date.min, user)], key=lambda entry: entry[0])
        starts = [since for since, _ in rows] + [LAST]
        starts[0] = min(starts[0], hired_on or starts[0])
        jobs = [
            Job(row["role"] or "", row.get("segment"), row.get("region"), starts[place], starts[place + 1])
            for place, (_, row) in enumerate(rows)
        ]
        people[user_id] = Person(jobs, hired_on, left_on if left_on and left_on <= as_of else None)
    return people


def read_books(directories: list[Path], as_of: date) -> Books:
    facts = funnel.load(directories, ENTITIES)
    counts: dict[str, dict[str, Counter[date]]] = {kind: defaultdict(Counter) for kind in ("meetings", "opened", "won")}
    for row in facts.newest_rows("crm/activities", as_of).values():
        day = to_time(row["occurred_at"] or "").date()
        if row["activity_type"] not in ("meeting", "demo") or row.get("direction") == "internal" or day > as_of:
            continue
        if row.get("user_id") and value_or_none(to_bool, row.get("is_completed")):
            counts["meetings"][row["user_id"] or ""][day] += 1

    books = Books(as_of, read_people(facts, as_of), counts)
    team: dict[str, list[funnel.Row]] = defaultdict(list)
    for row in facts.newest_rows("crm/opportunity_team", as_of).values():
        team[row["opportunity_id"] or ""].append(row)
    rows = facts.newest_rows("crm/opportunities", as_of)
    for deal in funnel.make_deals(facts, as_of):
        first, last = deal.stretches[0], deal.stretches[-1]
        row = rows[(deal.opportunity_id,)]
        is_renewal = row.get("opportunity_type") == "renewal"
        if last.is_deleted:
            continue
        if not is_renewal and not is_closed(first.stage) and first.owner_id:
            counts["opened"][first.owner_id][deal.created_at.date()] += 1
        if not is_closed(last.stage) or STAGES[last.stage or ""].outcome != "won":
            continue
        closed = closed_moment(row)
        assert closed is not None
        won_on = closed.date()
        won = [s for s in deal.stretches if s.episode == last.episode and is_closed(s.stage)]
        for user_id, amount in credited(team[deal.opportunity_id], won[0].owner_id, last.amount or Decimal(0), won_on):
            if user_id != first.owner_id:
                continue
            books.booked[user_id][month_of(won_on)] += amount  # type: ignore[assignment]
            if not is_renewal:
                counts["won"][user_id][won_on] += 1
    return books


def credited(
    rows: Iterable[funnel.Row], owner_id: str | None, amount: Decimal, won_on: date
) -> list[tuple[str, Decimal]]:
    """Revenue credit by docs/people.md."""
    shares: dict[str, Fraction] = defaultdict(Fraction)
    for row in rows:
        joined = value_or_none(to_time, row.get("joined_at"))
        if joined is None or joined.date() <= won_on:
            shares[row["user_id"] or ""] += max(Fraction(0), Fraction(row.get("credit_share") or 0))
    total = sum(shares.values(), Fraction(0))
    if not total:
        return [(owner_id, amount)] if owner_id else []
    made, so_far, before = [], Fraction(0), Decimal(0)
    for user_id, share in sorted(shares.items()):
        if not share:
            continue
        so_far += share
        exact = Fraction(amount) * so_far / total
        rounded = (Decimal(exact.numerator) / exact.denominator).quantize(CENTS, ROUND_HALF_UP)
        made.append((user_id, rounded - before))
        before = rounded
    return made


# Sellers


@dataclass
class Seller:
    rep_id: str
    hired_on: date | None
    job: Job
    ended_on: date | None
    ending: str | None
    reason: dict[str, str | None] = field(default_factory=dict)
    reached_on: dict[str, date | None] = field(default_factory=dict)


class Ramps:
    """Everything docs/ramp.md says, of one set of books."""

    def __init__(self, books: Books) -> None:
        self.books, self.policy = books, policy()
        self.last_month = month_of(books.as_of + timedelta(days=1)) - 1
        self.sellers = self._sellers()
        self._norms: dict[tuple[int, str, str | None], Fraction | None] = {}
        for seller in self.sellers:
            for milestone in WAITED_FOR:
                self._milestone(seller, milestone)

    def _sellers(self) -> list[Seller]:
        made = []
        for rep_id, person in sorted(self.books.people.items()):
            hired = person.hired_on
            sold = any(job.role in SELLS for job in person.jobs)
            if not sold or (hired and hired > self.books.as_of):
                continue
            first = [job for job in person.jobs if hired and job.since <= hired][-1:] or person.jobs[:1]
            moves = [job.since for job in person.jobs if hired and job.since > hired and job.role not in SELLS]
            ended = min([*moves, *([person.left_on] if person.left_on else [])], default=None)
            ending = None if ended is None else "other_job" if ended in moves else "left"
            made.append(Seller(rep_id, hired, first[0], ended, ending))
        return made

    def _history_from(self, kind: str) -> date | None:
        days = sorted(day for counts in self.books.facts[kind].values() for day in counts.elements())
        share = Fraction(str(self.policy["ramp_history_share"]))
        return days[max(math.ceil(len(days) * share) - 1, 0)] if days else None

    def _milestone(self, seller: Seller, milestone: str) -> None:
        kind = WAITED_FOR[milestone]
        history = self._history_from(kind)
        reason = None
        if seller.hired_on is None:
            reason = "no hire date"
        elif seller.job.role not in SELLS:
            reason = "hired for another job"
        elif seller.job.role == "development_rep":
            reason = "development reps sell through others"
        elif seller.ended_on and seller.ended_on < seller.hired_on:
            reason = "left before hired"
        elif history is None:
            reason = "nothing recorded"
        elif seller.hired_on < history:
            reason = "hired before history"
        reached = None
        if reason is None and milestone == "productive":
            reached, is_judged = self._productive(seller)
            if not is_judged:
                reason, reached = "not enough ramped peers", None
        elif reason is None:
            assert seller.hired_on
            days = self.books.facts[kind][seller.rep_id]
            reached = min((d for d in days if seller.hired_on <= d <= (seller.ended_on or LAST)), default=None)
        seller.reason[milestone], seller.reached_on[milestone] = reason, reached

    def _booked(self, rep_id: str, last: int, months: int) -> Fraction:
        return sum((Fraction(self.books.booked[rep_id][last - back]) for back in range(months)), Fraction(0))

    def _norm(self, month: int, role: str, segment: str | None) -> Fraction | None:
        key = (month, role, segment)
        if key not in self._norms:
            months = int(self.policy["ramp_norm_months"])
            begin = add_months(month_end(month) + timedelta(days=1), -months)
            amounts = []
            for rep_id, person in self.books.people.items():
                job = person.job(month_end(month))
                if job is None or (job.role, job.segment) != (role, segment) or person.hired_on is None:
                    continue
                if add_months(person.hired_on, int(self.policy["ramped_months"])) <= begin:
                    amounts.append(self._booked(rep_id, month, months) * 3 / months)
            enough = len(amounts) >= self.policy["ramp_minimum_peers"]
            self._norms[key] = (median(amounts) if enough else None) or None
        return self._norms[key]

    def _productive(self, seller: Seller) -> tuple[date | None, bool]:
        assert seller.hired_on
        share = Fraction(str(self.policy["productive_share"]))
        judged: dict[int, bool] = {}
        is_reached: dict[int, bool] = {}
        for month in range(month_of(seller.hired_on), self.last_month + 1):
            end = month_end(month)
            job = self.books.people[seller.rep_id].job(end)
            if job is None or job.role not in CARRIES_QUOTA or end > (seller.ended_on or LAST):
                continue
            norm = self._norm(month, job.role, job.segment)
            judged[month] = norm is not None
            is_reached[month] = norm is not None and self._booked(seller.rep_id, month, 3) >= norm * share
        found = None
        for month in sorted(is_reached):
            held = sum(is_reached.get(month + ahead, False) for ahead in (1, 2, 3))
            if is_reached[month] and held >= self.policy["productive_held_months"] and month <= self.last_month - 3:
                found = month
                break
        until = self.last_month if found is None else found + 3
        return found and month_end(found), all(known for month, known in judged.items() if month <= until)

    # Positions

    def weeks(self, seller: Seller) -> list[date]:
        """Mondays of the weeks of service, that of the hire first, that are over."""
        assert seller.hired_on
        first = seller.hired_on - timedelta(days=seller.hired_on.weekday())
        last = min(self.books.as_of, seller.ended_on or LAST)
        count = max(((last - first).days + 1) // 7, 0)
        return [first + timedelta(days=7 * place) for place in range(count)]

    def in_week(self, kind: str, rep_id: str, monday: date) -> int:
        days = self.books.facts[kind][rep_id]
        return sum(days[monday + timedelta(days=ahead)] for ahead in range(7))

    def peer_weeks(self, kind: str) -> dict[tuple[date, str, str | None], Fraction | None]:
        """What one ramped peer did in each week."""
        done: dict[tuple[date, str, str | None], list[int]] = defaultdict(list)
        start = min(s.hired_on for s in self.sellers if s.hired_on and s.reason["first_meeting"] is None)
        for rep_id, person in self.books.people.items():
            if person.hired_on is None:
                continue
            ramped = add_months(person.hired_on, int(self.policy["ramped_months"]))
            monday = start - timedelta(days=start.weekday())
            while (sunday := monday + timedelta(days=6)) <= self.books.as_of:
                job = person.job(sunday)
                if job and job.role in CARRIES_QUOTA and ramped <= monday:
                    done[monday, job.role, job.segment].append(self.in_week(kind, rep_id, monday))
                monday += timedelta(days=7)
        return {
            key: Fraction(sum(counts), len(counts)) if len(counts) >= self.policy["ramp_minimum_peers"] else None
            for key, counts in done.items()
        }

    def positions(self, kind: str, milestone: str, last_week: int) -> dict[str, dict[str, Any]]:
        """Count, band and ratio of each seller by the newest of the first `last_week` weeks."""
        peers = self.peer_weeks(kind)
        so_far: dict[str, list[tuple[int, Fraction | None]]] = {}
        for seller in self.sellers:
            if seller.reason[milestone] is not None:
                continue
            rows: list[tuple[int, Fraction | None]] = []
            count, norm = 0, Fraction(0)
            is_known = True
            for monday in self.weeks(seller)[:last_week]:
                job = self.books.people[seller.rep_id].job(monday + timedelta(days=6))
                assert job
                count += self.in_week(kind, seller.rep_id, monday)
                week = peers.get((monday, job.role, job.segment))
                is_known = is_known and week is not None
                norm += week or 0
                rows.append((count, norm if is_known else None))
            so_far[seller.rep_id] = rows
        told: dict[str, dict[str, Any]] = {}
        for seller in self.sellers:
            told[seller.rep_id] = {"reason": seller.reason[milestone]}
            if seller.reason[milestone] is not None:
                continue
            rows, made = so_far[seller.rep_id], told[seller.rep_id]
            if not rows:
                made["reason"] = "no week over yet"
                continue
            week = len(rows)
            count, peer_count = rows[-1]
            earlier = [
                so_far[other.rep_id][week - 1]
                for other in self.sellers
                if other.reason[milestone] is None
                and other.hired_on < seller.hired_on  # type: ignore[operator]
                and other.job.role == seller.job.role
                and len(so_far[other.rep_id]) >= week
                and so_far[other.rep_id][week - 1][1]
            ]
            made.update(week=week, count=count, peers=peer_count, n=len(earlier))
            if peer_count is None:
                made["reason"] = "not enough ramped peers"
            elif peer_count == 0:
                made["reason"] = "ramped peers have none"
            elif len(earlier) < self.policy["ramp_minimum_hires"]:
                made["reason"] = "not enough earlier hires"
            if made["reason"] or peer_count is None:
                continue
            paces = sorted(their / norm for their, norm in earlier if norm)
            low, middle, high = (paces[math.ceil(Fraction(part, 4) * len(paces)) - 1] for part in (1, 2, 3))
            pace = count / peer_count
            made["position"] = "below" if pace < low else "above" if pace > high else "within"
            made.update(low=low * peer_count, middle=middle * peer_count, high=high * peer_count)
            theirs = sum(their for their, _ in earlier)
            norms = sum((norm for _, norm in earlier if norm), Fraction(0))
            if count + theirs:
                share = count / (count + theirs)
                ends = wilson(share, count + theirs)
                for name, end in zip(("ratio", "ratio_low", "ratio_high"), (share, *ends), strict=True):
                    assert end is not None
                    made[name] = end / (1 - end) * float(norms / peer_count) if end < 1 else None
        return told

    # Curves

    def outcome(self, seller: Seller, milestone: str) -> tuple[int, str]:
        """In which month of service it was reached or can be reached no more, or after which one nothing is known."""
        until = month_end(self.last_month - 3) if milestone == "productive" else self.books.as_of
        assert seller.hired_on
        over = service_month(seller.hired_on, until + timedelta(days=1)) - 1 if until >= seller.hired_on else 0
        reached, ended = seller.reached_on[milestone], seller.ended_on
        if reached:
            month = service_month(seller.hired_on, reached)
            return (month, "reached") if month <= over else (over, "censored")
        if ended and ended <= until and service_month(seller.hired_on, ended) <= over:
            return service_month(seller.hired_on, ended), "ended"
        return over, "censored"

    def curve(self, cohort: list[Seller], milestone: str) -> list[dict[str, Any]]:
        outcomes = Counter(self.outcome(seller, milestone) for seller in cohort)
        n, minimum = len(cohort), self.policy["ramp_minimum_hires"]
        waiting, reached_share, ended_share = Fraction(1), Fraction(0), Fraction(0)
        is_told, rows = True, []
        steps: list[tuple[Fraction, int, int, int, Fraction]] = []
        for month in range(1, int(self.policy["ramp_curve_months"]) + 1):
            at_risk = sum(count for (last, _), count in outcomes.items() if last >= month)
            reached, ended = outcomes[month, "reached"], outcomes[month, "ended"]
            lost = sum(count for (last, how), count in outcomes.items() if last < month and how == "censored")
            is_told = is_told and (at_risk >= minimum or (lost == 0 and n >= minimum))
            if at_risk:
                reached_share += waiting * reached / at_risk
                ended_share += waiting * ended / at_risk
                steps.append((waiting, at_risk, reached, ended, reached_share))
                waiting *= 1 - Fraction(reached + ended, at_risk)
            variance = Fraction(0)
            for before, risk, got, gone, then in steps:
                rise = reached_share - then
                if risk > got + gone:
                    variance += rise**2 * Fraction(got + gone, risk * (risk - got - gone))
                variance += before**2 * Fraction(got * (risk - got), risk**3) - 2 * rise * before * Fraction(
                    got, risk**2
                )
            size = float(reached_share * (1 - reached_share) / variance) if variance else n - lost
            low, high = wilson(float(reached_share), max(min(size, n), 1))  # type: ignore[arg-type]
            rows.append(
                {
                    "month": month, "n": n, "at_risk_count": at_risk, "reached_count": reached, "ended_count": ended,
                    "reached_share": float(reached_share) if is_told else None,
                    "reached_share_low": low if is_told else None, "reached_share_high": high if is_told else None,
                    "ended_share": float(ended_share) if is_told else None,
                }
            )  # fmt: skip
        return rows

    def cohorts(self, milestone: str) -> dict[tuple[str, str], list[Seller]]:
        made: dict[tuple[str, str], list[Seller]] = defaultdict(list)
        for seller in self.sellers:
            if seller.reason[milestone] is None:
                assert seller.hired_on
                made["company", "company"].append(seller)
                made["job", seller.job.role].append(seller)
                made["job_segment", f"{seller.job.role} / {seller.job.segment or 'no segment'}"].append(seller)
                made["hire_year", str(seller.hired_on.year)].append(seller)
        return made
