with deals as (
    select * from {{ ref('int_opportunities_known') }}
),

policy as (
    select
        calendar_type,
        cast(first_month as int) as first_month,
        cast(week_starts_on as int) as week_starts_on,
        year_end_rule,
        year_named_after,
        -- The weekday a week ends on, Monday 1 to Sunday 7.
        (cast(week_starts_on as int) + 5) % 7 + 1 as week_ends_on,
        try_cast(substr(calendar_type, 1, 1) as int) as first_month_weeks,
        try_cast(substr(calendar_type, 3, 1) as int) as second_month_weeks
    from {{ ref('fiscal_calendar') }}
),

event_dates as (
    select cast(created_at as date) as day from deals
    union all
    select close_date as day from deals
    union all
    select cast(closed_at as date) as day from deals
    union all
    -- As first known too: a month that was told stays, whatever its rows say today.
    select start_date as day from {{ ref('int_subscriptions_versions') }}
    union all
    select invoice_date as day from {{ ref('int_invoices_versions') }}
    union all
    select credit_date as day from {{ ref('int_credit_notes_versions') }}
),

bounds as (
    select greatest(coalesce(min(day), {{ as_of_date() }}), cast('1990-01-01' as date)) as first_event
    from event_dates
    where day <= {{ as_of_date() }}
),

calendar_years as (
    select distinct cast(extract(year from day) as int) as calendar_year
    from (
        {{ days_between(add_months('first_event', -24), add_months(as_of_date(), 60)) }}
        from bounds
    ) as span
),

month_before as (
    select
        policy.*,
        calendar_years.calendar_year,
        {{ add_days('make_date(calendar_years.calendar_year, policy.first_month, 1)', -1) }} as last_day
    from calendar_years
    cross join policy
),

last_weekdays as (
    select
        month_before.*,
        {{ add_days('last_day', '-((' ~ iso_weekday('last_day') ~ ' - week_ends_on + 7) % 7)') }} as last_weekday
    from month_before
),

-- A 52/53-week year ends on the last such weekday of its last month, or on the one nearest to that month's end.
year_starts as (
    select
        last_weekdays.*,
        case
            when calendar_type = 'calendar' then make_date(calendar_year, first_month, 1)
            when year_end_rule = 'nearest' and {{ day_count('last_weekday', 'last_day') }} > 3 then {{ add_days('last_weekday', 8) }}
            else {{ add_days('last_weekday', 1) }}
        end as year_start,
        calendar_year + case when year_named_after = 'end' and first_month > 1 then 1 else 0 end as fiscal_year
    from last_weekdays
),

years as (
    select
        year_starts.*,
        lead(year_start) over (order by year_start) as next_year_start
    from year_starts
),

chosen_years as (
    select years.*
    from years
    cross join bounds
    where next_year_start > first_event
    qualify count(case when year_start > {{ as_of_date() }} then 1 end) over (order by year_start) <= 2
),

span as (
    select
        min(year_start) as first_day,
        {{ add_days('max(next_year_start)', -1) }} as last_day
    from chosen_years
),

days as (
    {{ days_between('first_day', 'last_day') }}
    from span
),

weeks as (
    select
        days.day,
        chosen_years.calendar_type,
        chosen_years.calendar_year,
        chosen_years.first_month,
        chosen_years.first_month_weeks,
        chosen_years.second_month_weeks,
        chosen_years.fiscal_year,
        chosen_years.year_start,
        {{ add_days('chosen_years.next_year_start', -1) }} as year_end,
        {{ iso_weekday('days.day') }} as iso_weekday,
        {{ add_days('days.day', '-((' ~ iso_weekday('days.day') ~ ' - chosen_years.week_starts_on + 7) % 7)') }} as week_start,
        {{ add_days(
            'chosen_years.year_start',
            '-((' ~ iso_weekday('chosen_years.year_start') ~ ' - chosen_years.week_starts_on + 7) % 7)'
        ) }} as first_week_start
    from days
    inner join chosen_years on days.day >= chosen_years.year_start and days.day < chosen_years.next_year_start
),

week_numbers as (
    select
        weeks.*,
        cast(floor({{ day_count('first_week_start', 'week_start') }} / 7.0) as int) + 1 as fiscal_week
    from weeks
),

-- A 53rd week belongs to the last quarter and its last month.
quarter_numbers as (
    select
        week_numbers.*,
        case
            when calendar_type != 'calendar' then cast(least(floor((fiscal_week - 1) / 13.0) + 1, 4) as int)
        end as retail_quarter
    from week_numbers
),

month_numbers as (
    select
        quarter_numbers.*,
        case
            when calendar_type = 'calendar'
                then cast((extract(year from day) - calendar_year) * 12 + extract(month from day) - first_month + 1 as int)
            when fiscal_week - (retail_quarter - 1) * 13 <= first_month_weeks then (retail_quarter - 1) * 3 + 1
            when fiscal_week - (retail_quarter - 1) * 13 <= first_month_weeks + second_month_weeks then (retail_quarter - 1) * 3 + 2
            else (retail_quarter - 1) * 3 + 3
        end as fiscal_month
    from quarter_numbers
),

numbered as (
    select
        month_numbers.*,
        cast(floor((fiscal_month - 1) / 3.0) as int) + 1 as fiscal_quarter
    from month_numbers
),

final as (
    select
        day,
        cast(fiscal_year as string) || '-Q' || cast(fiscal_quarter as string) as quarter_name,
        cast(fiscal_year as string) || '-M' || lpad(cast(fiscal_month as string), 2, '0') as month_name,
        cast(iso_weekday as int) as iso_weekday,
        fiscal_week,
        fiscal_month,
        fiscal_quarter,
        cast(fiscal_year as int) as fiscal_year,
        week_start,
        {{ add_days('week_start', 6) }} as week_end,
        min(day) over (partition by fiscal_year, fiscal_month) as month_start,
        max(day) over (partition by fiscal_year, fiscal_month) as month_end,
        min(day) over (partition by fiscal_year, fiscal_quarter) as quarter_start,
        max(day) over (partition by fiscal_year, fiscal_quarter) as quarter_end,
        year_start,
        year_end
    from numbered
)

select * from final
