select
    {{ typed_columns('extract', 'customers') }}
from {{ source('extract', 'customers') }} as landed
