{{ config(materialized='table') }}
-- How each signal had done by the beginning of each month, on deals decided before it.
with policy as (
    select * from {{ ref('signals') }}
),

calendar as (
    select distinct month_start from {{ ref('calendar') }}
    where month_start <= {{ as_of_date() }}
),

-- One review of each decided deal, drawn by lot: a deal that lives long is not counted more often, and deals are independent.
drawn as (
    select
        opportunity_id,
        segment,
        opportunity_type,
        stage,
        not is_won or coalesce(closed_on > dated_quarter_end, false) as is_bad,
        cast(date_trunc('month', closed_on) as date) as closed_month,
        snapshot_date
    from {{ ref('int_deal_reviews') }}
    where closed_on is not null and snapshot_date < closed_on
    qualify row_number() over (partition by opportunity_id order by md5(opportunity_id || cast(snapshot_date as string))) = 1
),

in_segments as (
    select
        drawn.opportunity_id,
        drawn.segment,
        drawn.opportunity_type,
        drawn.stage,
        drawn.is_bad,
        drawn.closed_month,
        drawn.snapshot_date
    from drawn
    union all
    select
        drawn.opportunity_id,
        'all' as segment,
        drawn.opportunity_type,
        drawn.stage,
        drawn.is_bad,
        drawn.closed_month,
        drawn.snapshot_date
    from drawn
),

counted as (
    select
        policy.signal,
        in_segments.segment,
        in_segments.opportunity_type,
        in_segments.stage,
        in_segments.closed_month,
        count(*) as n,
        count(fired.signal) as fired_count,
        count(case when in_segments.is_bad then 1 end) as bad_count,
        count(case when fired.signal is not null and in_segments.is_bad then 1 end) as fired_bad_count
    from in_segments
    cross join policy
    left join {{ ref('int_signal_weeks') }} as fired
        on in_segments.opportunity_id = fired.opportunity_id
        and in_segments.snapshot_date = fired.snapshot_date
        and policy.signal = fired.signal
    group by policy.signal, in_segments.segment, in_segments.opportunity_type, in_segments.stage, in_segments.closed_month
),

strata as (
    select
        calendar.month_start,
        counted.signal,
        counted.segment,
        counted.opportunity_type,
        counted.stage,
        cast(sum(counted.n) as double) as n,
        cast(sum(counted.fired_bad_count) as double) as a,
        cast(sum(counted.fired_count - counted.fired_bad_count) as double) as b,
        cast(sum(counted.bad_count - counted.fired_bad_count) as double) as c,
        cast(sum(counted.n - counted.fired_count - counted.bad_count + counted.fired_bad_count) as double) as d
    from counted
    inner join calendar on counted.closed_month < calendar.month_start
    group by calendar.month_start, counted.signal, counted.segment, counted.opportunity_type, counted.stage
),

-- Deals are compared with deals of the same type in the same stage (Mantel and Haenszel 1959); the variance of the logarithm
-- is that of Robins, Breslow and Greenland (1986).
-- Fractions are added as decimals: in whatever order, the same deals give the same bytes.
summed as (
    select
        month_start,
        signal,
        segment,
        sum(n) as n,
        sum(a) as a,
        sum(b) as b,
        sum(c) as c,
        sum(d) as d,
        {%- for name, term in {
            'r': 'a * d / n', 's': 'b * c / n', 'pr': '(a + d) / n * a * d / n',
            'ps_qr': '(a + d) / n * b * c / n + (b + c) / n * a * d / n', 'qs': '(b + c) / n * b * c / n',
        }.items() %}
        cast(sum(cast({{ term }} as decimal(38, 18))) as double) as {{ name }}{{ ',' if not loop.last }}
        {%- endfor %}
    from strata
    group by month_start, signal, segment
),

-- Where one side is empty in every stratum, the plain table with half a case in each cell (Haldane 1956, Anscombe 1956).
rated as (
    select
        summed.*,
        case
            when r > 0 and s > 0 then r / s
            when a + b > 0 and r + s > 0 then (a + 0.5) * (d + 0.5) / ((b + 0.5) * (c + 0.5))
        end as odds_ratio,
        case
            when r > 0 and s > 0 then sqrt(pr / (2 * r * r) + ps_qr / (2 * r * s) + qs / (2 * s * s))
            when a + b > 0 and r + s > 0 then sqrt(1 / (a + 0.5) + 1 / (b + 0.5) + 1 / (c + 0.5) + 1 / (d + 0.5))
        end as log_error
    from summed
),

bounded as (
    select
        rated.*,
        exp(ln(odds_ratio) - 1.959963984540054 * log_error) as odds_ratio_low,
        exp(ln(odds_ratio) + 1.959963984540054 * log_error) as odds_ratio_high
    from rated
),

segments as (
    select distinct segment from in_segments
),

final as (
    select
        policy.signal,
        segments.segment,
        case
            when not policy.is_on then 'switched off by policy'
            when segments.segment != 'all' and coalesce(bounded.a + bounded.b, 0) < {{ deal_policy('signal_minimum_fired') }}
                then 'too few decided deals of the segment on which it fired'
            when segments.segment != 'all' and coalesce(bounded.odds_ratio_low, 0) <= 1
                then 'in the segment deals it fired on end no worse than others'
            when segments.segment != 'all' then 'in the segment deals it fired on end worse than others'
            when coalesce(bounded.a + bounded.b, 0) < {{ deal_policy('signal_minimum_fired') }}
                then 'not judged yet: too few decided deals on which it fired'
            when coalesce(bounded.odds_ratio_low, 0) <= 1 then 'switched off: deals it fired on end no worse than others'
            else 'earns its place'
        end as reason,
        cast(coalesce(bounded.n, 0) as bigint) as n,
        cast(coalesce(bounded.a + bounded.b, 0) as bigint) as fired_count,
        cast(coalesce(bounded.a + bounded.c, 0) as bigint) as bad_count,
        cast(coalesce(bounded.a, 0) as bigint) as fired_bad_count,
        bounded.odds_ratio,
        bounded.odds_ratio_low,
        bounded.odds_ratio_high,
        -- A segment switches nothing.
        case
            when segments.segment = 'all' then policy.is_on and (
                coalesce(bounded.a + bounded.b, 0) < {{ deal_policy('signal_minimum_fired') }}
                or coalesce(bounded.odds_ratio_low > 1, false)
            )
        end as is_active,
        calendar.month_start
    from calendar
    cross join policy
    cross join segments
    left join bounded
        on calendar.month_start = bounded.month_start
        and policy.signal = bounded.signal
        and segments.segment = bounded.segment
)

select * from final
