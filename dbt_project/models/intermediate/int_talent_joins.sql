{{ config(materialized='table') }}
with sellers as (
    select * from {{ ref('int_diagnosis_sellers') }}
    where is_ramped
),

deals as (
    select
        opportunity_id,
        owner_id,
        coalesce(opportunity_type, '') as opportunity_type,
        coalesce(segment, '') as segment,
        created_on,
        closed_on,
        is_open,
        is_won
    from {{ ref('opportunities') }}
    where not is_deleted
),

team as (
    select
        opportunity_id,
        user_id,
        lower(team_role) as team_role,
        cast(joined_at as date) as joined_on
    from {{ ref('int_opportunity_team_known') }}
    where not _is_deleted
),

owned as (
    select distinct
        opportunity_id,
        user_id
    from team
    where team_role = 'owner'
),

-- To own a deal and to source it are jobs.
joins as (
    select
        sellers.seller_id,
        sellers.window_end,
        team.opportunity_id,
        min(team.joined_on) as joined_on
    from sellers
    inner join team
        on sellers.seller_id = team.user_id
        and team.joined_on between sellers.record_start and sellers.window_end
    left join owned on team.opportunity_id = owned.opportunity_id and team.user_id = owned.user_id
    where team.team_role not in ('owner', 'sourcing') and owned.user_id is null
    group by sellers.seller_id, sellers.window_end, team.opportunity_id
),

joined as (
    select
        joins.seller_id,
        joins.joined_on,
        deals.*,
        greatest({{ day_count('deals.created_on', 'joins.joined_on') }}, 0) as joined_days,
        coalesce(not deals.is_open and deals.closed_on > joins.joined_on and deals.closed_on <= joins.window_end, false) as is_decided
    from joins
    inner join deals on joins.opportunity_id = deals.opportunity_id
    where deals.owner_id is null or deals.owner_id != joins.seller_id
),

spans as (
    select
        min(record_start) as first_start,
        max(window_end) as window_end
    from sellers
),

-- Deals nobody joined, and how long they lived; beside them the ages at which others were joined.
moments as (
    select
        deals.opportunity_type,
        deals.segment,
        {{ day_count('deals.created_on', 'deals.closed_on') }} as days,
        1 as deal_count,
        case when deals.is_won then 1 else 0 end as won_count
    from deals
    cross join spans
    left join (select distinct opportunity_id from joined) as helped on deals.opportunity_id = helped.opportunity_id
    where
        helped.opportunity_id is null
        and not deals.is_open
        and deals.created_on is not null
        and deals.closed_on between spans.first_start and spans.window_end
    union all
    select distinct
        opportunity_type,
        segment,
        joined_days + 1 as days,
        0 as deal_count,
        0 as won_count
    from joined
    where is_decided and created_on is not null
),

lived as (
    select
        opportunity_type,
        segment,
        days,
        deal_count,
        sum(deal_count) over longest_first as like_count,
        sum(won_count) over longest_first as like_won_count
    from moments
    window longest_first as (
        partition by opportunity_type, segment order by days desc range between unbounded preceding and current row
    )
),

final as (
    select
        joined.seller_id,
        joined.opportunity_id,
        joined.opportunity_type,
        joined.segment,
        joined.joined_on,
        joined.is_decided,
        joined.is_won,
        coalesce(lived.like_count, 0) as like_count,
        cast(lived.like_won_count as double) / nullif(lived.like_count, 0) as like_win_rate
    from joined
    left join lived
        on joined.is_decided
        and joined.created_on is not null
        and joined.opportunity_type = lived.opportunity_type
        and joined.segment = lived.segment
        and joined.joined_days + 1 = lived.days
        and lived.deal_count = 0
)

select * from final
