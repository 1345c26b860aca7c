{#- How a horizon's end is told from the day of the review. -#}
{%- set ends = {
    'month': 'days.month_end',
    'quarter': 'days.quarter_end',
    'next_month': 'next_months.month_end',
    'next_quarter': 'next_quarters.quarter_end',
    'days': add_days('outcomes.snapshot_date', deal_horizon()),
    'ever': add_days('outcomes.snapshot_date', policy_constant('ever_days', 'forecast_policy') | float | int),
} -%}
-- Every chance told out of time whose horizon has ended, and what came of it.
with calendar as (
    select * from {{ ref('calendar') }}
),

deals as (
    select * from {{ ref('opportunities') }}
    where not is_deleted
),

outcomes as (
    select * from {{ ref('stg_predictions__outcomes') }}
),

base_rates as (
    select * from {{ ref('stg_predictions__base_rates') }}
),

-- A horizon that has ended: then it is known what came.
told as (
    {%- for horizon, ends_on in ends.items() %}
    select
        outcomes.opportunity_id,
        outcomes.method,
        '{{ horizon }}' as horizon,
        days.quarter_start,
        outcomes.p_win_{{ horizon }} as p_win,
        case when deals.is_won and deals.closed_on <= {{ ends_on }} then 1 else 0 end as is_won
    from outcomes
    inner join deals on outcomes.opportunity_id = deals.opportunity_id
    inner join calendar as days on outcomes.snapshot_date = days.day and days.day = days.week_end
    inner join calendar as next_months on next_months.day = {{ add_days('days.month_end', 1) }}
    inner join calendar as next_quarters on next_quarters.day = {{ add_days('days.quarter_end', 1) }}
    where {{ ends_on }} <= {{ as_of_date() }} and {{ ends_on }} > outcomes.snapshot_date and outcomes.p_win_{{ horizon }} is not null
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

scored as (
    select
        told.*,
        cast(least(floor(told.p_win * 10), 9) as int) as tenth,
        cast((told.p_win - told.is_won) * (told.p_win - told.is_won) as decimal(18, 12)) as squared_error,
        cast(floor(-ln(greatest(
            case when told.is_won = 1 then cast(told.p_win as double) else 1 - cast(told.p_win as double) end, 0.000001
        )) * 1000000 + 0.5) / 1000000 as decimal(18, 6)) as log_loss,
        cast((base_rates.base_rate - told.is_won) * (base_rates.base_rate - told.is_won) as decimal(18, 12)) as base_squared_error
    from told
    inner join base_rates
        on told.quarter_start = base_rates.quarter_start
        and told.horizon = base_rates.horizon
)

select
    opportunity_id,
    method,
    horizon,
    tenth,
    p_win,
    is_won,
    squared_error,
    log_loss,
    base_squared_error
from scored
