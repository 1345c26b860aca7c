select
    {{ typed_columns('extract', 'targets') }}
from {{ source('extract', 'targets') }} as landed
