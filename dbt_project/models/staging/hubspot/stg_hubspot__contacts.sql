select
    id as contact_id,
    associatedcompanyid as account_id,
    coalesce(nullif(concat_ws(' ', firstname, lastname), ''), email, id) as name,
    email,
    jobtitle as title,
    {{ contract_word('hubspot', 'contacts', 'hs_seniority', 'contacts', 'seniority') }} as seniority,
    job_function as business_function,
    {{ contract_word('hubspot', 'contacts', 'hs_buying_role', 'contacts', 'buying_role') }} as buying_role,
    lower(is_active) in ('true', 't', 'yes', 'y', '1') as is_active,
    {{ extra_columns('hubspot', 'contacts') }}
    {{ load_columns('hubspot') }}
from {{ source('hubspot', 'contacts') }} as landed
