select
    {{ typed_columns('extract', 'accounts') }}
from {{ source('extract', 'accounts') }} as landed
