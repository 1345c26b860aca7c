with policy as (
    select max(case when name = 'duplicate_days' then value end) as duplicate_days
    from {{ ref('reconciliation_policy') }}
),

documents as (
    select * from {{ ref('int_billing_documents') }}
),

matches as (
    select * from {{ ref('int_billing_matches') }}
),

deals as (
    select * from {{ ref('opportunities') }}
),

carried as (
    select * from {{ ref('int_fx_rates_carried') }}
),

plan_rates as (
    select * from {{ ref('int_exchange_rates') }}
),

-- A currency without any spot rate is billed at plan rate.
transaction_rates as (
    select * from carried
    qualify rate_type = max(rate_type) over (partition by from_currency)
),

matched as (
    select
        'deal' as row_type,
        matches.opportunity_id as row_id,
        matches.document_type,
        matches.document_id,
        matches.invoice_id,
        matches.opportunity_id,
        matches.match_rule,
        matches.deal_count,
        matches.amount,
        matches.invoice_amount,
        deals.rate_date
    from matches
    inner join deals on matches.opportunity_id = deals.opportunity_id
),

matched_invoices as (
    select distinct document_id
    from matches
    where document_type = 'invoice'
),

-- A credit note stands alone with its invoice, or by itself where its invoice is not among the documents.
alone as (
    select
        case when documents.invoice_id is null then 'credit_note' else 'invoice' end as row_type,
        coalesce(documents.invoice_id, documents.document_id) as row_id,
        documents.document_type,
        documents.document_id,
        documents.invoice_id,
        invoices.keyed_opportunity_id as opportunity_id,
        case when invoices.keyed_opportunity_id is not null then 'crm_opportunity_id' end as match_rule,
        1 as deal_count,
        documents.amount,
        documents.amount as invoice_amount,
        coalesce(invoices.document_on, documents.document_on) as rate_date
    from documents
    left join documents as invoices on documents.invoice_id = invoices.document_id and invoices.document_type = 'invoice'
    left join matched_invoices on documents.invoice_id = matched_invoices.document_id
    where matched_invoices.document_id is null
),

placed as (
    select * from matched
    union all
    select * from alone
),

described as (
    select
        placed.*,
        documents.customer_id,
        documents.account_id,
        documents.currency,
        documents.is_paid,
        documents.document_on,
        {{ day_count(
            'lag(documents.document_on) over (partition by placed.row_type, placed.row_id, placed.document_type, documents.currency, '
            ~ 'placed.invoice_amount order by documents.document_on, placed.document_id)',
            'documents.document_on'
        ) }} as days_since_same_amount
    from placed
    inner join documents on placed.document_type = documents.document_type and placed.document_id = documents.document_id
),

rated as (
    select
        described.*,
        {{ rate_of('plan_rates', 'described.currency') }} as plan_rate,
        {{ rate_of('transaction_rates', 'described.currency') }} as transaction_rate
    from described
    left join plan_rates
        on described.currency = plan_rates.from_currency
        and described.rate_date >= plan_rates.valid_from
        and described.rate_date < plan_rates.valid_to
    left join transaction_rates
        on described.currency = transaction_rates.from_currency
        and described.document_on >= transaction_rates.valid_from
        and described.document_on < transaction_rates.valid_to
),

final as (
    select
        rated.row_type,
        rated.row_id,
        rated.document_type,
        rated.document_id,
        rated.invoice_id,
        rated.opportunity_id,
        rated.customer_id,
        rated.account_id,
        rated.match_rule,
        rated.currency as currency_source,
        rated.amount as amount_source,
        cast(rated.amount * rated.transaction_rate as decimal(18, 4)) as amount,
        cast(rated.amount * rated.plan_rate as decimal(18, 4)) as amount_at_plan,
        cast(rated.transaction_rate as decimal(20, 10)) as transaction_rate,
        cast(rated.plan_rate as decimal(20, 10)) as plan_rate,
        rated.deal_count > 1 as is_shared,
        rated.document_type = 'invoice'
        and rated.row_type = 'deal'
        and coalesce(rated.days_since_same_amount <= policy.duplicate_days, false) as is_duplicate,
        rated.is_paid,
        rated.document_on,
        {{ as_of_date() }} as as_of_date
    from rated
    cross join policy
)

select * from final
