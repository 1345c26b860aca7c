"""The funnel tables worked out a second time, deal by deal, from docs/opportunity-history.md and nothing else.

Nothing here is shared with the warehouse: contract extracts (CSV) go in, data frames come out. Times are naive UTC,
dates are `datetime.date`, and money is `Decimal` with four decimals, so that a comparison can be exact.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pandas as pd

Row = dict[str, str | None]
Key = tuple[str, ...]
Scope = tuple[str, str]

DAY = timedelta(days=1)
ALWAYS = datetime.min
CENTS = Decimal("0.0001")
RATE_DIGITS = Decimal("0.0000000001")
REPORTING_CURRENCY = "USD"
OLDEST_RATE_DAYS = {"plan": 400, "spot": 10}
PERIOD_MONTHS = {"month": 1, "quarter": 3, "year": 12}
EVENT_FIELDS = ["stage", "amount", "close_date", "forecast_category", "owner_id"]
VERSION_FIELDS = [*EVENT_FIELDS, "currency"]
STATE_FIELDS = [*VERSION_FIELDS, "is_deleted"]
ROLES = [
    "account_executive", "development_rep", "account_manager", "customer_success", "specialist", "manager",
    "executive", "sales_ops", "product", "other",
]  # fmt: skip
CHANGE_FIELDS = [*EVENT_FIELDS, "probability", "competitor", "next_step"]

HISTORY = [
    "opportunity_id", "valid_from", "valid_to", "stage", "amount_source", "currency", "close_date",
    "forecast_category", "owner_id", "is_deleted", "episode",
]  # fmt: skip
VISITS = [
    "opportunity_id", "visit_number", "stage", "entered_at", "exited_at", "days", "next_stage", "direction",
    "is_censored",
]  # fmt: skip
SNAPSHOTS = [
    "snapshot_date", "opportunity_id", "owner_id", "manager_id", "region", "segment", "stage", "forecast_category",
    "amount", "close_date", "age_days",
]  # fmt: skip
MOVEMENTS = ["scope_type", "scope_id", "period_type", "period_start", "movement", "opportunity_id", "amount"]


# Values


def to_time(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def to_date(text: str) -> date:
    """The date of a text that may go on with a time of day."""
    return date.fromisoformat(text[:10])


def to_decimal(text: str, digits: Decimal = CENTS) -> Decimal:
    """Halves are rounded away from zero."""
    number = Decimal(text)
    if not number.is_finite():
        raise ValueError(f"{text} is no number")
    return number.quantize(digits, ROUND_HALF_UP)


def to_bool(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


def value_or_none(convert: Callable[[str], Any], text: str | None) -> Any:
    if text is None:
        return None
    try:
        return convert(text)
    except (ValueError, InvalidOperation, KeyError):
        return None


def is_readable(convert: Callable[[str], Any], text: str | None) -> bool:
    return text is None or value_or_none(convert, text) is not None


def field_value(name: str, text: str | None) -> Any:
    """A field's text, of a row or of a change event, as the value it stands for."""
    if name == "amount":
        return value_or_none(to_decimal, text)
    if name == "close_date":
        return value_or_none(to_date, text)
    return text


def end_of(day: date) -> datetime:
    """The first moment after the day."""
    return datetime.combine(day, time()) + DAY


# The policy


@dataclass(frozen=True)
class Stage:
    order: int
    is_open: bool
    outcome: str | None


def read_stages() -> dict[str, Stage]:
    path = Path(__file__).parents[2] / "seeds" / "stages.csv"
    stages = {}
    for row in pd.read_csv(path, dtype=str).to_dict("records"):
        outcomes = [outcome for outcome in ("won", "lost", "no_decision") if row[f"is_{outcome}"] == "true"]
        stages[row["stage"]] = Stage(
            int(row["stage_order"]), row["is_open"] == "true", outcomes[0] if outcomes else None
        )
    return stages


STAGES = read_stages()


def is_closed(stage: str | None) -> bool:
    """An empty stage, and one the policy does not know, is open."""
    return stage in STAGES and not STAGES[stage].is_open


