{# How much rates of members differ beyond chance: the intra-class correlation by one-way analysis of variance of won and not won
   (Donner 1986). Fractions are added in the order of the window, so that the same deals give the same bytes. The row needs
   n, win_rate, mean_rate, total_n, sum_of_squares and member_count; 0 or below means that they differ by no more than chance. #}
{% macro intra_class_correlation(in_one_order) -%}
    {%- set between = '(sum(n * (win_rate - mean_rate) * (win_rate - mean_rate)) over ' ~ in_one_order ~ ' / nullif(member_count - 1, 0))' -%}
    {%- set within = '(sum(n * win_rate * (1 - win_rate)) over ' ~ in_one_order ~ ' / nullif(total_n - member_count, 0))' -%}
    {%- set size = '((total_n - sum_of_squares / nullif(total_n, 0)) / nullif(member_count - 1, 0))' -%}
    ({{ between }} - {{ within }}) / nullif({{ between }} + ({{ size }} - 1) * {{ within }}, 0)
{%- endmacro %}

{# A rate drawn towards the mean of its group, the more the fewer cases it rests on; null without a case. #}
{% macro shrunk_rate(cases='won_count') -%}
    case
        when n > 0 and coalesce(correlation, 0) <= 0 then mean_rate
        when n > 0 then ({{ cases }} + (1 / least(correlation, 1) - 1) * mean_rate) / (n + (1 / least(correlation, 1) - 1))
    end
{%- endmacro %}
