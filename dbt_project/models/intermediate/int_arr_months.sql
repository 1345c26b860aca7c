{{ config(materialized='table') }}
{%- set final_days = [
    policy_constant('final_days', 'retention_policy') | float | int,
    policy_constant('grace_days', 'retention_policy') | float | int,
] | max %}
with in_money as (
    select * from {{ ref('int_arr_rows') }}
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
        {{ add_days('month_end', final_days) }} < {{ as_of_date() }} as is_final
    from calendar_months
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
        customer_id,
        is_told_apart,
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
        customer_id,
        is_told_apart,
        finance_customer_id,
        product_id,
        true as is_same_product,
        sum(case when is_closing then value else -value end) as price,
        sum(case when is_closing then value_actual else -value_actual end) as price_actual
    from changes
    where place <= pair_count
    group by told_month, month_number, customer_id, is_told_apart, finance_customer_id, currency_known, product_id, place
    having max(case when is_closing then change_reason end) = 'price_change'
    union all
    select
        told_month,
        month_number,
        customer_id,
        is_told_apart,
        finance_customer_id,
        max(case when is_closing then product_id end) as product_id,
        false as is_same_product,
        sum(case when is_closing then value else -value end) as price,
        sum(case when is_closing then value_actual else -value_actual end) as price_actual
    from leftovers
    where place <= pair_count
    group by told_month, month_number, customer_id, is_told_apart, finance_customer_id, currency_known, place
    having max(case when is_closing then change_reason end) = 'price_change'
),

lines as (
    select
        told_month,
        month_number,
        customer_id,
        is_told_apart,
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
        customer_id,
        is_told_apart,
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
        lines.customer_id,
        lines.is_told_apart,
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
    group by
        lines.told_month, lines.month_number, lines.customer_id, lines.is_told_apart, lines.finance_customer_id, lines.product_id
),

-- Customers of whom nothing remains though rows do, and those who cannot be told in actual currency: what counts 0 needs no rate.
exceptions as (
    select
        totals.told_month,
        totals.month_number,
        totals.customer_id,
        sum(totals.opening) <= 0 as has_no_opening,
        sum(totals.closing) <= 0 as has_no_closing,
        (sum(totals.missing_opening_count) > 0 and sum(totals.opening) > 0)
        or (sum(totals.missing_closing_count) > 0 and sum(totals.closing) > 0) as has_no_actual,
        sum(totals.missing_closing_count) > 0 and sum(totals.closing) > 0 as has_no_actual_closing
    from totals
    group by totals.told_month, totals.month_number, totals.customer_id
    having sum(totals.missing_opening_count + totals.missing_closing_count + totals.credit_count) > 0
),

settled as (
    select
        totals.told_month,
        totals.month_number,
        totals.customer_id,
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
        totals.is_told_apart
    from totals
    left join exceptions
        on totals.told_month = exceptions.told_month
        and totals.month_number = exceptions.month_number
        and totals.customer_id = exceptions.customer_id
    -- Whether a customer can be told in actual currency is one answer for all of it, as told and as known now.
    left join exceptions as tellings
        on case when totals.is_told_apart then totals.month_number else 0 end = tellings.told_month
        and totals.month_number = tellings.month_number
        and totals.customer_id = tellings.customer_id
    left join exceptions as knowns
        on totals.month_number = knowns.month_number
        and totals.customer_id = knowns.customer_id
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
        cast(sum(told.row_count) as bigint) as row_count,
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
