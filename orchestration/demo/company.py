"""The demo company: Meridian, a maker of measuring instruments and the software around them, simulated week by week.

It fills the whole extract contract. What was planted in it (who is weak in what, which deals are in trouble since when,
what finance has wrong, what is dirty) is written to `truth/`, for tests and for nobody else. The same scale, seed and
last day give the same bytes. A large company is so many divisions of the size of scale 1, drawn one after the other, so
memory does not grow with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from orchestration.demo.commerce import Commerce, Start, target_frame
from orchestration.demo.deals import CAUSES, EXPANSION, KEY_TRAITS, NEW, RENEWAL, WON, Deals
from orchestration.demo.dirt import Dirt
from orchestration.demo.engagement import Engagement, Place
from orchestration.demo.frames import DAY, NONE, Floats, Ints, day_number
from orchestration.demo.history import History, reopen
from orchestration.demo.market import Market, Rates, make_market, make_rates, market_frames, product_frame, rate_frame
from orchestration.demo.people import People, make_people, people_frames, truth_people
from orchestration.demo.writing import Writer
from orchestration.errors import UsageError

HISTORY_DAYS = 1826
SMALLEST, LARGEST = 0.1, 1000.0


def write_demo(
    directory: Path,
    *,
    scale: float = 1.0,
    seed: int = 7,
    until: date = date(2026, 6, 30),
    file_format: Literal["csv", "parquet"] = "csv",
    dirt: bool = True,
    extracts_on: Sequence[date] = (),
    progress: Callable[[str], None] = lambda text: None,
) -> dict[str, int]:
    """Writes the demo company as it was known on the evening of `until`.

    Args:
        directory: becomes an extract directory; files of the same name are replaced.
        scale: 1 is 60 sellers, 400 customers, about 6,000 opportunities and 120,000 activities over five years.
        seed: another seed is another company.
        until: last day of its history.
        file_format: how the files are written.
        dirt: puts in what is wrong in every real export, listed in `truth/dirt.csv`.
        extracts_on: earlier days on whose evening an extract was made. Then `directory` holds an extract for each of
            them and for `until`, in folders named by day: the first one full, later ones with what changed since.
        progress: is told what is being done.

    Returns:
        Rows per entity.

    Raises:
        UsageError: a scale, or days of extracts, that make no company.
    """
    if not SMALLEST <= scale <= LARGEST:
        raise UsageError(
            f"A company of scale {scale:g} cannot be made: choose one between {SMALLEST:g} and {LARGEST:g}."
        )
    last = day_number(until.isoformat())
    first = last - HISTORY_DAYS
    cuts = np.array(sorted({day_number(day.isoformat()) for day in extracts_on} | {last}))
    if cuts[-1] > last or cuts[0] <= first:
        raise UsageError(f"Extracts can be made of the {HISTORY_DAYS - 1} days before {until}, and of no other days.")
    divisions = max(1, round(scale))
    size = scale / divisions
    rates = make_rates(np.random.default_rng([seed, 0, 0]), first, last)
    targets: dict[tuple[str, str], Floats] = {}
    quarters: Ints = np.zeros(0, dtype=np.int64)
    with Writer(directory, cuts, file_format) as writer:
        for division in range(divisions):
            progress(f"Simulating division {division + 1} of {divisions}")
            made = _Division(writer, rates, seed, division, size, first, last, dirt)
            quarters = made.commerce.target_quarters
            for scope, amounts in made.commerce.targets.items():
                targets[scope] = targets.get(scope, np.zeros(len(amounts))) + amounts
        writer.add("products", product_frame(first))
        writer.add("targets", target_frame(targets, quarters))
        missing = _missing_days(writer, rates, seed, last) if dirt else None
        writer.add("fx_rates", rate_frame(rates, last, missing))
        progress("Writing the files")
        return writer.write()


def _missing_days(writer: Writer, rates: Rates, seed: int, until: int) -> np.ndarray:
    """Days on which no fixing arrived: some here and there, and one whole week."""
    rng = np.random.default_rng([seed, 0, 99])
    days = until - rates.first_day
    missing = np.zeros(days + 1, dtype=bool)
    chosen = np.sort(rng.choice(np.arange(30, days - 30), 12, replace=False))
    missing[chosen] = True
    week = int(rng.integers(400, days - 400))
    missing[week : week + 7] = True
    numbers = rates.first_day + np.flatnonzero(missing)
    numbers = numbers[(numbers + 3) % 7 < 5]
    dirt = Dirt(rng, until)
    dirt.note("missing_fx_day", "fx_rates", np.datetime_as_string(numbers.astype("datetime64[D]")), "", numbers)
    writer.add_truth("dirt", dirt.frame())
    return missing


class _Division:
    """One division, drawn and handed to the writer."""

    def __init__(
        self, writer: Writer, rates: Rates, seed: int, division: int, size: float, start: int, until: int, dirty: bool
    ) -> None:
        def rng(purpose: int) -> np.random.Generator:
            return np.random.default_rng([seed, division + 1, purpose])

        self.until = until
        people = make_people(rng(1), division, size, start, until)
        market = make_market(rng(2), people, division, size, start, until)
        deals = Deals(rng(3), people, market, size, start, until)
        deals.run()
        dirt = Dirt(rng(4), until)
        soil = rng(5)
        nothing = pd.DataFrame({"deal": [], "at": []}).astype("int64")
        reopened, deleted = nothing, self._delete(soil, deals)
        if dirty:
            reopened = reopen(soil, deals)
            again = np.unique(reopened["deal"].to_numpy())
            opportunity_base = division * 20_000 + 1
            dirt.note(
                "reopened_deal", "opportunities", again + opportunity_base, "O%07d", deals.closed_at[again] // DAY
            )
            self._created_closed(soil, deals, dirt, opportunity_base, start)
        history = History(rng(6), deals, reopened, deleted)
        history.first_id = division * 20_000 + 1
        base = division
        engagement = Engagement(
            rng(7),
            history,
            Place(
                activity=base * 1_000_000 + 1,
                request=base * 20_000 + 1,
                session=base * 20_000 + 1,
                plan=base * 500 + 1,
                objective=base * 3_000 + 1,
            ),
            until,
        )
        self.commerce = Commerce(
            rng(8),
            history,
            rates,
            Start(
                approval=base * 20_000 + 1,
                submission=base * 100_000 + 1,
                subscription=base * 20_000 + 1,
                invoice=base * 30_000 + 1,
                invoice_line=base * 90_000 + 1,
                credit_note=base * 1_000 + 1,
            ),
            until,
        )
        tables = {**engagement.tables, **self.commerce.tables, **people_frames(people, until)}
        reparented = self._reparent(soil, market) if dirty else (_none(), _none(), _none())
        tables.update(market_frames(rng(9), people, market, deals.customer_since, reparented, until))
        tables["opportunity_changes"] = history.changes(base * 200_000 + 1)
        cuts = writer.cuts
        tables["opportunities"] = history.opportunities(cuts)
        tables["opportunity_lines"] = history.lines(cuts, base * 60_000 + 1)
        if dirty:
            dirt.note("reparented_account", "accounts", reparented[0] + market.first_account, "A%06d", reparented[2])
            dirt.soil(tables, history.first_id)
            bad = dirt.bad_deals(tables["opportunities"], history.first_id)
            tables["opportunities"] = pd.concat(
                [tables["opportunities"], _recoded(bad, tables["opportunities"])], ignore_index=True
            )
            tables["users"], tables["user_roles"] = self._idle(tables["users"], tables["user_roles"], people, dirt)
        for name in writer.tables:
            if name in tables:
                writer.add(name, tables[name], dirt.extra.get(name))
        self._truth(writer, people, market, deals, history, dirt)

    def _delete(self, rng: np.random.Generator, deals: Deals) -> pd.DataFrame:
        """A few deals are deleted some weeks after they were opened."""
        n = deals.n
        pool = np.flatnonzero((deals.stage[:n] < 2) | ((deals.stage[:n] > WON) & (deals.type[:n] == NEW)))
        chosen = np.sort(rng.choice(pool, max(1, len(pool) // 250), replace=False))
        at = np.maximum(deals.closed_at[chosen], deals.created_at[chosen]) + rng.integers(5, 30, len(chosen)) * DAY
        return pd.DataFrame({"deal": chosen, "at": at}).astype("int64")

    def _created_closed(self, rng: np.random.Generator, deals: Deals, dirt: Dirt, base: int, start: int) -> None:
        """Orders by telephone: opened in the CRM when they had been won already."""
        customers = np.flatnonzero((deals.customer_since != NONE) & (deals.customer_since < deals.until - 300))
        count = min(max(2, deals.n // 150), deals.room - deals.n)
        account = rng.choice(customers, count)
        day = np.maximum(deals.customer_since[account], start) + rng.integers(30, 250, count)
        day = np.sort(day + np.where((day + 3) % 7 > 4, 2, 0))
        kind = np.full(count, EXPANSION)
        deal = deals._open(deals.market.farmer[account], account, kind, day, np.zeros(count, dtype=bool))
        deals.cause[deal] = NONE
        deals.specialist[deal] = NONE
        deals.first_stage[deal] = deals.stage[deal] = WON
        deals.closed_at[deal] = deals.created_at[deal]
        deals.first_close_date[deal] = deals.close_date[deal] = day
        deals.first_category[deal] = deals.category[deal] = 3
        dirt.note("created_closed", "opportunities", deal + base, "O%07d", day)

    def _reparent(self, rng: np.random.Generator, market: Market) -> tuple[Ints, Ints, Ints]:
        children = np.flatnonzero(market.parent != NONE)
        chosen = np.sort(rng.choice(children, max(1, len(children) // 12), replace=False))
        parents = np.unique(market.parent[children])
        new = rng.choice(parents, len(chosen))
        moved = new != market.parent[chosen]
        chosen, new = chosen[moved], new[moved]
        return chosen, new, np.maximum(market.created[chosen] + 30, self.until - rng.integers(60, 900, len(chosen)))

    def _idle(
        self, users: pd.DataFrame, roles: pd.DataFrame, people: People, dirt: Dirt
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Two people with the role of a seller who never own anything."""
        first = len(people.seat) + people.first_id
        known = self.until - 400
        row = users[users["user_id"] == int(people.stay_person[0]) + people.first_id].iloc[[0]]
        job = roles[roles["user_id"] == int(people.stay_person[0]) + people.first_id].iloc[[0]]
        for place, name in enumerate(("Robin Idle", "Kim Standby")):
            row = row.assign(
                known=known,
                user_id=first + place,
                name=name,
                email=f"{name.lower().replace(' ', '.')}@meridian.example",
                hired_on=known,
                terminated_on=NONE,
                is_active=True,
            )
            job = job.assign(known=known, user_id=first + place, effective_from=known)
            users, roles = pd.concat([users, row]), pd.concat([roles, job])
        dirt.note("rep_without_deals", "users", first + np.arange(2), "U%06d", np.full(2, known))
        return (
            users.sort_values("known", kind="stable", ignore_index=True),
            roles.sort_values("known", kind="stable", ignore_index=True),
        )

    def _truth(
        self, writer: Writer, people: People, market: Market, deals: Deals, history: History, dirt: Dirt
    ) -> None:
        n = deals.n
        deal = np.arange(n)
        writer.add_truth("people", truth_people(people))
        began = deals.trouble_at[:n]
        specialists = people.helpers["specialists"] + people.first_id
        writer.add_truth(
            "deals",
            pd.DataFrame(
                {
                    "known": deals.created_at[:n] // DAY,
                    "opportunity_id": deal + history.first_id,
                    "quality": deals.quality[:n],
                    "cause": pd.Categorical.from_codes(
                        np.where(began == NONE, NONE, deals.cause[:n]), categories=pd.Index(CAUSES)
                    ),
                    "onset_on": np.where(began == NONE, NONE, began // DAY),
                    "specialist_id": np.where(
                        deals.specialist[:n] == NONE, NONE, specialists[np.maximum(deals.specialist[:n], 0)]
                    ),
                    "is_discounted_without_authority": deals.rogue[:n],
                    "is_imported": deals.imported[:n],
                    "is_renewal": deals.type[:n] == RENEWAL,
                }
            ),
        )
        keys = np.flatnonzero(deals.key_trait != NONE)
        writer.add_truth(
            "accounts",
            pd.DataFrame(
                {
                    "account_id": keys + market.first_account,
                    "trait": pd.Categorical.from_codes(deals.key_trait[keys], categories=pd.Index(KEY_TRAITS)),
                }
            ),
        )
        writer.add_truth("finance_breaks", self.commerce.breaks)
        panel = deals.panel_log.frame()
        writer.add_truth(
            "win_probability",
            pd.DataFrame(
                {
                    "known": panel["monday"],
                    "opportunity_id": panel["deal"] + history.first_id,
                    "week_on": panel["monday"],
                    "p_win": panel["p_win"],
                }
            ),
        )
        writer.add_truth("dirt", dirt.frame())


def _none() -> Ints:
    return np.zeros(0, dtype=np.int64)


def _recoded(rows: pd.DataFrame, like: pd.DataFrame) -> pd.DataFrame:
    """The same columns in the same order; a new word widens a column to plain text."""
    for column in like.columns:
        if isinstance(like[column].dtype, pd.CategoricalDtype):
            words = rows[column].astype(object)
            if set(words.dropna()) - set(like[column].cat.categories):
                like[column] = like[column].astype(object)
                rows[column] = words
            else:
                rows[column] = pd.Categorical(words, categories=like[column].cat.categories)
    return rows[like.columns]
