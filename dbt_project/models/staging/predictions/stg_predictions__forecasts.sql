select
    period_type,
    scope_type,
    scope_id,
    weeks_before_end,
    forecast_amount,
    low,
    high,
    period_start,
    forecast_on
from {{ source('predictions', 'forecasts') }}
