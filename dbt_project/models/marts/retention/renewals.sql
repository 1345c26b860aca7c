{%- set grace_days = policy_constant('grace_days', 'retention_policy') | float | int %}
{%- set policy = {} %}
{%- for name in (
    'engaged_days', 'support_days', 'support_factor', 'support_minimum', 'payment_days', 'overdue_days', 'renewal_deal_days'
) %}
{%- do policy.update({name: policy_constant(name, 'retention_policy') | float}) %}
{%- endfor %}
{%- set risks = [
    'payment_overdue', 'no_engaged_contact', 'no_renewal_deal', 'deal_in_trouble', 'single_contact', 'support_rising', 'shrinking'
] %}
with events as (
    select * from {{ ref('int_renewal_events') }}
    where due_on > {{ as_of_date() }} or not is_decided
),

customers as (
    select * from {{ ref('int_paying_customers') }}
),

activities as (
    select * from {{ ref('int_activities_known') }}
    where not _is_deleted and cast(occurred_at as date) <= {{ as_of_date() }}
),

contacts as (
    select * from {{ ref('int_contacts_known') }}
),

invoices as (
    select * from {{ ref('int_invoices_known') }}
    where not _is_deleted and coalesce(status, 'open') != 'void' and invoice_date <= {{ as_of_date() }}
),

credited as (
    select
        notes.invoice_id,
        sum(cast(notes.amount * {{ plan_rate('notes.currency') }} as decimal(18, 4))) as amount
    from {{ ref('int_credit_notes_known') }} as notes
    left join {{ ref('int_constant_rates') }} as rates on notes.currency = rates.from_currency
    where not notes._is_deleted and notes.credit_date <= {{ as_of_date() }}
    group by notes.invoice_id
),

rates as (
    select * from {{ ref('int_constant_rates') }}
),

cohorts as (
    select * from {{ ref('int_arr_cohorts') }}
    where unit_type = 'customer' and month_start <= {{ as_of_date() }} and month_end >= {{ as_of_date() }}
),

delivered as (
    select
        (select count(*) from activities) > 0 as has_activities,
        (select count(case when activities.purpose = 'support' then 1 end) from activities) > 0 as has_support,
        (select count(*) from {{ ref('int_invoices_known') }}) > 0 as has_invoices
),

touches as (
    select
        coalesce(activities.account_id, contacts.account_id) as account_id,
        -- Whoever has left the customer is no relationship any more.
        case when not coalesce(contacts._is_deleted, false) and coalesce(contacts.is_active, true) then activities.contact_id end
            as contact_id,
        activities.purpose,
        coalesce(activities.direction, 'unknown') != 'internal'
        and (
            activities.direction = 'inbound'
            or (activities.activity_type in ('meeting', 'demo') and coalesce(activities.is_completed, false))
        ) as is_engaged,
        {{ day_count('cast(activities.occurred_at as date)', as_of_date()) }} as days_ago
    from activities
    left join contacts on activities.contact_id = contacts.contact_id
),

relationships as (
    select
        account_id,
        count(distinct case when is_engaged and days_ago < {{ policy['engaged_days'] | int }} then contact_id end) as engaged_contact_count,
        min(case when is_engaged then days_ago end) as days_since_contact,
        count(case when purpose = 'support' and days_ago < {{ policy['support_days'] | int }} then 1 end) as support_count,
        count(
            case
                when
                    purpose = 'support'
                    and days_ago >= {{ policy['support_days'] | int }}
                    and days_ago < {{ 2 * policy['support_days'] | int }}
                    then 1
            end
        ) as support_count_before
    from touches
    where account_id is not null
    group by account_id
),

billed as (
    select
        invoices.customer_id as finance_customer_id,
        cast(invoices.amount * {{ plan_rate('invoices.currency') }} as decimal(18, 4)) - coalesce(credited.amount, 0) as amount_left,
        invoices.due_date,
        invoices.paid_on,
        coalesce(invoices.paid_on > {{ as_of_date() }}, invoices.status != 'paid', true) as is_unpaid,
        {{ day_count('invoices.due_date', as_of_date()) }} as days_ago
    from invoices
    left join rates on invoices.currency = rates.from_currency
    left join credited on invoices.invoice_id = credited.invoice_id
    where invoices.due_date is not null
),

payments as (
    select
        finance_customer_id,
        count(case when days_ago >= 0 and days_ago < {{ policy['payment_days'] | int }} then 1 end) as invoice_count,
        count(
            case
                when
                    days_ago >= 0
                    and days_ago < {{ policy['payment_days'] | int }}
                    and ((is_unpaid and days_ago > 0) or (not is_unpaid and paid_on > due_date))
                    then 1
            end
        ) as late_count,
        sum(case when is_overdue then amount_left end) as overdue_amount,
        max(case when is_overdue then days_ago end) as overdue_days
    from (
        select
            billed.*,
            is_unpaid and days_ago > 0 and days_ago < {{ policy['payment_days'] | int }} and amount_left > 0 as is_overdue
        from billed
    ) as dated
    group by finance_customer_id
),

renewal_deals as (
    select
        deals.account_id,
        deals.opportunity_id,
        health.verdict,
        health.signal_count,
        health.top_signal
    from {{ ref('opportunities') }} as deals
    inner join {{ ref('deal_health') }} as health on deals.opportunity_id = health.opportunity_id
    where deals.opportunity_type = 'renewal' and deals.is_open and not deals.is_deleted
    qualify row_number() over (partition by deals.account_id order by deals.close_date, deals.opportunity_id) = 1
),

