-- What moves the chance of each open deal most.
select
    opportunity_id,
    factor,
    value,
    won_median,
    contribution,
    rank
from {{ ref('stg_predictions__factors') }}
