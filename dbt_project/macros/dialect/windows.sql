{# What DuckDB and Spark say differently about windows and aggregates. #}

{# The newest value that is not null, up to this row; to be followed by `over (…)`. #}
{% macro last_known(expression) -%}
    {%- if target.type == 'spark' -%}
        last_value({{ expression }}) ignore nulls
    {%- else -%}
        last_value({{ expression }} ignore nulls)
    {%- endif -%}
{%- endmacro %}
