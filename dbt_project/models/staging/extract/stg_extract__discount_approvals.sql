select
    {{ typed_columns('extract', 'discount_approvals') }}
from {{ source('extract', 'discount_approvals') }} as landed
