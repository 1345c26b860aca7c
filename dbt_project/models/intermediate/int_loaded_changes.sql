{{ config(materialized=growing(), pre_hook="{{ take_out() }}") }}
{#- docs/opportunity-history.md is the rule. -#}
{%- set fields = {
    'stage': 'stage', 'amount': 'cast(amount as string)', 'close_date': 'cast(close_date as string)',
    'forecast_category': 'forecast_category', 'owner_id': 'owner_id', 'competitor': 'competitor', 'next_step': 'next_step',
} %}
{%- set closing = ['stage', 'forecast_category'] %}
with versions as (
    select * from {{ ref('int_opportunity_versions') }}
    where _operation = 'upsert' and {{ is_live() }}
),

successive as (
    select
        opportunity_id,
        _source,
        _batch_id,
        _extracted_at,
        seen_at,
        coalesce(closed_since, seen_at) as staged_at,
        row_number() over deal > 1 as has_before,
        {%- for field, value in fields.items() %}
        {{ value }} as {{ field }},
        lag({{ value }}) over deal as {{ field }}_before{{ ',' if not loop.last }}
        {%- endfor %}
    from versions
    window deal as (partition by opportunity_id order by _extracted_at, _batch_id)
),

changes as (
    {%- for field in fields %}
    select
        opportunity_id,
        '{{ field }}' as field,
        {{ field }}_before as old_value,
        {{ field }} as new_value,
        _source,
        _batch_id,
        _extracted_at,
        {{ 'staged_at' if field in closing else 'seen_at' }} as changed_at
    from successive
    where has_before and {{ field }} is distinct from {{ field }}_before
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

-- Events tell more than loads, from the first on.
first_events as (
    select
        _source,
        field,
        min(changed_at) as first_event_at
    from {{ ref('int_opportunity_changes_versions') }}
    group by _source, field
),

-- A field that comes to be delivered has not changed on every deal that day.
first_values as (
    {%- for field, value in fields.items() %}
    select
        _source,
        '{{ field }}' as field,
        min(_extracted_at) as first_told_at
    from {{ ref('int_opportunities_versions') }}
    where {{ field }} is not null
    group by _source
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

final as (
    select
        changes.opportunity_id,
        changes.field,
        changes.old_value,
        changes.new_value,
        changes._source,
        changes._batch_id,
        changes.changed_at
    from changes
    inner join first_values
        on changes._source = first_values._source
        and changes.field = first_values.field
        and changes._extracted_at > first_values.first_told_at
    left join first_events
        on changes._source = first_events._source
        and changes.field = first_events.field
    where first_events.first_event_at is null or changes.changed_at < first_events.first_event_at
)

select * from final
