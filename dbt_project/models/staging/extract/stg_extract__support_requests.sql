select
    {{ typed_columns('extract', 'support_requests') }}
from {{ source('extract', 'support_requests') }} as landed
