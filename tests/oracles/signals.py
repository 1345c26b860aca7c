"""Reviews, norms, signals, chances and verdicts worked out a second time from docs/deal-signals.md and nothing else.

Histories, owners and amounts over time are those of `tests.oracles.funnel`, how deals ended of
`tests.oracles.conversion`. What a review sees is put together deal by deal in plain Python; what is compared across
deals is a pandas frame with one row a review.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd

from tests.oracles import conversion, forecasts, funnel
from tests.oracles.forecasts import Company
from tests.oracles.funnel import STAGES, Deal, Entity, Facts, Row, Version, end_of, value_or_none

DAY = timedelta(days=1)
SEEDS = Path(__file__).parents[2] / "seeds"
MET = ("meeting", "demo")
KNOWN = ("claimed", "verified")
NORM_MONTHS = 24
LEVELS = [
    ("segment, type and stage", ["segment", "opportunity_type", "stage"]),
    ("type and stage", ["opportunity_type", "stage"]),
    ("stage", ["stage"]),
]
BUYING_ROLES = ("economic_buyer", "champion", "decision_maker", "technical_evaluator", "user", "blocker")


# The policy


def read_policy() -> dict[str, Fraction]:
    table = pd.read_csv(SEEDS / "deal_policy.csv", dtype=str)
    return {row["name"]: Fraction(row["value"]) for row in table.to_dict("records")}


def read_signals() -> dict[str, Row]:
    table = pd.read_csv(SEEDS / "signals.csv", dtype=str, keep_default_na=False)
    return {row["signal"]: {name: text or None for name, text in row.items()} for row in table.to_dict("records")}


def read_elements() -> dict[str, int]:
    table = pd.read_csv(SEEDS / "qualification_elements.csv", dtype=str)
    return {row["element"]: int(row["required_from_stage_order"]) for row in table.to_dict("records")}


POLICY = read_policy()
SIGNALS = read_signals()
ELEMENTS = read_elements()
HORIZON = int(POLICY["horizon_days"])
# (p_win, p_lose) within the horizon by the outcome model, of deals and reviews for which it is in use.
Modelled = dict[tuple[str, date], tuple[float, float]]


def limit(signal: str, name: str) -> float:
    return float(SIGNALS[signal][name] or "nan")


def percentile_of(signal: str) -> Fraction:
    return Fraction(SIGNALS[signal]["norm_percentile"] or "0")


# Where the text can be read in more than one way


# Loading


def is_sound_activity(row: Row) -> bool:
    return (
        row.get("activity_type") in ("email", "call", "meeting", "demo", "task")
        and row.get("direction") in (None, "inbound", "outbound", "internal")
        and row.get("purpose") in (None, "sell", "value_review", "support", "coaching")
        and value_or_none(funnel.to_time, row.get("occurred_at")) is not None
        and funnel.is_readable(int, row.get("duration_minutes"))
        and funnel.is_readable(funnel.to_bool, row.get("is_completed"))
    )


def is_sound_qualification(row: Row) -> bool:
    return row.get("status") in ("unknown", *KNOWN) and value_or_none(funnel.to_time, row["assessed_at"]) is not None


def is_sound_named(row: Row) -> bool:
    return row.get("buying_role") in (None, *BUYING_ROLES) and funnel.is_readable(funnel.to_time, row.get("added_at"))


def is_sound_request(row: Row) -> bool:
    return (
        row.get("requester_id") is not None
        and row.get("function") is not None
        and value_or_none(funnel.to_time, row.get("requested_at")) is not None
        and all(funnel.is_readable(funnel.to_time, row.get(name)) for name in ("assigned_at", "resolved_at"))
    )


def is_sound_quota(row: Row) -> bool:
    return value_or_none(funnel.to_decimal, row.get("amount")) is not None and funnel.is_currency(row.get("currency"))


ENTITIES = [
    *conversion.ENTITIES,
    *(entity for entity in forecasts.ENTITIES if entity not in funnel.ENTITIES),
    Entity("crm/activities", ("activity_id",), is_sound_activity, is_event=True, event_time="occurred_at"),
    Entity(
        "crm/qualifications",
        ("opportunity_id", "element", "assessed_at"),
        is_sound_qualification,
        is_event=True,
        event_time="assessed_at",
    ),
    Entity("crm/opportunity_contacts", ("opportunity_id", "contact_id"), is_sound_named, event_time="added_at"),
    Entity("crm/support_requests", ("request_id",), is_sound_request, event_time="requested_at"),
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


def known_from(version: Version) -> datetime:
    """What a load says of a later day is known when it is made."""
    return min(version.known_at, version.extracted_at)


# What is known of a deal


@dataclass(frozen=True)
class Activity:
    at: datetime
    known_at: datetime
    kind: str
    direction: str | None
    user_id: str | None
    contact_id: str | None
    hours: Fraction
    is_held: bool

    @property
    def is_with_buyer(self) -> bool:
        """The buyer took part."""
        return self.direction == "inbound" or (self.kind in MET and self.direction != "internal")

    @property
    def is_outreach(self) -> bool:
        return self.direction == "outbound" and self.kind not in MET


@dataclass(frozen=True)
class Assessment:
    at: datetime
    known_at: datetime
    element: str
    status: str


@dataclass(frozen=True)
class Named:
    at: datetime
    contact_id: str
    role: str | None


@dataclass
class File:
    """All there is about one deal."""

    deal: Deal
    end: conversion.Opportunity
    activities: list[Activity]
    assessments: list[Assessment]
    named: list[Named]
    steps_changed: list[datetime]
    competitors_named: list[datetime]
    orders: list[int]
    until: datetime

    @cached_property
    def held(self) -> list[Activity]:
        """What was held on it by the end of the as-of date, and of the day it was closed."""
        closed_on = self.end.closed_on
        until = self.until if closed_on is None else end_of(closed_on)
        return [one for one in self.activities if one.is_held and one.at < until]

    @cached_property
    def visits(self) -> list[tuple[datetime, str | None]]:
        """When it came to each stage it was in, closed ones as well."""
        made: list[tuple[datetime, str | None]] = []
        for stretch in self.deal.stretches:
            if not made or made[-1][1] != stretch.stage:
                made.append((stretch.valid_from, stretch.stage))
        return made

    @cached_property
    def date_moves(self) -> list[tuple[datetime, date, date]]:
        """Moves to a later day while it was in the pipeline."""
        made = []
        for old, new in zip(self.deal.stretches, self.deal.stretches[1:], strict=False):
            if old.close_date and new.close_date and new.close_date > old.close_date and new.is_live and old.is_live:
                made.append((new.valid_from, old.close_date, new.close_date))
        return made

    @cached_property
    def owner_changes(self) -> list[datetime]:
        return [
            new.valid_from
            for old, new in zip(self.deal.stretches, self.deal.stretches[1:], strict=False)
            if new.owner_id != old.owner_id
        ]

    @cached_property
    def regressions(self) -> list[datetime]:
        at_once = int(limit("regression", "minimum"))
        made = []
        for (_, old), (at, new) in zip(self.visits, self.visits[1:], strict=False):
            if is_open_stage(old) and is_open_stage(new):
                step = self.orders.index(STAGES[new or ""].order) - self.orders.index(STAGES[old or ""].order)
                if step < 0 or step >= at_once:
                    made.append(at)
        return made


def is_open_stage(stage: str | None) -> bool:
    return stage in STAGES and STAGES[stage].is_open


def read_files(facts: Facts, as_of: date) -> list[File]:
    end = end_of(as_of)
    activities: dict[str, list[Activity]] = defaultdict(list)
    for version in facts.versions["crm/activities"]:
        row = version.row or {}
        activities[row.get("opportunity_id") or ""].append(
            Activity(
                at=funnel.to_time(row["occurred_at"] or ""),
                known_at=known_from(version),
                kind=row["activity_type"] or "",
                direction=row.get("direction"),
                user_id=row.get("user_id"),
                contact_id=row.get("contact_id"),
                hours=Fraction(int(row.get("duration_minutes") or 0), 60),
                is_held=value_or_none(funnel.to_bool, row.get("is_completed")) is not False,
            )
        )
    assessments: dict[str, list[Assessment]] = defaultdict(list)
    for version in facts.versions["crm/qualifications"]:
        row = version.row or {}
        assessments[row["opportunity_id"] or ""].append(
            Assessment(
                funnel.to_time(row["assessed_at"] or ""),
                known_from(version),
                row["element"] or "",
                row["status"] or "",
            )
        )
    named: dict[str, list[Named]] = defaultdict(list)
    for version in facts.versions["crm/opportunity_contacts"]:
        if version.row:
            at = known_from(version) if version.row.get("added_at") else version.extracted_at
            named[version.key[0]].append(Named(at, version.key[1], version.row.get("buying_role")))
    steps_changed: dict[str, list[datetime]] = defaultdict(list)
    competitors: dict[str, list[datetime]] = defaultdict(list)
    for row in facts.newest_rows("crm/opportunity_changes", as_of).values():
        at = funnel.to_time(row["changed_at"] or "")
        if row["field"] == "next_step":
            steps_changed[row["opportunity_id"] or ""].append(at)
        if row["field"] == "competitor" and row.get("new_value"):
            competitors[row["opportunity_id"] or ""].append(at)
    for (opportunity_id,), row in facts.newest_rows("crm/opportunities", as_of).items():
        at = value_or_none(funnel.to_time, row.get("next_step_updated_at"))
        if at:
            steps_changed[opportunity_id].append(at)
    ended = {one.opportunity_id: one for one in conversion.opportunities(facts, as_of)}
    deals = funnel.make_deals(facts, as_of)
    orders = sorted(
        {
            STAGES[stretch.stage or ""].order
            for deal in deals
            for stretch in deal.stretches
            if is_open_stage(stretch.stage)
        }
    )
    made = []
    for deal in deals:
        key = deal.opportunity_id
        file = File(
            deal=deal,
            end=ended[key],
            activities=sorted((one for one in activities[key] if one.known_at < end), key=lambda one: one.at),
            until=end,
            assessments=sorted((one for one in assessments[key] if one.at < end), key=lambda one: one.at),
            named=named[key],
            steps_changed=steps_changed[key],
            competitors_named=[at for at in competitors[key] if was_live(deal, at)],
            orders=orders,
        )
        made.append(file)
    return made


def was_live(deal: Deal, at: datetime) -> bool:
    position = bisect_right(deal.starts, at)
    return position > 0 and deal.stretches[position - 1].is_live


# 1. The review


def review_days(first: date, as_of: date) -> list[date]:
    """Week ends (Sundays) and the date itself."""
    days = [first + DAY * number for number in range((as_of - first).days + 1)]
    return [day for day in days if day.isoweekday() == 7 or day == as_of]


def see(file: File, day: date, places: funnel.Places, roles: Roles) -> dict[str, Any] | None:
    """What is seen of a deal at the end of a day; None where it is not reviewed."""
    deal, end = file.deal, end_of(day)
    now = deal.last_before(end)
    if now is None or not now.is_live or not is_open_stage(now.stage) or deal.stretches[-1].is_deleted:
        return None
    created_on = deal.created_at.date()

    def days_since(moment: datetime | None) -> int:
        return (day - (moment.date() if moment else created_on)).days

    held = [one for one in file.held if one.at < end and one.known_at < end]
    with_buyer = [one for one in held if one.is_with_buyer]
    met = [one for one in with_buyer if one.kind in MET]
    answered_at = with_buyer[-1].at if with_buyer else None
    unanswered = [one for one in held if one.is_outreach and (answered_at is None or one.at > answered_at)]
    taking_part = {one.contact_id for one in held if one.contact_id and (one.direction == "inbound" or one.kind in MET)}
    named = [one for one in file.named if one.at < end]
    status = {one.element: one.status for one in file.assessments if one.at < end and one.known_at < end}
    buyers_met = {one.contact_id for one in named if one.role == "economic_buyer"} & taking_part
    has_economic_buyer = bool(buyers_met) or status.get("economic_buyer") in KNOWN
    moves = [(old, new) for at, old, new in file.date_moves if at < end]
    entered_at = [at for at, _ in file.visits if at < end][-1]
    agreed = [*(at for at in file.steps_changed if at < end), *(one.at for one in met)]
    order = STAGES[now.stage or ""].order
    required = [element for element, since in ELEMENTS.items() if since <= order]
    owner_changed = [at for at in file.owner_changes if at < end]
    named_at = max((at for at in file.competitors_named if at < end), default=None)
    is_answered = named_at is not None and any(
        one.element == "competition" and one.status in KNOWN and named_at < one.at < end for one in file.assessments
    )
    executive = [one for one in unanswered if roles.of(one.user_id, one.at.date()) == "executive"]
    manager_id, _, segment = places.of(now.owner_id, deal.account_id, day)
    outcome, closed_on = file.end.outcome, file.end.closed_on
    return {
        "opportunity_id": deal.opportunity_id,
        "snapshot_date": day,
        "owner_id": now.owner_id,
        "manager_id": manager_id,
        "segment": segment,
        "opportunity_type": file.end.row.get("opportunity_type"),
        "stage": now.stage,
        "forecast_category": now.forecast_category,
        "amount": now.amount,
        "close_date": now.close_date,
        "age_days": (day - created_on).days,
        "days_in_stage": days_since(entered_at),
        "days_to_close": (now.close_date - day).days if now.close_date else None,
        "quiet_days": days_since(held[-1].at if held else None),
        "unanswered_days": days_since(answered_at),
        "unanswered_count": len(unanswered),
        "buyer_count": len(taking_part | {one.contact_id for one in named}),
        "has_economic_buyer": has_economic_buyer,
        "push_count": sum(new > quarter_end(old) for old, new in moves),
        "push_days": sum((new - old).days for old, new in moves),
        "next_step_days": days_since(max(agreed, default=None)),
        "booked_count": sum(one.kind in MET and one.at >= end and one.known_at < end for one in file.activities),
        "regression_count": sum(at < end for at in file.regressions),
        "required_count": len(required),
        "verified_count": sum(status.get(element) == "verified" for element in required),
        "claimed_count": sum(status.get(element) == "claimed" for element in required),
        "amount_kept_share": amount_kept_share(deal, entered_at, end),
        "hours_spent": float(sum((one.hours for one in held), Fraction(0))),
        "hours_in_all": float(sum((one.hours for one in file.held), Fraction(0))),
        "has_effort": bool(file.held),
        "is_executive_unanswered": any(
            (day - one.at.date()).days >= POLICY["executive_answer_days"] for one in executive
        ),
        "has_specialist": any(roles.of(one.user_id, one.at.date()) == "specialist" for one in held),
        "has_unanswered_competitor": named_at is not None and not is_answered,
        "owner_days": days_since(owner_changed[-1]) if owner_changed else None,
        "has_new_owner_met": bool(owner_changed)
        and any(one.user_id == now.owner_id and one.at >= owner_changed[-1] for one in met),
        "is_won": outcome == "won",
        "is_open": outcome is None,
        "cycle_days": file.end.cycle_days,
        "closed_on": closed_on,
        "dated_quarter_end": quarter_end(now.close_date) if now.close_date else None,
        "final_amount": file.end.amount,
        "final_segment": file.end.segment,
    }


def quarter_end(day: date) -> date:
    return funnel.period_of(day, "quarter")[1]


def amount_kept_share(deal: Deal, entered_at: datetime, end: datetime) -> float | None:
    """Amount in its own currency, of the larger of that at stage entry and its height in the days before this one."""
    since = end - DAY * (1 + int(limit("value_erosion", "window_days")))
    amounts = []
    for stretch in deal.stretches:
        is_entry = stretch.valid_from <= entered_at and (stretch.valid_to is None or stretch.valid_to > entered_at)
        is_near = stretch.valid_from < end and (stretch.valid_to is None or stretch.valid_to > since)
        if (is_entry or is_near) and stretch.amount_source is not None:
            amounts.append(stretch.amount_source)
    now = deal.last_before(end)
    if now is None or now.amount_source is None or not amounts or max(amounts) == 0:
        return None
    return float(now.amount_source) / float(max(amounts))


class Roles:
    """Which role a person had on which day."""

    def __init__(self, facts: Facts, as_of: date) -> None:
        self.jobs: dict[str, list[tuple[date, str]]] = defaultdict(list)
        for (user_id, effective_from), row in facts.newest_rows("crm/user_roles", as_of).items():
            self.jobs[user_id].append((funnel.to_date(effective_from), row["role"] or ""))
        for jobs in self.jobs.values():
            jobs.sort()
        self.current = {key: row["role"] or "" for (key,), row in facts.newest_rows("crm/users", as_of).items()}

    def of(self, user_id: str | None, day: date) -> str | None:
        jobs = self.jobs.get(user_id or "")
        if not jobs:
            return self.current.get(user_id or "")
        return next((role for since, role in reversed(jobs) if since <= day), jobs[0][1])


def reviews(facts: Facts, as_of: date) -> pd.DataFrame:
    """One row per deal and review: what was seen, and what has become of the deal by the as-of date."""
    places, roles = funnel.Places(facts, as_of), Roles(facts, as_of)
    rows = [
        seen
        for file in read_files(facts, as_of)
        for day in review_days(file.deal.created_at.date(), as_of)
        if (seen := see(file, day, places, roles))
    ]
    table = pd.DataFrame(rows).sort_values(["opportunity_id", "snapshot_date"], ignore_index=True)
    table["segment"] = table["segment"].fillna("unknown")
    table["opportunity_type"] = table["opportunity_type"].fillna("unknown")
    table["month_start"] = [day.replace(day=1) for day in table["snapshot_date"]]
    table["unknown_count"] = table["required_count"] - table["verified_count"] - table["claimed_count"]
    return table


# 2. The norm


def nearest_rank(values: Iterable[Any], share: Fraction) -> float | None:
    """The smallest value that at least the share of the values is not above."""
    known = np.sort(np.array([value for value in values if value is not None and value == value], dtype=float))
    if len(known) == 0:
        return None
    return float(known[max(math.ceil(share * len(known)), 1) - 1])


def months_before(month: date, months: int) -> date:
    number = month.year * 12 + month.month - 1 - months
    return date(number // 12, number % 12 + 1, 1)


def ordinals(days: Iterable[Any]) -> np.ndarray:
    """Days as numbers; a day that is not known is after all others."""
    return np.array([day.toordinal() if isinstance(day, date) else 10**7 for day in days])


NORMS = {
    "stage_days_norm": ("days_in_stage", percentile_of("stalled")),
    "pushes_norm": ("push_count", percentile_of("repeated_push")),
    "remaining_norm": ("remaining_days", percentile_of("impossible_date")),
    "quiet_norm": ("quiet_days", percentile_of("quiet")),
    "unanswered_norm": ("unanswered_days", percentile_of("ghosted")),
    "buyer_norm": ("buyer_count", percentile_of("single_threaded")),
    "next_step_norm": ("next_step_days", percentile_of("no_next_step")),
    "silence_norm": ("unanswered_days", POLICY["silence_percentile"]),
    "age_norm": ("age_days", POLICY["age_percentile"]),
    "effort_norm": ("hours_to_go", Fraction(1, 2)),
    "cycle_norm": ("cycle_days", Fraction(1, 2)),
}
SHARES = {
    "economic_buyer_share": "has_economic_buyer",
    "specialist_share": "has_specialist",
    "assessed_share": "has_assessed",
}


def norms(table: pd.DataFrame) -> pd.DataFrame:
    """One row per month, level and group of won deals."""
    won = table[table["is_won"] & (table["has_effort"] | (not table["has_effort"].any()))].copy()
    won["closed"] = ordinals(won["closed_on"])
    won["remaining_days"] = won["closed"] - ordinals(won["snapshot_date"])
    won["hours_to_go"] = won["hours_in_all"] - won["hours_spent"]
    won["has_assessed"] = won["verified_count"] + won["claimed_count"] > 0
    rows = []
    for month in sorted(set(table["month_start"])):
        first, last = months_before(month, NORM_MONTHS).toordinal(), month.toordinal()
        past = won[(won["closed"] >= first) & (won["closed"] < last)]
        for level, columns in LEVELS:
            for key, group in past.groupby(columns):
                row: dict[str, Any] = {"month_start": month, "level": level, **dict(zip(columns, key, strict=True))}
                row["n"] = group["opportunity_id"].nunique()
                row |= {name: nearest_rank(group[column], share) for name, (column, share) in NORMS.items()}
                row |= {name: float(group[column].mean()) for name, column in SHARES.items()}
                rows.append(row)
    return pd.DataFrame(rows)


def with_norms(table: pd.DataFrame, norms: pd.DataFrame) -> pd.DataFrame:
    """Each review with the norm of the narrowest group that has enough deals."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in norms.to_dict("records"):
        columns = dict(LEVELS)[row["level"]]
        found[(row["month_start"], row["level"], *(row[column] for column in columns))] = row
    names = ["norm_level", "norm_n", *NORMS, *SHARES]
    chosen = []
    for one in table[["month_start", "segment", "opportunity_type", "stage"]].to_dict("records"):
        norm: dict[str, Any] = {}
        for level, columns in LEVELS:
            norm = found.get((one["month_start"], level, *(one[column] for column in columns)), {})
            if norm and (norm["n"] >= POLICY["norm_minimum_deals"]):
                break
        chosen.append([norm.get("level"), norm.get("n"), *(norm.get(name) for name in names[2:])])
    joined = pd.DataFrame(chosen, columns=names, index=table.index)
    joined = joined.astype(dict.fromkeys(names[1:], float))
    table = pd.concat([table, joined], axis=1)
    days, norm_days = table["days_in_stage"].astype(float), table["stage_days_norm"]
    table["stage_time"] = np.select(
        [norm_days.isna() | days.isna(), days <= norm_days / 2, days <= norm_days, days <= norm_days * 2],
        ["unknown", "early", "usual", "late"],
        "very late",
    )
    return table


