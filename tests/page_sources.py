"""Which published tables the code of a page names."""

from __future__ import annotations

import ast
import re

from orchestration.settings import PROJECT_ROOT

PAGES = PROJECT_ROOT / "dashboards"
# What stands around every page, and is not what the page tells.
FRAME = {"access", "addresses", "app", "filters", "login", "parts", "release"}


def tables_named(module: str, tables: set[str], seen: set[str]) -> set[str]:
    """The published tables that a module of the pages names, and the modules of the pages that it imports."""
    path = PAGES / f"{module.replace('.', '/')}.py"
    if module in seen or module.split(".")[0] in FRAME or not path.exists():
        return set()
    seen.add(module)
    text = path.read_text(encoding="utf-8")
    named = {table for table in tables if re.search(rf"(?<![\w.]){re.escape(table)}(?!\w)", text)}
    for node in ast.walk(ast.parse(text)):
        imported = []
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "dashboards":
            imported = [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            imported = [alias.name for alias in node.names]
        for name in imported:
            if name.startswith("dashboards."):
                named |= tables_named(name.removeprefix("dashboards."), tables, seen)
    return named
