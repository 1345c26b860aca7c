{# DuckDB replaces a table or view in one transaction: there is nothing to rename first, and nothing to drop after. #}
{% materialization view, adapter='duckdb' %}
    {{ return(replaced('view', get_create_view_as_sql(this.incorporate(type='view'), sql))) }}
{% endmaterialization %}

{% materialization table, adapter='duckdb' %}
    {{ return(replaced('table', get_create_table_as_sql(False, this.incorporate(type='table'), sql))) }}
{% endmaterialization %}

{% macro replaced(type, definition) -%}
    {%- set existing = load_cached_relation(this) -%}
    {%- if existing is not none and existing.type != type -%}
        {%- do adapter.drop_relation(existing) -%}
    {%- endif -%}
    {%- call statement('main') -%}
        {{ modules.re.sub('create\s+' ~ type, 'create or replace ' ~ type, definition, 1) }}
    {%- endcall -%}
    {%- do adapter.commit() -%}
    {{ return({'relations': [this.incorporate(type=type)]}) }}
{%- endmacro %}
