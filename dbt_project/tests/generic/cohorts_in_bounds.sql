{# A cohort never has more customers than it began with. #}
{% test cohorts_in_bounds(model) %}
select * from {{ model }}
where active_count > n or (elapsed_months = 0 and active_count != n)
{% endtest %}