# The chances of deals as long in the stage


def with_outcomes(table: pd.DataFrame) -> pd.DataFrame:
    """What had become of the deal when the horizon was over."""
    table = table.assign(day=ordinals(table["snapshot_date"]), closed=ordinals(table["closed_on"]))
    is_over = table["closed"] <= table["day"] + HORIZON
    return table.assign(
        is_win=table["is_won"] & is_over,
        is_lose=~table["is_won"] & ~table["is_open"] & is_over,
        is_slip=~is_over,
    )


def earlier(table: pd.DataFrame, month: date) -> pd.DataFrame:
    """Reviews in the 24 months before the month, whose horizon was over by then."""
    first, last = months_before(month, NORM_MONTHS).toordinal(), month.toordinal()
    since = table["day"] + HORIZON
    return table[(since >= first) & (table["day"] + HORIZON < last)]


def stage_chances(table: pd.DataFrame) -> pd.DataFrame:
    """Of reviews of deals of a type as long in a stage, the share won within the horizon."""
    rows = []
    for month in sorted(set(table["month_start"])):
        past = earlier(table, month)
        for (kind, stage, stage_time), group in past.groupby(["opportunity_type", "stage", "stage_time"]):
            if len(group) >= POLICY["norm_minimum_deals"]:
                rows.append([month, kind, stage, stage_time, len(group), group["is_win"].mean()])
    names = ["month_start", "opportunity_type", "stage", "stage_time", "n", "p_win"]
    made = pd.DataFrame(rows, columns=names)
    entry = made[made["stage_time"] == "early"].rename(columns={"p_win": "entry_p_win"})
    keys = ["month_start", "opportunity_type", "stage"]
    return made.merge(entry[[*keys, "entry_p_win"]], on=keys, how="left")


