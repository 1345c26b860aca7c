"""What sellers, buyers and helpers do: activities, contacts, teams, requests, qualification, coaching, plans."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from orchestration.demo.deals import (
    COMPETITOR,
    GHOSTED,
    HANDOVER,
    KEY_TRAITS,
    NEGOTIATION,
    NO_POWER,
    PROPOSAL,
    RENEWAL,
    SINGLE_THREADED,
    SOLUTION,
    STALLED,
    WON,
    Deals,
)
from orchestration.demo.frames import (
    DAY,
    NONE,
    Floats,
    Frames,
    Ints,
    day_number,
    said,
    stack,
    words,
    work_time,
    workday,
    year_of,
)
from orchestration.demo.history import History
from orchestration.demo.market import BUYING_ROLES
from orchestration.demo.people import AE

ACTIVITY_TYPES = ["email", "call", "meeting", "demo", "task"]
EMAIL, CALL, MEETING, DEMO = range(4)
DIRECTIONS = ["inbound", "outbound", "internal"]
INBOUND, OUTBOUND, INTERNAL = range(3)
PURPOSES = ["sell", "value_review", "support", "coaching"]
SELL, VALUE_REVIEW, SUPPORT = range(3)
ELEMENTS = [
    "metrics",
    "economic_buyer",
    "decision_criteria",
    "decision_process",
    "identify_pain",
    "champion",
    "competition",
]
DUE_AT_STAGE = np.array([1, 2, 2, 3, 0, 1, 3])
FUNCTIONS = ["sales_ops", "deal_desk", "product", "technical", "legal", "executive"]
SKILLS = ["discovery", "qualification", "negotiation", "value case", "executive conversation", "planning"]
ACTIONS = [
    "Prepare three questions on the cost of the problem",
    "Name the economic buyer before the next review",
    "Write the mutual plan with dates",
    "Rehearse the price conversation",
    "Bring a second contact into the deal",
    "Block two hours a week for prospecting",
]

# A week of an open deal: how many of each, when all is well.
OUTBOUND_A_WEEK = 0.80
INBOUND_A_WEEK = 0.70
MEETINGS_A_WEEK = 0.35
# What is left of them in trouble: outbound, inbound, meetings, by cause.
IN_TROUBLE = np.array(
    [
        [1.70, 0.04, 0.03],
        [0.90, 0.60, 0.60],
        [0.90, 0.60, 0.60],
        [1.00, 0.50, 0.60],
        [1.00, 0.80, 0.80],
        [0.70, 0.25, 0.08],
        [0.50, 0.40, 0.04],
        [1.00, 0.70, 0.60],
    ]
)
# The part of what happens in a deal that follows a rhythm.
RHYTHM = 0.8
PROSPECTING_A_WEEK = 1.6
DEAL_WORK_A_WEEK = 3.0
RESCUE_SHARE = 0.62


def _some(rng: np.random.Generator, deal: Ints, monday: Ints, expected: Floats) -> Ints:
    """How often something happened in each deal and week: mostly in a rhythm, partly by chance."""
    order = np.lexsort((monday, deal))
    # One rhythm through all deals, one after the other: each begins wherever the one before it ended.
    beats = np.floor(np.cumsum(expected[order] * RHYTHM)).astype(np.int64)
    counts = np.empty(len(deal), dtype=np.int64)
    counts[order] = np.diff(beats, prepend=0)
    return counts + rng.poisson(expected * (1 - RHYTHM))


@dataclass
class Place:
    """Where the numbers of this division's rows begin."""

    activity: int
    request: int
    session: int
    plan: int
    objective: int


