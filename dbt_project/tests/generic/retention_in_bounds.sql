{# Gross retention is at most 1 and at most net retention. #}
{% test retention_in_bounds(model) %}
select * from {{ model }}
where grr > 1 or grr < 0 or nrr < grr or logo_retention > 1 or gross_renewal_rate > 1 or net_renewal_rate < gross_renewal_rate
{% endtest %}
