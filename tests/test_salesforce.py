"""The Salesforce connector loses nothing, doubles nothing and tells no secret, whatever Salesforce does."""

from __future__ import annotations

import logging
import re
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import sleep
from typing import Any

import duckdb
import pytest

from orchestration.errors import SightlineError, SourceError, UsageError
from orchestration.ingest import salesforce as connector_module
from orchestration.ingest import syncing
from orchestration.ingest.contract import Column, Source, Table, load_source
from orchestration.ingest.landing import accept, accepted_batches, land
from orchestration.ingest.salesforce import SalesforceConnector, connect_salesforce, examine_salesforce
from orchestration.ingest.syncing import Lack, lacks, sync
from orchestration.settings import PROJECT_ROOT, Settings
from tests.servers.salesforce import CLIENT_ID, CLIENT_SECRET, Fault, SalesforceServer
from tests.shapes.salesforce import write_shapes

CONTACT = Table(
    "Contact",
    "Contact",
    "current",
    True,
    None,
    (
        Column("Id", "text", is_key=True),
        Column("Name", "text", is_required=True),
        Column("segment", "text", is_mapped=True),
        Column("SystemModstamp", "timestamp"),
        Column("IsDeleted", "bool"),
    ),
    cursor="SystemModstamp",
    deleted_by="IsDeleted",
    fields={"Segment__c": "segment", "Shoe__c": "x_Shoe__c"},
)
ROLE = Table(
    "UserRole", "UserRole", "current", False, None, (Column("Id", "text", is_key=True), Column("Name", "text"))
)
SMALL = Source("maven", (CONTACT, ROLE), connector="salesforce", fingerprint="rules")
FIELDS = {"Id": "id", "Name": "string", "SystemModstamp": "datetime", "IsDeleted": "boolean", "Segment__c": "picklist"}


