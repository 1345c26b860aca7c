"""Two companies in one run, small enough to work out on paper: ids that collide, finance that points at both."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

import duckdb
import pytest

from orchestration.errors import UsageError
from orchestration.ingest.deliveries import delivered_elsewhere, real_deliveries
from orchestration.ingest.extracts import extract_directory
from orchestration.ingest.landing import accept, land
from orchestration.settings import DBT_PROJECT, Settings, load_settings
from tests.conftest import Run, released_once, sightline
from tests.extracts import write_extract
from tests.warehouse import Warehouse

# A whole run of two sources.
pytestmark = pytest.mark.long

USERS = """\
user_id,name,role,manager_id,region,segment,hired_on
m1,Mara,manager,,North,,2020-01-06
s1,Sam,account_executive,m1,North,SMB,2021-03-01
s2,Sofia,account_executive,m1,North,SMB,2022-09-12
"""
ACCOUNTS = "account_id,name,parent_account_id,segment\na1,Arden,,SMB\na2,Birch,,SMB\na3,Arden Dairy,a1,SMB\n"
DEALS = """\
opportunity_id,account_id,owner_id,stage,amount,product_id,created_at,close_date,closed_at
o1,a1,s1,Closed Won,1000,p1,2026-01-01T00:00:00Z,2026-01-31,2026-01-31T00:00:00Z
o2,a2,s1,Closed Lost,400,p1,2026-01-05T00:00:00Z,2026-02-25,2026-02-25T00:00:00Z
o3,a3,s2,Proposal,700,p1,2026-02-01T00:00:00Z,2026-04-30,
"""
# Sam gave the deal to Sofia.
CHANGES = """\
change_id,opportunity_id,field,old_value,new_value,changed_at
h1,o3,owner_id,s1,s2,2026-02-10T00:00:00Z
h2,o3,amount,600,700,2026-02-11T00:00:00Z
"""
PRODUCTS = "product_id,name,list_price,currency\np1,Thing,100,USD\n"
# Finance bills both companies: what names no source is of the first one's CRM.
CUSTOMERS = "customer_id,crm_account_id,name\nc1,a1,Arden\nc2,maven:a5,Cedar\nc3,maven:a1,Dune\n"
INVOICES = """\
invoice_id,customer_id,crm_opportunity_id,invoice_date,amount,currency
i1,c1,o1,2026-02-01,1000,USD
i2,c2,maven:o2,2026-02-22,2000,USD
"""
SUBSCRIPTIONS = """\
subscription_id,customer_id,start_date,arr,currency
u1,c1,2026-01-31,1200,USD
u2,c2,2026-02-20,600,USD
u3,c3,2026-02-01,50,USD
"""
TARGETS = """\
period_start,period_end,metric,scope_type,scope_id,amount,currency
2026-01-01,2026-03-31,bookings,user,s1,5000,USD
2026-01-01,2026-03-31,bookings,user,maven:s1,3000,USD
2026-01-01,2026-03-31,bookings,region,North,9000,USD
"""
# The other company's export: names are ids there, and they are the same words.
MAVEN = {
    "sales_teams": "sales_agent,manager,regional_office\ns1,m1,West\ns3,m1,West\n",
    "accounts": "account,sector,subsidiary_of\na1,retail,\na4,retail,a1\na5,medical,\n",
    "products": "product,series,sales_price\np1,P,550\n",
    "sales_pipeline": """\
