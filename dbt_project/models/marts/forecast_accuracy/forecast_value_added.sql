{#- The chain; last year's actual is no step of it but the other thing a step must beat. #}
{%- set chain = [
    'naive_last_year', 'naive_last_period', 'stage_weighted', 'seller_commit', 'manager_commit', 'executive_commit', 'model',
] %}
with steps as (
    {%- for method in chain %}
    select '{{ method }}' as method, {{ loop.index0 }} as step
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

errors as (
    select
        errors.*,
        steps.step
    from {{ ref('forecast_error') }} as errors
    inner join steps on errors.method = steps.method
),

cells as (
    select distinct
        forecasts.scope_type,
        forecasts.period_type,
        forecasts.method,
        forecasts.weeks_before_end,
        steps.step
    from {{ ref('period_forecasts') }} as forecasts
    inner join steps on forecasts.method = steps.method
    where steps.step > 0
),

periods as (
    select
        period_type,
        period_start,
        row_number() over (partition by period_type order by period_start desc) as age
    from (
        select distinct
            period_type,
            period_start
        from {{ ref('int_forecast_dates') }}
        where is_ended and is_told
    ) as ended
),

recent as (
    select errors.* from errors
    inner join periods
        on errors.period_type = periods.period_type
        and errors.period_start = periods.period_start
    where
        periods.age <= case
            when periods.period_type = 'month' then {{ forecast_policy('error_months') }} else {{ forecast_policy('error_quarters') }}
        end
),

-- Each step beside each other one, and itself, where both speak of the same scope and period on the same day.
pairs as (
    select
        recent.scope_type,
        recent.period_type,
        recent.method,
        recent.weeks_before_end,
        recent.step,
        other.method as other_method,
        other.step as other_step,
        recent.period_start,
        count(*) as n,
        cast(sum(recent.absolute_error) as decimal(18, 4)) as absolute_error,
        cast(sum(other.absolute_error) as decimal(18, 4)) as other_error,
        cast(sum(recent.actual_amount) as decimal(18, 4)) as actual_amount
    from recent
    inner join recent as other
        on recent.scope_type = other.scope_type
        and recent.scope_id = other.scope_id
        and recent.period_type = other.period_type
        and recent.period_start = other.period_start
        and recent.weeks_before_end = other.weeks_before_end
        and recent.step >= other.step
    where recent.step > 0
    group by
        recent.scope_type, recent.period_type, recent.method, recent.weeks_before_end, recent.step,
        other.method, other.step, recent.period_start
),

-- The errors of one period go together: the interval is over periods.
summed as (
    select
        scope_type,
        period_type,
        method,
        weeks_before_end,
        step,
        other_method,
        other_step,
        sum(n) as n,
        count(*) as period_count,
        cast(sum(absolute_error) as double) as absolute_error,
        cast(sum(other_error) as double) as other_error,
        nullif(cast(sum(actual_amount) as double), 0) as actual_amount,
        {{ sum_of_products('other_error - absolute_error', 'other_error - absolute_error') }} as gain_squared,
        {{ sum_of_products('other_error - absolute_error', 'actual_amount') }} as gain_actual,
        {{ sum_of_products('actual_amount', 'actual_amount') }} as actual_squared
    from pairs
    group by scope_type, period_type, method, weeks_before_end, step, other_method, other_step
),

compared as (
    select
        summed.*,
        absolute_error / actual_amount as wape,
        other_error / actual_amount as other_wape,
        (other_error - absolute_error) / actual_amount as gain
    from summed
),

-- One result says nothing of who forecasts better.
spread as (
    select
        compared.*,
        case when period_count > 1 then gain end as value_added,
        case
            when period_count > 1
                then {{ students_t('(period_count - 1)') }} * sqrt(
                    period_count * greatest(gain_squared - 2 * gain * gain_actual + gain * gain * actual_squared, 0)
                    / (period_count - 1)
                ) / actual_amount
        end as half_width
    from compared
),

-- The nearest step before that speaks of anything this one speaks of; the first stands beside itself.
previous as (
    select * from spread
    where other_step < step and other_step > 0 or step = 1 and other_step = 1
    qualify row_number() over (partition by scope_type, period_type, method, weeks_before_end order by other_step desc) = 1
),

-- Whichever of the naive ones did better.
naive as (
    select * from spread
    where other_step in (0, 1) and step > 1
    qualify row_number() over (
        partition by scope_type, period_type, method, weeks_before_end order by other_wape, -other_step
    ) = 1
),

final as (
    select
        cells.scope_type,
        cells.period_type,
        cells.method,
        cast(cells.step as bigint) as step,
        cells.weeks_before_end,
        case when cells.step > 1 then previous.other_method end as previous_method,
        naive.other_method as naive_method,
        case
            when cells.step > 1 and previous.n is null then 'no forecast beside an earlier one'
            when previous.n is null then 'no forecast'
            when previous.actual_amount is null then 'nothing won in the periods'
            when cells.step = 1 then 'first of the chain'
            when previous.period_count = 1 then 'one period only'
        end as reason,
        coalesce(cast(previous.n as bigint), 0) as n,
        coalesce(previous.period_count, 0) as period_count,
        previous.wape,
        case when cells.step > 1 then previous.other_wape end as wape_of_previous,
        {%- for column in ('value_added', 'value_added - previous.half_width', 'value_added + previous.half_width') %}
        case when cells.step > 1 then previous.{{ column }} end as value_added{{ ['', '_low', '_high'][loop.index0] }},
        {%- endfor %}
        coalesce(cast(naive.n as bigint), 0) as naive_n,
        naive.other_wape as wape_of_naive,
        naive.value_added as value_added_over_naive,
        naive.value_added - naive.half_width as value_added_over_naive_low,
        naive.value_added + naive.half_width as value_added_over_naive_high,
        {{ as_of_date() }} as as_of_date
    from cells
    {%- for other in ('previous', 'naive') %}
    left join {{ other }}
        on cells.scope_type = {{ other }}.scope_type
        and cells.period_type = {{ other }}.period_type
        and cells.method = {{ other }}.method
        and cells.weeks_before_end = {{ other }}.weeks_before_end
    {%- endfor %}
)

select * from final
