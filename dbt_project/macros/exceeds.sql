{# Whether a share is above a limit. A tenth has no end in binary: what is above by no more than a billionth is at the limit. #}
{% macro exceeds(share, limit) -%}
    {{ share }} > {{ limit }} + 0.000000001
{%- endmacro %}
