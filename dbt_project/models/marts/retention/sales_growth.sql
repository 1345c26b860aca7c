{%- set periods = {'month': 'fiscal_month', 'quarter': 'fiscal_quarter', 'year': '1'} %}
{%- set dimensions = {'company': "'company'", 'segment': 'in_money.segment', 'region': 'in_money.region'} %}
with deals as (
    select * from {{ ref('opportunities') }}
    where is_won and not is_deleted and amount_source is not null
),

invoices as (
    select * from {{ ref('int_invoices_known') }}
    where not _is_deleted and coalesce(status, 'open') != 'void' and invoice_date <= {{ as_of_date() }}
),

credit_notes as (
    select * from {{ ref('int_credit_notes_known') }}
    where not _is_deleted and credit_date <= {{ as_of_date() }}
),

customers as (
    select * from {{ ref('int_paying_customers') }}
),

calendar as (
    select * from {{ ref('calendar') }}
),

rates as (
    select * from {{ ref('int_constant_rates') }}
),

transaction_rates as (
    select * from {{ ref('int_fx_rates_carried') }}
    qualify rate_type = max(rate_type) over (partition by from_currency)
),

sales as (
    select
        'bookings' as measure,
        coalesce(segment, 'unknown') as segment,
        coalesce(region, 'unknown') as region,
        currency_source as currency,
        amount_source,
        closed_on as day
    from deals
    union all
    select
        'revenue' as measure,
        customers.segment,
        customers.region,
        invoices.currency,
        invoices.amount as amount_source,
        invoices.invoice_date as day
    from invoices
    left join customers on invoices.customer_id = customers.finance_customer_id
    union all
    select
        'revenue' as measure,
        customers.segment,
        customers.region,
        credit_notes.currency,
        -credit_notes.amount as amount_source,
        credit_notes.credit_date as day
    from credit_notes
    left join customers on credit_notes.customer_id = customers.finance_customer_id
),

in_money as (
    select
        sales.*,
        cast(sales.amount_source * {{ plan_rate('sales.currency') }} as decimal(18, 4)) as amount,
        cast(sales.amount_source * {{ rate_of('transaction_rates', 'sales.currency') }} as decimal(18, 4)) as amount_actual
    from sales
    left join rates on sales.currency = rates.from_currency
    left join transaction_rates
        on sales.currency = transaction_rates.from_currency
        and sales.day >= transaction_rates.valid_from
        and sales.day < transaction_rates.valid_to
),

firsts as (
    select
        measure,
        min(day) as first_day
    from in_money
    group by measure
),

