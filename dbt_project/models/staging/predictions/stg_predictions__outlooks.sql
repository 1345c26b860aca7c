select
    period_type,
    scope_type,
    scope_id,
    method,
    booked,
    from_open_deals,
    from_new_deals,
    median,
    p10,
    p90,
    common_shock,
    reason,
    period_start,
    period_end
from {{ source('predictions', 'outlooks') }}
