{# What staging needs where rows of one landed table say something about rows of another. #}

{# The newest version of each row of a landed table that is known at the end of the as-of date. A row that is gone says so in `_operation`,
   or keeps its last values with `keeps_deleted`. What the first load tells of later days is there, as in known_versions(). #}
{% macro landed_as_known(source_name, table_name, keeps_deleted=false) -%}
    select * from {{ source(source_name, table_name) }}
    where
        (cast(_known_at as date) <= {{ as_of_date() }} or _known_at < _extracted_at)
        {%- if keeps_deleted %}
        and _operation = 'upsert'
        {%- endif %}
    qualify row_number() over (
        partition by {{ landed_columns(source_name, table_name, keys_only=true) | join(', ') }} order by _known_at desc, _batch_id desc
    ) = 1
{%- endmacro %}

{# Every version of the rows of a landed table, and one of each moment at which another table told something about a row: `changes` is a
   relation of `id`, batch and extract. #}
{% macro landed_with(source_name, table_name, changes) -%}
    select
        {%- for column in landed_columns(source_name, table_name) %}
        {{ column }},
        {%- endfor %}
        _batch_id,
        _operation,
        _extracted_at,
        case when row_batch_id = _batch_id then _known_at else greatest(_known_at, _extracted_at) end as _known_at
    from (
        select
            {%- for column in landed_columns(source_name, table_name) %}
            own.{{ column }},
            {%- endfor %}
            own._batch_id as row_batch_id,
            own._operation,
            own._known_at,
            moments._batch_id,
            moments._extracted_at,
            row_number() over (partition by moments.id, moments._batch_id order by own._batch_id desc) as place
        from (
            select id, _batch_id, _extracted_at from {{ source(source_name, table_name) }}
            union
            select id, _batch_id, _extracted_at from {{ changes }}
        ) as moments
        inner join {{ source(source_name, table_name) }} as own on moments.id = own.id and own._batch_id <= moments._batch_id
    ) as versions
    -- A row that is gone says so once.
    where place = 1 and (_operation = 'upsert' or row_batch_id = _batch_id)
{%- endmacro %}

{# The records that the versions of `landed` were associated with, each by its table and the first by id: columns by name of table.
   `associations` is a relation of every association ever landed of these rows. #}
{% macro associated_with(landed, associations, columns) -%}
    select
        id,
        _batch_id
        {%- for column, to_type in columns.items() %},
        min(case when to_type = '{{ to_type }}' then to_id end) as {{ column }}
        {%- endfor %}
    from (
        select
            moments.id,
            moments._batch_id,
            told.to_type,
            told.to_id,
            told._operation,
            row_number() over (
                partition by moments.id, moments._batch_id, told.to_type, told.to_id, told.category, told.typeid
                order by told._batch_id desc
            ) as place
        from (select distinct id, _batch_id from {{ landed }}) as moments
        inner join {{ associations }} as told on moments.id = told.id and told._batch_id <= moments._batch_id
    ) as newest
    where place = 1 and _operation = 'upsert'
    group by id, _batch_id
{%- endmacro %}

{# The columns a source declares for a table, and the fields chosen beyond them. #}
{% macro landed_columns(source_name, table_name, keys_only=false) -%}
    {%- set columns = [] -%}
    {%- if execute -%}
        {%- set table = graph.sources.values() | selectattr('source_name', 'equalto', source_name) | selectattr('name', 'equalto', table_name) | first -%}
        {%- for column in table.columns.values() if not keys_only or column.config.meta.get('is') == 'key' -%}
            {%- do columns.append(column.name) -%}
        {%- endfor -%}
        {%- for column in get_columns_in_query('select * from ' ~ source(source_name, table_name) ~ ' limit 0')
            if column.startswith('x_') and not keys_only -%}
            {%- do columns.append(quoted(column)) -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return(columns) }}
{%- endmacro %}

{# A column that never changes in a row: a row that is gone from a full read tells nothing but its key. #}
{% macro kept(column) -%}
    max({{ column }}) over (partition by Id)
{%- endmacro %}

{# The word where it is one the contract allows, else null. #}
{% macro allowed_word(expression, entity, column) -%}
    case
        when {{ expression }} in ('{{ contract_of(entity).columns[column].config.meta.one_of | join("', '") if execute }}')
            then {{ expression }}
    end
{%- endmacro %}

{# The landed word, or what seeds/aliases.csv says it means, if it is one the contract knows for that column; else it is not known. #}
{% macro contract_word(source_name, table_name, column_name, entity, contract_column) -%}
    {{ allowed_word(repaired(source_name, table_name, column_name), entity, contract_column) }}
{%- endmacro %}

{# Of a landed table the versions that are known at the end of the as-of date, and what the first load tells of later days. #}
{% macro is_landed_by_then() -%}
    (cast(landed._known_at as date) <= {{ as_of_date() }} or landed._known_at < landed._extracted_at)
{%- endmacro %}
