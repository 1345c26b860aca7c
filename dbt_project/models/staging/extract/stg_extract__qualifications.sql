select
    {{ typed_columns('extract', 'qualifications') }}
from {{ source('extract', 'qualifications') }} as landed
