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
        least({{ add_days('month_end', final_days) }}, {{ as_of_date() }}) as told_on,
        {{ add_days('month_end', final_days) }} < {{ as_of_date() }} as is_final
    from calendar_months
),

{{ revenue_versions() }}

valued as (
    select
        known_spans.*,
        customers.customer_id,
        coalesce(known_spans.currency, {{ reporting_currency }}) as currency_known,
        case
            when coalesce(known_spans.currency, {{ reporting_currency }}) = {{ reporting_currency }} then known_spans.arr
            else cast(known_spans.arr * constant_rates.rate as decimal(18, 4))
        end as value
    from known_spans
    left join customers on known_spans.finance_customer_id = customers.finance_customer_id
    left join constant_rates on known_spans.currency = constant_rates.from_currency
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
        known_spans.known_on,
        {{ add_days('least(coalesce(known_spans.start_date, known_spans.previous_start_date), '
            ~ 'coalesce(known_spans.previous_start_date, known_spans.start_date))', -grace_days) }} as since
    from known_spans
    left join customers on known_spans.finance_customer_id = customers.finance_customer_id
    left join customers as previous_customers on known_spans.previous_finance_customer_id = previous_customers.finance_customer_id
    where
        known_spans.previous_start_date is not null
        or known_spans.known_on > {{ add_days('known_spans.start_date', final_days - grace_days) }}
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
        months.day,
        months.previous_day,
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

in_money as (
    select
        counted.*,
        cast(counted.arr * currency_months.rate as decimal(18, 4)) as value_actual,
        cast(counted.arr * currency_months.previous_rate as decimal(18, 4)) as value_before
    from counted
    inner join currency_months
        on counted.currency_known = currency_months.currency_known
        and counted.month_number = currency_months.month_number
),

-- Which row replaces which: the same product first, then whatever is left.
changes as (
    select
        in_money.*,
        row_number() over (
            partition by told_month, month_number, finance_customer_id, currency_known, product_id, is_closing
            order by arr desc, row_id asc
        ) as place,
        least(
            count(case when is_closing then 1 end) over by_product,
            count(case when is_opening then 1 end) over by_product
        ) as pair_count
    from in_money
    where is_closing != is_opening and value is not null
    window by_product as (partition by told_month, month_number, finance_customer_id, currency_known, product_id)
),

leftovers as (
    select
        told_month,
        month_number,
        finance_customer_id,
        currency_known,
        product_id,
        arr,
        value,
        value_actual,
        change_reason,
        is_closing,
        is_opening,
        row_number() over (
            partition by told_month, month_number, finance_customer_id, currency_known, is_closing order by arr desc, row_id asc
        ) as place,
        least(
            count(case when is_closing then 1 end) over by_currency,
            count(case when is_opening then 1 end) over by_currency
        ) as pair_count
    from changes
    where place > pair_count
    window by_currency as (partition by told_month, month_number, finance_customer_id, currency_known)
),

prices as (
    select
        told_month,
        month_number,
        finance_customer_id,
        product_id,
        true as is_same_product,
        sum(case when is_closing then value else -value end) as price,
        sum(case when is_closing then value_actual else -value_actual end) as price_actual
    from changes
    where place <= pair_count
    group by told_month, month_number, finance_customer_id, currency_known, product_id, place
    having max(case when is_closing then change_reason end) = 'price_change'
    union all
    select
        told_month,
        month_number,
        finance_customer_id,
        max(case when is_closing then product_id end) as product_id,
        false as is_same_product,
        sum(case when is_closing then value else -value end) as price,
        sum(case when is_closing then value_actual else -value_actual end) as price_actual
    from leftovers
    where place <= pair_count
    group by told_month, month_number, finance_customer_id, currency_known, place
    having max(case when is_closing then change_reason end) = 'price_change'
),

lines as (
    select
        told_month,
        month_number,
        finance_customer_id,
        product_id,
        basis,
        case when is_opening then value end as opening,
        case when is_closing then value end as closing,
        case when is_opening then value_before end as opening_actual,
        case when is_closing then value_actual end as closing_actual,
        case when is_opening then value_actual - value_before end as fx_actual,
        cast(null as decimal(18, 4)) as price,
        cast(null as decimal(18, 4)) as price_actual,
        cast(null as decimal(18, 4)) as product_price,
        cast(null as decimal(18, 4)) as product_price_actual,
        case when is_closing and value is not null then 1 else 0 end as counting,
        case when is_closing and value is null then 1 else 0 end as unrated,
        case when is_opening and value is not null and (value_actual is null or value_before is null) then 1 else 0 end as missing_opening,
        case when is_closing and value is not null and value_actual is null then 1 else 0 end as missing_closing,
        case when value < 0 then 1 else 0 end as credit
    from in_money
    union all
    select
        told_month,
        month_number,
        finance_customer_id,
        product_id,
        'subscriptions' as basis,
        null as opening,
        null as closing,
        null as opening_actual,
        null as closing_actual,
        null as fx_actual,
        price,
        price_actual,
        case when is_same_product then price end as product_price,
        case when is_same_product then price_actual end as product_price_actual,
        0 as counting,
        0 as unrated,
        0 as missing_opening,
        0 as missing_closing,
        0 as credit
    from prices
),

-- Rows without a constant rate are counted and nothing else.
totals as (
    select
        lines.told_month,
        lines.month_number,
        lines.finance_customer_id,
        lines.product_id,
        max(lines.basis) as basis,
        {%- for name in ('opening', 'closing', 'price', 'product_price') %}
        coalesce(sum(lines.{{ name }}), 0) as {{ name }},
        coalesce(sum(lines.{{ name }}_actual), 0) as {{ name }}_actual,
        {%- endfor %}
        coalesce(sum(lines.fx_actual), 0) as fx_actual,
        sum(lines.counting) as row_count,
        sum(lines.unrated) as unrated_count,
        sum(lines.missing_opening) as missing_opening_count,
        sum(lines.missing_closing) as missing_closing_count,
        sum(lines.credit) as credit_count
    from lines
    group by lines.told_month, lines.month_number, lines.finance_customer_id, lines.product_id
),

-- Customers of whom nothing remains though rows do, and those who cannot be told in actual currency: what counts 0 needs no rate.
exceptions as (
    select
        totals.told_month,
        totals.month_number,
        customers.customer_id,
        sum(totals.opening) <= 0 as has_no_opening,
        sum(totals.closing) <= 0 as has_no_closing,
        (sum(totals.missing_opening_count) > 0 and sum(totals.opening) > 0)
        or (sum(totals.missing_closing_count) > 0 and sum(totals.closing) > 0) as has_no_actual,
        sum(totals.missing_closing_count) > 0 and sum(totals.closing) > 0 as has_no_actual_closing
    from totals
    inner join customers on totals.finance_customer_id = customers.finance_customer_id
    group by totals.told_month, totals.month_number, customers.customer_id
    having sum(totals.missing_opening_count + totals.missing_closing_count + totals.credit_count) > 0
),

settled as (
    select
        totals.told_month,
        totals.month_number,
        customers.customer_id,
        totals.finance_customer_id,
        totals.product_id,
        totals.basis,
        {%- for name in ('opening', 'closing') %}
        case when coalesce(exceptions.has_no_{{ name }}, false) then 0 else totals.{{ name }} end as {{ name }},
        case when coalesce(exceptions.has_no_{{ name }}, false) then 0 else totals.{{ name }}_actual end as {{ name }}_actual,
        {%- endfor %}
        case when coalesce(exceptions.has_no_opening, false) then 0 else totals.fx_actual end as fx_actual,
        totals.price,
        totals.price_actual,
        totals.product_price,
        totals.product_price_actual,
        totals.row_count,
        totals.unrated_count,
        not coalesce(tellings.has_no_actual, false) as has_actual,
        not coalesce(knowns.has_no_actual_closing, false) as has_actual_now,
        told_apart.month_number is not null as is_told_apart
    from totals
    inner join customers on totals.finance_customer_id = customers.finance_customer_id
    left join exceptions
        on totals.told_month = exceptions.told_month
        and totals.month_number = exceptions.month_number
        and customers.customer_id = exceptions.customer_id
    left join told_apart
        on customers.customer_id = told_apart.customer_id
        and totals.month_number = told_apart.month_number
    -- Whether a customer can be told in actual currency is one answer for all of it, as told and as known now.
    left join exceptions as tellings
        on case when told_apart.month_number is null then 0 else totals.month_number end = tellings.told_month
        and totals.month_number = tellings.month_number
        and customers.customer_id = tellings.customer_id
    left join exceptions as knowns
        on totals.month_number = knowns.month_number
        and customers.customer_id = knowns.customer_id
        and knowns.told_month = 0
),

-- A month that was told apart keeps what was told; what is known now stands beside it.
told as (
    select
        settled.*,
        told_month > 0 or not is_told_apart as is_the_telling
    from settled
),

final as (
    select
        told.customer_id,
        told.finance_customer_id,
        told.product_id,
        max(told.basis) as basis,
        {%- for name in ('opening', 'closing', 'opening_actual', 'closing_actual', 'fx_actual', 'price', 'price_actual',
                         'product_price', 'product_price_actual') %}
        cast(sum(case when told.is_the_telling then told.{{ name }} else 0 end) as decimal(18, 4)) as {{ name }},
        {%- endfor %}
        cast(sum(case when told.told_month = 0 then told.closing else 0 end) as decimal(18, 4)) as closing_now,
        cast(sum(case when told.told_month = 0 then told.closing_actual else 0 end) as decimal(18, 4)) as closing_now_actual,
        cast(sum(case when told.is_the_telling then told.row_count else 0 end) as bigint) as row_count,
        cast(sum(case when told.is_the_telling then told.unrated_count else 0 end) as bigint) as unrated_count,
        cast(months.month_number as bigint) as month_number,
        min(case when told.has_actual then 1 else 0 end) = 1 as has_actual,
        min(case when told.has_actual_now then 1 else 0 end) = 1 as has_actual_now,
        months.is_final,
        months.month_start,
        months.month_end
    from told
    inner join months on told.month_number = months.month_number
    group by
        told.customer_id,
        told.finance_customer_id,
        told.product_id,
        months.month_number,
        months.is_final,
        months.month_start,
        months.month_end
)

select * from final
