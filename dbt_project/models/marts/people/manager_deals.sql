with manager_deals as (
    select * from {{ ref('int_manager_deals') }}
),

deals as (
    select * from {{ ref('opportunities') }}
),

people as (
    select
        rep_id,
        name
    from {{ ref('reps') }}
    where is_current
),

final as (
    select
        manager_deals.manager_id,
        manager_deals.opportunity_id,
        coalesce(people.name, manager_deals.manager_id) as manager_name,
        deals.name,
        deals.account_name,
        deals.owner_id,
        deals.owner_name,
        manager_deals.involvement,
        cast(manager_deals.amount as decimal(18, 4)) as amount,
        cast(manager_deals.life_days as bigint) as life_days,
        cast(manager_deals.days_at_meeting as bigint) as days_at_meeting,
        manager_deals.involvement in ('taken over', 'late', 'after flag') as is_hero,
        manager_deals.raised_on as flag_raised_on,
        manager_deals.met_on,
        manager_deals.won_on,
        {{ as_of_date() }} as as_of_date
    from manager_deals
    inner join deals on manager_deals.opportunity_id = deals.opportunity_id
    left join people on manager_deals.manager_id = people.rep_id
)

select * from final
