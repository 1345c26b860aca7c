"""Killed at any moment, the next run succeeds, and a reader never sees half a release."""

from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path

import duckdb
import pytest

from tests import warm
from tests.conftest import Run, published
from tests.extracts import OPPORTUNITIES, write_extract

KILLS = 10


class Reader(threading.Thread):
    """Opens the current release over and over, as BI tools do, and keeps what it saw."""

    def __init__(self, home: Path) -> None:
        super().__init__(daemon=True)
        self.current = home / "published" / "current"
        self.stopped = threading.Event()
        self.looks = 0
        self.problems: list[str] = []

    def run(self) -> None:
        while not self.stopped.wait(0.1):
            # A reader follows the link once; the release it points at must be whole and stay so.
            release = self.current.parent / os.readlink(self.current)
            try:
                with duckdb.connect(str(release / "sightline.duckdb"), read_only=True) as connection:
                    (rows,) = connection.execute("select count(*) from core.opportunities").fetchone() or (0,)
                parquet = str(release / "parquet" / "core" / "opportunities.parquet")
                (again,) = duckdb.connect().execute("select count(*) from read_parquet(?)", [parquet]).fetchone() or (
                    0,
                )
                whole = (release / "manifest.json").read_text().endswith("}")
                if not (rows == again >= 4 and whole):
                    self.problems.append(f"{release}: {rows} rows, {again} in Parquet, manifest whole: {whole}")
            except (duckdb.Error, OSError) as error:
                self.problems.append(f"{release}: {error}")
            self.looks += 1


@pytest.mark.long
def test_killed_at_ten_random_moments_the_next_run_succeeds_and_no_reader_sees_half(
    after_small_run: Run, tmp_path: Path
) -> None:
    draw = random.Random(20260302)
    directory = tmp_path / "extract"
    home = after_small_run.home
    seconds = 20.0
    reader = Reader(home)
    reader.start()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SIGHTLINE_", "DAGSTER_"))}
    killed = attempts = 0
    while killed < KILLS:
        # Every run has something new to land, so that each stage has work to be interrupted in.
        attempts += 1
        assert attempts <= 2 * KILLS
        text = OPPORTUNITIES + "".join(
            f"k{n},a1,s1,New,new_business,Proposal,{n + 1}00,2026-02-01T09:00:00Z,2026-04-30,\n"
            for n in range(attempts)
        )
        write_extract(directory, extracted_at=f"2026-03-{attempts + 2:02d}T06:00:00Z", crm_opportunities=text)
        began = time.monotonic()
        process = warm.start(
            ["run", "--extract", str(directory)],
            {**environment, "SIGHTLINE_HOME": str(home)},
            tmp_path,
            tmp_path / "said.txt",
        )
        # One moment in each tenth of the time the run before took.
        process.join(timeout=(killed + draw.random()) / KILLS * seconds)
        if process.exitcode is None:
            process.kill()
            process.join(timeout=60)
            killed += 1
            began = time.monotonic()
            after = published(home, directory)
        else:
            # This run was so much quicker than the one before that it ended first: the moment is tried again.
            assert process.exitcode == 0, (tmp_path / "said.txt").read_text()
            after = Run(home, 0, "")
        seconds = time.monotonic() - began
        assert after.query("select count(*) from core.opportunities") == [(4 + attempts,)]
    reader.stopped.set()
    reader.join(timeout=30)
    assert reader.looks > KILLS
    assert reader.problems == []
    assert [path.name for path in (home / "published").glob("[0-9]*") if not (path / "manifest.json").exists()] == []
