with calls as (
    select * from {{ ref('int_forecast_calls') }}
),

reps as (
    select * from {{ ref('reps') }}
    where is_current
),

reporting_lines as (
    select * from {{ ref('int_reporting_lines_then') }}
),

policy as (
    select
        {%- for name in ('near_weeks', 'middle_weeks', 'minimum_periods', 'tolerance', 'width') %}
        {{ forecast_policy('credibility_' ~ name) }} as {{ name }}{{ ',' if not loop.last }}
        {%- endfor %}
),

won as (
    select
        period_type,
        period_start,
        scope_id as owner_id,
        sum(amount) as amount
    from {{ ref('int_period_bookings') }}
    where scope_type = 'seller' and valid_to is null
    group by period_type, period_start, scope_id
),

-- Whoever leaves before a period ends leaves the book to others.
judged as (
    select
        calls.*,
        case
            when weeks_before_end <= policy.near_weeks then 'near'
            when weeks_before_end <= policy.middle_weeks then 'middle'
            else 'far'
        end as horizon
    from calls
    cross join policy
    where period_end <= {{ as_of_date() }} and (terminated_on is null or terminated_on > period_end)
),

called_periods as (
    select distinct submitter_id, submitted_on, period_type, period_start from judged
),

call_days as (
    select distinct submitter_id, submitted_on from called_periods
),

-- The submitter's own book on the day of the call.
books as (
    select submitter_id, submitted_on, submitter_id as owner_id from call_days
    union
    select call_days.submitter_id, call_days.submitted_on, reporting_lines.rep_id as owner_id
    from call_days
    inner join reporting_lines
        on call_days.submitter_id = reporting_lines.manager_id
        and call_days.submitted_on >= reporting_lines.valid_from
        and call_days.submitted_on < reporting_lines.valid_to
),

book_results as (
    select
        called_periods.submitter_id,
        called_periods.submitted_on,
        called_periods.period_type,
        called_periods.period_start,
        sum(won.amount) as actual_amount
    from called_periods
    inner join books
        on called_periods.submitter_id = books.submitter_id
        and called_periods.submitted_on = books.submitted_on
    inner join won
        on books.owner_id = won.owner_id
        and called_periods.period_type = won.period_type
        and called_periods.period_start = won.period_start
    group by called_periods.submitter_id, called_periods.submitted_on, called_periods.period_type, called_periods.period_start
),

held as (
    select
        judged.submitter_id,
        judged.submission_id,
        judged.period_type,
        judged.period_start,
        judged.horizon,
        judged.amount as forecast_amount,
        coalesce(book_results.actual_amount, 0) as actual_amount
    from judged
    left join book_results
        on judged.submitter_id = book_results.submitter_id
        and judged.submitted_on = book_results.submitted_on
        and judged.period_type = book_results.period_type
        and judged.period_start = book_results.period_start
),

horizons as (
    {%- for horizon in ('all', 'far', 'middle', 'near') %}
    select '{{ horizon }}' as horizon
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

in_horizons as (
    select
        held.submitter_id,
        held.submission_id,
        held.period_type,
        held.period_start,
        horizons.horizon,
        held.forecast_amount,
        held.actual_amount
    from held
    inner join horizons on horizons.horizon in ('all', held.horizon)
),

-- The calls of a period are all about the same result: it counts once, with their means.
period_means as (
    select
        submitter_id,
        period_type,
        period_start,
        horizon,
        {%- for name, amount in {
            'forecast': 'forecast_amount', 'actual': 'actual_amount', 'absolute_error': 'abs(forecast_amount - actual_amount)',
        }.items() %}
        cast(
            floor(cast(sum({{ amount }}) as double) / count(*) * 10000 + 0.5) / 10000 as decimal(18, 4)
        ) as mean_{{ name }}{{ ',' if not loop.last }}
        {%- endfor %}
    from in_horizons
    group by submitter_id, period_type, period_start, horizon
),

call_counts as (
    select
        submitter_id,
        period_type,
        horizon,
        count(distinct submission_id) as call_count
    from in_horizons
    group by submitter_id, period_type, horizon
),

summed as (
    select
        submitter_id,
        period_type,
        horizon,
        count(*) as n,
        cast(sum(mean_forecast - mean_actual) as double) as error,
        cast(sum(mean_absolute_error) as double) as absolute_error,
        nullif(cast(sum(mean_actual) as double), 0) as actual,
        {{ sum_of_products('mean_forecast - mean_actual', 'mean_forecast - mean_actual') }} as error_squared,
        {{ sum_of_products('mean_forecast - mean_actual', 'mean_actual') }} as error_actual,
        {{ sum_of_products('mean_actual', 'mean_actual') }} as actual_squared
    from period_means
    group by submitter_id, period_type, horizon
),

rated as (
    select
        summed.*,
        absolute_error / actual as wape,
        error / actual as bias,
        case
            when n > 1
                then {{ students_t('(n - 1)') }} * sqrt(
                    n * greatest(
                        error_squared - 2 * (error / actual) * error_actual + (error / actual) * (error / actual) * actual_squared, 0
                    ) / (n - 1)
                ) / actual
        end as half_width
    from summed
),

submitters as (
    select
        submitter_id,
        period_type,
        max_by(caller, forecast_on) as caller
    from calls
    group by submitter_id, period_type
),

with_verdict as (
    select
        submitters.submitter_id,
        submitters.period_type,
        submitters.caller,
        horizons.horizon,
        coalesce(rated.n, 0) as n,
        coalesce(call_counts.call_count, 0) as call_count,
        rated.wape,
        rated.bias,
        -- No call is below 0.
        case when rated.bias - rated.half_width < -1 then -1 else rated.bias - rated.half_width end as bias_low,
        rated.bias + rated.half_width as bias_high,
        case
            when coalesce(rated.n, 0) < policy.minimum_periods or rated.actual is null then 'not enough calls'
            when rated.bias - rated.half_width > 0 and rated.bias >= policy.tolerance then 'optimist'
            when rated.bias + rated.half_width < 0 and rated.bias <= -policy.tolerance then 'sandbagger'
            when rated.half_width <= policy.width then 'steady'
            else 'unclear'
        end as verdict,
        coalesce(rated.n, 0) < policy.minimum_periods as is_few
    from submitters
    cross join horizons
    cross join policy
    left join rated
        on submitters.submitter_id = rated.submitter_id
        and submitters.period_type = rated.period_type
        and horizons.horizon = rated.horizon
    left join call_counts
        on submitters.submitter_id = call_counts.submitter_id
        and submitters.period_type = call_counts.period_type
        and horizons.horizon = call_counts.horizon
),

final as (
    select
        with_verdict.submitter_id,
        coalesce(reps.name, with_verdict.submitter_id) as submitter_name,
        with_verdict.period_type,
        with_verdict.horizon,
        with_verdict.caller,
        with_verdict.verdict,
        case
            when with_verdict.is_few then 'calls for too few periods that have ended'
            when with_verdict.verdict = 'not enough calls' then 'nothing won in the book'
            when with_verdict.verdict = 'unclear' then 'results differ too much to tell'
        end as reason,
        with_verdict.n,
        with_verdict.call_count,
        with_verdict.wape,
        with_verdict.bias,
        with_verdict.bias_low,
        with_verdict.bias_high,
        {{ as_of_date() }} as as_of_date
    from with_verdict
    left join reps on with_verdict.submitter_id = reps.rep_id
)

select * from final
