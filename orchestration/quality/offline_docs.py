"""Data Docs for closed networks: the pages of Great Expectations without what they would load from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from orchestration.quality.gate import Outcome

ELSEWHERE = re.compile(
    r'<script[^>]*\bsrc\s*=\s*["\'](?:https?:)?//[^>]*>\s*</script>'
    r'|<(?:link|img|source)\b[^>]*\b(?:href|src)\s*=\s*["\'](?:https?:)?//[^>]*>',
    re.IGNORECASE,
)
STYLE = """\
<style>
body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1c2733}
table{border-collapse:collapse;width:100%;margin:1rem 0}
th,td{border-bottom:1px solid #d6dde4;padding:.45rem .6rem;text-align:left;vertical-align:top}
th{color:#566573;font-weight:600}a{color:#0b5cad}.failed{color:#a61b1b;font-weight:600}.met{color:#1d6b3a}
ul{padding-left:1.2rem}nav,footer,.navbar,#ge-cta-footer,.alert-dismissible,.ge-walkthrough-modal,.modal{display:none}
</style>
"""


def make_offline(folder: Path, gate: str, outcomes: Sequence[Outcome]) -> None:
    """Takes every reference to another host out of the pages, and writes an index that needs no script."""
    for page in folder.rglob("*.html"):
        text = ELSEWHERE.sub("", page.read_text(encoding="utf-8"))
        page.write_text(text.replace("</head>", f"{STYLE}</head>", 1), encoding="utf-8")
    (folder / "index.html").write_text(_index(folder, gate, outcomes), encoding="utf-8")


def _index(folder: Path, gate: str, outcomes: Sequence[Outcome]) -> str:
    pages = {
        page.stem.removeprefix(f"{gate}-"): quote(page.relative_to(folder).as_posix())
        for page in sorted((folder / "validations").rglob("*.html"))
    }
    rows = "".join(
        f"<tr><td>{_link(pages, outcome.relation)}</td><td>{escape(outcome.name.replace('_', ' '))}</td>"
        f'<td class="{"met" if outcome.passed else "failed"}">'
        f"{'met' if outcome.passed else escape('; '.join(outcome.sentences))}</td>"
        f"<td>{escape(outcome.severity)}</td>"
        f"<td>{'' if outcome.observed is None else escape(str(outcome.observed))}</td></tr>"
        for outcome in sorted(outcomes, key=lambda outcome: (outcome.passed, outcome.relation, outcome.name))
    )
    met = sum(outcome.passed for outcome in outcomes)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(gate)} gate</title>{STYLE}</head>'
        f"<body><h1>The {escape(gate)} gate</h1><p>{met} of {len(outcomes)} expectations met in the last run. "
        "Each table links to what was expected of it and what was seen.</p>"
        "<table><tr><th>table</th><th>expectation</th><th>outcome</th><th>if it fails</th><th>seen</th></tr>"
        f"{rows}</table></body></html>"
    )


def _link(pages: dict[str, str], relation: str) -> str:
    page = pages.get(relation)
    return f'<a href="{page}">{escape(relation)}</a>' if page else escape(relation)
