{%- set dimensions = {
    'company': "'company'", 'product': 'product_id', 'segment': 'segment', 'region': 'region', 'seller': 'owner_id', 'size_band': 'size_band',
} %}
with lines as (
    select * from {{ ref('int_priced_lines') }}
),

products as (
    select * from {{ ref('products') }}
),

sellers as (
    select * from {{ ref('int_sellers') }}
),

bands as (
    select * from {{ ref('size_bands') }}
),

calendar as (
    select * from {{ ref('calendar') }}
),

bases as (
    select 'booked' as basis
    union all
    select 'quoted' as basis
    union all
    select 'invoiced' as basis
),

placed as (
    {%- for dimension, member in dimensions.items() %}
    select
        '{{ dimension }}' as dimension,
        coalesce({{ member }}, 'unknown') as member,
        lines.*
    from lines
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

spans as (
    select
        basis,
        min(day) as first_day,
        max(day) as last_day
    from lines
    group by basis
),

dated as (
    select
        placed.*,
        'all' as period_type,
        coalesce(spans.first_day, {{ as_of_date() }}) as period_start,
        coalesce(spans.last_day, {{ as_of_date() }}) as period_end
    from placed
    inner join spans on placed.basis = spans.basis
    {%- for period in ('year', 'quarter') %}
    union all
    select
        placed.*,
        '{{ period }}' as period_type,
        calendar.{{ period }}_start as period_start,
        calendar.{{ period }}_end as period_end
    from placed
    inner join calendar on placed.day = calendar.day
    {%- endfor %}
),

-- What varies from deal to deal is the deal: its lines were priced together.
units as (
    select
        basis,
        dimension,
        member,
        period_type,
        period_start,
        max(period_end) as period_end,
        unit_id,
        count(*) as line_count,
        sum(list_amount) as list_amount,
        sum(net_amount) as net_amount
    from dated
    group by basis, dimension, member, period_type, period_start, unit_id
),

summed as (
    select
        basis,
        dimension,
        member,
        period_type,
        period_start,
        max(period_end) as period_end,
        sum(line_count) as line_count,
        count(list_amount) as n,
        cast(sum(list_amount) as decimal(18, 4)) as list_amount,
        cast(sum(net_amount) as decimal(18, 4)) as net_amount,
        {{ sum_of_products('net_amount', 'net_amount') }} as net_squared,
        {{ sum_of_products('net_amount', 'list_amount') }} as net_list,
        {{ sum_of_products('list_amount', 'list_amount') }} as list_squared
    from units
    group by basis, dimension, member, period_type, period_start
),

-- Who sold nothing, and what was not sold, still has a row.
members as (
    select 'company' as dimension, 'company' as member, 'Company' as member_name
    union
    select 'product' as dimension, product_id as member, name as member_name from products
    union
    select 'seller' as dimension, seller_id as member, name as member_name from sellers
    union
    select 'region' as dimension, region as member, region as member_name from sellers
    where region is not null
    union
    select 'segment' as dimension, segment as member, segment as member_name from sellers
    where segment is not null
    union
    select 'size_band' as dimension, size_band as member, size_band as member_name from bands
),

without_a_line as (
    select
        bases.basis,
        members.dimension,
        members.member,
        coalesce(spans.first_day, {{ as_of_date() }}) as period_start,
        coalesce(spans.last_day, {{ as_of_date() }}) as period_end
    from members
    cross join bases
    left join spans on bases.basis = spans.basis
    left join summed
        on bases.basis = summed.basis
        and members.dimension = summed.dimension
        and members.member = summed.member
        and summed.period_type = 'all'
    where summed.basis is null
),

complete as (
    select
        basis,
        dimension,
        member,
        period_type,
        line_count,
        n,
        list_amount,
        net_amount,
        cast(net_amount as double) / nullif(cast(list_amount as double), 0) as price_realization,
        net_squared,
        net_list,
        list_squared,
        period_start,
        period_end
    from summed
    union all
    select
        basis,
        dimension,
        member,
        'all' as period_type,
        0 as line_count,
        0 as n,
        null as list_amount,
        null as net_amount,
        null as price_realization,
        null as net_squared,
        null as net_list,
        null as list_squared,
        period_start,
        period_end
    from without_a_line
),

with_range as (
    select
        complete.*,
        coalesce(members.member_name, complete.member) as member_name,
        case
            when n >= {{ pricing_policy('realization_minimum_deals') }} and n > 1 and list_amount > 0
                then {{ students_t('(n - 1)') }} * sqrt(
                    n * greatest(
                        net_squared - 2 * price_realization * net_list + price_realization * price_realization * list_squared, 0
                    ) / (n - 1)
                ) / cast(list_amount as double)
        end as half_width
    from complete
    left join members on complete.dimension = members.dimension and complete.member = members.member
),

final as (
    select
        basis,
        dimension,
        member,
        member_name,
        period_type,
        case
            when line_count = 0 then 'no priced line'
            when coalesce(list_amount, 0) = 0 then 'no list amount'
        end as reason,
        case when half_width is null then 'not enough data' end as interval_reason,
        cast(line_count as bigint) as line_count,
        cast(n as bigint) as deal_count,
        cast(list_amount as decimal(18, 4)) as list_amount,
        cast(net_amount as decimal(18, 4)) as net_amount,
        price_realization,
        price_realization - half_width as price_realization_low,
        price_realization + half_width as price_realization_high,
        period_start,
        period_end,
        {{ as_of_date() }} as as_of_date
    from with_range
)

select * from final
