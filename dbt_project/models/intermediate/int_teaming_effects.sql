{{ config(materialized='table') }}
{#- Factors of the width of the first age group; the last group has no end. -#}
{%- set age_groups = [(0, 1), (1, 2), (2, 4), (4, 8), (8, 16), (16, none)] %}
{%- set sums = ['treated_count', 'treated_won', 'other_count', 'other_won', 'matched_count', 'matched_won', 'control_count',
    'strata_count', 'left_out_count', 'without_sum', 'p_sum', 'variance_sum'] %}
with deals as (
    select
        opportunity_id,
        coalesce(segment, 'unknown') as segment,
        coalesce(opportunity_type, 'unknown') as opportunity_type,
        is_won,
        created_on,
        closed_on
    from {{ ref('opportunities') }}
    where not is_deleted and closed_on > {{ add_months(as_of_date(), -24) }}
),

-- Every deal has an owner: there is none to hold them against.
teams as (
    select * from {{ ref('deal_teams') }}
    where function != 'owner'
),

helpers as (
    select * from {{ ref('int_helpers') }}
),

visits as (
    select * from {{ ref('stage_visits') }}
),

age_groups as (
    {%- for first, next in age_groups %}
    select
        {{ loop.index }} as age_group,
        {{ first }} * value as from_days,
        {{ next ~ ' * value' if next else 'cast(null as double)' }} as to_days
    from {{ ref('deal_policy') }}
    where name = 'teaming_age_days'
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

-- Each function under its own name; and, as help, under that of the policy, everybody together and each person alone.
members as (
    {%- for comparison, member, source in [('function', "'all'", 'teams'), ('help', "'all'", 'helpers'), ('help', 'user_id', 'helpers')] %}
    select
        '{{ comparison }}' as comparison,
        function,
        {{ member }} as member_id,
        user_id,
        opportunity_id,
        stage_at_join,
        days_from_creation,
        joined_on
    from {{ source }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

groups as (
    select distinct
        comparison,
        function,
        member_id
    from members
),

segments as (
    select distinct segment from deals
),

first_joined as (
    select * from members
    qualify row_number() over (
        partition by comparison, function, member_id, opportunity_id order by joined_on nulls last, user_id
    ) = 1
),

-- Help that came when the deal was decided did not decide it.
helped as (
    select
        first_joined.comparison,
        first_joined.function,
        first_joined.member_id,
        deals.segment,
        deals.opportunity_type,
        deals.is_won,
        first_joined.stage_at_join as stage,
        first_joined.days_from_creation
    from first_joined
    inner join deals on first_joined.opportunity_id = deals.opportunity_id
    where first_joined.joined_on < deals.closed_on
),

-- Deals without anybody of the function. Where nobody knows when help came, the deal is on neither side.
others as (
    select
        groups.comparison,
        groups.function,
        deals.opportunity_id,
        deals.segment,
        deals.is_won
    from deals
    cross join groups
    left join first_joined
        on deals.opportunity_id = first_joined.opportunity_id
        and groups.comparison = first_joined.comparison
        and groups.function = first_joined.function
        and groups.member_id = first_joined.member_id
    where groups.member_id = 'all' and (first_joined.opportunity_id is null or first_joined.joined_on >= deals.closed_on)
),

-- Which deals were open in a stage at an age.
passed as (
    select distinct
        deals.opportunity_id,
        deals.segment,
        deals.opportunity_type,
        deals.is_won,
        visits.stage,
        age_groups.age_group
    from visits
    inner join deals on visits.opportunity_id = deals.opportunity_id
    inner join age_groups
        on {{ day_count('deals.created_on', 'cast(coalesce(visits.exited_at, deals.closed_on) as date)') }} >= age_groups.from_days
        and (
            age_groups.to_days is null
            or {{ day_count('deals.created_on', 'cast(visits.entered_at as date)') }} < age_groups.to_days
        )
),

counted as (
    select
        segment,
        opportunity_type,
        stage,
        age_group,
        count(*) as n,
        count(case when is_won then 1 end) as won_count
    from passed
    group by segment, opportunity_type, stage, age_group
),

-- What deals in that stage at that age come to: by segment and type where there are enough of them.
chances as (
    select
        segment,
        opportunity_type,
        stage,
        age_group,
        case
            when n >= {{ deal_policy('teaming_minimum_deals') }} then cast(won_count as double) / n
            else cast(sum(won_count) over situation as double) / sum(n) over situation
        end as p
    from counted
    window situation as (partition by stage, age_group)
),

treated as (
    select
        helped.comparison,
        helped.function,
        helped.member_id,
        helped.segment,
        helped.opportunity_type,
        helped.stage,
        age_groups.age_group,
        count(*) as treated_count,
        count(case when helped.is_won then 1 end) as treated_won
    from helped
    left join age_groups
        on helped.days_from_creation >= age_groups.from_days
        and (age_groups.to_days is null or helped.days_from_creation < age_groups.to_days)
    group by
        helped.comparison, helped.function, helped.member_id, helped.segment, helped.opportunity_type, helped.stage, age_groups.age_group
),

controls as (
    select
        others.comparison,
        others.function,
        passed.*
    from passed
    inner join others on passed.opportunity_id = others.opportunity_id
),

control_groups as (
    select
        comparison,
        function,
        segment,
        opportunity_type,
        stage,
        age_group,
        count(*) as control_count,
        count(case when is_won then 1 end) as control_won
    from controls
    group by comparison, function, segment, opportunity_type, stage, age_group
),

strata as (
    select
        treated.*,
        control_groups.control_count,
        cast(control_groups.control_won as double) / control_groups.control_count as control_rate,
        chances.p,
        coalesce(control_groups.control_count > 0, false) as is_matched
    from treated
    left join control_groups
        on treated.comparison = control_groups.comparison
        and treated.function = control_groups.function
        and treated.segment = control_groups.segment
        and treated.opportunity_type = control_groups.opportunity_type
        and treated.stage = control_groups.stage
        and treated.age_group = control_groups.age_group
    left join chances
        on treated.segment = chances.segment
        and treated.opportunity_type = chances.opportunity_type
        and treated.stage = chances.stage
        and treated.age_group = chances.age_group
),

-- A deal that stands for several strata counts once, with all its weight: its outcome is one.
weights as (
    select
        strata.comparison,
        strata.function,
        strata.member_id,
        controls.segment,
        controls.opportunity_id,
        cast(
            sum(cast(sqrt(strata.p * (1 - strata.p)) * strata.treated_count / strata.control_count as decimal(38, 18))) as double
        ) as weight
    from controls
    inner join strata
        on controls.comparison = strata.comparison
        and controls.function = strata.function
        and controls.segment = strata.segment
        and controls.opportunity_type = strata.opportunity_type
        and controls.stage = strata.stage
        and controls.age_group = strata.age_group
    group by strata.comparison, strata.function, strata.member_id, controls.segment, controls.opportunity_id
),

-- Fractions are added as decimals: in whatever order, the same deals give the same bytes.
matched as (
    select
        comparison,
        function,
        member_id,
        segment,
        sum(treated_count) as treated_count,
        sum(treated_won) as treated_won,
        sum(case when is_matched then treated_count else 0 end) as matched_count,
        sum(case when is_matched then treated_won else 0 end) as matched_won,
        count(case when is_matched then 1 end) as strata_count,
        count(case when not is_matched then 1 end) as left_out_count,
        sum(case when is_matched then cast(control_rate * treated_count as decimal(38, 18)) end) as without_sum,
        sum(case when is_matched then cast(p * treated_count as decimal(38, 18)) end) as p_sum,
        sum(case when is_matched then cast(p * (1 - p) * treated_count as decimal(38, 18)) end) as treated_variance
    from strata
    group by comparison, function, member_id, segment
),

control_variances as (
    select
        comparison,
        function,
        member_id,
        segment,
        count(*) as control_count,
        sum(cast(weight * weight as decimal(38, 18))) as control_variance
    from weights
    group by comparison, function, member_id, segment
),

other_counts as (
    select
        comparison,
        function,
        segment,
        count(*) as other_count,
        count(case when is_won then 1 end) as other_won
    from others
    group by comparison, function, segment
),

in_segments as (
    select
        groups.*,
        segments.segment,
        matched.treated_count,
        matched.treated_won,
        other_counts.other_count,
        other_counts.other_won,
        matched.matched_count,
        matched.matched_won,
        matched.strata_count,
        matched.left_out_count,
        matched.without_sum,
        matched.p_sum,
        matched.treated_variance + control_variances.control_variance as variance_sum,
        control_variances.control_count
    from groups
    cross join segments
    left join matched
        on groups.comparison = matched.comparison
        and groups.function = matched.function
        and groups.member_id = matched.member_id
        and segments.segment = matched.segment
    left join other_counts
        on groups.comparison = other_counts.comparison
        and groups.function = other_counts.function
        and segments.segment = other_counts.segment
    left join control_variances
        on groups.comparison = control_variances.comparison
        and groups.function = control_variances.function
        and groups.member_id = control_variances.member_id
        and segments.segment = control_variances.segment
),

told_segments as (
    select segment from segments
    union all
    select 'all' as segment
),

summed as (
    select
        groups.comparison,
        groups.function,
        groups.member_id,
        told_segments.segment,
        {%- for name in sums %}
        coalesce(sum(in_segments.{{ name }}), 0) as {{ name }}{{ ',' if not loop.last }}
        {%- endfor %}
    from groups
    cross join told_segments
    left join in_segments
        on groups.comparison = in_segments.comparison
        and groups.function = in_segments.function
        and groups.member_id = in_segments.member_id
        and (told_segments.segment = in_segments.segment or told_segments.segment = 'all')
    group by groups.comparison, groups.function, groups.member_id, told_segments.segment
),

rated as (
    select
        summed.*,
        cast(matched_won as double) / nullif(matched_count, 0) as win_rate_with,
        cast(without_sum as double) / nullif(matched_count, 0) as win_rate_without,
        cast(p_sum as double) / nullif(matched_count, 0) as p_at_join,
        {{ z90() }} * sqrt(cast(variance_sum as double)) / nullif(matched_count, 0) as half_width,
        cast(treated_won as double) / nullif(treated_count, 0) - cast(other_won as double) / nullif(other_count, 0) as raw_difference,
        matched_count >= {{ deal_policy('teaming_minimum_deals') }} as is_enough_matched,
        least(matched_count, control_count) >= {{ deal_policy('teaming_minimum_deals') }} as is_enough
    from summed
),

final as (
    select
        comparison,
        function,
        member_id,
        segment,
        case
            when treated_count = 0 then 'nobody in this function joined a deal decided in the 24 months'
            when matched_count = 0 then 'no deal without this function was in the same stage at the same age'
            when not is_enough_matched then 'too few deals could be matched'
            when not is_enough then 'too few deals without this function were in the same stage at the same age'
        end as reason,
        cast(treated_count as bigint) as treated_count,
        cast(matched_count as bigint) as matched_count,
        cast(control_count as bigint) as control_count,
        cast(other_count as bigint) as other_count,
        cast(strata_count as bigint) as strata_count,
        cast(left_out_count as bigint) as strata_left_out_count,
        case when is_enough then p_at_join end as p_at_join,
        case when is_enough then win_rate_with end as win_rate_with,
        case when is_enough then win_rate_without end as win_rate_without,
        case when is_enough then win_rate_with - win_rate_without end as effect,
        case when is_enough then greatest(-1, win_rate_with - win_rate_without - half_width) end as effect_low,
        case when is_enough then least(1, win_rate_with - win_rate_without + half_width) end as effect_high,
        case when is_enough then raw_difference end as raw_difference
    from rated
)

select * from final
