{{ config(materialized='table') }}
-- What the outcome model may look at: only what was known at the end of the day. What became of the deal is not here.
with reviews as (
    select * from {{ ref('int_deal_reviews') }}
),

snapshots as (
    select * from {{ ref('pipeline_snapshots') }}
),

stages as (
    select * from {{ ref('core_stages') }}
),

calendar as (
    select * from {{ ref('calendar') }}
),

deals as (
    select * from {{ ref('opportunities') }}
    where not is_deleted and account_id is not null
),

-- What the account had decided by then, on other deals.
decided as (
    select
        reviews.opportunity_id,
        reviews.snapshot_date,
        count(case when others.is_won then 1 end) as won_count,
        count(case when not others.is_won then 1 end) as not_won_count
    from reviews
    inner join deals on reviews.opportunity_id = deals.opportunity_id
    inner join deals as others
        on deals.account_id = others.account_id
        and others.closed_on <= reviews.snapshot_date
        and others.opportunity_id != deals.opportunity_id
    group by reviews.opportunity_id, reviews.snapshot_date
),

final as (
    select
        reviews.opportunity_id,
        reviews.owner_id,
        snapshots.region,
        reviews.segment,
        reviews.opportunity_type,
        reviews.stage,
        reviews.stage_time,
        reviews.forecast_category,
        cast(stages.stage_order as bigint) as stage_order,
        reviews.amount,
        reviews.age_days,
        reviews.days_in_stage,
        reviews.stage_days_norm,
        reviews.days_to_close,
        reviews.quiet_days,
        reviews.unanswered_days,
        reviews.unanswered_count,
        reviews.buyer_count,
        reviews.economic_buyer_count,
        reviews.push_count,
        reviews.push_days,
        reviews.next_step_days,
        reviews.booked_count,
        reviews.regression_count,
        reviews.required_count,
        reviews.verified_count,
        reviews.claimed_count,
        reviews.amount_kept_share,
        reviews.hours_spent,
        reviews.owner_days,
        coalesce(decided.won_count, 0) as account_won_count,
        coalesce(decided.not_won_count, 0) as account_not_won_count,
        reviews.has_new_owner_met,
        reviews.has_specialist,
        reviews.has_unanswered_competitor,
        reviews.is_executive_unanswered,
        calendar.month_end,
        calendar.quarter_start,
        calendar.quarter_end,
        calendar.week_end = reviews.snapshot_date as is_week_end,
        reviews.close_date,
        reviews.snapshot_date
    from reviews
    inner join snapshots
        on reviews.opportunity_id = snapshots.opportunity_id
        and reviews.snapshot_date = snapshots.snapshot_date
    inner join calendar on reviews.snapshot_date = calendar.day
    left join stages on reviews.stage = stages.stage
    left join decided
        on reviews.opportunity_id = decided.opportunity_id
        and reviews.snapshot_date = decided.snapshot_date
)

select * from final
