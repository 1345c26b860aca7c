select
    {{ typed_columns('extract', 'opportunity_team') }}
from {{ source('extract', 'opportunity_team') }} as landed
