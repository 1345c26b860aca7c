select
    {{ typed_columns('sql', 'targets') }}
from {{ source('sql', 'targets') }} as landed
