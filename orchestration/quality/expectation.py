"""How an expectation is written down: a plain value that says why it exists and what to do when it fails."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from typing import Any, Literal

from orchestration.settings import SEEDS


@dataclass(frozen=True)
class Expectation:
    """One thing a gate expects of a relation.

    Attributes:
        name: snake_case, unique within its gate.
        relation: schema-qualified table the expectation reads.
        kind: name of a Great Expectations class.
        arguments: its arguments.
        sentence: what to say when it fails; for unexpected rows it is filled in from each row's columns.
        why: the reason it exists.
        what_to_do: what the reader does about it.
        severity: `critical` refuses, `warning` is only told.
    """

    name: str
    relation: str
    kind: str
    sentence: str
    why: str
    what_to_do: str
    arguments: dict[str, Any] = field(default_factory=dict)
    severity: Literal["critical", "warning"] = "critical"


def no_rows(
    name: str, relation: str, query: str, *, sentence: str, why: str, what_to_do: str, **more: Any
) -> Expectation:
    """Expects `query`, which reads `{batch}` for the relation, to find nothing."""
    return Expectation(
        name=name,
        relation=relation,
        kind="UnexpectedRowsExpectation",
        arguments={"unexpected_rows_query": query},
        sentence=sentence,
        why=why,
        what_to_do=what_to_do,
        **more,
    )


def gate_limits() -> dict[str, float]:
    """The limits sales operations set in seeds/gate_limits.csv."""
    with (SEEDS / "gate_limits.csv").open(encoding="utf-8", newline="") as file:
        return {row["limit_name"]: float(row["limit_value"]) for row in csv.DictReader(file)}
