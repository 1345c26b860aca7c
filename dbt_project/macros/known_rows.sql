{# Every version of the rows of a contract entity over all sources of the run that was known at the end of the as-of date, its ids
   as docs/several-sources.md rules. An entity no source delivers is a typed relation without rows. `with_backfill` adds what the
   first load tells of the days after the as-of date: it says what a field was before. `as_entered` tells accounts as if none stood for
   another, and all that was ever known of them. #}
{% macro known_versions(entity, with_backfill=false, as_entered=false) -%}
    {%- set account_references = [] -%}
    {%- if execute -%}
        {%- set contract = contract_of(entity) -%}
        {%- set columns = contract.columns.values() | list -%}
        {%- for column in columns if column.config.meta.references == 'accounts' and not as_entered -%}
            {%- do account_references.append(column.name) -%}
        {%- endfor -%}
    {%- endif -%}
    {%- set stands_for = ref('int_account_crosswalk') if not as_entered -%}
    {%- set is_united = entity == 'accounts' and not as_entered -%}
    {%- set staged = {} -%}
    {%- for source_name in var('sources') if entity in var('source_entities')[source_name] -%}
        {%- do staged.update({source_name: ref('stg_' ~ source_name ~ '__' ~ entity)}) -%}
    {%- endfor -%}
    {#- ref() must be seen while dbt parses; without a source of this run the extract's own shape gives the types. -#}
    {%- set shape = ref('stg_extract__' ~ entity) -%}
    {%- set told_before = [] -%}
    {%- for source_name, relation in (staged or {'extract': shape}).items() %}
    {%- set delivered = adapter.get_columns_in_relation(relation) | map(attribute='name') | list if execute else [] %}
    select
        {%- for column in columns %}
        {%- set value = qualified_column('staged', column, entity, source_name) if column.name in delivered %}
        {%- if column.name not in delivered %}
        cast(null as {{ sql_type(column.data_type) }}) as {{ column.name }},
        {%- elif column.name in account_references and is_united %}
        {#- What belonged to an account that stands for it would belong to itself. #}
        case
            when united_{{ column.name }}.into_account_id is null then {{ value }}
            else nullif(united_{{ column.name }}.into_account_id, {{ qualified('staged.account_id', 'accounts', source_name) }})
        end as {{ column.name }},
        {%- elif column.name in account_references %}
        coalesce(united_{{ column.name }}.into_account_id, {{ value }}) as {{ column.name }},
        {%- else %}
        {{ value }}{{ ' as ' ~ column.name if value != 'staged.' ~ column.name }},
        {%- endif %}
        {%- endfor %}
        staged._source,
        staged._batch_id,
        staged._operation,
        staged._extracted_at,
        staged._known_at
    from {{ relation }} as staged
    {%- for name in account_references if name in delivered %}
    left join {{ stands_for }} as united_{{ name }}
        on
            united_{{ name }}.account_id = {{ qualified_column('staged', contract.columns[name], entity, source_name) }}
            and united_{{ name }}.problem is null
    {%- endfor %}
    {%- if is_united %}
    left join {{ stands_for }} as united
        on united.account_id = {{ qualified('staged.account_id', 'accounts', source_name) }} and united.problem is null
    {%- endif %}
    where
        {{ is_known('staged', with_backfill) if not as_entered else 'true' }}
        {{- ' and false' if not staged }}
        {{- ' and united.account_id is null' if is_united }}
        {%- for earlier in told_before if execute and not own_id_of(entity) %}
        and not exists (
            select 1 from {{ staged[earlier] }} as earlier
            where
                {{ is_known('earlier', with_backfill) }}
                {%- for key in keys_of(entity) %}
                and {{ qualified_column('earlier', contract.columns[key], entity, earlier) }}
                    = {{ qualified_column('staged', contract.columns[key], entity, source_name) }}
                {%- endfor %}
        )
        {%- endfor %}
    {{ 'union all' if not loop.last }}
    {%- do told_before.append(source_name) -%}
    {%- endfor %}
{%- endmacro %}

{% macro is_known(relation, with_backfill) -%}
    (cast({{ relation }}._known_at as date) <= {{ as_of_date() }}
    {{- ' or ' ~ relation ~ '._known_at < ' ~ relation ~ '._extracted_at' if with_backfill }})
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
