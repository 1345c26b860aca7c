with units as (
    select * from {{ ref('int_arr_units') }}
    where unit_type = 'customer'
),

customers as (
    select distinct
        customer_id,
        customer_name,
        segment,
        region,
        account_manager_id,
        account_manager_name
    from {{ ref('int_paying_customers') }}
),

words as (
    {{- arr_movement_words() }}
),

moved as (
    select
        units.customer_id,
        units.basis,
        units.is_final,
        units.month_start,
        units.month_end,
        words.movement,
        words.movement_order,
        {{ arr_movement_amount() }} as amount,
        {{ arr_movement_amount(actual=true) }} as amount_actual
    from units
    cross join words
),

final as (
    select
        moved.customer_id,
        customers.customer_name,
        customers.segment,
        customers.region,
        customers.account_manager_id,
        customers.account_manager_name,
        moved.movement,
        moved.basis,
        moved.movement_order,
        cast(moved.amount as decimal(18, 4)) as amount,
        cast(moved.amount_actual as decimal(18, 4)) as amount_actual,
        moved.is_final,
        moved.month_start,
        moved.month_end,
        {{ as_of_date() }} as as_of_date
    from moved
    left join customers on moved.customer_id = customers.customer_id
    where moved.amount != 0 or moved.amount_actual != 0
)

select * from final
