with predictions as (
    select * from {{ ref('int_outcome_predictions') }}
),

reviews as (
    select * from {{ ref('int_outcome_features') }}
),

deals as (
    select * from {{ ref('opportunities') }}
    where not is_deleted
),

lines as (
    select * from {{ ref('int_reporting_lines') }}
),

calendar as (
    select * from {{ ref('calendar') }}
),

today as (
    select
        calendar.*,
        {{ add_days('calendar.week_start', -1) }} as compared_on
    from calendar
    where calendar.day = {{ as_of_date() }}
),

periods as (
    {%- for period in ('month', 'quarter') %}
    select
        '{{ period }}' as period_type,
        {{ period }}_start as period_start,
        {{ period }}_end as period_end,
        day as as_of_day,
        compared_on
    from today
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

-- What each open deal was expected to bring in the period, today and at the end of the week before.
expected as (
    select
        periods.period_type,
        predictions.opportunity_id,
        reviews.amount,
        predictions.snapshot_date = periods.as_of_day as is_today,
        case
            when predictions.snapshot_date < periods.period_start
                then case periods.period_type
                    when 'month' then predictions.p_win_next_month - predictions.p_win_month
                    else predictions.p_win_next_quarter - predictions.p_win_quarter
                end
            when periods.period_type = 'month' then predictions.p_win_month
            else predictions.p_win_quarter
        end as p_win,
        cast(reviews.amount * predictions.amount_ratio as decimal(18, 4)) as worth
    from predictions
    inner join reviews
        on predictions.opportunity_id = reviews.opportunity_id
        and predictions.snapshot_date = reviews.snapshot_date
    inner join periods on predictions.snapshot_date in (periods.as_of_day, periods.compared_on)
),

cells as (
    select
        periods.*,
        deals.opportunity_id,
        deals.name,
        deals.owner_id,
        deals.owner_name,
        deals.stage,
        deals.created_on,
        coalesce(deals.is_won and deals.closed_on between periods.period_start and periods.period_end, false) as is_booked,
        coalesce(deals.closed_on > periods.compared_on, false) as is_closed_since,
        case
            when deals.is_won then 'won'
            when deals.is_no_decision then 'no_decision'
            when not deals.is_open then 'lost'
        end as end_reached,
        deals.amount as amount_now,
        before.amount as amount_before,
        before.p_win as p_win_before,
        before.worth as worth_before,
        this.amount as amount_open,
        this.p_win,
        this.worth
    from periods
    cross join deals
    left join expected as before
        on periods.period_type = before.period_type
        and deals.opportunity_id = before.opportunity_id
        and not before.is_today
    left join expected as this
        on periods.period_type = this.period_type
        and deals.opportunity_id = this.opportunity_id
        and this.is_today
    where before.opportunity_id is not null or this.opportunity_id is not null or deals.closed_on > periods.compared_on
),

judged as (
    select
        cells.*,
        case
            when is_closed_since and is_booked then amount_now
            when is_closed_since or p_win is null then 0
            else cast(floor(cast(p_win * worth as double) * 100 + 0.5) / 100 as decimal(18, 4))
        end - coalesce(cast(floor(cast(p_win_before * worth_before as double) * 100 + 0.5) / 100 as decimal(18, 4)), 0) as change_amount,
        -- One standard deviation of what it brings.
        cast(
            floor(cast(worth as double) * sqrt(cast(p_win as double) * (1 - cast(p_win as double))) * 100 + 0.5) / 100 as decimal(18, 4)
        ) as swing_amount,
        case
            when is_closed_since then end_reached
            when p_win_before is null and created_on > compared_on then 'created'
            when p_win_before is null or p_win is null then 'seen_again'
            -- The time ran out; the deal did not get worse.
            when period_end = as_of_day then 'period_over'
            when amount_open != amount_before and abs(cast(p_win - p_win_before as double)) < 0.01 then 'amount'
            else 'chance'
        end as what_happened
    from cells
),

kinds as (
    select
        'uncertain' as kind,
        swing_amount as size,
        judged.*
    from judged
    where swing_amount > 0 and not is_closed_since
    union all
    select
        'changed' as kind,
        abs(change_amount) as size,
        judged.*
    from judged
    where change_amount != 0
),

scoped as (
    select
        'company' as scope_type,
        'company' as scope_id,
        kinds.*
    from kinds
    union all
    select
        'manager' as scope_type,
        lines.manager_id as scope_id,
        kinds.*
    from kinds
    inner join lines on kinds.owner_id = lines.rep_id
),

ranked as (
    select
        scoped.*,
        cast(row_number() over (
            partition by period_type, scope_type, scope_id, kind order by size desc, opportunity_id asc
        ) as bigint) as rank
    from scoped
),

final as (
    select
        scope_type,
        scope_id,
        period_type,
        kind,
        opportunity_id,
        name,
        owner_id,
        owner_name,
        stage,
        case when kind = 'changed' then what_happened end as what_happened,
        rank,
        coalesce(amount_open, amount_now) as amount,
        cast(p_win as decimal(9, 6)) as p_win,
        cast(p_win_before as decimal(9, 6)) as p_win_before,
        swing_amount,
        cast(change_amount as decimal(18, 4)) as change_amount,
        period_start,
        compared_on,
        {{ as_of_date() }} as as_of_date
    from ranked
    where rank <= (
        select forecast_policy.value from {{ ref('forecast_policy') }} as forecast_policy
        where forecast_policy.name = 'drivers_told'
    )
)

select * from final
