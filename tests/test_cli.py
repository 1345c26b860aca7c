"""What the command line says of what is wrong, and how it says it."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestration import cli
from orchestration.ingest.reading import Finding
from tests.conftest import sightline
from tests.extracts import OPPORTUNITIES, write_extract


def finding(file: str, line: int, column: str, value: str) -> Finding:
    return Finding("t", file, line, column, value, "is not a number", "write it as 1234.50", "quarantine")


def test_findings_that_are_alike_are_one_line_and_each_file_has_one() -> None:
    found = [finding("a.csv", line, "amount", str(line)) for line in range(2, 1202)]
    found += [finding("a.csv", 5, f"c{number}", "x") for number in range(20)] + [finding("b.csv", 9, "rate", "y")]
    lines = cli._grouped(found, Path("/q"), 3)
    assert lines == [
        "a.csv, line 2, column amount: '2' is not a number; write it as 1234.50. 1,199 more like this.",
        "a.csv, line 5, column c0: 'x' is not a number; write it as 1234.50.",
        "b.csv, line 9, column rate: 'y' is not a number; write it as 1234.50.",
        "… and 19 more in /q",
    ]


def test_a_first_refused_run_says_that_nothing_is_published_and_what_was_not_read(home: Path, tmp_path: Path) -> None:
    extract = write_extract(
        tmp_path / "x", crm_opportunities=OPPORTUNITIES.replace(",", ";"), crm_activity="activity_id\n"
    )
    refused = sightline(home, "run", "--extract", extract)
    assert refused.exit_code == 1
    assert "Refused: crm/opportunities.csv, line 1: has its columns separated by semicolons" in refused.output
    assert refused.output.count("Refused: ") == 1
    assert "Warning: crm/activity.csv is no file of this source and was not read; it looks like crm/activities.csv" in (
        refused.output
    )
    assert "No release was made; nothing is published yet." in refused.output
    status = sightline(home, "status", SIGHTLINE_EXTRACT_DIR=str(extract)).output
    assert "has its columns separated by semicolons" in status and "it looks like crm/activities.csv" in status


def test_doctor_says_what_the_run_would_say_of_each_header(home: Path, tmp_path: Path) -> None:
    text = OPPORTUNITIES.replace(",stage,", ",Stage,").replace(",opportunity_type,", ",opportunity_typ,")
    extract = write_extract(tmp_path / "x", crm_opportunities=text, crm_contacts="contact_id;name\n1;x\n")
    ill = sightline(home, "doctor", SIGHTLINE_EXTRACT_DIR=str(extract))
    assert ill.exit_code == 2
    for words in (
        "crm/opportunities.csv, line 1, column stage: is a required column but is not there; Stage looks",
        "crm/opportunities.csv, column opportunity_typ: is not known, so it is not used; it looks like",
        "crm/contacts.csv, line 1: has its columns separated by semicolons, not by commas",
    ):
        assert words in ill.output


def test_brackets_in_a_sentence_are_no_markup(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from orchestration import diagnosis

    told = diagnosis.Diagnosis("Spark", "ok", "pip install -e '.[spark]' -c requirements.lock")
    monkeypatch.setattr(diagnosis, "diagnose", lambda settings: [told])
    monkeypatch.setattr(cli.out, "file", None)
    cli.doctor()
    assert "'.[spark]'" in capsys.readouterr().out
