-- The export knows managers only by name, beside their sellers.
with sellers as (
    select
        sales_agent as user_id,
        sales_agent as name,
        'account_executive' as role,
        manager as manager_id,
        regional_office as region,
        {{ load_columns('maven') }}
    from {{ source('maven', 'sales_teams') }} as landed
),

managers as (
    select
        manager_id as user_id,
        manager_id as name,
        'manager' as role,
        cast(null as string) as manager_id,
        max(region) as region,
        _source,
        _batch_id,
        _operation,
        _extracted_at,
        _known_at
    from sellers
    where manager_id is not null
    group by manager_id, _source, _batch_id, _operation, _extracted_at, _known_at
)

select * from sellers
union all
select * from managers
