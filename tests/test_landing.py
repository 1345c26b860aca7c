"""Landing: what becomes of good rows, bad rows and bad files before anything enters the raw zone."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from orchestration.errors import RefusedError, SourceError, UsageError
from orchestration.ingest.landing import Batch, accept, accepted_batches, land, waiting_batch
from orchestration.ingest.reading import Finding
from orchestration.quality.landing_gate import findings
from orchestration.settings import Settings
from tests.extracts import ACCOUNTS, OPPORTUNITIES, OPPORTUNITY_HEADER, USERS, with_row, write_extract

GOOD = "o9,a1,s1,New,new_business,Proposal,100,2026-02-01T09:00:00Z,2026-04-30,"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", _env_file=None)


def load(settings: Settings, directory: Path) -> tuple[Batch, list[Finding]]:
    """Lands and, since these tests are about landing, accepts without asking the gate."""
    batch = land(settings, "extract", directory)
    assert batch is not None
    accept(settings, "extract")
    return batch, findings(settings, batch)


def raw(settings: Settings, table: str = "opportunities") -> list[tuple[str, str]]:
    """Key and operation of every raw row of a table, batch by batch."""
    files = str(settings.raw / "extract" / "*" / f"{table}.parquet")
    key = {"opportunities": "opportunity_id", "accounts": "account_id", "users": "user_id"}[table]
    return duckdb.execute(
        f"select {key}, _operation from read_parquet(?, union_by_name = true) order by _batch_id, _operation, {key}",
        [files],
    ).fetchall()


def counts(batch: Batch, table: str = "opportunities") -> dict[str, int]:
    found = next(counted for counted in batch.tables if counted.table == table)
    assert found.landed == found.accepted + found.quarantined + found.superseded
    return {name: getattr(found, name) for name in ("landed", "accepted", "quarantined", "superseded", "deleted")}


def test_a_good_extract_lands_whole(settings: Settings, tmp_path: Path) -> None:
    batch, found = load(settings, write_extract(tmp_path / "x"))
    assert counts(batch) == {"landed": 4, "accepted": 4, "quarantined": 0, "superseded": 0, "deleted": 0}
    assert found == []
    assert raw(settings) == [(f"o{number}", "upsert") for number in range(1, 5)]


def test_the_same_files_a_second_time_change_nothing(settings: Settings, tmp_path: Path) -> None:
    load(settings, write_extract(tmp_path / "x"))
    assert land(settings, "extract", tmp_path / "x") is None
    assert len(accepted_batches(settings, "extract")) == 1


def test_the_same_files_under_a_newer_date_land_no_row_but_move_the_date(settings: Settings, tmp_path: Path) -> None:
    load(settings, write_extract(tmp_path / "x"))
    batch, _ = load(settings, write_extract(tmp_path / "x", extracted_at="2026-03-03T06:00:00Z"))
    assert batch.tables == []
    assert accepted_batches(settings, "extract")[-1].extracted_at == "2026-03-03T06:00:00Z"


def test_only_rows_that_changed_land_again(settings: Settings, tmp_path: Path) -> None:
    load(settings, write_extract(tmp_path / "x"))
    changed = OPPORTUNITIES.replace("Proposal,800", "Negotiation,900")
    batch, _ = load(
        settings, write_extract(tmp_path / "x", extracted_at="2026-03-03T06:00:00Z", crm_opportunities=changed)
    )
    assert counts(batch) == {"landed": 4, "accepted": 1, "quarantined": 0, "superseded": 3, "deleted": 0}
    assert raw(settings)[4:] == [("o2", "upsert")]


def test_a_key_gone_from_a_full_extract_is_deleted_and_may_come_back(settings: Settings, tmp_path: Path) -> None:
    load(settings, write_extract(tmp_path / "x"))
    without = "".join(line for line in OPPORTUNITIES.splitlines(keepends=True) if not line.startswith("o4"))
    batch, _ = load(
        settings, write_extract(tmp_path / "x", extracted_at="2026-03-03T06:00:00Z", crm_opportunities=without)
    )
    assert counts(batch)["deleted"] == 1
    assert raw(settings)[4:] == [("o4", "delete")]
    batch, _ = load(settings, write_extract(tmp_path / "x", extracted_at="2026-03-04T06:00:00Z"))
    assert counts(batch) == {"landed": 4, "accepted": 1, "quarantined": 0, "superseded": 3, "deleted": 0}


def test_a_key_absent_from_a_changes_extract_is_not_deleted(settings: Settings, tmp_path: Path) -> None:
    load(settings, write_extract(tmp_path / "x"))
    batch, _ = load(
        settings,
        write_extract(
            tmp_path / "y",
            extracted_at="2026-03-03T06:00:00Z",
            mode="changes",
            crm_opportunities=f"{OPPORTUNITY_HEADER}\n{GOOD}\n",
        ),
    )
    assert counts(batch) == {"landed": 1, "accepted": 1, "quarantined": 0, "superseded": 0, "deleted": 0}


def test_an_event_gone_from_a_full_extract_stays(settings: Settings, tmp_path: Path) -> None:
    header = "change_id,opportunity_id,field,old_value,new_value,changed_at\n"
    event = "c{0},o2,stage,Discovery,Proposal,2026-02-{0}T08:00:00Z\n"
    load(settings, write_extract(tmp_path / "x", crm_opportunity_changes=header + event.format(10) + event.format(11)))
    batch, _ = load(
        settings,
        write_extract(
            tmp_path / "x", extracted_at="2026-03-03T06:00:00Z", crm_opportunity_changes=header + event.format(12)
        ),
    )
    assert counts(batch, "opportunity_changes") == {
        "landed": 1, "accepted": 1, "quarantined": 0, "superseded": 0, "deleted": 0,
    }  # fmt: skip


def test_a_first_load_is_known_when_it_happened_and_a_later_one_when_it_came(
    settings: Settings, tmp_path: Path
) -> None:
    load(settings, write_extract(tmp_path / "x"))
    late = with_row("o9,a1,s1,Late,new_business,Proposal,100,2025-12-01T09:00:00Z,2026-04-30,")
    load(settings, write_extract(tmp_path / "x", extracted_at="2026-03-03T06:00:00Z", crm_opportunities=late))
    known = dict(
        duckdb.execute(
            "select opportunity_id, strftime(_known_at, '%Y-%m-%d %H:%M') from read_parquet(?, union_by_name = true)",
            [str(settings.raw / "extract" / "*" / "opportunities.parquet")],
        ).fetchall()
    )
    assert known["o1"] == "2026-01-05 09:00"
    assert known["o9"] == "2026-03-03 06:00"


def test_an_extract_older_than_the_newest_is_refused(settings: Settings, tmp_path: Path) -> None:
    load(settings, write_extract(tmp_path / "x"))
    changed = OPPORTUNITIES.replace("800", "801")
    older = write_extract(tmp_path / "x", extracted_at="2026-03-01T06:00:00Z", crm_opportunities=changed)
    with pytest.raises(RefusedError, match="older than the newest accepted one of 2026-03-02T06:00:00Z"):
        land(settings, "extract", older)


def test_a_row_in_quarantine_is_looked_at_again_when_the_policy_learns_its_word(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orchestration.ingest import contract, rules

    directory = write_extract(tmp_path / "x", crm_opportunities=with_row(GOOD.replace("Proposal", "Legal review")))
    batch, _ = load(settings, directory)
    assert counts(batch)["quarantined"] == 1

    seeds = tmp_path / "seeds"
    seeds.mkdir()
    for seed in contract.SEEDS.glob("*.csv"):
        (seeds / seed.name).write_bytes(seed.read_bytes())
    with (seeds / "stages.csv").open("a") as file:
        file.write("Legal review,60,true,false,false,false,Lawyers read\n")
    monkeypatch.setattr(contract, "SEEDS", seeds)
    monkeypatch.setattr(rules, "SEEDS", seeds)
    contract.load_source.cache_clear()
    try:
        batch, found = load(settings, directory)
    finally:
        contract.load_source.cache_clear()
    assert counts(batch) == {"landed": 5, "accepted": 1, "quarantined": 0, "superseded": 4, "deleted": 0}
    assert found == []


@pytest.mark.parametrize(
    ("row", "column", "words"),
    [
        (GOOD.replace("Proposal", "Sold"), "stage", "'Sold' is not a known stage; say in seeds/aliases.csv what"),
        (GOOD.replace(",100,", ',"1,234.50",'), "amount", "'1,234.50' is not a number; write it as 1234.50"),
        (GOOD.replace("2026-04-30", "0000-00-00"), "close_date", "'0000-00-00' is not a date"),
        (GOOD.replace("2026-04-30", "2026-02-30"), "close_date", "'2026-02-30' is not a date"),
        (GOOD.replace("2026-02-01T09:00:00Z", "01/02/2026"), "created_at", "'01/02/2026' is not a point in time"),
        (GOOD.replace("new_business", "renewal?"), "opportunity_type", "use one of new_business, expansion, renewal"),
        (GOOD.replace("s1", ""), "owner_id", "is empty but must not be"),
        (GOOD.replace("o9", "o1"), "opportunity_id", "'o1' stands already on line 2 with other values"),
        ("o9,a1,s1", "name", "has 3 fields where the header has 10"),
        (GOOD + ",more", None, "has 11 fields where the header has 10"),
    ],
)  # fmt: skip
def test_a_bad_row_goes_to_quarantine_with_its_file_line_and_column(
    settings: Settings, tmp_path: Path, row: str, column: str | None, words: str
) -> None:
    good_after = GOOD.replace("o9", "o10")
    batch, found = load(settings, write_extract(tmp_path / "x", crm_opportunities=with_row(f"{row}\n{good_after}")))
    assert counts(batch) == {"landed": 6, "accepted": 5, "quarantined": 1, "superseded": 0, "deleted": 0}
    assert [(f.file, f.line, f.effect) for f in found] == [("crm/opportunities.csv", 6, "quarantine")]
    if column:
        assert found[0].column == column
        assert f"crm/opportunities.csv, line 6, column {column}: " in found[0].sentence()
    assert words in found[0].sentence()


def test_lines_are_counted_past_quoted_line_breaks_and_blank_lines(settings: Settings, tmp_path: Path) -> None:
    text = OPPORTUNITIES.replace("Cold store", '"Cold\nstore"') + "\n\n" + GOOD.replace("100", "ten") + "\n"
    _, found = load(settings, write_extract(tmp_path / "x", crm_opportunities=text))
    assert [finding.line for finding in found] == [9]
    assert text.splitlines()[8].startswith("o9,")


def test_percent_where_a_share_belongs_says_how_to_write_it(settings: Settings, tmp_path: Path) -> None:
    text = "".join(
        f"{line},{share}\n"
        for line, share in zip(OPPORTUNITIES.splitlines(), ["probability", "1", "45", "0", "0.2"], strict=True)
    )
    _, found = load(settings, write_extract(tmp_path / "x", crm_opportunities=text))
    assert [finding.line for finding in found] == [3]
    assert "'45' is not a share between 0 and 1; write 45 percent as 0.45" in found[0].sentence()


def test_a_row_in_latin_1_goes_to_quarantine(settings: Settings, tmp_path: Path) -> None:
    text = with_row(GOOD.replace("New", "Caf\u00e9")).encode("latin-1")
    _, found = load(settings, write_extract(tmp_path / "x", crm_opportunities=text))
    assert "crm/opportunities.csv, line 6" in found[0].sentence()
    assert "is not UTF-8; save the file as UTF-8" in found[0].sentence()


def test_a_doubled_row_is_superseded_not_quarantined(settings: Settings, tmp_path: Path) -> None:
    batch, found = load(settings, write_extract(tmp_path / "x", crm_opportunities=with_row(f"{GOOD}\n{GOOD}")))
    assert counts(batch) == {"landed": 6, "accepted": 5, "quarantined": 0, "superseded": 1, "deleted": 0}
    assert found == []


def test_of_two_versions_in_one_file_the_later_update_wins(settings: Settings, tmp_path: Path) -> None:
    text = OPPORTUNITIES.replace("closed_at\n", "closed_at,updated_at\n")
    text += f"{GOOD.replace('100', '1')},2026-02-02T00:00:00Z\n{GOOD.replace('100', '3')},2026-02-03T00:00:00Z\n"
    text += f"{GOOD.replace('100', '2')},2026-02-01T00:00:00Z\n"
    text = "\n".join(line + "," if line.startswith(("o1", "o2", "o3", "o4")) else line for line in text.splitlines())
    batch, found = load(settings, write_extract(tmp_path / "x", crm_opportunities=text + "\n"))
    assert counts(batch) == {"landed": 7, "accepted": 5, "quarantined": 0, "superseded": 2, "deleted": 0}
    assert found == []
    files = str(settings.raw / "extract" / "*" / "opportunities.parquet")
    assert duckdb.execute(
        "select amount from read_parquet(?, union_by_name = true) where opportunity_id = 'o9'", [files]
    ).fetchall() == [("3",)]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (OPPORTUNITIES[:-40].encode(), "crm/opportunities.csv, line 5, column amount: ends in the middle of a row"),
        (OPPORTUNITIES.replace("Dairy pilot", '"Dairy pilot').encode(), "column name: opens a quote that is never"),
        (OPPORTUNITIES.encode("utf-16"), "crm/opportunities.csv, line 1, column opportunity_id: is UTF-16, not UTF-8"),
        (OPPORTUNITIES.replace(",stage,", ",phase,").encode(), "line 1, column stage: is a required column"),
        (OPPORTUNITIES.replace(",", ";").encode(), "line 1: has its columns separated by semicolons, not by commas"),
        (OPPORTUNITIES.replace(",", "\t").encode(), "line 1: has its columns separated by tabs, not by commas"),
        (f"sep=,\n{OPPORTUNITIES}".encode(), "line 1: begins with sep=, which only spreadsheets read; remove"),
        (OPPORTUNITIES.replace(",name,", ",stage,").encode(), "line 1, column stage: stands twice in the header"),
        (OPPORTUNITIES.replace(",name,", ",Stage,").encode(), "column Stage: is the same name as stage but for"),
        (OPPORTUNITIES.replace(",name,", ",,").encode(), "line 1: has no name for column 4 of 10; name it in"),
        (OPPORTUNITIES.replace(",name,opportunity_type", ",x_a,a").encode(), "line 1, column a: is kept as x_a, which"),
        (OPPORTUNITIES.replace(",stage,", ",Stage,").encode(), "column stage: is a required column but is not there"),
        (b"", "crm/opportunities.csv, line 1, column opportunity_id: is empty, without even a header; export it again"),
        # Cut off in the last column, or in the middle of a line break.
        (f"{OPPORTUNITIES}o9,a1,s1,X,expansion,Proposal,1,,,2026-04".encode(), "line 6, column closed_at: does not"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_refused_with_file_line_and_column(
    settings: Settings, tmp_path: Path, content: bytes, words: str
) -> None:
    batch = land(settings, "extract", write_extract(tmp_path / "x", crm_opportunities=content))
    assert batch is not None
    refused = [finding for finding in findings(settings, batch) if finding.effect == "refuse"]
    assert words in " ".join(finding.sentence() for finding in refused)


def test_a_semicolon_separated_file_gets_one_sentence(settings: Settings, tmp_path: Path) -> None:
    directory = write_extract(tmp_path / "x", crm_opportunities=OPPORTUNITIES.replace(",", ";"))
    batch = land(settings, "extract", directory)
    assert batch is not None
    (finding,) = findings(settings, batch)
    assert finding.what_to_do == "save it again as CSV with commas (in a spreadsheet: CSV UTF-8, field separator comma)"


def test_columns_and_files_that_look_like_one_of_the_contract_are_said(settings: Settings, tmp_path: Path) -> None:
    directory = write_extract(
        tmp_path / "x",
        crm_opportunities=OPPORTUNITIES.replace(",amount,", ",Amount,").replace("closed_at\n", "closed-att\n"),
        crm_Contacts="contact_id\n",
    )
    (directory / "crm" / "activities.xlsx").write_bytes(b"PK")
    (directory / "crm" / "quotas.CSV").write_text("user_id\n")
    (directory / "crm" / "readme.txt").write_text("hello")
    batch, _ = load(settings, directory)
    stranger = "is no file of this source and was not read; it looks like"
    assert [note for note in batch.notes if not note.endswith(": not known")] == [
        f"crm/Contacts.csv {stranger} crm/contacts.csv: give it that name",
        f"crm/activities.xlsx {stranger} crm/activities.csv: export it as that",
        f"crm/quotas.CSV {stranger} crm/quotas.csv: give it that name",
        "crm/opportunities.csv, column Amount: is not known, so it is not used; it looks like amount: "
        "give it that name",
        "crm/opportunities.csv, column closed-att: is not known, so it is not used; it looks like closed_at: "
        "give it that name",
    ]


def test_a_required_file_by_another_name_is_named(settings: Settings, tmp_path: Path) -> None:
    directory = write_extract(tmp_path / "x", crm_accounts=None, crm_Accounts=ACCOUNTS)
    batch = land(settings, "extract", directory)
    assert batch is not None
    (finding,) = findings(settings, batch)
    assert finding.what_to_do == "crm/Accounts.csv looks like it: give it that name"


def test_a_row_with_several_faults_gets_its_advice_in_their_order(settings: Settings, tmp_path: Path) -> None:
    row = GOOD.replace("new_business", "Neu").replace("Proposal", "Sold").replace(",100,", ",viel,")
    _, (finding,) = load(settings, write_extract(tmp_path / "x", crm_opportunities=with_row(row)))
    columns = (finding.column or "").split(", ")
    assert sorted(columns) == ["amount", "opportunity_type", "stage"]
    advice = {"stage": "say in seeds", "opportunity_type": "use one of", "amount": "write it as"}
    assert [finding.what_to_do.find(advice[column]) for column in columns] == sorted(
        finding.what_to_do.find(advice[column]) for column in columns
    )
    assert [finding.reason.find(column) for column in columns] == sorted(map(finding.reason.find, columns))


@pytest.mark.parametrize("bad", ["", f"{GOOD.replace('o9', 'o8')},one too many\n"])
def test_a_text_may_be_as_long_as_a_novel(settings: Settings, tmp_path: Path, bad: str) -> None:
    row = GOOD.replace("new_business", "Neu").replace("o9,a1,s1,", f"o9,a1,s1,{'x' * 200_000}")
    batch, found = load(settings, write_extract(tmp_path / "x", crm_opportunities=with_row(f"{row}\n{bad}".rstrip())))
    assert counts(batch)["accepted"] == 4
    assert [finding.line for finding in found] == [6, 7][: 1 + bool(bad)]


def test_columns_may_have_any_name(settings: Settings, tmp_path: Path) -> None:
    text = "".join(
        f"{line},{extra}\n"
        for line, extra in zip(ACCOUNTS.splitlines(), ['"Bob\'s ""VAT"""', "DE1", "DE2"], strict=True)
    )
    load(settings, write_extract(tmp_path / "x", crm_accounts=text))
    files = str(settings.raw / "extract" / "*" / "accounts.parquet")
    column = '"x_Bob\'s ""VAT"""'
    assert duckdb.execute(
        f"select {column} from read_parquet(?, union_by_name = true) order by 1", [files]
    ).fetchall() == [("DE1",), ("DE2",)]


