with errors as (
    select * from {{ ref('forecast_error') }}
),

cells as (
    select distinct scope_type, period_type, method, method_order, weeks_before_end from {{ ref('period_forecasts') }}
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
    select
        period_type,
        period_start
    from periods
    where age <= case when period_type = 'month' then {{ forecast_policy('error_months') }} else {{ forecast_policy('error_quarters') }} end
),

summed as (
    select
        errors.scope_type,
        errors.period_type,
        errors.method,
        errors.weeks_before_end,
        count(*) as n,
        count(distinct errors.period_start) as period_count,
        count(errors.is_in_range) as range_n,
        sum(errors.actual_amount) as actual_amount,
        sum(errors.error) as error,
        sum(errors.absolute_error) as absolute_error,
        -- To say 0 where nothing came is no hit.
        count(case when errors.actual_amount > 0 then 1 end) as within_n,
        count(case when errors.actual_amount > 0 and errors.absolute_error <= 0.05 * errors.actual_amount then 1 end) as within_5_count,
        count(case when errors.actual_amount > 0 and errors.absolute_error <= 0.1 * errors.actual_amount then 1 end) as within_10_count,
        count(case when errors.is_in_range then 1 end) as in_range_count
    from errors
    inner join recent
        on errors.period_type = recent.period_type
        and errors.period_start = recent.period_start
    group by errors.scope_type, errors.period_type, errors.method, errors.weeks_before_end
),

rated as (
    select
        cells.*,
        coalesce(summed.n, 0) as n,
        coalesce(summed.period_count, 0) as period_count,
        coalesce(summed.within_n, 0) as within_n,
        coalesce(summed.range_n, 0) as range_n,
        nullif(cast(summed.actual_amount as double), 0) as actual_amount,
        cast(summed.error as double) as error,
        cast(summed.absolute_error as double) as absolute_error,
        {%- for share in ('within_5', 'within_10') %}
        cast(summed.{{ share }}_count as double) / nullif(summed.within_n, 0) as {{ share }}_percent,
        {%- endfor %}
        cast(summed.in_range_count as double) / nullif(summed.range_n, 0) as in_range_share
    from cells
    left join summed
        on cells.scope_type = summed.scope_type
        and cells.period_type = summed.period_type
        and cells.method = summed.method
        and cells.weeks_before_end = summed.weeks_before_end
),

final as (
    select
        scope_type,
        period_type,
        method,
        method_order,
        weeks_before_end,
        case when n = 0 then 'no forecast' when actual_amount is null then 'nothing won in the periods' end as reason,
        n,
        period_count,
        absolute_error / actual_amount as wape,
        error / actual_amount as bias_share,
        within_n,
        {%- for share in ('within_5_percent', 'within_10_percent') %}
        {{ share }},
        {{ wilson(share, 'within_n', -1) }} as {{ share }}_low,
        {{ wilson(share, 'within_n', 1) }} as {{ share }}_high,
        {%- endfor %}
        range_n,
        in_range_share,
        {{ wilson('in_range_share', 'range_n', -1) }} as in_range_share_low,
        {{ wilson('in_range_share', 'range_n', 1) }} as in_range_share_high,
        {{ as_of_date() }} as as_of_date
    from rated
)

select * from final
