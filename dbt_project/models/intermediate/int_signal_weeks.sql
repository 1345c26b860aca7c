{{ config(materialized='table') }}
{%- set policy = policy_rows('signals') %}
{#- Of each signal: when it fires, its value, and the norm it is held against. `below` tells which side of the norm is wrong. #}
{%- set signals = {
    'stalled': ('days_in_stage > stage_days_norm and days_in_stage >= minimum', 'days_in_stage', 'stage_days_norm'),
    'repeated_push': (
        'push_count > 0 and (push_count > pushes_norm or push_days > push_cycle_share * cycle_norm) and push_count >= minimum',
        'push_count', 'pushes_norm'),
    'impossible_date': ('days_to_close >= 0 and days_to_close < remaining_norm', 'days_to_close', 'remaining_norm'),
    'overdue': ('days_to_close < -minimum', '-days_to_close', 'minimum'),
    'quiet': ('has_activities and quiet_days > quiet_norm and quiet_days >= minimum', 'quiet_days', 'quiet_norm'),
    'ghosted': ('has_activities and unanswered_count >= minimum and inbound_days > inbound_norm', 'inbound_days', 'inbound_norm'),
    'single_threaded': ('has_activities and engaged_count < engaged_norm', 'engaged_count', 'engaged_norm'),
    'no_power': (
        'has_contacts and economic_buyer_count = 0 and economic_buyer_share >= economic_buyer_expected',
        'economic_buyer_share', 'economic_buyer_expected'),
    'no_next_step': (
        'has_next_steps and booked_count = 0 and next_step_days > next_step_norm and next_step_days >= minimum',
        'next_step_days', 'next_step_norm'),
    'unqualified': (
        'has_qualifications and assessed_share >= 0.5 and required_count - verified_count - claimed_count >= minimum and days_in_stage >= window_days',
        'required_count - verified_count - claimed_count', 'minimum'),
    'regression': ('regression_count > 0', 'regression_count', '0'),
    'value_erosion': ('amount_kept_share < amount_kept_expected', 'amount_kept_share', 'amount_kept_expected'),
    'competitor': ('has_unanswered_competitor', '1', '0'),
    'no_technical_proof': (
        'has_activities and not has_specialist and specialist_share >= specialist_expected', 'specialist_share', 'specialist_expected'),
    'handover': ('owner_days < window_days and not has_new_owner_met', 'owner_days', 'window_days'),
} %}
with weeks as (
    select * from {{ ref('int_deal_weeks') }}
    where stage is not null
),

norms as (
    select * from {{ ref('int_deal_norms') }}
),

calendar as (
    select * from {{ ref('calendar') }}
),

policy as (
    select * from {{ ref('signals') }}
    where is_on
),

-- What no source delivers raises no flag.
delivered as (
    select
        (select count(*) from {{ ref('int_activities_known') }}) > 0 as has_activities,
        (select count(*) from {{ ref('int_opportunity_contacts_known') }}) > 0 as has_contacts,
        (select count(*) from {{ ref('int_qualifications_known') }}) > 0 as has_qualifications,
        (
            select count(*) from {{ ref('int_opportunity_events') }} as events
            where events.field = 'next_step'
        ) > 0 as has_next_steps,
        {{ deal_policy('push_cycle_share') }} as push_cycle_share,
        {{ deal_policy('amount_kept_share') }} as amount_kept_expected,
        {{ deal_policy('specialist_expected_share') }} as specialist_expected,
        {{ deal_policy('economic_buyer_expected_share') }} as economic_buyer_expected,
        {{ deal_policy('norm_minimum_deals') }} as norm_minimum
),

-- The narrowest group with enough won deals; the widest one whatever it has.
candidates as (
    select
        weeks.opportunity_id,
        weeks.snapshot_date,
        norms.*,
        norms.n >= delivered.norm_minimum as is_enough
    from weeks
    cross join delivered
    inner join calendar on weeks.snapshot_date = calendar.day
    inner join norms
        on calendar.month_start = norms.month_start
        and weeks.stage = norms.stage
        and norms.segment in (weeks.segment, '')
        and norms.opportunity_type in (weeks.opportunity_type, '')
),

chosen as (
    select * from candidates
    qualify row_number() over (
        partition by opportunity_id, snapshot_date
        order by case when is_enough then 0 else 1 end, case when is_enough then level_order else -level_order end
    ) = 1
),

judged as (
    select
        weeks.*,
        delivered.*,
        chosen.level as norm_level,
        chosen.n as norm_n,
        {%- for norm in ('stage_days', 'pushes', 'remaining', 'quiet', 'inbound', 'engaged', 'next_step', 'cycle') %}
        chosen.{{ norm }}_norm,
        {%- endfor %}
        chosen.economic_buyer_share,
        chosen.specialist_share,
        chosen.assessed_share
    from weeks
    cross join delivered
    left join chosen
        on weeks.opportunity_id = chosen.opportunity_id
        and weeks.snapshot_date = chosen.snapshot_date
),

final as (
    {%- for signal, (condition, value, norm) in signals.items() %}
    select
        judged.opportunity_id,
        '{{ signal }}' as signal,
        judged.segment,
        judged.norm_level,
        cast({{ value }} as double) as value,
        cast({{ norm }} as double) as norm,
        policy.norm_percentile,
        judged.norm_n,
        judged.snapshot_date
    from judged
    inner join policy on policy.signal = '{{ signal }}'
    where {{ condition }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
)

select * from final
