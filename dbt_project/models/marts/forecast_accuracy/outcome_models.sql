with models as (
    select * from {{ ref('int_outcome_models') }}
),

final as (
    select
        method,
        reason,
        calibration,
        model_version,
        nullif(features_refused, '') as features_refused,
        feature_count,
        closed_deals,
        pairs,
        n,
        model_brier,
        stage_age_brier,
        model_log_loss,
        stage_age_log_loss,
        common_shock,
        quarter_start,
        {{ as_of_date() }} as as_of_date
    from models
)

select * from final
