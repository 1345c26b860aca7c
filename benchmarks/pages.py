"""How long the pages take: `python benchmarks/pages.py HOME` serves a home's release and opens each page in Chromium.

It prints, for each page, the seconds from asking for it until nothing on it changes any more, for somebody who comes in
by it, and the seconds from choosing a team until then. The first line is what the very first visitor of a server waits,
who also waits for what Python loads. `sightline demo DIR --scale 10` and a run make the home of the ten-fold company.
"""

from __future__ import annotations

import sys
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


def main(home: Path) -> None:
    with served(home) as address, browser() as started:
        first = _opened(started, f"{address}/{PAGES[0][0]}", None)[0]
        print(f"the first visitor of a server: {first:.2f} s")
        print("| page | opened, s | team chosen, s |\n|---|---|---|")
        slowest = [0.0, 0.0]
        for name, title, _ in PAGES:
            opened, chosen = _opened(started, f"{address}/{name}", "Team")
            slowest = [max(slowest[0], opened), max(slowest[1], chosen or 0.0)]
            print(f"| {title} | {opened:.2f} | {'' if chosen is None else f'{chosen:.2f}'} |")
        print(f"slowest: {slowest[0]:.2f} s opened, {slowest[1]:.2f} s a team chosen")


def _opened(started: Any, address: str, label: str | None) -> tuple[float, float | None]:
    context = started.new_context(viewport={"width": 1280, "height": 1000})
    try:
        context.add_init_script(WATCH)
        page = context.new_page()
        page.goto(address)
        drawn(page)
        opened = page.evaluate("window.changed") / 1000
        if label is None or not page.get_by_label(label, exact=True).count():
            return opened, None
        page.get_by_label(label, exact=True).first.click()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        began = page.evaluate("performance.now()") / 1000
        page.keyboard.press("Enter")
        page.wait_for_timeout(300)
        drawn(page)
        return opened, page.evaluate("window.changed") / 1000 - began
    finally:
        context.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
