"""The funnel oracle against histories small enough to work out in the head."""

from __future__ import annotations

import random
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from tests.extracts import write_extract
from tests.oracles import funnel

USERS = """\
user_id,name,role,manager_id,region,segment,hired_on
h1,Head,executive,,,,2019-01-01
m1,Mara,manager,h1,North,,2020-01-06
m2,Milo,manager,h1,South,,2020-01-06
s1,Sam,account_executive,m1,North,SMB,2021-03-01
s2,Sofia,account_executive,m2,South,SMB,2022-09-12
"""
ACCOUNTS = "account_id,name,region,segment\na1,Arden,West,Enterprise\na2,Birch,West,\n"
DEAL_HEADER = "opportunity_id,account_id,owner_id,stage,amount,currency,created_at,close_date,closed_at,updated_at"
CHANGE_HEADER = "change_id,opportunity_id,field,old_value,new_value,changed_at"
AS_OF = date(2026, 3, 31)
EXTRACTED_AT = "2026-03-31T22:00:00Z"


def table(header: str, *rows: str) -> str:
    return "\n".join([header, *rows, ""])


def extract(
    folder: Path,
    *,
    deals: list[str],
    changes: list[str] | None = None,
    extracted_at: str = EXTRACTED_AT,
    **files: str,
) -> Path:
    """An extract of these deals and changes; the fields of a deal are those of `DEAL_HEADER`."""
    return write_extract(
        folder,
        extracted_at=extracted_at,
        crm_users=USERS,
        crm_accounts=ACCOUNTS,
        crm_opportunities=table(DEAL_HEADER, *deals),
        crm_opportunity_changes=None if changes is None else table(CHANGE_HEADER, *changes),
        **files,
    )


def pick(frame: pd.DataFrame, *columns: str) -> list[tuple[object, ...]]:
    """These columns as tuples, times written short and empty values as None."""
    return [
        tuple(
            None if pd.isna(value) else f"{value:%m-%d %H:%M}" if isinstance(value, datetime) else value
            for value in row
        )
        for row in frame[list(columns)].itertuples(index=False, name=None)
    ]


def moved(facts: funnel.Facts, scope: tuple[str, str], period_start: date, as_of: date = AS_OF) -> dict[str, Decimal]:
    """The quarter's movements of one scope."""
    frame = funnel.movements(facts, as_of, "quarter")
    chosen = frame[
        (frame["scope_type"] == scope[0]) & (frame["scope_id"] == scope[1]) & (frame["period_start"] == period_start)
    ]
    return dict(chosen.groupby("movement")["amount"].sum())


def imbalances(movements: pd.DataFrame) -> pd.Series:
    """Opening and movements less closing, by scope and period."""
    inside = movements[movements["movement"] != "overdue"]
    signed = inside["amount"].where(inside["movement"] != "closing", -inside["amount"])
    return signed.groupby([inside["scope_type"], inside["scope_id"], inside["period_start"]]).sum()


def test_events_of_one_second_follow_each_other_and_a_doubled_one_counts_once(tmp_path: Path) -> None:
    changes = [
        "c3,o1,stage,Discovery,Solution,2026-02-01T10:00:00Z",
        "c1,o1,stage,Solution,Proposal,2026-02-01T10:00:00Z",
        "c4,o1,stage,Discovery,Solution,2026-02-01T10:00:00Z",
        "c5,o1,amount,90,90.00,2026-01-10T10:00:00Z",
        "c7,o1,amount,90,100,2026-03-01T10:00:00Z",
        "c6,o1,amount,100.0,90,2026-03-01T10:00:00Z",
        "c6,o1,amount,100.0,90,2026-03-01T10:00:00Z",
    ]
    deals = ["o1,a1,s1,Proposal,90,USD,2026-01-05T09:00:00Z,2026-04-30,,2026-02-15T10:00:00Z"]
    facts = funnel.load([extract(tmp_path, deals=deals, changes=changes)])
    # Neither of the two amounts of March is the last by their values, so it is the one with the highest change_id.
    assert pick(funnel.history(facts, AS_OF), "valid_from", "valid_to", "stage", "amount_source") == [
        ("01-05 09:00", "02-01 10:00", "Discovery", Decimal("90.0000")),
        ("02-01 10:00", "03-01 10:00", "Proposal", Decimal("90.0000")),
        ("03-01 10:00", None, "Proposal", Decimal("100.0000")),
    ]


