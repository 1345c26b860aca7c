with units as (
    select * from {{ ref('int_arr_units') }}
    where unit_type = 'customer' and closing > 0
),

customers as (
    select distinct
        customer_id,
        segment
    from {{ ref('int_paying_customers') }}
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

firsts as (
    select
        customer_id,
        min(month_number) as cohort_number
    from units
    group by customer_id
),

placed as (
    select
        'company' as dimension,
        'company' as member,
        firsts.cohort_number,
        units.*
    from units
    inner join firsts on units.customer_id = firsts.customer_id
    union all
    select
        'segment' as dimension,
        customers.segment as member,
        firsts.cohort_number,
        units.*
    from units
    inner join firsts on units.customer_id = firsts.customer_id
    inner join customers on units.customer_id = customers.customer_id
),

counted as (
    select
        dimension,
        member,
        cohort_number,
        month_number,
        max(basis) as basis,
        count(*) as active_count,
        sum(closing) as amount
    from placed
    group by dimension, member, cohort_number, month_number
),

-- A cohort of which nobody is left still has its row.
grid as (
    select
        counted.dimension,
        counted.member,
        counted.basis,
        counted.cohort_number,
        counted.active_count as starting_count,
        counted.amount as starting_amount,
        cohort_months.month_start as cohort_month,
        months.month_number,
        months.month_start,
        months.month_end
    from counted
    inner join months as cohort_months on counted.cohort_number = cohort_months.month_number
    inner join months on months.month_number >= counted.cohort_number
    where counted.month_number = counted.cohort_number
),

joined as (
    select
        grid.*,
        coalesce(counted.active_count, 0) as active_count,
        coalesce(counted.amount, 0) as amount,
        cast(coalesce(counted.active_count, 0) as double) / grid.starting_count as customer_retention
    from grid
    left join counted
        on grid.dimension = counted.dimension
        and grid.member = counted.member
        and grid.cohort_number = counted.cohort_number
        and grid.month_number = counted.month_number
),

final as (
    select
        dimension,
        member,
        basis,
        cast(month_number - cohort_number as bigint) as elapsed_months,
        starting_count as n,
        active_count,
        cast(starting_amount as decimal(18, 4)) as starting_amount,
        cast(amount as decimal(18, 4)) as amount,
        customer_retention,
        {{ wilson('customer_retention', 'cast(starting_count as double)', -1) }} as customer_retention_low,
        {{ wilson('customer_retention', 'cast(starting_count as double)', 1) }} as customer_retention_high,
        cast(amount as double) / cast(starting_amount as double) as amount_retention,
        cohort_month,
        month_start,
        month_end,
        {{ as_of_date() }} as as_of_date
    from joined
)

select * from final
