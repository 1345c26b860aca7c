{{ config(materialized='table') }}
{%- set depth = 8 %}
with jobs as (
    select
        rep_id,
        manager_id,
        valid_from,
        coalesce(valid_to, cast('9999-01-01' as date)) as valid_to
    from {{ ref('reps') }}
    where manager_id is not null and manager_id != rep_id
),

line_1 as (
    select * from jobs
),

-- Each step climbs to the manager's own manager of the same days; a line that comes back to itself ends.
{%- for step in range(2, depth + 1) %}
line_{{ step }} as (
    select
        below.rep_id,
        jobs.manager_id,
        greatest(below.valid_from, jobs.valid_from) as valid_from,
        least(below.valid_to, jobs.valid_to) as valid_to
    from line_{{ step - 1 }} as below
    inner join jobs
        on below.manager_id = jobs.rep_id
        and below.valid_from < jobs.valid_to
        and jobs.valid_from < below.valid_to
    where jobs.manager_id != below.rep_id
),
{%- endfor %}

lines as (
    {%- for step in range(1, depth + 1) %}
    select * from line_{{ step }}
    {{ 'union' if not loop.last }}
    {%- endfor %}
),

-- Stretches of one manager that touch or overlap are one.
marked as (
    select
        lines.*,
        case
            when valid_from <= max(valid_to) over (
                partition by rep_id, manager_id order by valid_from, valid_to rows between unbounded preceding and 1 preceding
            ) then 0
            else 1
        end as is_start
    from lines
),

islands as (
    select
        marked.*,
        sum(is_start) over (
            partition by rep_id, manager_id order by valid_from, valid_to rows between unbounded preceding and current row
        ) as island
    from marked
),

final as (
    select
        rep_id,
        manager_id,
        min(valid_from) as valid_from,
        max(valid_to) as valid_to
    from islands
    group by rep_id, manager_id, island
)

select * from final
