"""The weekly pack: one file a manager, with the agenda, the forecast and the coaching plan of the team.

A file stands alone: no script, no picture or font from elsewhere, every style on its element, so that a mail client, a
browser and a printer show the same. docs/pack.md says what is in it.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Any

import altair as alt
import jinja2
import pandas as pd
from markupsafe import Markup

from dashboards.access import Viewer, everyone
from dashboards.filters import Chosen, current_period, managers_below
from dashboards.pages import this_week
from dashboards.parts import MISSING, day, written
from dashboards.release import Release
from dashboards.words import (
    VERDICT_MEANINGS,
    deal_name,
    each,
    evidence,
    forecast_sentences,
    function_name,
    known,
    plural,
    pooled_chance,
    signal_name,
    verdict_name,
)
from orchestration.errors import UsageError

WIDTH, LABEL_WIDTH = 540, 240
SELLERS_TOLD = 25
COLOURS = {"good": "#2f855a", "bad": "#c53030", "else": "#718096"}
CHANGES_NAMED = 4
GOOD, BAD = ("won", "forward", "larger"), ("lost", "no_decision", "slipped", "overdue", "back", "smaller")


@dataclass(frozen=True)
class Leader:
    """A manager for whom there is a pack."""

    person_id: str
    name: str
    team: str | None


def leaders(release: Release) -> list[Leader]:
    """Everybody who leads somebody on the as-of date, by name."""
    found = release.rows(
        "select rep_id, name, team from core.reps where is_current and terminated_on is null and rep_id in "
        "(select manager_id from core.reps where is_current and terminated_on is null) order by name, rep_id"
    )
    return [
        Leader(row.rep_id, row.name if known(row.name) else row.rep_id, row.team if known(row.team) else None)
        for row in each(found)
    ]


def viewer_for(release: Release, leader: Leader) -> Viewer:
    """The manager as a reader who sees the team and nobody else, whatever else that person may see on the pages."""
    below = release.rows(
        "with recursive below as (select ?::varchar as rep_id union select reps.rep_id from core.reps as reps "
        "inner join below on reps.manager_id = below.rep_id where reps.is_current) select rep_id from below",
        (leader.person_id,),
    )
    return Viewer(leader.name, None, leader.person_id, "manager", frozenset(below["rep_id"]))


def coaching(release: Release, chosen: Chosen) -> pd.DataFrame:
    """One row per active seller of the team: whose check is overdue or who has a gap first."""
    return release.rows(
        """
        select * from people.coaching_plan
        where ?::varchar is null or list_contains(?::varchar[], manager_id)
        order by source = 'none', not is_check_overdue, next_check_on, seller_name, seller_id
        """,
        (chosen.team, list(chosen.managers)),
    )


def file_name(leader: Leader, as_of: Any) -> str:
    """`U000001_2026-W27.html`; an id with what a file name must not hold is told apart by a digest."""
    plain = re.sub(r"[^\w .-]", "-", leader.person_id).strip(" .") or "manager"
    if plain != leader.person_id:
        plain += "-" + sha256(leader.person_id.encode()).hexdigest()[:8]
    return f"{plain}_{as_of:%G-W%V}.html"


def write_packs(
    folder: Path, directory: Path, manager: str | None = None, progress: Callable[[str], None] | None = None
) -> list[Path]:
    """Writes one file a manager, each as that manager may see the release.

    Args:
        folder: of the release.
        directory: where to; made when it is not there, files of the same week are replaced.
        manager: the id of one manager; without it all of them.
        progress: is told what is written next.

    Returns:
        The files, in the order of the managers' names.

    Raises:
        UsageError: nobody leads anybody, or `manager` does not; or the release says nothing about its readers.
    """
    whole = Release(folder, everyone())
    try:
        if not whole.manifest.get("readers"):
            raise UsageError(
                f"Release {whole.name} does not say who may see which rows: publish a new one with sightline run."
            )
        chosen = [leader for leader in leaders(whole) if manager in (None, leader.person_id)]
        if not chosen:
            who = f"{manager} leads nobody" if manager else "Nobody leads anybody"
            raise UsageError(f"{who} in release {whole.name}: see manager_id in core.reps.")
        viewers = [viewer_for(whole, leader) for leader in chosen]
    finally:
        whole.close()
    directory.mkdir(parents=True, exist_ok=True)
    written_files = []
    for number, (leader, viewer) in enumerate(zip(chosen, viewers, strict=True), start=1):
        if progress:
            progress(f"{leader.name}, {number} of {len(chosen)}")
        release = Release(folder, viewer)
        try:
            path = directory / file_name(leader, release.as_of)
            text = render(release, leader)
        finally:
            release.close()
        # A file that is mailed while it is written would be half a file.
        draft = path.with_suffix(".tmp")
        draft.write_text(text, encoding="utf-8")
        os.replace(draft, path)
        written_files.append(path)
    return written_files


def render(release: Release, leader: Leader) -> str:
    """The pack of one manager as HTML, from a release restricted to that manager's team."""
    chosen = Chosen(
        period=current_period(release),
        team=leader.person_id,
        team_name=leader.name,
        managers=managers_below(release, leader.person_id),
    )
    open_count, in_need = this_week.needs(release, chosen)
    since = this_week.last_review(release)
    changes = this_week.changes(release, chosen, since) if since else pd.DataFrame()
    outlook = this_week.outlook(release, chosen)
    agenda = this_week.agenda(release, chosen, this_week.AGENDA_SHOWN)
    sellers = coaching(release, chosen)
    told = [row for row in each(sellers) if row.source != "none"][:SELLERS_TOLD]
    return _template().render(
        leader=leader,
        week=f"{release.as_of:%G-W%V}",
        as_of=day(release.as_of),
        release=release,
        open_count=plural(open_count, "open deal"),
        in_need=in_need if this_week.is_judged(release) else None,
        no_deals=None if open_count else _gap(release, "funnel.deal_health"),
        agenda=[_agenda_item(release, row, len(chosen.managers) > 1) for row in each(agenda)],
        agenda_count=int(agenda["agenda_count"].iloc[0]) if len(agenda) else 0,
        no_agenda=_gap(release, "funnel.review_agenda", "No deal is off track and none shows a signal."),
        since=day(since) if since else None,
        changes=_changes(release, changes),
        changes_chart=_changes_chart(changes, release.currency) if len(changes) else None,
        no_changes=_gap(release, "funnel.opportunity_history", "Nothing changed."),
        new=_signals(this_week.new_signals(release, chosen, since)) if since else [],
        cleared=_signals(this_week.cleared_signals(release, chosen, since)) if since else [],
        no_signals=_gap(release, "funnel.deal_signals", "None."),
        forecast=forecast_sentences(outlook, release.as_of, release.currency),
        forecast_rows=_forecast_rows(outlook),
        forecast_chart=_svg(
            this_week.forecast_chart(outlook, release.currency, WIDTH - 90),
            this_week.forecast_alt(outlook, release.as_of, release.currency),
            "forecast",
        )
        if len(outlook)
        else None,
        no_forecast=_gap(release, "forecast_accuracy.outlook"),
        sellers=[_seller(row) for row in told],
        others=[_other(row) for row in each(sellers) if row.source == "none"],
        no_sellers=_gap(release, "people.coaching_plan", "Nobody in the team holds a seller's job."),
        verdicts=[(verdict_name(key), meaning) for key, meaning in VERDICT_MEANINGS.items()],
    )


