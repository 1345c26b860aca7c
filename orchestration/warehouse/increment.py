"""Whether a build can stand on the last one: what the last one was made of, and what has come since."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path

from orchestration.ingest.landing import accepted_batches
from orchestration.publish.candidate import Build
from orchestration.settings import Settings


@dataclass(frozen=True)
class LastBuild:
    """What the tables in the warehouse were made of.

    Attributes:
        code: digest of models, macros, contract and policy.
        batches: ids of the batches there were, of all sources.
        delivered: as of the build; it decides how ids are told.
    """

    code: str
    as_of_date: str
    sources: list[str]
    target: str
    reporting_currency: str
    batches: list[str]
    delivered: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Increment:
    """What a build that stands on the last one has to know: the day that told for, and the batches it did not have.

    Attributes:
        last_as_of_date: None when the build stands on nothing.
    """

    last_as_of_date: str | None
    new_batches: list[str]


def find_increment(settings: Settings, build: Build) -> Increment | None:
    """What has come since the last build, or None when everything has to be told from the beginning.

    That is so when there is none that ended well, when code, policy, sources, what they deliver, engine or currency are
    others, when the day lies before that of the last build, when a batch it had or the warehouse is gone, and on
    Spark, whose tables cannot grow.
    """
    path = _record(settings)
    if not path.exists() or not settings.warehouse.exists() or build.target == "spark":
        return None
    last = LastBuild(**json.loads(path.read_text(encoding="utf-8")))
    now = _facts(settings, build)
    is_same = (last.code, last.sources, last.delivered, last.target, last.reporting_currency) == (
        now.code,
        now.sources,
        now.delivered,
        now.target,
        now.reporting_currency,
    )
    if not is_same or date.fromisoformat(now.as_of_date) < date.fromisoformat(last.as_of_date):
        return None
    if not set(last.batches) <= set(now.batches):
        return None
    return Increment(last.as_of_date, [batch for batch in now.batches if batch not in last.batches])


def forget_last_build(settings: Settings) -> None:
    """To be called before dbt starts: nothing can be built on tables that are half made."""
    _record(settings).unlink(missing_ok=True)


def note_increment(settings: Settings, increment: Increment | None) -> None:
    """Keeps what the first part of a build was told for its second part."""
    _noted(settings).write_text(json.dumps(asdict(increment) if increment else None), encoding="utf-8")


def noted_increment(settings: Settings) -> Increment | None:
    """What the first part of this build was told."""
    content = json.loads(_noted(settings).read_text(encoding="utf-8"))
    return Increment(**content) if content else None


def remember_build(settings: Settings, build: Build) -> None:
    """To be called when every table is made and tested."""
    _record(settings).write_text(json.dumps(asdict(_facts(settings, build))), encoding="utf-8")


def _record(settings: Settings) -> Path:
    return settings.warehouse.parent / "last_build.json"


def _noted(settings: Settings) -> Path:
    return settings.warehouse.parent / "increment.json"


def _facts(settings: Settings, build: Build) -> LastBuild:
    return LastBuild(
        code=settings.manifest_digest.read_text(encoding="utf-8"),
        as_of_date=build.as_of_date,
        sources=build.sources,
        target=build.target,
        reporting_currency=build.reporting_currency,
        delivered=build.delivered,
        batches=[batch.batch_id for source in build.sources for batch in accepted_batches(settings, source)],
    )
