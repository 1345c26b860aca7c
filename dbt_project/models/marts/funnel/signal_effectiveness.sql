with standing as (
    select * from {{ ref('int_signal_standing') }}
),

today as (
    select month_start from {{ ref('calendar') }}
    where day = {{ as_of_date() }}
),

reviews as (
    select * from {{ ref('int_deal_reviews') }}
    where closed_on is not null and not is_won and snapshot_date < closed_on
),

first_fired as (
    select
        fired.signal,
        fired.opportunity_id,
        reviews.segment,
        {{ day_count('min(fired.snapshot_date)', 'min(reviews.closed_on)') }} as lead_days
    from {{ ref('int_signal_weeks') }} as fired
    inner join reviews
        on fired.opportunity_id = reviews.opportunity_id
        and fired.snapshot_date = reviews.snapshot_date
    cross join today
    where reviews.closed_on < today.month_start
    group by fired.signal, fired.opportunity_id, reviews.segment
),

lead_times as (
    select
        signal,
        segment,
        percentile_cont(0.5) within group (order by lead_days) as median_lead_days
    from (
        select
            signal,
            segment,
            lead_days
        from first_fired
        union all
        select
            signal,
            'all' as segment,
            lead_days
        from first_fired
    ) as leads
    group by signal, segment
),

rated as (
    select
        standing.*,
        cast(standing.fired_bad_count as double) / nullif(standing.fired_count, 0) as precision_share
    from standing
    inner join today on standing.month_start = today.month_start
),

final as (
    select
        rated.signal,
        rated.segment,
        rated.reason,
        rated.n,
        rated.fired_count,
        rated.bad_count as lost_or_slipped_count,
        rated.fired_bad_count as fired_lost_or_slipped_count,
        cast(rated.bad_count as double) / nullif(rated.n, 0) as base_rate,
        rated.precision_share as precision,
        {{ wilson('rated.precision_share', 'cast(rated.fired_count as double)', -1) }} as precision_low,
        {{ wilson('rated.precision_share', 'cast(rated.fired_count as double)', 1) }} as precision_high,
        cast(rated.fired_bad_count as double) / nullif(rated.bad_count, 0) as recall,
        rated.odds_ratio,
        rated.odds_ratio_low,
        rated.odds_ratio_high,
        case when rated.fired_count > 0 then lead_times.median_lead_days end as median_lead_days,
        rated.is_active,
        rated.month_start as judged_on,
        {{ as_of_date() }} as as_of_date
    from rated
    left join lead_times
        on rated.signal = lead_times.signal
        and rated.segment = lead_times.segment
)

select * from final
