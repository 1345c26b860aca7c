{# The grain a description states: no two rows share these columns, and none of them is null. #}
{% test unique_key(model, columns) %}
select {{ columns | join(', ') }}, count(*) as row_count
from {{ model }}
group by {{ columns | join(', ') }}
having count(*) > 1 or {% for column in columns %}max(case when {{ column }} is null then 1 else 0 end) = 1{{ ' or ' if not loop.last }}{% endfor %}
{% endtest %}
