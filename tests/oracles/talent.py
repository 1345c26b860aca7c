"""Talent, fit and career worked out a second time from docs/talent.md, in pandas and calendar quarters.

Deals, people, team members and coaching are read from the extract; what other published tables say (the diagnosis,
quota attainment, credits, calls, discounts, managers) is taken as they say it: each has a reckoning of its own.
"""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from pathlib import Path
from statistics import NormalDist, median
from typing import Any

import numpy as np
import pandas as pd

from orchestration.settings import SEEDS
from tests.oracles import conversion, diagnosis

Z = 1.6448536269514722
DAY = pd.Timedelta(days=1)


def read_policy() -> dict[str, float]:
    with (SEEDS / "people_policy.csv").open() as file:
        return {row["name"]: float(row["value"]) for row in csv.DictReader(file)}


class Company:
    """The files of an extract as of a day, and the tables published beside talent."""

    def __init__(self, extract: Path, as_of: pd.Timestamp, published: dict[str, pd.DataFrame]) -> None:
        self.extract, self.as_of, self.published = extract, as_of, published
        self.policy = read_policy()
        now = pd.Period(as_of, "Q")
        last = now if as_of == now.end_time.normalize() else now - 1
        self.end = last.end_time.normalize()
        self.start = (last - 3).start_time
        sellers = diagnosis.read_sellers(extract, as_of, diagnosis.read_policy())
        self.everybody = list(sellers.index)
        self.not_ramped = {
            str(seller): "still ramping" if ramped_on > as_of else "not ramped for the whole window"
            for seller, ramped_on in sellers.ramped_on.items()
            if ramped_on > self.start
        }
        self.without_record = {str(seller) for seller in sellers.index[sellers.ramped_on > self.end]}
        sellers = sellers[sellers.ramped_on <= self.start].copy()
        self.deals = pd.DataFrame(
            [
                {
                    "deal": one.opportunity_id,
                    "owner": one.owner_id,
                    "type": one.row.get("opportunity_type") or "",
                    "segment": one.segment or "",
                    "source": one.row.get("lead_source") or "",
                    "amount": math.nan if one.amount is None else float(one.amount),
                    "is_decided": one.outcome is not None,
                    "is_won": one.outcome == "won",
                    "created": pd.Timestamp(one.created_on),
                    "closed": pd.Timestamp(one.closed_on),
                }
                for one in conversion.opportunities(conversion.load([extract]), as_of.date())
                if not one.is_deleted
            ]
        ).set_index("deal")
        begun = diagnosis.history_from(self.deals.created, as_of, self.policy["diagnosis_history_share"])
        oldest = (last - int(self.policy["diagnosis_evidence_quarters"]) + 1).start_time
        sellers["since"] = sellers.ramped_on.clip(lower=max(oldest, begun))
        sellers["days"] = (self.end - sellers.since).dt.days + 1
        self.sellers = sellers
        self.first = sellers.since.min()

    def read(self, entity: str, key: list[str]) -> pd.DataFrame:
        rows = pd.read_csv(self.extract / f"crm/{entity}.csv", dtype=str)
        return rows.drop_duplicates(key, keep="last")


def day(texts: pd.Series[Any]) -> pd.Series[Any]:
    return pd.to_datetime(texts, utc=True, format="ISO8601").dt.tz_localize(None).dt.normalize()


def skills(company: Company) -> dict[str, dict[str, Any]]:
    """Of each diagnosed seller the logarithms of the own ratios with their variances, and the territory."""
    found = {}
    told = company.published["diagnosis"]
    for seller, rows in told[told.reason.isna()].groupby("seller_id"):
        rows = rows.set_index("factor")
        logs = np.log(rows.own_ratio)
        variances = ((np.log(rows.own_ratio_high) - logs) / Z) ** 2
        four = ["activities", "opportunities_per_activity", "win_rate", "deal_size"]
        reference = float(rows.reference_amount.iloc[0])
        found[str(seller)] = {
            "logs": logs,
            "variances": variances,
            "n": rows.n,
            "m": logs[four].sum(),
            "v": variances[four].sum(),
            "territory": (reference + rows.mix_amount.astype(float).sum()) / reference,
        }
    return found


