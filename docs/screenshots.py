"""Takes the pictures of the pages from a home with a release: `python docs/screenshots.py HOME FOLDER`.

It needs Chromium; each picture is what somebody sees who opens the address below it.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.browser import USUAL, browser, drawn, opened, served  # noqa: E402

PAGES = {
    "this_week": "/this_week?team=Anna+Vega",
    "deal": "/deal?deal=O0006168",
    "funnel": "/funnel?funnel_part=Movements",
    "forecast": "/forecast",
    "reconciliation": "/reconciliation?period=2026-Q1",
    "pricing": "/pricing",
    "retention": "/retention?arr_span=Twelve+months",
    "key_accounts": "/key_accounts",
    "people": "/people?seller=U000034&seller_part=Where+the+gap+comes+from",
    "scorecard": "/scorecard?scorecard_part=Behaviours",
    "data": "/data",
}
HEIGHT = 1500


def main(home: Path, folder: Path) -> None:
    """One JPEG a page: a screenful and a half, which a reader of the docs can take in."""
    folder.mkdir(parents=True, exist_ok=True)
    with served(home) as address, browser() as started:
        for name, path in PAGES.items():
            with opened(started, address + path, USUAL, HEIGHT) as page:
                drawn(page)
                page.screenshot(path=str(folder / f"{name}.jpg"), type="jpeg", quality=70)
            print(f"{folder / name}.jpg")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
