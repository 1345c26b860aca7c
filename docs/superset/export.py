"""Writes an import for Apache Superset: a database, a dataset a table, charts, and one dashboard a schema.

    .venv/bin/python docs/superset/export.py sightline-superset.zip
    .venv/bin/python docs/superset/export.py sightline-superset.zip --database postgresql+psycopg2://reader@host/sales

Everything in it is read from the current release: tables, columns, and what they mean. The same release gives the same
bytes. Nothing is sent anywhere.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import duckdb
import yaml

from orchestration.publish.releases import release_manifest
from orchestration.settings import Settings, load_settings

FOLDER = Path(__file__).parent
ROWS_SHOWN = 100
WIDTH = 12  # Columns of Superset's grid.
FORMATS = {"percent": ".1%", "amount": ",.0f", "count": ",d"}
KINDS = {
    "line": ("echarts_timeseries_line", {}),
    "bar": ("echarts_timeseries_bar", {}),
    "stack": ("echarts_timeseries_bar", {"stack": "Stack"}),
    "heat": ("heatmap_v2", {"normalize_across": "heatmap", "linear_color_scheme": "superset_seq_1"}),
    "table": ("table", {}),
}
TESTS = {
    "==": "EQUALS",
    "!=": "NOT_EQUALS",
    "not in": "NOT_IN",
    "is true": "IS_TRUE",
    "is false": "IS_FALSE",
}

Table = dict[str, Any]


def read_tables(database: Path) -> list[Table]:
    """The tables of a release with the meaning of each column, in order."""
    with duckdb.connect(str(database), read_only=True) as connection:
        tables = connection.execute(
            "select schema_name, table_name, comment from duckdb_tables() where not internal order by 1, 2"
        ).fetchall()
        columns = connection.execute(
            "select schema_name, table_name, column_name, data_type, comment from duckdb_columns() "
            "where not internal order by 1, 2, column_index"
        ).fetchall()
    return [
        {
            "schema": schema,
            "name": name,
            "meaning": meaning,
            "columns": {
                column: (data_type, comment)
                for at, of, column, data_type, comment in columns
                if (at, of) == (schema, name)
            },
        }
        for schema, name, meaning in tables
    ]


class Export:
    """The files of one import, all derived from the release and the address of the database."""

    def __init__(self, tables: list[Table], charts: list[dict[str, Any]], database: str, name: str) -> None:
        self.name = name
        self.files: dict[str, dict[str, Any]] = {}
        self.tables = {f"{table['schema']}.{table['name']}": table for table in tables}
        self.metrics: dict[str, dict[str, dict[str, Any]]] = {label: {} for label in self.tables}
        self.files[f"databases/{_slug(name)}.yaml"] = {
            "database_name": name,
            "sqlalchemy_uri": database,
            "expose_in_sqllab": True,
            "allow_run_async": False,
            "allow_ctas": False,
            "allow_cvas": False,
            "allow_dml": False,
            "extra": {"allows_virtual_table_explore": True, **_engine_parameters(database)},
            "uuid": self._uuid("database"),
            "version": "1.0.0",
        }
        schemas: dict[str, list[list[str]]] = {}
        for chart in charts:
            uuid = self._chart(chart["title"], chart)
            at_top = schemas.setdefault(chart["table"].partition(".")[0], [[], []])[0]
            at_top.append(uuid)
        for label, table in self.tables.items():
            whole = {"table": label, "kind": "table", "columns": list(table["columns"])}
            schemas.setdefault(table["schema"], [[], []])[1].append(self._chart(label, whole))
        for label in self.tables:
            self._dataset(label)
        for schema, (at_top, below) in sorted(schemas.items()):
            self._dashboard(schema, at_top, below)

    def _uuid(self, *parts: str) -> str:
        return str(uuid5(NAMESPACE_URL, "/".join(("sightline", self.name, *parts))))

    def _metric(self, label: str, aggregate: str, column: str = "") -> str:
        """The name of a metric of the dataset, which is made when it is used first."""
        if aggregate == "count":
            metric = {
                "metric_name": "row_count",
                "verbose_name": "rows",
                "expression": "count(*)",
                "description": "Rows of the table.",
            }
        else:
            meaning = self.tables[label]["columns"][column][1]
            words = {"sum": "Sum over the rows of", "max": "Highest value among the rows of"}[aggregate]
            metric = {
                "metric_name": f"{aggregate}_{column}",
                "verbose_name": column.replace("_", " "),
                "expression": f'{aggregate}("{column}")',
                "description": f"{words} {column}: {meaning}",
            }
        name: str = metric["metric_name"]
        self.metrics[label][name] = metric
        return name

    def _dataset(self, label: str) -> None:
        table = self.tables[label]
        self._metric(label, "count")
        self.files[f"datasets/{_slug(self.name)}/{table['schema']}_{table['name']}.yaml"] = {
            "table_name": table["name"],
            "schema": table["schema"],
            "description": table["meaning"],
            "filter_select_enabled": True,
            "uuid": self._uuid("dataset", label),
            "metrics": [metric for _, metric in sorted(self.metrics[label].items())],
            "columns": [
                {
                    "column_name": column,
                    "type": data_type,
                    "description": meaning,
                    "is_dttm": data_type == "DATE" or data_type.startswith("TIMESTAMP"),
                    "groupby": True,
                    "filterable": True,
                    "is_active": True,
                }
                for column, (data_type, meaning) in table["columns"].items()
            ],
            "version": "1.0.0",
            "database_uuid": self._uuid("database"),
        }

    def _chart(self, title: str, chart: dict[str, Any]) -> str:
        label = chart["table"]
        table = self.tables[label]
        used = [*chart.get("columns", []), *(chart[key] for key in ("x", "by", "sort") if key in chart)]
        used += [test[0] for test in chart.get("where", [])] + [part[1] for part in chart.get("y", []) if part[1:]]
        unknown = [column for column in used if column not in table["columns"]]
        if unknown:
            raise SystemExit(f"charts.yml: {title}: {label} has no column {', '.join(unknown)}; correct the chart.")
        form, query = self._table(chart) if chart["kind"] == "table" else self._plot(label, chart)
        viz_type, more = KINDS[chart["kind"]]
        tests = [(test[0], test[1], test[2] if test[2:] else None) for test in chart.get("where", [])]
        form |= {
            "viz_type": viz_type,
            "adhoc_filters": [
                {
                    "clause": "WHERE",
                    "expressionType": "SIMPLE",
                    "subject": column,
                    "operator": test.upper(),
                    "operatorId": TESTS[test],
                    "comparator": value,
                }
                for column, test, value in tests
            ],
            **more,
        }
        query |= {
            "filters": [
                {"col": column, "op": test.upper(), **({"val": value} if value is not None else {})}
                for column, test, value in tests
            ],
            "extras": {},
        }
        uuid = self._uuid("chart", label, title)
        self.files[f"charts/{_slug(title)}_{uuid[:8]}.yaml"] = {
            "slice_name": title,
            "description": table["meaning"],
            "viz_type": viz_type,
            "params": form,
            "query_context": json.dumps(
                {
                    "datasource": {"id": 0, "type": "table"},
                    "force": False,
                    "queries": [query],
                    "form_data": form,
                    "result_format": "json",
                    "result_type": "full",
                },
                sort_keys=True,
            ),
            "uuid": uuid,
            "version": "1.0.0",
            "dataset_uuid": self._uuid("dataset", label),
        }
        return uuid

    def _table(self, chart: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        columns, sort = chart["columns"], chart.get("sort")
        form = {
            "query_mode": "raw",
            "all_columns": columns,
            "order_by_cols": [json.dumps([sort, True])] if sort else [],
            "row_limit": ROWS_SHOWN,
            "server_page_length": 10,
            "table_timestamp_format": "%Y-%m-%d",
        }
        orderby = [[sort, True]] if sort else []
        # Without the word "metrics" these are rows; with it, groups.
        return form, {"columns": columns, "orderby": orderby, "row_limit": ROWS_SHOWN}

    def _plot(self, label: str, chart: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        metrics = [self._metric(label, *part) for part in chart["y"]]
        by, form_format = chart.get("by"), FORMATS[chart["format"]]
        form: dict[str, Any] = {
            "x_axis": chart["x"],
            "groupby": [by] if by else [],
            "row_limit": 10_000,
            "y_axis_format": form_format,
            "x_axis_sort_asc": True,
            "x_axis_sort_series": "name",
            "x_axis_sort_series_ascending": True,
            "show_legend": True,
            "rich_tooltip": True,
            "truncateYAxis": False,
            "xAxisLabelRotation": 45,
        }
        if chart["kind"] == "heat":
            form |= {
                "metric": metrics[0],
                "groupby": by,
                "value_bounds": [0, 1],
                "sort_x_axis": "alpha_asc",
                "sort_y_axis": "alpha_asc",
            }
        else:
            form |= {"metrics": metrics}
        query = {
            "columns": [column for column in (chart["x"], by) if column],
            "metrics": metrics,
            "orderby": [],
            "row_limit": 10_000,
        }
        return form, query

    def _dashboard(self, schema: str, at_top: list[str], below: list[str]) -> None:
        """Two tabs: the charts, two in a row, and the tables, each over the whole width."""
        tabs = [("At a glance", at_top, 2, 50), ("Tables", below, 1, 60)]
        tabs = [tab for tab in tabs if tab[1]]
        position: dict[str, Any] = {
            "DASHBOARD_VERSION_KEY": "v2",
            "ROOT_ID": {"type": "ROOT", "id": "ROOT_ID", "children": ["TABS-0"]},
            "HEADER_ID": {"type": "HEADER", "id": "HEADER_ID", "meta": {"text": f"Sightline: {schema}"}},
            "TABS-0": {
                "type": "TABS",
                "id": "TABS-0",
                "children": [f"TAB-{number}" for number in range(len(tabs))],
                "parents": ["ROOT_ID"],
                "meta": {},
            },
        }
        titles = {file["uuid"]: file["slice_name"] for name, file in self.files.items() if name.startswith("charts/")}
        for number, (text, charts, beside, height) in enumerate(tabs):
            rows = [charts[first : first + beside] for first in range(0, len(charts), beside)]
            above = ["ROOT_ID", "TABS-0", f"TAB-{number}"]
            position[above[2]] = {
                "type": "TAB",
                "id": above[2],
                "children": [f"ROW-{number}-{row}" for row in range(len(rows))],
                "parents": above[:2],
                "meta": {"text": text},
            }
            for row, uuids in enumerate(rows):
                name = f"ROW-{number}-{row}"
                position[name] = {
                    "type": "ROW",
                    "id": name,
                    "children": [f"CHART-{uuid}" for uuid in uuids],
                    "parents": above,
                    "meta": {"background": "BACKGROUND_TRANSPARENT"},
                }
                for uuid in uuids:
                    position[f"CHART-{uuid}"] = {
                        "type": "CHART",
                        "id": f"CHART-{uuid}",
                        "children": [],
                        "parents": [*above, name],
                        "meta": {
                            "uuid": uuid,
                            # The id here: Superset puts its own in place of it.
                            "chartId": 1 + sorted(titles).index(uuid),
                            "sliceName": titles[uuid],
                            "width": WIDTH // len(uuids),
                            "height": height,
                        },
                    }
        self.files[f"dashboards/{_slug(schema)}.yaml"] = {
            "dashboard_title": f"Sightline: {schema}",
            "description": f"The tables of the schema {schema}, from the release that is read.",
            "slug": f"{_slug(self.name)}-{_slug(schema)}",
            "uuid": self._uuid("dashboard", schema),
            "position": position,
            "metadata": {"cross_filters_enabled": True, "refresh_frequency": 0},
            "published": True,
            "version": "1.0.0",
        }


def write_zip(path: Path, files: dict[str, dict[str, Any]], written_at: str) -> None:
    # Without a type, both the import of dashboards and that of assets take it.
    everything = {"metadata.yaml": {"version": "1.0.0", "timestamp": written_at}, **files}
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for name in sorted(everything):
            text = yaml.safe_dump(everything[name], sort_keys=False, allow_unicode=True, width=120)
            archive.writestr(ZipInfo(f"sightline/{name}"), text, ZIP_DEFLATED)


def release_uri(settings: Settings) -> str:
    """The release that is read, whichever it is at the moment of a query."""
    return f"duckdb:///{settings.published / 'current' / 'sightline.duckdb'}"


def _engine_parameters(database: str) -> dict[str, Any]:
    if not database.startswith("duckdb:"):
        return {}
    return {"engine_params": {"connect_args": {"read_only": True}}}


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes an import for Apache Superset from the current release.")
    parser.add_argument("zip", type=Path)
    parser.add_argument("--database", help="SQLAlchemy address, without a password; the DuckDB release unless given")
    parser.add_argument("--name", default="Sightline", help="What Superset calls the database, Sightline unless given")
    options = parser.parse_args()
    settings = load_settings()
    database = options.database or release_uri(settings)
    tables = read_tables(settings.published / "current" / "sightline.duckdb")
    charts = yaml.safe_load((FOLDER / "charts.yml").read_text(encoding="utf-8"))
    export = Export(tables, charts, database, options.name)
    write_zip(options.zip, export.files, release_manifest(settings, "current")["published_at"])
    counts = {
        kind: sum(file.startswith(f"{kind}/") for file in export.files) for kind in ("datasets", "charts", "dashboards")
    }
    print(f"{options.zip}: " + ", ".join(f"{count} {kind}" for kind, count in counts.items()) + f" on {database}")


if __name__ == "__main__":
    main()
