"""Built day by day on the last build, every published table is to the byte what one build from the raw zone gives."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pytest

from orchestration.demo.company import write_demo
from orchestration.publish.candidate import Build, read_build
from orchestration.settings import Settings
from orchestration.warehouse.increment import find_increment, remember_build
from tests.conftest import DEMO_AS_OF, Run, published
from tests.extracts import OPPORTUNITY_HEADER, write_extract

DAYS = 2
# A day of the next quarter: months, norms and daily snapshots begin anew.
NEXT_DAY = DEMO_AS_OF + timedelta(days=1)


def settings_of(home: Path) -> Settings:
    return Settings(home=home, sources=("extract",), _env_file=None)  # type: ignore[call-arg]


def table_hashes(run: Run) -> dict[str, str]:
    """Of each published table the hash of its Parquet file."""
    hashes = json.loads((run.database.parent / "manifest.json").read_text())["sha256"]
    return {name: value for name, value in hashes.items() if name.startswith("parquet/")}


def told_anew(home: Path) -> tuple[int, int]:
    """Deals that the last build told anew, and all deals."""
    with duckdb.connect(str(settings_of(home).warehouse), read_only=True) as connection:
        return connection.execute(
            "select (select count(*) from intermediate.int_live_deals), (select count(*) from core.opportunities)"
        ).fetchone() or (0, 0)


def from_the_beginning(raw_of: Path, home: Path, extract: Path) -> Run:
    """Builds in a home that has nothing but the other one's raw zone."""
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(raw_of / "raw", home / "raw")
    return published(home, extract)


@pytest.fixture(scope="module")
def extracts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One full extract and what changed on each of the days after it."""
    folder = tmp_path_factory.mktemp("increments") / "extracts"
    days = [DEMO_AS_OF - timedelta(days=count) for count in range(1, DAYS + 1)]
    write_demo(folder, scale=0.1, seed=23, until=DEMO_AS_OF, extracts_on=days)
    return sorted(path for path in folder.iterdir() if path.name != "truth")


@pytest.fixture(scope="module")
def day_by_day(tmp_path_factory: pytest.TempPathFactory, extracts: list[Path]) -> Run:
    home = tmp_path_factory.mktemp("grown") / "home"
    for number, extract in enumerate(extracts):
        run = published(home, extract)
        told, deals = told_anew(home)
        # The first build tells everything, each further one what may have changed.
        assert (told == deals) if number == 0 else (0 < told < deals / 4), extract.name
    return run


@pytest.fixture(scope="module")
def whole(day_by_day: Run, extracts: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same days in one build."""
    return from_the_beginning(day_by_day.home, tmp_path_factory.mktemp("whole") / "home", extracts[-1])


@pytest.mark.long
def test_days_one_by_one_give_the_bytes_of_one_build(day_by_day: Run, whole: Run) -> None:
    assert len(table_hashes(whole)) > 20
    assert table_hashes(day_by_day) == table_hashes(whole)


@pytest.mark.long
def test_a_day_in_the_past_and_back_gives_the_bytes_of_one_build(
    day_by_day: Run, whole: Run, extracts: list[Path]
) -> None:
    past = published(day_by_day.home, extracts[-1], as_of=date(2026, 3, 31))
    told, deals = told_anew(past.home)
    assert told == deals
    # From there to today is one long step on the same raw zone.
    today = published(past.home, extracts[-1], as_of=DEMO_AS_OF)
    told, deals = told_anew(today.home)
    assert 0 < told < deals
    assert table_hashes(today) == table_hashes(whole)


