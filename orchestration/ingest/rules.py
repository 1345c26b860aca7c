"""What a landed value must be, as SQL over text columns.

A rule is a condition that is true for a bad value. The landing gate's rows are judged by these in one scan; what they
say becomes the reason a row is in quarantine.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass

from orchestration.ingest.contract import Column, Source, Table
from orchestration.settings import SEEDS

NUMBER = "[+-]?[0-9]{1,14}([.][0-9]+)?"
# A date may carry midnight: spreadsheets and data frames write it so.
DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}([T ]00:00:00([.]0+)?)?"
TIMESTAMP = (
    "[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,9})?)?(Z|[+-][0-9]{2}(:?[0-9]{2})?)?)?"
)
BOOLEANS = ("true", "false", "t", "f", "yes", "no", "y", "n", "1", "0")


@dataclass(frozen=True)
class Rule:
    """`bad` is SQL that is true where the value of `column` breaks the rule."""

    column: str
    bad: str
    reason: str
    what_to_do: str


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def rules_for(source: Source, table: Table) -> list[Rule]:
    """Every rule the contract states for a table."""
    return [rule for column in table.columns for rule in _column_rules(source, table, column)]


def _column_rules(source: Source, table: Table, column: Column) -> list[Rule]:
    name = f'"{column.name}"'
    rules = []

    def add(bad: str, reason: str, what_to_do: str) -> None:
        # An empty value breaks no rule but that it must be there.
        rules.append(Rule(column.name, f"({name} is not null and {bad})", reason, what_to_do))

    if column.is_key or column.is_required:
        rules.append(
            Rule(
                column.name,
                f"{name} is null",
                "is empty but must not be",
                "fill it in at the source, or leave the row out",
            )
        )
    if column.data_type == "date":
        add(
            f"not (regexp_full_match({name}, '{DATE}') and coalesce(year(try_cast(substr({name}, 1, 10) as date)), 0) "
            "between 1900 and 2200)",
            "is not a date",
            "write it as YYYY-MM-DD, and leave it empty when it is not known",
        )
    elif column.data_type == "timestamp":
        add(
            f"not (regexp_full_match({name}, '{TIMESTAMP}') and coalesce(year(try_cast({name} as timestamp)), 0) "
            "between 1900 and 2200)",
            "is not a point in time",
            "write it as YYYY-MM-DDTHH:MM:SSZ, and leave it empty when it is not known",
        )
    elif column.data_type in ("decimal", "rate"):
        add(
            f"not regexp_full_match({name}, '{NUMBER}')",
            "is not a number",
            "write it as 1234.50, without thousands separators and currency signs",
        )
    elif column.data_type == "int":
        add(
            f"not regexp_full_match({name}, '[+-]?[0-9]{{1,14}}([.]0+)?')",
            "is not a whole number",
            "write it as 1234, without thousands separators",
        )
    elif column.data_type == "share":
        add(
            f"not (regexp_full_match({name}, '{NUMBER}') and coalesce(try_cast({name} as double), -1) between 0 and 1)",
            "is not a share between 0 and 1",
            "write 45 percent as 0.45",
        )
    elif column.data_type == "bool":
        words = ", ".join(literal(word) for word in BOOLEANS)
        add(f"lower({name}) not in ({words})", "is neither true nor false", "write true or false")
    elif column.data_type == "currency":
        add(
            f"not regexp_full_match({name}, '[A-Z]{{3}}')",
            "is not a currency code",
            "write the three capital letters of ISO 4217, such as EUR",
        )
    allowed = _allowed_words(column)
    if allowed:
        words = ", ".join(literal(word) for word in [*allowed, *_aliases(source, table, column, allowed)])
        home = f"seeds/{column.policy}.csv" if column.policy else ", ".join(allowed)
        add(
            f"{name} not in ({words})",
            f"is not a known {column.name}",
            f"say in seeds/aliases.csv what it means, or add it to {home}"
            if column.policy
            else f"use one of {home}, or say in seeds/aliases.csv what it means",
        )
    if column.data_type == "text":
        add(f"contains({name}, chr(0))", "holds a NUL character", "remove it at the source")
    return rules


def _allowed_words(column: Column) -> tuple[str, ...]:
    if not column.policy:
        return column.one_of
    with (SEEDS / f"{column.policy}.csv").open(encoding="utf-8", newline="") as file:
        return tuple(row[0] for row in list(csv.reader(file))[1:] if row)


def _aliases(source: Source, table: Table, column: Column, allowed: tuple[str, ...]) -> list[str]:
    with (SEEDS / "aliases.csv").open(encoding="utf-8", newline="") as file:
        return [
            row["entered"]
            for row in csv.DictReader(file)
            if (row["source"], row["table_name"], row["column_name"]) == (source.name, table.name, column.name)
            and row["meaning"] in allowed
        ]
