{# Who sold in which of these periods: had a selling job on one of its days. Of whom no job is known, nobody knows when they did not. #}
{% macro sold_in(periods) -%}
    select distinct
        sellers.seller_id,
        periods.period_type,
        periods.period_start
    from {{ ref('int_sellers') }} as sellers
    left join {{ ref('int_rep_jobs') }} as jobs on sellers.seller_id = jobs.rep_id
    inner join {{ periods }} as periods
        on jobs.rep_id is null
        or (
            coalesce(jobs.is_selling, true)
            and (jobs.job_number = 1 or periods.period_end >= jobs.since_on)
            and (jobs.hired_on is null or periods.period_end >= jobs.hired_on)
            and (jobs.valid_to is null or periods.period_start < jobs.valid_to)
            and (jobs.terminated_on is null or periods.period_start <= jobs.terminated_on)
        )
{%- endmacro %}
