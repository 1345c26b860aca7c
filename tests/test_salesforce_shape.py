"""The demo company on Salesforce gives the marts of an extract with the same facts, and each object is read rightly."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from orchestration.ingest.contract import load_source
from orchestration.ingest.landing import accept, land
from orchestration.settings import DBT_PROJECT, PROJECT_ROOT, Settings
from tests.conftest import DEMO_AS_OF, Run, made_once, released_once, run_here, sightline
from tests.shapes.salesforce import ABSENT, write_shapes

# Two whole runs.
pytestmark = pytest.mark.long

PAGE = (PROJECT_ROOT / "docs" / "salesforce.md").read_text(encoding="utf-8")

# What may differ and why: Salesforce tells a rate of each day, an extract of each day on which one was fixed. How often
# it was told is all that shows.
TOLD_APART = {"core.data_coverage": "* replace (case when entity != 'fx_rates' then row_count end as row_count)"}


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory, demo_extract: Path) -> Path:
    def write(folder: Path) -> str:
        write_shapes(demo_extract, folder / "salesforce", folder / "contract")
        return ""

    return made_once(tmp_path_factory, "salesforce_shapes", write)[0]


@pytest.fixture(scope="session")
def salesforce_run(tmp_path_factory: pytest.TempPathFactory, shapes: Path) -> Run:
    return released_once(
        tmp_path_factory,
        "salesforce_run",
        lambda home: sightline(home, "run", "--source", "salesforce", "--extract", shapes / "salesforce"),
    )


@pytest.fixture(scope="session")
def contract_run(tmp_path_factory: pytest.TempPathFactory, shapes: Path) -> Run:
    return released_once(tmp_path_factory, "salesforce_facts", lambda home: run_here(home, shapes / "contract"))


def published(run: Run) -> list[str]:
    return [
        str(row[0])
        for row in run.query("select table_schema || '.' || table_name from information_schema.tables order by 1")
    ]


def test_every_table_is_the_same_row_for_row(salesforce_run: Run, contract_run: Run) -> None:
    assert published(salesforce_run) == published(contract_run)
    with duckdb.connect() as connection:
        for name, run in (("salesforce", salesforce_run), ("contract", contract_run)):
            connection.execute(f"attach '{run.database}' as {name} (read_only)")
        differences = {}
        for table in published(salesforce_run):
            columns = TOLD_APART.get(table, "*")
            one, other = (f"select {columns} from {name}.{table}" for name in ("salesforce", "contract"))
            counts = [
                connection.execute(f"select count(*) from ({a} except all {b})").fetchone()
                for a, b in ((one, other), (other, one))
            ]
            if counts != [(0,), (0,)]:
                differences[table] = counts
    assert differences == {}
    # And there is something to compare.
    rows = {table: salesforce_run.query(f"select count(*) from {table}")[0][0] for table in published(salesforce_run)}
    assert len([table for table, count in rows.items() if count]) >= 50
    assert rows["core.opportunities"] > 600 and rows["forecast_accuracy.submitter_credibility"] > 0  # type: ignore[operator]


def test_every_entity_is_the_same_in_every_column(salesforce_run: Run, contract_run: Run) -> None:
    """What no mart of this company stands on is held against the extract as well."""
    # An event to come is taken for one that will be held, and a member without a split is credited with nothing.
    told = {
        "activities": {"is_completed": f"case when occurred_at < '{DEMO_AS_OF} 22:00:00' then is_completed end"},
        "opportunity_team": {name: f"coalesce({name}, 0)" for name in ("credit_share", "overlay_share")},
    }
    entities = yaml.safe_load((DBT_PROJECT / "dbt_project.yml").read_text())["vars"]["source_entities"]["salesforce"]
    for entity in entities:
        names = [*(column.name for column in load_source("extract").table(entity).columns), "_known_at", "_is_deleted"]
        columns = ", ".join(told.get(entity, {}).get(name, name) for name in names)
        found = []
        for run in (salesforce_run, contract_run):
            path = run.home / "warehouse" / "sightline.duckdb"
            with duckdb.connect(str(path), read_only=True) as connection:
                rows = connection.execute(f"select {columns} from intermediate.int_{entity}_known").fetchall()
            found.append(Counter(rows))
        if entity == "fx_rates":
            # Salesforce tells a rate of each day until the next.
            assert set(found[1]) < set(found[0])
        else:
            assert found[0] == found[1], entity
        assert found[1], entity


def test_what_salesforce_cannot_hold_is_told_as_not_delivered(salesforce_run: Run) -> None:
    delivered = yaml.safe_load((DBT_PROJECT / "dbt_project.yml").read_text())["vars"]["source_entities"]["salesforce"]
    coverage = salesforce_run.query("select entity, is_delivered, note from core.data_coverage")
    assert {entity for entity, is_delivered, _ in coverage if is_delivered} == set(delivered)
    assert all(str(note).startswith("not delivered") for _, is_delivered, note in coverage if not is_delivered)
    missing = {str(entity) for entity, is_delivered, _ in coverage if not is_delivered}
    assert set(ABSENT) <= missing
    section = PAGE.split("## What Salesforce cannot hold")[1].split("\n## ")[0]
    assert missing == set(re.findall(r"^\| `(\w+)` \|", section, flags=re.M))


def test_the_page_names_the_marts_that_stay_empty(salesforce_run: Run) -> None:
    empty = {table for table in published(salesforce_run) if not salesforce_run.query(f"select 1 from {table} limit 1")}
    section = PAGE.split("### Tables that stay empty")[1].split("\n## ")[0]
    assert empty == set(re.findall(r"`(\w+\.\w+)`", section))


def test_the_page_says_where_every_column_comes_from(salesforce_run: Run) -> None:
    """Each entity that is delivered has a table of its own, with every column of the contract in it."""
    source = load_source("salesforce")
    objects = {table.name: {column.name for column in table.columns} for table in source.tables}
    entities = yaml.safe_load((DBT_PROJECT / "dbt_project.yml").read_text())["vars"]["source_entities"]["salesforce"]
    with duckdb.connect(str(salesforce_run.home / "warehouse" / "sightline.duckdb"), read_only=True) as connection:
        staged = connection.execute(
            "select table_name, column_name from information_schema.columns where table_schema = 'staging'"
        ).fetchall()
    for entity in entities:
        section = PAGE.split(f"### {entity}\n")[1].split("\n### ")[0].split("\n## ")[0]
        rows = re.findall(r"^\| `(\w+)` \| (.+?) \|", section, flags=re.M)
        contract = [column.name for column in load_source("extract").table(entity).columns]
        assert [name for name, _ in rows] == contract, entity
        given = {column for table, column in staged if table == f"stg_salesforce__{entity}"}
        assert {column for column in given if not column.startswith(("_", "x_"))} <= set(contract), entity
        for name, origin in rows:
            assert (name in given) == (origin != "not held"), (entity, name)
            for table, column in re.findall(r"`(\w+)\.(\w+)`", origin):
                assert column in objects[table], (entity, name, table, column)
    mapped = {(table.name, column.name) for table in source.tables for column in table.columns if column.is_mapped}
    section = PAGE.split("## Custom fields")[1].split("\n## ")[0]
    assert mapped == set(re.findall(r"^\| `(\w+)` \| `(\w+)` \|", section, flags=re.M))


class Staged:
    """Salesforce files landed one after another, read by the SQL dbt compiled."""

    def __init__(self, run: Run, home: Path, *, fields: Sequence[tuple[str, str, str]] = ()) -> None:
        self.settings = Settings(home=home, _env_file=None)  # type: ignore[call-arg]
        folder = home / "warehouse"
        folder.mkdir(parents=True)
        # The policy tables of the run, under the name of its database.
        self.database = folder / "sightline.duckdb"
        with duckdb.connect(str(self.database)) as connection:
            connection.execute(f"attach '{run.home / 'warehouse' / 'sightline.duckdb'}' as built (read_only)")
            connection.execute("create schema policy")
            for seed in ("aliases", "source_fields"):
                connection.execute(f"create table policy.{seed} as select * from built.policy.{seed}")
            for table, name, column in fields:
                connection.execute(
                    "insert into policy.source_fields values ('salesforce', ?, ?, ?)", [table, name, column]
                )
        self.run = run

    def load(self, day: str, *, mode: str = "full", **objects: str) -> None:
        """Lands files of a day, each written as its rows after a header."""
        folder = self.settings.home / f"files-{day}"
        folder.mkdir(parents=True)
        for name, text in objects.items():
            rows = "\n".join(line.strip() for line in text.strip().splitlines())
            (folder / f"{name}.csv").write_text(rows + "\n", encoding="utf-8")
        (folder / "extract.json").write_text(f'{{"extracted_at": "{day}T06:00:00Z", "mode": "{mode}"}}')
        land(self.settings, "salesforce", folder)
        accept(self.settings, "salesforce")

    def rows(self, entity: str, columns: str, as_of: str = "2026-06-30") -> list[tuple[Any, ...]]:
        """Every version of an entity, by when it was known."""
        compiled = self.run.home / "dbt" / "target" / "compiled" / "sightline" / "models" / "staging" / "salesforce"
        sql = (compiled / f"stg_salesforce__{entity}.sql").read_text()
        sql = sql.replace(str(self.run.home), str(self.settings.home))
        sql = sql.replace(f"cast('{DEMO_AS_OF}' as date)", f"cast('{as_of}' as date)")
        with duckdb.connect(str(self.database)) as connection:
            connection.execute("set TimeZone = 'UTC'")
            return connection.execute(f"select {columns} from ({sql}) as staged order by all").fetchall()


@pytest.fixture
def staged(salesforce_run: Run, home: Path) -> Staged:
    return Staged(salesforce_run, home)


def test_an_owner_changes_once_and_custom_fields_change_by_their_name(salesforce_run: Run, home: Path) -> None:
    staged = Staged(salesforce_run, home, fields=[("Opportunity", "Main_Rival__c", "competitor")])
    staged.load(
        "2026-05-01",
        OpportunityFieldHistory="""
            Id,OpportunityId,Field,OldValue,NewValue,CreatedById,CreatedDate
            h1,d1,created,,,u1,2026-04-01T08:00:00.000+0000
            h2,d1,Owner,Ann,Bob,u1,2026-04-02T08:00:00.000+0000
            h3,d1,Owner,005000000000001AAA,005000000000002AAA,u1,2026-04-02T08:00:00.000+0000
            h4,d1,StageName,Needs Analysis,Proposal/Price Quote,u1,2026-04-03T08:00:00.000+0000
            h5,d1,Amount,100.0,250.5,u1,2026-04-03T08:00:00.000+0000
            h6,d1,ForecastCategoryName,Best Case,Commit,u1,2026-04-03T08:00:00.000+0000
            h7,d1,Probability,40,75,u1,2026-04-03T08:00:00.000+0000
            h8,d1,Main_Rival__c,,Vantis,u1,2026-04-04T08:00:00.000+0000
            h9,d1,Description,a,b,u1,2026-04-04T08:00:00.000+0000
        """,
    )
    assert staged.rows("opportunity_changes", "change_id, field, old_value, new_value, changed_at") == [
        ("h3", "owner_id", "005000000000001AAA", "005000000000002AAA", datetime(2026, 4, 2, 8)),
        ("h4", "stage", "Discovery", "Proposal", datetime(2026, 4, 3, 8)),
        ("h5", "amount", "100.0", "250.5", datetime(2026, 4, 3, 8)),
        ("h6", "forecast_category", "best_case", "commit", datetime(2026, 4, 3, 8)),
        ("h7", "probability", "0.4000", "0.7500", datetime(2026, 4, 3, 8)),
        ("h8", "competitor", None, "Vantis", datetime(2026, 4, 4, 8)),
    ]


def test_the_stage_history_tells_what_the_field_history_does_not(staged: Staged) -> None:
    staged.load(
        "2026-05-01",
        # d1: the field history begins in March, of the amount never. d2 has none at all.
        OpportunityFieldHistory="""
            Id,OpportunityId,Field,OldValue,NewValue,CreatedById,CreatedDate
            h1,d1,StageName,Discovery,Proposal,u1,2026-03-01T08:00:00Z
            h2,d1,StageName,Proposal,Closed Lost,u1,2026-04-01T08:00:00Z
        """,
        OpportunityHistory="""
            Id,OpportunityId,StageName,Amount,CloseDate,Probability,ForecastCategory,CreatedById,CreatedDate
            s1,d1,Qualification,100,2026-06-30,10,Pipeline,u1,2026-01-01T08:00:00Z
            s2,d1,Discovery,100,2026-06-30,20,Pipeline,u1,2026-02-01T08:00:00Z
            s3,d1,Proposal,120,2026-06-30,20,BestCase,u1,2026-03-01T08:00:00Z
            s4,d1,Closed Lost,120,2026-06-30,0,Omitted,u1,2026-04-01T08:00:00Z
            s5,d2,Discovery,5,2026-06-30,20,Forecast,u2,2026-01-01T08:00:00Z
            s6,d2,Discovery,5,2026-09-30,20,Forecast,u2,2026-01-09T08:00:00Z
            s7,d2,Discovery,5,2026-09-30,20,MostLikely,u2,2026-01-10T08:00:00Z
        """,
    )
    rows = staged.rows("opportunity_changes", "opportunity_id, field, changed_at, old_value, new_value, change_id")
    january, february, march, april = (datetime(2026, month, 1, 8) for month in (1, 2, 3, 4))
    assert [row for row in rows if row[1] != "probability"] == [
        ("d1", "amount", march, "100", "120", "s3-amount"),
        ("d1", "forecast_category", march, "pipeline", "best_case", "s3-forecast_category"),
        ("d1", "forecast_category", april, "best_case", "omitted", "s4-forecast_category"),
        ("d1", "stage", february, "Qualification", "Discovery", "s2-stage"),
        ("d1", "stage", march, "Discovery", "Proposal", "h1"),
        ("d1", "stage", april, "Proposal", "Closed Lost", "h2"),
        ("d2", "close_date", january.replace(day=9), "2026-06-30", "2026-09-30", "s6-close_date"),
        ("d2", "forecast_category", january.replace(day=10), "commit", "best_case", "s7-forecast_category"),
    ]
    assert [row[2:5] for row in rows if row[1] == "probability"] == [
        (february, "0.1000", "0.2000"),
        (april, "0.2000", "0.0000"),
    ]
    # What is corrected later was not known then.
    staged.load(
        "2026-06-01",
        mode="changes",
        OpportunityHistory="""
            Id,OpportunityId,StageName,Amount,CloseDate,Probability,ForecastCategory,CreatedById,CreatedDate
            s6,d2,Discovery,5,2026-08-31,20,Forecast,u2,2026-01-09T08:00:00Z
        """,
    )
    moved = "changed_at, new_value, cast(_known_at as date)"
    pushed = january.replace(day=9)
    assert (pushed, "2026-09-30", date(2026, 1, 9)) in staged.rows("opportunity_changes", moved, "2026-05-15")
    assert (pushed, "2026-08-31", date(2026, 6, 1)) in staged.rows("opportunity_changes", moved, "2026-06-15")


def test_a_field_history_that_is_cut_off_changes_nothing_of_clean_deals(
    salesforce_run: Run, shapes: Path, home: Path
) -> None:
    """Salesforce keeps two years of field history; what the stage history keeps beyond is the same."""
    fields = ("stage", "amount", "close_date", "forecast_category")
    whole, cut = Staged(salesforce_run, home / "whole"), Staged(salesforce_run, home / "cut")
    for one, condition in ((whole, "true"), (cut, "CreatedDate >= '2024-06-30'")):
        folder = home / condition[:4]
        folder.mkdir()
        shutil.copy(shapes / "salesforce" / "OpportunityHistory.csv", folder)
        duckdb.execute(
            f"copy (from read_csv('{shapes}/salesforce/OpportunityFieldHistory.csv', all_varchar = true) "
            f"where {condition}) to '{folder}/OpportunityFieldHistory.csv' (header)"
        )
        land(one.settings, "salesforce", folder)
        accept(one.settings, "salesforce")
    columns = "opportunity_id, field, changed_at, old_value, new_value"
    with_ids = [
        (row[:5], row[5]) for row in whole.rows("opportunity_changes", f"{columns}, change_id") if row[1] in fields
    ]
    chains: dict[tuple[str, str], list[tuple[Any, ...]]] = {}
    for row, _ in sorted(with_ids, key=lambda both: (both[0][2], both[1])):
        chains.setdefault((row[0], row[1]), []).append(row)
    # Where events are doubled, of one second or contradict each other, two histories may tell them differently.
    clean = {
        key
        for key, rows in chains.items()
        if all(row[3] != row[4] for row in rows)
        and all(later[2] > row[2] and later[3] == row[4] for row, later in zip(rows, rows[1:], strict=False))
    }
    assert len(clean) > 0.9 * len(chains)
    expected = [row for key in clean for row in chains[key]]
    found = [row for row in cut.rows("opportunity_changes", columns) if (row[0], row[1]) in clean]
    assert sorted(found) == sorted(expected)
    assert len({row[0] for row in cut.rows("opportunity_changes", "change_id")}) == len(
        cut.rows("opportunity_changes", "change_id")
    )
    assert cut.rows("opportunity_changes", "count(*)", "2026-06-30") != [(0,)]
    derived = [row for row in cut.rows("opportunity_changes", "change_id") if "-" in row[0]]
    assert len(derived) > 300


def test_a_team_is_told_with_its_credit_through_loads(staged: Staged) -> None:
    types = """
        Id,DeveloperName,IsTotalValidated,IsActive
        t1,Margin,true,true
        t2,Revenue,true,true
        t3,Overlay,false,true
    """
    staged.load(
        "2026-05-01",
        OpportunitySplitType=types,
        OpportunityTeamMember="""
            Id,OpportunityId,UserId,TeamMemberRole,CreatedDate
            m1,d1,u1,Opportunity Owner,2026-04-01T08:00:00Z
            m2,d1,u2,Pre-Sales Consultant,2026-04-03T08:00:00Z
            m3,d1,u3,,2026-04-04T08:00:00Z
        """,
        OpportunitySplit="""
            Id,OpportunityId,SplitOwnerId,SplitTypeId,SplitPercentage,CreatedDate
            p1,d1,u1,t2,100.00,2026-04-02T08:00:00Z
            p2,d1,u1,t1,70,2026-04-02T08:00:00Z
            p3,d1,u2,t3,12.50,2026-04-03T08:00:00Z
        """,
    )
    # A month later the credit is shared, the specialist leads and somebody has left.
    staged.load(
        "2026-06-01",
        OpportunitySplitType=types,
        OpportunityTeamMember="""
            Id,OpportunityId,UserId,TeamMemberRole,CreatedDate
            m1,d1,u1,Opportunity Owner,2026-04-01T08:00:00Z
            m2,d1,u2,Sales Rep,2026-04-03T08:00:00Z
        """,
        OpportunitySplit="""
            Id,OpportunityId,SplitOwnerId,SplitTypeId,SplitPercentage,CreatedDate
            p1,d1,u1,t2,60.00,2026-04-02T08:00:00Z
            p4,d1,u2,t2,40.00,2026-05-20T08:00:00Z
        """,
    )
    columns = "cast(_known_at as date), user_id, team_role, _operation, credit_share, overlay_share"
    first, second, third, fourth = (date(2026, 4, day) for day in (1, 2, 3, 4))
    june = date(2026, 6, 1)
    assert staged.rows("opportunity_team", columns) == [
        (first, "u1", "owner", "upsert", None, None),
        (second, "u1", "owner", "upsert", 1.0, None),
        (third, "u2", "specialist", "upsert", None, 0.125),
        (fourth, "u3", "member", "upsert", None, None),
        (june, "u1", "owner", "upsert", 0.6, None),
        (june, "u2", "peer", "upsert", 0.4, 0.0),
        (june, "u2", "specialist", "delete", 0.4, 0.0),
        (june, "u3", "member", "delete", None, None),
    ]


def test_one_contact_is_once_on_a_deal(staged: Staged) -> None:
    staged.load(
        "2026-05-01",
        OpportunityContactRole="""
            Id,OpportunityId,ContactId,Role,IsPrimary,CreatedDate,IsDeleted
            r1,d1,c1,Evaluator,false,2026-04-01T08:00:00Z,false
            r2,d1,c1,Economic Buyer,true,2026-04-02T08:00:00Z,false
            r3,d1,c2,Janitor,false,2026-04-03T08:00:00Z,false
            r4,d1,c4,Blocker,false,2026-04-03T08:00:00Z,false
        """,
    )
    staged.load(
        "2026-06-01",
        mode="changes",
        OpportunityContactRole="""
            Id,OpportunityId,ContactId,Role,IsPrimary,CreatedDate,IsDeleted
            r1,d1,c1,Evaluator,false,2026-04-01T08:00:00Z,true
            r3,d1,c3,Champion,false,2026-04-03T08:00:00Z,false
            r4,d1,c4,Blocker,false,2026-04-03T08:00:00Z,true
        """,
    )
    columns = "cast(_known_at as date), contact_id, buying_role, _operation"
    third, june = date(2026, 4, 3), date(2026, 6, 1)
    assert staged.rows("opportunity_contacts", columns) == [
        (date(2026, 4, 2), "c1", "economic_buyer", "upsert"),
        (third, "c2", None, "upsert"),
        (third, "c4", "blocker", "upsert"),
        (june, "c2", None, "delete"),
        (june, "c3", "champion", "upsert"),
        (june, "c4", "blocker", "delete"),
    ]


def test_a_product_has_the_standard_price_in_the_corporate_currency(staged: Staged) -> None:
    currencies = """
        Id,IsoCode,IsCorporate,ConversionRate
        y1,EUR,false,0.9
        y2,USD,true,1
    """
    books = """
        Id,IsStandard
        b1,true
        b2,false
    """
    staged.load(
        "2026-05-01",
        CurrencyType=currencies,
        Pricebook2=books,
        Product2="""
            Id,Name,Family,IsDeleted
            p1,Meter,Instruments,false
            p2,Advice,Services,false
        """,
        PricebookEntry="""
            Id,Pricebook2Id,Product2Id,UnitPrice,CurrencyIsoCode,IsActive,IsDeleted
            e1,b1,p1,90.00,EUR,true,false
            e2,b1,p1,100.00,USD,true,false
            e3,b2,p1,70.00,USD,true,false
        """,
    )
    staged.load(
        "2026-06-01",
        mode="changes",
        Product2="""
            Id,Name,Family,IsDeleted
            p2,Advice,Services,true
        """,
        PricebookEntry="""
            Id,Pricebook2Id,Product2Id,UnitPrice,CurrencyIsoCode,IsActive,IsDeleted
            e2,b1,p1,110.00,USD,true,false
        """,
    )
    ever, june = date(1900, 1, 1), date(2026, 6, 1)
    columns = "cast(_known_at as date), product_id, name, cast(list_price as double), currency, _operation"
    assert staged.rows("products", columns) == [
        (ever, "p1", "Meter", 100.0, "USD", "upsert"),
        (ever, "p2", "Advice", None, None, "upsert"),
        (june, "p1", "Meter", 110.0, "USD", "upsert"),
        (june, "p2", "Advice", None, None, "delete"),
    ]


def test_quotas_are_of_persons_and_money_and_change_from_when_it_was_seen(staged: Staged) -> None:
    common = {
        "Period": """
            Id,Type,StartDate,EndDate
            q2,Quarter,2026-04-01,2026-06-30
        """,
        "ForecastingType": """
            Id,DeveloperName,IsActive
            f1,OpportunityRevenue,true
            f2,OpportunityQuantity,true
        """,
    }
    header = "Id,QuotaOwnerId,PeriodId,StartDate,QuotaAmount,IsAmount,ProductFamily,ForecastingTypeId,CurrencyIsoCode\n"
    staged.load(
        "2026-05-01",
        **common,
        ForecastingQuota=header
        + """a1,u1,q2,2026-04-01,1000,true,,f1,EUR
            a2,u1,q2,2026-04-01,7,true,Services,f1,EUR
            a3,u1,q2,2026-04-01,30,false,,f2,EUR""",
    )
    staged.load("2026-06-01", **common, ForecastingQuota=header + "a1,u1,q2,2026-04-01,1500,true,,f1,EUR")
    columns = "user_id, period_start, period_end, effective_from, cast(amount as double), currency"
    april = (date(2026, 4, 1), date(2026, 6, 30))
    assert staged.rows("quotas", columns) == [
        ("u1", *april, date(2026, 4, 1), 1000.0, "EUR"),
        ("u1", *april, date(2026, 6, 1), 1500.0, "EUR"),
    ]


def test_a_call_is_what_was_submitted_or_else_adjusted(staged: Staged) -> None:
    header = (
        "Id,ForecastOwnerId,PeriodId,ForecastingItemCategory,OwnerAdjustedAmount,CurrencyIsoCode,LastModifiedDate\n"
    )
    staged.load(
        "2026-05-01",
        Period="""
            Id,Type,StartDate,EndDate
            q2,Quarter,2026-04-01,2026-06-30
        """,
        ForecastingSubmission="""
            Id,ForecastOwnerId,PeriodId,ProductFamily,SubmissionDateTime
            s1,u1,q2,,2026-04-06T08:00:00Z
            s2,u2,q2,,2026-04-06T09:00:00Z
            s3,u2,q2,Services,2026-04-06T10:00:00Z
        """,
        # The second organisation's way: each category for itself.
        ForecastingSubmissionItem="""
            Id,ForecastingSubmissionId,ForecastingItemCategory,Amount,CurrencyIsoCode,CreatedDate
            i1,s1,CommitForecast,100,USD,2026-04-06T08:00:00Z
            i2,s1,BestCaseForecast,150,USD,2026-04-06T08:00:00Z
            i3,s1,ClosedOnly,20,USD,2026-04-06T08:00:00Z
            i4,s2,CommitOnly,30,USD,2026-04-06T09:00:00Z
            i5,s2,BestCaseOnly,40,USD,2026-04-06T09:00:00Z
            i6,s2,MostLikelyOnly,5,USD,2026-04-06T09:00:00Z
            i7,s2,ClosedOnly,20,USD,2026-04-06T09:00:00Z
            i8,s2,PipelineOnly,900,USD,2026-04-06T09:00:00Z
        """,
        ForecastingOwnerAdjustment=header
        + """o1,u3,q2,CommitForecast,80,USD,2026-04-07T08:00:00Z
            o2,u3,q2,OpenPipeline,999,USD,2026-04-07T08:00:00Z
            o3,u1,q2,CommitForecast,999,USD,2026-04-07T08:00:00Z""",
    )
    staged.load(
        "2026-06-01",
        mode="changes",
        ForecastingOwnerAdjustment=header + "o1,u3,q2,CommitForecast,90,USD,2026-05-20T08:00:00Z",
    )
    columns = "submitter_id, category, cast(amount as double), submitted_at, period_start, period_end"
    quarter = (date(2026, 4, 1), date(2026, 6, 30))
    assert staged.rows("forecast_submissions", columns) == [
        ("u1", "best_case", 150.0, datetime(2026, 4, 6, 8), *quarter),
        ("u1", "commit", 100.0, datetime(2026, 4, 6, 8), *quarter),
        ("u2", "best_case", 95.0, datetime(2026, 4, 6, 9), *quarter),
        ("u2", "commit", 50.0, datetime(2026, 4, 6, 9), *quarter),
        ("u3", "commit", 80.0, datetime(2026, 4, 7, 8), *quarter),
        ("u3", "commit", 90.0, datetime(2026, 5, 20, 8), *quarter),
    ]


def test_a_rate_holds_until_the_next(staged: Staged) -> None:
    currencies = """
        Id,IsoCode,IsCorporate,ConversionRate
        y1,EUR,true,1
        y2,USD,false,1.25
    """
    columns = "rate_date, from_currency, to_currency, rate_type, cast(rate as double)"
    staged.load("2026-01-03", CurrencyType=currencies)
    # Without dated rates one rate is that of every year.
    static = staged.rows("fx_rates", columns, "2026-01-03")
    assert static[0] == (date(2000, 1, 1), "EUR", "USD", "plan", 1.25)
    assert static[-1] == (date(2026, 1, 1), "EUR", "USD", "plan", 1.25) and len(static) == 27
    staged.load(
        "2026-01-05",
        CurrencyType=currencies,
        DatedConversionRate="""
            Id,IsoCode,StartDate,ConversionRate
            x1,USD,2026-01-01,1.1
            x2,USD,2026-01-03,1.2
        """,
    )
    assert staged.rows("fx_rates", columns, "2026-01-05") == [
        (date(2026, 1, day), "EUR", "USD", "spot", rate)
        for day, rate in ((1, 1.1), (2, 1.1), (3, 1.2), (4, 1.2), (5, 1.2))
    ]


def test_tasks_and_events_are_activities_of_who_and_what_they_name(staged: Staged) -> None:
    contact, deal, account = "003000000000001AAA", "006000000000001AAA", "001000000000001AAA"
    staged.load(
        "2026-05-01",
        Task=f"""
            Id,TaskSubtype,Type,CallType,OwnerId,WhoId,WhatId,AccountId,IsClosed,ActivityDate,CompletedDateTime,CallDurationInSeconds,IsRecurrence,CreatedDate,direction
            t1,Call,,Outbound,u1,{contact},{deal},{account},true,2026-04-01,2026-04-01T09:30:00Z,150,false,2026-04-01T09:31:00Z,
            t2,Email,,,u1,{contact},{deal},{account},true,2026-03-28,2026-04-02T10:00:00Z,,false,2026-04-02T10:00:00Z,inbound
            t3,Task,Demo,,u1,00Q000000000001AAA,{account},,false,2026-05-09,,,false,2026-04-03T10:00:00Z,
            t4,Task,Other,,u1,,,,true,2026-04-04,2026-04-06T10:00:00Z,,,2026-04-03T10:00:00Z,
            t5,Task,,,u1,,,,false,2026-04-04,,,true,2026-04-03T10:00:00Z,
        """,
        Event=f"""
            Id,Type,OwnerId,WhoId,WhatId,AccountId,StartDateTime,ActivityDate,DurationInMinutes,IsChild,IsRecurrence,CreatedDate
            e1,Demo,u1,{contact},{deal},{account},2026-05-20T13:00:00Z,2026-05-20,60,false,false,2026-04-01T08:00:00Z
            e2,Demo,u2,{contact},{deal},{account},2026-05-20T13:00:00Z,2026-05-20,60,true,false,2026-04-01T08:00:00Z
            e3,,u1,,{deal},{account},,2026-04-10,1440,false,false,2026-04-01T08:00:00Z
        """,
    )
    columns = (
        "activity_id, activity_type, direction, account_id, opportunity_id, contact_id, occurred_at, duration_minutes, "
        "is_completed, cast(_known_at as date)"
    )
    assert staged.rows("activities", columns) == [
        ("e1", "demo", None, account, deal, contact, datetime(2026, 5, 20, 13), 60, True, date(2026, 4, 1)),
        ("e3", "meeting", None, account, deal, None, datetime(2026, 4, 10), 1440, True, date(2026, 4, 1)),
        ("t1", "call", "outbound", account, deal, contact, datetime(2026, 4, 1, 9, 30), 3, True, date(2026, 4, 1)),
        ("t2", "email", "inbound", account, deal, contact, datetime(2026, 3, 28), None, True, date(2026, 4, 2)),
        ("t3", "demo", None, account, None, None, datetime(2026, 5, 9), None, False, date(2026, 4, 3)),
        ("t4", "task", None, None, None, None, datetime(2026, 4, 6, 10), None, True, date(2026, 4, 3)),
    ]


def test_a_user_does_what_the_field_says_or_the_name_of_the_role(staged: Staged) -> None:
    staged.load(
        "2026-05-01",
        UserRole="""
            Id,Name
            r1,Sales Manager
            r2,Emperor
        """,
        User="""
            Id,Name,UserType,UserRoleId,IsActive,role,hired_on
            u1,Ann,Standard,r1,true,,2020-01-01
            u2,Bob,Standard,r1,true,account_executive,
            u3,Cyd,Standard,r2,false,,
            u4,Dee,PowerPartner,r1,true,account_executive,
        """,
    )
    assert staged.rows("users", "user_id, role, is_active, hired_on") == [
        ("u1", "manager", True, date(2020, 1, 1)),
        ("u2", "account_executive", True, None),
        ("u3", "other", False, None),
        ("u4", "other", True, None),
    ]


def test_a_line_costs_its_price_less_its_discount(staged: Staged) -> None:
    staged.load(
        "2026-05-01",
        OpportunityLineItem="""
            Id,OpportunityId,Product2Id,Quantity,ListPrice,UnitPrice,Discount,IsDeleted
            l1,d1,p1,2,100,90.01,,false
            l2,d1,p1,2,100,90,12.5,false
        """,
    )
    assert staged.rows("opportunity_lines", "line_id, cast(net_unit_price as double)") == [("l1", 90.01), ("l2", 78.75)]


def test_a_deal_in_percent_with_its_own_words(staged: Staged) -> None:
    staged.load(
        "2026-05-01",
        Opportunity="""
            Id,OwnerId,Type,StageName,ForecastCategory,Probability,IsClosed,LastStageChangeDate,CreatedDate,IsDeleted
            d1,u1,New Business,Id. Decision Makers,MostLikely,60.0,false,2026-04-01T08:00:00Z,2026-03-01T08:00:00Z,false
            d2,u1,Barter,Closed Won,Closed,100,true,2026-04-01T08:00:00Z,2026-03-01T08:00:00Z,true
            d3,u1,,Haggling,Pipeline,10,false,,2026-03-01T08:00:00Z,false
        """,
    )
    # A stage policy does not know waits in quarantine.
    columns = "opportunity_id, opportunity_type, stage, forecast_category, probability, closed_at, is_deleted"
    assert staged.rows("opportunities", columns) == [
        ("d1", "new_business", "Solution", "best_case", 0.6, None, False),
        ("d2", None, "Closed Won", "closed", 1.0, datetime(2026, 4, 1, 8), True),
    ]
