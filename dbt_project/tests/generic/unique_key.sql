{# The grain a description states: no two rows share these columns, and none of them is null but those in `nullable`. #}
{% test unique_key(model, columns, nullable=[]) %}
select {{ columns | join(', ') }}, count(*) as row_count
from {{ model }}
group by {{ columns | join(', ') }}
having
    count(*) > 1
    {%- for column in columns if column not in nullable %}
    or max(case when {{ column }} is null then 1 else 0 end) = 1
    {%- endfor %}
{% endtest %}
