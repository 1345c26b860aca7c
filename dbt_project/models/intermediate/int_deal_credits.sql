{{ config(materialized='table') }}
-- Who is credited with a won deal: what the CRM says of its team, made one deal, or else its owner.
with bookings as (
    select * from {{ ref('int_period_bookings') }}
    where period_type = 'month' and valid_to is null
),

team as (
    select * from {{ ref('int_opportunity_team_known') }}
    where not _is_deleted
),

deals as (
    select
        bookings.opportunity_id,
        bookings.amount,
        bookings.won_on,
        owners.scope_id as owner_id
    from bookings
    left join bookings as owners on bookings.opportunity_id = owners.opportunity_id and owners.scope_type = 'seller'
    where bookings.scope_type = 'company'
),

-- Whoever joined after the deal was won does not move the past.
members as (
    select
        deals.opportunity_id,
        team.user_id,
        sum(cast(greatest(coalesce(team.credit_share, 0), 0) as decimal(18, 9))) as credit_share,
        sum(cast(greatest(coalesce(team.overlay_share, 0), 0) as decimal(18, 9))) as overlay_share
    from deals
    inner join team on deals.opportunity_id = team.opportunity_id
    where team.joined_at is null or cast(team.joined_at as date) <= deals.won_on
    group by deals.opportunity_id, team.user_id
),

stated as (
    select
        opportunity_id,
        sum(credit_share) as credit_share
    from members
    group by opportunity_id
    having sum(credit_share) > 0
),

credits as (
    select
        members.opportunity_id,
        members.user_id,
        case when stated.credit_share between 0.999 and 1.001 then 'team' else 'team_rescaled' end as credit_basis,
        members.credit_share,
        stated.credit_share as stated_share,
        members.overlay_share
    from members
    inner join stated on members.opportunity_id = stated.opportunity_id
    where members.credit_share > 0 or members.overlay_share > 0
    union all
    select
        members.opportunity_id,
        members.user_id,
        'owner' as credit_basis,
        cast(0 as decimal(18, 9)) as credit_share,
        cast(1 as decimal(18, 9)) as stated_share,
        members.overlay_share
    from members
    where members.overlay_share > 0 and members.opportunity_id not in (select stated.opportunity_id from stated)
    union all
    select
        deals.opportunity_id,
        deals.owner_id as user_id,
        'owner' as credit_basis,
        cast(1 as decimal(18, 9)) as credit_share,
        cast(1 as decimal(18, 9)) as stated_share,
        cast(0 as decimal(18, 9)) as overlay_share
    from deals
    where deals.opportunity_id not in (select stated.opportunity_id from stated)
),

by_person as (
    select
        opportunity_id,
        user_id,
        credit_basis,
        sum(credit_share) as credit_share,
        max(stated_share) as stated_share,
        sum(overlay_share) as overlay_share
    from credits
    group by opportunity_id, user_id, credit_basis
),

so_far as (
    select
        by_person.*,
        deals.amount,
        deals.won_on,
        sum(by_person.credit_share) over (
            partition by by_person.opportunity_id order by by_person.user_id rows between unbounded preceding and current row
        ) as share_so_far
    from by_person
    inner join deals on by_person.opportunity_id = deals.opportunity_id
),

-- The rounded sum so far, and that of the one before: their differences add up to the amount.
added_up as (
    select
        so_far.*,
        case
            when share_so_far = stated_share then amount
            else {{ to_exact_amount('(amount * cast(share_so_far as decimal(19, 9)))', 'cast(stated_share as decimal(13, 9))') }}
        end as amount_so_far
    from so_far
),

final as (
    select
        opportunity_id,
        user_id,
        credit_basis,
        cast(credit_share as double) / cast(stated_share as double) as credit_share,
        cast(overlay_share as double) as overlay_share,
        cast(
            amount_so_far - coalesce(lag(amount_so_far) over (partition by opportunity_id order by user_id), 0) as decimal(18, 4)
        ) as credited_amount,
        {{ to_exact_amount('(amount * cast(overlay_share as decimal(19, 9)))') }} as overlay_amount,
        won_on
    from added_up
)

select * from final
