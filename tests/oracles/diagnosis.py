"""The diagnosis of sellers worked out a second time from docs/rep-diagnosis.md and nothing else, in calendar quarters.

Deals and their stays in stages are those of `tests.oracles.conversion` and `tests.oracles.funnel`; people and
activities are read from the extract. Bookings are by who owns a deal now, which in the demo company is who owned it
when it was won.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pandas as pd

from orchestration.settings import SEEDS
from tests.oracles import conversion, funnel

FACTORS = ["activities", "opportunities_per_activity", "landing", "carried_over", "win_rate", "deal_size"]
RATES = {"win_rate": True, "deal_size": True, "stage": False, "landing": False}  # whether the source of a deal matters


def read_policy() -> dict[str, float]:
    with (SEEDS / "people_policy.csv").open() as file:
        return {row["name"].removeprefix("diagnosis_"): float(row["value"]) for row in csv.DictReader(file)}


def read_sellers(extract: Path, as_of: pd.Timestamp, policy: dict[str, float]) -> pd.DataFrame:
    """Whoever sells on the day, with since when in the job and segment."""
    users = pd.read_csv(extract / "crm/users.csv", dtype=str).drop_duplicates("user_id", keep="last")
    jobs = pd.read_csv(extract / "crm/user_roles.csv", dtype=str)
    jobs["effective_from"] = pd.to_datetime(jobs.effective_from)
    jobs = jobs[jobs.effective_from <= as_of].drop_duplicates(["user_id", "effective_from"], keep="last")
    rows = []
    for user in users.to_dict("records"):
        left = pd.Timestamp(user["terminated_on"])
        history = jobs[jobs.user_id == user["user_id"]].sort_values("effective_from")
        if (left <= as_of) or history.empty:
            continue
        now = history.iloc[-1]
        if now.role not in ("account_executive", "account_manager", "development_rep"):
            continue
        since = now.effective_from
        for earlier in history.iloc[::-1].itertuples():
            if earlier.role != now.role or str(earlier.segment) != str(now.segment):
                break
            since = earlier.effective_from
        since = max(since, pd.Timestamp(user["hired_on"]))
        ramped_on = since + pd.DateOffset(months=int(policy["ramp_months"]))
        rows.append((user["user_id"], now.role, "" if now.isna()["segment"] else now.segment, ramped_on))
    return pd.DataFrame(rows, columns=["seller", "role", "segment", "ramped_on"]).set_index("seller")


def history_from(days: pd.Series, as_of: pd.Timestamp, share: float) -> pd.Timestamp:
    """The first day by which no less than that share of what happened on these days had been seen."""
    days = days[days <= as_of].sort_values()
    return days.iloc[math.ceil(len(days) * share - 1e-9) - 1] if len(days) else pd.Timestamp.min


def outbound(extract: Path) -> pd.DataFrame:
    """What was done towards buyers, with its day."""
    activities = pd.read_csv(extract / "crm/activities.csv", dtype=str).drop_duplicates("activity_id")
    activities = activities[
        (activities.direction == "outbound") & (activities.is_completed.fillna("true") == "true")
    ].copy()
    activities["day"] = pd.to_datetime(activities.occurred_at, utc=True).dt.tz_localize(None).dt.normalize()
    return activities


def liken(rows: pd.DataFrame, strength: float, has_source: bool, told: str = "measure") -> pd.Series:
    """What everybody of a job makes of like deals, each group leaning on the next wider one."""
    keys = ["stage", "role"]
    norm = rows.groupby(keys)[told].transform("mean")
    for key in ["opportunity_type", "deal_segment", *(["source"] if has_source else [])]:
        keys = [*keys, key]
        cell = rows.groupby(keys)[told]
        norm = (cell.transform("sum") + strength * norm) / (cell.transform("count") + strength)
    return norm


def split(start: float, end: float, logs: list[float]) -> list[float]:
    """The log-mean of both ends shares their difference out by logarithms that add up to that of their ratio."""
    weight = start if math.isclose(start, end, rel_tol=1e-12) else (end - start) / math.log(end / start)
    return [weight * log for log in logs]


def rep_diagnosis(extract: Path, as_of: pd.Timestamp) -> pd.DataFrame:
    """One row per told seller and factor, with its parts of the gap."""
    policy = read_policy()
    quarter = (
        pd.Period(as_of, "Q") if as_of == pd.Period(as_of, "Q").end_time.normalize() else pd.Period(as_of, "Q") - 1
    )
    end = quarter.end_time.normalize()
    start = (quarter - 3).start_time
    sellers = read_sellers(extract, as_of, policy)
    sellers = sellers[sellers.ramped_on <= start].copy()
    facts = conversion.load([extract])
    told = [one for one in conversion.opportunities(facts, as_of.date()) if not one.is_deleted]
    opened = pd.Series([pd.Timestamp(one.created_on) for one in told])
    begun = history_from(opened, as_of, policy["history_share"])
    oldest = (quarter - int(policy["evidence_quarters"]) + 1).start_time
    sellers["since"] = sellers.ramped_on.clip(lower=max(oldest, begun))
    activities = outbound(extract)
    sellers["at_work"] = sellers.since.clip(lower=history_from(activities.day, as_of, policy["history_share"]))

    deals = pd.DataFrame(
        [
            {
                "deal": one.opportunity_id,
                "seller": one.owner_id,
                "account": one.row.get("account_id"),
                "opportunity_type": one.row.get("opportunity_type") or "",
                "deal_segment": one.segment or "",
                "source": one.row.get("lead_source") or "",
                "outcome": one.outcome,
                "amount": np.nan if one.amount is None else float(one.amount),
                "created": pd.Timestamp(one.created_on),
                "closed": pd.Timestamp(one.closed_on),
            }
            for one in told
            if one.owner_id in sellers.index
        ]
    ).set_index("deal")
    for column in ("role", "since", "at_work"):
        deals[column] = deals.seller.map(sellers[column])
    deals["is_won"] = deals.outcome == "won"
    is_decided = deals.outcome.notna() & (deals.closed <= end)
    of_record = {"opened": (deals.created >= deals.since) & (deals.created <= end)}
    of_record["opened_at_work"] = (deals.created >= deals.at_work) & (deals.created <= end)
    of_record["decided"] = is_decided & (deals.closed >= deals.since)
    of_window = {
        "opened": (deals.created >= start) & (deals.created <= end),
        "decided": is_decided & (deals.closed >= start),
    }

    activities = activities[activities.user_id.isin(sellers.index)]
    day = activities.day
    since = activities.user_id.map(sellers["at_work"])
    sellers["work"] = activities[(day >= since) & (day <= end)].groupby("user_id").size()
    sellers["work_now"] = activities[(day >= start) & (day <= end)].groupby("user_id").size()
    for name in ("opened", "decided"):
        sellers[name] = deals[of_record[name]].groupby("seller").size()
        sellers[f"{name}_now"] = deals[of_window[name]].groupby("seller").size()
    sellers["opened_at_work"] = deals[of_record["opened_at_work"]].groupby("seller").size()
    won_now = deals[of_window["decided"] & deals.is_won].groupby("seller")
    sellers["won_now"], sellers["booked"] = won_now.size(), won_now.amount.sum()
    renewals = deals[of_window["opened"] & (deals.opportunity_type == "renewal")]
    sellers["book"] = renewals.groupby("seller").account.nunique()
    sellers = sellers.fillna({name: 0 for name in sellers.columns if sellers[name].dtype == float})
    sellers["days"] = ((end - sellers.at_work).dt.days + 1).clip(lower=0)

    visits = funnel.visits(facts, as_of.date())
    visits = visits[visits.opportunity_id.isin(deals.index)].join(deals, on="opportunity_id")
    entered, left = visits.entered_at.dt.normalize(), visits.exited_at.dt.normalize()
    stays = visits[
        visits.direction.isin(["advance", "skip", "won", "lost", "no_decision"])
        & (entered >= visits.since)
        & (left <= end)
    ].copy()
    stays["measure"] = stays.direction.isin(["advance", "skip", "won"]).astype(float)
    last_stage = max((name for name in visits.stage.unique()), key=lambda name: funnel.STAGES[name].order)
    limit = policy["landing_days"]
    landings = visits[
        (visits.stage == last_stage) & (entered >= visits.since) & (entered + pd.Timedelta(days=limit) <= end)
    ].copy()
    landings["measure"] = (landings.direction.isin(["won", "lost", "no_decision"]) & (landings.days <= limit)).astype(
        float
    )
    landings["stage"] = ""
    decided = deals[of_record["decided"]].assign(stage="", measure=lambda rows: rows.is_won.astype(float))
    sized = deals[of_record["opened"] & (deals.amount > 0)].assign(stage="", measure=lambda rows: np.log(rows.amount))
    measured = {"stage": stays, "landing": landings, "win_rate": decided, "deal_size": sized}
    for name, rows in measured.items():
        rows["norm"] = liken(rows, policy["cell_strength"], RATES[name])

    # Norms and skills of each factor.
    norm, skill = pd.DataFrame(index=sellers.index), pd.DataFrame(index=sellers.index)
    peers = sellers.groupby(["role", "segment"])
    sums = {name: peers[name].transform("sum") for name in ("work", "days", "opened", "opened_at_work", "decided")}
    pace, yielded = sums["work"] / sums["days"], sums["opened_at_work"] / sums["work"]
    usual_book = peers.book.transform("median")
    ratio = (sellers.book.clip(lower=1) / usual_book).where(usual_book >= 1, 1.0)
    norm["activities"] = pace * ((end - start).days + 1) * ratio
    k = policy["activity_strength"]
    skill["activities"] = (sellers.work + k) / (pace * sellers.days * ratio + k)
    norm["opportunities_per_activity"] = yielded
    k = policy["creation_strength"]
    skill["opportunities_per_activity"] = (sellers.opened_at_work + k) / (sellers.work * yielded + k)
    by_seller = {name: rows.groupby("seller") for name, rows in measured.items()}
    usual = sellers.role.map(landings.groupby("role").measure.mean())
    expected = by_seller["landing"].norm.sum().reindex(sellers.index).fillna(0.0)
    k = policy["landing_strength"]
    landed = by_seller["landing"].measure.sum().reindex(sellers.index).fillna(0.0)
    norm["landing"] = by_seller["landing"].norm.mean().reindex(sellers.index).fillna(usual)
    skill["landing"] = (landed + k * usual) / (expected + k * usual)
    norm["win_rate"] = by_seller["win_rate"].norm.mean()
    k = policy["stage_strength"]
    cells = stays.groupby(["seller", "stage"]).agg(n=("norm", "size"), passed=("measure", "sum"), norm=("norm", "mean"))
    cells["log"] = np.log((cells.passed + k * cells.norm) / ((cells.n + k) * cells.norm))
    skill["win_rate"] = np.exp(cells.groupby("seller").log.sum().reindex(sellers.index).fillna(0.0))
    k = policy["size_strength"]
    over = (sized.measure - sized.norm).groupby(sized.seller)
    skill["deal_size"] = np.exp(over.sum() / (over.size() + k))
    won_sized = sized[sized.is_won]
    told = np.exp(won_sized.norm) * won_sized.seller.map(skill["deal_size"])
    uneven = won_sized.groupby("role").amount.sum() / told.groupby(won_sized.role).sum()
    # What is to be won: the amount of each deal times how often like ones are won.
    share = liken(sized.assign(won=sized.is_won.astype(float)), policy["cell_strength"], RATES["deal_size"], "won")
    to_win = (share * np.exp(sized.norm)).groupby(sized.seller).sum()
    norm["deal_size"] = to_win / share.groupby(sized.seller).sum() * sellers.role.map(uneven)

    kept = (sellers.work > 0) & (sellers.decided >= policy["minimum_deals"]) & norm.notna().all(axis=1)
    kept &= skill.notna().all(axis=1)
    sellers, norm, skill = sellers[kept], norm[kept], skill[kept]
    groups = [sellers.role, sellers.segment]
    usual_norm, usual_skill = norm.groupby(groups).transform("median"), skill.groupby(groups).transform("median")
    count = sellers.groupby(["role", "segment"]).days.transform("size")
    mix, own = np.log(norm / usual_norm), np.log(skill / usual_skill)
    mix["carried_over"], own["carried_over"] = -mix["landing"], -own["landing"]
    flow = (sums["decided"] / sums["opened"])[kept]
    usual_value, estimate = usual_norm * usual_skill, norm * skill
    usual_value["carried_over"], estimate["carried_over"] = flow / usual_value.landing, flow / estimate.landing
    mix, own, usual_value, estimate = (table[FACTORS] for table in (mix, own, usual_value, estimate))

    rows = []
    for seller in sellers.index[count >= policy["minimum_peers"]]:
        reference, expected_amount = usual_value.loc[seller].prod(), estimate.loc[seller].prod()
        logs = [log for factor in FACTORS for log in (mix.loc[seller, factor], own.loc[seller, factor])]
        parts = split(reference, expected_amount, logs)
        at, booked = sellers.loc[seller], sellers.loc[seller, "booked"]
        levels = [at.work_now, at.opened_now, None, at.decided_now, at.won_now, booked]
        so_far = np.cumprod(estimate.loc[seller])
        chance = strays(levels, list(so_far), expected_amount, booked)
        for place, factor in enumerate(FACTORS):
            rows.append(
                {
                    "seller_id": seller,
                    "factor": factor,
                    "estimate": estimate.loc[seller, factor],
                    "peer_value": usual_value.loc[seller, factor],
                    "own_ratio": math.exp(own.loc[seller, factor]),
                    "mix_amount": parts[2 * place],
                    "own_amount": parts[2 * place + 1],
                    "chance_amount": chance[place],
                    "reference_amount": reference,
                    "expected_amount": expected_amount,
                    "booked_amount": booked,
                }
            )
    return pd.DataFrame(rows)


def strays(levels: list[float | None], expected: list[float], expected_amount: float, booked: float) -> list[float]:
    """What came over what was to be expected, by factor; the nothing after which there is nothing takes it all."""
    if booked <= 0:
        alive = max((place for place, level in enumerate(levels) if level is not None and level > 0), default=-1)
        dead = next(place for place, level in enumerate(levels) if place > alive and level == 0)
        return [-expected_amount if place == dead else 0.0 for place in range(len(levels))]
    logs: list[float] = []
    before = 0.0
    for level, usual in zip(levels, expected, strict=True):
        now = math.log(level / usual) if level is not None and level > 0 else before
        logs.append(now - before)
        before = now
    return split(expected_amount, booked, logs)
