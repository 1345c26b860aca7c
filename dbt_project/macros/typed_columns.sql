{# The select list that turns landed text into the contract's types, with what the load knows about each row. #}
{% macro typed_columns(source_name, table_name) -%}
    {%- do ref('aliases') -%}
    {%- if execute -%}
        {%- set table = graph.sources.values() | selectattr('source_name', 'equalto', source_name) | selectattr('name', 'equalto', table_name) | first -%}
        {%- for column in table.columns.values() if column.name != table.config.meta.get('deleted_by') %}
    {{ typed(source_name, table_name, column) }} as {{ column.name }},
        {%- endfor -%}
    {%- endif %}
    {{- extra_columns(source_name, table_name) }}
    {{ load_columns(source_name) }}
{%- endmacro %}

{# What a load knows about each row: every staging model carries it. #}
{% macro load_columns(source_name) -%}
    '{{ source_name }}' as _source,
    _batch_id,
    _operation,
    cast(_extracted_at as timestamp) as _extracted_at,
    cast(_known_at as timestamp) as _known_at
{%- endmacro %}

{# The SQL type of a contract type. #}
{% macro sql_type(data_type) -%}
    {{ {
        'text': 'string', 'currency': 'string', 'int': 'bigint', 'decimal': 'decimal(18, 4)', 'rate': 'decimal(20, 10)',
        'share': 'double', 'date': 'date', 'timestamp': 'timestamp', 'bool': 'boolean',
    }[data_type] }}
{%- endmacro %}

{% macro typed(source_name, table_name, column) -%}
    {%- set meta = column.config.meta -%}
    {%- if meta.one_of or meta.policy -%}
        {{ repaired(source_name, table_name, column.name) }}
    {%- elif column.data_type == 'int' -%}
        cast(cast({{ column.name }} as decimal(18, 4)) as bigint)
    {%- elif column.data_type == 'decimal' -%}
        cast({{ column.name }} as decimal(18, 4))
    {%- elif column.data_type == 'rate' -%}
        cast({{ column.name }} as decimal(20, 10))
    {%- elif column.data_type == 'share' -%}
        cast({{ column.name }} as double)
    {%- elif column.data_type == 'date' -%}
        cast(substr({{ column.name }}, 1, 10) as date)
    {%- elif column.data_type == 'timestamp' -%}
        cast({{ column.name }} as timestamp)
    {%- elif column.data_type == 'bool' -%}
        {{ is_true(column.name) }}
    {%- else -%}
        {{ column.name }}
    {%- endif -%}
{%- endmacro %}

{% macro is_true(column) -%}
    lower({{ column }}) in ('true', 't', 'yes', 'y', '1')
{%- endmacro %}

{# The landed word, or what sales operations say it means in seeds/aliases.csv.
   `expression` is where the word stands when it is not the landed column itself. #}
{% macro repaired(source_name, table_name, column_name, expression=none) -%}
    {%- set word = expression or 'landed.' ~ column_name -%}
    coalesce((
        select max(aliases.meaning)
        from {{ ref('aliases') }} as aliases
        where
            aliases.source = '{{ source_name }}'
            and aliases.table_name = '{{ table_name }}'
            and aliases.column_name = '{{ column_name }}'
            and aliases.entered = {{ word }}
    ), {{ word }})
{%- endmacro %}
