{# One end of Wilson's interval at 90 % for a rate seen in `n` cases: `side` is -1 for the lower, 1 for the upper. Null without a case:
   both engines would else take the bound for the rate that is not there. #}
{% macro wilson(rate, n, side) -%}
    {%- set z = z90() -%}
    case
        when {{ n }} > 0
            then {{ 'greatest(0, ' if side < 0 else 'least(1, ' }}(
                {{ rate }} + {{ z * z / 2 }} / {{ n }}
                {{ '-' if side < 0 else '+' }} {{ z }} * sqrt({{ rate }} * (1 - {{ rate }}) / {{ n }} + {{ z * z / 4 }} / ({{ n }} * {{ n }}))
            ) / (1 + {{ z * z }} / {{ n }}))
    end
{%- endmacro %}
