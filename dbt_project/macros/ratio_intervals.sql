{# The 95th percentile of Student's t for `degrees` of freedom, by the expansion of Cornish and Fisher: right to a hundredth from 3 on. #}
{% macro students_t(degrees) -%}
    {%- set z = z90() -%}
    (
        {{ z }}
        + {{ (z ** 3 + z) / 4 }} / {{ degrees }}
        + {{ (5 * z ** 5 + 16 * z ** 3 + 3 * z) / 96 }} / ({{ degrees }} * {{ degrees }})
        + {{ (3 * z ** 7 + 19 * z ** 5 + 17 * z ** 3 - 15 * z) / 384 }} / ({{ degrees }} * {{ degrees }} * {{ degrees }})
    )
{%- endmacro %}

{# The sum of x times y, added as decimals: in whatever order the rows come it is the same to the last bit. #}
{% macro sum_of_products(x, y) -%}
    cast(sum(cast(cast({{ x }} as double) * cast({{ y }} as double) as decimal(38, 8))) as double)
{%- endmacro %}

{# The sum of squares of deviations of shares, to twelve decimals: their squares are small. #}
{% macro sum_of_squares(x) -%}
    cast(sum(cast(cast({{ x }} as double) * cast({{ x }} as double) as decimal(38, 12))) as double)
{%- endmacro %}