# 3. The signals


COMMITS = "all commits that won"
FIRED = ["opportunity_id", "snapshot_date", "signal", "value", "norm"]


def fired_at_sight(table: pd.DataFrame, chances: pd.DataFrame) -> pd.DataFrame:
    """All signals but the one that looks at the chance: one row a review and signal that fires."""
    keys = ["month_start", "opportunity_type", "stage", "stage_time"]
    t = table.merge(chances[[*keys, "p_win", "entry_p_win"]], on=keys, how="left")
    policy = {name: float(value) for name, value in POLICY.items()}

    def minimum(signal: str) -> float:
        return limit(signal, "minimum")

    def window(signal: str) -> float:
        return limit(signal, "window_days")

    is_less_likely = t["p_win"] < policy["stall_share"] * t["entry_p_win"]
    has_pushed_far = t["push_days"] > policy["push_cycle_share"] * t["cycle_norm"]
    owner_days = t["owner_days"].astype(float)
    to_close = t["days_to_close"].astype(float)
    kept = t["amount_kept_share"].astype(float)
    nearest_ahead = minimum("impossible_date")
    no_norm = pd.Series(np.nan, index=t.index)
    nothing = no_norm.fillna(0)
    fires: dict[str, tuple[pd.Series, pd.Series, pd.Series | float]] = {
        "competitor": (t["has_unanswered_competitor"], nothing + 1, nothing),
        "handover": (
            (owner_days < window("handover")) & ~t["has_new_owner_met"].astype(bool), owner_days, window("handover"),
        ),
        "no_power": (
            ~t["has_economic_buyer"] & (t["days_in_stage"] >= window("no_power"))
            & (t["economic_buyer_share"] >= policy["economic_buyer_expected_share"]),
            no_norm, no_norm,
        ),
        "single_threaded": (
            (t["buyer_count"] <= minimum("single_threaded")) & (t["buyer_count"] < t["buyer_norm"])
            & (t["age_days"] >= window("single_threaded")),
            t["buyer_count"], t["buyer_norm"],
        ),
        "value_erosion": (kept < policy["amount_kept_share"], kept, policy["amount_kept_share"]),
        "ghosted": (
            (t["unanswered_count"] >= minimum("ghosted")) & (t["unanswered_days"] > t["unanswered_norm"]),
            t["unanswered_days"], t["unanswered_norm"],
        ),
        "no_technical_proof": (
            ~t["has_specialist"] & (t["specialist_share"] >= policy["specialist_expected_share"]), no_norm, no_norm,
        ),
        "stalled": (
            ((t["days_in_stage"] > t["stage_days_norm"]) | is_less_likely)
            & (t["days_in_stage"] >= minimum("stalled")),
            t["days_in_stage"].where(t["days_in_stage"] > t["stage_days_norm"], t["p_win"]),
            t["stage_days_norm"].where(
                t["days_in_stage"] > t["stage_days_norm"], policy["stall_share"] * t["entry_p_win"]
            ),
        ),
        "repeated_push": (
            ((t["push_count"] > t["pushes_norm"]) | has_pushed_far) & (t["push_count"] >= minimum("repeated_push")),
            t["push_count"], t["pushes_norm"],
        ),
        "no_next_step": (
            (t["booked_count"] == 0) & (t["next_step_days"] > t["next_step_norm"])
            & (t["next_step_days"] >= minimum("no_next_step")),
            t["next_step_days"], t["next_step_norm"],
        ),
        "quiet": (
            (t["quiet_days"] > t["quiet_norm"]) & (t["quiet_days"] >= minimum("quiet")),
            t["quiet_days"], t["quiet_norm"],
        ),
        "unqualified": (
            (t["unknown_count"] >= minimum("unqualified")) & (t["days_in_stage"] >= window("unqualified"))
            & (t["assessed_share"] >= 0.5),
            t["unknown_count"], minimum("unqualified"),
        ),
        "regression": (t["regression_count"] > 0, t["regression_count"], nothing),
        "impossible_date": (
            (to_close >= nearest_ahead) & (to_close < t["remaining_norm"]), to_close, t["remaining_norm"],
        ),
        "overdue": (-to_close > minimum("overdue"), -to_close, minimum("overdue")),
    }  # fmt: skip
    made = []
    for signal, (is_fired, value, norm) in fires.items():
        if SIGNALS[signal]["is_on"] != "true":
            continue
        hit = is_fired.fillna(False).astype(bool)
        part = t.loc[hit, ["opportunity_id", "snapshot_date"]].assign(signal=signal, value=value[hit].astype(float))
        made.append(part.assign(norm=norm[hit].astype(float) if isinstance(norm, pd.Series) else norm))
    return pd.concat(made, ignore_index=True)[FIRED]


