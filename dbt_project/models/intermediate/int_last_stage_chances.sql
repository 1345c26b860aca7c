{{ config(materialized='table') }}
-- The chances of the last build, kept until it is clear in which months they are others now.
{% if builds_on_the_last() -%}
select * from {{ last_built('intermediate', 'int_stage_chances') }}
{%- else -%}
select cast(null as date) as month_start
where false
{%- endif %}