def corrections(extract: Path, raw: Path) -> dict[str, list[tuple[object, ...]]]:
    """Writes an extract of facts that reach far back, and says what they are about.

    An activity is moved from one deal to another; an amount, and a call, of a deal won two years ago become known; a
    deal closed last year is opened again; another is deleted; an account is put into another segment, and a seller's
    job turns out to have been another one for a year.
    """
    (extract / "crm").mkdir(parents=True)
    (extract / "extract.json").write_text(json.dumps({"extracted_at": f"{NEXT_DAY}T22:00:00Z", "mode": "changes"}))
    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'")

    def newest(table: str, keys: str) -> str:
        return f"""(
            select * exclude (_operation, _batch_id, _extracted_at, _known_at)
            from read_parquet('{raw}/extract/*/{table}.parquet', union_by_name = true)
            where _operation = 'upsert'
            qualify row_number() over (partition by {keys} order by _extracted_at desc, _batch_id desc) = 1
        )"""

    deals = newest("opportunities", "opportunity_id")

    def chosen(condition: str, number: int = 0) -> str:
        found = connection.execute(
            f"select opportunity_id from {deals} where {condition} order by opportunity_id limit 1 offset {number}"
        ).fetchone()
        assert found is not None, condition
        return str(found[0])

    won = chosen("stage in ('Won', 'Closed Won') and closed_at between '2024-05-01' and '2024-09-01'")
    reopened = chosen("stage in ('Lost', 'Closed Lost') and closed_at between '2025-05-01' and '2025-12-01'")
    deleted = chosen("stage in ('Won', 'Closed Won') and closed_at between '2025-05-01' and '2025-12-01'")
    target = chosen("closed_at is null")
    activities = newest("activities", "activity_id")
    statements = {
        "opportunities": f"""
            select * replace (null as closed_at, 'Proposal' as stage, '2026-09-30' as close_date,
                '{NEXT_DAY}T09:00:00Z' as updated_at)
            from {deals} where opportunity_id = '{reopened}'
            union all
            select * replace ('true' as is_deleted, '{NEXT_DAY}T09:00:00Z' as updated_at)
            from {deals} where opportunity_id = '{deleted}'
        """,
        "activities": f"""
            (select * replace ('{target}' as opportunity_id) from {activities}
            where opportunity_id = '{won}' order by activity_id limit 1)
            union all
            (select * replace ('late-1' as activity_id) from {activities}
            where opportunity_id = '{won}' order by activity_id desc limit 1)
        """,
        "opportunity_changes": f"""
            select 'late-2' as change_id, opportunity_id, 'amount' as field, '1.00' as old_value, amount as new_value,
                cast(cast(created_at as timestamp) + interval 1 day as varchar) || 'Z' as changed_at
            from {deals} where opportunity_id = '{won}'
        """,
        "accounts": f"""
            select * replace (case segment when 'SMB' then 'Enterprise' else 'SMB' end as segment)
            from {newest("accounts", "account_id")}
            where account_id = (select account_id from {deals} where opportunity_id = '{won}')
        """,
        "user_roles": f"""
            select * replace ('2025-07-01' as effective_from, 'Elsewhere' as region)
            from {newest("user_roles", "user_id, effective_from")}
            where user_id = (select owner_id from {deals} where opportunity_id = '{target}')
            limit 1
        """,
    }
    told: dict[str, list[tuple[object, ...]]] = {}
    for table, statement in statements.items():
        file = extract / "crm" / f"{table}.csv"
        connection.execute(f"copy ({statement}) to '{file}' (header)")
        told[table] = connection.execute(f"from read_csv('{file}', all_varchar = true)").fetchall()
    return told


@pytest.mark.long
def test_facts_that_reach_far_back_give_the_bytes_of_one_build(day_by_day: Run, tmp_path: Path) -> None:
    extract = tmp_path / "extract"
    told = corrections(extract, day_by_day.home / "raw")
    assert {table: len(rows) for table, rows in told.items()} == {
        "opportunities": 2,
        "activities": 2,
        "opportunity_changes": 1,
        "accounts": 1,
        "user_roles": 1,
    }
    grown = published(day_by_day.home, extract)
    assert read_build(settings_of(grown.home)).as_of_date == NEXT_DAY.isoformat()
    deals_told, deals = told_anew(grown.home)
    assert 0 < deals_told < deals
    with duckdb.connect(str(settings_of(grown.home).warehouse), read_only=True) as connection:
        (months,) = connection.execute("select count(*) from intermediate.int_live_months").fetchone() or (0,)
    # The month that has begun, and those that rest on the deals.
    assert months > 12
    whole = from_the_beginning(grown.home, tmp_path / "home", extract)
    assert table_hashes(grown) == table_hashes(whole)


