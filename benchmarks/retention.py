"""Time and memory of the retention tables over many subscriptions.

    .venv/bin/python benchmarks/retention.py [--memory LIMIT] [ROWS …]

Gives a small demo company so many subscription rows (eight terms a customer over eight years, four currencies), runs
it, and then makes the models of the schema `retention`, and those they alone stand on, once more in a process of its
own in which DuckDB may take LIMIT (4GB where nothing is said) and writes the rest to disk. Prints rows, customer
months, seconds, and the most memory the process held.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb

TERMS = 8
COMPANY = """
import sys
from pathlib import Path
from orchestration.demo.company import write_demo
write_demo(Path(sys.argv[1]), scale=0.1)
"""
CHILD = """
import json, resource, sys, time
import duckdb
connection = duckdb.connect(sys.argv[1])
connection.execute("set TimeZone = 'UTC'")
connection.execute(f"set memory_limit = '{sys.argv[2]}'")
connection.execute("set threads = 2")
connection.execute("set enable_progress_bar = false")
began = time.perf_counter()
for name, sql in json.load(sys.stdin):
    connection.execute(f"create or replace table {name} as {sql}")
seconds = time.perf_counter() - began
months = connection.execute("select count(*) from intermediate.int_arr_months").fetchall()[0][0]
print(months, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def write_company(directory: Path, rows: int) -> None:
    """A small demo company, billed for `rows` subscriptions."""
    subprocess.run([sys.executable, "-c", COMPANY, str(directory)], check=True)
    finance = directory / "finance"
    for name in ("customers", "subscriptions"):
        (finance / f"{name}.csv").unlink()
    customers = max(rows // TERMS, 1)
    duckdb.execute(
        f"""
        copy (
            select 'C' || number as customer_id, null::varchar as crm_account_id, 'Customer ' || number as name
            from range({customers}) as every (number)
        ) to '{finance / "customers.parquet"}' (format parquet)
        """
    )
    duckdb.execute(
        f"""
        copy (
            select
                'S' || number as subscription_id,
                'C' || customer as customer_id,
                'P0' || 1 + (customer + term) // 3 % 6 as product_id,
                begin as start_date,
                (begin + interval 12 month)::date as end_date,
                round(1000 + hash(customer) % 9000 * (1 + 0.04 * term), 2) as arr,
                ['USD', 'EUR', 'GBP', 'SGD'][1 + customer % 4] as currency,
                case term % 3 when 0 then 'renewal' when 1 then 'price_change' else 'expansion' end as change_reason
            from (
                select
                    number,
                    number // {TERMS} as customer,
                    number % {TERMS} as term,
                    (date '2018-01-01' + to_months((customer % 24 + 12 * term)::int))::date as begin
                from range({rows}) as every (number)
            )
            -- In one year of thirty a customer is not there.
            where hash(number) % 30 != 0
        ) to '{finance / "subscriptions.parquet"}' (format parquet)
        """
    )


def models(home: Path) -> list[tuple[str, str]]:
    """Name and SQL of the retention tables, and of what only they stand on, in the order in which they are made."""
    nodes = json.loads((home / "dbt" / "manifest.json").read_text(encoding="utf-8"))["nodes"]
    compiled = home / "dbt" / "target" / "compiled" / "sightline" / "models"
    own = (
        "int_revenue_versions",
        "int_arr_rows",
        "int_arr_months",
        "int_arr_units",
        "int_arr_cohorts",
        "int_renewal_events",
    )
    found: dict[str, tuple[str, str]] = {}

    def add(name: str) -> None:
        node = nodes.get(name)
        if node is None or name in found or not (node["schema"] == "retention" or node["name"] in own):
            return
        for parent in node["depends_on"]["nodes"]:
            add(parent)
        found[name] = (f"{node['schema']}.{node['alias']}", (compiled / node["path"]).read_text(encoding="utf-8"))

    for name, node in nodes.items():
        if node["resource_type"] == "model" and node["schema"] == "retention":
            add(name)
    return list(found.values())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--memory", default="4GB")
    told = parser.parse_args()
    print(f"{'rows':>10} {'customer months':>16} {'seconds':>9} {'MiB':>6}   DuckDB's limit: {told.memory}")
    for rows in told.rows:
        with tempfile.TemporaryDirectory() as folder:
            extract, home = Path(folder) / "extract", Path(folder) / "home"
            write_company(extract, rows)
            ran = subprocess.run(
                [sys.executable, "-m", "orchestration.cli", "run", "--extract", str(extract)],
                env={**os.environ, "SIGHTLINE_HOME": str(home)},
                capture_output=True,
                text=True,
                timeout=3600,
            )
            if ran.returncode:
                sys.exit(ran.stdout + ran.stderr)
            done = subprocess.run(
                [sys.executable, "-c", CHILD, str(home / "warehouse" / "sightline.duckdb"), told.memory],
                input=json.dumps(models(home)),
                capture_output=True,
                text=True,
                timeout=3600,
            )
            if done.returncode:
                sys.exit(done.stderr)
        months, seconds, memory = (float(word) for word in done.stdout.split())
        print(f"{rows:10,d} {months:16,.0f} {seconds:9.1f} {memory:6.0f}", flush=True)


if __name__ == "__main__":
    main()