@lru_cache(maxsize=1)
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("pack.html")


def _agenda_item(release: Release, row: Any, with_manager: bool) -> dict[str, Any]:
    money = release.currency
    facts = [
        written(row.amount, "money", money) if known(row.amount) else "amount not known",
        str(row.stage) if known(row.stage) else "stage not known",
        str(row.owner_name if known(row.owner_name) else row.owner_id),
    ]
    if with_manager and known(row.manager_name):
        facts.append(f"team of {row.manager_name}")
    if known(row.close_date):
        facts.append(f"to close {day(row.close_date)}")
    chance = written(row.p_win, "percent")
    facts.append(
        f"chance to win within {row.horizon_days:.0f} days {chance}" if known(row.p_win) else f"chance: {chance}"
    )
    if pooled_chance(row):
        facts.append(pooled_chance(row))
    facts.append(str(row.opportunity_id))
    gain = ""
    if row.verdict == "de_resource" and known(row.hours_to_release):
        again = f" {row.reentry_condition}." if known(row.reentry_condition) else ""
        gain = f"That frees about {row.hours_to_release:.1f} hours.{again}"
    elif known(row.amount_to_gain) and row.amount_to_gain > 0:
        gain = f"To gain, as in past deals: {written(row.amount_to_gain, 'money', money)}."
    bring = f" Bring in {function_name(row.requested_function)}." if known(row.requested_function) else ""
    return {
        "name": deal_name(row.name, row.account_name, row.opportunity_id),
        "verdict": verdict_name(row.verdict),
        "is_off": row.verdict != "on_track",
        "facts": " · ".join(facts),
        "why": f"{row.why}.",
        "evidence": this_week.agenda_evidence(row),
        "ask": row.coaching_question,
        "do": f"{row.what_to_do}.{bring}",
        "gain": gain,
        "practise": row.suggested_drill,
    }


