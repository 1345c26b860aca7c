select
    {{ typed_columns('extract', 'credit_notes') }}
from {{ source('extract', 'credit_notes') }} as landed
