{%- set concerns = policy_rows('key_account_concerns').values() | sort(attribute='rank') %}
with facts as (
    select * from {{ ref('int_key_account_facts') }}
),

findings as (
    select
        account_id,
        count(case when kind = 'concern' then 1 end) as concern_count,
        min_by(case when kind = 'concern' then concern end, case when kind = 'concern' then rank end) as top_concern,
        {%- for words, (kind, column, separator) in {
            'concerns': ('concern', 'concern', ', '),
            'what_is_wrong': ('concern', 'what_is_wrong', '; '),
            'what_to_do': ('concern', 'what_to_do', '; '),
            'strengths': ('strength', 'concern', ', '),
        }.items() %}
        nullif(concat_ws(
            '{{ separator }}'
            {%- for row in concerns | selectattr('kind', 'equalto', kind) %},
            max(case when concern = '{{ row.concern }}' then {{ column }} end)
            {%- endfor %}
        ), '') as {{ words }}{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ ref('key_account_findings') }}
    group by account_id
),

final as (
    select
        facts.account_id,
        facts.account_name,
        facts.segment,
        facts.region,
        facts.manager_id,
        facts.manager_name,
        facts.standing,
        findings.top_concern,
        findings.concerns,
        findings.what_is_wrong,
        findings.what_to_do,
        findings.strengths,
        facts.growth_reason,
        facts.wallet_source,
        facts.plan_id,
        facts.executive_sponsor_id,
        facts.executive_sponsor_name,
        facts.sponsor_reason,
        coalesce(findings.concern_count, 0) as concern_count,
        facts.score,
        cast(facts.arr as decimal(18, 4)) as arr,
        cast(facts.arr_year_ago as decimal(18, 4)) as arr_year_ago,
        facts.nrr - 1 as growth,
        facts.nrr,
        facts.grr,
        facts.addressable_spend,
        facts.wallet_share,
        facts.engaged_contact_count,
        facts.engaged_senior_count,
        facts.engaged_function_count,
        facts.relationship_contact_count,
        facts.relationship_senior_count,
        facts.meeting_count,
        facts.value_meeting_count,
        facts.proactive_meeting_count,
        facts.proactive_share,
        {{ wilson('facts.proactive_share', 'cast(facts.meeting_count as double)', -1) }} as proactive_share_low,
        {{ wilson('facts.proactive_share', 'cast(facts.meeting_count as double)', 1) }} as proactive_share_high,
        facts.initiated_share,
        {{ wilson('facts.initiated_share', 'cast(facts.value_meeting_count as double)', -1) }} as initiated_share_low,
        {{ wilson('facts.initiated_share', 'cast(facts.value_meeting_count as double)', 1) }} as initiated_share_high,
        facts.objective_count,
        facts.objectives_met_count,
        facts.objectives_met_share,
        {{ wilson('facts.objectives_met_share', 'cast(facts.objective_count as double)', -1) }} as objectives_met_share_low,
        {{ wilson('facts.objectives_met_share', 'cast(facts.objective_count as double)', 1) }} as objectives_met_share_high,
        facts.relationship_contact_count <= 1 as has_single_relationship,
        facts.has_sponsor_meeting,
        facts.wallet_estimated_on,
        facts.last_engaged_on,
        facts.last_sponsor_meeting_on,
        {{ as_of_date() }} as as_of_date
    from facts
    left join findings on facts.account_id = findings.account_id
)

select * from final
