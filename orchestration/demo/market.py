"""Whom it sells to and what: accounts, the people who work there, products, exchange rates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from orchestration.demo.frames import (
    NONE,
    Bools,
    Floats,
    Frames,
    Ints,
    day_number,
    said,
    stack,
    words,
    work_time,
    year_of,
)
from orchestration.demo.people import AE, AM, REGIONS, SEGMENTS, People

CURRENCIES = ["USD", "EUR", "GBP", "SGD"]
# Price books are kept in the customer's currency; a book is not the rate of the day.
PRICE_BOOK = np.array([1.0, 0.92, 0.79, 1.35])
FIRST_RATE = np.array([1.0, 1.09, 1.27, 0.74])
COUNTRIES = ["US", "CA", "BR", "DE", "FR", "NL", "GB", "SG", "AU", "NZ"]
COUNTRY_CURRENCY = np.array([0, 0, 0, 1, 1, 1, 2, 3, 3, 3])
REGION_COUNTRIES = [np.array([0, 0, 0, 0, 1, 2]), np.array([3, 3, 4, 5, 6, 6]), np.array([7, 7, 8, 8, 9])]
INDUSTRIES = ["Manufacturing", "Food", "Pharma", "Energy", "Logistics", "Chemicals", "Electronics", "Public sector"]
SENIORITIES = ["c_level", "vp", "director", "manager", "individual"]
FUNCTIONS = ["Operations", "Quality", "Engineering", "IT", "Finance", "Procurement"]
BUYING_ROLES = ["economic_buyer", "champion", "decision_maker", "technical_evaluator", "user", "blocker"]
EMPLOYEES = np.array([60, 450, 3_500, 22_000])

PRODUCTS = pd.DataFrame(
    [
        # name, family, list price in USD, is a subscription
        ("Meridian Sense", "Instruments", 1_900, False),
        ("Meridian Sense Pro", "Instruments", 6_400, False),
        ("Meridian Scan", "Instruments", 14_500, False),
        ("Meridian Scan Inline", "Instruments", 31_000, False),
        ("Calibration Day", "Services", 1_450, False),
        ("Installation", "Services", 2_600, False),
        ("Meridian Flow", "Software", 1_200, True),
        ("Meridian Flow Plus", "Software", 2_800, True),
        ("Meridian Trace", "Software", 5_200, True),
        ("Meridian Insight", "Software", 9_600, True),
        ("Care Standard", "Care", 800, True),
        ("Care Premier", "Care", 2_300, True),
    ],
    columns=["name", "family", "list_price", "recurring"],
)
LIST_PRICE = PRODUCTS["list_price"].to_numpy(dtype=np.float64)
ONE_OFF = np.flatnonzero(~PRODUCTS["recurring"])
RECURRING = np.flatnonzero(PRODUCTS["recurring"])

_NAME_HEADS = (
    "Alba Arden Astra Bel Boreal Brix Cala Cedar Corvo Delta Dorn Elm Eon Fjord Galen Harbor Hela Iber Isar "
    "Juno Kestrel Kite Lago Lumen Marlow Mistral Nord Nova Oak Onda Orion Penta Pine Quay Riva Rowan Sable "
    "Sol Stern Tarn Terra Umbra Vale Vesta Wells Weser Yarrow Zephyr"
).split()
_NAME_TRADES = (
    "Foods Pharma Steel Optics Plastics Energy Mills Motors Chemicals Logistics Papers Robotics Textiles "
    "Glass Ports Rail Semiconductors Water Devices Coatings Brewing Aerospace Packaging"
).split()
_NAME_TAILS = ["", " Group", " Works", " Industries", " International", " Systems", " Partners", " Holding"]


@dataclass
class Market:
    """Accounts, a row an account, and contacts, sorted by account."""

    first_account: int
    first_contact: int
    hunter: Ints
    farmer: Ints
    segment: Ints
    region: Ints
    country: Ints
    currency: Ints
    created: Ints
    employees: Ints
    weight: Floats
    engagement: Floats
    parent: Ints
    contact_account: Ints
    contact_seniority: Ints
    contact_function: Ints
    contact_role: Ints
    contact_from: Ints
    # Where the contacts of an account start in the contact arrays, and one entry more.
    contact_at: Ints

    @property
    def accounts(self) -> int:
        return len(self.hunter)

    def contacts_of(self, account: Ints) -> Ints:
        """How many people are known at each account."""
        return self.contact_at[account + 1] - self.contact_at[account]


def make_market(rng: np.random.Generator, people: People, division: int, size: float, start: int, until: int) -> Market:
    """Draws the accounts of every seller's territory and the people who work there."""
    count = max(40, round(1_500 * size))
    hunters = np.flatnonzero(people.seat_role == AE)
    farmers = np.flatnonzero(people.seat_role == AM)
    # Small accounts are many, large ones few.
    share = np.array([1.5, 1.1, 0.75, 0.5])[people.seat_segment[hunters]]
    hunter = rng.choice(hunters, count, p=share / share.sum())
    region = people.team_region[people.seat_team[hunter]]
    farmer_region = people.team_region[people.seat_team[farmers]]
    farmer = np.empty(count, dtype=np.int64)
    for index in range(3):
        local = farmers[farmer_region == index]
        here = np.flatnonzero(region == index)
        farmer[here] = rng.choice(local if len(local) else farmers, len(here))
    segment = people.seat_segment[hunter]
    country = np.empty(count, dtype=np.int64)
    for index, choice in enumerate(REGION_COUNTRIES):
        here = np.flatnonzero(region == index)
        country[here] = rng.choice(choice, len(here))
    created = start - 500 + np.sort(rng.integers(0, until - start + 200, count))
    parent = np.full(count, NONE)
    child = rng.random(count) < 0.06
    child[: count // 10] = False
    parent[child] = rng.integers(0, count // 10, int(child.sum()))

    people_there = 3 + rng.poisson(np.array([0.8, 1.8, 3.0, 4.5])[segment])
    contact_at = np.concatenate([[0], np.cumsum(people_there)])
    total = int(contact_at[-1])
    contact_account = np.repeat(np.arange(count), people_there)
    place = np.arange(total) - contact_at[contact_account]
    seniority = rng.choice(5, total, p=[0.08, 0.14, 0.25, 0.28, 0.25])
    seniority[place == 0] = rng.choice([0, 1, 2], int((place == 0).sum()), p=[0.4, 0.4, 0.2])
    role = rng.choice(6, total, p=[0.04, 0.16, 0.18, 0.24, 0.32, 0.06])
    # The first one named can sign, the second one wants it, the third one tests it.
    role[place == 0], role[place == 1], role[place == 2] = 0, 1, 3
    return Market(
        first_account=division * 10_000 + 1,
        first_contact=division * 100_000 + 1,
        hunter=hunter,
        farmer=farmer,
        segment=segment,
        region=region,
        country=country,
        currency=COUNTRY_CURRENCY[country],
        created=created,
        employees=np.rint(EMPLOYEES[segment] * np.exp(rng.normal(0, 0.5, count))).astype(np.int64),
        weight=np.exp(rng.normal(0, 0.5, count)),
        engagement=rng.normal(0, 1, count),
        parent=parent,
        contact_account=contact_account,
        contact_seniority=seniority,
        contact_function=rng.integers(0, 6, total),
        contact_role=role,
        contact_from=np.maximum(created[contact_account] + rng.integers(0, 200, total) * (place > 2), 0),
        contact_at=contact_at,
    )


def market_frames(
    rng: np.random.Generator,
    people: People,
    market: Market,
    customer_since: Ints,
    reparented: tuple[Ints, Ints, Ints],
    until: int,
) -> Frames:
    """`accounts` and `contacts`, a row for every version of an account.

    Args:
        customer_since: the day from which an account is looked after by its account manager; NONE for never.
        reparented: accounts, their new parent, and the day of the change.
    """
    count = market.accounts
    account = np.arange(count)
    far = 10**6
    handed = np.where(customer_since == NONE, far, customer_since)
    moments = [pd.DataFrame({"account": account, "day": market.created})]
    moments.append(pd.DataFrame({"account": account, "day": handed}))
    moments.append(pd.DataFrame({"account": reparented[0], "day": reparented[2]}))
    # Whoever takes over a seat takes over its accounts.
    starts = pd.DataFrame({"seat": people.stay_seat, "day": people.stay_from})
    for seats in (market.hunter, market.farmer):
        moments.append(pd.DataFrame({"account": account, "seat": seats}).merge(starts, on="seat")[["account", "day"]])
    rows = pd.concat(moments)
    rows = rows[(rows["day"] >= market.created[rows["account"]]) & (rows["day"] <= until)]
    rows = rows.drop_duplicates().sort_values(["account", "day"], kind="stable")
    who, day = rows["account"].to_numpy(), rows["day"].to_numpy()
    seat = np.where(day >= handed[who], market.farmer[who], market.hunter[who])
    owner = people.owner(seat, day)
    parent = market.parent[who]
    new_parent = np.full(count, NONE)
    new_parent_on = np.full(count, far)
    new_parent[reparented[0]], new_parent_on[reparented[0]] = reparented[1], reparented[2]
    parent = np.where(day >= new_parent_on[who], new_parent[who], parent)
    # A version in which nothing changed is none.
    same = np.zeros(len(who), dtype=bool)
    same[1:] = (who[1:] == who[:-1]) & (owner[1:] == owner[:-1]) & (parent[1:] == parent[:-1])
    who, day, owner, parent = who[~same], day[~same], owner[~same], parent[~same]

    numbers = market.first_account - 1 + account
    heads, trades, tails = len(_NAME_HEADS), len(_NAME_TRADES), len(_NAME_TAILS)
    names = (
        np.array(_NAME_HEADS, dtype=object)[numbers % heads]
        + " "
        + np.array(_NAME_TRADES, dtype=object)[(numbers // heads + numbers * 5) % trades]
        + np.array(_NAME_TAILS, dtype=object)[(numbers // (heads * trades) + numbers) % tails]
    )
    revenue = np.rint(market.employees * 0.21 * np.exp(rng.normal(0, 0.3, count)), casting="unsafe") * 1_000_000.0
    spend = np.rint(
        market.weight * np.array([60, 210, 700, 1_900])[market.segment] * 1_000 * np.exp(rng.normal(0.6, 0.2, count))
    )
    sources = rng.choice(3, count)
    created_at = work_time(rng, market.created)
    frame = pd.DataFrame(
        {
            "known": day,
            "account_id": who + market.first_account,
            "name": names[who],
            "parent_account_id": np.where(parent == NONE, NONE, parent + market.first_account),
            "owner_id": owner + people.first_id,
            "industry": words(((who + market.first_account) * 7) % 8, INDUSTRIES),
            "country": words(market.country[who], COUNTRIES),
            "region": words(market.region[who], REGIONS),
            "segment": words(market.segment[who], SEGMENTS),
            "employee_count": market.employees[who],
            "annual_revenue": revenue[who],
            "addressable_spend": np.where(sources[who] == 2, np.nan, spend[who]),
            "addressable_spend_source": words(
                np.where(sources[who] == 2, NONE, sources[who]), ["analyst estimate", "account plan"]
            ),
            "created_at": created_at[who],
            "is_deleted": np.zeros(len(who), dtype=bool),
        }
    ).sort_values("known", kind="stable")

    total = len(market.contact_account)
    contact_number = market.first_contact - 1 + np.arange(total)
    first = np.array(_person_names(contact_number), dtype=object)
    titles = ["Chief Officer", "Vice President", "Director", "Manager", "Specialist"]
    contacts = pd.DataFrame(
        {
            "known": market.contact_from,
            "contact_id": np.arange(total) + market.first_contact,
            "account_id": market.contact_account + market.first_account,
            "name": first,
            "email": words(np.full(total, NONE), ["-"]),
            "title": words(market.contact_seniority, titles),
            "seniority": words(market.contact_seniority, SENIORITIES),
            "business_function": words(market.contact_function, FUNCTIONS),
            "buying_role": words(market.contact_role, BUYING_ROLES),
            "is_active": np.ones(total, dtype=bool),
        }
    )
    place = np.arange(total) - market.contact_at[market.contact_account]
    leaves = (rng.random(total) < 0.10) & (place > 2)
    gone = contacts[leaves].copy()
    gone["known"] = gone["known"] + rng.integers(200, 1_500, len(gone))
    gone["is_active"] = False
    both = stack([contacts, gone]).sort_values("known", kind="stable")
    return {"accounts": frame.reset_index(drop=True), "contacts": both.reset_index(drop=True)}


def _person_names(numbers: Ints) -> np.ndarray:
    from orchestration.demo.people import FIRST_NAMES, LAST_NAMES

    head = np.array(FIRST_NAMES, dtype=object)[(numbers * 11) % len(FIRST_NAMES)]
    tail = np.array(LAST_NAMES, dtype=object)[(numbers * 17 + numbers // 61) % len(LAST_NAMES)]
    return head + " " + tail


def product_frame(start: int) -> pd.DataFrame:
    count = len(PRODUCTS)
    return pd.DataFrame(
        {
            "known": np.full(count, start - 800),
            "product_id": np.arange(count) + 1,
            "name": PRODUCTS["name"].to_numpy(dtype=object),
            "family": pd.Categorical(PRODUCTS["family"]),
            "list_price": LIST_PRICE,
            "currency": said("USD", count),
        }
    )


@dataclass
class Rates:
    """What a unit of each currency was worth in USD, by day from `first_day`; plan rates by year."""

    first_day: int
    spot: Floats
    plan: dict[int, Floats]

    def on(self, currency: Ints, day: Ints) -> Floats:
        """The spot rate of a day."""
        return self.spot[np.clip(np.asarray(day) - self.first_day, 0, len(self.spot) - 1), currency]

    def planned(self, currency: Ints, day: Ints) -> Floats:
        """The plan rate of the year of a day."""
        years = year_of(day)
        table = np.array([self.plan[year] for year in sorted(self.plan)])
        return table[np.clip(years - min(self.plan), 0, len(table) - 1), currency]


def make_rates(rng: np.random.Generator, start: int, until: int) -> Rates:
    first_day = day_number(f"{int(year_of(start)) - 2}-01-01")
    days = until - first_day + 40
    steps = rng.normal(0, 0.0042, (days, 3))
    # The log of a rate is drawn back to where it began: a random walk would leave the range a planner knows.
    walk = np.zeros((days, 3))
    for day in range(1, days):
        walk[day] = 0.998 * walk[day - 1] + steps[day]
    spot = np.round(np.concatenate([np.ones((days, 1)), FIRST_RATE[1:] * np.exp(walk)], axis=1), 6)
    plan = {}
    for year in range(int(year_of(first_day)), int(year_of(until)) + 2):
        at = min(max(day_number(f"{year}-01-01") - 45 - first_day, 0), days - 1)
        plan[year] = np.round(spot[at], 4)
    return Rates(first_day, spot, plan)


def rate_frame(rates: Rates, until: int, missing: Bools | None) -> pd.DataFrame:
    """`fx_rates`: a fixing on every weekday but those in `missing` (days from the first), and each year's plan."""
    days = np.arange(rates.first_day, until + 1)
    fixing = (days + 3) % 7 < 5
    if missing is not None:
        fixing &= ~missing[: len(days)]
    days = days[fixing]
    frames = []
    for currency in (1, 2, 3):
        frames.append(_rates(days, days, currency, "spot", rates.spot[days - rates.first_day, currency]))
        years = [year for year in sorted(rates.plan) if day_number(f"{year}-01-01") - 31 <= until]
        first = np.array([day_number(f"{year}-01-01") for year in years])
        values = np.array([rates.plan[year][currency] for year in years])
        frames.append(_rates(np.maximum(first - 31, rates.first_day), first, currency, "plan", values))
    return stack(frames).sort_values("known", kind="stable").reset_index(drop=True)


def _rates(known: Ints, days: Ints, currency: int, kind: str, values: Floats) -> pd.DataFrame:
    count = len(days)
    return pd.DataFrame(
        {
            "known": known,
            "rate_date": days,
            "from_currency": said(CURRENCIES[currency], count),
            "to_currency": said("USD", count),
            "rate_type": said(kind, count),
            "rate": values,
        }
    )
