{{ config(materialized='table') }}
-- When a manager first met the buyer of each deal the team won, and whether that was to save it.
with bookings as (
    select * from {{ ref('int_period_bookings') }}
    where period_type = 'month' and valid_to is null
),

deals as (
    select * from {{ ref('opportunities') }}
),

history as (
    select * from {{ ref('int_opportunity_history') }}
),

reps as (
    select * from {{ ref('reps') }}
    where is_current
),

reporting_lines as (
    select * from {{ ref('int_reporting_lines_then') }}
),

activities as (
    select * from {{ ref('int_activities_known') }}
    where
        not _is_deleted
        and opportunity_id is not null
        and user_id is not null
        and activity_type in ('email', 'call', 'meeting', 'demo')
        and coalesce(direction, 'outbound') != 'internal'
        and coalesce(purpose, 'sell') != 'coaching'
        and coalesce(is_completed, true)
        and occurred_at < {{ end_of_day(as_of_date()) }}
),

reviews as (
    select
        opportunity_id,
        month_start,
        snapshot_date,
        row_number() over (partition by opportunity_id order by snapshot_date) as review_number
    from {{ ref('int_deal_reviews') }}
),

standing as (
    select
        signal,
        month_start
    from {{ ref('int_signal_standing') }}
    where segment = 'all' and is_active
),

-- Only signals that had earned their place by then were shown to anybody.
fired as (
    select
        fired.opportunity_id,
        fired.snapshot_date,
        reviews.review_number - lag(reviews.review_number) over (
            partition by fired.opportunity_id, fired.signal order by fired.snapshot_date
        ) as reviews_since
    from {{ ref('int_signal_weeks') }} as fired
    inner join reviews
        on fired.opportunity_id = reviews.opportunity_id
        and fired.snapshot_date = reviews.snapshot_date
    inner join standing
        on fired.signal = standing.signal
        and reviews.month_start = standing.month_start
),

-- A flag goes up at the first of the reviews in a row on which its signal fires.
flags as (
    select distinct
        opportunity_id,
        snapshot_date as raised_on
    from fired
    where coalesce(reviews_since, 2) > 1
),

changed_hands as (
    select
        opportunity_id,
        owner_id,
        lag(owner_id) over (partition by opportunity_id order by valid_from) as previous_owner_id,
        row_number() over (partition by opportunity_id order by valid_from) as place,
        valid_from
    from history
),

ownerships as (
    select
        opportunity_id,
        owner_id,
        previous_owner_id,
        valid_from,
        lead(valid_from) over (partition by opportunity_id order by valid_from) as valid_to
    from changed_hands
    where place = 1 or coalesce(owner_id, '') != coalesce(previous_owner_id, '')
),

-- Who still reports to whoever took the deal, and has not left, some days after.
still_there as (
    select distinct
        ownerships.opportunity_id,
        ownerships.valid_from
    from ownerships
    inner join reporting_lines
        on ownerships.previous_owner_id = reporting_lines.rep_id
        and ownerships.owner_id = reporting_lines.manager_id
    left join reps on ownerships.previous_owner_id = reps.rep_id
    where
        {{ day_count('cast(ownerships.valid_from as date)', 'reporting_lines.valid_from') }} <= {{ people_policy('hero_handover_days') }}
        and {{ day_count('cast(ownerships.valid_from as date)', 'reporting_lines.valid_to') }} > {{ people_policy('hero_handover_days') }}
        and coalesce(
            {{ day_count('cast(ownerships.valid_from as date)', 'reps.terminated_on') }} > {{ people_policy('hero_handover_days') }}, true
        )
),

-- A seller who has left the team, or is about to, leaves deals behind that somebody must take.
taken as (
    select
        ownerships.*,
        still_there.opportunity_id is null as is_left_behind
    from ownerships
    left join still_there
        on ownerships.opportunity_id = still_there.opportunity_id
        and ownerships.valid_from = still_there.valid_from
),

-- What a manager has taken from the team and then won is the team's, too; what was the manager's from the start is not.
team_deals as (
    select
        scope_id as manager_id,
        opportunity_id,
        amount,
        won_on
    from bookings
    where scope_type = 'manager'
    union
    select
        won.scope_id as manager_id,
        won.opportunity_id,
        won.amount,
        won.won_on
    from bookings as won
    inner join ownerships
        on won.opportunity_id = ownerships.opportunity_id
        and won.scope_id = ownerships.owner_id
    inner join reporting_lines
        on ownerships.previous_owner_id = reporting_lines.rep_id
        and ownerships.owner_id = reporting_lines.manager_id
        and cast(ownerships.valid_from as date) >= reporting_lines.valid_from
        and cast(ownerships.valid_from as date) < reporting_lines.valid_to
    where won.scope_type = 'seller'
),

met as (
    select
        team_deals.manager_id,
        team_deals.opportunity_id,
        team_deals.amount,
        team_deals.won_on,
        deals.created_on,
        min(activities.occurred_at) as met_at
    from team_deals
    inner join deals on team_deals.opportunity_id = deals.opportunity_id
    left join activities
        on team_deals.opportunity_id = activities.opportunity_id
        and team_deals.manager_id = activities.user_id
        and cast(activities.occurred_at as date) <= team_deals.won_on
    group by team_deals.manager_id, team_deals.opportunity_id, team_deals.amount, team_deals.won_on, deals.created_on
),

counted as (
    select
        met.*,
        {{ day_count('created_on', 'won_on') }} as life_days,
        {{ day_count('created_on', 'cast(met_at as date)') }} as days_at_meeting
    from met
),

-- Of what was won before anybody's first activity nobody knows who had met the buyer.
record as (
    select min(cast(occurred_at as date)) as begins_on from activities
),

flagged as (
    select
        counted.manager_id,
        counted.opportunity_id,
        max(flags.raised_on) as raised_on
    from counted
    inner join flags on counted.opportunity_id = flags.opportunity_id
    where
        {{ day_count('flags.raised_on', 'cast(counted.met_at as date)') }} between 1 and {{ people_policy('hero_flag_days') }}
    group by counted.manager_id, counted.opportunity_id
),

final as (
    select
        counted.manager_id,
        counted.opportunity_id,
        case
            when counted.met_at is null and coalesce(counted.won_on < record.begins_on, true) then 'not known'
            when counted.met_at is null then 'not met'
            when taken.opportunity_id is not null and taken.previous_owner_id is null then 'own'
            when taken.is_left_behind then 'left behind'
            when taken.opportunity_id is not null then 'taken over'
            when
                counted.life_days >= {{ people_policy('hero_minimum_life_days') }}
                and counted.days_at_meeting >= (1 - {{ people_policy('hero_late_share') }}) * counted.life_days
                then 'late'
            when flagged.raised_on is not null then 'after flag'
            else 'in time'
        end as involvement,
        counted.amount,
        counted.life_days,
        counted.days_at_meeting,
        flagged.raised_on,
        cast(counted.met_at as date) as met_on,
        counted.won_on
    from counted
    cross join record
    left join taken
        on counted.opportunity_id = taken.opportunity_id
        and counted.manager_id = taken.owner_id
        and counted.met_at >= taken.valid_from
        and (taken.valid_to is null or counted.met_at < taken.valid_to)
    left join flagged
        on counted.manager_id = flagged.manager_id
        and counted.opportunity_id = flagged.opportunity_id
)

select * from final
