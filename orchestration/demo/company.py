"""A small company in the shape of the extract contract: what `make run` shows before there is an extract.

Everything is drawn from one seeded generator in a fixed order, so the same arguments give the same bytes.
"""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Literal

import duckdb
import numpy as np
import pandas as pd

from orchestration.ingest.contract import load_source

HISTORY_DAYS = 1095
REGIONS = np.array(["Americas", "EMEA", "APAC"])
SEGMENTS = np.array(["SMB", "Mid-Market", "Enterprise"])
OPEN_STAGES = np.array(["Qualification", "Discovery", "Solution", "Proposal", "Negotiation"])
TYPES = np.array(["new_business", "expansion", "renewal"])
LEADS = np.array(["Inbound", "Outbound", "Partner", "Event"])
LOSSES = np.array(["Price", "Competitor", "Missing feature", "No budget"])
FIRST = np.array(
    ["Ana", "Ben", "Carla", "Deniz", "Elif", "Femi", "Gita", "Hugo", "Iris", "Jon", "Kaya", "Lior", "Mina"]
)
LAST = np.array(
    ["Adeyemi", "Brandt", "Costa", "Demir", "Eriksen", "Fontaine", "Gupta", "Haas", "Ito", "Jansen", "Koch"]
)
TRADES = np.array(
    ["Foods", "Logistics", "Textiles", "Energy", "Robotics", "Pharma", "Retail", "Media", "Steel", "Optics"]
)
PLAN = {"EUR": 1.10, "GBP": 1.27}


def write_demo(
    directory: Path,
    *,
    scale: float = 1.0,
    seed: int = 7,
    until: date = date(2026, 6, 30),
    file_format: Literal["csv", "parquet"] = "csv",
) -> dict[str, int]:
    """Writes the demo company as a full extract made on the evening of `until`.

    Args:
        directory: becomes an extract directory; files of the same name are replaced.
        scale: 1 is 12 sellers, 120 accounts and 400 opportunities over three years.
        seed: another seed is another company.
        until: last day of its history.
        file_format: how the files are written.

    Returns:
        Rows per entity.
    """
    tables = _Company(np.random.default_rng(seed), scale, until).tables()
    counts = {}
    for table in load_source("extract").tables:
        if table.name not in tables:
            continue
        frame = tables[table.name].reindex(columns=[column.name for column in table.columns])
        path = directory / f"{table.file}.{file_format}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if file_format == "csv":
            frame.to_csv(path, index=False, lineterminator="\n")
        else:
            with duckdb.connect() as connection:
                connection.register("frame", frame.astype("string"))
                connection.execute(f"copy frame to '{path}' (format parquet)")
        counts[table.name] = len(frame)
    header = {"extracted_at": f"{until.isoformat()}T22:00:00Z", "mode": "full"}
    (directory / "extract.json").write_text(json.dumps(header) + "\n", encoding="utf-8")
    return counts


