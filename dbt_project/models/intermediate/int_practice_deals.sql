{{ config(materialized='table') }}
-- Each practice on each decided deal, looked at when nobody knew the outcome; docs/best-practices.md is the rule.
{%- set months = policy_constant('practice_months', 'people_policy') | float | int %}
with practices as (
    select * from {{ ref('sales_practices') }}
),

deals as (
    select * from {{ ref('opportunities') }}
    where
        not is_deleted
        and not is_open
        and created_on is not null
        and closed_on > {{ add_months(as_of_date(), '-' ~ months) }}
),

stretches as (
    select * from {{ ref('int_opportunity_stretches') }}
),

stages as (
    select * from {{ ref('core_stages') }}
),

visits as (
    select
        visits.opportunity_id,
        visits.visit_number,
        visits.entered_at,
        stages.stage_order
    from {{ ref('stage_visits') }} as visits
    inner join stages on visits.stage = stages.stage
),

reps as (
    select * from {{ ref('reps') }}
),

size_bands as (
    select * from {{ ref('size_bands') }}
),

activities as (
    select
        activities.*,
        activities.activity_type in ('meeting', 'demo') as is_meeting,
        coalesce(activities.direction, 'outbound') = 'inbound' as is_inbound,
        {{ day_count('deals.created_on', 'cast(activities.occurred_at as date)') }} as deal_days
    from {{ ref('int_activities_known') }} as activities
    inner join deals on activities.opportunity_id = deals.opportunity_id
    where
        not activities._is_deleted
        and activities.activity_type in ('email', 'call', 'meeting', 'demo')
        and coalesce(activities.direction, 'outbound') != 'internal'
        and coalesce(activities.purpose, 'sell') != 'coaching'
        and coalesce(activities.is_completed, true)
        and activities.occurred_at < {{ end_of_day(as_of_date()) }}
),

first_messages as (
    select
        opportunity_id,
        min(occurred_at) as occurred_at
    from activities
    where activity_type = 'email' and is_inbound
    group by opportunity_id
),

engaged as (
    select
        opportunity_id,
        contact_id,
        min(occurred_at) as happened_at
    from activities
    where contact_id is not null and (is_inbound or is_meeting)
    group by opportunity_id, contact_id
),

economic_buyers as (
    select
        opportunity_id,
        contact_id,
        coalesce(added_at, _known_at) as named_at
    from {{ ref('int_opportunity_contacts_known') }}
    where not _is_deleted and buying_role = 'economic_buyer'
),

helped as (
    select
        activities.opportunity_id,
        activities.user_id,
        reps.role,
        min(activities.occurred_at) as happened_at
    from activities
    inner join reps
        on activities.user_id = reps.rep_id
        and cast(activities.occurred_at as date) >= reps.valid_from
        and (reps.valid_to is null or cast(activities.occurred_at as date) < reps.valid_to)
    left join stretches
        on activities.opportunity_id = stretches.opportunity_id
        and activities.occurred_at >= stretches.valid_from
        and (stretches.valid_to is null or activities.occurred_at < stretches.valid_to)
    where
        reps.role = 'specialist'
        or (reps.role = 'manager' and activities.user_id is distinct from stretches.owner_id)
    group by activities.opportunity_id, activities.user_id, reps.role
),

facts as (
    select
        opportunity_id,
        'meeting' as fact,
        activity_id as what,
        occurred_at as happened_at
    from activities
    where is_meeting
    union all
    select
        activities.opportunity_id,
        'reply' as fact,
        activities.activity_id as what,
        activities.occurred_at as happened_at
    from activities
    inner join first_messages on activities.opportunity_id = first_messages.opportunity_id
    where (activities.is_meeting or not activities.is_inbound) and activities.occurred_at >= first_messages.occurred_at
    union all
    select
        opportunity_id,
        'contact_week' as fact,
        cast(cast(floor(deal_days / 7) as bigint) as string) as what,
        min(occurred_at) as happened_at
    from activities
    where deal_days >= 0
    group by opportunity_id, cast(cast(floor(deal_days / 7) as bigint) as string)
    union all
    select
        opportunity_id,
        'contact' as fact,
        contact_id as what,
        happened_at
    from engaged
    union all
    select
        engaged.opportunity_id,
        'economic_buyer' as fact,
        engaged.contact_id as what,
        greatest(engaged.happened_at, economic_buyers.named_at) as happened_at
    from engaged
    inner join economic_buyers
        on engaged.opportunity_id = economic_buyers.opportunity_id
        and engaged.contact_id = economic_buyers.contact_id
    union all
    select
        opportunity_id,
        role as fact,
        user_id as what,
        happened_at
    from helped
    union all
    select
        opportunity_id,
        'next_step' as fact,
        cast(changed_at as string) as what,
        changed_at as happened_at
    from {{ ref('int_opportunity_events') }}
    where field = 'next_step' and not is_doubled and not is_unreadable and not is_after
    union all
    select
        opportunity_id,
        'next_step' as fact,
        cast(changed_at as string) as what,
        changed_at as happened_at
    from {{ ref('int_loaded_changes') }}
    where field = 'next_step'
    union all
    select
        opportunity_id,
        'verified' as fact,
        element as what,
        min(assessed_at) as happened_at
    from {{ ref('int_qualifications_known') }}
    where not _is_deleted and status = 'verified'
    group by opportunity_id, element
    union all
    select
        opportunity_id,
        'discount_request' as fact,
        approval_id as what,
        requested_at as happened_at
    from {{ ref('int_discount_approvals_known') }}
    where not _is_deleted
),

