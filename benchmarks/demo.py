"""Time and memory of the demo company at several scales, each in a process of its own.

    .venv/bin/python benchmarks/demo.py [SCALE …]

Prints, of each scale, opportunities, rows, seconds, opportunities a minute, and the most memory the process held; then
each scale's seconds and memory as a multiple of the first one's, which is what to compare between machines.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

CHILD = """
import resource, sys, time
from pathlib import Path
from orchestration.demo.company import write_demo
began = time.perf_counter()
counts = write_demo(Path(sys.argv[1]), scale=float(sys.argv[2]), file_format="parquet")
seconds = time.perf_counter() - began
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(counts["opportunities"], sum(counts.values()), seconds, memory)
"""


def main() -> None:
    scales = [float(word) for word in sys.argv[1:]] or [1.0, 10.0, 100.0]
    first: tuple[float, float] | None = None
    print(
        f"{'scale':>7} {'opportunities':>14} {'rows':>12} {'seconds':>9} "
        f"{'opps/min':>10} {'MiB':>6}  {'× time':>7} {'× MiB':>6}"
    )
    for scale in scales:
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [sys.executable, "-c", CHILD, str(Path(folder) / "demo"), str(scale)],
                capture_output=True,
                text=True,
                check=True,
                timeout=3600,
            )
        deals, rows, seconds, memory = (float(word) for word in done.stdout.split())
        first = first or (seconds, memory)
        print(
            f"{scale:7g} {deals:14,.0f} {rows:12,.0f} {seconds:9.1f} {deals / seconds * 60:10,.0f} {memory:6.0f}  "
            f"{seconds / first[0]:7.1f} {memory / first[1]:6.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
