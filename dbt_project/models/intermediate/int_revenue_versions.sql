{{ config(materialized='table') }}
{%- set invoice_basis = policy_constant('invoice_basis', 'retention_policy') | float | int %}
with choice as (
    select
        {{ invoice_basis }} = 2
        or (
            {{ invoice_basis }} = 1
            and (
                select count(*) from {{ ref('int_subscriptions_known') }} as known
                where not known._is_deleted
            ) = 0
        ) as is_by_invoice
),

subscription_versions as (
    select * from {{ ref('int_subscriptions_versions') }}
),

invoice_versions as (
    select * from {{ ref('int_invoices_versions') }}
),

credit_note_versions as (
    select * from {{ ref('int_credit_notes_versions') }}
),

-- A document is revenue of the twelve months from its day on.
row_versions as (
    select
        'subscriptions' as basis,
        subscription_id as row_id,
        customer_id as finance_customer_id,
        product_id,
        currency,
        arr,
        change_reason,
        start_date,
        end_date,
        cancelled_on,
        _operation,
        _known_at,
        _batch_id
    from subscription_versions
    cross join choice
    where not choice.is_by_invoice
    union all
    select
        'invoices' as basis,
        'invoice ' || invoice_id as row_id,
        customer_id as finance_customer_id,
        cast(null as string) as product_id,
        currency,
        case when coalesce(status, 'open') != 'void' then amount end as arr,
        cast(null as string) as change_reason,
        invoice_date as start_date,
        {{ add_months('invoice_date', 12) }} as end_date,
        cast(null as date) as cancelled_on,
        _operation,
        _known_at,
        _batch_id
    from invoice_versions
    cross join choice
    where choice.is_by_invoice
    union all
    select
        'invoices' as basis,
        'credit note ' || credit_note_id as row_id,
        customer_id as finance_customer_id,
        cast(null as string) as product_id,
        currency,
        -amount as arr,
        cast(null as string) as change_reason,
        credit_date as start_date,
        {{ add_months('credit_date', 12) }} as end_date,
        cast(null as date) as cancelled_on,
        _operation,
        _known_at,
        _batch_id
    from credit_note_versions
    cross join choice
    where choice.is_by_invoice
),

final as (
    select
        row_versions.*,
        cast(_known_at as date) as known_on,
        lead(cast(_known_at as date)) over by_row as next_known_on,
        lag(start_date) over by_row as previous_start_date,
        lag(finance_customer_id) over by_row as previous_finance_customer_id
    from row_versions
    window by_row as (partition by row_id order by _known_at, case when _operation = 'delete' then 1 else 0 end, _batch_id)
)

select * from final
