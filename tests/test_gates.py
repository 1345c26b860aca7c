"""The gates: every expectation passes on clean data, fails on data that breaks it, and says what to do."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from urllib.parse import unquote

import duckdb
import pytest

from expectations.landing import landing_expectations
from expectations.publish import GUARDED, Previous, publish_expectations
from orchestration.ingest.landing import land
from orchestration.quality.expectation import Expectation, gate_limits
from orchestration.quality.gate import Verdict, run_gate
from orchestration.quality.landing_gate import judge_batch
from orchestration.settings import Settings
from tests.extracts import OPPORTUNITIES, OPPORTUNITY_HEADER, write_extract

LANDING_TABLES = """
create table batch (batch_id varchar, extracted_at timestamp, landed_at timestamp, mode varchar);
create table files ("table" varchar, file varchar, sha256 varchar, landed bigint, accepted bigint, quarantined bigint,
    superseded bigint, deleted bigint, previous bigint, is_required boolean, example varchar);
create table findings (effect varchar, sentence varchar);
"""
CLEAN_BATCH = """
insert into batch values ('b', '2026-03-02', '2026-03-02 07:00', 'full');
insert into files values ('users', 'crm/users', '', 100, 95, 5, 0, 24, 60, true, 'x'),
    ('contacts', 'crm/contacts', '', 0, 0, 0, 0, 0, 0, false, null);
insert into findings values ('quarantine', 'crm/users.csv, line 3: …');
"""
BROKEN_BATCH = """
insert into batch values ('b', '2026-03-04', '2026-03-02 07:00', 'full');
insert into files values ('users', 'crm/users', '', 10, 0, 3, 6, 40, 40, true, 'line 7 is wrong'),
    ('accounts', 'crm/accounts', '', 0, 0, 0, 0, 0, 0, true, null);
insert into findings values ('refuse', 'crm/users.csv, line 9: ends in the middle of a row.');
"""

PUBLISH_TABLES = """
create schema core; create schema funnel; create schema key_accounts; create schema reconciliation;
create schema retention;
create schema pricing;
create table pricing.price_realization (basis varchar, dimension varchar, period_type varchar, line_count bigint);
create table core.opportunities (opportunity_id varchar, account_id varchar, owner_id varchar, owner_name varchar,
    amount decimal(18, 4), amount_source decimal(18, 4), list_amount decimal(18, 4), currency_source varchar,
    is_open boolean, is_won boolean, is_deleted boolean, created_on date, close_date date, as_of_date date);
create table core.accounts (account_id varchar);
create table core.united_accounts (source varchar, source_account_id varchar, same_as_source varchar,
    same_as_source_account_id varchar, problem varchar);
create table core.reps (rep_id varchar);
create table funnel.win_rates (basis varchar, dimension varchar, won_count bigint, win_rate double);
create table funnel.pipeline_snapshots (snapshot_date date, as_of_date date);
create table funnel.opportunity_history (opportunity_id varchar, is_open boolean, valid_to timestamp);
create table key_accounts.concentration (dimension varchar, period_type varchar, won_amount decimal(18, 4));
create table reconciliation.booking_bridge (period_type varchar, currency_basis varchar, line varchar,
    amount decimal(18, 4));
create table reconciliation.billing_documents (document_id varchar, currency_source varchar, amount decimal(18, 4),
    amount_at_plan decimal(18, 4));
create table retention.revenue_retention (dimension varchar, unrated_count bigint, month_end date, as_of_date date);
create table retention.arr_movements (customer_id varchar, movement varchar, amount decimal(18, 4), month_end date,
    as_of_date date);
create table retention.arr_bridges (dimension varchar, movement varchar, amount decimal(18, 4), month_start date);
"""
CLEAN_CANDIDATE = """
insert into core.opportunities values
    ('o1', 'a1', 's1', 'Sam', 100, 100, null, 'USD', false, true, false, '2026-01-01', '2026-02-01', '2026-03-01'),
    ('o2', 'a1', 's1', 'Sam', 500, 500, null, 'USD', true, false, false, '2026-01-01', '2026-04-01', '2026-03-01'),
    ('o3', 'a1', 's1', 'Sam', 900, 900, null, 'USD', true, false, true, '2026-01-01', '2026-04-01', '2026-03-01');
-- Deals of one account are added up before it is asked whether anything is left.
insert into core.opportunities values
    ('o4', 'a1', 's1', 'Sam', -30, -30, null, 'USD', false, true, false, '2026-01-01', '2026-02-01', '2026-03-01'),
    ('o5', 'a2', 's1', 'Sam', -20, -20, null, 'USD', false, true, false, '2026-01-01', '2026-02-01', '2026-03-01');
