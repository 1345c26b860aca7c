"""What Dagster does by itself: the sensor, the schedule, one run at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from dagster import RunRequest, SkipReason, build_sensor_context

from tests.conftest import Run, sightline
from tests.extracts import OPPORTUNITIES, with_row, write_extract

HOLDER = """
import fcntl, sys
lock = open(sys.argv[1], "a+")
fcntl.flock(lock, fcntl.LOCK_EX)
lock.truncate(0); lock.write("4711"); lock.flush()
print("held", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def settled_home(demo_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Definitions can be imported: their manifest is there."""
    monkeypatch.setenv("SIGHTLINE_HOME", str(demo_run.home))


def test_the_sensor_starts_one_run_when_the_files_have_stopped_changing(
    settled_home: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orchestration.defs.automation import new_extract

    directory = write_extract(tmp_path / "x")
    monkeypatch.setenv("SIGHTLINE_EXTRACT_DIR", str(directory))
    cursor = None
    seen = []
    for step in (
        "first look",
        "unchanged",
        "after the run",
        "a file grows",
        "it still grows",
        "unchanged",
        "after the run",
    ):
        if step == "a file grows":
            write_extract(directory, crm_opportunities=OPPORTUNITIES[:-10])
        if step == "it still grows":
            write_extract(directory, crm_opportunities=with_row("o9,a1,s1,New,new_business,Proposal,1,,,"))
        context = build_sensor_context(cursor=cursor)
        result = new_extract(context)
        assert isinstance(result, (RunRequest, SkipReason))
        seen.append(isinstance(result, RunRequest))
        cursor = context.cursor
    assert seen == [False, True, False, False, False, True, False]


def test_without_a_directory_the_sensor_says_what_is_missing(
    settled_home: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orchestration.defs.automation import new_extract

    monkeypatch.delenv("SIGHTLINE_EXTRACT_DIR", raising=False)
    result = new_extract(build_sensor_context())
    assert isinstance(result, SkipReason)
    assert "SIGHTLINE_EXTRACT_DIR names no directory" in str(result.skip_message)


def test_runs_of_the_command_are_in_dagsters_own_storage(demo_run: Run) -> None:
    from dagster import DagsterInstance, DagsterRunStatus

    with DagsterInstance.from_config(str(demo_run.home / "dagster")) as instance:
        runs = instance.get_runs()
    assert [run.job_name for run in runs][-1] == "sightline_run"
    assert runs[-1].status == DagsterRunStatus.SUCCESS


def test_a_second_run_at_the_same_time_is_told_to_wait(home: Path, tmp_path: Path) -> None:
    home.mkdir()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(home / "run.lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "held\n"
        second = sightline(home, "run", "--extract", write_extract(tmp_path / "x"))
    finally:
        holder.communicate("\n", timeout=30)
    assert second.exit_code == 3
    assert "Another run is at work in" in second.output and "(process 4711)" in second.output
    assert not os.path.lexists(home / "published" / "current")
