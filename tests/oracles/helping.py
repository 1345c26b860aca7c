"""`people.specialist_engagement` and `people.sales_ops_service` a second time from docs/help.md, request by request.

Requests come from the extract's own file; deals, visits and who is on a deal from the tables the rule names.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from math import ceil, sqrt
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from tests.oracles.teaming import Z, effects

SPECIALIST = {"technical": ("specialist", 7), "product": ("", 3), "executive": ("", 3)}
SERVICE = {"deal_desk": 5, "sales_ops": 5, "legal": 10}
MINIMUM = 10
SETTLED = 30
EXPECTED_SHARE = 0.8
EXPECTED_COVERAGE = 0.5
MINIMUM_WON = 10
MINIMUM_DEALS = 10
NO_STAGE = "no open stage"
Row = Mapping[str, Any]


def moment(text: str) -> datetime | None:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).replace(tzinfo=None) if text else None


def end_of(day: date) -> datetime:
    return datetime(day.year, day.month, day.day) + timedelta(days=1)


def wilson(rate: float, n: float, side: int) -> float:
    middle = (rate + Z * Z / 2 / n) / (1 + Z * Z / n)
    half = Z * sqrt(rate * (1 - rate) / n + Z * Z / (4 * n * n)) / (1 + Z * Z / n)
    return min(1.0, max(0.0, middle + side * half))


def students_t(degrees: int) -> float:
    z = Z
    return float(
        z
        + (z**3 + z) / 4 / degrees
        + (5 * z**5 + 16 * z**3 + 3 * z) / 96 / degrees**2
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384 / degrees**3
    )


def share(name: str, count: int, n: int, minimum: int) -> dict[str, Any]:
    told = n >= minimum
    rate = count / n if told else None
    return {
        f"{name}_n": n,
        name: rate,
        f"{name}_low": None if rate is None else min(rate, wilson(rate, n, -1)),
        f"{name}_high": None if rate is None else max(rate, wilson(rate, n, 1)),
    }


def average(name: str, values: Sequence[float], low: float, high: float) -> dict[str, Any]:
    n = len(values)
    entry: dict[str, Any] = {f"{name}_n": n, name: None, f"{name}_low": None, f"{name}_high": None}
    if n >= MINIMUM:
        half = students_t(n - 1) * stdev(values) / sqrt(n)
        entry |= {
            name: mean(values),
            f"{name}_low": max(low, mean(values) - half),
            f"{name}_high": min(high, mean(values) + half),
        }
    return entry


def quantiles(name: str, waits: Sequence[tuple[int, bool]], shares: Mapping[str, float]) -> dict[str, Any]:
    """Of (hours, whether it ended then): quantiles of Kaplan and Meier's curve with their intervals, in days."""
    n = len(waits)
    found: dict[str, list[int | None]] = {suffix: [None, None, None] for suffix in shares}
    still, variance_sum, least = 1.0, 0.0, float(n)
    for hour in sorted({hour for hour, _ in waits}):
        at_risk = sum(wait >= hour for wait, _ in waits)
        ended = sum(wait == hour and done for wait, done in waits)
        censored = sum(wait < hour and not done for wait, done in waits)
        still *= 1 - ended / at_risk
        if at_risk > ended:
            variance_sum += ended / at_risk / (at_risk - ended)
        reached, variance = 1 - still, still * still * variance_sum
        alike = min(reached * still / variance, n) if 1e-9 < reached < 1 - 1e-9 else max(n - censored, 1)
        least = min(least, alike)
        if least < MINIMUM - 1e-6:
            break
        ends = (reached, wilson(reached, least, 1), wilson(reached, least, -1))
        for suffix, wanted in shares.items():
            for place, value in enumerate(ends):
                if found[suffix][place] is None and value >= wanted - 1e-9:
                    found[suffix][place] = hour
    entry: dict[str, Any] = {f"{name}_n": n}
    for suffix, (middle, low, high) in found.items():
        for end, hours in (("", middle), ("_low", low), ("_high", high)):
            entry[name + suffix + end] = None if middle is None or hours is None else hours / 24
    return entry


