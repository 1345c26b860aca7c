"""Who sees what: each mart as each kind of reader sees it, and everything that tries to see more."""

from __future__ import annotations

import io
import json
import re
import shutil
import stat
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import duckdb
import pandas as pd
import pytest

from dashboards import login
from dashboards.access import NotAReader, Viewer, everyone, only_marts, page_readers, restrict, viewer_of
from dashboards.release import Release
from orchestration.errors import UsageError
from orchestration.publish.readers import readers_of
from orchestration.settings import PROJECT_ROOT, Settings
from tests.browser import drawn, every_part, opened, served, text
from tests.conftest import Run
from tests.oracles.access import SEEN, scope_of, tables_of, texts
from tests.servers.oidc import CLIENT, SECRET, provider

NO_POLICY = "email,sees,why\n"


@pytest.fixture(scope="module")
def tables(demo_release: Path) -> dict[str, pd.DataFrame]:
    return tables_of(demo_release)


@pytest.fixture(scope="module")
def people(tables: dict[str, pd.DataFrame]) -> dict[str, str]:
    """One reader of each kind, by what they are: the seller with most deals, and one of another team with least."""
    reps = tables["core.reps"]
    now = reps[reps["is_current"] & reps["terminated_on"].isna()]
    deals = tables["core.opportunities"].groupby("owner_id").size()
    managers = set(now["manager_id"].dropna())
    sellers = now[~now["rep_id"].isin(managers)].assign(deals=now["rep_id"].map(deals).fillna(0))
    above = set(now.loc[now["rep_id"].isin(managers), "manager_id"].dropna())
    executives = set(now.loc[now["role"] == "executive", "rep_id"])
    second = sorted((managers & above) - executives)
    seller = sellers.sort_values("deals")["rep_id"].iloc[-1]
    (manager,) = now.loc[now["rep_id"] == seller, "manager_id"]
    others = sellers[(sellers["manager_id"] != manager) & (sellers["deals"] > 0)]
    other = others.sort_values(["deals", "rep_id"])["rep_id"].iloc[0]
    assert sellers["deals"].max() > 5 and second and executives
    return {
        "seller": seller,
        "seller of another team": other,
        "manager": manager,
        "second line": second[0],
        "executive": sorted(executives)[0],
    }


@pytest.fixture(scope="module")
def address(tables: dict[str, pd.DataFrame]) -> Callable[[str], str]:
    reps = tables["core.reps"]
    return lambda person: str(reps.loc[reps["rep_id"] == person, "email"].iloc[0])


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "page_readers.csv"
    path.write_text(NO_POLICY)
    return path


