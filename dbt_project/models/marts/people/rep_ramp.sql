{%- set measures = ['meetings', 'opened', 'won'] %}
{%- set columns = ['fact_count', 'norm_count', 'n', 'low_count', 'middle_count', 'high_count', 'ratio', 'ratio_low', 'ratio_high'] %}
{%- set ramped_months = policy_constant('ramped_months', 'people_policy') | float | int %}
{%- set milestones = ['first_meeting', 'first_pipeline', 'first_win', 'productive'] %}
with milestones as (
    select * from {{ ref('int_ramp_milestones') }}
),

paces as (
    select * from {{ ref('int_ramp_paces') }}
),

reps as (
    select * from {{ ref('reps') }}
    where is_current
),

words as (
    select * from {{ ref('ramp_measures') }}
),

-- How far behind the middle earlier hire, from one whole on, in what chance makes of such a count: few wins would else outshout meetings.
gaps as (
    select
        paces.*,
        case when paces.fact_count = 1 then words.name_of_one else words.name end as name,
        words.what_to_do,
        words.rank,
        (paces.middle_count - paces.fact_count) / sqrt(paces.middle_count) as gap_size
    from paces
    inner join words on paces.measure = words.measure
    where paces.reason is null and paces.middle_count - paces.fact_count >= 1
),

largest as (
    select * from gaps
    qualify row_number() over (partition by rep_id order by gap_size desc, rank asc) = 1
),

by_seller as (
    select
        rep_id,
        max(name) as name,
        max(role) as role,
        max(region) as region,
        max(segment) as segment,
        max(ending) as ending,
        max(hired_on) as hired_on,
        max(ended_on) as ended_on,
        case when count(reason) = count(*) then max(case when milestone = 'first_meeting' then reason end) end as reason,
        {%- for milestone in milestones %}
        max(case when milestone = '{{ milestone }}' then reason end) as {{ milestone }}_reason,
        max(case when milestone = '{{ milestone }}' then state end) as {{ milestone }}_state,
        max(case when milestone = '{{ milestone }}' then reached_month end) as {{ milestone }}_month,
        max(case when milestone = '{{ milestone }}' then reached_on end) as {{ milestone }}_on
        {{- ',' if not loop.last }}
        {%- endfor %}
    from milestones
    group by rep_id
),

by_measure as (
    select
        rep_id,
        max(case when measure = 'opened' then week end) as week,
        {%- for measure in measures + ['early_opened'] %}
        max(case when measure = '{{ measure }}' then reason end) as {{ measure }}_reason,
        max(case when measure = '{{ measure }}' then position end) as {{ measure }}_position,
        {%- for column in columns %}
        max(case when measure = '{{ measure }}' then {{ column }} end) as {{ measure }}_{{ column }}{{ ',' if not loop.last }}
        {%- endfor %}
        {{- ',' if not loop.last }}
        {%- endfor %}
    from paces
    group by rep_id
),

-- Words are for whoever ramps now.
spoken_to as (
    select
        by_seller.rep_id,
        case
            when by_seller.reason is not null then by_seller.reason
            when by_seller.ending = 'left' then 'has left'
            when by_seller.ending = 'other_job' then 'has another job'
            when {{ add_months('by_seller.hired_on', ramped_months) }} <= {{ as_of_date() }} then 'the ramp is over'
            when coalesce(by_measure.meetings_position, by_measure.opened_position, by_measure.won_position) is null
                then by_measure.meetings_reason
        end as feedback_reason
    from by_seller
    left join by_measure on by_seller.rep_id = by_measure.rep_id
),

final as (
    select
        by_seller.rep_id,
        by_seller.name,
        by_seller.role,
        by_seller.region,
        by_seller.segment,
        reps.manager_id,
        reps.manager_name,
        by_seller.reason,
        by_seller.ending,
        {%- for milestone in milestones %}
        by_seller.{{ milestone }}_state,
        by_seller.{{ milestone }}_reason,
        {%- endfor %}
        case
            when by_measure.early_opened_reason is not null then null
            when by_measure.early_opened_ratio_low > 1 and not coalesce(by_measure.opened_ratio_high < 1, false) then 'fast'
            when by_measure.opened_ratio_high < 1 and not coalesce(by_measure.early_opened_ratio_low > 1, false) then 'slow'
            else 'ordinary'
        end as pace,
        by_measure.early_opened_reason as pace_reason,
        {%- for measure in measures %}
        by_measure.{{ measure }}_position,
        by_measure.{{ measure }}_reason,
        {%- endfor %}
        spoken_to.feedback_reason,
        largest.measure as gap_measure,
        case
            when largest.measure is not null
                then concat(
                    cast(largest.fact_count as string), ' ', largest.name, ' by week ', cast(largest.week as string),
                    '; at the middle pace of ', cast(largest.n as string), ' earlier hires it would be ',
                    cast(cast(floor(largest.middle_count * 10 + 0.5) / 10 as decimal(9, 1)) as string)
                )
        end as what_is_behind,
        case
            when largest.measure is not null then largest.what_to_do
            when spoken_to.feedback_reason is null
                then 'Nothing is behind the middle earlier hire at this week: keep going'
        end as what_to_do,
        {%- for milestone in milestones %}
        by_seller.{{ milestone }}_month,
        {%- endfor %}
        by_measure.week,
        {%- for measure in measures %}
        by_measure.{{ measure }}_fact_count as {{ measure }}_count,
        by_measure.{{ measure }}_n,
        by_measure.{{ measure }}_low_count as {{ measure }}_band_low,
        by_measure.{{ measure }}_middle_count as {{ measure }}_band_middle,
        by_measure.{{ measure }}_high_count as {{ measure }}_band_high,
        {%- endfor %}
        {%- for measure in ['early_opened', 'opened'] %}
        {%- if measure == 'early_opened' %}
        by_measure.early_opened_fact_count as early_opened_count,
        by_measure.early_opened_n,
        {%- endif %}
        by_measure.{{ measure }}_norm_count as {{ measure }}_peer_count,
        by_measure.{{ measure }}_ratio,
        by_measure.{{ measure }}_ratio_low,
        by_measure.{{ measure }}_ratio_high,
        {%- endfor %}
        by_seller.hired_on,
        by_seller.ended_on,
        {%- for milestone in milestones %}
        by_seller.{{ milestone }}_on,
        {%- endfor %}
        {{ as_of_date() }} as as_of_date
    from by_seller
    left join by_measure on by_seller.rep_id = by_measure.rep_id
    left join spoken_to on by_seller.rep_id = spoken_to.rep_id
    left join largest on by_seller.rep_id = largest.rep_id and spoken_to.feedback_reason is null
    left join reps on by_seller.rep_id = reps.rep_id
)

select * from final
