{# Whether a model holds things in turn: DuckDB goes over its own result; Spark does not where that takes a window. #}
{% macro with_turns() -%}
    {{- 'with' if target.type == 'spark' else 'with recursive' -}}
{%- endmacro %}

{# A step taken for one number after the other, from 1 to the largest. Rows have the `number` they are of and the
   `turn` they have been through; the step reads `before`, adds 1 to the turn, and leaves rows of an earlier number as
   they are. `name` has each row as it is after its own turn.
   relation, number: where the largest number is found, and the column of it, here and there. #}
{% macro in_turn(name, first, step, relation, number) -%}
{%- if target.type == 'spark' -%}
{%- set turns = (run_query('select max(' ~ number ~ ') from ' ~ relation).columns[0].values()[0] or 0) | int if execute else 1 -%}
{{ name }}_0 as (
{{ first }}
),
{%- for turn in range(1, turns + 1) %}
{{ name }}_{{ turn }} as (
{{ step | replace('before', name ~ '_' ~ (turn - 1)) }}
),
{%- endfor %}
{{ name }} as (
    select * from {{ name }}_{{ turns }}
)
{%- else -%}
{{ name }}_through as (
{{ first }}
union all
{{ step | replace('before', '(select * from ' ~ name ~ '_through where ' ~ number ~ ' > turn)') }}
),
{{ name }} as (
    select * from {{ name }}_through
    where {{ number }} = turn
)
{%- endif -%}
{%- endmacro %}
