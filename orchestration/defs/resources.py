"""What a run is told, and the lock that keeps runs apart."""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date

from dagster import ConfigurableResource, Definitions, Failure, InitResourceContext, MetadataValue

from orchestration.errors import SightlineError
from orchestration.settings import Settings, load_settings
from orchestration.warehouse.dbt import stop_dbt


class Run(ConfigurableResource):  # type: ignore[type-arg]
    """Options of one run, and the lock on `$SIGHTLINE_HOME` it holds from first to last step.

    Attributes:
        as_of: tell everything as known on this ISO date; empty means the day of the newest extract.
        full_refresh: build incremental models again from the raw zone.
    """

    as_of: str = ""
    full_refresh: bool = False

    @property
    def settings(self) -> Settings:
        return load_settings(as_of=date.fromisoformat(self.as_of) if self.as_of else None)

    @contextmanager
    def yield_for_execution(self, context: InitResourceContext) -> Iterator["Run"]:
        settings = self.settings
        os.environ.update(settings.environment())
        settings.home.mkdir(parents=True, exist_ok=True)
        with settings.run_lock.open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                sentence = (
                    f"Another run is at work in {settings.home} (process {lock.read().strip()}); wait for it to end."
                )
                _tell_how_it_ended(context, settings, [sentence])
                raise Failure(sentence, allow_retries=False, metadata={"exit_code": 3}) from None
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            try:
                yield self
            finally:
                stop_dbt()
        # Every step has ended, well or badly, and the warehouse is free for the next run.
        _tell_how_it_ended(context, settings)


def _tell_how_it_ended(context: InitResourceContext, settings: Settings, sentences: Sequence[str] = ()) -> None:
    """Alerts, whoever started the run: the schedule, the sensor, the command or a button. One asset alone is no run."""
    from orchestration.publish.alerts import is_told, tell_outcome
    from orchestration.running import RunResult, outcome_of

    run, instance = context.dagster_run, context.instance
    if run is None or instance is None or run.job_name != "sightline_run" or not is_told(settings):
        return
    if sentences:
        outcome = RunResult(exit_code=3, run_id=run.run_id, sentences=list(sentences))
    else:
        entries = instance.all_logs(run.run_id)
        outcome = outcome_of(run.run_id, [entry.dagster_event for entry in entries if entry.dagster_event])
    for sentence in tell_outcome(settings, outcome):
        if context.log is not None:
            context.log.warning(sentence)


@contextmanager
def told_to_dagster() -> Iterator[None]:
    """Turns an error that already says what to do into a failure Dagster shows as it is, and does not retry."""
    try:
        yield
    except SightlineError as error:
        raise Failure(
            str(error), allow_retries=False, metadata={"exit_code": MetadataValue.int(error.exit_code)}
        ) from error


defs = Definitions(resources={"run": Run()})
