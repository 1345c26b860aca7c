select
    {{ typed_columns('extract', 'contacts') }}
from {{ source('extract', 'contacts') }} as landed