# Loading


def is_currency(text: str | None) -> bool:
    return text is None or (len(text) == 3 and text.isascii() and text.isalpha() and text.isupper())


def is_sound_opportunity(row: Row) -> bool:
    probability = value_or_none(Decimal, row.get("probability"))
    return (
        row.get("owner_id") is not None
        and row.get("stage") in STAGES
        and is_currency(row.get("currency"))
        and is_readable(to_decimal, row.get("amount"))
        and is_readable(to_date, row.get("close_date"))
        and all(is_readable(to_time, row.get(name)) for name in ("created_at", "closed_at", "updated_at"))
        and is_readable(to_bool, row.get("is_deleted"))
        and row.get("opportunity_type") in (None, "new_business", "expansion", "renewal")
        and is_readable(Decimal, row.get("probability"))
        and (probability is None or 0 <= probability <= 1)
    )


def is_sound_change(row: Row) -> bool:
    return (
        row.get("opportunity_id") is not None
        and row.get("field") in CHANGE_FIELDS
        and value_or_none(to_time, row.get("changed_at")) is not None
    )


def is_sound_user(row: Row) -> bool:
    return row.get("name") is not None and row.get("role") in ROLES and is_readable(to_date, row.get("hired_on"))


def is_sound_job(row: Row) -> bool:
    return row.get("role") in ROLES and value_or_none(to_date, row.get("effective_from")) is not None


def is_sound_account(row: Row) -> bool:
    return row.get("name") is not None


def is_sound_rate(row: Row) -> bool:
    return (
        value_or_none(to_date, row.get("rate_date")) is not None
        and is_currency(row.get("from_currency"))
        and is_currency(row.get("to_currency"))
        and row.get("rate_type") in OLDEST_RATE_DAYS
        and (value_or_none(lambda text: to_decimal(text, RATE_DIGITS), row.get("rate")) or 0) > 0
    )


@dataclass(frozen=True)
class Entity:
    """A file of the contract: how its rows are told apart, and since when those of its first load are known."""

    file: str
    key: tuple[str, ...]
    is_sound: Callable[[Row], bool]
    is_event: bool = False
    event_time: str | None = None


ENTITIES = [
    Entity("crm/opportunities", ("opportunity_id",), is_sound_opportunity, event_time="created_at"),
    Entity("crm/opportunity_changes", ("change_id",), is_sound_change, is_event=True, event_time="changed_at"),
    Entity("crm/users", ("user_id",), is_sound_user),
    Entity("crm/user_roles", ("user_id", "effective_from"), is_sound_job, is_event=True),
    Entity("crm/accounts", ("account_id",), is_sound_account),
    Entity(
        "finance/fx_rates", ("rate_date", "from_currency", "to_currency", "rate_type"), is_sound_rate, is_event=True
    ),
]


@dataclass(frozen=True)
class Version:
    """What one load said about one key; without a row it said that the key is gone."""

    key: Key
    row: Row | None
    extracted_at: datetime
    known_at: datetime
    is_first_load: bool


@dataclass
class Facts:
    """Every version of every row in the order of the loads, by file."""

    versions: dict[str, list[Version]] = field(default_factory=lambda: defaultdict(list))

    def newest_rows(self, file: str, as_of: date, with_first_load: bool = False) -> dict[Key, Row]:
        """The newest row of each key known by the end of the day, also of a key that is gone since."""
        return {
            version.key: version.row
            for version in self.versions[file]
            if version.row is not None
            and (version.known_at < end_of(as_of) or (with_first_load and version.is_first_load))
        }


def read_rows(path: Path) -> list[Row]:
    table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    return [
        {str(name).strip(): text.strip() or None for name, text in record.items()}
        for record in table.to_dict("records")
    ]


def one_row_a_key(entity: Entity, rows: list[Row]) -> tuple[dict[Key, Row], set[Key]]:
    """The sound rows of one file by key, the later `updated_at` winning and then the later line; and all its keys."""
    chosen: dict[Key, Row] = {}
    present: set[Key] = set()
    for row in rows:
        key = tuple(row.get(name) or "" for name in entity.key)
        if "" in key:
            continue
        present.add(key)
        if entity.is_sound(row) and (key not in chosen or updated(row) >= updated(chosen[key])):
            chosen[key] = row
    return chosen, present


