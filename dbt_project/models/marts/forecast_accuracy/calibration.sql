with results as (
    select * from {{ ref('int_chance_results') }}
),

binned as (
    select
        'all' as bin,
        cast(null as int) as place,
        results.*
    from results
    union all
    select
        '0.' || cast(tenth as string) || ' to ' || case when tenth = 9 then '1.0' else '0.' || cast(tenth + 1 as string) end as bin,
        tenth as place,
        results.*
    from results
),

summed as (
    select
        method,
        horizon,
        bin,
        place,
        count(*) as n,
        count(distinct opportunity_id) as deal_count,
        cast(sum(p_win) as double) / count(*) as mean_predicted,
        cast(sum(is_won) as double) / count(*) as observed_rate,
        cast(sum(squared_error) as double) / count(*) as brier,
        cast(sum(log_loss) as double) / count(*) as log_loss,
        cast(sum(base_squared_error) as double) / count(*) as base_brier
    from binned
    group by method, horizon, bin, place
),

final as (
    select
        method,
        horizon,
        bin,
        cast(place as double) / 10 as bin_low,
        cast(place + 1 as double) / 10 as bin_high,
        mean_predicted,
        observed_rate,
        {{ wilson('observed_rate', 'deal_count', -1) }} as observed_low,
        {{ wilson('observed_rate', 'deal_count', 1) }} as observed_high,
        n,
        deal_count,
        brier,
        log_loss,
        base_brier,
        -- Within a tenth the base rate is far off or close by for no merit of the method's.
        case when bin = 'all' then 1 - brier / nullif(base_brier, 0) end as skill,
        {{ as_of_date() }} as as_of_date
    from summed
)

select * from final
