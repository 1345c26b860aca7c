{{ config(materialized='table') }}
{#- From wide to narrow; each group's rate is drawn towards that of the group before it. #}
{%- set levels = [
    ['stage'], ['stage', 'trouble'], ['stage', 'trouble', 'opportunity_type'], ['stage', 'trouble', 'opportunity_type', 'stage_time'],
    ['stage', 'trouble', 'opportunity_type', 'stage_time', 'segment'],
] %}
{%- set dimensions = ['stage', 'trouble', 'opportunity_type', 'stage_time', 'segment'] %}
-- The chances of each open deal at each review: won, lost or undecided within the horizon, or still open then. What deals in the same
-- stage, as long in it, and as troubled, have come to.
with policy as (
    select * from {{ ref('signals') }}
),

points as (
    select
        flags.opportunity_id,
        flags.snapshot_date,
        sum(
            case when flags.value >= {{ deal_policy('far_factor') }} * flags.norm then policy.points_far else policy.points end
        ) as points
    from {{ ref('int_deal_flags') }} as flags
    inner join policy on flags.signal = policy.signal
    group by flags.opportunity_id, flags.snapshot_date
),

reviews as (
    select
        reviews.opportunity_id,
        reviews.segment,
        reviews.opportunity_type,
        reviews.stage,
        reviews.stage_time,
        case
            when coalesce(points.points, 0) >= {{ deal_policy('attention_points') }} then 'much'
            when points.points > 0 then 'some'
            else 'none'
        end as trouble,
        reviews.is_won,
        reviews.closed_on,
        {{ add_days('reviews.snapshot_date', deal_horizon()) }} as horizon_on,
        reviews.month_start,
        reviews.snapshot_date
    from {{ ref('int_deal_reviews') }} as reviews
    left join points
        on reviews.opportunity_id = points.opportunity_id
        and reviews.snapshot_date = points.snapshot_date
),

calendar as (
    select distinct month_start from {{ ref('calendar') }}
    where month_start <= {{ as_of_date() }}
),

sums as (
    select
        cast(date_trunc('month', horizon_on) as date) as known_month,
        {{ dimensions | join(', ') }},
        count(*) as n,
        count(case when is_won and closed_on <= horizon_on then 1 end) as won_count,
        count(case when not is_won and closed_on <= horizon_on then 1 end) as lost_count
    from reviews
    where horizon_on < {{ as_of_date() }}
    group by cast(date_trunc('month', horizon_on) as date), {{ dimensions | join(', ') }}
),

rolled as (
    select
        calendar.month_start,
        {%- for dimension in dimensions %}
        sums.{{ dimension }},
        {%- endfor %}
        sum(sums.n) as n,
        cast(sum(sums.won_count) as double) as won_count,
        cast(sum(sums.lost_count) as double) as lost_count
    from sums
    inner join calendar
        on sums.known_month < calendar.month_start
        and sums.known_month >= {{ add_months('calendar.month_start', -24) }}
    group by
        calendar.month_start,
        {%- for dimension in dimensions %}
        sums.{{ dimension }}{{ ',' if not loop.last }}
        {%- endfor %}
),

{% for columns in levels %}
level_{{ loop.index }} as (
    select
        month_start,
        {{ columns | join(', ') }},
        sum(n) as n,
        sum(won_count) as won_count,
        sum(lost_count) as lost_count
    from rolled
    group by month_start, {{ columns | join(', ') }}
),
{% endfor %}

-- Every kind of deal at every trouble, so that the chance with less trouble can be told beside it.
cells as (
    select distinct
        month_start,
        segment,
        opportunity_type,
        stage,
        stage_time
    from reviews
),

troubles as (
    select 'none' as trouble
    union all
    select 'some' as trouble
    union all
    select 'much' as trouble
),

-- Where no deal that was reviewed has ended, as where an export tells no history of ended deals, it is not known how deals end.
ended as (
    select distinct month_start from rolled
    where won_count + lost_count > 0
),

pooled_1 as (
    select
        cells.*,
        troubles.trouble,
        level_1.n as base_n,
        level_1.won_count / level_1.n as base_p_win,
        level_1.won_count / level_1.n as p_win,
        level_1.lost_count / level_1.n as p_lose
    from cells
    cross join troubles
    left join ended on cells.month_start = ended.month_start
    left join level_1
        on ended.month_start = level_1.month_start
        and cells.stage = level_1.stage
),

{% for columns in levels[1:] %}
pooled_{{ loop.index + 1 }} as (
    select
        pooled.month_start,
        pooled.segment,
        pooled.opportunity_type,
        pooled.stage,
        pooled.stage_time,
        pooled.trouble,
        pooled.base_n,
        pooled.base_p_win,
        coalesce(narrower.n, 0) as n,
        {%- for outcome in ('win', 'lose') %}
        (coalesce(narrower.{{ 'won' if outcome == 'win' else 'lost' }}_count, 0) + strength.strength * pooled.p_{{ outcome }})
        / (coalesce(narrower.n, 0) + strength.strength) as p_{{ outcome }}{{ ',' if not loop.last }}
        {%- endfor %}
    from pooled_{{ loop.index }} as pooled
    cross join (select {{ deal_policy('pool_strength') }} as strength) as strength
    left join level_{{ loop.index + 1 }} as narrower
        on pooled.month_start = narrower.month_start
        {%- for column in columns %}
        and pooled.{{ column }} = narrower.{{ column }}
        {%- endfor %}
),
{% endfor %}

final as (
    select
        reviews.opportunity_id,
        reviews.trouble,
        pooled.base_n,
        pooled.n,
        pooled.base_p_win,
        pooled.p_win,
        pooled.p_lose,
        1 - pooled.p_win - pooled.p_lose as p_slip,
        less.p_win as p_win_untroubled,
        reviews.snapshot_date
    from reviews
    inner join pooled_{{ levels | length }} as pooled
        on reviews.month_start = pooled.month_start
        and reviews.segment = pooled.segment
        and reviews.opportunity_type = pooled.opportunity_type
        and reviews.stage = pooled.stage
        and reviews.stage_time = pooled.stage_time
        and reviews.trouble = pooled.trouble
    inner join pooled_{{ levels | length }} as less
        on pooled.month_start = less.month_start
        and pooled.segment = less.segment
        and pooled.opportunity_type = less.opportunity_type
        and pooled.stage = less.stage
        and pooled.stage_time = less.stage_time
    where less.trouble = 'none'
)

select * from final
