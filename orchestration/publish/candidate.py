"""From the warehouse to a candidate: the files a release consists of, not yet visible to anybody."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import duckdb

from orchestration.ingest.rules import literal
from orchestration.settings import Settings

# Most BI drivers still carry a DuckDB 1.x: it reads this storage version, and refuses that of 2.0.
STORAGE_VERSION = "v1.2.0"


@dataclass(frozen=True)
class Build:
    """What the SQL was run for, as written beside the warehouse when the first part of dbt has finished.

    Attributes:
        delivered: of several sources, the entities that those which speak the contract have really delivered.
    """

    as_of_date: str
    sources: list[str]
    target: str
    reporting_currency: str
    extracted_at: str
    delivered: dict[str, list[str]] = field(default_factory=dict)


def write_build(settings: Settings, build: Build) -> None:
    settings.warehouse.parent.mkdir(parents=True, exist_ok=True)
    (settings.warehouse.parent / "build.json").write_text(json.dumps(asdict(build)), encoding="utf-8")


def read_build(settings: Settings) -> Build:
    return Build(**json.loads((settings.warehouse.parent / "build.json").read_text(encoding="utf-8")))


@dataclass(frozen=True)
class Mart:
    """One table of the published contract, as dbt's manifest describes it.

    Attributes:
        readers: who may read which of its rows, by docs/pages-access.md.
        is_about_people: its rows judge persons.
    """

    schema: str
    name: str
    model: str
    description: str
    columns: dict[str, dict[str, Any]]
    readers: str | dict[str, Any]
    is_about_people: bool

    @property
    def label(self) -> str:
        return f"{self.schema}.{self.name}"


def marts(manifest: Path) -> list[Mart]:
    """Every mart, in the order of schema and name."""
    nodes = _content(manifest)["nodes"].values()
    found = [
        Mart(
            node["schema"],
            node["alias"],
            node["name"],
            node["description"],
            node["columns"],
            node["config"]["meta"]["readers"],
            node["config"]["meta"].get("people", False),
        )
        for node in nodes
        if node["resource_type"] == "model" and node["path"].startswith("marts/")
    ]
    return sorted(found, key=lambda mart: mart.label)


def keys(manifest: Path) -> dict[str, list[str]]:
    """The columns no two rows of a mart share, by its label: what the test `unique_key` of its yml names."""
    nodes = _content(manifest)["nodes"]
    found = {}
    for node in nodes.values():
        test = node.get("test_metadata") or {}
        mart = nodes.get(node.get("attached_node")) if test.get("name") == "unique_key" else None
        if mart and mart["path"].startswith("marts/"):
            found[f"{mart['schema']}.{mart['alias']}"] = list(test["kwargs"]["columns"])
    return dict(sorted(found.items()))


def lineage(manifest: Path) -> dict[str, dict[str, list[str]]]:
    """What each mart, by its label, is made from, as dbt's manifest says.

    Returns:
        `models` it is built from directly, by label or name; `sources`, all tables of the sources upstream,
        `<source>.<table>`; `policies`, all seeds upstream; `used_by`, the marts that are built from it directly.
    """
    content = _content(manifest)
    nodes, parents, children = {**content["nodes"], **content["sources"]}, content["parent_map"], content["child_map"]

    def is_mart(key: str) -> bool:
        return key.startswith("model.") and nodes[key]["path"].startswith("marts/")

    def label(key: str) -> str:
        node = nodes[key]
        if key.startswith("source."):
            return f"{node['source_name']}.{node['name']}"
        return f"{node['schema']}.{node['alias']}" if is_mart(key) else str(node["name"])

    def upstream(key: str) -> set[str]:
        found: set[str] = set()
        ahead = [key]
        while ahead:
            new = [parent for parent in parents.get(ahead.pop(), []) if parent not in found]
            found.update(new)
            ahead += new
        return found

    told: dict[str, dict[str, list[str]]] = {}
    for key in filter(is_mart, content["nodes"]):
        above = upstream(key)
        told[label(key)] = {
            "models": sorted(label(parent) for parent in parents[key] if parent.startswith("model.")),
            "sources": sorted(label(parent) for parent in above if parent.startswith("source.")),
            "policies": sorted(label(parent) for parent in above if parent.startswith("seed.")),
            "used_by": sorted(label(child) for child in children[key] if child in nodes and is_mart(child)),
        }
    return told


def candidate_folder(settings: Settings) -> Path:
    return settings.published / ".candidate"


def write_candidate(settings: Settings) -> dict[str, int]:
    """Writes `sightline.duckdb`, one Parquet file a table, and the outcome model; returns rows per table.

    Tables are written in the order of their keys, so that the same answer is the same bytes of Parquet.
    """
    folder = candidate_folder(settings)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'")
    target = read_build(settings).target
    if target == "duckdb":
        connection.execute(f"attach {literal(str(settings.warehouse))} as warehouse (read_only)")
    database = literal(str(folder / "sightline.duckdb"))
    connection.execute(f"attach {database} as release (storage_version '{STORAGE_VERSION}')")
    found, unique = marts(settings.manifest), keys(settings.manifest)
    for schema in sorted({mart.schema for mart in found}):
        connection.execute(f"create schema release.{schema}")
        (folder / "parquet" / schema).mkdir(parents=True)

    def write(mart: Mart) -> int:
        columns = ", ".join(
            f'cast("{name}" as {column["data_type"]}) as "{name}"' for name, column in mart.columns.items()
        )
        built = (
            f"warehouse.{mart.label}"
            if target == "duckdb"
            else f"read_parquet({literal(str(_spark_files(settings, mart)))})"
        )
        table = f"release.{mart.label}"
        file = folder / "parquet" / mart.schema / f"{mart.name}.parquet"
        with connection.cursor() as cursor:
            cursor.execute("set TimeZone = 'UTC'")
            order = ", ".join(f'"{name}"' for name in unique[mart.label])
            cursor.execute(f"create table {table} as select {columns} from {built} order by {order}")
            cursor.execute(f"comment on table {table} is {literal(mart.description)}")
            for name, column in mart.columns.items():
                cursor.execute(f'comment on column {table}."{name}" is {literal(column["description"])}')
            cursor.execute(f"copy {table} to {literal(str(file))} (format parquet, compression zstd)")
            return cursor.execute(f"select count(*) from {table}").fetchone()[0]  # type: ignore[index]

    # A sorted table is written by one thread: two tables at a time keep two cores at work.
    with ThreadPoolExecutor(2) as pool:
        counts = dict(zip([mart.label for mart in found], pool.map(write, found), strict=True))
    connection.execute("detach release")
    connection.close()
    shutil.copy(settings.predictions / "model.json", folder / "model.json")
    return counts


def previews(settings: Settings, rows: int = 5) -> Iterator[tuple[Mart, str]]:
    """Every mart of the candidate with its first rows as a Markdown table."""
    database = candidate_folder(settings) / "sightline.duckdb"
    with duckdb.connect(str(database), read_only=True) as connection:
        for mart in marts(settings.manifest):
            found = connection.execute(f"select * from {mart.label} limit {rows}").fetchall()
            head = f"| {' | '.join(mart.columns)} |\n|{'---|' * len(mart.columns)}\n"
            cells = (" | ".join("" if v is None else str(v).replace("|", "/") for v in row) for row in found)
            yield mart, head + "\n".join(f"| {line} |" for line in cells)


def _content(manifest: Path) -> dict[str, Any]:
    """What dbt's manifest says: some megabytes of text, read once a process for as long as the file is the same."""
    return _read(manifest, manifest.stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _read(manifest: Path, _changed: int) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(manifest.read_text(encoding="utf-8"))
    return content


def _spark_files(settings: Settings, mart: Mart) -> Path:
    return settings.spark_warehouse / f"{mart.schema}.db" / mart.name / "*.parquet"


def utc_now() -> datetime:
    return datetime.now(UTC)