@pytest.mark.long
def test_a_currency_that_ends_takes_back_the_days_its_last_rate_was_carried_over(tmp_path: Path) -> None:
    """A deal won after the last fixing has an amount while nobody knows that it was the last, and none afterwards."""
    deals = (
        f"{OPPORTUNITY_HEADER},currency\n"
        "o1,a1,s1,Kuna,new_business,Closed Won,100,2026-01-05T09:00:00Z,2026-02-10,2026-02-10T15:00:00Z,HRK\n"
        "o2,a1,s1,Euro,new_business,Closed Won,100,2026-01-05T09:00:00Z,2026-02-10,2026-02-10T15:00:00Z,EUR\n"
    )
    header = "rate_date,from_currency,to_currency,rate_type,rate\n"
    day = "2026-02-{0},HRK,USD,spot,0.15\n2026-02-{0},EUR,USD,spot,1.1\n"
    first = write_extract(
        tmp_path / "first",
        extracted_at="2026-02-13T06:00:00Z",
        crm_opportunities=deals,
        finance_fx_rates=header + day.format("05") + day.format("06") + "2026-02-12,EUR,USD,spot,1.2\n",
    )
    amounts = "select opportunity_id, amount::double from core.opportunities order by 1"
    run = published(tmp_path / "grown" / "home", first)
    assert run.query(amounts) == [("o1", 15.0), ("o2", 110.0)]
    then = write_extract(
        tmp_path / "then",
        extracted_at="2026-02-20T06:00:00Z",
        mode="changes",
        crm_opportunities=OPPORTUNITY_HEADER + "\n",
        finance_fx_rates=header + "2026-02-19,EUR,USD,spot,1.3\n",
    )
    run = published(run.home, then)
    assert run.query(amounts) == [("o1", None), ("o2", 110.0)]


def test_what_the_last_build_was_not_made_of_is_told_from_the_beginning(small_run: Run, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(small_run.home / "raw", home / "raw")
    (home / "warehouse").mkdir()
    (home / "dbt").mkdir()
    settings = settings_of(home)
    settings.manifest_digest.write_text("the code and the policy of then")
    settings.warehouse.touch()
    build = Build(
        as_of_date="2026-06-30",
        sources=["extract"],
        target="duckdb",
        reporting_currency="USD",
        extracted_at="2026-06-30T22:00:00",
    )
    assert find_increment(settings, build) is None
    remember_build(settings, build)
    increment = find_increment(settings, replace(build, as_of_date="2026-07-01"))
    assert increment is not None
    assert (increment.last_as_of_date, increment.new_batches) == ("2026-06-30", [])
    assert find_increment(settings, replace(build, as_of_date="2026-06-29")) is None
    assert find_increment(settings, replace(build, sources=["extract", "maven"])) is None
    assert find_increment(settings, replace(build, delivered={"extract": ["users"]})) is None
    assert find_increment(settings, replace(build, reporting_currency="EUR")) is None
    assert find_increment(settings, replace(build, target="spark")) is None
    settings.manifest_digest.write_text("another limit in a seed")
    assert find_increment(settings, build) is None
    settings.manifest_digest.write_text("the code and the policy of then")
    assert find_increment(settings, build) is not None
    settings.warehouse.unlink()
    assert find_increment(settings, build) is None
    settings.warehouse.touch()
    newest = max(path for path in (home / "raw" / "extract").iterdir() if (path / "batch.json").exists())
    shutil.move(newest, tmp_path / "taken away")
    assert find_increment(settings, build) is None
    # And the other way round: a batch the last build did not have is what the next one is about.
    remember_build(settings, build)
    shutil.move(tmp_path / "taken away", newest)
    increment = find_increment(settings, build)
    assert increment is not None and increment.new_batches == [newest.name]