def true_attainments(company: Company) -> dict[str, dict[str, float]]:
    policy, people = company.policy, company.sellers
    quarters = company.published["quarters"]
    told: dict[str, dict[str, Any]] = {}
    for seller, skill in skills(company).items():
        since = people.since[seller]
        own = quarters[
            (quarters.scope_id == seller)
            & (pd.to_datetime(quarters.period_start) >= since)
            & (pd.to_datetime(quarters.period_end) <= company.end)
        ]
        quota = own.quota_amount.astype(float).sum()
        if quota > 0 and skill["territory"] > 0:
            booked = max(own.credited_amount.astype(float).sum(), 0.0)
            told[seller] = {**skill, "quota": quota, "booked": booked, "n": len(own)}
    credits = company.published["credits"]
    credits = credits[credits.user_id.isin(told) & (credits.credited_amount.astype(float) > 0)].copy()
    won = pd.to_datetime(credits.won_on)
    credits = credits[(won >= credits.user_id.map(people.since)) & (won <= company.end)]
    credits["group"] = [(people.role[user], people.segment[user]) for user in credits.user_id]
    units = {
        group: (amounts**2).sum() / amounts.sum()
        for group, amounts in credits.credited_amount.astype(float).groupby(credits.group)
    }
    found = {}
    for seller, own in told.items():
        job = [one for name, one in told.items() if people.role[name] == people.role[seller]]
        unit = units.get((people.role[seller], people.segment[seller]))
        usual = sum(one["booked"] for one in job) / sum(one["territory"] * one["quota"] for one in job)
        if len(job) < policy["diagnosis_minimum_peers"] or usual <= 0 or unit is None:
            continue
        prior, weight = 1 / math.expm1(own["v"]), policy["talent_outcome_weight"]
        shape = prior + weight * own["booked"] / unit
        rate = prior / math.exp(own["m"] + own["v"] / 2) + weight * usual * own["territory"] * own["quota"] / unit
        ceiling = max(1.0, usual)
        root = (policy["talent_low_attainment"] / ceiling * rate / shape) ** (1 / 3)
        mean, deviation = 1 - 1 / (9 * shape), 1 / (3 * math.sqrt(shape))
        found[seller] = {
            "n": own["n"],
            "value": ceiling * shape / rate,
            "value_low": ceiling * shape / rate * max(mean - Z * deviation, 0) ** 3,
            "value_high": ceiling * shape / rate * (mean + Z * deviation) ** 3,
            "norm": ceiling,
            "p_low": NormalDist().cdf((root - mean) / deviation),
            "m": own["m"],
            "shape": shape,
            "limit": policy["talent_low_attainment"] / ceiling * rate,
        }
    return found


def joined_deals(company: Company) -> pd.DataFrame:
    """Deals of others that ramped sellers joined, with the like deals nobody joined that lived longer."""
    team = company.read("opportunity_team", ["opportunity_id", "user_id", "team_role"])
    team["role"] = team.team_role.str.lower()
    owned = set(map(tuple, team[team.role == "owner"][["opportunity_id", "user_id"]].to_numpy()))
    team["day"] = day(team.joined_at)
    rows: dict[tuple[str, str], pd.Timestamp] = {}
    for one in team[~team.role.isin(["owner", "sourcing"])].itertuples():
        user, deal = str(one.user_id), str(one.opportunity_id)
        if user not in company.sellers.index or deal not in company.deals.index or (deal, user) in owned:
            continue
        if company.deals.owner[deal] == user or not company.sellers.since[user] <= one.day <= company.end:
            continue
        rows[user, deal] = min(rows.get((user, deal), one.day), one.day)
    joined = pd.DataFrame([(*key, first) for key, first in rows.items()], columns=["seller", "deal", "day"])
    others = company.deals[~company.deals.index.isin(joined.deal) & company.deals.is_decided]
    others = others[others.created.notna() & (others.closed >= company.first) & (others.closed <= company.end)]
    lives = others.groupby(["type", "segment"])
    like: list[tuple[float, float]] = []
    for one in joined.itertuples():
        deal = company.deals.loc[one.deal]
        is_told = deal.is_decided and deal.closed > one.day and deal.closed <= company.end and pd.notna(deal.created)
        if not is_told or (deal.type, deal.segment) not in lives.groups:
            like.append((0, math.nan))
            continue
        group = lives.get_group((deal.type, deal.segment))
        longer = group[group.closed - group.created > max(one.day - deal.created, 0 * DAY)]
        like.append((len(longer), longer.is_won.mean()))
    joined[["like", "p"]] = np.array(like, dtype=float).reshape(-1, 2)
    joined = joined.join(company.deals[["type", "segment", "is_won"]], on="deal")
    return joined


