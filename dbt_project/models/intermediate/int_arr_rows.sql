{{ config(materialized='table') }}
{%- set grace_days = policy_constant('grace_days', 'retention_policy') | float | int %}
{%- set final_days = [policy_constant('final_days', 'retention_policy') | float | int, grace_days] | max %}
{%- set reporting_currency = "'" ~ var('reporting_currency') ~ "'" %}
with customers as (
    select * from {{ ref('int_paying_customers') }}
),

constant_rates as (
    select * from {{ ref('int_constant_rates') }}
),

transaction_rates as (
    select * from {{ ref('int_fx_rates_carried') }}
    qualify rate_type = max(rate_type) over (partition by from_currency)
),

calendar_months as (
    select
        month_start,
        month_end
    from {{ ref('calendar') }}
    where month_start <= {{ as_of_date() }}
    group by month_start, month_end
),

months as (
    select
        month_start,
        month_end,
        row_number() over (order by month_start) as month_number,
        least(month_end, {{ as_of_date() }}) as day,
        coalesce(lag(month_end) over (order by month_start), cast('1900-01-01' as date)) as previous_day,
        least({{ add_days('month_end', final_days) }}, {{ as_of_date() }}) as told_on
    from calendar_months
),

versions as (
    select * from {{ ref('int_revenue_versions') }}
),

valued as (
    select
        versions.*,
        customers.customer_id,
        coalesce(versions.currency, {{ reporting_currency }}) as currency_known,
        case
            when coalesce(versions.currency, {{ reporting_currency }}) = {{ reporting_currency }} then versions.arr
            else cast(versions.arr * constant_rates.rate as decimal(18, 4))
        end as value
    from versions
    left join customers on versions.finance_customer_id = customers.finance_customer_id
    left join constant_rates on versions.currency = constant_rates.from_currency
),

usable as (
    select * from valued
    where _operation = 'upsert' and arr is not null and (end_date is null or end_date > start_date)
),

-- What became known when its months were final already is told there as it was known then.
late_words as (
    select
        coalesce(customers.customer_id, previous_customers.customer_id) as customer_id,
        previous_customers.customer_id as previous_customer_id,
        versions.known_on,
        {{ add_days('least(coalesce(versions.start_date, versions.previous_start_date), '
            ~ 'coalesce(versions.previous_start_date, versions.start_date))', -grace_days) }} as since
    from versions
    left join customers on versions.finance_customer_id = customers.finance_customer_id
    left join customers as previous_customers on versions.previous_finance_customer_id = previous_customers.finance_customer_id
    where
        versions.previous_start_date is not null
        or versions.known_on > {{ add_days('versions.start_date', final_days - grace_days) }}
),

told_apart as (
    select
        late_words.customer_id,
        months.month_number
    from late_words
    inner join months on late_words.since <= months.day and months.told_on < late_words.known_on
    union
    select
        late_words.previous_customer_id as customer_id,
        months.month_number
    from late_words
    inner join months on late_words.since <= months.day and months.told_on < late_words.known_on
    where late_words.previous_customer_id is not null
),

-- By month 0 as known now; by the others as known when the month was told.
told_rows as (
    select
        cast(0 as bigint) as told_month,
        {{ as_of_date() }} as told_on,
        usable.*
    from usable
    where next_known_on is null
    union all
    select
        told_apart.month_number as told_month,
        months.told_on,
        usable.*
    from told_apart
    inner join months on told_apart.month_number = months.month_number
    inner join usable
        on told_apart.customer_id = usable.customer_id
        and usable.known_on <= months.told_on
        and (usable.next_known_on is null or usable.next_known_on > months.told_on)
),

reaches as (
    select
        told_rows.*,
        max(coalesce(end_date, cast('9999-12-31' as date))) over (
            partition by told_month, customer_id order by start_date, row_id rows between unbounded preceding and 1 preceding
        ) as covered_to
    from told_rows
    where basis = 'subscriptions' and value > 0
),

