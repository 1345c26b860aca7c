"""Transform: every dbt model an asset, its tests checks; the outcome model speaks between two parts of the build."""

import os
from collections.abc import Iterator
from typing import Any

from dagster import AssetExecutionContext, Definitions, Failure
from dagster_dbt import DbtCliResource, dbt_assets

from orchestration.defs.resources import Run, told_to_dagster
from orchestration.ingest.deliveries import real_deliveries
from orchestration.ingest.landing import newest_extract
from orchestration.publish.candidate import Build, read_build, write_build
from orchestration.settings import Settings, load_settings
from orchestration.warehouse.dbt import build_arguments, build_environment, ensure_manifest, failures
from orchestration.warehouse.dbt_process import RUN_PROCESS
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
def dbt_build(context: AssetExecutionContext, dbt: DbtCliResource, run: Run) -> Iterator[Any]:
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
    yield from _run_dbt(context, dbt, settings, build, increment)
    write_build(settings, build)


@dbt_assets(manifest=MANIFEST, name="dbt_foretold", select=FORETOLD)
def dbt_foretold(context: AssetExecutionContext, dbt: DbtCliResource, run: Run) -> Iterator[Any]:
    settings = run.settings
    yield from _run_dbt(context, dbt, settings, read_build(settings), noted_increment(settings))
    remember_build(settings, read_build(settings))


def _run_dbt(
    context: AssetExecutionContext, dbt: DbtCliResource, settings: Settings, build: Build, increment: Increment | None
) -> Iterator[Any]:
    target_path = settings.dbt_home / "target"
    (target_path / "run_results.json").unlink(missing_ok=True)
    os.environ["SIGHTLINE_TARGET"] = settings.target
    os.environ[RUN_PROCESS] = str(os.getpid())
    os.environ.update(build_environment(build, increment))
    arguments = build_arguments(settings, build, increment)
    invocation = dbt.cli(arguments, context=context, target_path=target_path, raise_on_error=False)
    yield from invocation.stream()
    if invocation.process.returncode:
        sentences, is_promise_broken = failures(target_path)
        raise Failure(
            "dbt: " + ("; ".join(sentences[:5]) or str(invocation.get_error())),
            allow_retries=False,
            metadata={"exit_code": 1 if is_promise_broken else 3},
        )


defs = Definitions(assets=[dbt_build, dbt_foretold])
