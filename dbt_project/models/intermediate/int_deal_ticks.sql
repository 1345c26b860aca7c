{{ config(materialized=growing(), pre_hook="{{ take_out() }}") }}
-- Everything that happened on a deal that a signal looks at, by when it was known.
with activities as (
    select * from {{ ref('int_activities_known') }}
    where not _is_deleted and {{ is_live() }} and opportunity_id is not null
),

held as (
    select
        activities.*,
        greatest(occurred_at, _known_at) as known_at
    from activities
    where coalesce(is_completed, true) and occurred_at < {{ end_of_day(as_of_date()) }}
),

-- Who held which job when.
helpers as (
    select
        rep_id,
        role,
        cast(valid_from as timestamp) as valid_from,
        cast(valid_to as timestamp) as valid_to
    from {{ ref('reps') }}
    where role in ('specialist', 'executive')
),

history as (
    select * from {{ ref('int_opportunity_history') }}
    where {{ is_live() }}
),

changes as (
    select
        opportunity_id,
        field,
        new_value,
        changed_at
    from {{ ref('int_opportunity_events') }}
    where not is_doubled and not is_unreadable and not is_after and {{ is_live() }}
    union all
    select
        opportunity_id,
        field,
        new_value,
        changed_at
    from {{ ref('int_loaded_changes') }}
    where {{ is_live() }}
),

calendar as (
    select * from {{ ref('calendar') }}
),

visits as (
    select * from {{ ref('stage_visits') }}
    where {{ is_live() }}
),

qualifications as (
    select
        opportunity_id,
        element,
        greatest(assessed_at, _known_at) as known_at
    from {{ ref('int_qualifications_known') }}
    where not _is_deleted and {{ is_live() }} and status in ('claimed', 'verified')
),

named as (
    select
        opportunity_id,
        contact_id,
        buying_role,
        greatest(coalesce(added_at, _known_at), _known_at) as known_at
    from {{ ref('int_opportunity_contacts_known') }}
    where not _is_deleted and {{ is_live() }}
),

-- A buyer takes part by writing, calling or meeting; being copied does not count.
engaged as (
    select
        held.opportunity_id,
        held.contact_id,
        min(held.known_at) as known_at
    from held
    where held.contact_id is not null and (held.direction = 'inbound' or held.activity_type in ('meeting', 'demo'))
    group by held.opportunity_id, held.contact_id
),

-- People at the buyer: named on the deal, or taking part whether named or not.
buyers as (
    select
        opportunity_id,
        contact_id,
        min(known_at) as known_at
    from (
        select
            opportunity_id,
            contact_id,
            known_at
        from named
        union all
        select
            opportunity_id,
            contact_id,
            known_at
        from engaged
    ) as there
    group by opportunity_id, contact_id
),

redated as (
    select
        history.opportunity_id,
        history.close_date,
        history.valid_from,
        history.is_in_pipeline and coalesce(
            lag(history.is_in_pipeline) over (partition by history.opportunity_id order by history.valid_from), false
        ) as is_in_pipeline,
        lag(history.close_date) over (partition by history.opportunity_id order by history.valid_from) as close_date_before
    from history
),

final as (
    -- Whoever meets us has answered, whoever wrote the invitation. The amount is the minutes it took.
    select
        opportunity_id,
        case
            when activity_type in ('meeting', 'demo') and coalesce(direction, 'outbound') != 'internal' then 'meeting'
            when direction = 'inbound' then 'inbound'
            when direction = 'outbound' then 'outbound'
            else 'internal'
        end as kind,
        cast(duration_minutes as double) as amount,
        occurred_at as happened_at,
        known_at
    from held
    union all
    select
        held.opportunity_id,
        'owner_meeting' as kind,
        cast(null as double) as amount,
        held.occurred_at as happened_at,
        held.known_at
    from held
    inner join history
        on held.opportunity_id = history.opportunity_id
        and held.user_id = history.owner_id
        and held.occurred_at >= history.valid_from
        and (history.valid_to is null or held.occurred_at < history.valid_to)
    where held.activity_type in ('meeting', 'demo') and coalesce(held.direction, 'outbound') != 'internal'
    union all
    select
        held.opportunity_id,
        case helpers.role when 'specialist' then 'specialist' else 'executive_outreach' end as kind,
        cast(null as double) as amount,
        held.occurred_at as happened_at,
        held.known_at
    from held
    inner join helpers
        on held.user_id = helpers.rep_id
        and held.occurred_at >= helpers.valid_from
        and (helpers.valid_to is null or held.occurred_at < helpers.valid_to)
    where helpers.role = 'specialist' or (held.direction = 'outbound' and held.activity_type not in ('meeting', 'demo'))
    union all
    select
        opportunity_id,
        'buyer' as kind,
        cast(null as double) as amount,
        known_at as happened_at,
        known_at
    from buyers
    union all
    select
        engaged.opportunity_id,
        'economic_buyer' as kind,
        cast(null as double) as amount,
        greatest(engaged.known_at, named.known_at) as happened_at,
        greatest(engaged.known_at, named.known_at) as known_at
    from engaged
    inner join named
        on engaged.opportunity_id = named.opportunity_id
        and engaged.contact_id = named.contact_id
    where named.buying_role = 'economic_buyer'
    union all
    -- A push goes past the end of a fiscal quarter.
    select
        redated.opportunity_id,
        case when calendar.quarter_end < redated.close_date then 'push' else 'delay' end as kind,
        cast({{ day_count('redated.close_date_before', 'redated.close_date') }} as double) as amount,
        redated.valid_from as happened_at,
        redated.valid_from as known_at
    from redated
    inner join calendar on redated.close_date_before = calendar.day
    where redated.close_date > redated.close_date_before and redated.is_in_pipeline
    union all
    select
        opportunity_id,
        case field when 'owner_id' then 'new_owner' else 'next_step' end as kind,
        cast(null as double) as amount,
        changed_at as happened_at,
        changed_at as known_at
    from changes
    where field in ('owner_id', 'next_step')
    union all
    -- Where there are no change events the row says when the next step was last agreed.
    select distinct
        opportunity_id,
        'next_step' as kind,
        cast(null as double) as amount,
        next_step_updated_at as happened_at,
        next_step_updated_at as known_at
    from {{ ref('int_opportunities_versions') }}
    where next_step_updated_at < {{ end_of_day(as_of_date()) }} and {{ is_live() }}
    union all
    -- Named while the deal was open: what is written down with the end tells who won.
    select
        changes.opportunity_id,
        'competitor' as kind,
        cast(null as double) as amount,
        changes.changed_at as happened_at,
        changes.changed_at as known_at
    from changes
    inner join history
        on changes.opportunity_id = history.opportunity_id
        and changes.changed_at >= history.valid_from
        and (history.valid_to is null or changes.changed_at < history.valid_to)
    where changes.field = 'competitor' and changes.new_value is not null and history.is_in_pipeline
    union all
    select
        opportunity_id,
        'regression' as kind,
        cast(step as double) as amount,
        exited_at as happened_at,
        exited_at as known_at
    from visits
    where
        step < 0
        or step >= (
            select cast(max(signals.minimum) as bigint) from {{ ref('signals') }} as signals
            where signals.signal = 'regression'
        )
    union all
    select
        opportunity_id,
        'competitor_answered' as kind,
        cast(null as double) as amount,
        known_at as happened_at,
        known_at
    from qualifications
    where element = 'competition'
)

select * from final
