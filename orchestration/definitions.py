"""What Dagster loads: the stages wired in `defs/`. Importing it touches no network, no warehouse and no clock."""

from dagster import Definitions, in_process_executor

from orchestration.defs import automation, ingest, predict, publish, resources, transform

defs = Definitions.merge(
    ingest.defs,
    transform.defs,
    predict.defs,
    publish.defs,
    automation.defs,
    resources.defs,
    # One process a run: steps share the warehouse, and each new process would import everything again.
    Definitions(executor=in_process_executor),
)
