{{ config(materialized='table') }}
-- What each ramped seller's record says of each factor, held against what the peers would have made of the same.
with ramped as (
    select
        sellers.*,
        coalesce(segment, '') as peer_segment
    from {{ ref('int_diagnosis_sellers') }} as sellers
    where is_ramped
),

opportunities as (
    select * from {{ ref('opportunities') }}
    where not is_deleted
),

bookings as (
    select * from {{ ref('int_period_bookings') }}
    where scope_type = 'seller' and period_type = 'month' and valid_to is null
),

activities as (
    select
        user_id,
        cast(occurred_at as date) as occurred_on
    from {{ ref('int_activities_known') }}
    where direction = 'outbound' and coalesce(is_completed, true) and not _is_deleted
),

visits as (
    select * from {{ ref('stage_visits') }}
),

stages as (
    select * from {{ ref('core_stages') }}
    where is_open and stage in (select visits.stage from visits)
),

last_stages as (
    select stage from stages
    qualify row_number() over (order by stage_order desc) = 1
),

policy as (
    select
        {{ people_policy('diagnosis_landing_days') }} as landing_days,
        {%- for name in ('cell', 'activity', 'creation', 'stage', 'landing', 'size') %}
        {{ people_policy('diagnosis_' ~ name ~ '_strength') }} as {{ name }}_strength{{ ',' if not loop.last }}
        {%- endfor %}
),

worked as (
    select
        ramped.seller_id,
        count(case when activities.occurred_on >= ramped.work_start then 1 end) as record_count,
        count(case when activities.occurred_on >= ramped.window_start then 1 end) as window_count
    from ramped
    inner join activities on ramped.seller_id = activities.user_id and activities.occurred_on <= ramped.window_end
    group by ramped.seller_id
),

deals as (
    select
        ramped.seller_id,
        ramped.role,
        ramped.window_start,
        ramped.window_end,
        ramped.record_start,
        ramped.work_start,
        opportunities.opportunity_id,
        opportunities.account_id,
        coalesce(opportunities.opportunity_type, '') as opportunity_type,
        coalesce(opportunities.segment, '') as segment,
        coalesce(opportunities.lead_source, '') as lead_source,
        opportunities.created_on,
        opportunities.closed_on,
        opportunities.is_open,
        opportunities.is_won,
        cast(opportunities.amount as double) as amount
    from ramped
    inner join opportunities on ramped.seller_id = opportunities.owner_id
),

dealt as (
    select
        seller_id,
        count(case when created_on between record_start and window_end then 1 end) as opened_record,
        count(case when created_on between work_start and window_end then 1 end) as opened_at_work,
        count(case when created_on between window_start and window_end then 1 end) as opened_window,
        count(case when not is_open and closed_on between record_start and window_end then 1 end) as decided_record,
        count(case when not is_open and not is_won and closed_on between window_start and window_end then 1 end) as failed_window,
        count(distinct case
            when opportunity_type = 'renewal' and created_on between window_start and window_end then account_id
        end) as book
    from deals
    group by seller_id
),

-- Whoever owned a deal when it was won has won it.
won as (
    select
        ramped.seller_id,
        count(*) as won_window,
        sum(bookings.amount) as booked_amount
    from ramped
    inner join bookings
        on ramped.seller_id = bookings.scope_id
        and bookings.won_on between ramped.window_start and ramped.window_end
    group by ramped.seller_id
),

totals as (
    select
        ramped.*,
        coalesce(worked.record_count, 0) as activities_record,
        coalesce(worked.window_count, 0) as activities_window,
        coalesce(dealt.opened_record, 0) as opened_record,
        coalesce(dealt.opened_at_work, 0) as opened_at_work,
        coalesce(dealt.opened_window, 0) as opened_window,
        coalesce(dealt.decided_record, 0) as decided_record,
        coalesce(dealt.failed_window, 0) + coalesce(won.won_window, 0) as decided_window,
        coalesce(won.won_window, 0) as won_window,
        coalesce(won.booked_amount, 0) as booked_amount,
        coalesce(dealt.book, 0) as book,
        greatest({{ day_count('ramped.work_start', 'ramped.window_end') }} + 1, 0) as work_days,
        {{ day_count('ramped.window_start', 'ramped.window_end') }} + 1 as window_days
    from ramped
    left join worked on ramped.seller_id = worked.seller_id
    left join dealt on ramped.seller_id = dealt.seller_id
    left join won on ramped.seller_id = won.seller_id
),

