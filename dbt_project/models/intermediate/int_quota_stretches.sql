{{ config(materialized='table') }}
with quotas as (
    select * from {{ ref('int_quotas_known') }}
    where not _is_deleted and effective_from <= {{ as_of_date() }}
),

people as (
    select
        rep_id,
        hired_on,
        terminated_on
    from {{ ref('reps') }}
    where is_current
),

rates as (
    select * from {{ ref('int_exchange_rates') }}
),

bands as (
    select
        from_month,
        lead(from_month) over (order by from_month) as to_month,
        row_number() over (order by from_month) = 1 as is_first,
        quota_share
    from {{ ref('ramp_relief') }}
),

-- The first version is the quota of the whole period; a later one replaces it for the days that remain.
versions as (
    select
        quotas.user_id,
        quotas.period_start,
        quotas.period_end,
        cast(quotas.amount as decimal(19, 4)) * cast({{ plan_rate('quotas.currency') }} as decimal(16, 10)) as amount,
        case
            when row_number() over in_order = 1 then quotas.period_start
            else greatest(quotas.effective_from, quotas.period_start)
        end as valid_from,
        least(
            coalesce(lead(quotas.effective_from) over in_order, {{ add_days('quotas.period_end', 1) }}),
            {{ add_days('quotas.period_end', 1) }}
        ) as valid_to
    from quotas
    left join rates
        on quotas.currency = rates.from_currency
        and least(quotas.period_start, {{ as_of_date() }}) >= rates.valid_from
        and least(quotas.period_start, {{ as_of_date() }}) < rates.valid_to
    window in_order as (
        partition by quotas.user_id, quotas.period_start, quotas.period_end order by quotas.effective_from
    )
),

-- Somebody of whom no hiring is known has been there forever.
service as (
    select
        versions.user_id,
        versions.period_start,
        versions.period_end,
        versions.amount,
        people.hired_on,
        bands.quota_share,
        greatest(
            versions.valid_from,
            case
                when bands.is_first then versions.valid_from
                else {{ add_months("coalesce(people.hired_on, cast('1900-01-01' as date))", 'bands.from_month') }}
            end
        ) as valid_from,
        least(
            versions.valid_to,
            coalesce(
                {{ add_months("coalesce(people.hired_on, cast('1900-01-01' as date))", 'bands.to_month') }},
                versions.valid_to
            ),
            coalesce({{ add_days('people.terminated_on', 1) }}, versions.valid_to)
        ) as valid_to
    from versions
    left join people on versions.user_id = people.rep_id
    cross join bands
),

counted as (
    select
        service.*,
        cast({{ day_count('valid_from', 'valid_to') }} as decimal(5, 0)) as days,
        cast({{ day_count('period_start', 'period_end') }} + 1 as decimal(5, 0)) as period_days
    from service
    where valid_from < valid_to
),

carried as (
    select
        counted.*,
        {{ to_exact_amount('(amount * days)', 'period_days') }} as quota_before_relief
    from counted
),

final as (
    select
        user_id,
        period_start,
        period_end,
        quota_before_relief,
        {{ to_exact_amount('(quota_before_relief * cast(quota_share as decimal(19, 9)))') }} as quota_amount,
        greatest({{ day_count('greatest(valid_from, coalesce(hired_on, valid_from))', 'valid_to') }}, 0) as quota_days,
        valid_from,
        valid_to
    from carried
)

select * from final