def test_a_late_event_takes_its_place_once_it_is_known(tmp_path: Path) -> None:
    deal = "o1,a1,s1,Proposal,100,USD,2026-01-05T09:00:00Z,2026-04-30,,2026-02-20T10:00:00Z"
    first = ["c2,o1,stage,Solution,Proposal,2026-02-20T10:00:00Z"]
    late = "c1,o1,stage,Discovery,Solution,2026-02-01T10:00:00Z"
    facts = funnel.load(
        [
            extract(tmp_path / "1", deals=[deal], changes=first, extracted_at="2026-03-01T06:00:00Z"),
            extract(tmp_path / "2", deals=[deal], changes=[*first, late], extracted_at="2026-03-08T06:00:00Z"),
        ]
    )
    before = funnel.history(facts, date(2026, 3, 7))
    assert pick(before, "valid_from", "stage") == [("01-05 09:00", "Solution"), ("02-20 10:00", "Proposal")]
    after = funnel.history(facts, date(2026, 3, 8))
    assert pick(after, "valid_from", "stage") == [
        ("01-05 09:00", "Discovery"),
        ("02-01 10:00", "Solution"),
        ("02-20 10:00", "Proposal"),
    ]
    # Told for a day before any change, the first load says what the stage was before it changed.
    assert pick(funnel.history(facts, date(2026, 1, 31)), "valid_from", "stage") == [("01-05 09:00", "Solution")]


def test_a_row_that_contradicts_is_believed_from_when_it_was_seen(tmp_path: Path) -> None:
    changes = [
        "c1,o1,amount,50,60,2026-01-10T00:00:00Z",
        "c2,o1,amount,70,80,2026-01-20T00:00:00Z",
        "c3,o1,amount,80,95,2026-03-01T00:00:00Z",
    ]
    deals = ["o1,a1,s1,Proposal,100,USD,2026-01-15T00:00:00Z,2026-04-30,,2026-02-01T00:00:00Z"]
    facts = funnel.load([extract(tmp_path, deals=deals, changes=changes)])
    # 60 is from before the deal was created; 80 follows a value that never was; 100 is what the row says.
    assert pick(funnel.history(facts, AS_OF), "valid_from", "amount_source") == [
        ("01-15 00:00", Decimal("60.0000")),
        ("01-20 00:00", Decimal("80.0000")),
        ("02-01 00:00", Decimal("100.0000")),
        ("03-01 00:00", Decimal("95.0000")),
    ]


def test_reopened_and_created_closed_deals(tmp_path: Path) -> None:
    changes = [
        "c1,o1,stage,Discovery,Proposal,2026-01-11T00:00:00Z",
        "c2,o1,stage,Proposal,Closed Lost,2026-01-21T12:00:00Z",
        "c3,o1,stage,Closed Lost,Discovery,2026-02-01T00:00:00Z",
    ]
    deals = [
        "o1,a1,s1,Discovery,100,USD,2026-01-01T00:00:00Z,2026-03-31,,2026-02-01T00:00:00Z",
        "o2,a1,s1,Closed Won,70,USD,2026-01-05T09:00:00Z,2026-01-05,,2026-01-06T00:00:00Z",
        "o3,a1,s1,Closed Won,30,USD,2026-01-05T09:00:00Z,2026-02-10,,2026-02-11T00:00:00Z",
    ]
    facts = funnel.load([extract(tmp_path, deals=deals, changes=changes)])
    history = funnel.history(facts, AS_OF)
    assert pick(history, "opportunity_id", "valid_from", "stage", "episode") == [
        ("o1", "01-01 00:00", "Discovery", 1),
        ("o1", "01-11 00:00", "Proposal", 1),
        ("o1", "01-21 12:00", "Closed Lost", 1),
        ("o1", "02-01 00:00", "Discovery", 2),
        ("o2", "01-05 09:00", "Closed Won", 1),
        ("o3", "01-05 09:00", None, 1),
        ("o3", "02-10 00:00", "Closed Won", 1),
    ]
    past = funnel.history(facts, date(2026, 2, 9))
    assert pick(past[past["opportunity_id"] == "o3"], "valid_from", "valid_to", "stage") == [
        ("01-05 09:00", None, None)
    ]
    # Only Discovery and Proposal were ever visited, so one is the next rank of the other.
    assert pick(funnel.visits(facts, AS_OF), "opportunity_id", "visit_number", "stage", "days", "direction") == [
        ("o1", 1, "Discovery", 10.0, "advance"),
        ("o1", 2, "Proposal", 10.5, "lost"),
        ("o1", 3, "Discovery", 59.0, "open"),
    ]
    assert moved(facts, ("company", "company"), date(2026, 1, 1)) == {
        "created": Decimal(130),  # o1 and o3; o2 was never open
        "lost": Decimal(-100),
        "reopened": Decimal(100),
        "won": Decimal(-30),
        "closing": Decimal(100),
    }


