select
    account as account_id,
    account as name,
    subsidiary_of as parent_account_id,
    {{ repaired('maven', 'accounts', 'sector') }} as industry,
    {{ repaired('maven', 'accounts', 'office_location') }} as country,
    cast(employees as bigint) as employee_count,
    cast(revenue as decimal(18, 4)) as annual_revenue,
    {{ load_columns('maven') }}
from {{ source('maven', 'accounts') }} as landed
