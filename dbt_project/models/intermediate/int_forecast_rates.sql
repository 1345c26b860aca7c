{{ config(materialized='table') }}
{#- Where the word of each basis stands in a snapshot; what is not known is a group of its own. #}
{%- set bases = {'stage': "coalesce(stage, '')", 'forecast_category': "coalesce(forecast_category, '')"} %}
with dates as (
    select * from {{ ref('int_forecast_dates') }}
),

snapshots as (
    select * from {{ ref('pipeline_snapshots') }}
    where is_week_end
),

bookings as (
    select * from {{ ref('int_period_bookings') }}
    where scope_type = 'company'
),

-- What became of a period's deals is taken as it was known when the period ended: what is learnt from it never changes.
won as (
    select distinct
        period_type,
        period_start,
        opportunity_id
    from bookings
    where valid_from < {{ end_of_day('period_end') }} and (valid_to is null or valid_to >= {{ end_of_day('period_end') }})
),

looks as (
    select
        dates.period_type,
        dates.period_start,
        dates.period_end,
        dates.weeks_before_end,
        snapshots.stage,
        snapshots.forecast_category,
        case when won.opportunity_id is not null then 1 else 0 end as is_won
    from dates
    inner join snapshots
        on dates.forecast_on = snapshots.snapshot_date
        and snapshots.close_date >= greatest(dates.period_start, dates.forecast_on)
        and snapshots.close_date <= dates.period_end
    left join won
        on dates.period_type = won.period_type
        and dates.period_start = won.period_start
        and snapshots.opportunity_id = won.opportunity_id
    where dates.is_ended
),

counts as (
    {%- for basis, word in bases.items() %}
    select
        '{{ basis }}' as basis,
        {{ word }} as word,
        period_type,
        period_start,
        period_end,
        weeks_before_end,
        count(*) as n,
        sum(is_won) as won_count
    from looks
    group by {{ word }}, period_type, period_start, period_end, weeks_before_end
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

periods as (
    select distinct
        period_type,
        period_start,
        {{ add_months('period_start', '-(' ~ forecast_policy('rate_months') ~ ')') }} as learnt_from
    from dates
    where is_told
),

learnt as (
    select
        periods.period_type,
        periods.period_start,
        counts.basis,
        counts.word,
        counts.weeks_before_end,
        sum(counts.n) as n,
        sum(counts.won_count) as won_count
    from periods
    inner join counts
        on periods.period_type = counts.period_type
        and counts.period_end < periods.period_start
        and counts.period_start >= periods.learnt_from
    group by periods.period_type, periods.period_start, counts.basis, counts.word, counts.weeks_before_end
),

of_all_weeks as (
    select
        period_type,
        period_start,
        basis,
        word,
        sum(n) as n,
        sum(won_count) as won_count
    from learnt
    group by period_type, period_start, basis, word
),

of_all_words as (
    select
        period_type,
        period_start,
        basis,
        cast(sum(won_count) as double) / sum(n) as rate
    from of_all_weeks
    group by period_type, period_start, basis
),

words as (
    {%- for basis, word in bases.items() %}
    select distinct
        '{{ basis }}' as basis,
        {{ word }} as word
    from snapshots
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

pooled as (
    select
        dates.period_type,
        words.basis,
        words.word,
        dates.weeks_before_end,
        coalesce(learnt.n, 0) as n,
        coalesce(learnt.won_count, 0) as won_count,
        (coalesce(of_all_weeks.won_count, 0) + strength.strength * of_all_words.rate)
        / (coalesce(of_all_weeks.n, 0) + strength.strength) as rate_of_all_weeks,
        strength.strength,
        dates.period_start
    from dates
    cross join words
    cross join (select {{ forecast_policy('pool_strength') }} as strength) as strength
    inner join of_all_words
        on dates.period_type = of_all_words.period_type
        and dates.period_start = of_all_words.period_start
        and words.basis = of_all_words.basis
    left join of_all_weeks
        on dates.period_type = of_all_weeks.period_type
        and dates.period_start = of_all_weeks.period_start
        and words.basis = of_all_weeks.basis
        and words.word = of_all_weeks.word
    left join learnt
        on dates.period_type = learnt.period_type
        and dates.period_start = learnt.period_start
        and dates.weeks_before_end = learnt.weeks_before_end
        and words.basis = learnt.basis
        and words.word = learnt.word
    where dates.is_told
),

final as (
    select
        period_type,
        basis,
        word,
        weeks_before_end,
        cast(n as bigint) as n,
        cast(won_count as bigint) as won_count,
        cast(
            floor((won_count + strength * rate_of_all_weeks) / (n + strength) * 1000000 + 0.5) / 1000000 as decimal(7, 6)
        ) as rate,
        period_start
    from pooled
)

select * from final
