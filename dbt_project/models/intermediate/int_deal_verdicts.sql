{{ config(materialized='table') }}
-- What each open deal was judged to be at each review, with what was known then.
with policy as (
    select * from {{ ref('signals') }}
),

reviews as (
    select * from {{ ref('int_deal_reviews') }}
),

chances as (
    select * from {{ ref('int_deal_chances') }}
),

-- What the outcome model tells of the review, where it is in use.
modelled as (
    select
        opportunity_id,
        snapshot_date,
        cast(p_win as double) as p_win
    from {{ ref('int_outcome_predictions') }}
    where method = 'model'
),

calendar as (
    select distinct month_start from {{ ref('calendar') }}
    where month_start <= {{ as_of_date() }}
),

standing as (
    select * from {{ ref('int_signal_standing') }}
    where segment = 'all' and is_active
),

fired as (
    select
        fired.opportunity_id,
        fired.snapshot_date,
        fired.signal,
        policy.rank,
        case when fired.value >= {{ deal_policy('far_factor') }} * fired.norm then policy.points_far else policy.points end as points,
        policy.is_fixable
    from {{ ref('int_signal_weeks') }} as fired
    inner join reviews
        on fired.opportunity_id = reviews.opportunity_id
        and fired.snapshot_date = reviews.snapshot_date
    inner join standing
        on reviews.month_start = standing.month_start
        and fired.signal = standing.signal
    inner join policy on fired.signal = policy.signal
),

ranked as (
    select
        fired.*,
        row_number() over (partition by opportunity_id, snapshot_date order by rank) as place,
        row_number() over (partition by opportunity_id, snapshot_date, is_fixable order by rank) as place_of_kind
    from fired
),

totals as (
    select
        opportunity_id,
        snapshot_date,
        count(*) as signal_count,
        sum(points) as points,
        max(case when place = 1 then signal end) as top_signal,
        max(case when place_of_kind = 1 and is_fixable then signal end) as top_fixable_signal
    from ranked
    group by opportunity_id, snapshot_date
),

decided as (
    select
        coalesce(segment, 'unknown') as segment,
        cast(date_trunc('month', closed_on) as date) as closed_month,
        count(*) as n,
        count(case when is_won then 1 end) as won_count
    from {{ ref('opportunities') }}
    where closed_on is not null and not is_deleted
    group by coalesce(segment, 'unknown'), cast(date_trunc('month', closed_on) as date)
),

segment_rates as (
    select
        calendar.month_start,
        decided.segment,
        cast(sum(decided.won_count) as double) / sum(decided.n) as win_rate,
        cast(sum(sum(decided.won_count)) over (partition by calendar.month_start) as double)
        / sum(sum(decided.n)) over (partition by calendar.month_start) as overall_win_rate
    from decided
    inner join calendar
        on decided.closed_month < calendar.month_start
        and decided.closed_month >= {{ add_months('calendar.month_start', -24) }}
    group by calendar.month_start, decided.segment
),

quarters as (
    select
        day as snapshot_date,
        {{ end_of_day('day') }} as day_end,
        quarter_start,
        quarter_end
    from {{ ref('calendar') }}
),

bookings as (
    select * from {{ ref('int_period_bookings') }}
    where period_type = 'quarter' and scope_type = 'seller'
),

rates as (
    select * from {{ ref('int_exchange_rates') }}
),

-- What each seller may expect of the open deals that are to close by the end of the quarter. Fractions are added as decimals.
expected as (
    select
        reviews.owner_id,
        reviews.snapshot_date,
        sum(cast(chances.p_win * cast(reviews.amount as double) as decimal(28, 8))) as amount
    from reviews
    inner join chances
        on reviews.opportunity_id = chances.opportunity_id
        and reviews.snapshot_date = chances.snapshot_date
    inner join quarters on reviews.snapshot_date = quarters.snapshot_date
    where reviews.close_date <= quarters.quarter_end
    group by reviews.owner_id, reviews.snapshot_date
),

-- The quota of the quarter as it was then: a changed one replaces the earlier one from its day on.
quotas_then as (
    select
        expected.owner_id,
        expected.snapshot_date,
        quarters.day_end,
        quarters.quarter_start,
        quarters.quarter_end,
        quotas.amount * {{ plan_rate('quotas.currency') }} as quota,
        expected.amount as expected_amount
    from expected
    inner join quarters on expected.snapshot_date = quarters.snapshot_date
    inner join {{ ref('int_quotas_known') }} as quotas
        on expected.owner_id = quotas.user_id
        and quarters.quarter_start = quotas.period_start
        and quarters.quarter_end = quotas.period_end
        and expected.snapshot_date >= quotas.effective_from
        and quarters.day_end > quotas._known_at
    left join rates
        on quotas.currency = rates.from_currency
        and quarters.quarter_start >= rates.valid_from
        and quarters.quarter_start < rates.valid_to
    where not quotas._is_deleted
    qualify row_number() over (partition by expected.owner_id, expected.snapshot_date order by quotas.effective_from desc) = 1
),

