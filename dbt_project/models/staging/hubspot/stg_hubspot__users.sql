-- An owner of whom no role is known is taken for a seller.
select
    id as user_id,
    coalesce(nullif(concat_ws(' ', firstname, lastname), ''), email, id) as name,
    email,
    coalesce({{ repaired('hubspot', 'owners', 'role') }}, 'account_executive') as role,
    cast(level as bigint) as level,
    manager_id,
    primaryteamname as team,
    region,
    segment,
    cast(substr(hired_on, 1, 10) as date) as hired_on,
    cast(substr(terminated_on, 1, 10) as date) as terminated_on,
    not coalesce(lower(archived) in ('true', '1'), false) as is_active,
    {{ extra_columns('hubspot', 'owners') }}
    {{ load_columns('hubspot') }}
from {{ source('hubspot', 'owners') }} as landed