opportunity_id,sales_agent,product,account,deal_stage,engage_date,close_date,close_value
o1,s1,p1,a1,Lost,2026-01-05,2026-02-05,0
o2,s1,p1,a5,Won,2026-01-10,2026-02-20,2000
o4,s3,p1,a4,Engaging,2026-02-01,,
""",
}
TABLES = [
    "core.accounts",
    "core.opportunities",
    "core.united_accounts",
    "core.data_coverage",
    "funnel.win_rates",
    "retention.arr_movements",
    "reconciliation.booking_to_billing",
]


def write_maven(folder: Path) -> Path:
    folder.mkdir()
    for name, text in MAVEN.items():
        (folder / f"{name}.csv").write_text(text)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    def make(home: Path) -> Run:
        extract = write_extract(
            home.parent / "north",
            extracted_at="2026-03-15T06:00:00Z",
            crm_users=USERS,
            crm_accounts=ACCOUNTS,
            crm_opportunities=DEALS,
            crm_opportunity_changes=CHANGES,
            crm_products=PRODUCTS,
            finance_customers=CUSTOMERS,
            finance_invoices=INVOICES,
            finance_subscriptions=SUBSCRIPTIONS,
            finance_targets=TARGETS,
        )
        maven = write_maven(home.parent / "west")
        return sightline(
            home, "run", "--source", "extract,maven", "--extract", f"extract={extract},maven={maven}"
        )  # fmt: skip

    return released_once(tmp_path_factory, "several_sources", make)


@pytest.fixture(scope="module")
def warehouse(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    return Warehouse(run, tmp_path_factory.mktemp("united") / "home", TABLES, with_extracts=True)


def united(warehouse: Warehouse, *rows: tuple[str, str, str, str]) -> duckdb.DuckDBPyConnection:
    """The marts with these rows of seeds/account_crosswalk.csv."""
    with duckdb.connect(str(warehouse.database)) as connection:
        connection.execute("delete from policy.account_crosswalk")
        if rows:
            connection.executemany("insert into policy.account_crosswalk values (?, ?, ?, ?)", rows)
    warehouse.build(date(2026, 3, 15))
    return duckdb.connect(str(warehouse.database), read_only=True)


def test_the_ids_of_both_companies_stay_apart(run: Run) -> None:
    assert run.query(
        "select account_id, name, parent_account_id, ultimate_parent_id from core.accounts order by 1"
    ) == [
        ("extract:a1", "Arden", None, "extract:a1"),
        ("extract:a2", "Birch", None, "extract:a2"),
        ("extract:a3", "Arden Dairy", "extract:a1", "extract:a1"),
        ("maven:a1", "a1", None, "maven:a1"),
        ("maven:a4", "a4", "maven:a1", "maven:a1"),
        ("maven:a5", "a5", None, "maven:a5"),
    ]
    assert run.query(
        "select opportunity_id, account_id, owner_id, owner_name, manager_id, region, product_name, stage, "
        "amount::double from core.opportunities order by 1"
    ) == [
        ("extract:o1", "extract:a1", "extract:s1", "Sam", "extract:m1", "North", "Thing", "Closed Won", 1000),
        ("extract:o2", "extract:a2", "extract:s1", "Sam", "extract:m1", "North", "Thing", "Closed Lost", 400),
        ("extract:o3", "extract:a3", "extract:s2", "Sofia", "extract:m1", "North", "Thing", "Proposal", 700),
        ("maven:o1", "maven:a1", "maven:s1", "s1", "maven:m1", "West", "p1", "Lost", 0),
        ("maven:o2", "maven:a5", "maven:s1", "s1", "maven:m1", "West", "p1", "Won", 2000),
        ("maven:o4", "maven:a4", "maven:s3", "s3", "maven:m1", "West", "p1", "Engaging", None),
    ]  # fmt: skip


def test_products_of_one_name_are_two(run: Run) -> None:
    assert run.query("select product_id, name, list_price::double from core.products order by 1") == [
        ("extract:p1", "Thing", 100),
        ("maven:p1", "p1", 550),
    ]
    assert run.query(
        "select product_id, list_amount::double, count(*) from core.opportunities group by all order by 1"
    ) == [("extract:p1", 100, 3), ("maven:p1", 550, 3)]


def test_win_rates_count_each_companys_deals_for_its_own_sellers(run: Run) -> None:
    assert run.query(
        "select member, won_count, lost_count, open_count, won_amount::double from funnel.win_rates "
        "where basis = 'closed' and dimension in ('owner', 'company') order by 1"
    ) == [
        ("company", 2, 2, 2, 3000),
        ("extract:s1", 1, 1, 0, 1000),
        ("extract:s2", 0, 0, 1, None),
        ("maven:s1", 1, 1, 0, 2000),
        ("maven:s3", 0, 0, 1, None),
    ]


def test_values_that_are_ids_of_people_are_told_like_ids(run: Run) -> None:
    assert run.query(
        "select owner_id, amount_source::double, valid_from::date::varchar from funnel.opportunity_history "
        "where opportunity_id = 'extract:o3' order by valid_from"
    ) == [
        ("extract:s1", 600, "2026-02-01"),
        ("extract:s2", 600, "2026-02-10"),
        ("extract:s2", 700, "2026-02-11"),
    ]
    with duckdb.connect(str(run.home / "warehouse" / "sightline.duckdb"), read_only=True) as connection:
        assert connection.execute(
            "select scope_type, scope_id from intermediate.int_targets_known order by 1, 2"
        ).fetchall() == [("region", "North"), ("user", "extract:s1"), ("user", "maven:s1")]


def test_finance_that_points_at_both_is_matched_with_either(run: Run) -> None:
    # One source delivers finance: its own ids stay as they are.
    assert run.query(
        "select opportunity_id, invoice_id, status, match_rule from reconciliation.booking_to_billing order by 1"
    ) == [("extract:o1", "i1", "matched", "crm_opportunity_id"), ("maven:o2", "i2", "matched", "crm_opportunity_id")]
    assert closing(run.query(ARR)) == {"extract:a1": 1200, "maven:a1": 50, "maven:a5": 600}


ARR = (
    "select customer_id, amount::double from retention.arr_movements "
    "where movement = 'closing' and month_start = '2026-03-01' and amount != 0"
)


def closing(rows: list[tuple[object, ...]]) -> dict[object, object]:
    return dict(rows)  # type: ignore[arg-type]


def test_a_reference_of_a_source_that_is_no_crm_is_of_the_first_crm_unless_it_says_otherwise(
    run: Run, tmp_path: Path
) -> None:
    shutil.copy(run.home / "dbt" / "target" / "partial_parse.msgpack", tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "dbt.cli.main", "--quiet", "compile", "--inline"]
        + ["{{ qualified_reference('id', ['salesforce', 'hubspot'], 'extract') }}", "--target-path", str(tmp_path)]
        + ["--project-dir", str(DBT_PROJECT), "--profiles-dir", str(DBT_PROJECT), "--vars"]
        + ['{"reporting_currency": "USD", "sources": ["extract", "maven"]}'],
        env={**os.environ, **load_settings(home=run.home).environment()},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    values = "(values (1, '7'), (2, 'hubspot:7'), (3, 'salesforce:7'), (4, 'sap:7'), (5, null)) as t (n, id)"
    assert duckdb.execute(f"select {done.stdout} from {values} order by n").fetchall() == [
        ("salesforce:7",),
        ("hubspot:7",),
        ("salesforce:7",),
        ("salesforce:sap:7",),
        (None,),
    ]


def test_an_account_of_both_companies_is_one(warehouse: Warehouse) -> None:
    # Cedar is Arden; the first Dune of the other company is Arden's dairy, and a4 belongs to it.
    with united(warehouse, ("maven", "a5", "extract", "a1"), ("maven", "a1", "extract", "a3")) as marts:
        assert marts.execute(
            "select account_id, parent_account_id, ultimate_parent_id from core.accounts order by 1"
        ).fetchall() == [
            ("extract:a1", None, "extract:a1"),
            ("extract:a2", None, "extract:a2"),
            ("extract:a3", "extract:a1", "extract:a1"),
            ("maven:a4", "extract:a3", "extract:a1"),
        ]
        assert marts.execute(
            "select opportunity_id, account_id from core.opportunities where opportunity_id like 'maven:%' order by 1"
        ).fetchall() == [("maven:o1", "extract:a3"), ("maven:o2", "extract:a1"), ("maven:o4", "maven:a4")]
        # 1,200 + 600 + the 50 of the dairy: customers are told at the top of their group.
        assert closing(marts.execute(ARR).fetchall()) == {"extract:a1": 1850}
        assert marts.execute(
            "select source_account_id, account_id, name, same_as_account_id, same_as_name, problem "
            "from core.united_accounts order by 1"
        ).fetchall() == [
            ("a1", "maven:a1", "a1", "extract:a3", "Arden Dairy", None),
            ("a5", "maven:a5", "a5", "extract:a1", "Arden", None),
        ]
        assert marts.execute("select note, row_count from core.data_coverage where entity = 'accounts'").fetchall() == [
            ("without 2 that stand in core.united_accounts: the same companies as others", 4)
        ]


def test_a_parent_that_is_united_with_its_child_leaves_no_circle(warehouse: Warehouse) -> None:
    with united(warehouse, ("extract", "a1", "extract", "a3")) as marts:
        assert marts.execute(
            "select account_id, parent_account_id, has_parent_cycle from core.accounts "
            "where account_id like 'extract:%' order by 1"
        ).fetchall() == [("extract:a2", None, False), ("extract:a3", None, False)]
        assert marts.execute(
            "select opportunity_id from core.opportunities where account_id = 'extract:a3' order by 1"
        ).fetchall() == [("extract:o1",), ("extract:o3",)]


def test_what_is_wrong_with_a_row_of_the_crosswalk_is_said_of_the_row_and_unites_nothing(warehouse: Warehouse) -> None:
    rows = [
        ("maven", "a5", "extract", "a1"),
        ("maven", "a5", "extract", "a2"),
        ("extract", "a2", "extract", "a2"),
        ("maven", "a1", "maven", "a4"),
        ("maven", "a4", "extract", "a3"),
        ("mavern", "a4", "extract", "a3"),
        ("maven", "a9", "extract", "a8"),
        ("extract", "a3", "extract", "a77"),
    ]
    with united(warehouse, *rows) as marts:
        found = marts.execute(
            "select source, source_account_id, same_as_source_account_id, problem from core.united_accounts "
            "order by 1, 2, 3"
        ).fetchall()
    twice = "the account is united more than once"
    chain = "the account that is to stand for it is itself united with another"
    assert found == [
        ("extract", "a2", "a2", "an account cannot stand for itself"),
        ("extract", "a3", "a77", "extract has no account a77"),
        ("maven", "a1", "a4", chain),
        ("maven", "a4", "a3", chain),
        ("maven", "a5", "a1", twice),
        ("maven", "a5", "a2", twice),
        ("maven", "a9", "a8", "maven has no account a9"),
        ("mavern", "a4", "a3", "there is no source mavern"),
    ]


def test_a_circle_in_the_crosswalk_unites_nothing(warehouse: Warehouse) -> None:
    with united(warehouse, ("maven", "a5", "extract", "a1"), ("extract", "a1", "maven", "a5")) as marts:
        assert marts.execute("select count(*) from core.accounts").fetchall() == [(6,)]
        assert marts.execute("select count(problem) from core.united_accounts").fetchall() == [(2,)]


def test_with_one_source_nothing_is_qualified(small_run: Run) -> None:
    ids = small_run.query("select opportunity_id, account_id, owner_id from core.opportunities order by 1")
    assert ids[0] == ("o1", "a1", "s1")
    compiled = small_run.home / "dbt" / "target" / "compiled" / "sightline" / "models" / "intermediate" / "known"
    assert not [path.name for path in compiled.glob("*.sql") if "extract:" in path.read_text()]


def settings(tmp_path: Path, **more: object) -> Settings:
    return load_settings(home=tmp_path / "home", **more)


def test_an_extract_of_finance_alone_is_enough_beside_a_crm(tmp_path: Path) -> None:
    beside = settings(tmp_path, sources="maven,extract")
    folder = write_extract(
        tmp_path / "x", crm_users=None, crm_accounts=None, crm_opportunities=None, finance_customers=CUSTOMERS
    )
    assert {"users", "accounts", "opportunities"} <= delivered_elsewhere(beside, "extract")
    # A system with objects of its own has to bring them.
    assert delivered_elsewhere(beside, "maven") == frozenset()
    assert delivered_elsewhere(settings(tmp_path, sources="extract"), "extract") == frozenset()
    assert land(beside, "extract", folder, delivered_elsewhere(beside, "extract")) is not None
    assert not list((beside.quarantine / "extract").glob("*/*.parquet"))
    accept(beside, "extract")
    # What it has ever brought it still delivers when a later load has none of it.
    (folder / "finance" / "customers.csv").unlink()
    write_extract(
        folder,
        extracted_at="2026-03-03T06:00:00Z",
        mode="changes",
        crm_users=None,
        crm_accounts=None,
        crm_opportunities=None,
        finance_invoices=INVOICES,
    )
    land(beside, "extract", folder, delivered_elsewhere(beside, "extract"))
    accept(beside, "extract")
    assert real_deliveries(beside) == {"extract": ["customers", "invoices"]}
    assert real_deliveries(settings(tmp_path, sources="extract")) == {}


def test_each_source_has_its_directory(tmp_path: Path) -> None:
    both = settings(tmp_path, sources="extract,maven", extract_dirs=f"extract={tmp_path / 'a'}, maven={tmp_path / 'b'}")
    assert [extract_directory(both, name).name for name in both.sources] == ["a", "b"]
    shared = settings(
        tmp_path, sources="extract,maven", extract_dirs=f"maven={tmp_path / 'b'}", extract_dir=tmp_path / "c"
    )
    assert [extract_directory(shared, name).name for name in shared.sources] == ["c", "b"]
    assert [path.name for path in shared.directories] == ["b", "c"]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("extract=a,mavern=b", "unknown source mavern: there is"),
        ("extract=a,b", "write it as extract=DIR,maven=DIR"),
        ("extract=a,extract=b", "a source has one directory"),
    ],
)
def test_directories_that_are_written_wrong_are_told_in_a_sentence(tmp_path: Path, given: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=f"SIGHTLINE_EXTRACT_DIRS: .*{sentence}"):
        settings(tmp_path, extract_dirs=given)


def test_no_company_is_mixed_with_the_demo(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="extract needs its directory beside the others: give --extract extract=DIR"):
        extract_directory(settings(tmp_path, sources="extract,maven", extract_dirs=f"maven={tmp_path}"), "extract")
