"""What Dagster loads. Importing it touches no network, no warehouse and no clock."""

from dagster import Definitions, in_process_executor, load_definitions_from_package_module

import orchestration.defs

defs = Definitions.merge(
    load_definitions_from_package_module(orchestration.defs),
    # One process a run: steps share the warehouse, and each new process would import everything again.
    Definitions(executor=in_process_executor),
)
