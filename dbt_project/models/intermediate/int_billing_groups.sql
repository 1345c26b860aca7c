{{ config(materialized='table') }}
{#- How often candidates are taken: each time the first of those left for all of their members. -#}
{%- set rounds = 4 %}
{%- set amounts_agree = "abs({}) <= greatest(policy.amount_tolerance, policy.amount_tolerance_share * {})" %}
with policy as (
    select
        max(case when name = 'amount_tolerance' then value end) as amount_tolerance,
        max(case when name = 'amount_tolerance_share' then value end) as amount_tolerance_share,
        max(case when name = 'early_days' then value end) as early_days,
        max(case when name = 'match_days' then value end) as match_days,
        max(case when name = 'loose_match_days' then value end) as loose_match_days,
        max(case when name = 'loose_amount_share' then value end) as loose_amount_share,
        max(case when name = 'instalment_days' then value end) as instalment_days
    from {{ ref('reconciliation_policy') }}
),

invoices as (
    select * from {{ ref('int_billing_documents') }}
    where document_type = 'invoice'
),

deals as (
    select
        opportunity_id,
        account_id,
        coalesce(currency_source, '{{ var("reporting_currency") }}') as currency,
        amount_source,
        amount,
        closed_on
    from {{ ref('opportunities') }}
    where is_won and not is_deleted
),

transaction_rates as (
    select * from {{ ref('int_fx_rates_carried') }}
    qualify rate_type = max(rate_type) over (partition by from_currency)
),

free_deals as (
    select
        deals.*,
        row_number() over (partition by account_id, currency order by closed_on, opportunity_id) as place,
        row_number() over (partition by account_id, currency, amount_source order by closed_on, opportunity_id) as turn,
        sum(amount_source) over (
            partition by account_id, currency order by closed_on, opportunity_id rows between unbounded preceding and current row
        ) as running_amount
    from deals
    where
        account_id is not null
        and amount_source > 0
        and opportunity_id not in (
            select keyed.keyed_opportunity_id from invoices as keyed
            where keyed.is_matched_by_key
        )
),

free_invoices as (
    select
        invoices.*,
        row_number() over (partition by account_id, currency order by document_on, document_id) as place,
        row_number() over (partition by account_id, currency, amount order by document_on, document_id) as turn,
        sum(amount) over (
            partition by account_id, currency order by document_on, document_id rows between unbounded preceding and current row
        ) as running_amount
    from invoices
    where account_id is not null and amount > 0 and keyed_opportunity_id is null
),

only_invoices as (
    select * from invoices
    where is_matched_by_key
    qualify count(*) over (partition by keyed_opportunity_id) = 1
),

-- What an invoice with a key bills beyond its deal may be another deal.
open_invoices as (
    select
        document_id,
        account_id,
        currency,
        amount,
        turn,
        document_on
    from free_invoices
    union all
    select
        only_invoices.document_id,
        only_invoices.account_id,
        only_invoices.currency,
        only_invoices.amount - deals.amount_source as amount,
        1 as turn,
        only_invoices.document_on
    from only_invoices
    inner join deals on only_invoices.keyed_opportunity_id = deals.opportunity_id and only_invoices.currency = deals.currency
    cross join policy
    where
        only_invoices.account_id is not null
        and only_invoices.amount > deals.amount_source
        and not {{ amounts_agree.format('only_invoices.amount - deals.amount_source', 'abs(deals.amount_source)') }}
),

-- Deals further apart than an invoice may be from both of them are on none together.
deal_runs as (
    select
        firsts.account_id,
        firsts.currency,
        firsts.opportunity_id as first_deal_id,
        lasts.opportunity_id as last_deal_id,
        firsts.place as first_place,
        lasts.place as last_place,
        lasts.place - firsts.place + 1 as deal_count,
        lasts.running_amount - firsts.running_amount + firsts.amount_source as amount,
        firsts.turn,
        firsts.closed_on as first_closed_on,
        lasts.closed_on as last_closed_on
    from free_deals as firsts
    cross join policy
    inner join free_deals as lasts
        on firsts.account_id = lasts.account_id
        and firsts.currency = lasts.currency
        and (lasts.place = firsts.place or lasts.place between firsts.place + 2 and firsts.place + 5)
    where {{ day_count('firsts.closed_on', 'lasts.closed_on') }} <= policy.early_days + policy.match_days
    union all
    select
        firsts.account_id,
        firsts.currency,
        firsts.opportunity_id as first_deal_id,
        lasts.opportunity_id as last_deal_id,
        firsts.place as first_place,
        lasts.place as last_place,
        2 as deal_count,
        firsts.amount_source + lasts.amount_source as amount,
        firsts.turn,
        firsts.closed_on as first_closed_on,
        lasts.closed_on as last_closed_on
    from free_deals as firsts
    cross join policy
    inner join free_deals as lasts
        on firsts.account_id = lasts.account_id
        and firsts.currency = lasts.currency
        and lasts.place > firsts.place
    where {{ day_count('firsts.closed_on', 'lasts.closed_on') }} <= policy.early_days + policy.match_days
),

invoice_runs as (
    select
        firsts.account_id,
        firsts.currency,
        firsts.document_id as first_document_id,
        firsts.place as first_place,
        lasts.place as last_place,
        lasts.place - firsts.place + 1 as document_count,
        lasts.running_amount - firsts.running_amount + firsts.amount as amount,
        firsts.document_on as first_document_on,
        lasts.document_on as last_document_on
    from free_invoices as firsts
    inner join free_invoices as lasts
        on firsts.account_id = lasts.account_id
        and firsts.currency = lasts.currency
        and lasts.place between firsts.place + 1 and firsts.place + 11
),

fits as (
    select
        case when deal_runs.deal_count = 1 then 1 else 2 end as preference,
        'customer_amount_date' as match_rule,
        deal_runs.account_id,
        deal_runs.currency as deal_currency,
        deal_runs.first_deal_id,
        deal_runs.last_deal_id,
        deal_runs.first_place as first_deal_place,
        deal_runs.last_place as last_deal_place,
        deal_runs.deal_count,
        open_invoices.document_id as first_document_id,
        open_invoices.currency as document_currency,
        cast(null as bigint) as first_document_place,
        cast(null as bigint) as last_document_place,
        1 as document_count,
        abs(open_invoices.amount - deal_runs.amount) as difference,
        abs({{ day_count('deal_runs.last_closed_on', 'open_invoices.document_on') }}) as day_gap,
        case when deal_runs.deal_count = 1 then abs(open_invoices.turn - deal_runs.turn) else 0 end as turn_gap
    from deal_runs
    cross join policy
    inner join open_invoices on deal_runs.account_id = open_invoices.account_id and deal_runs.currency = open_invoices.currency
    where
        {{ day_count('deal_runs.last_closed_on', 'open_invoices.document_on') }} >= -policy.early_days
        and {{ day_count('deal_runs.first_closed_on', 'open_invoices.document_on') }} <= policy.match_days
        and {{ amounts_agree.format('open_invoices.amount - deal_runs.amount', 'deal_runs.amount') }}
    union all
    select
        3 as preference,
        'customer_amount_date' as match_rule,
        free_deals.account_id,
        free_deals.currency as deal_currency,
        free_deals.opportunity_id as first_deal_id,
        free_deals.opportunity_id as last_deal_id,
        free_deals.place as first_deal_place,
        free_deals.place as last_deal_place,
        1 as deal_count,
        invoice_runs.first_document_id,
        invoice_runs.currency as document_currency,
        invoice_runs.first_place as first_document_place,
        invoice_runs.last_place as last_document_place,
        invoice_runs.document_count,
        abs(invoice_runs.amount - free_deals.amount_source) as difference,
        abs({{ day_count('free_deals.closed_on', 'invoice_runs.first_document_on') }}) as day_gap,
        0 as turn_gap
    from free_deals
    cross join policy
    inner join invoice_runs on free_deals.account_id = invoice_runs.account_id and free_deals.currency = invoice_runs.currency
    where
        {{ day_count('free_deals.closed_on', 'invoice_runs.first_document_on') }} >= -policy.early_days
        and {{ day_count('free_deals.closed_on', 'invoice_runs.last_document_on') }} <= policy.instalment_days
        and {{ amounts_agree.format('invoice_runs.amount - free_deals.amount_source', 'free_deals.amount_source') }}
    union all
    select
        4 as preference,
        'customer_date' as match_rule,
        near.account_id,
        near.deal_currency,
        near.opportunity_id as first_deal_id,
        near.opportunity_id as last_deal_id,
        near.place as first_deal_place,
        near.place as last_deal_place,
        1 as deal_count,
        near.document_id as first_document_id,
        near.document_currency,
        cast(null as bigint) as first_document_place,
        cast(null as bigint) as last_document_place,
        1 as document_count,
        cast(0 as decimal(18, 4)) as difference,
        near.day_gap,
        0 as turn_gap
    from (
        select
            free_deals.account_id,
            free_deals.currency as deal_currency,
            free_deals.opportunity_id,
            free_deals.place,
            free_invoices.document_id,
            free_invoices.currency as document_currency,
            abs({{ day_count('free_deals.closed_on', 'free_invoices.document_on') }}) as day_gap,
            policy.loose_amount_share,
            case when free_deals.currency = free_invoices.currency then free_deals.amount_source else free_deals.amount end as deal_amount,
            case
                when free_deals.currency = free_invoices.currency then free_invoices.amount
                else cast(free_invoices.amount * {{ rate_of('transaction_rates', 'free_invoices.currency') }} as decimal(18, 4))
            end as document_amount
        from free_deals
        cross join policy
        inner join free_invoices on free_deals.account_id = free_invoices.account_id
        left join transaction_rates
            on free_invoices.currency = transaction_rates.from_currency
            and free_invoices.document_on >= transaction_rates.valid_from
            and free_invoices.document_on < transaction_rates.valid_to
        where
            {{ day_count('free_deals.closed_on', 'free_invoices.document_on') }} >= -policy.early_days
            and {{ day_count('free_deals.closed_on', 'free_invoices.document_on') }} <= policy.loose_match_days
    ) as near
    where
        near.deal_amount >= near.loose_amount_share * near.document_amount
        and near.document_amount >= near.loose_amount_share * near.deal_amount
),

candidates as (
    select
        fits.*,
        row_number() over (
            partition by account_id
            order by
                preference, deal_count + document_count, difference, day_gap, turn_gap, first_document_id, first_deal_id, last_deal_id
        ) as candidate
    from fits
),

members as (
    select
        candidates.account_id,
        candidates.candidate,
        candidates.match_rule,
        'deal' as member_type,
        free_deals.opportunity_id as member_id
    from candidates
    inner join free_deals
        on candidates.account_id = free_deals.account_id
        and candidates.deal_currency = free_deals.currency
        and free_deals.place between candidates.first_deal_place and candidates.last_deal_place
    where candidates.deal_count != 2 or free_deals.place in (candidates.first_deal_place, candidates.last_deal_place)
    union all
    select
        account_id,
        candidate,
        match_rule,
        'invoice' as member_type,
        first_document_id as member_id
    from candidates
    where first_document_place is null
    union all
    select
        candidates.account_id,
        candidates.candidate,
        candidates.match_rule,
        'invoice' as member_type,
        free_invoices.document_id as member_id
    from candidates
    inner join free_invoices
        on candidates.account_id = free_invoices.account_id
        and candidates.document_currency = free_invoices.currency
        and free_invoices.place between candidates.first_document_place and candidates.last_document_place
),

round_0 as (
    select
        members.*,
        true as is_left,
        false as is_taken
    from members
),

{%- for round in range(1, rounds + 1) %}
firsts_{{ round }} as (
    select
        round_{{ round - 1 }}.*,
        is_left and candidate = min(case when is_left then candidate end) over (partition by account_id, member_type, member_id) as is_first
    from round_{{ round - 1 }}
),

taken_{{ round }} as (
    select
        firsts_{{ round }}.*,
        min(case when is_first then 1 else 0 end) over (partition by account_id, candidate) = 1 as is_taken_now
    from firsts_{{ round }}
),

used_{{ round }} as (
    select
        taken_{{ round }}.*,
        max(case when is_taken_now then 1 else 0 end) over (partition by account_id, member_type, member_id) as is_used
    from taken_{{ round }}
),

round_{{ round }} as (
    select
        account_id,
        candidate,
        match_rule,
        member_type,
        member_id,
        is_left and max(is_used) over (partition by account_id, candidate) = 0 as is_left,
        is_taken or is_taken_now as is_taken
    from used_{{ round }}
),
{%- endfor %}

final as (
    select
        account_id,
        candidate,
        match_rule,
        member_type,
        member_id
    from round_{{ rounds }}
    where is_taken
)

select * from final