def test_a_deal_gone_from_a_full_extract_is_deleted_until_it_is_back(tmp_path: Path) -> None:
    stays = "o2,a1,s1,Proposal,7,USD,2026-01-05T09:00:00Z,2026-03-31,,2026-02-01T00:00:00Z"
    goes = "o1,a1,s1,Proposal,100,USD,2026-01-05T09:00:00Z,2026-03-31,,2026-02-01T00:00:00Z"
    loads = [("03-01", [stays, goes]), ("03-08", [stays]), ("03-15", [stays]), ("03-22", [stays, goes])]
    facts = funnel.load(
        [extract(tmp_path / day, deals=deals, extracted_at=f"2026-{day}T06:00:00Z") for day, deals in loads]
    )
    before = funnel.history(facts, date(2026, 3, 7))
    assert pick(before, "opportunity_id", "is_deleted") == [("o1", False), ("o2", False)]
    deleted = funnel.history(facts, date(2026, 3, 15))
    assert pick(deleted[deleted["opportunity_id"] == "o1"], "valid_from", "is_deleted") == [
        ("01-05 09:00", False),
        ("03-08 06:00", True),
    ]
    assert funnel.visits(facts, date(2026, 3, 15))["opportunity_id"].tolist() == ["o2"]
    assert moved(facts, ("company", "company"), date(2026, 1, 1), as_of=date(2026, 3, 15)) == {
        "created": Decimal(107),
        "deleted": Decimal(-100),
        "closing": Decimal(7),
    }
    # The row that is back was updated in February; it is back with the extract that has it again.
    assert pick(funnel.history(facts, AS_OF).query("opportunity_id == 'o1'"), "valid_from", "is_deleted") == [
        ("01-05 09:00", False),
        ("03-08 06:00", True),
        ("03-22 06:00", False),
    ]
    assert funnel.visits(facts, AS_OF)["opportunity_id"].tolist() == ["o1", "o2"]


def test_a_new_owner_moves_the_deal_between_the_scopes_that_differ(tmp_path: Path) -> None:
    changes = [
        "c1,o1,owner_id,s1,s2,2026-02-10T00:00:00Z",
        "c2,o1,amount,100,120,2026-02-10T00:00:00Z",
        "c3,o1,stage,Proposal,Closed Won,2026-03-01T00:00:00Z",
    ]
    deals = ["o1,a1,s2,Closed Won,120,USD,2026-01-05T00:00:00Z,2026-03-01,2026-03-01T00:00:00Z,2026-03-01T00:00:00Z"]
    facts = funnel.load([extract(tmp_path, deals=deals, changes=changes)])
    left = {"created": Decimal(100), "owner_out": Decimal(-100)}
    entered = {"owner_in": Decimal(120), "won": Decimal(-120)}
    stayed = {"created": Decimal(100), "amount_up": Decimal(20), "won": Decimal(-120)}
    for scope in [("seller", "s1"), ("manager", "m1"), ("region", "North")]:
        assert moved(facts, scope, date(2026, 1, 1)) == left
    for scope in [("seller", "s2"), ("manager", "m2"), ("region", "South")]:
        assert moved(facts, scope, date(2026, 1, 1)) == entered
    for scope in [("company", "company"), ("manager", "h1"), ("segment", "Enterprise")]:
        assert moved(facts, scope, date(2026, 1, 1)) == stayed


