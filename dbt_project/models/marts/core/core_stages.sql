{{ config(alias='stages') }}

select
    stage,
    meaning,
    cast(stage_order as int) as stage_order,
    cast(is_open as boolean) as is_open,
    cast(is_won as boolean) as is_won,
    cast(is_lost as boolean) as is_lost,
    cast(is_no_decision as boolean) as is_no_decision
from {{ ref('stages') }}
