{{ config(materialized='table') }}
with units as (
    select * from {{ ref('int_arr_units') }}
),

months as (
    select
        month_start,
        max(month_end) as month_end,
        row_number() over (order by month_start) as month_number
    from {{ ref('calendar') }}
    where month_start <= {{ as_of_date() }}
    group by month_start
),

both_ends as (
    select
        unit_type,
        customer_id,
        product_id,
        month_number,
        cast(0 as decimal(18, 4)) as arr_year_ago,
        cast(0 as decimal(18, 4)) as arr_year_ago_actual,
        closing as arr,
        closing_actual as arr_actual,
        case when closing_actual is null then 1 else 0 end as missing_rate
    from units
    where closing > 0
    union all
    select
        unit_type,
        customer_id,
        product_id,
        month_number + 12 as month_number,
        closing as arr_year_ago,
        closing_actual as arr_year_ago_actual,
        cast(0 as decimal(18, 4)) as arr,
        cast(0 as decimal(18, 4)) as arr_actual,
        case when closing_actual is null then 1 else 0 end as missing_rate
    from units
    where closing > 0
),

final as (
    select
        both_ends.unit_type,
        both_ends.customer_id,
        both_ends.product_id,
        cast(sum(both_ends.arr_year_ago) as decimal(18, 4)) as arr_year_ago,
        cast(sum(both_ends.arr) as decimal(18, 4)) as arr,
        cast(
            case when max(both_ends.missing_rate) = 0 then sum(both_ends.arr_year_ago_actual) end as decimal(18, 4)
        ) as arr_year_ago_actual,
        cast(case when max(both_ends.missing_rate) = 0 then sum(both_ends.arr_actual) end as decimal(18, 4)) as arr_actual,
        cast(both_ends.month_number as bigint) as month_number,
        months.month_start,
        months.month_end
    from both_ends
    inner join months on both_ends.month_number = months.month_number
    group by
        both_ends.unit_type, both_ends.customer_id, both_ends.product_id, both_ends.month_number, months.month_start, months.month_end
)

select * from final
