{{ config(materialized='table') }}
-- depends_on: {{ ref('int_last_stage_chances') }}
-- The chance of a win within the horizon, by stage and time in it, over all deals that were there: won ones alone would say that
-- time does no harm. Each month's chances rest on reviews of the 24 months before whose horizon had passed.
with reviews as (
    select * from {{ ref('int_deal_reviews') }}
    where {{ add_days('snapshot_date', deal_horizon()) }} < {{ as_of_date() }}
),

calendar as (
    select distinct month_start from {{ ref('calendar') }}
    where month_start <= {{ as_of_date() }}
),

sums as (
    select
        cast(date_trunc('month', {{ add_days('snapshot_date', deal_horizon()) }}) as date) as known_month,
        opportunity_type,
        stage,
        stage_time,
        count(*) as n,
        count(case when is_won and closed_on <= {{ add_days('snapshot_date', deal_horizon()) }} then 1 end) as won_count
    from reviews
    group by
        cast(date_trunc('month', {{ add_days('snapshot_date', deal_horizon()) }}) as date),
        opportunity_type,
        stage,
        stage_time
),

rolled as (
    select
        calendar.month_start,
        sums.opportunity_type,
        sums.stage,
        sums.stage_time,
        sum(sums.n) as n,
        cast(sum(sums.won_count) as double) / sum(sums.n) as p_win
    from sums
    inner join calendar
        on sums.known_month < calendar.month_start
        and sums.known_month >= {{ add_months('calendar.month_start', -24) }}
    group by calendar.month_start, sums.opportunity_type, sums.stage, sums.stage_time
),

final as (
    select
        rolled.*,
        max(case when stage_time = 'early' then p_win end) over (partition by month_start, opportunity_type, stage) as entry_p_win
    from rolled
    where n >= {{ deal_policy('norm_minimum_deals') }}
)

select * from final
