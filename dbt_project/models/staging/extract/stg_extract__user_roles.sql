select
    {{ typed_columns('extract', 'user_roles') }}
from {{ source('extract', 'user_roles') }} as landed
