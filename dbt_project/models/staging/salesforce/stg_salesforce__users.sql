-- What a person does is said by a custom field, else by the name of the role. Partners, portal users and robots sell nothing.
with roles as (
    {{ landed_as_known('salesforce', 'UserRole', keeps_deleted=true) }}
),

named as (
    select
        landed.*,
        {{ repaired('salesforce', 'User', 'role') }} as stated_role,
        {{ repaired('salesforce', 'UserRole', 'Name', 'roles.Name') }} as role_name
    from {{ source('salesforce', 'User') }} as landed
    left join roles on landed.UserRoleId = roles.Id
)

select
    Id as user_id,
    Name as name,
    Email as email,
    case
        when coalesce(UserType, 'Standard') != 'Standard' then 'other'
        else coalesce(stated_role, {{ allowed_word('role_name', 'users', 'role') }}, 'other')
    end as role,
    cast(cast(level as decimal(18, 4)) as bigint) as level,
    ManagerId as manager_id,
    team,
    region,
    segment,
    cast(substr(hired_on, 1, 10) as date) as hired_on,
    cast(substr(terminated_on, 1, 10) as date) as terminated_on,
    {{ is_true('IsActive') }} as is_active,
    {{ extra_columns('salesforce', 'User') }}
    {{ load_columns('salesforce') }}
from named
