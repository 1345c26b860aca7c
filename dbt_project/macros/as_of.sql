{# What this build is told: from the run that started dbt, or by hand from --vars. A run tells it in the environment, and it is read only when
   SQL is made to be executed: dbt reads the whole project again when its variables are others than the last time. #}
{% macro told(name) -%}
    {%- if execute and env_var('SIGHTLINE_BUILD', '') -%}
        {{ return(fromjson(env_var('SIGHTLINE_BUILD'))[name]) }}
    {%- else -%}
        {{ return(var(name)) }}
    {%- endif -%}
{%- endmacro %}

{# The day everything is told for. #}
{% macro as_of_date() -%}
    cast('{{ told("as_of_date") }}' as date)
{%- endmacro %}
