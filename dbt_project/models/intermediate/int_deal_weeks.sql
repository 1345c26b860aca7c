{{ config(materialized=growing(), pre_hook="{{ take_out() }}") }}
{%- set back = '-' ~ policy_constant('value_erosion', 'signals', 'window_days') %}
-- depends_on: {{ ref('int_last_deal_weeks') }}
-- What could be seen of each open deal at each weekly review, and on the as-of date.
with snapshots as (
    select * from {{ ref('pipeline_snapshots') }}
    where (is_week_end or snapshot_date = as_of_date) and {{ is_live() }}
),

history as (
    select * from {{ ref('int_opportunity_history') }}
    where {{ is_live() }}
),

deals as (
    select * from {{ ref('opportunities') }}
),

visits as (
    select * from {{ ref('stage_visits') }}
    where {{ is_live() }}
),

stages as (
    select * from {{ ref('core_stages') }}
),

elements as (
    select * from {{ ref('qualification_elements') }}
),

calendar as (
    select * from {{ ref('calendar') }}
),

-- An assessment holds until the next one of the same element.
qualifications as (
    select
        opportunity_id,
        element,
        status,
        greatest(assessed_at, _known_at) as valid_from,
        lead(greatest(assessed_at, _known_at)) over (
            partition by opportunity_id, element order by greatest(assessed_at, _known_at), assessed_at
        ) as valid_to
    from {{ ref('int_qualifications_known') }}
    where not _is_deleted and {{ is_live() }}
),

-- A meeting stands in the calendar from when it was first known until it is held.
meetings as (
    select
        opportunity_id,
        activity_id,
        min(_known_at) as booked_at,
        max(occurred_at) as occurred_at
    from {{ ref('int_activities_versions') }}
    where activity_type in ('meeting', 'demo') and opportunity_id is not null and {{ is_live() }}
    group by opportunity_id, activity_id
    having min(_known_at) < max(occurred_at)
),

reviews as (
    select
        snapshots.*,
        {{ end_of_day('snapshots.snapshot_date') }} as review_at
    from snapshots
),

timeline as (
    select
        opportunity_id,
        kind,
        amount,
        happened_at,
        known_at as at_moment
    from {{ ref('int_deal_ticks') }}
    where {{ is_live() }}
    union all
    select
        opportunity_id,
        'review' as kind,
        cast(null as double) as amount,
        cast(null as timestamp) as happened_at,
        review_at as at_moment
    from reviews
),

-- A review comes before what happens in the first second of the next day.
-- What became known at one moment is in the order it happened in.
running as (
    select
        timeline.*,
        count(case when kind = 'outbound' then 1 end) over so_far as outbound_count,
        sum(case when kind in ('meeting', 'inbound', 'outbound', 'internal') then amount end) over so_far as minutes,
        max(case when kind in ('meeting', 'inbound', 'outbound', 'internal') then happened_at end) over so_far as last_activity_at,
        max(case when kind in ('meeting', 'inbound') then happened_at end) over so_far as last_answer_at,
        max(case when kind = 'executive_outreach' then happened_at end) over so_far as executive_outreach_at,
        max(case when kind = 'owner_meeting' then happened_at end) over so_far as last_owner_meeting_at,
        max(case when kind = 'specialist' then happened_at end) over so_far as last_specialist_at,
        count(case when kind = 'buyer' then 1 end) over so_far as buyer_count,
        count(case when kind = 'economic_buyer' then 1 end) over so_far as economic_buyer_count,
        count(case when kind = 'push' then 1 end) over so_far as push_count,
        sum(case when kind in ('push', 'delay') then amount end) over so_far as push_days,
        max(case when kind = 'new_owner' then happened_at end) over so_far as owner_changed_at,
        max(case when kind = 'competitor' then happened_at end) over so_far as competitor_at,
        max(case when kind = 'competitor_answered' then happened_at end) over so_far as competitor_answered_at,
        max(case when kind in ('next_step', 'meeting') then happened_at end) over so_far as next_step_at,
        count(case when kind = 'regression' then 1 end) over so_far as regression_count
    from timeline
    window so_far as (
        partition by opportunity_id
        order by at_moment, case when kind = 'review' then 0 else 1 end, happened_at, kind
        rows between unbounded preceding and current row
    )
),

