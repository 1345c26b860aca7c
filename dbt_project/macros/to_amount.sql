{# A number as an amount, to the fourth decimal. Halves go up, as engines round them differently. #}
{% macro to_amount(value) -%}
    cast(floor(({{ value }}) * 10000 + 0.5) / 10000 as decimal(18, 4))
{%- endmacro %}

{# A decimal over one above 0 as an amount, exactly: the quotient of doubles, put right where they miss a half by a hair. #}
{% macro to_exact_amount(dividend, divisor='cast(1 as decimal(1, 0))') -%}
    {%- set nearly = to_amount('cast(' ~ dividend ~ ' as double) / cast(' ~ divisor ~ ' as double)') -%}
    cast(
        {{ nearly }} + case
            when ({{ nearly }} - cast(0.00005 as decimal(5, 5))) * {{ divisor }} > {{ dividend }} then cast(-0.0001 as decimal(4, 4))
            when ({{ nearly }} + cast(0.00005 as decimal(5, 5))) * {{ divisor }} <= {{ dividend }} then cast(0.0001 as decimal(4, 4))
            else cast(0 as decimal(4, 4))
        end as decimal(18, 4)
    )
{%- endmacro %}
