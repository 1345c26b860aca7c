select
    id as product_id,
    coalesce(name, hs_sku, id) as name,
    family,
    cast(price as decimal(18, 4)) as list_price,
    companycurrency as currency,
    {{ extra_columns('hubspot', 'products') }}
    {{ load_columns('hubspot') }}
from {{ source('hubspot', 'products') }} as landed
