"""What is wrong in every real export, put in on purpose and written down."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from orchestration.demo.frames import DAY, NONE, Frames, said, stack


class Dirt:
    """Soils tables in place and keeps the list of what it did."""

    def __init__(self, rng: np.random.Generator, until: int) -> None:
        self.rng, self.until = rng, until
        self.rows: list[pd.DataFrame] = []
        # Rows that stand in a file beside the one of the same key.
        self.extra: Frames = {}

    def note(self, kind: str, entity: str, ids: Any, pattern: str, days: Any) -> None:
        ids = np.asarray(ids)
        if not len(ids):
            return
        self.rows.append(
            pd.DataFrame(
                {
                    "known": np.asarray(days, dtype=np.int64),
                    "kind": said(kind, len(ids)),
                    "entity": said(entity, len(ids)),
                    "key": (np.char.mod(pattern, ids) if pattern else ids.astype(str)).astype(object),
                    "happened_on": np.asarray(days, dtype=np.int64),
                }
            )
        )

    def soil(self, tables: Frames, opportunity_base: int) -> None:
        """Doubles rows, delays and shuffles events, and adds rows that no system should have let in."""
        rng = self.rng
        changes = tables["opportunity_changes"]
        self._double("opportunity_changes", changes, "change_id", "H%08d")
        self._double(
            "activities", tables["activities"][tables["activities"]["is_completed"].to_numpy()], "activity_id", "V%09d"
        )

        late = np.sort(rng.choice(len(changes), max(1, len(changes) // 300), replace=False))
        known = changes["known"].to_numpy().copy()
        known[late] += rng.integers(2, 9, len(late))
        changes = changes.assign(known=known)
        ids = changes["change_id"].to_numpy()
        self.note("late_event", "opportunity_changes", ids[late], "H%08d", known[late])
        swapped = np.sort(rng.choice(len(changes) - 40, max(1, len(changes) // 300), replace=False))
        place = np.arange(len(changes), dtype=np.float64)
        place[swapped] += rng.integers(5, 40, len(swapped)) + 0.5
        self.note("out_of_order", "opportunity_changes", ids[swapped], "H%08d", known[swapped])
        changes = changes.iloc[np.argsort(place, kind="stable")]
        tables["opportunity_changes"] = changes.sort_values("known", kind="stable", ignore_index=True)

        activities = tables["activities"].copy()
        done = np.flatnonzero(activities["is_completed"].to_numpy() & (activities["opportunity_id"].to_numpy() != NONE))
        orphans = np.sort(rng.choice(done, max(2, len(done) // 5_000), replace=False))
        orphan_rows = activities.iloc[orphans].copy()
        orphan_rows["activity_id"] = activities["activity_id"].max() + 1 + np.arange(len(orphans))
        orphan_rows["opportunity_id"] = opportunity_base + 18_000 + np.arange(len(orphans))
        self.note("orphan_id", "activities", orphan_rows["activity_id"], "V%09d", orphan_rows["known"])
        tables["activities"] = stack([activities, orphan_rows]).sort_values("known", kind="stable", ignore_index=True)

    def _double(self, entity: str, frame: pd.DataFrame, key: str, pattern: str) -> None:
        chosen = np.sort(self.rng.choice(len(frame), max(2, len(frame) // 2_000), replace=False))
        rows = frame.iloc[chosen]
        rows = rows[rows["known"].to_numpy() <= self.until]
        self.extra[entity] = rows
        self.note("duplicate_row", entity, rows[key].to_numpy(), pattern, rows["known"].to_numpy())

    def bad_deals(self, opportunities: pd.DataFrame, opportunity_base: int) -> pd.DataFrame:
        """Deals that break the contract: each is one row that must end in quarantine."""
        rng = self.rng
        latest = opportunities[opportunities["closed_at"].to_numpy() != opportunities["created_at"].to_numpy()]
        latest = latest.drop_duplicates("opportunity_id", keep="last")
        frames = []
        number = opportunity_base + 19_000
        for kind, column, value in (
            ("unknown_stage", "stage", "Verbal OK"),
            ("wrong_currency", "currency", "EURO"),
            ("percent_as_0_100", "probability", 60.0),
        ):
            rows = latest.iloc[np.sort(rng.choice(len(latest), min(3, len(latest)), replace=False))].copy()
            rows["opportunity_id"] = number + np.arange(len(rows))
            number += len(rows)
            rows["known"] = np.maximum(rows["created_at"].to_numpy() // DAY, 0)
            rows[column] = said(value, len(rows)) if isinstance(value, str) else value
            self.note(kind, "opportunities", rows["opportunity_id"], "O%07d", rows["known"])
            frames.append(rows)
        return stack(frames)

    def frame(self) -> pd.DataFrame:
        return (
            stack(self.rows)
            if self.rows
            else pd.DataFrame({"known": [], "kind": [], "entity": [], "key": [], "happened_on": []})
        )
