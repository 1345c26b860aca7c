"""Runs a gate: Great Expectations over a DuckDB file, its Data Docs, and what failed in sentences."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestration.quality.expectation import Expectation
from orchestration.quality.offline_docs import make_offline

if TYPE_CHECKING:
    from sqlalchemy import Connection

ROWS_TOLD = 5


@dataclass(frozen=True)
class Outcome:
    """What became of one expectation."""

    name: str
    relation: str
    passed: bool
    severity: str
    sentences: tuple[str, ...]
    observed: Any = None
    what_to_do: str = ""


@dataclass(frozen=True)
class Verdict:
    """What a gate decided. It lets through when no critical expectation failed."""

    gate: str
    outcomes: tuple[Outcome, ...]
    data_docs: Path

    @property
    def passed(self) -> bool:
        return all(outcome.passed or outcome.severity != "critical" for outcome in self.outcomes)

    def sentences(self, severity: str) -> list[str]:
        return [text for o in self.outcomes if not o.passed and o.severity == severity for text in o.sentences]

    def advice(self) -> list[str]:
        """What to do about what refused, each once."""
        return list(dict.fromkeys(o.what_to_do for o in self.outcomes if not o.passed and o.severity == "critical"))


def run_gate(gate: str, database: Path, expectations: list[Expectation], data_docs: Path) -> Verdict:
    """Validates a DuckDB file against a gate's expectations and writes the Data Docs of this run.

    The docs are built aside and put in place by one rename, so a page that is open never shows half of them.
    """
    # Great Expectations takes seconds to import: only a gate pays for it.
    import great_expectations as gx
    import great_expectations.expectations as gxe
    from great_expectations.data_context.types.base import ProgressBarsConfig
    from sqlalchemy.dialects import registry

    from orchestration.quality.duckdb_dialect import ReadingDialect

    registry.register("duckdb.sightline", "orchestration.quality.duckdb_dialect", "ReadingDialect")
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    staged = data_docs.with_name(f".{data_docs.name}")
    shutil.rmtree(staged, ignore_errors=True)
    context.add_data_docs_site(
        site_name=gate,
        site_config={
            "class_name": "SiteBuilder",
            "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(staged)},
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        },
    )
    source = context.data_sources.add_sql(
        name=gate, connection_string=f"duckdb+sightline:///{database}?access_mode=read_only"
    )
    definitions = []
    ordered = sorted(expectations, key=lambda expectation: expectation.relation)
    for relation, group in groupby(ordered, key=lambda expectation: expectation.relation):
        suite = gx.ExpectationSuite(name=f"{gate}: {relation}")
        for expectation in group:
            suite.add_expectation(
                getattr(gxe, expectation.kind)(
                    **expectation.arguments,
                    severity=expectation.severity,
                    description=f"{expectation.why} If it fails: {expectation.what_to_do}.",
                    meta={"name": expectation.name, "why": expectation.why, "what_to_do": expectation.what_to_do},
                )
            )
        batch = source.add_query_asset(
            name=relation, query=f"select * from {relation}"
        ).add_batch_definition_whole_table(relation)
        definitions.append(
            context.validation_definitions.add(
                gx.ValidationDefinition(name=relation, data=batch, suite=context.suites.add(suite))
            )
        )
    checkpoint = context.checkpoints.add(
        gx.Checkpoint(name=gate, validation_definitions=definitions, result_format="SUMMARY")
    )
    result = checkpoint.run()
    context.build_data_docs(site_names=[gate])

    by_name = {expectation.name: expectation for expectation in expectations}
    engine = source.get_execution_engine().engine
    with engine.connect() as connection:
        outcomes = tuple(
            _outcome(connection, by_name[_name(validated)], validated)
            for validation in result.run_results.values()
            for validated in validation.results
        )
    engine.dispose()
    ReadingDialect.close_all()
    make_offline(staged, gate, outcomes)
    _put_in_place(staged, data_docs)
    if len(outcomes) != len(expectations):
        raise RuntimeError(f"The gate {gate} judged {len(outcomes)} of {len(expectations)} expectations.")
    return Verdict(gate, outcomes, data_docs)


def _name(validated: Any) -> str:
    name: str = validated.expectation_config.meta["name"]
    return name


def _outcome(connection: Connection, expectation: Expectation, validated: Any) -> Outcome:
    observed = validated.result.get("observed_value", validated.result.get("unexpected_count"))
    if validated.success:
        return Outcome(expectation.name, expectation.relation, True, expectation.severity, (), observed)
    error = (validated.exception_info or {}).get("exception_message")
    query = expectation.arguments.get("unexpected_rows_query")
    if query and not error:
        rows = connection.exec_driver_sql(query.replace("{batch}", expectation.relation)).mappings().all()
        sentences = [expectation.sentence.format(**row) for row in rows[:ROWS_TOLD]]
        if len(rows) > ROWS_TOLD:
            sentences.append(f"… and {len(rows) - ROWS_TOLD:,} more like these.")
    else:
        sentences = [expectation.sentence.format(observed=observed) + (f" ({error})" if error else "")]
    return Outcome(
        expectation.name,
        expectation.relation,
        False,
        expectation.severity,
        tuple(sentences),
        observed,
        expectation.what_to_do,
    )


def _put_in_place(staged: Path, place: Path) -> None:
    previous = place.with_name(f".{place.name}.previous")
    shutil.rmtree(previous, ignore_errors=True)
    if place.exists():
        place.rename(previous)
    staged.rename(place)
    shutil.rmtree(previous, ignore_errors=True)
