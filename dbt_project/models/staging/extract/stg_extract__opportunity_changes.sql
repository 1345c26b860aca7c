select
    {{ typed_columns('extract', 'opportunity_changes') }}
from {{ source('extract', 'opportunity_changes') }} as landed
