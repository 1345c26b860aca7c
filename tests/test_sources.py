"""A system is read through the whole pipeline, and no secret is told anywhere on the way."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from urllib.parse import quote

import duckdb
import pytest

from tests.conftest import sightline
from tests.servers.hubspot import HubSpotServer
from tests.servers.salesforce import CLIENT_ID, CLIENT_SECRET, SalesforceServer

TOKEN = "hubspot-token-canary-77C1"
PASSWORD = "sql/password+canary 41B9"
USER, ACCOUNT, DEAL = "005000000000001AAA", "001000000000001AAA", "006000000000001AAA"
ROW = {"SystemModstamp": "2026-01-02T00:00:00.000Z", "CreatedDate": "2026-01-01T00:00:00.000Z", "IsDeleted": False}


@pytest.fixture
def organisation(monkeypatch: pytest.MonkeyPatch) -> Iterator[SalesforceServer]:
    """One seller with one open and one won deal; neither history nor anything else may be read."""
    deal = {"AccountId": ACCOUNT, "OwnerId": USER, "ForecastCategory": "Pipeline", "Probability": 50, **ROW}
    tables = {
        "User": [{"Id": USER, "Name": "Ann Lee", "Email": "ann@example.com", "IsActive": True, **ROW}],
        "Account": [{"Id": ACCOUNT, "Name": "Acme Rockets", **ROW}],
        "Opportunity": [
            {"Id": DEAL, "Name": "One", "StageName": "Proposal", "Amount": 100.5, "CloseDate": "2026-03-31", **deal},
            {
                "Id": DEAL.replace("1A", "2A"),
                "Name": "Two",
                "StageName": "Closed Won",
                "Amount": 250,
                "CloseDate": "2026-01-02",
                **deal,
            },
        ],
    }
    with SalesforceServer(tables, polls=0) as made:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(made.certificate))
        yield made


def told_anywhere(home: Path) -> bytes:
    """All that stands in any file of a home, what is compressed in Parquet as text."""
    parts = []
    for path in sorted(home.rglob("*")):
        if not path.is_file():
            continue
        parts.append(path.read_bytes())
        if path.suffix == ".parquet":
            parts.append(str(duckdb.execute(f"from read_parquet('{path}')").fetchall()).encode())
        if path.suffix == ".duckdb":
            with duckdb.connect(str(path), read_only=True) as connection:
                names = connection.execute(
                    "select database_name, schema_name, table_name from duckdb_tables() where not internal"
                ).fetchall()
                for name in names:
                    table = ".".join(f'"{part}"' for part in name)
                    parts.append(str(connection.execute(f"from {table}").fetchall()).encode())
    return b"\n".join(parts)


def forms(secret: str) -> list[bytes]:
    """As it is, as an address holds it, and as a header of basic access does."""
    return [secret.encode(), quote(secret, safe="").encode(), base64.b64encode(secret.encode()).rstrip(b"=")]


@pytest.fixture
def portal() -> Iterator[HubSpotServer]:
    """A portal that knows another token than ours."""
    with HubSpotServer({}) as made:
        made.token = "another"
        yield made


@pytest.mark.long
def test_a_system_is_read_to_a_release_and_no_secret_is_told(
    organisation: SalesforceServer, portal: HubSpotServer, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    salesforce = {
        "SIGHTLINE_SOURCES": "salesforce",
        "SIGHTLINE_SALESFORCE_URL": organisation.url,
        "SIGHTLINE_SALESFORCE_CLIENT_ID": CLIENT_ID,
        "SIGHTLINE_SALESFORCE_CLIENT_SECRET": CLIENT_SECRET,
    }
    hubspot = {
        "SIGHTLINE_SOURCES": "hubspot",
        "SIGHTLINE_HUBSPOT_URL": portal.url,
        "SIGHTLINE_HUBSPOT_TOKEN": TOKEN,
    }
    tables = tmp_path / "tables.yml"
    tables.write_text("invoices: {table: billing.invoices}\n")
    sql = {
        "SIGHTLINE_SOURCES": "sql",
        "SIGHTLINE_SQL_URL": f"postgresql://finance:{quote(PASSWORD, safe='')}@127.0.0.1:1/billing",
        "SIGHTLINE_SQL_TABLES": str(tables),
    }
    runs = [sightline(home, "doctor", **salesforce), sightline(home, "run", **salesforce)]
    assert [run.exit_code for run in runs] == [0, 0], runs[-1].output
    assert "3 of 25 tables can be read" in runs[0].output
    # The doctor says every table that cannot be read; a run says six lines, and how many more there are.
    for run, count, last in (runs[0], 22, True), (runs[1], 4, False):
        missing = set(re.findall(r"(\w+):? is not there for this user", run.output))
        assert len(missing) == count and "Contact" in missing
        assert ("DatedConversionRate" in missing) is last
    assert "salesforce: 20 more of these in manifest.json, and in sightline doctor" in runs[1].output
    assert runs[1].query("select opportunity_id, stage, amount from core.opportunities order by all") == [
        (DEAL, "Proposal", Decimal("100.5")),
        (DEAL.replace("1A", "2A"), "Closed Won", Decimal(250)),
    ]
    # An error that holds the token of the session, a secret that is not right, and systems that are not there.
    organisation.failing["Opportunity"] = "INVALID_QUERY near {token}"
    wrong = "wrong-secret-canary-93D0"
    broken = [
        sightline(home, "run", **salesforce),
        sightline(home, "run", **{**salesforce, "SIGHTLINE_SALESFORCE_CLIENT_SECRET": wrong}),
        sightline(home, "doctor", **{**salesforce, "SIGHTLINE_SALESFORCE_CLIENT_SECRET": wrong}),
        *(sightline(home, command, **system) for system in (hubspot, sql) for command in ("run", "doctor")),
    ]
    assert [run.exit_code for run in broken] == [3, 3, 2, 3, 2, 3, 2], [run.output for run in broken]
    said = "\n".join(run.output for run in [*runs, *broken])
    assert "INVALID_QUERY near ***" in said and "Traceback" not in said
    everything = told_anywhere(home) + said.encode()
    assert b"Acme Rockets" in everything and b"billing" in everything, "what is looked for would be found"
    secrets = [CLIENT_SECRET, wrong, TOKEN, PASSWORD, *organisation.tokens]
    assert len(organisation.tokens) >= 3
    assert [secret for secret in secrets for form in forms(secret) if form in everything] == []


def test_a_source_without_its_settings_says_what_it_needs(tmp_path: Path) -> None:
    home = tmp_path / "home"
    run = sightline(
        home, "run", SIGHTLINE_SOURCES="salesforce,hubspot", SIGHTLINE_SALESFORCE_URL="https://acme.example"
    )
    assert run.exit_code == 2
    needed = "SIGHTLINE_SALESFORCE_CLIENT_ID, SIGHTLINE_SALESFORCE_CLIENT_SECRET; set it in the environment or in .env."
    assert f"The source salesforce needs {needed}" in run.output
    assert "The source hubspot needs SIGHTLINE_HUBSPOT_TOKEN, or the directory of its own export" in run.output
