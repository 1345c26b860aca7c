select
    product as product_id,
    product as name,
    series as family,
    cast(sales_price as decimal(18, 4)) as list_price,
    {{ load_columns('maven') }}
from {{ source('maven', 'products') }} as landed
