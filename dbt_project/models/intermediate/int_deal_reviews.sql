{{ config(materialized=growing(), pre_hook="{{ take_out(is_live_review()) }}") }}
-- Each review of an open deal beside the norm it is held against: the narrowest group with enough won deals.
with weeks as (
    select * from {{ ref('int_deal_weeks') }}
    where stage is not null and {{ is_live_review() }}
),

norms as (
    select * from {{ ref('int_deal_norms') }}
),

calendar as (
    select * from {{ ref('calendar') }}
),

-- The widest group is taken whatever it has.
candidates as (
    select
        weeks.opportunity_id,
        weeks.snapshot_date,
        norms.*,
        norms.n >= {{ deal_policy('norm_minimum_deals') }} as is_enough
    from weeks
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

final as (
    select
        weeks.opportunity_id,
        weeks.owner_id,
        weeks.manager_id,
        weeks.segment,
        weeks.opportunity_type,
        weeks.stage,
        weeks.forecast_category,
        weeks.amount,
        weeks.age_days,
        weeks.days_in_stage,
        weeks.days_to_close,
        weeks.quiet_days,
        weeks.unanswered_days,
        weeks.unanswered_count,
        weeks.buyer_count,
        weeks.economic_buyer_count,
        weeks.push_count,
        weeks.push_days,
        weeks.next_step_days,
        weeks.booked_count,
        weeks.regression_count,
        weeks.required_count,
        weeks.verified_count,
        weeks.claimed_count,
        weeks.amount_kept_share,
        weeks.hours_spent,
        weeks.hours_in_all,
        weeks.has_effort,
        weeks.is_executive_unanswered,
        weeks.has_specialist,
        weeks.has_unanswered_competitor,
        weeks.owner_days,
        weeks.has_new_owner_met,
        weeks.is_won,
        weeks.is_open,
        weeks.cycle_days,
        weeks.close_date,
        weeks.dated_quarter_end,
        weeks.closed_on,
        weeks.snapshot_date,
        calendar.month_start,
        chosen.level as norm_level,
        chosen.n as norm_n,
        {%- for norm in (
            'stage_days', 'pushes', 'remaining', 'quiet', 'unanswered', 'buyer', 'next_step', 'cycle', 'silence', 'age', 'effort',
        ) %}
        chosen.{{ norm }}_norm,
        {%- endfor %}
        chosen.economic_buyer_share,
        chosen.specialist_share,
        chosen.assessed_share,
        -- How long it has been in the stage, in halves of what is long for a deal that is won.
        case
            when chosen.stage_days_norm is null or weeks.days_in_stage is null then 'unknown'
            when 2 * weeks.days_in_stage <= chosen.stage_days_norm then 'early'
            when weeks.days_in_stage <= chosen.stage_days_norm then 'usual'
            when weeks.days_in_stage <= 2 * chosen.stage_days_norm then 'late'
            else 'very late'
        end as stage_time
    from weeks
    inner join calendar on weeks.snapshot_date = calendar.day
    left join chosen
        on weeks.opportunity_id = chosen.opportunity_id
        and weeks.snapshot_date = chosen.snapshot_date
)

select * from final
