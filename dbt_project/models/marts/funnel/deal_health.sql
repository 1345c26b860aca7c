with verdicts as (
    select * from {{ ref('int_deal_verdicts') }}
    where snapshot_date = {{ as_of_date() }} and is_open
),

policy as (
    select * from {{ ref('signals') }}
),

predictions as (
    select * from {{ ref('int_outcome_predictions') }}
    where snapshot_date = {{ as_of_date() }}
),

-- What a function has on its desk; of one that nobody ever asked nothing is known.
requests as (
    select
        requests.function,
        count(case when requests.is_answered_open and deals.is_open then 1 end) as open_count
    from {{ ref('int_help_requests') }} as requests
    left join {{ ref('opportunities') }} as deals on requests.opportunity_id = deals.opportunity_id
    group by requests.function
),

worded as (
    select
        verdicts.*,
        deals.name,
        deals.account_name,
        deals.owner_name,
        deals.manager_name,
        coalesce(predictions.method, '') = 'model' as is_modelled,
        predictions.p_win as model_p_win,
        predictions.p_slip as model_p_slip,
        predictions.p_lose as model_p_lose,
        predictions.p_no_decision as model_p_no_decision,
        predictions.p_win_quarter,
        wrong.what_is_wrong,
        wrong.what_to_do,
        -- For extra effort the signal somebody can do something about, else the one that says most.
        coalesce(fixable.what_to_do, wrong.what_to_do) as what_helps,
        case verdicts.verdict
            when 'extra_effort' then fixable.requested_function
            when 'de_resource' then null
            else wrong.requested_function
        end as requested_function
    from verdicts
    inner join {{ ref('opportunities') }} as deals on verdicts.opportunity_id = deals.opportunity_id
    left join predictions on verdicts.opportunity_id = predictions.opportunity_id
    left join policy as wrong on verdicts.top_signal = wrong.signal
    left join policy as fixable on verdicts.top_fixable_signal = fixable.signal
),

told as (
    select
        worded.*,
        {%- for outcome in ('p_win', 'p_slip') %}
        case when is_modelled then cast(model_{{ outcome }} as double) else {{ outcome }} end as told_{{ outcome }},
        {%- endfor %}
        case when is_modelled then cast(model_p_lose + model_p_no_decision as double) else p_lose end as told_p_lose
    from worded
),

final as (
    select
        told.opportunity_id,
        told.name,
        told.account_name,
        told.owner_id,
        told.owner_name,
        told.manager_id,
        told.manager_name,
        told.segment,
        told.opportunity_type,
        told.stage,
        told.forecast_category,
        told.verdict,
        told.is_troubled,
        told.top_signal,
        case
            when told.verdict = 'de_resource' then told.rules_text
            when told.top_signal is not null then told.what_is_wrong
            when told.close_date < {{ as_of_date() }} then 'The close date has passed: date it again'
            when told.told_p_win is null then 'No signal fires; how deals like it end is not known yet'
            when told.told_p_lose > told.told_p_win
                then 'No signal fires, but the chance is low: within {{ deal_horizon() }} days it is more likely to be lost than won, '
                    || case when told.is_modelled then 'by the outcome model' else 'as deals in the same state were' end
            else 'Nothing is out of the ordinary'
        end as reason,
        case
            when told.verdict = 'de_resource' then 'Stop working on it and tell the buyer how to come back'
            when told.verdict = 'extra_effort' then told.what_helps
            else told.what_to_do
        end as next_action,
        told.requested_function,
        case
            when told.verdict = 'de_resource' then coalesce(
                'Comes back when the buyer acts: ' || told.what_to_do, 'Comes back when the buyer asks for the next step'
            )
        end as reentry_condition,
        case
            when told.is_modelled then 'model'
            when told.p_win is not null then 'pooled'
        end as p_method,
        case
            when told.is_modelled
                then 'the outcome model, which told earlier quarters better than pooled rates did (forecast_accuracy.outcome_models)'
            when told.p_win is null
                then 'not enough data: no earlier review in this stage whose outcome is known, or no deal that was reviewed has ended'
            else 'what deals in the same stage, as long in it and as troubled, came to within the horizon'
        end as p_basis,
        told.amount,
        told.told_p_win as p_win,
        told.told_p_slip as p_slip,
        told.told_p_lose as p_lose,
        -- Pooled chances do not tell the two apart: what ended is split as pooled rates by stage and time in it split it.
        case
            when told.is_modelled then cast(told.model_p_no_decision as double)
            else told.p_lose * cast(told.model_p_no_decision as double)
                / nullif(cast(told.model_p_lose + told.model_p_no_decision as double), 0)
        end as p_no_decision,
        cast(told.p_win_quarter as double) as p_win_this_period,
        told.p_win as p_win_pooled,
        told.told_p_win * cast(told.amount as double) as expected_amount,
        told.break_even as p_break_even,
        told.p_to_gain,
        told.amount_to_gain,
        told.points as attention_points,
        cast(told.effort_norm as double) as hours_to_go,
        case when told.verdict = 'de_resource' then cast(told.effort_norm as double) end as hours_to_release,
        told.dropped_share as guardrail_share,
        cast(told.p_n as bigint) as p_n,
        told.signal_count,
        cast(told.rule_count as bigint) as rules_met,
        cast(told.rules_required as bigint) as rules_required,
        coalesce(told.required_count, 0) as required_count,
        coalesce(told.verified_count, 0) as verified_count,
        coalesce(told.claimed_count, 0) as claimed_count,
        coalesce(told.unknown_count, 0) as unknown_count,
        requests.open_count as function_open_requests,
        cast(told.place as bigint) as rank_in_team,
        cast({{ deal_horizon() }} as bigint) as horizon_days,
        told.close_date,
        {{ as_of_date() }} as as_of_date
    from told
    left join requests on told.requested_function = requests.function
)

select * from final
