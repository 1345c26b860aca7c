"""Runs the Dagster job in process, and says afterwards what became of it."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass, field
from typing import Any

from orchestration.errors import SourceError
from orchestration.settings import Settings
from orchestration.warehouse.dbt import ensure_manifest

# One run at a time on the warehouse, whoever starts it from the UI.
INSTANCE = """\
concurrency:
  runs:
    max_concurrent_runs: 1
telemetry:
  enabled: false
# No question to join anything in front of the first page.
nux:
  enabled: false
event_log_storage:
  module: orchestration.warehouse.event_log
  class: OpenEventLog
  config:
    base_dir: {folder}
"""

STAGES = {
    "landing": "Landing the extract",
    "landing_gate": "Judging the batch (landing gate)",
    "raw_zone": "Taking it into the raw zone",
    "dbt_build": "Building the marts (dbt)",
    "predictions": "Predicting outcomes",
    "dbt_foretold": "Building what stands on predictions (dbt)",
    "candidate": "Writing the candidate",
    "publish_gate": "Judging the candidate (publish gate)",
    "release": "Publishing",
    "postgres": "Serving it in PostgreSQL",
}


@dataclass
class RunResult:
    """What became of a run.

    Attributes:
        exit_code: 0 published, 1 a gate refused, 2 wrong use, 3 a source or the machine failed.
        sentences: why it did not end in a release, or, where there is one, what failed after it was published.
        advice: what to do about it, where the sentences do not say so themselves.
        seconds: per stage, in the order they ran.
        alerts: what could not be told to whom.
    """

    exit_code: int
    run_id: str
    sentences: list[str] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    release: str | None = None
    alerts: list[str] = field(default_factory=list)


def prepare_home(settings: Settings) -> None:
    """Makes `$SIGHTLINE_HOME` ready for Dagster and dbt, and tells them by the environment.

    Raises:
        SourceError: the folder cannot be written.
    """
    try:
        settings.dagster_home.mkdir(parents=True, exist_ok=True)
        settings.dbt_home.mkdir(parents=True, exist_ok=True)
        folder = json.dumps(str(settings.dagster_home / "history" / "runs"))
        (settings.dagster_home / "dagster.yaml").write_text(INSTANCE.format(folder=folder), encoding="utf-8")
    except OSError as error:
        raise SourceError(
            f"{settings.home} cannot be written ({error.strerror}); set SIGHTLINE_HOME to a folder that can."
        ) from None
    os.environ.update(settings.environment())
    os.environ["SIGHTLINE_SOURCES"] = ",".join(settings.sources)
    os.environ["SIGHTLINE_REPORTING_CURRENCY"] = settings.reporting_currency
    if settings.extract_dir:
        os.environ["SIGHTLINE_EXTRACT_DIR"] = str(settings.extract_dir)
    os.environ["SIGHTLINE_EXTRACT_DIRS"] = ",".join(f"{name}={path}" for name, path in settings.extract_dirs.items())
    ensure_manifest(settings)


def lock_holder(settings: Settings) -> str | None:
    """The process that is running now, if there is one."""
    if not settings.run_lock.exists():
        return None
    with settings.run_lock.open("r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return None
        except BlockingIOError:
            return lock.read().strip() or "unknown"


def run_job(settings: Settings, full_refresh: bool, on_stage: Callable[[str], None]) -> RunResult:
    """Executes the job `sightline_run` in this process; the run is in Dagster's storage like any other."""
    prepare_home(settings)
    from dagster import DagsterInstance
    from dagster._core.utils import make_new_run_id

    from orchestration.definitions import defs

    run_id = make_new_run_id()
    started: dict[str, float] = {}
    seconds: dict[str, float] = {}

    alerts: list[str] = []

    def listen(entry: Any) -> None:
        event = entry.dagster_event
        if event is None and entry.user_message.startswith("Alerts: "):
            alerts.append(entry.user_message)
        if event is None or not event.step_key:
            return
        stage = stage_of(event.step_key)
        if event.event_type_value == "STEP_START":
            started[stage] = time.monotonic()
            on_stage(STAGES.get(stage, stage))
        elif stage == "postgres" and settings.publish_postgres is None:
            return
        elif event.event_type_value in ("STEP_SUCCESS", "STEP_FAILURE") and stage in started:
            seconds[stage] = time.monotonic() - started[stage]

    with ExitStack() as stack:
        instance = stack.enter_context(DagsterInstance.from_config(str(settings.dagster_home)))
        instance.add_event_listener(run_id, listen)
        log = stack.enter_context((settings.dbt_home / "run.log").open("w", encoding="utf-8"))
        stack.enter_context(redirect_stdout(log))
        result = defs.resolve_job_def("sightline_run").execute_in_process(
            instance=instance,
            run_id=run_id,
            raise_on_error=False,
            run_config={
                "resources": {
                    "run": {
                        "config": {
                            "as_of": settings.as_of.isoformat() if settings.as_of else "",
                            "full_refresh": full_refresh,
                        }
                    }
                },
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
        )
    outcome = outcome_of(run_id, result.all_events, has_succeeded=result.success)
    outcome.seconds, outcome.alerts = seconds, alerts
    return outcome


def outcome_of(run_id: str, events: Sequence[Any], has_succeeded: bool = True) -> RunResult:
    """What became of a run of the job, read off Dagster's events."""
    outcome = RunResult(exit_code=0, run_id=run_id)
    for event in events:
        _take_note(event, outcome)
    if outcome.exit_code == 0 and not (has_succeeded and outcome.release):
        outcome.exit_code = 3
        skipped = [str(event.step_key) for event in events if event.event_type_value == "STEP_SKIPPED"]
        outcome.sentences.append(f"The run ended without a release: {', '.join(skipped) or 'no step'} skipped.")
    return outcome


def stage_of(step: str) -> str:
    """The stage a step belongs to: the source a step is for does not matter."""
    return next((stage for stage in sorted(STAGES, key=len, reverse=True) if step.endswith(stage)), step)


def _take_note(event: Any, outcome: RunResult) -> None:
    kind = event.event_type_value
    if kind == "ASSET_CHECK_EVALUATION":
        check = event.event_specific_data
        metadata = {key: value.value for key, value in check.metadata.items()}
        if "refused_because" in metadata and not check.passed:
            outcome.exit_code = 1
            outcome.sentences += metadata["refused_because"]
            outcome.advice += metadata["what_to_do"]
    elif kind == "ASSET_MATERIALIZATION":
        metadata = event.event_specific_data.materialization.metadata
        if "release" in metadata:
            outcome.release = metadata["release"].value
    elif kind == "STEP_FAILURE":
        failure = event.step_failure_data.user_failure_data
        if failure is not None:
            # Of several sources each says what it lacks.
            code = int(failure.metadata["exit_code"].value) if "exit_code" in failure.metadata else 3
            outcome.exit_code = outcome.exit_code or code
            outcome.sentences.append(failure.description or "")
        elif outcome.exit_code == 0:
            error = event.step_failure_data.error
            while error.cause is not None:
                error = error.cause
            outcome.exit_code = 3
            outcome.sentences.append(f"{event.step_key} failed: {error.message.strip()}")
