"""The unit tests beside the models: rules tried on rows one can work out by hand."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from orchestration.settings import DBT_PROJECT, load_settings
from tests.conftest import Run


def test_every_unit_test_of_the_models_passes(demo_run: Run) -> None:
    settings = load_settings(home=demo_run.home)
    command = [sys.executable, "-m", "dbt.cli.main", "--no-use-colors", "test", "--select", "test_type:unit"]
    folders = ["--project-dir", DBT_PROJECT, "--profiles-dir", DBT_PROJECT, "--target-path", demo_run.home / "unit"]
    done = subprocess.run(
        [*command, *map(str, folders)],
        env={**os.environ, **settings.environment()},
        capture_output=True,
        text=True,
        timeout=300,
    )
    declared = sum(
        len(re.findall(r"^  - name:", path.read_text(), flags=re.M)) for path in DBT_PROJECT.rglob("*__unit_tests.yml")
    )
    assert done.returncode == 0, done.stdout[-6000:]
    assert f"PASS={declared} " in done.stdout
