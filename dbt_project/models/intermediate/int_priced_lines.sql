{{ config(materialized='table') }}
-- What was asked and what was paid, line by line: of won deals, of offers, and of what was billed.
with lines as (
    select * from {{ ref('int_opportunity_lines_known') }}
    where not _is_deleted
),

deals as (
    select * from {{ ref('opportunities') }}
    where not is_deleted
),

products as (
    select * from {{ ref('products') }}
),

bands as (
    select * from {{ ref('size_bands') }}
),

rates as (
    select * from {{ ref('int_exchange_rates') }}
),

accounts as (
    select * from {{ ref('accounts') }}
),

customers as (
    select * from {{ ref('int_customers_known') }}
    where not _is_deleted
),

invoices as (
    select * from {{ ref('int_invoices_known') }}
    where not _is_deleted and coalesce(status, '') != 'void' and invoice_date <= {{ as_of_date() }}
),

credit_notes as (
    select * from {{ ref('int_credit_notes_known') }}
    where not _is_deleted and credit_date <= {{ as_of_date() }}
),

documents as (
    select * from {{ ref('billing_documents') }}
    where document_type = 'invoice'
),

invoice_lines as (
    select * from {{ ref('int_invoice_lines_known') }}
    where not _is_deleted
),

banded as (
    select
        deals.*,
        bands.size_band
    from deals
    left join bands
        on deals.list_amount >= bands.from_amount
        and (bands.below_amount is null or deals.list_amount < bands.below_amount)
),

sold as (
    select
        case when banded.is_won then 'booked' else 'quoted' end as basis,
        lines.line_id,
        banded.opportunity_id as unit_id,
        banded.opportunity_id,
        lines.product_id,
        banded.segment,
        banded.region,
        banded.owner_id,
        banded.size_band,
        coalesce(lines.currency, banded.currency_source) as currency,
        cast(lines.quantity * coalesce(lines.list_unit_price, products.list_price_source) as decimal(18, 4)) as list_source,
        cast(lines.quantity * lines.net_unit_price as decimal(18, 4)) as net_source,
        coalesce(banded.closed_on, banded.close_date) as day,
        least(coalesce(banded.closed_on, banded.close_date, {{ as_of_date() }}), {{ as_of_date() }}) as rate_date
    from lines
    inner join banded on lines.opportunity_id = banded.opportunity_id
    left join products on lines.product_id = products.product_id
    where banded.is_won or banded.is_open
),

-- An invoice for several deals is nobody's alone.
invoice_deals as (
    select
        document_id,
        case when count(*) = 1 then max(opportunity_id) end as opportunity_id,
        max(case when is_duplicate then 1 else 0 end) = 1 as is_duplicate
    from documents
    group by document_id
),

credits as (
    select
        credit_notes.invoice_id,
        sum(credit_notes.amount) as amount
    from credit_notes
    inner join invoices
        on credit_notes.invoice_id = invoices.invoice_id
        and coalesce(credit_notes.currency, '{{ var("reporting_currency") }}')
        = coalesce(invoices.currency, '{{ var("reporting_currency") }}')
    group by credit_notes.invoice_id
),

line_totals as (
    select
        invoice_id,
        sum(amount) as amount
    from invoice_lines
    group by invoice_id
),

billed as (
    select
        'invoiced' as basis,
        invoice_lines.invoice_line_id as line_id,
        invoices.invoice_id as unit_id,
        invoice_deals.opportunity_id,
        invoice_lines.product_id,
        case when banded.opportunity_id is null then accounts.segment else banded.segment end as segment,
        case when banded.opportunity_id is null then accounts.region else banded.region end as region,
        banded.owner_id,
        banded.size_band,
        invoices.currency,
        cast(invoice_lines.quantity * coalesce(invoice_lines.list_unit_price, products.list_price_source) as decimal(18, 4)) as list_source,
        cast(
            invoice_lines.amount
            - coalesce(
                cast(credits.amount as double) * cast(invoice_lines.amount as double) / nullif(cast(line_totals.amount as double), 0), 0
            ) as decimal(18, 4)
        ) as net_source,
        invoices.invoice_date as day,
        invoices.invoice_date as rate_date
    from invoice_lines
    inner join invoices on invoice_lines.invoice_id = invoices.invoice_id
    left join products on invoice_lines.product_id = products.product_id
    left join line_totals on invoice_lines.invoice_id = line_totals.invoice_id
    left join credits on invoice_lines.invoice_id = credits.invoice_id
    left join invoice_deals on invoice_lines.invoice_id = invoice_deals.document_id
    left join banded on invoice_deals.opportunity_id = banded.opportunity_id
    left join customers on invoices.customer_id = customers.customer_id
    left join accounts on customers.crm_account_id = accounts.account_id
    where not coalesce(invoice_deals.is_duplicate, false)
),

-- A line without quantity, list or net price has no discount that anybody knows.
priced as (
    select * from sold
    where list_source is not null and net_source is not null
    union all
    select * from billed
    where list_source is not null and net_source is not null
),

rated as (
    select
        priced.*,
        {{ plan_rate('priced.currency') }} as rate
    from priced
    left join rates
        on priced.currency = rates.from_currency
        and priced.rate_date >= rates.valid_from
        and priced.rate_date < rates.valid_to
),

final as (
    select
        rated.basis,
        rated.line_id,
        rated.unit_id,
        rated.opportunity_id,
        rated.product_id,
        rated.segment,
        rated.region,
        rated.owner_id,
        rated.size_band,
        cast(rated.list_source * rated.rate as decimal(18, 4)) as list_amount,
        cast(rated.net_source * rated.rate as decimal(18, 4)) as net_amount,
        rated.day
    from rated
)

select * from final
