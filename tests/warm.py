"""Commands in a process of their own that need not import everything first: each is forked from one that has."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import ModuleType

from orchestration.settings import PROJECT_ROOT

# What a run imports of others; the project's own modules read settings and come later.
LIBRARIES = [
    "dagster",
    "dagster_dbt",
    "dbt.adapters.duckdb",
    "dbt.cli.main",
    "duckdb",
    "great_expectations",
    "great_expectations.expectations",
    "pandas",
    "pyarrow.parquet",
    "sklearn.linear_model",
]
_SERVER = multiprocessing.get_context("forkserver")
# This module first: it makes the server bear Spark.
_SERVER.set_forkserver_preload(["tests.warm", *LIBRARIES])

if not hasattr(sys.modules["__main__"], "__file__"):
    # Spark, once imported, takes such a process for a run of its own doctests and ends it.
    sys.modules["__main__"].__file__ = __file__


def _command(arguments: Sequence[str], environment: Mapping[str, str], directory: Path, output: Path) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    with output.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = ["sightline", *arguments]
    from orchestration.cli import main

    main()


def start(arguments: Sequence[str], environment: Mapping[str, str], directory: Path, output: Path) -> ForkServerProcess:
    """The command `sightline` with these arguments and this environment, at work; all it says goes to `output`."""
    process = _SERVER.Process(target=_command, args=(arguments, dict(environment), directory, output))
    before = os.environ.get("PYTHONPATH")
    main = sys.modules["__main__"]
    # The child would run the main module anew, which is pytest, or whatever page a test has drawn last.
    sys.modules["__main__"] = ModuleType("__main__")
    # Where the server, which the first process starts, finds this module.
    os.environ["PYTHONPATH"] = os.pathsep.join([str(PROJECT_ROOT), *([before] if before else [])])
    try:
        process.start()
    finally:
        sys.modules["__main__"] = main
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
    return process