def wilson(share: float, n: float) -> tuple[float, float]:
    middle, half = share + Z * Z / 2 / n, Z * math.sqrt(share * (1 - share) / n + Z * Z / 4 / n / n)
    return max((middle - half) / (1 + Z * Z / n), 0.0), min((middle + half) / (1 + Z * Z / n), 1.0)


def stand(cell: dict[str, Any], higher: bool = True) -> dict[str, Any]:
    if cell["value_low"] > cell["norm"]:
        verdict = "above_peers" if higher else "below_peers"
    elif cell["value_high"] < cell["norm"]:
        verdict = "below_peers" if higher else "above_peers"
    else:
        verdict = "as_peers"
    return {**cell, "verdict": verdict}


def criteria(company: Company) -> dict[tuple[str, str], dict[str, Any]]:
    """Each criterion that can be told, by seller and name."""
    policy, found = company.policy, {}
    for seller, skill in skills(company).items():
        logs, variances = skill["logs"], skill["variances"]
        pairs = {"deal_yield": ["win_rate", "deal_size"], "win_rate": ["win_rate"], "deal_size": ["deal_size"]}
        for name, factors in pairs.items():
            log, deviation = logs[factors].sum(), math.sqrt(variances[factors].sum())
            ends = math.exp(log - Z * deviation), math.exp(log + Z * deviation)
            cell = {"n": skill["n"][factors[0]], "value": math.exp(log), "value_low": ends[0], "value_high": ends[1]}
            found[seller, name] = stand({**cell, "norm": 1.0})
    for seller, cell in true_attainments(company).items():
        found[seller, "true_attainment"] = stand(cell)

    joined = joined_deals(company)
    rates: dict[str, dict[str, float]] = defaultdict(dict)
    for seller, row in company.sellers.iterrows():
        rates[row.role][str(seller)] = (joined.seller == seller).sum() / (row.days / 365.25)
    for role, of_job in rates.items():
        norm = median(of_job.values())
        for seller, rate in of_job.items():
            years = company.sellers.days[seller] / 365.25
            if company.sellers.days[seller] < policy["talent_minimum_days"]:
                continue
            if len(of_job) < policy["diagnosis_minimum_peers"]:
                continue
            k = round(rate * years)
            half = Z * math.sqrt(k + Z * Z / 4)
            ends = (k + Z * Z / 2 - half) / years, (k + Z * Z / 2 + half) / years
            cell = stand({"n": k, "value": rate, "value_low": ends[0], "value_high": ends[1], "norm": norm})
            if k < policy["talent_minimum_joined"] and cell["verdict"] == "above_peers":
                cell["verdict"] = "as_peers"
            found[seller, "collaboration"] = cell
        assert role
    matched = joined[joined.like >= policy["talent_minimum_controls"]]
    for seller, rows in matched.groupby("seller"):
        if len(rows) < policy["talent_minimum_cases"]:
            continue
        variance = (rows.p * (1 - rows.p)).sum()
        for _, group in rows.groupby(["type", "segment"]):
            variance += np.sqrt(group.p * (1 - group.p) / group.like).sum() ** 2
        lift, half = (rows.is_won.sum() - rows.p.sum()) / len(rows), Z * math.sqrt(variance) / len(rows)
        cell = {"n": len(rows), "value": lift, "value_low": lift - half, "value_high": lift + half, "norm": 0.0}
        found[str(seller), "team_lift"] = stand(cell)

    calls = company.published["credibility"]
    calls = calls[calls.submitter_id.isin(company.sellers.index) & calls.reason.isna()]
    if len(calls) >= policy["diagnosis_minimum_peers"]:
        norm = median(abs(calls.bias))
        for row in calls.itertuples():
            ends = sorted((abs(row.bias_low), abs(row.bias_high)))
            low = 0.0 if row.bias_low <= 0 <= row.bias_high else ends[0]
            cell = {"n": row.n, "value": abs(row.bias), "value_low": low, "value_high": ends[1], "norm": norm}
            found[row.submitter_id, "calibration"] = stand(cell, higher=False)
    words = {"above_like_deals": "below_peers", "lift_at_period_end": "below_peers", "below_like_deals": "above_peers"}
    for row in company.published["discounts"].itertuples():
        if row.scope_id in company.sellers.index and pd.notna(row.excess):
            cell = {"n": row.like_n, "value": row.excess, "value_low": row.excess_low, "value_high": row.excess_high}
            verdict = words.get(row.verdict, "as_peers")
            found[row.scope_id, "discount_discipline"] = {**cell, "norm": 0.0, "verdict": verdict}

    sessions = company.read("coaching_sessions", ["session_id"])
    held = day(sessions.occurred_at)
    due = sessions[
        (held >= company.first)
        & (held <= company.end)
        & (pd.to_datetime(sessions.follow_up_on) <= company.end)
        & (sessions.rep_id != sessions.manager_id)
    ].assign(held=held, done=lambda rows: pd.to_datetime(rows.completed_on) <= company.end)
    for seller, row in company.sellers.iterrows():
        own = due[(due.rep_id == seller) & (due.held >= row.since)]
        norms, done = [], []
        for manager, ours in own.groupby("manager_id"):
            others = due[(due.manager_id == manager) & (due.rep_id != seller)]
            if len(others) >= policy["talent_minimum_cases"]:
                norms += [others.done.mean()] * len(ours)
                done += list(ours.done)
        if len(done) >= policy["talent_minimum_cases"]:
            share = sum(done) / len(done)
            low, high = wilson(share, len(done))
            norm = sum(norms) / len(norms)
            cell = {"n": len(done), "value": share, "value_low": low, "value_high": high, "norm": norm}
            found[str(seller), "follow_ups"] = stand(cell)
    return found


