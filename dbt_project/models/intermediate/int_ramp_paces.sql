{{ config(materialized='table') }}
-- docs/ramp.md is the rule.
with milestones as (
    select * from {{ ref('int_ramp_milestones') }}
    where milestone != 'productive'
),

facts as (
    select * from {{ ref('int_ramp_facts') }}
),

jobs as (
    select * from {{ ref('int_rep_jobs') }}
),

calendar as (
    select * from {{ ref('calendar') }}
),

-- Fast shows early, before everybody has caught up; slow shows when the others have.
measures as (
    {%- for measure, kind, weeks in [
        ('meetings', 'meeting', 'ramp_weeks'), ('opened', 'opened', 'ramp_weeks'), ('won', 'won', 'ramp_weeks'),
        ('early_opened', 'opened', 'ramp_early_weeks'),
    ] %}
    select
        '{{ measure }}' as measure,
        '{{ kind }}' as kind,
        {{ people_policy(weeks) }} as last_week
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

kinds as (
    select distinct kind from measures
),

sellers as (
    select
        milestones.*,
        measures.measure,
        measures.last_week
    from milestones
    inner join measures on milestones.kind = measures.kind
),

complete_weeks as (
    select distinct
        week_start,
        week_end
    from calendar
    where week_end <= {{ as_of_date() }}
),

weeks as (
    select
        week_start,
        week_end,
        row_number() over (order by week_start) as week_number
    from complete_weeks
),

counted as (
    select
        facts.kind,
        facts.user_id,
        weeks.week_number,
        sum(facts.fact_count) as fact_count
    from facts
    inner join weeks on facts.day between weeks.week_start and weeks.week_end
    group by facts.kind, facts.user_id, weeks.week_number
),

selling_weeks as (
    {{ selling_periods('week', 'week_start') }}
),

-- What one ramped peer does in a week.
norms as (
    select
        selling_weeks.week_number,
        selling_weeks.role,
        selling_weeks.segment,
        kinds.kind,
        cast(coalesce(sum(counted.fact_count), 0) as double) / count(*) as fact_count
    from selling_weeks
    cross join kinds
    left join counted
        on selling_weeks.rep_id = counted.user_id
        and selling_weeks.week_number = counted.week_number
        and kinds.kind = counted.kind
    where selling_weeks.is_ramped
    group by selling_weeks.week_number, selling_weeks.role, selling_weeks.segment, kinds.kind
    having count(*) >= {{ people_policy('ramp_minimum_peers') }}
),

seller_weeks as (
    select
        sellers.rep_id,
        sellers.role,
        sellers.measure,
        sellers.last_week,
        sellers.hired_on,
        selling_weeks.week_number - min(selling_weeks.week_number) over (partition by sellers.rep_id, sellers.measure) + 1 as week,
        coalesce(counted.fact_count, 0) as fact_count,
        norms.fact_count as norm_count
    from sellers
    inner join selling_weeks
        on sellers.rep_id = selling_weeks.rep_id
        and (sellers.ended_on is null or selling_weeks.week_end <= sellers.ended_on)
    left join counted
        on selling_weeks.rep_id = counted.user_id
        and selling_weeks.week_number = counted.week_number
        and sellers.kind = counted.kind
    left join norms
        on selling_weeks.week_number = norms.week_number
        and selling_weeks.role = norms.role
        and selling_weeks.segment = norms.segment
        and sellers.kind = norms.kind
    where sellers.reason is null
),

so_far as (
    select
        rep_id,
        role,
        measure,
        hired_on,
        week,
        sum(fact_count) over in_order as fact_count,
        case
            when count(norm_count) over in_order = count(*) over in_order
                then cast(sum(cast(norm_count as decimal(28, 12))) over in_order as double)
        end as norm_count
    from seller_weeks
    where week <= last_week
    window in_order as (partition by rep_id, measure order by week rows between unbounded preceding and current row)
),

current_weeks as (
    select * from so_far
    qualify row_number() over (partition by rep_id, measure order by week desc) = 1
),

earlier as (
    select
        current_weeks.rep_id,
        current_weeks.measure,
        count(*) as n,
        sum(so_far.fact_count) as fact_count,
        cast(sum(cast(so_far.norm_count as decimal(28, 12))) as double) as norm_count,
        {%- for name, percentile in {'low': 0.25, 'middle': 0.5, 'high': 0.75}.items() %}
        percentile_disc({{ percentile }}) within group (order by so_far.fact_count / so_far.norm_count) as {{ name }}_pace
        {{- ',' if not loop.last }}
        {%- endfor %}
    from current_weeks
    inner join so_far
        on current_weeks.measure = so_far.measure
        and current_weeks.week = so_far.week
        and current_weeks.role = so_far.role
        and so_far.hired_on < current_weeks.hired_on
    where so_far.norm_count > 0
    group by current_weeks.rep_id, current_weeks.measure
),

compared as (
    select
        sellers.rep_id,
        sellers.measure,
        case
            when sellers.reason is not null then sellers.reason
            when current_weeks.week is null then 'no week over yet'
            when current_weeks.norm_count is null then 'not enough ramped peers'
            when current_weeks.norm_count = 0 then 'ramped peers have none'
            when coalesce(earlier.n, 0) < {{ people_policy('ramp_minimum_hires') }} then 'not enough earlier hires'
        end as reason,
        current_weeks.week,
        current_weeks.fact_count,
        current_weeks.norm_count,
        coalesce(earlier.n, 0) as n,
        earlier.fact_count as earlier_count,
        earlier.norm_count as earlier_norm,
        earlier.low_pace * current_weeks.norm_count as low_count,
        earlier.middle_pace * current_weeks.norm_count as middle_count,
        earlier.high_pace * current_weeks.norm_count as high_count,
        current_weeks.fact_count / nullif(current_weeks.norm_count, 0) as pace,
        earlier.low_pace,
        earlier.high_pace,
        cast(current_weeks.fact_count as double) / nullif(current_weeks.fact_count + earlier.fact_count, 0) as share
    from sellers
    left join current_weeks on sellers.rep_id = current_weeks.rep_id and sellers.measure = current_weeks.measure
    left join earlier on sellers.rep_id = earlier.rep_id and sellers.measure = earlier.measure
),

-- Of what both have done a share is the seller's: its interval is that of the ratio of the two paces.
shares as (
    select
        compared.*,
        case when share = 0 then 0 else {{ wilson('share', 'cast(fact_count + earlier_count as double)', -1) }} end as share_low,
        case when share = 1 then 1 else {{ wilson('share', 'cast(fact_count + earlier_count as double)', 1) }} end as share_high
    from compared
),

final as (
    select
        rep_id,
        measure,
        reason,
        case
            when reason is not null then null
            when pace < low_pace then 'below'
            when pace > high_pace then 'above'
            else 'within'
        end as position,
        cast(week as bigint) as week,
        cast(fact_count as bigint) as fact_count,
        norm_count,
        cast(n as bigint) as n,
        case when reason is null then low_count end as low_count,
        case when reason is null then middle_count end as middle_count,
        case when reason is null then high_count end as high_count,
        {%- for bound in ('', '_low', '_high') %}
        case when reason is null then share{{ bound }} / nullif(1 - share{{ bound }}, 0) * earlier_norm / norm_count end as ratio{{ bound }}
        {{- ',' if not loop.last }}
        {%- endfor %}
    from shares
)

select * from final
