select
    {{ typed_columns('extract', 'account_plans') }}
from {{ source('extract', 'account_plans') }} as landed
