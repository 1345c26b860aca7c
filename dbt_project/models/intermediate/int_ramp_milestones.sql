{{ config(materialized='table') }}
{%- set norm_months = policy_constant('ramp_norm_months', 'people_policy') | float | int %}
-- docs/ramp.md is the rule.
with jobs as (
    select * from {{ ref('int_rep_jobs') }}
),

facts as (
    select * from {{ ref('int_ramp_facts') }}
),

calendar as (
    select * from {{ ref('calendar') }}
),

first_jobs as (
    select * from jobs
    where job_number = 1 or since_on <= hired_on
    qualify row_number() over (partition by rep_id order by job_number desc) = 1
),

-- Whoever leaves, or takes up a job that does not sell, cannot get there any more.
endings as (
    select
        rep_id,
        min(case when not is_selling and since_on > hired_on then since_on end) as moved_on,
        max(case when is_selling then 1 else 0 end) as has_sold
    from jobs
    group by rep_id
),

people as (
    select
        first_jobs.rep_id,
        first_jobs.name,
        first_jobs.role,
        first_jobs.region,
        first_jobs.segment,
        first_jobs.is_selling,
        case
            when endings.moved_on <= coalesce(first_jobs.terminated_on, endings.moved_on) then 'other_job'
            when first_jobs.terminated_on is not null then 'left'
        end as ending,
        first_jobs.hired_on,
        least(
            coalesce(endings.moved_on, first_jobs.terminated_on), coalesce(first_jobs.terminated_on, endings.moved_on)
        ) as ended_on
    from first_jobs
    inner join endings on first_jobs.rep_id = endings.rep_id
    where endings.has_sold = 1 and (first_jobs.hired_on is null or first_jobs.hired_on <= {{ as_of_date() }})
),

-- A few old rows make no history: it begins with the first hundredth.
facts_so_far as (
    select
        kind,
        day,
        sum(fact_count) over (partition by kind order by day) as fact_count,
        sum(fact_count) over (partition by kind) as total
    from facts
),

histories as (
    select
        kind,
        min(day) as history_from
    from facts_so_far
    where fact_count >= total * {{ people_policy('ramp_history_share') }}
    group by kind
),

complete_months as (
    select distinct
        month_start,
        month_end
    from calendar
    where month_end <= {{ as_of_date() }}
),

months as (
    select
        month_start,
        month_end,
        row_number() over (order by month_start) as month_number,
        lag(month_start, {{ norm_months - 1 }}) over (order by month_start) as norm_start
    from complete_months
),

last_months as (
    select
        max(month_number) as last_number,
        max(month_number) - 3 as decided_number
    from months
),

booked as (
    select
        months.month_number,
        facts.user_id,
        sum(facts.amount) as amount
    from facts
    inner join months on facts.day between months.month_start and months.month_end
    where facts.kind = 'booked'
    group by months.month_number, facts.user_id
),

selling_months as (
    {{ selling_periods('month', 'norm_start') }}
),

trailing_months as (
    select
        selling_months.rep_id,
        selling_months.role,
        selling_months.segment,
        selling_months.month_number,
        selling_months.month_end,
        selling_months.is_ramped,
        cast(coalesce(sum(
            case when booked.month_number > selling_months.month_number - 3 then booked.amount end
        ), 0) as double) as amount,
        -- Three months of a ramped peer's trailing year.
        cast(coalesce(sum(booked.amount), 0) as double) * 3 / {{ norm_months }} as norm_amount
    from selling_months
    left join booked
        on selling_months.rep_id = booked.user_id
        and booked.month_number between selling_months.month_number - {{ norm_months - 1 }} and selling_months.month_number
    group by
        selling_months.rep_id, selling_months.role, selling_months.segment, selling_months.month_number, selling_months.month_end,
        selling_months.is_ramped
),

ranked as (
    select
        month_number,
        role,
        segment,
        norm_amount as amount,
        row_number() over (partition by month_number, role, segment order by norm_amount, rep_id) as place,
        count(*) over (partition by month_number, role, segment) as n
    from trailing_months
    where is_ramped
),

-- The middle one, or halfway between the middle two.
norms as (
    select
        month_number,
        role,
        segment,
        sum(amount) / count(*) as amount
    from ranked
    where n >= {{ people_policy('ramp_minimum_peers') }} and 2 * place between n and n + 2
    group by month_number, role, segment
),

