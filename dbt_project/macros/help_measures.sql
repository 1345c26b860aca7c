{# Of requests in the current row's group: how many are old enough to be judged by their target and how many kept it. Moot ones that
   were not kept waiting so long are not judged. #}
{% macro in_target_counts(way) -%}
    count(case
        when age_seconds >= 86400 * target_days and (is_{{ way }} or decided_on is null or {{ way }}_hours >= 24 * target_days) then 1
    end) as in_target_share_n,
        count(case when age_seconds >= 86400 * target_days and is_{{ way }} and {{ way }}_hours <= 24 * target_days then 1 end) as in_target_count
{%- endmacro %}

{# What a mean and its interval are told from: n, the mean, and the sum of squares about it, exact for whole numbers and to six decimals else. #}
{% macro mean_parts(value) -%}
    count({{ value }}) as {{ value }}_n,
        cast(sum(cast({{ value }} as decimal(28, 6))) as double) / nullif(count({{ value }}), 0) as {{ value }}_mean,
        cast(sum(cast(cast({{ value }} as double) * cast({{ value }} as double) as decimal(38, 6))) as double)
        - cast(sum(cast({{ value }} as decimal(28, 6))) as double) * cast(sum(cast({{ value }} as decimal(28, 6))) as double)
        / nullif(count({{ value }}), 0) as {{ value }}_squares
{%- endmacro %}

{# A share of `<name>_n` cases with Wilson's interval, where policy says they are enough. Of all cases or none the end is the share itself,
   which the formula misses by its last digit. #}
{% macro told_share(name, count, minimum) -%}
    {%- set share = '(cast(' ~ count ~ ' as double) / nullif(' ~ name ~ '_n, 0))' -%}
    {%- set n = 'cast(' ~ name ~ '_n as double)' -%}
    case when {{ name }}_n >= {{ people_policy(minimum) }} then {{ share }} end as {{ name }},
        case when {{ name }}_n >= {{ people_policy(minimum) }} then least({{ share }}, {{ wilson(share, n, -1) }}) end as {{ name }}_low,
        case when {{ name }}_n >= {{ people_policy(minimum) }} then greatest({{ share }}, {{ wilson(share, n, 1) }}) end as {{ name }}_high
{%- endmacro %}

{# A mean of `<name>_n` values with the interval of Student's t, kept within what a value can be. #}
{% macro told_mean(name, minimum, lowest, highest=none) -%}
    {%- set mean, squares = name ~ '_mean', 'greatest(0, ' ~ name ~ '_squares)' -%}
    case when {{ name }}_n >= {{ people_policy(minimum) }} then {{ mean }} end as {{ name }},
        case
            when {{ name }}_n >= {{ people_policy(minimum) }} then greatest({{ lowest }}, {{ mean_interval(mean, name ~ '_n', squares, -1) }})
        end as {{ name }}_low,
        case
            when {{ name }}_n >= {{ people_policy(minimum) }}
                then {{ 'least(' ~ highest ~ ', ' if highest is not none }}{{ mean_interval(mean, name ~ '_n', squares, 1) }}{{ ')' if highest is not none }}
        end as {{ name }}_high
{%- endmacro %}
