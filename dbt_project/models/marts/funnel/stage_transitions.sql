{%- set periods = ['quarter', 'year'] %}
with visits as (
    select * from {{ ref('stage_visits') }}
),

calendar as (
    select * from {{ ref('calendar') }}
),

in_segments as (
    select
        coalesce(segment, 'unknown') as segment,
        stage,
        coalesce(next_stage, 'still there') as next_stage,
        cast(entered_at as date) as entered_on
    from visits
    union all
    select
        'all' as segment,
        stage,
        coalesce(next_stage, 'still there') as next_stage,
        cast(entered_at as date) as entered_on
    from visits
),

counted as (
    {%- for period in periods %}
    select
        '{{ period }}' as period_type,
        in_segments.segment,
        in_segments.stage,
        in_segments.next_stage,
        count(*) as visit_count,
        calendar.{{ period }}_start as period_start,
        calendar.{{ period }}_end as period_end
    from in_segments
    inner join calendar on in_segments.entered_on = calendar.day
    group by
        in_segments.segment, in_segments.stage, in_segments.next_stage, calendar.{{ period }}_start, calendar.{{ period }}_end
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

totals as (
    select
        counted.*,
        cast(sum(visit_count) over (partition by period_type, period_start, segment, stage) as bigint) as n
    from counted
),

final as (
    select
        period_type,
        segment,
        stage,
        next_stage,
        visit_count,
        n,
        cast(visit_count as double) / n as transition_share,
        {{ wilson('(cast(visit_count as double) / n)', 'cast(n as double)', -1) }} as transition_share_low,
        {{ wilson('(cast(visit_count as double) / n)', 'cast(n as double)', 1) }} as transition_share_high,
        period_start,
        period_end,
        {{ as_of_date() }} as as_of_date
    from totals
)

select * from final
