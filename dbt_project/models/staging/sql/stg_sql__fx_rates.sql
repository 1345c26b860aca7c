select
    {{ typed_columns('sql', 'fx_rates') }}
from {{ source('sql', 'fx_rates') }} as landed