class Requests:
    """What was known of each request at the end of a day."""

    def __init__(self, path: Path, as_of: date, deals: Sequence[Row], visits: Sequence[Row]) -> None:
        end = end_of(as_of)
        closed = {deal["opportunity_id"]: deal["closed_on"] for deal in deals if not deal["is_deleted"]}
        stays: dict[str, list[Row]] = defaultdict(list)
        for visit in visits:
            stays[visit["opportunity_id"]].append(visit)
        names = {other: name for name, (other, _) in SPECIALIST.items() if other}
        rows: dict[str, dict[str, str]] = {}
        if path.exists():
            with path.open(encoding="utf-8", newline="") as file:
                rows = {row["request_id"]: row for row in csv.DictReader(file)}
        self.rows: list[dict[str, Any]] = []
        for row in rows.values():
            asked = moment(row["requested_at"])
            assert asked is not None
            if asked >= end:
                continue
            assigned, answered = moment(row["assigned_at"]), moment(row["resolved_at"])
            helped = assigned or answered
            is_unnoted = helped is None
            helped = helped if helped and helped < end else None
            answered = answered if answered and answered < end else None
            deal = row["opportunity_id"]
            decided = closed.get(deal)
            decided = decided if decided and decided >= asked.date() else None
            until = end_of(decided) if decided else end
            stay = next(
                (
                    stay
                    for stay in stays[deal]
                    if stay["entered_at"] <= asked and (stay["exited_at"] is None or asked < stay["exited_at"])
                ),
                None,
            )
            function = row["function"].lower()
            score = int(row["satisfaction"]) if answered and row["satisfaction"] else None
            self.rows.append(
                {
                    "function": names.get(function, function),
                    "assignee": (row["assignee_id"] or None) if helped or is_unnoted else None,
                    "asked": asked,
                    "helped": helped,
                    "answered": answered,
                    "decided": decided,
                    "stay": stay,
                    "stage": stay["stage"] if stay else NO_STAGE,
                    "score": score if score in range(1, 6) else None,
                    "age": (end - asked).total_seconds(),
                    "help": (self.hours(asked, helped or until), helped is not None),
                    "answer": (self.hours(asked, answered or until), answered is not None),
                }
            )

    @staticmethod
    def hours(asked: datetime, until: datetime) -> int:
        return max(0, ceil((until - asked).total_seconds() / 3600))


def in_target(rows: Sequence[Row], wait: str, done: str, target: int | None) -> dict[str, Any]:
    fates = []
    for row in rows:
        hours, is_done = row[wait]
        if target is None or row["age"] < target * 86_400:
            continue
        if not is_done and row["decided"] and hours < target * 24:
            continue
        fates.append(is_done and hours <= target * 24)
    return share("in_target_share", sum(fates), len(fates), MINIMUM)


def is_open(row: Row, done: str) -> bool:
    return row[done] is None and row["decided"] is None


def overdue(rows: Sequence[Row], wait: str, done: str, target: int | None) -> int:
    return sum(target is not None and is_open(row, done) and row[wait][0] > target * 24 for row in rows)


def standing(low: float | None, high: float | None, norm: Any, names: tuple[str, str, str]) -> str:
    """Below, above, neither."""
    if low is None or high is None or norm is None:
        return "not_enough_data"
    lower, upper = norm if isinstance(norm, tuple) else (norm, norm)
    return names[0] if high < lower else names[1] if low > upper else names[2]


def service(
    requests: Requests, deals: Sequence[Row], members: Sequence[Row], visits: Sequence[Row], as_of: date,
    since: date, quarters: Sequence[tuple[date, date]],
) -> dict[tuple[str, str, date], dict[str, Any]]:  # fmt: skip
    """Of each function and period, what `people.sales_ops_service` says.

    Args:
        since: the window begins on the day after it.
        quarters: first and last day of the fiscal quarters that began in the window.
    """
    teaming = effects(deals, members, visits, since)
    kinds = set(SPECIALIST)
    functions = set(SERVICE) | {row["function"] for row in requests.rows if row["function"] not in kinds}
    periods = [("window", since + timedelta(days=1), as_of), *(("quarter", first, last) for first, last in quarters)]
    found = {}
    for function in functions:
        target = SERVICE.get(function)
        for kind, first, last in periods:
            rows = [
                row for row in requests.rows if row["function"] == function and first <= row["asked"].date() <= last
            ]
            ended = [row for row in rows if row["stay"] and (row["answered"] or row["decided"])]
            spans = []
            for row in ended:
                out = row["stay"]["exited_at"]
                whole = ((out or end_of(as_of)) - row["stay"]["entered_at"]).total_seconds() / 86_400
                ends = [moment for moment in (row["answered"], out) if moment]
                lost = (min(ends) - row["asked"]).total_seconds() / 86_400 if ends else 0.0
                spans.append((max(0.0, lost), whole))
            entry: dict[str, Any] = {
                "request_count": len(rows),
                "answered_count": sum(row["answered"] is not None for row in rows),
                "open_count": sum(is_open(row, "answered") for row in rows),
                "overdue_count": overdue(rows, "answer", "answered", target) if target is not None else None,
                **quantiles("turnaround_days", [row["answer"] for row in rows], {"": 0.5, "_p90": 0.9}),
                **in_target(rows, "answer", "answered", target),
                **average("satisfaction", [row["score"] for row in rows if row["score"]], 1, 5),
                **average("stage_days", [lost for lost, _ in spans], 0, float("inf")),
                "stage_days_share": None,
                "stage_days_share_low": None,
                "stage_days_share_high": None,
                "effect": None,
                "effect_low": None,
                "effect_high": None,
                "effect_n": None,
            }
            if len(spans) >= MINIMUM:
                total = sum(whole for _, whole in spans)
                ratio = sum(lost for lost, _ in spans) / total
                squares = sum((lost - ratio * whole) ** 2 for lost, whole in spans)
                half = Z * sqrt(len(spans) / (len(spans) - 1) * squares) / total
                entry |= {
                    "stage_days_share": ratio,
                    "stage_days_share_low": max(0.0, ratio - half),
                    "stage_days_share_high": min(1.0, ratio + half),
                }
            if kind == "window":
                effect = teaming.get((function, "all"), {})
                entry |= {name: effect.get(name) for name in ("effect", "effect_low", "effect_high")}
                entry["effect_n"] = effect.get("matched_count", 0)
            entry["standing"] = standing(
                entry["in_target_share_low"], entry["in_target_share_high"], EXPECTED_SHARE,
                ("misses_target", "keeps_target", "as_expected"),
            )  # fmt: skip
            found[function, kind, first] = entry
    return found


