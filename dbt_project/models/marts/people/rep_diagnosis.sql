{%- set z = z90() %}
with sellers as (
    select
        sellers.*,
        coalesce(segment, '') as peer_segment
    from {{ ref('int_diagnosis_sellers') }} as sellers
),

words as (
    select * from {{ ref('diagnosis_factors') }}
),

told as (
    select * from {{ ref('int_diagnosis_factors') }}
),

deals as (
    select * from {{ ref('opportunities') }}
    where not is_deleted
),

signals as (
    select
        signal,
        rank as signal_rank
    from {{ ref('signals') }}
    where is_on
),

fired as (
    select distinct
        opportunity_id,
        signal
    from {{ ref('int_signal_weeks') }}
),

cells as (
    select
        sellers.*,
        words.factor,
        words.factor_order,
        words.is_actionable,
        words.what_is_wrong,
        words.what_to_do,
        words.coaching_question,
        told.seller_value,
        told.level_value,
        coalesce(told.n, 0) as n,
        told.norm,
        told.skill,
        told.variance,
        told.weakest_stage,
        told.stage_rate,
        told.stage_peer_rate,
        told.stage_n,
        told.is_stage_clear,
        coalesce(max(case when words.factor = 'activities' then told.n end) over seller, 0) as activity_count,
        coalesce(max(case when words.factor = 'win_rate' then told.n end) over seller, 0) as decided_count,
        max(case when words.factor = 'deal_size' then told.level_value end) over seller as booked_value,
        max(case when told.level_value > 0 then words.factor_order end) over seller as last_alive,
        min(case when told.norm > 0 and told.skill > 0 then 1 else 0 end) over seller = 1 as is_whole
    from sellers
    cross join words
    left join told on sellers.seller_id = told.seller_id and words.factor = told.factor
    window seller as (partition by sellers.seller_id)
),

judged as (
    select
        cells.*,
        case
            when window_reason is not null then window_reason
            when activity_count = 0 then 'no activities known'
            when decided_count < {{ people_policy('diagnosis_minimum_deals') }} then 'not enough deals'
            when not is_whole then 'nothing to compare with'
            when booked_value < 0 then 'bookings are negative'
        end as own_reason
    from cells
),

-- The peer: of each factor the median, among ramped sellers of the job and segment, of the norm of their deals and of what they make of it.
peers as (
    select
        role,
        peer_segment,
        factor,
        count(*) as peer_count,
        median(norm) as norm,
        median(skill) as skill
    from judged
    where own_reason is null
    group by role, peer_segment, factor
),

compared as (
    select
        judged.*,
        coalesce(peers.peer_count, 0) as peer_count,
        coalesce(
            judged.own_reason,
            case when peers.peer_count < {{ people_policy('diagnosis_minimum_peers') }} then 'not enough peers' end
        ) as reason,
        peers.norm * peers.skill as peer_value,
        judged.norm * judged.skill as estimate,
        ln(judged.norm / peers.norm) as log_mix,
        ln(judged.skill / peers.skill) as log_own
    from judged
    left join peers
        on judged.role = peers.role
        and judged.peer_segment = peers.peer_segment
        and judged.factor = peers.factor
        and judged.own_reason is null
),

landings as (
    select * from compared
    where factor = 'landing'
),

-- What does not land in time is not lost: it is carried over. So the two cancel out.
offset_rows as (
    select
        compared.seller_id,
        compared.factor,
        compared.peer_value / case when compared.factor = 'carried_over' then landings.peer_value else 1 end as peer_value,
        compared.estimate / case when compared.factor = 'carried_over' then landings.estimate else 1 end as estimate,
        case when compared.factor = 'carried_over' then -landings.log_mix else compared.log_mix end as log_mix,
        case when compared.factor = 'carried_over' then -landings.log_own else compared.log_own end as log_own
    from compared
    inner join landings on compared.seller_id = landings.seller_id
    where compared.reason is null
),

multiplied as (
    select
        compared.seller_id,
        compared.factor,
        compared.factor_order,
        compared.level_value,
        compared.last_alive,
        cast(compared.booked_value as decimal(18, 4)) as booked_amount,
        offset_rows.peer_value,
        offset_rows.estimate,
        offset_rows.log_mix,
        offset_rows.log_own,
        compared.variance,
        {{ to_amount('exp(sum(ln(offset_rows.peer_value)) over all_factors)') }} as reference_amount,
        {{ to_amount('exp(sum(ln(offset_rows.estimate)) over all_factors)') }} as expected_amount,
        sum(ln(offset_rows.estimate)) over factors_so_far as log_level,
        sum(offset_rows.log_mix + offset_rows.log_own) over factors_so_far as log_so_far,
        sum(offset_rows.log_own) over all_factors as log_own_sum,
        sum(case when compared.factor in ('landing', 'carried_over') then 0 else compared.variance end) over all_factors as variance_sum,
        compared.factor_order = max(compared.factor_order) over all_factors as is_last
    from compared
    inner join offset_rows on compared.seller_id = offset_rows.seller_id and compared.factor = offset_rows.factor
    window
        all_factors as (
            partition by compared.seller_id order by compared.factor_order rows between unbounded preceding and unbounded following
        ),
        factors_so_far as (
            partition by compared.seller_id order by compared.factor_order rows between unbounded preceding and current row
        )
),

