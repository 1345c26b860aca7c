"""When runs happen: one job, once a day, and whenever a new extract is there."""

from dagster import (
    AssetSelection,
    Definitions,
    RunRequest,
    ScheduleDefinition,
    SensorEvaluationContext,
    SkipReason,
    define_asset_job,
    sensor,
)

from orchestration.errors import SightlineError
from orchestration.ingest.buckets import address_of
from orchestration.ingest.extracts import can_be_watched, extract_fingerprint
from orchestration.settings import known_sources, load_settings

# Runs share one warehouse: the instance's run queue lets one through at a time (see dagster.yaml).
_others = [name for name in known_sources() if name not in load_settings().sources]
_selection: AssetSelection = AssetSelection.all()
for _name in _others:
    _selection = _selection - AssetSelection.key_prefixes([_name])

sightline_run = define_asset_job(
    "sightline_run",
    selection=_selection,
    description="From the extract to the release: land, judge, transform, judge, publish.",
)

daily = ScheduleDefinition(
    name="daily",
    job=sightline_run,
    cron_schedule="0 6 * * *",
    execution_timezone="UTC",
    description="Every day at 06:00 UTC.",
)


@sensor(
    job=sightline_run,
    minimum_interval_seconds=60,
    description="Starts a run when the files of the extract directory changed and have stopped changing.",
)
def new_extract(context: SensorEvaluationContext) -> RunRequest | SkipReason:
    directories = [directory for directory in load_settings().directories if can_be_watched(directory)]
    watched = ", ".join(map(address_of, directories))
    if not directories:
        return SkipReason("SIGHTLINE_EXTRACT_DIR names no directory to watch.")
    # The cursor is what the last look saw and what the last run was started for.
    seen, _, started = (context.cursor or "|").partition("|")
    try:
        fingerprint = extract_fingerprint(*directories)
    except SightlineError as error:
        return SkipReason(str(error))
    if fingerprint == started:
        return SkipReason(f"Nothing changed in {watched}.")
    if fingerprint != seen:
        context.update_cursor(f"{fingerprint}|{started}")
        return SkipReason(f"Files in {watched} are changing; a run starts when two looks see the same.")
    context.update_cursor(f"{fingerprint}|{fingerprint}")
    return RunRequest(run_key=fingerprint)


defs = Definitions(jobs=[sightline_run], schedules=[daily], sensors=[new_extract])
