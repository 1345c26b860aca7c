{{ config(materialized='table') }}
with policy as (
    select max(case when name = 'duplicate_days' then value end) as duplicate_days
    from {{ ref('reconciliation_policy') }}
),

documents as (
    select * from {{ ref('int_billing_documents') }}
),

invoices as (
    select * from documents
    where document_type = 'invoice'
),

matched_groups as (
    select * from {{ ref('int_billing_groups') }}
),

deals as (
    select * from {{ ref('opportunities') }}
    where is_won and not is_deleted
),

pairs as (
    select
        document_id,
        keyed_opportunity_id as opportunity_id,
        'crm_opportunity_id' as match_rule
    from invoices
    where is_matched_by_key
    union all
    select
        members.member_id as document_id,
        of_deals.member_id as opportunity_id,
        members.match_rule
    from matched_groups as members
    inner join matched_groups as of_deals
        on members.account_id = of_deals.account_id
        and members.candidate = of_deals.candidate
        and of_deals.member_type = 'deal'
    where members.member_type = 'invoice'
),

placed as (
    select
        pairs.document_id,
        pairs.opportunity_id,
        pairs.match_rule,
        invoices.account_id,
        invoices.currency,
        invoices.amount as invoice_amount,
        invoices.document_on,
        deals.amount_source as deal_amount,
        count(*) over (partition by pairs.document_id) as deal_count,
        -- The deal of the key comes first, so that it is never the last.
        row_number() over (
            partition by pairs.document_id
            order by case when pairs.match_rule = 'crm_opportunity_id' then 0 else 1 end, deals.closed_on, pairs.opportunity_id
        ) as place
    from pairs
    inner join invoices on pairs.document_id = invoices.document_id
    inner join deals on pairs.opportunity_id = deals.opportunity_id
),

-- The same amount billed again to the same customer belongs to the same deal.
again as (
    select
        invoices.document_id,
        placed.opportunity_id,
        invoices.amount as invoice_amount
    from invoices
    cross join policy
    inner join placed
        on invoices.account_id = placed.account_id
        and invoices.currency = placed.currency
        and invoices.amount = placed.invoice_amount
    where
        invoices.keyed_opportunity_id is null
        and invoices.amount > 0
        and invoices.document_id not in (select pairs.document_id from pairs)
        and placed.place = placed.deal_count
        and abs({{ day_count('placed.document_on', 'invoices.document_on') }}) <= policy.duplicate_days
    qualify row_number() over (
        partition by invoices.document_id
        order by abs({{ day_count('placed.document_on', 'invoices.document_on') }}), placed.document_on, placed.document_id
    ) = 1
),

-- Of a shared invoice each deal has its own amount, the last one what is left.
shared as (
    select
        document_id,
        opportunity_id,
        match_rule,
        invoice_amount,
        deal_count,
        place = deal_count as is_last,
        case
            when place < deal_count then deal_amount
            else invoice_amount - (
                sum(case when place < deal_count then deal_amount else 0 end) over (partition by document_id)
            )
        end as amount
    from placed
    union all
    select
        document_id,
        opportunity_id,
        'duplicate_document' as match_rule,
        invoice_amount,
        1 as deal_count,
        true as is_last,
        invoice_amount as amount
    from again
),

credited as (
    select
        documents.document_id,
        documents.invoice_id,
        shared.opportunity_id,
        shared.match_rule,
        shared.deal_count,
        shared.is_last,
        documents.amount as credit_amount,
        case
            when not shared.is_last
                then cast(
                    floor(
                        cast(documents.amount as double) * cast(shared.amount as double) / cast(shared.invoice_amount as double) * 100 + 0.5
                    ) / 100 as decimal(18, 4)
                )
        end as part
    from documents
    inner join shared on documents.invoice_id = shared.document_id
    where documents.document_type = 'credit_note'
),

final as (
    select
        'invoice' as document_type,
        document_id,
        document_id as invoice_id,
        opportunity_id,
        match_rule,
        cast(amount as decimal(18, 4)) as amount,
        invoice_amount,
        deal_count
    from shared
    union all
    select
        'credit_note' as document_type,
        document_id,
        invoice_id,
        opportunity_id,
        match_rule,
        cast(
            case
                when is_last then credit_amount - (sum(coalesce(part, 0)) over (partition by document_id))
                else part
            end as decimal(18, 4)
        ) as amount,
        credit_amount as invoice_amount,
        deal_count
    from credited
)

select * from final