def is_met(criterion: str, cell: dict[str, Any], policy: dict[str, float]) -> bool:
    """Whether the rule of the criterion holds."""
    if criterion in ("deal_yield", "collaboration"):
        return str(cell["verdict"]) == "above_peers"
    if criterion in ("win_rate", "deal_size"):
        return bool(cell["value"] >= policy["talent_expert_ratio"])
    if criterion == "discount_discipline":
        return str(cell["verdict"]) != "below_peers"
    # The end on the good side, as many standard errors away as the policy says.
    end = cell["value_low"] if criterion == "calibration" else cell["value_high"]
    good = cell["value"] + (end - cell["value"]) * policy["talent_against_z"] / Z
    return bool(good <= cell["norm"] if criterion == "calibration" else good >= cell["norm"])


def talent(company: Company, told: dict[tuple[str, str], dict[str, Any]]) -> dict[tuple[str, str], str]:
    """The verdict of every seller and track."""
    policy, verdicts = company.policy, {}
    tracks = {
        "expert": ["deal_yield", "win_rate", "deal_size", "true_attainment"],
        "leader": ["collaboration", "team_lift", "calibration", "discount_discipline", "follow_ups"],
    }
    for seller in company.everybody:
        for track, names in tracks.items():
            cells = {name: told[seller, name] for name in names if (seller, name) in told}
            low = cells.get("true_attainment")
            above = cells.get("deal_yield" if track == "expert" else "collaboration")
            if low and low["p_low"] > policy["talent_low_probability"] and low["m"] < 0:
                verdict = "low_performer"
            elif above is None or (track == "expert" and not {"win_rate", "deal_size"} <= set(cells)):
                verdict = "not_enough_data"
            elif len(cells) < policy["talent_minimum_criteria"]:
                verdict = "not_enough_data"
            else:
                holds = all(is_met(name, cell, policy) for name, cell in cells.items())
                verdict = "high_potential" if holds else "no_statement"
            verdicts[seller, track] = verdict
    return verdicts


