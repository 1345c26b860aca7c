select
    {{ typed_columns('extract', 'fx_rates') }}
from {{ source('extract', 'fx_rates') }} as landed