def over_called(table: pd.DataFrame, chances: pd.DataFrame) -> pd.DataFrame:
    """Deals in commit whose chance is below that of past commits that were won."""
    t = table.merge(chances[["opportunity_id", "snapshot_date", "p_win"]], on=["opportunity_id", "snapshot_date"])
    commits = t[t["forecast_category"] == "commit"]
    rows = []
    for month, group in commits.groupby("month_start"):
        first, last = months_before(month, NORM_MONTHS).toordinal(), month.toordinal()
        past = commits[commits["is_won"] & (commits["closed"] >= first) & (commits["closed"] < last)]
        past = past[past["p_win"].notna()]
        norm = nearest_rank(past["p_win"], POLICY["category_percentile"])
        norm_n = past["opportunity_id"].nunique()
        if norm is not None and norm_n >= POLICY["norm_minimum_deals"]:
            hit = group[group["p_win"] < norm]
            rows.append(hit.assign(signal="category_mismatch", norm=norm, norm_level=COMMITS, norm_n=float(norm_n)))
    made = pd.concat(rows) if rows else t[:0].assign(signal="", norm=0.0)
    return made.rename(columns={"p_win": "value"})[[*FIRED, "norm_level", "norm_n"]]


# 5. The chances


def points_for(signal: str, value: Any, norm: Any) -> float:
    """Points of a signal, those for far when its value is at least so many times its norm."""
    is_far = value is not None and norm is not None and float(value) >= float(POLICY["far_factor"]) * float(norm)
    return limit(signal, "points_far" if is_far else "points")


def points_of(fired: pd.DataFrame, table: pd.DataFrame) -> pd.Series:
    """Points of the signals as they fired, in the order of the reviews."""
    points = fired.assign(points=[points_for(*one) for one in fired[["signal", "value", "norm"]].to_numpy()])
    sums = points.groupby(["opportunity_id", "snapshot_date"])["points"].sum()
    keys = pd.MultiIndex.from_frame(table[["opportunity_id", "snapshot_date"]])
    return pd.Series(sums.reindex(keys).fillna(0).to_numpy(), index=table.index)