class Engagement:
    """The tables of what people do, of one division."""

    def __init__(self, rng: np.random.Generator, history: History, place: Place, until: int) -> None:
        self.rng, self.history, self.place, self.until = rng, history, place, until
        self.deals: Deals = history.deals
        self.people, self.market = self.deals.people, self.deals.market
        self.n = self.deals.n
        self.end = np.where(self.deals.closed_at[: self.n] == NONE, np.int64(10**10), self.deals.closed_at[: self.n])
        self.tables: Frames = {}
        self.parts: list[pd.DataFrame] = []
        self._contacts()
        self._deal_weeks()
        self._help()
        self._managers()
        self._territories()
        self._customers()
        self._activities()
        self._qualifications()
        self._coaching()
        self._plans()

    # ---- who at the buyer takes part

    def _contacts(self) -> None:
        rng, deals = self.rng, self.deals
        deal = np.arange(self.n)
        account, cause = deals.account[deal], deals.cause[deal]
        there = self.market.contacts_of(account)
        width = 2 + rng.poisson(np.array([0.4, 0.9, 1.5, 2.2])[deals.segment[deal]])
        width = np.where(deals.quality[deal] > 0.5, width + 1, width)
        width = np.where(cause == SINGLE_THREADED, 1, width)
        alone = deals.key_trait[account] == KEY_TRAITS.index("single_contact")
        width = np.where(alone, 1, width)
        has_power = (rng.random(self.n) < 0.92) & (cause != NO_POWER)
        first = np.where(has_power | alone, 0, 1)
        self.first_contact = first
        self.width = np.clip(width, 1, np.maximum(there - first, 1))
        rows = np.repeat(deal, self.width)
        place = np.arange(len(rows)) - np.repeat(np.cumsum(self.width) - self.width, self.width)
        # Whoever wants it is there first, who signs comes later.
        added = (
            deals.created_at[rows] + place * rng.integers(6, 16, len(rows)) * DAY + rng.integers(600, 7200, len(rows))
        )
        contact = self._contact(rows, place)
        kept = (added < self.end[rows]) & ~deals.imported[rows]
        rows, place, added, contact = rows[kept], place[kept], added[kept], contact[kept]
        self.added = pd.DataFrame({"deal": rows, "place": place, "added": added})
        self.tables["opportunity_contacts"] = pd.DataFrame(
            {
                "known": added // DAY,
                "opportunity_id": rows + self.history.first_id,
                "contact_id": contact + self.market.first_contact,
                "buying_role": words(self.market.contact_role[contact], BUYING_ROLES),
                "added_at": added,
            }
        ).sort_values("known", kind="stable", ignore_index=True)

    def _contact(self, deal: Ints, place: Ints) -> Ints:
        """The n-th contact to take part in a deal: the champion, the one who tests, …, the one who signs last."""
        account = self.deals.account[deal]
        first, width = self.first_contact[deal], self.width[deal]
        turned = first + (place + 1) % np.maximum(width, 1)
        start = self.market.contact_at[account]
        return np.minimum(start + turned, self.market.contact_at[account + 1] - 1)

    def _some_contact(self, deal: Ints, at: Ints) -> Ints:
        """One of those who take part by then."""
        weeks = np.maximum(at - self.deals.created_at[deal], 0) // (11 * DAY)
        open_places = np.minimum(self.width[deal], 1 + weeks)
        return self._contact(deal, (self.rng.random(len(deal)) * open_places).astype(np.int64))

    # ---- activities

    def _add(
        self,
        kind: Ints,
        direction: Ints,
        purpose: int,
        user: Ints,
        account: Ints,
        deal: Ints,
        contact: Ints,
        at: Ints,
        booked: Ints | None = None,
        held_at: Ints | None = None,
    ) -> None:
        """Rows of `activities`.

        `booked` is the day on which a meeting was put into the calendar, `held_at` when it was held if not `at`.
        """
        count = len(at)
        if not count:
            return
        self.parts.append(
            pd.DataFrame(
                {
                    "kind": np.broadcast_to(kind, count),
                    "direction": np.broadcast_to(direction, count),
                    "purpose": np.full(count, purpose),
                    "user": user,
                    "account": account,
                    "deal": np.broadcast_to(deal, count),
                    "contact": contact,
                    "at": at,
                    "booked": at // DAY if booked is None else np.minimum(booked, at // DAY),
                    "held_at": at if held_at is None else held_at,
                }
            )
        )

    def _deal_weeks(self) -> None:
        rng, deals = self.rng, self.deals
        panel = deals.panel_log.frame()
        deal, monday = panel["deal"].to_numpy(), panel["monday"].to_numpy()
        # The two weeks after the last day: what is already in the calendar.
        last = monday == monday.max()
        ahead = np.flatnonzero(last)
        ahead = np.concatenate([ahead, ahead])
        shift = np.repeat([7, 14], len(ahead) // 2)
        deal = np.concatenate([deal, deal[ahead]])
        monday = np.concatenate([monday, monday[ahead] + shift])
        troubled = np.concatenate([panel["troubled"].to_numpy(), panel["troubled"].to_numpy()[ahead]]) == 1
        future = np.arange(len(deal)) >= len(panel)
        cause = np.maximum(deals.cause[deal], 0)
        left = np.where(troubled[:, None], IN_TROUBLE[cause], 1.0)
        keen = np.exp(0.25 * deals.quality[deal])
        small = np.where(deals.type[deal] == RENEWAL, 0.65, 1.0) * np.array([0.8, 0.95, 1.2, 1.4])[deals.segment[deal]]
        # A seller who works less has fewer deals, not less for each of them.
        worked = small
        for which, (rate, factor) in enumerate(
            ((OUTBOUND_A_WEEK, worked), (INBOUND_A_WEEK, keen * small * worked**0.5), (MEETINGS_A_WEEK, worked * keen))
        ):
            count = _some(rng, deal, monday, np.where(future & (which < 2), 0.0, rate * factor * left[:, which]))
            row = np.repeat(np.arange(len(deal)), count)
            at = work_time(rng, monday[row] + rng.integers(0, 5, len(row)))
            kept = (at > deals.created_at[deal[row]]) & (at < self.end[deal[row]])
            row, at = row[kept], at[kept]
            who = deal[row]
            draw = rng.random(len(row))
            if which == 0:
                kind, direction, booked = np.where(draw < 0.68, EMAIL, CALL), np.full(len(row), OUTBOUND), None
            elif which == 1:
                kind, direction, booked = np.where(draw < 0.75, EMAIL, CALL), np.full(len(row), INBOUND), None
            else:
                kind = np.where(draw < 0.08, DEMO, MEETING)
                direction = np.where(draw < 0.85, OUTBOUND, INBOUND)
                booked = np.maximum(at // DAY - rng.integers(2, 13, len(row)), deals.created_at[who] // DAY)
            contact = self._some_contact(who, at)
            user = self.history.owners.at(who, at)
            self._add(kind, direction, SELL, user, deals.account[who], who, contact, at, booked)

    def _entered(self, stage: int) -> Ints:
        """When each deal first came to a stage or past it; NONE when it never did or was imported."""
        log = self.history.stage_log
        reached = log[(log["new"].to_numpy() >= stage) & (log["new"].to_numpy() <= WON)]
        entered = np.full(self.n, NONE)
        order = np.argsort(-reached["at"].to_numpy(), kind="stable")
        entered[reached["deal"].to_numpy()[order]] = reached["at"].to_numpy()[order]
        return np.where(self.deals.imported[: self.n], NONE, entered)

    def _help(self) -> None:
        """Specialists on deals, and other help that sellers ask for."""
        rng, deals, people = self.rng, self.deals, self.people
        at_solution = self._entered(SOLUTION)
        helped = np.flatnonzero((deals.specialist[: self.n] != NONE) & (at_solution != NONE))
        specialists = people.helpers["specialists"]
        person = specialists[deals.specialist[helped]]
        slow = np.array([people.trait[who] == "slow_specialist" for who in specialists])[deals.specialist[helped]]
        fast = np.array([people.trait[who] == "helpful_specialist" for who in specialists])[deals.specialist[helped]]
        asked = at_solution[helped] + rng.integers(600, 4 * 3600, len(helped))
        wait = np.where(
            slow,
            rng.integers(9, 20, len(helped)),
            np.where(fast, rng.integers(1, 4, len(helped)), rng.integers(2, 8, len(helped))),
        )
        joined = workday(asked // DAY + wait) * DAY + rng.integers(8 * 3600, 11 * 3600, len(helped))
        done = joined + (wait + rng.integers(2, 12, len(helped))) * DAY
        score = np.clip(np.rint(np.where(slow, 2.3, np.where(fast, 4.5, 3.7)) + rng.normal(0, 0.7, len(helped))), 1, 5)
        frames = [self._requests(helped, np.full(len(helped), 3), asked, joined, person, done, score)]
        team = [self._team(helped, person, "specialist", joined, overlay=0.25)]
        demos = np.repeat(np.arange(len(helped)), rng.integers(1, 4, len(helped)))
        at = work_time(rng, workday(joined[demos] // DAY + rng.integers(1, 16, len(demos))))
        kept = at < self.end[helped[demos]]
        demos, at = demos[kept], at[kept]
        who = helped[demos]
        self._add(
            np.full(len(who), DEMO),
            np.full(len(who), OUTBOUND),
            SELL,
            person[demos],
            deals.account[who],
            who,
            self._some_contact(who, at),
            at,
            at // DAY - rng.integers(1, 6, len(who)),
        )

        operations, product = people.helpers["operations"], people.helpers["product"]
        heads = people.helpers["heads"]
        at_proposal, at_terms = self._entered(PROPOSAL), self._entered(NEGOTIATION)
        for function, entered, share, pool, days in (
            (1, at_proposal, 0.22, operations, 3),
            (0, at_proposal, 0.10, operations, 4),
            (2, at_solution, 0.07, product, 8),
            (4, at_terms, 0.28, operations, 7),
            (5, at_terms, 0.06, heads, 5),
        ):
            deal = np.flatnonzero((entered != NONE) & (rng.random(self.n) < share))
            asked = entered[deal] + rng.integers(600, 2 * DAY, len(deal))
            given = asked + rng.integers(1_800, 2 * DAY, len(deal))
            solved = given + (rng.exponential(days, len(deal)) * DAY).astype(np.int64) + 3_600
            score = np.clip(np.rint(4.1 - 0.12 * (solved - asked) / DAY + rng.normal(0, 0.6, len(deal))), 1, 5)
            frames.append(
                self._requests(
                    deal, np.full(len(deal), function), asked, given, rng.choice(pool, len(deal)), solved, score
                )
            )
        requests = stack(frames)
        requests = requests.sort_values(["requested_at", "opportunity_id", "known"], kind="stable", ignore_index=True)
        keys = pd.factorize(requests["opportunity_id"].to_numpy() * 10 + requests["which"].to_numpy())[0]
        requests.insert(1, "request_id", keys + self.place.request)
        requests = requests.drop(columns="which").sort_values("known", kind="stable", ignore_index=True)
        self.tables["support_requests"] = requests

        sourced = np.flatnonzero((self.history.lead == 1) & ~deals.imported[: self.n])
        pool = people.helpers["development"]
        team.append(
            self._team(sourced, pool[sourced % len(pool)], "sourcing", deals.created_at[sourced] + 60, overlay=0.10)
        )
        # Whoever leads without a title is on the deals of team-mates.
        leaders = np.flatnonzero(np.array([name == "leader" for name in people.trait]))
        for leader in leaders:
            seat = people.seat[leader]
            mates = np.flatnonzero(
                (people.seat_team[deals.seat[: self.n]] == people.seat_team[seat])
                & (deals.seat[: self.n] != seat)
                & (deals.created_at[: self.n] > (people.hired_on[leader] + 365) * DAY)
                & (rng.random(self.n) < 0.22)
                & ~deals.imported[: self.n]
            )
            team.append(
                self._team(mates, np.full(len(mates), leader), "peer", deals.created_at[mates] + 10 * DAY, overlay=0.0)
            )
        own = self.history.owners
        gone = own.end != NONE
        for mask, left in ((np.ones(len(own.deal), dtype=bool), np.full(len(own.deal), NONE)), (gone, own.end)):
            frame = self._team(own.deal[mask], own.person[mask], "owner", own.start[mask], overlay=np.nan)
            frame["credit_share"] = np.where(left[mask] == NONE, 1.0, 0.0)
            frame["left_at"] = left[mask]
            frame["known"] = np.where(left[mask] == NONE, own.start[mask], left[mask]) // DAY
            team.append(frame)
        self.tables["opportunity_team"] = stack(team).sort_values("known", kind="stable", ignore_index=True)

    def _requests(
        self, deal: Ints, function: Ints, asked: Ints, given: Ints, person: Ints, solved: Ints, score: Floats
    ) -> pd.DataFrame:
        """Three versions of each request: asked, taken on, answered."""
        people = self.people
        requester = self.history.owners.at(deal, asked)
        versions = []
        for state, moment in enumerate((asked, given, solved)):
            versions.append(
                pd.DataFrame(
                    {
                        "known": moment // DAY,
                        "which": function,
                        "opportunity_id": deal + self.history.first_id,
                        "requester_id": requester + people.first_id,
                        "function": words(function, FUNCTIONS),
                        "requested_at": asked,
                        "assignee_id": np.where(state > 0, person + people.first_id, NONE),
                        "assigned_at": np.where(state > 0, given, NONE),
                        "resolved_at": np.where(state > 1, solved, NONE),
                        "outcome": words(np.full(len(deal), 0 if state > 1 else NONE), ["done"]),
                        "satisfaction": np.where(state > 1, score, NONE).astype(np.int64),
                    }
                )
            )
        return stack(versions)

    def _team(self, deal: Ints, person: Ints, role: str, joined: Ints, overlay: float) -> pd.DataFrame:
        count = len(deal)
        kept = joined <= self.end[deal]
        count = int(kept.sum())
        return pd.DataFrame(
            {
                "known": joined[kept] // DAY,
                "opportunity_id": deal[kept] + self.history.first_id,
                "user_id": person[kept] + self.people.first_id,
                "team_role": said(role, count),
                "credit_share": np.zeros(count),
                "overlay_share": np.full(count, overlay),
                "joined_at": joined[kept],
                "left_at": np.full(count, NONE),
            }
        )

    def _managers(self) -> None:
        """When managers first meet the buyer: early, the coach in the first days, the rescuer before the end."""
        rng, deals, people = self.rng, self.deals, self.people
        n = self.n
        closed = np.flatnonzero((deals.closed_at[:n] != NONE) & ~deals.imported[:n] & (deals.type[:n] != RENEWAL))
        day = deals.closed_at[closed] // DAY
        team = people.team_of(deals.seat[closed], day)
        rescues = team == people.rescuing_team
        coaches = team == people.coaching_team
        won = deals.stage[closed] == WON
        draw = rng.random(len(closed))
        late = rescues & (draw < np.where(won, RESCUE_SHARE, 0.18))
        early = ~rescues & (draw < np.where(coaches, 0.15, 0.24))
        life = deals.closed_at[closed] - deals.created_at[closed]
        share = np.where(late, rng.uniform(0.84, 0.97, len(closed)), rng.uniform(0.08, 0.60, len(closed)))
        at = deals.created_at[closed] + (life * share).astype(np.int64)
        for times in range(2):
            chosen = np.flatnonzero((late | early) & (life > 12 * DAY))
            when = at[chosen] + times * rng.integers(1, 3, len(chosen)) * DAY
            when = work_time(rng, workday(when // DAY))
            kept = when < deals.closed_at[closed[chosen]]
            chosen, when = chosen[kept], when[kept]
            deal = closed[chosen]
            manager = people.manager_of(people.team_of(deals.seat[deal], when // DAY), when // DAY)
            # Before anything can go wrong: who comes later than that comes to save the deal.
            first_days = workday(deals.created_at[deal] // DAY + 1 + times) * DAY + when % DAY
            self._add(
                np.full(len(deal), MEETING),
                np.full(len(deal), OUTBOUND),
                SELL,
                manager,
                deals.account[deal],
                deal,
                self._some_contact(deal, when),
                when,
                when // DAY - rng.integers(1, 5, len(deal)),
                np.where(coaches[chosen], np.minimum(when, first_days), when),
            )

    def _territories(self) -> None:
        """Prospecting: mail and calls to accounts without a deal."""
        rng, people, market = self.rng, self.people, self.market
        mondays = self.deals.first_monday + 7 * np.arange(self.deals.weeks)
        hunters = np.flatnonzero(people.seat_role == AE)
        seat, monday = np.repeat(hunters, len(mondays)), np.tile(mondays, len(hunters))
        stay = people.stay(seat, monday)
        person = people.stay_person[stay]
        works = ~people.stay_is_vacant[stay] & (people.stay_from[stay] <= monday)
        # Where little comes of it, as much is done: what is not done for deals goes into looking for them.
        idle = DEAL_WORK_A_WEEK * np.maximum(1 - people.creation[person], 0.0)
        rate = (PROSPECTING_A_WEEK + idle) * people.activity[person]
        row = np.repeat(np.arange(len(seat)), rng.poisson(np.where(works, rate, 0.0)))
        known = np.searchsorted(self.deals.hunter_key, seat[row] * 10**6 + monday[row], side="right")
        first = np.searchsorted(self.deals.hunter_key, seat[row] * 10**6, side="left")
        some = known > first
        row, first, known = row[some], first[some], known[some]
        account = self.deals.by_hunter[first + (rng.random(len(row)) * (known - first)).astype(np.int64)]
        at = work_time(rng, monday[row] + rng.integers(0, 5, len(row)))
        alone = self.deals.key_trait[account] == KEY_TRAITS.index("single_contact")
        there = np.where(alone, 1, market.contacts_of(account))
        contact = market.contact_at[account] + (rng.random(len(row)) * there).astype(np.int64)
        draw = rng.random(len(row))
        self._add(
            np.where(draw < 0.7, EMAIL, CALL),
            np.where(rng.random(len(row)) < 0.93, OUTBOUND, INBOUND),
            SELL,
            person[row],
            account,
            np.full(len(row), NONE),
            contact,
            at,
        )

    def _customers(self) -> None:
        """Value reviews and support, by how close the relationship is."""
        rng, people, market, deals = self.rng, self.people, self.market, self.deals
        customers = np.flatnonzero(deals.customer_since != NONE)
        terms, ends = deals.term_log.frame(), deals.end_log.frame()
        gone = np.full(market.accounts, 10**6)
        left = ends[ends["cancelled"] != NONE]
        gone[terms["account"].to_numpy()[left["row"]]] = left["end"]
        mondays = np.arange(max(deals.start, deals.first_monday), self.until + 15, 7)
        account, monday = np.repeat(customers, len(mondays)), np.tile(mondays, len(customers))
        alive = (monday >= deals.customer_since[account]) & (monday < gone[account])
        account, monday = account[alive], monday[alive]
        trait = deals.key_trait[account]
        warm = np.exp(0.4 * market.engagement[account])
        proactive = trait == KEY_TRAITS.index("proactive")
        ours = 0.016 * warm * np.where(trait != NONE, 1.6, 1.0) * np.where(proactive, 4.0, 1.0)
        theirs = 0.014 * warm * np.where(trait != NONE, 1.6, 1.0) * np.where(proactive, 0.8, 1.0)
        alone = trait == KEY_TRAITS.index("single_contact")
        for rate, direction, purpose in (
            (ours, OUTBOUND, VALUE_REVIEW),
            (theirs, INBOUND, VALUE_REVIEW),
            (0.02 * warm, INBOUND, SUPPORT),
        ):
            row = np.repeat(np.arange(len(account)), rng.poisson(rate))
            who = account[row]
            at = work_time(rng, monday[row] + rng.integers(0, 5, len(row)))
            there = np.where(alone[row], 1, market.contacts_of(who))
            contact = market.contact_at[who] + (rng.random(len(row)) ** 1.5 * there).astype(np.int64)
            seat = market.farmer[who]
            success = people.helpers["success"]
            by_success = rng.random(len(row)) < (0.8 if purpose == SUPPORT else 0.25)
            user = np.where(by_success, success[who % len(success)], people.owner(seat, at // DAY))
            kind = (
                np.full(len(row), MEETING)
                if purpose == VALUE_REVIEW
                else np.where(rng.random(len(row)) < 0.6, EMAIL, CALL)
            )
            booked = at // DAY - rng.integers(3, 14, len(row)) if purpose == VALUE_REVIEW else None
            if purpose == SUPPORT:
                now = at <= (self.until + 1) * DAY
                kind, user, who, contact, at = kind[now], user[now], who[now], contact[now], at[now]
            self._add(
                kind, np.full(len(who), direction), purpose, user, who, np.full(len(who), NONE), contact, at, booked
            )

    def _activities(self) -> None:
        rng = self.rng
        every = stack(self.parts).sort_values(["at", "deal", "account", "user"], kind="stable", ignore_index=True)
        self.parts = []
        count = len(every)
        kind, at = every["kind"].to_numpy(), every["at"].to_numpy()
        minutes = np.where(
            kind == EMAIL, NONE, np.where(kind == CALL, rng.integers(4, 30, count), rng.choice([30, 45, 60, 90], count))
        )
        deal, contact = every["deal"].to_numpy(), every["contact"].to_numpy()
        booked = every["booked"].to_numpy() - (at - every["held_at"].to_numpy()) // DAY
        at = every["held_at"].to_numpy()
        frame = pd.DataFrame(
            {
                "known": at // DAY,
                "activity_id": np.arange(count) + self.place.activity,
                "activity_type": words(kind, ACTIVITY_TYPES),
                "direction": words(every["direction"], DIRECTIONS),
                "purpose": words(every["purpose"], PURPOSES),
                "user_id": every["user"].to_numpy() + self.people.first_id,
                "account_id": every["account"].to_numpy() + self.market.first_account,
                "opportunity_id": np.where(deal == NONE, NONE, deal + self.history.first_id),
                "contact_id": contact + self.market.first_contact,
                "occurred_at": at,
                "duration_minutes": minutes,
                "is_completed": np.ones(count, dtype=bool),
            }
        )
        # A meeting stands in the calendar before it is held.
        ahead = booked < at // DAY
        plans = frame[ahead].copy()
        plans["known"] = booked[ahead]
        plans["is_completed"] = False
        self.tables["activities"] = stack([plans, frame]).sort_values(["known"], kind="stable", ignore_index=True)

    # ---- method, coaching, plans

    def _qualifications(self) -> None:
        rng, deals = self.rng, self.deals
        cause = deals.cause[: self.n]
        frames = []
        moments = [deals.created_at[: self.n], *[self._entered(stage) for stage in (1, 2, 3, 4)]]
        fresh = (deals.type[: self.n] != RENEWAL) & ~deals.imported[: self.n]
        for element, name in enumerate(ELEMENTS):
            due = moments[DUE_AT_STAGE[element]]
            asked = fresh & (due != NONE)
            known = np.full(self.n, 0.90)
            if name == "economic_buyer":
                known = np.where(cause == NO_POWER, 0.12, known)
            elif name == "competition":
                known = np.where(cause == COMPETITOR, 0.25, known)
            elif name == "champion":
                known = np.where((cause == GHOSTED) | (cause == SINGLE_THREADED), 0.45, known)
            elif name in ("identify_pain", "decision_process"):
                known = np.where(cause == STALLED, 0.35, known)
            elif name == "metrics":
                known = np.where(cause == HANDOVER, 0.55, known)
            known = np.clip(known + 0.05 * deals.quality[: self.n], 0.05, 0.97)
            deal = np.flatnonzero(asked)
            claimed = rng.random(len(deal)) < known[deal]
            at = due[deal] + rng.integers(1_800, 5 * DAY, len(deal))
            kept = at < self.end[deal]
            frames.append(self._assessed(deal[kept], element, at[kept], np.where(claimed[kept], 1, 0)))
            proven = kept & claimed & (rng.random(len(deal)) < 0.62)
            later = at + rng.integers(4 * DAY, 25 * DAY, len(deal))
            proven &= later < self.end[deal]
            frames.append(self._assessed(deal[proven], element, later[proven], np.full(int(proven.sum()), 2)))
        self.tables["qualifications"] = stack(frames).sort_values(
            ["known", "opportunity_id"], kind="stable", ignore_index=True
        )

    def _assessed(self, deal: Ints, element: int, at: Ints, status: Ints) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "known": at // DAY,
                "opportunity_id": deal + self.history.first_id,
                "element": said(ELEMENTS[element], len(deal)),
                "assessed_at": at,
                "status": words(status, ["unknown", "claimed", "verified"]),
                "assessed_by_id": self.history.owners.at(deal, at) + self.people.first_id,
                "evidence_activity_id": np.full(len(deal), NONE),
            }
        )

    def _coaching(self) -> None:
        rng, people, deals = self.rng, self.people, self.deals
        mondays = deals.first_monday + 7 * np.arange(deals.weeks)
        seats = np.arange(people.seats)
        seat, monday = np.repeat(seats, len(mondays)), np.tile(mondays, len(seats))
        stay = people.stay(seat, monday)
        works = ~people.stay_is_vacant[stay] & (people.stay_from[stay] <= monday)
        team = people.team_of(seat, monday)
        coaches, rescues = team == people.coaching_team, team == people.rescuing_team
        draw = rng.random(len(seat))
        rate = np.where(coaches, 0.42, np.where(rescues, 0.10, 0.17))
        held = works & (draw < rate)
        seat, monday, team, coaches, rescues = seat[held], monday[held], team[held], coaches[held], rescues[held]
        count = len(seat)
        kind = np.where(
            coaches,
            rng.choice(4, count, p=[0.35, 0.25, 0.25, 0.15]),
            np.where(
                rescues,
                rng.choice(4, count, p=[0.30, 0.30, 0.37, 0.03]),
                rng.choice(4, count, p=[0.50, 0.15, 0.28, 0.07]),
            ),
        )
        at = work_time(rng, monday + rng.integers(0, 5, count))
        by_rep = rng.random(count) < np.where(coaches, 0.86, np.where(rescues, 0.12, 0.50))
        led = np.where(kind == 1, np.where(by_rep, 0, 1), NONE)
        follow = at // DAY + rng.integers(10, 22, count)
        agreed = rng.random(count) < np.where(coaches, 0.92, 0.62)
        done = agreed & (rng.random(count) < np.where(coaches, 0.88, np.where(rescues, 0.30, 0.55)))
        done_on = follow + rng.integers(-5, 6, count)
        order = np.argsort(at, kind="stable")
        session = np.empty(count, dtype=np.int64)
        session[order] = np.arange(count)
        frame = pd.DataFrame(
            {
                "known": at // DAY,
                "session_id": session + self.place.session,
                "manager_id": people.manager_of(team, monday) + people.first_id,
                "rep_id": people.owner(seat, monday) + people.first_id,
                "opportunity_id": np.full(count, NONE),
                "session_type": words(kind, ["one_to_one", "ride_along", "deal_review", "skill"]),
                "led_by": words(led, ["rep", "manager"]),
                "skill": words(np.where(agreed, rng.integers(0, 6, count), NONE), SKILLS),
                "agreed_action": words(np.where(agreed, rng.integers(0, 6, count), NONE), ACTIONS),
                "occurred_at": at,
                "follow_up_on": np.where(agreed, follow, NONE),
                "completed_on": np.full(count, NONE),
            }
        )
        over = frame[done].copy()
        over["known"] = over["completed_on"] = done_on[done]
        self.tables["coaching_sessions"] = stack([frame, over]).sort_values("known", kind="stable", ignore_index=True)

    def _plans(self) -> None:
        rng, deals, market, people = self.rng, self.deals, self.market, self.people
        keys = np.flatnonzero(deals.key_trait != NONE)
        years = np.arange(int(year_of(deals.start)), int(year_of(self.until)) + 1)
        account, year = np.repeat(keys, len(years)), np.tile(years, len(keys))
        trait = deals.key_trait[account]
        proactive = trait == KEY_TRAITS.index("proactive")
        first_of_year = np.array([day_number(f"{value}-01-01") for value in years])[year - years[0]]
        wanted = rng.random(len(account)) < np.where(proactive, 1.0, 0.75)
        account, year, proactive, first_of_year = (
            account[wanted],
            year[wanted],
            proactive[wanted],
            first_of_year[wanted],
        )
        count = len(account)
        approved = first_of_year + rng.integers(5, 60, count)
        reviewed = np.where(proactive, 4, rng.integers(0, 3, count))
        versions = []
        for turn in range(5):
            moment = approved + turn * 80
            here = turn <= reviewed
            versions.append(
                pd.DataFrame(
                    {
                        "known": moment,
                        "plan_id": np.arange(count) + self.place.plan,
                        "account_id": account + market.first_account,
                        "fiscal_year": year,
                        "owner_id": people.owner(market.farmer[account], moment) + people.first_id,
                        "executive_sponsor_id": np.where(
                            proactive | (account % 3 == 0), people.helpers["chief"][0] + people.first_id, NONE
                        ),
                        "customer_sponsor_contact_id": np.where(
                            proactive | (account % 2 == 0), market.contact_at[account] + market.first_contact, NONE
                        ),
                        "status": said("active", count),
                        "target_revenue": np.round(deals.arr[account] * 1.15 + 5_000, -2),
                        "currency": words(market.currency[account], ["USD", "EUR", "GBP", "SGD"]),
                        "approved_on": approved,
                        "last_reviewed_on": np.where(turn > 0, moment, NONE),
                    }
                )[here]
            )
        self.tables["account_plans"] = stack(versions).sort_values("known", kind="stable", ignore_index=True)

        row = np.repeat(np.arange(count), rng.integers(2, 6, count))
        objectives = len(row)
        ours = rng.random(objectives) < np.where(proactive[row], 0.25, 0.70)
        due = approved[row] + rng.integers(60, 300, objectives)
        done = rng.random(objectives) < np.where(ours, 0.55, np.where(proactive[row], 0.85, 0.40))
        done_on = due + rng.integers(-30, 20, objectives)
        first = pd.DataFrame(
            {
                "known": approved[row],
                "objective_id": np.arange(objectives) + self.place.objective,
                "plan_id": row + self.place.plan,
                "description": words(
                    np.where(ours, 3 + np.arange(objectives) % 2, np.arange(objectives) % 3),
                    [
                        "Cut scrap on the main line",
                        "Shorten the release of batches",
                        "Train their quality team",
                        "Add the second site",
                        "Renew early",
                    ],
                ),
                "beneficiary": words(ours.astype(np.int64), ["customer", "supplier"]),
                "due_on": due,
                "status": said("open", objectives),
                "completed_on": np.full(objectives, NONE),
                "value_amount": np.round(rng.lognormal(10.2, 0.6, objectives), -2),
                "currency": words(market.currency[account[row]], ["USD", "EUR", "GBP", "SGD"]),
            }
        )
        over = first[done].copy()
        over["known"] = over["completed_on"] = np.maximum(done_on, approved[row] + 1)[done]
        over["status"] = said("done", len(over))
        self.tables["account_plan_objectives"] = stack([first, over]).sort_values(
            "known", kind="stable", ignore_index=True
        )
