{{ config(materialized='table') }}
-- A source that was begun with what its customers had bought knows of nothing that was lost then: such wins tell no rate.
with decided as (
    select
        deals.opportunity_id,
        known._source,
        deals.is_won,
        deals.closed_on,
        min(case when deals.is_lost or deals.is_no_decision then deals.closed_on end) over (partition by known._source) as losses_from
    from {{ ref('opportunities') }} as deals
    inner join {{ ref('int_opportunities_known') }} as known on deals.opportunity_id = known.opportunity_id
    where not deals.is_deleted and deals.closed_on is not null
),

counted as (
    select
        decided.*,
        count(*) over (partition by _source) as win_count
    from decided
    where is_won and (losses_from is null or closed_on < losses_from)
),

final as (
    select
        opportunity_id,
        closed_on
    from counted
    where win_count >= {{ deal_policy('wins_without_losses') }}
)

select * from final
