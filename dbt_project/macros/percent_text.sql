{# A share as words: 0.123 is "12.3 %". Halves go up, as engines round them differently. #}
{% macro percent_text(share) -%}
    concat(cast(cast(floor({{ share }} * 1000 + 0.5) / 10 as decimal(9, 1)) as string), ' %')
{%- endmacro %}
