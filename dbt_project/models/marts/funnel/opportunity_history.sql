with stretches as (
    select * from {{ ref('int_opportunity_stretches') }}
),

final as (
    select
        opportunity_id,
        owner_id,
        manager_id,
        region,
        segment,
        stage,
        forecast_category,
        currency_source,
        amount,
        amount_source,
        episode,
        is_open,
        is_won,
        is_lost,
        is_no_decision,
        is_deleted,
        close_date,
        valid_from,
        valid_to,
        {{ as_of_date() }} as as_of_date
    from stretches
)

select * from final
