"""Conversion, velocity, win rates and pushes worked out a second time from their written definitions and nothing else.

The definitions are the comments of the published columns, docs/marts.md and docs/opportunity-history.md. Histories,
visits and scopes are those of `tests.oracles.funnel`. Probabilities are fractions until the end, so that "half have
left" is never a matter of rounding. A count is an int, a rate a float, and what is not known is None.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from pathlib import Path
from statistics import NormalDist, mean, median
from typing import Any

import pandas as pd

from tests.oracles import funnel
from tests.oracles.funnel import CENTS, STAGES, Deal, Entity, Facts, Row, Scope, value_or_none

DAY = timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)
Z = NormalDist().inv_cdf(0.95)  # both sides together leave out a tenth
FORWARD, LOST, NO_DECISION, BACK, ELSEWHERE = "forward", "lost", "no_decision", "back", "elsewhere"
CAUSES = {
    "advance": FORWARD, "skip": FORWARD, "won": FORWARD, "lost": LOST, "no_decision": NO_DECISION, "regress": BACK,
    "open": None,
}  # fmt: skip
STILL_THERE = "still there"
SELLER_ROLES = ("account_executive", "account_manager")

ENTITIES = [
    *funnel.ENTITIES,
    Entity("crm/products", ("product_id",), lambda row: row.get("name") is not None),
    Entity("crm/opportunity_lines", ("line_id",), lambda row: None not in (row["opportunity_id"], row["product_id"])),
]


def load(directories: list[Path]) -> Facts:
    return funnel.load(directories, ENTITIES)


# Estimators


def wilson(share: float, n: float, z: float = Z) -> tuple[float, float] | tuple[None, None]:
    """Score interval of a share seen in n, of 90 % (Wilson 1927, J. Am. Stat. Assoc. 22: 209-212)."""
    if n == 0:
        return None, None
    middle = share + z**2 / (2 * n)
    reach = z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return (middle - reach) / (1 + z**2 / n), (middle + reach) / (1 + z**2 / n)


def aalen_johansen(stays: Iterable[tuple[int, str | None]]) -> tuple[dict[str, Fraction], list[tuple[int, Fraction]]]:
    """What share leaves by each cause, and the Kaplan-Meier curve: (time, share still there just after it).

    A stay is how long it lasted and how it ended, None where it lasts. One that is cut off in the moment another ends
    was at risk in that moment. Aalen and Johansen 1978, Scand. J. Stat. 5: 141-150; Kaplan and Meier 1958.
    """
    ended: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    leaving: dict[int, int] = defaultdict(int)
    for time, cause in stays:
        leaving[time] += 1
        if cause is not None:
            ended[time][cause] += 1
    at_risk = sum(leaving.values())
    here, curve = Fraction(1), []
    shares: dict[str, Fraction] = defaultdict(Fraction)
    for time in sorted(leaving):
        for cause, count in ended[time].items():
            shares[cause] += here * Fraction(count, at_risk)
        here *= 1 - Fraction(sum(ended[time].values()), at_risk)
        curve.append((time, here))
        at_risk -= leaving[time]
    return shares, curve


def median_stay(curve: list[tuple[int, Fraction]]) -> int | None:
    """The first time at which half or more have left; None while fewer have."""
    return next((time for time, here in curve if here <= Fraction(1, 2)), None)


def shrunk_rates(cells: Sequence[tuple[int, int]]) -> list[float | None]:
    """Each (won, n) moved towards the mean of all, as if it had M more deals that go as all did.

    M = (1 - r) / r with r the intra-class correlation by the analysis of variance: (MSB - MSW) / (MSB + (n0 - 1) MSW)
    (Ridout, Demétrio and Firth 1999, Biometrics 55: 137-148). Where the members differ by no more than chance does, r
    is not positive and everybody gets the mean.
    """
    seen = [(won, n) for won, n in cells if n]
    n_total, won_total, k = sum(n for _, n in seen), sum(won for won, _ in seen), len(seen)
    if not seen:
        return [None for _ in cells]
    overall = Fraction(won_total, n_total)
    correlation = Fraction(0)
    if k > 1 and n_total > k:
        of_members = sum(Fraction(won**2, n) for won, n in seen)
        between = (of_members - Fraction(won_total**2, n_total)) / (k - 1)
        within = (won_total - of_members) / (n_total - k)
        typical = (n_total - Fraction(sum(n**2 for _, n in seen), n_total)) / (k - 1)
        spread = between + (typical - 1) * within
        correlation = (between - within) / spread if spread else Fraction(0)
    if correlation <= 0:
        return [float(overall) if n else None for _, n in cells]
    strength = (1 - correlation) / correlation
    return [float((won + strength * overall) / (n + strength)) if n else None for won, n in cells]


# Opportunities


@dataclass(frozen=True)
class Opportunity:
    """A deal as it was known on the as-of date."""

    opportunity_id: str
    row: Row
    deal: Deal | None
    stage: str | None
    outcome: str | None
    is_deleted: bool
    owner_id: str | None
    manager_id: str | None
    region: str | None
    segment: str | None
    amount: Decimal | None
    list_amount: Decimal | None
    created_on: date | None
    closed_on: date | None
    scopes: frozenset[Scope]

    @property
    def is_open(self) -> bool:
        return self.outcome is None

    @property
    def days_to_close(self) -> int | None:
        if self.closed_on is None or self.created_on is None or self.closed_on < self.created_on:
            return None
        return (self.closed_on - self.created_on).days

    @property
    def cycle_days(self) -> int | None:
        """A deal that was created closed is a booking, and in no cycle."""
        was_open = self.deal is None or not funnel.is_closed(self.deal.stretches[0].stage)
        return self.days_to_close if was_open else None


def closing(row: Row, deal: Deal | None, as_of: date) -> tuple[str | None, date | None]:
    """How the deal has ended, by its history where it has one, and on what day, by its row where that can be."""
    moment = funnel.closed_moment(row)
    said_on = moment.date() if moment and moment.date() <= as_of else None
    if deal is None:
        stage = STAGES.get(row.get("stage") or "")
        return (stage.outcome, said_on) if stage and said_on else (None, None)
    last = deal.stretches[-1].stage
    close_date = deal.stretches[-1].close_date
    is_to_come = moment and moment.date() > as_of and close_date and close_date > as_of
    if not funnel.is_closed(last) or (funnel.is_closed(row.get("stage")) and is_to_come):
        return None, None
    if funnel.is_closed(row.get("stage")) and said_on:
        return STAGES[last or ""].outcome, said_on
    return STAGES[last or ""].outcome, stage_start(deal).date()


def stage_start(deal: Deal) -> datetime:
    """When the deal came to the stage it is in."""
    start = deal.stretches[-1].valid_from
    for stretch in reversed(deal.stretches):
        if stretch.stage != deal.stretches[-1].stage:
            break
        start = stretch.valid_from
    return start


def list_amount(
    lines: list[Row],
    product: Row,
    products: dict[funnel.Key, Row],
    currency: str | None,
    rates: funnel.Rates,
    day: date,
) -> Decimal | None:
    """What is sold at list price; a part in a currency without a rate leaves the whole unknown.

    Args:
        product: of the deal, where it has no lines.
        currency: of the deal, for what names none.
    """

    def price(row: Row, name: str) -> Decimal | None:
        found = value_or_none(funnel.to_decimal, row.get(name))
        assert found is None or isinstance(found, Decimal)
        return found

    parts: dict[str | None, Decimal] = defaultdict(Decimal)
    for line in lines:
        quantity, at_list = price(line, "quantity"), price(line, "list_unit_price")
        if at_list is None:
            at_list = price(products.get((line.get("product_id") or "",), {}), "list_price")
        if quantity is not None and at_list is not None:
            parts[line.get("currency") or currency] += quantity * at_list
    alone = price(product, "list_price")
    if not lines and alone is not None:
        parts[product.get("currency") or currency] += alone
    rated = [(amount, rates.on(name, day)) for name, amount in parts.items()]
    if not rated or any(rate is None for _, rate in rated):
        return None
    return sum(
        ((amount * rate).quantize(CENTS, ROUND_HALF_UP) for amount, rate in rated if rate is not None), Decimal(0)
    )


def rows_there(facts: Facts, file: str, as_of: date) -> list[Row]:
    """The newest row of each key that is known and not gone by the end of the day."""
    there = {version.key: version.row for version in facts.versions[file] if version.known_at < funnel.end_of(as_of)}
    return [row for row in there.values() if row is not None]


def opportunities(facts: Facts, as_of: date) -> list[Opportunity]:
    """Every deal known by the end of the day, also those that are deleted."""
    rates, places = funnel.Rates(facts, as_of), funnel.Places(facts, as_of)
    products = facts.newest_rows("crm/products", as_of)
    lines: dict[str, list[Row]] = defaultdict(list)
    for line in rows_there(facts, "crm/opportunity_lines", as_of):
        lines[line["opportunity_id"] or ""].append(line)
    deals = {deal.opportunity_id: deal for deal in funnel.make_deals(facts, as_of)}
    gone: dict[str, bool] = {}
    for version in facts.versions["crm/opportunities"]:
        if version.known_at < funnel.end_of(as_of):
            row = version.row
            gone[version.key[0]] = row is None or value_or_none(funnel.to_bool, row.get("is_deleted")) is True
    made = []
    for (opportunity_id,), row in facts.newest_rows("crm/opportunities", as_of).items():
        deal = deals.get(opportunity_id)
        last = deal.stretches[-1] if deal else None
        outcome, closed_on = closing(row, deal, as_of)
        created_at = value_or_none(funnel.to_time, row.get("created_at"))
        owner_id = last.owner_id if last else row.get("owner_id")
        stage = last.stage if last else row.get("stage")
        is_told = outcome or not funnel.is_closed(stage)
        close_date = last.close_date if last else value_or_none(funnel.to_date, row.get("close_date"))
        rate_day = closed_on or min(close_date or as_of, as_of)
        amount = last.amount if last else None
        if last is None:
            entered, rate = funnel.field_value("amount", row.get("amount")), rates.on(row.get("currency"), rate_day)
            amount = None if entered is None or rate is None else (entered * rate).quantize(CENTS, ROUND_HALF_UP)
        place = (owner_id, row.get("account_id"), closed_on or as_of)
        manager_id, region, segment = places.of(*place)
        made.append(
            Opportunity(
                opportunity_id=opportunity_id,
                row=row,
                deal=deal,
                stage=stage if is_told else None,
                outcome=outcome,
                is_deleted=last.is_deleted if last else gone[opportunity_id],
                owner_id=owner_id,
                manager_id=manager_id,
                region=region,
                segment=segment,
                amount=amount,
                list_amount=list_amount(
                    lines[opportunity_id],
                    products.get((row.get("product_id") or "",), {}),
                    products,
                    last.currency if last else row.get("currency"),
                    rates,
                    rate_day,
                ),
                created_on=created_at.date() if created_at else None,
                closed_on=closed_on,
                scopes=places.scopes(*place),
            )
        )
    return made


def pushes(deal: Deal) -> list[int]:
    """By how many days each push moved the close date: a move to a later day while the deal was in the pipeline."""
    return [
        (new.close_date - old.close_date).days
        for old, new in zip(deal.stretches, deal.stretches[1:], strict=False)
        if old.close_date
        and new.close_date
        and new.close_date > old.close_date
        and not funnel.is_closed(old.stage)
        and not funnel.is_closed(new.stage)
    ]


def amount_change(deal: Deal) -> Decimal | None:
    """Amount as entered now less the first there was."""
    amounts = [stretch.amount_source for stretch in deal.stretches]
    first = next((amount for amount in amounts if amount is not None), None)
    return None if first is None or amounts[-1] is None else amounts[-1] - first


def opportunity_measures(facts: Facts, as_of: date) -> pd.DataFrame:
    """One row per deal: what core.opportunities says of its time, its pushes and its amount."""
    has_history = any(facts.newest_rows("crm/opportunity_changes", as_of))
    rows = []
    for one in opportunities(facts, as_of):
        deal = one.deal if has_history else None
        until = one.closed_on or as_of
        rows.append(
            {
                "opportunity_id": one.opportunity_id,
                "stage": one.stage,
                "is_open": one.is_open,
                "is_won": one.outcome == "won",
                "is_lost": one.outcome == "lost",
                "is_no_decision": one.outcome == "no_decision",
                "is_deleted": one.is_deleted,
                "owner_id": one.owner_id,
                "manager_id": one.manager_id,
                "region": one.region,
                "segment": one.segment,
                "created_on": one.created_on,
                "closed_on": one.closed_on,
                "amount": one.amount,
                "list_amount": one.list_amount,
                "push_count": len(pushes(deal)) if deal else None,
                "push_days": sum(pushes(deal)) if deal else None,
                "amount_change": amount_change(deal) if deal else None,
                "age_days": (until - one.created_on).days if one.created_on and one.created_on <= until else None,
                "stage_age_days": (as_of - stage_start(deal).date()).days if deal and one.is_open else None,
                "cycle_days": one.cycle_days,
            }
        )
    return pd.DataFrame(rows)


# Conversion


@dataclass(frozen=True)
class Visit:
    opportunity_id: str
    stage: str
    segment: str | None
    entered_on: date
    exited_on: date | None
    length: int  # microseconds
    next_stage: str | None
    cause: str | None


def read_visits(facts: Facts, as_of: date) -> list[Visit]:
    segments = {one.opportunity_id: one.segment for one in opportunities(facts, as_of)}
    made = []
    for row in funnel.visits(facts, as_of).to_dict("records"):
        is_censored = bool(row["is_censored"])
        until = funnel.end_of(as_of) if is_censored else row["exited_at"].to_pydatetime()
        cause = None if is_censored else CAUSES.get(row["direction"], ELSEWHERE)
        made.append(
            Visit(
                stage=row["stage"],
                opportunity_id=row["opportunity_id"],
                segment=segments[row["opportunity_id"]],
                entered_on=row["entered_at"].date(),
                exited_on=None if is_censored else until.date(),
                length=(until - row["entered_at"].to_pydatetime()) // MICROSECOND,
                next_stage=None if is_censored else row["next_stage"],
                cause=cause,
            )
        )
    return made


def periods(first: date, last: date, period_type: str) -> list[tuple[date, date]]:
    made = [funnel.period_of(first, period_type)]
    while made[-1][1] < last:
        made.append(funnel.period_of(made[-1][1] + DAY, period_type))
    return made


def cohorts(visits: list[Visit], as_of: date) -> Iterable[tuple[dict[str, Any], list[Visit], list[Visit]]]:
    """Every period, segment and stage there is, with the visits that began in it and those that ended in it."""
    segments = sorted({visit.segment for visit in visits if visit.segment})
    for period_type in ("quarter", "year"):
        for start, end in periods(min(visit.entered_on for visit in visits), as_of, period_type):
            for segment in [*segments, "all"]:
                for stage in sorted({visit.stage for visit in visits}):
                    here = [visit for visit in visits if visit.stage == stage and segment in ("all", visit.segment)]
                    key = {
                        "period_type": period_type, "period_start": start, "period_end": end, "segment": segment,
                        "stage": stage,
                    }  # fmt: skip
                    began = [visit for visit in here if start <= visit.entered_on <= end]
                    yield key, began, [visit for visit in here if visit.exited_on and start <= visit.exited_on <= end]


def stage_conversion(visits: list[Visit], as_of: date) -> pd.DataFrame:
    rows = []
    for key, began, ended in cohorts(visits, as_of):
        causes = [visit.cause for visit in began]
        shares, curve = aalen_johansen((visit.length, visit.cause) for visit in began)
        n_left = len(causes) - causes.count(None)
        # Who has only just come says nothing yet: without anybody who has left there is no rate.
        rate = {cause: float(shares[cause]) if n_left else None for cause in (FORWARD, LOST, NO_DECISION)}
        low, high = wilson(rate[FORWARD] or 0.0, n_left)
        usual = median_stay(curve)
        rows.append(
            {
                **key,
                "stage_order": STAGES[key["stage"]].order if key["stage"] in STAGES else None,
                "entered_count": len(began),
                "converted_count": causes.count(FORWARD),
                "lost_count": causes.count(LOST),
                "no_decision_count": causes.count(NO_DECISION),
                "regressed_count": causes.count(BACK),
                "still_open_count": causes.count(None),
                "conversion_rate": rate[FORWARD],
                "conversion_rate_low": low,
                "conversion_rate_high": high,
                "loss_rate": rate[LOST],
                "no_decision_rate": rate[NO_DECISION],
                "exited_count": len(ended),
                "flow_rate": sum(visit.cause == FORWARD for visit in ended) / len(ended) if ended else None,
                "median_days": None if usual is None else usual * MICROSECOND / DAY,
            }
        )
    return pd.DataFrame(rows)


def stage_transitions(visits: list[Visit], as_of: date) -> pd.DataFrame:
    rows = []
    for key, began, _ in cohorts(visits, as_of):
        went = [visit.next_stage or STILL_THERE for visit in began]
        for next_stage in sorted(set(went)):
            share = went.count(next_stage) / len(went)
            low, high = wilson(share, len(went))
            rows.append(
                {
                    **key,
                    "next_stage": next_stage,
                    "visit_count": went.count(next_stage),
                    "n": len(went),
                    "transition_share": share,
                    "transition_share_low": low,
                    "transition_share_high": high,
                }
            )
    return pd.DataFrame(rows)


# Velocity


def sellers(facts: Facts, as_of: date, known: list[Opportunity]) -> set[str]:
    """Whoever sells by the job held, and whoever owns a deal."""
    jobs: dict[str, set[str | None]] = defaultdict(set)
    for (user_id, effective_from), row in facts.newest_rows("crm/user_roles", as_of).items():
        if funnel.to_date(effective_from) <= as_of:
            jobs[user_id].add(row.get("role"))
    for (user_id,), row in facts.newest_rows("crm/users", as_of).items():
        if user_id not in jobs:
            jobs[user_id].add(row.get("role"))
    hold = {user_id for user_id, roles in jobs.items() if roles & {*SELLER_ROLES}}
    return hold | {one.owner_id for one in known if one.owner_id}


def sales_velocity(facts: Facts, as_of: date) -> pd.DataFrame:
    known = [one for one in opportunities(facts, as_of) if not one.is_deleted]
    decided = [one for one in known if not one.is_open and one.closed_on]
    left_out = wins_without_losses(facts, as_of)
    population = [
        one
        for one in decided
        if one.cycle_days is not None and one.amount is not None and one.opportunity_id not in left_out
    ]
    scopes = {scope for one in known for scope in one.scopes} | {("company", "company")}
    scopes |= {("seller", seller) for seller in sellers(facts, as_of, known)}
    first = min(one.closed_on for one in decided if one.closed_on)
    rows = []
    for period_type in ("quarter", "year"):
        for start, end in periods(first, as_of, period_type):
            inside = [one for one in population if one.closed_on and start <= one.closed_on <= end]
            for scope in sorted(scopes):
                here = [one for one in inside if scope in one.scopes]
                won = [float(one.amount) for one in here if one.outcome == "won" and one.amount is not None]
                days = [one.cycle_days for one in here if one.cycle_days is not None]
                n, cycle = len(here), float(median(days)) if days else None
                low, high = wilson(len(won) / n if n else 0.0, n)
                rows.append(
                    {
                        "scope_type": scope[0],
                        "scope_id": scope[1],
                        "period_type": period_type,
                        "period_start": start,
                        "period_end": end,
                        "n": n,
                        "won_count": len(won),
                        "win_rate": len(won) / n if n else None,
                        "win_rate_low": low,
                        "win_rate_high": high,
                        "mean_amount": mean(won) if won else None,
                        "median_cycle_days": cycle,
                        "velocity": n * (len(won) / n) * mean(won) / cycle if won and cycle else None,
                    }
                )
    return pd.DataFrame(rows)


# Win rates


def period_name(day: date, period_type: str) -> str:
    return f"{day.year}-M{day.month:02}" if period_type == "month" else f"{day.year}-Q{(day.month + 2) // 3}"


def total(amounts: list[Decimal | None]) -> Decimal | None:
    """Nothing where there is no deal; not known where there are deals, but of none the amount."""
    known = [amount for amount in amounts if amount is not None]
    return None if amounts and not known else sum(known, Decimal(0))


def wins_without_losses(facts: Facts, as_of: date) -> set[str]:
    """Deals won before the first lost one, where they are so many that lost ones were not recorded (one source)."""
    decided = [one for one in opportunities(facts, as_of) if not one.is_deleted and not one.is_open and one.closed_on]
    first_lost = min((one.closed_on for one in decided if one.outcome in ("lost", "no_decision")), default=date.max)
    before = {one.opportunity_id for one in decided if one.outcome == "won" and one.closed_on < first_lost}
    policy = pd.read_csv(Path("seeds") / "deal_policy.csv", index_col="name")["value"]
    return before if len(before) >= policy["wins_without_losses"] else set()


def win_rate_row(members: list[Opportunity], left_out: set[str]) -> dict[str, Any]:
    won = [one for one in members if one.outcome == "won"]
    lost = [one for one in members if one.outcome == "lost"]
    closed = [one for one in members if not one.is_open]
    rated = [one for one in closed if one.opportunity_id not in left_out]
    rated_won = [one for one in won if one.opportunity_id not in left_out]
    n = len(rated)
    low, high = wilson(len(rated_won) / n if n else 0.0, n)
    amounts = [one.amount for one in won if one.amount is not None]
    won_amount, rated_won_amount = total([one.amount for one in won]), total([one.amount for one in rated_won])
    rated_amount = total([one.amount for one in rated])
    cycles = [one.cycle_days for one in closed if one.cycle_days is not None]
    return {
        "won_count": len(won),
        "lost_count": len(lost),
        "no_decision_count": len(closed) - len(won) - len(lost),
        "open_count": len(members) - len(closed),
        "left_out_count": len(closed) - n,
        "n": n,
        "rated_won_count": len(rated_won),
        "win_rate": len(rated_won) / n if n else None,
        "win_rate_low": low,
        "win_rate_high": high,
        "win_rate_narrow": len(rated_won) / (len(rated_won) + len(lost)) if rated_won or lost else None,
        "won_amount": won_amount if closed else None,
        "won_list_amount": total([one.list_amount for one in won]) if closed else None,
        "lost_list_amount": total([one.list_amount for one in lost]) if closed else None,
        "win_rate_amount": float(rated_won_amount / rated_amount)
        if rated_won_amount is not None and rated_amount
        else None,
        "mean_won_amount": float(sum(amounts) / len(amounts)) if amounts else None,
        "median_won_amount": float(median(amounts)) if amounts else None,
        "mean_cycle_days": mean(cycles) if cycles else None,
        "median_cycle_days": float(median(cycles)) if cycles else None,
    }


def win_rates(facts: Facts, as_of: date) -> pd.DataFrame:
    """Amounts are weighed by amount: the demo company knows that of its lost deals too."""
    every = [one for one in opportunities(facts, as_of) if not one.is_deleted]
    left_out = wins_without_losses(facts, as_of)
    rows = []
    for basis in ("closed", "created"):
        known = [one for one in every if basis == "closed" or one.created_on]
        dimensions: dict[str, dict[str, list[Opportunity]]] = defaultdict(lambda: defaultdict(list))
        for seller in sellers(facts, as_of, every):
            dimensions["owner"][seller] = []
        for one in known:
            named = {
                "company": "company",
                "owner": one.owner_id,
                "manager": one.manager_id,
                "region": one.region,
                "segment": one.segment,
                "product": one.row.get("product_id"),
                "opportunity_type": one.row.get("opportunity_type"),
                "lead_source": one.row.get("lead_source"),
            }
            for dimension, member in named.items():
                dimensions[dimension][member or "unknown"].append(one)
        days = {
            one.opportunity_id: day
            for one in known
            if (day := one.closed_on if basis == "closed" else one.created_on) is not None
        }
        starts: dict[tuple[str, str], date] = {}
        for period_type in ("quarter", "month"):
            dimension = f"{'close' if basis == 'closed' else 'created'}_{period_type}"
            for start, end in periods(min(days.values()), as_of, period_type):
                name = period_name(start, period_type)
                starts[dimension, name] = start
                dimensions[dimension][name] = [
                    one for one in known if one.opportunity_id in days and start <= days[one.opportunity_id] <= end
                ]
        for dimension, members in dimensions.items():
            made = {member: win_rate_row(some, left_out) for member, some in members.items()}
            shrunk = shrunk_rates([(row["rated_won_count"], row["n"]) for row in made.values()])
            for (member, row), rate in zip(made.items(), shrunk, strict=True):
                rows.append(
                    {
                        "basis": basis,
                        "dimension": dimension,
                        "member": member,
                        **row,
                        "win_rate_shrunk": rate,
                        "period_start": starts.get((dimension, member)),
                    }
                )
    return pd.DataFrame(rows)
