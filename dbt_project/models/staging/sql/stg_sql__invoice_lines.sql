select
    {{ typed_columns('sql', 'invoice_lines') }}
from {{ source('sql', 'invoice_lines') }} as landed
