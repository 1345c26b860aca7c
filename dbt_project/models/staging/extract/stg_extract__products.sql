select
    {{ typed_columns('extract', 'products') }}
from {{ source('extract', 'products') }} as landed
