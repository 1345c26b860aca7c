{{ config(materialized='table') }}
-- Every signal that fired, at each review: what is seen of the deal itself, and a category its chance does not bear out.
with reviews as (
    select * from {{ ref('int_deal_reviews') }}
),

chances as (
    select * from {{ ref('int_deal_chances') }}
),

committed as (
    select
        reviews.opportunity_id,
        reviews.segment,
        reviews.is_won,
        reviews.closed_on,
        chances.p_win,
        reviews.month_start,
        reviews.snapshot_date
    from reviews
    inner join chances
        on reviews.opportunity_id = chances.opportunity_id
        and reviews.snapshot_date = chances.snapshot_date
    where reviews.forecast_category = 'commit' and chances.p_win is not null
),

calendar as (
    select distinct month_start from {{ ref('calendar') }}
    where month_start <= {{ as_of_date() }}
),

norms as (
    select
        calendar.month_start,
        count(distinct committed.opportunity_id) as n,
        percentile_disc({{ policy_constant('category_percentile') }})
            within group (order by committed.p_win) as p_norm
    from committed
    inner join calendar
        on committed.closed_on < calendar.month_start
        and committed.closed_on >= {{ add_months('calendar.month_start', -24) }}
    where committed.is_won
    group by calendar.month_start
),

final as (
    select
        opportunity_id,
        signal,
        segment,
        norm_level,
        value,
        norm,
        norm_percentile,
        norm_n,
        snapshot_date
    from {{ ref('int_deal_flags') }}
    union all
    select
        committed.opportunity_id,
        'category_mismatch' as signal,
        committed.segment,
        'all commits that won' as norm_level,
        committed.p_win as value,
        norms.p_norm as norm,
        {{ deal_policy('category_percentile') }} as norm_percentile,
        norms.n as norm_n,
        committed.snapshot_date
    from committed
    inner join norms on committed.month_start = norms.month_start
    inner join {{ ref('signals') }} as policy on policy.signal = 'category_mismatch'
    where
        policy.is_on
        and norms.n >= {{ deal_policy('norm_minimum_deals') }}
        and committed.p_win < norms.p_norm
)

select * from final