peers as (
    select
        role,
        peer_segment,
        cast(sum(activities_record) as double) / nullif(sum(work_days), 0) as activities_a_day,
        cast(sum(opened_at_work) as double) / nullif(sum(activities_record), 0) as opened_an_activity,
        cast(sum(decided_record) as double) / nullif(sum(opened_record), 0) as decided_an_opened,
        median(cast(book as double)) as book
    from totals
    group by role, peer_segment
),

-- Every deal, or stay in a stage, that a factor is told from: 1 or 0 where the factor is a rate, the amount's logarithm for size.
measures as (
    select
        'win_rate' as measured,
        '' as stage,
        deals.*,
        cast(case when is_won then 1 else 0 end as decimal(30, 12)) as measure
    from deals
    where not is_open and closed_on between record_start and window_end
    union all
    select
        'deal_size' as measured,
        '' as stage,
        deals.*,
        cast(ln(amount) as decimal(30, 12)) as measure
    from deals
    where amount > 0 and created_on between record_start and window_end
    union all
    select
        'stage' as measured,
        visits.stage,
        deals.*,
        cast(case when visits.direction in ('advance', 'skip', 'won') then 1 else 0 end as decimal(30, 12)) as measure
    from deals
    inner join visits on deals.opportunity_id = visits.opportunity_id
    where
        visits.direction in ('advance', 'skip', 'won', 'lost', 'no_decision')
        and cast(visits.entered_at as date) >= deals.record_start
        and cast(visits.exited_at as date) <= deals.window_end
    union all
    select
        'landing' as measured,
        '' as stage,
        deals.*,
        cast(
            case when visits.direction in ('won', 'lost', 'no_decision') and visits.days <= policy.landing_days then 1 else 0 end
            as decimal(30, 12)
        ) as measure
    from deals
    inner join visits on deals.opportunity_id = visits.opportunity_id
    cross join policy
    where
        visits.stage in (select last_stages.stage from last_stages)
        and cast(visits.entered_at as date) >= deals.record_start
        and {{ day_count('cast(visits.entered_at as date)', 'deals.window_end') }} >= policy.landing_days
),

-- What peers of the same job make of like deals, and how often these are won: each group leans on the next wider one.
{%- set levels = ['role', 'opportunity_type', 'segment', 'lead_source'] %}
likened_0 as (
    select
        measures.*,
        cast(sum(measure) over (partition by measured, stage, role) as double)
        / count(*) over (partition by measured, stage, role) as expected_0,
        cast(count(case when is_won then 1 end) over (partition by measured, stage, role) as double)
        / count(*) over (partition by measured, stage, role) as won_share_0
    from measures
),
{%- for level in range(1, 4) %}
{%- set keys = 'measured, stage, ' ~ levels[:level + 1] | join(', ') %}
likened_{{ level }} as (
    select
        likened_{{ level - 1 }}.*,
        {%- if level == 3 %}
        case
            when measured in ('stage', 'landing') then expected_{{ level - 1 }}
            else (cast(sum(measure) over (partition by {{ keys }}) as double) + policy.cell_strength * expected_{{ level - 1 }})
                / (count(*) over (partition by {{ keys }}) + policy.cell_strength)
        end as expected_{{ level }},
        {%- else %}
        (cast(sum(measure) over (partition by {{ keys }}) as double) + policy.cell_strength * expected_{{ level - 1 }})
        / (count(*) over (partition by {{ keys }}) + policy.cell_strength) as expected_{{ level }},
        {%- endif %}
        (count(case when is_won then 1 end) over (partition by {{ keys }}) + policy.cell_strength * won_share_{{ level - 1 }})
        / (count(*) over (partition by {{ keys }}) + policy.cell_strength) as won_share_{{ level }}
    from likened_{{ level - 1 }}
    cross join policy
),
{%- endfor %}

