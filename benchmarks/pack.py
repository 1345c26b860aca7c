"""How long the weekly pack takes: one file each for nine managers, and for all.

    .venv/bin/python benchmarks/pack.py [HOME]

Writes the packs of the current release of HOME (without it, of SIGHTLINE_HOME) into a folder that is removed again, in
a process of its own each time, as the command does: starting Python and loading libraries is in the seconds, and in the
seconds of processor time beside them. Nine managers are those with the largest teams. Promised is under 20 s for nine;
the figure is printed, not judged.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dashboards.access import everyone
from dashboards.pack import leaders
from dashboards.release import Release, current_folder
from orchestration.settings import load_settings

MANAGERS = 9
WRITE = """
import sys
from pathlib import Path
from dashboards import pack
chosen = set(sys.argv[3:])
every = pack.leaders
pack.leaders = lambda release: [leader for leader in every(release) if leader.person_id in chosen]
pack.write_packs(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def seconds(folder: Path, managers: list[str]) -> tuple[float, float, int]:
    """Seconds to write the files of these managers, those of the processors, and their size in bytes."""
    with tempfile.TemporaryDirectory() as directory:
        start, before = time.perf_counter(), os.times()
        subprocess.run([sys.executable, "-c", WRITE, str(folder), directory, *managers], check=True)
        took, after = time.perf_counter() - start, os.times()
        files = list(Path(directory).iterdir())
        assert len(files) == len(managers), "a file is missing"
        worked = after.children_user + after.children_system - before.children_user - before.children_system
        return took, worked, sum(path.stat().st_size for path in files)


def main() -> None:
    folder = current_folder(load_settings(home=sys.argv[1] if len(sys.argv) > 1 else None))
    release = Release(folder, everyone())
    everybody = [leader.person_id for leader in leaders(release)]
    teams = release.rows(
        "select manager_id, count(*) as n from core.reps where is_current group by manager_id "
        "order by n desc, manager_id"
    )
    release.close()
    largest = [person for person in teams["manager_id"] if person in everybody][:MANAGERS]
    for name, managers in (("the largest teams", largest), ("everybody who leads somebody", everybody)):
        took, worked, size = seconds(folder, managers)
        print(
            f"{len(managers)} managers, {name}: {took:.1f} s ({worked:.1f} s of processor), "
            f"{took / len(managers):.2f} s and {size / len(managers) / 1024:.0f} KiB a file"
        )


if __name__ == "__main__":
    main()
