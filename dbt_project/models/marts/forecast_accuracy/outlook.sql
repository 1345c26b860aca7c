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

with_people as (
    select distinct manager_id from lines
),

converted as (
    select
        submissions.submission_id,
        submissions.submitter_id,
        cast(submissions.amount * {{ plan_rate('submissions.currency') }} as decimal(18, 4)) as amount,
        submissions.period_start,
        submissions.period_end,
        submissions.submitted_at
    from submissions
    left join rates
        on submissions.currency = rates.from_currency
        and least(submissions.period_start, {{ as_of_date() }}) >= rates.valid_from
        and least(submissions.period_start, {{ as_of_date() }}) < rates.valid_to
),

-- The newest call of each person for a period stands, until the person leaves: of a seller for the seller's own deals,
-- of everybody else for the whole book below.
calls as (
    select
        converted.submitter_id,
        case
            when reps.role in ('manager', 'executive') or with_people.manager_id is not null then 'manager'
            else 'seller'
        end as scope_type,
        converted.period_start,
        converted.period_end,
        converted.amount
    from converted
    left join reps on converted.submitter_id = reps.rep_id
    left join with_people on converted.submitter_id = with_people.manager_id
    where converted.amount is not null and reps.terminated_on is null
    qualify row_number() over (
        partition by converted.submitter_id, converted.period_start, converted.period_end
        order by converted.submitted_at desc, converted.submission_id desc
    ) = 1
),

covered as (
    select distinct
        calls.submitter_id,
        calls.period_start,
        calls.period_end
    from calls
    inner join lines on calls.submitter_id = lines.rep_id
    inner join calls as above
        on lines.manager_id = above.submitter_id
        and calls.submitter_id != above.submitter_id
        and calls.period_start = above.period_start
        and calls.period_end = above.period_end
),

-- The company's call is that of those above whom nobody calls.
company_calls as (
    select
        calls.period_start,
        calls.period_end,
        sum(calls.amount) as amount
    from calls
    left join covered
        on calls.submitter_id = covered.submitter_id
        and calls.period_start = covered.period_start
        and calls.period_end = covered.period_end
    where covered.submitter_id is null
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
        coverage.target_source,
        case
            when coverage.target is not null then null
            when outlooks.period_type = 'month' and of_quarter.target is not null then 'the target is for the quarter'
            else 'no target'
        end as target_reason,
        case
            when company_calls.amount is not null or calls.amount is not null then null
            when outlooks.scope_type in ('region', 'segment') then 'nobody calls for a ' || outlooks.scope_type
            when outlooks.scope_type = 'seller' and team_calls.amount is not null then 'called for a team only'
            else 'no call'
        end as commit_reason,
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
        cast(coalesce(company_calls.amount, calls.amount) as decimal(18, 4)) as commit_amount,
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
    left join coverage as of_quarter
        on of_quarter.period_type = 'quarter'
        and outlooks.scope_type = of_quarter.scope_type
        and outlooks.scope_id = of_quarter.scope_id
        and outlooks.period_start between of_quarter.period_start and of_quarter.period_end
    left join calls
        on outlooks.scope_type = calls.scope_type
        and outlooks.scope_id = calls.submitter_id
        and outlooks.period_start = calls.period_start
        and outlooks.period_end = calls.period_end
    left join calls as team_calls
        on outlooks.scope_type = 'seller'
        and team_calls.scope_type = 'manager'
        and outlooks.scope_id = team_calls.submitter_id
        and outlooks.period_start = team_calls.period_start
        and outlooks.period_end = team_calls.period_end
    left join company_calls
        on outlooks.scope_type = 'company'
        and outlooks.period_start = company_calls.period_start
        and outlooks.period_end = company_calls.period_end
)

select * from final
