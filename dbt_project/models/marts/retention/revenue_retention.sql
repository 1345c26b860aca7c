{%- set dimensions = customer_dimensions() %}
with cohorts as (
    select * from {{ ref('int_arr_cohorts') }}
),

units as (
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

finance_customers as (
    select * from {{ ref('int_paying_customers') }}
),

products as (
    select * from {{ ref('products') }}
),

events as (
    select * from {{ ref('int_renewal_events') }}
    where is_decided
),

counted as (
    select distinct customer_id from units
    where row_count > 0
),

members as (
    {%- for dimension, (member, member_name) in dimensions.items() %}
    select distinct
        '{{ dimension }}' as dimension,
        {{ member }} as member,
        {{ member_name }} as member_name
    from customers
    where customers.customer_id in (select counted.customer_id from counted)
    union all
    {%- endfor %}
    select distinct
        'product' as dimension,
        units.product_id as member,
        coalesce(products.name, units.product_id) as member_name
    from units
    left join products on units.product_id = products.product_id
    where units.unit_type = 'customer_product' and units.row_count > 0
),

first_month as (
    select
        min(month_start) as first_start,
        max(basis) as basis
    from units
    where row_count > 0
),

months as (
    select
        calendar.month_start,
        max(calendar.month_end) as month_end,
        first_month.basis,
        row_number() over (order by calendar.month_start) > 12 as has_year_before,
        lag(max(calendar.month_end), 12) over (order by calendar.month_start) as year_ago_end
    from {{ ref('calendar') }} as calendar
    inner join first_month on calendar.month_start >= first_month.first_start
    where calendar.month_start <= {{ as_of_date() }}
    group by calendar.month_start, first_month.basis
),

alive as (
    select
        cohorts.*,
        least(arr, arr_year_ago) as kept,
        least(arr_actual, arr_year_ago_actual) as kept_actual,
        arr_actual is not null and arr_year_ago_actual is not null as has_actual
    from cohorts
    where arr_year_ago > 0
),

placed as (
    {%- for dimension, (member, member_name) in dimensions.items() %}
    select
        '{{ dimension }}' as dimension,
        {{ member }} as member,
        alive.*
    from alive
    left join customers on alive.customer_id = customers.customer_id
    where alive.unit_type = 'customer'
    union all
    {%- endfor %}
    select
        'product' as dimension,
        alive.product_id as member,
        alive.*
    from alive
    where alive.unit_type = 'customer_product'
),

sums as (
    select
        dimension,
        member,
        month_start,
        count(*) as n,
        count(case when arr > 0 then 1 end) as retained_count,
        sum(arr_year_ago) as arr_year_ago,
        sum(arr) as arr,
        sum(kept) as kept,
        {{ equal_units('arr_year_ago') }} as equal_n,
        sum(case when has_actual then arr_year_ago_actual end) as arr_year_ago_actual,
        sum(case when has_actual then arr_actual end) as arr_actual,
        sum(case when has_actual then kept_actual end) as kept_actual
    from placed
    group by dimension, member, month_start
),

ratios as (
    select
        sums.*,
        cast(arr as double) / cast(arr_year_ago as double) as nrr,
        cast(kept as double) / cast(arr_year_ago as double) as grr
    from sums
),

spreads as (
    select
        ratios.dimension,
        ratios.member,
        ratios.month_start,
        {{ squares_around('placed.arr', 'placed.arr_year_ago', 'ratios.nrr') }} as nrr_squares,
        {{ squares_around('placed.kept', 'placed.arr_year_ago', 'ratios.grr') }} as grr_squares
    from placed
    inner join ratios
        on placed.dimension = ratios.dimension and placed.member = ratios.member and placed.month_start = ratios.month_start
    group by ratios.dimension, ratios.member, ratios.month_start
),

unrated as (
    select
        month_start,
        sum(unrated_count) as unrated_count
    from units
    where unit_type = 'customer'
    group by month_start
),

due as (
    {%- for dimension, (member, member_name) in dimensions.items() %}
    select
        '{{ dimension }}' as dimension,
        {{ member }} as member,
        events.*,
        least(events.due_amount, events.renewed_amount) as kept
    from events
    inner join finance_customers on events.finance_customer_id = finance_customers.finance_customer_id
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

due_months as (
    select
        due.dimension,
        due.member,
        due.due_amount,
        due.renewed_amount,
        due.kept,
        months.month_start
    from due
    inner join months on due.due_on <= months.month_end
        and (months.year_ago_end is null or due.due_on > months.year_ago_end)
),

renewals as (
    select
        dimension,
        member,
        month_start,
        count(*) as renewals_due_count,
        sum(due_amount) as due_amount,
        cast(sum(kept) as double) / nullif(cast(sum(due_amount) as double), 0) as gross_renewal_rate,
        cast(sum(renewed_amount) as double) / nullif(cast(sum(due_amount) as double), 0) as net_renewal_rate,
        {{ equal_units('due_amount') }} as equal_n
    from due_months
    group by dimension, member, month_start
),

renewal_spreads as (
    select
        renewals.dimension,
        renewals.member,
        renewals.month_start,
        {{ squares_around('due_months.kept', 'due_months.due_amount', 'renewals.gross_renewal_rate') }} as renewal_squares
    from due_months
    inner join renewals
        on due_months.dimension = renewals.dimension
        and due_months.member = renewals.member
        and due_months.month_start = renewals.month_start
    group by renewals.dimension, renewals.member, renewals.month_start
),

rated as (
    select
        members.dimension,
        members.member,
        members.member_name,
        months.basis,
        case
            when sums.n > 0 then null
            when months.has_year_before then 'no customer a year before'
            else 'less than 12 months of history'
        end as reason,
        coalesce(sums.n, 0) as n,
        sums.retained_count,
        sums.arr_year_ago,
        sums.arr,
        sums.equal_n,
        sums.nrr,
        sums.grr,
        spreads.nrr_squares,
        spreads.grr_squares,
        cast(sums.retained_count as double) / nullif(sums.n, 0) as logo_retention,
        cast(sums.arr_actual as double) / nullif(cast(sums.arr_year_ago_actual as double), 0) as nrr_actual,
        cast(sums.kept_actual as double) / nullif(cast(sums.arr_year_ago_actual as double), 0) as grr_actual,
        members.dimension != 'product' and months.basis = 'subscriptions' as has_renewals,
        renewals.renewals_due_count,
        renewals.due_amount,
        renewals.gross_renewal_rate,
        renewals.net_renewal_rate,
        renewals.equal_n as equal_renewals,
        renewal_spreads.renewal_squares,
        coalesce(unrated.unrated_count, 0) as unrated_count,
        months.month_start,
        months.month_end
    from members
    cross join months
    {%- for relation in ('ratios as sums', 'spreads', 'renewals', 'renewal_spreads') %}
    {%- set name = relation.split(' ')[-1] %}
    left join {{ relation }}
        on members.dimension = {{ name }}.dimension
        and members.member = {{ name }}.member
        and months.month_start = {{ name }}.month_start
    {%- endfor %}
    left join unrated on months.month_start = unrated.month_start
),

final as (
    select
        dimension,
        member,
        member_name,
        basis,
        reason,
        n,
        cast(coalesce(retained_count, 0) as bigint) as retained_count,
        cast(coalesce(arr_year_ago, 0) as decimal(18, 4)) as arr_year_ago,
        cast(coalesce(arr, 0) as decimal(18, 4)) as arr,
        nrr,
        -- Nobody pays less than nothing, and what may go of the gross goes of the net.
        case
            when n > 1
                then least(
                    greatest({{ ratio_interval('nrr', 'n', 'nrr_squares', 'arr_year_ago', -1) }}, 0),
                    {{ share_interval('grr', 'n', 'grr_squares', 'arr_year_ago', -1, 'equal_n') }}
                )
        end as nrr_low,
        {{ ratio_interval('nrr', 'n', 'nrr_squares', 'arr_year_ago', 1) }} as nrr_high,
        grr,
        {{ share_interval('grr', 'n', 'grr_squares', 'arr_year_ago', -1, 'equal_n') }} as grr_low,
        {{ share_interval('grr', 'n', 'grr_squares', 'arr_year_ago', 1, 'equal_n') }} as grr_high,
        logo_retention,
        {{ wilson('logo_retention', 'cast(n as double)', -1) }} as logo_retention_low,
        {{ wilson('logo_retention', 'cast(n as double)', 1) }} as logo_retention_high,
        nrr_actual,
        grr_actual,
        cast(case when has_renewals then coalesce(renewals_due_count, 0) end as bigint) as renewals_due_count,
        cast(case when has_renewals then coalesce(due_amount, 0) end as decimal(18, 4)) as renewals_due_amount,
        gross_renewal_rate,
        {{ share_interval('gross_renewal_rate', 'renewals_due_count', 'renewal_squares', 'due_amount', -1, 'equal_renewals') }}
            as gross_renewal_rate_low,
        {{ share_interval('gross_renewal_rate', 'renewals_due_count', 'renewal_squares', 'due_amount', 1, 'equal_renewals') }}
            as gross_renewal_rate_high,
        net_renewal_rate,
        cast(unrated_count as bigint) as unrated_count,
        month_start,
        month_end,
        {{ as_of_date() }} as as_of_date
    from rated
)

select * from final
