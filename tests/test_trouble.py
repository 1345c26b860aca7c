"""Planted trouble is found as promised, and the rules for letting deals go keep what was won."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from orchestration.settings import PROJECT_ROOT

spec = importlib.util.spec_from_file_location("trouble", PROJECT_ROOT / "benchmarks" / "trouble.py")
assert spec and spec.loader
trouble = importlib.util.module_from_spec(spec)
spec.loader.exec_module(trouble)


@pytest.mark.long
def test_trouble_is_found_named_and_on_the_agenda_and_little_that_was_won_is_let_go(tmp_path: Path) -> None:
    """One whole company: with a tenth of it there are too few planted deals to tell 0.75 from 0.70."""
    found = trouble.measure(trouble.SEEDS[0], tmp_path)
    assert found["planted"] > 500 and found["called"] > 500
    for name, least in trouble.PROMISED.items():
        assert found[name] >= least, (name, found)
    assert 0 < found["longest"] <= found["allowed"]
    assert found["rules"] >= 2
    assert found["dropped"] <= 0.03
