{# A number as words, to so many decimals. Halves go up, as engines round them differently. #}
{% macro number_text(value, digits=0) -%}
    cast(cast(floor(({{ value }}) * {{ 10 ** digits }} + 0.5) / {{ 10 ** digits }} as decimal(18, {{ digits }})) as string)
{%- endmacro %}

{# A measure as words: a share, a number of small things to two decimals, an amount or a count in whole. #}
{% macro measure_text(value, unit) -%}
    case {{ unit }} when 'share' then {{ percent_text(value) }} when 'number' then {{ number_text(value, 2) }} else {{ number_text(value) }} end
{%- endmacro %}
