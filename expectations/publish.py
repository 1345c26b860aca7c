"""What a candidate must be before it becomes the release that is read."""

from __future__ import annotations

from dataclasses import dataclass

from orchestration.quality.expectation import Expectation, no_rows

# What a release says in one number each: the next candidate is held against these.
HEADLINES = {
    "win_rate": ("select win_rate from funnel.win_rates where basis = 'closed' and dimension = 'company'"),
    "open_pipeline": (
        "select sum(coalesce(amount, list_amount))::double from core.opportunities where is_open and not is_deleted"
    ),
}
GUARDED = ("core.opportunities", "core.accounts", "core.reps")


@dataclass(frozen=True)
class Previous:
    """The current release: its name, rows per table, and headline figures."""

    release: str
    rows: dict[str, int]
    headlines: dict[str, float | None]


def publish_expectations(limits: dict[str, float], previous: Previous | None) -> list[Expectation]:
    """The publish gate's suite.

    Args:
        limits: seeds/gate_limits.csv.
        previous: the release the candidate follows; None when it follows none it can be held against.
    """
    return [
        *VOLUME,
        *RECONCILIATION,
        *POLICY,
        *DISTRIBUTION,
        *RETENTION,
        *(_drift(limits, previous) if previous else []),
    ]


VOLUME = [
    Expectation(
        name="there_are_deals",
        relation="core.opportunities",
        kind="ExpectTableRowCountToBeBetween",
        arguments={"min_value": 1},
        sentence="core.opportunities has {observed} rows",
        why="A release without a deal would empty every page.",
        what_to_do="check that the extract is that of the as-of date, and that --as-of is not before the first deal",
    ),
]

RECONCILIATION = [
    no_rows(
        "win_rates_count_every_won_deal",
        "funnel.win_rates",
        """
        select won_count, (select count(*) from core.opportunities where is_won and not is_deleted) as won_deals
        from {batch}
        where basis = 'closed' and dimension = 'company'
            and won_count != (select count(*) from core.opportunities where is_won and not is_deleted)
        """,
        sentence="funnel.win_rates counts {won_count:,} won deals where core.opportunities has {won_deals:,}",
        why="The same wins stand behind every rate.",
        what_to_do="this is a fault of the models: keep the last release and report it",
    ),
    no_rows(
        "snapshot_of_today_is_the_open_pipeline",
        "core.opportunities",
        """
        select count(*) as open_deals, (
            select count(*) from funnel.pipeline_snapshots where snapshot_date = as_of_date
        ) as in_snapshot
        from {batch} as deals
        left join funnel.opportunity_history as states
            on deals.opportunity_id = states.opportunity_id and states.valid_to is null
        where deals.is_open and not deals.is_deleted and deals.created_on is not null and coalesce(states.is_open, true)
        having open_deals != in_snapshot
        """,
        sentence="{open_deals:,} deals are open but the snapshot of the as-of date has {in_snapshot:,}",
        why="A stalled deal that drops out of the snapshots is the one that mattered.",
        what_to_do="this is a fault of the models: keep the last release and report it",
    ),
    no_rows(
        "concentration_covers_every_won_amount",
        "key_accounts.concentration",
        """
        select won_amount, won from {batch} cross join (
            select coalesce(sum(won), 0) as won from (
                select sum(amount) as won from core.opportunities
                where is_won and not is_deleted and account_id is not null
                group by account_id
                having sum(amount) > 0
            )
        )
        where dimension = 'account' and period_type = 'all' and won_amount != won
        """,
        sentence="key_accounts.concentration spreads {won_amount:,} over accounts where {won:,} was won",
        why="Shares of a total that is not the total mislead.",
        what_to_do="this is a fault of the models: keep the last release and report it",
    ),
    no_rows(
        "the_bridge_starts_from_every_won_amount",
        "reconciliation.booking_bridge",
        """
        select sum(amount) as booked, (
            select coalesce(sum(amount), 0) from core.opportunities where is_won and not is_deleted
        ) as won
        from {batch}
        where period_type = 'year' and currency_basis = 'reporting' and line = 'bookings'
        having booked != won
        """,
        sentence="reconciliation.booking_bridge starts from {booked:,} where {won:,} was won",
        why="Finance can confirm only what the bridge starts from.",
        what_to_do="this is a fault of the models: keep the last release and report it",
    ),
    no_rows(
        "every_dimension_of_price_realization_holds_every_line",
        "pricing.price_realization",
        """
        select basis, dimension, sum(line_count)::bigint as lines, any_value(all_lines)::bigint as all_lines from (
            select *, max(line_count) filter (where dimension = 'company') over (partition by basis) as all_lines
            from {batch}
            where period_type = 'all'
        )
        group by basis, dimension
        having sum(line_count) != any_value(all_lines)
        """,
        sentence="pricing.price_realization has {lines:,} {basis} lines by {dimension} and {all_lines:,} in all",
        why="A line that is missing from one dimension makes somebody's prices look better or worse than they are.",
        what_to_do="this is a fault of the models: keep the last release and report it",
    ),
]

