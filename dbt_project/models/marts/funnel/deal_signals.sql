with weeks as (
    select
        opportunity_id,
        snapshot_date,
        is_open,
        max(case when snapshot_date = {{ as_of_date() }} and is_open then 1 else 0 end) over (partition by opportunity_id) = 1
            as is_open_now
    from {{ ref('int_deal_weeks') }}
),

fired as (
    select * from {{ ref('int_signal_weeks') }}
),

policy as (
    select * from {{ ref('signals') }}
),

active as (
    select signal, odds_ratio, reason from {{ ref('signal_effectiveness') }}
    where segment = 'all' and is_active
),

reviews as (
    select
        opportunity_id,
        snapshot_date,
        is_open,
        row_number() over (partition by opportunity_id order by snapshot_date) as review_number
    from weeks
    where is_open_now
),

-- Reviews in a row on which a signal fired have the same difference between the two counts.
runs as (
    select
        fired.*,
        reviews.is_open,
        reviews.review_number - row_number() over (partition by fired.opportunity_id, fired.signal order by fired.snapshot_date) as run
    from fired
    inner join reviews
        on fired.opportunity_id = reviews.opportunity_id
        and fired.snapshot_date = reviews.snapshot_date
),

dated as (
    select
        runs.*,
        min(snapshot_date) over (partition by opportunity_id, signal, run) as first_fired_on
    from runs
),

final as (
    select
        dated.opportunity_id,
        dated.signal,
        case
            -- A handover is worse the longer nobody has taken it up; its norm is the day on which it stops to count.
            when dated.signal = 'handover' then case when dated.value >= dated.norm / 2 then 'high' else 'medium' end
            when greatest(abs(dated.value), abs(dated.norm)) >= 2 * least(abs(dated.value), abs(dated.norm)) then 'high'
            else 'medium'
        end as severity,
        policy.what_is_wrong,
        policy.what_to_do,
        dated.norm_level,
        active.reason as standing,
        dated.value,
        dated.norm,
        dated.norm_percentile,
        dated.norm_n,
        active.odds_ratio,
        dated.first_fired_on,
        {{ as_of_date() }} as as_of_date
    from dated
    inner join active on dated.signal = active.signal
    inner join policy on dated.signal = policy.signal
    where dated.snapshot_date = {{ as_of_date() }} and dated.is_open
)

select * from final
