{{ config(
    materialized=growing(),
    pre_hook="{{ take_out('month_start in (select month_start from ' ~ ref('int_live_months') ~ ')') }}"
) }}
{#- Norms stand for a month: what was known before it began about deals won in the 24 months before. #}
{%- set levels = {
    'segment, type and stage': ['segment', 'opportunity_type', 'stage'], 'type and stage': ['opportunity_type', 'stage'], 'stage': ['stage'],
} %}
{%- set dimensions = ['segment', 'opportunity_type', 'stage'] %}
with weeks as (
    select
        weeks.*,
        max(case when has_effort then 1 else 0 end) over () = 1 as is_effort_recorded
    from {{ ref('int_deal_weeks') }} as weeks
    where stage is not null
),

calendar as (
    select month_start from {{ ref('int_live_months') }}
),

-- Where anything is recorded at all, silence means something: a deal that was brought in with its end is no norm for it.
-- Reviews of deals that have been decided, in each month whose norm they are part of.
decided as (
    select
        calendar.month_start,
        weeks.*,
        {{ day_count('weeks.snapshot_date', 'weeks.closed_on') }} as remaining_days
    from weeks
    inner join calendar
        on weeks.closed_on < calendar.month_start
        and weeks.closed_on >= {{ add_months('calendar.month_start', -24) }}
),

won as (
    select * from decided
    where is_won and (has_effort or not is_effort_recorded)
),

ranked as (
    {%- for level, columns in levels.items() %}
    select
        won.month_start,
        '{{ level }}' as level,
        {{ loop.index }} as level_order,
        {%- for dimension in dimensions %}
        {{ 'won.' ~ dimension if dimension in columns else "''" }} as {{ dimension }},
        {%- endfor %}
        count(distinct won.opportunity_id) as n,
        {#- The nearest rank: a value that was really seen. #}
        {%- for name, (column, signal) in {
            'stage_days': ('days_in_stage', 'stalled'), 'pushes': ('push_count', 'repeated_push'),
            'remaining': ('remaining_days', 'impossible_date'), 'quiet': ('quiet_days', 'quiet'), 'unanswered': ('unanswered_days', 'ghosted'),
            'buyer': ('buyer_count', 'single_threaded'), 'next_step': ('next_step_days', 'no_next_step'),
        }.items() %}
        percentile_disc({{ policy_constant(signal, 'signals', 'norm_percentile') }})
            within group (order by won.{{ column }}) as {{ name }}_norm,
        {%- endfor %}
        percentile_disc({{ policy_constant('silence_percentile') }}) within group (order by won.unanswered_days) as silence_norm,
        percentile_disc({{ policy_constant('age_percentile') }}) within group (order by won.age_days) as age_norm,
        percentile_disc(0.5) within group (order by won.hours_in_all - won.hours_spent) as effort_norm,
        percentile_disc(0.5) within group (order by won.cycle_days) as cycle_norm,
        avg(cast(case when won.economic_buyer_count > 0 then 1 else 0 end as double)) as economic_buyer_share,
        avg(cast(case when won.has_specialist then 1 else 0 end as double)) as specialist_share,
        avg(cast(case when won.verified_count + won.claimed_count > 0 then 1 else 0 end as double)) as assessed_share
    from won
    group by won.month_start{% for column in columns %}, won.{{ column }}{% endfor %}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
)

select * from ranked
