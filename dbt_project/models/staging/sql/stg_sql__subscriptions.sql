select
    {{ typed_columns('sql', 'subscriptions') }}
from {{ source('sql', 'subscriptions') }} as landed
