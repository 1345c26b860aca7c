with verdicts as (
    select
        verdicts.*,
        -- What is at stake times what can still be changed; a deal that is to be dropped frees what it would cost.
        case
            when verdicts.verdict = 'de_resource' then coalesce(verdicts.effort_norm, 0) * {{ deal_policy('hour_cost') }}
            else verdicts.p_to_gain * cast(verdicts.amount as double)
        end as amount_to_gain
    from {{ ref('int_deal_verdicts') }} as verdicts
    where verdicts.verdict != 'on_track' or verdicts.signal_count > 0
),

policy as (
    select * from {{ ref('signals') }}
),

fired as (
    select
        fired.opportunity_id,
        fired.signal,
        fired.value,
        fired.norm,
        fired.norm_n,
        fired.snapshot_date
    from {{ ref('int_signal_weeks') }} as fired
),

ranked as (
    select
        verdicts.*,
        row_number() over (
            partition by manager_id, snapshot_date
            order by
                case when verdict = 'on_track' then 1 else 0 end asc,
                coalesce(amount_to_gain, 0) desc,
                coalesce(amount, 0) desc,
                opportunity_id asc
        ) as place,
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
        coalesce(policy.what_is_wrong, 'The rules for letting a deal go are met') as why,
        coalesce(
            policy.signal || ': ' || cast(floor(fired.value * 100 + 0.5) / 100 as string)
            || ' against ' || cast(floor(fired.norm * 100 + 0.5) / 100 as string)
            || coalesce(' in ' || cast(fired.norm_n as string) || ' won deals', ''),
            cast(ranked.rule_count as string) || ' rules met'
        ) as evidence,
        coalesce(policy.coaching_question, 'What would have to happen for this deal to be worth our time again?') as coaching_question,
        coalesce(policy.drill, 'Letting a deal go') as suggested_drill,
        coalesce(policy.what_to_do, 'Stop working on it and tell the buyer how to come back') as what_to_do,
        ranked.amount,
        ranked.p_win,
        ranked.amount_to_gain,
        cast(ranked.place as bigint) as place,
        ranked.deals_in_need,
        ranked.snapshot_date as review_on,
        {{ as_of_date() }} as as_of_date
    from ranked
    left join policy on ranked.top_signal = policy.signal
    left join fired
        on ranked.opportunity_id = fired.opportunity_id
        and ranked.snapshot_date = fired.snapshot_date
        and ranked.top_signal = fired.signal
    where ranked.place <= {{ deal_policy('agenda_length') }}
)

select * from final