insert into core.accounts values ('a1');
insert into core.united_accounts values ('hubspot', '7', 'salesforce', '001', null);
insert into core.reps values ('s1');
insert into funnel.win_rates values ('closed', 'company', 3, 0.5);
insert into funnel.pipeline_snapshots values ('2026-03-01', '2026-03-01'), ('2026-02-22', '2026-03-01');
insert into funnel.opportunity_history values ('o2', false, '2026-02-01'), ('o2', true, null), ('o1', false, null);
insert into key_accounts.concentration values ('account', 'all', 70), ('seller', 'all', 1);
insert into reconciliation.booking_bridge values
    ('year', 'reporting', 'bookings', 50), ('year', 'source', 'bookings', 7);
insert into reconciliation.billing_documents values ('i1', 'USD', 100, 100);
insert into retention.revenue_retention values ('company', 0, '2026-03-31', '2026-03-01'),
    ('company', 3, '2026-02-28', '2026-03-01');
insert into retention.arr_movements values ('a1', 'closing', 95, '2026-03-31', '2026-03-01'),
    ('finance:c2', 'closing', 5, '2026-03-31', '2026-03-01'),
    ('finance:c3', 'closing', 900, '2026-02-28', '2026-03-01');
insert into retention.arr_bridges values ('company', 'closing', 1000, '2025-12-01'),
    ('company', 'restatement', -40, '2025-12-01');
insert into pricing.price_realization values
    ('booked', 'company', 'all', 3), ('booked', 'seller', 'all', 2), ('booked', 'seller', 'all', 1),
    ('booked', 'seller', 'year', 9);
alter table core.opportunities add column closed_on date;
update core.opportunities set closed_on = close_date where not is_open;
"""
BROKEN_CANDIDATE = """
insert into core.opportunities values
    ('o1', 'a1', 's9', null, null, 100, null, 'JPY', true, false, false, '2026-01-01', '2026-02-01', '2026-03-01'),
    ('o2', 'a1', 's1', 'Sam', 9000, 9000, null, 'USD', false, true, false, '2026-01-01', '2026-02-01', '2026-03-01'),
    ('o3', 'a1', 's1', 'Sam', 9000, 9000, null, 'USD', true, false, false, '2026-01-01', '2026-02-01', '2026-03-01');
insert into funnel.opportunity_history values ('o3', false, null);
insert into funnel.win_rates values ('closed', 'company', 7, 0.9);
insert into core.united_accounts values ('hubspot', '8', 'salesforce', '001', 'hubspot has no account 8');
insert into key_accounts.concentration values ('account', 'all', 5);
insert into reconciliation.booking_bridge values ('year', 'reporting', 'bookings', 5);
insert into reconciliation.billing_documents values ('i1', 'JPY', null, 100);
insert into retention.revenue_retention values ('company', 2, '2026-03-31', '2026-03-01');
insert into retention.arr_movements values ('a1', 'closing', 80, '2026-03-31', '2026-03-01'),
    ('finance:c2', 'closing', 20, '2026-03-31', '2026-03-01');
insert into retention.arr_bridges values ('company', 'closing', 1000, '2025-12-01'),
    ('company', 'restatement', -60, '2025-12-01');