def engagement(
    requests: Requests, deals: Sequence[Row], members: Sequence[Row], visits: Sequence[Row], as_of: date, since: date
) -> dict[tuple[str, str, str], dict[str, Any]]:
    """Of each function, person and stage, what `people.specialist_engagement` says."""
    by_deal = {deal["opportunity_id"]: deal for deal in deals if not deal["is_deleted"]}
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for function, (other, target) in SPECIALIST.items():
        team = [
            {**row, "function": function}
            for row in members
            if row["function"] in (function, other) and row["opportunity_id"] in by_deal
        ]
        team.sort(key=lambda row: (row["joined_on"] or date.max, row["user_id"]))
        asked = [row for row in requests.rows if row["function"] == function and row["asked"].date() > since]
        of_persons = [
            row for row in asked if row["assignee"] and row["asked"].date() <= as_of - timedelta(days=SETTLED)
        ]
        persons = {row["assignee"] for row in asked if row["assignee"]}
        for row in team:
            closed = by_deal[row["opportunity_id"]]["closed_on"]
            if closed is None or closed > since:
                persons.add(row["user_id"])
        covered = coverage(by_deal, team, visits, since, as_of)
        for person in {"all", *persons}:
            own = [row for row in of_persons if row["assignee"] == person] if person != "all" else asked
            rest = [row["help"] for row in of_persons if row["assignee"] != person] if person != "all" else []
            effect = of_person(deals, team, visits, since, function, person)
            stages = {row["stage"] for row in own} | (set(covered) if person == "all" else set())
            for stage in {"all"} | stages:
                rows = [row for row in own if stage in ("all", row["stage"])]
                late = [fate for row in rows if (fate := is_late(row, as_of)) is not None]
                entry: dict[str, Any] = {
                    "request_count": len(rows),
                    "helped_count": sum(row["helped"] is not None for row in rows),
                    "waiting_count": sum(is_open(row, "helped") for row in rows),
                    "overdue_count": overdue(rows, "help", "helped", target),
                    "decided_count": sum(
                        bool(row["decided"]) and (row["helped"] is None or row["helped"].date() >= row["decided"])
                        for row in rows
                    ),
                    **quantiles("days_to_help", [row["help"] for row in rows], {"": 0.5, "_p90": 0.9}),
                    **quantiles("others_days_to_help", rest if stage == "all" else [], {"": 0.5}),
                    **in_target(rows, "help", "helped", target),
                    **share("late_share", sum(late), len(late), MINIMUM),
                    **average("satisfaction", [row["score"] for row in rows if row["score"]], 1, 5),
                }
                if person == "all":
                    here = [pair for at, pairs in covered.items() if stage in ("all", at) for pair in pairs]
                    entry |= share("coverage", sum(has for has, _ in here), len(here), MINIMUM_DEALS)
                    told = len(here) >= MINIMUM_DEALS
                    entry["coverage_norm"] = sum(norm for _, norm in here) / len(here) if told else None
                    entry["time_standing"] = standing(
                        entry["in_target_share_low"], entry["in_target_share_high"], EXPECTED_SHARE,
                        ("misses_target", "keeps_target", "as_expected"),
                    )  # fmt: skip
                    entry["coverage_standing"] = standing(
                        entry["coverage_low"], entry["coverage_high"], entry["coverage_norm"],
                        ("thin", "covered", "as_expected"),
                    )  # fmt: skip
                else:
                    others = (entry["others_days_to_help_low"], entry["others_days_to_help_high"])
                    known = entry["days_to_help"] is not None and others[0] is not None
                    known = known and entry["in_target_share"] is not None
                    entry["time_standing"] = None if stage != "all" else "ordinary" if known else "not_enough_data"
                    if known and stage == "all":
                        is_above = others[1] is not None and entry["days_to_help_low"] > others[1]
                        is_below = entry["days_to_help_high"] is not None and entry["days_to_help_high"] < others[0]
                        if is_above and entry["in_target_share_high"] < EXPECTED_SHARE:
                            entry["time_standing"] = "slow"
                        if is_below and entry["in_target_share_low"] > EXPECTED_SHARE:
                            entry["time_standing"] = "quick"
                if stage == "all":
                    entry |= {
                        "effect_n": effect["matched_count"],
                        "control_count": effect["control_count"],
                        "effect": effect["effect"],
                        "effect_low": effect["effect_low"],
                        "effect_high": effect["effect_high"],
                        "effect_standing": standing(
                            effect["effect_low"], effect["effect_high"], 0, ("hurts", "helps", "not_shown")
                        ),
                    }
                found[function, person, stage] = entry
    return found


