select
    {{ typed_columns('sql', 'invoices') }}
from {{ source('sql', 'invoices') }} as landed