def trouble_of(points: pd.Series) -> np.ndarray:
    return np.select([points == 0, points < float(POLICY["attention_points"])], ["none", "some"], "much")


CHANCE_GROUPS = ["stage", "trouble", "opportunity_type", "stage_time", "segment"]
OUTCOMES = {"p_win": "is_win", "p_lose": "is_lose", "p_slip": "is_slip"}


def deal_chances(table: pd.DataFrame) -> pd.DataFrame:
    """Each group's share drawn towards that of the group before it."""
    strength = float(POLICY["pool_strength"])
    rows = []
    for month in sorted(set(table["month_start"])):
        past = earlier(table, month)
        has_ended = bool((past["is_win"] | past["is_lose"]).any())
        cells: list[dict[tuple[Any, ...], tuple[float, ...]]] = []
        for depth in range(1, len(CHANCE_GROUPS) + 1):
            counted = past.groupby(CHANCE_GROUPS[:depth])[list(OUTCOMES.values())].agg("sum")
            sizes = past.groupby(CHANCE_GROUPS[:depth]).size()
            cells.append(
                {
                    key if isinstance(key, tuple) else (key,): (int(size), *map(int, cases))
                    for key, size, cases in zip(sizes.index, sizes, counted.to_numpy(), strict=True)
                }
            )

        def shares(key: tuple[Any, ...], cells: list[Any] = cells, has_ended: bool = has_ended) -> list[float | None]:
            n, *cases = cells[0].get(key[:1], (0, 0, 0, 0))
            if n == 0 or not has_ended:
                return [None, None, None]
            share = [case / n for case in cases]
            for depth in range(2, len(key) + 1):
                n, *cases = cells[depth - 1].get(key[:depth], (0, 0, 0, 0))
                share = [(case + strength * one) / (n + strength) for case, one in zip(cases, share, strict=True)]
            return list(share)

        now = table[table["month_start"] == month]
        for one in now[["opportunity_id", "snapshot_date", *CHANCE_GROUPS]].to_dict("records"):
            key = tuple(one[name] for name in CHANCE_GROUPS)
            base_n, *base = cells[0].get(key[:1], (0, 0, 0, 0)) if has_ended else (0, 0, 0, 0)
            p_win, p_lose, p_slip = shares(key)
            untroubled = shares((key[0], "none", *key[2:]))[0]
            rows.append(
                {
                    "opportunity_id": one["opportunity_id"],
                    "snapshot_date": one["snapshot_date"],
                    "trouble": one["trouble"],
                    "base_n": base_n,
                    "n": cells[-1].get(key, (0,))[0],
                    "base_p_win": base[0] / base_n if base_n else None,
                    "p_win": p_win,
                    "p_lose": p_lose,
                    "p_slip": p_slip,
                    "p_win_untroubled": untroubled,
                }
            )
    return pd.DataFrame(rows)


# 4. Whether a signal earns its place


def mantel_haenszel(tables: Sequence[tuple[float, ...]]) -> tuple[float, float] | tuple[None, None]:
    """Common odds ratio of 2 x 2 tables (a, b, c, d), exposed cases and others, unexposed ones; an error of its log.

    Mantel and Haenszel 1959, J. Natl. Cancer Inst. 22: 719-748. Where it would be 0 or endless all tables are taken as
    one, with half a case more in each cell, and only then there is an error; nothing where nothing can be compared.
    """
    cells = np.array([table for table in tables if sum(table) > 0], dtype=float).reshape(-1, 4)
    if len(cells) == 0:
        return None, None
    error = math.nan
    if (cells[:, 0] * cells[:, 3]).any() != (cells[:, 1] * cells[:, 2]).any():
        cells = cells.sum(axis=0, keepdims=True) + 0.5
        error = math.sqrt((1 / cells).sum())
    a, b, c, d = cells.T
    n = cells.sum(axis=1)
    with_case, without_case = (a * d / n).sum(), (b * c / n).sum()
    if with_case == 0 or without_case == 0:
        return None, None
    return with_case / without_case, error


def odds_of(deals: pd.DataFrame, hit: np.ndarray) -> tuple[float | None, float | None, float | None]:
    """Odds ratio and its 95 % interval of reviews, with `weight`, `is_bad`, `stratum` and the `part` of the deal."""
    bad, weight = deals["is_bad"].to_numpy(bool), deals["weight"].to_numpy(float)
    part, stratum = deals["part"].to_numpy(), deals["stratum"].to_numpy()
    size = stratum.max() + 1 if len(stratum) else 0

    def tables(kept: np.ndarray) -> list[tuple[float, ...]]:
        cells = [
            np.bincount(stratum, weights=weight * (which & kept), minlength=size)
            for which in (hit & bad, hit & ~bad, ~hit & bad, ~hit & ~bad)
        ]
        return list(zip(*cells, strict=True))

    ratio, error = mantel_haenszel(tables(np.ones(len(deals), dtype=bool)))
    if ratio is None or error is None:
        return None, None, None
    if math.isnan(error):
        without = [mantel_haenszel(tables(part != digit)) for digit in "0123456789abcdef"]
        if any(one is None or not math.isnan(wrong) for one, wrong in without):  # type: ignore[arg-type]
            return ratio, None, None
        logs = np.log([one for one, _ in without])
        error = math.sqrt(15 / 16 * ((logs - logs.mean()) ** 2).sum())
    reach = 2.131449545559323 * error
    return ratio, ratio * math.exp(-reach), ratio * math.exp(reach)


def shares(table: pd.DataFrame) -> pd.DataFrame:
    """The reviews of decided deals, those of one deal together with the weight of one."""
    decided = table[~table["is_open"] & table["closed_on"].notna()].copy()
    reviews_of = decided.groupby("opportunity_id")["opportunity_id"].transform("size")
    decided["weight"] = (1 / reviews_of).round(12)
    decided["part"] = [hashlib.md5(one.encode()).hexdigest()[0] for one in decided["opportunity_id"]]
    decided["is_bad"] = ~decided["is_won"] | (decided["closed"] > ordinals(decided["dated_quarter_end"]))
    return decided


def standing(table: pd.DataFrame, fired: pd.DataFrame, left_out: set[str]) -> pd.DataFrame:
    """One row per month, signal and segment: how the signal had done on the deals that were decided by then."""
    decided = shares(table[~table["opportunity_id"].isin(left_out)])
    decided["stratum"] = decided.groupby(["opportunity_type", "stage"]).ngroup()
    hits = set(map(tuple, fired[["opportunity_id", "snapshot_date", "signal"]].to_numpy()))
    for signal in SIGNALS:
        decided[signal] = [
            (key, day, signal) in hits
            for key, day in zip(decided["opportunity_id"], decided["snapshot_date"], strict=True)
        ]
    rows = []
    newest = max(table["month_start"])
    for month in sorted(set(table["month_start"])):
        past = decided[decided["closed"] < month.toordinal()]
        for segment in ["all", *(sorted(set(past["segment"])) if month == newest else [])]:
            part = past if segment == "all" else past[past["segment"] == segment]
            weight, bad = part["weight"].to_numpy(float), part["is_bad"].to_numpy(bool)
            for signal in SIGNALS:
                hit = part[signal].to_numpy(bool)
                odds_ratio, low, high = odds_of(part, hit)
                fired_count = part["opportunity_id"][hit].nunique()
                is_judged = fired_count >= POLICY["signal_minimum_fired"]
                is_off = is_judged and (low is None or low <= 1)
                rows.append(
                    {
                        "month_start": month,
                        "signal": signal,
                        "segment": segment,
                        "n": round(weight.sum()),
                        "fired_count": fired_count,
                        "fired_share": weight[hit].sum(),
                        "bad_share": weight[bad].sum(),
                        "fired_bad_share": weight[hit & bad].sum(),
                        "odds_ratio": odds_ratio,
                        "odds_ratio_low": low,
                        "odds_ratio_high": high,
                        "is_active": SIGNALS[signal]["is_on"] == "true" and not is_off if segment == "all" else None,
                    }
                )
    return pd.DataFrame(rows)


