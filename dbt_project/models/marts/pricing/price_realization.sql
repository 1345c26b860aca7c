{%- set dimensions = {
    'company': ("'company'", "'Company'"), 'product': ('product_id', 'product_name'), 'segment': ('segment', 'segment'),
    'region': ('region', 'region'), 'seller': ('owner_id', 'owner_name'), 'size_band': ('size_band', 'size_band'),
} %}
with lines as (
    select * from {{ ref('int_opportunity_lines_known') }}
    where not _is_deleted
),

deals as (
    select * from {{ ref('opportunities') }}
    where not is_deleted
),

products as (
    select * from {{ ref('products') }}
),

rates as (
    select * from {{ ref('int_exchange_rates') }}
),

calendar as (
    select * from {{ ref('calendar') }}
),

priced as (
    select
        case when deals.is_won then 'booked' else 'quoted' end as basis,
        coalesce(deals.closed_on, deals.close_date) as day,
        lines.product_id,
        products.name as product_name,
        deals.segment,
        deals.region,
        deals.owner_id,
        deals.owner_name,
        case
            when deals.list_amount < 1000 then '< 1k'
            when deals.list_amount < 10000 then '1k-10k'
            when deals.list_amount < 100000 then '10k-100k'
            when deals.list_amount >= 100000 then '>= 100k'
        end as size_band,
        coalesce(lines.currency, deals.currency_source) as currency,
        least(coalesce(deals.closed_on, deals.close_date, {{ as_of_date() }}), {{ as_of_date() }}) as rate_date,
        lines.quantity * coalesce(lines.list_unit_price, products.list_price_source) as list_source,
        lines.quantity * lines.net_unit_price as net_source
    from lines
    inner join deals on lines.opportunity_id = deals.opportunity_id
    left join products on lines.product_id = products.product_id
    where
        (deals.is_won or deals.is_open)
        and lines.quantity is not null
        and lines.net_unit_price is not null
        and coalesce(lines.list_unit_price, products.list_price_source) is not null
),

rated as (
    select
        priced.*,
        {{ plan_rate('priced.currency') }} as rate
    from priced
    left join rates
        on priced.currency = rates.from_currency
        and priced.rate_date >= rates.valid_from
        and priced.rate_date < rates.valid_to
),

converted as (
    select
        rated.*,
        list_source * rate as list_amount,
        net_source * rate as net_amount
    from rated
),

placed as (
    {%- for dimension, (member, name) in dimensions.items() %}
    select
        '{{ dimension }}' as dimension,
        coalesce({{ member }}, 'unknown') as member,
        coalesce({{ name }}, {{ member }}, 'unknown') as member_name,
        converted.*
    from converted
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

spans as (
    select
        basis,
        min(day) as first_day,
        max(day) as last_day
    from converted
    group by basis
),

dated as (
    select
        placed.*,
        'all' as period_type,
        spans.first_day as period_start,
        spans.last_day as period_end
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

final as (
    select
        basis,
        dimension,
        member,
        max(member_name) as member_name,
        period_type,
        case when coalesce(sum(list_amount), 0) = 0 then 'no list amount' end as reason,
        count(*) as line_count,
        cast(sum(list_amount) as decimal(18, 4)) as list_amount,
        cast(sum(net_amount) as decimal(18, 4)) as net_amount,
        cast(sum(net_amount) as double) / nullif(cast(sum(list_amount) as double), 0) as price_realization,
        period_start,
        max(period_end) as period_end,
        {{ as_of_date() }} as as_of_date
    from dated
    group by basis, dimension, member, period_type, period_start
)

select * from final
