{# dbt-spark puts seed values into SQL without escaping quotes; policy texts have apostrophes. #}
{% macro spark__load_csv_rows(model, agate_table) -%}
    {%- set types = model.config.get('column_types', {}) -%}
    {%- set statement -%}
        insert into {{ this.render() }} values
        {%- for row in agate_table.rows %}
        (
            {%- for column in agate_table.column_names -%}
                {%- set type = types.get(column, adapter.convert_type(agate_table, loop.index0)) -%}
                {%- if row[column] is none -%}
                    cast(null as {{ type }})
                {%- else -%}
                    cast('{{ (row[column] | string) | replace("\\", "\\\\") | replace("'", "\\'") }}' as {{ type }})
                {%- endif -%}
                {{ ', ' if not loop.last }}
            {%- endfor -%}
        ){{ ',' if not loop.last }}
        {%- endfor %}
    {%- endset -%}
    {%- if agate_table.rows -%}
        {%- do adapter.add_query(statement, abridge_sql_log=True) -%}
    {%- endif -%}
    {{ return(statement) }}
{%- endmacro %}