-- How far what came is from what was to be expected, up to each factor; a count of nothing says nothing while something follows it.
strayed as (
    select
        multiplied.*,
        coalesce({{ last_known('case when level_value > 0 then ln(level_value) - log_level end') }} over (
            partition by seller_id order by factor_order rows between unbounded preceding and current row
        ), 0) as log_strayed,
        max(case when level_value = 0 and factor_order > coalesce(last_alive, 0) then 1 else 0 end) over (
            partition by seller_id order by factor_order rows between unbounded preceding and current row
        ) = 1 as is_dead
    from multiplied
),

-- The log-mean of both ends weighs every logarithm.
weighed as (
    select
        strayed.*,
        case
            when expected_amount = reference_amount then cast(reference_amount as double)
            else cast(expected_amount - reference_amount as double)
                / (ln(cast(expected_amount as double)) - ln(cast(reference_amount as double)))
        end as own_weight,
        case
            when booked_amount <= 0 or booked_amount = expected_amount then cast(booked_amount as double)
            else cast(booked_amount - expected_amount as double)
                / (ln(cast(booked_amount as double)) - ln(cast(expected_amount as double)))
        end as chance_weight
    from strayed
),

-- Sums so far are rounded, and the last is the whole: their differences add up to it.
summed as (
    select
        weighed.*,
        {{ to_amount('own_weight * (log_so_far - log_own)') }} as after_mix,
        case
            when is_last then expected_amount - reference_amount
            else {{ to_amount('own_weight * log_so_far') }}
        end as after_own,
        case
            when is_last then booked_amount - expected_amount
            when booked_amount > 0 then {{ to_amount('chance_weight * log_strayed') }}
            when is_dead then -expected_amount
            else cast(0 as decimal(18, 4))
        end as after_chance
    from weighed
),

split as (
    select
        summed.*,
        after_mix - coalesce(lag(after_own) over seller, 0) as mix_amount,
        after_own - after_mix as own_amount,
        after_chance - coalesce(lag(after_chance) over seller, 0) as chance_amount
    from summed
    window seller as (partition by seller_id order by factor_order)
),

lost as (
    select
        sellers.seller_id,
        sellers.role,
        sellers.peer_segment,
        deals.opportunity_id
    from sellers
    inner join deals on sellers.seller_id = deals.owner_id
    where not deals.is_open and not deals.is_won and deals.closed_on between sellers.window_start and sellers.window_end
),

lost_counts as (
    select
        seller_id,
        role,
        peer_segment,
        count(*) as lost_count,
        sum(count(*)) over (partition by role, peer_segment) as peer_lost_count
    from lost
    group by seller_id, role, peer_segment
),

lost_signals as (
    select
        lost.seller_id,
        lost.role,
        lost.peer_segment,
        signals.signal,
        signals.signal_rank,
        count(*) as fired_count
    from lost
    inner join fired on lost.opportunity_id = fired.opportunity_id
    inner join signals on fired.signal = signals.signal
    group by lost.seller_id, lost.role, lost.peer_segment, signals.signal, signals.signal_rank
),

lost_shares as (
    select
        lost_signals.seller_id,
        lost_signals.signal,
        lost_signals.signal_rank,
        lost_counts.lost_count,
        cast(lost_signals.fired_count as double) / lost_counts.lost_count as signal_share,
        cast(sum(lost_signals.fired_count) over (
            partition by lost_signals.role, lost_signals.peer_segment, lost_signals.signal
        ) as double) / lost_counts.peer_lost_count as peer_signal_share
    from lost_signals
    inner join lost_counts on lost_signals.seller_id = lost_counts.seller_id
),

-- What is as frequent among everybody's lost deals says nothing about the seller.
frequent as (
    select * from lost_shares
    where lost_count >= {{ people_policy('diagnosis_minimum_lost') }} and signal_share > peer_signal_share
    qualify row_number() over (partition by seller_id order by signal_share desc, signal_rank asc) = 1
),

drilled as (
    select
        lost_counts.seller_id,
        lost_counts.lost_count,
        frequent.signal,
        frequent.signal_share,
        frequent.peer_signal_share
    from lost_counts
    left join frequent on lost_counts.seller_id = frequent.seller_id
),

cleared as (
    select
        compared.*,
        split.peer_value as reference_value,
        split.estimate as estimate_value,
        split.log_own as own_log,
        split.reference_amount,
        split.expected_amount,
        split.mix_amount,
        split.own_amount,
        split.chance_amount,
        split.log_own_sum,
        split.variance_sum,
        split.factor is not null and compared.is_actionable as is_ranked,
        -- Clearly short: far enough, and not by chance; of the win rate it is enough that it is so in one stage.
        coalesce(
            exp(split.log_own) <= 1 - {{ people_policy('diagnosis_clear_share') }}
            and (split.log_own + {{ z }} * sqrt(compared.variance) < 0 or compared.is_stage_clear),
            false
        ) as is_clear
    from compared
    left join split on compared.seller_id = split.seller_id and compared.factor = split.factor
),

