with forecasts as (
    select * from {{ ref('int_method_forecasts') }}
),

reps as (
    select * from {{ ref('reps') }}
    where is_current
),

policy as (
    select
        {{ forecast_policy('range_periods') }} as range_periods,
        {{ forecast_policy('range_minimum_periods') }} as range_minimum_periods
),

-- The outcome model brings a range of its own.
ratios as (
    select
        scope_type,
        period_type,
        method,
        weeks_before_end,
        cast(actual_amount as double) / cast(forecast_amount as double) as ratio,
        period_start
    from forecasts
    where is_ended and forecast_amount > 0 and method != 'model'
),

ratio_periods as (
    select distinct scope_type, period_type, method, weeks_before_end, period_start from ratios
),

-- Each range has a number: millions of ratios are put in order by it.
told as (
    select
        wanted.*,
        row_number() over (order by scope_type, period_type, method, weeks_before_end, period_start) as range_number
    from (select distinct scope_type, period_type, method, weeks_before_end, period_start from forecasts) as wanted
),

-- The periods each range is learnt from: the last ones before.
learnt_from as (
    select
        told.*,
        ratio_periods.period_start as past_start
    from told
    cross join policy
    inner join ratio_periods
        on told.scope_type = ratio_periods.scope_type
        and told.period_type = ratio_periods.period_type
        and told.method = ratio_periods.method
        and told.weeks_before_end = ratio_periods.weeks_before_end
        and told.period_start > ratio_periods.period_start
    qualify row_number() over (partition by told.range_number order by ratio_periods.period_start desc) <= policy.range_periods
),

-- The ends are interpolated so that, of as many periods to come, a tenth lies beyond each.
ranked as (
    select
        learnt_from.range_number,
        learnt_from.past_start,
        ratios.ratio,
        row_number() over (partition by learnt_from.range_number order by ratios.ratio) as place,
        count(*) over (partition by learnt_from.range_number) as n
    from learnt_from
    inner join ratios
        on learnt_from.scope_type = ratios.scope_type
        and learnt_from.period_type = ratios.period_type
        and learnt_from.method = ratios.method
        and learnt_from.weeks_before_end = ratios.weeks_before_end
        and learnt_from.past_start = ratios.period_start
),

quantiles as (
    select
        range_number,
        count(distinct past_start) as period_count,
        sum(ratio * greatest(1 - abs(place - greatest(0.1 * (n + 1), 1)), 0)) as low_ratio,
        sum(ratio * greatest(1 - abs(place - least(0.9 * (n + 1), n)), 0)) as high_ratio
    from ranked
    group by range_number
),

ranges as (
    select
        told.*,
        quantiles.period_count,
        quantiles.low_ratio,
        quantiles.high_ratio
    from told
    inner join quantiles on told.range_number = quantiles.range_number
),

ranged as (
    select
        forecasts.*,
        coalesce(ranges.period_count, 0) as range_period_count,
        {%- for side in ('low', 'high') %}
        case
            when ranges.period_count >= policy.range_minimum_periods and forecasts.forecast_amount > 0
                then cast(
                    floor(cast(forecasts.forecast_amount as double) * ranges.{{ side }}_ratio * 100 + 0.5) / 100 as decimal(18, 4)
                )
        end as {{ side }}_amount{{ ',' if not loop.last }}
        {%- endfor %}
    from forecasts
    cross join policy
    left join ranges
        on forecasts.scope_type = ranges.scope_type
        and forecasts.period_type = ranges.period_type
        and forecasts.method = ranges.method
        and forecasts.weeks_before_end = ranges.weeks_before_end
        and forecasts.period_start = ranges.period_start
),

-- What is booked is certain: no range begins below it.
final as (
    select
        ranged.scope_type,
        ranged.scope_id,
        case when ranged.scope_type = 'company' then 'Company' else coalesce(reps.name, ranged.scope_id) end as scope_name,
        ranged.period_type,
        ranged.method,
        ranged.method_order,
        ranged.weeks_before_end,
        ranged.reason,
        ranged.forecast_amount,
        {%- for side in ('low', 'high') %}
        case
            when ranged.method = 'model' then ranged.model_{{ side }}
            when ranged.{{ side }}_amount is not null then greatest(ranged.{{ side }}_amount, ranged.booked_amount)
        end as {{ side }},
        {%- endfor %}
        case when ranged.method != 'model' then ranged.range_period_count end as range_period_count,
        ranged.booked_amount,
        ranged.actual_amount,
        ranged.call_count,
        ranged.is_ended,
        ranged.period_start,
        ranged.period_end,
        ranged.forecast_on,
        {{ as_of_date() }} as as_of_date
    from ranged
    left join reps
        on ranged.scope_type in ('seller', 'manager')
        and ranged.scope_id = reps.rep_id
)

select * from final