def test_a_required_file_that_is_missing_is_refused(settings: Settings, tmp_path: Path) -> None:
    batch = land(settings, "extract", write_extract(tmp_path / "x", crm_accounts=None))
    assert batch is not None
    (finding,) = findings(settings, batch)
    assert finding.sentence() == (
        "crm/accounts.csv or crm/accounts.parquet: is required but is not there; export it again."
    )


def test_nothing_is_taken_for_deleted_while_a_row_cannot_be_read(settings: Settings, tmp_path: Path) -> None:
    load(settings, write_extract(tmp_path / "x"))
    broken = OPPORTUNITIES.replace("o4,a2,s2,Dairy roll-out", "o4,a2")
    batch, _ = load(
        settings, write_extract(tmp_path / "x", extracted_at="2026-03-03T06:00:00Z", crm_opportunities=broken)
    )
    assert counts(batch) == {"landed": 4, "accepted": 0, "quarantined": 1, "superseded": 3, "deleted": 0}


def test_an_interrupted_landing_leaves_nothing_half_visible(settings: Settings, tmp_path: Path) -> None:
    directory = write_extract(tmp_path / "x")
    land(settings, "extract", directory)
    waiting = waiting_batch(settings, "extract")
    assert waiting is not None
    (waiting / "batch.json").unlink()  # as if the process had died before its last write
    assert waiting_batch(settings, "extract") is None
    assert accept(settings, "extract") is None
    assert raw(settings) == []
    batch, _ = load(settings, directory)
    assert counts(batch)["accepted"] == 4