def contact(number: int, stamp: str = "2026-01-01T00:00:00.000Z", **more: Any) -> dict[str, Any]:
    row = {"Id": f"003{number}", "Name": f"Contact {number}", "SystemModstamp": stamp, "IsDeleted": False}
    return {**row, "Segment__c": "small", **more}


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What was waited for, in seconds; nothing waits."""
    told: list[float] = []
    monkeypatch.setattr(connector_module, "sleep", told.append)
    return told


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, waits: list[float]) -> Iterator[SalesforceServer]:
    """Seven contacts in pages of three, and two roles that Bulk API 2.0 does not have."""
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
    tables: dict[str, Any] = {
        "Contact": [contact(number) for number in range(7)],
        "UserRole": [{"Id": f"00E{number}", "Name": f"Role {number}"} for number in range(2)],
    }
    with SalesforceServer(tables, types={"Contact": dict(FIELDS)}, rest_only={"UserRole"}, page_rows=3) as made:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(made.certificate))
        yield made


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Source:
    """Two tables in place of the whole source."""
    monkeypatch.setattr(syncing, "load_source", lambda name: SMALL)
    monkeypatch.setattr("orchestration.ingest.landing.load_source", lambda name: SMALL)
    return SMALL


@pytest.fixture
def settings(server: SalesforceServer, tmp_path: Path) -> Settings:
    return settings_for(server, tmp_path / "home")


def settings_for(server: SalesforceServer, home: Path, **more: Any) -> Settings:
    access = {
        "salesforce_url": server.url,
        "salesforce_client_id": CLIENT_ID,
        "salesforce_client_secret": CLIENT_SECRET,
    }
    return Settings(_env_file=None, home=home, **{"sources": ("maven",), **access, **more})  # type: ignore[arg-type]


def load(settings: Settings, name: str = "maven") -> None:
    batch = land(settings, name, sync(settings, name))
    assert batch is not None
    for counts in batch.tables:
        assert counts.landed == counts.accepted + counts.quarantined + counts.superseded
    accept(settings, name)


def versions(settings: Settings, table: str, columns: str = "Id, Name", name: str = "maven") -> list[tuple[str, ...]]:
    """Columns and operation of every version, in the order they became known."""
    files = settings.raw / name / "*" / f"{table}.parquet"
    return duckdb.execute(
        f"select {columns}, _operation from read_parquet('{files}', union_by_name = true) "
        "where _operation is not null order by _extracted_at, _batch_id, Id"
    ).fetchall()


def everything(settings: Settings) -> list[tuple[str, ...]]:
    return versions(settings, "Contact", "Id, Name, segment, SystemModstamp") + versions(settings, "UserRole")


def notes(settings: Settings) -> list[str]:
    return accepted_batches(settings, "maven")[-1].notes


def jobs(server: SalesforceServer) -> int:
    return server.seen.count(("POST", "/services/data/v62.0/jobs/query"))


def test_a_sync_cut_off_at_any_request_goes_on_without_loss_or_double(
    server: SalesforceServer, small: Source, tmp_path: Path
) -> None:
    calm = settings_for(server, tmp_path / "calm")
    load(calm)
    undisturbed = everything(calm)
    assert len(undisturbed) == 9
    requests = len(server.seen)
    assert requests >= 12
    for number in range(1, requests + 1):
        settings = settings_for(server, tmp_path / f"home-{number}")
        server.die_at(number)
        with pytest.raises(SourceError, match="did not answer"):
            load(settings)
        assert not accepted_batches(settings, "maven")
        server.die_at(None)
        before = jobs(server)
        load(settings)
        assert everything(settings) == undisturbed, number
        # A job that Salesforce had told us of is not made again.
        told_of = number > 1 + [part for _, part in server.seen[:requests]].index("/services/data/v62.0/jobs/query")
        assert jobs(server) - before <= (1 if told_of else 2), number


def test_one_broken_connection_at_any_request_is_not_noticed(
    server: SalesforceServer, small: Source, tmp_path: Path, waits: list[float]
) -> None:
    load(settings_for(server, tmp_path / "calm"))
    undisturbed = everything(settings_for(server, tmp_path / "calm"))
    paths = [path for _, path in server.seen]
    for number, path in enumerate(dict.fromkeys(paths)):
        settings = settings_for(server, tmp_path / f"home-{number}")
        part = path.split("/750")[0].removeprefix("/services/")
        waits.clear()
        server.fail(part, "late kill")
        load(settings)
        assert everything(settings) == undisturbed, path
        assert 1.0 in waits, path


@pytest.mark.parametrize("fault", ["truncated", "chunked cut", "half value", "twice", "kill"])
def test_a_page_that_is_cut_or_comes_twice_is_asked_for_again(
    server: SalesforceServer, small: Source, settings: Settings, fault: Fault, waits: list[float]
) -> None:
    # What is wrong with a page's content is seen when the next page, wrong too, is on its way; that one is not used.
    server.fail("&locator=", fault, times=3 if fault in ("half value", "twice") else 2)
    load(settings)
    assert [row[0] for row in versions(settings, "Contact")] == [f"003{number}" for number in range(7)]
    assert [wait for wait in waits if isinstance(wait, float)] == [1.0, 2.0]
    assert jobs(server) == 2, "one of contacts, one that told us to take REST for roles"


def test_a_page_that_never_comes_whole_ends_in_one_sentence(
    server: SalesforceServer, small: Source, settings: Settings
) -> None:
    server.fail("/results", "half value", times=100)
    with pytest.raises(SourceError, match=r"did not answer 6 times \(a page of 3 rows that ends in row 3\); run again"):
        load(settings)


def test_a_page_that_is_cut_within_a_text_of_lines_is_asked_for_again(
    server: SalesforceServer, settings: Settings
) -> None:
    lines = Table(
        "Contact", "Contact", "current", True, None, (Column("Id", "text", is_key=True), Column("Name", "text"))
    )
    server.tables["Contact"] = [contact(0, Name="one\ntwo\nthree")]
    server.fail("/results", "half text")
    settings.home.mkdir()
    connector = connect_salesforce(settings)
    memory = syncing.Memory(settings.home / "memory.json")
    ((piece, _),) = connector.pull(lines, {"Id": "Id", "Name": "Name"}, None, memory)
    assert piece.to_pylist() == [{"Id": "0030", "Name": "one\ntwo\nthree"}]


def test_a_job_that_sends_fewer_rows_than_it_read_is_not_believed(
    server: SalesforceServer, small: Source, settings: Settings
) -> None:
    server.fail("/results", "early end")
    with pytest.raises(SourceError, match="read 7 rows of Contact and sent 3; run again, it is asked anew"):
        load(settings)
    load(settings)
    assert len(versions(settings, "Contact")) == 7


def test_pages_of_rest_are_counted_and_told_apart_too(
    server: SalesforceServer, small: Source, settings: Settings
) -> None:
    server.tables["UserRole"] = [{"Id": f"00E{number}", "Name": f"Role {number}"} for number in range(7)]
    server.fail("/query/", "twice")
    load(settings)
    assert len(versions(settings, "UserRole")) == 7


def test_compressed_pages_with_line_breaks_quotes_and_zero_bytes_are_read(
    server: SalesforceServer, small: Source, settings: Settings
) -> None:
    server.is_compressed = True
    server.tables["Contact"] = [contact(0, Name='a "b",\nc\0d'), contact(1, Name="x\r\ny", Segment__c="")]
    load(settings)
    assert versions(settings, "Contact", "Name, segment") == [
        ('a "b",\ncd', "small", "upsert"),
        ("x\r\ny", None, "upsert"),
    ]


@pytest.mark.parametrize(("fault", "wait"), [("429", 7.0), ("503", 11.0), ("500", 1.0)])
def test_what_salesforce_asks_us_to_wait_is_waited(
    server: SalesforceServer, small: Source, settings: Settings, fault: Fault, wait: float, waits: list[float]
) -> None:
    server.fail("describe", fault)
    server.fail("/results", fault)
    load(settings)
    assert [told for told in waits if isinstance(told, float)] == [wait, wait]
    assert len(versions(settings, "Contact")) == 7


def test_a_time_to_come_back_given_as_a_date_is_waited_for(
    server: SalesforceServer, small: Source, settings: Settings, waits: list[float]
) -> None:
    server.fail("describe", "503 date")
    load(settings)
    assert any(25 < wait <= 31 for wait in waits)


def test_a_session_that_ends_is_renewed_and_the_request_repeated(
    server: SalesforceServer, small: Source, settings: Settings
) -> None:
    server.token_requests = 4
    load(settings)
    assert len(server.tokens) >= 3
    assert len(everything(settings)) == 9


def test_a_session_that_ends_at_once_ends_in_one_sentence(
    server: SalesforceServer, small: Source, settings: Settings
) -> None:
    server.token_requests = 0
    with pytest.raises(SourceError, match="ends each session as soon as it is made"):
        load(settings)


def test_a_job_that_fails_is_told_and_made_anew_the_next_time(
    server: SalesforceServer, small: Source, settings: Settings
) -> None:
    server.failing["Contact"] = "InternalServerError : Retried more than fifteen times"
    with pytest.raises(SourceError, match=r"could not read Contact \(InternalServerError : Retried more than fifteen"):
        load(settings)
    server.failing.clear()
    load(settings)
    assert len(versions(settings, "Contact")) == 7


def test_an_object_that_turns_out_not_to_be_in_bulk_api_comes_by_rest(
    server: SalesforceServer, small: Source, settings: Settings
) -> None:
    server.failing["Contact"] = "InvalidEntity : Entity 'Contact' is not supported by the Bulk API."
    load(settings)
    assert len(versions(settings, "Contact")) == 7


def test_a_job_is_waited_for_with_growing_patience_that_ends(
    server: SalesforceServer, small: Source, settings: Settings, waits: list[float]
) -> None:
    server.polls = 1000
    with pytest.raises(SourceError, match="has read Contact for 120 minutes and is not done; run again"):
        load(settings)
    assert waits[:6] == [1, 2, 4, 8, 16, 30] and sum(waits) < 2 * 3600 + 31
    job = next(iter(server.jobs.values()))
    job.polls = 0
    server.polls = 0
    load(settings)
    assert [entry.soql for entry in server.jobs.values()].count(job.soql) == 1, "the same job"
    assert len(versions(settings, "Contact")) == 7


def test_a_job_somebody_deleted_is_made_anew(server: SalesforceServer, small: Source, settings: Settings) -> None:
    server.fail("/results", "kill", times=6)
    with pytest.raises(SourceError):
        load(settings)
    server.jobs.clear()
    load(settings)
    assert len(versions(settings, "Contact")) == 7


def test_a_second_sync_asks_for_what_changed_with_an_overlap(
    server: SalesforceServer, small: Source, settings: Settings
) -> None:
    load(settings)
    rows = server.tables["Contact"]
    rows[1] = contact(1, "2026-02-01T00:00:00.000Z", Name="Renamed")
    # Committed after the last sync with a stamp from before its newest: a transaction takes its time.
    rows.append(contact(8, "2025-12-31T23:51:00.000Z"))
    load(settings)
    assert server.queries[-2].endswith("FROM Contact WHERE SystemModstamp >= 2025-12-31T23:50:00Z")
    assert versions(settings, "Contact")[7:] == [("0031", "Renamed", "upsert"), ("0038", "Contact 8", "upsert")]
    assert len(versions(settings, "UserRole")) == 2


def test_the_cursor_is_never_later_than_the_moment_a_job_was_made(
    server: SalesforceServer, small: Source, settings: Settings
) -> None:
    """A job of an hour reads one row early, and late another one that changed in between."""
    now = datetime.now(UTC)
    read_late = contact(1, f"{now + timedelta(minutes=55):%Y-%m-%dT%H:%M:%S}.000Z")
    server.tables["Contact"] = [contact(0), read_late]
    load(settings)
    # This change was made half an hour into the job, after its row was read.
    missed = contact(0, f"{now + timedelta(minutes=30):%Y-%m-%dT%H:%M:%S}.000Z", Name="Changed meanwhile")
    server.tables["Contact"] = [missed, read_late]
    load(settings)
    assert versions(settings, "Contact")[2:] == [("0030", "Changed meanwhile", "upsert")]


def test_what_is_deleted_is_a_deletion_and_comes_back(
    server: SalesforceServer, small: Source, settings: Settings
) -> None:
    load(settings)
    rows = server.tables["Contact"]
    rows[2] = contact(2, "2026-02-01T00:00:00.000Z", IsDeleted=True)
    server.tables["UserRole"] = server.tables["UserRole"][1:]
    load(settings)
    assert versions(settings, "Contact")[7:] == [("0032", "Contact 2", "delete")]
    assert versions(settings, "UserRole")[2:] == [("00E0", None, "delete")]
    rows[2] = contact(2, "2026-03-01T00:00:00.000Z")
    load(settings)
    assert versions(settings, "Contact")[8:] == [("0032", "Contact 2", "upsert")]


def test_what_the_recycle_bin_no_longer_tells_is_found_by_reading_whole(
    server: SalesforceServer, small: Source, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(settings)
    del server.tables["Contact"][3]
    server.tables["UserRole"].append({"Id": "00E9", "Name": "Role 9"})
    load(settings)
    assert len(versions(settings, "Contact")) == 7, "purged, and nobody told"
    monkeypatch.setattr(connector_module, "DELETIONS_KEPT", timedelta(0))
    server.tables["UserRole"].append({"Id": "00E8", "Name": "Role 8"})
    sleep(1.1)
    load(settings)
    assert versions(settings, "Contact")[7:] == [("0033", None, "delete")]


def test_a_field_that_is_new_or_retyped_is_read_of_every_row_and_one_that_goes_is_told(
    server: SalesforceServer, small: Source, settings: Settings
) -> None:
    load(settings)
    assert "Contact does not offer Shoe__c: not there, or not granted" in notes(settings)
    # No row says that it changed: Salesforce fills a new field, and rewrites a retyped one, without a stamp.
    server.types["Contact"]["Shoe__c"] = "double"
    for row in server.tables["Contact"]:
        row["Shoe__c"] = "42.0"
    server.tables["Contact"][0]["SystemModstamp"] = "2026-03-01T00:00:00.000Z"
    load(settings)
    assert "Contact now also gives Shoe__c: read again from the beginning" in notes(settings)
    assert versions(settings, "Contact", "x_Shoe__c")[7:] == [("42.0", "upsert")] * 7
    server.types["Contact"]["Shoe__c"] = "string"
    for row in server.tables["Contact"]:
        row["Shoe__c"] = "42"
    load(settings)
    assert "Contact has other types: Shoe__c (double, now string)" in notes(settings)
    assert versions(settings, "Contact", "x_Shoe__c")[14:] == [("42", "upsert")] * 7
    server.hidden["Contact"] = {"Shoe__c"}
    server.tables["Contact"][0]["SystemModstamp"] = "2026-04-01T00:00:00.000Z"
    load(settings)
    assert "Contact no longer gives Shoe__c: empty in rows that change from now on" in notes(settings)
    assert versions(settings, "Contact", "Id, x_Shoe__c")[21:] == [("0030", None, "upsert")]


def test_a_field_that_goes_between_describe_and_the_job_ends_in_one_sentence_and_not_in_a_loss(
    server: SalesforceServer, small: Source, settings: Settings
) -> None:
    def drop() -> None:
        server.hidden["Contact"] = {"Segment__c"}

    server.before_job = drop
    with pytest.raises(SourceError, match=r"Contact of Salesforce changed while it was read .* run again") as failure:
        load(settings)
    assert "No such column 'Segment__c' on entity 'Contact'" in str(failure.value)
    load(settings)
    assert len(versions(settings, "Contact")) == 7
    assert "Contact does not offer Segment__c, Shoe__c: not there, or not granted" in notes(settings)


def test_a_table_with_a_formula_is_read_whole_each_time(
    server: SalesforceServer, small: Source, settings: Settings
) -> None:
    server.formulas["Contact"] = {"Segment__c"}
    load(settings)
    for row in server.tables["Contact"][:2]:
        row["Segment__c"] = "large"  # What the formula looks at changed, the row did not.
    load(settings)
    assert versions(settings, "Contact", "Id, segment")[7:] == [
        ("0030", "large", "upsert"),
        ("0031", "large", "upsert"),
    ]
    assert "Contact is read whole at each sync: Segment__c can change without the row saying so (a formula)" in notes(
        settings
    )
    assert "WHERE" not in "".join(server.queries)


def test_a_field_of_parts_is_not_asked_for(server: SalesforceServer, small: Source, settings: Settings) -> None:
    server.types["Contact"]["Shoe__c"] = "address"
    load(settings)
    assert "Contact.Shoe__c is one field for a whole address, which cannot be read: choose its parts" in notes(settings)
    assert len(versions(settings, "Contact")) == 7


def test_no_more_than_one_page_is_asked_for_ahead(server: SalesforceServer, settings: Settings) -> None:
    """So that memory holds two pages, however many there are."""
    settings.home.mkdir()
    server.render("Contact", page_rows=3)
    connector = connect_salesforce(settings)
    fields, _ = syncing.chosen_fields(CONTACT, connector.offer(CONTACT))
    pages = connector.pull(CONTACT, fields, None, syncing.Memory(settings.home / "memory.json"))
    for number in (1, 2, 3):
        piece, _ = next(pages)
        assert piece.num_rows <= 3
        time.sleep(0.2)
        assert [path.endswith("/results") for _, path in server.seen].count(True) == min(number + 1, 3)
    assert next(pages, None) is None


def test_one_field_may_fill_two_columns(server: SalesforceServer, settings: Settings) -> None:
    twice = Table(
        "Contact", "Contact", "current", True, None,
        (Column("Id", "text", is_key=True), Column("Name", "text"), Column("kind", "text", is_mapped=True)),
        fields={"Name": "kind"},
    )  # fmt: skip
    connector = connect_salesforce(settings)
    memory = syncing.Memory(settings.home / "memory.json")
    settings.home.mkdir()
    fields, _ = syncing.chosen_fields(twice, connector.offer(twice))
    pieces = [piece for piece, _ in connector.pull(twice, fields, None, memory)]
    assert pieces[0].to_pylist()[0] == {"Id": "0030", "Name": "Contact 0", "kind": "Contact 0"}


def test_the_calls_of_the_day_are_shown_and_a_reserve_is_left_to_others(
    server: SalesforceServer, small: Source, settings: Settings
) -> None:
    load(settings)
    left = 15_000 - server.calls_used
    assert notes(settings)[-1] == f"Salesforce: {left:,} of 15,000 API calls of the day are left"
    server.calls_used = 14_249
    before = jobs(server)
    with pytest.raises(SourceError, match=r"750 of 15,000 API calls .* are left, and 750 are kept for others"):
        load(settings)
    assert jobs(server) == before
    # Others use them up while we read: what was read stays read.
    server.calls_used = 14_240
    with pytest.raises(SourceError, match="are kept for others; run again when the 24 hours are over"):
        load(settings)
    server.calls_used = 0
    server.tables["UserRole"].append({"Id": "00E9", "Name": "Role 9"})
    load(settings)
    assert len(everything(settings)) == 10


def test_a_used_up_day_is_known_from_the_refusal_too(
    server: SalesforceServer, small: Source, settings: Settings
) -> None:
    server.hides_limits, server.calls_used = True, 15_000
    with pytest.raises(SourceError, match=r"no more API calls today \(REQUEST_LIMIT_EXCEEDED\); run again when"):
        load(settings)


def test_without_the_permission_to_see_limits_the_answers_headers_tell_them(
    server: SalesforceServer, small: Source, settings: Settings
) -> None:
    server.hides_limits = True
    load(settings)
    assert notes(settings)[-1].startswith("Salesforce: 14,9")


def test_no_secret_is_in_a_message_a_log_or_a_file(
    server: SalesforceServer, small: Source, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    told: list[str] = []

    def attempt(number: int, **more: Any) -> None:
        settings = settings_for(server, tmp_path / "homes" / str(number), **more)
        try:
            load(settings)
        except SightlineError as error:
            told.append("".join(traceback.format_exception(error)) + repr(error))
        told.extend(f"{diagnosis}" for diagnosis in examine_salesforce(settings))

    load(settings_for(server, tmp_path / "homes" / "calm"))
    faults: list[tuple[str, Fault]] = [
        ("token", "truncated"),
        ("token", "chunked cut"),
        ("token", "500"),
        ("limits", "kill"),
        ("describe", "no session"),
        ("results", "half value"),
        ("results", "truncated"),
        ("jobs/query", "503"),
    ]
    for number, (part, fault) in enumerate(faults):
        server.fail(part, fault, times=100)
        attempt(number)
        server._faults.clear()
    server.failing["Contact"] = "the header was Bearer {token} of " + CLIENT_SECRET
    attempt(len(faults))
    attempt(len(faults) + 1, salesforce_client_secret="another-canary-secret")
    assert len(told) > len(faults)
    connector = connect_salesforce(settings_for(server, tmp_path / "homes" / "calm"))
    told += [repr(connector), caplog.text]
    told += [path.read_bytes().decode("latin-1") for path in (tmp_path / "homes").rglob("*") if path.is_file()]
    secrets = ["canary", *server.tokens]
    assert not [text[:2000] for text in told if any(secret in text for secret in secrets)]


def test_what_is_wrong_with_the_access_is_told_in_one_sentence(server: SalesforceServer, tmp_path: Path) -> None:
    def told(**more: Any) -> str:
        with pytest.raises(SightlineError) as failure:
            connect_salesforce(settings_for(server, tmp_path, **more))
        return str(failure.value)

    assert "(invalid_client: invalid client credentials); check SIGHTLINE_SALESFORCE_CLIENT_ID" in told(
        salesforce_client_secret="wrong"
    )
    assert "(invalid_client_id: client identifier invalid)" in told(salesforce_client_id="wrong")
    assert "must be the organisation's own address" in told(salesforce_url="https://login.salesforce.com")
    assert "must be the organisation's own address" in told(salesforce_url="http://acme.my.salesforce.com")
    assert "give https://acme.my.salesforce.com instead" in told(salesforce_url="https://acme.lightning.force.com/")
    assert "certificate" in told(salesforce_url=server.url.replace("127.0.0.1", "localhost"))


def test_the_doctor_tells_access_calls_and_clock(server: SalesforceServer, settings: Settings) -> None:
    found = {diagnosis.subject: diagnosis for diagnosis in examine_salesforce(settings)}
    assert [diagnosis.state for diagnosis in found.values()] == ["ok", "ok", "ok"]
    assert found["Salesforce API calls"].text == "14,999 of 15,000 API calls of the day are left"
    server.clock_ahead, server.calls_used = timedelta(minutes=-20), 14_900
    found = {diagnosis.subject: diagnosis for diagnosis in examine_salesforce(settings)}
    assert found["Salesforce API calls"].state == "problem"
    assert found["Salesforce clock"].state == "warning"
    assert "20 minutes behind the one here" in found["Salesforce clock"].text


def test_what_is_not_granted_is_told_by_table_and_field(
    server: SalesforceServer, small: Source, settings: Settings
) -> None:
    server.denied.add("UserRole")
    server.hidden["Contact"] = {"Segment__c", "SystemModstamp"}
    connector: SalesforceConnector = connect_salesforce(settings)
    problem = (
        "is not there for this user: grant Read on UserRole to it, or leave it if the organisation does not use it"
    )
    assert list(lacks(connector, SMALL)) == [
        Lack(
            "Contact",
            fields=("Segment__c", "Shoe__c", "SystemModstamp"),
            columns=("SystemModstamp", "segment", "x_Shoe__c"),
        ),
        Lack("UserRole", problem, columns=("Id", "Name")),
    ]
    load(settings)
    assert f"UserRole {problem}" in notes(settings)
    assert len(versions(settings, "Contact")) == 7, "read whole, without a cursor"


def test_the_whole_source_is_read_as_salesforce_has_it(server: SalesforceServer, tmp_path: Path) -> None:
    """Every object and standard field of the source, two rows each, then one change and one deletion."""
    source = load_source("salesforce")
    settings = settings_for(server, tmp_path / "home", sources=("salesforce",))
    server.tables.clear()
    server.types.clear()
    value: dict[str, Callable[[int], Any]] = {
        "bool": lambda number: False,
        "int": lambda number: number,
        "decimal": lambda number: number + 0.5,
        "rate": lambda number: 1.25,
        "share": lambda number: 0.5,
        "date": lambda number: "2026-01-31",
        "timestamp": lambda number: "2026-01-31T10:00:00.000Z",
        "currency": lambda number: "EUR",
        "text": lambda number: f"text {number}",
    }
    for table in source.tables:
        standard = [column for column in table.columns if not column.is_mapped]
        server.tables[table.name] = [
            {
                column.name: f"key{number}"
                if column.is_key
                else column.one_of[0]
                if column.one_of
                else "Prospecting"
                if column.policy
                else value[column.data_type](number)
                for column in standard
            }
            for number in range(2)
        ]
    load(settings, "salesforce")
    assert server.calls_used <= 150, "as the page about access says"
    batch = accepted_batches(settings, "salesforce")[-1]
    assert {counts.table for counts in batch.tables} == {table.name for table in source.tables}
    assert not [counts for counts in batch.tables if counts.accepted + counts.quarantined != 2]
    assert not [counts for counts in batch.tables if counts.quarantined], batch.tables
    users = server.tables["User"]
    users[0] |= {"Name": "Renamed", "SystemModstamp": "2026-02-01T00:00:00.000Z"}
    server.tables["Contact"][1] |= {"IsDeleted": True, "SystemModstamp": "2026-02-01T00:00:00.000Z"}
    load(settings, "salesforce")
    assert versions(settings, "User", "Id, Name", "salesforce")[2:] == [("key0", "Renamed", "upsert")]
    assert versions(settings, "Contact", "Id", "salesforce")[2:] == [("key1", "delete")]
    changed = accepted_batches(settings, "salesforce")[-1].tables
    assert sum(counts.accepted + counts.deleted for counts in changed) >= 2


def test_the_demo_company_comes_through_the_connector_as_it_does_in_files(
    server: SalesforceServer, tmp_path: Path, demo_extract: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a system has no standard field for is a custom field there, named in seeds/source_fields.csv."""
    write_shapes(demo_extract, tmp_path / "objects", tmp_path / "contract")
    files = settings_for(server, tmp_path / "files", sources=("salesforce",))
    assert land(files, "salesforce", tmp_path / "objects") is not None
    accept(files, "salesforce")
    source = load_source("salesforce")
    custom = {
        table.name: {f"{column.name}__c": column.name for column in table.columns if column.is_mapped}
        for table in source.tables
    }
    source = replace(source, tables=tuple(replace(table, fields=custom[table.name]) for table in source.tables))
    monkeypatch.setattr(syncing, "load_source", lambda name: source)
    server.page_rows = 20_000
    server.tables.clear()
    server.types.clear()
    connection = duckdb.connect()
    for path in (tmp_path / "objects").glob("*.csv"):
        rows = connection.sql(f"from read_csv('{path}', all_varchar = true)").to_arrow_table()
        to_custom = {column: name for name, column in custom[path.stem].items()}
        server.tables[path.stem] = rows.rename_columns([to_custom.get(name, name) for name in rows.column_names])
    pulled = settings_for(server, tmp_path / "pulled", sources=("salesforce",))
    load(pulled, "salesforce")
    for table in source.tables:
        columns = ", ".join(f'"{column.name}"' for column in table.columns)
        told = [sorted(versions(home, table.name, columns, "salesforce"), key=str) for home in (files, pulled)]
        assert told[0] == told[1], table.name
    assert len(versions(pulled, "Task", "Id", "salesforce")) > 1000
    bad = [
        [(c.table, c.quarantined) for c in accepted_batches(home, "salesforce")[-1].tables] for home in (files, pulled)
    ]
    assert sorted(bad[0]) == sorted(bad[1])


def test_the_page_about_access_names_every_object() -> None:
    page = (PROJECT_ROOT / "docs" / "salesforce-access.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(\w+)`", page.split("| object |")[1].split("## 3")[0]))
    assert named >= {table.name for table in load_source("salesforce").tables}


def test_the_connector_is_not_asked_for_without_its_settings(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, home=tmp_path, salesforce_url="https://acme.my.salesforce.com")  # type: ignore[call-arg]
    with pytest.raises(UsageError, match="SIGHTLINE_SALESFORCE_CLIENT_ID, SIGHTLINE_SALESFORCE_CLIENT_SECRET"):
        syncing.connect(settings, SMALL)
