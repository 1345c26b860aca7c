select
    {{ typed_columns('extract', 'opportunity_contacts') }}
from {{ source('extract', 'opportunity_contacts') }} as landed
