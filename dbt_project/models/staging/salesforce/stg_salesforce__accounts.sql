select
    Id as account_id,
    Name as name,
    ParentId as parent_account_id,
    OwnerId as owner_id,
    {{ repaired('salesforce', 'Account', 'Industry') }} as industry,
    coalesce(BillingCountryCode, {{ repaired('salesforce', 'Account', 'BillingCountry') }}) as country,
    {{ repaired('salesforce', 'Account', 'region') }} as region,
    {{ repaired('salesforce', 'Account', 'segment') }} as segment,
    cast(cast(NumberOfEmployees as decimal(18, 4)) as bigint) as employee_count,
    cast(AnnualRevenue as decimal(18, 4)) as annual_revenue,
    cast(addressable_spend as decimal(18, 4)) as addressable_spend,
    addressable_spend_source,
    cast(CreatedDate as timestamp) as created_at,
    {{ is_true('IsDeleted') }} as is_deleted,
    {{ extra_columns('salesforce', 'Account') }}
    {{ load_columns('salesforce') }}
from {{ source('salesforce', 'Account') }} as landed
