{#- What people in a job do on a deal that is not theirs. -#}
{%- set functions = {
    'account_executive': 'peer', 'account_manager': 'peer', 'development_rep': 'sourcing', 'customer_success': 'customer_success',
    'specialist': 'specialist', 'manager': 'manager', 'executive': 'executive', 'sales_ops': 'sales_ops', 'product': 'product',
} %}
{{ config(materialized=growing(), pre_hook="{{ take_out(has_as_of_date=true) }}") }}
with deals as (
    select * from {{ ref('opportunities') }}
    where not is_deleted and {{ is_live() }}
),

history as (
    select * from {{ ref('int_opportunity_history') }}
    where {{ is_live() }}
),

reps as (
    select * from {{ ref('reps') }}
),

team as (
    select * from {{ ref('int_opportunity_team_known') }}
    where not _is_deleted and {{ is_live() }} and coalesce(joined_at < {{ end_of_day(as_of_date()) }}, true)
),

requests as (
    select * from {{ ref('int_support_requests_known') }}
    where not _is_deleted and {{ is_live() }} and opportunity_id is not null and assignee_id is not null
),

-- A manager who coaches the seller is not on the deal.
activities as (
    select * from {{ ref('int_activities_known') }}
    where
        not _is_deleted
        and {{ is_live() }}
        and opportunity_id is not null
        and user_id is not null
        and coalesce(purpose, 'sell') != 'coaching'
        and coalesce(is_completed, true)
        and occurred_at < {{ end_of_day(as_of_date()) }}
),

owners as (
    select
        opportunity_id,
        owner_id as user_id,
        min(valid_from) as joined_at,
        case when count(*) = count(valid_to) then max(valid_to) end as left_at
    from history
    where owner_id is not null
    group by opportunity_id, owner_id
    union all
    select
        deals.opportunity_id,
        deals.owner_id as user_id,
        cast(null as timestamp) as joined_at,
        cast(null as timestamp) as left_at
    from deals
    where deals.owner_id is not null and deals.opportunity_id not in (select history.opportunity_id from history)
),

members as (
    select
        opportunity_id,
        user_id,
        lower(team_role) as function,
        joined_at,
        case when left_at < {{ end_of_day(as_of_date()) }} then left_at end as left_at
    from team
),

-- A request is help from when somebody took it on.
answered as (
    select
        opportunity_id,
        assignee_id as user_id,
        lower(function) as function,
        coalesce(assigned_at, resolved_at) as joined_at
    from requests
    where coalesce(assigned_at, resolved_at) < {{ end_of_day(as_of_date()) }}
),

-- What the organisation says a person is on the deal for goes before what follows from the job.
named_for as (
    select
        opportunity_id,
        user_id,
        function
    from members
    where function != 'owner'
    qualify row_number() over (partition by opportunity_id, user_id order by joined_at nulls last, function) = 1
),

held as (
    select
        activities.opportunity_id,
        activities.user_id,
        case
            when activities.user_id = coalesce(history.owner_id, deals.owner_id) then 'owner'
            when named_for.function is not null then named_for.function
            {%- for role, function in functions.items() %}
            when reps.role = '{{ role }}' then '{{ function }}'
            {%- endfor %}
            else 'other'
        end as function,
        activities.occurred_at
    from activities
    inner join deals on activities.opportunity_id = deals.opportunity_id
    left join history
        on activities.opportunity_id = history.opportunity_id
        and activities.occurred_at >= history.valid_from
        and (history.valid_to is null or activities.occurred_at < history.valid_to)
    left join named_for
        on activities.opportunity_id = named_for.opportunity_id
        and activities.user_id = named_for.user_id
    left join reps
        on activities.user_id = reps.rep_id
        and cast(activities.occurred_at as date) >= reps.valid_from
        and (reps.valid_to is null or cast(activities.occurred_at as date) < reps.valid_to)
),

-- An owner is on the deal by owning it, whatever was noted before.
engagements as (
    select
        opportunity_id,
        user_id,
        'owner' as function,
        'ownership' as evidence,
        joined_at,
        left_at,
        cast(null as timestamp) as active_at
    from owners
    union all
    select
        opportunity_id,
        user_id,
        function,
        'team row' as evidence,
        joined_at,
        left_at,
        cast(null as timestamp) as active_at
    from members
    union all
    select
        opportunity_id,
        user_id,
        function,
        'request' as evidence,
        joined_at,
        cast(null as timestamp) as left_at,
        cast(null as timestamp) as active_at
    from answered
    union all
    select
        opportunity_id,
        user_id,
        function,
        'activity' as evidence,
        case when function != 'owner' then occurred_at end as joined_at,
        cast(null as timestamp) as left_at,
        occurred_at as active_at
    from held
),

joined as (
    select
        opportunity_id,
        user_id,
        function,
        min(joined_at) as joined_at,
        -- Whether an owner has left is what the deal's history says; of help without a team row nobody says when it ended.
        case
            when count(case when evidence = 'ownership' then 1 end) > 0 then max(case when evidence = 'ownership' then left_at end)
            when count(case when evidence = 'team row' and left_at is null then 1 end) = 0 then max(left_at)
        end as left_at,
        concat_ws(
            ', ',
            max(case when evidence = 'ownership' then evidence end),
            max(case when evidence = 'team row' then evidence end),
            max(case when evidence = 'request' then evidence end),
            max(case when evidence = 'activity' then evidence end)
        ) as evidence,
        count(active_at) as activity_count,
        max(active_at) as last_active_at
    from engagements
    group by opportunity_id, user_id, function
),

-- Who was there before the deal was created is on it from its first stage.
begun as (
    select
        opportunity_id,
        min(valid_from) as began_at
    from history
    group by opportunity_id
),

names as (
    select
        rep_id,
        max(name) as name
    from reps
    group by rep_id
),

final as (
    select
        joined.opportunity_id,
        joined.user_id,
        joined.function,
        coalesce(names.name, joined.user_id) as name,
        joined.evidence,
        history.stage as stage_at_join,
        cast({{ day_count('deals.created_on', 'cast(joined.joined_at as date)') }} as bigint) as days_from_creation,
        joined.activity_count,
        coalesce(joined.function = 'owner' and joined.user_id = deals.owner_id, false) as is_owner_now,
        cast(joined.joined_at as date) as joined_on,
        cast(joined.left_at as date) as left_on,
        cast(joined.last_active_at as date) as last_active_on,
        {{ as_of_date() }} as as_of_date
    from joined
    inner join deals on joined.opportunity_id = deals.opportunity_id
    left join begun on joined.opportunity_id = begun.opportunity_id
    left join history
        on joined.opportunity_id = history.opportunity_id
        and greatest(joined.joined_at, begun.began_at) >= history.valid_from
        and (history.valid_to is null or greatest(joined.joined_at, begun.began_at) < history.valid_to)
        and joined.joined_at is not null
    left join names on joined.user_id = names.rep_id
)

select * from final
