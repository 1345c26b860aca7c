"""Which source of a run delivers which entity of the extract contract."""

from __future__ import annotations

from functools import cache

import yaml

from orchestration.ingest.contract import load_source
from orchestration.ingest.landing import accepted_batches
from orchestration.settings import DBT_PROJECT, Settings


@cache
def staged_entities() -> dict[str, frozenset[str]]:
    """The entities each source has a staging model of, as dbt_project.yml names them."""
    declared = yaml.safe_load((DBT_PROJECT / "dbt_project.yml").read_text(encoding="utf-8"))
    return {name: frozenset(entities) for name, entities in declared["vars"]["source_entities"].items()}


def speaks_contract(source: str) -> bool:
    """Whether the tables of a source are entities of the contract, of which it may deliver any.

    A system with objects of its own delivers all it has a staging model of.
    """
    return {table.name for table in load_source(source).tables} == staged_entities()[source]


def delivered_entities(settings: Settings, source: str) -> frozenset[str]:
    """The entities a source delivers: of one that speaks the contract, those of which a row was ever accepted."""
    if not speaks_contract(source):
        return staged_entities()[source]
    return frozenset(
        table.table for batch in accepted_batches(settings, source) for table in batch.tables if table.accepted
    )


def real_deliveries(settings: Settings) -> dict[str, list[str]]:
    """What the union of several sources has to know beyond dbt_project.yml; nothing for one source."""
    if len(settings.sources) < 2:
        return {}
    return {
        source: sorted(delivered_entities(settings, source)) for source in settings.sources if speaks_contract(source)
    }


def delivered_elsewhere(settings: Settings, source: str) -> frozenset[str]:
    """Entities a source that speaks the contract need not deliver, required or not: another source of the run does.

    Of another source that speaks the contract only what was accepted counts: nobody knows what it will deliver.
    """
    if source not in settings.sources or not speaks_contract(source):
        return frozenset()
    others = [delivered_entities(settings, other) for other in settings.sources if other != source]
    return frozenset().union(*others)
