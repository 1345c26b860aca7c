with members as (
    select * from {{ ref('concentration_members') }}
),

dimensions as (
    select
        dimension,
        period_type
    from (
        select 'account' as dimension
        union all
        select 'ultimate_parent' as dimension
        union all
        select 'seller' as dimension
    ) as dimension_names
    cross join (
        select 'all' as period_type
        union all
        select 'trailing_12_months' as period_type
    ) as period_types
),

final as (
    select
        dimensions.dimension,
        dimensions.period_type,
        min_by(members.member, members.rank) as top_member,
        min_by(members.member_name, members.rank) as top_member_name,
        case when count(members.member) = 0 then 'no won amount' end as reason,
        count(members.member) as member_count,
        cast(coalesce(sum(members.won_amount), 0) as decimal(18, 4)) as won_amount,
        max(case when members.rank <= 1 then members.cumulative_share end) as top_1_share,
        max(case when members.rank <= 5 then members.cumulative_share end) as top_5_share,
        max(case when members.rank <= 10 then members.cumulative_share end) as top_10_share,
        max(members.cumulative_squares) * 10000 as hhi,
        min(members.period_start) as period_start,
        max(members.period_end) as period_end,
        {{ as_of_date() }} as as_of_date
    from dimensions
    left join members
        on dimensions.dimension = members.dimension
        and dimensions.period_type = members.period_type
    group by dimensions.dimension, dimensions.period_type
)

select * from final
