{%- set plan_days = policy_constant('plan_days', 'key_account_policy') | float | int %}
with facts as (
    select * from {{ ref('int_key_account_facts') }}
),

accounts as (
    select * from {{ ref('accounts') }}
    where not is_deleted
),

people as (
    select * from {{ ref('int_users_known') }}
),

rates as (
    select * from {{ ref('int_constant_rates') }}
),

years as (
    select
        fiscal_year,
        year_start,
        least(year_end, {{ as_of_date() }}) as year_end,
        count(distinct case when quarter_start <= {{ as_of_date() }} then quarter_start end) as quarter_count,
        year_end >= {{ as_of_date() }} as is_running
    from {{ ref('calendar') }}
    where year_start <= {{ as_of_date() }}
    group by fiscal_year, year_start, year_end
),

plans as (
    select known.*
    from {{ ref('int_account_plans_known') }} as known
    inner join accounts on known.account_id = accounts.account_id
    where not known._is_deleted and (known.approved_on is null or known.approved_on <= {{ as_of_date() }})
),

-- Of several plans of a year the one approved last speaks for it.
chosen_plans as (
    select
        plans.*,
        count(*) over (partition by plans.account_id, plans.fiscal_year) as plan_count
    from plans
    qualify row_number() over (
        partition by plans.account_id, plans.fiscal_year
        order by coalesce(plans.approved_on, cast('1900-01-01' as date)) desc, plans.plan_id asc
    ) = 1
),

account_years as (
    select
        chosen_plans.account_id,
        years.fiscal_year
    from chosen_plans
    inner join years on chosen_plans.fiscal_year = years.fiscal_year
    union
    select
        facts.account_id,
        years.fiscal_year
    from facts
    cross join years
    where facts.standing = 'on_list' and years.is_running
),

meetings as (
    select
        chosen_plans.account_id,
        chosen_plans.fiscal_year,
        count(*) as sponsor_meeting_count,
        count(distinct calendar.quarter_start) as sponsor_quarter_count
    from chosen_plans
    inner join {{ ref('int_activities_known') }} as activities on chosen_plans.executive_sponsor_id = activities.user_id
    left join {{ ref('int_contacts_known') }} as contacts on activities.contact_id = contacts.contact_id
    inner join {{ ref('calendar') }} as calendar
        on cast(activities.occurred_at as date) = calendar.day
        and chosen_plans.fiscal_year = calendar.fiscal_year
    where
        not activities._is_deleted
        and coalesce(activities.account_id, contacts.account_id) = chosen_plans.account_id
        and activities.activity_type in ('meeting', 'demo')
        and coalesce(activities.is_completed, false)
        and coalesce(activities.direction, 'unknown') != 'internal'
        and calendar.day <= {{ as_of_date() }}
    group by chosen_plans.account_id, chosen_plans.fiscal_year
),

known_objectives as (
    select
        known.*,
        coalesce(known.due_on <= {{ as_of_date() }}, false) as is_due,
        coalesce(known.completed_on <= {{ as_of_date() }}, false) as is_done
    from {{ ref('int_account_plan_objectives_known') }} as known
    where not known._is_deleted
),

objectives as (
    select
        plans.account_id,
        plans.fiscal_year,
        count(*) as objective_count,
        count(case when known.beneficiary = 'customer' then 1 end) as customer_objective_count,
        count(case when known.is_due then 1 end) as due_count,
        count(case when known.is_done then 1 end) as done_count,
        count(case when known.is_due and known.is_done then 1 end) as due_and_done_count,
        count(case when known.is_due and known.completed_on <= known.due_on then 1 end) as on_time_count,
        count(case when known.is_due and known.beneficiary = 'customer' then 1 end) as customer_due_count,
        count(case when known.is_due and known.is_done and known.beneficiary = 'customer' then 1 end) as customer_due_and_done_count
    from known_objectives as known
    inner join plans on known.plan_id = plans.plan_id
    group by plans.account_id, plans.fiscal_year
),

