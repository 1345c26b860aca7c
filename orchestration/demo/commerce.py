"""Money: who approved which discount, what was promised and called, and what finance has in its books."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from orchestration.demo.deals import (
    LOST,
    NEGOTIATION,
    PROPOSAL,
    RENEWAL,
    SEGMENT_PACE,
    STAGE_WEEKS,
    WON,
    Deals,
)
from orchestration.demo.frames import (
    DAY,
    NONE,
    Floats,
    Frames,
    Ints,
    add_months,
    quarter_end,
    quarter_start,
    said,
    stack,
    words,
    workday,
)
from orchestration.demo.history import DISCOUNT_REASONS, History
from orchestration.demo.market import CURRENCIES, Rates
from orchestration.demo.people import AE, AM, REGIONS, SEGMENTS

# A seller may give this much alone.
AUTHORITY = 0.12
BREAKS = {
    "amount_mismatch": 0.025,
    "timing_difference": 0.030,
    "currency_difference": 0.010,
    "missing_in_finance": 0.015,
    "duplicate_in_finance": 0.012,
    "credited": 0.015,
}
LOST_BUT_BILLED_SHARE = 0.004
MISSING_IN_CRM_SHARE = 0.012
TERM_REASONS = ["new", "price_change", "expansion", "contraction", "renewal", "reactivation"]
CHURN_REASONS = ["Budget", "Competitor", "Not used", "Merger", "Business closed"]


@dataclass
class Start:
    """Where the numbers of this division's rows begin."""

    approval: int
    submission: int
    subscription: int
    invoice: int
    invoice_line: int
    credit_note: int


