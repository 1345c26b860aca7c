"""What the bulk path costs: a million activities from Salesforce's Bulk API 2.0 into the raw zone.

`python benchmarks/bulk.py [ROWS]` serves the tasks of an organisation from a process of its own on this machine, reads
them with the Salesforce connector, lands and accepts them, and sets that beside what DuckDB alone takes to turn the
same CSV into Parquet. It prints rows a second of both, their ratio, and the memory the load took at most. What it takes
to start Python and load the libraries is in neither.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import duckdb

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

TASKS = """
select
    '00T' || printf('%015d', number) as Id,
    '003' || printf('%015d', hash(number) % 40000) as WhoId,
    '006' || printf('%015d', hash(number * 7) % 40000) as WhatId,
    '001' || printf('%015d', hash(number * 11) % 9000) as AccountId,
    '005' || printf('%015d', number % 300) as OwnerId,
    (['Call', 'Email', 'Task'])[1 + number % 3] as TaskSubtype,
    null::varchar as Type,
    case when number % 3 = 0 then 'Outbound' end as CallType,
    'true' as IsClosed,
    'false' as IsRecurrence,
    strftime(moment, '%Y-%m-%d') as ActivityDate,
    strftime(moment, '%Y-%m-%dT%H:%M:%S.000Z') as CompletedDateTime,
    case when number % 3 = 0 then (number % 1800)::varchar end as CallDurationInSeconds,
    strftime(moment, '%Y-%m-%dT%H:%M:%S.000Z') as CreatedDate,
    'false' as IsDeleted,
    strftime(moment, '%Y-%m-%dT%H:%M:%S.000Z') as SystemModstamp
from (
    select range as number, timestamp '2023-01-01' + to_seconds((range * 97)::bigint) as moment from range({rows})
)
"""


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        csv = folder / "Task.csv"
        duckdb.execute(f"copy ({TASKS.format(rows=rows)}) to '{csv}' (header)")
        here, there = multiprocessing.Pipe()
        server = multiprocessing.get_context("spawn").Process(target=_serve, args=(csv, there), daemon=True)
        server.start()
        url, certificate, client_id, secret = here.recv()
        baselines, loads = [], []
        for attempt in range(3):
            baselines.append(_timed_baseline(csv, folder / f"{attempt}.parquet"))
            environment = {
                **os.environ,
                "SIGHTLINE_HOME": str(folder / f"home-{attempt}"),
                "SIGHTLINE_SALESFORCE_URL": url,
                "SIGHTLINE_SALESFORCE_CLIENT_ID": client_id,
                "SIGHTLINE_SALESFORCE_CLIENT_SECRET": secret,
                "REQUESTS_CA_BUNDLE": certificate,
            }
            told = subprocess.run(
                [sys.executable, __file__, "--load"], env=environment, capture_output=True, text=True, check=True
            )
            loads.append(json.loads(told.stdout.splitlines()[-1]))
            assert loads[-1]["accepted"] == rows, loads[-1]
        here.send("done")
        server.join(10)
        alone, load = min(baselines), min(loads, key=lambda one: one["seconds"])
        print(f"DuckDB alone, CSV to Parquet: {alone:.2f} s, {rows / alone:,.0f} rows a second")
        print(
            f"Bulk API to the raw zone:     {load['seconds']:.2f} s, {rows / load['seconds']:,.0f} rows a second "
            f"(pulled in {load['pulled']:.2f} s)"
        )
        print(
            f"Rate of the load to DuckDB's: {alone / load['seconds']:.2f}; at most {load['mebibytes']:,} MiB of memory"
        )


def _serve(csv: Path, there: Connection) -> None:
    from orchestration.ingest.salesforce import PAGE_ROWS
    from tests.servers.salesforce import CLIENT_ID, CLIENT_SECRET, SalesforceServer

    table = duckdb.sql(f"from read_csv('{csv}', all_varchar = true)").to_arrow_table()
    with SalesforceServer({"Task": table}, polls=0) as organisation:
        # What the other side needs to write its answer is not what is measured.
        organisation.render("Task", PAGE_ROWS)
        there.send((organisation.url, str(organisation.certificate), CLIENT_ID, CLIENT_SECRET))
        there.recv()


def _timed_baseline(csv: Path, parquet: Path) -> float:
    started = time.perf_counter()
    duckdb.connect().execute(f"copy (from read_csv('{csv}', all_varchar = true)) to '{parquet}' (format parquet)")
    return time.perf_counter() - started


def load() -> None:
    """Pulls, lands and accepts the tasks, in a process of its own whose memory is measured."""
    from dataclasses import replace

    from orchestration.ingest import landing, salesforce, syncing
    from orchestration.ingest.contract import load_source
    from orchestration.settings import load_settings

    assert salesforce.PAGE_ROWS  # Loaded now, as DuckDB is before its own time begins.
    settings = load_settings(sources="salesforce")
    source = load_source("salesforce")
    tasks = replace(source, tables=(source.table("Task"),))
    syncing.load_source = landing.load_source = lambda name: tasks  # type: ignore[assignment]
    started = time.perf_counter()
    directory = syncing.sync(settings, "salesforce")
    pulled = time.perf_counter() - started
    batch = landing.land(settings, "salesforce", directory)
    landing.accept(settings, "salesforce")
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    assert batch is not None
    print(
        json.dumps(
            {"seconds": seconds, "pulled": pulled, "mebibytes": peak, "accepted": sum(t.accepted for t in batch.tables)}
        )
    )


if __name__ == "__main__":
    load() if sys.argv[1:] == ["--load"] else main()