-- What a seller's quota still lacks when everything else comes as expected.
gaps as (
    select
        quotas_then.owner_id,
        quotas_then.snapshot_date,
        quotas_then.quarter_end,
        quotas_then.quota - quotas_then.expected_amount - coalesce(sum(bookings.amount), 0) as gap
    from quotas_then
    left join bookings
        on quotas_then.owner_id = bookings.scope_id
        and quotas_then.quarter_start = bookings.period_start
        and quotas_then.snapshot_date >= bookings.won_on
        and quotas_then.day_end > bookings.valid_from
        and (bookings.valid_to is null or bookings.valid_to >= quotas_then.day_end)
    group by
        quotas_then.owner_id,
        quotas_then.snapshot_date,
        quotas_then.quarter_end,
        quotas_then.quota,
        quotas_then.expected_amount
),

larges as (
    select
        segment,
        snapshot_date,
        percentile_disc({{ policy_constant('effort_amount_percentile') }}) within group (order by cast(amount as double)) as amount
    from reviews
    group by segment, snapshot_date
),

judged as (
    select
        reviews.*,
        chances.base_n as p_n,
        chances.p_win,
        chances.p_slip,
        chances.p_lose,
        modelled.p_win as p_win_modelled,
        -- Pooled chances tell what there is to gain; a deal cannot become more than certain by the chance that is told of it.
        case
            when chances.p_win is not null
                then least(greatest(chances.p_win_untroubled - chances.p_win, 0), 1 - coalesce(modelled.p_win, chances.p_win))
        end as p_to_gain,
        coalesce(totals.signal_count, 0) as signal_count,
        coalesce(totals.points, 0) as points,
        totals.top_signal,
        totals.top_fixable_signal,
        reviews.required_count - reviews.verified_count - reviews.claimed_count as unknown_count,
        -- The chance below which the effort that remains costs more than it can bring.
        reviews.effort_norm * {{ deal_policy('hour_cost') }} / nullif({{ deal_policy('margin_share') }} * cast(reviews.amount as double), 0)
            as break_even,
        coalesce(reviews.age_days > reviews.age_norm, false) as is_too_old,
        coalesce(chances.p_win < {{ deal_policy('base_share') }} * chances.base_p_win, false) as is_hopeless,
        coalesce(
            reviews.push_count >= {{ deal_policy('silence_pushes') }} and reviews.unanswered_days > reviews.silence_norm, false
        ) as is_silent,
        coalesce(segment_rates.win_rate < {{ deal_policy('segment_share') }} * segment_rates.overall_win_rate, false)
        and coalesce(reviews.required_count - reviews.verified_count - reviews.claimed_count, 0) >= {{ deal_policy('segment_unknowns') }}
            as is_weak_segment,
        larges.amount as large_amount,
        -- The quota is missed without the deal, and met when it is won.
        coalesce(
            reviews.close_date <= gaps.quarter_end
            and gaps.gap + cast(chances.p_win * cast(reviews.amount as double) as decimal(28, 8)) > 0
            and gaps.gap + cast(chances.p_win * cast(reviews.amount as double) as decimal(28, 8)) <= reviews.amount,
            false
        ) as is_needed_for_quota
    from reviews
    left join chances
        on reviews.opportunity_id = chances.opportunity_id
        and reviews.snapshot_date = chances.snapshot_date
    left join modelled
        on reviews.opportunity_id = modelled.opportunity_id
        and reviews.snapshot_date = modelled.snapshot_date
    left join totals
        on reviews.opportunity_id = totals.opportunity_id
        and reviews.snapshot_date = totals.snapshot_date
    left join segment_rates
        on reviews.month_start = segment_rates.month_start
        and reviews.segment = segment_rates.segment
    left join larges
        on reviews.segment = larges.segment
        and reviews.snapshot_date = larges.snapshot_date
    left join gaps
        on reviews.owner_id = gaps.owner_id
        and reviews.snapshot_date = gaps.snapshot_date
),

ruled as (
    select
        judged.*,
        coalesce(p_win < break_even, false) as is_below_break_even,
        case when is_too_old then 1 else 0 end
        + case when is_hopeless then 1 else 0 end
        + case when is_silent then 1 else 0 end
        + case when is_weak_segment then 1 else 0 end
        + case when coalesce(p_win < break_even, false) then 1 else 0 end
        + case when is_executive_unanswered then 1 else 0 end as rule_count
    from judged
),

