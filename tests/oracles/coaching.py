"""`people.manager_coaching` worked out a second time, from the extract's own files and what is known of each deal."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from math import sqrt
from pathlib import Path
from typing import Any

Z = 1.6448536269514722
SELLERS = ("account_executive", "account_manager", "development_rep")
Row = Mapping[str, Any]


def read(extract: Path, entity: str) -> list[dict[str, str]]:
    with (extract / "crm" / f"{entity}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    key = next(iter(rows[0]))
    if entity == "user_roles":
        return list({(row[key], row["effective_from"]): row for row in rows}.values())
    return list({row[key]: row for row in rows}.values())


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).replace(tzinfo=None)


class People:
    """Who held which job under whom."""

    def __init__(self, extract: Path, as_of: date) -> None:
        self.users = {row["user_id"]: row for row in read(extract, "users")}
        self.jobs: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in read(extract, "user_roles"):
            since = date.fromisoformat(row["effective_from"])
            if since <= as_of:
                self.jobs[row["user_id"]].append({**row, "since": since})
        for jobs in self.jobs.values():
            jobs.sort(key=lambda job: job["since"])
        self.as_of = as_of

    def job(self, user: str | None, day: date) -> dict[str, Any] | None:
        held = [job for job in self.jobs.get(user or "", []) if job["since"] <= day]
        return held[-1] if held else None

    def above(self, user: str | None, day: date) -> set[str]:
        found: set[str] = set()
        while (job := self.job(user, day)) and job["manager_id"] and job["manager_id"] not in found:
            user = job["manager_id"]
            found.add(job["manager_id"])
        return found

    def left(self, user: str) -> date | None:
        text = self.users.get(user, {}).get("terminated_on", "")
        return date.fromisoformat(text) if text and date.fromisoformat(text) <= self.as_of else None

    def is_there(self, user: str, day: date) -> bool:
        hired = self.users[user]["hired_on"]
        left = self.left(user)
        return (not hired or day >= date.fromisoformat(hired)) and (left is None or day <= left)


def wilson(rate: float, n: float, side: int) -> float:
    middle = (rate + Z * Z / 2 / n) / (1 + Z * Z / n)
    half = Z * sqrt(rate * (1 - rate) / n + Z * Z / (4 * n * n)) / (1 + Z * Z / n)
    return min(1.0, max(0.0, middle + side * half))


def around(pairs: Sequence[tuple[float, float]]) -> float:
    """Half the width of the interval of a ratio of two sums over the pairs."""
    ratio = sum(a for a, _ in pairs) / sum(b for _, b in pairs)
    squares = sum((a - ratio * b) ** 2 for a, b in pairs)
    return Z * sqrt(len(pairs) / (len(pairs) - 1) * squares) / sum(b for _, b in pairs)


def coaching(
    extract: Path,
    as_of: date,
    window_start: date,
    won: Mapping[str, Row],
    owners: Mapping[str, Sequence[tuple[datetime, str]]],
    flags: Mapping[str, set[date]],
) -> dict[str, dict[str, Any]]:
    """Of each manager, what the mart says.

    Args:
        won: deal -> amount, created_on, won_on, owner_id when won.
        owners: deal -> (since, owner) in order.
        flags: deal -> days on which a red flag went up.
    """
    people = People(extract, as_of)
    days = [window_start + timedelta(n) for n in range((as_of - window_start).days + 1)]
    reports: dict[tuple[str, str], set[date]] = defaultdict(set)
    direct: dict[str, set[str]] = defaultdict(set)
    managers = set()
    for user in people.jobs:
        for day in days:
            job = people.job(user, day)
            if job is None:
                continue
            if job["role"] == "manager" and (people.left(user) or as_of) >= window_start:
                managers.add(user)
            if job["manager_id"] and people.is_there(user, day):
                managers.add(job["manager_id"])
                direct[job["manager_id"]].add(user)
                if job["role"] in SELLERS:
                    reports[job["manager_id"], user].add(day)

    first: dict[tuple[str, str], datetime] = {}
    other_count: dict[str, int] = defaultdict(int)
    diary_count: dict[str, int] = defaultdict(int)
    for row in read(extract, "activities"):
        at = moment(row["occurred_at"])
        if row["user_id"] not in managers or row["is_completed"] == "false" or at.date() > as_of:
            continue
        if row["activity_type"] == "task":
            continue
        if at.date() >= window_start:
            (diary_count if row["purpose"] == "coaching" else other_count)[row["user_id"]] += 1
        deal = row["opportunity_id"]
        if deal in won and row["direction"] != "internal" and row["purpose"] != "coaching":
            key = row["user_id"], deal
            if at.date() <= won[deal]["won_on"]:
                first[key] = min(first.get(key, at), at)

    teams: dict[str, dict[str, str]] = defaultdict(dict)
    for deal, facts in won.items():
        if facts["won_on"] < window_start:
            continue
        history = owners.get(deal, ())
        leaders = people.above(facts["owner_id"], facts["won_on"])
        for place, (since, owner) in enumerate(history):
            before = history[place - 1][1] if place else None
            if owner == facts["owner_id"] and before and owner in people.above(before, since.date()):
                leaders.add(owner)
        for manager in leaders & managers:
            teams[manager][deal] = involvement(people, manager, facts, first.get((manager, deal)), history, flags, deal)

    every_session = [{**row, "day": moment(row["occurred_at"]).date()} for row in read(extract, "coaching_sessions")]
    found: dict[str, dict[str, Any]] = {}
    recorded: set[str] = set()
    for manager in managers:
        deals = teams[manager]
        amounts = {deal: float(won[deal]["amount"]) for deal in deals}
        saved = {
            deal: amounts[deal] if kind in ("taken over", "late", "after flag") else 0.0 for deal, kind in deals.items()
        }
        total = sum(amounts.values())
        entry: dict[str, Any] = {
            "hero_n": len(deals),
            "hero_count": sum(amount > 0 for amount in saved.values()),
            "team_won_amount": total,
            "hero_amount": sum(saved.values()),
        }
        for kind in ("taken over", "late", "after flag", "left behind"):
            name = f"{kind.replace(' ', '_')}_amount"
            entry[name] = sum(amounts[deal] for deal, told in deals.items() if told == kind)
        seen = bool(other_count[manager] or diary_count[manager] or sum(saved.values()))
        told = len(deals) >= 10 and total > 0 and seen
        ratio = sum(saved.values()) / total if told else None
        entry |= {"hero_dependency": ratio, "hero_dependency_low": None, "hero_dependency_high": None}
        if ratio is not None:
            half = around([(saved[deal], amounts[deal]) for deal in deals])
            equal = total**2 / sum(amount**2 for amount in amounts.values())
            entry["hero_dependency_low"] = min(max(0.0, ratio - half), wilson(ratio, equal, -1))
            entry["hero_dependency_high"] = max(min(1.0, ratio + half), wilson(ratio, equal, 1))

        months = {user: len(there) / 30.4375 for (boss, user), there in reports.items() if boss == manager}
        sessions = [
            row
            for row in every_session
            if row["manager_id"] == manager != row["rep_id"] and window_start <= row["day"] <= as_of
        ]
        held = {
            user: sum(row["rep_id"] == user and row["day"] in reports[manager, user] for row in sessions)
            for user in months
        }
        has_written = bool(sessions or other_count[manager] or diary_count[manager])
        rate = sum(held.values()) / sum(months.values()) if len(months) >= 2 and has_written else None
        entry |= {
            "coaching_n": len(months),
            "seller_months": sum(months.values()),
            "seller_session_count": sum(held.values()),
            "sessions_per_seller_month": rate,
            "sessions_per_seller_month_low": None,
            "sessions_per_seller_month_high": None,
            "session_count": len(sessions),
        }
        if rate is not None:
            half = around([(held[user], months[user]) for user in months])
            middle, span = sum(held.values()) + Z * Z / 2, Z * sqrt(sum(held.values()) + Z * Z / 4)
            months_there = sum(months.values())
            low = max(0.0, min(rate - half, (middle - span) / months_there))
            entry["sessions_per_seller_month_low"] = low
            entry["sessions_per_seller_month_high"] = max(rate + half, (middle + span) / months_there)
        coached = max(len(sessions), diary_count[manager])
        rides = [row for row in sessions if row["session_type"] == "ride_along"]
        led = [row["led_by"] == "rep" for row in rides if row["led_by"]]
        due = [row for row in sessions if row["follow_up_on"] and row["follow_up_on"] <= as_of.isoformat()]
        done = [bool(row["completed_on"]) and row["completed_on"] <= as_of.isoformat() for row in due]
        entry |= {
            "coaching_share_n": coached + other_count[manager],
            "ride_along_count": len(rides),
            "seller_led_n": len(led),
            "seller_led_count": sum(led),
            "follow_up_due_count": len(due),
            "follow_up_done_count": sum(done),
        }
        for name, count, n, least in (
            ("coaching_share", coached, coached + other_count[manager], 20),
            ("seller_led_share", sum(led), len(led), 5),
            ("follow_up_done_share", sum(done), len(due), 5),
        ):
            share = count / n if n >= least else None
            entry[name] = share
            entry[f"{name}_low"] = None if share is None else wilson(share, n, -1)
            entry[f"{name}_high"] = None if share is None else wilson(share, n, 1)
        found[manager] = entry
        if seen:
            recorded.add(manager)
    leading = {manager for manager in recorded if found[manager]["coaching_n"] and not direct[manager] & set(direct)}
    for manager, entry in found.items():
        rest = [found[other] for other in leading - {manager}]
        below = sum(other["team_won_amount"] for other in rest)
        entry["others_hero_dependency"] = sum(other["hero_amount"] for other in rest) / below if below else None
    return found


def involvement(
    people: People,
    manager: str,
    facts: Row,
    met_at: datetime | None,
    history: Sequence[tuple[datetime, str]],
    flags: Mapping[str, set[date]],
    deal: str,
) -> str:
    """How the manager first came into a deal."""
    if met_at is None:
        return "not met"
    past = [(since, owner) for since, owner in history if since <= met_at]
    if past and past[-1][1] == manager:
        if len(past) == 1:
            return "own"
        later = past[-1][0].date() + timedelta(30)
        seller = past[-2][1]
        left = people.left(seller)
        is_gone = (left is not None and left <= later) or manager not in people.above(seller, later)
        return "left behind" if is_gone else "taken over"
    life = (facts["won_on"] - facts["created_on"]).days if facts["created_on"] else 0
    if life >= 14 and (met_at.date() - facts["created_on"]).days * 5 >= life * 4:
        return "late"
    if any(1 <= (met_at.date() - raised).days <= 21 for raised in flags.get(deal, ())):
        return "after flag"
    return "in time"