-- The first coming to the stage; a deal that was created there has no before.
arrivals as (
    select
        practices.practice,
        visits.opportunity_id,
        visits.visit_number,
        visits.entered_at
    from practices
    inner join visits on visits.stage_order >= practices.moment_value
    where practices.moment = 'stage'
    qualify row_number() over (partition by practices.practice, visits.opportunity_id order by visits.visit_number) = 1
),

moments as (
    select
        practices.practice,
        deals.opportunity_id,
        {{ end_of_day(add_days('deals.created_on', 'practices.moment_value')) }} as moment_at
    from practices
    cross join deals
    where practices.moment = 'age'
    union all
    select
        practice,
        opportunity_id,
        entered_at as moment_at
    from arrivals
    where visit_number > 1
    union all
    select
        practices.practice,
        first_messages.opportunity_id,
        first_messages.occurred_at + practices.moment_value * interval '1' day as moment_at
    from practices
    cross join first_messages
    where practices.moment = 'message'
),

looked_at as (
    select
        practices.practice,
        practices.fact,
        practices.minimum,
        practices.within_days,
        deals.opportunity_id,
        stretches.owner_id,
        coalesce(stretches.segment, 'unknown') as segment,
        coalesce(deals.opportunity_type, 'unknown') as opportunity_type,
        coalesce(stretches.stage, 'unknown') as stage,
        stretches.amount,
        {{ day_count('deals.created_on', 'cast(moments.moment_at as date)') }} as age_days,
        deals.is_won,
        moments.moment_at
    from moments
    inner join practices on moments.practice = practices.practice
    inner join deals on moments.opportunity_id = deals.opportunity_id
    inner join stretches
        on moments.opportunity_id = stretches.opportunity_id
        and moments.moment_at >= stretches.valid_from
        and (stretches.valid_to is null or moments.moment_at < stretches.valid_to)
    where stretches.is_open
),

counted as (
    select
        looked_at.practice,
        looked_at.opportunity_id,
        count(distinct facts.what) as fact_count
    from looked_at
    inner join facts
        on looked_at.opportunity_id = facts.opportunity_id
        and looked_at.fact = facts.fact
        and facts.happened_at < looked_at.moment_at
    where
        looked_at.within_days is null
        or {{ second_count('facts.happened_at', 'looked_at.moment_at') }} <= looked_at.within_days * 86400
    group by looked_at.practice, looked_at.opportunity_id
),

final as (
    select
        looked_at.practice,
        looked_at.opportunity_id,
        looked_at.owner_id,
        looked_at.segment,
        looked_at.opportunity_type,
        looked_at.stage,
        coalesce(size_bands.size_band, 'unknown') as size_band,
        case
            {%- for times in (1, 2, 4, 8, 16) %}
            when looked_at.age_days < {{ times }} * {{ people_policy('practice_age_days') }} then {{ loop.index }}
            {%- endfor %}
            else 6
        end as age_group,
        looked_at.amount,
        coalesce(counted.fact_count, 0) as fact_count,
        coalesce(counted.fact_count, 0) >= looked_at.minimum as is_done,
        looked_at.is_won,
        looked_at.moment_at
    from looked_at
    left join counted
        on looked_at.practice = counted.practice
        and looked_at.opportunity_id = counted.opportunity_id
    left join size_bands
        on looked_at.amount >= size_bands.from_amount
        and (size_bands.below_amount is null or looked_at.amount < size_bands.below_amount)
)

select * from final