def updated(row: Row) -> datetime:
    return value_or_none(to_time, row.get("updated_at")) or ALWAYS


def load(directories: list[Path], entities: list[Entity] = ENTITIES) -> Facts:
    """Reads extract directories in the order given, which is the order they were made in."""
    facts = Facts()
    newest: dict[tuple[str, Key], Row | None] = {}
    seen_files: set[str] = set()
    for directory in directories:
        header_path = Path(directory) / "extract.json"
        header = json.loads(header_path.read_text()) if header_path.exists() else {}
        made = header.get("extracted_at")
        extracted_at = to_time(made) if made else datetime.now(UTC).replace(tzinfo=None)
        for entity in entities:
            path = Path(directory) / f"{entity.file}.csv"
            if not path.exists():
                continue
            is_first = entity.file not in seen_files
            seen_files.add(entity.file)
            rows, present = one_row_a_key(entity, read_rows(path))
            for key, row in rows.items():
                before = newest.get((entity.file, key))
                if before is not None and all(before.get(name) == row.get(name) for name in {*before, *row}):
                    continue
                known_at = extracted_at
                if is_first:
                    known_at = value_or_none(to_time, row.get(entity.event_time or "")) or ALWAYS
                newest[entity.file, key] = row
                facts.versions[entity.file].append(Version(key, row, extracted_at, known_at, is_first))
            if header.get("mode", "full") == "full" and not entity.is_event:
                for (file, key), newest_row in list(newest.items()):
                    if file == entity.file and newest_row is not None and key not in present:
                        newest[file, key] = None
                        facts.versions[file].append(Version(key, None, extracted_at, extracted_at, False))
    return facts


# Exchange rates


class Rates:
    """Rates to the reporting currency, as known on a date."""

    def __init__(self, facts: Facts, as_of: date) -> None:
        quoted: dict[tuple[str, date], dict[tuple[str, str], Decimal]] = defaultdict(dict)
        for row in facts.newest_rows("finance/fx_rates", as_of).values():
            day = to_date(row["rate_date"] or "")
            if day <= as_of:
                pair = (row["from_currency"] or "", row["to_currency"] or "")
                quoted[row["rate_type"] or "", day][pair] = to_decimal(row["rate"] or "", RATE_DIGITS)
        self.newest_spot = max((day for kind, day in quoted if kind == "spot"), default=date.min)
        self.days: dict[tuple[str, str], list[date]] = defaultdict(list)
        self.rates: dict[tuple[str, str, date], Decimal] = {}
        for (rate_type, day), pairs in sorted(quoted.items()):
            for currency in sorted({currency for pair in pairs for currency in pair}):
                rate = rate_of_day(pairs, currency)
                if rate is not None and currency != REPORTING_CURRENCY:
                    self.days[rate_type, currency].append(day)
                    self.rates[rate_type, currency, day] = rate.quantize(RATE_DIGITS, ROUND_HALF_UP)

    def on(self, currency: str | None, day: date) -> Decimal | None:
        if currency is None or currency == REPORTING_CURRENCY:
            return Decimal(1)
        rate_type = "plan" if ("plan", currency) in self.days else "spot"
        days = self.days.get((rate_type, currency), [])
        position = bisect_right(days, day)
        if position == 0 or (day - days[position - 1]).days > OLDEST_RATE_DAYS[rate_type]:
            return None
        last = days[-1]
        if rate_type == "spot" and day > last and (self.newest_spot - last).days > OLDEST_RATE_DAYS["spot"]:
            # No longer fixed while others are: the currency has ended.
            return None
        return self.rates[rate_type, currency, days[position - 1]]