def test_unlisted_columns_and_files_are_kept_or_named(settings: Settings, tmp_path: Path) -> None:
    text = "".join(
        f"{line},{extra}\n" for line, extra in zip(ACCOUNTS.splitlines(), ["vat_id", "DE1", "DE2"], strict=True)
    )
    directory = write_extract(tmp_path / "x", crm_accounts=text, crm_opportunites="opportunity_id\n")
    batch, _ = load(settings, directory)
    files = str(settings.raw / "extract" / "*" / "accounts.parquet")
    assert duckdb.execute(
        "select x_vat_id from read_parquet(?, union_by_name = true) order by 1", [files]
    ).fetchall() == [("DE1",), ("DE2",)]
    assert "crm/opportunites.csv is no file of this source and was not read" in batch.notes


def test_a_parquet_extract_lands_like_a_csv_one(settings: Settings, tmp_path: Path) -> None:
    directory = write_extract(tmp_path / "x")
    for path in sorted((directory / "crm").glob("*.csv")):
        duckdb.execute(f"copy (from read_csv('{path}')) to '{path.with_suffix('.parquet')}' (format parquet)")
        path.unlink()
    batch, found = load(settings, directory)
    assert found == []
    assert counts(batch)["accepted"] == 4
    assert counts(batch, "users")["accepted"] == USERS.count("\n") - 1