-- Where half of the peers have booked nothing, everybody would be productive.
seller_months as (
    select
        people.rep_id,
        trailing_months.month_number,
        trailing_months.month_end,
        coalesce(norms.amount, 0) > 0 as is_judged,
        case
            when norms.amount > 0 and trailing_months.amount >= norms.amount * {{ people_policy('productive_share') }} then 1
            else 0
        end as is_reached
    from people
    inner join trailing_months
        on people.rep_id = trailing_months.rep_id
        and (people.ended_on is null or trailing_months.month_end <= people.ended_on)
    left join norms
        on trailing_months.month_number = norms.month_number
        and trailing_months.role = norms.role
        and trailing_months.segment = norms.segment
),

held as (
    select
        seller_months.*,
        coalesce(sum(is_reached) over (
            partition by rep_id order by month_number range between 1 following and 3 following
        ), 0) as held_count
    from seller_months
),

-- Told of everybody alike when three months have followed: whoever holds early would else be seen before whoever does not.
productive as (
    select
        held.rep_id,
        min(held.month_number) as month_number,
        min(held.month_end) as reached_on
    from held
    cross join last_months
    where held.is_reached = 1 and held.held_count >= {{ people_policy('productive_held_months') }}
        and held.month_number <= last_months.decided_number
    group by held.rep_id
),

unjudged as (
    select distinct seller_months.rep_id
    from seller_months
    left join productive on seller_months.rep_id = productive.rep_id
    where not seller_months.is_judged and seller_months.month_number <= coalesce(productive.month_number + 3, seller_months.month_number)
),

firsts as (
    select
        people.rep_id,
        facts.kind,
        min(facts.day) as reached_on
    from people
    inner join facts
        on people.rep_id = facts.user_id
        and facts.day >= people.hired_on
        and (people.ended_on is null or facts.day <= people.ended_on)
    group by people.rep_id, facts.kind
),

milestones as (
    {%- for milestone, kind in [('first_meeting', 'meeting'), ('first_pipeline', 'opened'), ('first_win', 'won'), ('productive', 'won')] %}
    select
        '{{ milestone }}' as milestone,
        '{{ kind }}' as kind,
        {% if milestone == 'productive' -%}
        max(month_end) as observed_until
    from months
    cross join last_months
    where months.month_number <= last_months.decided_number
        {%- else -%}
        {{ as_of_date() }} as observed_until
        {%- endif %}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

told as (
    select
        people.*,
        milestones.milestone,
        milestones.kind,
        case
            when people.hired_on is null then 'no hire date'
            when not people.is_selling then 'hired for another job'
            when people.role = 'development_rep' then 'development reps sell through others'
            when people.ended_on < people.hired_on then 'left before hired'
            when histories.history_from is null then 'nothing recorded'
            when people.hired_on < histories.history_from then 'hired before history'
            when milestones.milestone = 'productive' and unjudged.rep_id is not null then 'not enough ramped peers'
        end as reason,
        case when milestones.milestone = 'productive' then productive.reached_on else firsts.reached_on end as milestone_on,
        milestones.observed_until
    from people
    cross join milestones
    left join histories on milestones.kind = histories.kind
    left join firsts on people.rep_id = firsts.rep_id and milestones.kind = firsts.kind
    left join productive on people.rep_id = productive.rep_id
    left join unjudged on people.rep_id = unjudged.rep_id
),

reached as (
    select
        told.*,
        case when reason is null then milestone_on end as reached_on,
        case when reason is null then {{ service_month('hired_on', 'milestone_on') }} end as reached_month,
        case when reason is null then {{ service_month('hired_on', 'ended_on') }} end as ended_month,
        -- Months of service that are over.
        case
            when reason is null
                then greatest({{ service_month('hired_on', add_days('coalesce(observed_until, hired_on)', 1)) }} - 1, 0)
        end as observed_months
    from told
),

final as (
    select
        rep_id,
        milestone,
        name,
        role,
        region,
        segment,
        kind,
        reason,
        ending,
        case
            when reason is not null then null
            when reached_on is not null then 'reached'
            when ended_on is not null then 'ended'
            else 'waiting'
        end as state,
        case
            when reason is not null then null
            when reached_month <= observed_months then 'reached'
            when reached_on is null and ended_on <= observed_until and ended_month <= observed_months then 'ended'
            else 'censored'
        end as outcome,
        cast(reached_month as bigint) as reached_month,
        cast(
            case
                when reached_month <= observed_months then reached_month
                when reached_on is null and ended_on <= observed_until and ended_month <= observed_months then ended_month
                else observed_months
            end as bigint
        ) as outcome_month,
        hired_on,
        ended_on,
        reached_on
    from reached
)

select * from final