def rate_of_day(pairs: dict[tuple[str, str], Decimal], currency: str) -> Decimal | None:
    """To the reporting currency: as quoted, else the other way round, else by way of a third currency."""
    quoted = quoted_rate(pairs, currency, REPORTING_CURRENCY)
    if quoted is not None:
        return quoted
    for third in sorted({name for pair in pairs for name in pair}):
        first, second = quoted_rate(pairs, currency, third), quoted_rate(pairs, third, REPORTING_CURRENCY)
        if first is not None and second is not None:
            return first * second
    return None


def quoted_rate(pairs: dict[tuple[str, str], Decimal], source: str, target: str) -> Decimal | None:
    if (source, target) in pairs:
        return pairs[source, target]
    if (target, source) in pairs:
        return 1 / pairs[target, source]
    return None


# The hierarchy


@dataclass(frozen=True)
class Job:
    effective_from: date
    manager_id: str | None
    region: str | None
    segment: str | None


class Hierarchy:
    """Who had which job on which day, as known on a date."""

    def __init__(self, facts: Facts, as_of: date) -> None:
        self.jobs: dict[str, list[Job]] = defaultdict(list)
        for (user_id, effective_from), row in facts.newest_rows("crm/user_roles", as_of).items():
            if to_date(effective_from) <= as_of:
                self.jobs[user_id].append(job_of(row, to_date(effective_from)))
        for (user_id,), row in facts.newest_rows("crm/users", as_of).items():
            if user_id not in self.jobs:
                self.jobs[user_id].append(job_of(row, value_or_none(to_date, row.get("hired_on")) or date.min))
        for jobs in self.jobs.values():
            jobs.sort(key=lambda job: job.effective_from)
        starts = {job.effective_from for jobs in self.jobs.values() for job in jobs}
        self.change_days = sorted(day for day in starts if date.min < day <= as_of)

    def job(self, user_id: str | None, day: date) -> Job | None:
        jobs = self.jobs.get(user_id or "", [])
        valid = [job for job in jobs if job.effective_from <= day]
        return valid[-1] if valid else None

    def managers(self, user_id: str | None, day: date) -> list[str]:
        """Everybody above the person on that day, the nearest first; a line that loops stops."""
        line: list[str] = []
        job = self.job(user_id, day)
        while job and job.manager_id and job.manager_id != user_id and job.manager_id not in line:
            line.append(job.manager_id)
            job = self.job(job.manager_id, day)
        return line


def job_of(row: Row, effective_from: date) -> Job:
    return Job(effective_from, row.get("manager_id"), row.get("region"), row.get("segment"))


# The history of a deal


@dataclass(frozen=True)
class Event:
    change_id: str
    at: datetime
    old: Any
    new: Any


@dataclass(frozen=True)
class Point:
    """From this moment on a field had this value; `before` is what it had until then if this is its first point.

    `place` orders points of one moment: change events are 0, versions follow in the order of their loads.
    """

    at: datetime
    place: int
    value: Any
    before: Any


@dataclass(frozen=True)
class Stretch:
    valid_from: datetime
    valid_to: datetime | None
    stage: str | None
    amount_source: Decimal | None
    currency: str | None
    close_date: date | None
    forecast_category: str | None
    owner_id: str | None
    is_deleted: bool
    episode: int
    amount: Decimal | None

    @property
    def is_live(self) -> bool:
        """Open and not deleted: in the pipeline."""
        return not is_closed(self.stage) and not self.is_deleted


@dataclass(frozen=True)
class Deal:
    opportunity_id: str
    account_id: str | None
    created_at: datetime
    stretches: list[Stretch]

    @cached_property
    def starts(self) -> list[datetime]:
        return [stretch.valid_from for stretch in self.stretches]

    def last_before(self, moment: datetime) -> Stretch | None:
        """The stretch of the last moment before this one."""
        position = bisect_left(self.starts, moment)
        return self.stretches[position - 1] if position else None


def dated_at(version: Version, previous: Version | None) -> datetime | None:
    """When the row says it was last updated, where that can be true."""
    at = value_or_none(to_time, (version.row or {}).get("updated_at"))
    if at is None or at > version.extracted_at or (previous and at <= previous.extracted_at):
        return None
    return at


