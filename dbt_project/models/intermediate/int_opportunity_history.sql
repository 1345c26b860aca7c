{{ config(materialized=growing(), pre_hook="{{ take_out() }}") }}
{#- docs/opportunity-history.md is the rule. A null is carried along as a word of its own. #}
{#- What a first version says of the time before it: nothing, where these hold. #}
{%- set silent_before = {'stage': 'is_closed', 'forecast_category': 'is_closed', 'is_deleted': 'is_dated'} %}
{%- set nothing = "'(none)'" %}
{%- set fields = {
    'stage': 'stage', 'amount': 'cast(amount as string)', 'currency': 'currency', 'close_date': 'cast(close_date as string)',
    'forecast_category': 'forecast_category', 'owner_id': 'owner_id', 'is_deleted': "case when is_deleted then 'true' else 'false' end",
} %}
with versions as (
    select * from {{ ref('int_opportunity_versions') }}
    where created_at is not null and {{ is_live() }}
),

events as (
    select * from {{ ref('int_opportunity_events') }}
    where
        is_last_of_second
        and {{ is_live() }}
        and field in ('stage', 'amount', 'close_date', 'forecast_category', 'owner_id')
),

stages as (
    select * from {{ ref('core_stages') }}
),

created as (
    select distinct
        opportunity_id,
        created_at
    from versions
),

-- What an extract that no longer has the deal does not say stays as it was.
points as (
    {%- for field, value in fields.items() %}
    select
        opportunity_id,
        '{{ field }}' as field,
        cast(null as string) as value_before,
        {{ value }} as value,
        'version' as source,
        _batch_id as tie,
        {{ silent_before.get(field, 'false') }} as is_silent_before,
        seen_at as since
    from versions
    {%- if field != 'is_deleted' %}
    where _operation = 'upsert'
    {%- endif %}
    union all
    {%- endfor %}
    -- A closed stage was reached when the deal closed, not when somebody last touched it.
    {%- for field in ('stage', 'forecast_category') %}
    select
        opportunity_id,
        '{{ field }}' as field,
        cast(null as string) as value_before,
        {{ field }} as value,
        'version' as source,
        _batch_id as tie,
        true as is_silent_before,
        closed_since as since
    from versions
    where _operation = 'upsert' and closed_since is not null
    union all
    {%- endfor %}
    select
        events.opportunity_id,
        events.field,
        events.value_before,
        events.new_value as value,
        'event' as source,
        events.change_id as tie,
        false as is_silent_before,
        events.changed_at as since
    from events
    inner join created on events.opportunity_id = created.opportunity_id
),

first_points as (
    select * from points
    qualify row_number() over (partition by opportunity_id, field order by since, source, tie) = 1
),

since_created as (
    select
        points.opportunity_id,
        points.field,
        points.value,
        points.source,
        points.tie,
        points.since as said_at,
        greatest(points.since, created.created_at) as since
    from points
    inner join created on points.opportunity_id = created.opportunity_id
    where points.since < {{ end_of_day(as_of_date()) }}
    union all
    select
        first_points.opportunity_id,
        first_points.field,
        case
            when first_points.source = 'event' then first_points.value_before
            when first_points.is_silent_before and first_points.field = 'is_deleted' then 'false'
            when first_points.is_silent_before then null
            else first_points.value
        end as value,
        'before' as source,
        '' as tie,
        cast('1900-01-01' as timestamp) as said_at,
        created.created_at as since
    from first_points
    inner join created on first_points.opportunity_id = created.opportunity_id
),

-- At one moment the last word counts: events before versions, what was before them first.
settled as (
    select
        opportunity_id,
        field,
        value,
        since
    from since_created
    qualify row_number() over (partition by opportunity_id, field, since order by said_at desc, source desc, tie desc) = 1
),

changed as (
    select * from settled
    qualify
        row_number() over (partition by opportunity_id, field order by since) = 1
        or value is distinct from lag(value) over (partition by opportunity_id, field order by since)
),

moments as (
    select
        opportunity_id,
        {%- for field in fields %}
        max(case when field = '{{ field }}' then coalesce(value, {{ nothing }}) end) as {{ field }},
        {%- endfor %}
        since as valid_from
    from changed
    group by opportunity_id, since
),

carried as (
    select
        opportunity_id,
        {%- for field in fields %}
        nullif({{ last_known(field) }} over so_far, {{ nothing }}) as {{ field }},
        {%- endfor %}
        valid_from,
        lead(valid_from) over (partition by opportunity_id order by valid_from) as valid_to
    from moments
    window so_far as (partition by opportunity_id order by valid_from rows between unbounded preceding and current row)
),

typed as (
    select
        carried.opportunity_id,
        carried.stage,
        carried.currency,
        carried.forecast_category,
        carried.owner_id,
        cast(carried.amount as decimal(18, 4)) as amount,
        cast(carried.is_deleted = 'true' as boolean) as is_deleted,
        coalesce(stages.is_open, true) as is_open,
        coalesce(stages.is_won, false) as is_won,
        coalesce(stages.is_lost, false) as is_lost,
        coalesce(stages.is_no_decision, false) as is_no_decision,
        cast(carried.close_date as date) as close_date,
        carried.valid_from,
        carried.valid_to
    from carried
    left join stages on carried.stage = stages.stage
),

turns as (
    select
        typed.*,
        lag(is_open) over (partition by opportunity_id order by valid_from) as was_open,
        lag(is_open and not is_deleted) over (partition by opportunity_id order by valid_from) as was_in_pipeline
    from typed
),

final as (
    select
        opportunity_id,
        stage,
        currency,
        forecast_category,
        owner_id,
        amount,
        cast(
            1 + count(case when is_open and not was_open then 1 end) over (
                partition by opportunity_id order by valid_from rows between unbounded preceding and current row
            ) as bigint
        ) as episode,
        is_deleted,
        is_open,
        is_won,
        is_lost,
        is_no_decision,
        is_open and not is_deleted as is_in_pipeline,
        was_in_pipeline,
        close_date,
        valid_from,
        valid_to
    from turns
)

select * from final
