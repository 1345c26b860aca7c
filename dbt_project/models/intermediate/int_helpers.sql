with functions as (
    select * from {{ ref('help_functions') }}
    where kind = 'specialist'
),

final as (
    select
        functions.function,
        deal_teams.user_id,
        deal_teams.name,
        deal_teams.opportunity_id,
        deal_teams.stage_at_join,
        deal_teams.days_from_creation,
        deal_teams.joined_on,
        deal_teams.left_on
    from {{ ref('deal_teams') }} as deal_teams
    inner join functions on deal_teams.function = functions.function or deal_teams.function = functions.also_called
)

select * from final
