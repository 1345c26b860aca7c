"""Transform: every dbt model an asset, its tests checks; the outcome model speaks between two parts of the build."""

import os
from collections.abc import Iterator
from typing import Any

from dagster import AssetExecutionContext, Definitions, Failure
from dagster_dbt import dbt_assets
from dagster_dbt.asset_utils import get_updated_cli_invocation_params_for_context
from dagster_dbt.core.dbt_cli_event import DbtCoreCliEventMessage
from dagster_dbt.dagster_dbt_translator import DagsterDbtTranslator

from orchestration.defs.resources import Run, told_to_dagster
from orchestration.ingest.deliveries import real_deliveries
from orchestration.ingest.landing import newest_extract
from orchestration.publish.candidate import Build, read_build, write_build
from orchestration.settings import Settings, load_settings
from orchestration.warehouse.dbt import build_arguments, build_environment, ensure_manifest, failures, invoke_dbt
from orchestration.warehouse.increment import (
    Increment,
    find_increment,
    forget_last_build,
    note_increment,
    noted_increment,
    remember_build,
)

# Whatever stands on what the outcome model tells.
FORETOLD = "source:predictions+"
MANIFEST = ensure_manifest(load_settings())


@dbt_assets(manifest=MANIFEST, name="dbt_build", exclude=FORETOLD)
def dbt_build(context: AssetExecutionContext, run: Run) -> Iterator[Any]:
    settings = run.settings
    with told_to_dagster():
        extracted_at = newest_extract(settings)
    build = Build(
        as_of_date=(settings.as_of or extracted_at.date()).isoformat(),
        sources=list(settings.sources),
        target=settings.target,
        reporting_currency=settings.reporting_currency,
        extracted_at=extracted_at.isoformat(),
        delivered=real_deliveries(settings),
    )
    for folder in (settings.warehouse.parent, settings.spark_warehouse):
        folder.mkdir(parents=True, exist_ok=True)
    increment = None if run.full_refresh else find_increment(settings, build)
    forget_last_build(settings)
    note_increment(settings, increment)
    yield from _run_dbt(context, settings, build, increment)
    write_build(settings, build)


@dbt_assets(manifest=MANIFEST, name="dbt_foretold", select=FORETOLD)
def dbt_foretold(context: AssetExecutionContext, run: Run) -> Iterator[Any]:
    settings = run.settings
    yield from _run_dbt(context, settings, read_build(settings), noted_increment(settings))
    remember_build(settings, read_build(settings))


def _run_dbt(
    context: AssetExecutionContext, settings: Settings, build: Build, increment: Increment | None
) -> Iterator[Any]:
    os.environ.update(build_environment(build, increment))
    # Of one part, or of the assets somebody chose in the UI.
    chosen = get_updated_cli_invocation_params_for_context(context, {}, DagsterDbtTranslator())
    invocation = invoke_dbt(settings, [*build_arguments(build, increment), *chosen.selection_args])
    for message in invocation:
        yield from DbtCoreCliEventMessage(raw_event=message, event_history_metadata={}).to_default_asset_events(
            manifest=chosen.manifest,
            dagster_dbt_translator=chosen.dagster_dbt_translator,
            context=context,
            target_path=settings.dbt_target,
        )
    if not invocation.result.success:
        sentences, is_promise_broken = failures(invocation.result)
        raise Failure(
            "dbt: " + ("; ".join(sentences[:5]) or str(invocation.result.exception)),
            allow_retries=False,
            metadata={"exit_code": 1 if is_promise_broken else 3},
        )


defs = Definitions(assets=[dbt_build, dbt_foretold])