seen as (
    select
        events.*,
        customers.account_id,
        customers.customer_id,
        customers.customer_name,
        customers.segment,
        customers.region,
        customers.account_manager_id,
        customers.account_manager_name,
        case
            when events.is_renewed then 'renewed'
            when events.is_cancelled then 'cancelled'
            when events.due_on <= {{ as_of_date() }} then 'overdue'
            else 'open'
        end as status,
        {{ day_count(as_of_date(), 'events.due_on') }} as days_left,
        case
            when delivered.has_activities and customers.account_id is not null then coalesce(relationships.engaged_contact_count, 0)
        end as engaged_contact_count,
        relationships.days_since_contact,
        case
            when delivered.has_support and customers.account_id is not null then coalesce(relationships.support_count, 0)
        end as support_count,
        case
            when delivered.has_support and customers.account_id is not null then coalesce(relationships.support_count_before, 0)
        end as support_count_before,
        case when delivered.has_invoices then coalesce(payments.invoice_count, 0) end as invoice_count,
        cast(payments.late_count as double) / nullif(payments.invoice_count, 0) as late_share,
        case when delivered.has_invoices then coalesce(payments.overdue_amount, 0) end as overdue_amount,
        case when delivered.has_invoices then coalesce(payments.overdue_days, 0) end as overdue_days,
        renewal_deals.opportunity_id as renewal_opportunity_id,
        renewal_deals.verdict as renewal_verdict,
        renewal_deals.signal_count as renewal_signal_count,
        renewal_deals.top_signal as renewal_top_signal,
        cast(cohorts.arr as double) / nullif(cast(cohorts.arr_year_ago as double), 0) - 1 as arr_change_share
    from events
    cross join delivered
    inner join customers on events.finance_customer_id = customers.finance_customer_id
    left join relationships on customers.account_id = relationships.account_id
    left join payments on events.finance_customer_id = payments.finance_customer_id
    left join renewal_deals on customers.account_id = renewal_deals.account_id
    left join cohorts on customers.customer_id = cohorts.customer_id
),

judged as (
    select
        seen.*,
        status in ('open', 'overdue') and coalesce(overdue_days >= {{ policy['overdue_days'] | int }}, false) as payment_overdue,
        status in ('open', 'overdue') and coalesce(engaged_contact_count = 0, false) as no_engaged_contact,
        status in ('open', 'overdue')
        and account_id is not null
        and renewal_opportunity_id is null
        and days_left < {{ policy['renewal_deal_days'] | int }} as no_renewal_deal,
        status in ('open', 'overdue') and coalesce(renewal_verdict != 'on_track', false) as deal_in_trouble,
        status in ('open', 'overdue') and coalesce(engaged_contact_count = 1, false) as single_contact,
        status in ('open', 'overdue')
        and coalesce(
            support_count >= {{ policy['support_factor'] }} * support_count_before
            and support_count >= {{ policy['support_minimum'] | int }},
            false
        ) as support_rising,
        status in ('open', 'overdue') and coalesce(arr_change_share < 0, false) as shrinking
    from seen
),

evidenced as (
    select
        judged.*,
        nullif(
            concat_ws(
                ', ',
                {%- for risk in risks %}
                case when {{ risk }} then '{{ risk }}' end{{ ',' if not loop.last }}
                {%- endfor %}
            ), ''
        ) as risk_evidence,
        case
            {%- for risk in risks %}
            when {{ risk }} then '{{ risk }}'
            {%- endfor %}
        end as top_risk,
        case
            when status in ('open', 'overdue')
                then
                    {%- for risk in risks %}
                    case when {{ risk }} then 1 else 0 end{{ ' +' if not loop.last }}
                    {%- endfor %}
        end as risk_count
    from judged
),

risk_words as (
    select * from {{ ref('renewal_risks') }}
),

final as (
    select
        evidenced.finance_customer_id,
        evidenced.customer_id,
        evidenced.customer_name,
        evidenced.account_id,
        evidenced.segment,
        evidenced.region,
        evidenced.account_manager_id,
        evidenced.account_manager_name,
        evidenced.status,
        evidenced.risk_evidence,
        evidenced.top_risk,
        risk_words.what_is_wrong,
        risk_words.what_to_do,
        evidenced.renewal_opportunity_id,
        evidenced.renewal_verdict,
        evidenced.renewal_top_signal,
        evidenced.subscription_count,
        evidenced.due_amount,
        evidenced.renewed_amount,
        cast(evidenced.risk_count as bigint) as risk_count,
        evidenced.engaged_contact_count,
        cast(evidenced.days_since_contact as bigint) as days_since_contact,
        evidenced.support_count,
        evidenced.support_count_before,
        evidenced.invoice_count,
        evidenced.late_share,
        {{ wilson('evidenced.late_share', 'cast(evidenced.invoice_count as double)', -1) }} as late_share_low,
        {{ wilson('evidenced.late_share', 'cast(evidenced.invoice_count as double)', 1) }} as late_share_high,
        cast(evidenced.overdue_amount as decimal(18, 4)) as overdue_amount,
        cast(evidenced.overdue_days as bigint) as overdue_days,
        evidenced.renewal_signal_count,
        evidenced.arr_change_share,
        evidenced.due_on,
        evidenced.renewed_on,
        {{ as_of_date() }} as as_of_date
    from evidenced
    left join risk_words on evidenced.top_risk = risk_words.risk
)

select * from final
