{{ config(materialized=growing(), pre_hook="{{ take_out(is_live_review('int_live_flag_months')) }}") }}
{#- Of each signal: when it fires, its value, and the norm it is held against. `below` tells which side of the norm is wrong. #}
{%- set signals = {
    'stalled': (
        '(days_in_stage > stage_days_norm or stage_p_win < stall_share * entry_p_win) and days_in_stage >= minimum',
        'case when days_in_stage > stage_days_norm then days_in_stage else stage_p_win end',
        'case when days_in_stage > stage_days_norm then stage_days_norm else stall_share * entry_p_win end'),
    'repeated_push': (
        'push_count > 0 and (push_count > pushes_norm or push_days > push_cycle_share * cycle_norm) and push_count >= minimum',
        'push_count', 'pushes_norm'),
    'impossible_date': ('days_to_close >= minimum and days_to_close < remaining_norm', 'days_to_close', 'remaining_norm'),
    'overdue': ('days_to_close < -minimum', '-days_to_close', 'minimum'),
    'quiet': ('has_activities and quiet_days > quiet_norm and quiet_days >= minimum', 'quiet_days', 'quiet_norm'),
    'ghosted': (
        'has_activities and unanswered_count >= minimum and unanswered_days > unanswered_norm', 'unanswered_days', 'unanswered_norm'),
    'single_threaded': (
        '(has_activities or has_contacts) and buyer_count <= minimum and buyer_count < buyer_norm and age_days >= window_days', 'buyer_count', 'buyer_norm'),
    'no_power': (
        '(has_contacts or has_qualifications) and economic_buyer_count = 0 and days_in_stage >= window_days and economic_buyer_share >= economic_buyer_expected',
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
    'handover': ('has_activities and owner_days < window_days and not has_new_owner_met', 'owner_days', 'window_days'),
} %}
{#- Where the norm is a limit and no won deal is behind what is told. #}
{%- set limits = {
    'stalled': 'coalesce(days_in_stage <= stage_days_norm, true)', 'overdue': 'true', 'unqualified': 'true',
    'regression': 'true', 'value_erosion': 'true', 'competitor': 'true', 'handover': 'true',
} %}
with reviews as (
    select * from {{ ref('int_deal_reviews') }}
    where {{ is_live_review('int_live_flag_months') }}
),

chances as (
    select * from {{ ref('int_stage_chances') }}
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
        ) + (
            select count(*) from {{ ref('int_loaded_changes') }} as loaded
            where loaded.field = 'next_step'
        ) > 0 as has_next_steps,
        {{ deal_policy('push_cycle_share') }} as push_cycle_share,
        {{ deal_policy('amount_kept_share') }} as amount_kept_expected,
        {{ deal_policy('specialist_expected_share') }} as specialist_expected,
        {{ deal_policy('economic_buyer_expected_share') }} as economic_buyer_expected,
        {{ deal_policy('stall_share') }} as stall_share
),

judged as (
    select
        reviews.*,
        delivered.*,
        chances.p_win as stage_p_win,
        chances.entry_p_win
    from reviews
    cross join delivered
    left join chances
        on reviews.month_start = chances.month_start
        and reviews.stage = chances.stage
        and reviews.opportunity_type = chances.opportunity_type
        and reviews.stage_time = chances.stage_time
),

final as (
    {%- for signal, (condition, value, norm) in signals.items() %}
    select
        judged.opportunity_id,
        '{{ signal }}' as signal,
        judged.segment,
        case when not {{ limits.get(signal, 'false') }} then judged.norm_level end as norm_level,
        cast({{ value }} as double) as value,
        cast({{ norm }} as double) as norm,
        case when not {{ limits.get(signal, 'false') }} then policy.norm_percentile end as norm_percentile,
        case when not {{ limits.get(signal, 'false') }} then judged.norm_n end as norm_n,
        judged.snapshot_date
    from judged
    inner join policy on policy.signal = '{{ signal }}'
    where {{ condition }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
)

select * from final