def readers(release: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((release.parent / "manifest.json").read_text())["readers"]
    return found


@pytest.mark.parametrize("kind", ["seller", "seller of another team", "manager", "second line", "executive"])
def test_each_mart_shows_a_reader_the_rows_an_oracle_says_and_no_other(
    kind: str,
    demo_release: Path,
    tables: dict[str, pd.DataFrame],
    people: dict[str, str],
    address: Callable[[str], str],
    policy: Path,
) -> None:
    viewer = viewer_of(demo_release, address(people[kind]).upper(), policy)
    assert viewer.person_id == people[kind]
    assert set(SEEN) == set(tables)
    scope = scope_of(people[kind], tables)
    hidden = 0
    with restrict(demo_release, readers(demo_release), viewer) as connection:
        for table, frame in tables.items():
            seen = connection.execute(f"select hash(t) from {table} as t order by 1").fetchall()
            expected = frame if kind == "executive" else frame[SEEN[table](frame, scope)]
            hidden += len(frame) - len(expected)
            assert [row[0] for row in seen] == sorted(expected["_row"]), (table, len(seen), len(expected))
    assert (hidden == 0) == (kind == "executive")
    if kind != "executive":
        assert viewer.sees == frozenset(scope.persons)


def test_nobody_else_stands_in_what_a_seller_sees_but_where_it_is_said(
    demo_release: Path, tables: dict[str, pd.DataFrame], people: dict[str, str]
) -> None:
    """Whatever the rules say: the ids and names of others, looked for in every cell that is open."""
    reps = tables["core.reps"]
    others = reps[reps["rep_id"] != people["seller"]]
    own_names = set(reps.loc[reps["rep_id"] == people["seller"], "name"])
    words = (set(others["rep_id"]) | set(others["name"]) | set(others["email"].dropna())) - own_names
    allowed = {"manager_id", "manager_name"}
    on_own_deals = {
        # Who works on a deal, owned it before, or may be asked to help with it.
        "funnel.deal_teams": {"user_id", "name"},
        "funnel.specialist_suggestions": {"suggested_user_id", "suggested_name"},
        "funnel.opportunity_history": {"owner_id"},
        "funnel.pipeline_snapshots": {"owner_id"},
        "funnel.review_agenda": {"owner_id"},
        "funnel.opportunity_movements": {"scope_id"},
        # Whose outlook an own deal moves.
        "forecast_accuracy.outlook_drivers": {"scope_id"},
        # An own account may belong to a group that somebody else holds, and have deals that somebody else won.
        "retention.renewals": {"account_manager_id", "account_manager_name"},
        "reconciliation.booking_to_billing": {"owner", "owner_id"},
        "key_accounts.key_account_health": {"executive_sponsor_id", "executive_sponsor_name"},
        "key_accounts.plan_execution": {"owner_id", "owner_name", "executive_sponsor_id", "executive_sponsor_name"},
    }
    viewer = Viewer(sees=frozenset({people["seller"]}))
    with restrict(demo_release, readers(demo_release), viewer) as connection:
        for table in tables:
            seen = connection.execute(f"select * from {table}").fetchdf()
            named = {column for column in texts(seen) if seen[column].isin(words).any()}
            assert named <= allowed | on_own_deals.get(table, set()), (table, named)


def test_a_leavers_deals_belong_to_the_managers_above(demo_release: Path, tables: dict[str, pd.DataFrame]) -> None:
    reps, deals = tables["core.reps"], tables["core.opportunities"]
    leavers = reps[reps["is_current"] & reps["terminated_on"].notna() & reps["manager_id"].notna()]
    leavers = leavers[leavers["rep_id"].isin(deals["owner_id"])]
    leaver = leavers.iloc[0]
    above = Viewer(sees=frozenset(scope_of(leaver["manager_id"], tables).persons))
    with restrict(demo_release, readers(demo_release), above) as connection:
        seen = connection.execute(
            "select opportunity_id from core.opportunities where owner_id = ?", [leaver["rep_id"]]
        ).fetchall()
    assert {row[0] for row in seen} == set(deals.loc[deals["owner_id"] == leaver["rep_id"], "opportunity_id"])


def small_release(folder: Path, people: list[tuple[str | None, ...]]) -> Path:
    """A release with people alone: id, e-mail address, role, manager, day of leaving."""
    database = folder / "sightline.duckdb"
    with duckdb.connect(str(database)) as connection:
        connection.execute("create schema core")
        connection.execute(
            "create table core.reps (rep_id varchar, name varchar, email varchar, role varchar, manager_id varchar, "
            "is_current boolean, terminated_on date)"
        )
        for person, email, role, manager, left in people:
            connection.execute(
                "insert into core.reps values (?, ?, ?, ?, ?, true, ?)", [person, person, email, role, manager, left]
            )
    return database


def test_managers_in_a_circle_end_and_see_each_other(tmp_path: Path, policy: Path) -> None:
    database = small_release(
        tmp_path,
        [
            ("a", "a@x.com", "manager", "b", None),
            ("b", "b@x.com", "manager", "a", None),
            ("c", "c@x.com", "account_executive", "b", None),
            ("d", "d@x.com", "account_executive", "d", None),
        ],
    )
    assert viewer_of(database, "a@x.com", policy).sees == {"a", "b", "c"}
    assert viewer_of(database, "c@x.com", policy).sees == {"c"}
    assert viewer_of(database, "d@x.com", policy).sees == {"d"}


def test_somebody_unknown_doubled_or_gone_is_refused_with_a_sentence(tmp_path: Path, policy: Path) -> None:
    database = small_release(
        tmp_path,
        [
            ("a", "two@x.com", "manager", None, None),
            ("b", "two@x.com", "account_executive", "a", None),
            ("c", "gone@x.com", "account_executive", "a", "2026-01-31"),
            ("d", "again@x.com", "account_executive", "a", "2025-01-31"),
            ("e", "again@x.com", "account_executive", "a", None),
            ("f", None, "executive", None, None),
        ],
    )
    with pytest.raises(NotAReader, match=r"^Two people in the CRM have the e-mail address two@x\.com"):
        viewer_of(database, "two@x.com", policy)
    for stranger in ("gone@x.com", "stranger@x.com", "", "none", "null", "%", "' or ''='"):
        with pytest.raises(NotAReader, match="^No page is open to"):
            viewer_of(database, stranger, policy)
    assert viewer_of(database, "again@x.com", policy).person_id == "e"


def test_the_policy_opens_the_pages_to_whom_the_crm_does_not_know(tmp_path: Path, policy: Path) -> None:
    database = small_release(
        tmp_path,
        [
            ("boss", "boss@x.com", "executive", None, None),
            ("m", "m@x.com", "manager", "boss", None),
            ("s", "s@x.com", "account_executive", "m", None),
        ],
    )
    policy.write_text(
        NO_POLICY + "Finance@x.com,everything,closes the books\nstand.in@x.com,m,while m is away\n"
        "s@x.com,everything,builds the pages\nlost@x.com,nobody,\n"
    )
    assert viewer_of(database, "finance@X.com", policy).sees is None
    assert viewer_of(database, "stand.in@x.com", policy).sees == {"m", "s"}
    assert viewer_of(database, "s@x.com", policy).sees is None
    assert viewer_of(database, "m@x.com", policy).sees == {"m", "s"}
    with pytest.raises(NotAReader, match=r"page_readers\.csv opens the pages to lost@x\.com as nobody"):
        viewer_of(database, "lost@x.com", policy)
    policy.write_text(NO_POLICY + "a@x.com,everything,\nA@x.com,m,\n")
    with pytest.raises(UsageError, match="twice"):
        page_readers(policy)
    policy.write_text(NO_POLICY + "a@x.com,,\n")
    with pytest.raises(UsageError, match="^Line 2 of page_readers.csv"):
        page_readers(policy)
    assert isinstance(page_readers(), dict)


def test_a_mart_that_says_nothing_is_empty_for_whoever_does_not_see_everything(
    demo_release: Path, people: dict[str, str]
) -> None:
    said = readers(demo_release)
    del said["funnel.win_rates"]
    viewer = Viewer(sees=frozenset({people["seller"]}))
    for rules, table in ((said, "funnel.win_rates"), ({}, "core.opportunities"), ({}, "core.calendar")):
        with restrict(demo_release, rules, viewer) as connection:
            assert connection.execute(f"select count(*) from {table}").fetchone() == (0,)
        with restrict(demo_release, rules, everyone()) as connection:
            assert connection.execute(f"select count(*) > 0 from {table}").fetchone() == (True,)
    for wrong in (None, "managers", {}, {"persons": ["owner_id"]}, {"member": {"of": "a"}}, {"row_of": {"table": "b"}}):
        with pytest.raises(UsageError, match="^readers of a.b are not"):
            readers_of("a.b", wrong)


SCHEMES = [
    "select * from {alias}.core.reps",
    "from {alias}.people.talent",
    "select (select max(name) from {alias}.core.reps)",
    "with a as (select * from core.reps) select * from {alias}.core.reps",
    "with reps as (select 1) select * from {alias}.core.reps, reps",
    "select * from query('from {alias}.core.reps')",
    "select * from query_table('{alias}.core.reps')",
    "select * from query_table(['{alias}.core.reps'])",
    "select * from duckdb_tables()",
    "select * from duckdb_views()",
    "select * from duckdb_databases()",
    "select * from pragma_database_list()",
    "select * from information_schema.tables",
    "select * from pg_catalog.pg_views",
    "from sqlite_master",
    "from scope.people",
    "from memory.core.reps",
    "from main.core.reps",
    "show tables",
    "show all tables",
    "describe core.reps",
    "summarize core.reps",
    "pragma database_list",
    "explain select 1",
    "select 1; from {alias}.core.reps",
    "select * from core.reps where name = ''; drop view core.reps; --'",
    "create or replace view core.reps as from {alias}.core.reps",
    "drop view core.reps",
    "insert into scope.people from {alias}.core.reps",
    "update scope.people set id = 'x'",
    "attach '{database}' as other",
    "use {alias}",
    "set search_path = '{alias}.core'",
    "set enable_external_access = true",
    "copy core.reps to 'reps.csv'",
    "export database 'here'",
    "install httpfs",
    "load httpfs",
    "from '{database}'",
    "from '{parquet}'",
    "select * from read_parquet('{parquet}')",
    "select * from parquet_scan('{parquet}')",
    "select * from read_csv('/etc/passwd')",
    "select * from read_text('/etc/passwd')",
    "select * from read_blob('/etc/passwd')",
    "select * from glob('/*')",
    "select * from sniff_csv('/etc/passwd')",
    "prepare p as from {alias}.core.reps",
    "execute p",
    "call duckdb_tables()",
    "values (1) union all select count(*) from {alias}.core.reps",
    "select * from core.reps union by name from {alias}.core.reps",
    "select 1 where exists (from {alias}.core.reps)",
    "pivot {alias}.core.reps on role using count(*)",
    "from core.reps semi join {alias}.people.talent on true",
    "select * from core.reps, lateral (from {alias}.people.talent)",
]


@pytest.fixture
def release(demo_release: Path, people: dict[str, str]) -> Iterator[Release]:
    found = Release(demo_release.parent, Viewer("A seller", sees=frozenset({people["seller"]})))
    yield found
    found.close()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_text_of_a_query_reaches_behind_the_views(scheme: str, release: Release) -> None:
    """Even one that knows the name nobody can guess."""
    (alias,) = [
        row[0]
        for row in release._connection.execute("select database_name from duckdb_databases()").fetchall()
        if str(row[0]).startswith("release_")
    ]
    database = release.folder / "sightline.duckdb"
    parquet = release.folder / "parquet" / "core" / "reps.parquet"
    with pytest.raises(UsageError, match="^Pages read marts"):
        release.rows(scheme.format(alias=alias, database=database, parquet=parquet))


def test_what_pages_do_ask_is_let_through(release: Release) -> None:
    marts = frozenset(release.tables)
    for asked in (
        "select count(*) from core.reps",
        "with a as (select 1 as x), b as (from a) select * from b join core.stages on true",
        "with recursive n as (select 1 as i union all select i + 1 from n where i < 3) select * from n",
        "select * from core.opportunities where manager_id in (select unnest(?))",
        "select * from unnest([1, 2]) as t(x), range(3), generate_series(1, 2)",
        "from funnel.win_rates select count(*)",
        "values (1)",
    ):
        only_marts(asked, marts)


def test_the_connection_itself_reads_nothing_else_and_stays_as_it_is(release: Release) -> None:
    connection = release._connection
    for statement in (
        "set enable_external_access = true",
        "set lock_configuration = false",
        "reset lock_configuration",
        f"attach '{release.folder / 'sightline.duckdb'}' as other",
        f"from '{release.folder / 'parquet' / 'core' / 'reps.parquet'}'",
        "from read_text('/etc/passwd')",
        "select * from 'https://127.0.0.1/a.parquet'",
        "copy (select 1) to 'out.csv'",
        "load httpfs",
    ):
        with pytest.raises(duckdb.Error):
            connection.execute(statement)
    (alias,) = [
        row[0]
        for row in connection.execute("select database_name from duckdb_databases()").fetchall()
        if str(row[0]).startswith("release_")
    ]
    assert len(alias) == len("release_") + 32
    with pytest.raises(duckdb.Error, match="read-only"):
        connection.execute(f"delete from {alias}.core.reps")


@pytest.mark.parametrize(
    "value",
    [
        "' or 1=1 --",
        "x') or (1=1",
        "%",
        "_",
        "*",
        "\\",
        "a'; drop view core.reps; --",
        "U' union all from core.reps --",
    ],
)
def test_what_comes_in_an_address_is_a_value_and_nothing_else(value: str, release: Release) -> None:
    assert len(release.rows("select * from core.opportunities where opportunity_id = ?", (value,))) == 0
    assert len(release.rows("select * from core.reps where rep_id in (select unnest(?))", ([value],))) == 0
    assert release.has("core.reps")


def test_filters_offer_a_reader_nobody_the_reader_does_not_see(
    demo_release: Path, tables: dict[str, pd.DataFrame], people: dict[str, str]
) -> None:
    from dashboards.filters import teams

    for kind in ("seller", "manager", "second line"):
        scope = scope_of(people[kind], tables)
        reader = Release(demo_release.parent, Viewer(kind, sees=frozenset(scope.persons)))
        assert set(teams(reader)) <= scope.persons
        reader.close()


def complete(home: Path, **other: str) -> Settings:
    return Settings(
        home=home,
        **{
            "web_oidc_issuer": "https://login.example.com/",
            "web_oidc_client_id": "pages",
            "web_oidc_client_secret": 'a "quoted" \\ secret',
            "web_oidc_cookie_secret": "c" * 32,
            "web_url": "https://pages.example.com",
            **other,
        },  # type: ignore[arg-type]
    )


def test_beyond_this_machine_the_pages_start_only_with_a_login(tmp_path: Path) -> None:
    without = Settings(home=tmp_path)
    for host in ("127.0.0.1", "localhost", "::1", "127.8.0.1"):
        assert login.options(without, host)["server.trustedUserHeaders"] == "{}"
    for host in ("0.0.0.0", "", "::", "192.168.1.4", "pages.example.com", "localhost.example.com", "127.0.0.1.nip.io"):
        with pytest.raises(UsageError, match=r"^The pages are not opened on .* SIGHTLINE_WEB_OIDC_ISSUER"):
            login.options(without, host)
    for name in (
        "web_oidc_issuer",
        "web_oidc_client_id",
        "web_oidc_client_secret",
        "web_oidc_cookie_secret",
        "web_url",
    ):
        for host in ("0.0.0.0", "127.0.0.1"):
            with pytest.raises(UsageError, match=f"not complete: set SIGHTLINE_{name.upper()} too"):
                login.options(complete(tmp_path, **{name: ""}), host)
    for name, value, said in (
        ("web_oidc_issuer", "http://login.example.com", "must be an address that begins with https"),
        ("web_url", "http://pages.example.com", "must be an address that begins with https"),
        ("web_url", "https://pages.example.com/sales", "without a path"),
        ("web_oidc_cookie_secret", "short", "fewer than 32 characters"),
    ):
        with pytest.raises(UsageError, match=said):
            login.options(complete(tmp_path, **{name: value}), "0.0.0.0")
    assert not (tmp_path / "web" / "secrets.toml").exists()


def test_the_secrets_of_the_login_are_for_its_own_user_alone(tmp_path: Path) -> None:
    chosen = login.options(complete(tmp_path), "0.0.0.0")
    path = tmp_path / "web" / "secrets.toml"
    assert chosen["secrets.files"] == str(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert tomllib.loads(path.read_text())["auth"] == {
        "redirect_uri": "https://pages.example.com/oauth2callback",
        "cookie_secret": "c" * 32,
        "client_id": "pages",
        "client_secret": 'a "quoted" \\ secret',
        "server_metadata_url": "https://login.example.com/.well-known/openid-configuration",
    }
    assert not [value for value in chosen.values() if "secret " in value or "c" * 32 in value]
    path.chmod(0o644)
    login.options(complete(tmp_path), "127.0.0.1")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    login.options(Settings(home=tmp_path), "127.0.0.1")
    assert not path.exists()


def test_only_a_verified_address_of_a_login_of_today_counts() -> None:
    good = {"email": "Ann@X.com ", "email_verified": True}
    assert login.verified_address(good) == "ann@x.com"
    assert login.verified_address({"email": "ann@x.com", "xms_edov": "1"}) == "ann@x.com"
    for claims in ({}, {"email": None}, {"email": "ann"}, {"preferred_username": "ann@x.com", "email_verified": True}):
        with pytest.raises(NotAReader, match="no e-mail address"):
            login.verified_address(claims)
    for verified in (False, None, "false", 0, "no"):
        with pytest.raises(NotAReader, match="verified"):
            login.verified_address({"email": "ann@x.com", "email_verified": verified})
    now = 1_800_000_000.0
    assert login._is_recent({"iat": now - 11 * 3600}, now)
    for iat in (now - 13 * 3600, now + 3600, None, "soon"):
        assert not login._is_recent({"iat": iat}, now)
    assert not login._is_recent({}, now)


def test_without_a_login_only_this_machine_is_served(tmp_path: Path) -> None:
    assert login._not_from_here("127.0.0.1", {"Host": "127.0.0.1:8501"}) is None
    assert login._not_from_here("localhost", {"Host": "localhost:8501"}) is None
    assert login._not_from_here("::1", {"Host": "[::1]:8501"}) is None
    for served_on, headers in (
        ("", {"Host": "127.0.0.1:8501"}),
        ("0.0.0.0", {"Host": "127.0.0.1:8501"}),
        ("127.0.0.1", {"Host": "pages.example.com"}),
        ("127.0.0.1", {"Host": "127.0.0.1.nip.io:8501"}),
        ("127.0.0.1", {}),
        ("127.0.0.1", {"Host": "127.0.0.1", "X-Forwarded-For": "127.0.0.1"}),
        ("127.0.0.1", {"Host": "127.0.0.1", "Forwarded": "for=127.0.0.1"}),
    ):
        assert "this machine only" in (login._not_from_here(served_on, headers) or ""), (served_on, headers)


def strings_in(payload: bytes) -> bytes:
    """What stands in a file that was downloaded, a workbook unpacked."""
    if payload[:2] != b"PK":
        return payload
    with zipfile.ZipFile(io.BytesIO(payload)) as book:
        return b"\n".join(book.read(name) for name in book.namelist())


@pytest.mark.long
def test_after_a_login_a_seller_is_sent_nothing_of_anybody_else(
    demo_run: Run,
    chromium: Any,
    tables: dict[str, pd.DataFrame],
    people: dict[str, str],
    address: Callable[[str], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Every byte the server sends to a browser, over every page, with addresses that ask for somebody else."""
    home = tmp_path_factory.mktemp("login") / "home"
    (home / "published").mkdir(parents=True)
    shutil.copytree(demo_run.database.resolve().parent, home / "published" / demo_run.database.resolve().parent.name)
    (home / "published" / "current").symlink_to(demo_run.database.resolve().parent.name)

    from dashboards.app import PAGES

    modules = [module for module, _, _ in PAGES if find_spec(f"dashboards.pages.{module}")]
    seller = people["seller"]
    viewer = Viewer(sees=frozenset({seller}))
    with restrict(demo_run.database, readers(demo_run.database), viewer) as connection:
        open_words = {
            str(value)
            for table, frame in tables.items()
            for column in texts(frame)
            for (value,) in connection.execute(f'select distinct "{column}" from {table}').fetchall()
        }
    reps, deals = tables["core.reps"], tables["core.opportunities"]
    secret = {*reps["name"], *reps["email"].dropna(), *deals["name"], *tables["core.accounts"]["name"]} - open_words
    secret = {word for word in secret if not any(word in other for other in open_words)}
    names = set(reps["name"]) & secret
    assert len(names) > 5 and len(secret) > 100
    foreign = deals[~deals["opportunity_id"].isin(open_words)].iloc[0]["opportunity_id"]
    account = tables["core.accounts"]["account_id"][~tables["core.accounts"]["account_id"].isin(open_words)].iloc[0]
    keys = {
        key
        for path in (PROJECT_ROOT / "dashboards").rglob("*.py")
        for key in re.findall(r'(?:key=|choose_one\([^)]*?, )"([a-z_]+)"', path.read_text())
    }
    assert {"team", "table"} <= keys
    asked = {key: foreign if "deal" in key else account if "account" in key else people["manager"] for key in keys}
    asked_for = urlencode({**asked, "team": people["second line"], "table": "core.reps", "period": "2026-Q1"})
    wanted = re.compile("|".join(re.escape(word) for word in sorted(secret)).encode())

    with provider() as known:
        login_settings = {
            "SIGHTLINE_WEB_OIDC_ISSUER": known.issuer,
            "SIGHTLINE_WEB_OIDC_CLIENT_ID": CLIENT,
            "SIGHTLINE_WEB_OIDC_CLIENT_SECRET": SECRET,
            "SIGHTLINE_WEB_OIDC_COOKIE_SECRET": "0123456789abcdef" * 4,
        }
        with served(home, behind_login=True, **login_settings) as site:
            received: list[bytes] = []

            def watch(page: Any) -> None:
                page.on("websocket", lambda socket: socket.on("framereceived", keep))

            def keep(payload: Any) -> None:
                received.append(payload if isinstance(payload, bytes) else str(payload).encode())

            def enter(page: Any) -> None:
                page.get_by_role("button", name="Log in", exact=True).click()
                # There and back, until something else is said.
                page.wait_for_function(
                    "() => { const said = document.querySelector('[data-testid=stMain]')?.innerText.trim(); "
                    "return said && !said.startsWith('Sightline opens to people') }",
                    timeout=60_000,
                )
                page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=60_000)

            known.claims = {"email": address(seller), "email_verified": True}
            with opened(chromium, site) as page:
                assert text(page).strip().startswith("Sightline opens to people who are logged in.")
                assert page.locator("[data-testid=stSidebarNav]").count() == 0
                enter(page)
                watch(page)
                page.goto(f"{site}/data")
                drawn(page)
                (name,) = reps.loc[(reps["rep_id"] == seller) & reps["is_current"], "name"]
                assert f"read by {name}" in text(page)
                for module in modules:
                    page.goto(f"{site}/{module}?{asked_for}")
                    drawn(page)
                    said = ""
                    for _ in every_part(page):
                        said += text(page)
                        for words in ("CSV", "Excel"):
                            for button in page.get_by_role("button", name=words, exact=True).all()[:1]:
                                with page.expect_download(timeout=30_000) as waiting:
                                    button.click()
                                received.append(strings_in(Path(waiting.value.path()).read_bytes()))
                    assert module != "funnel" or name in said.replace(f"read by {name}", "")
                everything = b"\n".join(received)
                assert name.encode() in everything and len(everything) > 10_000
                assert set(wanted.findall(everything)) == set()

            # A manager reads of the own team, whosever the address asks for.
            known.claims = {"email": address(people["manager"]), "email_verified": True}
            (leader,) = reps.loc[(reps["rep_id"] == people["manager"]) & reps["is_current"], "name"]
            if "funnel" in modules:
                with opened(chromium, site) as page:
                    enter(page)
                    for asked_of in ("", f"?team={people['second line']}"):
                        page.goto(f"{site}/funnel{asked_of}")
                        drawn(page)
                        assert f"the team of {leader}" in text(page)

            # The same look at an executive's page finds what a seller was not sent.
            known.claims = {"email": address(people["executive"]), "email_verified": True}
            received.clear()
            with opened(chromium, site) as page:
                enter(page)
                watch(page)
                page.goto(f"{site}/data?table=core.reps")
                drawn(page)
                assert set(wanted.findall(b"\n".join(received)))

            for claims, said in (
                ({"email": "stranger@example.com", "email_verified": True}, "No page is open to stranger@example.com"),
                ({"email": address(people["executive"])}, "is verified to be yours"),
            ):
                known.claims = claims
                received.clear()
                with opened(chromium, site) as page:
                    watch(page)
                    enter(page)
                    assert said in text(page)
                    assert page.locator("[data-testid=stSidebarNav]").count() == 0
                    shown = b"\n".join(received)
                    assert not [word for word in {*reps["name"], *deals["name"]} if word.encode() in shown]
            known.claims = {"email": address(people["executive"]), "email_verified": True}
            known.issued = 13 * 3600
            with opened(chromium, site) as page:
                enter(page)
                assert "more than 12 hours ago" in text(page)
        log = (home.parent / next(home.parent.glob("web-*.log")).name).read_text()
        assert SECRET not in log and "Traceback" not in log
