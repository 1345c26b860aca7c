{%- set dimensions = customer_dimensions() %}
with units as (
    select * from {{ ref('int_arr_units') }}
),

customers as (
    select distinct
        customer_id,
        segment,
        region,
        account_manager_id,
        account_manager_name
    from {{ ref('int_paying_customers') }}
),

products as (
    select * from {{ ref('products') }}
),

words as (
    {{- arr_movement_words() }}
),

placed as (
    {%- for dimension, (member, member_name) in dimensions.items() %}
    select
        '{{ dimension }}' as dimension,
        {{ member }} as member,
        {{ member_name }} as member_name,
        units.*
    from units
    left join customers on units.customer_id = customers.customer_id
    where units.unit_type = 'customer'
    union all
    {%- endfor %}
    select
        'product' as dimension,
        units.product_id as member,
        coalesce(products.name, units.product_id) as member_name,
        units.*
    from units
    left join products on units.product_id = products.product_id
    where units.unit_type = 'customer_product'
),

totals as (
    select
        placed.dimension,
        placed.member,
        placed.month_start,
        words.movement,
        sum({{ arr_movement_amount('placed') }}) as amount,
        sum({{ arr_movement_amount('placed', actual=true) }}) as amount_actual,
        count(
            case
                when {{ arr_movement_amount('placed') }} != 0 or {{ arr_movement_amount('placed', actual=true) }} != 0
                    then 1
            end
        ) as unit_count
    from placed
    cross join words
    group by placed.dimension, placed.member, placed.month_start, words.movement
),

members as (
    select
        dimension,
        member,
        max(member_name) as member_name
    from placed
    where row_count > 0
    group by dimension, member
),

first_month as (
    select
        min(month_start) as month_start,
        max(basis) as basis
    from units
    where row_count > 0
),

-- A month is final when its day of telling has passed, whoever had revenue in it.
months as (
    select
        calendar.month_start,
        calendar.month_end,
        first_month.basis,
        {{ add_days('calendar.month_end', [policy_constant('final_days', 'retention_policy') | float | int,
            policy_constant('grace_days', 'retention_policy') | float | int] | max) }} < {{ as_of_date() }} as is_final
    from {{ ref('calendar') }} as calendar
    inner join first_month on calendar.month_start >= first_month.month_start
    where calendar.month_start <= {{ as_of_date() }}
    group by calendar.month_start, calendar.month_end, first_month.basis
),

final as (
    select
        members.dimension,
        members.member,
        members.member_name,
        words.movement,
        months.basis,
        words.movement_order,
        cast(coalesce(totals.amount, 0) as decimal(18, 4)) as amount,
        cast(coalesce(totals.amount_actual, 0) as decimal(18, 4)) as amount_actual,
        coalesce(totals.unit_count, 0) as unit_count,
        months.is_final,
        months.month_start,
        months.month_end,
        {{ as_of_date() }} as as_of_date
    from members
    cross join months
    cross join words
    left join totals
        on members.dimension = totals.dimension
        and members.member = totals.member
        and months.month_start = totals.month_start
        and words.movement = totals.movement
)

select * from final
