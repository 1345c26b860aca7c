-- The price on the line is before the line's own discount.
select
    Id as line_id,
    OpportunityId as opportunity_id,
    Product2Id as product_id,
    cast(Quantity as decimal(18, 4)) as quantity,
    cast(ListPrice as decimal(18, 4)) as list_unit_price,
    cast(
        cast(UnitPrice as decimal(18, 4)) * (100 - coalesce(cast(Discount as decimal(5, 2)), 0)) * cast(0.01 as decimal(3, 2))
        as decimal(18, 4)
    ) as net_unit_price,
    CurrencyIsoCode as currency,
    cast(cast(term_months as decimal(18, 4)) as bigint) as term_months,
    {{ repaired('salesforce', 'OpportunityLineItem', 'discount_reason') }} as discount_reason,
    {{ extra_columns('salesforce', 'OpportunityLineItem') }}
    {{ load_columns('salesforce') }}
from {{ source('salesforce', 'OpportunityLineItem') }} as landed
