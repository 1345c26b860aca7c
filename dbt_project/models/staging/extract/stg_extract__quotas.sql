select
    {{ typed_columns('extract', 'quotas') }}
from {{ source('extract', 'quotas') }} as landed
