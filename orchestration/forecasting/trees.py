"""Boosted trees as plain numbers: written as JSON, read and evaluated without the library that grew them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Trees:
    """A sum of trees that gives log odds. Nodes of all trees stand in one array each; a leaf is its own child.

    Attributes:
        start: log odds before the first tree.
        roots: the first node of each tree.
        column, threshold: a row goes to `left` when its value is at most the threshold, else to `right`.
        missing_left: where a row goes whose value is not known.
        value: what a leaf adds.
        depth: steps after which every row stands on a leaf.
        compiled: the same sum by the library that grew them, while it is at hand; not written down.
    """

    start: float
    roots: Ints
    column: Ints
    threshold: Floats
    left: Ints
    right: Ints
    missing_left: npt.NDArray[np.bool_]
    value: Floats
    depth: int
    compiled: Callable[[Floats], Floats] | None = field(default=None, compare=False)

    def log_odds(self, matrix: Floats) -> Floats:
        if self.compiled is not None and len(matrix):
            return self.compiled(matrix)
        total = np.full(len(matrix), self.start)
        rows = np.arange(len(matrix))
        for root in self.roots:
            node = np.full(len(matrix), root)
            for _ in range(self.depth):
                seen = matrix[rows, self.column[node]]
                goes_left = np.where(np.isnan(seen), self.missing_left[node], seen <= self.threshold[node])
                node = np.where(goes_left, self.left[node], self.right[node])
            total += self.value[node]
        return total

    def chance(self, matrix: Floats) -> Floats:
        return logistic(self.log_odds(matrix))

    def to_json(self) -> dict[str, Any]:
        return {
            "start": self.start,
            "depth": self.depth,
            **{name: getattr(self, name).tolist() for name in ARRAYS},
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Trees:
        arrays: dict[str, Any] = {name: np.array(content[name], dtype=dtype) for name, dtype in ARRAYS.items()}
        return cls(start=content["start"], depth=content["depth"], **arrays)

    @classmethod
    def constant(cls, chance: float) -> Trees:
        """No tree at all: the same chance for every row."""
        none: dict[str, Any] = {name: np.zeros(0, dtype=dtype) for name, dtype in ARRAYS.items()}
        return cls(start=float(log_odds_of(np.array([chance]))[0]), depth=0, **none)


ARRAYS: dict[str, type] = {
    "roots": np.int64,
    "column": np.int64,
    "threshold": np.float64,
    "left": np.int64,
    "right": np.int64,
    "missing_left": np.bool_,
    "value": np.float64,
}


def grow(matrix: Floats, outcome: npt.NDArray[np.bool_], rounds: int, rate: float) -> Trees:
    """Boosted trees for the chance of `outcome`, by scikit-learn's histogram gradient boosting.

    A column without a single value splits nothing; the library takes none such, so it is given a constant.

    Args:
        rounds: trees; each mends the share `rate` of what those before have left.

    Raises:
        ValueError: the trees as read here do not give what the library gives: it has changed what it keeps.
    """
    if outcome.all() or not outcome.any():
        return Trees.constant((outcome.sum() + 1) / (len(outcome) + 2))
    from sklearn.ensemble import HistGradientBoostingClassifier

    grown = HistGradientBoostingClassifier(
        max_iter=rounds,
        learning_rate=rate,
        max_leaf_nodes=12,
        min_samples_leaf=40,
        l2_regularization=5.0,
        max_bins=63,
        early_stopping=False,
        random_state=0,
    ).fit(np.where(np.isnan(matrix).all(axis=0), 0.0, matrix), outcome)
    trees = [tree.nodes for (tree,) in grown._predictors]
    sizes = np.array([len(nodes) for nodes in trees])
    roots = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    nodes = np.concatenate(trees)
    offset = np.repeat(roots, sizes)
    own = np.arange(len(nodes))
    is_leaf = nodes["is_leaf"].astype(bool)
    read = Trees(
        start=float(grown._baseline_prediction.ravel()[0]),
        roots=roots,
        column=np.where(is_leaf, 0, nodes["feature_idx"]).astype(np.int64),
        threshold=np.where(is_leaf, 0.0, nodes["num_threshold"]),
        left=np.where(is_leaf, own, nodes["left"] + offset).astype(np.int64),
        right=np.where(is_leaf, own, nodes["right"] + offset).astype(np.int64),
        missing_left=nodes["missing_go_to_left"].astype(bool),
        value=np.where(is_leaf, nodes["value"], 0.0),
        depth=int(nodes["depth"].max()),
    )
    sample = matrix[:: max(1, len(matrix) // 200)]
    # To the bit: a chance is the same whether it is told today or read from what was kept.
    if not np.array_equal(read.log_odds(sample), grown.decision_function(sample)):
        raise ValueError(
            "scikit-learn keeps its trees in another way than orchestration/forecasting/trees.py reads them."
        )
    return replace(read, compiled=grown.decision_function)


def logistic(x: Floats) -> Floats:
    return 1.0 / (1.0 + np.exp(-x))


def log_odds_of(chance: Floats) -> Floats:
    held = np.clip(chance, 1e-4, 1 - 1e-4)
    return np.log(held / (1 - held))
