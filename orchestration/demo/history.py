"""What the CRM shows of a deal: its current row as of any day, its field history, its lines, and who owned it when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from orchestration.demo.deals import CATEGORIES, LOST, NO_DECISION, PROPOSAL, RENEWAL, STAGES, TYPES, WON, Deals
from orchestration.demo.frames import DAY, NONE, Floats, Ints, stack, words

LEADS = ["Inbound", "Outbound", "Partner", "Event", "Referral", "Customer"]
LOSSES = ["Price", "Competitor", "Missing feature", "Timing", "Relationship"]
NO_DECISIONS = ["No budget", "Priorities changed", "Stopped answering", "Project postponed"]
COMPETITORS = ["Calyx", "Orbit Metrics", "Vantis", "Brennan & Co"]
NEXT_STEPS = [
    "Call to agree the agenda",
    "Discovery workshop with Operations",
    "Send the summary of the problem",
    "Demo for the technical team",
    "Site visit with Quality",
    "Walk through the proposal",
    "Review of terms with Procurement",
    "Call with the sponsor",
    "Agree the plan to go live",
    "Follow up by e-mail",
]
STAGE_PROBABILITY = np.array([0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 0.0, 0.0])


@dataclass
class Owners:
    """Who answered for a deal from when to when: a row a stretch, sorted by deal and start; seconds."""

    deal: Ints
    start: Ints
    end: Ints
    person: Ints

    def at(self, deal: Ints, second: Ints) -> Ints:
        """The person who owns a deal at a time; its first owner before that."""
        keys = self.deal * 10**11 + self.start
        found = np.searchsorted(keys, np.asarray(deal) * 10**11 + np.asarray(second), side="right") - 1
        return self.person[np.maximum(found, np.searchsorted(self.deal, deal, side="left"))]


def owners(deals: Deals) -> Owners:
    """Stretches of ownership: a deal goes with its seat, and with a handover to another one."""
    people = deals.people
    n = deals.n
    numbers = np.arange(n)
    far = np.int64(10**10)
    closed = np.where(deals.closed_at[:n] == NONE, far, deals.closed_at[:n])
    moved = deals.seat_log.frame()
    first_seat = deals.seat[:n].copy()
    first_end = np.full(n, far)
    if len(moved):
        first_seat[moved["deal"]] = moved["old"]
        first_end[moved["deal"]] = moved["at"]
    parts = [pd.DataFrame({"deal": numbers, "seat": first_seat, "low": deals.created_at[:n], "high": first_end})]
    if len(moved):
        parts.append(pd.DataFrame({"deal": moved["deal"], "seat": moved["new"], "low": moved["at"], "high": far}))
    seats = pd.concat(parts)
    begins = seats["low"].to_numpy() // DAY
    rows = [
        pd.DataFrame(
            {"deal": seats["deal"], "at": seats["low"], "person": people.owner(seats["seat"].to_numpy(), begins)}
        )
    ]
    stays = pd.DataFrame(
        {"seat": people.stay_seat, "turn": people.stay_from * DAY + 6 * 3600, "person": people.stay_person}
    )
    turns = seats.merge(stays, on="seat")
    turns = turns[(turns["turn"] > turns["low"]) & (turns["turn"] < turns["high"])]
    rows.append(pd.DataFrame({"deal": turns["deal"], "at": turns["turn"], "person": turns["person"]}))
    every = pd.concat(rows).sort_values(["deal", "at"], kind="stable")
    every = every[every["at"].to_numpy() < closed[every["deal"].to_numpy()] + 1]
    same = (every["deal"] == every["deal"].shift()) & (every["person"] == every["person"].shift())
    every = every[~same.to_numpy()]
    deal, at = every["deal"].to_numpy(), every["at"].to_numpy()
    end = np.full(len(deal), NONE)
    follows = deal[1:] == deal[:-1]
    end[:-1][follows] = at[1:][follows]
    return Owners(deal, at, end, every["person"].to_numpy())


@dataclass
class Field:
    """The log of one field, sorted by deal and time, with the value before the first entry."""

    deal: Ints
    at: Ints
    value: Any
    first: Any

    def state(self, deal: Ints, second: Ints) -> Any:
        """The value at a time."""
        if not len(self.deal):
            return self.first[deal]
        keys = self.deal * 10**11 + self.at
        found = np.searchsorted(keys, deal * 10**11 + second, side="right") - 1
        is_there = (found >= 0) & (self.deal[np.maximum(found, 0)] == deal)
        return np.where(is_there, self.value[np.maximum(found, 0)], self.first[deal])


def field_of(log: pd.DataFrame, column: str, first: Any) -> Field:
    order = np.lexsort((np.arange(len(log)), log["at"].to_numpy(), log["deal"].to_numpy()))
    return Field(log["deal"].to_numpy()[order], log["at"].to_numpy()[order], log[column].to_numpy()[order], first)


class History:
    """The fields of every deal over time."""

    def __init__(self, rng: np.random.Generator, deals: Deals, reopened: pd.DataFrame, deleted: pd.DataFrame) -> None:
        n = deals.n
        self.deals, self.n = deals, n
        self.first_id = 1
        self.owners = owners(deals)
        stages = deals.stage_log.frame()
        closes = deals.close_log.frame()
        categories = deals.category_log.frame()
        if len(reopened):
            stages = pd.concat([stages, reopened[["deal", "at", "old", "new"]]])
        # A deal's log may have no two entries that end as they began.
        self.stage_log, self.close_log, self.category_log = stages, closes, categories
        self.amount_log = deals.amount_log.frame()
        self.competitor_log = deals.competitor_log.frame()
        panel = deals.panel_log.frame()
        healthy = panel["troubled"].to_numpy() == 0
        steps = panel[rng.random(len(panel)) < np.where(healthy, 0.06, 0.01)]
        self.step_log = pd.DataFrame(
            {
                "deal": steps["deal"].to_numpy(),
                "at": (steps["monday"].to_numpy() + 1) * DAY + rng.integers(8 * 3600, 11 * 3600, len(steps)),
                "new": (steps["stage"].to_numpy() * 2 + rng.integers(0, 2, len(steps))) % len(NEXT_STEPS),
            }
        )
        closed = np.where(deals.closed_at[:n] == NONE, 10**11 - 1, deals.closed_at[:n])
        self.step_log = self.step_log[
            (self.step_log["at"].to_numpy() < closed[self.step_log["deal"]])
            & (self.step_log["at"].to_numpy() > deals.created_at[self.step_log["deal"]])
        ]
        self.first_step = np.zeros(n, dtype=np.int64)
        self.stage = field_of(stages, "new", deals.first_stage[:n])
        self.stage_at = field_of(stages, "at", deals.created_at[:n])
        self.category = field_of(categories, "new", deals.first_category[:n])
        self.close = field_of(closes, "new", deals.first_close_date[:n])
        self.amount = field_of(self.amount_log, "new", deals.first_amount[:n])
        self.discount = field_of(self.amount_log, "discount", deals.first_discount[:n])
        self.quantity = [field_of(self.amount_log, f"q{place}", deals.first_quantity[:n, place]) for place in range(3)]
        self.competitor = field_of(self.competitor_log, "competitor", np.full(n, NONE))
        self.step = field_of(self.step_log, "new", self.first_step)
        self.step_at = field_of(self.step_log, "at", deals.created_at[:n])
        self.deleted_at = np.full(n, 10**11)
        self.deleted_at[deleted["deal"]] = deleted["at"]
        draw = rng.random(n)
        by_type = np.array([[0.30, 0.62, 0.74, 0.88, 1.0], [0.15, 0.25, 0.35, 0.42, 0.55]])
        self.lead = np.where(
            deals.type[:n] == RENEWAL, 5, (draw[:, None] > by_type[np.minimum(deals.type[:n], 1)]).sum(axis=1)
        )
        self.lead = np.minimum(self.lead, 5)
        self.loss = rng.choice(5, n, p=[0.26, 0.34, 0.16, 0.12, 0.12])
        self.undecided = rng.integers(0, 4, n)
        events = [
            self.stage_log,
            self.close_log,
            self.category_log,
            self.amount_log,
            self.competitor_log,
            self.step_log,
        ]
        touched = [(log["deal"].to_numpy(), log["at"].to_numpy()) for log in events]
        touched.append((self.owners.deal, self.owners.start))
        touched.append((deleted["deal"].to_numpy(), deleted["at"].to_numpy()))
        deal = np.concatenate([part[0] for part in touched])
        at = np.concatenate([part[1] for part in touched])
        self.touched = field_of(pd.DataFrame({"deal": deal, "at": at}).astype("int64"), "at", deals.created_at[:n])

    def moments(self, cuts: Ints) -> tuple[Ints, Ints]:
        """Deals and the days of `cuts` on which their row is another than on the one before."""
        deal = np.concatenate([np.arange(self.n), self.touched.deal])
        day = np.concatenate([self.deals.created_at[: self.n], self.touched.at]) // DAY
        slot = np.searchsorted(cuts, day)
        kept = slot < len(cuts)
        pairs = np.unique(deal[kept] * 10_000 + slot[kept])
        return pairs // 10_000, cuts[pairs % 10_000]

    def opportunities(self, cuts: Ints) -> pd.DataFrame:
        """The row of each deal at the end of every day of `cuts` on which it changed."""
        deals = self.deals
        deal, day = self.moments(cuts)
        second = (day + 1) * DAY - 1
        stage = self.stage.state(deal, second)
        is_open = stage < WON
        first_account = deals.market.first_account
        account = deals.account[deal]
        competitor = self.competitor.state(deal, second)
        undecided = np.where(stage == NO_DECISION, len(LOSSES) + self.undecided[deal], NONE)
        loss = np.where(stage == LOST, np.where(competitor != NONE, 1, self.loss[deal]), undecided)
        return pd.DataFrame(
            {
                "known": day,
                "opportunity_id": deal + self.first_id,
                "account_id": account + first_account,
                "owner_id": self.owners.at(deal, second) + deals.people.first_id,
                "name": _deal_names(deals, deal),
                "opportunity_type": words(deals.type[deal], TYPES),
                "stage": words(stage, STAGES),
                "forecast_category": words(self.category.state(deal, second), CATEGORIES),
                "amount": self.amount.state(deal, second),
                "currency": words(deals.market.currency[account], ["USD", "EUR", "GBP", "SGD"]),
                "probability": STAGE_PROBABILITY[stage],
                "created_at": deals.created_at[deal],
                "close_date": self.close.state(deal, second),
                "closed_at": np.where(is_open, NONE, self.stage_at.state(deal, second)),
                "lead_source": words(self.lead[deal], LEADS),
                "loss_reason": words(loss, LOSSES + NO_DECISIONS),
                "competitor": words(competitor, COMPETITORS),
                "product_id": deals.product[deal, 0] + 1,
                "next_step": words(np.where(is_open, self.step.state(deal, second), NONE), NEXT_STEPS),
                "next_step_updated_at": np.where(is_open, self.step_at.state(deal, second), NONE),
                "updated_at": self.touched.state(deal, second),
                "is_deleted": self.deleted_at[deal] <= second,
            }
        )

    def lines(self, cuts: Ints, first_line: int) -> pd.DataFrame:
        """The lines of each deal at the end of every day of `cuts` on which its amount changed."""
        deals = self.deals
        deal = np.concatenate([np.arange(self.n), self.amount_log["deal"].to_numpy()]).astype(np.int64)
        day = np.concatenate([deals.created_at[: self.n], self.amount_log["at"].to_numpy()]).astype(np.int64) // DAY
        slot = np.searchsorted(cuts, day)
        kept = slot < len(cuts)
        pairs = np.unique(deal[kept] * 10_000 + slot[kept])
        deal, day = pairs // 10_000, cuts[pairs % 10_000]
        second = (day + 1) * DAY - 1
        discount = self.discount.state(deal, second)
        frames = []
        for place in range(3):
            here = deals.product[deal, place] != NONE
            at = deal[here]
            unit = deals.list_unit[at, place]
            frames.append(
                pd.DataFrame(
                    {
                        "known": day[here],
                        "line_id": at * 3 + place + first_line,
                        "opportunity_id": at + self.first_id,
                        "product_id": deals.product[at, place] + 1,
                        "quantity": self.quantity[place].state(at, second[here]).astype(np.float64),
                        "list_unit_price": unit,
                        "net_unit_price": np.round(unit * (1 - discount[here]), 2),
                        "currency": words(deals.market.currency[deals.account[at]], ["USD", "EUR", "GBP", "SGD"]),
                        "term_months": np.where(deals.recurring[at], 12, NONE),
                        "discount_reason": words(_reason(deals, at, discount[here]), DISCOUNT_REASONS),
                    }
                )
            )
        return stack(frames).sort_values(["known", "line_id"], kind="stable").reset_index(drop=True)

    def changes(self, first_change: int) -> pd.DataFrame:
        """`opportunity_changes`: the field history, in the order in which it happened."""
        deals = self.deals
        user = deals.people.first_id
        opened = self.owners.start > deals.created_at[self.owners.deal]
        before = np.flatnonzero(opened) - 1
        step = self.step
        previous = np.where(
            np.concatenate([[False], step.deal[1:] == step.deal[:-1]]) if len(step.deal) else np.zeros(0, dtype=bool),
            np.roll(step.value, 1),
            self.first_step[step.deal],
        )
        parts = [
            self._change(
                "stage", self.stage_log, _text(self.stage_log["old"], STAGES), _text(self.stage_log["new"], STAGES)
            ),
            self._change("close_date", self.close_log, _days(self.close_log["old"]), _days(self.close_log["new"])),
            self._change(
                "forecast_category",
                self.category_log,
                _text(self.category_log["old"], CATEGORIES),
                _text(self.category_log["new"], CATEGORIES),
            ),
            self._change("amount", self.amount_log, _money(self.amount_log["old"]), _money(self.amount_log["new"])),
            self._change(
                "owner_id",
                pd.DataFrame({"deal": self.owners.deal[opened], "at": self.owners.start[opened]}),
                _ids("U%06d", self.owners.person[before] + user),
                _ids("U%06d", self.owners.person[opened] + user),
            ),
            self._change(
                "competitor",
                self.competitor_log,
                np.full(len(self.competitor_log), None, dtype=object),
                _text(self.competitor_log["competitor"], COMPETITORS),
            ),
            self._change(
                "next_step",
                pd.DataFrame({"deal": step.deal, "at": step.at}),
                _text(previous, NEXT_STEPS),
                _text(step.value, NEXT_STEPS),
            ),
        ]
        every = stack(parts)
        kept = every["old_value"].to_numpy() != every["new_value"].to_numpy()
        every = every[kept].sort_values(["at", "deal", "field"], kind="stable")
        deal, at = every["deal"].to_numpy(), every["at"].to_numpy()
        return pd.DataFrame(
            {
                "known": at // DAY,
                "change_id": np.arange(len(every)) + first_change,
                "opportunity_id": deal + self.first_id,
                "field": every["field"].to_numpy(),
                "old_value": every["old_value"].to_numpy(),
                "new_value": every["new_value"].to_numpy(),
                "changed_at": at,
                "changed_by_id": self.owners.at(deal, at) + user,
            }
        )

    def _change(self, field: str, log: pd.DataFrame, old: Any, new: Any) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "deal": log["deal"].to_numpy(dtype=np.int64),
                "at": log["at"].to_numpy(dtype=np.int64),
                "field": np.full(len(log), field, dtype=object),
                "old_value": old,
                "new_value": new,
            }
        )


DISCOUNT_REASONS = ["Volume", "Competitive", "Multi-year", "Reference", "Period end"]


def _reason(deals: Deals, deal: Ints, discount: Floats) -> Ints:
    """A reason is given for most discounts above a tenth; seldom for those nobody approved."""
    given = (deal * 7919) % 100 < np.where(deals.rogue[deal], 25, 82)
    return np.where((discount > 0.10) & given & (deals.type[deal] != RENEWAL), (deal * 31) % 5, NONE)


def _deal_names(deals: Deals, deal: Ints) -> np.ndarray:
    from orchestration.demo.market import PRODUCTS

    product = PRODUCTS["name"].to_numpy(dtype=object)[deals.product[deal, 0]]
    kind = np.array(["", " extension", " renewal"], dtype=object)[deals.type[deal]]
    year = np.array([f" {value}" for value in range(1970, 2200)], dtype=object)
    return (
        product
        + kind
        + year[(deals.created_at[deal] // DAY).astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64)]
    )


def _text(codes: Any, labels: list[str]) -> np.ndarray:
    return np.array(labels, dtype=object)[np.asarray(codes, dtype=np.int64)]


def _days(days: Any) -> np.ndarray:
    return np.datetime_as_string(np.asarray(days, dtype="datetime64[D]")).astype(object)


def _money(values: Any) -> np.ndarray:
    return np.char.mod("%.2f", np.asarray(values, dtype=np.float64)).astype(object)


def _ids(pattern: str, numbers: Any) -> np.ndarray:
    return np.char.mod(pattern, np.asarray(numbers, dtype=np.int64)).astype(object)


def reopen(rng: np.random.Generator, deals: Deals) -> pd.DataFrame:
    """Some lost deals come back a month later, and are lost or dropped again."""
    n = deals.n
    lost = np.flatnonzero(
        (deals.stage[:n] == LOST) & (deals.type[:n] != RENEWAL) & (deals.closed_at[:n] < (deals.until - 120) * DAY)
    )
    chosen = np.sort(rng.choice(lost, max(1, len(lost) // 100), replace=False)) if len(lost) else lost
    again = deals.closed_at[chosen] + rng.integers(20, 45, len(chosen)) * DAY
    ends = again + rng.integers(15, 50, len(chosen)) * DAY
    back = pd.DataFrame({"deal": chosen, "at": again, "old": LOST, "new": PROPOSAL})
    over = pd.DataFrame(
        {"deal": chosen, "at": ends, "old": PROPOSAL, "new": np.where(rng.random(len(chosen)) < 0.5, LOST, NO_DECISION)}
    )
    count = len(chosen)
    deals.close_log.add(chosen, again, deals.close_date[chosen], ends // DAY)
    deals.close_date[chosen] = ends // DAY
    deals.category_log.add(chosen, again, np.full(count, 4), np.full(count, 1))
    deals.category_log.add(chosen, ends, np.full(count, 1), np.full(count, 4))
    deals.closed_at[chosen] = ends
    deals.stage[chosen] = over["new"]
    return pd.concat([back, over]).astype("int64")
