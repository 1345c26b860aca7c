{{ config(materialized='table') }}
with reps as (
    select * from {{ ref('reps') }}
),

people as (
    select * from reps
    where
        is_current
        and terminated_on is null
        and valid_from <= {{ as_of_date() }}
        and coalesce(hired_on <= {{ as_of_date() }}, true)
),

-- Another job or level ends what came before it.
other_levels as (
    select
        reps.rep_id,
        max(reps.valid_to) as other_until
    from reps
    inner join people on reps.rep_id = people.rep_id
    where reps.role != people.role or coalesce(reps.level, -1) != coalesce(people.level, -1)
    group by reps.rep_id
),

since as (
    select
        reps.rep_id,
        min(reps.valid_from) as valid_from
    from reps
    left join other_levels on reps.rep_id = other_levels.rep_id
    where other_levels.other_until is null or reps.valid_from >= other_levels.other_until
    group by reps.rep_id
),

final as (
    select
        people.rep_id as person_id,
        people.name as person_name,
        people.role,
        people.level,
        people.manager_id,
        people.manager_name,
        people.region,
        case
            when people.hired_on is null and since.valid_from = cast('1900-01-01' as date) then null
            else greatest(since.valid_from, coalesce(people.hired_on, since.valid_from))
        end as in_level_since
    from people
    inner join since on people.rep_id = since.rep_id
)

select * from final
