with weeks as (
    select * from {{ ref('int_deal_weeks') }}
    where stage is not null and closed_on is not null and snapshot_date < closed_on
),

fired as (
    select * from {{ ref('int_signal_weeks') }}
),

policy as (
    select * from {{ ref('signals') }}
),

-- One review of each decided deal, drawn by lot: a deal that lives long is not counted more often, and deals are independent.
drawn as (
    select
        opportunity_id,
        segment,
        is_won,
        snapshot_date
    from weeks
    qualify row_number() over (partition by opportunity_id order by md5(opportunity_id || cast(snapshot_date as string))) = 1
),

in_segments as (
    select
        opportunity_id,
        segment,
        is_won,
        snapshot_date
    from drawn
    union all
    select
        opportunity_id,
        'all' as segment,
        is_won,
        snapshot_date
    from drawn
),

counted as (
    select
        policy.signal,
        policy.is_on,
        in_segments.segment,
        count(*) as n,
        count(fired.signal) as fired_count,
        count(case when not in_segments.is_won then 1 end) as not_won_count,
        count(case when fired.signal is not null and not in_segments.is_won then 1 end) as fired_not_won_count
    from in_segments
    cross join policy
    left join fired
        on in_segments.opportunity_id = fired.opportunity_id
        and in_segments.snapshot_date = fired.snapshot_date
        and policy.signal = fired.signal
    group by policy.signal, policy.is_on, in_segments.segment
),

first_fired as (
    select
        fired.signal,
        fired.opportunity_id,
        min(fired.snapshot_date) as first_fired_on
    from fired
    group by fired.signal, fired.opportunity_id
),

deals as (
    select distinct
        opportunity_id,
        segment,
        is_won,
        closed_on
    from weeks
    qualify row_number() over (partition by opportunity_id order by snapshot_date desc) = 1
),

leads as (
    select
        first_fired.signal,
        deals.segment,
        {{ day_count('first_fired.first_fired_on', 'deals.closed_on') }} as lead_days
    from first_fired
    inner join deals on first_fired.opportunity_id = deals.opportunity_id
    where not deals.is_won
    union all
    select
        first_fired.signal,
        'all' as segment,
        {{ day_count('first_fired.first_fired_on', 'deals.closed_on') }} as lead_days
    from first_fired
    inner join deals on first_fired.opportunity_id = deals.opportunity_id
    where not deals.is_won
),

lead_times as (
    select
        signal,
        segment,
        percentile_cont(0.5) within group (order by lead_days) as median_lead_days
    from leads
    group by signal, segment
),

-- Half a case in each cell keeps an empty one from making the ratio endless (Haldane 1956, Anscombe 1956).
odds as (
    select
        counted.*,
        cast(fired_not_won_count as double) + 0.5 as a,
        cast(fired_count - fired_not_won_count as double) + 0.5 as b,
        cast(not_won_count - fired_not_won_count as double) + 0.5 as c,
        cast(n - fired_count - (not_won_count - fired_not_won_count) as double) + 0.5 as d
    from counted
),

rated as (
    select
        odds.*,
        a * d / (b * c) as odds_ratio,
        sqrt(1 / a + 1 / b + 1 / c + 1 / d) as log_error
    from odds
),

bounded as (
    select
        rated.*,
        exp(ln(odds_ratio) - 1.959963984540054 * log_error) as odds_ratio_low,
        exp(ln(odds_ratio) + 1.959963984540054 * log_error) as odds_ratio_high,
        cast(fired_not_won_count as double) / nullif(fired_count, 0) as precision_share
    from rated
),

final as (
    select
        bounded.signal,
        bounded.segment,
        case
            when not bounded.is_on then 'switched off by policy'
            when bounded.fired_count < {{ deal_policy('signal_minimum_fired') }}
                then 'not judged yet: too few decided deals on which it fired'
            when bounded.odds_ratio_low <= 1 then 'switched off: deals it fired on end no worse than others'
            else 'earns its place'
        end as reason,
        bounded.n,
        bounded.fired_count,
        bounded.not_won_count,
        bounded.fired_not_won_count,
        cast(bounded.not_won_count as double) / nullif(bounded.n, 0) as base_rate,
        bounded.precision_share as precision,
        {{ wilson('bounded.precision_share', 'cast(bounded.fired_count as double)', -1) }} as precision_low,
        {{ wilson('bounded.precision_share', 'cast(bounded.fired_count as double)', 1) }} as precision_high,
        cast(bounded.fired_not_won_count as double) / nullif(bounded.not_won_count, 0) as recall,
        bounded.odds_ratio,
        bounded.odds_ratio_low,
        bounded.odds_ratio_high,
        lead_times.median_lead_days,
        bounded.is_on and (bounded.fired_count < {{ deal_policy('signal_minimum_fired') }} or bounded.odds_ratio_low > 1) as is_active,
        {{ as_of_date() }} as as_of_date
    from bounded
    left join lead_times
        on bounded.signal = lead_times.signal
        and bounded.segment = lead_times.segment
)

select * from final
