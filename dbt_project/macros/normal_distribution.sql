{# The probability that a standard normal variable lies below `x`: Abramowitz and Stegun 26.2.17, right to seven decimals. #}
{% macro normal_cdf(x) -%}
    {%- set t = '(1 / (1 + 0.2316419 * abs(' ~ x ~ ')))' -%}
    {%- set tail -%}
        0.3989422804014327 * exp(-({{ x }}) * ({{ x }}) / 2) * {{ t }} * (
            0.319381530 + {{ t }} * (-0.356563782 + {{ t }} * (1.781477937 + {{ t }} * (-1.821255978 + {{ t }} * 1.330274429)))
        )
    {%- endset -%}
    case when {{ x }} >= 0 then 1 - {{ tail }} else {{ tail }} end
{%- endmacro %}
