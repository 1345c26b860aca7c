{# What the bridge ends with is what finance has: every invoice and credit note once, in its own currency and period. #}
{% test bridge_holds_every_document(model) %}
with finance as (
    select period_start, currency, amount
    from {{ model }}
    where period_type = 'month' and currency_basis = 'source' and line = 'finance'
),

documents as (
    select calendar.month_start as period_start, documents.currency, sum(documents.amount) as amount
    from {{ ref('int_billing_documents') }} as documents
    inner join {{ ref('calendar') }} as calendar on documents.document_on = calendar.day
    group by calendar.month_start, documents.currency
)

select
    coalesce(finance.period_start, documents.period_start) as period_start,
    coalesce(finance.currency, documents.currency) as currency,
    finance.amount as in_bridge,
    documents.amount as in_finance
from finance
full join documents on finance.period_start = documents.period_start and finance.currency = documents.currency
where coalesce(finance.amount, 0) != coalesce(documents.amount, 0)
{% endtest %}
