{# Opening and all movements add up to closing, exactly, in every scope and period. #}
{% test movements_tie(model) %}
select scope_type, scope_id, period_type, period_start, sum(case when movement = 'closing' then -amount else amount end) as gap
from {{ model }}
where movement != 'overdue'
group by scope_type, scope_id, period_type, period_start
having sum(case when movement = 'closing' then -amount else amount end) != 0
{% endtest %}
