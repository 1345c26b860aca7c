{%- set engaged_days = policy_constant('engaged_days', 'key_account_policy') | float | int %}
{%- set relationship_days = policy_constant('relationship_days', 'key_account_policy') | float | int %}
{%- set seniorities = ['c_level', 'vp', 'director', 'manager', 'individual'] %}
{%- set words = "'" ~ seniorities | join("', '") ~ "'" %}
with facts as (
    select * from {{ ref('int_key_account_facts') }}
),

contacts as (
    select
        known.contact_id,
        known.account_id,
        case when known.seniority in ({{ words }}) then known.seniority else 'unknown' end as seniority,
        coalesce(known.business_function, 'unknown') as business_function
    from {{ ref('int_contacts_known') }} as known
    inner join facts on known.account_id = facts.account_id
    where not known._is_deleted and coalesce(known.is_active, true)
),

engagements as (
    select
        contact_id,
        max(cast(occurred_at as date)) as last_engaged_on
    from {{ ref('int_activities_known') }}
    where
        not _is_deleted
        and cast(occurred_at as date) <= {{ as_of_date() }}
        and coalesce(direction, 'unknown') != 'internal'
        and (direction = 'inbound' or (activity_type in ('meeting', 'demo') and coalesce(is_completed, false)))
        and contact_id in (select contacts.contact_id from contacts)
    group by contact_id
),

seniorities as (
    {%- for seniority in seniorities %}
    select
        '{{ seniority }}' as seniority,
        {{ loop.index }} as seniority_rank
    union all
    {%- endfor %}
    select
        'unknown' as seniority,
        {{ seniorities | length + 1 }} as seniority_rank
    from contacts
    where seniority = 'unknown'
    group by seniority
),

business_functions as (
    select distinct business_function from contacts
),

counted as (
    select
        contacts.account_id,
        contacts.seniority,
        contacts.business_function,
        count(*) as contact_count,
        count(
            case when engagements.last_engaged_on > {{ add_days(as_of_date(), -engaged_days) }} then 1 end
        ) as engaged_count,
        count(
            case when engagements.last_engaged_on > {{ add_days(as_of_date(), -relationship_days) }} then 1 end
        ) as relationship_count,
        max(engagements.last_engaged_on) as last_engaged_on
    from contacts
    left join engagements on contacts.contact_id = engagements.contact_id
    group by contacts.account_id, contacts.seniority, contacts.business_function
),

final as (
    select
        facts.account_id,
        facts.account_name,
        facts.manager_id,
        facts.standing,
        seniorities.seniority,
        business_functions.business_function,
        cast(seniorities.seniority_rank as bigint) as seniority_rank,
        coalesce(counted.contact_count, 0) as contact_count,
        coalesce(counted.engaged_count, 0) as engaged_count,
        coalesce(counted.relationship_count, 0) as relationship_count,
        counted.last_engaged_on,
        {{ as_of_date() }} as as_of_date
    from facts
    cross join seniorities
    cross join business_functions
    left join counted
        on facts.account_id = counted.account_id
        and seniorities.seniority = counted.seniority
        and business_functions.business_function = counted.business_function
)

select * from final
