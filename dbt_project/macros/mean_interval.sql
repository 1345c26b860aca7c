{# One end of the 90 % interval of a mean of `n` values from the sum of their squares about it: `side` is -1 for the lower, 1 for the upper.
   Null below two values. #}
{% macro mean_interval(mean, n, squares, side) -%}
    case
        when {{ n }} > 1
            then {{ mean }} {{ '-' if side < 0 else '+' }} {{ students_t('(cast(' ~ n ~ ' as double) - 1)') }}
                * sqrt(cast({{ squares }} as double) / ({{ n }} - 1) / {{ n }})
    end
{%- endmacro %}
