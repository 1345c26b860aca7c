{{ config(materialized='table') }}
-- Who sells: whoever holds a selling job, and whoever owns a deal.
with reps as (
    select * from {{ ref('reps') }}
    where is_current
),

owners as (
    select distinct owner_id from {{ ref('opportunities') }}
    where not is_deleted
),

final as (
    select
        coalesce(reps.rep_id, owners.owner_id) as seller_id,
        coalesce(reps.name, owners.owner_id) as name,
        reps.manager_id,
        reps.manager_name,
        reps.region,
        reps.segment
    from reps
    full outer join owners on reps.rep_id = owners.owner_id
    where owners.owner_id is not null or reps.role in ('account_executive', 'account_manager', 'development_rep')
)

select * from final
