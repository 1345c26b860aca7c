{{ config(materialized='table') }}
with known_invoices as (
    select * from {{ ref('int_invoices_known') }}
),

known_credit_notes as (
    select * from {{ ref('int_credit_notes_known') }}
    where not _is_deleted and credit_date <= {{ as_of_date() }}
),

customers as (
    select * from {{ ref('int_customers_known') }}
    where not _is_deleted
),

deals as (
    select * from {{ ref('opportunities') }}
    where not is_deleted
),

-- A key that names no deal is as good as none.
invoices as (
    select
        known_invoices.invoice_id,
        known_invoices.customer_id,
        customers.crm_account_id as account_id,
        deals.opportunity_id as keyed_opportunity_id,
        coalesce(deals.is_won, false) as is_won,
        coalesce(deals.currency_source, '{{ var("reporting_currency") }}') as deal_currency,
        coalesce(known_invoices.currency, '{{ var("reporting_currency") }}') as currency,
        known_invoices.amount,
        coalesce(
            known_invoices.paid_on <= {{ as_of_date() }}, known_invoices.status = 'paid', false
        ) as is_paid,
        known_invoices.invoice_date
    from known_invoices
    left join customers on known_invoices.customer_id = customers.customer_id
    left join deals on known_invoices.crm_opportunity_id = deals.opportunity_id
    where
        not known_invoices._is_deleted
        and coalesce(known_invoices.status, 'open') != 'void'
        and known_invoices.invoice_date <= {{ as_of_date() }}
),

-- A deal is billed in one currency: its own where any invoice is in it.
keyed as (
    select
        invoices.*,
        keyed_opportunity_id is not null
        and is_won
        and currency = first_value(currency) over (
            partition by keyed_opportunity_id
            order by case when currency = deal_currency then 0 else 1 end, invoice_date, invoice_id
        ) as is_matched_by_key
    from invoices
),

-- A credit note takes off what it says, and goes where its invoice goes.
credit_notes as (
    select
        known_credit_notes.credit_note_id,
        invoices.invoice_id,
        known_credit_notes.customer_id,
        coalesce(invoices.account_id, customers.crm_account_id) as account_id,
        coalesce(known_credit_notes.currency, '{{ var("reporting_currency") }}') as currency,
        -known_credit_notes.amount as amount,
        coalesce(invoices.is_paid, false) as is_paid,
        known_credit_notes.credit_date
    from known_credit_notes
    left join customers on known_credit_notes.customer_id = customers.customer_id
    left join invoices
        on known_credit_notes.invoice_id = invoices.invoice_id
        and coalesce(known_credit_notes.currency, '{{ var("reporting_currency") }}') = invoices.currency
    where (select count(*) from known_invoices) > 0
),

final as (
    select
        'invoice' as document_type,
        invoice_id as document_id,
        invoice_id,
        customer_id,
        account_id,
        keyed_opportunity_id,
        currency,
        amount,
        is_matched_by_key,
        is_paid,
        invoice_date as document_on
    from keyed
    union all
    select
        'credit_note' as document_type,
        credit_note_id as document_id,
        invoice_id,
        customer_id,
        account_id,
        cast(null as string) as keyed_opportunity_id,
        currency,
        amount,
        false as is_matched_by_key,
        is_paid,
        credit_date as document_on
    from credit_notes
)

select * from final
