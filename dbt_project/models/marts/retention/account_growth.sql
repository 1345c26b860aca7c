{%- set dimensions = customer_dimensions() %}
{%- do dimensions.update({
    'customer': ('cohorts.customer_id', 'customers.customer_name'),
    'key': ("case when keys.customer_id is null then 'other' else 'key' end", "case when keys.customer_id is null then 'Other' else 'Key' end"),
}) %}
with cohorts as (
    select * from {{ ref('int_arr_cohorts') }}
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

basis as (
    select max(basis) as basis from {{ ref('int_arr_units') }}
),

units as (
    select * from {{ ref('int_arr_units') }}
    where unit_type = 'customer'
),

first_month as (
    select min(month_number) as month_number from units
    where row_count > 0
),

calendar_months as (
    select
        month_start,
        max(month_end) as month_end,
        row_number() over (order by month_start) as month_number,
        max(month_end) = max(quarter_end) or max(month_end) >= {{ as_of_date() }} as is_told
    from {{ ref('calendar') }}
    where month_start <= {{ as_of_date() }}
    group by month_start
),

-- From the first month that has one twelve months before.
told_months as (
    select calendar_months.* from calendar_months
    inner join first_month on calendar_months.month_number >= first_month.month_number + 12
    where calendar_months.is_told
),

-- Chosen before they grew, not because they did: on the list when the twelve months began.
keys as (
    select distinct
        accounts.ultimate_parent_id as customer_id,
        months_then.month_number + 12 as month_number
    from {{ ref('key_account_list') }} as key_account_list
    inner join {{ ref('accounts') }} as accounts on key_account_list.account_id = accounts.account_id
    inner join calendar_months as months_then
        on key_account_list.entered_on <= months_then.month_end
        and (key_account_list.left_on is null or key_account_list.left_on > months_then.month_end)
),

placed as (
    {%- for dimension, (member, member_name) in dimensions.items() %}
    select
        '{{ dimension }}' as dimension,
        {{ member }} as member,
        {{ member_name }} as member_name,
        cohorts.*,
        arr_actual is not null and arr_year_ago_actual is not null as has_actual,
        keys.customer_id is not null as is_key
    from cohorts
    inner join told_months on cohorts.month_number = told_months.month_number
    left join customers on cohorts.customer_id = customers.customer_id
    left join keys
        on cohorts.customer_id = keys.customer_id
        and cohorts.month_number = keys.month_number
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

sums as (
    select
        dimension,
        member,
        max(member_name) as member_name,
        count(case when arr_year_ago > 0 then 1 end) as n,
        sum(arr_year_ago) as arr_year_ago,
        sum(case when arr_year_ago > 0 then arr else 0 end) as arr,
        sum(case when arr_year_ago > 0 then 0 else arr end) as new_arr,
        sum(case when arr_year_ago > 0 and has_actual then arr_year_ago_actual end) as arr_year_ago_actual,
        sum(case when arr_year_ago > 0 and has_actual then arr_actual end) as arr_actual,
        count(case when arr_year_ago > 0 and arr > arr_year_ago then 1 end) as grown_count,
        count(case when arr_year_ago > 0 and arr = arr_year_ago then 1 end) as flat_count,
        count(case when arr_year_ago > 0 and arr < arr_year_ago and arr > 0 then 1 end) as shrunk_count,
        count(case when arr_year_ago > 0 and arr = 0 then 1 end) as lost_count,
        count(case when arr_year_ago = 0 then 1 end) as new_count,
        max(case when is_key then 1 else 0 end) = 1 as is_key,
        month_start,
        max(month_end) as month_end
    from placed
    group by dimension, member, month_start
),

counted as (
    select distinct customer_id from units
    where row_count > 0
),

-- Whoever ever paid has a row, however empty; a customer only then or now.
members as (
    {%- for dimension, (member, member_name) in dimensions.items() if dimension not in ('customer', 'key') %}
    select distinct
        '{{ dimension }}' as dimension,
        {{ member }} as member,
        {{ member_name }} as member_name
    from customers
    where customers.customer_id in (select counted.customer_id from counted)
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

cells as (
    select
        members.dimension,
        members.member,
        members.member_name,
        told_months.month_start,
        told_months.month_end
    from members
    cross join told_months
    union all
    select
        dimension,
        member,
        member_name,
        month_start,
        month_end
    from sums
    where dimension in ('customer', 'key')
),

final as (
    select
        cells.dimension,
        cells.member,
        cells.member_name,
        basis.basis,
        case when coalesce(sums.n, 0) = 0 then 'no customer a year before' end as reason,
        coalesce(sums.n, 0) as n,
        cast(coalesce(sums.arr_year_ago, 0) as decimal(18, 4)) as arr_year_ago,
        cast(coalesce(sums.arr, 0) as decimal(18, 4)) as arr,
        cast(sums.arr as double) / nullif(cast(sums.arr_year_ago as double), 0) - 1 as growth,
        cast(sums.arr_actual as double) / nullif(cast(sums.arr_year_ago_actual as double), 0) - 1 as growth_actual,
        cast(coalesce(sums.new_arr, 0) as decimal(18, 4)) as new_arr,
        coalesce(sums.grown_count, 0) as grown_count,
        coalesce(sums.flat_count, 0) as flat_count,
        coalesce(sums.shrunk_count, 0) as shrunk_count,
        coalesce(sums.lost_count, 0) as lost_count,
        coalesce(sums.new_count, 0) as new_count,
        case when cells.dimension in ('customer', 'key') then sums.is_key end as is_key,
        cells.month_start,
        cells.month_end,
        {{ as_of_date() }} as as_of_date
    from cells
    cross join basis
    left join sums
        on cells.dimension = sums.dimension
        and cells.member = sums.member
        and cells.month_start = sums.month_start
)

select * from final
