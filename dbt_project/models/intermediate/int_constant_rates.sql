{{ config(materialized='table') }}
with rates as (
    select
        int_exchange_rates.*,
        make_date({{ policy_constant('constant_rate_year', 'retention_policy') | float | int }}, 1, 1) as fixed_on
    from {{ ref('int_exchange_rates') }} as int_exchange_rates
),

-- The rate of the fixed day; where there was none yet, the first after it, and else the last before.
ranked as (
    select
        from_currency,
        rate,
        row_number() over (
            partition by from_currency
            order by
                case when valid_from <= fixed_on and valid_to > fixed_on then 0 when valid_from > fixed_on then 1 else 2 end asc,
                abs({{ day_count('valid_from', 'fixed_on') }}) asc
        ) as place
    from rates
),

final as (
    select
        from_currency,
        rate
    from ranked
    where place = 1
)

select * from final
