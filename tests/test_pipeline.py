"""The whole way, as a user runs it: from files to a release, twice, late, broken, and with a reader beside it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from tests.conftest import MAVEN, Run, published, sightline
from tests.extracts import OPPORTUNITIES, write_extract

LATE = "o5,a1,s1,Late one,new_business,Closed Won,700,2026-01-10T09:00:00Z,2026-02-20,2026-02-20T09:00:00Z"
READER = """
import duckdb, sys, time
connection = duckdb.connect(sys.argv[1], read_only=True)
first = connection.execute("select count(*) from core.opportunities").fetchone()
print("open", flush=True)
sys.stdin.readline()
again = connection.execute("select count(*) from core.opportunities").fetchone()
print("same" if first == again else "changed", flush=True)
"""


def fingerprints(run: Run) -> dict[str, str]:
    """Hashes of the published Parquet files: the same answer is the same bytes."""
    manifest = json.loads((run.home / "published" / "current" / "manifest.json").read_text())
    return {name: digest for name, digest in manifest["sha256"].items() if name.endswith(".parquet")}


def deals(run: Run) -> dict[str, tuple[object, ...]]:
    rows = run.query("select opportunity_id, stage, amount::double, is_won, is_deleted from core.opportunities")
    return {str(row[0]): row[1:] for row in rows}


@pytest.mark.long
def test_a_second_run_publishes_the_same_numbers_and_lands_nothing(maven_run: Run) -> None:
    before = fingerprints(maven_run)
    batches = sorted(path.name for path in (maven_run.home / "raw" / "maven").iterdir())
    again = sightline(maven_run.home, "run", "--source", "maven", "--extract", MAVEN)
    assert again.exit_code == 0, again.output
    assert fingerprints(again) == before
    assert sorted(path.name for path in (maven_run.home / "raw" / "maven").iterdir()) == batches
    assert (
        os.readlink(maven_run.home / "published" / "current")
        == sorted(path.name for path in (maven_run.home / "published").glob("[0-9]*"))[-1]
    )


def test_the_summary_says_where_the_release_is_what_the_gates_said_and_what_next(maven_run: Run) -> None:
    for words in (
        "published/current/sightline.duckdb",
        "core.opportunities",
        "8,800",
        "Landing gate: passed",
        "8,927 landed = 8,927 accepted + 0 quarantined + 0 superseded",
        "Publish gate: 16 of 16 expectations met",
        "Next: ",
    ):
        assert words in maven_run.output


@pytest.mark.long
def test_three_extracts_one_after_the_other_behave_as_the_contract_says(after_small_run: Run, tmp_path: Path) -> None:
    directory = tmp_path / "extract"
    first, home = after_small_run, after_small_run.home
    told_first = fingerprints(first)
    assert deals(first)["o2"] == ("Proposal", 800.0, False, False)

    # The second extract: o2 has moved, o4 is gone, and o5 arrives late, closed before the first extract was made.
    without = "".join(line for line in OPPORTUNITIES.splitlines(keepends=True) if not line.startswith("o4"))
    second = published(
        home,
        write_extract(
            directory,
            extracted_at="2026-03-03T06:00:00Z",
            crm_opportunities=without.replace("Proposal,800", "Negotiation,900") + LATE + "\n",
        ),
    )
    assert deals(second) == {
        "o1": ("Closed Won", 1200.5, True, False),
        "o2": ("Negotiation", 900.0, False, False),
        "o3": ("Closed Lost", 300.0, False, False),
        "o4": ("Discovery", 2500.0, False, True),
        "o5": ("Closed Won", 700.0, True, False),
    }
    assert second.query("select won_count from funnel.win_rates where basis = 'closed' and dimension = 'company'") == [
        (2,)
    ]

    # The same extract again changes nothing.
    told_second = fingerprints(second)
    assert fingerprints(published(home, directory)) == told_second

    # What was told on the first day is told again for that day: neither the late deal nor the deletion was known.
    past = published(home, directory, as_of="2026-03-02")
    assert fingerprints(past) == told_first

    # The third extract: o4 is back, with another amount.
    third = published(
        home,
        write_extract(
            directory,
            extracted_at="2026-03-04T06:00:00Z",
            crm_opportunities=OPPORTUNITIES.replace("Discovery,2500", "Discovery,2600") + LATE + "\n",
        ),
    )
    assert deals(third)["o4"] == ("Discovery", 2600.0, False, False)
    assert fingerprints(published(home, directory, as_of="2026-03-03")) == told_second


@pytest.fixture(scope="module")
def beside_a_reader(small_run: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, str]:
    """A second run, with rows of all kinds of wrong, while somebody reads the first release; what the reader saw."""
    folder = tmp_path_factory.mktemp("reader")
    home = folder / "home"
    shutil.copytree(small_run.home, home, symlinks=True)
    lines = [f"{OPPORTUNITIES.splitlines()[0]},probability", *(f"{row},0.6" for row in OPPORTUNITIES.splitlines()[1:])]
    lines += [LATE.replace("700", '"1,234.50"') + ",0.6"]
    more = "o{},a1,s1,More,new_business,Proposal,1,2026-01-01T09:00:00Z,2026-05-01,,{}"
    lines += [*(more.format(number, 0.6) for number in range(6, 12)), more.format(12, 60)]
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, str(Run(home, 0, "").database)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert reader.stdout is not None
    try:
        assert reader.stdout.readline() == "open\n"
        extract = write_extract(
            folder / "x", extracted_at="2026-03-03T06:00:00Z", crm_opportunities="\n".join(lines) + "\n"
        )
        run = published(home, extract)
        seen, _ = reader.communicate("go\n", timeout=30)
    finally:
        reader.kill()
    return run, seen


def test_a_bad_row_is_told_and_the_rest_is_published(beside_a_reader: tuple[Run, str]) -> None:
    run, _ = beside_a_reader
    status = sightline(run.home, "status").output
    for words in (
        "Quarantined: crm/opportunities.csv, line 6, column amount: '1,234.50' is not a number",
        "line 13, column probability: '60' is not a share between 0 and 1; write 45 percent as 0.45",
    ):
        assert words in status
    assert set(deals(run)) == {f"o{number}" for number in range(1, 12)} - {"o5"}
    manifest = json.loads((run.home / "published" / "current" / "manifest.json").read_text())
    batch = manifest["batches"][-1]
    assert batch["landed"] == batch["accepted"] + batch["quarantined"] + batch["superseded"]
    files = str(run.home / "quarantine" / "**" / "*.parquet")
    assert duckdb.execute("select entity, batch_id, line from read_parquet(?) order by line", [files]).fetchall() == [
        ("opportunities", batch["batch_id"], 6),
        ("opportunities", batch["batch_id"], 13),
    ]


def test_a_reader_does_not_stop_a_run_and_a_run_does_not_disturb_it(beside_a_reader: tuple[Run, str]) -> None:
    run, seen = beside_a_reader
    assert len(deals(run)) == 10
    assert seen == "same\n"


def test_a_refused_batch_leaves_the_last_release_and_a_rollback_returns_to_any(
    after_small_run: Run, tmp_path: Path
) -> None:
    good, home = after_small_run, after_small_run.home
    release = os.readlink(home / "published" / "current")
    cut = write_extract(tmp_path / "x", extracted_at="2026-03-03T06:00:00Z", crm_opportunities=OPPORTUNITIES[:-40])
    refused = sightline(home, "run", "--extract", cut)
    assert refused.exit_code == 1
    assert "Refused: crm/opportunities.csv, line 5, column amount: ends in the middle of a row" in refused.output
    assert "the last one stands" in refused.output
    assert os.readlink(home / "published" / "current") == release
    assert set(deals(good)) == {"o1", "o2", "o3", "o4"}
    assert "Not accepted: batch" in sightline(home, "status").output
    mended = published(home, write_extract(tmp_path / "x", extracted_at="2026-03-03T06:00:00Z"))
    second = os.readlink(home / "published" / "current")
    assert second != release
    assert deals(mended) == deals(good)

    # Back to the release before, and forward again to a named one.
    assert sightline(home, "rollback").exit_code == 0
    assert os.readlink(home / "published" / "current") == release
    assert sightline(home, "rollback", second).exit_code == 0
    assert os.readlink(home / "published" / "current") == second
    wrong = sightline(home, "rollback", "yesterday")
    assert wrong.exit_code == 2
    assert f"There is no release yesterday; there is {release}, {second}." in wrong.output


@pytest.mark.long
def test_a_refused_mart_leaves_the_last_release(home: Path, tmp_path: Path) -> None:
    many = OPPORTUNITIES + "".join(LATE.replace("o5", f"x{number}") + "\n" for number in range(60))
    # A loss is on record before the wins, or they would count in no rate.
    many += "l1,a2,s2,Ice rink,new_business,Closed Lost,90,2026-01-04T09:00:00Z,2026-01-31,2026-01-31T09:00:00Z\n"
    published(home, write_extract(tmp_path / "x", crm_opportunities=many))
    release = os.readlink(home / "published" / "current")
    # Nothing is wrong with any row, but the win rate jumps.
    lost = many.replace("Closed Won", "Closed Lost")
    refused = sightline(
        home,
        "run",
        "--extract",
        write_extract(tmp_path / "x", extracted_at="2026-03-03T06:00:00Z", crm_opportunities=lost),
    )
    assert refused.exit_code == 1
    assert "Refused: the win rate is 0.0% where release" in refused.output
    assert os.readlink(home / "published" / "current") == release


def test_wrong_use_is_one_sentence_and_exit_code_2(home: Path, tmp_path: Path) -> None:
    for arguments, words in [
        (
            ("run", "--source", "oracle"),
            "SIGHTLINE_SOURCES: Value error, unknown source oracle: there is extract, hubspot, maven",
        ),
        (("run", "--extract", tmp_path / "nowhere"), "nowhere is not there; set SIGHTLINE_EXTRACT_DIR or --extract"),
        (("run", "--extract", __file__), "test_pipeline.py is a file; give the folder that has crm/ in it"),
        (("run", "--extract", ""), "--extract is empty: give it the folder of your extract, or leave it out"),
        (("run", "--as-of", "2199-12-31"), "--as-of 2199-12-31 is still to come; give a day up to today"),
        (("rollback",), "yet, so there is nothing to go back to"),
        (("run", "--as-of", "31.12.2025"), "--as-of 31.12.2025 is not a date; write it as YYYY-MM-DD"),
        (("run", "--source", "maven"), "The source maven needs its directory: give --extract DIR"),
    ]:
        run = sightline(home, *arguments)
        assert run.exit_code == 2, run.output
        assert words in run.output
        assert "Traceback" not in run.output


def test_doctor_names_what_is_missing(home: Path, tmp_path: Path) -> None:
    well = sightline(home, "doctor")
    assert well.exit_code == 0, well.output
    assert "the demo company is used" in well.output
    directory = write_extract(tmp_path / "x", crm_accounts=None)
    ill = sightline(home, "doctor", SIGHTLINE_EXTRACT_DIR=str(directory))
    assert ill.exit_code == 2
    assert "has no crm/accounts, which are required; export them" in ill.output
