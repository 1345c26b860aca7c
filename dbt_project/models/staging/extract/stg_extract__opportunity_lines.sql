select
    {{ typed_columns('extract', 'opportunity_lines') }}
from {{ source('extract', 'opportunity_lines') }} as landed