def closed_moment(row: Row) -> datetime | None:
    closed_at = value_or_none(to_time, row.get("closed_at"))
    close_date = value_or_none(to_date, row.get("close_date"))
    return closed_at or (datetime.combine(close_date, time()) if close_date else None)


def version_points(name: str, version: Version, place: int, previous: Version | None) -> Iterator[Point]:
    dated, row = dated_at(version, previous), version.row
    at = dated or version.extracted_at
    if name == "is_deleted":
        is_deleted = row is None or value_or_none(to_bool, row.get("is_deleted")) is True
        yield Point(at, place, is_deleted, is_deleted and dated is None)
        return
    if row is None:
        return
    value = field_value(name, row.get(name))
    is_silent = name in ("stage", "forecast_category") and is_closed(field_value("stage", row.get("stage")))
    yield Point(at, place, value, None if is_silent else value)
    closed = closed_moment(row)
    if is_silent and closed and closed < at and not (previous and closed <= previous.extracted_at):
        yield Point(closed, place, value, None)


def event_points(events: Iterable[Event]) -> Iterator[Point]:
    """One point for all the events of a moment, which are in the order that old and new values make of them."""
    distinct: dict[tuple[datetime, Any, Any], Event] = {}
    for event in sorted(events, key=lambda event: event.change_id):
        distinct.setdefault((event.at, event.old, event.new), event)
    moments: dict[datetime, list[Event]] = defaultdict(list)
    for event in distinct.values():
        moments[event.at].append(event)
    for at, together in moments.items():
        last = [one for one in together if not any(one.new == other.old for other in together if other is not one)]
        first = [one for one in together if not any(one.old == other.new for other in together if other is not one)]
        newest = max(last or together, key=lambda event: event.change_id)
        oldest = min(first or together, key=lambda event: event.change_id)
        yield Point(at, 0, newest.new, oldest.old)


def settled(points: list[Point], created_at: datetime, end: datetime) -> dict[datetime, Any]:
    """The values of one field from `created_at` on, by the moment they begin."""
    points = sorted(points, key=lambda point: (point.at, point.place))
    values = {created_at: points[0].before if points else None}
    for point in points:
        if point.at < end:
            values[max(point.at, created_at)] = point.value
    return values


def rate_day(row: Row, values: dict[str, dict[datetime, Any]], as_of: date) -> date:
    """The one day whose plan rate a deal's amounts are at for its whole life, by what was known of it."""
    stages = sorted(values["stage"].items())
    close_date = values["close_date"][max(values["close_date"])] or as_of
    if not is_closed(stages[-1][1]):
        return min(close_date, as_of)
    closed = closed_moment(row)
    if is_closed(row.get("stage")) and closed and (closed.date() <= as_of or close_date > as_of):
        return min(closed.date(), as_of)
    others = [moment for moment, stage in stages if stage != stages[-1][1]]
    return min(moment for moment, _ in stages if not others or moment > others[-1]).date()


def make_stretches(
    values: dict[str, dict[datetime, Any]], rate: Callable[[str | None], Decimal | None]
) -> list[Stretch]:
    """Lays the fields' values side by side; neighbours that say the same are one."""
    states: list[tuple[datetime, dict[str, Any]]] = []
    for moment in sorted({moment for field_values in values.values() for moment in field_values}):
        state = dict(states[-1][1]) if states else {}
        state.update({name: values[name][moment] for name in STATE_FIELDS if moment in values[name]})
        if not states or state != states[-1][1]:
            states.append((moment, state))
    stretches: list[Stretch] = []
    episode = 1
    for position, (moment, state) in enumerate(states):
        if stretches and is_closed(stretches[-1].stage) and not is_closed(state["stage"]):
            episode += 1
        amount_source, plan_rate = state["amount"], rate(state["currency"])
        amount = None
        if amount_source is not None and plan_rate is not None:
            amount = (amount_source * plan_rate).quantize(CENTS, ROUND_HALF_UP)
        stretches.append(
            Stretch(
                valid_from=moment,
                valid_to=states[position + 1][0] if position + 1 < len(states) else None,
                stage=state["stage"],
                amount_source=amount_source,
                currency=state["currency"],
                close_date=state["close_date"],
                forecast_category=state["forecast_category"],
                owner_id=state["owner_id"],
                is_deleted=state["is_deleted"],
                episode=episode,
                amount=amount,
            )
        )
    return stretches


