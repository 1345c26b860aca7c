with verdicts as (
    select * from {{ ref('int_deal_verdicts') }}
    where verdict != 'on_track' or signal_count > 0
),

policy as (
    select * from {{ ref('signals') }}
),

fired as (
    select
        fired.*,
        policy.unit,
        policy.units,
        policy.what_is_wrong,
        -- A deal that stalled by its chance is told by that.
        policy.unit = 'share' or (fired.signal = 'stalled' and fired.value <= 1) as is_share,
        cast(fired.norm_n as string) || case when fired.norm_n = 1 then ' won deal' else ' won deals' end as norm_deals
    from {{ ref('int_signal_weeks') }} as fired
    inner join policy on fired.signal = policy.signal
),

counted as (
    select
        fired.*,
        case
            when is_share then {{ percent_text('value') }}
            else {{ number_text('value') }} || ' ' || case when value = 1 then unit else units end
        end as value_text,
        case when is_share then {{ percent_text('norm') }} else {{ number_text('norm') }} end as norm_text
    from fired
),

worded as (
    select
        opportunity_id,
        snapshot_date,
        signal,
        signal || ': ' || case
            when unit is null then what_is_wrong
            when norm_n is null then value_text || '; the limit of the policy is ' || norm_text
            when norm_percentile is null
                then value_text || ' of ' || norm_deals || ' had one by then; the limit of the policy is ' || norm_text
            when signal = 'repeated_push' and value <= norm
                then value_text || ', by more than ' || {{ percent_text(deal_policy('push_cycle_share')) }}
                    || ' of the median cycle of ' || norm_deals
            else value_text || ' against ' || norm_text || ' in ' || norm_deals
        end as evidence
    from counted
),

ranked as (
    select
        verdicts.*,
        count(case when verdict != 'on_track' then 1 end) over (partition by manager_id, snapshot_date) as deals_in_need
    from verdicts
),

final as (
    select
        ranked.manager_id,
        ranked.opportunity_id,
        ranked.owner_id,
        ranked.verdict,
        ranked.top_signal,
        coalesce('The rules for letting a deal go are met: ' || ranked.rules_text, policy.what_is_wrong) as why,
        coalesce(worded.evidence, cast(ranked.rule_count as string) || ' rules met') as evidence,
        case
            when ranked.verdict = 'de_resource' then 'What would have to happen for this deal to be worth our time again?'
            else policy.coaching_question
        end as coaching_question,
        case when ranked.verdict = 'de_resource' then 'Letting a deal go' else policy.drill end as suggested_drill,
        case
            when ranked.verdict = 'de_resource' then 'Stop working on it and tell the buyer how to come back'
            else policy.what_to_do
        end as what_to_do,
        ranked.amount,
        ranked.p_win,
        ranked.amount_to_gain,
        cast(ranked.place as bigint) as place,
        ranked.deals_in_need,
        ranked.snapshot_date as review_on,
        {{ as_of_date() }} as as_of_date
    from ranked
    left join policy on ranked.top_signal = policy.signal
    left join worded
        on ranked.opportunity_id = worded.opportunity_id
        and ranked.snapshot_date = worded.snapshot_date
        and ranked.top_signal = worded.signal
    where ranked.place <= {{ deal_policy('agenda_length') }}
)

select * from final
