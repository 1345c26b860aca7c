"""An export as it comes out of a CRM: references to nobody, odd columns and dates, and still a release."""

from __future__ import annotations

import csv
import shutil
from collections import Counter
from pathlib import Path

import duckdb
import pytest

from tests.conftest import Run, sightline
from tests.extracts import ACCOUNTS, OPPORTUNITY_HEADER, USERS, write_extract

DEALS = f'''\
{OPPORTUNITY_HEADER},"Notizen ""Vertrieb""",2nd-level
w1,a1,s1,Won,new_business,Closed Won,1000,2026-01-05T09:00:00Z,2026-02-10,2026-02-10T15:00:00Z,läuft,
w2,a2,s1,Won without amount,new_business,Closed Won,,2026-01-05T09:00:00Z,2026-02-10,2026-02-10T15:00:00Z,,x
w3,a2,s1,A credit entered as a deal,new_business,Closed Won,-40,2026-01-05T09:00:00Z,2026-02-11,2026-02-11T15:00:00Z,,
w4,a1,s1,A correction,new_business,Closed Won,-100,2026-01-05T09:00:00Z,2026-02-11,2026-02-11T15:00:00Z,,
ahead,a1,s1,Won next month,new_business,Closed Won,700,2026-01-05T09:00:00Z,2026-04-20,,,
alone,a1,s9,Nobody above,new_business,Proposal,900,2026-01-05T09:00:00Z,2026-01-20,,,
lost,a1,s9,Nobody above,new_business,Closed Lost,900,2026-01-05T09:00:00Z,2026-01-20,2026-01-20T10:00:00Z,,
stranger,a9,s8,Nobody knows the owner or the account,new_business,Proposal,800,2026-01-05T09:00:00Z,2026-01-20,,,
won_by_stranger,a9,s8,The same,new_business,Closed Won,60,2026-01-05T09:00:00Z,2026-01-20,2026-01-20T10:00:00Z,,
orphan,,s1,Of no account,new_business,Proposal,300,2026-01-05T09:00:00Z,2026-05-20,,,
backwards,a1,s1,Backwards,new_business,Closed Lost,10,2026-02-20T09:00:00Z,2026-02-10,2026-02-10T09:00:00Z,,
'''


CHANGES = """\
change_id,opportunity_id,field,old_value,new_value,changed_at
c1,ahead,stage,Negotiation,Closed Won,2026-02-25T10:00:00Z
"""


@pytest.fixture(scope="module")
def rough(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("rough")
    extract = write_extract(
        folder / "extract",
        crm_users=USERS + "s9,Nils Solo,account_executive,,North,Enterprise,2022-09-12\n",
        crm_accounts=ACCOUNTS,
        crm_opportunities=DEALS,
        crm_opportunity_changes=CHANGES,
    )
    run = sightline(folder / "home with a space", "run", "--extract", extract)
    assert run.exit_code == 0, run.output
    return run


def test_an_owner_who_is_not_among_the_users_is_said_with_the_number_of_deals(rough: Run) -> None:
    assert "Warning: owner s8 of 2 deals, for example stranger, is not among the users" in rough.output


def test_a_deal_that_will_be_won_next_month_is_open_and_said_to_be_in_no_snapshot(rough: Run) -> None:
    assert rough.query("select is_open, is_won from core.opportunities where opportunity_id = 'ahead'") == [
        (True, False)
    ]
    assert "1 deal is in a closed stage with a closing to come, for example ahead: open, in no snapshot" in rough.output


def test_an_account_whose_wins_come_to_nothing_has_no_share_of_what_was_won(rough: Run) -> None:
    assert rough.query(
        "select member, won_amount::double from key_accounts.concentration_members "
        "where dimension = 'account' and period_type = 'all' order by 1"
    ) == [("a1", 900.0), ("a9", 60.0)]


def test_the_mean_won_deal_is_of_those_that_have_an_amount(rough: Run) -> None:
    assert rough.query(
        "select won_count, won_amount::double, mean_won_amount from funnel.win_rates "
        "where basis = 'closed' and dimension = 'company'"
    ) == [(5, 920.0, 230.0)]


def test_columns_of_any_name_are_there_in_staging(rough: Run) -> None:
    with duckdb.connect(str(rough.home / "warehouse" / "sightline.duckdb"), read_only=True) as connection:
        assert connection.execute(
            'select "x_Notizen ""Vertrieb""", "x_2nd-level" from staging.stg_extract__opportunities '
            "where opportunity_id in ('w1', 'w2') order by opportunity_id"
        ).fetchall() == [("läuft", None), (None, "x")]


def edited(path: Path, change: dict[str, dict[str, str] | None]) -> None:
    """Rewrites a file: rows by their first column, with other values or gone."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    key = next(iter(rows[0]))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(
            {**row, **(change.get(row[key]) or {})} for row in rows if change.get(row[key], {}) is not None
        )


@pytest.mark.long
def test_a_seller_without_a_manager_one_nobody_knows_and_an_account_nobody_knows_stop_no_release(
    demo_extract: Path, tmp_path: Path
) -> None:
    crm = tmp_path / "extract" / "crm"
    shutil.copytree(demo_extract, crm.parent)
    with (crm / "opportunities.csv").open(newline="", encoding="utf-8") as file:
        deals = list(csv.DictReader(file))
    is_open = [deal for deal in deals if not deal["closed_at"]]
    (alone, _), (stranger, _) = Counter(deal["owner_id"] for deal in is_open).most_common(2)
    ((account, _),) = Counter(deal["account_id"] for deal in deals).most_common(1)
    for file_name in ("users.csv", "user_roles.csv"):
        edited(crm / file_name, {alone: {"manager_id": ""}, stranger: None})
    edited(crm / "accounts.csv", {account: None})
    run = sightline(tmp_path / "home", "run", "--extract", crm.parent)
    assert run.exit_code == 0, run.output
    assert f"owner {stranger} of " in run.output
    assert run.query(
        f"select count(*) > 0 from funnel.review_agenda where manager_id is null and owner_id = '{alone}'"
    ) == [(True,)]
