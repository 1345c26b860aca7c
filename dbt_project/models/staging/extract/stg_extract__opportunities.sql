select
    {{ typed_columns('extract', 'opportunities') }}
from {{ source('extract', 'opportunities') }} as landed
