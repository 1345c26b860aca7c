{%- set keys = ['scope_type', 'scope_id', 'period_type', 'method', 'weeks_before_end'] %}
with forecasts as (
    select
        forecasts.*,
        cast(forecast_amount - actual_amount as decimal(18, 4)) as error
    from {{ ref('period_forecasts') }} as forecasts
    where is_ended and forecast_amount is not null
),

policy as (
    select
        cast({{ forecast_policy('error_months') }} as bigint) as error_months,
        cast({{ forecast_policy('error_quarters') }} as bigint) as error_quarters
),

so_far as (
    select
        forecasts.*,
        sum(error) over up_to_here as error_so_far,
        sum(actual_amount) over up_to_here as actual_so_far,
        row_number() over up_to_here as place,
        case when period_type = 'month' then policy.error_months else policy.error_quarters end as window_periods
    from forecasts
    cross join policy
    window up_to_here as (partition by {{ keys | join(', ') }} order by period_start rows between unbounded preceding and current row)
),

-- The errors of the last periods: all so far less those up to the last period that is too old.
running as (
    select
        so_far.*,
        cast(so_far.error_so_far - coalesce(too_old.error_so_far, 0) as double) as running_error,
        cast(so_far.actual_so_far - coalesce(too_old.actual_so_far, 0) as double) as running_actual
    from so_far
    left join so_far as too_old
        on so_far.place - so_far.window_periods = too_old.place
        {%- for key in keys %}
        and so_far.{{ key }} = too_old.{{ key }}
        {%- endfor %}
),

final as (
    select
        scope_type,
        scope_id,
        scope_name,
        period_type,
        method,
        method_order,
        weeks_before_end,
        case when actual_amount = 0 then 'nothing won in the period' end as reason,
        forecast_amount,
        low,
        high,
        actual_amount,
        error,
        cast(abs(error) as decimal(18, 4)) as absolute_error,
        cast(error as double) / nullif(cast(actual_amount as double), 0) as relative_error,
        running_error / nullif(running_actual, 0) as bias,
        actual_amount between low and high as is_in_range,
        period_start,
        period_end,
        forecast_on,
        {{ as_of_date() }} as as_of_date
    from running
)

select * from final