unanswered as (
    select
        running.*,
        outbound_count - coalesce(max(case when kind in ('meeting', 'inbound') then outbound_count end) over (
            partition by opportunity_id
            order by at_moment, case when kind = 'review' then 0 else 1 end, happened_at, kind
            rows between unbounded preceding and current row
        ), 0) as unanswered_count
    from running
),

seen as (
    select * from unanswered
    where kind = 'review'
),

in_stage as (
    select
        reviews.opportunity_id,
        reviews.snapshot_date,
        visits.entered_at,
        history.amount as entry_amount_source
    from reviews
    inner join visits
        on reviews.opportunity_id = visits.opportunity_id
        and visits.entered_at < reviews.review_at
        and (visits.exited_at is null or visits.exited_at >= reviews.review_at)
    left join history
        on visits.opportunity_id = history.opportunity_id
        and visits.entered_at >= history.valid_from
        and (history.valid_to is null or visits.entered_at < history.valid_to)
),

-- A new stage does not make good what was given away just before it.
recent_highs as (
    select
        reviews.opportunity_id,
        reviews.snapshot_date,
        max(history.amount) as amount_source
    from reviews
    inner join history
        on reviews.opportunity_id = history.opportunity_id
        and history.valid_from < reviews.review_at
        and (
            history.valid_to is null
            or history.valid_to >= cast({{ add_days('reviews.snapshot_date', back) }} as timestamp)
        )
    group by reviews.opportunity_id, reviews.snapshot_date
),

efforts as (
    select
        ticks.opportunity_id,
        sum(ticks.amount) as minutes
    from {{ ref('int_deal_ticks') }} as ticks
    inner join deals on ticks.opportunity_id = deals.opportunity_id
    where
        {{ is_live('ticks.opportunity_id') }}
        and ticks.kind in ('meeting', 'inbound', 'outbound', 'internal')
        and (deals.closed_on is null or ticks.happened_at < {{ end_of_day('deals.closed_on') }})
    group by ticks.opportunity_id
),

now_amounts as (
    select
        reviews.opportunity_id,
        reviews.snapshot_date,
        history.amount as amount_source
    from reviews
    inner join history
        on reviews.opportunity_id = history.opportunity_id
        and history.valid_from < reviews.review_at
        and (history.valid_to is null or history.valid_to >= reviews.review_at)
),

booked as (
    select
        reviews.opportunity_id,
        reviews.snapshot_date,
        count(*) as booked_count
    from reviews
    inner join meetings
        on reviews.opportunity_id = meetings.opportunity_id
        and meetings.booked_at < reviews.review_at
        and meetings.occurred_at >= reviews.review_at
    group by reviews.opportunity_id, reviews.snapshot_date
),

assessed as (
    select
        reviews.opportunity_id,
        reviews.snapshot_date,
        qualifications.element,
        qualifications.status
    from reviews
    inner join qualifications
        on reviews.opportunity_id = qualifications.opportunity_id
        and qualifications.valid_from < reviews.review_at
        and (qualifications.valid_to is null or qualifications.valid_to >= reviews.review_at)
),

power_assessed as (
    select
        opportunity_id,
        snapshot_date
    from assessed
    where element = 'economic_buyer' and status in ('claimed', 'verified')
),

qualified as (
    select
        reviews.opportunity_id,
        reviews.snapshot_date,
        count(*) as required_count,
        count(case when assessed.status = 'verified' then 1 end) as verified_count,
        count(case when assessed.status = 'claimed' then 1 end) as claimed_count
    from reviews
    inner join stages on reviews.stage = stages.stage
    inner join elements on elements.required_from_stage_order <= stages.stage_order
    left join assessed
        on reviews.opportunity_id = assessed.opportunity_id
        and reviews.snapshot_date = assessed.snapshot_date
        and elements.element = assessed.element
    group by reviews.opportunity_id, reviews.snapshot_date
),

