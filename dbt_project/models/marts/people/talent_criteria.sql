{%- set z = z90() %}
-- Who is hired already; an export may name those who are still to come.
with people as (
    select * from {{ ref('int_career_levels') }}
),

sellers as (
    select
        sellers.*,
        window_reason as own_reason,
        {{ day_count('record_start', 'window_end') }} + 1 as record_days
    from {{ ref('int_diagnosis_sellers') }} as sellers
    inner join people on sellers.seller_id = people.person_id
),

criteria as (
    select * from {{ ref('talent_rules') }}
),

diagnosis as (
    select * from {{ ref('rep_diagnosis') }}
),

attainments as (
    select * from {{ ref('int_talent_attainments') }}
),

joins as (
    select * from {{ ref('int_talent_joins') }}
),

team as (
    select * from {{ ref('int_opportunity_team_known') }}
    where not _is_deleted and lower(team_role) not in ('owner', 'sourcing')
),

credibility as (
    select * from {{ ref('submitter_credibility') }}
    where period_type = 'quarter' and horizon = 'all'
),

discounts as (
    select * from {{ ref('discount_discipline') }}
    where scope_type = 'seller'
),

sessions as (
    select
        manager_id,
        rep_id,
        cast(occurred_at as date) as occurred_on,
        follow_up_on,
        completed_on
    from {{ ref('int_coaching_sessions_known') }}
    where not _is_deleted and rep_id != manager_id
),

policy as (
    select
        {%- for name in ('minimum_joined', 'minimum_days', 'minimum_controls', 'minimum_cases', 'expert_ratio', 'against_z') %}
        {{ people_policy('talent_' ~ name) }} as {{ name }},
        {%- endfor %}
        {{ people_policy('diagnosis_minimum_peers') }} as minimum_peers,
        (select count(*) from team) > 0 as has_team,
        (select count(*) from sessions) > 0 as has_sessions
),

skills as (
    select
        seller_id,
        factor,
        reason,
        n,
        own_ratio,
        ln(own_ratio) as own_log,
        (ln(own_ratio_high) - ln(own_ratio)) / {{ z }} as deviation
    from diagnosis
    where factor in ('win_rate', 'deal_size')
),

yields as (
    select
        wins.seller_id,
        wins.reason,
        wins.n,
        wins.own_log + sizes.own_log as own_log,
        sqrt(wins.deviation * wins.deviation + sizes.deviation * sizes.deviation) as deviation
    from skills as wins
    inner join skills as sizes on wins.seller_id = sizes.seller_id and sizes.factor = 'deal_size'
    where wins.factor = 'win_rate'
),

join_counts as (
    select
        sellers.seller_id,
        sellers.role,
        sellers.record_days,
        cast(sellers.record_days as double) / 365.25 as record_years,
        count(joins.opportunity_id) as joined_count
    from sellers
    left join joins on sellers.seller_id = joins.seller_id
    where sellers.own_reason is null
    group by sellers.seller_id, sellers.role, sellers.record_days
),

rates as (
    select
        join_counts.*,
        joined_count / record_years as rate,
        {%- for end, sign in [('low', '-'), ('high', '+')] %}
        (joined_count + {{ z * z / 2 }} {{ sign }} {{ z }} * sqrt(joined_count + {{ z * z / 4 }}))
        / record_years as rate_{{ end }}
        {{- ',' if not loop.last }}
        {%- endfor %}
    from join_counts
),

-- The median: one who joins everything does not make everybody else lag.
usual as (
    select
        role,
        count(*) as peer_count,
        median(rate) as norm
    from rates
    group by role
),

collaborations as (
    select
        rates.*,
        usual.norm,
        usual.peer_count
    from rates
    inner join usual on rates.role = usual.role
),

-- The like deals of one type and segment are the same ones: their error is one.
lift_groups as (
    select
        joins.seller_id,
        count(*) as deal_count,
        count(case when joins.is_won then 1 end) as won_count,
        cast(sum(cast(joins.like_win_rate as decimal(30, 12))) as double) as expected,
        cast(sum(cast(joins.like_win_rate * (1 - joins.like_win_rate) as decimal(30, 12))) as double) as variance,
        cast(sum(
            cast(sqrt(joins.like_win_rate * (1 - joins.like_win_rate) / joins.like_count) as decimal(30, 12))
        ) as double) as norm_error
    from joins
    cross join policy
    where joins.is_decided and joins.like_count >= policy.minimum_controls
    group by joins.seller_id, joins.opportunity_type, joins.segment
),

lifts as (
    select
        seller_id,
        sum(deal_count) as deal_count,
        (sum(won_count) - cast(sum(cast(expected as decimal(30, 12))) as double)) / sum(deal_count) as lift,
        {{ z }} * sqrt(cast(sum(cast(variance + norm_error * norm_error as decimal(30, 12))) as double))
        / sum(deal_count) as half_width
    from lift_groups
    group by seller_id
),

