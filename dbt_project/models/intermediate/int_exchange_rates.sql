{{ config(materialized='table') }}
with carried as (
    select * from {{ ref('int_fx_rates_carried') }}
),

-- Performance is told at plan rate; a currency without any is told at spot.
final as (
    select
        from_currency,
        rate_type,
        rate,
        valid_from,
        valid_to
    from carried
    qualify rate_type = min(rate_type) over (partition by from_currency)
)

select * from final
