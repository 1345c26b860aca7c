"""`people.coaching_plan` worked out a second time from docs/coaching-plan.md.

People and sessions are read from the extract's own files; what is known of sellers and deals are rows of the tables the
page names.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from math import floor, sqrt
from pathlib import Path
from typing import Any

from tests.oracles.coaching import SELLERS, People, Z, moment, read, wilson
from tests.oracles.practices import policy, seed

Row = Mapping[str, Any]


def signal_gap(
    seller: str, people: Mapping[str, Row], deals: Sequence[Row], on: Mapping[str, set[str]], ranks: Mapping[str, int]
) -> tuple[dict[str, Any] | None, tuple[str, int, int] | None]:
    """The signal that recurs, and the one on most deals."""
    mine = [deal["opportunity_id"] for deal in deals if deal["owner_id"] == seller]
    found, most = [], []
    for signal, rank in ranks.items():
        x, n = sum(signal in on[deal] for deal in mine), len(mine)
        if x < policy("plan_signal_deals"):
            continue
        most.append((-x, rank, signal))
        for keys in (("role", "segment"), ("role",)):
            peers = {
                other
                for other, row in people.items()
                if other != seller and all(row[key] == people[seller][key] for key in keys)
            }
            theirs = [deal["opportunity_id"] for deal in deals if deal["owner_id"] in peers]
            if len(theirs) >= policy("plan_signal_peer_deals"):
                break
        else:
            continue
        y = sum(signal in on[deal] for deal in theirs)
        p = min(max(y, 0.5), len(theirs) - 0.5) / len(theirs)
        if (x - n * p) / sqrt(n * p * (1 - p)) >= policy("plan_signal_z"):
            found.append((-(x - n * p), rank, signal, x, n, p, len(theirs)))
    best = min(found, default=None)
    gap = None
    if best:
        _, _, signal, x, n, p, peer_n = best
        gap = {
            "source": "signal",
            "gap": signal,
            "stage": None,
            "evidence_value": x / n,
            "evidence_norm": p,
            "n": n,
            "evidence_value_low": wilson(x / n, n, -1),
            "evidence_value_high": wilson(x / n, n, 1),
            "peer_count": peer_n,
            "measure_now": float(x),
            "measure_target": float(floor(n * p)),
        }
    top = min(most, default=None)
    return gap, (top[2], -top[0], len(mine)) if top else None


def diagnosed_gap(rows: Iterable[Row], stages_with_words: set[str]) -> dict[str, Any] | None:
    row = next((row for row in rows if row["what_is_wrong"]), None)
    if row is None:
        return None
    is_staged = row["factor"] == "win_rate" and row["weakest_stage"] in stages_with_words
    days = (row["window_end"] - row["window_start"]).days + 1
    scale = {"activities": 7 / days, "opportunities_per_activity": 100}.get(row["factor"], 1)
    value = row["stage_rate"] if is_staged else row["estimate"]
    norm = row["stage_peer_rate"] if is_staged else row["estimate"] / row["own_ratio"]
    return {
        "source": "diagnosis",
        "gap": row["factor"],
        "stage": row["weakest_stage"] if is_staged else None,
        "evidence_value": value * scale,
        "evidence_norm": norm * scale,
        "n": row["stage_n"] if is_staged else row["n"],
        "evidence_value_low": (row["stage_rate_low"] if is_staged else row["estimate_low"]) * scale,
        "evidence_value_high": (row["stage_rate_high"] if is_staged else row["estimate_high"]) * scale,
        "peer_count": row["peer_count"],
        "measure_now": value * scale,
        "measure_target": (value + policy("plan_step_share") * (norm - value)) * scale,
    }


def ramp_gap(row: Row | None) -> dict[str, Any] | None:
    if not row or not row["gap_measure"] or row["ended_on"] or row["week"] >= policy("ramp_weeks"):
        return None
    measure = row["gap_measure"]
    count, middle = row[f"{measure}_count"], row[f"{measure}_band_middle"]
    return {
        "source": "ramp",
        "gap": measure,
        "stage": None,
        "evidence_value": float(count),
        "evidence_norm": middle,
        "n": count,
        "evidence_value_low": count + Z * Z / 2 - Z * sqrt(count + Z * Z / 4),
        "evidence_value_high": count + Z * Z / 2 + Z * sqrt(count + Z * Z / 4),
        "peer_count": row[f"{measure}_n"],
        "measure_now": count / row["week"],
        "measure_target": middle / row["week"],
    }


def working_day(day: date) -> date:
    return day + timedelta({5: 2, 6: 1}.get(day.weekday(), 0))


def watched(top: Row | None, most: tuple[str, int, int] | None, fits: Sequence[Row], below: Sequence[Row]) -> list[str]:
    """What is nearest to a gap, then what other tables say; of the factor also how far it is from the peers."""
    named = []
    if top:
        named.append(f"{top['factor']} {'below' if top['own_ratio_high'] < 1 else 'not clearly apart'}")
    elif most:
        named.append(most[0])
    named += [row["motion"] for row in fits if row["verdict"] == "misfit"]
    others = sorted(
        (row["track"], row["criterion_order"], row["criterion"])
        for row in below
        if row["verdict"] == "below_peers" and (not top or row["criterion"] != top["factor"])
    )
    return [*named, *(name for *_, name in others[:1])]


def measure_due_on(source: str, check_on: date) -> date | None:
    """The demo company's fiscal quarters are those of the calendar."""
    if source == "diagnosis":
        month = (check_on.month - 1) // 3 * 3 + 3
        return date(check_on.year + month // 12, month % 12 + 1, 1) - timedelta(1)
    return None if source == "none" else check_on


NOTHING = dict.fromkeys(
    [
        "gap", "stage", "evidence_value", "evidence_norm", "n", "evidence_value_low", "evidence_value_high",
        "peer_count", "measure_now", "measure_target",
    ]
)  # fmt: skip


def practised_on(
    seller: str, gap: Row, words: Row, deals: Sequence[Row], on: Mapping[str, set[str]], used: set[str]
) -> list[str]:
    order = {row["stage"]: int(row["stage_order"]) for row in seed("stages")}
    in_use = sorted({order[stage] for stage in used})
    signal = gap["gap"] if gap["source"] == "signal" else words["signal"]
    where = words["where_to_practise"]
    chosen = []
    for deal in deals:
        if deal["owner_id"] != seller or deal["verdict"] == "de_resource":
            continue
        at = order.get(deal["stage"], -1) if deal["stage"] in used else None
        has_signal = signal in on[deal["opportunity_id"]]
        fits = {
            "at_stage": gap["stage"] and at is not None and at <= order[gap["stage"]],
            "last_stages": at is not None and at in in_use[-2:],
            "before_last_stage": at is not None and at != in_use[-1],
            "with_signal": has_signal,
            "signal_first": True,
            "open": True,
            "none": False,
        }[where]
        if fits:
            later = (where == "at_stage" and deal["stage"] != gap["stage"]) or (
                where == "signal_first" and not has_signal
            )
            amount = float(deal["amount"] or 0)
            chosen.append((later, -(deal["expected_amount"] or 0), -amount, deal["opportunity_id"]))
    return [deal for *_, deal in sorted(chosen)][: int(policy("plan_deals"))]


def sessions_of(extract: Path, seller: str, as_of: date) -> tuple[dict[str, Any], date | None]:
    rows = [
        {**row, "at": moment(row["occurred_at"])}
        for row in read(extract, "coaching_sessions")
        if row["rep_id"] == seller and moment(row["occurred_at"]).date() <= as_of
    ]
    rows.sort(key=lambda row: (row["at"], row["session_id"]))
    if not rows:
        return {
            "session_reason": "no session yet", "last_session_on": None, "last_session_type": None,
            "last_agreed_action": None,
        }, None  # fmt: skip
    last = rows[-1]
    agreed = [row for row in rows if row["agreed_action"]]
    days = [last["at"].date() + timedelta(policy("plan_check_days"))]
    if agreed and agreed[-1]["follow_up_on"]:
        done = agreed[-1]["completed_on"]
        if not done or date.fromisoformat(done) > as_of:
            days.append(date.fromisoformat(agreed[-1]["follow_up_on"]))
    return {
        "session_reason": None,
        "last_session_on": last["at"].date(),
        "last_session_type": last["session_type"],
        "last_agreed_action": agreed[-1]["agreed_action"] if agreed else None,
    }, min((day for day in days if day > as_of), default=None)


def coaching_plan(
    extract: Path,
    as_of: date,
    diagnosis: Sequence[Row],
    ramps: Sequence[Row],
    deals: Sequence[Row],
    fired: Sequence[Row],
    used: set[str],
    fits: Sequence[Row],
    criteria: Sequence[Row],
) -> dict[str, dict[str, Any]]:
    """Of each active seller what the mart says.

    Args:
        deals: open ones, of funnel.deal_health.
        used: stages somebody was in.
    """
    company = People(extract, as_of)
    people: dict[str, Row] = {}
    for user in company.users:
        job = company.job(user, as_of)
        if job and job["role"] in SELLERS and not company.left(user):
            people[user] = job
    on: dict[str, set[str]] = defaultdict(set)
    for row in fired:
        on[row["opportunity_id"]].add(row["signal"])
    catalogue = {row["signal"]: row for row in seed("signals")}
    ranks = {name: int(row["rank"]) for name, row in catalogue.items() if row["is_on"] == "true"}
    words = {(row["source"], row["gap"], row["stage"]): row for row in seed("coaching_practices")}
    staged = {stage for source, gap, stage in words if (source, gap) == ("diagnosis", "win_rate") and stage}
    told: dict[str, list[Row]] = defaultdict(list)
    for row in diagnosis:
        told[row["seller_id"]].append(row)
    ramp = {row["rep_id"]: row for row in ramps}
    found = {}
    for seller, job in people.items():
        of_signals, most = signal_gap(seller, people, deals, on, ranks)
        gap = diagnosed_gap(told[seller], staged) or ramp_gap(ramp.get(seller)) or of_signals
        entry: dict[str, Any] = dict(gap or {"source": "none", **NOTHING})
        reason = watch = None
        key = entry["gap"]
        if gap is None:
            key = reason = told[seller][0]["reason"] or "no clear gap"
            top = next((row for row in told[seller] if row["is_top"]), None)
            own_fits, own_criteria = ([row for row in rows if row["seller_id"] == seller] for rows in (fits, criteria))
            watch = watched(top, most, own_fits, own_criteria) or ["nothing stands out"]
            if reason == "no clear gap" and (top or watched(None, None, own_fits, own_criteria)):
                key = "no clear gap, watch"
        said = next(
            words[place]
            for place in [
                (entry["source"], key, entry["stage"] or ""),
                (entry["source"], key, ""),
                (entry["source"], "", ""),
            ]
            if place in words
        )
        signal = catalogue.get(entry["gap"] or "")
        linked = practised_on(seller, entry, said, deals, on, used)
        owns = any(deal["owner_id"] == seller for deal in deals)
        linked_reason = None
        if not linked:
            linked_reason = "no open deal of that kind" if owns else "no open deal"
            if said["where_to_practise"] == "none":
                linked_reason = "practised on accounts, not on open deals"
        session, check_on = sessions_of(extract, seller, as_of)
        monday = as_of + timedelta(7 - as_of.weekday())
        next_check_on = working_day(check_on or monday)
        found[seller] = {
            **entry,
            **session,
            "reason": reason,
            "watch": watch,
            "role": job["role"],
            "manager_id": job["manager_id"] or None,
            "focus": signal["what_is_wrong"] if signal else said["focus"],
            "behaviour": signal["what_to_do"] if signal else said["behaviour"],
            "practice": signal["drill"] if signal else said["practice"],
            "coaching_question": signal["coaching_question"] if signal else said["coaching_question"],
            "sign": said["sign"],
            "measure": said["measure"] or None,
            "linked": linked,
            "linked_count": len(linked),
            "linked_reason": linked_reason,
            "next_check_on": next_check_on,
            "measure_due_on": measure_due_on(entry["source"], next_check_on),
            "is_check_overdue": check_on is None,
        }
    return found
