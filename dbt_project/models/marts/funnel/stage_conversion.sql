{%- set periods = ['quarter', 'year'] %}
{%- set cell = 'period_type, period_start, segment, stage' %}
with visits as (
    select * from {{ ref('stage_visits') }}
    where not is_before_losses
),

calendar as (
    select * from {{ ref('calendar') }}
),

stages as (
    select * from {{ ref('core_stages') }}
),

-- A visit can end in one of five ways; while it lasts it is censored.
ended as (
    select
        stage,
        coalesce(segment, 'unknown') as segment,
        days,
        case
            when direction in ('advance', 'skip', 'won') then 'converted'
            when direction in ('lost', 'no_decision', 'open', 'regress') then direction
            else 'other'
        end as ending,
        cast(entered_at as date) as entered_on,
        cast(exited_at as date) as exited_on
    from visits
),

in_segments as (
    select * from ended
    union all
    select
        stage,
        'all' as segment,
        days,
        ending,
        entered_on,
        exited_on
    from ended
),

cohorts as (
    {%- for period in periods %}
    select
        '{{ period }}' as period_type,
        calendar.{{ period }}_start as period_start,
        in_segments.*
    from in_segments
    inner join calendar on in_segments.entered_on = calendar.day
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

times as (
    select
        {{ cell }},
        days,
        count(*) as leaving,
        count(case when ending != 'open' then 1 end) as exits,
        count(case when ending = 'converted' then 1 end) as converted,
        count(case when ending = 'lost' then 1 end) as lost,
        count(case when ending = 'no_decision' then 1 end) as no_decision
    from cohorts
    group by {{ cell }}, days
),

at_risk as (
    select
        times.*,
        sum(leaving) over (
            partition by {{ cell }} order by days desc rows between unbounded preceding and current row
        ) as n_at_risk
    from times
),

-- Kaplan-Meier: who is still in the stage just before each time. The last factor may be zero and is nobody's past.
survival as (
    select
        at_risk.*,
        exp(coalesce(sum(ln(nullif(1 - cast(exits as double) / n_at_risk, 0))) over (
            partition by {{ cell }} order by days rows between unbounded preceding and 1 preceding
        ), 0)) as still_before
    from at_risk
),

-- Aalen-Johansen: each way out takes its share of those who are still there.
shares as (
    select
        survival.*,
        {%- for way in ('converted', 'lost', 'no_decision') %}
        sum(still_before * {{ way }} / n_at_risk) over so_far as {{ way }}_so_far{{ ',' if not loop.last }}
        {%- endfor %}
    from survival
    window so_far as (partition by {{ cell }} order by days rows between unbounded preceding and current row)
),

incidence as (
    select
        {{ cell }},
        max(converted_so_far) as conversion_rate,
        max(lost_so_far) as loss_rate,
        max(no_decision_so_far) as no_decision_rate,
        min(case when still_before * (1 - cast(exits as double) / n_at_risk) <= 0.5 + 1e-9 then days end) as median_days
    from shares
    group by {{ cell }}
),

counts as (
    select
        {{ cell }},
        count(*) as entered_count,
        count(case when ending = 'converted' then 1 end) as converted_count,
        count(case when ending = 'lost' then 1 end) as lost_count,
        count(case when ending = 'no_decision' then 1 end) as no_decision_count,
        count(case when ending = 'regress' then 1 end) as regressed_count,
        count(case when ending = 'open' then 1 end) as still_open_count
    from cohorts
    group by {{ cell }}
),

flows as (
    {%- for period in periods %}
    select
        '{{ period }}' as period_type,
        calendar.{{ period }}_start as period_start,
        in_segments.segment,
        in_segments.stage,
        count(*) as exited_count,
        count(case when in_segments.ending = 'converted' then 1 end) as flowed_count
    from in_segments
    inner join calendar on in_segments.exited_on = calendar.day
    group by calendar.{{ period }}_start, in_segments.segment, in_segments.stage
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

first_entries as (
    select min(entered_on) as first_entry from ended
),

period_starts as (
    {%- for period in periods %}
    select distinct
        '{{ period }}' as period_type,
        calendar.{{ period }}_start as period_start,
        calendar.{{ period }}_end as period_end
    from calendar
    cross join first_entries
    where calendar.{{ period }}_start <= {{ as_of_date() }} and calendar.{{ period }}_end >= first_entries.first_entry
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

-- An empty cell has its row.
cells as (
    select
        period_starts.period_type,
        period_starts.period_start,
        period_starts.period_end,
        segments.segment,
        used.stage
    from period_starts
    cross join (select distinct segment from in_segments) as segments
    cross join (select distinct stage from ended) as used
),

final as (
    select
        cells.period_type,
        cells.segment,
        cells.stage,
        case
            when coalesce(counts.entered_count, 0) = 0 then 'nobody entered'
            when counts.entered_count = counts.still_open_count then 'all still there'
        end as reason,
        cast(stages.stage_order as bigint) as stage_order,
        coalesce(counts.entered_count, 0) as entered_count,
        coalesce(counts.converted_count, 0) as converted_count,
        coalesce(counts.lost_count, 0) as lost_count,
        coalesce(counts.no_decision_count, 0) as no_decision_count,
        coalesce(counts.regressed_count, 0) as regressed_count,
        coalesce(counts.still_open_count, 0) as still_open_count,
        -- Sums of fractions may end a hair beside 1.
        case
            when counts.entered_count > counts.still_open_count then least(1, greatest(0, incidence.conversion_rate))
        end as conversion_rate,
        case
            when counts.entered_count > counts.still_open_count
                then {{ wilson('incidence.conversion_rate', 'cast(counts.entered_count - counts.still_open_count as double)', -1) }}
        end as conversion_rate_low,
        case
            when counts.entered_count > counts.still_open_count
                then {{ wilson('incidence.conversion_rate', 'cast(counts.entered_count - counts.still_open_count as double)', 1) }}
        end as conversion_rate_high,
        case when counts.entered_count > counts.still_open_count then incidence.loss_rate end as loss_rate,
        case when counts.entered_count > counts.still_open_count then incidence.no_decision_rate end as no_decision_rate,
        coalesce(flows.exited_count, 0) as exited_count,
        cast(flows.flowed_count as double) / nullif(flows.exited_count, 0) as flow_rate,
        incidence.median_days,
        cells.period_start,
        cells.period_end,
        {{ as_of_date() }} as as_of_date
    from cells
    left join stages on cells.stage = stages.stage
    {%- for part in ('counts', 'incidence', 'flows') %}
    left join {{ part }}
        on cells.period_type = {{ part }}.period_type
        and cells.period_start = {{ part }}.period_start
        and cells.segment = {{ part }}.segment
        and cells.stage = {{ part }}.stage
    {%- endfor %}
)

select * from final
