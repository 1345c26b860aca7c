{# One end of the 90 % interval of a ratio of two totals over `n` units (linearized), from the sum of the squares of what each unit
   has above or below the ratio: `side` is -1 for the lower, 1 for the upper. Null below two units. #}
{% macro ratio_interval(ratio, n, squares, total_below, side) -%}
    case
        when {{ n }} > 1
            then {{ ratio }} {{ '-' if side < 0 else '+' }} {{ z90() }} * sqrt(
                cast({{ n }} as double) / ({{ n }} - 1) * cast({{ squares }} as double)
            ) / nullif(cast({{ total_below }} as double), 0)
    end
{%- endmacro %}

{# That sum, exact to twelve decimals, so that the order of the rows does not matter. #}
{% macro squares_around(above, below, ratio) -%}
    sum(cast(
        (cast({{ above }} as double) - {{ ratio }} * cast({{ below }} as double))
        * (cast({{ above }} as double) - {{ ratio }} * cast({{ below }} as double))
        as decimal(38, 12)
    ))
{%- endmacro %}

{# The interval of a ratio for a share, a part of each unit, within 0 and 1. Where most units are in whole or not at all, that interval
   has no width when all are alike, a few customers who all stayed, and nobody knows that much: with `equal_n` it is the wider of that
   one and Wilson's for so many units of one size. #}
{% macro share_interval(share, n, squares, total, side, equal_n=none) -%}
    case
        when {{ share }} is not null
            then {{ 'least' if side < 0 else 'greatest' }}(
                {{ share }},
                {%- if equal_n %}
                {{ wilson(share, equal_n, side) }},
                {%- endif %}
                {{ 'greatest(0, ' if side < 0 else 'least(1, ' }}
                    coalesce({{ ratio_interval(share, n, squares, total, side) }}, {{ share }})
                )
            )
    end
{%- endmacro %}

{# So many units of one size tell as much of a share as units of these sizes (Kish 1965). #}
{% macro equal_units(size) -%}
    cast(sum({{ size }}) as double) * cast(sum({{ size }}) as double) / nullif({{ sum_of_products(size, size) }}, 0)
{%- endmacro %}
