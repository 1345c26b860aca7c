{# CTEs that tell every version of the rows revenue is counted from, as `known_spans`, with the days between which it was the newest: priced
   periods or, where retention is told from invoices, documents, each revenue of the twelve months from its day on. #}
{% macro revenue_versions() -%}
{%- set invoice_basis = policy_constant('invoice_basis', 'retention_policy') | float | int -%}
choice as (
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

known_spans as (
    select
        row_versions.*,
        cast(_known_at as date) as known_on,
        lead(cast(_known_at as date)) over by_row as next_known_on,
        lag(start_date) over by_row as previous_start_date,
        lag(finance_customer_id) over by_row as previous_finance_customer_id
    from row_versions
    window by_row as (partition by row_id order by _known_at, case when _operation = 'delete' then 1 else 0 end, _batch_id)
),
{%- endmacro %}

{# Versions of an entity's rows that were the newest of their key from `known_on` until before `next_known_on`, the days on which
   they became known and were replaced. Deleted rows are not among them. #}
{% macro known_spans(entity) -%}
    select spans.* from (
        select
            versions.*,
            cast(_known_at as date) as known_on,
            coalesce(cast(lead(_known_at) over (
                partition by {{ keys_of(entity) | join(', ') }} order by _known_at, case when _operation = 'delete' then 1 else 0 end, _batch_id
            ) as date), cast('9999-12-31' as date)) as next_known_on
        from ({{ known_versions(entity) }}) as versions
    ) as spans
    where _operation = 'upsert' and known_on < next_known_on
{%- endmacro %}
