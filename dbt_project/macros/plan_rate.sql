{# The rate of the joined `rates` that turns an amount in `currency` into the reporting currency: 1 when it is in it already
   or names none, null when there is no rate. #}
{% macro rate_of(rates, currency) -%}
    case
        when coalesce({{ currency }}, '{{ var("reporting_currency") }}') = '{{ var("reporting_currency") }}'
            then cast(1 as decimal(20, 10))
        else {{ rates }}.rate
    end
{%- endmacro %}

{# The same of a joined `rates` that holds rates for performance. #}
{% macro plan_rate(currency) -%}
    {{ rate_of('rates', currency) }}
{%- endmacro %}
