{# What DuckDB and Spark say differently about dates. #}

{# One row per day from `first` to `last`, both included, as column `day`. #}
{% macro days_between(first, last) -%}
    {%- if target.type == 'spark' -%}
        select explode(sequence({{ first }}, {{ last }}, interval 1 day)) as day
    {%- else -%}
        select cast(unnest(generate_series({{ first }}, {{ last }}, interval 1 day)) as date) as day
    {%- endif -%}
{%- endmacro %}

{# Whole days from `earlier` to `later`; negative when they are the other way round. #}
{% macro day_count(earlier, later) -%}
    {%- if target.type == 'spark' -%}
        datediff({{ later }}, {{ earlier }})
    {%- else -%}
        date_diff('day', {{ earlier }}, {{ later }})
    {%- endif -%}
{%- endmacro %}

{% macro add_days(day, days) -%}
    {%- if target.type == 'spark' -%}
        date_add({{ day }}, cast({{ days }} as int))
    {%- else -%}
        ({{ day }} + cast({{ days }} as int))
    {%- endif -%}
{%- endmacro %}

{% macro add_months(day, months) -%}
    {%- if target.type == 'spark' -%}
        add_months({{ day }}, cast({{ months }} as int))
    {%- else -%}
        cast({{ day }} + to_months(cast({{ months }} as int)) as date)
    {%- endif -%}
{%- endmacro %}

{# Monday 1 to Sunday 7. #}
{% macro iso_weekday(day) -%}
    {%- if target.type == 'spark' -%}
        (weekday({{ day }}) + 1)
    {%- else -%}
        isodow({{ day }})
    {%- endif -%}
{%- endmacro %}

{# The first moment after a day. #}
{% macro end_of_day(day) -%}
    cast({{ add_days(day, 1) }} as timestamp)
{%- endmacro %}

{# Seconds from `earlier` to `later`, both points in time. #}
{% macro second_count(earlier, later) -%}
    {%- if target.type == 'spark' -%}
        (unix_micros({{ later }}) - unix_micros({{ earlier }})) / 1000000
    {%- else -%}
        (epoch_us({{ later }}) - epoch_us({{ earlier }})) / 1000000
    {%- endif -%}
{%- endmacro %}

{# That day, or the Monday after where it falls on a Saturday or Sunday. #}
{% macro working_day(day) -%}
    case {{ iso_weekday(day) }}
        when 6 then {{ add_days(day, 2) }}
        when 7 then {{ add_days(day, 1) }}
        else {{ day }}
    end
{%- endmacro %}
