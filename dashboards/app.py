"""The frame of all pages: whose they are, of which release, and which page is open."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import streamlit as st
from altair.utils import schemapi

from dashboards.access import Viewer
from dashboards.filters import Chosen, choose
from dashboards.login import log_out, reader, refuse, sign_in
from dashboards.parts import day
from dashboards.release import Release, current_folder
from orchestration.errors import UsageError
from orchestration.settings import load_settings

# Module, title, section; the first one is where people arrive.
PAGES = (
    ("this_week", "This week", "Deals"),
    ("deal", "Deal", "Deals"),
    ("funnel", "Funnel", "Deals"),
    ("forecast", "Forecast", "Numbers"),
    ("reconciliation", "Reconciliation", "Numbers"),
    ("pricing", "Pricing", "Numbers"),
    ("retention", "Retention", "Customers"),
    ("key_accounts", "Key accounts", "Customers"),
    ("people", "People", "Team"),
    ("scorecard", "Scorecard", "Team"),
    ("data", "Data", "Sources"),
)


def load_pages() -> None:
    """For a server, before the first reader comes: imports every page, and holds no chart against a schema any more."""
    schemapi.disable_debug_mode()
    for name, _, _ in PAGES:
        importlib.import_module(f"dashboards.pages.{name}")


@st.cache_resource(max_entries=64, show_spinner=False)
def open_release(folder: str, viewer: Viewer) -> Release:
    """A release for one viewer, opened once; another release or another viewer is another one."""
    return Release(Path(folder), viewer)


def main() -> None:
    st.set_page_config("Sightline", layout="wide")
    settings = load_settings()
    address = sign_in(settings)
    try:
        folder = current_folder(settings)
        release = open_release(str(folder), reader(folder / "sightline.duckdb", address))
    except UsageError as error:
        refuse(error, address)
    modules = {title: name for name, title, _ in PAGES}
    sections: dict[str, list[Any]] = {}
    shown: list[Callable[[], None]] = []
    for name, title, section in PAGES:
        # What Streamlit runs is one closure for all: the filters are drawn before it, outside of any page, so that
        # they keep what they say from page to page.
        is_first = name == PAGES[0][0]
        path = "start" if is_first else name
        page = st.Page(lambda: shown[0](), title=title, url_path=path, default=is_first)
        sections.setdefault(section, []).append(page)
    # The first page is at /, and at its name too: links name every page alike.
    named = st.Page(lambda: shown[0](), title=PAGES[0][1], url_path=PAGES[0][0], visibility="hidden")
    sections[PAGES[0][2]].append(named)
    page = st.navigation(sections)
    _head(release)
    if address:
        with st.sidebar:
            log_out()
    module = importlib.import_module(f"dashboards.pages.{modules[page.title]}")
    chosen: Chosen = choose(release, module.FILTERS)
    shown.append(partial(module.show, release, chosen))
    page.run()


def _head(release: Release) -> None:
    """As of when, of which release, and who reads: on every page."""
    who = f"read by {release.viewer.name}" if release.viewer.email else "this machine only, no login"
    st.caption(
        f"As of **{day(release.as_of)}** · release {release.name}, published "
        f"{release.published_at:%Y-%m-%d %H:%M} UTC · amounts in {release.currency} · {who}"
    )