def effectiveness(table: pd.DataFrame, fired: pd.DataFrame, standings: pd.DataFrame) -> pd.DataFrame:
    """The newest standing with what is published beside it."""
    month = max(table["month_start"])
    lasting = table[~table["is_open"] & ~table["is_won"] & (table["closed"] < month.toordinal())]
    joined = fired.merge(lasting[["opportunity_id", "snapshot_date", "segment", "day", "closed"]])
    rows = []
    for row in standings[standings["month_start"] == month].to_dict("records"):
        fired_share, bad_share, right = row["fired_share"], row["bad_share"], row["fired_bad_share"]
        mine = joined[joined["signal"] == row["signal"]]
        if row["segment"] != "all":
            mine = mine[mine["segment"] == row["segment"]]
        leads = mine.groupby("opportunity_id").apply(
            lambda one: one["closed"].iloc[0] - one["day"].min(), include_groups=False
        )
        precision = right / fired_share if fired_share else None
        low, high = conversion.wilson(precision, row["fired_count"]) if precision is not None else (None, None)
        rows.append(
            {
                **row,
                "base_rate": bad_share / row["n"] if row["n"] else None,
                "precision": precision,
                "precision_low": low,
                "precision_high": high,
                "recall": right / bad_share if bad_share else None,
                "median_lead_days": float(median(leads)) if len(leads) else None,
            }
        )
    return pd.DataFrame(rows)


# 6. The verdicts


def segment_win_rates(facts: Facts, as_of: date, months: Iterable[date]) -> dict[tuple[date, str], float]:
    decided = [one for one in conversion.opportunities(facts, as_of) if one.closed_on and not one.is_deleted]
    rates = {}
    for month in months:
        first = months_before(month, NORM_MONTHS)
        past = [one for one in decided if one.closed_on and first <= one.closed_on < month]
        for segment in {"all", *((one.segment or "unknown") for one in past)}:
            mine = [one for one in past if segment in ("all", one.segment or "unknown")]
            if mine:
                rates[month, segment] = sum(one.outcome == "won" for one in mine) / len(mine)
    return rates


def is_needed_for_quota(facts: Facts, company: Company, t: pd.DataFrame) -> list[bool]:
    """Whether the owner's quota of the quarter is missed without the deal, and met when it is won."""
    rates = funnel.Rates(facts, company.as_of)
    quotas: dict[tuple[str, date, date], list[tuple[date, Decimal]]] = defaultdict(list)
    for (seller, start, end, since), row in facts.newest_rows("crm/quotas", company.as_of).items():
        first, last, day = (funnel.to_date(text or "") for text in (start, end, since))
        rate = rates.on(row.get("currency"), min(first, company.as_of))
        if day <= company.as_of and rate is not None:
            quotas[seller, first, last].append((day, funnel.to_decimal(row["amount"] or "") * rate))
    needed = pd.Series(False, index=t.index)
    for (owner, day), mine in t.groupby(["owner_id", "snapshot_date"]):
        quarter = next(one for one in company.periods["quarter"] if one.holds(day))
        in_force = [one for one in quotas[owner, quarter.start, quarter.end] if one[0] <= day]
        if not in_force:
            continue
        booked = sum(one.amount for one in company.booked(quarter, day, day) if one.owner_id == owner)
        due = mine[[closes is not None and closes <= quarter.end for closes in mine["close_date"]]]
        amounts, chances = due["amount"].astype(float), due["p_win"].fillna(0)
        gap = float(max(in_force)[1]) - float(booked) - (amounts * chances).sum() + amounts * chances
        needed[due.index] = (gap > 0) & (gap <= amounts) & due["p_win"].notna()
    return list(needed)


def verdicts(
    facts: Facts,
    company: Company,
    table: pd.DataFrame,
    fired: pd.DataFrame,
    standings: pd.DataFrame,
    chances: pd.DataFrame,
    of_the_model: Modelled,
) -> pd.DataFrame:
    as_of = company.as_of
    policy = {name: float(value) for name, value in POLICY.items()}
    keys = ["opportunity_id", "snapshot_date"]
    months = sorted(set(table["month_start"]))
    t = table.merge(chances, on=[*keys, "trouble"])
    t[["p_win", "p_lose", "p_slip", "base_p_win", "p_win_untroubled"]] = t[
        ["p_win", "p_lose", "p_slip", "base_p_win", "p_win_untroubled"]
    ].astype(float)
    told = [of_the_model.get(key, (math.nan, math.nan)) for key in zip(t["opportunity_id"], t[keys[1]], strict=True)]
    t["p_win_model"], t["p_lose_model"] = ([one[which] for one in told] for which in (0, 1))
    to_certainty = 1 - t["p_win_model"].fillna(t["p_win"])
    t["p_to_gain"] = np.minimum((t["p_win_untroubled"] - t["p_win"]).clip(lower=0), to_certainty)
    # Active signals.
    of_all = standings[standings["segment"] == "all"]
    on = of_all[of_all["is_active"].astype(bool)]
    is_active = set(map(tuple, on[["month_start", "signal"]].to_numpy()))
    judged = set(standings["month_start"])
    assert judged == set(months)
    active: dict[tuple[str, date], list[str]] = defaultdict(list)
    points: dict[tuple[str, date], float] = defaultdict(float)
    for opportunity_id, day, signal, value, norm in fired[[*keys, "signal", "value", "norm"]].to_numpy():
        if (day.replace(day=1), signal) in is_active:
            active[opportunity_id, day].append(signal)
            points[opportunity_id, day] += points_for(signal, value, norm)
    of_review = [
        sorted(active.get((key, day), []), key=lambda name: int(SIGNALS[name]["rank"] or 0))
        for key, day in zip(t["opportunity_id"], t["snapshot_date"], strict=True)
    ]
    t["active"] = of_review
    t["signal_count"] = [len(names) for names in of_review]
    t["points"] = [points[key, day] for key, day in zip(t["opportunity_id"], t["snapshot_date"], strict=True)]
    t["top_signal"] = pd.Series([names[0] if names else None for names in of_review], index=t.index, dtype=object)
    t["has_fixable"] = [any(SIGNALS[name]["is_fixable"] == "true" for name in names) for names in of_review]
    t["is_troubled"] = t["points"] >= policy["attention_points"]
    # Rules.
    amount = t["amount"].astype(float)
    cost = t["effort_norm"] * policy["hour_cost"]
    t["break_even"] = np.where(amount > 0, cost / (policy["margin_share"] * amount.where(amount > 0)), np.nan)
    rates = segment_win_rates(facts, as_of, months)
    own = np.array([rates.get(key, np.nan) for key in zip(t["month_start"], t["segment"], strict=True)])
    overall = np.array([rates.get((month, "all"), np.nan) for month in t["month_start"]])
    t["is_too_old"] = t["age_days"] > t["age_norm"]
    t["is_hopeless"] = t["p_win"] < policy["base_share"] * t["base_p_win"]
    t["is_silent"] = (t["push_count"] >= policy["silence_pushes"]) & (t["unanswered_days"] > t["silence_norm"])
    t["is_weak_segment"] = (own < policy["segment_share"] * overall) & (
        t["unknown_count"] >= policy["segment_unknowns"]
    )
    t["is_below_break_even"] = t["p_win"] < t["break_even"]
    rules = ["is_too_old", "is_hopeless", "is_silent", "is_weak_segment", "is_below_break_even"]
    t["rule_count"] = t[rules].sum(axis=1) + t["is_executive_unanswered"].astype(int)
    # The guardrail.
    required, dropped_share = {}, {}
    won = t[t["is_won"]]
    for month in months:
        first, last = months_before(month, NORM_MONTHS).toordinal(), month.toordinal()
        past = won[(won["closed"] >= first) & (won["closed"] < last)]
        seen = past.groupby("opportunity_id")
        amounts = seen["final_amount"].first()
        amounts = amounts.dropna()
        required[month], dropped_share[month] = None, None
        for count in range(int(policy["rules_minimum"]), 7):
            hit = past[past["is_below_break_even"] & (past["rule_count"] >= count)]
            dropped = amounts[amounts.index.isin(set(hit["opportunity_id"]))].sum()
            whole = amounts.sum()
            if whole and Fraction(dropped) / Fraction(whole) <= POLICY["guardrail_share"]:
                required[month], dropped_share[month] = count, float(Decimal(dropped) / Decimal(whole))
                break
    t["rules_required"] = [required[month] for month in t["month_start"]]
    t["dropped_share"] = [dropped_share[month] for month in t["month_start"]]
    # Extra effort.
    large = {}
    for key, group in t.groupby(["snapshot_date", "segment"]):
        amounts = group["amount"].dropna().astype(float)
        large[key] = nearest_rank(amounts, POLICY["effort_amount_percentile"])
    t["large_amount"] = [large[key] for key in zip(t["snapshot_date"], t["segment"], strict=True)]
    t["is_needed_for_quota"] = is_needed_for_quota(facts, company, t)
    lets_go = t["is_below_break_even"] & (t["rule_count"] >= t["rules_required"].astype(float))
    lets_go &= t["p_win_model"].isna() | (t["p_win_model"] < t["break_even"])
    is_worth_it = (
        t["p_win"].between(policy["effort_p_low"], policy["effort_p_high"])
        & ((amount >= t["large_amount"].astype(float)) | t["is_needed_for_quota"])
        & t["has_fixable"]
        & (t["p_to_gain"] > 0)
        & (t["days_to_close"].astype(float) >= policy["effort_days_left"])
    )
    t["verdict"] = np.select(
        [lets_go, is_worth_it, t["is_troubled"]], ["de_resource", "extra_effort", "attention"], "on_track"
    )
    return t