class _Company:
    """One draw of the company; each method makes the tables that hang together."""

    def __init__(self, rng: np.random.Generator, scale: float, until: date) -> None:
        self.rng = rng
        self.until = pd.Timestamp(until)
        self.start = self.until - pd.Timedelta(days=HISTORY_DAYS)
        self.teams = max(1, round(3 * scale))
        self.seller_count = 4 * self.teams
        self.account_count = round(120 * scale)
        self.deal_count = round(400 * scale)

    def tables(self) -> dict[str, pd.DataFrame]:
        users, roles = self._people()
        accounts = self._accounts(users)
        products = pd.DataFrame(
            {
                "product_id": ["P1", "P2", "P3", "P4", "P5"],
                "name": ["Sense", "Sense Pro", "Flow", "Flow Pro", "Care"],
                "family": ["Sense", "Sense", "Flow", "Flow", "Service"],
                "list_price": [900, 4_500, 1_800, 12_000, 600],
                "currency": ["USD", "USD", "EUR", "EUR", "USD"],
            }
        )
        deals = self._deals(users, accounts, products)
        lines = self._lines(deals, products)
        contacts, on_deals = self._contacts(accounts, deals)
        return {
            "users": users,
            "user_roles": roles,
            "accounts": accounts,
            "contacts": contacts,
            "products": products,
            "opportunities": deals,
            "opportunity_changes": self._changes(deals),
            "opportunity_team": self._team(deals, users),
            "opportunity_contacts": on_deals,
            "opportunity_lines": lines,
            "activities": self._activities(deals, on_deals),
            "quotas": self._quotas(users),
            "targets": self._targets(),
            "fx_rates": self._rates(),
        }

    def _days(self, low: pd.Timestamp, count: int, span: int) -> pd.Series:
        return pd.Series(low + pd.to_timedelta(self.rng.integers(0, span, count), unit="D"))

    def _people(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        sellers, teams = self.seller_count, self.teams
        specialists = max(2, teams)
        count = 1 + teams + sellers + specialists
        names = [f"{FIRST[i % len(FIRST)]} {LAST[(i * 7 + i // len(FIRST)) % len(LAST)]}" for i in range(count)]
        managers = [f"M{i + 1:02d}" for i in range(teams)]
        team_of = np.arange(sellers) % teams
        ids = [
            "E01",
            *managers,
            *[f"S{i + 1:03d}" for i in range(sellers)],
            *[f"T{i + 1:02d}" for i in range(specialists)],
        ]
        regions = np.concatenate(
            [[""], REGIONS[np.arange(teams) % 3], REGIONS[team_of % 3], REGIONS[np.arange(specialists) % 3]]
        )
        users = pd.DataFrame(
            {
                "user_id": ids,
                "name": names,
                "email": [f"{user_id.lower()}@example.com" for user_id in ids],
                "role": ["executive"]
                + ["manager"] * teams
                + ["account_executive"] * sellers
                + ["specialist"] * specialists,
                "level": [5] + [4] * teams + list(1 + np.arange(sellers) % 3) + [2] * specialists,
                "manager_id": [None] + ["E01"] * teams + [managers[i] for i in team_of] + ["E01"] * specialists,
                "team": [None]
                + [f"Team {i + 1}" for i in range(teams)]
                + [f"Team {i + 1}" for i in team_of]
                + [None] * specialists,
                "region": pd.Series(regions).replace("", None),
                "segment": [None] * (1 + teams) + list(SEGMENTS[np.arange(sellers) % 3]) + [None] * specialists,
                "hired_on": self._days(self.start - pd.Timedelta(days=900), count, 850).dt.strftime("%Y-%m-%d"),
            }
        )
        # One seller has left, one has yet to own a deal.
        users["terminated_on"] = None
        users.loc[users["user_id"] == "S003", "terminated_on"] = (self.until - pd.Timedelta(days=120)).strftime(
            "%Y-%m-%d"
        )
        users["is_active"] = np.where(users["terminated_on"].isna(), "true", "false")
        # A promotion, and a move to another team.
        moved = users[users["user_id"].isin(["S001", "S002"])]
        before = moved.assign(effective_from=moved["hired_on"], level=1)
        before.loc[before["user_id"] == "S002", ["manager_id", "team", "region"]] = ["M01", "Team 1", REGIONS[0]]
        after = moved.assign(effective_from=(self.until - pd.Timedelta(days=300)).strftime("%Y-%m-%d"))
        return users, pd.concat([before, after])

    def _accounts(self, users: pd.DataFrame) -> pd.DataFrame:
        count, rng = self.account_count, self.rng
        ids = np.array([f"A{i + 1:04d}" for i in range(count)])
        segment = rng.choice(SEGMENTS, count, p=[0.5, 0.3, 0.2])
        parents = np.full(count, None, dtype=object)
        children = np.arange(10, count, 12)
        parents[children] = ids[children - 1]
        parents[children[0] + 1] = ids[children[0]]
        sellers = users.loc[users["role"] == "account_executive", "user_id"].to_numpy()
        return pd.DataFrame(
            {
                "account_id": ids,
                "name": [f"{LAST[i % len(LAST)]} {TRADES[(i * 3 + i // 11) % len(TRADES)]}" for i in range(count)],
                "parent_account_id": parents,
                "owner_id": sellers[np.arange(count) % (len(sellers) - 1)],
                "industry": TRADES[np.arange(count) % len(TRADES)],
                "country": rng.choice(["US", "DE", "GB", "FR", "JP"], count),
                "segment": segment,
                "employee_count": rng.integers(20, 20_000, count),
                "annual_revenue": rng.integers(1, 900, count) * 1_000_000,
                "created_at": self._days(self.start - pd.Timedelta(days=700), count, 650).dt.strftime(
                    "%Y-%m-%dT08:00:00Z"
                ),
            }
        )

    def _deals(self, users: pd.DataFrame, accounts: pd.DataFrame, products: pd.DataFrame) -> pd.DataFrame:
        count, rng = self.deal_count, self.rng
        at = rng.integers(0, len(accounts), count)
        sellers = users.loc[users["role"] == "account_executive", "user_id"].to_numpy()
        # The last seller has just started: no deal yet. S005 has won all of the few.
        owner = np.where(rng.random(count) < 0.7, accounts["owner_id"].to_numpy()[at], rng.choice(sellers[:-1], count))
        skill = dict(zip(sellers, np.linspace(-0.6, 0.6, len(sellers)), strict=True))
        created = self.start + pd.to_timedelta(np.sort(rng.integers(0, HISTORY_DAYS - 5, count)), unit="D")
        size = {"SMB": 4_000, "Mid-Market": 15_000, "Enterprise": 60_000}
        segment = accounts["segment"].to_numpy()[at]
        amount = np.round(rng.lognormal(np.log([size[name] for name in segment]), 0.5), 2)
        quality = rng.normal(0, 1, count) + np.array([skill[name] for name in owner])
        won_share = 1 / (1 + np.exp(-quality))
        draw = rng.random(count)
        outcome = np.where(
            draw < won_share,
            "Closed Won",
            np.where(draw < won_share + (1 - won_share) * 0.6, "Closed Lost", "No Decision"),
        )
        outcome = np.where(owner == "S005", "Closed Won", outcome)
        cycle = np.round(rng.gamma(3.0, 28.0, count) * np.where(outcome == "Closed Won", 1.0, 0.8)).astype(int) + 3
        closed = created + pd.to_timedelta(cycle, unit="D")
        is_open = closed > self.until
        # Some open deals have outlived their close date.
        planned = closed + pd.to_timedelta(
            np.where(rng.random(count) < 0.25, -90, rng.integers(0, 60, count)), unit="D"
        )
        planned = pd.DatetimeIndex(np.maximum(planned, created + pd.Timedelta(days=5)))
        progress = np.clip((self.until - created) / (closed - created), 0, 0.99) * len(OPEN_STAGES)
        stage = np.where(is_open, OPEN_STAGES[progress.astype(int)], outcome)
        known = rng.random(count) > 0.02
        currency = np.where(
            accounts["country"].to_numpy()[at] == "GB",
            "GBP",
            np.where(np.isin(accounts["country"].to_numpy()[at], ["DE", "FR"]), "EUR", "USD"),
        )
        product = rng.integers(0, len(products), count)
        lost = np.isin(outcome, ["Closed Lost", "No Decision"]) & ~is_open
        return pd.DataFrame(
            {
                "opportunity_id": [f"O{i + 1:05d}" for i in range(count)],
                "account_id": accounts["account_id"].to_numpy()[at],
                "owner_id": owner,
                "name": accounts["name"].to_numpy()[at] + " – " + products["name"].to_numpy()[product],
                "opportunity_type": rng.choice(TYPES, count, p=[0.55, 0.3, 0.15]),
                "stage": stage,
                "forecast_category": np.where(
                    stage == "Negotiation",
                    "commit",
                    np.where(stage == "Proposal", "best_case", np.where(is_open, "pipeline", "closed")),
                ),
                "amount": amount,
                "currency": currency,
                "probability": np.where(
                    is_open, np.round(0.1 + 0.15 * np.floor(progress), 2), np.where(outcome == "Closed Won", 1.0, 0.0)
                ),
                "created_at": pd.Series(created.strftime("%Y-%m-%dT09:00:00Z")).where(known, None),
                "close_date": pd.DatetimeIndex(np.where(is_open, planned, closed)).strftime("%Y-%m-%d"),
                "closed_at": pd.Series(closed.strftime("%Y-%m-%dT15:00:00Z")).where(~is_open, None),
                "lead_source": rng.choice(LEADS, count),
                "loss_reason": pd.Series(rng.choice(LOSSES, count)).where(lost, None),
                "product_id": products["product_id"].to_numpy()[product],
                "is_deleted": "false",
            }
        )

    def _lines(self, deals: pd.DataFrame, products: pd.DataFrame) -> pd.DataFrame:
        rng = self.rng
        number = rng.integers(1, 4, len(deals))
        deal = np.repeat(np.arange(len(deals)), number)
        product = rng.integers(0, len(products), len(deal))
        share = rng.dirichlet(np.ones(3), len(deals))[deal, np.concatenate([np.arange(n) for n in number])]
        list_price = products["list_price"].to_numpy()[product].astype(float)
        quantity = np.maximum(1, np.round(deals["amount"].to_numpy()[deal] * share / list_price))
        discount = np.round(rng.beta(2, 12, len(deal)), 2)
        return pd.DataFrame(
            {
                "line_id": [f"L{i + 1:06d}" for i in range(len(deal))],
                "opportunity_id": deals["opportunity_id"].to_numpy()[deal],
                "product_id": products["product_id"].to_numpy()[product],
                "quantity": quantity.astype(int),
                "list_unit_price": list_price,
                "net_unit_price": np.round(list_price * (1 - discount), 2),
                "currency": deals["currency"].to_numpy()[deal],
                "term_months": rng.choice([12, 24, 36], len(deal)),
            }
        )

    def _contacts(self, accounts: pd.DataFrame, deals: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        rng, per_account = self.rng, 4
        account = np.repeat(accounts["account_id"].to_numpy(), per_account)
        contacts = pd.DataFrame(
            {
                "contact_id": [f"C{i + 1:05d}" for i in range(len(account))],
                "account_id": account,
                "name": [f"{FIRST[i % len(FIRST)]} {LAST[(i * 5) % len(LAST)]}" for i in range(len(account))],
                "seniority": np.tile(["c_level", "vp", "director", "manager"], len(accounts)),
                "business_function": rng.choice(["Finance", "IT", "Operations"], len(account)),
                "is_active": "true",
            }
        )
        on_deal = deals.loc[deals.index.repeat(2), ["opportunity_id", "account_id", "created_at"]].reset_index(
            drop=True
        )
        first = (
            accounts.reset_index().set_index("account_id")["index"].loc[on_deal["account_id"]].to_numpy() * per_account
        )
        pick = (np.arange(len(on_deal)) + np.arange(len(on_deal)) // 2) % per_account
        roles = np.array(["economic_buyer", "champion", "technical_evaluator", "user"])
        on_deals = pd.DataFrame(
            {
                "opportunity_id": on_deal["opportunity_id"],
                "contact_id": contacts["contact_id"].to_numpy()[first + pick],
                "buying_role": roles[pick],
                "added_at": on_deal["created_at"],
            }
        )
        return contacts, on_deals

    def _changes(self, deals: pd.DataFrame) -> pd.DataFrame:
        """Stage, close date and amount events whose last new value is what the deal says now."""
        rng = self.rng
        dated = deals[deals["created_at"].notna()].reset_index(drop=True)
        created = pd.to_datetime(dated["created_at"]).dt.tz_localize(None)
        end = pd.to_datetime(dated["closed_at"]).dt.tz_localize(None).fillna(self.until + pd.Timedelta(hours=20))
        order = [*OPEN_STAGES]
        reached = (
            dated["stage"].map({name: place for place, name in enumerate(order)}).fillna(rng.integers(1, 5)).astype(int)
        )
        parts = []
        for place in range(1, len(order)):
            steps = dated[reached >= place]
            share = place / (reached[steps.index] + 1.0)
            parts.append(
                (
                    steps,
                    "stage",
                    order[place - 1],
                    order[place],
                    created[steps.index] + (end - created)[steps.index] * share,
                )
            )
        closing = dated[dated["closed_at"].notna()]
        parts.append(
            (
                closing,
                "stage",
                pd.Series(order)[reached[closing.index]].to_numpy(),
                closing["stage"],
                end[closing.index],
            )
        )
        pushed = dated[rng.random(len(dated)) < 0.35]
        old_date = (
            pd.to_datetime(pushed["close_date"]) - pd.to_timedelta(rng.integers(10, 80, len(pushed)), unit="D")
        ).dt.strftime("%Y-%m-%d")
        parts.append(
            (
                pushed,
                "close_date",
                old_date,
                pushed["close_date"],
                created[pushed.index] + (end - created)[pushed.index] * 0.6,
            )
        )
        moved = dated[rng.random(len(dated)) < 0.3]
        old_amount = np.round(moved["amount"] * rng.uniform(0.8, 1.3, len(moved)), 2)
        parts.append(
            (moved, "amount", old_amount, moved["amount"], created[moved.index] + (end - created)[moved.index] * 0.5)
        )
        events = pd.concat(
            [
                pd.DataFrame(
                    {
                        "opportunity_id": rows["opportunity_id"].to_numpy(),
                        "field": field,
                        "old_value": old if isinstance(old, str) else np.asarray(old).astype(str),
                        "new_value": new if isinstance(new, str) else np.asarray(new).astype(str),
                        "changed_at": at.to_numpy(),
                        "changed_by_id": rows["owner_id"].to_numpy(),
                    }
                )
                for rows, field, old, new, at in parts
            ]
        ).sort_values(["changed_at", "opportunity_id", "field", "new_value"], kind="stable")
        events["changed_at"] = pd.to_datetime(events["changed_at"]).dt.floor("s").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
        events.insert(0, "change_id", [f"H{i + 1:06d}" for i in range(len(events))])
        return events

    def _team(self, deals: pd.DataFrame, users: pd.DataFrame) -> pd.DataFrame:
        specialists = users.loc[users["role"] == "specialist", "user_id"].to_numpy()
        helped = deals[(self.rng.random(len(deals)) < 0.4) & deals["created_at"].notna()]
        owners = deals[deals["created_at"].notna()]
        return pd.concat(
            [
                pd.DataFrame(
                    {
                        "opportunity_id": rows["opportunity_id"],
                        "user_id": who,
                        "team_role": role,
                        "credit_share": credit,
                        "joined_at": rows["created_at"],
                    }
                )
                for rows, who, role, credit in (
                    (owners, owners["owner_id"].to_numpy(), "owner", 1.0),
                    (helped, self.rng.choice(specialists, len(helped)), "specialist", None),
                )
            ]
        )

    def _activities(self, deals: pd.DataFrame, on_deals: pd.DataFrame) -> pd.DataFrame:
        rng = self.rng
        dated = deals[deals["created_at"].notna()].reset_index(drop=True)
        deal = np.repeat(np.arange(len(dated)), rng.integers(2, 9, len(dated)))
        created = pd.to_datetime(dated["created_at"]).dt.tz_localize(None)
        # Open deals may have a meeting booked ahead.
        end = pd.to_datetime(dated["closed_at"]).dt.tz_localize(None).fillna(self.until + pd.Timedelta(days=12))
        at = created.to_numpy()[deal] + (end - created).to_numpy()[deal] * rng.random(len(deal))
        contact = on_deals.drop_duplicates("opportunity_id").set_index("opportunity_id")["contact_id"]
        booked = at > np.datetime64(self.until)
        return pd.DataFrame(
            {
                "activity_id": [f"V{i + 1:06d}" for i in range(len(deal))],
                "activity_type": np.where(
                    booked,
                    "meeting",
                    rng.choice(["email", "call", "meeting", "demo"], len(deal), p=[0.5, 0.2, 0.2, 0.1]),
                ),
                "direction": rng.choice(["inbound", "outbound"], len(deal), p=[0.4, 0.6]),
                "purpose": "sell",
                "user_id": dated["owner_id"].to_numpy()[deal],
                "account_id": dated["account_id"].to_numpy()[deal],
                "opportunity_id": dated["opportunity_id"].to_numpy()[deal],
                "contact_id": contact.loc[dated["opportunity_id"].to_numpy()[deal]].to_numpy(),
                "occurred_at": pd.Series(pd.to_datetime(at)).dt.floor("s").dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "duration_minutes": rng.choice([15, 30, 45, 60], len(deal)),
                "is_completed": np.where(booked, "false", "true"),
            }
        )

    def _quarters(self) -> pd.PeriodIndex:
        return pd.period_range(self.start, pd.Timestamp(self.until.year, 12, 31), freq="Q")

    def _quotas(self, users: pd.DataFrame) -> pd.DataFrame:
        sellers = users[users["role"] == "account_executive"]
        quarters = self._quarters()
        base = sellers["segment"].map({"SMB": 40_000, "Mid-Market": 90_000, "Enterprise": 160_000}).to_numpy()
        quotas = pd.DataFrame(
            {
                "user_id": np.repeat(sellers["user_id"].to_numpy(), len(quarters)),
                "period_start": np.tile(quarters.start_time.strftime("%Y-%m-%d"), len(sellers)),
                "period_end": np.tile(quarters.end_time.strftime("%Y-%m-%d"), len(sellers)),
                "effective_from": np.tile(quarters.start_time.strftime("%Y-%m-%d"), len(sellers)),
                "amount": np.repeat(base, len(quarters)),
                "currency": "USD",
            }
        )
        # One quota was cut in the middle of the running quarter.
        this = int(np.flatnonzero(quarters == pd.Period(self.until, freq="Q"))[0])
        cut = quotas.iloc[[this]].assign(
            amount=base[0] * 0.8, effective_from=(self.until - pd.Timedelta(days=40)).strftime("%Y-%m-%d")
        )
        return pd.concat([quotas, cut])

    def _targets(self) -> pd.DataFrame:
        quarters = self._quarters()
        months = pd.period_range(self.start, pd.Timestamp(self.until.year, 12, 31), freq="M")
        scopes = [
            ("company", "company", quarters, 1_000_000.0),
            *(("region", name, quarters, 330_000.0) for name in REGIONS),
            ("user", "S001", months, 15_000.0),
        ]
        return pd.concat(
            [
                pd.DataFrame(
                    {
                        "period_start": periods.start_time.strftime("%Y-%m-%d"),
                        "period_end": periods.end_time.strftime("%Y-%m-%d"),
                        "metric": "bookings",
                        "scope_type": scope,
                        "scope_id": name,
                        "amount": amount,
                        "currency": "USD",
                    }
                )
                for scope, name, periods, amount in scopes
            ]
        )

    def _rates(self) -> pd.DataFrame:
        weeks = pd.date_range(self.start, self.until, freq="7D")
        parts = []
        for currency, plan in PLAN.items():
            walk = plan * np.exp(np.cumsum(self.rng.normal(0, 0.006, len(weeks))))
            years = range(self.start.year, self.until.year + 1)
            parts += [
                pd.DataFrame(
                    {
                        "rate_date": weeks.strftime("%Y-%m-%d"),
                        "from_currency": currency,
                        "rate_type": "spot",
                        "rate": np.round(walk, 5),
                    }
                ),
                pd.DataFrame(
                    {
                        "rate_date": [f"{year}-01-01" for year in years],
                        "from_currency": currency,
                        "rate_type": "plan",
                        "rate": [round(plan + 0.01 * (year - years[0]), 4) for year in years],
                    }
                ),
            ]
        return pd.concat(parts).assign(to_currency="USD")
