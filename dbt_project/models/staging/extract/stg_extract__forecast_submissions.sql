select
    {{ typed_columns('extract', 'forecast_submissions') }}
from {{ source('extract', 'forecast_submissions') }} as landed
