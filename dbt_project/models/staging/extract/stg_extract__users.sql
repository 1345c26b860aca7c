select
    {{ typed_columns('extract', 'users') }}
from {{ source('extract', 'users') }} as landed