records as (
    select
        seller_id,
        measured,
        stage,
        count(*) as n,
        cast(sum(measure) as double) as reached,
        cast(sum(cast(expected_3 as decimal(30, 12))) as double) as expected,
        -- Of each deal there is as much to be won as like deals are won.
        cast(sum(cast(won_share_3 as decimal(30, 12))) as double) as won_expected,
        cast(sum(case when measured = 'deal_size' then cast(won_share_3 * exp(expected_3) as decimal(30, 6)) end) as double)
            as won_amount_expected
    from likened_3
    group by seller_id, measured, stage
),

sizes as (
    select
        records.seller_id,
        records.n,
        records.won_amount_expected / nullif(records.won_expected, 0) as won_amount,
        exp((records.reached - records.expected) / (records.n + policy.size_strength)) as skill
    from records
    cross join policy
    where records.measured = 'deal_size'
),

jobs as (
    select
        role,
        cast(sum(case when measured = 'landing' then measure end) as double)
        / nullif(count(case when measured = 'landing' then 1 end), 0) as landing_rate,
        -- Amounts are uneven: what won deals bring in all over what their logarithms and the sellers' say.
        cast(sum(case when measured = 'deal_size' and is_won then cast(amount as decimal(30, 6)) end) as double)
        / nullif(
            cast(sum(case
                when measured = 'deal_size' and is_won then cast(exp(expected_3) * sizes.skill as decimal(30, 6))
            end) as double),
            0
        ) as unevenness,
        {{ sum_of_squares("case when measured = 'deal_size' then cast(measure as double) - expected_3 end") }}
        / nullif(count(case when measured = 'deal_size' then 1 end), 0) as size_variance
    from likened_3
    left join sizes on likened_3.seller_id = sizes.seller_id
    group by role
),

-- Of each stage, the rate at which deals pass it, drawn towards that of the peers.
passages as (
    select
        records.seller_id,
        records.stage,
        records.n,
        records.reached / records.n as rate,
        records.expected / records.n as peer_rate,
        coalesce(
            ln((records.reached + policy.stage_strength * records.expected / records.n)
            / nullif(records.expected + policy.stage_strength * records.expected / records.n, 0)),
            0
        ) as log_ratio,
        coalesce(
            1 / nullif(records.reached + policy.stage_strength * records.expected / records.n, 0) - 1 / (records.n + policy.stage_strength),
            0
        ) as variance
    from records
    cross join policy
    where records.measured = 'stage'
),

passed as (
    select
        seller_id,
        cast(sum(cast(log_ratio as decimal(30, 12))) as double) as log_ratio,
        cast(sum(cast(variance as decimal(30, 12))) as double) as variance
    from passages
    group by seller_id
),

weakest as (
    select
        passages.*,
        row_number() over (partition by passages.seller_id order by passages.log_ratio, stages.stage_order) as weakness
    from passages
    inner join stages on passages.stage = stages.stage
    where passages.log_ratio < 0
),

placed as (
    select
        totals.*,
        policy.activity_strength,
        policy.creation_strength,
        policy.landing_strength,
        policy.size_strength,
        peers.activities_a_day,
        peers.opened_an_activity,
        peers.decided_an_opened,
        -- A seller who is given accounts to renew is held against others by how many there are.
        case when peers.book >= 1 then greatest(totals.book, 1) / peers.book else 1 end as book_ratio,
        coalesce(landings.n, 0) as landing_n,
        coalesce(landings.reached, 0) as landed,
        coalesce(landings.expected, 0) as landing_expected,
        jobs.landing_rate,
        sizes.n as size_n,
        sizes.won_amount as size_norm,
        sizes.skill as size_skill,
        jobs.unevenness,
        jobs.size_variance,
        decided.n as decided_n,
        decided.expected as decided_expected,
        coalesce(passed.log_ratio, 0) as passed_log,
        coalesce(passed.variance, 0) as passed_variance
    from totals
    cross join policy
    inner join peers on totals.role = peers.role and totals.peer_segment = peers.peer_segment
    left join jobs on totals.role = jobs.role
    left join records as landings on totals.seller_id = landings.seller_id and landings.measured = 'landing'
    left join sizes on totals.seller_id = sizes.seller_id
    left join records as decided on totals.seller_id = decided.seller_id and decided.measured = 'win_rate'
    left join passed on totals.seller_id = passed.seller_id
),

