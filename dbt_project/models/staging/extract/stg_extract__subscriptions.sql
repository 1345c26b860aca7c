select
    {{ typed_columns('extract', 'subscriptions') }}
from {{ source('extract', 'subscriptions') }} as landed
