{{ config(materialized='table') }}
with finance_customers as (
    select * from {{ ref('int_customers_known') }}
),

accounts as (
    select * from {{ ref('accounts') }}
),

reps as (
    select * from {{ ref('reps') }}
    where is_current
),

-- Whoever is billed is somebody's customer, known to finance's own list or not.
billed as (
    select customer_id from finance_customers
    union
    select customer_id from {{ ref('int_subscriptions_known') }}
    union
    select customer_id from {{ ref('int_invoices_known') }}
    union
    select customer_id from {{ ref('int_credit_notes_known') }}
),

final as (
    select
        billed.customer_id as finance_customer_id,
        accounts.account_id,
        coalesce(accounts.ultimate_parent_id, 'finance:' || billed.customer_id) as customer_id,
        coalesce(parents.name, finance_customers.name, billed.customer_id) as customer_name,
        coalesce(parents.segment, 'unknown') as segment,
        coalesce(parents.region, 'unknown') as region,
        coalesce(parents.owner_id, 'unknown') as account_manager_id,
        coalesce(reps.name, parents.owner_id, 'unknown') as account_manager_name
    from billed
    left join finance_customers on billed.customer_id = finance_customers.customer_id
    left join accounts on finance_customers.crm_account_id = accounts.account_id
    left join accounts as parents on accounts.ultimate_parent_id = parents.account_id
    left join reps on parents.owner_id = reps.rep_id
)

select * from final
