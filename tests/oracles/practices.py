"""`people.best_practices` worked out a second time from docs/best-practices.md, deal by deal.

What was done is read from the extract's own files; deals, their state over time, their stays in stages and what sellers
make of like deals are those of the tables the page names.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from math import ceil, inf, log, sqrt
from pathlib import Path
from typing import Any

from orchestration.settings import SEEDS
from tests.oracles.coaching import People, Z, around, moment, read, wilson

Row = Mapping[str, Any]
Facts = dict[str, list[tuple[Any, datetime]]]


def seed(name: str) -> list[dict[str, str]]:
    with (SEEDS / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def policy(name: str) -> float:
    return next(float(row["value"]) for row in seed("people_policy") if row["name"] == name)


def every(extract: Path, entity: str) -> list[dict[str, str]]:
    with (extract / "crm" / f"{entity}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def what_happened(
    extract: Path, as_of: date, deals: Mapping[str, Row], owner_at: Callable[[str, datetime], str | None]
) -> tuple[dict[str, Facts], dict[str, datetime]]:
    """Of each deal the facts of each kind with their moments, and the buyer's first email."""
    people = People(extract, as_of)
    held: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in read(extract, "activities"):
        if (
            row["opportunity_id"] in deals
            and row["activity_type"] in ("email", "call", "meeting", "demo")
            and row["direction"] != "internal"
            and row["purpose"] != "coaching"
            and row["is_completed"] != "false"
            and moment(row["occurred_at"]).date() <= as_of
        ):
            held[row["opportunity_id"]].append({**row, "at": moment(row["occurred_at"])})
    named: dict[tuple[str, str], list[datetime]] = defaultdict(list)
    for row in every(extract, "opportunity_contacts"):
        if row["buying_role"] == "economic_buyer":
            named[row["opportunity_id"], row["contact_id"]].append(moment(row["added_at"]))
    facts: dict[str, Facts] = {deal: defaultdict(list) for deal in deals}
    messages: dict[str, datetime] = {}
    for deal, rows in held.items():
        rows.sort(key=lambda row: row["at"])
        written = [row["at"] for row in rows if row["activity_type"] == "email" and row["direction"] == "inbound"]
        if written:
            messages[deal] = written[0]
        part: dict[str, datetime] = {}
        for row in rows:
            at, is_meeting = row["at"], row["activity_type"] in ("meeting", "demo")
            days = (at.date() - deals[deal]["created_on"]).days
            if is_meeting:
                facts[deal]["meeting"].append((row["activity_id"], at))
            if written and at >= written[0] and (is_meeting or row["direction"] != "inbound"):
                facts[deal]["reply"].append((row["activity_id"], at))
            if days >= 0:
                facts[deal]["contact_week"].append((days // 7, at))
            if row["contact_id"] and (is_meeting or row["direction"] == "inbound"):
                part.setdefault(row["contact_id"], at)
            job = people.job(row["user_id"], at.date())
            if job and (
                job["role"] == "specialist" or (job["role"] == "manager" and row["user_id"] != owner_at(deal, at))
            ):
                facts[deal][job["role"]].append((row["user_id"], at))
        for contact, at in part.items():
            facts[deal]["contact"].append((contact, at))
            facts[deal]["economic_buyer"] += [(contact, max(at, since)) for since in named[deal, contact]]
    for row in every(extract, "qualifications"):
        if (
            row["opportunity_id"] in deals
            and row["status"] == "verified"
            and moment(row["assessed_at"]).date() <= as_of
        ):
            facts[row["opportunity_id"]]["verified"].append((row["element"], moment(row["assessed_at"])))
    for row in read(extract, "discount_approvals"):
        if row["opportunity_id"] in deals:
            facts[row["opportunity_id"]]["discount_request"].append((row["approval_id"], moment(row["requested_at"])))
    return facts, messages


def practised(
    deals: Mapping[str, Row],
    states: Mapping[str, Sequence[Row]],
    stays: Mapping[str, Sequence[tuple[datetime, str]]],
    facts: Mapping[str, Facts],
    messages: Mapping[str, datetime],
) -> list[dict[str, Any]]:
    """One row per practice and deal that was open at the moment.

    Args:
        deals: decided ones -> opportunity_type, is_won, created_on.
        states: deal -> valid_from, valid_to, owner_id, segment, stage, amount, is_open.
        stays: deal -> (entered_at, stage) in order.
    """
    order = {row["stage"]: int(row["stage_order"]) for row in seed("stages")}
    bands = [
        (float(row["from_amount"]), float(row["below_amount"] or inf), row["size_band"]) for row in seed("size_bands")
    ]
    rows = []
    for practice in seed("sales_practices"):
        value = int(practice["moment_value"])
        for name, deal in deals.items():
            at: datetime | None = None
            if practice["moment"] == "age":
                at = datetime.combine(deal["created_on"] + timedelta(value + 1), time())
            elif practice["moment"] == "message" and name in messages:
                at = messages[name] + timedelta(value)
            elif practice["moment"] == "stage":
                reached = [place for place, (_, stage) in enumerate(stays.get(name, [])) if order[stage] >= value]
                if reached and reached[0] > 0:
                    at = stays[name][reached[0]][0]
            if at is None:
                continue
            state = [
                s for s in states.get(name, []) if s["valid_from"] <= at and (not s["valid_to"] or at < s["valid_to"])
            ]
            if not state or not state[0]["is_open"]:
                continue
            (now,) = state
            since = at - timedelta(int(practice["within_days"])) if practice["within_days"] else datetime.min
            seen = {what for what, when in facts[name][practice["fact"]] if since <= when < at}
            age = (at.date() - deal["created_on"]).days
            group = next((n for n in (1, 2, 4, 8, 16) if age < n * policy("practice_age_days")), 99)
            amount = now["amount"]
            band = (
                "unknown" if amount is None else next((b for low, high, b in bands if low <= amount < high), "unknown")
            )
            segment = now["segment"] or "unknown"
            rows.append(
                {
                    "practice": practice["practice"],
                    "opportunity_id": name,
                    "owner_id": now["owner_id"],
                    "segment": segment,
                    "alike": (segment, deal["opportunity_type"] or "unknown", now["stage"] or "unknown", band, group),
                    "is_done": len(seen) >= int(practice["minimum"]),
                    "is_won": deal["is_won"],
                }
            )
    return rows


def effect(rows: Sequence[Row]) -> dict[str, Any]:
    """Mantel and Haenszel's difference of the rates with Sato's variance."""
    cells: dict[Any, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for row in rows:
        cell = cells[row["alike"]]
        cell[0 if row["is_done"] else 2] += 1
        cell[1 if row["is_done"] else 3] += row["is_won"]
    both = [cell for cell in cells.values() if cell[0] and cell[2]]
    n_with, won_with, n_without, won_without = (sum(cell[place] for cell in cells.values()) for place in range(4))
    matched_with, matched_without = sum(cell[0] for cell in both), sum(cell[2] for cell in both)
    won = sum(cell[1] + cell[3] for cell in both)
    found: dict[str, Any] = {
        "with_count": n_with,
        "without_count": n_without,
        "matched_with_count": matched_with,
        "matched_without_count": matched_without,
        "n": matched_with + matched_without,
        "strata_count": len(both),
        "strata_left_out_count": len(cells) - len(both),
        "reason": None,
    }
    told = ["win_rate_with", "win_rate_without", "effect", "effect_low", "effect_high", "strict_low", "strict_high"]
    found |= dict.fromkeys([*told, "raw_difference"])
    if not rows:
        found["reason"] = "no deal of that kind was decided"
    elif not n_with:
        found["reason"] = "no deal did it"
    elif not n_without:
        found["reason"] = "every deal did it"
    elif not both:
        found["reason"] = "no alike deals to hold against each other"
    elif min(matched_with, matched_without) < policy("practice_minimum_deals"):
        found["reason"] = "too few alike deals"
    elif won in (0, matched_with + matched_without):
        found["reason"] = "the outcomes do not differ"
    else:
        weight = sum(a * c / (a + c) for a, _, c, _ in both)
        rate_with = sum(a * c / (a + c) * b / a for a, b, c, _ in both) / weight
        rate_without = sum(a * c / (a + c) * d / c for a, _, c, d in both) / weight
        difference = rate_with - rate_without
        p = sum((a * a * d - c * c * b + a * c * (c - a) / 2) / (a + c) ** 2 for a, b, c, d in both)
        q = sum((b * (c - d) + d * (a - b)) / (2 * (a + c)) for a, b, c, d in both)
        error = sqrt(difference * p + q) / weight
        strict = policy("practice_strict_z")
        found |= {
            "win_rate_with": rate_with,
            "win_rate_without": rate_without,
            "effect": difference,
            "effect_low": max(-1, difference - Z * error),
            "effect_high": min(1, difference + Z * error),
            "strict_low": max(-1, difference - strict * error),
            "strict_high": min(1, difference + strict * error),
            "raw_difference": won_with / n_with - won_without / n_without,
        }
    return found


def share(rows: Sequence[Row], sellers: set[str]) -> dict[str, Any]:
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for row in rows:
        if row["owner_id"] in sellers:
            counts[row["owner_id"]][0] += row["is_done"]
            counts[row["owner_id"]][1] += 1
    n = sum(count[1] for count in counts.values())
    found: dict[str, Any] = {"seller_count": len(counts), "n": n}
    if len(counts) > 1:
        ratio = sum(count[0] for count in counts.values()) / n
        half = around([(done, of) for done, of in counts.values()])
        found |= {
            "share": ratio,
            "share_low": max(0.0, min(ratio - half, wilson(ratio, n, -1))),
            "share_high": min(1.0, max(ratio + half, wilson(ratio, n, 1))),
        }
    return found


def top_sellers(ratios: Mapping[str, Sequence[float]]) -> tuple[set[str], set[str]]:
    """Top sellers and the others, from each told seller's own ratios."""
    ranked = sorted(ratios, key=lambda seller: (-sum(log(ratio) for ratio in ratios[seller]), seller))
    top = ceil(len(ranked) * policy("practice_top_share"))
    return set(ranked[:top]), set(ranked[top:])


def best_practices(rows: Sequence[Row], ratios: Mapping[str, Sequence[float]]) -> dict[tuple[str, str], dict[str, Any]]:
    tops, others = top_sellers(ratios)
    names = [practice["practice"] for practice in seed("sales_practices")]
    segments = sorted({row["segment"] for row in rows}) + ["all"]
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for name in names:
        for segment in segments:
            inside = [row for row in rows if row["practice"] == name and segment in (row["segment"], "all")]
            entry = effect(inside)
            sides = {"top": share(inside, tops), "other": share(inside, others)}
            reason = None
            if min(side["seller_count"] for side in sides.values()) < policy("practice_minimum_sellers"):
                reason = "too few sellers"
            elif min(side["n"] for side in sides.values()) < policy("practice_minimum_deals"):
                reason = "too few deals"
            for label, side in sides.items():
                entry |= {f"{label}_seller_count": side["seller_count"], f"{label}_n": side["n"]}
                for column in ("share", "share_low", "share_high"):
                    entry[f"{label}_{column}"] = None if reason else side[column]
            found[name, segment] = entry | {"share_reason": reason}
    worth = policy("practice_worth")
    for (name, segment), entry in found.items():
        whole = found[name, "all"]
        for_all = "no_proof"
        if whole["reason"]:
            for_all = "not_enough_data"
        elif whole["strict_high"] < worth:
            for_all = "does_not_help"
        elif whole["strict_low"] > 0:
            for_all = "spread_it"
        verdict = "no_proof"
        if segment == "all":
            verdict = for_all
        elif entry["reason"]:
            verdict = "not_enough_data"
        elif (for_all == "does_not_help" and entry["effect_high"] < worth) or (
            for_all == "spread_it" and entry["effect_low"] > 0
        ):
            verdict = for_all
        entry["verdict"] = verdict
    told = [entry for entry in found.values() if not entry["reason"]]
    for entry in found.values():
        entry["told_count"] = len(told)
        entry["passed_count"] = sum(other["effect_low"] > 0 for other in told)
        entry["chance_count"] = len(told) / 20
    return found
