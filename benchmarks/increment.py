"""Seconds of a full build, and of the increment for the day after it, on a company of its own.

    .venv/bin/python benchmarks/increment.py [SCALE]

Writes the demo company at the scale (10 without one) as one full extract and what changed on its last day, and runs
both, each in a process of its own. Prints seconds of dbt and of the whole run, and the second as a share of the first,
which is what to compare between machines. Then what the outcome model takes when no model has been kept: every quarter
is trained and told again, in a process of its own.
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
PREDICT_ANEW = """
import resource, sys
from orchestration.forecasting.predicting import predict
from orchestration.publish.candidate import read_build
from orchestration.settings import Settings
settings = Settings()
told = predict(settings, read_build(settings), use_kept=False)
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 / 1024
print(told.reviews, told.trained, told.seconds, memory)
"""


def environment(home: Path) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SIGHTLINE_", "DAGSTER_"))}
    return {**inherited, "SIGHTLINE_HOME": str(home), "COLUMNS": "1000"}


def run(home: Path, extract: Path, *options: str) -> tuple[float, float]:
    """Seconds of dbt, both parts of the build together, and of the whole of one run."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "orchestration.cli", "run", "--extract", str(extract), *options],
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=3600,
    )
    seconds = time.perf_counter() - began
    parts = re.findall(r"\(dbt\) ([\d.]+) s", done.stdout)
    if done.returncode or len(parts) != 2:
        sys.exit(done.stdout + done.stderr)
    return sum(map(float, parts)), seconds


def main() -> None:
    scale = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        day_before = LAST_DAY - timedelta(days=1)
        extracts = folder / "extracts"
        write_demo(extracts, scale=scale, seed=3, file_format="parquet", until=LAST_DAY, extracts_on=[day_before])
        home = folder / "home"
        print(f"{'scale ' + format(scale, 'g'):<24} {'dbt s':>8} {'run s':>8}")
        full = run(home, extracts / str(day_before))
        print(f"{'full build':<24} {full[0]:8.1f} {full[1]:8.1f}", flush=True)
        increment = run(home, extracts / str(LAST_DAY))
        print(f"{'increment for a day':<24} {increment[0]:8.1f} {increment[1]:8.1f}")
        print(f"{'share':<24} {increment[0] / full[0]:8.0%} {increment[1] / full[1]:8.0%}")
        told = subprocess.run(
            [sys.executable, "-c", PREDICT_ANEW], env=environment(home), capture_output=True, text=True, timeout=3600
        )
        if told.returncode:
            sys.exit(told.stderr)
        reviews, trained, seconds, memory = told.stdout.split()
        print(
            f"outcome model anew: {reviews} reviews, {trained} models, {float(seconds):.1f} s, {float(memory):.2f} GiB"
        )


if __name__ == "__main__":
    main()