def test_an_alias_from_the_policy_is_let_in(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orchestration.ingest import rules

    seeds = tmp_path / "seeds"
    seeds.mkdir()
    (seeds / "stages.csv").write_bytes((rules.SEEDS / "stages.csv").read_bytes())
    (seeds / "aliases.csv").write_text(
        "source,table_name,column_name,entered,meaning\nextract,opportunities,stage,Angebot,Proposal\n"
    )
    monkeypatch.setattr(rules, "SEEDS", seeds)
    batch, found = load(
        settings, write_extract(tmp_path / "x", crm_opportunities=with_row(GOOD.replace("Proposal", "Angebot")))
    )
    assert found == []
    assert counts(batch)["accepted"] == 5


def test_a_directory_that_is_not_there_is_wrong_use(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere is not there; set SIGHTLINE_EXTRACT_DIR or --extract"):
        land(settings, "extract", tmp_path / "nowhere")


def test_an_extract_header_that_cannot_be_understood_says_how_to_write_it(settings: Settings, tmp_path: Path) -> None:
    directory = write_extract(tmp_path / "x")
    (directory / "extract.json").write_text('{"extracted_at": "yesterday"}')
    with pytest.raises(SourceError, match="write it as"):
        land(settings, "extract", directory)


def test_an_extract_of_changes_may_lack_a_required_file_but_only_when_it_was_there_before(
    settings: Settings, tmp_path: Path
) -> None:
    first = write_extract(tmp_path / "first", mode="changes", extracted_at="2026-03-01T06:00:00Z", crm_users=None)
    batch = land(settings, "extract", first)
    assert batch is not None
    assert ["is required but is not there" in finding.reason for finding in findings(settings, batch)] == [True]
    load(settings, write_extract(tmp_path / "second", extracted_at="2026-03-02T06:00:00Z"))
    third = write_extract(
        tmp_path / "third",
        mode="changes",
        extracted_at="2026-03-03T06:00:00Z",
        crm_users=None,
        crm_accounts=None,
        crm_opportunities=f"{OPPORTUNITY_HEADER}\n{GOOD}\n",
    )
    batch, found = load(settings, third)
    assert found == []
    assert counts(batch)["accepted"] == 1
