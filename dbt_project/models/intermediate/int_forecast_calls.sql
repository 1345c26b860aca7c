{{ config(materialized='table') }}
with submissions as (
    select * from {{ ref('int_forecast_submissions_known') }}
    where not _is_deleted and category = 'commit'
),

dates as (
    select * from {{ ref('int_forecast_dates') }}
),

reps as (
    select * from {{ ref('reps') }}
),

leavers as (
    select distinct
        rep_id,
        terminated_on
    from reps
    where terminated_on is not null
),

reporting_lines as (
    select * from {{ ref('int_reporting_lines_then') }}
),

rates as (
    select * from {{ ref('int_exchange_rates') }}
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

-- The newest call stands until the next one, or until whoever made it leaves.
standing as (
    select
        dates.period_type,
        dates.period_start,
        dates.period_end,
        dates.weeks_before_end,
        dates.forecast_on,
        converted.submission_id,
        converted.submitter_id,
        converted.amount,
        cast(converted.submitted_at as date) as submitted_on,
        leavers.terminated_on
    from dates
    inner join converted
        on dates.period_start = converted.period_start
        and dates.period_end = converted.period_end
        and converted.submitted_at < {{ end_of_day('dates.forecast_on') }}
    left join leavers on converted.submitter_id = leavers.rep_id
    where converted.amount is not null and (leavers.terminated_on is null or leavers.terminated_on > dates.forecast_on)
    qualify row_number() over (
        partition by dates.period_type, dates.period_start, dates.forecast_on, converted.submitter_id
        order by converted.submitted_at desc, converted.submission_id desc
    ) = 1
),

with_people as (
    select distinct
        standing.submitter_id,
        standing.forecast_on
    from standing
    inner join reporting_lines
        on standing.submitter_id = reporting_lines.manager_id
        and standing.forecast_on >= reporting_lines.valid_from
        and standing.forecast_on < reporting_lines.valid_to
),

final as (
    select
        standing.period_type,
        standing.weeks_before_end,
        standing.submitter_id,
        standing.submission_id,
        case
            when reps.role = 'executive' then 'executive'
            when reps.role = 'manager' or with_people.submitter_id is not null then 'manager'
            else 'seller'
        end as caller,
        reps.region,
        standing.amount,
        standing.period_start,
        standing.period_end,
        standing.forecast_on,
        standing.submitted_on,
        standing.terminated_on
    from standing
    left join reps
        on standing.submitter_id = reps.rep_id
        and standing.forecast_on >= reps.valid_from
        and (reps.valid_to is null or standing.forecast_on < reps.valid_to)
    left join with_people
        on standing.submitter_id = with_people.submitter_id
        and standing.forecast_on = with_people.forecast_on
)

select * from final
