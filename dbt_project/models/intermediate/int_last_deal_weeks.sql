{{ config(materialized='table') }}
-- What the last build said of the deals that are told anew, kept until it is clear which norms rest on what has changed.
-- depends_on: {{ ref('int_live_deals') }}
{% if builds_on_the_last() -%}
select * from {{ last_built('intermediate', 'int_deal_weeks') }}
where opportunity_id in (select live_deals.opportunity_id from {{ ref('int_live_deals') }} as live_deals)
{%- else -%}
select
    cast(null as string) as opportunity_id,
    cast(null as date) as snapshot_date
where false
{%- endif %}
