{{ config(materialized='table') }}
{%- set policy = {} %}
{%- for name in ('engaged_days', 'relationship_days', 'value_days', 'left_days', 'objective_days', 'sponsor_days', 'planned_years') %}
{%- do policy.update({name: policy_constant(name, 'key_account_policy') | float | int}) %}
{%- endfor %}
with accounts as (
    select * from {{ ref('accounts') }}
    where not is_deleted
),

accounts_known as (
    select * from {{ ref('int_accounts_known') }}
),

account_spans as (
    {{ known_spans('accounts') }}
),

activities as (
    select * from {{ ref('int_activities_known') }}
    where not _is_deleted and cast(occurred_at as date) <= {{ as_of_date() }}
),

contacts as (
    select * from {{ ref('int_contacts_known') }}
),

plans as (
    select * from {{ ref('int_account_plans_known') }}
    where not _is_deleted and (approved_on is null or approved_on <= {{ as_of_date() }})
),

objectives as (
    select * from {{ ref('int_account_plan_objectives_known') }}
    where not _is_deleted
),

today as (
    select
        fiscal_year,
        month_start,
        month_number
    from (
        select
            day,
            fiscal_year,
            month_start,
            dense_rank() over (order by month_start) as month_number
        from {{ ref('calendar') }}
    ) as days
    where day = {{ as_of_date() }}
),

delivered as (
    select
        (select count(*) from activities) > 0 as has_activities,
        (select count(case when not contacts._is_deleted then 1 end) from contacts) > 0 as has_contacts,
        (select count(*) from plans) > 0 as has_plans,
        (select count(*) from objectives) > 0 as has_objectives
),

candidates as (
    select
        account_id,
        case when is_on_list then 1 when standing = 'left' then 2 else 3 end as standing_order
    from {{ ref('key_account_list') }}
    where is_on_list or left_on > {{ add_days(as_of_date(), -policy['left_days']) }} or standing = 'waiting'
    union all
    select
        plans.account_id,
        4 as standing_order
    from plans
    cross join today
    where plans.fiscal_year between today.fiscal_year - {{ policy['planned_years'] - 1 }} and today.fiscal_year
),

chosen as (
    select
        accounts.account_id,
        min(candidates.standing_order) as standing_order
    from candidates
    inner join accounts on candidates.account_id = accounts.account_id
    group by accounts.account_id
),

last_reviews as (
    select * from {{ ref('key_account_reviews') }}
    qualify row_number() over (partition by account_id order by reviewed_on desc) = 1
),

revenue as (
    select
        customers.account_id,
        sum(case when months.month_number = today.month_number then months.closing else 0 end) as arr,
        sum(case when months.month_number = today.month_number - 12 then months.closing else 0 end) as arr_year_ago
    from {{ ref('int_arr_months') }} as months
    cross join today
    inner join {{ ref('int_paying_customers') }} as customers on months.finance_customer_id = customers.finance_customer_id
    where months.month_number in (today.month_number, today.month_number - 12) and customers.account_id is not null
    group by customers.account_id
),

-- What an account paid in the last month in which it paid anything.
paid as (
    select
        account_id,
        max_by(arr, month_number) as last_arr
    from (
        select
            customers.account_id,
            months.month_number,
            sum(months.closing) as arr
        from {{ ref('int_arr_months') }} as months
        cross join today
        inner join {{ ref('int_paying_customers') }} as customers on months.finance_customer_id = customers.finance_customer_id
        inner join chosen on customers.account_id = chosen.account_id
        where months.month_number <= today.month_number
        group by customers.account_id, months.month_number
    ) as by_month
    where arr > 0
    group by account_id
),

endings as (
    select
        customers.account_id,
        subscriptions.churn_reason
    from {{ ref('int_subscriptions_known') }} as subscriptions
    inner join {{ ref('int_paying_customers') }} as customers on subscriptions.customer_id = customers.finance_customer_id
    where not subscriptions._is_deleted and subscriptions.end_date <= {{ as_of_date() }}
    qualify row_number() over (
        partition by customers.account_id order by subscriptions.end_date desc, subscriptions.subscription_id desc
    ) = 1
),

due as (
    select
        customers.account_id,
        sum(case when events.is_cancelled then events.due_amount end) as cancelled_amount,
        sum(case when not events.is_cancelled and events.due_on <= {{ as_of_date() }} then events.due_amount end) as overdue_amount
    from {{ ref('int_renewal_events') }} as events
    inner join {{ ref('int_paying_customers') }} as customers on events.finance_customer_id = customers.finance_customer_id
    where not events.is_renewed and (events.due_on > {{ as_of_date() }} or not events.is_decided)
    group by customers.account_id
),

billed as (
    select distinct account_id from {{ ref('int_paying_customers') }}
),

