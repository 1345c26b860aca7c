{%- set depth = 8 %}
with reps as (
    select * from {{ ref('reps') }}
    where is_current and manager_id is not null
),

line_1 as (
    select
        manager_id,
        rep_id
    from reps
),

-- Each step climbs to the manager's own manager; a line that comes back to itself adds nothing new.
{%- for step in range(2, depth + 1) %}
line_{{ step }} as (
    select
        reps.manager_id,
        below.rep_id
    from line_{{ step - 1 }} as below
    inner join reps on below.manager_id = reps.rep_id
),
{%- endfor %}

final as (
    {%- for step in range(1, depth + 1) %}
    select * from line_{{ step }}
    {{ 'union' if not loop.last }}
    {%- endfor %}
)

select * from final
