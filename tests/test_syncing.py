"""What a connector pulls lands once, whatever happens in between."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from orchestration.diagnosis import Diagnosis, _systems
from orchestration.errors import SourceError
from orchestration.ingest import syncing
from orchestration.ingest.contract import Column, Source, Table
from orchestration.ingest.landing import accept, accepted_batches, land
from orchestration.ingest.syncing import Memory, Offer, sync
from orchestration.settings import Settings

PEOPLE = Table(
    "Person",
    "Person",
    "current",
    True,
    None,
    (
        Column("Id", "text", is_key=True),
        Column("Name", "text", is_required=True),
        Column("segment", "text", is_mapped=True),
        Column("Changed", "text"),
        Column("Size", "decimal"),
        Column("IsDeleted", "bool"),
    ),
    cursor="Changed",
    deleted_by="IsDeleted",
    fields={"Segment__c": "segment", "Shoe__c": "x_Shoe__c"},
)
PLACES = Table("Place", "Place", "current", False, None, (Column("Id", "text", is_key=True), Column("Name", "text")))


@dataclass
class System:
    """A system with two tables; `fails_at` breaks the request of that number."""

    people: dict[str, dict[str, str]] = field(default_factory=dict)
    places: dict[str, dict[str, str]] = field(default_factory=dict)
    offers: dict[str, dict[str, str]] = field(default_factory=dict)
    fails_at: int | None = None
    requests: int = 0
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    def offer(self, table: Table) -> Offer:
        self.request()
        return Offer(self.offers[table.name]) if table.name in self.offers else Offer(problem="may not be read")

    def pull(
        self, table: Table, fields: Mapping[str, str], since: str | None, memory: Memory
    ) -> Iterator[tuple[pa.Table, str | None]]:
        self.asked.append((table.name, since))
        rows = self.people if table.name == "Person" else self.places
        found = [row for row in rows.values() if since is None or row["Changed"] >= since]
        for at in range(0, len(found), 2):
            self.request()
            piece = found[at : at + 2]
            table_of = pa.table({column: [row.get(name) for row in piece] for column, name in fields.items()})
            yield table_of, max((row.get("Changed", "") for row in found[: at + 2]), default=None)
        self.request()

    def request(self) -> None:
        self.requests += 1
        if self.requests == self.fails_at:
            raise ConnectionError("the line is dead, password hunter2")

    def notes(self) -> list[str]:
        return []

    def close(self) -> None:
        pass


FIELDS = {
    "Id": "id",
    "Name": "string",
    "Size": "double",
    "Changed": "datetime",
    "IsDeleted": "boolean",
    "Segment__c": "picklist",
}


def person(number: int, changed: str = "2026-01-01", **more: str) -> dict[str, str]:
    return {"Id": f"p{number}", "Name": f"Person {number}", "Changed": changed, "IsDeleted": "false", **more}


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> System:
    """A system of five people and two places, read by a source called `maven`, whose raw zone is there."""
    made = System(
        people={f"p{number}": person(number) for number in range(5)},
        places={f"l{number}": {"Id": f"l{number}", "Name": f"Place {number}"} for number in range(2)},
        offers={"Person": dict(FIELDS), "Place": {"Id": "id", "Name": "string"}},
    )
    source = Source("maven", (PEOPLE, PLACES), connector="made_up", fingerprint="rules")
    monkeypatch.setattr(syncing, "load_source", lambda name: source)
    monkeypatch.setattr("orchestration.ingest.landing.load_source", lambda name: source)
    monkeypatch.setattr(syncing, "connect", lambda settings, source: made)
    return made


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", sources=("maven",), hubspot_token="hunter2", _env_file=None)


def load(settings: Settings) -> None:
    batch = land(settings, "maven", sync(settings, "maven"))
    assert batch is not None
    for counts in batch.tables:
        assert counts.landed == counts.accepted + counts.quarantined + counts.superseded
    accept(settings, "maven")


def versions(settings: Settings, table: str) -> list[tuple[str, str, str, str]]:
    """Key, name and operation of every version, in the order they became known."""
    files = settings.raw / "maven" / "*" / f"{table}.parquet"
    return duckdb.execute(
        f"select Id, Name, _operation from read_parquet('{files}', union_by_name = true) "
        "order by _extracted_at, _batch_id, Id"
    ).fetchall()


def test_a_sync_interrupted_at_any_request_goes_on_without_loss_or_double(system: System, settings: Settings) -> None:
    load(settings)
    undisturbed = versions(settings, "Person") + versions(settings, "Place")
    assert len(undisturbed) == 7
    requests = system.requests
    for number in range(1, requests + 1):
        elsewhere = settings.model_copy(update={"home": settings.home.with_name(f"home-{number}")})
        (
            elsewhere.__dict__.pop("raw", None),
            elsewhere.__dict__.pop("inbox", None),
            elsewhere.__dict__.pop("incoming", None),
        )
        system.requests, system.fails_at = 0, number
        with pytest.raises(SourceError, match="the line is dead"):
            load(elsewhere)
        assert not accepted_batches(elsewhere, "maven")
        system.fails_at = None
        load(elsewhere)
        assert versions(elsewhere, "Person") + versions(elsewhere, "Place") == undisturbed, number


def test_a_second_sync_asks_for_what_changed_and_lands_nothing_twice(system: System, settings: Settings) -> None:
    load(settings)
    system.people["p1"] = person(1, "2026-02-01", Name="Renamed")
    system.asked.clear()
    load(settings)
    assert system.asked == [("Person", "2026-01-01"), ("Place", None)]
    assert versions(settings, "Person")[5:] == [("p1", "Renamed", "upsert")]
    assert len(versions(settings, "Place")) == 2


def test_what_is_deleted_or_gone_is_a_deletion(system: System, settings: Settings) -> None:
    load(settings)
    system.people["p2"] = person(2, "2026-02-01") | {"IsDeleted": "true"}
    system.people["p9"] = person(9, "2026-02-01") | {"IsDeleted": "true"}
    del system.places["l0"]
    load(settings)
    assert versions(settings, "Person")[5:] == [("p2", "Person 2", "delete")], "p9 was never there"
    assert versions(settings, "Place")[2:] == [("l0", None, "delete")]
    system.people["p2"] = person(2, "2026-03-01")
    load(settings)
    assert versions(settings, "Person")[6:] == [("p2", "Person 2", "upsert")], "restored with the same values"


def test_a_field_that_comes_later_is_read_of_every_row(system: System, settings: Settings) -> None:
    del system.offers["Person"]["Segment__c"]
    load(settings)
    system.offers["Person"]["Segment__c"] = "picklist"
    for row in system.people.values():
        row["Segment__c"] = "large"  # As a default does: no row says that it changed.
    load(settings)
    (count,) = duckdb.execute(
        f"select count(distinct Id) from read_parquet('{settings.raw / 'maven' / '*' / 'Person.parquet'}', "
        "union_by_name = true) where segment = 'large'"
    ).fetchone() or (0,)
    assert count == 5
    assert accepted_batches(settings, "maven")[-1].notes == [
        "Person does not offer Shoe__c: not there, or not granted",
        "Person now also gives Segment__c: read again from the beginning",
    ]


def test_a_field_that_goes_or_changes_its_type_is_told(system: System, settings: Settings) -> None:
    load(settings)
    del system.offers["Person"]["Segment__c"]
    system.offers["Person"]["Name"] = "textarea"
    system.people["p0"] = person(0, "2026-02-01", Name="Zero")
    load(settings)
    assert accepted_batches(settings, "maven")[-1].notes == [
        "Person does not offer Segment__c, Shoe__c: not there, or not granted",
        "Person no longer gives Segment__c: empty in rows that change from now on",
        "Person has other types: Name (string, now textarea)",
        "maven Person has no segment: not known",
    ]
    assert versions(settings, "Person")[5:] == [("p0", "Zero", "upsert")]


def test_a_number_with_an_exponent_has_all_its_digits(system: System, settings: Settings) -> None:
    system.people["p0"] = person(0, Size="1.25E7")
    system.people["p1"] = person(1, Size="-5e-3")
    load(settings)
    file = next((settings.raw / "maven").glob("2*/Person.parquet"))
    found = duckdb.execute(f"select Size from '{file}' where Size is not null order by Id").fetchall()
    assert found == [("12500000",), ("-0.005",)]


def test_white_space_around_a_value_goes_and_an_empty_one_is_null(system: System, settings: Settings) -> None:
    system.people["p0"] = person(0, Name=" Zoë\t", Segment__c="  ")
    load(settings)
    file = next((settings.raw / "maven").glob("2*/Person.parquet"))
    assert duckdb.execute(f"select Name, segment from '{file}' where Id = 'p0'").fetchall() == [("Zoë", None)]


def test_a_row_is_the_same_row_whatever_others_lack(system: System, settings: Settings) -> None:
    """What a row says is put together in one way where every row has a value, and in another where one has none."""
    system.people["p0"] = person(0, Size="12", Segment__c="SMB")
    load(settings)
    columns = ("Id", "Name", "segment", "Changed", "Size", "IsDeleted")
    file = next((settings.raw / "maven").glob("2*/Person.parquet"))
    rows = duckdb.execute(f"select {', '.join(columns)}, _row_hash from '{file}' order by Id").fetchall()
    assert len(rows) == 5
    for *values, found in rows:
        said = chr(31).join(f"{c}={v}" for c, v in zip(columns, values, strict=True) if v is not None)
        assert found == hashlib.md5(said.encode()).hexdigest()
    # Now each row that comes has all columns: the ones that are as before are no new versions.
    system.people = {"p0": system.people["p0"], "p7": person(7, Size="1", Segment__c="SMB")}
    load(settings)
    assert versions(settings, "Person")[5:] == [("p7", "Person 7", "upsert")]


def test_a_refused_batch_is_asked_for_again(system: System, settings: Settings) -> None:
    load(settings)
    system.people["p3"] = person(3, "2026-02-01", Name="Three")
    land(settings, "maven", sync(settings, "maven"))  # Landed, and not accepted.
    system.asked.clear()
    load(settings)
    assert system.asked[0] == ("Person", "2026-01-01")
    assert versions(settings, "Person")[5:] == [("p3", "Three", "upsert")]


def test_rows_that_were_kept_out_are_asked_for_again_once_policy_has_learnt(
    system: System, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    system.people["p4"] = person(4, Name="")
    load(settings)
    assert [row[0] for row in versions(settings, "Person")] == ["p0", "p1", "p2", "p3"]
    (counts, _) = accepted_batches(settings, "maven")[-1].tables
    assert counts.quarantined == 1
    # Nobody touches the row: a name may be empty now.
    columns = tuple(replace(column, is_required=False) for column in PEOPLE.columns)
    learnt = Source("maven", (replace(PEOPLE, columns=columns), PLACES), connector="made_up", fingerprint="learnt")
    monkeypatch.setattr(syncing, "load_source", lambda name: learnt)
    monkeypatch.setattr("orchestration.ingest.landing.load_source", lambda name: learnt)
    system.people["p0"] = person(0, "2026-02-01")
    load(settings)
    assert [row[0] for row in versions(settings, "Person")][4:] == ["p0", "p4"]
    system.asked.clear()
    load(settings)
    assert system.asked[0] == ("Person", "2026-02-01")


def test_a_table_that_may_not_be_read_is_told_and_the_others_are_read(system: System, settings: Settings) -> None:
    del system.offers["Place"]
    load(settings)
    assert "Place may not be read" in accepted_batches(settings, "maven")[-1].notes
    assert len(versions(settings, "Person")) == 5


def test_a_secret_is_taken_out_of_what_a_library_says(system: System, settings: Settings) -> None:
    system.fails_at = 1
    with pytest.raises(SourceError, match=r"password \*\*\*") as failure:
        sync(settings, "maven")
    assert "hunter2" not in str(failure.value)
    assert "hunter2" not in json.dumps(settings.model_dump(), default=str)


def test_the_doctor_says_what_may_not_be_read_and_what_it_costs(
    system: System, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestration.diagnosis.load_source", syncing.load_source)
    monkeypatch.setattr("orchestration.diagnosis.connect", lambda settings, source: system)
    monkeypatch.setattr("orchestration.diagnosis.examine", lambda settings, source: [access])
    monkeypatch.setattr("orchestration.diagnosis.is_configured", lambda settings, source: True)
    monkeypatch.setattr("orchestration.diagnosis.marts_without", lambda source, table: ["core.reps", "people.talent"])
    access = Diagnosis("system", "ok", "lets us in")
    del system.offers["Place"]
    told = [(found.subject, found.state, found.text) for found in _systems(settings)]
    cost = "without it these are empty or say less: core: reps; people: talent"
    assert told == [
        ("system", "ok", "lets us in"),
        ("maven Person", "warning", f"Shoe__c may not be read, or is not there; {cost}"),
        ("maven Place", "warning", f"may not be read; {cost}"),
        ("maven", "ok", "1 of 2 tables can be read"),
    ]
    del system.offers["Person"]["Name"]
    assert ("maven Person", "problem") in [(found.subject, found.state) for found in _systems(settings)]
