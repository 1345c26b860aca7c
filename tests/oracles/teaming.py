"""The effect of teaming worked out a second time, deal by deal, from the rows of the tables it stands on."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from math import inf, sqrt
from typing import Any

AGES = [(0, 30), (30, 60), (60, 120), (120, 240), (240, 480), (480, inf)]
MINIMUM = 30
Z = 1.6448536269514722
Row = Mapping[str, Any]
Stratum = tuple[str, str, str, int]


def age_group(days: int) -> int:
    return next((place for place, (first, end) in enumerate(AGES) if first <= days < end), -1)


def effects(
    deals: Sequence[Row], members: Sequence[Row], visits: Sequence[Row], since: date
) -> dict[tuple[str, str], dict[str, Any]]:
    """Of each function and segment, what `funnel.teaming_effect` says.

    Args:
        deals: rows of core.opportunities.
        members: rows of funnel.deal_teams.
        visits: rows of funnel.stage_visits.
        since: deals decided after this day count.
    """
    decided = {
        deal["opportunity_id"]: deal
        for deal in deals
        if not deal["is_deleted"] and deal["closed_on"] and deal["closed_on"] > since
    }
    passed: dict[Stratum, set[str]] = defaultdict(set)
    for visit in visits:
        deal = decided.get(visit["opportunity_id"])
        if deal is None or deal["created_on"] is None:
            continue
        left: datetime | None = visit["exited_at"]
        first = (visit["entered_at"].date() - deal["created_on"]).days
        last = ((left.date() if left else deal["closed_on"]) - deal["created_on"]).days
        for place, (begin, end) in enumerate(AGES):
            if first < end and last >= begin:
                key = (deal["segment"], deal["opportunity_type"], visit["stage"], place)
                passed[key].add(deal["opportunity_id"])
    everywhere: dict[tuple[str, int], list[str]] = defaultdict(list)
    for (_, _, stage, place), names in passed.items():
        everywhere[stage, place] += names

    def won(names: Any) -> int:
        return sum(bool(decided[name]["is_won"]) for name in names)

    def chance(key: Stratum) -> float:
        names = passed[key] if len(passed[key]) >= MINIMUM else everywhere[key[2:]]
        return won(names) / len(names)

    found: dict[tuple[str, str], dict[str, Any]] = {}
    for function in {row["function"] for row in members} - {"owner"}:
        treated: dict[str, Row] = {}
        unclear = set()
        for row in sorted(members, key=lambda row: (row["joined_on"] or date.max, row["user_id"])):
            deal = decided.get(row["opportunity_id"])
            if row["function"] != function or deal is None or row["opportunity_id"] in treated:
                continue
            if row["joined_on"] is None:
                unclear.add(row["opportunity_id"])
            elif row["joined_on"] < deal["closed_on"]:
                treated[row["opportunity_id"]] = row
        unclear -= set(treated)
        others = set(decided) - set(treated) - unclear
        for segment in {deal["segment"] for deal in decided.values()} | {"all"}:
            inside = {name for name, deal in decided.items() if segment in (deal["segment"], "all")}
            strata: dict[Any, list[str]] = defaultdict(list)
            for name in inside & set(treated):
                deal, row = decided[name], treated[name]
                days = row["days_from_creation"]
                group = -1 if days is None else age_group(days)
                strata[deal["segment"], deal["opportunity_type"], row["stage_at_join"], group].append(name)
            controls = {key: passed[key] & others for key in list(strata) if key in passed and passed[key] & others}
            matched = sum(len(strata[key]) for key in controls)
            entry: dict[str, Any] = {
                "treated_count": len(inside & set(treated)),
                "matched_count": matched,
                "control_count": len(set().union(*controls.values())),
                "other_count": len(inside & others),
                "strata_count": len(controls),
                "strata_left_out_count": len(strata) - len(controls),
                "effect": None,
                "effect_low": None,
                "effect_high": None,
                "raw_difference": None,
                "p_at_join": None,
            }
            if matched >= MINIMUM and entry["control_count"] >= MINIMUM:
                share_with = sum(won(strata[key]) for key in controls) / matched
                share_without = sum(len(strata[key]) * won(names) / len(names) for key, names in controls.items())
                share_without /= matched
                weight: Counter[str] = Counter()
                variance = 0.0
                for key, names in controls.items():
                    p = chance(key)
                    variance += len(strata[key]) * p * (1 - p)
                    for name in names:
                        weight[name] += len(strata[key]) / len(names) * sqrt(p * (1 - p))  # type: ignore[assignment]
                half = Z * sqrt(variance + sum(part * part for part in weight.values())) / matched
                raw = won(inside & set(treated)) / len(inside & set(treated))
                entry |= {
                    "effect": share_with - share_without,
                    "effect_low": max(-1.0, share_with - share_without - half),
                    "effect_high": min(1.0, share_with - share_without + half),
                    "raw_difference": raw - won(inside & others) / len(inside & others),
                    "p_at_join": sum(len(strata[key]) * chance(key) for key in controls) / matched,
                }
            found[function, segment] = entry
    return found
