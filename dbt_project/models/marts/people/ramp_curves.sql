{%- set cell = 'cohort_type, cohort_id, milestone' %}
{%- set months = policy_constant('ramp_curve_months', 'people_policy') | float | int %}
with sellers as (
    select * from {{ ref('int_ramp_milestones') }}
    where reason is null
),

cohorts as (
    {%- for type, id in {
        'company': "'company'",
        'job': 'role',
        'job_segment': "concat(role, ' / ', coalesce(segment, 'no segment'))",
        'hire_year': 'cast(cast(extract(year from hired_on) as int) as string)',
    }.items() %}
    select
        '{{ type }}' as cohort_type,
        {{ id }} as cohort_id,
        milestone,
        outcome,
        outcome_month
    from sellers
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

sizes as (
    select
        cohort_type,
        cohort_id,
        milestone,
        count(*) as n,
        max(outcome_month) as last_month
    from cohorts
    group by cohort_type, cohort_id, milestone
),

months as (
    {%- for month in range(1, months + 1) %}
    select {{ month }} as month
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

-- Whoever was observed for so many whole months, or got somewhere in this one, was waiting when it began.
counts as (
    select
        sizes.cohort_type,
        sizes.cohort_id,
        sizes.milestone,
        sizes.n,
        months.month,
        count(case when cohorts.outcome_month >= months.month then 1 end) as at_risk,
        count(case when cohorts.outcome_month = months.month and cohorts.outcome = 'reached' then 1 end) as reached,
        count(case when cohorts.outcome_month = months.month and cohorts.outcome = 'ended' then 1 end) as ended,
        count(case when cohorts.outcome_month < months.month and cohorts.outcome = 'censored' then 1 end) as censored_so_far
    from sizes
    cross join months
    inner join cohorts
        on sizes.cohort_type = cohorts.cohort_type
        and sizes.cohort_id = cohorts.cohort_id
        and sizes.milestone = cohorts.milestone
    group by sizes.cohort_type, sizes.cohort_id, sizes.milestone, sizes.n, months.month
),

-- Kaplan-Meier: who still waits and is still there when the month begins. The last factor may be zero and is nobody's past.
survival as (
    select
        counts.*,
        case
            when max(case when at_risk > 0 and at_risk = reached + ended then 1 else 0 end) over earlier_months = 1 then 0
            else exp(coalesce(sum(ln(nullif(1 - cast(reached + ended as double) / nullif(at_risk, 0), 0))) over earlier_months, 0))
        end as waiting
    from counts
    window earlier_months as (partition by {{ cell }} order by month rows between unbounded preceding and 1 preceding)
),

-- Aalen-Johansen: reaching and leaving each take their share of those who still wait. To the twelfth decimal, so that all of them are 1.
incidence as (
    select
        survival.*,
        {%- for way in ('reached', 'ended') %}
        floor(coalesce(sum(waiting * {{ way }} / nullif(at_risk, 0)) over so_far, 0) * 1000000000000 + 0.5)
        / 1000000000000 as {{ way }}_share
        {{- ',' if not loop.last }}
        {%- endfor %}
    from survival
    window so_far as (partition by {{ cell }} order by month rows between unbounded preceding and current row)
),

-- Its variance (Marubini and Valsecchi 1995, 10.2), in sums that do not depend on the month that is told.
terms as (
    select
        incidence.*,
        cast(reached + ended as double) / nullif(at_risk * (at_risk - reached - ended), 0) as hazard_term,
        waiting * waiting * reached * (at_risk - reached) / nullif(cast(at_risk as double) * at_risk * at_risk, 0) as own_term,
        waiting * reached / nullif(cast(at_risk as double) * at_risk, 0) as shared_term
    from incidence
),

variances as (
    select
        terms.*,
        reached_share * reached_share * coalesce(sum(hazard_term) over so_far, 0)
        - 2 * reached_share * coalesce(sum(hazard_term * reached_share) over so_far, 0)
        + coalesce(sum(hazard_term * reached_share * reached_share) over so_far, 0)
        + coalesce(sum(own_term) over so_far, 0)
        - 2 * reached_share * coalesce(sum(shared_term) over so_far, 0)
        + 2 * coalesce(sum(shared_term * reached_share) over so_far, 0) as variance
    from terms
    window so_far as (partition by {{ cell }} order by month rows between unbounded preceding and current row)
),

-- So many sellers without censoring would say it as exactly (Rothman 1978).
effective as (
    select
        variances.*,
        case
            when censored_so_far = 0 then n >= {{ people_policy('ramp_minimum_hires') }}
            else at_risk >= {{ people_policy('ramp_minimum_hires') }}
        end as is_told,
        case
            when reached_share > 1e-9 and reached_share < 1 - 1e-9 and variance > 1e-12
                then least(reached_share * (1 - reached_share) / variance, n)
            else greatest(n - censored_so_far, 1)
        end as effective_n
    from variances
),

told as (
    select
        effective.*,
        min(case when is_told then 1 else 0 end) over (
            partition by {{ cell }} order by month rows between unbounded preceding and current row
        ) = 1 as is_told_so_far,
        case
            when reached_share = 0 then 0 else {{ wilson('reached_share', 'cast(effective_n as double)', -1) }}
        end as reached_share_low,
        case
            when reached_share = 1 then 1 else {{ wilson('reached_share', 'cast(effective_n as double)', 1) }}
        end as reached_share_high
    from effective
),

medians as (
    select
        cohort_type,
        cohort_id,
        milestone,
        min(case when is_told_so_far and reached_share >= 0.5 - 1e-9 then month end) as median_months,
        min(case when is_told_so_far and reached_share_high >= 0.5 - 1e-9 then month end) as median_months_low,
        min(case when is_told_so_far and reached_share_low >= 0.5 - 1e-9 then month end) as median_months_high,
        count(case when is_told_so_far then 1 end) as told_months
    from told
    group by cohort_type, cohort_id, milestone
),

final as (
    select
        told.cohort_type,
        told.cohort_id,
        told.milestone,
        case
            when told.is_told_so_far then null
            when told.n < {{ people_policy('ramp_minimum_hires') }} then 'not enough hires'
            else 'not enough still observed'
        end as reason,
        case
            when medians.median_months is not null then null
            when told.n < {{ people_policy('ramp_minimum_hires') }} then 'not enough hires'
            when medians.told_months < {{ months }} then 'not observed long enough'
            else 'less than half get there'
        end as median_reason,
        cast(told.month as bigint) as month,
        cast(told.n as bigint) as n,
        cast(told.at_risk as bigint) as at_risk_count,
        cast(told.reached as bigint) as reached_count,
        cast(told.ended as bigint) as ended_count,
        case when told.is_told_so_far then told.reached_share end as reached_share,
        case when told.is_told_so_far then told.reached_share_low end as reached_share_low,
        case when told.is_told_so_far then told.reached_share_high end as reached_share_high,
        case when told.is_told_so_far then told.ended_share end as ended_share,
        cast(medians.median_months as bigint) as median_months,
        cast(case when medians.median_months is not null then medians.median_months_low end as bigint) as median_months_low,
        cast(case when medians.median_months is not null then medians.median_months_high end as bigint) as median_months_high,
        {{ as_of_date() }} as as_of_date
    from told
    inner join medians
        on told.cohort_type = medians.cohort_type
        and told.cohort_id = medians.cohort_id
        and told.milestone = medians.milestone
)

select * from final
