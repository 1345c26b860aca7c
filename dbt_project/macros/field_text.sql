{# The text of a change event in the one spelling in which equal values are equal: amounts with four decimals, days without a time. #}
{% macro field_text(value) -%}
    case
        when field = 'amount' then cast(try_cast({{ value }} as decimal(18, 4)) as string)
        when field = 'close_date' then cast(try_cast(substr({{ value }}, 1, 10) as date) as string)
        else {{ value }}
    end
{%- endmacro %}
