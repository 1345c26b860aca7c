{# The rows of a policy seed by their first column, read while a model is compiled: engines want percentiles as constants. #}
{% macro policy_rows(seed) -%}
    {%- set policy = {} -%}
    {%- set relation = ref(seed) -%}
    {%- if execute -%}
        {%- for row in run_query('select * from ' ~ relation).rows -%}
            {%- do policy.update({row[0]: row}) -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return(policy) }}
{%- endmacro %}

{# A number of seeds/deal_policy.csv. #}
{% macro deal_policy(name) -%}
    (select deal_policy.value from {{ ref('deal_policy') }} as deal_policy where deal_policy.name = '{{ name }}')
{%- endmacro %}

{# A number of seeds/forecast_policy.csv. #}
{% macro forecast_policy(name) -%}
    (select forecast_policy.value from {{ ref('forecast_policy') }} as forecast_policy where forecast_policy.name = '{{ name }}')
{%- endmacro %}

{# One number of a policy seed as a constant: engines want percentiles and the days of date arithmetic so. #}
{% macro policy_constant(name, seed='deal_policy', column='value') -%}
    {%- set rows = policy_rows(seed) -%}
    {{- rows[name][column] if execute else 0.5 -}}
{%- endmacro %}

{# Days of the horizon chances are told for. #}
{% macro deal_horizon() -%}
    {{- policy_constant('horizon_days') | float | int -}}
{%- endmacro %}

{# A number of seeds/pricing_policy.csv. #}
{% macro pricing_policy(name) -%}
    (select pricing_policy.value from {{ ref('pricing_policy') }} as pricing_policy where pricing_policy.name = '{{ name }}')
{%- endmacro %}

{# A number of seeds/people_policy.csv. #}
{% macro people_policy(name) -%}
    (select people_policy.value from {{ ref('people_policy') }} as people_policy where people_policy.name = '{{ name }}')
{%- endmacro %}

{# A number of seeds/scorecard_policy.csv. #}
{% macro scorecard_policy(name) -%}
    (select scorecard_policy.value from {{ ref('scorecard_policy') }} as scorecard_policy where scorecard_policy.name = '{{ name }}')
{%- endmacro %}
