{{ config(materialized='table') }}
{%- set quarters = policy_constant('diagnosis_quarters', 'people_policy') | float | int %}
{%- set evidence_quarters = policy_constant('diagnosis_evidence_quarters', 'people_policy') | float | int %}
{%- set ramp_months = policy_constant('diagnosis_ramp_months', 'people_policy') | float | int %}
with reps as (
    select * from {{ ref('reps') }}
),

activities as (
    select * from {{ ref('int_activities_known') }}
    where direction = 'outbound' and coalesce(is_completed, true) and not _is_deleted
),

opportunities as (
    select * from {{ ref('opportunities') }}
    where not is_deleted
),

quarters as (
    select
        quarter_start,
        quarter_end,
        row_number() over (order by quarter_start desc) as quarters_back
    from (select distinct quarter_start, quarter_end from {{ ref('calendar') }}) as fiscal_quarters
    where quarter_end <= {{ as_of_date() }}
),

spans as (
    select
        max(case when quarters_back = {{ quarters }} then quarter_start end) as window_start,
        max(quarter_end) as window_end,
        min(case when quarters_back <= {{ evidence_quarters }} then quarter_start end) as record_start
    from quarters
),

jobs_now as (
    select
        rep_id,
        role,
        coalesce(segment, '') as segment
    from reps
    where is_current
),

-- Days of which nothing is on record are nobody's record: who has been there for longer would seem to have done less.
done as (
    select
        'activity' as kind,
        cast(occurred_at as date) as day
    from activities
    union all
    select
        'opened' as kind,
        created_on as day
    from opportunities
),

daily as (
    select
        kind,
        day,
        count(*) as done_count
    from done
    where day <= {{ as_of_date() }}
    group by kind, day
),

done_so_far as (
    select
        kind,
        day,
        sum(done_count) over (partition by kind order by day) as done_count,
        sum(done_count) over (partition by kind) as total
    from daily
),

kinds as (
    select
        kind,
        min(day) as history_from
    from done_so_far
    where done_count >= total * {{ people_policy('diagnosis_history_share') }}
    group by kind
),

histories as (
    select
        max(case when kind = 'opened' then history_from end) as deals_from,
        max(case when kind = 'activity' then history_from end) as work_from
    from kinds
),

-- Another job or segment ends what came before it.
other_jobs as (
    select
        reps.rep_id,
        max(reps.valid_to) as other_until
    from reps
    inner join jobs_now on reps.rep_id = jobs_now.rep_id
    where reps.role != jobs_now.role or coalesce(reps.segment, '') != jobs_now.segment
    group by reps.rep_id
),

jobs as (
    select
        reps.rep_id,
        min(reps.valid_from) as since_on
    from reps
    left join other_jobs on reps.rep_id = other_jobs.rep_id
    where other_jobs.other_until is null or reps.valid_from >= other_jobs.other_until
    group by reps.rep_id
),

sellers as (
    select
        reps.rep_id as seller_id,
        reps.name as seller_name,
        reps.role,
        reps.manager_id,
        reps.manager_name,
        reps.region,
        reps.segment,
        {{ add_months('greatest(jobs.since_on, coalesce(reps.hired_on, jobs.since_on))', ramp_months) }} as ramped_on
    from reps
    inner join jobs on reps.rep_id = jobs.rep_id
    where
        reps.is_current
        -- Whoever begins later is none on the day.
        and reps.valid_from <= {{ as_of_date() }}
        and reps.terminated_on is null
        and reps.role in ('account_executive', 'account_manager', 'development_rep')
),

final as (
    select
        sellers.*,
        spans.window_start is not null and sellers.ramped_on <= spans.window_start as is_ramped,
        case
            when spans.window_start is null then 'not enough history'
            when sellers.ramped_on <= spans.window_start then null
            when sellers.ramped_on > {{ as_of_date() }} then 'still ramping'
            else 'not ramped for the whole window'
        end as window_reason,
        spans.window_start,
        spans.window_end,
        greatest(spans.record_start, sellers.ramped_on, coalesce(histories.deals_from, sellers.ramped_on)) as record_start,
        greatest(
            spans.record_start, sellers.ramped_on,
            coalesce(histories.deals_from, sellers.ramped_on), coalesce(histories.work_from, sellers.ramped_on)
        ) as work_start
    from sellers
    cross join spans
    cross join histories
)

select * from final
