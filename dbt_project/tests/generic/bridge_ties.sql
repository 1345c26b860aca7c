{# Bookings and all lines between add up to finance, exactly, in every period and currency. #}
{% test bridge_ties(model) %}
select period_type, period_start, currency_basis, currency, sum(case when line = 'finance' then -amount else amount end) as gap
from {{ model }}
group by period_type, period_start, currency_basis, currency
having sum(case when line = 'finance' then -amount else amount end) != 0
{% endtest %}
