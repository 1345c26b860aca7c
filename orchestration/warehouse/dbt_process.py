"""dbt as a run starts it: it ends when the run does, and one is at work on the warehouse at a time."""

from __future__ import annotations

import fcntl
import gc
import os
import sys
import threading
import time

from orchestration.settings import load_settings

RUN_PROCESS = "SIGHTLINE_RUN_PROCESS"


def main() -> None:
    """The command `sightline-dbt`: dbt, bound to the process named in `SIGHTLINE_RUN_PROCESS`.

    A run that is killed cannot stop the dbt it started. Left alone, that dbt would open the warehouse under the next
    run; here it notices, and the next dbt waits for the lock until it is gone.
    """
    if RUN_PROCESS not in os.environ:
        sys.exit("sightline-dbt is started by a run; for dbt by hand use dbt, with --project-dir dbt_project.")
    threading.Thread(target=_end_with, args=(int(os.environ[RUN_PROCESS]),), daemon=True).start()
    path = load_settings().dbt_lock
    path.parent.mkdir(parents=True, exist_ok=True)
    # Held until this process ends.
    lock = path.open("a")
    fcntl.flock(lock, fcntl.LOCK_EX)
    # Every run writes hundreds of debug lines a model that nobody reads; and this process ends before garbage matters.
    os.environ.setdefault("DBT_LOG_LEVEL_FILE", "info")
    gc.disable()
    from dbt.cli.main import cli

    sys.argv[0] = "dbt"
    cli()


def _end_with(run_process: int) -> None:
    while os.getppid() == run_process:
        time.sleep(0.2)
    os._exit(3)
