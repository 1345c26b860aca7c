"""Extracts as they come: packed, in several files, in a bucket; the findings name the right file and line."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

from orchestration.errors import SightlineError, SourceError
from orchestration.ingest import buckets
from orchestration.ingest.contract import load_source
from orchestration.ingest.extracts import extract_directory, extract_fingerprint, extract_names
from orchestration.ingest.files import files_of
from orchestration.ingest.landing import Batch, accept, accepted_batches, land
from orchestration.ingest.reading import Finding
from orchestration.quality.landing_gate import findings
from orchestration.settings import Settings, load_settings
from tests.extracts import ACCOUNTS, OPPORTUNITIES, OPPORTUNITY_HEADER, USERS, write_extract

GOOD = "o9,a1,s1,New,new_business,Proposal,100,2026-02-01T09:00:00Z,2026-04-30,"
LATER = "2026-03-03T06:00:00Z"


def zipped(content: bytes) -> bytes:
    """The same bytes whenever it is made."""
    return gzip.compress(content, mtime=0)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", _env_file=None)


def load(settings: Settings, directory: Path) -> tuple[Batch, list[Finding]]:
    batch = land(settings, "extract", directory)
    assert batch is not None
    for counts in batch.tables:
        assert counts.landed == counts.accepted + counts.quarantined + counts.superseded
    accept(settings, "extract")
    assert not (settings.incoming / "extract" / ".unpacked").exists()
    return batch, findings(settings, batch)


def counts(batch: Batch, table: str = "opportunities") -> dict[str, int]:
    found = next(counted for counted in batch.tables if counted.table == table)
    return {name: getattr(found, name) for name in ("landed", "accepted", "quarantined", "superseded", "deleted")}


def raw(settings: Settings, columns: str = "opportunity_id, _operation") -> list[tuple[Any, ...]]:
    files = settings.raw / "extract" / "*" / "opportunities.parquet"
    return duckdb.execute(
        f"select {columns} from read_parquet('{files}', union_by_name = true) order by _batch_id, _row, 1"
    ).fetchall()


def refused(settings: Settings, directory: Path) -> list[str]:
    batch = land(settings, "extract", directory)
    assert batch is not None
    return [finding.sentence() for finding in findings(settings, batch) if finding.effect == "refuse"]


def in_several(directory: Path, **parts: str | bytes) -> Path:
    """The usual extract with its opportunities in a folder of files."""
    write_extract(directory, crm_opportunities=None)
    for name, content in parts.items():
        path = directory / "crm" / "opportunities" / name.replace("__", ".")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return directory


FIRST = "\n".join(OPPORTUNITIES.splitlines()[:3]) + "\n"
SECOND = "\n".join([OPPORTUNITY_HEADER, *OPPORTUNITIES.splitlines()[3:]]) + "\n"


def test_a_packed_file_lands_like_one_that_is_not(settings: Settings, tmp_path: Path) -> None:
    load(settings, write_extract(tmp_path / "x"))
    directory = write_extract(tmp_path / "y", extracted_at=LATER, crm_opportunities=None)
    (directory / "crm" / "opportunities.csv.gz").write_bytes(zipped(OPPORTUNITIES.encode()))
    batch, found = load(settings, directory)
    assert counts(batch) == {"landed": 4, "accepted": 0, "quarantined": 0, "superseded": 4, "deleted": 0}
    assert found == []
    assert land(settings, "extract", directory) is None


def test_a_bad_row_of_a_packed_file_has_its_line(settings: Settings, tmp_path: Path) -> None:
    text = OPPORTUNITIES.replace("Cold store", '"Cold\nstore"') + f"\n{GOOD.replace('100', 'ten')}\n"
    directory = write_extract(tmp_path / "x", crm_opportunities=None)
    # Two members, as programs write that add to a file.
    half = len(text) // 2
    both = zipped(text[:half].encode()) + zipped(text[half:].encode())
    (directory / "crm" / "opportunities.csv.gz").write_bytes(both)
    _, (found,) = load(settings, directory)
    assert found.sentence().startswith("crm/opportunities.csv.gz, line 8, column amount: 'ten' is not a number")


@pytest.mark.parametrize(
    ("packed", "words"),
    [
        (zipped(OPPORTUNITIES.encode())[:-4], "is cut off: its end is missing"),
        (zipped(OPPORTUNITIES.encode())[:-30], "is cut off: its end is missing"),
        (zipped(OPPORTUNITIES.encode())[:-8] + b"\0" * 4 + zipped(OPPORTUNITIES.encode())[-4:], "CRC"),
        (zipped(OPPORTUNITIES.encode())[:-4] + b"\1\0\0\0", "is damaged (Incorrect length"),
        (OPPORTUNITIES.encode(), "is damaged (Not a gzipped file"),
        (zipped(OPPORTUNITIES[:-40].encode()), "line 5, column amount: ends in the middle of a row"),
        (zipped(f"{OPPORTUNITIES}o9,a1,s1,X,expansion,Proposal,1,,,2026-04".encode()), "does not end with a"),
        (zipped(b""), "line 1, column opportunity_id: is empty, without even a header"),
        (b"", "line 1, column opportunity_id: is empty, without even a header"),
    ],
)  # fmt: skip
def test_a_packed_file_that_is_cut_off_or_damaged_is_refused(
    settings: Settings, tmp_path: Path, packed: bytes, words: str
) -> None:
    directory = write_extract(tmp_path / "x", crm_opportunities=None)
    (directory / "crm" / "opportunities.csv.gz").write_bytes(packed)
    (sentence,) = refused(settings, directory)
    assert sentence.startswith("crm/opportunities.csv.gz")
    assert words in sentence
    assert not (settings.incoming / "extract" / ".unpacked").exists()


def test_several_files_are_one_table(settings: Settings, tmp_path: Path) -> None:
    load(settings, write_extract(tmp_path / "x"))
    directory = in_several(tmp_path / "y", a__csv=FIRST, b__csv__gz=zipped(SECOND.encode()))
    (directory / "extract.json").write_text(json.dumps({"extracted_at": LATER}))
    batch, found = load(settings, directory)
    assert counts(batch) == {"landed": 4, "accepted": 0, "quarantined": 0, "superseded": 4, "deleted": 0}
    assert found == []
    assert land(settings, "extract", directory) is None

    (directory / "crm" / "opportunities" / "b.csv.gz").unlink()
    (directory / "crm" / "opportunities" / "c.csv").write_text(f"{OPPORTUNITY_HEADER}\n{GOOD}\n")
    (directory / "extract.json").write_text(json.dumps({"extracted_at": "2026-03-04T06:00:00Z"}))
    batch, _ = load(settings, directory)
    assert counts(batch) == {"landed": 3, "accepted": 1, "quarantined": 0, "superseded": 2, "deleted": 2}
    assert raw(settings)[4:] == [("o9", "upsert"), ("o3", "delete"), ("o4", "delete")]


def test_a_bad_row_of_the_second_file_has_its_file_and_line(settings: Settings, tmp_path: Path) -> None:
    broken = SECOND.replace("Dairy pilot", '"Dairy\npilot"') + f"\n{GOOD.replace('100', 'ten')}\no10,a1\n"
    directory = in_several(tmp_path / "x", a__csv=FIRST, b__csv=broken, c__csv=f"{OPPORTUNITY_HEADER}\n")
    batch, found = load(settings, directory)
    assert counts(batch) == {"landed": 6, "accepted": 4, "quarantined": 2, "superseded": 0, "deleted": 0}
    assert [(f.file, f.line) for f in found] == [("crm/opportunities/b.csv", 6), ("crm/opportunities/b.csv", 7)]
    assert broken.splitlines()[5].startswith("o9,") and broken.splitlines()[6] == "o10,a1"
    assert found[0].sentence().startswith("crm/opportunities/b.csv, line 6, column amount: 'ten' is not a number")
    assert found[1].sentence().startswith("crm/opportunities/b.csv, line 7, column owner_id: has 2 fields where")


def test_a_key_in_two_files_is_superseded_when_it_is_the_same_row_and_told_when_it_is_not(
    settings: Settings, tmp_path: Path
) -> None:
    again = OPPORTUNITIES.splitlines()[1]
    other = OPPORTUNITIES.splitlines()[2].replace("800", "801")
    directory = in_several(tmp_path / "x", a__csv=FIRST, b__csv=f"{SECOND}{again}\n{other}\n")
    batch, (found,) = load(settings, directory)
    assert counts(batch) == {"landed": 6, "accepted": 4, "quarantined": 1, "superseded": 1, "deleted": 0}
    assert found.sentence() == (
        "crm/opportunities/b.csv, line 5, column opportunity_id: 'o2' stands already in crm/opportunities/a.csv, "
        "line 3 with other values; give each row its own key, or keep the one that is right."
    )


def test_files_of_one_table_may_have_other_columns_in_another_order(settings: Settings, tmp_path: Path) -> None:
    narrow = "stage,owner_id,opportunity_id,vat,region\nProposal,s1,o8,DE,North\n"
    wide = FIRST.replace(OPPORTUNITY_HEADER, f"{OPPORTUNITY_HEADER},region").replace("Z\n", "Z,South\n")
    wide = wide.replace("2026-04-30,\n", "2026-04-30,,South\n")
    directory = in_several(tmp_path / "x", a__csv=wide, b__csv=narrow)
    batch, found = load(settings, directory)
    assert found == []
    assert raw(settings, "opportunity_id, amount, x_region, x_vat") == [
        ("o1", "1200.50", "South", None),
        ("o2", "800", "South", None),
        ("o8", None, "North", "DE"),
    ]
    assert any(note.startswith("crm/opportunities/b.csv has no account_id, name") for note in batch.notes)
    # The same rows with the files called otherwise are the same rows.
    folder = directory / "crm" / "opportunities"
    (folder / "a.csv").rename(folder / "z.csv")
    (directory / "extract.json").write_text(json.dumps({"extracted_at": LATER}))
    batch, _ = load(settings, directory)
    assert counts(batch) == {"landed": 3, "accepted": 0, "quarantined": 0, "superseded": 3, "deleted": 0}


def test_parquet_and_csv_may_stand_side_by_side_in_a_folder(settings: Settings, tmp_path: Path) -> None:
    directory = in_several(tmp_path / "x", a__csv=FIRST, b__csv=SECOND.replace("Discovery", "Discoverie"))
    folder = directory / "crm" / "opportunities"
    duckdb.execute(
        f"copy (from read_csv('{folder / 'b.csv'}', all_varchar = true)) to '{folder / 'b.parquet'}' (format parquet)"
    )
    (folder / "b.csv").unlink()
    batch, (found,) = load(settings, directory)
    assert counts(batch)["accepted"] == 3
    assert found.sentence().startswith("crm/opportunities/b.parquet, line 2, column stage: 'Discoverie' is not a known")


def test_one_file_that_is_refused_is_told_and_so_are_the_others(settings: Settings, tmp_path: Path) -> None:
    directory = in_several(
        tmp_path / "x",
        a__csv=FIRST[:-30],
        b__csv__gz=zipped(SECOND.encode())[:-6],
        c__csv=SECOND.replace(",stage,", ",phase,"),
        d__csv=SECOND,
    )
    sentences = refused(settings, directory)
    assert [sentence.split(",")[0].split(":")[0] for sentence in sentences] == [
        "crm/opportunities/a.csv",
        "crm/opportunities/b.csv.gz",
        "crm/opportunities/c.csv",
    ]


def test_an_entity_is_a_file_or_a_folder_not_both(settings: Settings, tmp_path: Path) -> None:
    directory = in_several(tmp_path / "x", a__csv=FIRST)
    (directory / "crm" / "opportunities.csv.gz").write_bytes(b"")
    words = "is there as crm/opportunities.csv.gz and as crm/opportunities/: remove all but one"
    with pytest.raises(SourceError, match=words):
        land(settings, "extract", directory)


def test_files_that_are_nobodys_are_named(settings: Settings, tmp_path: Path) -> None:
    directory = in_several(tmp_path / "x", a__csv=FIRST, b__csv=SECOND, notes__txt="x")
    (directory / "crm" / "opportunities" / "old").mkdir()
    (directory / "crm" / "opportunities" / "old" / "c.csv").write_text(FIRST)
    (directory / "crm" / "account.csv.gz").write_bytes(b"")
    batch, _ = load(settings, directory)
    assert [note for note in batch.notes if "is no file" in note] == [
        "crm/account.csv.gz is no file of this source and was not read",
        "crm/opportunities/old/c.csv is no file of this source and was not read",
    ]


# A bucket.


@dataclass
class Bucket:
    """A bucket of a server on this machine, and every request it answered."""

    client: Any
    requests: list[tuple[str, str]]

    def put(self, name: str, content: str | bytes) -> None:
        data = content.encode() if isinstance(content, str) else content
        self.client.put_object(Bucket="books", Key=f"exports/{name}", Body=data)

    def fetched(self) -> list[str]:
        """The objects that were read since the last look."""
        names = [path.removeprefix("/books/exports/") for method, path in self.requests if method == "GET"]
        self.requests.clear()
        return [name for name in names if name != "/books"]


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    pytest.importorskip("pyarrow")
    moto = pytest.importorskip("moto.server")
    import werkzeug.serving

    requests: list[tuple[str, str]] = []

    def log(handler: Any, code: Any = "-", size: Any = "-") -> None:
        requests.append((handler.command, handler.path.split("?")[0]))

    patch = pytest.MonkeyPatch()
    patch.setattr(werkzeug.serving.WSGIRequestHandler, "log_request", log)
    started = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    started.start()
    host, port = started.get_host_and_port()
    yield f"http://{host}:{port}", requests
    started.stop()
    patch.undo()


@pytest.fixture
def bucket(server: tuple[str, list[tuple[str, str]]], monkeypatch: pytest.MonkeyPatch) -> Bucket:
    import boto3

    address, requests = server
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-7x")
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    client = boto3.client("s3", region_name="us-east-1")
    client.create_bucket(Bucket="books")
    for page in client.list_objects_v2(Bucket="books").get("Contents", []):
        client.delete_object(Bucket="books", Key=page["Key"])
    made = Bucket(client, requests)
    made.put("crm/users.csv", USERS)
    made.put("crm/accounts.csv.gz", zipped(ACCOUNTS.encode()))
    made.put("crm/opportunities/a.csv", FIRST)
    made.put("crm/opportunities/b.csv", SECOND)
    made.put("extract.json", json.dumps({"extracted_at": "2026-03-02T06:00:00Z"}))
    made.put("truth/causes.csv", "not,ours\n")
    made.put("crm/notes.txt", "nor this")
    requests.clear()
    return made


def in_bucket(settings: Settings, prefix: str = "s3://books/exports") -> Settings:
    return Settings(home=settings.home, extract_dir=prefix, _env_file=None)


def test_an_extract_in_a_bucket_lands_like_a_directory_and_only_what_changed_is_fetched(
    settings: Settings, bucket: Bucket
) -> None:
    there = in_bucket(settings)
    batch, found = load(settings, extract_directory(there, "extract"))
    assert (counts(batch), found) == (
        {"landed": 4, "accepted": 4, "quarantined": 0, "superseded": 0, "deleted": 0},
        [],
    )
    assert batch.extracted_at == "2026-03-02T06:00:00Z"
    assert bucket.fetched() == [
        "crm/accounts.csv.gz", "crm/opportunities/a.csv", "crm/opportunities/b.csv", "crm/users.csv", "extract.json",
    ]  # fmt: skip
    assert land(settings, "extract", extract_directory(there, "extract")) is None
    assert bucket.fetched() == []

    # As long as before, so that only the ETag tells.
    bucket.put("crm/opportunities/b.csv", SECOND.replace("2500", "2600"))
    bucket.put("extract.json", json.dumps({"extracted_at": LATER}))
    batch, _ = load(settings, extract_directory(there, "extract"))
    assert bucket.fetched() == ["crm/opportunities/b.csv", "extract.json"]
    assert counts(batch) == {"landed": 4, "accepted": 1, "quarantined": 0, "superseded": 3, "deleted": 0}

    bucket.client.delete_object(Bucket="books", Key="exports/crm/opportunities/b.csv")
    bucket.put("extract.json", json.dumps({"extracted_at": "2026-03-04T06:00:00Z"}))
    batch, _ = load(settings, extract_directory(there, "extract"))
    assert counts(batch)["deleted"] == 2


def test_a_bad_row_in_a_bucket_has_its_file_and_line(settings: Settings, bucket: Bucket) -> None:
    bucket.put("crm/opportunities/b.csv", f"{SECOND}{GOOD.replace('100', 'ten')}\n")
    _, (found,) = load(settings, extract_directory(in_bucket(settings), "extract"))
    assert found.sentence().startswith("crm/opportunities/b.csv, line 4, column amount: 'ten' is not a number")


def test_a_packed_object_that_is_cut_off_is_refused(settings: Settings, bucket: Bucket) -> None:
    bucket.put("crm/accounts.csv.gz", zipped(ACCOUNTS.encode())[:-5])
    assert refused(settings, extract_directory(in_bucket(settings), "extract")) == [
        "crm/accounts.csv.gz: is cut off: its end is missing; export it again."
    ]


def test_a_download_interrupted_at_any_object_leaves_nothing_half_visible_and_goes_on(
    settings: Settings, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "PIECE_BYTES", 16)
    there = in_bucket(settings)
    copies = settings.mirror / "extract"
    whole = {"crm/users.csv": USERS, "crm/opportunities/a.csv": FIRST, "crm/opportunities/b.csv": SECOND}
    fetch = buckets._Bucket.fetch
    for number in range(6):
        calls = 0

        def dies(self: Any, name: str, target: Path, at: int = number) -> None:
            nonlocal calls
            calls += 1
            if calls == 2 or (at == 0 and calls == 1):
                target.write_bytes(b"half of it")
                raise KeyboardInterrupt
            fetch(self, name, target)

        monkeypatch.setattr(buckets._Bucket, "fetch", dies)
        try:
            extract_directory(there, "extract")
        except KeyboardInterrupt:
            pass
        for name, content in whole.items():
            assert not (copies / name).exists() or (copies / name).read_text() == content
    monkeypatch.setattr(buckets._Bucket, "fetch", fetch)
    bucket.fetched()
    batch, found = load(settings, extract_directory(there, "extract"))
    assert bucket.fetched() == [], "one object came through at each attempt"
    assert (counts(batch)["accepted"], found) == (4, [])


@pytest.mark.parametrize("when", ["while it is read", "after it was read", "and another appears", "and it disappears"])
def test_an_object_that_changes_during_the_download_is_noticed(
    settings: Settings, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    fetch = buckets._Bucket.fetch

    def meanwhile(self: Any, name: str, target: Path) -> None:
        fetch(self, name, target)
        if when == "while it is read" and name == "crm/opportunities/b.csv":
            bucket.put(name, SECOND.replace("2500", "2600"))
        if when == "after it was read" and name == "crm/users.csv":
            bucket.put("crm/opportunities/b.csv", SECOND + "\n")
        if when == "and another appears" and name == "crm/users.csv":
            bucket.put("crm/opportunities/b2.csv", SECOND)
        if when == "and it disappears" and name == "crm/opportunities/a.csv":
            bucket.client.delete_object(Bucket="books", Key="exports/crm/opportunities/a.csv")

    monkeypatch.setattr(buckets._Bucket, "fetch", meanwhile)
    with pytest.raises(SourceError, match=r"s3://books/exports/crm/opp\S+ changed while the extract was fetched"):
        extract_directory(in_bucket(settings), "extract")
    monkeypatch.setattr(buckets._Bucket, "fetch", fetch)
    directory = extract_directory(in_bucket(settings), "extract")
    names = extract_names(in_bucket(settings).extract_dir, load_source("extract"))  # type: ignore[arg-type]
    assert {name: (directory / name).read_bytes() for name in names} == {
        name: bucket.client.get_object(Bucket="books", Key=f"exports/{name}")["Body"].read() for name in names
    }


def test_what_stops_a_bucket_is_one_sentence(
    settings: Settings, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    import moto.settings

    def told(prefix: str) -> str:
        with pytest.raises(SightlineError) as failure:
            extract_directory(in_bucket(settings, prefix), "extract")
        assert "\n" not in str(failure.value) and "canary" not in str(failure.value)
        return f"{type(failure.value).__name__}: {failure.value}"

    assert told("s3://nobody/x") == "UsageError: There is no bucket of s3://nobody/x; correct SIGHTLINE_EXTRACT_DIR."
    assert told("s3://books/none") == "UsageError: There is nothing in s3://books/none; correct SIGHTLINE_EXTRACT_DIR."
    assert told("s3://").startswith("UsageError: s3:// names no bucket")
    with monkeypatch.context() as asked_for_a_key:
        asked_for_a_key.setattr(moto.settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0)
        sentence = told("s3://books/exports")
    assert sentence.startswith("SourceError: s3://books/exports may not be read (")
    assert "s3:ListBucket and s3:GetObject" in sentence
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert told("s3://books/exports").startswith("SourceError: s3://books/exports cannot be read (")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.fs", None)
    assert "needs the extra for S3" in told("s3://books/exports")


def test_the_sensor_sees_a_new_object_and_a_new_file_of_a_folder(
    settings: Settings, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dagster import RunRequest, build_sensor_context

    from orchestration.defs.automation import new_extract

    local = in_several(tmp_path / "x", a__csv=FIRST)

    def into_bucket() -> None:
        bucket.put("crm/opportunities/c.csv", SECOND)

    def into_folder() -> None:
        (local / "crm" / "opportunities" / "c.csv").write_text(SECOND)

    for directory, change in ("s3://books/exports", into_bucket), (str(local), into_folder):
        monkeypatch.setenv("SIGHTLINE_EXTRACT_DIR", directory)
        monkeypatch.setenv("SIGHTLINE_HOME", str(settings.home))
        assert buckets.address_of(load_settings().extract_dir or Path()) == directory
        context = build_sensor_context(cursor=None)
        looks = []
        for number in range(5):
            if number == 3:
                change()
            looks.append(isinstance(new_extract(context), RunRequest))
        assert looks == [False, True, False, False, True], directory
    monkeypatch.setenv("SIGHTLINE_EXTRACT_DIR", "s3://nobody/x")
    skipped = new_extract(build_sensor_context(cursor=None))
    assert "There is no bucket" in str(skipped)


def test_doctor_looks_into_a_bucket(settings: Settings, bucket: Bucket) -> None:
    from orchestration.diagnosis import _extracts

    (found,) = _extracts(in_bucket(settings))
    assert found.state == "ok" and found.text.startswith("3 of 26 entities in s3://books/exports; not delivered")
    (found,) = _extracts(in_bucket(settings, "s3://nobody/x"))
    assert (found.state, found.text) == (
        "problem",
        "There is no bucket of s3://nobody/x; correct SIGHTLINE_EXTRACT_DIR",
    )


def test_a_key_that_leads_out_of_the_mirror_is_not_followed(settings: Settings, bucket: Bucket) -> None:
    bucket.put("crm/../../../crm/escape.csv", "x\n")
    directory = extract_directory(in_bucket(settings), "extract")
    assert not list(directory.parent.parent.rglob("escape.csv"))


def test_another_prefix_leaves_nothing_of_the_first(settings: Settings, bucket: Bucket) -> None:
    extract_directory(in_bucket(settings), "extract")
    bucket.put("other/crm/users.csv", USERS)
    directory = extract_directory(in_bucket(settings, "s3://books/exports/other"), "extract")
    users = load_source("extract").table("users")
    names = [path.relative_to(directory).as_posix() for path in directory.rglob("*.*") if path.is_file()]
    assert sorted(names) == [".mirror.json", "crm/users.csv"]
    assert files_of(users, names) == ["crm/users.csv"]
    assert extract_fingerprint(Path("s3://books/exports/other")) != extract_fingerprint(Path("s3://books/exports"))
    assert not accepted_batches(settings, "extract")
