{{ config(materialized=growing(), pre_hook="{{ take_out(is_live() ~ ' or ' ~ is_day_of_ended_quarter(), has_as_of_date=true) }}") }}
with stretches as (
    select * from {{ ref('int_opportunity_stretches') }}
    where is_in_pipeline and {{ is_live() }}
),

calendar as (
    select * from {{ ref('calendar') }}
),

today as (
    select * from calendar
    where day = {{ as_of_date() }}
),

snapshot_dates as (
    select
        calendar.day as snapshot_date,
        {{ end_of_day('calendar.day') }} as day_end,
        calendar.day = calendar.week_end as is_week_end,
        calendar.day = calendar.month_end as is_month_end,
        calendar.day = calendar.quarter_end as is_quarter_end
    from calendar
    cross join today
    where
        calendar.day <= today.day
        and (
            calendar.day in (calendar.week_end, calendar.month_end, today.day)
            or calendar.quarter_start = today.quarter_start
        )
),

-- Every deal that was open has its row, whether anything happened to it or not: the stalled ones are those that matter.
final as (
    select
        snapshot_dates.snapshot_date,
        stretches.opportunity_id,
        stretches.owner_id,
        stretches.manager_id,
        stretches.region,
        stretches.segment,
        stretches.opportunity_type,
        stretches.product_id,
        stretches.stage,
        stretches.forecast_category,
        stretches.amount,
        stretches.list_amount,
        cast({{ day_count('stretches.created_on', 'snapshot_dates.snapshot_date') }} as bigint) as age_days,
        snapshot_dates.is_week_end,
        snapshot_dates.is_month_end,
        snapshot_dates.is_quarter_end,
        stretches.close_date,
        {{ as_of_date() }} as as_of_date
    from snapshot_dates
    inner join stretches
        on stretches.valid_from < snapshot_dates.day_end
        and (stretches.valid_to is null or stretches.valid_to >= snapshot_dates.day_end)
)

select * from final
