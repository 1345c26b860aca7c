with users as (
    select * from {{ ref('int_users_known') }}
),

job_history as (
    select * from {{ ref('int_user_roles_known') }}
    where not _is_deleted and effective_from <= {{ as_of_date() }}
),

-- Without job history a person has had one job since the day of hiring.
jobs as (
    select
        user_id,
        role,
        level,
        manager_id,
        team,
        region,
        segment,
        effective_from as valid_from
    from job_history
    union all
    select
        users.user_id,
        users.role,
        users.level,
        users.manager_id,
        users.team,
        users.region,
        users.segment,
        coalesce(users.hired_on, cast('1900-01-01' as date)) as valid_from
    from users
    where users.user_id not in (select job_history.user_id from job_history)
),

intervals as (
    select
        jobs.*,
        lead(valid_from) over (partition by user_id order by valid_from) as valid_to
    from jobs
),

final as (
    select
        intervals.user_id as rep_id,
        coalesce(users.name, intervals.user_id) as name,
        lower(nullif(trim(users.email), '')) as email,
        intervals.role,
        intervals.manager_id,
        managers.name as manager_name,
        intervals.team,
        intervals.region,
        intervals.segment,
        intervals.level,
        intervals.valid_to is null as is_current,
        users.hired_on,
        case when users.terminated_on <= {{ as_of_date() }} then users.terminated_on end as terminated_on,
        intervals.valid_from,
        intervals.valid_to
    from intervals
    left join users on intervals.user_id = users.user_id
    left join users as managers on intervals.manager_id = managers.user_id
)

select * from final
