with items as (
    select * from {{ ref('bridge_items') }}
),

statuses as (
    select * from {{ ref('reconciliation_statuses') }}
),

calendar as (
    select * from {{ ref('calendar') }}
),

lines as (
    select 'bookings' as line, cast(0 as bigint) as line_order
    union all
    select status as line, status_order as line_order from statuses
    union all
    select 'other_period' as line, cast(97 as bigint) as line_order
    union all
    select 'fx_difference' as line, cast(98 as bigint) as line_order
    union all
    select 'finance' as line, cast(99 as bigint) as line_order
),

currencies as (
    select distinct
        currency_basis,
        currency
    from items
),

first_periods as (
    select
        period_type,
        min(period_start) as first_start
    from items
    group by period_type
),

periods as (
    {%- for period_type in ('month', 'quarter', 'year') %}
    select distinct
        '{{ period_type }}' as period_type,
        calendar.{{ period_type }}_start as period_start,
        calendar.{{ period_type }}_end as period_end
    from calendar
    inner join first_periods
        on first_periods.period_type = '{{ period_type }}'
        and calendar.{{ period_type }}_start >= first_periods.first_start
    where calendar.{{ period_type }}_start <= {{ as_of_date() }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

totals as (
    select
        period_type,
        period_start,
        currency_basis,
        currency,
        line,
        sum(amount) as amount,
        count(*) as row_count
    from items
    group by period_type, period_start, currency_basis, currency, line
),

final as (
    select
        periods.period_type,
        currencies.currency_basis,
        currencies.currency,
        lines.line,
        lines.line_order,
        cast(coalesce(totals.amount, 0) as decimal(18, 4)) as amount,
        coalesce(totals.row_count, 0) as row_count,
        periods.period_start,
        periods.period_end,
        {{ as_of_date() }} as as_of_date
    from periods
    cross join currencies
    cross join lines
    left join totals
        on periods.period_type = totals.period_type
        and periods.period_start = totals.period_start
        and currencies.currency_basis = totals.currency_basis
        and currencies.currency = totals.currency
        and lines.line = totals.line
)

select * from final
