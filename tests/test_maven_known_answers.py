"""A real CRM export with known answers: each figure is read from the published tables, to the digits it is known to."""

from __future__ import annotations

import pytest

from tests.conftest import Run


def one(run: Run, sql: str) -> tuple[object, ...]:
    (row,) = run.query(sql)
    return row


def test_the_release_is_told_as_of_the_newest_date_in_the_export(maven_run: Run) -> None:
    assert one(maven_run, "select distinct cast(as_of_date as varchar) from core.opportunities") == ("2017-12-31",)


def test_deals_by_stage(maven_run: Run) -> None:
    assert dict(maven_run.query("select stage, count(*) from core.opportunities group by stage")) == {
        "Won": 4238,
        "Lost": 2473,
        "Engaging": 1589,
        "Prospecting": 500,
    }


def test_win_rate_by_count_and_by_list_price(maven_run: Run) -> None:
    row = one(
        maven_run,
        "select round(100 * win_rate, 4), round(100 * win_rate_amount, 4), amount_basis, n from funnel.win_rates "
        "where basis = 'closed' and dimension = 'company'",
    )
    assert row == (63.1501, 62.7646, "list_amount", 6711)


def test_won_value_mean_and_median_deal(maven_run: Run) -> None:
    row = one(
        maven_run,
        "select won_amount::double, round(mean_won_amount, 4), median_won_amount from funnel.win_rates "
        "where basis = 'closed' and dimension = 'company'",
    )
    assert row == (10_005_534, 2360.9094, 1117)


def test_by_close_quarter(maven_run: Run) -> None:
    rows = maven_run.query(
        "select member, won_amount::double, won_count, round(100 * win_rate, 4) from funnel.win_rates "
        "where basis = 'closed' and dimension = 'close_quarter' order by member"
    )
    assert rows == [
        ("2017-Q1", 1_134_672, 531, 82.0711),
        ("2017-Q2", 3_086_111, 1254, 61.7126),
        ("2017-Q3", 2_982_255, 1257, 61.4069),
        ("2017-Q4", 2_802_496, 1196, 60.2519),
    ]


def test_win_rate_by_manager(maven_run: Run) -> None:
    rows = maven_run.query(
        "select split_part(member, ' ', 2), round(100 * win_rate, 4) from funnel.win_rates "
        "where basis = 'closed' and dimension = 'manager' order by 2 desc"
    )
    assert rows == [
        ("Losch", 64.4295),
        ("Sewald", 64.3357),
        ("Rouche", 63.4096),
        ("Brinkmann", 62.9848),
        ("Marxen", 62.2003),
        ("Neubert", 62.0845),
    ]


def test_win_rate_by_product(maven_run: Run) -> None:
    rows = maven_run.query(
        "select member, round(100 * win_rate, 4) from funnel.win_rates "
        "where basis = 'closed' and dimension = 'product' order by 2 desc"
    )
    assert rows == [
        ("MG Special", 64.8406),
        ("GTX Plus Pro", 64.2953),
        ("GTX Basic", 63.7187),
        ("GTX Pro", 63.5571),
        ("GTX Plus Basic", 62.1313),
        ("MG Advanced", 60.3321),
        ("GTK 500", 60.0),
    ]


@pytest.mark.parametrize(
    ("condition", "mean", "median"),
    [("is_won", 51.782, 57), ("is_lost", 41.4792, 14), ("not is_open", 47.9854, 45)],
)
def test_cycle_days(maven_run: Run, condition: str, mean: float, median: float) -> None:
    row = one(maven_run, f"select avg(cycle_days), median(cycle_days) from core.opportunities where {condition}")
    digits = len(str(mean).split(".")[1])
    assert (round(float(str(row[0])), digits), row[1]) == (mean, median)


def test_cycle_days_of_all_closed_deals_stand_in_the_win_rates(maven_run: Run) -> None:
    row = one(
        maven_run,
        "select round(mean_cycle_days, 4), median_cycle_days from funnel.win_rates "
        "where basis = 'closed' and dimension = 'company'",
    )
    assert row == (47.9854, 45)


def test_open_pipeline_at_list_price(maven_run: Run) -> None:
    row = one(maven_run, "select sum(list_amount)::double, count(*) from core.opportunities where is_open")
    assert row == (4_966_215, 2089)