landed as (
    select
        placed.*,
        (landed + landing_strength * landing_rate) / nullif(landing_expected + landing_strength * landing_rate, 0) as landing_skill,
        coalesce(landing_expected / nullif(landing_n, 0), landing_rate) as landing_norm,
        1 / nullif(landed + landing_strength * landing_rate, 0) - 1 / (landing_n + landing_strength) as landing_variance
    from placed
),

factors as (
    select
        seller_id,
        'activities' as factor,
        cast(activities_window as double) as seller_value,
        cast(activities_window as double) as level_value,
        cast(activities_record as bigint) as n,
        activities_a_day * window_days * book_ratio as norm,
        (activities_record + activity_strength)
        / (activities_a_day * work_days * book_ratio + activity_strength) as skill,
        1 / (activities_record + activity_strength) as variance
    from landed
    union all
    select
        seller_id,
        'opportunities_per_activity' as factor,
        cast(opened_window as double) / nullif(activities_window, 0) as seller_value,
        cast(opened_window as double) as level_value,
        cast(opened_at_work as bigint) as n,
        opened_an_activity as norm,
        (opened_at_work + creation_strength) / (activities_record * opened_an_activity + creation_strength) as skill,
        1 / (opened_at_work + creation_strength) as variance
    from landed
    union all
    select
        seller_id,
        'landing' as factor,
        landed / nullif(landing_n, 0) as seller_value,
        cast(null as double) as level_value,
        cast(landing_n as bigint) as n,
        landing_norm as norm,
        landing_skill as skill,
        landing_variance as variance
    from landed
    union all
    select
        seller_id,
        'carried_over' as factor,
        cast(decided_window as double) / nullif(opened_window, 0) as seller_value,
        cast(decided_window as double) as level_value,
        cast(landing_n as bigint) as n,
        decided_an_opened as norm,
        cast(1 as double) as skill,
        landing_variance as variance
    from landed
    union all
    select
        seller_id,
        'win_rate' as factor,
        cast(won_window as double) / nullif(decided_window, 0) as seller_value,
        cast(won_window as double) as level_value,
        cast(decided_record as bigint) as n,
        decided_expected / nullif(decided_n, 0) as norm,
        floor(exp(passed_log) * 10000000000 + 0.5) / 10000000000 as skill,
        passed_variance as variance
    from landed
    union all
    select
        seller_id,
        'deal_size' as factor,
        cast(booked_amount as double) / nullif(won_window, 0) as seller_value,
        cast(booked_amount as double) as level_value,
        cast(coalesce(size_n, 0) as bigint) as n,
        size_norm * unevenness as norm,
        size_skill as skill,
        size_variance / (size_n + size_strength) as variance
    from landed
),

final as (
    select
        factors.seller_id,
        factors.factor,
        weakest.stage as weakest_stage,
        weakest.rate as stage_rate,
        weakest.peer_rate as stage_peer_rate,
        weakest.n as stage_n,
        weakest.log_ratio + {{ z90() }} * sqrt(weakest.variance) < 0 as is_stage_clear,
        factors.seller_value,
        factors.level_value,
        factors.n,
        factors.norm,
        factors.skill,
        factors.variance
    from factors
    left join weakest on factors.seller_id = weakest.seller_id and factors.factor = 'win_rate' and weakest.weakness = 1
)

select * from final