def role_fit(company: Company) -> dict[tuple[str, str, str], dict[str, Any]]:
    """Every motion with enough deals, by seller, type of motion and motion."""
    policy, deals = company.policy, company.deals
    rows = deals[
        deals.is_decided
        & deals.owner.isin(company.sellers.index)
        & deals.type.isin(["new_business", "expansion", "renewal"])
    ].copy()
    rows = rows[(rows.closed >= rows.owner.map(company.sellers.since)) & (rows.closed <= company.end)]
    rows["log"] = np.log(rows.amount.where(rows.amount > 0))
    rows["p"], rows["size"] = rows.is_won.mean(), rows.log.mean()
    s = policy["diagnosis_cell_strength"]
    for keys in (["type"], ["type", "segment"], ["type", "segment", "source"]):
        cell = rows.groupby(keys)
        rows["p"] = (cell.is_won.transform("sum") + s * rows.p) / (cell.is_won.transform("size") + s)
        rows["size"] = (cell.log.transform("sum") + s * rows["size"]) / (cell.log.transform("count") + s)
    rows["over"] = rows.log - rows["size"]
    spread = (rows.over**2).mean()
    approach = rows.type.map(lambda name: "hunting" if name == "new_business" else "account_management")
    types = rows.type.where(rows.type != "new_business", "")
    found = {}
    for kind, motions in {"approach": approach, "opportunity_type": types, "segment": rows.segment}.items():
        for (seller, motion), own in rows.groupby([rows.owner, motions]):
            n, k = len(own), policy["fit_strength"]
            if n < policy["fit_minimum_deals"] or not motion:
                continue
            p = own.p.mean()
            rate = (own.is_won.sum() + k * p) / (n + k)
            half = Z * math.sqrt(rate * (1 - rate) / (n + k + 1))
            low, high = max(rate - half, 0), min(rate + half, 1)
            sized, size_k = own.over.count(), policy["diagnosis_size_strength"]
            size = math.exp(own.over.sum() / (sized + size_k)) if sized else 1.0
            deviation = math.sqrt((half / Z / rate) ** 2 + (spread / (sized + size_k) if sized else 0))
            performance = rate / p * size
            found[str(seller), kind, str(motion)] = {
                "n": n,
                "win_rate": rate,
                "win_rate_low": low,
                "win_rate_high": high,
                "expected_win_rate": p,
                "performance": performance,
                "performance_low": performance * math.exp(-Z * deviation),
                "performance_high": performance * math.exp(Z * deviation),
                "standing": "above_peers" if low > p else "below_peers" if high < p else "as_peers",
            }
    return found


def levels(company: Company) -> dict[str, tuple[str, int, pd.Timestamp]]:
    """Job, level and since when, of everybody who has not left."""
    users = company.read("users", ["user_id"])
    jobs = company.read("user_roles", ["user_id", "effective_from"])
    jobs["day"] = pd.to_datetime(jobs.effective_from)
    jobs = jobs[jobs.day <= company.as_of].sort_values("day")
    found = {}
    for user in users.itertuples():
        history = jobs[jobs.user_id == user.user_id]
        if pd.Timestamp(user.terminated_on) <= company.as_of or history.empty:
            continue
        now = history.iloc[-1]
        since = now.day
        for earlier in history.iloc[::-1].itertuples():
            if (earlier.role, earlier.level) != (now.role, now.level):
                break
            since = earlier.day
        hired = pd.Timestamp(user.hired_on)
        found[user.user_id] = (now.role, int(now.level), max(since, hired) if pd.notna(hired) else since)
    return found
