-- An engagement on several deals, companies or contacts counts once, with the first of each.
with associations as (
    select
        from_id as id,
        to_type,
        to_id,
        category,
        typeid,
        _operation,
        _batch_id,
        _extracted_at
    from {{ source('hubspot', 'associations') }}
    where from_type in ('calls', 'emails', 'meetings', 'tasks')
),

calls as (
    select
        id,
        'call' as activity_type,
        lower(hs_call_direction) as direction,
        purpose,
        hubspot_owner_id as user_id,
        cast(hs_timestamp as timestamp) as occurred_at,
        -- In milliseconds.
        cast(floor(cast(hs_call_duration as double) / 60000) as bigint) as duration_minutes,
        coalesce(hs_call_status, 'COMPLETED') = 'COMPLETED' as is_completed,
        {{ load_columns('hubspot') }}
    from ({{ landed_with('hubspot', 'calls', 'associations') }}) as landed
),

emails as (
    select
        id,
        'email' as activity_type,
        {{ contract_word('hubspot', 'emails', 'hs_email_direction', 'activities', 'direction') }} as direction,
        purpose,
        hubspot_owner_id as user_id,
        cast(hs_timestamp as timestamp) as occurred_at,
        cast(null as bigint) as duration_minutes,
        coalesce(hs_email_status, 'SENT') = 'SENT' as is_completed,
        {{ load_columns('hubspot') }}
    from ({{ landed_with('hubspot', 'emails', 'associations') }}) as landed
),

meetings as (
    select
        id,
        case when {{ repaired('hubspot', 'meetings', 'hs_activity_type') }} = 'demo' then 'demo' else 'meeting' end as activity_type,
        direction,
        purpose,
        hubspot_owner_id as user_id,
        cast(coalesce(hs_meeting_start_time, hs_timestamp) as timestamp) as occurred_at,
        cast(floor(
            {{ second_count('cast(hs_meeting_start_time as timestamp)', 'cast(hs_meeting_end_time as timestamp)') }} / 60
        ) as bigint) as duration_minutes,
        hs_meeting_outcome = 'COMPLETED' as is_completed,
        {{ load_columns('hubspot') }}
    from ({{ landed_with('hubspot', 'meetings', 'associations') }}) as landed
),

tasks as (
    select
        id,
        'task' as activity_type,
        direction,
        purpose,
        hubspot_owner_id as user_id,
        cast(hs_timestamp as timestamp) as occurred_at,
        cast(null as bigint) as duration_minutes,
        hs_task_status = 'COMPLETED' as is_completed,
        {{ load_columns('hubspot') }}
    from ({{ landed_with('hubspot', 'tasks', 'associations') }}) as landed
),

engagements as (
    select * from calls
    union all
    select * from emails
    union all
    select * from meetings
    union all
    select * from tasks
),

records as (
    {{ associated_with('engagements', 'associations', {'account_id': 'companies', 'opportunity_id': 'deals', 'contact_id': 'contacts'}) }}
)

select
    engagements.id as activity_id,
    engagements.activity_type,
    engagements.direction,
    engagements.purpose,
    engagements.user_id,
    records.account_id,
    records.opportunity_id,
    records.contact_id,
    engagements.occurred_at,
    engagements.duration_minutes,
    engagements.is_completed,
    engagements._source,
    engagements._batch_id,
    engagements._operation,
    engagements._extracted_at,
    engagements._known_at
from engagements
left join records on engagements.id = records.id and engagements._batch_id = records._batch_id
