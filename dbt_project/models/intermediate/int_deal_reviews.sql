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
        weeks.*,
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
