{{ config(materialized='table') }}
{#- Of each method: the scopes it speaks of, what it says, and why it says nothing. -#}
{%- set methods = {
    'naive_last_period': (
        "true",
        "case when cells.previous_start is not null then greatest(cells.booked, cells.last_period) end",
        "'no period before'",
    ),
    'naive_last_year': (
        "true",
        "case when cells.year_before_start is not null then greatest(cells.booked, cells.last_year) end",
        "'no period before'",
    ),
    'run_rate': (
        "true",
        "case when cells.booked_share >= policy.minimum_share then cast(" ~
        "floor(cast(cells.booked as double) / cells.booked_share * 100 + 0.5) / 100 as decimal(18, 4)) end",
        "case when cells.booked_share is null then 'no history' else 'too early in the period' end",
    ),
    'stage_weighted': (
        "true",
        "case when cells.has_rates then cells.booked + cells.stage_expected end",
        "'no history'",
    ),
    'category_weighted': (
        "true",
        "case when cells.has_rates then cells.booked + cells.category_expected end",
        "'no history'",
    ),
    'seller_commit': (
        "cells.has_seller_calls and cells.scope_type != 'segment'",
        "cells.seller_commit",
        "'no call'",
    ),
    'manager_commit': (
        "cells.has_manager_calls and cells.scope_type in ('company', 'manager')",
        "cells.manager_commit",
        "'no call'",
    ),
    'executive_commit': (
        "cells.has_executive_calls and (cells.scope_type = 'company' or cells.is_executive)",
        "cells.executive_commit",
        "'no call'",
    ),
    'model': (
        "cells.has_model",
        "cells.model_forecast",
        "'no model forecast'",
    ),
} -%}
{%- set callers = ('seller', 'manager', 'executive') -%}
{%- set week = 'period_type, period_start, weeks_before_end' -%}
with dates as (
    select * from {{ ref('int_forecast_dates') }}
),

told as (
    select * from dates
    where is_told
),

bookings as (
    select * from {{ ref('int_period_bookings') }}
),

snapshots as (
    select * from {{ ref('pipeline_snapshots') }}
    where is_week_end
),

rates as (
    select * from {{ ref('int_forecast_rates') }}
),

calls as (
    select calls.* from {{ ref('int_forecast_calls') }} as calls
    inner join told
        on calls.period_type = told.period_type
        and calls.period_start = told.period_start
        and calls.weeks_before_end = told.weeks_before_end
),

reps as (
    select * from {{ ref('reps') }}
),

reporting_lines as (
    select * from {{ ref('int_reporting_lines_then') }}
),

stretches as (
    select * from {{ ref('int_opportunity_stretches') }}
),

policy as (
    select
        {{ forecast_policy('run_rate_minimum_share') }} as minimum_share,
        {{ forecast_policy('rate_months') }} as rate_months
),

-- What is booked in the period, in the one before and in the one a year before, as it was known on the day.
wanted as (
    {%- for part, start in {'booked': 'period_start', 'last_period': 'previous_start', 'last_year': 'year_before_start'}.items() %}
    select
        {{ week }},
        forecast_on,
        '{{ part }}' as part,
        {{ start }} as booked_start
    from told
    where {{ start }} is not null
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

booked as (
    select
        wanted.period_type,
        wanted.period_start,
        wanted.weeks_before_end,
        bookings.scope_type,
        bookings.scope_id,
        {%- for part in ('booked', 'last_period', 'last_year') %}
        cast(sum(case when wanted.part = '{{ part }}' then bookings.amount end) as decimal(18, 4)) as {{ part }}{{ ',' if not loop.last }}
        {%- endfor %}
    from wanted
    inner join bookings
        on wanted.period_type = bookings.period_type
        and wanted.booked_start = bookings.period_start
        and wanted.forecast_on >= bookings.won_on
        and bookings.valid_from < {{ end_of_day('wanted.forecast_on') }}
        and (bookings.valid_to is null or bookings.valid_to >= {{ end_of_day('wanted.forecast_on') }})
    group by wanted.period_type, wanted.period_start, wanted.weeks_before_end, bookings.scope_type, bookings.scope_id
),

actuals as (
    select
        period_type,
        period_start,
        scope_type,
        scope_id,
        cast(sum(amount) as decimal(18, 4)) as actual_amount
    from bookings
    where valid_to is null
    group by period_type, period_start, scope_type, scope_id
),

-- How much of earlier periods was booked by the same week, as it was known when they ended.
past as (
    select
        dates.period_type,
        dates.period_start,
        dates.period_end,
        dates.weeks_before_end,
        sum(case when bookings.won_on <= dates.forecast_on then bookings.amount else 0 end) as booked_by_week,
        sum(bookings.amount) as booked_in_all
    from dates
    inner join bookings
        on dates.period_type = bookings.period_type
        and dates.period_start = bookings.period_start
        and bookings.scope_type = 'company'
        and bookings.valid_from < {{ end_of_day('dates.period_end') }}
        and (bookings.valid_to is null or bookings.valid_to >= {{ end_of_day('dates.period_end') }})
    where dates.is_ended
    group by dates.period_type, dates.period_start, dates.period_end, dates.weeks_before_end
),

learning as (
    select
        told.period_type,
        told.period_start,
        told.weeks_before_end,
        {{ add_months('told.period_start', '-policy.rate_months') }} as learnt_from
    from told
    cross join policy
),

booked_shares as (
    select
        learning.period_type,
        learning.period_start,
        learning.weeks_before_end,
        cast(sum(past.booked_by_week) as double) / nullif(cast(sum(past.booked_in_all) as double), 0) as booked_share
    from learning
    inner join past
        on learning.period_type = past.period_type
        and learning.weeks_before_end = past.weeks_before_end
        and past.period_end < learning.period_start
        and past.period_start >= learning.learnt_from
    group by learning.period_type, learning.period_start, learning.weeks_before_end
),

rated_weeks as (
    select distinct {{ week }} from rates
),

-- What is expected of deals that are due, for each who owned some; a close date that has passed is no plan.
due as (
    select
        told.period_type,
        told.period_start,
        told.weeks_before_end,
        told.forecast_on,
        snapshots.owner_id,
        snapshots.region,
        snapshots.segment,
        cast(sum(snapshots.amount * stage_rates.rate) as decimal(28, 10)) as stage_expected,
        cast(sum(snapshots.amount * category_rates.rate) as decimal(28, 10)) as category_expected
    from told
    inner join snapshots
        on told.forecast_on = snapshots.snapshot_date
        and snapshots.close_date >= greatest(told.period_start, told.forecast_on)
        and snapshots.close_date <= told.period_end
    inner join rates as stage_rates
        on told.period_type = stage_rates.period_type
        and told.period_start = stage_rates.period_start
        and told.weeks_before_end = stage_rates.weeks_before_end
        and stage_rates.basis = 'stage'
        and coalesce(snapshots.stage, '') = stage_rates.word
    inner join rates as category_rates
        on told.period_type = category_rates.period_type
        and told.period_start = category_rates.period_start
        and told.weeks_before_end = category_rates.weeks_before_end
        and category_rates.basis = 'forecast_category'
        and coalesce(snapshots.forecast_category, '') = category_rates.word
    group by
        told.period_type, told.period_start, told.weeks_before_end, told.forecast_on,
        snapshots.owner_id, snapshots.region, snapshots.segment
),

expected as (
    select
        {{ week }},
        scope_type,
        scope_id,
        sum(stage_expected) as stage_expected,
        sum(category_expected) as category_expected
    from (
        {%- for scope, member in {'company': "'company'", 'region': 'region', 'segment': 'segment', 'seller': 'owner_id'}.items() %}
        select
            {{ week }},
            '{{ scope }}' as scope_type,
            {{ member }} as scope_id,
            stage_expected,
            category_expected
        from due
        where {{ member }} is not null
        union all
        {%- endfor %}
        select
            due.period_type,
            due.period_start,
            due.weeks_before_end,
            'manager' as scope_type,
            reporting_lines.manager_id as scope_id,
            due.stage_expected,
            due.category_expected
        from due
        inner join reporting_lines
            on due.owner_id = reporting_lines.rep_id
            and due.forecast_on >= reporting_lines.valid_from
            and due.forecast_on < reporting_lines.valid_to
    ) as spread
    group by {{ week }}, scope_type, scope_id
),

-- Each call in the scopes it speaks of.
scoped_calls as (
    select {{ week }}, caller, submitter_id, amount, 'company' as scope_type, 'company' as scope_id
    from calls
    union all
    select {{ week }}, caller, submitter_id, amount, 'region' as scope_type, region as scope_id
    from calls
    where caller = 'seller' and region is not null
    union all
    select
        {{ week }},
        caller,
        submitter_id,
        amount,
        case when caller = 'seller' then 'seller' else 'manager' end as scope_type,
        submitter_id as scope_id
    from calls
    union all
    select
        calls.period_type,
        calls.period_start,
        calls.weeks_before_end,
        calls.caller,
        calls.submitter_id,
        calls.amount,
        'manager' as scope_type,
        reporting_lines.manager_id as scope_id
    from calls
    inner join reporting_lines
        on calls.submitter_id = reporting_lines.rep_id
        and calls.forecast_on >= reporting_lines.valid_from
        and calls.forecast_on < reporting_lines.valid_to
),

-- A manager's number is for the whole book below: within a scope a call counts when no other one of its kind stands above it.
above as (
    select
        calls.period_type,
        calls.period_start,
        calls.weeks_before_end,
        calls.caller,
        calls.submitter_id,
        upper_calls.submitter_id as upper_id
    from calls
    inner join reporting_lines
        on calls.submitter_id = reporting_lines.rep_id
        and calls.forecast_on >= reporting_lines.valid_from
        and calls.forecast_on < reporting_lines.valid_to
    inner join calls as upper_calls
        on reporting_lines.manager_id = upper_calls.submitter_id
        and calls.period_type = upper_calls.period_type
        and calls.period_start = upper_calls.period_start
        and calls.weeks_before_end = upper_calls.weeks_before_end
        and calls.caller = upper_calls.caller
    where calls.caller != 'seller'
),

covered as (
    select distinct
        scoped_calls.period_type,
        scoped_calls.period_start,
        scoped_calls.weeks_before_end,
        scoped_calls.caller,
        scoped_calls.submitter_id,
        scoped_calls.scope_type,
        scoped_calls.scope_id
    from scoped_calls
    inner join above
        on scoped_calls.period_type = above.period_type
        and scoped_calls.period_start = above.period_start
        and scoped_calls.weeks_before_end = above.weeks_before_end
        and scoped_calls.caller = above.caller
        and scoped_calls.submitter_id = above.submitter_id
    inner join scoped_calls as upper_calls
        on above.period_type = upper_calls.period_type
        and above.period_start = upper_calls.period_start
        and above.weeks_before_end = upper_calls.weeks_before_end
        and above.caller = upper_calls.caller
        and above.upper_id = upper_calls.submitter_id
        and scoped_calls.scope_type = upper_calls.scope_type
        and scoped_calls.scope_id = upper_calls.scope_id
),

commits as (
    select
        scoped_calls.period_type,
        scoped_calls.period_start,
        scoped_calls.weeks_before_end,
        scoped_calls.scope_type,
        scoped_calls.scope_id,
        {%- for caller in callers %}
        cast(sum(case when scoped_calls.caller = '{{ caller }}' then scoped_calls.amount end) as decimal(18, 4)) as {{ caller }}_commit,
        count(case when scoped_calls.caller = '{{ caller }}' then 1 end) as {{ caller }}_commit_count{{ ',' if not loop.last }}
        {%- endfor %}
    from scoped_calls
    left join covered
        on scoped_calls.period_type = covered.period_type
        and scoped_calls.period_start = covered.period_start
        and scoped_calls.weeks_before_end = covered.weeks_before_end
        and scoped_calls.caller = covered.caller
        and scoped_calls.submitter_id = covered.submitter_id
        and scoped_calls.scope_type = covered.scope_type
        and scoped_calls.scope_id = covered.scope_id
    where covered.submitter_id is null
    group by
        scoped_calls.period_type, scoped_calls.period_start, scoped_calls.weeks_before_end,
        scoped_calls.scope_type, scoped_calls.scope_id
),

-- Who sold on a day: by job, by a deal that was open, by what is booked in the period, or by a call.
sellers as (
    select told.period_type, told.period_start, told.weeks_before_end, told.forecast_on, reps.rep_id as seller_id
    from told
    inner join reps
        on told.forecast_on >= reps.valid_from
        and (reps.valid_to is null or told.forecast_on < reps.valid_to)
        and (reps.terminated_on is null or told.forecast_on < reps.terminated_on)
        and reps.role in ('account_executive', 'account_manager')
    union
    select told.period_type, told.period_start, told.weeks_before_end, told.forecast_on, owners.owner_id as seller_id
    from told
    inner join (select distinct snapshot_date, owner_id from snapshots) as owners on told.forecast_on = owners.snapshot_date
    where owners.owner_id is not null
    union
    select told.period_type, told.period_start, told.weeks_before_end, told.forecast_on, booked.scope_id as seller_id
    from told
    inner join booked
        on told.period_type = booked.period_type
        and told.period_start = booked.period_start
        and told.weeks_before_end = booked.weeks_before_end
    where booked.scope_type = 'seller' and booked.booked is not null
    union
    select {{ week }}, forecast_on, submitter_id as seller_id
    from calls
    where caller = 'seller'
),

first_seen as (
    {%- for scope in ('region', 'segment') %}
    select '{{ scope }}' as scope_type, {{ scope }} as scope_id, valid_from from stretches
    where {{ scope }} is not null
    union all
    {%- endfor %}
    select scope_type, scope_id, valid_from from bookings
    where scope_type in ('region', 'segment')
),

scopes as (
    select {{ week }}, 'company' as scope_type, 'company' as scope_id, false as is_executive
    from told
    union all
    select told.period_type, told.period_start, told.weeks_before_end, seen.scope_type, seen.scope_id, false as is_executive
    from told
    inner join (
        select scope_type, scope_id, min(valid_from) as valid_from from first_seen
        group by scope_type, scope_id
    ) as seen on seen.valid_from < {{ end_of_day('told.forecast_on') }}
    union all
    select {{ week }}, 'seller' as scope_type, seller_id as scope_id, false as is_executive
    from sellers
    union all
    select
        managers.period_type,
        managers.period_start,
        managers.weeks_before_end,
        'manager' as scope_type,
        managers.manager_id as scope_id,
        coalesce(reps.role = 'executive', false) as is_executive
    from (
        select distinct sellers.period_type, sellers.period_start, sellers.weeks_before_end, sellers.forecast_on, reporting_lines.manager_id
        from sellers
        inner join reporting_lines
            on sellers.seller_id = reporting_lines.rep_id
            and sellers.forecast_on >= reporting_lines.valid_from
            and sellers.forecast_on < reporting_lines.valid_to
    ) as managers
    left join reps
        on managers.manager_id = reps.rep_id
        and managers.forecast_on >= reps.valid_from
        and (reps.valid_to is null or managers.forecast_on < reps.valid_to)
),

-- Who calls months, and who quarters, at all.
called as (
    select
        period_type,
        {%- for caller in callers %}
        max(case when caller = '{{ caller }}' then 1 else 0 end) = 1 as has_{{ caller }}_calls{{ ',' if not loop.last }}
        {%- endfor %}
    from calls
    group by period_type
),

cells as (
    select
        told.period_type,
        told.period_start,
        told.period_end,
        told.weeks_before_end,
        told.forecast_on,
        told.is_ended,
        told.previous_start,
        told.year_before_start,
        scopes.scope_type,
        scopes.scope_id,
        scopes.is_executive,
        {%- for part in ('booked', 'last_period', 'last_year') %}
        coalesce(booked.{{ part }}, 0) as {{ part }},
        {%- endfor %}
        case when told.is_ended then coalesce(actuals.actual_amount, 0) end as actual_amount,
        booked_shares.booked_share,
        rated_weeks.period_start is not null as has_rates,
        {%- for basis in ('stage', 'category') %}
        cast(coalesce(expected.{{ basis }}_expected, 0) as decimal(18, 4)) as {{ basis }}_expected,
        {%- endfor %}
        {%- for caller in callers %}
        coalesce(called.has_{{ caller }}_calls, false) as has_{{ caller }}_calls,
        commits.{{ caller }}_commit,
        commits.{{ caller }}_commit_count,
        {%- endfor %}
        model.scope_id is not null as has_model,
        model.forecast_amount as model_forecast,
        model.low as model_low,
        model.high as model_high
    from told
    inner join scopes
        on told.period_type = scopes.period_type
        and told.period_start = scopes.period_start
        and told.weeks_before_end = scopes.weeks_before_end
    left join called on told.period_type = called.period_type
    left join booked_shares
        on told.period_type = booked_shares.period_type
        and told.period_start = booked_shares.period_start
        and told.weeks_before_end = booked_shares.weeks_before_end
    left join rated_weeks
        on told.period_type = rated_weeks.period_type
        and told.period_start = rated_weeks.period_start
        and told.weeks_before_end = rated_weeks.weeks_before_end
    left join actuals
        on told.period_type = actuals.period_type
        and told.period_start = actuals.period_start
        and scopes.scope_type = actuals.scope_type
        and scopes.scope_id = actuals.scope_id
    {%- for part in ('booked', 'expected', 'commits') %}
    left join {{ part }}
        on scopes.period_type = {{ part }}.period_type
        and scopes.period_start = {{ part }}.period_start
        and scopes.weeks_before_end = {{ part }}.weeks_before_end
        and scopes.scope_type = {{ part }}.scope_type
        and scopes.scope_id = {{ part }}.scope_id
    {%- endfor %}
    left join {{ ref('int_model_forecasts') }} as model
        on scopes.period_type = model.period_type
        and scopes.period_start = model.period_start
        and scopes.weeks_before_end = model.weeks_before_end
        and scopes.scope_type = model.scope_type
        and scopes.scope_id = model.scope_id
),

words as (
    {%- for method in methods %}
    select '{{ method }}' as method, {{ loop.index }} as method_order
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

said as (
    select
        cells.*,
        words.method,
        words.method_order,
        case words.method
            {%- for method, (speaks, forecast, reason) in methods.items() %}
            when '{{ method }}' then {{ forecast }}
            {%- endfor %}
        end as forecast_amount,
        case words.method
            {%- for method, (speaks, forecast, reason) in methods.items() %}
            when '{{ method }}' then {{ reason }}
            {%- endfor %}
        end as silence,
        case words.method
            {%- for caller in callers %}
            when '{{ caller }}_commit' then coalesce(cells.{{ caller }}_commit_count, 0)
            {%- endfor %}
        end as call_count
    from cells
    cross join policy
    cross join words
    where
        case words.method
            {%- for method, (speaks, forecast, reason) in methods.items() %}
            when '{{ method }}' then {{ speaks }}
            {%- endfor %}
        end
),

final as (
    select
        scope_type,
        scope_id,
        period_type,
        method,
        cast(method_order as bigint) as method_order,
        weeks_before_end,
        cast(case when forecast_amount is null then silence end as string) as reason,
        cast(forecast_amount as decimal(18, 4)) as forecast_amount,
        case when method = 'model' then model_low end as model_low,
        case when method = 'model' then model_high end as model_high,
        cast(booked as decimal(18, 4)) as booked_amount,
        cast(actual_amount as decimal(18, 4)) as actual_amount,
        cast(call_count as bigint) as call_count,
        is_ended,
        period_start,
        period_end,
        forecast_on
    from said
)

select * from final
