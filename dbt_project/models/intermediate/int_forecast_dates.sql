{{ config(materialized='table') }}
-- docs/forecast-accuracy.md is the rule of everything about forecasts.
with calendar as (
    select * from {{ ref('calendar') }}
),

first_days as (
    select
        coalesce(
            (select cast(min(stretches.valid_from) as date) from {{ ref('int_opportunity_stretches') }} as stretches),
            (select min(case when deals.is_won and not deals.is_deleted then deals.closed_on end) from {{ ref('opportunities') }} as deals)
        ) as first_day,
        {{ add_months(as_of_date(), '-(' ~ forecast_policy('history_months') ~ ')') }} as told_after
),

all_periods as (
    {%- for period in ('month', 'quarter') %}
    select distinct
        '{{ period }}' as period_type,
        fiscal_year,
        fiscal_{{ period }} as number,
        {{ period }}_start as period_start,
        {{ period }}_end as period_end
    from calendar
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

periods as (
    select
        all_periods.*,
        all_periods.period_start > first_days.told_after as is_told,
        lag(all_periods.period_start) over (
            partition by all_periods.period_type order by all_periods.period_start
        ) as previous_start
    from all_periods
    cross join first_days
    where all_periods.period_start > first_days.first_day
),

week_ends as (
    select day from calendar
    where day = week_end and day <= {{ as_of_date() }}
),

final as (
    select
        periods.period_type,
        cast(floor({{ day_count('week_ends.day', 'periods.period_end') }} / 7.0) as bigint) as weeks_before_end,
        periods.is_told,
        periods.period_end <= {{ as_of_date() }} as is_ended,
        periods.period_start,
        periods.period_end,
        periods.previous_start,
        year_before.period_start as year_before_start,
        week_ends.day as forecast_on
    from periods
    inner join week_ends
        on week_ends.day >= {{ add_days('periods.period_start', -1) }}
        and week_ends.day <= {{ add_days('periods.period_end', -7) }}
    left join periods as year_before
        on periods.period_type = year_before.period_type
        and periods.number = year_before.number
        and periods.fiscal_year = year_before.fiscal_year + 1
)

select * from final
