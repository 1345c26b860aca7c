-- The method each quarter was told with, and how both did.
select
    method,
    reason,
    calibration,
    model_version,
    data_hash,
    features_refused,
    feature_count,
    closed_deals,
    pairs,
    n,
    model_brier,
    stage_age_brier,
    model_log_loss,
    stage_age_log_loss,
    common_shock,
    quarter_start
from {{ ref('stg_predictions__models') }}
