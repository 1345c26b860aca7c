-- A source that was begun with what its customers had bought knows of nothing that was lost then: wins of that time tell no rate.
with told as (
    select * from {{ ref('int_opportunities_told') }}
),

dated as (
    select
        told.*,
        min(case when (is_lost or is_no_decision) and not is_deleted then closed_on end) over (partition by _source) as losses_from
    from told
),

judged as (
    select
        dated.*,
        coalesce(is_won and not is_deleted and (losses_from is null or closed_on < losses_from), false) as is_alone
    from dated
),

counted as (
    select
        judged.*,
        count(case when is_alone then 1 end) over (partition by _source) as alone_count
    from judged
),

final as (
    select
        opportunity_id,
        name,
        account_id,
        account_name,
        ultimate_parent_id,
        owner_id,
        owner_name,
        manager_id,
        manager_name,
        region,
        segment,
        opportunity_type,
        product_id,
        product_name,
        lead_source,
        stage,
        forecast_category,
        loss_reason,
        competitor,
        currency_source,
        amount,
        amount_source,
        list_amount,
        probability,
        discount_share,
        age_days,
        cycle_days,
        stage_age_days,
        push_count,
        push_days,
        amount_change,
        contact_count,
        team_size,
        is_open,
        is_won,
        is_lost,
        is_no_decision,
        is_alone and alone_count >= {{ deal_policy('wins_without_losses') }} as is_before_losses,
        is_deleted,
        created_on,
        close_date,
        closed_on,
        rate_date,
        as_of_date
    from counted
)

select * from final
