"""Planted trouble is found as promised, and the rules for letting deals go keep what was won."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from orchestration.settings import PROJECT_ROOT
from tests.conftest import Run

spec = importlib.util.spec_from_file_location("trouble", PROJECT_ROOT / "benchmarks" / "trouble.py")
assert spec and spec.loader
trouble = importlib.util.module_from_spec(spec)
spec.loader.exec_module(trouble)


def test_trouble_is_found_named_and_on_the_agenda(demo_run: Run, demo_extract: Path) -> None:
    found = trouble.figures(demo_run.home, demo_extract / "truth")
    assert found["planted"] > 50 and found["called"] > 50
    for name, least in trouble.PROMISED.items():
        assert found[name] >= least, (name, found)
    assert 0 < found["longest"] <= found["allowed"]


def test_the_rules_for_letting_go_would_have_dropped_little_of_what_was_won(demo_run: Run, demo_extract: Path) -> None:
    found = trouble.figures(demo_run.home, demo_extract / "truth")
    assert found["rules"] >= 2
    assert found["dropped"] <= 0.03
