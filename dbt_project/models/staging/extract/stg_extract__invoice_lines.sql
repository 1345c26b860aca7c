select
    {{ typed_columns('extract', 'invoice_lines') }}
from {{ source('extract', 'invoice_lines') }} as landed
