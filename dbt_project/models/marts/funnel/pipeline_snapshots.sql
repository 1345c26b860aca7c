with deals as (
    select * from {{ ref('opportunities') }}
    where not is_deleted and created_on is not null
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
        deals.opportunity_id,
        deals.owner_id,
        deals.manager_id,
        deals.region,
        deals.segment,
        deals.opportunity_type,
        deals.product_id,
        case when deals.is_open then deals.stage end as stage,
        deals.amount,
        deals.list_amount,
        cast({{ day_count('deals.created_on', 'snapshot_dates.snapshot_date') }} as bigint) as age_days,
        snapshot_dates.is_week_end,
        snapshot_dates.is_month_end,
        snapshot_dates.is_quarter_end,
        case when deals.is_open then deals.close_date end as close_date,
        deals.as_of_date
    from snapshot_dates
    inner join deals
        on snapshot_dates.snapshot_date >= deals.created_on
        and (deals.closed_on is null or deals.closed_on > snapshot_dates.snapshot_date)
)

select * from final
