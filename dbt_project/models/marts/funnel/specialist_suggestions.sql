{%- set levels = {'segment and product': ['segment', 'product_id'], 'segment': ['segment'], 'all': []} %}
with deals as (
    select
        opportunity_id,
        owner_id,
        coalesce(segment, 'unknown') as segment,
        coalesce(product_id, 'unknown') as product_id,
        stage,
        is_open,
        is_won,
        closed_on
    from {{ ref('opportunities') }}
    where not is_deleted
),

teams as (
    select * from {{ ref('deal_teams') }}
    where function != 'owner'
),

current_reps as (
    select * from {{ ref('reps') }}
    where is_current and terminated_on is null
),

specialists as (
    select
        rep_id,
        name
    from current_reps
    where role = 'specialist'
),

policy as (
    select
        {{ deal_policy('specialist_capacity_deals') }} as capacity_deals,
        {{ deal_policy('specialist_minimum_deals') }} as minimum_deals
),

engaged as (
    select distinct teams.opportunity_id
    from teams
    inner join current_reps on teams.user_id = current_reps.rep_id
    where teams.left_on is null and (teams.function = 'specialist' or current_reps.role = 'specialist')
),

let_go as (
    select opportunity_id from {{ ref('deal_health') }}
    where verdict = 'de_resource'
),

alone as (
    select deals.* from deals
    left join engaged on deals.opportunity_id = engaged.opportunity_id
    left join let_go on deals.opportunity_id = let_go.opportunity_id
    where deals.is_open and engaged.opportunity_id is null and let_go.opportunity_id is null
),

loads as (
    select
        specialists.rep_id,
        specialists.name,
        count(distinct deals.opportunity_id) as open_deal_count
    from specialists
    left join teams
        on specialists.rep_id = teams.user_id
        and teams.left_on is null
    left join deals
        on teams.opportunity_id = deals.opportunity_id
        and deals.is_open
    group by specialists.rep_id, specialists.name
),

-- A record is of deals joined before they were decided.
helped as (
    select distinct
        teams.user_id as rep_id,
        deals.opportunity_id,
        deals.segment,
        deals.product_id,
        deals.is_won
    from teams
    inner join deals on teams.opportunity_id = deals.opportunity_id
    where deals.closed_on > {{ add_months(as_of_date(), -24) }} and teams.joined_on < deals.closed_on
),

wanted as (
    select distinct
        segment,
        product_id
    from alone
),

-- Who has no record still has a row.
records as (
    {%- for level, columns in levels.items() %}
    select
        '{{ level }}' as record_level,
        {{ loop.index }} as level_order,
        wanted.segment,
        wanted.product_id,
        specialists.rep_id,
        count(helped.opportunity_id) as n,
        count(case when helped.is_won then 1 end) as won_count
    from wanted
    cross join specialists
    left join helped
        on specialists.rep_id = helped.rep_id
        {%- for column in columns %}
        and wanted.{{ column }} = helped.{{ column }}
        {%- endfor %}
    group by wanted.segment, wanted.product_id, specialists.rep_id
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

rated as (
    select
        records.*,
        cast(won_count as double) / nullif(n, 0) as win_rate,
        cast(sum(won_count) over compared as double) / nullif(sum(n) over compared, 0) as mean_rate,
        cast(sum(n) over compared as double) as total_n,
        cast(sum(n * n) over compared as double) as sum_of_squares,
        cast(count(case when n > 0 then 1 end) over compared as double) as member_count
    from records
    window compared as (partition by segment, product_id, record_level)
),

-- How much specialists differ beyond chance, as in win_rates.
spread as (
    select
        rated.*,
        {{ intra_class_correlation('in_one_order') }} as correlation
    from rated
    window in_one_order as (
        partition by segment, product_id, record_level order by rep_id rows between unbounded preceding and unbounded following
    )
),

shrunk as (
    select
        spread.*,
        coalesce(correlation, 0) > 0 as is_telling,
        coalesce({{ shrunk_rate() }}, mean_rate) as win_rate_shrunk
    from spread
),

-- All are compared in one group: the narrowest that has enough deals and tells them apart; the widest when none does.
chosen as (
    select shrunk.* from shrunk
    cross join policy
    where (shrunk.total_n >= policy.minimum_deals and shrunk.is_telling) or shrunk.record_level = 'all'
    qualify shrunk.level_order = min(shrunk.level_order) over (partition by shrunk.segment, shrunk.product_id)
),

best as (
    select
        chosen.*,
        loads.name,
        loads.open_deal_count,
        count(*) over (partition by chosen.segment, chosen.product_id) as free_count
    from chosen
    inner join loads on chosen.rep_id = loads.rep_id
    cross join policy
    where loads.open_deal_count < policy.capacity_deals
    qualify
        row_number() over (
            partition by chosen.segment, chosen.product_id
            order by chosen.win_rate_shrunk desc nulls last, loads.open_deal_count asc, chosen.rep_id asc
        ) = 1
),

final as (
    select
        alone.opportunity_id,
        alone.owner_id,
        alone.segment,
        alone.product_id,
        alone.stage,
        best.rep_id as suggested_user_id,
        best.name as suggested_name,
        case when best.total_n > 0 then best.record_level end as record_level,
        case
            when (select count(*) from specialists) = 0 then 'no specialist is known'
            when best.rep_id is null then 'no specialist has capacity'
            when best.total_n = 0 then 'no specialist has a record: the one with the fewest open deals'
            when not best.is_telling then 'specialists differ by no more than chance: the one with the fewest open deals'
        end as reason,
        best.won_count,
        best.n,
        best.win_rate,
        {{ wilson('best.win_rate', 'cast(best.n as double)', -1) }} as win_rate_low,
        {{ wilson('best.win_rate', 'cast(best.n as double)', 1) }} as win_rate_high,
        best.win_rate_shrunk,
        best.open_deal_count,
        cast(policy.capacity_deals as bigint) as capacity_deals,
        coalesce(best.free_count, 0) as free_specialist_count,
        {{ as_of_date() }} as as_of_date
    from alone
    cross join policy
    left join best
        on alone.segment = best.segment
        and alone.product_id = best.product_id
)

select * from final
