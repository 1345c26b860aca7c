with periods as (
    select distinct
        period_type,
        period_start,
        period_end,
        least(period_end, {{ as_of_date() }}) as last_day
    from {{ ref('booking_bridge') }}
),

reconciled as (
    select * from {{ ref('booking_to_billing') }}
),

documents as (
    select * from {{ ref('billing_documents') }}
),

submissions as (
    select * from {{ ref('int_forecast_submissions_known') }}
    where not _is_deleted and category = 'commit' and cast(submitted_at as date) <= {{ as_of_date() }}
),

jobs as (
    select * from {{ ref('reps') }}
),

reporting_lines as (
    select * from {{ ref('int_reporting_lines_then') }}
),

rates as (
    select * from {{ ref('int_exchange_rates') }}
),

called as (
    select
        periods.period_type,
        periods.period_start,
        periods.last_day,
        submissions.submission_id,
        submissions.submitter_id,
        submissions.submitted_at,
        submissions.amount * {{ plan_rate('submissions.currency') }} as amount,
        cast(submissions.submitted_at as date) <= {{ add_days('periods.period_start', 6) }} as is_opening
    from submissions
    inner join periods on submissions.period_start = periods.period_start and submissions.period_end = periods.period_end
    left join rates
        on submissions.currency = rates.from_currency
        and least(submissions.period_start, {{ as_of_date() }}) >= rates.valid_from
        and least(submissions.period_start, {{ as_of_date() }}) < rates.valid_to
    where cast(submissions.submitted_at as date) <= periods.last_day
),

submitters as (
    select distinct
        period_type,
        period_start,
        last_day,
        submitter_id
    from called
),

-- Everybody's call is for the whole book below: only the calls of those above whom nobody has called are added.
below as (
    select distinct
        submitters.period_type,
        submitters.period_start,
        submitters.submitter_id
    from submitters
    inner join reporting_lines
        on submitters.submitter_id = reporting_lines.rep_id
        and submitters.last_day >= reporting_lines.valid_from
        and submitters.last_day < reporting_lines.valid_to
    inner join submitters as above
        on reporting_lines.manager_id = above.submitter_id
        and submitters.period_type = above.period_type
        and submitters.period_start = above.period_start
),

top_submitters as (
    select
        submitters.period_type,
        submitters.period_start,
        submitters.submitter_id
    from submitters
    inner join jobs
        on submitters.submitter_id = jobs.rep_id
        and submitters.last_day >= jobs.valid_from
        and (jobs.valid_to is null or submitters.last_day < jobs.valid_to)
    left join below
        on submitters.period_type = below.period_type
        and submitters.period_start = below.period_start
        and submitters.submitter_id = below.submitter_id
    where below.submitter_id is null
),

top_calls as (
    select called.*
    from called
    inner join top_submitters
        on called.period_type = top_submitters.period_type
        and called.period_start = top_submitters.period_start
        and called.submitter_id = top_submitters.submitter_id
),

{%- for name, condition in (('commits', 'true'), ('openings', 'is_opening')) %}
{{ name }} as (
    select
        period_type,
        period_start,
        case when count(amount) = count(*) then sum(amount) end as amount,
        count(*) as submitter_count
    from (
        select * from top_calls
        where {{ condition }}
        qualify row_number() over (
            partition by period_type, period_start, submitter_id order by submitted_at desc, submission_id desc
        ) = 1
    ) as last_calls
    group by period_type, period_start
),
{%- endfor %}

booked as (
    select
        periods.period_type,
        periods.period_start,
        sum(coalesce(reconciled.crm_amount, 0)) as booked_amount,
        count(*) as booked_count,
        count(case when reconciled.status = 'missing_rate' then 1 end) as missing_rate_count
    from periods
    inner join reconciled on reconciled.booked_on between periods.period_start and periods.period_end
    where reconciled.row_type = 'deal'
    group by periods.period_type, periods.period_start
),

