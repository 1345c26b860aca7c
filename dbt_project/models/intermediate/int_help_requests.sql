{{ config(materialized='table') }}
-- docs/help.md is the rule.
{%- set as_of_end = end_of_day(as_of_date()) %}
{%- set before_window = add_months(as_of_date(), -(policy_constant('help_window_months', 'people_policy') | float | int)) %}
{%- set settled_on = add_days(as_of_date(), -(policy_constant('help_settled_days', 'people_policy') | float | int)) %}
with known_requests as (
    select
        request_id,
        opportunity_id,
        lower(function) as called,
        requested_at,
        assignee_id,
        coalesce(assigned_at, resolved_at) as helped_at,
        resolved_at,
        satisfaction
    from {{ ref('int_support_requests_known') }}
    where not _is_deleted and requested_at < {{ as_of_end }}
),

functions as (
    select * from {{ ref('help_functions') }}
),

deals as (
    select * from {{ ref('opportunities') }}
    where not is_deleted
),

visits as (
    select * from {{ ref('stage_visits') }}
),

calendar as (
    select * from {{ ref('calendar') }}
),

-- What a row says of a later time is not known yet.
cut as (
    select
        known_requests.request_id,
        known_requests.opportunity_id,
        coalesce(functions.function, known_requests.called) as function,
        coalesce(functions.kind, 'service') as kind,
        functions.target_days,
        case when known_requests.helped_at is null or known_requests.helped_at < {{ as_of_end }} then known_requests.assignee_id end
            as assignee_id,
        known_requests.requested_at,
        case when known_requests.helped_at < {{ as_of_end }} then known_requests.helped_at end as helped_at,
        case when known_requests.resolved_at < {{ as_of_end }} then known_requests.resolved_at end as answered_at,
        case
            when known_requests.resolved_at < {{ as_of_end }} and known_requests.satisfaction between 1 and 5
                then known_requests.satisfaction
        end as satisfaction
    from known_requests
    left join functions on known_requests.called = functions.function or known_requests.called = functions.also_called
),

-- A deal that is decided waits for nobody.
placed as (
    select
        cut.*,
        visits.stage,
        visits.entered_at as stage_entered_at,
        visits.exited_at as stage_exited_at,
        case when deals.closed_on >= cast(cut.requested_at as date) then deals.closed_on end as decided_on
    from cut
    left join deals on cut.opportunity_id = deals.opportunity_id
    left join visits
        on cut.opportunity_id = visits.opportunity_id
        and cut.requested_at >= visits.entered_at
        and (visits.exited_at is null or cut.requested_at < visits.exited_at)
),

ends as (
    select
        placed.*,
        cast(requested_at as date) as requested_on,
        case when decided_on is not null then {{ end_of_day('decided_on') }} else {{ as_of_end }} end as waiting_until
    from placed
),

final as (
    select
        ends.request_id,
        ends.opportunity_id,
        ends.function,
        ends.kind,
        cast(ends.target_days as bigint) as target_days,
        ends.assignee_id,
        coalesce(ends.stage, 'no open stage') as stage,
        calendar.quarter_name,
        {%- for name in ('helped', 'answered') %}
        cast(
            greatest(0, ceil(
                {{ second_count('ends.requested_at', 'coalesce(ends.' ~ name ~ '_at, ends.waiting_until)') }} / 3600
            )) as bigint
        ) as {{ name }}_hours,
        ends.{{ name }}_at is not null as is_{{ name }},
        ends.{{ name }}_at is null and ends.decided_on is null as is_{{ name }}_open,
        {%- endfor %}
        cast(ends.satisfaction as bigint) as satisfaction,
        cast({{ second_count('ends.requested_at', as_of_end) }} as double) as age_seconds,
        ends.stage is not null as is_in_stage,
        ends.requested_on > {{ before_window }} as is_in_window,
        calendar.quarter_start > {{ before_window }} as is_in_quarter,
        ends.requested_on <= {{ settled_on }} as is_settled,
        -- Of late requests only the quick answers could be told of a person: who will take on the others is not known.
        ends.assignee_id is not null and ends.requested_on > {{ before_window }} and ends.requested_on <= {{ settled_on }} as is_of_person,
        ends.decided_on,
        ends.requested_at,
        ends.helped_at,
        ends.answered_at,
        ends.stage_entered_at,
        ends.stage_exited_at
    from ends
    left join calendar on ends.requested_on = calendar.day
)

select * from final
