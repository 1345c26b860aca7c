select
    {{ typed_columns('sql', 'customers') }}
from {{ source('sql', 'customers') }} as landed