joined as (
    select
        account_years.account_id,
        accounts.name as account_name,
        facts.standing,
        account_years.fiscal_year,
        chosen_plans.plan_id,
        case when chosen_plans.plan_id is null then 'no plan' else chosen_plans.status end as plan_status,
        chosen_plans.owner_id,
        owners.name as owner_name,
        chosen_plans.executive_sponsor_id,
        sponsors.name as executive_sponsor_name,
        chosen_plans.customer_sponsor_contact_id,
        chosen_plans.plan_count,
        cast(
            chosen_plans.target_revenue * {{ plan_rate('chosen_plans.currency') }} as decimal(18, 4)
        ) as target_revenue,
        case when years.is_running then facts.arr end as arr,
        meetings.sponsor_meeting_count,
        meetings.sponsor_quarter_count,
        years.quarter_count,
        coalesce(objectives.objective_count, 0) as objective_count,
        coalesce(objectives.customer_objective_count, 0) as customer_objective_count,
        coalesce(objectives.due_count, 0) as due_count,
        coalesce(objectives.done_count, 0) as done_count,
        coalesce(objectives.on_time_count, 0) as on_time_count,
        coalesce(objectives.customer_due_count, 0) as customer_due_count,
        cast(objectives.due_and_done_count as double) / nullif(objectives.due_count, 0) as done_share,
        cast(objectives.customer_due_and_done_count as double) / nullif(objectives.customer_due_count, 0) as customer_done_share,
        chosen_plans.approved_on,
        case when chosen_plans.last_reviewed_on <= {{ as_of_date() }} then chosen_plans.last_reviewed_on end as last_reviewed_on,
        years.year_end
    from account_years
    inner join years on account_years.fiscal_year = years.fiscal_year
    inner join accounts on account_years.account_id = accounts.account_id
    left join chosen_plans
        on account_years.account_id = chosen_plans.account_id
        and account_years.fiscal_year = chosen_plans.fiscal_year
    left join facts on account_years.account_id = facts.account_id
    left join meetings
        on account_years.account_id = meetings.account_id
        and account_years.fiscal_year = meetings.fiscal_year
    left join objectives
        on account_years.account_id = objectives.account_id
        and account_years.fiscal_year = objectives.fiscal_year
    left join people as owners on chosen_plans.owner_id = owners.user_id
    left join people as sponsors on chosen_plans.executive_sponsor_id = sponsors.user_id
    left join rates on chosen_plans.currency = rates.from_currency
),

looked_at as (
    select
        joined.*,
        greatest(coalesce(approved_on, last_reviewed_on), coalesce(last_reviewed_on, approved_on)) as looked_at_on
    from joined
),

final as (
    select
        account_id,
        account_name,
        standing,
        plan_id,
        plan_status,
        owner_id,
        owner_name,
        executive_sponsor_id,
        executive_sponsor_name,
        customer_sponsor_contact_id,
        cast(fiscal_year as bigint) as fiscal_year,
        coalesce(plan_count, 0) as plan_count,
        target_revenue,
        cast(arr as decimal(18, 4)) as arr,
        case when executive_sponsor_id is not null then coalesce(sponsor_meeting_count, 0) end as sponsor_meeting_count,
        case when executive_sponsor_id is not null then coalesce(sponsor_quarter_count, 0) end as sponsor_quarter_count,
        quarter_count,
        objective_count,
        customer_objective_count,
        due_count,
        done_count,
        on_time_count,
        done_share,
        {{ wilson('done_share', 'cast(due_count as double)', -1) }} as done_share_low,
        {{ wilson('done_share', 'cast(due_count as double)', 1) }} as done_share_high,
        customer_due_count,
        customer_done_share,
        {{ wilson('customer_done_share', 'cast(customer_due_count as double)', -1) }} as customer_done_share_low,
        {{ wilson('customer_done_share', 'cast(customer_due_count as double)', 1) }} as customer_done_share_high,
        coalesce({{ day_count('looked_at_on', 'year_end') }} < {{ plan_days }}, false) as is_current,
        executive_sponsor_id is not null as has_executive_sponsor,
        approved_on,
        last_reviewed_on,
        year_end,
        {{ as_of_date() }} as as_of_date
    from looked_at
)

select * from final