all_periods as (
    {%- for period, number in periods.items() %}
    select distinct
        '{{ period }}' as period_type,
        fiscal_year,
        {{ number }} as number,
        {{ period }}_start as period_start,
        {{ period }}_end as period_end
    from calendar
    where {{ period }}_start <= {{ as_of_date() }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

-- A running period is held against as many days of the one before.
compared as (
    select
        all_periods.period_type,
        all_periods.period_start,
        least(all_periods.period_end, {{ as_of_date() }}) as told_to,
        all_periods.period_end,
        before.period_start as previous_start,
        case
            when all_periods.period_end <= {{ as_of_date() }} then before.period_end
            else least(before.period_end, {{ add_days('before.period_start', day_count('all_periods.period_start', as_of_date())) }})
        end as previous_to
    from all_periods
    left join all_periods as before
        on all_periods.period_type = before.period_type
        and all_periods.fiscal_year = before.fiscal_year + 1
        and all_periods.number = before.number
),

cells as (
    {%- for period in periods %}
    {%- set is_last_period = loop.last %}
    {%- for dimension in dimensions %}
    select '{{ period }}' as period_type, '{{ dimension }}' as dimension
    {{- ' union all' if not (loop.last and is_last_period) }}
    {%- endfor %}
    {%- endfor %}
),

placed as (
    select
        in_money.measure,
        cells.dimension,
        case cells.dimension
            {%- for dimension, member in dimensions.items() %}
            when '{{ dimension }}' then {{ member }}
            {%- endfor %}
        end as member,
        cells.period_type,
        case cells.period_type
            {%- for period in periods %}
            when '{{ period }}' then calendar.{{ period }}_start
            {%- endfor %}
        end as period_start,
        in_money.day,
        in_money.amount,
        in_money.amount_actual
    from in_money
    inner join calendar on in_money.day = calendar.day
    cross join cells
),

halves as (
    select
        placed.*,
        placed.period_start as told_start,
        true as is_now
    from placed
    union all
    select
        placed.*,
        compared.period_start as told_start,
        false as is_now
    from placed
    inner join compared
        on placed.period_type = compared.period_type
        and placed.period_start = compared.previous_start
        and placed.day <= compared.previous_to
),

totals as (
    select
        measure,
        dimension,
        member,
        period_type,
        told_start,
        count(case when is_now and amount is not null then 1 end) as sale_count,
        count(case when not is_now and amount is not null then 1 end) as sale_count_year_ago,
        count(case when amount is null then 1 end) as unrated_count,
        count(case when is_now and amount_actual is null then 1 end) as unrated_actual,
        count(case when not is_now and amount_actual is null then 1 end) as unrated_actual_year_ago,
        sum(case when is_now then amount end) as amount,
        sum(case when not is_now then amount end) as amount_year_ago,
        sum(case when is_now then amount_actual end) as amount_actual,
        sum(case when not is_now then amount_actual end) as amount_actual_year_ago
    from halves
    group by measure, dimension, member, period_type, told_start
),

members as (
    select distinct
        measure,
        dimension,
        member
    from placed
),

joined as (
    select
        members.measure,
        members.dimension,
        members.member,
        compared.period_type,
        case
            when compared.previous_start is null or firsts.first_day > compared.previous_start then 'the year before is not on record'
            when coalesce(totals.amount_year_ago, 0) <= 0 then 'nothing was sold a year before'
        end as reason,
        coalesce(totals.sale_count, 0) as sale_count,
        coalesce(totals.sale_count_year_ago, 0) as sale_count_year_ago,
        coalesce(totals.unrated_count, 0) as unrated_count,
        coalesce(totals.amount, 0) as amount,
        coalesce(totals.amount_year_ago, 0) as amount_year_ago,
        case when coalesce(totals.unrated_actual, 0) = 0 then coalesce(totals.amount_actual, 0) end as amount_actual,
        case
            when coalesce(totals.unrated_actual_year_ago, 0) = 0 then coalesce(totals.amount_actual_year_ago, 0)
        end as amount_actual_year_ago,
        compared.period_start,
        compared.period_end,
        compared.told_to
    from members
    inner join firsts on members.measure = firsts.measure
    inner join compared on compared.period_end >= firsts.first_day
    left join totals
        on members.measure = totals.measure
        and members.dimension = totals.dimension
        and members.member = totals.member
        and compared.period_type = totals.period_type
        and compared.period_start = totals.told_start
),

final as (
    select
        measure,
        dimension,
        member,
        period_type,
        reason,
        sale_count,
        sale_count_year_ago,
        unrated_count,
        cast(amount as decimal(18, 4)) as amount,
        cast(amount_year_ago as decimal(18, 4)) as amount_year_ago,
        cast(amount_actual as decimal(18, 4)) as amount_actual,
        cast(amount_actual_year_ago as decimal(18, 4)) as amount_actual_year_ago,
        case when reason is null then cast(amount as double) / cast(amount_year_ago as double) - 1 end as growth,
        case
            when reason is null and amount_actual_year_ago > 0
                then cast(amount_actual as double) / cast(amount_actual_year_ago as double) - 1
        end as growth_actual,
        period_start,
        period_end,
        told_to,
        {{ as_of_date() }} as as_of_date
    from joined
)

select * from final