def test_open_pipeline_as_of_four_quarter_ends(maven_run: Run) -> None:
    rows = maven_run.query(
        "select cast(snapshot_date as varchar), count(*), sum(list_amount)::double from funnel.pipeline_snapshots "
        "where is_quarter_end and snapshot_date >= '2017-01-01' group by 1 order by 1"
    )
    assert rows == [
        ("2017-03-31", 1330, 3_280_185),
        ("2017-06-30", 1686, 4_216_807),
        ("2017-09-30", 2409, 5_763_490),
        ("2017-12-31", 1589, 3_892_229),
    ]


def test_price_realisation(maven_run: Run) -> None:
    rows = maven_run.query(
        "select member, round(price_realization, 6) from pricing.price_realization "
        "where basis = 'booked' and period_type = 'all' and dimension in ('company', 'product')"
    )
    assert dict(rows) == {
        "company": 0.998209,
        "GTK 500": 0.997739,
        "GTX Basic": 0.992077,
        "GTX Plus Basic": 0.985450,
        "GTX Plus Pro": 1.001437,
        "GTX Pro": 0.998881,
        "MG Advanced": 0.998813,
        "MG Special": 1.003508,
    }


def test_concentration_without_parents(maven_run: Run) -> None:
    row = one(
        maven_run,
        "select round(100 * top_10_share, 3), round(hhi, 2) from key_accounts.concentration "
        "where dimension = 'account' and period_type = 'all'",
    )
    assert row == (20.723, 135.81)


def test_the_first_seller(maven_run: Run) -> None:
    row = one(
        maven_run,
        "select top_member_name, round(100 * top_1_share, 4) from key_accounts.concentration "
        "where dimension = 'seller' and period_type = 'all'",
    )
    assert row == ("Darcel Schlecht", 11.5258)


def test_concentration_with_parents_rolled_up(maven_run: Run) -> None:
    row = one(
        maven_run,
        "select won_amount::double, account_count from key_accounts.concentration_members "
        "where dimension = 'ultimate_parent' and period_type = 'all' and member_name = 'Acme Corporation'",
    )
    assert row == (519_349, 5)


def test_five_sellers_without_a_deal_are_there_with_a_reason(maven_run: Run) -> None:
    rows = maven_run.query(
        "select member, win_rate, reason from funnel.win_rates where basis = 'closed' and dimension = 'owner' and n = 0"
    )
    assert len(rows) == 5
    assert {row[1:] for row in rows} == {(None, "no deal")}


def test_spelling_is_repaired_by_policy(maven_run: Run) -> None:
    assert one(maven_run, "select count(*) from core.opportunities where product_id = 'GTX Pro'") == (1480,)
    assert maven_run.query("select distinct industry from core.accounts where industry like 'tech%'") == [
        ("technology",)
    ]
    assert maven_run.query("select distinct country from core.accounts where country like 'Phil%'") == [
        ("Philippines",)
    ]


def test_what_the_export_lacks_is_not_known_rather_than_zero(maven_run: Run) -> None:
    delivered = maven_run.query("select entity from core.data_coverage where is_delivered order by entity")
    assert [row[0] for row in delivered] == ["accounts", "opportunities", "opportunity_lines", "products", "users"]
    assert one(maven_run, "select count(*), count(push_count), count(team_size) from core.opportunities") == (
        8800,
        0,
        0,
    )


def test_what_the_export_cannot_tell_is_not_told(maven_run: Run) -> None:
    """Stages of ended deals have no history, open deals no amount, and nobody's activities are there."""
    assert one(
        maven_run,
        "select count(*), count(p_win), count(p_win_pooled), count(p_lose), count(expected_amount), "
        "count(*) filter (reason = 'Nothing is out of the ordinary') from funnel.deal_health",
    ) == (1589, 0, 0, 0, 0, 0)
    assert maven_run.query("from forecast_accuracy.calibration") == []
    assert maven_run.query(
        "select period_type, count(*), count(from_open_deals), count(median), count(p10), count(p90), min(reason) "
        "from forecast_accuracy.outlook where scope_type = 'company' group by period_type order by period_type"
    ) == [
        (period, 2, 1, 1, 1, 1, "1589 of 1589 open deals have no chance or no amount that is known")
        for period in ("month", "quarter")
    ]
    assert maven_run.query(
        "select distinct hero_dependency, hero_standing, hero_reason from people.manager_coaching"
    ) == [(None, "not_enough_data", "activities are not delivered")]
