"""What a source promises to deliver, read from the dbt sources file in its staging folder.

`models/staging/extract/_extract__sources.yml` is the extract contract; every other file-based source states its own
files in the same form.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import yaml

from orchestration.settings import SEEDS, STAGING

DataType = Literal["text", "int", "decimal", "rate", "share", "date", "timestamp", "bool", "currency"]


PAGE_HEAD = """\
# The extract contract

What a CRM and a finance system must be able to say for every mart to work. One file an entity,
`<file>.csv` (UTF-8, with a header, RFC 4180), `<file>.csv.gz` or `<file>.parquet`, in one directory. Every file is
optional but the required ones; a file that is absent means "not known", never "zero". A column that is not listed here
is kept in the raw zone and in staging as `x_<name>`; where it looks like a listed one that is not there (`Amount`),
or a file like one of these (`contacts.CSV`, `activities.xlsx`), the run says so. The last line of a CSV
ends with a line break: one that does not is refused, because it may be cut off. White space around a value is removed
and an empty value is null.

An entity may also be several files: all that are in a folder of its name, `crm/activities/2026-01.csv`,
`crm/activities/2026-02.csv.gz` and so on, are one table, whatever they are called. A file and a folder of the same name
are not both read. A key stands in one of the files; the same row in two of them counts once.

The directory may be in a bucket of S3 or of what speaks like it: `s3://bucket/prefix`, with the same names below the
prefix. Access is what the usual variables say, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, for a store
of your own `AWS_ENDPOINT_URL`, for somebody who may list the bucket and get its objects; the extra is
`pip install -e '.[s3]' -c requirements.lock`. Only objects that changed are fetched, and nothing lands when one changes
meanwhile.

| type | how it is written |
|---|---|
| text | as it is |
| int | 1234 |
| decimal | 1234.50, without thousands separators; kept to four decimals |
| rate | 1.351735; kept to ten decimals |
| share | 0.45 for 45 percent |
| date | 2026-11-23 |
| timestamp | 2026-11-23T06:00:00Z; UTC when it has no offset |
| bool | true or false |
| currency | EUR (ISO 4217) |

`extract.json` beside the folders may say when the extract was made and whether it is full or holds changes only:
`{"extracted_at": "2026-11-23T06:00:00Z", "mode": "full"}`. Without it the extract is full and made now. In a full
extract a key that is gone is deleted, its history kept; in a changes extract only `is_deleted` says so. Load extracts
in the order they were made.

