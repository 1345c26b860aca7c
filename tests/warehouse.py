"""A warehouse built once by a run; its models are made again, for other files or days, by the SQL dbt compiled."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import duckdb

from orchestration.forecasting.predicting import predict
from orchestration.ingest.landing import EMPTY_BATCH, accept, land
from orchestration.publish.candidate import read_build
from orchestration.settings import Settings
from orchestration.warehouse.tables import READS_OF_PREDICTIONS
from tests.conftest import Run

PREDICTIONS = "source.sightline.predictions."


class Warehouse:
    """Rebuilds some marts, and what they stand on, in about a second instead of a run's twenty.

    Args:
        run: that was published; its warehouse is copied, and stays as it is.
        home: of the copy.
        tables: the marts wanted, `schema.table`.
        with_extracts: what the run let in is there too; else nothing is, until `load`.
    """

    def __init__(self, run: Run, home: Path, tables: Sequence[str], *, with_extracts: bool = False) -> None:
        self.settings = Settings(home=home, _env_file=None)  # type: ignore[call-arg]
        self.built = read_build(Settings(home=run.home, _env_file=None))  # type: ignore[call-arg]
        self.compiled_for = self.built.as_of_date
        shutil.copytree(run.home / "warehouse", home / "warehouse")
        # Models that were trained already need not be again; a company of four deals has none.
        kept = Settings(home=run.home, _env_file=None).kept_models  # type: ignore[call-arg]
        if kept.exists():
            shutil.copytree(kept, self.settings.kept_models)
        for contract in (run.home / "raw").glob("*/*" if with_extracts else f"*/{EMPTY_BATCH}"):
            shutil.copytree(contract, home / contract.relative_to(run.home))
        nodes = json.loads((run.home / "dbt" / "manifest.json").read_text())["nodes"]
        wanted: dict[str, dict[str, Any]] = {}
        foretold: set[str] = set()
        marts = {f"{node['schema']}.{node['alias']}": name for name, node in nodes.items() if "alias" in node}

        def add(name: str) -> None:
            node = nodes.get(name)
            if node is None or node["resource_type"] != "model" or name in wanted:
                return
            for parent in node["depends_on"]["nodes"]:
                if parent.startswith(PREDICTIONS):
                    for schema, table in READS_OF_PREDICTIONS:
                        add(marts[f"{schema}.{table}"])
                add(parent)
                if parent in foretold or parent.startswith(PREDICTIONS):
                    foretold.add(name)
            wanted[name] = node

        for table in tables:
            add(marts[table])
        compiled = run.home / "dbt" / "target" / "compiled" / "sightline" / "models"
        self.models = [
            (
                f"{node['schema']}.{node['alias']}",
                "view" if node["config"]["materialized"] == "view" else "table",
                (compiled / node["path"]).read_text().replace(str(run.home), str(home)),
            )
            for node in wanted.values()
            if node["path"].split("/")[0] != "staging" or node["path"].split("/")[1] in ("extract", "predictions")
        ]
        self.foretold = {f"{wanted[name]['schema']}.{wanted[name]['alias']}" for name in foretold if name in wanted}
        assert len(self.models) > len(tables)

    @property
    def database(self) -> Path:
        return self.settings.warehouse

    def load(self, directories: Sequence[Path]) -> None:
        """Empties the raw zone and lets these extracts in, one after the other."""
        for folder in (self.settings.raw / "extract").iterdir():
            if folder.name != EMPTY_BATCH:
                shutil.rmtree(folder)
        self.load_more(directories)

    def load_more(self, directories: Sequence[Path]) -> None:
        """Lets further extracts in."""
        for directory in directories:
            land(self.settings, "extract", directory)
            accept(self.settings, "extract")

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of what was made."""
        with duckdb.connect(str(self.database), read_only=True) as connection:
            return connection.execute(sql).fetchall()

    def build(self, as_of: date, *, predict_again: bool = True) -> None:
        """Makes the models from what is in the raw zone, told for a day.

        Args:
            predict_again: False keeps what the outcome model said last.
        """
        self._make(as_of, [model for model in self.models if model[0] not in self.foretold])
        if self.foretold:
            if predict_again:
                predict(self.settings, replace(self.built, as_of_date=as_of.isoformat()))
            self._make(as_of, [model for model in self.models if model[0] in self.foretold])

    def _make(self, as_of: date, models: list[tuple[str, str, str]]) -> None:
        then, now = f"cast('{self.compiled_for}' as date)", f"cast('{as_of}' as date)"
        with duckdb.connect(str(self.database)) as connection:
            connection.execute("set TimeZone = 'UTC'")
            for name, kind, sql in models:
                connection.execute(f"create or replace {kind} {name} as {sql.replace(then, now)}")


def told_by_hand(run: Run, home: Path, tables: Sequence[str], extract: Path, as_of: date) -> Warehouse:
    """A small company's marts, told for a day: its one extract instead of that of the run."""
    warehouse = Warehouse(run, home, tables)
    warehouse.load([extract])
    warehouse.build(as_of)
    return warehouse
