{# Opening and all movements add up to closing, exactly, in both currencies. #}
{% test arr_ties(model, keys) %}
select
    {{ keys | join(', ') }},
    sum(case when movement = 'closing' then -amount else amount end) as gap,
    sum(case when movement = 'closing' then -amount_actual else amount_actual end) as gap_actual
from {{ model }}
where movement != 'restatement'
group by {{ keys | join(', ') }}
having
    sum(case when movement = 'closing' then -amount else amount end) != 0
    or sum(case when movement = 'closing' then -amount_actual else amount_actual end) != 0
{% endtest %}
