-- A pair may be associated in several ways; it is one as long as one of them is left, and its role is that of a label that names one.
with landed as (
    {{ landed_as_known('hubspot', 'associations') }}
),

roles as (
    select
        from_id,
        to_id,
        max({{ contract_word('hubspot', 'associations', 'label', 'opportunity_contacts', 'buying_role') }}) as buying_role
    from landed
    where from_type = 'deals' and to_type = 'contacts' and _operation = 'upsert'
    group by from_id, to_id
),

final as (
    select
        associations.from_id as opportunity_id,
        associations.to_id as contact_id,
        roles.buying_role,
        associations._batch_id,
        case when roles.from_id is null then associations._operation else 'upsert' end as _operation,
        associations._extracted_at,
        -- HubSpot does not say since when.
        associations._extracted_at as _known_at
    from {{ source('hubspot', 'associations') }} as associations
    left join roles on associations.from_id = roles.from_id and associations.to_id = roles.to_id
    where associations.from_type = 'deals' and associations.to_type = 'contacts'
)

select
    opportunity_id,
    contact_id,
    buying_role,
    {{ load_columns('hubspot') }}
from final