-- Of each deal that was won, the most rules it ever met while its chance was below break-even: so many rules would have dropped it.
survivors as (
    select
        ruled.opportunity_id,
        cast(date_trunc('month', max(ruled.closed_on)) as date) as closed_month,
        max(deals.amount) as amount,
        max(case when ruled.is_below_break_even then ruled.rule_count else 0 end) as rule_count
    from ruled
    inner join {{ ref('opportunities') }} as deals on ruled.opportunity_id = deals.opportunity_id
    where ruled.is_won and ruled.snapshot_date < ruled.closed_on
    group by ruled.opportunity_id
),

limits as (
    select 2 as rules_required
    union all
    select 3 as rules_required
    union all
    select 4 as rules_required
    union all
    select 5 as rules_required
    union all
    select 6 as rules_required
),

replayed as (
    select
        calendar.month_start,
        limits.rules_required,
        cast(sum(case when survivors.rule_count >= limits.rules_required then survivors.amount else 0 end) as double)
        / nullif(cast(sum(survivors.amount) as double), 0) as dropped_share
    from calendar
    cross join limits
    inner join survivors
        on survivors.closed_month < calendar.month_start
        and survivors.closed_month >= {{ add_months('calendar.month_start', -24) }}
    group by calendar.month_start, limits.rules_required
),

guardrail as (
    select * from replayed
    where rules_required >= {{ deal_policy('rules_minimum') }} and dropped_share <= {{ deal_policy('guardrail_share') }}
    qualify row_number() over (partition by month_start order by rules_required) = 1
),

-- The rules are those of the replay. What they drop is kept where the chance that is told of it pays for the effort.
verdicts as (
    select
        ruled.*,
        guardrail.rules_required,
        guardrail.dropped_share,
        ruled.points >= {{ deal_policy('attention_points') }} as is_troubled,
        case
            when
                coalesce(ruled.is_below_break_even and ruled.rule_count >= guardrail.rules_required, false)
                and coalesce(ruled.p_win_modelled < ruled.break_even, true)
                then 'de_resource'
            when
                ruled.p_win between {{ deal_policy('effort_p_low') }} and {{ deal_policy('effort_p_high') }}
                and (cast(ruled.amount as double) >= ruled.large_amount or ruled.is_needed_for_quota)
                and ruled.top_fixable_signal is not null
                and ruled.p_to_gain > 0
                and ruled.days_to_close >= {{ deal_policy('effort_days_left') }}
                then 'extra_effort'
            when ruled.points >= {{ deal_policy('attention_points') }} then 'attention'
            else 'on_track'
        end as verdict
    from ruled
    left join guardrail on ruled.month_start = guardrail.month_start
),

-- What is at stake times what can still be changed; a deal that is to be dropped frees what it would cost.
valued as (
    select
        verdicts.*,
        case
            when verdict = 'de_resource' then coalesce(effort_norm, 0) * {{ deal_policy('hour_cost') }}
            else p_to_gain * cast(amount as double)
        end as amount_to_gain,
        case
            when verdict = 'de_resource' then concat_ws(
                '; ',
                case when is_too_old then 'older than won deals were here' end,
                case when is_hopeless then 'a chance far below that of the stage' end,
                case when is_silent then 'pushed again and again, and no answer' end,
                case when is_weak_segment then 'a segment we seldom win, and required facts unknown' end,
                case when is_below_break_even then 'the effort that remains costs more than it can bring' end,
                case when is_executive_unanswered then 'an executive wrote and was not answered' end
            )
        end as rules_text
    from verdicts
),

final as (
    select
        opportunity_id,
        owner_id,
        manager_id,
        segment,
        opportunity_type,
        stage,
        forecast_category,
        verdict,
        rules_text,
        top_signal,
        top_fixable_signal,
        amount,
        p_n,
        p_win,
        p_slip,
        p_lose,
        p_to_gain,
        amount_to_gain,
        break_even,
        points,
        signal_count,
        rule_count,
        rules_required,
        dropped_share,
        effort_norm,
        required_count,
        verified_count,
        claimed_count,
        unknown_count,
        row_number() over (
            partition by manager_id, snapshot_date
            order by
                case when verdict != 'on_track' then 1 when signal_count > 0 then 2 else 3 end asc,
                coalesce(amount_to_gain, 0) desc,
                coalesce(amount, 0) desc,
                opportunity_id asc
        ) as place,
        is_won,
        is_open,
        is_troubled,
        is_too_old,
        is_hopeless,
        is_silent,
        is_weak_segment,
        is_below_break_even,
        is_executive_unanswered,
        is_needed_for_quota,
        close_date,
        closed_on,
        snapshot_date
    from valued
)

select * from final
