select
    opportunity_id,
    account as account_id,
    sales_agent as owner_id,
    {{ repaired('maven', 'sales_pipeline', 'deal_stage') }} as stage,
    {{ repaired('maven', 'sales_pipeline', 'product') }} as product_id,
    cast(close_value as decimal(18, 4)) as amount,
    cast(engage_date as timestamp) as created_at,
    cast(close_date as date) as close_date,
    cast(close_date as timestamp) as closed_at,
    {{ load_columns('maven') }}
from {{ source('maven', 'sales_pipeline') }} as landed
