{# Every version of the rows of a contract entity over all sources of the run that was known at the end of the as-of date.
   An entity no source delivers is a typed relation without rows. `with_backfill` adds what the first load tells of the days after
   the as-of date: it says what a field was before. #}
{% macro known_versions(entity, with_backfill=false) -%}
    {%- if execute -%}
        {%- set contract = contract_of(entity) -%}
        {%- set columns = contract.columns.values() | map(attribute='name') | list -%}
    {%- endif -%}
    {%- set staged = [] -%}
    {%- for source_name in var('sources') if entity in var('source_entities')[source_name] -%}
        {%- do staged.append(ref('stg_' ~ source_name ~ '__' ~ entity)) -%}
    {%- endfor -%}
    {#- ref() must be seen while dbt parses; without a source of this run the extract's own shape gives the types. -#}
    {%- set shape = ref('stg_extract__' ~ entity) -%}
    {%- for relation in (staged or [shape]) %}
    {%- set delivered = adapter.get_columns_in_relation(relation) | map(attribute='name') | list if execute else [] %}
    select
        {%- for column in columns %}
        {{ column if column in delivered else 'cast(null as ' ~ sql_type(contract.columns[column].data_type) ~ ') as ' ~ column }},
        {%- endfor %}
        _source,
        _batch_id,
        _operation,
        _extracted_at,
        _known_at
    from {{ relation }}
    where (cast(_known_at as date) <= {{ as_of_date() }}{{ ' or _known_at < _extracted_at' if with_backfill }}){{ ' and false' if not staged }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
{%- endmacro %}

{# An entity as the extract contract declares it. #}
{% macro contract_of(entity) -%}
    {{ return(graph.sources.values() | selectattr('source_name', 'equalto', 'extract') | selectattr('name', 'equalto', entity) | first) }}
{%- endmacro %}

{# The columns of its key. #}
{% macro keys_of(entity) -%}
    {%- set keys = [] -%}
    {%- if execute -%}
        {%- for column in contract_of(entity).columns.values() if column.config.meta.get('is') == 'key' -%}
            {%- do keys.append(column.name) -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return(keys) }}
{%- endmacro %}

{# Keys of which a version has become known since the last build. #}
{% macro has_new_version(entity) -%}
    {%- set keys = keys_of(entity) -%}
    ({{ keys | join(', ') }}) in (
        select ({{ keys | join(', ') }}) from ({{ known_versions(entity) }}) as new_versions
        where {{ is_newly_known() }}
    )
{%- endmacro %}

{# One row per key of a contract entity over all sources of the run: the newest version known at the end of the as-of date.
   A deleted row keeps its last values and says so in `_is_deleted`. Where the model grows, only keys that have a new version. #}
{% macro known_rows(entity) -%}
    {%- set keys = keys_of(entity) -%}
    {%- if execute -%}
        {%- set columns = contract_of(entity).columns.values() | map(attribute='name') | list -%}
    {%- endif -%}

with versions as (
    {%- if is_increment() %}
    select * from ({{ known_versions(entity) }}) as every_version
    where {{ has_new_version(entity) }}
    {%- else %}
    {{- known_versions(entity) }}
    {%- endif %}
),

latest as (
    select * from versions
    where _operation = 'upsert'
    qualify row_number() over (partition by {{ keys | join(', ') }} order by _known_at desc, _batch_id desc) = 1
),

deletions as (
    select
        {{ keys | join(', ') }},
        max(_known_at) as _deleted_at
    from versions
    where _operation = 'delete'
    group by {{ keys | join(', ') }}
),

final as (
    select
        {%- for column in columns %}
        latest.{{ column }},
        {%- endfor %}
        latest._source,
        latest._known_at,
        coalesce(deletions._deleted_at >= latest._known_at, false){{ ' or coalesce(latest.is_deleted, false)' if 'is_deleted' in columns }} as _is_deleted
    from latest
    left join deletions
        on {% for key in keys %}{{ 'and ' if not loop.first }}latest.{{ key }} = deletions.{{ key }} {% endfor %}
)

select * from final
{%- endmacro %}