def make_deals(facts: Facts, as_of: date) -> list[Deal]:
    """Every deal with a history, as it was known by the end of the day."""
    end = end_of(as_of)
    rates = Rates(facts, as_of)
    events: dict[tuple[str, str], list[Event]] = defaultdict(list)
    for (change_id,), row in facts.newest_rows("crm/opportunity_changes", as_of, with_first_load=True).items():
        name = row["field"] or ""
        old, new = field_value(name, row.get("old_value")), field_value(name, row.get("new_value"))
        if new is None and row.get("new_value") is not None:
            continue
        events[row["opportunity_id"] or "", name].append(Event(change_id, to_time(row["changed_at"] or ""), old, new))
    versions: dict[str, list[Version]] = defaultdict(list)
    for version in facts.versions["crm/opportunities"]:
        if version.known_at < end:
            versions[version.key[0]].append(version)
    deals = []
    for opportunity_id, known in sorted(versions.items()):
        rows = [version.row for version in known if version.row is not None]
        created_at = value_or_none(to_time, rows[-1].get("created_at")) if rows else None
        if created_at is None or created_at >= end:
            continue
        values = {}
        for name in STATE_FIELDS:
            points = list(event_points(events[opportunity_id, name]))
            for place, version in enumerate(known, start=1):
                points += version_points(name, version, place, known[place - 2] if place > 1 else None)
            values[name] = settled(points, created_at, end)
        stretches = make_stretches(values, partial(rates.on, day=rate_day(rows[-1], values, as_of)))
        deals.append(Deal(opportunity_id, rows[-1].get("account_id"), created_at, stretches))
    return deals


def history(facts: Facts, as_of: date) -> pd.DataFrame:
    """One row per deal and stretch of time in which nothing about it changed."""
    rows = [
        [deal.opportunity_id, *(getattr(stretch, name) for name in HISTORY[1:])]
        for deal in make_deals(facts, as_of)
        for stretch in deal.stretches
    ]
    return with_times(pd.DataFrame(rows, columns=HISTORY), "valid_from", "valid_to")


def with_times(table: pd.DataFrame, *columns: str) -> pd.DataFrame:
    return table.assign(**{name: pd.to_datetime(table[name]) for name in columns})


# Visits


def visits(facts: Facts, as_of: date) -> pd.DataFrame:
    """One row per stretch of one open stage, of deals that are not deleted on the date."""
    rows: list[list[Any]] = []
    for deal in make_deals(facts, as_of):
        if deal.stretches[-1].is_deleted:
            continue
        stages: list[tuple[datetime, str | None]] = []
        for stretch in deal.stretches:
            if not stages or stretch.stage != stages[-1][1]:
                stages.append((stretch.valid_from, stretch.stage))
        number = 0
        for position, (entered_at, stage) in enumerate(stages):
            if stage is None or is_closed(stage):
                continue
            number += 1
            is_censored = position + 1 == len(stages)
            exited_at, next_stage = (None, None) if is_censored else stages[position + 1]
            days = ((exited_at or end_of(as_of)) - entered_at) / DAY
            rows.append(
                [deal.opportunity_id, number, stage, entered_at, exited_at, days, next_stage, None, is_censored]
            )
    orders = sorted({STAGES[row[2]].order for row in rows if row[2] in STAGES})
    for row in rows:
        row[7] = direction(row[2], row[6], row[8], orders)
    return with_times(pd.DataFrame(rows, columns=VISITS), "entered_at", "exited_at")