-- A document without one of its rates is in no sum.
billed as (
    select
        periods.period_type,
        periods.period_start,
        sum(documents.amount_at_plan) as billed_amount,
        sum(documents.amount - documents.amount_at_plan) as fx_difference,
        sum(case when documents.is_paid then documents.amount_at_plan else 0 end) as paid_amount
    from periods
    inner join reconciled on reconciled.booked_on between periods.period_start and periods.period_end
    inner join documents on reconciled.row_type = documents.row_type and reconciled.row_id = documents.row_id
    where reconciled.row_type = 'deal' and documents.amount is not null and documents.amount_at_plan is not null
    group by periods.period_type, periods.period_start
),

unbooked as (
    select
        periods.period_type,
        periods.period_start,
        sum(documents.amount_at_plan) as unbooked_amount
    from periods
    inner join reconciled on reconciled.booked_on between periods.period_start and periods.period_end
    inner join documents on reconciled.row_type = documents.row_type and reconciled.row_id = documents.row_id
    where reconciled.status in ('missing_in_crm', 'lost_in_crm_but_billed')
    group by periods.period_type, periods.period_start
),

joined as (
    select
        periods.period_type,
        periods.period_start,
        periods.period_end,
        cast(openings.amount as decimal(18, 4)) as opening_commit_amount,
        cast(commits.amount as decimal(18, 4)) as commit_amount,
        cast(coalesce(booked.booked_amount, 0) as decimal(18, 4)) as booked_amount,
        cast(coalesce(billed.billed_amount, 0) as decimal(18, 4)) as billed_amount,
        cast(coalesce(billed.paid_amount, 0) as decimal(18, 4)) as paid_amount,
        cast(coalesce(billed.fx_difference, 0) as decimal(18, 4)) as fx_difference,
        cast(coalesce(unbooked.unbooked_amount, 0) as decimal(18, 4)) as unbooked_amount,
        coalesce(commits.submitter_count, 0) as submitter_count,
        coalesce(booked.booked_count, 0) as booked_count,
        coalesce(booked.missing_rate_count, 0) as missing_rate_count
    from periods
    left join commits on periods.period_type = commits.period_type and periods.period_start = commits.period_start
    left join openings on periods.period_type = openings.period_type and periods.period_start = openings.period_start
    left join booked on periods.period_type = booked.period_type and periods.period_start = booked.period_start
    left join billed on periods.period_type = billed.period_type and periods.period_start = billed.period_start
    left join unbooked on periods.period_type = unbooked.period_type and periods.period_start = unbooked.period_start
),

final as (
    select
        period_type,
        case
            when submitter_count = 0 then 'no commit for the period'
            when commit_amount is null then 'no rate for the commit'
        end as reason,
        opening_commit_amount,
        commit_amount,
        cast(booked_amount - commit_amount as decimal(18, 4)) as commit_to_booked,
        booked_amount,
        cast(billed_amount - booked_amount as decimal(18, 4)) as booked_to_billed,
        billed_amount,
        cast(paid_amount - billed_amount as decimal(18, 4)) as billed_to_paid,
        paid_amount,
        fx_difference,
        unbooked_amount,
        -- Each document is rounded by itself: what is equal to the cent is the same.
        {%- for share, (part, whole) in {
            'booked_share': ('booked_amount', 'commit_amount'),
            'billed_share': ('billed_amount', 'booked_amount'),
            'paid_share': ('paid_amount', 'billed_amount'),
        }.items() %}
        case
            when {{ whole }} != 0 and abs({{ part }} - {{ whole }}) < 0.005 then 1.0
            else cast({{ part }} as double) / nullif(cast({{ whole }} as double), 0)
        end as {{ share }},
        {%- endfor %}
        submitter_count,
        booked_count,
        missing_rate_count,
        period_end <= {{ as_of_date() }} as is_complete,
        period_start,
        period_end,
        {{ as_of_date() }} as as_of_date
    from joined
)

select * from final
