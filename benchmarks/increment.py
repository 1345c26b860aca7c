"""Seconds of a full build, and of the increment for the day after it, on a company of its own.

    .venv/bin/python benchmarks/increment.py [SCALE]

Writes the demo company at the scale (10 without one) as one full extract and what changed on its last day, runs both,
each in a process of its own, and the last day once more with `--full-refresh`. Prints seconds of dbt and of the whole
run, and the increment as a share of the full build of the same day.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

from orchestration.demo.company import write_demo

LAST_DAY = date(2026, 6, 30)


def run(home: Path, extract: Path, *options: str) -> tuple[float, float]:
    """Seconds of dbt and of the whole of one run."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SIGHTLINE_", "DAGSTER_"))}
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "orchestration.cli", "run", "--extract", str(extract), *options],
        env={**inherited, "SIGHTLINE_HOME": str(home), "COLUMNS": "1000"},
        capture_output=True,
        text=True,
        timeout=3600,
    )
    seconds = time.perf_counter() - began
    found = re.search(r"\(dbt\) ([\d.]+) s", done.stdout)
    if done.returncode or not found:
        sys.exit(done.stdout + done.stderr)
    return float(found[1]), seconds


def main() -> None:
    scale = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        day_before = LAST_DAY - timedelta(days=1)
        extracts = folder / "extracts"
        write_demo(extracts, scale=scale, seed=3, file_format="parquet", until=LAST_DAY, extracts_on=[day_before])
        home = folder / "home"
        print(f"{'scale ' + format(scale, 'g'):<44} {'dbt s':>8} {'run s':>8}")
        rows = [
            ("first load, full build", run(home, extracts / str(day_before))),
            ("the next day, increment", run(home, extracts / str(LAST_DAY))),
            ("the same day, full build", run(home, extracts / str(LAST_DAY), "--full-refresh")),
        ]
        for label, (dbt, whole) in rows:
            print(f"{label:<44} {dbt:8.1f} {whole:8.1f}", flush=True)
        increment = rows[1][1]
        for label, (dbt, whole) in (rows[2], rows[0]):
            print(f"{'increment as a share of: ' + label:<44} {increment[0] / dbt:8.0%} {increment[1] / whole:8.0%}")


if __name__ == "__main__":
    main()