def direction(stage: str | None, next_stage: str | None, is_censored: bool, orders: list[int]) -> str | None:
    """How a visit ended; None where it went on to a stage that has no rank, or came from one."""
    if is_censored:
        return "open"
    if next_stage in STAGES and STAGES[next_stage].outcome:
        return STAGES[next_stage].outcome
    if stage not in STAGES or next_stage not in STAGES:
        return None
    steps = orders.index(STAGES[next_stage].order) - orders.index(STAGES[stage].order)
    return "regress" if steps < 0 else "advance" if steps == 1 else "skip"


# Snapshots


class Places:
    """Where a deal belongs on a day: its manager, region and segment, and every scope above it."""

    def __init__(self, facts: Facts, as_of: date) -> None:
        self.hierarchy = Hierarchy(facts, as_of)
        self.accounts = facts.newest_rows("crm/accounts", as_of)

    def of(self, owner_id: str | None, account_id: str | None, day: date) -> tuple[str | None, str | None, str | None]:
        """Manager, region, segment."""
        job = self.hierarchy.job(owner_id, day) or Job(date.min, None, None, None)
        account = self.accounts.get((account_id or "",), {})
        return job.manager_id, job.region or account.get("region"), account.get("segment") or job.segment

    def scopes(self, owner_id: str | None, account_id: str | None, day: date) -> frozenset[Scope]:
        _, region, segment = self.of(owner_id, account_id, day)
        named = [("region", region), ("segment", segment), ("seller", owner_id)]
        managers = [("manager", manager_id) for manager_id in self.hierarchy.managers(owner_id, day)]
        return frozenset([("company", "company"), *((kind, name) for kind, name in named if name), *managers])


def snapshot_days(first: date, as_of: date) -> list[date]:
    """Week ends (Sundays), month ends, every day of the running quarter, and the date itself."""
    quarter_start, _ = period_of(as_of, "quarter")
    days = [first + DAY * number for number in range((as_of - first).days + 1)]
    return [
        day for day in days if day.isoweekday() == 7 or (day + DAY).day == 1 or day >= quarter_start or day == as_of
    ]


def snapshots(facts: Facts, as_of: date) -> pd.DataFrame:
    """One row per snapshot date and deal that was in the pipeline at the end of that day."""
    places = Places(facts, as_of)
    rows = []
    for deal in make_deals(facts, as_of):
        for day in snapshot_days(deal.created_at.date(), as_of):
            stretch = deal.last_before(end_of(day))
            if stretch is None or not stretch.is_live:
                continue
            manager_id, region, segment = places.of(stretch.owner_id, deal.account_id, day)
            rows.append(
                [
                    day,
                    deal.opportunity_id,
                    stretch.owner_id,
                    manager_id,
                    region,
                    segment,
                    stretch.stage,
                    stretch.forecast_category,
                    stretch.amount,
                    stretch.close_date,
                    (day - deal.created_at.date()).days,
                ]
            )
    table = pd.DataFrame(rows, columns=SNAPSHOTS)
    return table.sort_values(["snapshot_date", "opportunity_id"], ignore_index=True)


# Movements


@dataclass(frozen=True)
class State:
    """A deal at a moment, with the scopes that it belongs to then; a missing amount is nothing."""

    is_live: bool
    stage: str | None
    is_deleted: bool
    amount: Decimal
    close_date: date | None
    scopes: frozenset[Scope]

    def is_in(self, period: tuple[date, date]) -> bool:
        return self.is_live and closes_in(self, period)


def closes_in(state: State, period: tuple[date, date]) -> bool:
    return state.close_date is not None and period[0] <= state.close_date <= period[1]


