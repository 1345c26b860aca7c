with products as (
    select * from {{ ref('int_products_known') }}
),

rates as (
    select * from {{ ref('int_exchange_rates') }}
),

final as (
    select
        products.product_id,
        products.name,
        products.family,
        products.currency as currency_source,
        cast(
            products.list_price
            * {{ plan_rate('products.currency') }}
            as decimal(18, 4)
        ) as list_price,
        products.list_price as list_price_source,
        products._is_deleted as is_deleted
    from products
    left join rates
        on products.currency = rates.from_currency
        and {{ as_of_date() }} >= rates.valid_from
        and {{ as_of_date() }} < rates.valid_to
)

select * from final
