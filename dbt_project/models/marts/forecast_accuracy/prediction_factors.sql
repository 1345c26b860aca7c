with factors as (
    select * from {{ ref('int_prediction_factors') }}
),

deals as (
    select * from {{ ref('opportunities') }}
),

final as (
    select
        factors.opportunity_id,
        deals.name,
        deals.owner_id,
        factors.factor,
        factors.value,
        factors.won_median,
        factors.rank,
        factors.contribution,
        {{ as_of_date() }} as as_of_date
    from factors
    inner join deals on factors.opportunity_id = deals.opportunity_id
)

select * from final
