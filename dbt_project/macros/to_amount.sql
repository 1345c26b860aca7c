{# A number as an amount, to the fourth decimal. Halves go up, as engines round them differently. #}
{% macro to_amount(value) -%}
    cast(floor(({{ value }}) * 10000 + 0.5) / 10000 as decimal(18, 4))
{%- endmacro %}
