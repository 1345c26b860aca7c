{# The factors' contributions add up to the gap to the median peer, exactly, and so do own parts and mix to what was to be expected. #}
{% test diagnosis_ties(model) %}
select seller_id
from {{ model }}
where reason is null
group by seller_id, gap_amount, booked_amount, expected_amount, reference_amount
having
    sum(contribution_amount) != gap_amount
    or sum(mix_amount + own_amount) != expected_amount - reference_amount
    or sum(chance_amount) != booked_amount - expected_amount
{% endtest %}
