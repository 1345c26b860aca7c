"""Writes the tables of docs/metrics.md from what dbt read of the metrics: `python docs/metrics.py MANIFEST PAGE`."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any


def with_tables(page: str, semantic_manifest: dict[str, Any]) -> str:
    """The page with every metric's meaning, unit, column and group-bys, by table and name, and how many there are."""
    metrics, inputs, same = [], [], 0
    for metric in semantic_manifest["metrics"]:
        meta = metric["config"]["meta"]
        row = [f"`{metric['name']}`", metric["description"], meta["unit"]]
        if "agrees" not in meta:
            inputs.append(row)
            continue
        names = dict.fromkeys(f"`{name}`" for line in meta["agrees"] for name in line["by"].values())
        column = f"{meta['table']}.{meta['column']}"
        metrics.append((meta["table"], [*row, f"`{column}`", ", ".join(names) or "all together"]))
        same += metric["name"] == meta["column"]
    page = re.sub(r"^\d+ metrics ", f"{len(metrics)} metrics ", page, count=1, flags=re.M)
    page = re.sub(r"^\d+ bear ", f"{same} bear ", page, count=1, flags=re.M)
    for head, rows in (("by", [row for _, row in sorted(metrics)]), ("unit", sorted(inputs))):
        table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
        page = re.sub(
            rf"^(\| metric \| .* \| {head} \|\n\|[-|]+\|\n)(?:\|.*\n)*",
            lambda found, table=table: found[1] + table,  # type: ignore[misc]
            page,
            flags=re.M,
        )
    return page


if __name__ == "__main__":
    manifest, target = Path(sys.argv[1]), Path(sys.argv[2])
    page = target.read_text(encoding="utf-8")
    target.write_text(with_tables(page, json.loads(manifest.read_text(encoding="utf-8"))), encoding="utf-8")