def test_a_reorganisation_takes_effect_at_the_start_of_its_day(tmp_path: Path) -> None:
    roles = table(
        "user_id,effective_from,role,manager_id,region,segment",
        "s1,2026-01-10,account_executive,m1,North,SMB",
        "s1,2026-02-01,account_executive,m2,,SMB",
    )
    deals = ["o1,a2,s1,Proposal,100,USD,2026-01-05T00:00:00Z,2026-01-31,,2026-02-20T00:00:00Z"]
    facts = funnel.load([extract(tmp_path, deals=deals, crm_user_roles=roles)])
    snapshots = funnel.snapshots(facts, AS_OF)
    shown = snapshots[snapshots["snapshot_date"].isin([date(2026, 1, 4 + 7), date(2026, 1, 31), date(2026, 2, 1)])]
    assert pick(shown, "snapshot_date", "manager_id", "region", "segment", "amount", "age_days") == [
        (date(2026, 1, 11), "m1", "North", "SMB", Decimal("100.0000"), 6),
        (date(2026, 1, 31), "m1", "North", "SMB", Decimal("100.0000"), 26),
        (date(2026, 2, 1), "m2", "West", "SMB", Decimal("100.0000"), 27),
    ]
    # Before the job began the seller had no manager. Every day of the running quarter has a snapshot: 5 January on.
    assert snapshots["manager_id"].isna().sum() == 5
    assert len(snapshots) == 86
    hundred = Decimal(100)
    assert moved(facts, ("manager", "m1"), date(2026, 1, 1)) == {"owner_in": hundred, "owner_out": -hundred}
    assert moved(facts, ("manager", "h1"), date(2026, 1, 1)) == {"owner_in": hundred, "closing": hundred}
    months = funnel.movements(facts, AS_OF, "month")
    mara = months[(months["scope_type"] == "manager") & (months["scope_id"] == "m1")]
    # In February the deal is overdue already, and Milo's by then.
    assert pick(mara, "period_start", "movement", "amount") == [
        (date(2026, 1, 1), "closing", hundred),
        (date(2026, 1, 1), "owner_in", hundred),
    ]
    milo = months[(months["scope_type"] == "manager") & (months["scope_id"] == "m2")]
    assert pick(milo, "period_start", "movement", "amount") == [
        (date(2026, 2, 1), "overdue", hundred),
        (date(2026, 3, 1), "overdue", hundred),
    ]


def test_a_close_date_that_moves_with_the_amount(tmp_path: Path) -> None:
    changes = [
        "c1,o1,close_date,2026-06-30,2026-03-15T00:00:00Z,2026-02-01T00:00:00Z",
        "c2,o1,amount,100,80,2026-02-01T00:00:00Z",
        "c3,o1,close_date,2026-03-15,2026-05-31,2026-03-10T00:00:00Z",
        "c4,o1,amount,80,90,2026-03-10T00:00:00Z",
    ]
    deals = ["o1,a1,s1,Proposal,90,USD,2025-12-05T00:00:00Z,2026-05-31,,2026-03-10T00:00:00Z"]
    facts = funnel.load([extract(tmp_path, deals=deals, changes=changes, extracted_at="2026-04-01T06:00:00Z")])
    company = ("company", "company")
    assert moved(facts, company, date(2026, 1, 1)) == {
        "pulled_in": Decimal(100),
        "amount_down": Decimal(-20),
        "pushed_out": Decimal(-80),
    }
    assert moved(facts, company, date(2025, 10, 1)) == {}
    assert moved(facts, company, date(2026, 4, 1), as_of=date(2026, 4, 1)) == {
        "opening": Decimal(90),
        "closing": Decimal(90),
    }