-- What is sure comes before what may be chance, however much the latter would cost.
ranked as (
    select
        cleared.*,
        case
            when is_ranked
                then row_number() over (
                    partition by seller_id, is_ranked order by case when is_clear then 0 else 1 end, own_amount, factor_order
                )
        end as factor_rank
    from cleared
),

topped as (
    select
        ranked.*,
        coalesce(factor_rank = 1 and own_log < 0, false) as is_top
    from ranked
),

stated as (
    select
        topped.*,
        case
            when reason is not null then 'not_enough_data'
            when log_own_sum + {{ people_policy('diagnosis_low_z') }} * sqrt(variance_sum) < ln({{ people_policy('diagnosis_low_ratio') }})
                then 'far_short'
            when max(case when is_top and is_clear then 1 else 0 end) over (partition by seller_id) = 1 then 'clear_gap'
            else 'no_clear_gap'
        end as verdict
    from topped
),

final as (
    select
        stated.seller_id,
        stated.factor,
        stated.seller_name,
        stated.role,
        stated.manager_id,
        stated.manager_name,
        stated.region,
        stated.segment,
        stated.verdict,
        stated.reason,
        case when stated.is_top and stated.verdict in ('far_short', 'clear_gap') then stated.what_is_wrong end as what_is_wrong,
        case when stated.is_top and stated.verdict in ('far_short', 'clear_gap') then stated.what_to_do end as what_to_do,
        case when stated.is_top and stated.verdict in ('far_short', 'clear_gap') then stated.coaching_question end as coaching_question,
        case when stated.own_log < 0 then stated.weakest_stage end as weakest_stage,
        case when stated.reason is null and stated.factor = 'win_rate' then drilled.signal end as lost_signal,
        cast(stated.factor_order as bigint) as factor_order,
        cast(stated.factor_rank as bigint) as factor_rank,
        cast(stated.n as bigint) as n,
        cast(stated.peer_count as bigint) as peer_count,
        stated.seller_value,
        stated.estimate_value as estimate,
        stated.estimate_value * exp(-{{ z }} * sqrt(stated.variance)) as estimate_low,
        case
            when stated.factor in ('landing', 'win_rate') then least(1, stated.estimate_value * exp({{ z }} * sqrt(stated.variance)))
            else stated.estimate_value * exp({{ z }} * sqrt(stated.variance))
        end as estimate_high,
        stated.reference_value as peer_value,
        exp(stated.own_log) as own_ratio,
        exp(stated.own_log - {{ z }} * sqrt(stated.variance)) as own_ratio_low,
        exp(stated.own_log + {{ z }} * sqrt(stated.variance)) as own_ratio_high,
        cast(stated.mix_amount as decimal(18, 4)) as mix_amount,
        cast(stated.own_amount as decimal(18, 4)) as own_amount,
        cast(stated.chance_amount as decimal(18, 4)) as chance_amount,
        cast(stated.mix_amount + stated.own_amount + stated.chance_amount as decimal(18, 4)) as contribution_amount,
        cast(stated.booked_value as decimal(18, 4)) as booked_amount,
        cast(stated.expected_amount as decimal(18, 4)) as expected_amount,
        cast(stated.reference_amount as decimal(18, 4)) as reference_amount,
        cast(cast(stated.booked_value as decimal(18, 4)) - stated.reference_amount as decimal(18, 4)) as gap_amount,
        case when stated.own_log < 0 then stated.stage_rate end as stage_rate,
        case when stated.own_log < 0 then {{ wilson('stated.stage_rate', 'cast(stated.stage_n as double)', -1) }} end as stage_rate_low,
        case when stated.own_log < 0 then {{ wilson('stated.stage_rate', 'cast(stated.stage_n as double)', 1) }} end as stage_rate_high,
        case when stated.own_log < 0 then stated.stage_peer_rate end as stage_peer_rate,
        case when stated.own_log < 0 then stated.stage_n end as stage_n,
        case when stated.reason is null and stated.factor = 'win_rate' then drilled.signal_share end as lost_signal_share,
        case
            when stated.reason is null and stated.factor = 'win_rate'
                then {{ wilson('drilled.signal_share', 'cast(drilled.lost_count as double)', -1) }}
        end as lost_signal_share_low,
        case
            when stated.reason is null and stated.factor = 'win_rate'
                then {{ wilson('drilled.signal_share', 'cast(drilled.lost_count as double)', 1) }}
        end as lost_signal_share_high,
        case when stated.reason is null and stated.factor = 'win_rate' then drilled.peer_signal_share end as lost_signal_peer_share,
        case
            when stated.reason is null and stated.factor = 'win_rate' then cast(coalesce(drilled.lost_count, 0) as bigint)
        end as lost_count,
        stated.is_actionable,
        stated.is_top,
        stated.is_clear,
        stated.window_start,
        stated.window_end,
        case when stated.record_start <= stated.window_end then stated.record_start end as record_start,
        {{ as_of_date() }} as as_of_date
    from stated
    left join drilled on stated.seller_id = drilled.seller_id
)

select * from final
