select
    {{ typed_columns('sql', 'credit_notes') }}
from {{ source('sql', 'credit_notes') }} as landed
