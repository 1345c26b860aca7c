"""How long the pages take: `python benchmarks/pages.py HOME` serves a home's release and opens each page in Chromium.

It prints, for each page, the seconds from asking for it until nothing on it changes any more, for somebody who comes in
by it; and for every other tab of it, and every filter and choice on every tab, the seconds from choosing until then.
The first line is what the very first visitor of a server waits, who also waits for what Python loads.
`sightline demo DIR --scale 10` and a run make the home of the ten-fold company.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dashboards.app import PAGES  # noqa: E402
from tests.browser import browser, drawn, served  # noqa: E402

# Remembers when something on the page changed last, in milliseconds since it was asked for.
WATCH = """
window.changed = 0;
const watch = () => new MutationObserver(() => { window.changed = performance.now(); }).observe(
    document.documentElement, {subtree: true, childList: true, characterData: true, attributes: true,
                               attributeFilter: ['data-stale', 'data-test-script-state']});
document.documentElement ? watch() : document.addEventListener('readystatechange', watch, {once: true});
"""


# Lists of options, switches between a few, and fields to write in.
CHOICES = {"list": "stSelectbox", "switch": "stButtonGroup", "field": "stTextInput"}


def main(home: Path) -> None:
    with browser() as started, served(home) as address:
        with _opened(started, f"{address}/{PAGES[0][0]}") as (_, first):
            print(f"the first visitor of a server: {first:.2f} s")
        print(
            "| page | opened, s | choices | slowest, s | which | other tabs | slowest, s | which |\n"
            "|---|---|---|---|---|---|---|---|"
        )
        slowest_page, all_choices, all_tabs = 0.0, [], []
        for name, title, _ in PAGES:
            with _opened(started, f"{address}/{name}") as (page, opened):
                chosen, tabs = [], []
                for tab in range(max(page.get_by_role("tab").count(), 1)):
                    page.goto(f"{address}/{name}")
                    drawn(page)
                    tabs += [_tab_opened(page, tab)] if tab else []
                    here = page.url
                    counts = {kind: page.get_by_test_id(test_id).count() for kind, test_id in CHOICES.items()}
                    for kind, place in [(kind, place) for kind, count in counts.items() for place in range(count)]:
                        page.goto(here)
                        drawn(page)
                        seconds = _chosen(page, kind, place)
                        chosen += [seconds] if seconds else []
            slowest_page = max(slowest_page, opened)
            all_choices += chosen
            all_tabs += tabs
            cells = [
                f"{len(found)} | {seconds:.2f} | {which}"
                for found in (chosen, tabs)
                for seconds, which in sorted(found)[-1:]
            ]
            print(f"| {title} | {opened:.2f} | {' | '.join(cells)} |", flush=True)
        print(
            f"slowest: {slowest_page:.2f} s a page opened, {max(all_choices)[0]:.2f} s of {len(all_choices)} choices, "
            f"{max(all_tabs)[0]:.2f} s of {len(all_tabs)} tabs"
        )


@contextmanager
def _opened(started: Any, address: str) -> Iterator[tuple[Any, float]]:
    """A page in a browser that has seen none, and the seconds it took."""
    context = started.new_context(viewport={"width": 1280, "height": 1000})
    try:
        context.add_init_script(WATCH)
        page = context.new_page()
        page.goto(address)
        drawn(page)
        yield page, page.evaluate("window.changed") / 1000
    finally:
        context.close()


def _tab_opened(page: Any, place: int) -> tuple[float, str]:
    """Seconds a tab took to open, and its title."""
    tab = page.get_by_role("tab").nth(place)
    began = page.evaluate("performance.now()") / 1000
    tab.click()
    page.wait_for_timeout(300)
    drawn(page)
    return page.evaluate("window.changed") / 1000 - began, tab.inner_text()


def _chosen(page: Any, kind: str, place: int) -> tuple[float, str] | None:
    """Seconds another option took, and what was chosen of; None where there is one option alone."""
    choice = page.get_by_test_id(CHOICES[kind]).nth(place)
    label = choice.locator("label, [data-testid=stWidgetLabel]").first.inner_text().strip()
    if kind == "switch":
        options = choice.get_by_role("radio")
        other = options.locator("xpath=self::*[not(@aria-checked='true')]").first
        if options.count() < 2:
            return None
        began = page.evaluate("performance.now()") / 1000
        other.click()
    elif kind == "field":
        choice.locator("input").click()
        page.keyboard.type("a")
        began = page.evaluate("performance.now()") / 1000
        page.keyboard.press("Enter")
    else:
        choice.locator("input").click()
        page.keyboard.press("ArrowDown")
        options = page.get_by_role("option")
        options.first.wait_for()
        other = options.locator("xpath=self::*[not(@aria-selected='true')]").first
        if options.count() < 2:
            return None
        began = page.evaluate("performance.now()") / 1000
        other.click()
    page.wait_for_timeout(300)
    drawn(page)
    return page.evaluate("window.changed") / 1000 - began, label


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