-- Calls of sellers are off by some for everybody: who is further off than most is not calibrated.
usual_calls as (
    select
        count(*) as peer_count,
        median(abs(credibility.bias)) as norm
    from credibility
    inner join sellers on credibility.submitter_id = sellers.seller_id
    where sellers.own_reason is null and credibility.reason is null
),

calibrations as (
    select
        credibility.*,
        usual_calls.peer_count,
        usual_calls.norm
    from credibility
    cross join usual_calls
),

spans as (
    select
        min(record_start) as first_start,
        max(window_end) as window_end
    from sellers
    where is_ramped
),

due as (
    select
        sessions.manager_id,
        sessions.rep_id,
        sessions.occurred_on,
        case when sessions.completed_on <= spans.window_end then 1 else 0 end as done
    from sessions
    cross join spans
    where
        sessions.occurred_on between spans.first_start and spans.window_end
        and sessions.follow_up_on <= spans.window_end
),

coached as (
    select
        due.manager_id,
        due.rep_id,
        count(*) as due_count,
        sum(due.done) as done_count,
        count(case when due.occurred_on >= sellers.record_start then 1 end) as own_due_count,
        sum(case when due.occurred_on >= sellers.record_start then due.done else 0 end) as own_done_count
    from due
    left join sellers on due.rep_id = sellers.seller_id and sellers.own_reason is null
    group by due.manager_id, due.rep_id
),

beside as (
    select
        coached.*,
        (sum(due_count) over with_manager) - due_count as others_due_count,
        (sum(done_count) over with_manager) - done_count as others_done_count
    from coached
    window with_manager as (partition by manager_id)
),

-- Whose manager insists has more done: each is held against others with the same managers.
follow_ups as (
    select
        beside.rep_id as seller_id,
        sum(beside.own_due_count) as due_count,
        cast(sum(beside.own_done_count) as double) / sum(beside.own_due_count) as done_share,
        cast(sum(cast(
            beside.own_due_count * cast(beside.others_done_count as double) / beside.others_due_count as decimal(30, 12)
        )) as double) / sum(beside.own_due_count) as norm
    from beside
    cross join policy
    where beside.own_due_count > 0 and beside.others_due_count >= policy.minimum_cases
    group by beside.rep_id
),

