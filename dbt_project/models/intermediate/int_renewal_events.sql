{{ config(materialized='table') }}
{%- set grace_days = policy_constant('grace_days', 'retention_policy') | float | int %}
{%- set invoice_basis = policy_constant('invoice_basis', 'retention_policy') | float | int %}
with known as (
    select * from {{ ref('int_subscriptions_known') }}
    where not _is_deleted and arr > 0 and (end_date is null or end_date > start_date) and {{ invoice_basis }} != 2
),

deals as (
    select
        opportunity_id,
        opportunity_type
    from {{ ref('opportunities') }}
    where not is_deleted
),

rates as (
    select * from {{ ref('int_constant_rates') }}
),

subscriptions as (
    select
        known.subscription_id,
        known.customer_id as finance_customer_id,
        cast(known.arr * {{ plan_rate('known.currency') }} as decimal(18, 4)) as amount,
        coalesce(deals.opportunity_type != 'renewal', false) as is_other_sale,
        coalesce(known.cancelled_on <= {{ as_of_date() }}, false) as is_cancelled,
        known.start_date,
        known.end_date
    from known
    left join deals on known.crm_opportunity_id = deals.opportunity_id
    left join rates on known.currency = rates.from_currency
),

priced as (
    select * from subscriptions
    where amount is not null
),

starts as (
    select
        finance_customer_id,
        start_date,
        min(case when is_other_sale then 1 else 0 end) = 1 as is_change_in_term
    from priced
    group by finance_customer_id, start_date
),

events as (
    select
        priced.finance_customer_id,
        priced.end_date as due_on,
        count(*) as subscription_count,
        sum(priced.amount) as due_amount,
        min(case when priced.is_cancelled then 1 else 0 end) = 1 as is_cancelled
    from priced
    left join starts
        on priced.finance_customer_id = starts.finance_customer_id
        and priced.end_date = starts.start_date
    where priced.end_date <= {{ add_months(as_of_date(), 12) }} and not coalesce(starts.is_change_in_term, false)
    group by priced.finance_customer_id, priced.end_date
),

-- A renewal belongs to the latest day on which something was due before it.
renewals as (
    select
        events.finance_customer_id,
        events.due_on,
        priced.amount,
        priced.start_date
    from priced
    inner join events
        on priced.finance_customer_id = events.finance_customer_id
        and events.due_on <= priced.start_date
        and {{ add_days('events.due_on', grace_days) }} >= priced.start_date
    where not priced.is_other_sale
    qualify row_number() over (partition by priced.subscription_id order by events.due_on desc) = 1
),

renewed as (
    select
        finance_customer_id,
        due_on,
        sum(amount) as renewed_amount,
        min(start_date) as renewed_on
    from renewals
    group by finance_customer_id, due_on
),

final as (
    select
        events.finance_customer_id,
        cast(events.subscription_count as bigint) as subscription_count,
        cast(events.due_amount as decimal(18, 4)) as due_amount,
        cast(coalesce(renewed.renewed_amount, 0) as decimal(18, 4)) as renewed_amount,
        events.is_cancelled,
        renewed.renewed_on is not null as is_renewed,
        coalesce(renewed.renewed_on <= {{ as_of_date() }}, false)
        or (events.is_cancelled and events.due_on < {{ as_of_date() }})
        or {{ add_days('events.due_on', grace_days) }} <= {{ as_of_date() }} as is_decided,
        events.due_on,
        renewed.renewed_on
    from events
    left join renewed
        on events.finance_customer_id = renewed.finance_customer_id
        and events.due_on = renewed.due_on
)

select * from final