def _changes(release: Release, found: pd.DataFrame) -> list[dict[str, Any]]:
    if found.empty:
        return []
    kinds = []
    for change, rows in found.groupby("change", observed=True):
        count = int(rows["change_count"].iloc[0])
        kinds.append(
            {
                "what": this_week.CHANGES[str(change)],
                "count": count,
                "amount": written(rows["change_amount"].iloc[0], "money", release.currency),
                "colour": COLOURS["good" if change in GOOD else "bad" if change in BAD else "else"],
                "deals": [
                    (
                        deal_name(row.name, row.account_name, row.opportunity_id),
                        this_week.change_words(row, release.currency),
                        row.owner_name if known(row.owner_name) else "",
                    )
                    for row in each(rows.head(CHANGES_NAMED))
                ],
                "more": count - min(len(rows), CHANGES_NAMED),
            }
        )
    return kinds


def _changes_chart(found: pd.DataFrame, currency: str) -> Markup:
    """What won, lost, slipped, grew and shrank came to, a bar a kind."""
    counts = found.drop_duplicates("change")[["change", "change_count", "change_amount"]].copy()
    counts["kind"] = ["good" if c in GOOD else "bad" if c in BAD else "else" for c in counts["change"]]
    counts["label"] = [f"{row.change_count:,} {this_week.CHANGES[str(row.change)]}" for row in each(counts)]
    counts["change_amount"] = counts["change_amount"].abs().fillna(0)
    counts = counts.drop(columns="change")
    chart = (
        alt.Chart(counts)
        .mark_bar(height=12)
        .encode(
            x=alt.X("change_amount:Q", axis=alt.Axis(format="~s", title=currency, tickCount=5)),
            y=alt.Y("label:N", sort=None, title=None, axis=alt.Axis(labelLimit=LABEL_WIDTH, minExtent=LABEL_WIDTH)),
            color=alt.Color("kind:N", legend=None, scale=alt.Scale(domain=list(COLOURS), range=list(COLOURS.values()))),
        )
        .properties(width=WIDTH - LABEL_WIDTH - 20, height=20 * len(counts))
    )
    said = "Changes by amount: " + "; ".join(
        f"{row.label}, {written(row.change_amount, 'money', currency)}" for row in each(counts)
    )
    return _svg(chart, said, "changes")


