"""Scorecard: the six numbers that count, and the 24 things that organisations that outperform do differently."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Literal

import pandas as pd
import streamlit as st

from dashboards.addresses import address_of, page_of
from dashboards.charts import GREEN, GREY, RED, YELLOW, stacks
from dashboards.filters import Chosen
from dashboards.parts import (
    Format,
    chart_beside_table,
    day,
    empty,
    escaped,
    figure,
    folded,
    in_row,
    in_tabs,
    link,
    show_table,
    written,
)
from dashboards.release import Release
from dashboards.rows import each, first

FILTERS: tuple[str, ...] = ()

METRICS, BEHAVIOURS = "scorecard.world_class_metrics", "scorecard.behaviours"
PILLARS = {
    "F": "Deals and new sellers",
    "C": "Managers who coach",
    "K": "Key accounts",
    "E": "The company behind the seller",
}
STATUSES = {"met": "met", "partly": "partly met", "not_met": "not met", "not_enough_data": "cannot be told"}
STATUS_COLOURS = {"met": GREEN, "partly met": YELLOW, "not met": RED, "cannot be told": GREY}
BADGES: dict[str, Literal["green", "orange", "red", "gray"]] = {
    "met": "green",
    "partly": "orange",
    "not_met": "red",
    "not_enough_data": "gray",
}
DIRECTIONS = {"better": "better", "worse": "worse", "no_clear_change": "no clear change", "not_enough_data": ""}


def metrics(release: Release) -> pd.DataFrame:
    """The measures of the six metrics, each metric's headline first."""
    return release.rows(
        f"""
        select name, value, value_low, value_high, n, unit, previous_value, change, direction, target, target_standing,
            target_source, benchmark_low, benchmark_high, benchmark_standing, benchmark_source, benchmark_year,
            benchmark_note, method, reason, evidence_table, metric, measure, is_headline, is_higher_better,
            period_start, period_end
        from {METRICS} order by metric_order, not is_headline, measure_order
        """
    )


def behaviours(release: Release) -> pd.DataFrame:
    """The 24 behaviours in their order, each with what it is judged by."""
    return release.rows(
        f"""
        select behaviour, name, status, value, value_low, value_high, n, unit, met_at, partly_at, is_clear,
            is_higher_better, what_is_measured, what_to_do, reason, evidence_table, minimum_n
        from {BEHAVIOURS} order by behaviour_order
        """
    )


def in_unit(value: Any, unit: str) -> str:
    """A value in the unit of its row: a share in percent, a ratio with two figures, else whole ones."""
    if value is None:
        return written(None, "percent")
    if unit == "share":
        return written(value, "percent")
    return f"{value:,.2f}" if unit == "ratio" else f"{value:,.0f} {unit}"


def sentences(release: Release) -> list[str]:
    """Where the company stands, and what to begin with."""
    said = []
    heads = [row for row in each(metrics(release)) if row.is_headline]
    met = [row for row in heads if row.target_standing == "met"]
    missed = [row for row in heads if row.target_standing == "missed"]
    unknown = len(heads) - len(met) - len(missed)
    if heads:
        text = f"Of the six numbers that count **{len(met)} reach their target**, {len(missed)} miss it"
        text += f" ({', '.join(escaped(row.name).lower() for row in missed)})" if missed else ""
        said.append(f"{text}, {unknown} cannot be told." if unknown else f"{text}.")
    rows = each(behaviours(release))
    counts = {status: sum(row.status == status for row in rows) for status in STATUSES}
    if rows:
        said.append(
            f"Of 24 behaviours **{counts['met']} are met**, {counts['partly']} partly, **{counts['not_met']} not**; "
            f"{counts['not_enough_data']} cannot be told."
        )
    clear = [row for row in rows if row.status == "not_met" and row.is_clear]
    if clear:
        said.append(
            f"Beyond chance not met: {', '.join(f'{escaped(row.name)} ({row.behaviour})' for row in clear)}. "
            f"**Begin with {clear[0].behaviour}:** {escaped(clear[0].what_to_do)}."
        )
    elif counts["not_met"]:
        worst = next(row for row in rows if row.status == "not_met")
        said.append(
            f"None of those not met is so beyond chance. To do about {worst.behaviour}: {escaped(worst.what_to_do)}."
        )
    return said


def show(release: Release, chosen: Chosen) -> None:
    st.title("Scorecard")
    if not release.has(METRICS) and not release.has(BEHAVIOURS):
        empty(release, METRICS)
        return
    st.markdown(" ".join(sentences(release)))
    in_tabs("scorecard_part", {"Six numbers": (_metrics,), "Behaviours": (_behaviours,)}, release)


