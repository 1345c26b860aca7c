{{ config(materialized='table') }}
-- How many of a seller's open deals each signal is on, beside what peers' deals would make of as many; docs/coaching-plan.md is the rule.
with sellers as (
    select
        seller_id,
        role,
        coalesce(segment, '') as peer_segment
    from {{ ref('int_diagnosis_sellers') }}
),

deals as (
    select
        opportunity_id,
        owner_id
    from {{ ref('deal_health') }}
),

fired as (
    select
        opportunity_id,
        signal
    from {{ ref('deal_signals') }}
),

signals as (
    select
        signal,
        rank as signal_rank
    from {{ ref('signals') }}
    where is_on
),

deal_counts as (
    select
        owner_id,
        count(*) as deal_count
    from deals
    group by owner_id
),

fired_counts as (
    select
        deals.owner_id,
        fired.signal,
        count(*) as fired_count
    from deals
    inner join fired on deals.opportunity_id = fired.opportunity_id
    group by deals.owner_id, fired.signal
),

counted as (
    select
        sellers.seller_id,
        sellers.role,
        sellers.peer_segment,
        signals.signal,
        signals.signal_rank,
        coalesce(deal_counts.deal_count, 0) as deal_count,
        coalesce(fired_counts.fired_count, 0) as fired_count
    from sellers
    cross join signals
    left join deal_counts on sellers.seller_id = deal_counts.owner_id
    left join fired_counts
        on sellers.seller_id = fired_counts.owner_id
        and signals.signal = fired_counts.signal
),

-- Of everybody else.
others as (
    select
        counted.*,
        sum(deal_count) over (in_segment) - deal_count as segment_deals,
        sum(fired_count) over (in_segment) - fired_count as segment_fired,
        sum(deal_count) over (in_job) - deal_count as job_deals,
        sum(fired_count) over (in_job) - fired_count as job_fired
    from counted
    window
        in_segment as (partition by role, peer_segment, signal),
        in_job as (partition by role, signal)
),

peers as (
    select
        others.*,
        case
            when segment_deals >= {{ people_policy('plan_signal_peer_deals') }} then 'job and segment'
            when job_deals >= {{ people_policy('plan_signal_peer_deals') }} then 'job'
        end as peer_level,
        cast(
            case when segment_deals >= {{ people_policy('plan_signal_peer_deals') }} then segment_deals else job_deals end as double
        ) as peer_deals,
        cast(
            case when segment_deals >= {{ people_policy('plan_signal_peer_deals') }} then segment_fired else job_fired end as double
        ) as peer_fired
    from others
),

-- Where peers have none or all, half a deal keeps the share from being certain.
shared as (
    select
        peers.*,
        case
            when peer_level is not null then least(greatest(peer_fired, 0.5), peer_deals - 0.5) / peer_deals
        end as peer_share
    from peers
),

scored as (
    select
        shared.*,
        (fired_count - deal_count * peer_share) / nullif(sqrt(deal_count * peer_share * (1 - peer_share)), 0) as z
    from shared
),

final as (
    select
        seller_id,
        signal,
        peer_level,
        cast(signal_rank as bigint) as signal_rank,
        cast(deal_count as bigint) as deal_count,
        cast(fired_count as bigint) as fired_count,
        cast(peer_deals as bigint) as peer_deals,
        peer_share,
        z,
        coalesce(
            fired_count >= {{ people_policy('plan_signal_deals') }} and z >= {{ people_policy('plan_signal_z') }}, false
        ) as is_recurring
    from scored
    where fired_count > 0
)

select * from final