late_renewals as (
    select
        told_month,
        customer_id,
        covered_to as end_date,
        min(start_date) as renewed_on
    from reaches
    where start_date > covered_to and {{ day_count('covered_to', 'start_date') }} <= {{ grace_days }}
    group by told_month, customer_id, covered_to
),

-- The customer's last day has come and whether it renews is open.
undecided as (
    select
        told_month,
        customer_id,
        max(coalesce(end_date, cast('9999-12-31' as date))) as end_date
    from reaches
    group by told_month, customer_id, told_on
    having
        max(coalesce(end_date, cast('9999-12-31' as date))) <= told_on
        and max(coalesce(end_date, cast('9999-12-31' as date))) > {{ add_days('told_on', -grace_days) }}
),

spans as (
    select
        told_rows.*,
        case
            when told_rows.basis = 'subscriptions' and told_rows.value > 0 and late_renewals.renewed_on is not null
                then late_renewals.renewed_on
            when
                told_rows.basis = 'subscriptions'
                and told_rows.value > 0
                and undecided.end_date is not null
                and (told_rows.cancelled_on is null or told_rows.cancelled_on > told_rows.told_on)
                then {{ add_days('told_rows.told_on', 1) }}
            else coalesce(told_rows.end_date, cast('9999-12-31' as date))
        end as counts_to
    from told_rows
    left join late_renewals
        on told_rows.told_month = late_renewals.told_month
        and told_rows.customer_id = late_renewals.customer_id
        and told_rows.end_date = late_renewals.end_date
    left join undecided
        on told_rows.told_month = undecided.told_month
        and told_rows.customer_id = undecided.customer_id
        and told_rows.end_date = undecided.end_date
),

row_months as (
    select
        spans.told_month,
        months.month_number,
        spans.basis,
        spans.customer_id,
        spans.finance_customer_id,
        coalesce(spans.product_id, 'unknown') as product_id,
        spans.currency_known,
        spans.row_id,
        spans.arr,
        spans.value,
        spans.change_reason,
        months.day < spans.counts_to as is_closing,
        spans.start_date <= months.previous_day as is_opening
    from spans
    inner join months
        on spans.start_date <= months.day
        and spans.counts_to > months.previous_day
        and (spans.told_month = 0 or spans.told_month = months.month_number)
),

-- Who came and went between two days is in no month.
counted as (
    select * from row_months
    where is_closing or is_opening
),

currency_months as (
    select
        used.currency_known,
        months.month_number,
        {{ rate_of('now_rates', 'used.currency_known') }} as rate,
        {{ rate_of('rates_before', 'used.currency_known') }} as previous_rate
    from (select distinct usable.currency_known from usable) as used
    cross join months
    left join transaction_rates as now_rates
        on used.currency_known = now_rates.from_currency and months.day >= now_rates.valid_from and months.day < now_rates.valid_to
    left join transaction_rates as rates_before
        on used.currency_known = rates_before.from_currency
        and months.previous_day >= rates_before.valid_from
        and months.previous_day < rates_before.valid_to
),

final as (
    select
        counted.told_month,
        cast(counted.month_number as bigint) as month_number,
        counted.basis,
        counted.customer_id,
        counted.finance_customer_id,
        counted.product_id,
        counted.currency_known,
        counted.row_id,
        counted.arr,
        counted.value,
        cast(counted.arr * currency_months.rate as decimal(18, 4)) as value_actual,
        cast(counted.arr * currency_months.previous_rate as decimal(18, 4)) as value_before,
        counted.change_reason,
        counted.is_closing,
        counted.is_opening,
        told_apart.month_number is not null as is_told_apart
    from counted
    inner join currency_months
        on counted.currency_known = currency_months.currency_known
        and counted.month_number = currency_months.month_number
    left join told_apart
        on counted.customer_id = told_apart.customer_id
        and counted.month_number = told_apart.month_number
)

select * from final
