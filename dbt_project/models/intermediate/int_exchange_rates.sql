{{ config(materialized='table') }}
with fx_rates as (
    select * from {{ ref('int_fx_rates_known') }}
    where not _is_deleted and rate > 0 and rate_date <= {{ as_of_date() }}
),

carry as (
    select
        max(case when limit_name = 'fx_spot_carry_days' then cast(limit_value as int) end) as spot_days,
        max(case when limit_name = 'fx_plan_carry_days' then cast(limit_value as int) end) as plan_days
    from {{ ref('gate_limits') }}
),

-- A rate may be given the right way round, the other way round, or by way of a third currency on the same day.
quoted as (
    select
        from_currency as currency,
        rate_date,
        rate_type,
        cast(rate as double) as rate,
        1 as detour
    from fx_rates
    where to_currency = '{{ var("reporting_currency") }}'
    union all
    select
        to_currency as currency,
        rate_date,
        rate_type,
        1 / cast(rate as double) as rate,
        2 as detour
    from fx_rates
    where from_currency = '{{ var("reporting_currency") }}'
    union all
    select
        quote.to_currency as currency,
        quote.rate_date,
        quote.rate_type,
        cast(reporting.rate as double) / cast(quote.rate as double) as rate,
        3 as detour
    from fx_rates as quote
    inner join fx_rates as reporting
        on quote.from_currency = reporting.from_currency
        and quote.rate_date = reporting.rate_date
        and quote.rate_type = reporting.rate_type
        and reporting.to_currency = '{{ var("reporting_currency") }}'
),

direct_first as (
    select * from quoted
    where currency != '{{ var("reporting_currency") }}'
    qualify row_number() over (partition by currency, rate_date, rate_type order by detour, rate) = 1
),

-- Performance is told at plan rate; a currency without any is told at spot.
plan_first as (
    select * from direct_first
    qualify rate_type = min(rate_type) over (partition by currency)
),

dated as (
    select
        plan_first.*,
        lead(rate_date) over (partition by currency order by rate_date) as next_rate_date,
        case when rate_type = 'plan' then carry.plan_days else carry.spot_days end as carry_days
    from plan_first
    cross join carry
),

-- A currency that has ended keeps no rate for ever.
final as (
    select
        currency as from_currency,
        rate_type,
        cast(rate as decimal(20, 10)) as rate,
        rate_date as valid_from,
        least(
            coalesce(next_rate_date, {{ add_days('rate_date', 'carry_days + 1') }}),
            {{ add_days('rate_date', 'carry_days + 1') }}
        ) as valid_to
    from dated
)

select * from final
