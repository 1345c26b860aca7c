-- Of several roles of one contact on one deal the primary one counts, else the first; one that is still there before one that is gone.
with landed as (
    select
        roles.*,
        {{ kept('OpportunityId') }} as opportunity_id,
        {{ last_known('ContactId') }} over up_to_now as contact_id
    from {{ source('salesforce', 'OpportunityContactRole') }} as roles
    window up_to_now as (partition by Id order by _known_at, _batch_id)
),

newest as (
    select * from landed
    where {{ is_landed_by_then() }}
    qualify row_number() over (partition by Id order by _known_at desc, _batch_id desc) = 1
),

first_roles as (
    select Id from newest
    qualify row_number() over (
        partition by opportunity_id, contact_id
        order by
            case when _operation = 'upsert' then 0 else 1 end asc,
            case when {{ is_true('IsPrimary') }} then 0 else 1 end asc,
            Id asc
    ) = 1
),

-- A role that was given to another contact is gone for the one before.
handed_on as (
    select
        landed.*,
        lag(contact_id) over (partition by Id order by _known_at, _batch_id) as previous_contact_id
    from landed
),

final as (
    select
        opportunity_id,
        contact_id,
        {{ contract_word('salesforce', 'OpportunityContactRole', 'Role', 'opportunity_contacts', 'buying_role') }} as buying_role,
        CreatedDate as added_at,
        _batch_id,
        _operation,
        _extracted_at,
        _known_at
    from landed
    where Id in (select first_roles.Id from first_roles)
    union all
    select
        opportunity_id,
        previous_contact_id as contact_id,
        cast(null as string) as buying_role,
        CreatedDate as added_at,
        _batch_id,
        'delete' as _operation,
        _extracted_at,
        _known_at
    from handed_on
    where previous_contact_id != contact_id
)

select
    opportunity_id,
    contact_id,
    buying_role,
    cast(added_at as timestamp) as added_at,
    {{ load_columns('salesforce') }}
from final
