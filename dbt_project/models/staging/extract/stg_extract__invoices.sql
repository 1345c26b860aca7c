select
    {{ typed_columns('extract', 'invoices') }}
from {{ source('extract', 'invoices') }} as landed
