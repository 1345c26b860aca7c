select
    id as account_id,
    coalesce(name, domain, id) as name,
    hs_parent_company_id as parent_account_id,
    hubspot_owner_id as owner_id,
    {{ repaired('hubspot', 'companies', 'industry') }} as industry,
    {{ repaired('hubspot', 'companies', 'country') }} as country,
    region,
    segment,
    cast(cast(numberofemployees as decimal(18, 4)) as bigint) as employee_count,
    cast(annualrevenue as decimal(18, 4)) as annual_revenue,
    cast(addressable_spend as decimal(18, 4)) as addressable_spend,
    addressable_spend_source,
    cast(createdate as timestamp) as created_at,
    coalesce(lower(archived) in ('true', '1'), false) as is_deleted,
    {{ extra_columns('hubspot', 'companies') }}
    {{ load_columns('hubspot') }}
from {{ source('hubspot', 'companies') }} as landed