class Commerce:
    """Approvals, quotas, forecasts and the finance system, of one division."""

    def __init__(self, rng: np.random.Generator, history: History, rates: Rates, place: Start, until: int) -> None:
        self.rng, self.history, self.rates, self.place, self.until = rng, history, rates, place, until
        self.deals: Deals = history.deals
        self.people, self.market = self.deals.people, self.deals.market
        self.n = self.deals.n
        self.currency = self.market.currency[self.deals.account[: self.n]]
        self.is_won = self.deals.stage[: self.n] == WON
        closed = np.maximum(self.deals.closed_at[: self.n], 0) // DAY
        self.closed_on = np.where(self.deals.closed_at[: self.n] == NONE, NONE, closed)
        at = np.where(self.closed_on == NONE, until, self.closed_on)
        self.usd = self.deals.amount[: self.n] * rates.planned(self.currency, at)
        self.tables: Frames = {}
        self._approvals()
        self._targets()
        self._quotas()
        self._forecasts()
        self._subscriptions()
        self._invoices()

    # ---- discounts

    def _approvals(self) -> None:
        rng, deals = self.rng, self.deals
        log = self.history.stage_log
        quoted = np.full(self.n, NONE)
        proposals = log[(log["new"].to_numpy() == PROPOSAL) | (log["new"].to_numpy() == NEGOTIATION)]
        order = np.argsort(-proposals["at"].to_numpy(), kind="stable")
        quoted[proposals["deal"].to_numpy()[order]] = proposals["at"].to_numpy()[order]
        discount = deals.discount[: self.n]
        wide = (discount > AUTHORITY) & (deals.type[: self.n] != RENEWAL) & ~deals.imported[: self.n] & (quoted != NONE)
        draw = rng.random(self.n)
        # The region that discounts on its own seldom asks, and then after the fact.
        asked = wide & np.where(deals.rogue[: self.n], draw < 0.30, draw < 0.90)
        deal = np.flatnonzero(asked)
        rogue = deals.rogue[deal]
        requested = quoted[deal] - rng.integers(3_600, 3 * DAY, len(deal))
        requested = np.maximum(requested, deals.created_at[deal] + 3_600)
        requested = np.where(rogue, deals.closed_at[deal] + rng.integers(3_600, 4 * DAY, len(deal)), requested)
        decided = requested + rng.integers(1_800, 2 * DAY, len(deal))
        rejected = rng.random(len(deal)) < 0.04
        owner = self.history.owners.at(deal, requested)
        manager = self.people.manager_of(self.people.team_of(deals.seat[deal], requested // DAY), requested // DAY)
        share = np.round(np.clip(discount[deal] + rng.normal(0, 0.004, len(deal)), 0, 1), 4)
        reason = np.where(rng.random(len(deal)) < np.where(rogue, 0.3, 0.9), rng.integers(0, 4, len(deal)), NONE)
        versions = []
        for state in range(2):
            versions.append(
                pd.DataFrame(
                    {
                        "known": (requested if state == 0 else decided) // DAY,
                        "approval_id": np.arange(len(deal)) + self.place.approval,
                        "opportunity_id": deal + self.history.first_id,
                        "requested_by_id": owner + self.people.first_id,
                        "requested_share": share,
                        "reason": words(reason, DISCOUNT_REASONS),
                        "concession_received": words(
                            np.where((state == 1) & ~rogue & (deal % 5 < 3), deal % 3, NONE),
                            ["Reference visit", "Earlier signature", "Longer term"],
                        ),
                        "status": words(
                            np.zeros(len(deal), dtype=np.int64) if state == 0 else 1 + rejected,
                            ["requested", "approved", "rejected"],
                        ),
                        "approver_id": np.where(state == 0, NONE, manager + self.people.first_id),
                        "requested_at": requested,
                        "decided_at": np.where(state == 0, NONE, decided),
                    }
                )
            )
        self.tables["discount_approvals"] = stack(versions).sort_values("known", kind="stable", ignore_index=True)

    # ---- the plan

    def _quarters(self) -> Ints:
        first = int(quarter_start(self.deals.start))
        count = (
            int(
                (
                    np.datetime64(self.until, "D").astype("datetime64[M]")
                    - np.datetime64(first, "D").astype("datetime64[M]")
                ).astype(int)
            )
            // 3
            + 2
        )
        return add_months(np.full(count, first), np.arange(count) * 3)

    def _targets(self) -> None:
        """What finance expects a quarter of each scope: its own average, growing, and a little more."""
        quarters = self._quarters()
        won = self.is_won & ~self.deals.imported[: self.n]
        region = self.people.team_region[self.people.team_of(self.deals.seat[: self.n], np.maximum(self.closed_on, 0))]
        segment = self.deals.segment[: self.n]
        years = max((self.until - self.deals.start) / 365.25, 0.25)
        growth = 1 + 0.05 * ((quarters - quarters.mean()) / 365.25)
        rows = {}
        for scope, member, mask in [
            ("company", "company", won),
            *[("region", name, won & (region == place)) for place, name in enumerate(REGIONS)],
            *[("segment", name, won & (segment == place)) for place, name in enumerate(SEGMENTS)],
        ]:
            rows[scope, member] = self.usd[mask].sum() / years / 4 * 1.06 * growth
        self.targets = rows
        self.target_quarters = quarters

    def _quotas(self) -> None:
        rng, people, deals = self.rng, self.people, self.deals
        quarters = self._quarters()
        ends = add_months(quarters, 3) - 1
        base = np.zeros((2, len(SEGMENTS)))
        won = self.is_won & ~deals.imported[: self.n]
        years = max((self.until - deals.first_monday) / 365.25, 0.25)
        for role in (AE, AM):
            for segment in range(len(SEGMENTS)):
                seats = np.flatnonzero((people.seat_role == role) & (people.seat_segment == segment))
                mask = won & np.isin(deals.seat[: self.n], seats)
                base[role, segment] = self.usd[mask].sum() / max(len(seats), 1) / years / 4
        sellers = np.flatnonzero(people.seat >= 0)
        person, quarter = np.repeat(sellers, len(quarters)), np.tile(np.arange(len(quarters)), len(sellers))
        left = np.where(people.left_on[person] == NONE, 10**6, people.left_on[person])
        promoted = np.isin(person, people.team_manager_later)
        left = np.where(promoted, people.manager_changed_on, left)
        kept = (people.hired_on[person] <= ends[quarter] - 15) & (left > quarters[quarter])
        person, quarter = person[kept], quarter[kept]
        tenure = (quarters[quarter] - people.hired_on[person]) / 91.0
        relief = np.where(tenure < 0, 0.25, np.where(tenure < 1, 0.5, np.where(tenure < 2, 0.8, 1.0)))
        growth = 1 + 0.04 * ((quarters[quarter] - quarters.mean()) / 365.25)
        amount = np.round(base[people.role[person], people.segment[person]] * 1.04 * growth * relief + 500, -2)
        starts = np.maximum(quarters[quarter], people.hired_on[person])
        frame = pd.DataFrame(
            {
                "known": np.maximum(quarters[quarter] - 10, people.hired_on[person]),
                "user_id": person + people.first_id,
                "period_start": quarters[quarter],
                "period_end": ends[quarter],
                "effective_from": starts,
                "amount": amount,
                "currency": said("USD", len(person)),
            }
        )
        changed = (rng.random(len(person)) < 0.05) & (starts == quarters[quarter])
        other = frame[changed].copy()
        other["effective_from"] = other["period_start"] + rng.integers(30, 60, len(other))
        other["known"] = other["effective_from"]
        other["amount"] = np.round(other["amount"] * rng.uniform(0.8, 1.25, len(other)), -2)
        self.tables["quotas"] = stack([frame, other]).sort_values(
            ["known", "user_id"], kind="stable", ignore_index=True
        )

    # ---- what was called

    def _forecasts(self) -> None:
        """Every Monday each seller calls the quarter: what is booked, what is likely, and a temper."""
        rng, people, deals = self.rng, self.people, self.deals
        panel = deals.panel_log.frame()
        mondays = deals.first_monday + 7 * np.arange(deals.weeks)
        mondays = mondays[mondays >= deals.start]
        seats = people.seats
        deal = panel["deal"].to_numpy()
        monday = panel["monday"].to_numpy()
        stage = panel["stage"].to_numpy()
        weeks_left = (quarter_end(monday) - monday + 1) / 7.0
        remaining = np.cumsum(STAGE_WEEKS[::-1])[::-1]
        pace = remaining[stage] * SEGMENT_PACE[deals.segment[deal]]
        pace = np.where(deals.type[deal] == RENEWAL, 1.5 * (5 - stage), pace)
        lands = 1 - np.exp(-((weeks_left / (1.30 * pace)) ** 1.6))
        usd = panel["amount"].to_numpy() * self.rates.planned(self.currency[deal], monday)
        likely = panel["p_win"].to_numpy() * lands * usd
        upside = (1 - panel["p_win"].to_numpy()) * lands * usd * 0.35
        slot = panel["seat"].to_numpy() * deals.weeks + (monday - deals.first_monday) // 7
        from_open = np.bincount(slot, weights=likely, minlength=seats * deals.weeks).reshape(seats, deals.weeks)
        more = np.bincount(slot, weights=upside, minlength=seats * deals.weeks).reshape(seats, deals.weeks)
        won = np.flatnonzero(self.is_won & ~deals.imported[: self.n])
        order = won[np.lexsort((won, self.closed_on[won], deals.seat[won]))]
        keys = deals.seat[order] * 10**6 + self.closed_on[order]
        total = np.concatenate([[0.0], np.cumsum(self.usd[order])])
        seat, week = np.repeat(np.arange(seats), len(mondays)), np.tile(mondays, seats)
        booked = (
            total[np.searchsorted(keys, seat * 10**6 + week)]
            - total[np.searchsorted(keys, seat * 10**6 + quarter_start(week))]
        )
        column = (week - deals.first_monday) // 7
        weeks_left = (quarter_end(week) - week + 1) / 7.0
        usual = np.bincount(deals.seat[won], weights=self.usd[won], minlength=seats) / deals.weeks
        # From deals that do not exist yet.
        new = usual[seat] * np.maximum(weeks_left - 6, 0) * 0.45
        stay = people.stay(seat, week)
        person = people.stay_person[stay]
        steady = np.array([name in ("steady", "optimist", "sandbagger") for name in people.trait])[person]
        noise = np.exp(rng.normal(0, 1, len(seat)) * np.where(steady, 0.04, 0.10) * np.sqrt(weeks_left / 13))
        ahead = (from_open[seat, column] + new) * noise
        temper = np.where(people.stay_is_vacant[stay], 1.0, people.temper[person])
        commit = booked + ahead * temper
        # A habit shows in the whole number, most of all early in the period.
        commit = np.where(np.abs(temper - 1) > 0.25, commit * (1 + (temper - 1) * 0.5 * weeks_left / 13), commit)
        best = commit + more[seat, column]
        seen = pd.DataFrame({"who": person, "monday": week, "commit": commit, "best": best})
        team = people.team_of(seat, week)
        seen["team"], seen["manager"] = team, people.manager_of(team, week)
        seen["head"] = people.team_head[team]
        sellers = seen[~people.stay_is_vacant[stay]]
        frames = [
            self._calls(sellers.groupby(["who", "monday"], as_index=False)[["commit", "best"]].sum(), "who", 1.0, 0.0)
        ]
        frames.append(
            self._calls(
                seen.groupby(["manager", "monday"], as_index=False)[["commit", "best"]].sum(), "manager", 0.98, 0.03
            )
        )
        frames.append(
            self._calls(seen.groupby(["head", "monday"], as_index=False)[["commit", "best"]].sum(), "head", 0.99, 0.02)
        )
        company = seen.groupby("monday", as_index=False)[["commit", "best"]].sum()
        company["chief"] = people.helpers["chief"][0]
        frames.append(self._calls(company, "chief", 0.985, 0.015))
        every = stack(frames).sort_values(
            ["submitted_at", "submitter_id", "category"], kind="stable", ignore_index=True
        )
        every.insert(1, "submission_id", np.arange(len(every)) + self.place.submission)
        self.tables["forecast_submissions"] = every

    def _calls(self, frame: pd.DataFrame, who: str, haircut: float, spread: float) -> pd.DataFrame:
        rng = self.rng
        monday = frame["monday"].to_numpy()
        judged = haircut * np.exp(rng.normal(0, spread, len(frame))) if spread else np.ones(len(frame))
        rows = []
        at = monday * DAY + rng.integers(8 * 3600, 16 * 3600, len(frame))
        for place, name in enumerate(("commit", "best")):
            rows.append(
                pd.DataFrame(
                    {
                        "known": monday,
                        "submitter_id": frame[who].to_numpy() + self.people.first_id,
                        "period_start": quarter_start(monday),
                        "period_end": quarter_end(monday),
                        "category": words(np.full(len(frame), place), ["commit", "best_case"]),
                        "amount": np.round(frame[name].to_numpy() * judged, 0),
                        "currency": said("USD", len(frame)),
                        "submitted_at": at,
                    }
                )
            )
        return stack(rows)

    # ---- finance

    def _subscriptions(self) -> None:
        deals, market = self.deals, self.market
        customers = np.flatnonzero(deals.customer_since != NONE)
        customers = customers[np.argsort(deals.customer_since[customers], kind="stable")]
        numbers = customers + market.first_account
        self.tables["customers"] = pd.DataFrame(
            {
                "known": deals.customer_since[customers],
                "customer_id": numbers,
                "crm_account_id": numbers,
                "name": np.char.mod("Debtor %06d", numbers).astype(object),
                "currency": words(market.currency[customers], CURRENCIES),
            }
        )
        terms, ends = deals.term_log.frame(), deals.end_log.frame()
        account = terms["account"].to_numpy(dtype=np.int64)
        deal = terms["deal"].to_numpy(dtype=np.int64)
        count = len(terms)
        frame = pd.DataFrame(
            {
                "known": terms["known"].to_numpy(),
                "subscription_id": np.arange(count) + self.place.subscription,
                "customer_id": account + market.first_account,
                "product_id": deals.product[deal, 0] + 1,
                "start_date": terms["start"].to_numpy(),
                "end_date": terms["end"].to_numpy(),
                "cancelled_on": np.full(count, NONE),
                "arr": terms["arr"].to_numpy(),
                "currency": words(market.currency[account], CURRENCIES),
                "crm_opportunity_id": deal + self.history.first_id,
                "change_reason": words(terms["reason"].to_numpy(), TERM_REASONS),
                "churn_reason": words(np.full(count, NONE), CHURN_REASONS),
                "is_voluntary": pd.array([None] * count, dtype="boolean"),
            }
        )
        row = ends["row"].to_numpy(dtype=np.int64)
        over = frame.iloc[row].copy()
        over["known"] = ends["known"].to_numpy()
        over["end_date"] = ends["end"].to_numpy()
        over["cancelled_on"] = ends["cancelled"].to_numpy()
        over["churn_reason"] = words(ends["reason"].to_numpy(), CHURN_REASONS)
        gone = ends["cancelled"].to_numpy() != NONE
        over["is_voluntary"] = pd.array(np.where(gone, ends["reason"].to_numpy() < 3, False), dtype="boolean")
        over.loc[~gone, "is_voluntary"] = pd.NA
        both = pd.concat([frame, over])
        self.tables["subscriptions"] = both.sort_values("known", kind="stable", ignore_index=True)

    def _invoices(self) -> None:
        rng, deals, n = self.rng, self.deals, self.n
        won = np.flatnonzero(self.is_won)
        status = np.full(n, "matched", dtype=object)
        draw = rng.random(n)
        recent = self.closed_on > self.until - 120
        plain = self.is_won & ~deals.imported[:n] & ~recent
        low = 0.0
        for name, share in BREAKS.items():
            status[plain & (draw >= low) & (draw < low + share)] = name
            low += share
        whole = status == "matched"
        # At least one of each, however small the company is.
        spare = rng.permutation(np.flatnonzero(plain & whole))
        for name in BREAKS:
            if not (status == name).any() and len(spare):
                status[spare[0]] = name
                spare = spare[1:]
        whole = status == "matched"
        large = (deals.segment[:n] >= 2) & (deals.type[:n] != RENEWAL) & whole & (rng.random(n) < 0.30)
        instalments = np.where(large, 3, 1)
        joint = self._joint(won[whole[won] & ~large[won] & ~deals.imported[won]])
        is_joint = np.zeros(n, dtype=bool)
        is_joint[joint.ravel()] = True

        amount = deals.amount[:n]
        date = workday(self.closed_on + rng.integers(1, 13, n))
        frames = []

        def bill(deal: Ints, day: Ints, value: Floats, currency: Ints, linked: np.ndarray | bool = True) -> None:
            frames.append(
                pd.DataFrame(
                    {
                        "deal": deal,
                        "account": deals.account[deal],
                        "day": day,
                        "value": np.round(value, 2),
                        "currency": currency,
                        "linked": np.broadcast_to(linked, len(deal)),
                        "void": np.zeros(len(deal), dtype=bool),
                    }
                )
            )

        single = won[(instalments[won] == 1) & ~is_joint[won] & (status[won] != "missing_in_finance")]
        value = amount[single].copy()
        day = date[single].copy()
        currency = self.currency[single].copy()
        off = status[single] == "amount_mismatch"
        value[off] *= np.where(
            rng.random(int(off.sum())) < 0.7,
            rng.uniform(0.85, 0.97, int(off.sum())),
            rng.uniform(1.02, 1.08, int(off.sum())),
        )
        late = status[single] == "timing_difference"
        day[late] = workday(self.closed_on[single][late] + rng.integers(95, 115, int(late.sum())))
        foreign = status[single] == "currency_difference"
        spot = self.rates.on(currency[foreign], day[foreign])
        value[foreign] *= np.where(
            currency[foreign] == 0, 1 / self.rates.on(np.ones(int(foreign.sum()), dtype=np.int64), day[foreign]), spot
        )
        currency[foreign] = np.where(currency[foreign] == 0, 1, 0)
        linked = (rng.random(len(single)) > 0.08) | (status[single] != "matched")
        bill(single, day, value, currency, linked)
        twice = won[status[won] == "duplicate_in_finance"]
        bill(twice, workday(date[twice] + rng.integers(1, 6, len(twice))), amount[twice], self.currency[twice])
        split = won[instalments[won] == 3]
        part = np.round(amount[split] / 3, 2)
        for turn in range(3):
            bill(
                split,
                workday(date[split] + 91 * turn),
                part if turn < 2 else np.round(amount[split] - 2 * part, 2),
                self.currency[split],
            )
        if len(joint):
            both = np.round(amount[joint].sum(axis=1), 2)
            bill(joint[:, 1], date[joint[:, 1]], both, self.currency[joint[:, 1]], False)
        lost = np.flatnonzero(
            (deals.stage[:n] == LOST) & (deals.type[:n] != RENEWAL) & (self.closed_on < self.until - 150)
        )
        lost = lost[deals.customer_since[deals.account[lost]] != NONE]
        lost = lost[deals.customer_since[deals.account[lost]] < self.closed_on[lost]]
        billed = np.sort(rng.choice(lost, min(len(lost), max(2, round(LOST_BUT_BILLED_SHARE * n))), replace=False))
        bill(billed, workday(self.closed_on[billed] + 6), amount[billed], self.currency[billed])
        stray = np.sort(rng.choice(won, max(2, round(MISSING_IN_CRM_SHARE * len(won))), replace=False))
        stray = stray[self.closed_on[stray] < self.until - 200]
        stray_day = workday(self.closed_on[stray] + rng.integers(60, 180, len(stray)))
        before = len(frames)
        bill(stray, stray_day, amount[stray] * rng.uniform(0.31, 0.47, len(stray)), self.currency[stray], False)
        frames[before]["deal"] = NONE
        corrected = single[(status[single] == "matched") & (rng.random(len(single)) < 0.005)]
        # The day after it is void: an invoice of the last day would still stand.
        corrected = corrected[np.maximum(date[corrected] - 1, self.closed_on[corrected]) < self.until]
        before = len(frames)
        bill(
            corrected,
            np.maximum(date[corrected] - 1, self.closed_on[corrected]),
            amount[corrected] * 1.1,
            self.currency[corrected],
        )
        frames[before]["void"] = True

        kinds = ["plain", "duplicate", "instalment", "instalment", "instalment"]
        kinds += (["joint"] if len(joint) else []) + ["lost", "stray", "void"]
        for place, frame in enumerate(frames):
            frame["kind"] = place
        invoices = stack(frames).sort_values(["day", "account", "kind"], kind="stable", ignore_index=True)
        count = len(invoices)
        number = np.arange(count) + self.place.invoice
        day = invoices["day"].to_numpy()
        due = day + 30
        paid = due + np.rint(rng.normal(2, 11, count)).astype(np.int64)
        paid = np.maximum(paid, day + 3)
        unpaid = rng.random(count) < 0.015
        void = invoices["void"].to_numpy()
        deal = invoices["deal"].to_numpy()
        frame = pd.DataFrame(
            {
                "known": day,
                "invoice_id": number,
                "customer_id": invoices["account"].to_numpy() + self.market.first_account,
                "crm_opportunity_id": np.where(
                    invoices["linked"].to_numpy(dtype=bool) & (deal != NONE), deal + self.history.first_id, NONE
                ),
                "invoice_date": day,
                "due_date": due,
                "paid_on": np.full(count, NONE),
                "status": said("open", count),
                "amount": invoices["value"].to_numpy(),
                "currency": words(invoices["currency"].to_numpy(), CURRENCIES),
            }
        )
        settled = frame[~unpaid & ~void].copy()
        settled["known"] = settled["paid_on"] = paid[~unpaid & ~void]
        settled["status"] = said("paid", len(settled))
        cancelled = frame[void].copy()
        cancelled["known"] = day[void] + 1
        cancelled["status"] = said("void", len(cancelled))
        self.tables["invoices"] = stack([frame, settled, cancelled]).sort_values(
            "known", kind="stable", ignore_index=True
        )

        self._invoice_lines(number, deal, invoices)
        credited = np.flatnonzero(
            np.isin(deal, np.flatnonzero(status == "credited")) & (invoices["kind"].to_numpy() == 0)
        )
        credit_day = workday(day[credited] + rng.integers(20, 60, len(credited)))
        part = np.round(invoices["value"].to_numpy()[credited] * rng.choice([1.0, 0.4], len(credited)), 2)
        self.tables["credit_notes"] = pd.DataFrame(
            {
                "known": credit_day,
                "credit_note_id": np.arange(len(credited)) + self.place.credit_note,
                "customer_id": invoices["account"].to_numpy()[credited] + self.market.first_account,
                "invoice_id": number[credited],
                "credit_date": credit_day,
                "amount": part,
                "currency": words(invoices["currency"].to_numpy()[credited], CURRENCIES),
            }
        ).sort_values("known", kind="stable", ignore_index=True)
        self._truth(status, kinds, invoices, number, deal, credited, part)

    def _joint(self, deal: Ints) -> np.ndarray:
        """Pairs of deals of one customer, won close together, that finance puts on one invoice."""
        order = deal[np.lexsort((deal, self.closed_on[deal], self.deals.account[deal]))]
        account, day = self.deals.account[order], self.closed_on[order]
        near = np.flatnonzero((account[1:] == account[:-1]) & (day[1:] - day[:-1] <= 12))
        # No deal in two pairs.
        near = near[np.concatenate([[True], np.diff(near) > 1])] if len(near) else near
        near = near[self.rng.random(len(near)) < 0.5]
        return np.stack([order[near], order[near + 1]], axis=1) if len(near) else np.zeros((0, 2), dtype=np.int64)

    def _invoice_lines(self, number: Ints, deal: Ints, invoices: pd.DataFrame) -> None:
        """Lines in proportion to those of the deal; what a deal does not explain is one line without a product."""
        deals = self.deals
        labels_joint = ~invoices["linked"].to_numpy(dtype=bool) & (invoices["kind"].to_numpy() > 0)
        known = (deal != NONE) & ~labels_joint
        value = invoices["value"].to_numpy()
        frames = []
        safe = np.maximum(deal, 0)
        net = np.round(deals.list_unit[safe] * (1 - deals.discount[safe][:, None]), 2)
        worth = net * deals.quantity[safe]
        factor = value / np.maximum(worth.sum(axis=1), 0.01)
        parts = np.round(worth * factor[:, None], 2)
        parts[:, 0] += np.round(value - parts.sum(axis=1), 2)
        for place in range(3):
            here = np.flatnonzero(known & (deals.product[safe, place] != NONE))
            quantity = deals.quantity[deal[here], place].astype(np.float64)
            frames.append(
                self._lines(
                    invoices["day"].to_numpy()[here],
                    number[here],
                    deals.product[deal[here], place] + 1,
                    quantity,
                    np.round(parts[here, place] / np.maximum(quantity, 1), 4),
                    np.round(deals.list_unit[deal[here], place] * factor[here], 4),
                    np.round(parts[here, place], 2),
                )
            )
        rest = np.flatnonzero(~known)
        frames.append(
            self._lines(
                invoices["day"].to_numpy()[rest],
                number[rest],
                np.full(len(rest), NONE),
                np.ones(len(rest)),
                value[rest],
                np.full(len(rest), np.nan),
                value[rest],
            )
        )
        lines = stack(frames).sort_values(["known", "invoice_id"], kind="stable", ignore_index=True)
        lines.insert(1, "invoice_line_id", np.arange(len(lines)) + self.place.invoice_line)
        self.tables["invoice_lines"] = lines

    def _lines(
        self, known: Ints, invoice: Ints, product: Ints, quantity: Floats, unit: Floats, listed: Floats, amount: Floats
    ) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "known": known,
                "invoice_id": invoice,
                "product_id": product,
                "quantity": quantity,
                "unit_price": unit,
                "list_unit_price": listed,
                "amount": amount,
            }
        )

    def _truth(
        self,
        status: np.ndarray,
        labels: list[str],
        invoices: pd.DataFrame,
        number: Ints,
        deal: Ints,
        credited: Ints,
        part: Floats,
    ) -> None:
        """What was done to finance's books: a row a deal or stray document, with both amounts."""
        kind = invoices["kind"].to_numpy()
        value = invoices["value"].to_numpy()
        broken = np.flatnonzero(self.is_won & (status != "matched"))
        finance = np.zeros(self.n)
        real = (deal != NONE) & (kind < 2)
        np.add.at(finance, deal[real], value[real])
        np.subtract.at(finance, deal[credited], part)
        is_plain = real & (kind == 0)
        first = np.full(self.n, NONE)
        first[deal[is_plain]] = number[is_plain]
        rows = [
            pd.DataFrame(
                {
                    "known": self.closed_on[broken],
                    "opportunity_id": broken + self.history.first_id,
                    "invoice_id": first[broken],
                    "status": pd.Categorical(
                        status[broken], categories=[*BREAKS, "missing_in_crm", "lost_in_crm_but_billed"]
                    ),
                    "crm_amount": self.deals.amount[broken],
                    "finance_amount": np.where(first[broken] == NONE, np.nan, finance[broken]),
                }
            )
        ]
        for name, label in (("lost", "lost_in_crm_but_billed"), ("stray", "missing_in_crm")):
            here = np.flatnonzero(kind == labels.index(name))
            rows.append(
                pd.DataFrame(
                    {
                        "known": invoices["day"].to_numpy()[here],
                        "opportunity_id": np.where(deal[here] == NONE, NONE, deal[here] + self.history.first_id),
                        "invoice_id": number[here],
                        "status": pd.Categorical(
                            [label] * len(here), categories=[*BREAKS, "missing_in_crm", "lost_in_crm_but_billed"]
                        ),
                        "crm_amount": np.full(len(here), np.nan),
                        "finance_amount": value[here],
                    }
                )
            )
        self.breaks = stack(rows)


def target_frame(targets: dict[tuple[str, str], Floats], quarters: Ints) -> pd.DataFrame:
    """`targets`: bookings by quarter for company, regions and segments, and the company's plan for revenue and ARR."""
    rows = []
    for (scope, member), amounts in targets.items():
        for metric, factor in (
            (("bookings", 1.0), ("revenue", 0.97), ("arr", 2.6)) if scope == "company" else (("bookings", 1.0),)
        ):
            count = len(quarters)
            rows.append(
                pd.DataFrame(
                    {
                        "known": quarters - 30,
                        "period_start": quarters,
                        "period_end": add_months(quarters, 3) - 1,
                        "metric": said(metric, count),
                        "scope_type": said(scope, count),
                        "scope_id": said(member, count),
                        "amount": np.round(amounts * factor, -3),
                        "currency": said("USD", count),
                    }
                )
            )
    return stack(rows).sort_values("known", kind="stable", ignore_index=True)
