"""Data: how fresh, what the gates said, what is missing or in quarantine, and what each table means."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import streamlit as st

from dashboards.filters import Chosen
from dashboards.parts import day, definition_link, escaped, figure, in_row, in_tabs, link, show_table
from dashboards.release import Release
from orchestration.settings import load_settings

FILTERS: tuple[str, ...] = ()
ROWS_SHOWN = 200
FINDINGS_SHOWN = 200


def coverage(release: Release) -> pd.DataFrame:
    """One row per entity of the contract: whether it is delivered, how much there is, and until when."""
    return release.rows(
        "select entity, is_delivered, row_count, first_event_on, last_event_on, unreadable_count, doubled_count, "
        "late_count, contradicting_count, opportunity_share, told_by_loads_since, note, marts "
        "from core.data_coverage order by is_delivered, entity"
    )


def batches(release: Release) -> pd.DataFrame:
    """One row per batch that was let in, newest first; landed = accepted + quarantined + superseded."""
    columns = ["source", "batch_id", "extracted_at", "landed", "accepted", "quarantined", "superseded", "deleted"]
    found = pd.DataFrame(release.manifest["batches"], columns=columns)
    found["extracted_at"] = pd.to_datetime(found["extracted_at"], utc=True)
    return found.sort_values(["extracted_at", "batch_id"], ascending=False, ignore_index=True)


def notes(release: Release) -> pd.DataFrame:
    """What the newest batch of each source said while it was read."""
    newest = {batch["source"]: batch for batch in release.manifest["batches"]}
    found = [(source, note) for source, batch in newest.items() for note in batch.get("notes", [])]
    return pd.DataFrame(found, columns=["source", "note"])


def tables(release: Release) -> pd.DataFrame:
    """One row per mart: how many rows the release has, and what a row is."""
    counts = release.manifest["rows"]
    return pd.DataFrame(
        {
            "table": release.tables,
            "rows": [counts[table] for table in release.tables],
            "meaning": [release.meaning(table).split(". ")[0] for table in release.tables],
            "open": [link("data", table=table) for table in release.tables],
        }
    )


def show(release: Release, chosen: Chosen) -> None:
    st.title("Data")
    table = st.selectbox(
        "Table",
        release.tables,
        index=None,
        key="table",
        bind="query-params",
        placeholder="What a table means, where it is from, and its rows",
    )
    if table:
        _one_table(release, table)
        return
    _freshness(release)
    parts = {"Gates": (_gates,), "Coverage": (_coverage,), "Quarantine": (_quarantine,), "Tables": (_tables,)}
    in_tabs("data_part", parts, release)


def _tables(release: Release) -> None:
    st.subheader("Tables")
    show_table(release, tables(release), "core.data_coverage", name="tables", links={"open": "open"})


def _one_table(release: Release, table: str) -> None:
    column = st.query_params.get("column")
    if column in release.columns(table):
        st.info(f"**{escaped(column)}**: {escaped(release.meaning(table, column))}")
    st.subheader(table)
    st.markdown(escaped(release.meaning(table)))
    lineage = release.manifest.get("lineage", {}).get(table, {})
    if lineage:
        st.markdown(
            "\n".join(
                f"- {what}: {', '.join(f'`{name}`' for name in lineage[key]) or 'nothing'}"
                for key, what in (
                    ("models", "Built from"),
                    ("sources", "Which come from the sources' tables"),
                    ("policies", "By the policies, seeds/….csv"),
                    ("used_by", "Read by"),
                )
            )
        )
    missing = release.missing_for(table)
    if missing:
        st.warning(f"No source delivers {', '.join(missing)}, which this stands on.")
    meanings = release.columns(table)
    st.markdown("**Columns**")
    show_table(
        release,
        pd.DataFrame({"column": list(meanings), "meaning": list(meanings.values())}),
        table,
        name="columns",
        labels={"column": "Column", "meaning": "Meaning"},
    )
    st.markdown("**Rows**")
    # The name is one of the release's own tables: `release.columns` has refused every other.
    rows = release.rows(f"select * from {table} limit {ROWS_SHOWN}")
    if rows.empty:
        st.info("There are no rows that you may see here.")
        return
    show_table(release, rows, table, name=table.replace(".", "_"))
    whole = release.manifest["rows"][table]
    if len(rows) < whole:
        st.caption(
            f"The first {len(rows):,} of the rows you may see; the release has {whole:,}. "
            "All of them are in sightline.duckdb and parquet/ of the release, for whoever may read those."
        )


def _freshness(release: Release) -> None:
    found = batches(release)
    newest = found["extracted_at"].max()
    behind = (pd.Timestamp(release.published_at) - newest).days if len(found) else None
    places = in_row(3)
    with places[0]:
        figure(release, "Told as of", release.as_of, "core.data_coverage", "as_of_date", "date")
    with places[1]:
        figure(
            release,
            "Entities delivered",
            release.value("select count(*) from core.data_coverage where is_delivered"),
            "core.data_coverage",
            "is_delivered",
            "count",
            note=f"of {release.value('select count(*) from core.data_coverage')}",
        )
    with places[2]:
        figure(
            release,
            "Rows in the release",
            sum(release.manifest["rows"].values()),
            "core.data_coverage",
            "row_count",
            "count",
            note=f"{len(release.tables)} tables",
        )
    if behind is not None:
        st.markdown(
            f"The newest data was taken from its system on {day(newest)}"
            + (f", {behind} days before it was published." if behind > 1 else ".")
        )
    show_table(
        release, found.head(50).astype({"extracted_at": "datetime64[ns, UTC]"}), "core.data_coverage", name="batches"
    )
    said = notes(release)
    if len(said):
        st.markdown("**What the sources said while they were read**")
        show_table(release, said, "core.data_coverage", name="notes")


def _gates(release: Release) -> None:
    checks = release.manifest["checks"]
    st.subheader("Gates")
    st.markdown(
        f"The publish gate held this release against {checks['expectations']} expectations; {checks['met']} were met. "
        "What does not pass is not published: the release before stands."
    )
    for sentence in checks["warnings"]:
        st.warning(escaped(sentence))


def _coverage(release: Release) -> None:
    found = coverage(release)
    missing = found[~found["is_delivered"]]
    st.subheader("Coverage")
    if len(missing):
        names = ", ".join(f"`{entity}`" for entity in missing["entity"])
        st.info(
            f"Not delivered: {names}. What stands on them says so, and stays empty; it is never taken for zero. "
            "The extract contract (docs/extract-contract.md) says what each is. "
            + definition_link("core.data_coverage")
        )
    else:
        st.markdown("Every entity of the contract is delivered.")
    show_table(release, found, "core.data_coverage", name="coverage")


def _quarantine(release: Release) -> None:
    st.subheader("Quarantine")
    held = [batch for batch in release.manifest["batches"] if batch["quarantined"]]
    total = sum(batch["quarantined"] for batch in held)
    if not total:
        st.markdown("No row is in quarantine.")
        return
    st.markdown(
        f"{total:,} rows could not be used. They are kept, and come in as soon as their system delivers them mended."
    )
    if release.viewer.sees is not None:
        st.caption("What is wrong with which row is shown to those who see everything.")
        return
    from orchestration.ingest.landing import read_batch
    from orchestration.quality.landing_gate import findings

    settings = load_settings()
    sentences: list[tuple[str, str]] = []
    for batch in reversed(held):
        folder = Path(settings.raw / batch["source"] / batch["batch_id"])
        if len(sentences) < FINDINGS_SHOWN and folder.is_dir():
            sentences += [(batch["batch_id"], found.sentence()) for found in findings(settings, read_batch(folder))]
    show_table(
        release,
        pd.DataFrame(sentences[:FINDINGS_SHOWN], columns=["batch_id", "what to mend"]),
        "core.data_coverage",
        name="quarantine",
    )
