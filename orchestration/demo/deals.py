"""The weeks of the company: deals are opened, move, stall, are won or lost, and customers renew or go.

A deal has a latent quality, known to nobody. In each stage it can advance, be lost, end without a decision, fall back,
or fall into trouble, each at a rate that depends on quality, the seller's skill, the segment and what is wrong. Season
and the end of a period speed up or slow down everything a deal can do at once. So they change when something happens,
and never what: the probability that a deal will be won follows exactly from the rates, and is written into the truth.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from orchestration.demo.frames import DAY, NONE, Bools, Floats, Ints, add_months, logistic, quarter_end
from orchestration.demo.market import LIST_PRICE, ONE_OFF, PRICE_BOOK, RECURRING, Market
from orchestration.demo.people import AE, People

STAGES = [
    "Qualification",
    "Discovery",
    "Solution",
    "Proposal",
    "Negotiation",
    "Closed Won",
    "Closed Lost",
    "No Decision",
]
SOLUTION, PROPOSAL, NEGOTIATION, WON, LOST, NO_DECISION = 2, 3, 4, 5, 6, 7
TYPES = ["new_business", "expansion", "renewal"]
NEW, EXPANSION, RENEWAL = range(3)
CATEGORIES = ["pipeline", "best_case", "commit", "closed", "omitted"]
PIPELINE, BEST_CASE, COMMIT, CLOSED, OMITTED = range(5)
CAUSES = [
    "ghosted",
    "single_threaded",
    "no_power",
    "competitor",
    "value_erosion",
    "stalled",
    "handover",
    "no_technical_proof",
]
GHOSTED, SINGLE_THREADED, NO_POWER, COMPETITOR, VALUE_EROSION, STALLED, HANDOVER, NO_PROOF = range(len(CAUSES))
WARM_UP_WEEKS = 26

# The chance of passing each stage at the norm of everything, by type of deal.
PASS = np.array(
    [
        [0.790, 0.775, 0.780, 0.535, 0.615],
        [0.830, 0.820, 0.820, 0.575, 0.665],
        [0.988, 0.988, 0.988, 0.980, 0.985],
    ]
)
# Mean weeks in each stage at the norm, and how much longer larger customers take.
STAGE_WEEKS = np.array([2.0, 2.8, 3.2, 2.8, 2.0])
SEGMENT_PACE = np.array([0.75, 1.0, 1.45, 1.8])
RENEWAL_WEEKS = 1.5
QUALITY_WEIGHT = 0.70
ENGAGEMENT_WEIGHT = np.array([0.0, 0.35, 0.80])
TROUBLE_LOG_ODDS = np.array([-1.6, -1.2, -1.3, -1.4, -1.3, -1.1, -1.2, -1.3])
TROUBLE_PACE = np.array([0.45, 0.7, 0.65, 0.7, 0.7, 0.35, 0.6, 0.6])
# In trouble of this kind a deal that is not won ends without a decision more often than it is lost.
NO_DECISION_LEAN = np.array([1.2, 0.3, 0.6, -1.2, -0.2, 1.4, 0.2, -0.6])
# By segment: where few deals have a specialist on them, none is missed.
CAUSE_WEIGHTS = np.array(
    [
        [0.22, 0.14, 0.14, 0.16, 0.11, 0.15, 0.08, 0.00],
        [0.22, 0.14, 0.14, 0.16, 0.11, 0.15, 0.08, 0.00],
        [0.19, 0.12, 0.12, 0.14, 0.09, 0.13, 0.07, 0.14],
        [0.19, 0.12, 0.12, 0.14, 0.09, 0.13, 0.07, 0.14],
    ]
)
CAUSE_SHARE = np.array([0.27, 0.24, 0.07])
# How often a week trouble begins in a deal that is to have it; power and proof are not missed before the solution.
ONSET_A_WEEK = 0.35
SPECIALIST_SHARE = np.array([0.25, 0.50, 0.88, 0.94])
HELPED_LOG_ODDS = {"": 0.10, "helpful_specialist": 0.60, "slow_specialist": -0.20}
NOT_HELPED_LOG_ODDS = -0.15
SKIP_SHARE = 0.04
REGRESS_SHARE = np.array([0.025, 0.08])
# New opportunities a week of a settled account executive by segment, and what they are worth in USD.
HUNTER_RATE = np.array([0.335, 0.255, 0.19, 0.135])
RECURRING_VALUE = np.array([9_000.0, 26_000.0, 70_000.0, 170_000.0])
ONE_OFF_VALUE = np.array([14_000.0, 46_000.0, 130_000.0, 340_000.0])
EXPANSION_VALUE = 0.85
EXPANSION_RATE = 0.0125
RECURRING_SHARE_NEW = 0.80
RECURRING_SHARE_LATER = 0.22
RECURRING_SHARE_EXPANSION = 0.75
RENEWAL_UPLIFT = 0.055
CONTRACTION_SHARE = 0.13
BASE_DISCOUNT = np.array([0.05, 0.07, 0.10, 0.12])
ROGUE_REGION = 1
ROGUE_EXTRA = 0.11
CUSTOMERS_AT_START = 355
KEY_TRAITS = ["single_contact", "shrinking", "proactive", "steady"]


@dataclass
class Log:
    """Arrays appended week by week, handed out as one frame."""

    columns: tuple[str, ...]
    parts: list[tuple[Any, ...]] = field(default_factory=list)

    def add(self, *values: Any) -> None:
        if len(values[0]):
            self.parts.append(values)

    def frame(self) -> pd.DataFrame:
        if not self.parts:
            return pd.DataFrame({name: np.zeros(0, dtype=np.int64) for name in self.columns})
        return pd.DataFrame(
            {name: np.concatenate([part[place] for part in self.parts]) for place, name in enumerate(self.columns)}
        )


def win_probability(
    passing: Floats, passing_in_trouble: Floats, rate: Floats, rate_in_trouble: Floats, onset: Floats
) -> Floats:
    """The chance of ending in a win from each stage, in and out of trouble.

    Args:
        passing: deals × stages, the chance of leaving the stage by advancing, out of trouble; and in trouble.
        rate: deals × stages, leavings a week, out of trouble; and in trouble.
        onset: deals × stages, how often a week trouble begins.

    Returns:
        deals × 2 × stages; the second axis is out of trouble, in trouble. Absorption probabilities of the chain.
    """
    stages = passing.shape[1]
    won = np.zeros((len(passing), 2, stages))
    for odds, pace, troubled in ((passing_in_trouble, rate_in_trouble, 1), (passing, rate, 0)):
        # From the last stage back, what is won from a stage is `alpha + beta × what is won from the stage before it`.
        alpha: list[Any] = [1.0, 1.0]
        beta: list[Any] = [0.0, 0.0]
        for stage in range(stages - 1, -1, -1):
            skip = SKIP_SHARE if stage < SOLUTION else 0.0
            back = REGRESS_SHARE[troubled] if stage > 0 else 0.0
            begins = 0.0 if troubled else onset[:, stage] / pace[:, stage]
            total = 1.0 + back + begins
            one, two = odds[:, stage] * (1 - skip) / total, odds[:, stage] * skip / total
            trouble = begins * won[:, 1, stage] / total
            divisor = 1.0 - (one + two * beta[1]) * beta[0]
            here = (one * alpha[0] + two * (alpha[1] + beta[1] * alpha[0]) + trouble) / divisor
            alpha = [here, *alpha]
            beta = [back / total / divisor, *beta]
        below: Any = 0.0
        for stage in range(stages):
            below = won[:, troubled, stage] = alpha[stage] + beta[stage] * below
    return won


class Deals:
    """Every opportunity of one division, a row each in arrays, and the log of what happened to it."""

    def __init__(
        self, rng: np.random.Generator, people: People, market: Market, size: float, start: int, until: int
    ) -> None:
        self.rng, self.people, self.market, self.until = rng, people, market, until
        self.start = start
        first = start - 7 * WARM_UP_WEEKS
        self.first_monday = first - (first + 3) % 7
        self.weeks = (until - self.first_monday) // 7 + 1
        room = int(12_000 * size * self.weeks / 287) + 600
        self.room = room
        self.n = 0

        def ints(fill: int = 0) -> Ints:
            return np.full(room, fill, dtype=np.int64)

        self.account, self.seat, self.type, self.segment = ints(), ints(), ints(), ints()
        self.recurring = np.zeros(room, dtype=bool)
        self.imported = np.zeros(room, dtype=bool)
        self.created_at, self.closed_at = ints(), ints(NONE)
        self.first_stage, self.stage, self.category, self.first_category = ints(), ints(), ints(), ints()
        self.first_close_date, self.close_date = ints(), ints()
        self.quality = np.zeros(room)
        self.skill = np.zeros((room, 2))
        self.cause, self.trouble_at = ints(NONE), ints(NONE)
        self.specialist = ints(NONE)
        self.lines = ints(1)
        self.product = np.full((room, 3), NONE)
        self.list_unit = np.zeros((room, 3))
        self.quantity = np.zeros((room, 3), dtype=np.int64)
        self.first_quantity = np.zeros((room, 3), dtype=np.int64)
        self.discount, self.first_discount = np.zeros(room), np.zeros(room)
        self.amount, self.first_amount = np.zeros(room), np.zeros(room)
        self.priced_at = np.zeros(room, dtype=np.int64)
        self.rogue = np.zeros(room, dtype=bool)
        self.deadline = ints(10**6)
        self.prob = np.zeros((room, 2, 5))
        self.passing = np.zeros((room, 2, 5))
        self.rate = np.zeros((room, 2, 5))
        self.onset = np.zeros((room, 5))

        self.stage_log = Log(("deal", "at", "old", "new"))
        self.close_log = Log(("deal", "at", "old", "new"))
        self.category_log = Log(("deal", "at", "old", "new"))
        self.amount_log = Log(("deal", "at", "old", "new", "q0", "q1", "q2", "discount"))
        self.competitor_log = Log(("deal", "at", "competitor"))
        self.seat_log = Log(("deal", "at", "old", "new"))
        self.panel_log = Log(
            ("deal", "monday", "stage", "troubled", "p_win", "category", "close_date", "amount", "seat")
        )
        self.term_log = Log(("account", "start", "end", "arr", "deal", "reason", "known"))
        self.end_log = Log(("row", "end", "cancelled", "reason", "known"))
        self.terms = 0

        accounts = market.accounts
        self.customer_since = np.full(accounts, NONE)
        self.arr = np.zeros(accounts)
        self.term_row = np.full(accounts, NONE)
        self.term_start, self.term_end = np.full(accounts, NONE), np.full(accounts, NONE)
        self.added = np.zeros(accounts)
        self.renewing = np.zeros(accounts, dtype=bool)
        self.has_churned = np.zeros(accounts, dtype=bool)
        self.key_trait = np.full(accounts, NONE)
        order = np.argsort(market.hunter, kind="stable")
        self.by_hunter = order
        self.hunter_key = market.hunter[order] * 10**6 + market.created[order]
        self.next_seat = _next_seats(people)
        self._specialists()
        self._first_customers(max(12, round(CUSTOMERS_AT_START * size)))

    # ---- who and what a deal is

    def _specialists(self) -> None:
        who = self.people.helpers["specialists"]
        self.specialist_effect = np.array([HELPED_LOG_ODDS[self.people.trait[person]] for person in who])

    def _first_customers(self, count: int) -> None:
        """Customers from before the history begins, won in the year before it, in the old system."""
        accounts = self.market.accounts
        early = np.flatnonzero(self.market.created < self.start - 200)
        if len(early) < count:
            self.market.created[: count * 2] = np.minimum(self.market.created[: count * 2], self.start - 420)
            early = np.flatnonzero(self.market.created < self.start - 200)
        # Large customers first among the key accounts.
        chosen = self.rng.choice(early, min(count, len(early)), replace=False)
        rank = np.lexsort((chosen, -self.market.weight[chosen], -self.market.segment[chosen]))
        keys = chosen[rank][: max(4, round(0.08 * len(chosen)))]
        self.key_trait[keys] = np.arange(len(keys)) % len(KEY_TRAITS)
        self.market.engagement[keys] = np.where(self.key_trait[keys] == KEY_TRAITS.index("shrinking"), -0.3, 0.8)
        assert accounts == len(self.key_trait)
        won_on = self.first_monday - 330 + np.sort(self.rng.integers(0, 320, len(chosen)))
        seat = self.market.hunter[chosen]
        deal = self._open(
            seat, chosen, np.full(len(chosen), NEW), won_on - 60, recurring=np.ones(len(chosen), dtype=bool)
        )
        self.cause[deal] = NONE
        self.imported[deal] = True
        self.first_stage[deal] = self.stage[deal] = PROPOSAL
        self.first_category[deal] = self.category[deal] = BEST_CASE
        self._odds(deal)
        self._close(deal, np.full(len(deal), WON), won_on * DAY + 15 * 3600)

    def _open(self, seat: Ints, account: Ints, kind: Ints, day: Ints, recurring: Bools) -> Ints:
        """Opens deals on working days and returns their numbers."""
        count = len(seat)
        if self.n + count > self.room:
            raise ValueError(f"the simulation made more than {self.room} deals")
        deal = np.arange(self.n, self.n + count)
        self.n += count
        rng, market = self.rng, self.market
        self.seat[deal], self.account[deal], self.type[deal] = seat, account, kind
        self.segment[deal] = market.segment[account]
        self.recurring[deal] = recurring
        self.created_at[deal] = day * DAY + rng.integers(7 * 3600, 12 * 3600, count)
        self.quality[deal] = rng.normal(0, 1, count)
        self._learn_skill(deal, day)
        draw = rng.random(count)
        cumulated = np.cumsum(CAUSE_WEIGHTS, axis=1)[self.segment[deal]]
        cause = np.minimum((rng.random(count)[:, None] >= cumulated).sum(axis=1), len(CAUSES) - 1)
        self.cause[deal] = np.where(draw < CAUSE_SHARE[kind], cause, NONE)
        helped = (rng.random(count) < SPECIALIST_SHARE[self.segment[deal]]) & (kind != RENEWAL)
        helped &= self.cause[deal] != NO_PROOF
        self.specialist[deal] = np.where(helped, rng.integers(0, len(self.specialist_effect), count), NONE)
        self._price(deal)
        self._odds(deal)
        self.first_stage[deal] = self.stage[deal] = 0
        pace = np.where(kind == RENEWAL, 5 * RENEWAL_WEEKS, STAGE_WEEKS.sum() * SEGMENT_PACE[self.segment[deal]])
        guess = day + np.rint(pace * 7 * 1.1 * np.exp(rng.normal(0, 0.30, count))).astype(np.int64)
        snapped = quarter_end(guess) - rng.integers(0, 4, count)
        guess = np.where((rng.random(count) < 0.45) & (snapped > day + 10), snapped, guess)
        self.first_close_date[deal] = self.close_date[deal] = guess
        self.first_category[deal] = self.category[deal] = PIPELINE
        return deal

    def _learn_skill(self, deal: Ints, day: Ints | int) -> None:
        """What the owner brings to the deal, from now on: skill, less while new in the job."""
        seat = self.seat[deal]
        days = np.broadcast_to(np.asarray(day), seat.shape)
        stay = self.people.stay(seat, days)
        person = self.people.stay_person[stay]
        vacant = self.people.stay_is_vacant[stay]
        ramp = self.people.ramp(person, days)
        self.skill[deal, 0] = np.where(vacant, -0.4, self.people.win[person] - 0.7 * (1 - ramp))
        self.skill[deal, 1] = np.where(vacant, 0.0, self.people.win_at_solution[person])

    def _odds(self, deal: Ints) -> None:
        """Rates of everything that can happen to a deal, and the chance of winning that follows from them."""
        kind, segment, cause = self.type[deal], self.segment[deal], self.cause[deal]
        base = np.log(PASS[kind] / (1 - PASS[kind]))
        account = self.account[deal]
        log_odds = base + (QUALITY_WEIGHT * self.quality[deal] * np.where(kind == RENEWAL, 0.5, 1.0))[:, None]
        log_odds += (ENGAGEMENT_WEIGHT[kind] * self.market.engagement[account])[:, None]
        log_odds += np.where((self.key_trait[account] != NONE) & (kind == RENEWAL), 2.0, 0.0)[:, None]
        log_odds += np.array([0.08, 0.02, -0.04, -0.08])[segment][:, None] + self.skill[deal, :1]
        log_odds[:, SOLUTION] += self.skill[deal, 1]
        helped = np.where(
            self.specialist[deal] == NONE,
            np.where(kind == RENEWAL, 0.0, NOT_HELPED_LOG_ODDS),
            self.specialist_effect[np.maximum(self.specialist[deal], 0)],
        )
        log_odds[:, SOLUTION:] += helped[:, None]
        troubled = np.where(cause == NONE, 0.0, TROUBLE_LOG_ODDS[np.maximum(cause, 0)])
        pace = 1.0 / (STAGE_WEEKS[None, :] * SEGMENT_PACE[segment][:, None])
        pace = np.where((kind == RENEWAL)[:, None], 1.0 / RENEWAL_WEEKS, pace)
        self.passing[deal, 0] = logistic(log_odds)
        self.passing[deal, 1] = logistic(log_odds + troubled[:, None])
        self.rate[deal, 0] = pace
        self.rate[deal, 1] = pace * np.where(cause == NONE, 1.0, TROUBLE_PACE[np.maximum(cause, 0)])[:, None]
        late = ((cause == NO_POWER) | (cause == NO_PROOF))[:, None] & (np.arange(5) < SOLUTION)
        self.onset[deal] = np.where((cause == NONE)[:, None] | late, 0.0, ONSET_A_WEEK)
        self.prob[deal] = win_probability(
            self.passing[deal, 0], self.passing[deal, 1], self.rate[deal, 0], self.rate[deal, 1], self.onset[deal]
        )

    def _price(self, deal: Ints) -> None:
        rng = self.rng
        count = len(deal)
        segment, account, kind = self.segment[deal], self.account[deal], self.type[deal]
        book = PRICE_BOOK[self.market.currency[account]]
        seat_size = self.people.size[self.people.owner(self.seat[deal], self.created_at[deal] // DAY)]
        value = np.where(self.recurring[deal], RECURRING_VALUE[segment], ONE_OFF_VALUE[segment])
        value = (
            value * np.where(kind == EXPANSION, EXPANSION_VALUE, 1.0) * seat_size * self.market.weight[account] ** 0.4
        )
        value = value * np.exp(rng.normal(0, 0.45, count)) * book
        value = np.where(kind == RENEWAL, self.arr[account] * (1 + RENEWAL_UPLIFT), value)
        lines = np.where(kind == RENEWAL, 1, rng.choice([1, 2, 3], count, p=[0.55, 0.3, 0.15]))
        self.lines[deal] = lines
        share = rng.dirichlet([4.0, 2.0, 1.0], count)
        share = np.where(np.arange(3)[None, :] < lines[:, None], share, 0.0)
        share = share / share.sum(axis=1, keepdims=True)
        pick = rng.random((count, 3))
        for place in range(3):
            wanted = value * share[:, place] / book
            for pool, mask in ((RECURRING, self.recurring[deal]), (ONE_OFF, ~self.recurring[deal])):
                # Nobody buys half a thing: what costs more than the line is worth is not on it.
                prices = LIST_PRICE[pool]
                order = np.argsort(prices, kind="stable")
                sensible = np.searchsorted(prices[order], wanted / np.where(kind == RENEWAL, 5.0, 1.2), side="right")
                choice = pool[
                    order[np.minimum((pick[:, place] * np.maximum(sensible, 1)).astype(np.int64), len(pool) - 1)]
                ]
                here = mask & (share[:, place] > 0)
                self.product[deal[here], place] = choice[here]
        product = self.product[deal]
        unit = np.round(np.where(product == NONE, 0.0, LIST_PRICE[np.maximum(product, 0)]) * book[:, None], 2)
        self.list_unit[deal] = unit
        discount = np.clip(BASE_DISCOUNT[segment] * 0.5 + rng.normal(0, 0.015, count), 0.0, 0.3)
        target = value[:, None] * share / np.where(unit > 0, unit * (1 - discount[:, None]), 1.0)
        quantity = np.where(product == NONE, 0, np.maximum(np.rint(target), 1)).astype(np.int64)
        # A renewal carries the price that was agreed, not a new one.
        agreed = 1 - value / np.maximum(unit[:, 0] * quantity[:, 0], 0.01)
        self.discount[deal] = np.where(kind == RENEWAL, np.clip(agreed, -0.05, 0.45), discount)
        self.quantity[deal] = quantity
        self.amount[deal] = self._worth(deal)
        self.first_quantity[deal], self.first_discount[deal] = quantity, self.discount[deal]
        self.first_amount[deal] = self.amount[deal]

    def _worth(self, deal: Ints) -> Floats:
        net = np.round(self.list_unit[deal] * (1 - self.discount[deal][:, None]), 2)
        return np.round((net * self.quantity[deal]).sum(axis=1), 2)

    def _reprice(self, deal: Ints, at: Ints) -> None:
        """Writes down what quantity and discount have become, where that is another amount."""
        worth = self._worth(deal)
        moved = np.abs(worth - self.amount[deal]) >= 0.01
        deal, worth = deal[moved], worth[moved]
        # Each change builds on the one before, also where both fall on one afternoon.
        at = np.maximum(at[moved], self.priced_at[deal] + 1)
        self.priced_at[deal] = at
        quantity = self.quantity[deal]
        self.amount_log.add(
            deal, at, self.amount[deal], worth, quantity[:, 0], quantity[:, 1], quantity[:, 2], self.discount[deal]
        )
        self.amount[deal] = worth

    # ---- the weeks

    def run(self) -> None:
        for week in range(self.weeks):
            self._week(self.first_monday + 7 * week)

    def _week(self, monday: int) -> None:
        live = np.flatnonzero(self.closed_at[: self.n] == NONE)
        self._take_over(live, monday)
        troubled = (self.trouble_at[live] != NONE).astype(np.int64)
        stage = self.stage[live]
        self.panel_log.add(
            live,
            np.full(len(live), monday),
            stage,
            troubled,
            self.prob[live, troubled, stage],
            self.category[live],
            self.close_date[live],
            self.amount[live],
            self.seat[live],
        )
        rest = self._happen(live, troubled, monday)
        rest = self._decide_renewals(rest, monday)
        self._drift(rest, monday)
        self._categorise(rest, np.full(len(rest), (monday + 4) * DAY + 17 * 3600 + 1800))
        self._end_terms(monday)
        self._create(monday)

    def _take_over(self, live: Ints, monday: int) -> None:
        """A new owner brings other skills."""
        changed = (self.people.stay_from >= monday - 7) & (self.people.stay_from < monday)
        moved = live[np.isin(self.seat[live], self.people.stay_seat[changed])]
        if len(moved):
            self._learn_skill(moved, monday)
            self._odds(moved)

    def _pace(self, monday: int) -> float:
        """How fast everything goes this week: slow at the start of a quarter and on holiday, fast at its end."""
        left = int(quarter_end(monday)) - monday
        pace = 1.45 if left <= 20 else 0.8 if left > 68 else 1.0
        date = pd.Timestamp(monday, unit="D")
        if date.month == 8 or (date.month == 12 and date.day > 21):
            pace *= 0.65
        return pace

    def _happen(self, live: Ints, troubled: Ints, monday: int) -> Ints:
        """What happens to open deals this week, at most one thing each; returns those still open and unmoved."""
        rng, count = self.rng, len(live)
        stage = self.stage[live]
        passing, rate = self.passing[live, troubled, stage], self.rate[live, troubled, stage]
        person = self.people.owner(self.seat[live], np.full(count, monday))
        pace = self._pace(monday) * np.where(stage == NEGOTIATION, self.people.landing[person], 1.0)
        back = np.where(stage > 0, REGRESS_SHARE[troubled], 0.0)
        onset = np.where(troubled == 1, 0.0, self.onset[live, stage])
        total = rate * (1 + back) + onset
        happens = rng.random(count) < 1 - np.exp(-pace * total)
        which = rng.random(count) * total
        skip = rng.random(count) < np.where(stage < SOLUTION, SKIP_SHARE, 0.0)
        ahead = happens & (which < rate * passing)
        ends = happens & ~ahead & (which < rate)
        falls = happens & ~ahead & ~ends & (which < rate * (1 + back))
        begins = happens & ~ahead & ~ends & ~falls
        at = (monday + rng.integers(0, 5, count)) * DAY + rng.integers(12 * 3600, 18 * 3600, count)
        lean = -0.30 - 0.8 * self.quality[live] - self._lost_lean(live)
        lean = lean + np.where(troubled == 1, NO_DECISION_LEAN[np.maximum(self.cause[live], 0)], 0.0)
        undecided = rng.random(count) < logistic(lean)

        self._begin_trouble(live[begins], at[begins])
        target = np.where(ahead, np.minimum(stage + 1 + skip, WON), stage - 1)
        moves = (ahead & (target < WON)) | falls
        self._move(live[moves], target[moves], at[moves])
        wins = ahead & (target == WON)
        self._close(live[wins], np.full(int(wins.sum()), WON), at[wins])
        self._close(live[ends], np.where(undecided[ends], NO_DECISION, LOST), at[ends])
        return live[~wins & ~ends]

    def _lost_lean(self, deal: Ints) -> Floats:
        return np.where(self.type[deal] == RENEWAL, 0.6, 0.0)

    def _begin_trouble(self, deal: Ints, at: Ints) -> None:
        self.trouble_at[deal] = at
        named = deal[self.cause[deal] == COMPETITOR]
        self.competitor_log.add(named, self.trouble_at[named] + 60, self.rng.integers(0, 4, len(named)))
        handed = deal[self.cause[deal] == HANDOVER]
        if len(handed):
            day = self.trouble_at[handed] // DAY
            new = self.next_seat[self.seat[handed]]
            self.seat_log.add(handed, self.trouble_at[handed], self.seat[handed], new)
            self.seat[handed] = new
            self._learn_skill(handed, day)
            self._odds(handed)

    def _move(self, deal: Ints, target: Ints, at: Ints) -> None:
        self.stage_log.add(deal, at, self.stage[deal], target)
        self.stage[deal] = target
        priced = deal[(target >= PROPOSAL)]
        when = at[target >= PROPOSAL]
        fresh = self.type[priced] != RENEWAL
        priced, when = priced[fresh], when[fresh]
        asked = np.clip(self.rng.normal(BASE_DISCOUNT[self.segment[priced]], 0.03), 0.0, 0.35)
        self.discount[priced] = np.round(np.maximum(self.discount[priced], asked), 4)
        self._reprice(priced, when + 40)
        near = (self.stage[deal] == NEGOTIATION) & (self.rng.random(len(deal)) < 0.35)
        this_end = quarter_end(at // DAY)
        near &= (self.close_date[deal] > this_end) & (this_end - at // DAY > 10) & (self.type[deal] != RENEWAL)
        pulled = deal[near]
        self._redate(pulled, this_end[near] - self.rng.integers(0, 5, len(pulled)), at[near] + 90)

    def _redate(self, deal: Ints, day: Ints, at: Ints) -> None:
        moved = self.close_date[deal] != day
        self.close_log.add(deal[moved], at[moved], self.close_date[deal][moved], day[moved])
        self.close_date[deal] = day

    def _drift(self, deal: Ints, monday: int) -> None:
        """Deals that are still open: their dates are pushed, their amounts move."""
        rng = self.rng
        at = (monday + 4) * DAY + rng.integers(15 * 3600, 17 * 3600, len(deal))
        due = (self.close_date[deal] <= monday + 6) & (self.type[deal] != RENEWAL) & (rng.random(len(deal)) < 0.75)
        pushed = deal[due]
        step = rng.integers(10, 45, len(pushed))
        later = np.maximum(self.close_date[pushed], monday + 4) + step
        end = quarter_end(later) - rng.integers(0, 4, len(pushed))
        later = np.where((rng.random(len(pushed)) < 0.5) & (end > monday + 8), end, later)
        self._redate(pushed, later, at[due])

        eroding = (self.cause[deal] == VALUE_EROSION) & (self.trouble_at[deal] != NONE) & (rng.random(len(deal)) < 0.30)
        less = deal[eroding]
        self.discount[less] = np.round(np.minimum(self.discount[less] + rng.uniform(0.03, 0.08, len(less)), 0.40), 4)
        self._shrink(less, rng.uniform(0.75, 0.95, len(less)))
        drifts = (rng.random(len(deal)) < 0.030) & (self.type[deal] != RENEWAL) & ~eroding
        other = deal[drifts]
        self._shrink(other, np.exp(rng.normal(0.0, 0.15, len(other))))
        changed = eroding | drifts
        self._reprice(deal[changed], at[changed] + 120)

    def _shrink(self, deal: Ints, factor: Floats) -> None:
        quantity = self.quantity[deal]
        scaled = np.maximum(np.rint(quantity * factor[:, None]), 1).astype(np.int64)
        self.quantity[deal] = np.where(quantity > 0, scaled, 0)

    def _categorise(self, deal: Ints, at: Ints) -> None:
        """What the owner calls the deal: an optimist commits early, a sandbagger late."""
        troubled = (self.trouble_at[deal] != NONE).astype(np.int64)
        stage = self.stage[deal]
        person = self.people.owner(self.seat[deal], at // DAY)
        belief = self.prob[deal, troubled, stage] * self.people.temper[person]
        # Owners see trouble late.
        blind = (troubled == 1) & (at - self.trouble_at[deal] < 28 * DAY)
        belief = np.where(blind, self.prob[deal, 0, stage] * self.people.temper[person], belief)
        category = np.where(
            stage >= PROPOSAL, np.where((stage == NEGOTIATION) & (belief > 0.55), COMMIT, BEST_CASE), PIPELINE
        )
        category = np.where((category == BEST_CASE) & (belief < 0.22), PIPELINE, category)
        category = np.where(self.type[deal] == RENEWAL, np.where(belief > 0.75, COMMIT, BEST_CASE), category)
        moved = category != self.category[deal]
        self.category_log.add(deal[moved], at[moved], self.category[deal][moved], category[moved])
        self.category[deal] = category

    def _decide_renewals(self, deal: Ints, monday: int) -> Ints:
        """A renewal is decided before its term ends."""
        forced = self.deadline[deal] <= monday + 8
        due = deal[forced]
        troubled = (self.trouble_at[due] != NONE).astype(np.int64)
        wins = self.rng.random(len(due)) < self.prob[due, troubled, self.stage[due]]
        undecided = self.rng.random(len(due)) < 0.35
        at = (monday + 4) * DAY + self.rng.integers(18 * 3600, 19 * 3600, len(due))
        self._close(due, np.where(wins, WON, np.where(undecided, NO_DECISION, LOST)), at)
        return deal[~forced]

    def _close(self, deal: Ints, outcome: Ints, at: Ints) -> None:
        if not len(deal):
            return
        rng = self.rng
        won = outcome == WON
        buying = deal[won]
        left = quarter_end(at[won] // DAY) - at[won] // DAY
        fresh = (self.type[buying] != RENEWAL) & ~self.imported[buying] & (left < 10)
        extra = np.where(fresh & (rng.random(len(buying)) < 0.45), 0.025, 0.0)
        region = self.people.team_region[self.people.team_of(self.seat[buying], at[won] // DAY)]
        rogue = fresh & (region == ROGUE_REGION) & (rng.random(len(buying)) < 0.70)
        self.rogue[buying] = rogue
        extra = extra + np.where(rogue, ROGUE_EXTRA + rng.normal(0, 0.015, len(buying)), 0.0)
        self.discount[buying] = np.round(np.clip(self.discount[buying] + extra, -0.05, 0.5), 4)
        shrinking = self.key_trait[self.account[buying]] == KEY_TRAITS.index("shrinking")
        renewed = self.type[buying] == RENEWAL
        less = renewed & (shrinking | (rng.random(len(buying)) < CONTRACTION_SHARE))
        self._shrink(buying[less], np.where(shrinking[less], 0.75, rng.uniform(0.60, 0.92, int(less.sum()))))
        self._reprice(buying, at[won])
        self._redate(deal, at // DAY, at)
        category = np.where(won, CLOSED, OMITTED)
        self.category_log.add(deal, at, self.category[deal], category)
        self.category[deal] = category
        self.stage_log.add(deal, at, self.stage[deal], outcome)
        self.stage[deal] = outcome
        self.closed_at[deal] = at
        self._book(buying, at[won] // DAY)
        self._lose_customers(deal[~won & (self.type[deal] == RENEWAL)], at[~won & (self.type[deal] == RENEWAL)] // DAY)

    # ---- customers

    def _book(self, deal: Ints, day: Ints) -> None:
        """Won deals become terms of a subscription; one account's are taken one after the other."""
        account = self.account[deal]
        first = self.customer_since[account] == NONE
        self.customer_since[account[first]] = day[first]
        sold = self.recurring[deal]
        deal, day = deal[sold], day[sold]
        while len(deal):
            _, once = np.unique(self.account[deal], return_index=True)
            once.sort()
            self._book_once(deal[once], day[once])
            rest = np.ones(len(deal), dtype=bool)
            rest[once] = False
            deal, day = deal[rest], day[rest]

    def _book_once(self, deal: Ints, day: Ints) -> None:
        account = self.account[deal]
        running = self.term_row[account] != NONE
        renewal = (self.type[deal] == RENEWAL) & running
        amount = self.amount[deal]
        month = add_months(day, 1)

        new = ~running
        start = month[new]
        reason = np.where(self.has_churned[account[new]], 5, 0)
        self._term(account[new], start, add_months(start, 12), amount[new], deal[new], reason, day[new])

        more = running & ~renewal
        change = np.maximum(month, add_months(np.maximum(self.term_start[account], 0), 1))
        late = more & (change >= self.term_end[account])
        # Sold in the last month of a term: it starts with the next one.
        self.added[account[late]] += amount[late]
        more &= ~late
        who = account[more]
        self.end_log.add(self.term_row[who], change[more], np.full(len(who), NONE), np.full(len(who), NONE), day[more])
        end = self.term_end[who]
        self._term(who, change[more], end, self.arr[who] + amount[more], deal[more], np.full(len(who), 2), day[more])

        who = account[renewal]
        worth = amount[renewal] + self.added[who]
        self.added[who] = 0.0
        before = self.arr[who]
        reason = np.where(worth > before * 1.12, 2, np.where(worth < before * 0.985, 3, 1))
        start = self.term_end[who]
        self.renewing[who] = False
        self._term(who, start, add_months(start, 12), worth, deal[renewal], reason, day[renewal])

    def _term(self, account: Ints, start: Ints, end: Ints, arr: Floats, deal: Ints, reason: Ints, known: Ints) -> None:
        count = len(account)
        self.term_log.add(account, start, end, np.round(arr, 2), deal, reason, known)
        self.term_row[account] = np.arange(self.terms, self.terms + count)
        self.terms += count
        self.term_start[account], self.term_end[account], self.arr[account] = start, end, np.round(arr, 2)

    def _lose_customers(self, deal: Ints, day: Ints) -> None:
        account = self.account[deal]
        row = self.term_row[account]
        reason = self.rng.integers(0, 5, len(deal))
        self.end_log.add(row, self.term_end[account], day, reason, day)
        self.renewing[account] = False
        self.has_churned[account] = True
        # Served until the term ends; nothing is sold to them before that.
        self.arr[account] = 0.0
        self.added[account] = 0.0

    def _end_terms(self, monday: int) -> None:
        over = (self.term_row != NONE) & (self.arr == 0.0) & (self.term_end <= monday + 7)
        self.term_row[over] = NONE

    # ---- new deals

    def _create(self, monday: int) -> None:
        rng, people, market = self.rng, self.people, self.market
        hunters = np.flatnonzero(people.seat_role == AE)
        days = np.full(len(hunters), monday)
        stay = people.stay(hunters, days)
        person = people.stay_person[stay]
        vacant = people.stay_is_vacant[stay] | (people.stay_from[stay] > monday)
        rate = HUNTER_RATE[people.seat_segment[hunters]] * people.activity[person] * people.creation[person]
        rate = rate * people.ramp(person, days) * np.where(vacant, 0.0, 1.0) * (0.5 + 0.5 * self._pace(monday))
        seat = np.repeat(hunters, rng.poisson(rate))
        known = np.searchsorted(self.hunter_key, seat * 10**6 + monday, side="right")
        first = np.searchsorted(self.hunter_key, seat * 10**6, side="left")
        some = known > first
        seat, first, known = seat[some], first[some], known[some]
        account = self.by_hunter[first + (rng.random(len(seat)) * (known - first)).astype(np.int64)]
        running = self.term_row[account] != NONE
        known_customer = self.customer_since[account] != NONE
        draw = rng.random(len(seat))
        recurring = draw < np.where(known_customer, RECURRING_SHARE_LATER, RECURRING_SHARE_NEW)
        recurring &= ~(running & (self.arr[account] == 0.0))
        kind = np.where(known_customer, EXPANSION, NEW)

        alive = np.flatnonzero((self.term_row != NONE) & (self.arr > 0.0))
        farmer = market.farmer[alive]
        person = people.owner(farmer, np.full(len(farmer), monday))
        rate = (
            EXPANSION_RATE * np.exp(0.4 * market.engagement[alive]) * people.activity[person] * people.creation[person]
        )
        rate = np.where(self.key_trait[alive] == KEY_TRAITS.index("shrinking"), 0.3 * rate, rate)
        more = alive[rng.random(len(alive)) < rate]
        due = alive[(self.term_end[alive] <= monday + 7 * 15) & ~self.renewing[alive]]
        due = due[self.term_end[due] > monday + 14]
        self.renewing[due] = True

        sizes = [len(seat), len(more), len(due)]
        seat = np.concatenate([seat, market.farmer[more], market.farmer[due]])
        kind = np.concatenate([kind, np.full(len(more), EXPANSION), np.full(len(due), RENEWAL)])
        recurring = np.concatenate(
            [recurring, rng.random(len(more)) < RECURRING_SHARE_EXPANSION, np.ones(len(due), dtype=bool)]
        )
        day = monday + rng.integers(0, 5, len(seat))
        deal = self._open(seat, np.concatenate([account, more, due]), kind, day, recurring)[sizes[0] + sizes[1] :]
        self.deadline[deal] = self.term_end[due] - 3
        moved = self.term_end[due] - rng.integers(2, 12, len(due))
        self.first_close_date[deal] = self.close_date[deal] = moved
        self.first_category[deal] = self.category[deal] = BEST_CASE


def _next_seats(people: People) -> Ints:
    """Of each seat, the next one that hunts in the same team: who takes over a deal. A seat alone keeps its own."""
    following = np.arange(people.seats)
    for team in range(people.teams):
        hunters = np.flatnonzero((people.seat_team == team) & (people.seat_role == AE))
        members = np.flatnonzero(people.seat_team == team)
        if len(hunters) > 1:
            following[members] = hunters[np.searchsorted(hunters, members, side="right") % len(hunters)]
    return following