# 7. The order and the agenda


def amount_to_gain(one: dict[str, Any]) -> float:
    """What can still be changed; of a deal to let go the cost of the hours that frees."""
    if one["verdict"] == "de_resource":
        return float(one["effort_norm"]) * float(POLICY["hour_cost"])
    return math.nan if one["amount"] is None else float(one["amount"]) * one["p_to_gain"]


def order(one: dict[str, Any]) -> tuple[int, float, float, str]:
    group = 0 if one["verdict"] != "on_track" else 1 if one["signal_count"] > 0 else 2
    amount = math.nan if one["amount"] is None else float(one["amount"])
    return group, -known_or_0(amount_to_gain(one)), -known_or_0(amount), one["opportunity_id"]


RULES = {
    "is_too_old": "older than won deals were here",
    "is_hopeless": "a chance far below that of the stage",
    "is_silent": "pushed again and again, and no answer",
    "is_weak_segment": "a segment we seldom win, and required facts unknown",
    "is_below_break_even": "the effort that remains costs more than it can bring",
    "is_executive_unanswered": "an executive wrote and was not answered",
}


def rules_met(one: dict[str, Any]) -> str:
    return "; ".join(words for rule, words in RULES.items() if one[rule])


def words_of(one: dict[str, Any]) -> dict[str, str | None]:
    """What the agenda says and asks: of the verdict where a deal is to be let go, else of the top signal."""
    if one["verdict"] == "de_resource":
        return {
            "why": f"The rules for letting a deal go are met: {rules_met(one)}",
            "what_to_do": "Stop working on it and tell the buyer how to come back",
            "coaching_question": "What would have to happen for this deal to be worth our time again?",
            "suggested_drill": "Letting a deal go",
        }
    policy = SIGNALS[one["top_signal"]]
    return {
        "why": policy["what_is_wrong"],
        "what_to_do": policy["what_to_do"],
        "coaching_question": policy["coaching_question"],
        "suggested_drill": policy["drill"],
    }


def agenda(t: pd.DataFrame) -> pd.DataFrame:
    """At most so many deals of each manager and review, in order; among equals the larger deal is first."""
    lists: dict[tuple[str | None, date], list[dict[str, Any]]] = defaultdict(list)
    for one in t.to_dict("records"):
        manager_id = one["manager_id"] if isinstance(one["manager_id"], str) else None
        is_wanted = one["verdict"] != "on_track" or one["signal_count"] > 0
        lists[manager_id, one["snapshot_date"]].append(
            {
                "manager_id": manager_id,
                "review_on": one["snapshot_date"],
                **{
                    name: one[name]
                    for name in ("opportunity_id", "owner_id", "verdict", "top_signal", "amount", "p_win")
                },
                **(words_of(one) if is_wanted else {}),
                "amount_to_gain": amount_to_gain(one),
                "is_in_need": one["verdict"] != "on_track",
                "is_wanted": is_wanted,
                "order": order(one),
            }
        )
    rows = []
    for deals in lists.values():
        wanted = sorted((one for one in deals if one["is_wanted"]), key=lambda one: one["order"])
        in_need = sum(one["is_in_need"] for one in deals)
        for place, one in enumerate(wanted[: int(POLICY["agenda_length"])], start=1):
            rows.append({**one, "place": place, "deals_in_need": in_need})
    return pd.DataFrame(rows).drop(columns=["is_in_need", "is_wanted", "order"])


def known_or_0(number: float) -> float:
    """To nine digits, so that what is equal but for rounding is equal."""
    return 0.0 if math.isnan(number) else round(number, 9)


# What is published of the newest review


LIMITS = ("overdue", "unqualified", "regression", "value_erosion", "competitor", "handover")


def is_limit(signal: str, value: float) -> bool:
    """Whether the norm is a limit of the policy, and no won deals are behind what is told."""
    return signal in LIMITS or (signal == "stalled" and value < 1)


LESS_IS_WORSE = ("single_threaded", "value_erosion", "impossible_date", "category_mismatch")
UNJUDGED = "not judged yet: too few decided deals on which it fired"


