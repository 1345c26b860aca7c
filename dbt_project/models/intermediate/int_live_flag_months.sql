{{ config(materialized='table') }}
-- Months whose reviews are flagged anew: those with other norms, and those with other chances, than in the last build.
-- depends_on: {{ ref('int_last_stage_chances') }}
with final as (
    select month_start from {{ ref('int_live_months') }}
    {%- if builds_on_the_last() %}
    union
    select month_start from (
        select * from {{ ref('int_stage_chances') }}
        except
        select * from {{ ref('int_last_stage_chances') }}
    ) as added
    union
    select month_start from (
        select * from {{ ref('int_last_stage_chances') }}
        except
        select * from {{ ref('int_stage_chances') }}
    ) as taken_back
    {%- else %}
    union
    select month_start from {{ ref('int_stage_chances') }}
    {%- endif %}
)

select * from final
