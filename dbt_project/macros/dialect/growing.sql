{# What DuckDB and Spark do differently about tables that grow. #}

{# Spark's tables here are plain Parquet, from which no row can be taken out: there everything is told from the beginning. #}
{% macro growing() -%}
    {{ return('table' if target.type == 'spark' else 'incremental') }}
{%- endmacro %}
