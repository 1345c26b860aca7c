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

requests as (
    select
        requests.function,
        count(*) as open_count
    from {{ ref('int_support_requests_known') }} as requests
    where not requests._is_deleted and requests.resolved_at is null
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
        case when verdicts.verdict = 'extra_effort' then fixable.requested_function else wrong.requested_function end as requested_function,
        case when verdicts.is_too_old then 'older than won deals were here; ' else '' end
        || case when verdicts.is_hopeless then 'a chance far below that of the stage; ' else '' end
        || case when verdicts.is_silent then 'pushed again and again, and no answer; ' else '' end
        || case when verdicts.is_weak_segment then 'a segment we seldom win, and required facts unknown; ' else '' end
        || case when verdicts.is_below_break_even then 'the effort that remains costs more than it can bring; ' else '' end
        || case when verdicts.is_executive_unanswered then 'an executive wrote and was not answered; ' else '' end as rules_text
    from verdicts
    inner join {{ ref('opportunities') }} as deals on verdicts.opportunity_id = deals.opportunity_id
    left join predictions on verdicts.opportunity_id = predictions.opportunity_id
    left join policy as wrong on verdicts.top_signal = wrong.signal
    left join policy as fixable on verdicts.top_fixable_signal = fixable.signal
),

final as (
    select
        worded.opportunity_id,
        worded.name,
        worded.account_name,
        worded.owner_id,
        worded.owner_name,
        worded.manager_id,
        worded.manager_name,
        worded.segment,
        worded.opportunity_type,
        worded.stage,
        worded.forecast_category,
        worded.verdict,
        worded.is_troubled,
        worded.top_signal,
        case
            when worded.verdict = 'de_resource' then left(worded.rules_text, length(worded.rules_text) - 2)
            when worded.verdict = 'on_track' and worded.top_signal is null and worded.p_win is null
                then 'No signal fires; how deals like it end is not known yet'
            when worded.verdict = 'on_track' and worded.top_signal is null then 'Nothing is out of the ordinary'
            else worded.what_is_wrong
        end as reason,
        case
            when worded.verdict = 'de_resource' then 'Stop working on it and tell the buyer how to come back'
            when worded.verdict = 'extra_effort' then worded.what_helps
            else worded.what_to_do
        end as next_action,
        worded.requested_function,
        case
            when worded.verdict = 'de_resource' then coalesce(
                'Comes back when the buyer acts: ' || worded.what_to_do, 'Comes back when the buyer asks for the next step'
            )
        end as reentry_condition,
        case
            when worded.is_modelled then 'model'
            when worded.p_win is not null then 'pooled'
        end as p_method,
        case
            when worded.is_modelled
                then 'the outcome model, which told earlier quarters better than pooled rates did (forecast_accuracy.outcome_models)'
            when worded.p_win is null
                then 'not enough data: no earlier review in this stage whose outcome is known, or no deal that was reviewed has ended'
            else 'what deals in the same stage, as long in it and as troubled, came to within the horizon'
        end as p_basis,
        worded.amount,
        {%- for outcome in ('p_win', 'p_slip') %}
        case when worded.is_modelled then cast(worded.model_{{ outcome }} as double) else worded.{{ outcome }} end as {{ outcome }},
        {%- endfor %}
        case
            when worded.is_modelled then cast(worded.model_p_lose + worded.model_p_no_decision as double) else worded.p_lose
        end as p_lose,
        -- Pooled chances do not tell the two apart: what ended is split as pooled rates by stage and time in it split it.
        case
            when worded.is_modelled then cast(worded.model_p_no_decision as double)
            else worded.p_lose * cast(worded.model_p_no_decision as double)
                / nullif(cast(worded.model_p_lose + worded.model_p_no_decision as double), 0)
        end as p_no_decision,
        cast(worded.p_win_quarter as double) as p_win_this_period,
        worded.p_win as p_win_pooled,
        case when worded.is_modelled then cast(worded.model_p_win as double) else worded.p_win end * cast(worded.amount as double)
            as expected_amount,
        worded.break_even as p_break_even,
        worded.p_to_gain,
        worded.p_to_gain * cast(worded.amount as double) as amount_to_gain,
        worded.points as attention_points,
        cast(worded.effort_norm as double) as hours_to_go,
        case when worded.verdict = 'de_resource' then cast(worded.effort_norm as double) end as hours_to_release,
        worded.dropped_share as guardrail_share,
        cast(worded.p_n as bigint) as p_n,
        worded.signal_count,
        cast(worded.rule_count as bigint) as rules_met,
        cast(worded.rules_required as bigint) as rules_required,
        coalesce(worded.required_count, 0) as required_count,
        coalesce(worded.verified_count, 0) as verified_count,
        coalesce(worded.claimed_count, 0) as claimed_count,
        coalesce(worded.unknown_count, 0) as unknown_count,
        case when worded.requested_function is not null then coalesce(requests.open_count, 0) end as function_open_requests,
        cast(rank() over (
            partition by worded.manager_id
            order by
                case worded.verdict when 'extra_effort' then 1 when 'attention' then 2 when 'de_resource' then 3 else 4 end,
                worded.p_to_gain * cast(worded.amount as double) / greatest(coalesce(worded.effort_norm, 1), 1) desc nulls last,
                worded.opportunity_id
        ) as bigint) as rank_in_team,
        cast({{ deal_horizon() }} as bigint) as horizon_days,
        worded.close_date,
        {{ as_of_date() }} as as_of_date
    from worded
    left join requests on worded.requested_function = requests.function
)

select * from final
