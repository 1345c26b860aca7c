select
    horizon,
    base_rate,
    quarter_start
from {{ source('predictions', 'base_rates') }}