def _signals(found: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Deal, signal, and what was seen, or what became of the deal; the last entry says how many more there are."""
    lines = [
        (
            deal_name(row.name, row.account_name, row.opportunity_id),
            signal_name(row.signal),
            evidence(row) if "value" in found else f"No longer; the deal is now: {verdict_name(row.verdict)}.",
        )
        for row in each(found)
    ]
    more = int(found["signal_count"].iloc[0]) - len(found) if len(found) else 0
    return [*lines, (f"and {more} more", "", "")] if more > 0 else lines


def _forecast_rows(outlook: pd.DataFrame) -> list[list[str]]:
    def money(value: Any) -> str:
        return written(value, "money") if known(value) else "not known"

    return [
        [
            str(row.period),
            money(row.booked),
            f"{money(row.median)} ({money(row.p10)} to {money(row.p90)})" if known(row.median) else MISSING,
            money(row.target),
            money(row.commit_amount),
        ]
        for row in each(outlook)
    ]


def _seller(row: Any) -> dict[str, Any]:
    deals = [
        str(getattr(row, f"opportunity_{place}_name"))
        for place in (1, 2, 3)
        if known(getattr(row, f"opportunity_{place}_name"))
    ]
    said = row.evidence if known(row.evidence) else MISSING
    if (
        known(row.evidence_value_low)
        and known(row.evidence_value_high)
        and known(row.evidence_norm)
        and row.evidence_norm
    ):
        # Estimates are told in their own unit, words in another: the interval beside the norm has none.
        low, high = (value / row.evidence_norm for value in (row.evidence_value_low, row.evidence_value_high))
        said += f"; 90 % interval: {low:.2f} to {high:.2f} times that norm"
    if known(row.n) and "(n " not in said:
        said += f" (n = {row.n:,})"
    return {
        "name": row.seller_name,
        "role": str(row.role).replace("_", " "),
        "focus": row.focus,
        "evidence": said,
        "behaviour": row.behaviour,
        "practice": row.practice,
        "deals": deals,
        "no_deals": row.linked_reason if known(row.linked_reason) else "",
        "ask": row.coaching_question,
        "sign": row.sign,
        "known_by": row.known_by if known(row.known_by) else "",
        "last": _last_session(row),
        "check": _check(row),
        "is_overdue": bool(row.is_check_overdue) and known(row.last_session_on),
    }


def _other(row: Any) -> dict[str, Any]:
    return {
        "name": row.seller_name,
        "role": str(row.role).replace("_", " "),
        "reason": row.reason if known(row.reason) else MISSING,
        "watch": str(row.what_to_watch).replace("_", " ") if known(row.what_to_watch) else "",
        "check": _check(row),
        "is_overdue": bool(row.is_check_overdue) and known(row.last_session_on),
    }


def _check(row: Any) -> str:
    if known(row.coach_reason):
        return str(row.coach_reason)
    if not known(row.next_check_on):
        return "no check is planned"
    if not known(row.last_session_on) and known(row.session_reason):
        return f"{row.session_reason}; check on {day(row.next_check_on)}"
    return f"check {'is overdue: hold it now' if row.is_check_overdue else f'on {day(row.next_check_on)}'}"


def _last_session(row: Any) -> str:
    if not known(row.last_session_on):
        return ""
    agreed = f"; agreed: {row.last_agreed_action}" if known(row.last_agreed_action) else ""
    return f"Last session {day(row.last_session_on)}{agreed}"


def _gap(release: Release, table: str, why: str = "") -> str:
    """Why there is nothing to show, and what to connect."""
    missing = release.missing_for(table)
    if missing and not release.has(table):
        return (
            f"Not known: no source delivers {', '.join(missing)}, which this stands on. "
            "Connect one that does; the next run shows it here."
        )
    return why or "Not enough data: the sources are connected, and there is nothing of the kind yet."


def _svg(chart: alt.TopLevelMixin, said: str, prefix: str) -> Markup:
    """A chart as a picture inside the page, with its words for those who do not see it.

    Texts in it are those of the data; vl-convert writes them as XML, with `<` as `&lt;`.
    """
    with io.StringIO() as buffer:
        styled = chart.configure(font="Helvetica, Arial, sans-serif").configure_view(stroke=None)
        styled.configure_axis(labelFontSize=12, titleFontSize=12).save(buffer, format="svg")
        drawn = buffer.getvalue()
    start, end = drawn.index("<svg"), drawn.index(">", drawn.index("<svg"))
    head = drawn[start:end]
    found = {name: re.search(rf'\b{name}="([^"]+)"', head) for name in ("width", "height", "viewBox")}
    size = {name: match.group(1) for name, match in found.items() if match}
    body = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", drawn[end + 1 :])
    # Two pictures of one page must not share the names of their parts.
    body = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', body)
    body = re.sub(r'(url\(|href=")#', rf"\1#{prefix}-", body)
    return Markup(
        f'<svg role="img" aria-label="{escape(said)}" width="{size["width"]}" height="{size["height"]}" '
        f'viewBox="{size["viewBox"]}" style="max-width:100%;height:auto"><title>{escape(said)}</title>{body}'
    )