def _metrics(release: Release) -> None:
    st.subheader("Six numbers")
    found = metrics(release)
    if found.empty:
        empty(release, METRICS)
        return
    heads = [row for row in each(found) if row.is_headline]
    for start in range(0, len(heads), 3):
        for place, row in zip(in_row(3), heads[start : start + 3], strict=False):
            with place:
                _metric(release, row)
    # Coverage is that of the quarter to come.
    begun = first(found[found["value"].notna() & (found["measure"] != "coverage")])
    if begun and begun.period_start:
        st.caption(f"Over the four quarters to {day(begun.period_end)}, against the four before.")
    if place := folded("All measures, with targets and what others have published", "all_measures"):
        with place:
            shown = found.drop(columns=["metric", "measure", "is_higher_better", "period_start", "period_end"])
            shown.insert(1, "page", [address_of(table) for table in found["evidence_table"]])
            show_table(
                release,
                shown,
                METRICS,
                name="metrics",
                links={"page": r"^/([^?]*)"},
                labels={"page": "Shown on"},
            )


def _metric(release: Release, row: SimpleNamespace) -> None:
    kind: Format = "percent" if row.unit == "share" else "ratio" if row.unit == "ratio" else "number"
    goal = f"target {in_unit(row.target, row.unit)}: {row.target_standing}" if row.target is not None else "no target"
    delta = None
    if row.change is not None and row.unit == "share":
        word = DIRECTIONS.get(row.direction, "")
        delta = f"{100 * row.change:+.1f} points{f', {word}' if word else ''}"
    colour: Literal["normal", "inverse", "off"] = "normal" if row.is_higher_better else "inverse"
    if row.direction not in ("better", "worse"):
        colour = "off"
    figure(
        release,
        row.name,
        row.value,
        METRICS,
        "value",
        kind,
        low=row.value_low,
        high=row.value_high,
        n=row.n,
        delta=delta,
        delta_color=colour,
        note=f"{goal}; {row.reason}" if row.reason else goal,
    )
    st.caption(f"[See {page_of(row.evidence_table)[1]}]({address_of(row.evidence_table)})")


def _behaviours(release: Release) -> None:
    st.subheader("What organisations that outperform do differently")
    found = behaviours(release)
    if found.empty:
        empty(release, BEHAVIOURS)
        return
    rows = each(found)
    drawn = pd.DataFrame(
        [
            {
                "label": pillar,
                "kind": words,
                "amount": sum(row.behaviour[0] == letter and row.status == status for row in rows),
            }
            for letter, pillar in PILLARS.items()
            for status, words in STATUSES.items()
        ]
    )
    chart_beside_table(
        release,
        stacks(drawn, "Behaviours", "How many are met", STATUS_COLOURS, money=False, upright=False),
        found.drop(columns=["is_higher_better", "minimum_n"]),
        BEHAVIOURS,
        name="behaviours",
        alt_text="Behaviours met, partly met, not met and not known, by area",
        caption="Each is judged by one trace that data can show; it is no verdict about people.",
    )
    for letter, pillar in PILLARS.items():
        judged = [
            f":{BADGES[row.status]}-badge[{STATUSES[row.status]}] {behaviour_words(row)}"
            for row in rows
            if row.behaviour[0] == letter
        ]
        with st.container(border=True):
            st.markdown("\n\n".join([f"#### {pillar}", *judged]))


def behaviour_words(row: SimpleNamespace) -> str:
    """A behaviour with its evidence: what is measured, the value with its interval, n, the threshold, what to do."""
    text = f"**{row.behaviour} {escaped(row.name)}.** {escaped(row.what_is_measured)}: "
    if row.value is None:
        known = "" if row.n is None else f" (n {row.n:,})"
        text += f"not enough data{known}: {escaped(row.reason or 'no reason given')}."
    else:
        text += f"**{in_unit(row.value, row.unit)}**"
        if row.value_low is not None and row.value_high is not None:
            text += f", {in_unit(row.value_low, row.unit)} to {in_unit(row.value_high, row.unit)}"
        sign = "at least" if row.is_higher_better else "at most"
        clear = "" if row.is_clear else "; the interval reaches beyond that status"
        text += f" (n {row.n:,}); target {sign} {in_unit(row.met_at, row.unit)}{clear}."
    if row.what_to_do:
        text += f" **To do:** {escaped(row.what_to_do)}."
    return (
        f"{text} [See {page_of(row.evidence_table)[1]}]({address_of(row.evidence_table)}) · "
        f"[evidence]({link('data', table=row.evidence_table)}) · [definition]({link('data', table=BEHAVIOURS)})"
    )
