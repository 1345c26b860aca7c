{# The 95th percentile of the normal distribution: both sides of a 90 % interval. #}
{% macro z90() -%}
    {{ return(1.6448536269514722) }}
{%- endmacro %}
