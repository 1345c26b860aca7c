{# Who sold at the end of each `period` (week, month) of the relation named after it, and who had been there long enough by its column
   `ramped_by` to be a peer. #}
{% macro selling_periods(period, ramped_by) -%}
    {%- set ramped_months = policy_constant('ramped_months', 'people_policy') | float | int -%}
    {%- set end = period ~ 's.' ~ period ~ '_end' -%}
    select
        jobs.rep_id,
        jobs.role,
        coalesce(jobs.segment, '') as segment,
        {{ add_months('jobs.hired_on', ramped_months) }} <= {{ period }}s.{{ ramped_by }} as is_ramped,
        {{ period }}s.*
    from jobs
    inner join {{ period }}s
        on {{ end }} >= jobs.since_on
        and (jobs.valid_to is null or {{ end }} < jobs.valid_to)
        and {{ end }} >= jobs.hired_on
        and (jobs.terminated_on is null or {{ end }} <= jobs.terminated_on)
    where jobs.role in ('account_executive', 'account_manager')
{%- endmacro %}
