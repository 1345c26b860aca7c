with deals as (
    select * from {{ ref('opportunities') }}
    where is_won and not is_deleted
),

accounts as (
    select * from {{ ref('accounts') }}
),

periods as (
    select
        'all' as period_type,
        min(closed_on) as period_start,
        {{ as_of_date() }} as period_end
    from deals
    union all
    select
        'trailing_12_months' as period_type,
        {{ add_days(add_months(as_of_date(), -12), 1) }} as period_start,
        {{ as_of_date() }} as period_end
),

wins as (
    select
        deals.*,
        periods.period_type,
        periods.period_start,
        periods.period_end,
        accounts.ultimate_parent_name
    from deals
    inner join periods on deals.closed_on between periods.period_start and periods.period_end
    left join accounts on deals.account_id = accounts.account_id
),

placed as (
    select
        'account' as dimension,
        account_id as member,
        coalesce(account_name, account_id) as member_name,
        wins.*
    from wins
    where account_id is not null
    union all
    select
        'ultimate_parent' as dimension,
        coalesce(ultimate_parent_id, account_id) as member,
        coalesce(ultimate_parent_name, account_id) as member_name,
        wins.*
    from wins
    where account_id is not null
    union all
    select
        'seller' as dimension,
        owner_id as member,
        coalesce(owner_name, owner_id) as member_name,
        wins.*
    from wins
),

totals as (
    select
        dimension,
        period_type,
        member,
        max(member_name) as member_name,
        min(period_start) as period_start,
        max(period_end) as period_end,
        count(distinct account_id) as account_count,
        count(*) as deal_count,
        cast(sum(amount) as decimal(18, 4)) as won_amount
    from placed
    group by dimension, period_type, member
    having sum(amount) > 0
),

shares as (
    select
        totals.*,
        cast(won_amount as double) / cast(sum(won_amount) over (partition by dimension, period_type) as double) as won_share,
        row_number() over (partition by dimension, period_type order by won_amount desc, member asc) as rank
    from totals
),

final as (
    select
        dimension,
        period_type,
        member,
        member_name,
        account_count,
        deal_count,
        won_amount,
        won_share,
        least(sum(won_share) over from_the_largest, 1) as cumulative_share,
        sum(won_share * won_share) over from_the_largest as cumulative_squares,
        cast(rank as bigint) as rank,
        period_start,
        period_end,
        {{ as_of_date() }} as as_of_date
    from shares
    window from_the_largest as (partition by dimension, period_type order by rank rows between unbounded preceding and current row)
)

select * from final
