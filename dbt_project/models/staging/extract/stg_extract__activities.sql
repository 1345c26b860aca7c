select
    {{ typed_columns('extract', 'activities') }}
from {{ source('extract', 'activities') }} as landed
