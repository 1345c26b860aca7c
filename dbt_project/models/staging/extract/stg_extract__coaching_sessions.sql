select
    {{ typed_columns('extract', 'coaching_sessions') }}
from {{ source('extract', 'coaching_sessions') }} as landed