def is_late(row: Row, as_of: date) -> bool | None:
    if row["stay"] is None or row["asked"].date() > as_of - timedelta(days=SETTLED):
        return None
    left: datetime | None = row["stay"]["exited_at"]
    if row["helped"] is None:
        return True if left else None
    return left is not None and left <= row["helped"]


def of_person(
    deals: Sequence[Row], team: Sequence[Row], visits: Sequence[Row], since: date, function: str, person: str
) -> Row:
    """The effect of a person: deals another of the function joined in time are on neither side."""
    closed = {deal["opportunity_id"]: deal["closed_on"] for deal in deals}
    rows = []
    for row in team:
        deal_closed = closed[row["opportunity_id"]]
        is_in_time = row["joined_on"] and deal_closed and row["joined_on"] < deal_closed
        is_other = person not in ("all", row["user_id"])
        rows.append({**row, "joined_on": None} if is_other and is_in_time else row)
    nothing = {"matched_count": 0, "control_count": 0, "effect": None, "effect_low": None, "effect_high": None}
    return effects(deals, rows, visits, since).get((function, "all"), nothing)


def coverage(
    by_deal: Mapping[str, Row], team: Sequence[Row], visits: Sequence[Row], since: date, as_of: date
) -> dict[str, list[tuple[bool, float]]]:
    """By stage, of each open deal where the function is expected: whether it has it, and what won deals had by then."""
    first: dict[str, date] = {}
    for row in team:
        if row["joined_on"]:
            first.setdefault(row["opportunity_id"], row["joined_on"])
    stays: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for visit in visits:
        stays[visit["opportunity_id"], visit["stage"]].append(visit)
    # Days from coming to the stage to help, of each won deal that passed; None where it had none by leaving.
    narrow: dict[Any, list[int | None]] = defaultdict(list)
    wide: dict[Any, list[int | None]] = defaultdict(list)
    for (name, stage), rows in stays.items():
        deal = by_deal.get(name)
        if deal is None or not deal["is_won"] or deal["closed_on"] <= since:
            continue
        lefts = [row["exited_at"] for row in rows]
        if None in lefts:
            continue
        came = min(row["entered_at"] for row in rows).date()
        joined = first.get(name)
        had = joined is not None and joined <= max(lefts).date() and joined < deal["closed_on"]
        lag = max(0, (joined - came).days) if joined and had else None
        segment, kind = deal["segment"] or "unknown", deal["opportunity_type"] or "unknown"
        narrow[segment, kind, stage].append(lag)
        wide[kind, stage].append(lag)
    found: dict[str, list[tuple[bool, float]]] = defaultdict(list)
    here = {visit["opportunity_id"]: visit["stage"] for visit in visits if visit["exited_at"] is None}
    here_now = {row["opportunity_id"] for row in team if row["left_on"] is None}
    for name, deal in by_deal.items():
        if not deal["is_open"]:
            continue
        segment, kind = deal["segment"] or "unknown", deal["opportunity_type"] or "unknown"
        stage = here[name] if name in here else ""
        lags = narrow[segment, kind, stage]
        lags = lags if len(lags) >= MINIMUM_WON else wide[kind, stage]
        if len(lags) < MINIMUM_WON or sum(lag is not None for lag in lags) / len(lags) < EXPECTED_COVERAGE:
            continue
        if (name, stage) not in stays:
            continue
        days = (as_of - min(row["entered_at"] for row in stays[name, stage]).date()).days
        norm = sum(lag is not None and lag <= days for lag in lags) / len(lags)
        found[stage].append((name in here_now, norm))
    return found