evidence as (
    select
        seller_id,
        'expert' as track,
        'deal_yield' as criterion,
        reason,
        cast(null as string) as stated,
        n,
        exp(own_log) as value,
        exp(own_log - {{ z }} * deviation) as value_low,
        exp(own_log + {{ z }} * deviation) as value_high,
        cast(1 as double) as norm
    from yields
    union all
    select
        seller_id,
        'expert' as track,
        factor as criterion,
        reason,
        cast(null as string) as stated,
        n,
        own_ratio as value,
        exp(own_log - {{ z }} * deviation) as value_low,
        exp(own_log + {{ z }} * deviation) as value_high,
        cast(1 as double) as norm
    from skills
    union all
    select
        seller_id,
        'expert' as track,
        'true_attainment' as criterion,
        reason,
        cast(null as string) as stated,
        quarter_count as n,
        true_attainment as value,
        true_attainment_low as value_low,
        true_attainment_high as value_high,
        attainable as norm
    from attainments
    union all
    select
        collaborations.seller_id,
        'leader' as track,
        'collaboration' as criterion,
        case
            when not policy.has_team then 'team members are not delivered'
            when collaborations.record_days < policy.minimum_days then 'not there long enough'
            when collaborations.peer_count < policy.minimum_peers then 'not enough peers'
        end as reason,
        -- Where nobody joins, one deal would be above all others.
        case
            when collaborations.joined_count < policy.minimum_joined and collaborations.rate_low > collaborations.norm then 'as_peers'
        end as stated,
        collaborations.joined_count as n,
        collaborations.rate as value,
        collaborations.rate_low as value_low,
        collaborations.rate_high as value_high,
        collaborations.norm
    from collaborations
    cross join policy
    union all
    select
        sellers.seller_id,
        'leader' as track,
        'team_lift' as criterion,
        case
            when not policy.has_team then 'team members are not delivered'
            when coalesce(lifts.deal_count, 0) < policy.minimum_cases then 'too few deals joined that can be matched'
        end as reason,
        cast(null as string) as stated,
        coalesce(lifts.deal_count, 0) as n,
        lifts.lift as value,
        lifts.lift - lifts.half_width as value_low,
        lifts.lift + lifts.half_width as value_high,
        cast(0 as double) as norm
    from sellers
    cross join policy
    left join lifts on sellers.seller_id = lifts.seller_id
    union all
    select
        sellers.seller_id,
        'leader' as track,
        'calibration' as criterion,
        case
            when calibrations.submitter_id is null then 'no calls'
            when calibrations.reason is not null then calibrations.reason
            when calibrations.peer_count < policy.minimum_peers then 'not enough peers'
        end as reason,
        cast(null as string) as stated,
        coalesce(calibrations.n, 0) as n,
        abs(calibrations.bias) as value,
        case
            when calibrations.bias_low <= 0 and calibrations.bias_high >= 0 then 0
            else least(abs(calibrations.bias_low), abs(calibrations.bias_high))
        end as value_low,
        greatest(abs(calibrations.bias_low), abs(calibrations.bias_high)) as value_high,
        calibrations.norm
    from sellers
    cross join policy
    left join calibrations on sellers.seller_id = calibrations.submitter_id
    union all
    select
        sellers.seller_id,
        'leader' as track,
        'discount_discipline' as criterion,
        case when discounts.excess is null then coalesce(discounts.excess_reason, 'no deals to compare') end as reason,
        case
            when discounts.verdict in ('above_like_deals', 'lift_at_period_end') then 'below_peers'
            when discounts.verdict = 'below_like_deals' then 'above_peers'
            else 'as_peers'
        end as stated,
        coalesce(discounts.like_n, 0) as n,
        discounts.excess as value,
        discounts.excess_low as value_low,
        discounts.excess_high as value_high,
        cast(0 as double) as norm
    from sellers
    left join discounts on sellers.seller_id = discounts.scope_id
    union all
    select
        sellers.seller_id,
        'leader' as track,
        'follow_ups' as criterion,
        case
            when not policy.has_sessions then 'coaching sessions are not delivered'
            when coalesce(follow_ups.due_count, 0) < policy.minimum_cases then 'too few follow-ups are due'
        end as reason,
        cast(null as string) as stated,
        coalesce(follow_ups.due_count, 0) as n,
        follow_ups.done_share as value,
        {{ wilson('follow_ups.done_share', 'cast(follow_ups.due_count as double)', -1) }} as value_low,
        {{ wilson('follow_ups.done_share', 'cast(follow_ups.due_count as double)', 1) }} as value_high,
        follow_ups.norm
    from sellers
    cross join policy
    left join follow_ups on sellers.seller_id = follow_ups.seller_id
),

cells as (
    select
        sellers.seller_id,
        sellers.seller_name,
        sellers.role,
        sellers.record_start,
        sellers.window_end,
        criteria.track,
        criteria.criterion,
        criteria.criterion_order,
        criteria.rule,
        criteria.higher_is_better,
        coalesce(sellers.own_reason, evidence.reason) as reason,
        evidence.stated,
        evidence.n,
        evidence.value,
        evidence.value_low,
        evidence.value_high,
        evidence.norm
    from sellers
    cross join criteria
    left join evidence
        on sellers.seller_id = evidence.seller_id
        and criteria.track = evidence.track
        and criteria.criterion = evidence.criterion
),

judged as (
    select
        cells.*,
        case
            when reason is not null then 'not_enough_data'
            when stated is not null then stated
            when value_low > norm then case when higher_is_better then 'above_peers' else 'below_peers' end
            when value_high < norm then case when higher_is_better then 'below_peers' else 'above_peers' end
            else 'as_peers'
        end as verdict
    from cells
),

final as (
    select
        judged.seller_id,
        judged.track,
        judged.criterion,
        judged.seller_name,
        judged.role,
        judged.rule,
        judged.verdict,
        judged.reason,
        judged.criterion_order,
        cast(coalesce(judged.n, 0) as bigint) as n,
        case when judged.reason is null then judged.value end as value,
        case when judged.reason is null then judged.value_low end as value_low,
        case when judged.reason is null then judged.value_high end as value_high,
        case when judged.reason is null then judged.norm end as norm,
        case
            when judged.reason is not null then null
            when judged.rule = 'above' then judged.verdict = 'above_peers'
            when judged.rule = 'at_least' then judged.value >= policy.expert_ratio
            when judged.stated is not null then judged.verdict != 'below_peers'
            -- Several criteria must not be below: each at so many standard errors that chance seldom refuses anybody.
            when judged.higher_is_better then judged.value + (judged.value_high - judged.value) * policy.against_z / {{ z }} >= judged.norm
            else judged.value - (judged.value - judged.value_low) * policy.against_z / {{ z }} <= judged.norm
        end as is_met,
        case when judged.record_start <= judged.window_end then judged.record_start end as record_start,
        judged.window_end,
        {{ as_of_date() }} as as_of_date
    from judged
    cross join policy
)

select * from final