POLICY = [
    no_rows(
        "account_crosswalk_names_accounts_there_are",
        "core.united_accounts",
        "select * from {batch} where problem is not null",
        sentence="seeds/account_crosswalk.csv, account {source_account_id} of {source} the same as "
        "{same_as_source_account_id} of {same_as_source}: {problem}",
        why="Deals of a company that is united with nothing, or in a circle, would belong to nobody.",
        what_to_do="correct or remove the row, and run again",
    ),
]

DISTRIBUTION = [
    no_rows(
        "every_amount_has_a_rate",
        "core.opportunities",
        """
        select currency_source, count(*) as deals, min(opportunity_id) as example from {batch}
        where amount is null and amount_source is not null and not is_deleted
        group by currency_source
        """,
        sentence="{deals:,} deals in {currency_source} have no plan rate, for example {example}: amount unknown",
        why="A missing rate is never taken for 1.0, so these deals are missing from every total.",
        what_to_do="add the rates to finance/fx_rates",
        severity="warning",
    ),
    no_rows(
        "every_document_has_a_rate",
        "reconciliation.billing_documents",
        """
        select currency_source, count(*) as documents, min(document_id) as example from {batch}
        where amount is null or amount_at_plan is null
        group by currency_source
        """,
        sentence="{documents:,} documents in {currency_source} have no rate of their day, for example {example}",
        why="They are error rows: no amount of theirs in the reporting currency is known, so the bridge has none.",
        what_to_do="add the rates to finance/fx_rates",
        severity="warning",
    ),
    no_rows(
        "every_deal_has_a_known_owner",
        "core.opportunities",
        """
        select owner_id, count(*) as deals, min(opportunity_id) as example from {batch}
        where owner_name is null and not is_deleted
        group by owner_id
        """,
        sentence="owner {owner_id} of {deals:,} deals, for example {example}, is not among the users",
        why="A deal whose owner nobody knows is missing from its team's figures.",
        what_to_do="export every user, those who have left included",
        severity="warning",
    ),
    no_rows(
        "closed_deals_have_closed",
        "core.opportunities",
        """
        select
            case count(*) when 1 then '1 deal is' else count(*) || ' deals are' end as deals,
            min(deals.opportunity_id) as example
        from {batch} as deals
        inner join funnel.opportunity_history as states
            on deals.opportunity_id = states.opportunity_id and states.valid_to is null
        where deals.is_open and not deals.is_deleted and not states.is_open
        having count(*) > 0
        """,
        sentence="{deals} in a closed stage with a closing to come, for example {example}: open, in no snapshot",
        why="What is won on a day that has not come is neither booked nor in the pipeline of any week.",
        what_to_do="have deals closed on the day they close, or correct the close date",
        severity="warning",
    ),
    no_rows(
        "deals_close_after_they_are_created",
        "core.opportunities",
        """
        select
            case count(*) when 1 then '1 deal has' else count(*) || ' deals have' end as deals,
            min(opportunity_id) as example
        from {batch}
        where closed_on < created_on and not is_deleted
        having count(*) > 0
        """,
        sentence="{deals} a closing before the creation, for example {example}: age and cycle are not known",
        why="A deal that is entered after it was closed says nothing of how long deals take.",
        what_to_do="have deals entered when they begin, or correct created_at",
        severity="warning",
    ),
    no_rows(
        "few_open_deals_are_overdue",
        "core.opportunities",
        """
        select count(*) as open_deals, count(*) filter (where close_date < as_of_date) as overdue from {batch}
        where is_open and not is_deleted
        having overdue > 0.5 * open_deals
        """,
        sentence="{overdue:,} of {open_deals:,} open deals have a close date that has passed",
        why="Close dates nobody keeps make every forecast and coverage figure worthless.",
        what_to_do="have the owners close or re-date them",
        severity="warning",
    ),
]