def deal_signals(t: pd.DataFrame, fired: pd.DataFrame, standings: pd.DataFrame, as_of: date) -> pd.DataFrame:
    """One row per open deal and active signal that fires on the date."""
    days_of = t.groupby("opportunity_id")["snapshot_date"].apply(sorted)
    fired_on = set(map(tuple, fired[["opportunity_id", "snapshot_date", "signal"]].to_numpy()))
    newest = standings[(standings["segment"] == "all") & (standings["month_start"] == as_of.replace(day=1))]
    newest = newest.set_index("signal")
    active = {(one["opportunity_id"], name) for one in current(t, as_of) for name in one["active"]}
    rows = []
    for one in fired[fired["snapshot_date"] == as_of].to_dict("records"):
        key, signal = one["opportunity_id"], one["signal"]
        if (key, signal) not in active:
            continue
        first = as_of
        for day in reversed(days_of[key]):
            if (key, day, signal) not in fired_on:
                break
            first = day
        value, norm = one["value"], one["norm"]
        is_less_worse = signal in LESS_IS_WORSE or (signal == "stalled" and is_limit(signal, value))
        is_high = value <= norm / 2 if is_less_worse else value >= 2 * norm
        if signal == "handover":
            is_high = value >= limit(signal, "window_days") / 2
        share = POLICY["category_percentile"] if signal == "category_mismatch" else SIGNALS[signal]["norm_percentile"]
        rows.append(
            {
                "opportunity_id": key,
                "signal": signal,
                "severity": "high" if is_high else "medium",
                "what_is_wrong": SIGNALS[signal]["what_is_wrong"],
                "what_to_do": SIGNALS[signal]["what_to_do"],
                "norm_level": one["norm_level"],
                "norm_percentile": float(share) if share and not is_limit(signal, value) else None,
                "norm_n": one["norm_n"],
                "value": value,
                "norm": norm,
                "odds_ratio": newest.loc[signal, "odds_ratio"],
                "first_fired_on": first,
            }
        )
    return pd.DataFrame(rows)


def current(t: pd.DataFrame, as_of: date) -> list[dict[str, Any]]:
    return t[t["snapshot_date"] == as_of].to_dict("records")  # type: ignore[return-value]


def read_also_called() -> dict[str, str]:
    table = pd.read_csv(SEEDS / "help_functions.csv", dtype=str)
    return dict(table[["also_called", "function"]].dropna().to_numpy())


ALSO_CALLED = read_also_called()


def open_requests(facts: Facts, as_of: date) -> dict[str, int]:
    """Requests about open deals that nobody has resolved by the end of the day, of each function that ever had one."""
    is_open = {
        one.opportunity_id for one in conversion.opportunities(facts, as_of) if not one.is_deleted and one.is_open
    }
    counts: dict[str, int] = defaultdict(int)
    for row in facts.newest_rows("crm/support_requests", as_of).values():
        resolved_at = value_or_none(funnel.to_time, row.get("resolved_at"))
        is_waiting = resolved_at is None or resolved_at >= end_of(as_of)
        called = (row["function"] or "").lower()
        counts[ALSO_CALLED.get(called, called)] += is_waiting and row["opportunity_id"] in is_open
    return counts


def reason_of(one: dict[str, Any], as_of: date) -> str | None:
    """Rules, signal, a passed close date, a low chance; the chances are those of the model where it is in use."""
    if one["verdict"] == "de_resource":
        return rules_met(one)
    if one["top_signal"]:
        return SIGNALS[one["top_signal"]]["what_is_wrong"]
    if one["close_date"] and one["close_date"] < as_of:
        return "The close date has passed: date it again"
    is_modelled = not math.isnan(one["p_win_model"])
    p_win, p_lose = (one["p_win_model"], one["p_lose_model"]) if is_modelled else (one["p_win"], one["p_lose"])
    if math.isnan(p_win):
        return "No signal fires; how deals like it end is not known yet"
    if p_lose > p_win:
        whose = "by the outcome model" if is_modelled else "as deals in the same state were"
        within = f"within {HORIZON} days it is more likely to be lost than won"
        return f"No signal fires, but the chance is low: {within}, {whose}"
    return "Nothing is out of the ordinary"


def deal_health(facts: Facts, t: pd.DataFrame, as_of: date) -> pd.DataFrame:
    """One row per open deal."""
    requests = open_requests(facts, as_of)
    rows = []
    for one in current(t, as_of):
        fixable = [name for name in one["active"] if SIGNALS[name]["is_fixable"] == "true"]
        acted_on = fixable[0] if one["verdict"] == "extra_effort" else one["top_signal"]
        function = SIGNALS[acted_on]["requested_function"] if acted_on and one["verdict"] != "de_resource" else None
        amount = None if one["amount"] is None else float(one["amount"])
        hours = one["effort_norm"]
        rows.append(
            {
                "opportunity_id": one["opportunity_id"],
                "owner_id": one["owner_id"],
                "manager_id": one["manager_id"],
                "segment": one["segment"],
                "opportunity_type": one["opportunity_type"],
                "stage": one["stage"],
                "forecast_category": one["forecast_category"],
                "verdict": one["verdict"],
                "is_troubled": one["is_troubled"],
                "top_signal": one["top_signal"],
                "next_action": SIGNALS[acted_on]["what_to_do"] if acted_on else None,
                "requested_function": function,
                "amount": one["amount"],
                "p_win": one["p_win"],
                "p_win_pooled": one["p_win"],
                "p_slip": one["p_slip"],
                "p_lose": one["p_lose"],
                "expected_amount": None if amount is None else one["p_win"] * amount,
                "p_break_even": one["break_even"],
                "p_to_gain": one["p_to_gain"],
                "amount_to_gain": amount_to_gain(one),
                "reason": reason_of(one, as_of),
                "attention_points": one["points"],
                "hours_to_go": hours,
                "hours_to_release": hours if one["verdict"] == "de_resource" else None,
                "guardrail_share": one["dropped_share"],
                "p_n": one["base_n"],
                "signal_count": one["signal_count"],
                "rules_met": one["rule_count"],
                "rules_required": one["rules_required"],
                "required_count": one["required_count"],
                "verified_count": one["verified_count"],
                "claimed_count": one["claimed_count"],
                "unknown_count": one["unknown_count"],
                "function_open_requests": requests.get(function) if function else None,
                "horizon_days": HORIZON,
                "close_date": one["close_date"],
            }
        )
    rows.sort(key=order)
    places: dict[str | None, int] = defaultdict(int)
    for row in rows:
        places[row["manager_id"]] += 1
        row["rank_in_team"] = places[row["manager_id"]]
    return pd.DataFrame(rows)


# All of it


@dataclass(frozen=True)
class Told:
    reviews: pd.DataFrame
    norms: pd.DataFrame
    stage_chances: pd.DataFrame
    fired: pd.DataFrame
    chances: pd.DataFrame
    standing: pd.DataFrame
    effectiveness: pd.DataFrame
    verdicts: pd.DataFrame
    agenda: pd.DataFrame
    deal_signals: pd.DataFrame
    deal_health: pd.DataFrame


def tell(facts: Facts, company: Company, of_the_model: Modelled) -> Told:
    as_of = company.as_of
    seen = reviews(facts, as_of)
    norm_table = norms(seen)
    table = with_outcomes(with_norms(seen, norm_table))
    by_time = stage_chances(table)
    at_sight = fired_at_sight(table, by_time)
    table["trouble"] = trouble_of(points_of(at_sight, table))
    chances = deal_chances(table)
    at_sight = at_sight.merge(table[["opportunity_id", "snapshot_date", "norm_level", "norm_n"]])
    of_no_deals = [is_limit(*one) for one in at_sight[["signal", "value"]].to_numpy()]
    at_sight[["norm_level", "norm_n"]] = at_sight[["norm_level", "norm_n"]].astype(object)
    at_sight.loc[of_no_deals, ["norm_level", "norm_n"]] = None
    fired = pd.concat([at_sight, over_called(table, chances)], ignore_index=True)
    standings = standing(table, fired, conversion.wins_without_losses(facts, as_of))
    decided = verdicts(facts, company, table, fired, standings, chances, of_the_model)
    return Told(
        reviews=table,
        norms=norm_table,
        stage_chances=by_time,
        fired=fired,
        chances=chances,
        standing=standings,
        effectiveness=effectiveness(table, fired, standings),
        verdicts=decided,
        agenda=agenda(decided),
        deal_signals=deal_signals(decided, fired, standings, as_of),
        deal_health=deal_health(facts, decided, as_of),
    )