This page is made from `dbt_project/models/staging/extract/_extract__sources.yml`, which is also what staging casts by,
the landing gate checks by and the demo writes by.
"""


@dataclass(frozen=True)
class Column:
    """One contracted column: its type, and what a value must be beyond that.

    Attributes:
        is_mapped: the system has no standard field for it; seeds/source_fields.csv says which field fills it.
    """

    name: str
    data_type: DataType
    is_key: bool = False
    is_required: bool = False
    is_mapped: bool = False
    one_of: tuple[str, ...] = ()
    policy: str | None = None


@dataclass(frozen=True)
class Table:
    """One file of a source.

    Attributes:
        cursor: the field by which a connector asks for changes; without one it reads the table whole.
        deleted_by: the column that says a row is deleted; such a row lands as a deletion.
        fields: columns filled from fields of another name, and fields chosen beyond the contract, as
            seeds/source_fields.csv has them: field to column, `x_<field>` for a chosen one.
        marts: of an entity of the extract contract, the published tables that stand on it.
    """

    name: str
    file: str
    mode: Literal["current", "event"]
    is_required: bool
    event_time: str | None
    columns: tuple[Column, ...]
    cursor: str | None = None
    deleted_by: str | None = None
    fields: dict[str, str] = field(default_factory=dict, hash=False)
    marts: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns if column.is_key)


@dataclass(frozen=True)
class Source:
    """All files of a source.

    Attributes:
        dated_by: (table, column) whose newest value dates an export that carries no date of its own; None means such
            an export is dated by the clock.
        connector: the system it can be read from over the network; None means files only.
    """

    name: str
    tables: tuple[Table, ...]
    dated_by: tuple[str, str] | None = None
    connector: str | None = None
    fingerprint: str = field(default="", repr=False)

    def table(self, name: str) -> Table:
        return next(table for table in self.tables if table.name == name)


@cache
def load_source(name: str) -> Source:
    """The contract of one source.

    The fingerprint covers what the landing gate decides by, the contract and the policy words, so that a row put in
    quarantine yesterday is looked at again after the policy learnt its word.
    """
    path = STAGING / name / f"_{name}__sources.yml"
    text = path.read_text(encoding="utf-8")
    declared: dict[str, Any] = yaml.safe_load(text)["sources"][0]
    meta = declared.get("config", {}).get("meta", {})
    dated_by = meta.get("extracted_at")
    fields = _source_fields(name)
    tables = tuple(_table(entry, fields.get(entry["name"], {})) for entry in declared["tables"])
    digest = hashlib.sha256(text.encode())
    if fields:
        digest.update(repr(fields).encode())
    for seed in sorted({column.policy for table in tables for column in table.columns if column.policy} | {"aliases"}):
        digest.update((SEEDS / f"{seed}.csv").read_bytes())
    return Source(
        name=declared["name"],
        tables=tables,
        dated_by=(dated_by["table"], dated_by["column"]) if dated_by else None,
        connector=meta.get("connector"),
        fingerprint=digest.hexdigest()[:16],
    )


def describe_contract() -> str:
    """docs/extract-contract.md: the extract contract as a page for the person who writes the export."""
    declared = yaml.safe_load((STAGING / "extract" / "_extract__sources.yml").read_text(encoding="utf-8"))["sources"][0]
    lines = [PAGE_HEAD.rstrip(), ""]
    for entry in declared["tables"]:
        table = _table(entry)
        lines += [
            f"## {table.file}",
            "",
            f"{entry['description']} "
            + ("**Required.** " if table.is_required else "")
            + (
                "A key gone from a full extract stays."
                if table.mode == "event"
                else "A key gone from a full extract is deleted."
            )
            + (f" A first load is known at `{table.event_time}`." if table.event_time else ""),
            "",
            "| column | type | must be |",
            "|---|---|---|",
        ]
        references = {column["name"]: _reference(column) for column in entry["columns"]}
        for column in table.columns:
            rules = [
                "part of the key" if column.is_key else "",
                "never empty" if column.is_required else "",
                f"one of {', '.join(column.one_of)}" if column.one_of else "",
                f"a row of seeds/{column.policy}.csv" if column.policy else "",
                references[column.name],
            ]
            lines.append(f"| `{column.name}` | {column.data_type} | {'; '.join(filter(None, rules))} |")
        lines += ["", f"Without it these are empty or say less: {told_by_schema(table.marts)}.", ""]
    return "\n".join(lines[:-1]) + "\n"


def told_by_schema(marts: Iterable[str]) -> str:
    """Names of published tables as a person reads them: `funnel` win_rates, stage_visits; `people` talent."""
    schemas: dict[str, list[str]] = {}
    for mart in marts:
        schema, _, name = mart.partition(".")
        schemas.setdefault(schema, []).append(name)
    return "; ".join(f"{schema}: {', '.join(names)}" for schema, names in schemas.items())


@cache
def entities_of(source: str) -> dict[str, tuple[str, ...]]:
    """Which entities of the extract contract are staged from each table of a source."""
    found: dict[str, list[str]] = {table.name: [] for table in load_source(source).tables}
    for path in sorted((STAGING / source).glob(f"stg_{source}__*.sql")):
        for name in sorted(set(re.findall(rf"'{source}', '(\w+)'", path.read_text(encoding="utf-8"))) & set(found)):
            found[name].append(path.stem.removeprefix(f"stg_{source}__"))
    return {name: tuple(entities) for name, entities in found.items()}


def marts_without(source: str, table: str) -> list[str]:
    """The published tables that are empty, or say less, without a table of a source."""
    entities = {entity.name: entity for entity in load_source("extract").tables}
    named = [mart for entity in entities_of(source)[table] for mart in entities[entity].marts]
    return list(dict.fromkeys(named))


def _source_fields(source: str) -> dict[str, dict[str, str]]:
    """Per table, the fields seeds/source_fields.csv names for a source, and the column each becomes."""
    chosen: dict[str, dict[str, str]] = {}
    with (SEEDS / "source_fields.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["source"] == source:
                chosen.setdefault(row["table_name"], {})[row["field"]] = row["column_name"] or f"x_{row['field']}"
    return chosen


def _reference(column: dict[str, Any]) -> str:
    meta = column.get("config", {}).get("meta", {})
    if "references" not in meta:
        return ""
    return f"an id of {meta['references']}" + (f" where {meta['when']}" if "when" in meta else "")


def _table(entry: dict[str, Any], fields: dict[str, str] | None = None) -> Table:
    meta = entry["config"]["meta"]
    return Table(
        name=entry["name"],
        file=meta["file"],
        mode=meta["mode"],
        is_required=meta.get("required", False),
        event_time=meta.get("event_time"),
        columns=tuple(_column(column) for column in entry["columns"]),
        cursor=meta.get("cursor"),
        deleted_by=meta.get("deleted_by"),
        fields=fields or {},
        marts=tuple(meta.get("marts", ())),
    )


def _column(entry: dict[str, Any]) -> Column:
    meta = entry.get("config", {}).get("meta", {})
    return Column(
        name=entry["name"],
        data_type=entry["data_type"],
        is_key=meta.get("is") == "key",
        is_required=meta.get("is") == "required",
        is_mapped=meta.get("mapped", False),
        one_of=tuple(meta.get("one_of", ())),
        policy=meta.get("policy"),
    )