-- Since when the newest versions of the account say the same of its wallet; the first load does not tell since when.
wallet_versions as (
    select
        account_spans.account_id,
        account_spans.addressable_spend,
        account_spans.addressable_spend_source,
        account_spans.known_on,
        account_spans._known_at < account_spans._extracted_at as is_first_load,
        lag(coalesce(cast(account_spans.addressable_spend as string), '') || '|' || coalesce(account_spans.addressable_spend_source, ''))
            over by_account as said_before
    from account_spans
    inner join chosen on account_spans.account_id = chosen.account_id
    window by_account as (partition by account_spans.account_id order by account_spans.known_on)
),

wallets as (
    select
        account_id,
        max(case when not is_first_load then known_on end) as wallet_estimated_on
    from wallet_versions
    where
        said_before is null
        or said_before != coalesce(cast(addressable_spend as string), '') || '|' || coalesce(addressable_spend_source, '')
    group by account_id
),

touches as (
    select
        chosen.account_id,
        activities.user_id,
        -- Whoever has left the customer is no relationship any more.
        case when not coalesce(contacts._is_deleted, false) and coalesce(contacts.is_active, true) then activities.contact_id end
            as contact_id,
        contacts.seniority in ('c_level', 'vp', 'director') as is_senior,
        contacts.business_function,
        activities.direction,
        activities.purpose,
        cast(activities.occurred_at as date) as occurred_on,
        activities.activity_type in ('meeting', 'demo') and coalesce(activities.is_completed, false) as is_meeting
    from activities
    left join contacts on activities.contact_id = contacts.contact_id
    inner join chosen on coalesce(activities.account_id, contacts.account_id) = chosen.account_id
    where coalesce(activities.direction, 'unknown') != 'internal'
),

relationships as (
    select
        account_id,
        count(distinct case when is_engaged and is_lately then contact_id end) as engaged_contact_count,
        count(distinct case when is_engaged and is_lately and is_senior then contact_id end) as engaged_senior_count,
        count(distinct case when is_engaged and is_lately and contact_id is not null then business_function end) as engaged_function_count,
        count(distinct case when is_engaged and is_within_relationship then contact_id end) as relationship_contact_count,
        count(distinct case when is_engaged and is_within_relationship and is_senior then contact_id end) as relationship_senior_count,
        count(case when is_meeting and is_within_value then 1 end) as meeting_count,
        count(case when is_meeting and is_within_value and purpose = 'value_review' then 1 end) as value_meeting_count,
        count(
            case when is_meeting and is_within_value and purpose = 'value_review' and direction = 'outbound' then 1 end
        ) as proactive_meeting_count,
        max(case when is_engaged then occurred_on end) as last_engaged_on
    from (
        select
            touches.*,
            is_meeting or coalesce(direction = 'inbound', false) as is_engaged,
            occurred_on > {{ add_days(as_of_date(), -policy['engaged_days']) }} as is_lately,
            occurred_on > {{ add_days(as_of_date(), -policy['relationship_days']) }} as is_within_relationship,
            occurred_on > {{ add_days(as_of_date(), -policy['value_days']) }} as is_within_value
        from touches
    ) as dated
    group by account_id
),

current_plans as (
    select
        plans.*,
        case when plans.last_reviewed_on <= {{ as_of_date() }} then plans.last_reviewed_on end as reviewed_on
    from plans
    cross join today
    where plans.fiscal_year <= today.fiscal_year
    qualify row_number() over (
        partition by plans.account_id
        order by plans.fiscal_year desc, coalesce(plans.approved_on, cast('1900-01-01' as date)) desc, plans.plan_id asc
    ) = 1
),

sponsor_meetings as (
    select
        current_plans.account_id,
        max(touches.occurred_on) as last_sponsor_meeting_on
    from current_plans
    inner join touches
        on current_plans.account_id = touches.account_id
        and current_plans.executive_sponsor_id = touches.user_id
    where touches.is_meeting
    group by current_plans.account_id
),

active_users as (
    select distinct user_id from activities
),

promises as (
    select
        plans.account_id,
        count(*) as objective_count,
        count(case when objectives.completed_on <= {{ as_of_date() }} then 1 end) as objectives_met_count
    from objectives
    inner join plans on objectives.plan_id = plans.plan_id
    where
        objectives.beneficiary = 'customer'
        and objectives.due_on <= {{ as_of_date() }}
        and objectives.due_on > {{ add_days(as_of_date(), -policy['objective_days']) }}
    group by plans.account_id
),

people as (
    select * from {{ ref('int_users_known') }}
),

