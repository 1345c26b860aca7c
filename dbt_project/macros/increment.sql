{# Whether a model that grows tells only what may have changed since the last build; else it is told from the beginning.
   A run sets `last_as_of_date` when the last build can be built on (orchestration/warehouse/increment.py). #}
{% macro is_increment() -%}
    {{ return(told('last_as_of_date') is not none and is_incremental()) }}
{%- endmacro %}

{# The same for a table that is made in whole each time and looks at what the last build left. #}
{% macro builds_on_the_last() -%}
    {{ return(execute and told('last_as_of_date') is not none and not should_full_refresh()) }}
{%- endmacro %}

{# The day the last build was told for. #}
{% macro last_as_of_date() -%}
    cast('{{ told("last_as_of_date") or "1900-01-01" }}' as date)
{%- endmacro %}

{# Only deals that are told anew. #}
{% macro is_live(column='opportunity_id') -%}
    {#- dbt sees what a model stands on while it parses. #}
    {%- if is_increment() or not execute -%}
        {{ column }} in (select live_deals.opportunity_id from {{ ref('int_live_deals') }} as live_deals)
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}

{# Takes out of a table that grows the rows that are told anew: those of live deals where nothing else is said. A mart's day is moved on.
   A build that cannot stand on the last one takes out everything. #}
{% macro take_out(condition=none, has_as_of_date=false) -%}
    {%- if is_increment() -%}
        delete from {{ this }} where {{ condition or is_live() }};
        {%- if has_as_of_date %}
        update {{ this }} set as_of_date = {{ as_of_date() }} where as_of_date != {{ as_of_date() }};
        {%- endif -%}
    {%- elif is_incremental() -%}
        delete from {{ this }}
    {%- endif -%}
{%- endmacro %}

{# A table as the last build left it, read before this one makes it again: no ref, the dependency is the other way round. #}
{% macro last_built(schema, table) -%}
    {{ api.Relation.create(database=target.database, schema=schema, identifier=table) }}
{%- endmacro %}

{# Whether a version of a row was not part of the last build: its batch is new, or it was not known yet. #}
{% macro is_newly_known() -%}
    (
        cast(_known_at as date) > {{ last_as_of_date() }}
        {%- for batch in told('new_batches') %}
        or _batch_id = '{{ batch }}'
        {%- endfor %}
    )
{%- endmacro %}

{# Whether it was not, or speaks of a later day than the last build. #}
{% macro is_new(entity) -%}
    (
        {{ is_newly_known() }}
        {%- if execute %}
        {%- for column in contract_of(entity).columns.values() if column.data_type in ('date', 'timestamp') %}
        or coalesce(cast({{ column.name }} as date) > {{ last_as_of_date() }}, false)
        {%- endfor %}
        {%- endif %}
    )
{%- endmacro %}

{# Days of a quarter that has ended stay as week ends and month ends alone. #}
{% macro is_day_of_ended_quarter() -%}
    (
        not is_week_end and not is_month_end
        and snapshot_date < (select today.quarter_start from {{ ref('calendar') }} as today where today.day = {{ as_of_date() }})
    )
{%- endmacro %}

{# A review that is held against another norm than in the last build, or is of a deal that is told anew. #}
{% macro is_live_review(months='int_live_months', day='snapshot_date') -%}
    {%- if is_increment() or not execute -%}
        (
            {{ is_live() }}
            or {{ day }} in (
                select days.day from {{ ref('calendar') }} as days
                inner join {{ ref(months) }} as live_months on days.month_start = live_months.month_start
            )
        )
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}
