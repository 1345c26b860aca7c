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

-- A rate may be given the right way round or the other way round,
pairs as (
    select
        from_currency,
        to_currency,
        rate_date,
        rate_type,
        cast(rate as double) as rate,
        1 as detour
    from fx_rates
    union all
    select
        to_currency as from_currency,
        from_currency as to_currency,
        rate_date,
        rate_type,
        1 / cast(rate as double) as rate,
        2 as detour
    from fx_rates
),

-- or by way of a third currency on the same day.
quoted as (
    select
        from_currency as currency,
        rate_date,
        rate_type,
        rate,
        detour
    from pairs
    where to_currency = '{{ var("reporting_currency") }}'
    union all
    select
        there.from_currency as currency,
        there.rate_date,
        there.rate_type,
        there.rate * onward.rate as rate,
        2 + there.detour + onward.detour as detour
    from pairs as there
    inner join pairs as onward
        on there.to_currency = onward.from_currency
        and there.rate_date = onward.rate_date
        and there.rate_type = onward.rate_type
    where onward.to_currency = '{{ var("reporting_currency") }}'
),

direct_first as (
    select * from quoted
    where currency != '{{ var("reporting_currency") }}'
    qualify row_number() over (partition by currency, rate_date, rate_type order by detour, rate) = 1
),

newest as (
    select max(rate_date) as newest_spot_date
    from fx_rates
    where rate_type = 'spot'
),

dated as (
    select
        direct_first.*,
        lead(direct_first.rate_date) over (
            partition by direct_first.currency, direct_first.rate_type order by direct_first.rate_date
        ) as next_rate_date,
        case when direct_first.rate_type = 'plan' then carry.plan_days else carry.spot_days end as carry_days,
        newest.newest_spot_date
    from direct_first
    cross join carry
    cross join newest
),

-- A currency that is no longer fixed while others are has ended: then nothing is carried beyond its last day.
ended as (
    select
        dated.*,
        rate_type = 'spot' and next_rate_date is null and {{ add_days('rate_date', 'carry_days') }} < newest_spot_date as is_end
    from dated
),

final as (
    select
        currency as from_currency,
        rate_type,
        cast(rate as decimal(20, 10)) as rate,
        rate_date as valid_from,
        case
            when is_end then {{ add_days('rate_date', 1) }}
            else least(
                coalesce(next_rate_date, {{ add_days('rate_date', 'carry_days + 1') }}),
                {{ add_days('rate_date', 'carry_days + 1') }}
            )
        end as valid_to
    from ended
)

select * from final
