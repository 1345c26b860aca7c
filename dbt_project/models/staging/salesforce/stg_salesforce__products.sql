-- The list price is that of the standard price book, in the corporate currency where there are several. It comes from another table
-- than the product: each moment at which one of the two changed gives a version.
with standard as (
    {{ landed_as_known('salesforce', 'Pricebook2', keeps_deleted=true) }}
),

corporate as (
    {{ landed_as_known('salesforce', 'CurrencyType', keeps_deleted=true) }}
),

priced as (
    select
        landed.*,
        {{ kept('Product2Id') }} as product_id,
        {{ kept('Pricebook2Id') }} as price_book_id,
        {{ kept('CurrencyIsoCode') }} as currency
    from {{ source('salesforce', 'PricebookEntry') }} as landed
),

list_prices as (
    select
        priced.*,
        min(priced.currency) over (partition by priced.product_id) as first_currency,
        max(case when priced.currency = corporate.IsoCode then priced.currency end) over (
            partition by priced.product_id
        ) as corporate_currency
    from priced
    inner join standard on priced.price_book_id = standard.Id and {{ is_true('standard.IsStandard') }}
    left join corporate on priced.currency = corporate.IsoCode and {{ is_true('corporate.IsCorporate') }}
),

versions as (
    select
        Id as product_id,
        Name as name,
        Family as family,
        _operation as product_operation,
        cast(null as decimal(18, 4)) as list_price,
        cast(null as string) as currency,
        cast(null as boolean) as is_priced,
        _batch_id,
        _operation,
        _extracted_at,
        _known_at
    from {{ source('salesforce', 'Product2') }} as landed
    union all
    select
        product_id,
        cast(null as string) as name,
        cast(null as string) as family,
        cast(null as string) as product_operation,
        cast(UnitPrice as decimal(18, 4)) as list_price,
        currency,
        _operation = 'upsert' and coalesce({{ is_true('IsActive') }}, true) as is_priced,
        _batch_id,
        _operation,
        _extracted_at,
        _known_at
    from list_prices
    where currency is not distinct from coalesce(corporate_currency, first_currency)
),

so_far as (
    select
        product_id,
        {{ last_known('name') }} over up_to_now as name,
        {{ last_known('family') }} over up_to_now as family,
        {{ last_known('product_operation') }} over up_to_now as product_operation,
        {{ last_known('list_price') }} over up_to_now as list_price,
        {{ last_known('currency') }} over up_to_now as currency,
        {{ last_known('is_priced') }} over up_to_now as is_priced,
        _batch_id,
        _extracted_at,
        _known_at
    from versions
    window up_to_now as (partition by product_id order by _known_at, _batch_id)
),

final as (
    select
        product_id,
        name,
        family,
        case when is_priced then list_price end as list_price,
        case when is_priced then currency end as currency,
        _batch_id,
        product_operation as _operation,
        _extracted_at,
        _known_at
    from so_far
    where product_operation is not null
    qualify row_number() over (partition by product_id, _known_at, _batch_id order by _extracted_at) = 1
)

select
    product_id,
    name,
    family,
    list_price,
    currency,
    {{ load_columns('salesforce') }}
from final
