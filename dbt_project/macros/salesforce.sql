{# Salesforce's own five or six categories, whatever an organisation calls them. Most Likely lies below Commit. #}
{% macro salesforce_forecast_category(column) -%}
    case {{ column }}
        when 'Pipeline' then 'pipeline'
        when 'BestCase' then 'best_case'
        when 'MostLikely' then 'best_case'
        when 'Forecast' then 'commit'
        when 'Closed' then 'closed'
        when 'Omitted' then 'omitted'
    end
{%- endmacro %}

{# Forecasts and quotas by the amount of opportunities; an organisation that has no such type has one way to forecast only. #}
{% macro is_revenue_forecast(rows, types) -%}
    (
        {{ rows }}.ForecastingTypeId in (select {{ types }}.Id from {{ types }} where {{ types }}.DeveloperName = 'OpportunityRevenue')
        or not exists (select 1 from {{ types }} where {{ types }}.DeveloperName = 'OpportunityRevenue')
    )
{%- endmacro %}

{# Salesforce's percent as the text of a share. #}
{% macro salesforce_share(column) -%}
    cast(cast(cast({{ column }} as decimal(18, 4)) * 0.01 as decimal(9, 4)) as string)
{%- endmacro %}