insert into pricing.price_realization values ('booked', 'company', 'all', 3), ('booked', 'seller', 'all', 2);
alter table core.opportunities add column closed_on date;
update core.opportunities set closed_on = '2025-12-31' where opportunity_id = 'o2';
"""
PREVIOUS = Previous(
    "20260201T060000Z-1",
    dict.fromkeys(GUARDED, 1) | {"core.opportunities": 3},
    {"win_rate": 0.5, "open_pipeline": 500.0},
)
MUCH_BIGGER = Previous("20260201T060000Z-1", dict.fromkeys(GUARDED, 40), PREVIOUS.headlines)


# So that three deals are enough to be held against the last release.
SENSITIVE = gate_limits() | {"drift_minimum_deals": 1}


def judge(tmp_path: Path, sql: str, expectations: list[Expectation]) -> Verdict:
    database = tmp_path / "gate.duckdb"
    with duckdb.connect(str(database)) as connection:
        connection.execute(sql)
    return run_gate("test", database, expectations, tmp_path / "docs")


def failed(verdict: Verdict) -> set[str]:
    return {outcome.name for outcome in verdict.outcomes if not outcome.passed}


def test_a_clean_batch_meets_every_landing_expectation(tmp_path: Path) -> None:
    verdict = judge(tmp_path, LANDING_TABLES + CLEAN_BATCH, landing_expectations(gate_limits()))
    assert failed(verdict) == set()
    assert verdict.passed


def test_a_broken_batch_breaks_every_landing_expectation(tmp_path: Path) -> None:
    expectations = landing_expectations(gate_limits())
    verdict = judge(tmp_path, LANDING_TABLES + BROKEN_BATCH, expectations)
    assert failed(verdict) == {expectation.name for expectation in expectations}
    assert not verdict.passed
    assert "crm/users: 40 of the 40 rows known so far are gone from this full extract" in verdict.sentences("critical")


def test_a_clean_candidate_meets_every_publish_expectation(tmp_path: Path) -> None:
    verdict = judge(tmp_path, PUBLISH_TABLES + CLEAN_CANDIDATE, publish_expectations(SENSITIVE, PREVIOUS))
    assert failed(verdict) == set()


def test_a_broken_candidate_breaks_every_publish_expectation(tmp_path: Path) -> None:
    expectations = publish_expectations(SENSITIVE, MUCH_BIGGER)
    verdict = judge(tmp_path, PUBLISH_TABLES + BROKEN_CANDIDATE, expectations)
    assert failed(verdict) == {expectation.name for expectation in expectations} - {"there_are_deals"}
    assert not verdict.passed
    assert any("1 deals in JPY have no plan rate, for example o1" in text for text in verdict.sentences("warning"))


def test_a_candidate_without_deals_is_refused(tmp_path: Path) -> None:
    empty = "alter table core.opportunities add column closed_on date;"
    verdict = judge(tmp_path, PUBLISH_TABLES + empty, publish_expectations(gate_limits(), None))
    assert "there_are_deals" in failed(verdict)
    assert not verdict.passed


def test_a_handful_of_deals_is_not_held_against_the_last_release() -> None:
    few = Previous("r", {"core.opportunities": 49}, {"win_rate": 0.5, "open_pipeline": 500.0})
    enough = Previous("r", {"core.opportunities": 50}, few.headlines)
    names = {expectation.name for expectation in publish_expectations(gate_limits(), enough)}
    assert names - {expectation.name for expectation in publish_expectations(gate_limits(), few)} == {
        "win_rate_has_not_jumped", "open_pipeline_has_not_jumped", "core_opportunities_has_not_shrunk",
    }  # fmt: skip


def test_warnings_alone_let_a_candidate_through(tmp_path: Path) -> None:
    sql = CLEAN_CANDIDATE.replace("'Sam', 500", "null, 500")
    verdict = judge(tmp_path, PUBLISH_TABLES + sql, publish_expectations(gate_limits(), PREVIOUS))
    assert failed(verdict) == {"every_deal_has_a_known_owner"}
    assert verdict.passed


def test_every_expectation_says_why_and_what_to_do_and_is_named_once() -> None:
    for suite in (landing_expectations(gate_limits()), publish_expectations(SENSITIVE, PREVIOUS)):
        assert len({expectation.name for expectation in suite}) == len(suite)
        for expectation in suite:
            assert expectation.why.endswith(".") and expectation.what_to_do and expectation.sentence


def test_data_docs_are_pages_that_name_the_expectations(tmp_path: Path) -> None:
    verdict = judge(tmp_path, LANDING_TABLES + BROKEN_BATCH, landing_expectations(gate_limits()))
    assert (verdict.data_docs / "index.html").exists()
    pages = "".join(path.read_text() for path in (verdict.data_docs / "validations").rglob("*.html"))
    assert "A file cut off between two rows looks complete" in pages


def test_data_docs_load_nothing_from_elsewhere_and_the_index_says_what_failed(tmp_path: Path) -> None:
    verdict = judge(tmp_path, LANDING_TABLES + BROKEN_BATCH, landing_expectations(gate_limits()))
    pages = list(verdict.data_docs.rglob("*.html"))
    assert len(pages) > 3
    for page in pages:
        text = page.read_text()
        assert not re.findall(r"""<(?:script|link|img)[^>]*(?:src|href)\s*=\s*["'](?:https?:)?//[^>]*>""", text), (
            page.name
        )
    index = (verdict.data_docs / "index.html").read_text()
    for outcome in verdict.outcomes:
        assert outcome.name.replace("_", " ") in index
        assert all(escape(sentence) in index for sentence in outcome.sentences)
    for link in re.findall(r'href="([^"]+)"', index):
        assert (verdict.data_docs / unquote(link)).exists()


@pytest.mark.parametrize(
    ("opportunities", "words"),
    [
        (OPPORTUNITIES[:-40], "line 5, column amount: ends in the middle of a row"),
        (OPPORTUNITIES.replace("Closed", "Shut"), "crm/opportunities: 2 of 4 rows cannot be used, for example crm/opp"),
        (
            re.sub("Closed.*?,|Proposal,|Discovery,", "Angebot,", OPPORTUNITIES),
            "opportunities: 4 of 4 rows cannot be used",
        ),
        (f"{OPPORTUNITY_HEADER}\n", "crm/opportunities, line 2: there is no row that can be used; export it"),
    ],
)
def test_a_batch_from_a_bad_extract_is_refused(tmp_path: Path, opportunities: str, words: str) -> None:
    settings = Settings(home=tmp_path / "home", _env_file=None)
    land(settings, "extract", write_extract(tmp_path / "x", crm_opportunities=opportunities))
    folder = next((settings.incoming / "extract").glob("*/batch.json")).parent
    verdict = judge_batch(settings, folder)
    assert not verdict.passed
    (sentence,) = verdict.sentences("critical")
    assert words in sentence
