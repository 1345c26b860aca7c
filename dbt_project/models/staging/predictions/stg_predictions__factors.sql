select
    opportunity_id,
    factor,
    value,
    won_median,
    contribution,
    rank
from {{ source('predictions', 'factors') }}
