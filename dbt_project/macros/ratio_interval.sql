{# One end of the 90 % interval of a ratio of two totals over `n` units (linearized), from the sum of the squares of what each unit
   has above or below the ratio: `side` is -1 for the lower, 1 for the upper. Null below two units; a share stays within 0 and 1. #}
{% macro ratio_interval(ratio, n, squares, total_below, side, is_share=false) -%}
    case
        when {{ n }} > 1
            then {{ ('greatest(0, ' if side < 0 else 'least(1, ') if is_share else '(' }}
                {{ ratio }} {{ '-' if side < 0 else '+' }} {{ z90() }} * sqrt(
                    cast({{ n }} as double) / ({{ n }} - 1) * cast({{ squares }} as double)
                ) / nullif(cast({{ total_below }} as double), 0)
            )
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