final as (
    select
        reviews.opportunity_id,
        reviews.owner_id,
        reviews.manager_id,
        coalesce(reviews.segment, 'unknown') as segment,
        coalesce(reviews.opportunity_type, 'unknown') as opportunity_type,
        reviews.stage,
        reviews.forecast_category,
        reviews.amount,
        reviews.age_days,
        cast({{ day_count('cast(in_stage.entered_at as date)', 'reviews.snapshot_date') }} as bigint) as days_in_stage,
        cast({{ day_count('reviews.snapshot_date', 'reviews.close_date') }} as bigint) as days_to_close,
        cast(
            {{ day_count('cast(coalesce(seen.last_activity_at, deals.created_on) as date)', 'reviews.snapshot_date') }} as bigint
        ) as quiet_days,
        cast(
            {{ day_count('cast(coalesce(seen.last_answer_at, deals.created_on) as date)', 'reviews.snapshot_date') }} as bigint
        ) as unanswered_days,
        seen.unanswered_count,
        seen.buyer_count,
        seen.economic_buyer_count + case when power_assessed.opportunity_id is not null then 1 else 0 end as economic_buyer_count,
        seen.push_count,
        cast(coalesce(seen.push_days, 0) as bigint) as push_days,
        cast(
            {{ day_count('cast(coalesce(seen.next_step_at, deals.created_on) as date)', 'reviews.snapshot_date') }} as bigint
        ) as next_step_days,
        coalesce(booked.booked_count, 0) as booked_count,
        seen.regression_count,
        qualified.required_count,
        qualified.verified_count,
        qualified.claimed_count,
        cast(now_amounts.amount_source as double)
        / nullif(cast(greatest(in_stage.entry_amount_source, recent_highs.amount_source) as double), 0) as amount_kept_share,
        coalesce(seen.minutes, 0) / 60 as hours_spent,
        coalesce(efforts.minutes, 0) / 60 as hours_in_all,
        efforts.opportunity_id is not null as has_effort,
        coalesce(seen.executive_outreach_at > coalesce(seen.last_answer_at, cast(deals.created_on as timestamp)), false)
        and {{ day_count('cast(seen.executive_outreach_at as date)', 'reviews.snapshot_date') }}
        >= {{ deal_policy('executive_answer_days') }} as is_executive_unanswered,
        seen.last_specialist_at is not null as has_specialist,
        coalesce(
            seen.competitor_at is not null
            and not coalesce(seen.competitor_answered_at > seen.competitor_at, false), false
        ) as has_unanswered_competitor,
        cast({{ day_count('cast(seen.owner_changed_at as date)', 'reviews.snapshot_date') }} as bigint) as owner_days,
        coalesce(seen.last_owner_meeting_at > seen.owner_changed_at, false) as has_new_owner_met,
        deals.is_won,
        deals.is_open,
        deals.cycle_days,
        reviews.close_date,
        calendar.quarter_end as dated_quarter_end,
        deals.closed_on,
        reviews.snapshot_date
    from reviews
    inner join deals on reviews.opportunity_id = deals.opportunity_id and not deals.is_deleted
    inner join seen
        on reviews.opportunity_id = seen.opportunity_id
        and reviews.review_at = seen.at_moment
    inner join now_amounts
        on reviews.opportunity_id = now_amounts.opportunity_id
        and reviews.snapshot_date = now_amounts.snapshot_date
    left join in_stage
        on reviews.opportunity_id = in_stage.opportunity_id
        and reviews.snapshot_date = in_stage.snapshot_date
    left join recent_highs
        on reviews.opportunity_id = recent_highs.opportunity_id
        and reviews.snapshot_date = recent_highs.snapshot_date
    left join power_assessed
        on reviews.opportunity_id = power_assessed.opportunity_id
        and reviews.snapshot_date = power_assessed.snapshot_date
    left join efforts on reviews.opportunity_id = efforts.opportunity_id
    left join calendar on reviews.close_date = calendar.day
    left join booked
        on reviews.opportunity_id = booked.opportunity_id
        and reviews.snapshot_date = booked.snapshot_date
    left join qualified
        on reviews.opportunity_id = qualified.opportunity_id
        and reviews.snapshot_date = qualified.snapshot_date
)

select * from final
