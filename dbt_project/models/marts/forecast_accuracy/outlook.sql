with outlooks as (
    select * from {{ ref('int_outlooks') }}
),

models as (
    select * from {{ ref('int_outcome_models') }}
),

today as (
    select * from {{ ref('calendar') }}
    where day = {{ as_of_date() }}
),

coverage as (
    select * from {{ ref('pipeline_coverage') }}
),

reps as (
    select * from {{ ref('reps') }}
    where is_current
),

lines as (
    select * from {{ ref('int_reporting_lines') }}
),

rates as (
    select * from {{ ref('int_exchange_rates') }}
),

submissions as (
    select * from {{ ref('int_forecast_submissions_known') }}
    where not _is_deleted and category = 'commit' and submitted_at < {{ end_of_day(as_of_date()) }}
),

-- The newest call of each person for a period stands.
calls as (
    select
        submissions.submitter_id,
        submissions.period_start,
        submissions.period_end,
        cast(submissions.amount * {{ plan_rate('submissions.currency') }} as decimal(18, 4)) as amount
    from submissions
    left join rates
        on submissions.currency = rates.from_currency
        and least(submissions.period_start, {{ as_of_date() }}) >= rates.valid_from
        and least(submissions.period_start, {{ as_of_date() }}) < rates.valid_to
    qualify row_number() over (
        partition by submissions.submitter_id, submissions.period_start, submissions.period_end
        order by submissions.submitted_at desc, submissions.submission_id desc
    ) = 1
),

-- The company's call is that of those above whom nobody calls.
company_calls as (
    select
        calls.period_start,
        calls.period_end,
        sum(calls.amount) as amount
    from calls
    left join lines on calls.submitter_id = lines.rep_id
    left join calls as above
        on lines.manager_id = above.submitter_id
        and calls.period_start = above.period_start
        and calls.period_end = above.period_end
    where above.submitter_id is null and calls.submitter_id not in (
        select below.rep_id from lines as below
        inner join calls as callers on below.manager_id = callers.submitter_id
    )
    group by calls.period_start, calls.period_end
),

final as (
    select
        outlooks.scope_type,
        outlooks.scope_id,
        case outlooks.scope_type
            when 'company' then 'Company'
            else coalesce(reps.name, outlooks.scope_id)
        end as scope_name,
        outlooks.period_type,
        outlooks.method,
        case
            when models.quarter_start is null then 'no deal has been reviewed in this quarter'
            else models.reason
        end as method_reason,
        outlooks.booked,
        outlooks.from_open_deals,
        outlooks.from_new_deals,
        outlooks.median,
        outlooks.p10,
        outlooks.p90,
        coverage.target,
        cast(coverage.target - outlooks.median as decimal(18, 4)) as gap,
        cast(
            case when outlooks.scope_type = 'company' then company_calls.amount else calls.amount end as decimal(18, 4)
        ) as commit_amount,
        outlooks.common_shock,
        outlooks.reason,
        outlooks.period_start <= {{ as_of_date() }} as is_current,
        outlooks.period_start,
        outlooks.period_end,
        {{ as_of_date() }} as as_of_date
    from outlooks
    cross join today
    left join models on today.quarter_start = models.quarter_start
    left join reps on outlooks.scope_type in ('seller', 'manager') and outlooks.scope_id = reps.rep_id
    left join coverage
        on outlooks.scope_type = coverage.scope_type
        and outlooks.scope_id = coverage.scope_id
        and outlooks.period_type = coverage.period_type
        and outlooks.period_start = coverage.period_start
    left join calls
        on outlooks.scope_type in ('seller', 'manager')
        and outlooks.scope_id = calls.submitter_id
        and outlooks.period_start = calls.period_start
        and outlooks.period_end = calls.period_end
    left join company_calls
        on outlooks.period_start = company_calls.period_start
        and outlooks.period_end = company_calls.period_end
)

select * from final
