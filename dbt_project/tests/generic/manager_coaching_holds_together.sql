{# The parts of what was saved add up, a share has its reason or its interval around it, and every standing has its words. #}
{% test manager_coaching_holds_together(model) %}
select * from {{ model }}
where
    hero_amount != taken_over_amount + late_amount + after_flag_amount
    or hero_amount + left_behind_amount > team_won_amount
    {%- for share, reason in {
        'hero_dependency': 'hero_reason', 'sessions_per_seller_month': 'coaching_reason', 'coaching_share': 'coaching_share_reason',
        'seller_led_share': 'ride_along_reason', 'follow_up_done_share': 'follow_up_reason',
    }.items() %}
    or ({{ share }} is null) != ({{ reason }} is not null)
    or not ({{ share }} between {{ share }}_low and {{ share }}_high)
    {%- endfor %}
    {%- for measure in ('hero', 'coaching', 'ride_along', 'follow_up') %}
    or {{ measure }}_what_to_do is null
    {%- endfor %}
{% endtest %}
