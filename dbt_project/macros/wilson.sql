{# One end of Wilson's interval at 90 % for a rate seen in `n` cases: `side` is -1 for the lower, 1 for the upper. #}
{% macro wilson(rate, n, side) -%}
    {%- set z = 1.6448536269514722 -%}
    {{ 'greatest(0, ' if side < 0 else 'least(1, ' }}(
        {{ rate }} + {{ z * z / 2 }} / nullif({{ n }}, 0)
        {{ '-' if side < 0 else '+' }} {{ z }} * sqrt({{ rate }} * (1 - {{ rate }}) / nullif({{ n }}, 0) + {{ z * z / 4 }} / nullif({{ n }} * {{ n }}, 0))
    ) / (1 + {{ z * z }} / nullif({{ n }}, 0)))
{%- endmacro %}
