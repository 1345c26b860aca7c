"""Filters a person sets once for all pages; they live in the URL."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import streamlit as st

from dashboards.release import Release

QUARTERS_BACK, QUARTERS_AHEAD = 11, 2


@dataclass(frozen=True)
class Period:
    """A fiscal quarter: its name and its first and last day."""

    name: str
    start: date
    end: date


@dataclass(frozen=True)
class Chosen:
    """What the filters say.

    Attributes:
        team: the manager whose team is asked for; None for everybody the viewer sees.
        team_name: that manager's name.
        managers: the manager and all managers below, for `manager_id in (select unnest(?))`; empty without a team.
        segment: None for all.
        seller: the viewer, who sells, leads nobody and does not see everything; None otherwise.
        seller_name: that viewer's name.
        period: the quarter that runs on the as-of date, unless another was chosen.
    """

    period: Period
    team: str | None = None
    team_name: str | None = None
    managers: tuple[str, ...] = ()
    segment: str | None = None
    seller: str | None = None
    seller_name: str | None = None

    @property
    def scope(self) -> tuple[str, str]:
        """`scope_type` and `scope_id` of marts by scope: the team, else the segment, the seller, else the company."""
        if self.team:
            return "manager", self.team
        if self.segment:
            return "segment", self.segment
        return ("seller", self.seller) if self.seller else ("company", "company")

    @property
    def words(self) -> str:
        """Who is meant, in words."""
        parts = ([f"the team of {self.team_name}"] if self.team else []) + ([self.segment] if self.segment else [])
        return ", ".join(parts) or self.seller_name or "everybody"


def periods(release: Release) -> list[Period]:
    """The quarters that can be chosen, newest first."""
    found = release.rows(
        "with quarters as (select distinct quarter_name, quarter_start, quarter_end from core.calendar) "
        "select *, quarter_start <= ?::date and ?::date <= quarter_end as is_current from quarters "
        "order by quarter_start desc",
        (release.as_of, release.as_of),
    )
    here = int(found["is_current"].to_numpy().argmax())
    found = found.iloc[max(here - QUARTERS_AHEAD, 0) : here + QUARTERS_BACK + 1]
    starts, ends = found["quarter_start"].dt.date, found["quarter_end"].dt.date
    return [Period(*row) for row in zip(found["quarter_name"], starts, ends, strict=True)]


def current_period(release: Release) -> Period:
    """The quarter that runs on the as-of date."""
    return next(period for period in periods(release) if period.start <= release.as_of <= period.end)


def teams(release: Release) -> dict[str, str]:
    """Managers the viewer sees who have somebody below, by id; two of one name are told apart by it."""
    found = release.rows(
        "select rep_id, name from core.reps where is_current and rep_id in "
        "(select manager_id from core.reps where is_current) order by name, rep_id"
    )
    twice = found["name"].duplicated(keep=False)
    found["label"] = found["name"].where(~twice, found["name"] + " (" + found["rep_id"] + ")")
    return dict(zip(found["rep_id"], found["label"], strict=True))


def managers_below(release: Release, team: str) -> tuple[str, ...]:
    """A manager and all managers below."""
    found = release.rows(
        "with recursive below as (select ? as rep_id union select reps.rep_id from core.reps as reps "
        "inner join below on reps.manager_id = below.rep_id where reps.is_current) "
        "select rep_id from below where rep_id = ? or rep_id in (select manager_id from core.reps where is_current) "
        "order by rep_id",
        (team, team),
    )
    return tuple(found["rep_id"])


def segments(release: Release) -> list[str]:
    found = release.rows("select distinct segment from core.accounts where segment is not null order by segment")
    return list(found["segment"])


def choose(release: Release, filters: tuple[str, ...]) -> Chosen:
    """Draws the filters of a page in the sidebar and says what they are set to.

    Args:
        filters: those that mean something on this page, of `team`, `segment` and `period`; another one keeps what
            it was set to, and is not applied.
    """
    known_teams, known_segments, known_periods = teams(release), segments(release), periods(release)
    current = current_period(release)
    names = [period.name for period in known_periods]
    whole: list[str | None] = [None]
    own = release.viewer.person_id if release.viewer.sees is not None else None
    if own in known_teams:
        # A manager reads of the own team, with everybody below, or of one within it: figures of others would stand
        # beside the rows of these alone.
        whole = [own]
    team: Any = None
    segment: Any = None
    name: Any = current.name
    with st.sidebar:
        if "team" in filters and known_teams:
            team = st.selectbox(
                "Team",
                [*whole, *(team for team in known_teams if team not in whole)],
                format_func=lambda key: known_teams.get(key, "Everybody"),
                key="team",
                bind="query-params",
                persist_state="session",
            )
        if "segment" in filters and known_segments:
            segment = st.selectbox(
                "Segment",
                [None, *known_segments],
                format_func=lambda key: key or "All segments",
                key="segment",
                bind="query-params",
                persist_state="session",
            )
        if "period" in filters:
            name = st.selectbox(
                "Quarter",
                names,
                index=names.index(current.name),
                key="period",
                bind="query-params",
                persist_state="session",
            )
    return Chosen(
        period=known_periods[names.index(name)],
        team=team,
        team_name=known_teams.get(team) if team else None,
        managers=managers_below(release, team) if team else (),
        segment=segment,
        **_own_seller(release, own),
    )


def _own_seller(release: Release, person: str | None) -> dict[str, str]:
    """The viewer as a scope, when somebody who sells."""
    sells = person and release.value(
        "select 1 from funnel.pipeline_coverage where scope_type = 'seller' and scope_id = ? limit 1", (person,)
    )
    return {"seller": str(person), "seller_name": release.viewer.name} if sells else {}


def choose_one(label: str, options: dict[str, str], key: str, *, whole: str, default: str | None = None) -> str | None:
    """One thing by its id, which stands in the URL as `?key=id`; None for all of them.

    Streamlit's own binding would write the words of an option, which two of them may share.

    Args:
        options: words by id.
        key: of the URL, unique over all pages.
        whole: what it is called when none is chosen.
        default: what is chosen when the URL says nothing.
    """
    place = f"{key}_chosen"
    if place not in st.session_state:
        asked = st.query_params.get(key, default)
        st.session_state[place] = asked if asked in options else ""
    # Whoever is left out by another filter is not chosen any more.
    elif st.session_state[place] not in options:
        st.session_state[place] = ""
    chosen = st.selectbox(label, ["", *options], format_func=lambda one: options.get(one, whole), key=place)
    if not chosen:
        st.query_params.pop(key, None)
        return None
    st.query_params[key] = chosen
    return str(chosen)
