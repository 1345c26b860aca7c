{# In which month of service a day lies: 1 from `hired_on` until before the same day of the next month. #}
{% macro service_month(hired_on, day) -%}
    {%- set months -%}
        ((extract(year from {{ day }}) - extract(year from {{ hired_on }})) * 12 + extract(month from {{ day }}) - extract(month from {{ hired_on }}))
    {%- endset -%}
    ({{ months }} + case when {{ add_months(hired_on, months) }} <= {{ day }} then 1 else 0 end)
{%- endmacro %}
