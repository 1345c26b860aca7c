select
    {{ typed_columns('extract', 'account_plan_objectives') }}
from {{ source('extract', 'account_plan_objectives') }} as landed
