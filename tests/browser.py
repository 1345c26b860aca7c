"""The pages as somebody sees them: a server of their own on loopback, and a browser without a screen."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
NARROW, USUAL, WIDE = 400, 1280, 1920
# No server of a test outlives this, whatever becomes of the test.
LONGEST_SECONDS = 900


def chromium_path() -> str:
    found = next((path for path in map(shutil.which, CHROMIUM) if path), None)
    if found is None:
        said = "there is no Chromium; on Debian: apt-get install chromium"
        # Where everything must be tested, a missing browser is an error.
        pytest.fail(said) if os.environ.get("CI") else pytest.skip(said)
    return found


@contextmanager
def served(home: Path, behind_login: bool = False, **environment: str) -> Iterator[str]:
    """The pages of a home's current release, on a port of loopback that was free; yields their address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SIGHTLINE_")}
    if behind_login:
        environment["SIGHTLINE_WEB_URL"] = f"http://127.0.0.1:{port}"
    with (home.parent / f"web-{port}.log").open("w") as log:
        process = subprocess.Popen(
            ["timeout", str(LONGEST_SECONDS), sys.executable, "-m", "orchestration.cli", "web", "--port", str(port)],
            env={**inherited, "SIGHTLINE_HOME": str(home), **environment},
            cwd=home.parent,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            address = f"http://127.0.0.1:{port}"
            for _ in range(600):
                assert process.poll() is None, Path(log.name).read_text()
                try:
                    with urllib.request.urlopen(f"{address}/_stcore/health", timeout=1):
                        break
                except OSError:
                    time.sleep(0.1)
            yield address
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


@contextmanager
def browser() -> Iterator[Any]:
    """Headless Chromium that asks nobody but loopback."""
    from playwright.sync_api import sync_playwright

    path = chromium_path()
    with sync_playwright() as play:
        started = play.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-background-networking"])
        try:
            yield started
        finally:
            started.close()


@contextmanager
def opened(browser: Any, address: str, width: int = USUAL, height: int = 1000) -> Iterator[Any]:
    """A page when it is drawn; no exception stands on it, and it asked nobody but its own server."""
    context = browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True)
    asked: list[str] = []
    try:
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address, timeout=60_000)
        drawn(page)
        yield page
        outside = [url for url in asked if not re.match(r"(https?|wss?)://127\.0\.0\.1[:/]|data:|blob:", url)]
        assert outside == [], "a page asked somebody else"
    finally:
        context.close()


def drawn(page: Any) -> None:
    """Waits until the script has run to its end and nothing more appears; holds that no exception is shown."""
    page.wait_for_selector("[data-testid=stMain] p", timeout=60_000)
    until = time.monotonic() + 60
    before, alike = "", 0
    while alike < 3:
        assert time.monotonic() < until, "the page was not drawn within a minute"
        page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=60_000)
        said = text(page)
        alike = alike + 1 if said == before else 0
        before = said
        page.wait_for_timeout(150)
    shown = page.locator("[data-testid=stException]")
    assert shown.count() == 0, shown.first.inner_text()


def text(page: Any) -> str:
    """What the page says, without the navigation."""
    said: str = page.inner_text("[data-testid=stMain]")
    return said


def overflow(page: Any) -> int:
    """By how many pixels the page is wider than its window."""
    found: int = page.evaluate(
        "Math.max(0, document.querySelector('[data-testid=stMain]').scrollWidth - "
        "document.querySelector('[data-testid=stMain]').clientWidth)"
    )
    return found


def figures(page: Any) -> dict[str, str]:
    """Every figure of the page: what stands above it, and what it says."""
    return dict(
        page.eval_on_selector_all(
            "[data-testid=stMetric]",
            "all => all.map(one => [one.querySelector('[data-testid=stMetricLabel]').innerText.trim(), "
            "one.querySelector('[data-testid=stMetricValue]').innerText.trim()])",
        )
    )


def choose(page: Any, label: str, option: str) -> None:
    """Sets a filter as a person would with the keyboard alone."""
    page.get_by_label(label, exact=True).first.focus()
    page.keyboard.type(option)
    # Enter takes the first option: not before the list is down to those that were asked for.
    page.wait_for_function(
        "option => document.querySelector('[role=option]')?.innerText.includes(option)", arg=option, timeout=30_000
    )
    page.keyboard.press("Enter")
    page.wait_for_timeout(300)
    drawn(page)


def part(page: Any, title: str) -> None:
    """Opens a tab of the page by the keyboard alone."""
    tab = page.get_by_role("tab", name=title, exact=True)
    tab.focus()
    page.keyboard.press("Enter")
    page.wait_for_timeout(300)
    drawn(page)
    assert tab.get_attribute("aria-selected") == "true"


def widths(page: Any) -> Iterator[int]:
    """The page as it is on a phone, and then on a wall; what it was opened for is a phone."""
    for width in (NARROW, WIDE):
        page.set_viewport_size({"width": width, "height": 1000})
        # Charts are drawn anew.
        page.wait_for_timeout(300)
        drawn(page)
        yield width


def every_part(page: Any) -> Iterator[str]:
    """Opens every tab of the page, one after the other, and what is folded in it; a page without tabs is one part."""
    titles = page.get_by_role("tab").all_inner_texts() or [""]
    for title in titles:
        if title:
            part(page, title)
        folded = page.locator("[data-testid=stExpander] details:not([open]) summary")
        for left in range(folded.count(), 0, -1):
            folded.first.click()
            page.wait_for_timeout(300)
            drawn(page)
            assert folded.count() < left
        yield title


def downloaded(page: Any, words: str, place: int = 0) -> bytes:
    """The file behind a download button."""
    with page.expect_download(timeout=60_000) as waiting:
        page.get_by_role("button", name=words, exact=True).nth(place).click()
    return Path(waiting.value.path()).read_bytes()