joined as (
    select
        chosen.account_id,
        accounts.name as account_name,
        accounts.segment,
        accounts.industry,
        accounts.region,
        coalesce(accounts.owner_id, 'unknown') as manager_id,
        coalesce(managers.name, accounts.owner_id, 'unknown') as manager_name,
        case chosen.standing_order when 1 then 'on_list' when 2 then 'left' when 3 then 'waiting' else 'planned' end as standing,
        last_reviews.score,
        case
            when billed.account_id is null then 'no finance'
            when coalesce(revenue.arr_year_ago, 0) <= 0 then 'nothing a year before'
        end as growth_reason,
        case when billed.account_id is not null then greatest(coalesce(revenue.arr, 0), 0) end as arr,
        case when billed.account_id is not null then greatest(coalesce(revenue.arr_year_ago, 0), 0) end as arr_year_ago,
        nullif(accounts_known.addressable_spend, 0) as addressable_spend,
        case when accounts_known.addressable_spend != 0 then accounts_known.addressable_spend_source end as wallet_source,
        coalesce(billed.account_id is not null and coalesce(revenue.arr, 0) <= 0 and paid.account_id is not null, false) as is_lost,
        paid.last_arr,
        endings.churn_reason,
        due.cancelled_amount,
        due.overdue_amount,
        {%- for name in (
            'engaged_contact_count', 'relationship_contact_count', 'meeting_count', 'value_meeting_count', 'proactive_meeting_count'
        ) %}
        case when delivered.has_activities then coalesce(relationships.{{ name }}, 0) end as {{ name }},
        {%- endfor %}
        {%- for name in ('engaged_senior_count', 'engaged_function_count', 'relationship_senior_count') %}
        case when delivered.has_activities and delivered.has_contacts then coalesce(relationships.{{ name }}, 0) end as {{ name }},
        {%- endfor %}
        current_plans.plan_id,
        current_plans.executive_sponsor_id,
        sponsors.name as executive_sponsor_name,
        current_plans.fiscal_year as plan_fiscal_year,
        case when delivered.has_objectives then coalesce(promises.objective_count, 0) end as objective_count,
        case when delivered.has_objectives then coalesce(promises.objectives_met_count, 0) end as objectives_met_count,
        case
            when current_plans.plan_id is null then 'no plan'
            when current_plans.executive_sponsor_id is null then 'no sponsor'
            when active_users.user_id is null then 'nothing of the sponsor on record'
        end as sponsor_reason,
        case
            when active_users.user_id is not null
                then coalesce(sponsor_meetings.last_sponsor_meeting_on > {{ add_days(as_of_date(), -policy['sponsor_days']) }}, false)
        end as has_sponsor_meeting,
        delivered.has_plans,
        coalesce(current_plans.fiscal_year = today.fiscal_year, false) as has_plan_of_the_year,
        case when accounts_known.addressable_spend != 0 then wallets.wallet_estimated_on end as wallet_estimated_on,
        relationships.last_engaged_on,
        sponsor_meetings.last_sponsor_meeting_on,
        greatest(
            coalesce(current_plans.approved_on, current_plans.reviewed_on), coalesce(current_plans.reviewed_on, current_plans.approved_on)
        ) as plan_looked_at_on
    from chosen
    cross join today
    cross join delivered
    inner join accounts on chosen.account_id = accounts.account_id
    inner join accounts_known on chosen.account_id = accounts_known.account_id
    left join people as managers on accounts.owner_id = managers.user_id
    left join last_reviews on chosen.account_id = last_reviews.account_id
    left join billed on chosen.account_id = billed.account_id
    left join revenue on chosen.account_id = revenue.account_id
    left join paid on chosen.account_id = paid.account_id
    left join endings on chosen.account_id = endings.account_id
    left join due on chosen.account_id = due.account_id
    left join wallets on chosen.account_id = wallets.account_id
    left join relationships on chosen.account_id = relationships.account_id
    left join current_plans on chosen.account_id = current_plans.account_id
    left join people as sponsors on current_plans.executive_sponsor_id = sponsors.user_id
    left join sponsor_meetings on chosen.account_id = sponsor_meetings.account_id
    left join active_users on current_plans.executive_sponsor_id = active_users.user_id
    left join promises on chosen.account_id = promises.account_id
),

final as (
    select
        joined.*,
        cast(arr as double) / nullif(cast(arr_year_ago as double), 0) as nrr,
        cast(least(arr, arr_year_ago) as double) / nullif(cast(arr_year_ago as double), 0) as grr,
        cast(arr as double) / nullif(cast(addressable_spend as double), 0) as wallet_share,
        cast(proactive_meeting_count as double) / nullif(meeting_count, 0) as proactive_share,
        cast(proactive_meeting_count as double) / nullif(value_meeting_count, 0) as initiated_share,
        cast(objectives_met_count as double) / nullif(objective_count, 0) as objectives_met_share
    from joined
)

select * from final
