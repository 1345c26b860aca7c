"""What all pages are put together from: figures with their definition, a chart with its table, and honest gaps."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Literal
from urllib.parse import urlencode

import altair as alt
import pandas as pd
import streamlit as st
from altair.utils import schemapi
from streamlit.delta_generator import DeltaGenerator

from dashboards.release import Release

Chart = alt.Chart | alt.LayerChart | alt.FacetChart | alt.HConcatChart | alt.VConcatChart
Format = Literal["percent", "money", "count", "days", "number", "ratio", "date", "text"]
MISSING = "not enough data"
MONEY_STEPS = ((1e9, "bn"), (1e6, "m"), (1e3, "k"))


def written(value: Any, kind: Format, currency: str = "") -> str:
    """A value as it stands on a page: 0.4321 as `43.2 %`, 1234567 as `1.23m USD`, nothing as `not enough data`."""
    if value is None or (not isinstance(value, (list, tuple)) and pd.isna(value)):
        return MISSING
    if kind == "text":
        return str(value)
    if kind == "date":
        return day(value)
    number = float(value)
    if kind == "percent":
        return f"{number * 100:.1f} %"
    if kind == "money":
        return f"{short(number)} {currency}".strip()
    if kind == "days":
        return f"{number:,.0f} {'day' if round(number) == 1 else 'days'}"
    if kind == "ratio":
        return f"{number:,.2f}×"
    return f"{number:,.0f}" if kind == "count" else f"{number:,.2f}"


def short(number: float) -> str:
    """Three or four figures of a number and its step: 1234567 as `1.23m`."""
    for step, name in MONEY_STEPS:
        if abs(number) >= step:
            scaled = number / step
            return f"{scaled:,.{0 if abs(scaled) >= 100 else 1 if abs(scaled) >= 10 else 2}f}{name}"
    return f"{number:,.0f}"


def day(value: date | datetime | pd.Timestamp) -> str:
    """A day as people write it: `30 June 2026`."""
    return f"{value.day} {value:%B %Y}"


def link(page: str, **parameters: str | None) -> str:
    """The address of another page with what it is asked for."""
    chosen = {name: value for name, value in parameters.items() if value is not None}
    return f"/{page}?{urlencode(chosen)}" if chosen else f"/{page}"


def definition_link(table: str, column: str | None = None, words: str = "definition") -> str:
    """Markdown that leads to what a table or a column means, and to its rows."""
    return f"[{words}]({link('data', table=table, column=column)})"


def escaped(text: Any) -> str:
    """A name from the data inside Markdown: what it holds is text, never a link, a formula or a tag."""
    return re.sub(r"([\\`*_{}\[\]()#+!|<>$~:])", r"\\\1", str(text))


def figure(
    release: Release,
    label: str,
    value: Any,
    table: str,
    column: str,
    kind: Format = "number",
    *,
    low: Any = None,
    high: Any = None,
    n: int | None = None,
    delta: str | None = None,
    delta_color: Literal["normal", "inverse", "off"] = "normal",
    note: str = "",
) -> None:
    """One number with its interval, how much it stands on, and where it is defined.

    Args:
        label: what the number is, in words.
        table: the mart it stands in, `funnel.win_rates`.
        column: its column there.
        low: lower end of the 90 % interval.
        high: upper end.
        n: how many deals, accounts or people it stands on.
        delta: the change, as it shall be read.
        delta_color: `inverse` where less is better, `off` where neither is.
        note: why there is no number, or what it is held against.
    """
    st.metric(
        label,
        written(value, kind, release.currency),
        delta,
        delta_color,
        help=release.meaning(table, column) or None,
        border=True,
    )
    said = []
    if low is not None and high is not None and not pd.isna(low) and not pd.isna(high):
        said.append(f"90 %: {written(low, kind)} to {written(high, kind)}")
    if n is not None and not pd.isna(n):
        said.append(f"n = {n:,.0f}")
    if note:
        said.append(escaped(note))
    st.caption(" · ".join([*said, definition_link(table, column)]))


def show_table(
    release: Release,
    frame: pd.DataFrame,
    table: str,
    *,
    name: str,
    labels: dict[str, str] | None = None,
    links: dict[str, str] | None = None,
    formats: dict[str, str] | None = None,
    height: int | Literal["auto"] = "auto",
) -> None:
    """Rows with heads that say what each column means, and the same rows as CSV and Excel.

    Args:
        frame: what is shown, and exactly what is downloaded.
        table: the mart the columns are from; a column of the same name is explained in its words.
        name: of the files, and unique on the page.
        labels: heads that differ from the column's own name.
        links: columns that hold addresses, with the words that stand for one.
        formats: of numbers, where a column's name does not say it: `percent`, `%,.2f`.
        height: in pixels; by itself as high as ten rows.
    """
    meanings = release.columns(table)
    heads = {column: (labels or {}).get(column) or column.replace("_", " ").capitalize() for column in frame.columns}
    config: dict[str, Any] = {}
    for column in frame.columns:
        meaning = meanings.get(column) or None
        if links and column in links:
            config[column] = st.column_config.LinkColumn(heads[column], help=meaning, display_text=links[column])
        elif pd.api.types.is_bool_dtype(frame[column]):
            config[column] = st.column_config.CheckboxColumn(heads[column], help=meaning)
        elif pd.api.types.is_datetime64_any_dtype(frame[column]):
            config[column] = st.column_config.DateColumn(heads[column], help=meaning, format="YYYY-MM-DD")
        elif pd.api.types.is_numeric_dtype(frame[column]):
            written = (formats or {}).get(column) or _number_format(column)
            config[column] = st.column_config.NumberColumn(
                heads[column], help=meaning, format=written, width=number_width(frame[column], heads[column], written)
            )
        else:
            config[column] = st.column_config.TextColumn(heads[column], help=meaning)
    st.dataframe(
        frame,
        hide_index=True,
        column_config=config,
        height=height,
        placeholder="",
        alt=f"{name.replace('_', ' ')}: {len(frame)} rows",
    )
    download(frame, name)


class _Drawing:
    """A chart as Streamlit asks for it, held against Vega-Lite's schema unless a server has switched that off.

    Altair does so for each reader, at a third of what a page costs the server; that every chart is right tests hold.
    """

    def __init__(self, chart: Chart) -> None:
        self.chart = chart

    def to_dict(self) -> dict[str, Any]:
        drawn: dict[str, Any] = self.chart.to_dict(validate=schemapi.DEBUG_MODE)
        return drawn


def draw(chart: Chart, alt_text: str) -> None:
    """A chart.

    Args:
        alt_text: what the picture says, for those who do not see it.
    """
    st.altair_chart(_Drawing(chart), alt=alt_text)  # type: ignore[call-overload]


def chart_beside_table(
    release: Release,
    chart: Chart,
    frame: pd.DataFrame,
    table: str,
    *,
    name: str,
    alt_text: str,
    caption: str = "",
    labels: dict[str, str] | None = None,
    formats: dict[str, str] | None = None,
) -> None:
    """A chart and the rows it is drawn from, side by side where there is room.

    Args:
        alt_text: what the picture says, for those who do not see it.
        caption: what to look at.
    """
    left, right = st.columns([3, 2], gap="medium")
    with left:
        draw(chart, alt_text)
        if caption:
            st.caption(f"{caption} {definition_link(table)}")
        else:
            st.caption(definition_link(table))
    with right:
        show_table(release, frame, table, name=name, labels=labels, formats=formats)


def in_tabs(key: str, parts: Mapping[str, tuple[Callable[..., None], ...]], *arguments: Any) -> None:
    """Parts of a page behind tabs: only the open one is asked for and drawn. The URL says which, as `?key=title`.

    Args:
        key: of the URL, unique over all pages.
        parts: what draws a part, by its title.
        arguments: what all of them are called with.
    """
    tabs = st.tabs(list(parts), key=key, on_change="rerun", bind="query-params")
    for tab, drawers in zip(tabs, parts.values(), strict=True):
        if tab.open:
            with tab:
                for draw_part in drawers:
                    draw_part(*arguments)


def folded(label: str, key: str) -> DeltaGenerator | None:
    """A place for what few look at, behind its label; None while it is closed, when nothing need be drawn in it.

    Args:
        key: of the URL, which says `?key=true` of an open one; unique over all pages.
    """
    place = st.expander(label, key=key, on_change="rerun", bind="query-params")
    return place if place.open else None


def empty(release: Release, table: str, why: str = "") -> None:
    """Says that there is nothing to show, why, and what to connect.

    Args:
        why: the reason the mart gives; without it, what is missing of the sources.
    """
    missing = release.missing_for(table)
    if missing:
        names = ", ".join(f"`{entity}`" for entity in missing)
        text = (
            f"**Not known.** No source delivers {names}, which this stands on. Connect one that does, "
            "or add the file to the extract (docs/extract-contract.md); the next run shows it here."
        )
    elif release.has(table):
        text = f"**Not enough data.** {escaped(why) or 'Nothing of the kind for what is chosen; choose more.'}"
    elif release.viewer.sees is not None:
        text = "**Nothing of yours.** There are no rows that you may see here."
    else:
        text = f"**Not enough data.** {escaped(why) or 'The sources are connected; there is nothing of the kind yet.'}"
    st.info(f"{text} {definition_link(table)}")


def download(frame: pd.DataFrame, name: str) -> None:
    """The rows as files: exactly what is shown."""
    with st.container(horizontal=True):
        st.download_button(
            "CSV",
            lambda: _safe(frame).to_csv(index=False).encode("utf-8-sig"),
            f"{name}.csv",
            "text/csv",
            key=f"{name}.csv",
            on_click="ignore",
            type="tertiary",
        )
        st.download_button(
            "Excel",
            lambda: _workbook(frame),
            f"{name}.xlsx",
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            key=f"{name}.xlsx",
            on_click="ignore",
            type="tertiary",
        )


def in_row(count: int) -> Sequence[Any]:
    """Places for figures in a row, which stand below each other on a narrow screen."""
    return st.columns(count, gap="small")


def _number_format(column: str) -> str | None:
    if re.search(
        r"(_rate|_share|share|rate|attainment|retention|probability|chance|grr|nrr|growth|dependency)"
        r"(_low|_high|_shrunk|_actual)?$",
        column,
    ):
        return "percent"
    if re.search(
        r"(amount|arr|booked|billed|target|quota|gap|pipeline|p10|p90|median)(_low|_high|_actual|_year_ago)?$", column
    ):
        return "%,.0f"
    return None


def number_width(numbers: pd.Series[Any], head: str, written: str | None) -> int | None:
    """Pixels of a column of large numbers most of whose cells are empty; None where the grid finds a width itself.

    The grid takes the few long cells of such a column for strays and shows of them the last digits alone, which is
    another number.
    """
    told = numbers.dropna()
    if written != "%,.0f" or told.empty or 2 * len(told) > len(numbers):
        return None
    longest = max(len(f"{end:,.0f}") for end in (told.min(), told.max()))
    return 8 * max(longest, len(head)) + 24


def _safe(frame: pd.DataFrame) -> pd.DataFrame:
    """Texts that a spreadsheet would take for a formula begin with an apostrophe."""
    out = frame.copy()
    for column in out.columns:
        if pd.api.types.is_string_dtype(out[column]) or out[column].dtype == object:
            out[column] = out[column].map(
                lambda value: f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value
            )
    return out


def _workbook(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    with pd.ExcelWriter(buffer, engine="xlsxwriter", engine_kwargs={"options": {"strings_to_formulas": False}}) as book:
        plain = frame.copy()
        for column in plain.columns:
            if isinstance(plain[column].dtype, pd.DatetimeTZDtype):
                plain[column] = plain[column].dt.tz_localize(None)
        plain.to_excel(book, index=False, sheet_name="rows", freeze_panes=(1, 0))
    return buffer.getvalue()