def period_of(day: date, period_type: str) -> tuple[date, date]:
    """First and last day of the fiscal period, which is the calendar's."""
    months = PERIOD_MONTHS[period_type]
    start = date(day.year, (day.month - 1) // months * months + 1, 1)
    after = start.month + months
    following = date(start.year + (after > 12), after - 12 if after > 12 else after, 1)
    return start, following - DAY


def timeline(deal: Deal, places: Places) -> list[tuple[datetime, State]]:
    """The deal's states, split where it changed and where the organisation did."""
    reorganised = [datetime.combine(day, time()) for day in places.hierarchy.change_days]
    moments = sorted({*deal.starts, *(moment for moment in reorganised if moment > deal.created_at)})
    states = []
    for moment in moments:
        stretch = deal.stretches[bisect_right(deal.starts, moment) - 1]
        states.append(
            (
                moment,
                State(
                    is_live=stretch.is_live,
                    stage=stretch.stage,
                    is_deleted=stretch.is_deleted,
                    amount=stretch.amount if stretch.amount is not None else Decimal(0),
                    close_date=stretch.close_date,
                    scopes=places.scopes(stretch.owner_id, deal.account_id, moment.date()),
                ),
            )
        )
    return states


def steps(old: State | None, new: State, period: tuple[date, date]) -> Iterator[tuple[Scope, str, Decimal]]:
    """What one change moved in each scope's pipeline of the period, in the order of the document."""
    if old is None or not old.is_live:
        if new.is_in(period):
            for scope in new.scopes:
                yield scope, "created" if old is None else "reopened", new.amount
        return
    was_in, would_be_in = closes_in(old, period), closes_in(new, period)
    is_won = not new.is_live and not new.is_deleted and STAGES[new.stage or ""].outcome == "won"
    for scope in old.scopes | new.scopes:
        if scope not in new.scopes:
            if was_in:
                yield scope, "owner_out", -old.amount
            continue
        if scope not in old.scopes:
            if would_be_in:
                yield scope, "owner_in", new.amount
        elif not new.is_live and not is_won:
            # The date that is put on a deal that is not won when it ends is no plan.
            if was_in and new.amount != old.amount:
                yield scope, "amount_up" if new.amount > old.amount else "amount_down", new.amount - old.amount
            if was_in:
                yield scope, ending(new), -new.amount
            continue
        else:
            if would_be_in and not was_in:
                yield scope, "pulled_in", old.amount
            if was_in and not would_be_in:
                yield scope, "pushed_out", -old.amount
            if would_be_in and new.amount != old.amount:
                yield scope, "amount_up" if new.amount > old.amount else "amount_down", new.amount - old.amount
        if would_be_in and not new.is_live:
            yield scope, ending(new), -new.amount


def ending(state: State) -> str:
    return "deleted" if state.is_deleted else STAGES[state.stage or ""].outcome or ""


def movements(facts: Facts, as_of: date, period_type: str) -> pd.DataFrame:
    """One row per scope, period, movement and deal; opening, closing and overdue are positive, the others signed."""
    places = Places(facts, as_of)
    amounts: dict[tuple[Scope, date, str, str], Decimal] = defaultdict(Decimal)
    for deal in make_deals(facts, as_of):
        states = timeline(deal, places)
        starts = [moment for moment, _ in states]
        for position, (moment, new) in enumerate(states):
            period = period_of(moment.date(), period_type)
            for scope, movement, amount in steps(states[position - 1][1] if position else None, new, period):
                amounts[scope, period[0], movement, deal.opportunity_id] += amount
        period = period_of(deal.created_at.date(), period_type)
        while period[0] <= as_of:
            opening = bisect_left(starts, datetime.combine(period[0], time())) - 1
            closing = bisect_left(starts, end_of(min(period[1], as_of))) - 1
            if opening >= 0 and states[opening][1].is_in(period):
                for scope in states[opening][1].scopes:
                    amounts[scope, period[0], "opening", deal.opportunity_id] += states[opening][1].amount
            last = states[closing][1]
            is_overdue = last.is_live and last.close_date is not None and last.close_date < period[0]
            if last.is_in(period) or is_overdue:
                for scope in last.scopes:
                    movement = "overdue" if is_overdue else "closing"
                    amounts[scope, period[0], movement, deal.opportunity_id] += last.amount
            period = period_of(period[1] + DAY, period_type)
    rows = [
        [*scope, period_type, period_start, movement, opportunity_id, amount]
        for (scope, period_start, movement, opportunity_id), amount in amounts.items()
    ]
    return pd.DataFrame(rows, columns=MOVEMENTS).sort_values(MOVEMENTS[:-1], ignore_index=True)
