{# What DuckDB and Spark say differently about the raw zone. #}

{# Every batch of one table in the raw zone, of which a file without rows that has every contracted column is always one;
   or what the outcome model told in this run. #}
{% macro source(source_name, table_name) -%}
    {%- do builtins.source(source_name, table_name) -%}
    {%- set home = env_var('SIGHTLINE_HOME', '../var') -%}
    {%- if source_name == 'predictions' -%}
        {%- set files = home ~ '/warehouse/predictions/' ~ table_name ~ '.parquet' -%}
    {%- else -%}
        {%- set files = home ~ '/raw/' ~ source_name ~ '/*/' ~ table_name ~ '.parquet' -%}
    {%- endif -%}
    {%- if target.type == 'spark' -%}
        parquet.`{{ files }}`
    {%- else -%}
        read_parquet('{{ files }}', union_by_name = true)
    {%- endif -%}
{%- endmacro %}

{# A column by whatever name an export gives it. #}
{% macro quoted(name) -%}
    {%- set mark = '`' if target.type == 'spark' else '"' -%}
    {{ return(mark ~ name.replace(mark, mark ~ mark) ~ mark) }}
{%- endmacro %}

{# Columns of a landed table beyond the contract: they are called `x_<name>`. #}
{% macro extra_columns(source_name, table_name) -%}
    {%- if execute -%}
        {%- for column in get_columns_in_query('select * from ' ~ source(source_name, table_name) ~ ' limit 0') if column.startswith('x_') %}
    {{ quoted(column) }},
        {%- endfor -%}
    {%- endif -%}
{%- endmacro %}
