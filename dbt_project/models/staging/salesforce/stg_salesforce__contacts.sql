-- A contact without an account is private: nobody's buyer.
select
    Id as contact_id,
    AccountId as account_id,
    Name as name,
    Email as email,
    Title as title,
    {{ repaired('salesforce', 'Contact', 'seniority') }} as seniority,
    coalesce(business_function, Department) as business_function,
    {{ repaired('salesforce', 'Contact', 'buying_role') }} as buying_role,
    {{ is_true('is_active') }} as is_active,
    {{ extra_columns('salesforce', 'Contact') }}
    {{ load_columns('salesforce') }}
from {{ source('salesforce', 'Contact') }} as landed
where AccountId is not null or _operation = 'delete'
