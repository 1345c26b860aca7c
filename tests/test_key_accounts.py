"""Key accounts: who is on the list and why, what a review knew, how each is, and whether the planted ones are found."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest

from orchestration.settings import SEEDS
from tests.conftest import DEMO_AS_OF, DEMO_PAST, Run
from tests.extracts import write_extract
from tests.warehouse import Warehouse

TABLES = [
    f"key_accounts.{name}"
    for name in (
        "key_account_reviews", "key_account_list", "key_account_findings", "key_account_health", "relationship_map",
        "whitespace", "plan_execution",
    )
]  # fmt: skip
AS_OF = date(2026, 5, 20)
FIRST = "2026-05-15T06:00:00Z"
USERS = """\
user_id,name,role,hired_on
s1,Sam Oduya,account_manager,2020-01-06
s2,Sofia Reyes,account_manager,2020-01-06
x1,Xenia Roth,executive,2020-01-06
"""
ACCOUNTS = """\
account_id,name,parent_account_id,owner_id,segment,industry,addressable_spend,addressable_spend_source
a1,Giant,,s1,Strategic,Food,,
a2,Arden Foods,,s1,Strategic,Food,1000,analyst
a3,Bel Rail,,s2,Strategic,Rail,10,account plan
"""
CUSTOMERS = "customer_id,crm_account_id,name,currency\nf1,a1,Giant,USD\nf2,a2,Arden,USD\nf3,a3,Bel,USD\n"
PRODUCTS = "product_id,name\np,Sensor\nq,Software\n"
SUBSCRIPTIONS = """\
subscription_id,customer_id,product_id,start_date,end_date,arr,currency
1,f1,p,2026-02-01,,1000000,USD
2,f2,p,2022-01-01,,60,USD
3,f2,q,2022-01-01,,40,USD
4,f3,p,2024-01-01,2026-01-01,100,USD
5,f3,p,2026-01-01,,50,USD
"""
CONTACTS = """\
contact_id,account_id,name,seniority,business_function
c1,a2,Ann,c_level,Finance
c2,a2,Ben,director,Operations
c3,a2,Cem,vp,Finance
c4,a3,Dee,individual,Operations
"""
ACTIVITIES = """\
activity_id,activity_type,direction,purpose,user_id,account_id,contact_id,occurred_at,is_completed
t1,meeting,outbound,value_review,s1,a2,c1,2026-01-15T09:00:00Z,true
t2,meeting,outbound,value_review,s1,a2,c1,2026-02-10T09:00:00Z,true
t3,meeting,outbound,value_review,s1,a2,c2,2026-03-10T09:00:00Z,true
t4,demo,inbound,value_review,s1,a2,c2,2026-03-25T09:00:00Z,true
t5,email,inbound,sell,s1,a2,c1,2026-04-10T09:00:00Z,true
t6,email,outbound,sell,s1,a2,c3,2026-04-11T09:00:00Z,true
t7,meeting,outbound,value_review,s1,a2,c3,2026-04-12T09:00:00Z,false
t8,meeting,internal,value_review,s1,a2,c3,2026-04-13T09:00:00Z,true
t9,meeting,outbound,sell,x1,a2,c1,2026-04-20T09:00:00Z,true
t10,call,inbound,support,s2,,c4,2026-01-10T09:00:00Z,true
"""
PLANS = """\
plan_id,account_id,fiscal_year,owner_id,executive_sponsor_id,status,target_revenue,currency,approved_on,last_reviewed_on
n1,a2,2026,s1,x1,active,120,USD,2026-01-20,2026-04-01
n2,a3,2025,s2,,active,120,USD,2025-02-01,
"""
OBJECTIVES = """\
objective_id,plan_id,beneficiary,due_on,status,completed_on
j1,n1,customer,2026-03-01,done,2026-02-20
j2,n1,customer,2026-05-01,open,
j3,n1,supplier,2026-02-01,done,2026-03-01
j4,n1,customer,2026-09-01,open,
"""
OPPORTUNITIES = (
    "opportunity_id,account_id,owner_id,name,opportunity_type,stage,amount,created_at,close_date,closed_at,product_id\n"
    "o1,a3,s2,Software,expansion,Proposal,30,2026-04-01T09:00:00Z,2026-07-31,,q\n"
)


def by_hand(directory: Path, extracted_at: str = FIRST, **files: str | None) -> Path:
    contents: dict[str, str | None] = {
        "crm_users": USERS,
        "crm_accounts": ACCOUNTS,
        "crm_contacts": CONTACTS,
        "crm_products": PRODUCTS,
        "crm_opportunities": OPPORTUNITIES,
        "crm_activities": ACTIVITIES,
        "crm_account_plans": PLANS,
        "crm_account_plan_objectives": OBJECTIVES,
        "finance_customers": CUSTOMERS,
        "finance_subscriptions": SUBSCRIPTIONS,
        **files,
    }
    return write_extract(directory, extracted_at=extracted_at, **contents)


def query(database: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(database), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def policy() -> dict[str, float]:
    with (SEEDS / "key_account_policy.csv").open(encoding="utf-8", newline="") as file:
        return {row["name"]: float(row["value"]) for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory, demo_run: Run) -> Warehouse:
    return Warehouse(demo_run, tmp_path_factory.mktemp("key_accounts") / "home", TABLES)


def test_the_largest_account_that_fails_the_other_rules_is_not_on_the_list_and_it_says_why(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    warehouse.load([by_hand(tmp_path / "x")])
    warehouse.build(AS_OF)
    rows = query(
        warehouse.database,
        "select account_id, standing, reason, rules_passed, rules_failed, rules_unknown, score, entered_on::varchar, "
        "manager_name, place from key_accounts.key_account_list order by 1",
    )
    assert rows == [
        # New, so that its growth is not known; nobody knows what it could spend.
        (
            "a1", "not_on_list", "size alone", "revenue", "breadth, contacts, seniority, value_meetings, tenure",
            "potential, growth", 8.82, None, "Sam Oduya", None,
        ),
        # Revenue 15, potential 30, growth 6.67, breadth 13.33; contacts 15, the rest of the relationship in full.
        (
            "a2", "on_list", None, "potential, growth, breadth, contacts, seniority, value_meetings, tenure", "revenue",
            None, 74.33, "2026-03-31", "Sam Oduya", 1,
        ),
        (
            "a3", "not_on_list", "too few rules passed", "tenure",
            "revenue, potential, growth, breadth, contacts, seniority, value_meetings", None, 12.24, None,
            "Sofia Reyes", None,
        ),
    ]  # fmt: skip


def test_a_review_says_for_ever_what_was_known_on_its_day(warehouse: Warehouse, tmp_path: Path) -> None:
    told = (
        "select * exclude (as_of_date) from key_accounts.key_account_reviews where reviewed_on <= '2026-03-31' "
        "order by account_id, reviewed_on"
    )
    warehouse.load([by_hand(tmp_path / "x")])
    warehouse.build(date(2026, 5, 16))
    then = query(warehouse.database, told)
    assert len(then) > 20
    # Another owner and spend, less revenue since ever, a meeting that was not held after all, another seniority.
    warehouse.load_more(
        [
            by_hand(
                tmp_path / "y",
                "2026-05-18T06:00:00Z",
                crm_accounts=ACCOUNTS.replace(
                    "a2,Arden Foods,,s1,Strategic,Food,1000", "a2,Arden Foods,,s2,SMB,Rail,1"
                ),
                finance_subscriptions=SUBSCRIPTIONS.replace("3,f2,q,2022-01-01,,40", "3,f2,q,2026-05-01,,4"),
                crm_activities=ACTIVITIES.replace("2026-03-10T09:00:00Z,true", "2026-03-10T09:00:00Z,false"),
                crm_contacts=CONTACTS.replace("c2,a2,Ben,director", "c2,a2,Ben,individual"),
                finance_customers=CUSTOMERS.replace("f3,a3", "f3,a1"),
            )
        ]
    )
    warehouse.build(date(2026, 7, 2))
    assert query(warehouse.database, told) == then
    # The next review knows it.
    (after,) = query(
        warehouse.database,
        "select manager_name, arr::int, seniority, value_meetings, is_key from key_accounts.key_account_reviews "
        "where account_id = 'a2' and reviewed_on = '2026-06-30'",
    )
    assert after == ("Sofia Reyes", 64, 1, 3, True)


def test_whoever_has_left_the_customer_is_no_relationship(warehouse: Warehouse, tmp_path: Path) -> None:
    header, *rows = CONTACTS.splitlines()
    contacts = (
        "\n".join([f"{header},is_active", *(f"{row},{'false' if row[:2] == 'c1' else ''}" for row in rows)]) + "\n"
    )
    warehouse.load([by_hand(tmp_path / "x", crm_contacts=contacts)])
    warehouse.build(AS_OF)
    # Ann was met and wrote; of those who are there only Ben was met. When somebody was last there stays.
    assert query(
        warehouse.database,
        "select engaged_contact_count, engaged_senior_count, engaged_function_count, relationship_contact_count, "
        "has_single_relationship, concerns, last_engaged_on::varchar, meeting_count "
        "from key_accounts.key_account_health where account_id = 'a2'",
    ) == [(1, 1, 1, 1, True, "single_relationship", "2026-04-20", 5)]


def test_health_map_white_space_and_plans_by_hand(warehouse: Warehouse, tmp_path: Path) -> None:
    warehouse.load([by_hand(tmp_path / "x")])
    warehouse.build(AS_OF)
    rows = query(
        warehouse.database,
        "select account_id, standing, concerns, strengths, arr::int, arr_year_ago::int, growth, nrr, grr, "
        "wallet_share, wallet_source, wallet_estimated_on, engaged_contact_count, engaged_senior_count, "
        "engaged_function_count, relationship_contact_count, meeting_count, value_meeting_count, "
        "proactive_meeting_count, proactive_share, initiated_share, objective_count, objectives_met_count, "
        "has_single_relationship, has_sponsor_meeting, last_sponsor_meeting_on::varchar, last_engaged_on::varchar "
        "from key_accounts.key_account_health order by 1",
    )
    assert rows == [
        # Whoever was only written to, did not come or met inside our house is not engaged.
        (
            "a2", "on_list", None, None, 100, 100, 0.0, 1.0, 1.0, 0.1, "analyst", None, 2, 2, 2, 2, 5, 4, 3, 0.6, 0.75,
            2, 1, False, True, "2026-04-20", "2026-04-20",
        ),
        (
            "a3", "planned",
            "shrinking, single_relationship, nobody_engaged, no_senior_contact, reactive, no_wallet_estimate, "
            "not_on_list",
            None, 50, 100, -0.5, 0.5, 0.5, 5.0, "account plan", None, 0, 0, 0, 1, 0, 0, 0, None, None, 0, 0, True, None,
            None, "2026-01-10",
        ),
    ]  # fmt: skip
    found = query(
        warehouse.database,
        "select concern, value, norm from key_accounts.key_account_findings where account_id = 'a3' order by rank",
    )
    assert found == [
        ("shrinking", -0.5, -0.05), ("single_relationship", 1, 2), ("nobody_engaged", 0, 1),
        ("no_senior_contact", 0, 1), ("reactive", 0, 2), ("no_wallet_estimate", 5, 1),
        ("not_on_list", 12.24, 70),
    ]  # fmt: skip
    cells = query(
        warehouse.database,
        "select account_id, seniority, business_function, contact_count, engaged_count, relationship_count, "
        "last_engaged_on::varchar from key_accounts.relationship_map",
    )
    # Two accounts, five seniorities, two functions: a gap has a row.
    assert len(cells) == 20
    assert sorted(cell for cell in cells if cell[3]) == [
        ("a2", "c_level", "Finance", 1, 1, 1, "2026-04-20"),
        ("a2", "director", "Operations", 1, 1, 1, "2026-03-25"),
        ("a2", "vp", "Finance", 1, 0, 0, None),
        ("a3", "individual", "Operations", 1, 0, 1, "2026-01-10"),
    ]
    # The other two pay; one of them has the software, for 40.
    assert query(
        warehouse.database,
        "select account_id, product_id, like_by, reason, n, owner_count, adoption_rate, typical_amount::int, "
        "expected_amount::double, open_opportunity_count, rank from key_accounts.whitespace",
    ) == [("a3", "q", "company", None, 2, 1, 0.5, 40, 20.0, 1, 1)]
    plans = query(
        warehouse.database,
        "select account_id, fiscal_year, plan_id, executive_sponsor_name, target_revenue::int, arr::int, "
        "sponsor_meeting_count, sponsor_quarter_count, quarter_count, objective_count, customer_objective_count, "
        "due_count, done_count, on_time_count, round(done_share, 4), customer_due_count, customer_done_share, "
        "is_current, year_end::varchar from key_accounts.plan_execution order by 1, 2",
    )
    assert plans == [
        ("a2", 2026, "n1", "Xenia Roth", 120, 100, 1, 1, 2, 4, 3, 3, 2, 1, 0.6667, 2, 0.5, True, "2026-05-20"),
        (
            "a3", 2025, "n2", None, 120, None, None, None, 4, 0, 0, 0, 0, 0, None, 0, None, False, "2025-12-31",
        ),
    ]  # fmt: skip


def told_of(warehouse: Warehouse, account: str) -> list[tuple[Any, ...]]:
    return query(
        warehouse.database,
        "select concern, what_is_wrong, value, norm, n from key_accounts.key_account_findings "
        f"where account_id = '{account}' and kind = 'concern' order by rank",
    )


def test_a_lost_account_is_told_as_lost_and_a_cancellation_before_it_is_one(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    header, *rows = SUBSCRIPTIONS.splitlines()
    # The account of the running year's plan leaves; the other one has cancelled what ends tomorrow.
    ends = {"2": "2026-05-01", "3": "2026-04-01", "5": "2026-05-21"}
    cells = [row.split(",") for row in rows]
    subscriptions = "\n".join(
        [
            f"{header},cancelled_on,churn_reason",
            *(
                ",".join([*row[:4], ends.get(row[0], row[4]), *row[5:], "2026-03-01" if row[0] in ends else "", why])
                for row, why in zip(cells, ["", "Budget", "Merger", "", ""], strict=True)
            ),
        ]
    )
    warehouse.load([by_hand(tmp_path / "x", finance_subscriptions=subscriptions + "\n")])
    warehouse.build(AS_OF)
    lost = told_of(warehouse, "a2")
    assert lost[0] == ("lost", "It was a customer and pays nothing any more (finance notes: Budget)", 0, 60, None)
    plan_and_money = {"shrinking", "reactive", "no_plan", "plan_not_current", "no_sponsor", "sponsor_absent"}
    assert not plan_and_money & {row[0] for row in lost}
    assert told_of(warehouse, "a3")[0][0] == "renewal_cancelled"
    assert told_of(warehouse, "a3")[0][2:4] == (50, 50)
    # A day later it is lost, and nothing is due any more.
    warehouse.build(date(2026, 5, 22))
    assert told_of(warehouse, "a3")[0][0] == "lost"
    assert "renewal_cancelled" not in [row[0] for row in told_of(warehouse, "a3")]
    # What has ended and nobody has cancelled waits for a decision.
    warehouse.load(
        [
            by_hand(
                tmp_path / "y",
                finance_subscriptions=SUBSCRIPTIONS.replace("5,f3,p,2026-01-01,", "5,f3,p,2026-01-01,2026-05-10"),
            )
        ]
    )
    warehouse.build(AS_OF)
    assert told_of(warehouse, "a3")[0][::2] == ("renewal_overdue", 50, None)


def test_a_sponsor_of_whom_nothing_is_on_record_is_not_called_absent(warehouse: Warehouse, tmp_path: Path) -> None:
    sponsor = (
        "select has_sponsor_meeting, sponsor_reason, concerns from key_accounts.key_account_health "
        "where account_id = 'a2'"
    )
    without = "\n".join(line for line in ACTIVITIES.splitlines() if ",x1," not in line) + "\n"
    warehouse.load([by_hand(tmp_path / "x", crm_activities=without)])
    warehouse.build(AS_OF)
    assert query(warehouse.database, sponsor) == [(None, "nothing of the sponsor on record", None)]
    # Who meets others has never met this customer.
    warehouse.load([by_hand(tmp_path / "y", crm_activities=ACTIVITIES.replace("sell,x1,a2,c1", "sell,x1,a3,c4"))])
    warehouse.build(AS_OF)
    assert query(warehouse.database, sponsor) == [(False, None, "sponsor_absent")]
    assert told_of(warehouse, "a2") == [
        ("sponsor_absent", "No meeting of the executive sponsor with the customer is on record", None, 90, None)
    ]


def test_objectives_are_behind_only_when_there_are_enough_of_them(warehouse: Warehouse, tmp_path: Path) -> None:
    header, *rows = OBJECTIVES.splitlines()
    for count, expected in ((2, []), (3, [("customer_objectives_behind", 0, 0.5, 3)])):
        late = [f"k{number},n1,customer,2026-03-0{number},open," for number in range(1, count + 1)]
        warehouse.load(
            [by_hand(tmp_path / str(count), crm_account_plan_objectives="\n".join([header, *late, rows[3]]) + "\n")]
        )
        warehouse.build(AS_OF)
        assert [row[:1] + row[2:] for row in told_of(warehouse, "a2")] == expected


def test_a_plan_and_its_revenue_are_at_one_rate(warehouse: Warehouse, tmp_path: Path) -> None:
    in_euro = SUBSCRIPTIONS.replace(",60,USD", ",60,EUR").replace(",40,USD", ",40,EUR")
    rates = (
        "rate_date,from_currency,to_currency,rate_type,rate\n2020-01-01,EUR,USD,plan,2\n2026-01-01,EUR,USD,plan,1.5\n"
    )
    plans = PLANS.replace("120,USD,2026", "120,EUR,2026")
    warehouse.load(
        [by_hand(tmp_path / "x", finance_subscriptions=in_euro, finance_fx_rates=rates, crm_account_plans=plans)]
    )
    warehouse.build(AS_OF)
    assert query(
        warehouse.database,
        "select target_revenue::int, arr::int from key_accounts.plan_execution where account_id = 'a2'",
    ) == [(240, 200)]


def test_what_was_never_delivered_is_not_known_and_no_concern(warehouse: Warehouse, tmp_path: Path) -> None:
    # Without what people do nobody knows a relationship.
    warehouse.load(
        [
            by_hand(
                tmp_path / "x", crm_activities=None, crm_contacts=None, crm_account_plans=PLANS, crm_products=None,
                crm_account_plan_objectives=None,
            )
        ]
    )  # fmt: skip
    warehouse.build(AS_OF)
    assert query(
        warehouse.database,
        "select account_id, reason, score, is_below from key_accounts.key_account_reviews "
        "where reviewed_on = '2026-03-31' order by 1",
    ) == [
        ("a1", "not enough data", None, True),
        ("a2", "not enough data", None, False),
        ("a3", "not enough data", None, False),
    ]
    assert query(
        warehouse.database,
        "select account_id, engaged_contact_count, meeting_count, objective_count, has_single_relationship, concerns "
        "from key_accounts.key_account_health order by 1",
    ) == [
        ("a2", None, None, None, None, "not_on_list"),
        ("a3", None, None, None, None, "shrinking, no_wallet_estimate, not_on_list"),
    ]
    assert query(warehouse.database, "select count(*) from key_accounts.relationship_map") == [(0,)]
    # Without finance and plans there is nothing to tell.
    warehouse.load([write_extract(tmp_path / "y", extracted_at=FIRST)])
    warehouse.build(AS_OF)
    for table in TABLES:
        assert query(warehouse.database, f"select count(*) from {table}") == [(0,)], table


BEFORE_IT = "accounts that qualified before it hold the places, and cannot enter themselves now"


def test_the_list_is_what_its_rules_give_one_review_after_the_other(demo_release: Path) -> None:
    """The rules as one would carry them out by hand, on the scores of the reviews."""
    rule = policy()
    reviews = query(
        demo_release,
        "select reviewed_on, account_id, manager_id, is_reviewed, score, rules_passed_count, standing, place, reason, "
        "entered_on, left_on from key_accounts.key_account_reviews order by 1, 2",
    )
    by_day: dict[date, list[tuple[Any, ...]]] = defaultdict(list)
    for row in reviews:
        by_day[row[0]].append(row)
    below: dict[str, list[bool]] = defaultdict(list)
    lost: dict[str, list[bool]] = defaultdict(list)
    queue: dict[str, tuple[date, float]] = {}
    on_list: dict[str, date] = {}
    stays = 0
    said: set[str] = set()
    for day, rows in by_day.items():
        can_enter, gone = set(), {}
        for _, account, _, is_reviewed, score, passed, *_ in rows:
            if is_reviewed and (score or 0) >= rule["enter_score"] and passed >= rule["rules_minimum"]:
                can_enter.add(account)
            below[account].append(not is_reviewed or (score is not None and score < rule["leave_score"]) or passed == 0)
            last = below[account][-int(rule["leave_reviews"]) :]
            drops = len(last) == rule["leave_reviews"] and all(last)
            lost[account].append(drops and account in queue)
            if drops:
                queue.pop(account, None)
                gone[account] = on_list.pop(account, None)
            elif account in can_enter and account not in queue:
                queue[account] = (day, score)
        places: dict[str, int] = {}
        for manager in {row[2] for row in rows}:
            waiting = [row[1] for row in rows if row[2] == manager and row[1] in queue]
            waiting.sort(key=lambda account: (queue[account][0], -queue[account][1], account))
            places |= {account: place for place, account in enumerate(waiting, 1)}
        for account in can_enter & set(places):
            rested = not any(lost[account][-int(rule["rest_reviews"]) - 1 : -1])
            if account not in on_list and places[account] <= rule["manager_capacity"] and rested:
                on_list[account] = day
                stays += 1
        held = Counter(row[2] for row in rows if row[1] in on_list)
        for _, account, manager, _, _, _, standing, place, reason, entered_on, left_on in rows:
            expected = "on_list" if account in on_list else "waiting" if account in queue else "not_on_list"
            assert (standing, place) == (expected, places.get(account)), (day, account)
            # Nobody waits for a place while one is free.
            if reason in ("waits for a place", BEFORE_IT):
                assert (reason == BEFORE_IT) == (held[manager] < rule["manager_capacity"]), (day, account)
                said.add(reason)
            assert entered_on == on_list.get(account, gone.get(account)), (day, account)
            assert left_on == (day if gone.get(account) else None), (day, account)
    assert (
        stays
        == query(demo_release, "select count(*) from key_accounts.key_account_list where entered_on is not null")[0][0]
    )
    assert stays > 5 and said


def test_nobody_comes_back_within_a_year_and_size_alone_is_never_on_the_list(demo_release: Path) -> None:
    stays: dict[str, list[tuple[date, date | None]]] = defaultdict(list)
    for account, entered_on, left_on in query(
        demo_release,
        "select account_id, entered_on, left_on from key_accounts.key_account_list "
        "where entered_on is not null order by 1, 2",
    ):
        stays[account].append((entered_on, left_on))
    for account, spans in stays.items():
        for (_, left_on), (entered_on, _) in zip(spans, spans[1:], strict=False):
            assert left_on is not None and (entered_on - left_on).days > 366, account
    entered = query(
        demo_release,
        "select score, rules_passed_count from key_accounts.key_account_reviews "
        "where reviewed_on = entered_on and is_key",
    )
    rule = policy()
    assert entered
    assert all(score >= rule["enter_score"] and passed >= rule["rules_minimum"] for score, passed in entered)


def test_told_for_a_past_day_the_list_is_that_of_the_day(demo_release: Path, demo_release_past: Path) -> None:
    told = (
        "select * exclude (as_of_date, account_name, manager_name) from key_accounts.key_account_reviews "
        f"where reviewed_on <= '{DEMO_PAST}' order by account_id, reviewed_on"
    )
    then = query(demo_release_past, told)
    assert len(then) > 100
    assert query(demo_release, told) == then


def test_the_planted_key_accounts_are_found_with_concern_and_action(demo_extract: Path, demo_release: Path) -> None:
    with (demo_extract / "truth" / "accounts.csv").open(encoding="utf-8", newline="") as file:
        traits = {row["account_id"]: row["trait"] for row in csv.DictReader(file)}
    with (SEEDS / "key_account_concerns.csv").open(encoding="utf-8", newline="") as file:
        words = {row["concern"]: row for row in csv.DictReader(file)}
    health = {
        account: (arr, (concerns or "").split(", "), (strengths or "").split(", "), what_is_wrong, what_to_do)
        for account, arr, concerns, strengths, what_is_wrong, what_to_do in query(
            demo_release,
            "select account_id, arr, concerns, strengths, what_is_wrong, what_to_do "
            "from key_accounts.key_account_health",
        )
    }
    assert set(traits.values()) == {"single_contact", "shrinking", "proactive", "steady"}
    expected = {"single_contact": "single_relationship", "shrinking": "shrinking"}
    for account, trait in traits.items():
        if account not in health:
            # Lost, and nobody plans for it any more.
            assert trait == "steady", account
            continue
        arr, concerns, strengths, what_is_wrong, what_to_do = health[account]
        if trait in expected:
            assert expected[trait] in concerns, account
            assert words[expected[trait]]["what_is_wrong"] in what_is_wrong
            assert words[expected[trait]]["what_to_do"] in what_to_do
        assert ("proactive" in strengths) == (trait == "proactive"), account
        assert trait != "proactive" or "reactive" not in concerns, account
        if arr:
            assert ("single_relationship" in concerns) == (trait == "single_contact"), account


def test_key_and_other_accounts_add_up_to_the_company(demo_release: Path) -> None:
    rows = query(
        demo_release,
        "select dimension, month_start, sum(n), sum(arr), sum(arr_year_ago), sum(new_arr) "
        "from retention.account_growth where dimension in ('company', 'key') group by 1, 2 order by 2, 1",
    )
    assert len(rows) > 10
    for company, key in zip(rows[::2], rows[1::2], strict=True):
        assert (company[0], key[0]) == ("company", "key")
        assert company[1:] == key[1:]
    members = query(
        demo_release, "select distinct member, is_key from retention.account_growth where dimension = 'key' order by 1"
    )
    assert members == [("key", True), ("other", False)]


def test_every_table_is_told_for_its_day(demo_release: Path) -> None:
    for table in TABLES:
        assert query(demo_release, f"select distinct as_of_date from {table}") == [(DEMO_AS_OF,)], table
