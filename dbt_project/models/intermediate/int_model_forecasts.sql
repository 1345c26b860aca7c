-- What the outcome model said each period would bring, in quarters in which it was in use.
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
from {{ ref('stg_predictions__forecasts') }}
