-- Tasks, logged calls and emails, and calendar events. Copies of an event for its guests and the master of a series are none.
with tasks as (
    select
        landed.*,
        {{ contract_word('salesforce', 'Task', 'Type', 'activities', 'activity_type') }} as entered_type,
        case
            when TaskSubtype in ('Email', 'ListEmail') then 'email'
            when TaskSubtype = 'Call' then 'call'
            else 'task'
        end as usual_type,
        coalesce({{ repaired('salesforce', 'Task', 'direction') }}, lower(CallType)) as told_direction,
        {{ repaired('salesforce', 'Task', 'purpose') }} as told_purpose,
        cast(floor(cast(CallDurationInSeconds as double) / 60 + 0.5) as bigint) as duration_minutes,
        {{ is_true('IsClosed') }} as told_completed,
        cast(substr(ActivityDate, 1, 10) as date) as due_on,
        cast(CompletedDateTime as timestamp) as done_at
    from {{ source('salesforce', 'Task') }} as landed
    where not coalesce({{ is_true('IsRecurrence') }}, false)
),

-- A call or an email that was entered days later was on the day it says; the day is the user's, the time is UTC.
dated_tasks as (
    select
        tasks.*,
        case
            when
                usual_type in ('email', 'call')
                and abs({{ day_count('due_on', 'cast(done_at as date)') }}) > 1
                then cast(due_on as timestamp)
            when told_completed then coalesce(done_at, cast(due_on as timestamp), cast(CreatedDate as timestamp))
            else coalesce(cast(due_on as timestamp), cast(CreatedDate as timestamp))
        end as occurred_at
    from tasks
),

events as (
    select
        landed.*,
        {{ contract_word('salesforce', 'Event', 'Type', 'activities', 'activity_type') }} as entered_type,
        'meeting' as usual_type,
        {{ repaired('salesforce', 'Event', 'direction') }} as told_direction,
        {{ repaired('salesforce', 'Event', 'purpose') }} as told_purpose,
        cast(cast(DurationInMinutes as decimal(18, 4)) as bigint) as duration_minutes,
        coalesce({{ is_true('is_completed') }}, true) as told_completed,
        coalesce(cast(StartDateTime as timestamp), cast(ActivityDate as timestamp)) as occurred_at
    from {{ source('salesforce', 'Event') }} as landed
    where not coalesce({{ is_true('IsRecurrence') }}, false) and not coalesce({{ is_true('IsChild') }}, false)
),

final as (
    {%- for rows in ('dated_tasks', 'events') %}
    select
        Id as activity_id,
        coalesce(entered_type, usual_type) as activity_type,
        told_direction as direction,
        told_purpose as purpose,
        OwnerId as user_id,
        coalesce(AccountId, case when WhatId like '001%' then WhatId end) as account_id,
        case when WhatId like '006%' then WhatId end as opportunity_id,
        case when WhoId like '003%' then WhoId end as contact_id,
        occurred_at,
        duration_minutes,
        told_completed as is_completed,
        _batch_id,
        _operation,
        _extracted_at,
        _known_at
    from {{ rows }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
)

select
    activity_id,
    activity_type,
    direction,
    purpose,
    user_id,
    account_id,
    opportunity_id,
    contact_id,
    occurred_at,
    duration_minutes,
    is_completed,
    {{ load_columns('salesforce') }}
from final