RETENTION = [
    no_rows(
        "every_subscription_has_a_rate",
        "retention.revenue_retention",
        """
        select unrated_count from {batch}
        where dimension = 'company' and month_end >= as_of_date and unrated_count > 0
        """,
        sentence="{unrated_count:,} running subscriptions are in a currency without a rate: revenue is too low",
        why="A missing rate is never taken for 1.0, so these subscriptions are missing from every bridge.",
        what_to_do="add the rates to finance/fx_rates",
        severity="warning",
    ),
    no_rows(
        "most_revenue_has_an_account",
        "retention.arr_movements",
        """
        select count(*) as customers, min(customer_id) as example, sum(amount)::double as arr from {batch}
        where movement = 'closing' and month_end >= as_of_date and customer_id like 'finance:%'
        having arr > 0.1 * (
            select sum(amount) from {batch} where movement = 'closing' and month_end >= as_of_date
        )
        """,
        sentence="{customers:,} customers with {arr:,.0f} of recurring revenue, for example {example}, have no account",
        why="Revenue that stands beside the CRM is in no segment, has no account manager and no relationship.",
        what_to_do="fill crm_account_id in finance/customers",
        severity="warning",
    ),
    no_rows(
        "final_months_are_seldom_restated",
        "retention.arr_bridges",
        """
        select month_start, restated, closing from (
            select
                month_start,
                sum(amount) filter (where movement = 'restatement')::double as restated,
                sum(amount) filter (where movement = 'closing')::double as closing
            from {batch}
            where dimension = 'company'
            group by month_start
        )
        where abs(restated) > 0.05 * closing
        """,
        sentence="{month_start} closed at {closing:,.0f} and is restated by {restated:,.0f}",
        why="Retention is told from what was first known: after corrections this large it speaks of something else.",
        what_to_do="ask finance what was corrected; where months close later raise final_days in retention_policy",
        severity="warning",
    ),
]


def _drift(limits: dict[str, float], previous: Previous) -> list[Expectation]:
    # Of a handful of deals a single one moves every rate.
    if previous.rows.get("core.opportunities", 0) < limits["drift_minimum_deals"]:
        return []
    shrink = [
        Expectation(
            name=f"{table.replace('.', '_')}_has_not_shrunk",
            relation=table,
            kind="ExpectTableRowCountToBeBetween",
            arguments={"min_value": int((1 - limits["shrink_share"]) * previous.rows[table])},
            sentence=f"{table} has {{observed}} rows where release {previous.release} had {previous.rows[table]:,}",
            why="Deals, accounts and people do not vanish overnight; exports do.",
            what_to_do="look at the newest batch in `sightline status`; if it is right raise shrink_share in "
            "seeds/gate_limits.csv",
        )
        for table in GUARDED
        if table in previous.rows
    ]
    win_rate, pipeline = previous.headlines["win_rate"], previous.headlines["open_pipeline"]
    moved = []
    if win_rate is not None:
        moved.append(
            no_rows(
                "win_rate_has_not_jumped",
                "funnel.win_rates",
                "select win_rate from {batch} where basis = 'closed' and dimension = 'company' "
                f"and abs(win_rate - {win_rate!r}) > {limits['win_rate_change']}",
                sentence=f"the win rate is {{win_rate:.1%}} where release {previous.release} had {win_rate:.1%}",
                why="A rate over years of deals moves slowly; a jump is a change in the export or in the stages.",
                what_to_do="compare the stages with seeds/stages.csv; if it is right raise win_rate_change in "
                "seeds/gate_limits.csv",
            )
        )
    if pipeline:
        moved.append(
            no_rows(
                "open_pipeline_has_not_jumped",
                "core.opportunities",
                "select sum(coalesce(amount, list_amount))::double as pipeline from {batch} "
                "where is_open and not is_deleted "
                f"having abs(pipeline - {pipeline!r}) > {limits['open_pipeline_change']} * {pipeline!r}",
                sentence=f"the open pipeline is {{pipeline:,.0f}} where release {previous.release} had {pipeline:,.0f}",
                why="A pipeline that doubles or halves between two releases is more often an error than a quarter.",
                what_to_do="look for amounts in another currency or unit; if it is right raise open_pipeline_change in "
                "seeds/gate_limits.csv",
            )
        )
    return [*shrink, *moved]