def test_amounts_are_at_one_plan_rate_and_rows_that_break_the_contract_are_left_out(tmp_path: Path) -> None:
    rates = table(
        "rate_date,from_currency,to_currency,rate_type,rate",
        "2025-01-01,EUR,USD,plan,1.10",
        "2026-01-01,EUR,USD,plan,1.20",
        "2026-02-01,EUR,USD,spot,9.99",
        "2026-03-25,USD,GBP,spot,0.80",
        "2026-03-25,CHF,GBP,spot,0.90",
        "2026-03-01,SEK,USD,spot,0.10",
    )
    deals = [
        "won,a1,s1,Won,100,EUR,2025-12-01T00:00:00Z,2026-01-02,2025-12-31T10:00:00Z,2025-12-31T10:00:00Z",
        "euro,a1,s1,Proposal,100.33335,EUR,2025-12-01T00:00:00Z,2026-05-01,,2026-02-01T00:00:00Z",
        "pound,a1,s1,Proposal,100,GBP,2025-12-01T00:00:00Z,2026-05-01,,2026-02-01T00:00:00Z",
        "franc,a1,s1,Proposal,100,CHF,2025-12-01T00:00:00Z,2026-05-01,,2026-02-01T00:00:00Z",
        "crown,a1,s1,Proposal,100,SEK,2025-12-01T00:00:00Z,2026-05-01,,2026-02-01T00:00:00Z",
        "plain,a1,s1,Proposal,100,,2025-12-01T00:00:00Z,2026-05-01,,2026-02-01T00:00:00Z",
        "odd_stage,a1,s1,Verbal OK,100,USD,2025-12-01T00:00:00Z,2026-05-01,,2026-02-01T00:00:00Z",
        "odd_currency,a1,s1,Proposal,100,EURO,2025-12-01T00:00:00Z,2026-05-01,,2026-02-01T00:00:00Z",
    ]
    facts = funnel.load([extract(tmp_path, deals=deals, finance_fx_rates=rates)])
    snapshots = funnel.snapshots(facts, AS_OF)
    on = {day: snapshots[snapshots["snapshot_date"] == day] for day in (date(2025, 12, 28), AS_OF)}
    # Closed in 2025, so at 1.10 although its close date is of 2026.
    assert dict(zip(on[date(2025, 12, 28)]["opportunity_id"], on[date(2025, 12, 28)]["amount"], strict=True))[
        "won"
    ] == Decimal("110.0000")
    assert pick(on[AS_OF], "opportunity_id", "amount") == [
        ("crown", None),  # 30 days old
        ("euro", Decimal("120.4001")),  # 100.3334 x 1.20 = 120.40008
        ("franc", Decimal("112.5000")),  # 0.90 / 0.80
        ("plain", Decimal("100.0000")),
        ("pound", Decimal("125.0000")),  # 1 / 0.80
    ]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("period_type", ["month", "quarter", "year"])
def test_opening_and_movements_are_closing_whatever_happened(tmp_path: Path, seed: int, period_type: str) -> None:
    chance = random.Random(seed)
    stages = ["Discovery", "Solution", "Proposal", "Closed Won", "Closed Lost", "No Decision"]
    deals: list[str] = []
    changes: list[str] = []
    for number in range(80):
        created = datetime(2025, 1, 1) + timedelta(hours=chance.randrange(24 * 330))
        close_date = created.date() + timedelta(days=chance.randrange(200))
        choices = {
            "stage": lambda: chance.choice(stages),
            "amount": lambda: str(chance.randrange(10_000) / 7),
            "close_date": lambda: str(date(2025, 1, 1) + timedelta(days=chance.randrange(480))),
            "owner_id": lambda: chance.choice(["s1", "s2", "m1", ""]),
        }
        deals.append(
            f"o{number},{chance.choice(['a1', 'a2'])},{chance.choice(['s1', 's2'])},{chance.choice(stages)},"
            f"{chance.randrange(9999)},{chance.choice(['USD', 'EUR', 'JPY'])},{created.isoformat()},{close_date},,"
        )
        for _ in range(12):
            moment = created + timedelta(days=chance.randrange(-5, 300))
            for name in chance.sample(sorted(choices), 2):
                change = f"o{number},{name},{choices[name]()},{choices[name]()},{moment.isoformat()}"
                changes.append(f"c{len(changes)},{change}")
    roles = table(
        "user_id,effective_from,role,manager_id,region,segment",
        "s1,2025-01-15,account_executive,m1,North,SMB",
        "s1,2025-04-01,account_executive,m2,South,SMB",
        "m2,2025-02-01,manager,h1,South,",
        "m2,2025-09-01,manager,s1,South,",  # a line that loops
    )
    rates = table("rate_date,from_currency,to_currency,rate_type,rate", "2025-01-01,EUR,USD,plan,1.123456")
    loads = [("2025-12-01T00:00:00Z", deals), ("2026-01-20T00:00:00Z", deals[:40])]
    facts = funnel.load(
        [
            extract(
                tmp_path / extracted_at[:10],
                deals=rows,
                changes=changes,
                extracted_at=extracted_at,
                crm_user_roles=roles,
                finance_fx_rates=rates,
            )
            for extracted_at, rows in loads
        ]
    )
    movements = funnel.movements(facts, AS_OF, period_type)
    happened = {*movements["movement"]}
    assert happened >= {"opening", "closing", "overdue", "reopened", "deleted", "owner_in", "owner_out", "pulled_in"}
    assert not movements.duplicated(funnel.MOVEMENTS[:-1]).any()
    assert set(imbalances(movements)) == {Decimal(0)}
