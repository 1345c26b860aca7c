{{ config(materialized='table') }}
-- What a new seller is waited for: meetings held, deals opened, deals won, and what all won deals, renewals too, brought.
with activities as (
    select * from {{ ref('int_activities_known') }}
    where not _is_deleted
),

deals as (
    select * from {{ ref('opportunities') }}
    where not is_deleted
),

stretches as (
    select * from {{ ref('int_opportunity_stretches') }}
),

credits as (
    select * from {{ ref('int_deal_credits') }}
    where credit_share > 0
),

-- A deal is opened by whoever owned it first; one that was created closed was never pipeline.
first_stretches as (
    select * from stretches
    qualify row_number() over (partition by opportunity_id order by valid_from) = 1
),

-- What was taken over from somebody else was made by somebody else.
own_wins as (
    select
        credits.user_id,
        credits.won_on,
        credits.credited_amount,
        coalesce(deals.opportunity_type, '') = 'renewal' as is_renewal
    from credits
    inner join deals on credits.opportunity_id = deals.opportunity_id
    inner join first_stretches on credits.opportunity_id = first_stretches.opportunity_id and credits.user_id = first_stretches.owner_id
),

facts as (
    select
        'meeting' as kind,
        user_id,
        cast(occurred_at as date) as day,
        cast(null as decimal(18, 4)) as amount
    from activities
    where
        activity_type in ('meeting', 'demo')
        and coalesce(is_completed, false)
        and coalesce(direction, 'outbound') != 'internal'
        and cast(occurred_at as date) <= {{ as_of_date() }}
    union all
    -- A renewal comes with the customer.
    select
        'opened' as kind,
        first_stretches.owner_id as user_id,
        deals.created_on as day,
        cast(null as decimal(18, 4)) as amount
    from first_stretches
    inner join deals on first_stretches.opportunity_id = deals.opportunity_id
    where first_stretches.is_open and coalesce(deals.opportunity_type, '') != 'renewal' and deals.created_on <= {{ as_of_date() }}
    union all
    select
        'won' as kind,
        user_id,
        won_on as day,
        credited_amount as amount
    from own_wins
    where not is_renewal
    union all
    select
        'booked' as kind,
        user_id,
        won_on as day,
        credited_amount as amount
    from own_wins
),

final as (
    select
        kind,
        user_id,
        day,
        count(*) as fact_count,
        sum(amount) as amount
    from facts
    where user_id is not null
    group by kind, user_id, day
)

select * from final
