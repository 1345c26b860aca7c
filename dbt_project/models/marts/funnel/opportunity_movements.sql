{#- docs/opportunity-history.md lays down the steps and their order. #}
{%- set periods = ['month', 'quarter', 'year'] %}
{%- set facts = ['opportunity_id', 'coalesce(amount, 0) as amount', 'is_deleted', 'is_won', 'is_lost', 'is_in_pipeline', 'close_date'] %}
{{ config(materialized=growing(), pre_hook="{{ take_out(has_as_of_date=true) }}") }}
with stretches as (
    select * from {{ ref('int_opportunity_stretches') }}
    where {{ is_live() }}
),

reporting_lines as (
    select
        rep_id,
        manager_id,
        cast(valid_from as timestamp) as line_from,
        cast(valid_to as timestamp) as line_to
    from {{ ref('int_reporting_lines_then') }}
),

calendar as (
    select * from {{ ref('calendar') }}
),

-- Each deal in every scope it belonged to, for as long as it did.
scoped as (
    {%- for scope, member in {'company': "'company'", 'region': 'region', 'segment': 'segment', 'seller': 'owner_id'}.items() %}
    select
        '{{ scope }}' as scope_type,
        {{ member }} as scope_id,
        {{ facts | join(',
        ') }},
        was_in_pipeline,
        valid_from,
        coalesce(valid_to, cast('9999-01-01' as timestamp)) as valid_to
    from stretches
    where {{ member }} is not null
    union all
    {%- endfor %}
    select
        'manager' as scope_type,
        reporting_lines.manager_id as scope_id,
        {{ facts | join(',
        ') }},
        case when line_from > valid_from then is_in_pipeline else was_in_pipeline end as was_in_pipeline,
        greatest(valid_from, line_from) as valid_from,
        least(coalesce(valid_to, cast('9999-01-01' as timestamp)), line_to) as valid_to
    from stretches
    inner join reporting_lines
        on stretches.owner_id = reporting_lines.rep_id
        and stretches.valid_from < reporting_lines.line_to
        and (stretches.valid_to is null or reporting_lines.line_from < stretches.valid_to)
),

neighbours as (
    select
        scoped.*,
        lag(amount) over in_scope as amount_before,
        lag(close_date) over in_scope as close_date_before,
        lag(is_in_pipeline) over in_scope as is_in_before,
        coalesce(lag(valid_to) over in_scope = valid_from, false) as has_before,
        coalesce(lead(valid_from) over in_scope = valid_to, false) as has_after
    from scoped
    window in_scope as (partition by scope_type, scope_id, opportunity_id order by valid_from)
),

-- What happens in a scope at a moment: a deal comes, changes, or leaves.
moments as (
    select
        scope_type,
        scope_id,
        opportunity_id,
        case
            when has_before and is_in_before then 'change'
            when was_in_pipeline is null then 'created'
            when has_before or not was_in_pipeline then 'reopened'
            else 'owner_in'
        end as entry,
        case
            when is_in_pipeline then 'stays'
            when is_deleted then 'deleted'
            when is_won then 'won'
            when is_lost then 'lost'
            else 'no_decision'
        end as ending,
        case when has_before and is_in_before then amount_before else amount end as amount_before,
        amount as amount_after,
        case when has_before and is_in_before then close_date_before end as close_date_before,
        -- The date that closing puts on a deal that is not won is no plan: it leaves the period it stood in.
        case
            when has_before and is_in_before and not is_in_pipeline and (is_deleted or not is_won) then close_date_before
            else close_date
        end as close_date_after,
        cast(valid_from as date) as day
    from neighbours
    -- What was not in the pipeline and is not now did not move it.
    where is_in_pipeline or (case when has_before then is_in_before else was_in_pipeline end)
    union all
    select
        scope_type,
        scope_id,
        opportunity_id,
        'change' as entry,
        'owner_out' as ending,
        amount as amount_before,
        amount as amount_after,
        close_date as close_date_before,
        close_date as close_date_after,
        cast(valid_to as date) as day
    from neighbours
    where is_in_pipeline and not has_after and valid_to < {{ end_of_day(as_of_date()) }}
),

dated as (
    {%- for period in periods %}
    select
        moments.*,
        '{{ period }}' as period_type,
        calendar.{{ period }}_start as period_start,
        coalesce(moments.close_date_before between calendar.{{ period }}_start and calendar.{{ period }}_end, false) as was_due,
        coalesce(moments.close_date_after between calendar.{{ period }}_start and calendar.{{ period }}_end, false) as is_due
    from moments
    inner join calendar on moments.day = calendar.day
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

steps as (
    select scope_type, scope_id, period_type, period_start, entry as movement, opportunity_id, amount_after as amount
    from dated
    where entry != 'change' and is_due
    union all
    select scope_type, scope_id, period_type, period_start, 'pulled_in' as movement, opportunity_id, amount_before as amount
    from dated
    where entry = 'change' and is_due and not was_due
    union all
    select scope_type, scope_id, period_type, period_start, 'pushed_out' as movement, opportunity_id, -amount_before as amount
    from dated
    where entry = 'change' and was_due and not is_due
    union all
    select
        scope_type,
        scope_id,
        period_type,
        period_start,
        case when amount_after > amount_before then 'amount_up' else 'amount_down' end as movement,
        opportunity_id,
        amount_after - amount_before as amount
    from dated
    where entry = 'change' and is_due and amount_after != amount_before
    union all
    select scope_type, scope_id, period_type, period_start, ending as movement, opportunity_id, -amount_after as amount
    from dated
    where ending != 'stays' and is_due
),

period_ends as (
    {%- for period in periods %}
    select distinct
        '{{ period }}' as period_type,
        {{ period }}_start as period_start,
        {{ period }}_end as period_end,
        cast({{ period }}_start as timestamp) as opening_at,
        {{ end_of_day('least(' ~ period ~ '_end, ' ~ as_of_date() ~ ')') }} as closing_at
    from calendar
    where {{ period }}_start <= {{ as_of_date() }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

due as (
    {%- for period in periods %}
    select
        scoped.*,
        '{{ period }}' as period_type,
        calendar.{{ period }}_start as period_start
    from scoped
    inner join calendar on scoped.close_date = calendar.day
    where scoped.is_in_pipeline
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

stands as (
    select due.scope_type, due.scope_id, due.period_type, due.period_start, 'opening' as movement, due.opportunity_id, due.amount
    from due
    inner join period_ends on due.period_type = period_ends.period_type and due.period_start = period_ends.period_start
    where due.valid_from < period_ends.opening_at and due.valid_to >= period_ends.opening_at
    union all
    select due.scope_type, due.scope_id, due.period_type, due.period_start, 'closing' as movement, due.opportunity_id, due.amount
    from due
    inner join period_ends on due.period_type = period_ends.period_type and due.period_start = period_ends.period_start
    where due.valid_from < period_ends.closing_at and due.valid_to >= period_ends.closing_at
    union all
    select
        scoped.scope_type,
        scoped.scope_id,
        period_ends.period_type,
        period_ends.period_start,
        'overdue' as movement,
        scoped.opportunity_id,
        scoped.amount
    from scoped
    inner join period_ends
        on scoped.close_date < period_ends.period_start
        and scoped.valid_from < period_ends.closing_at
        and scoped.valid_to >= period_ends.closing_at
    where scoped.is_in_pipeline
),

final as (
    select
        scope_type,
        scope_id,
        period_type,
        movement,
        opportunity_id,
        cast(sum(amount) as decimal(18, 4)) as amount,
        period_start,
        {{ as_of_date() }} as as_of_date
    from (
        select * from steps
        union all
        select * from stands
    ) as every
    group by scope_type, scope_id, period_type, movement, opportunity_id, period_start
)

select * from final
