{%- set hops = 4 %}
with accounts as (
    select * from {{ ref('int_accounts_known') }}
),

-- A parent nobody knows ends the chain at the child.
hop_0 as (
    select
        child.account_id,
        parent.account_id as ancestor_id
    from accounts as child
    left join accounts as parent on child.parent_account_id = parent.account_id
),

-- Each hop doubles how far up the chain the ancestor stands: {{ hops }} of them climb {{ 2 ** hops }} levels.
{%- for hop in range(1, hops + 1) %}
hop_{{ hop }} as (
    select
        below.account_id,
        coalesce(above.ancestor_id, below.ancestor_id) as ancestor_id
    from hop_{{ hop - 1 }} as below
    left join hop_{{ hop - 1 }} as above on below.ancestor_id = above.account_id
),
{%- endfor %}

-- Who still has a parent after that stands in a circle.
ultimate as (
    select
        top.account_id,
        coalesce(beyond.ancestor_id is not null, false) as has_parent_cycle,
        case when beyond.ancestor_id is null then coalesce(top.ancestor_id, top.account_id) else top.account_id end as ultimate_parent_id
    from hop_{{ hops }} as top
    left join hop_0 as beyond on top.ancestor_id = beyond.account_id
),

final as (
    select
        accounts.account_id,
        accounts.name,
        accounts.parent_account_id,
        parents.name as parent_account_name,
        ultimate.ultimate_parent_id,
        ultimate_parents.name as ultimate_parent_name,
        accounts.owner_id,
        accounts.industry,
        accounts.country,
        accounts.region,
        accounts.segment,
        accounts.employee_count,
        accounts.annual_revenue,
        ultimate.has_parent_cycle,
        accounts._is_deleted as is_deleted,
        cast(accounts.created_at as date) as created_on
    from accounts
    inner join ultimate on accounts.account_id = ultimate.account_id
    left join accounts as parents on accounts.parent_account_id = parents.account_id
    left join accounts as ultimate_parents on ultimate.ultimate_parent_id = ultimate_parents.account_id
)

select * from final
