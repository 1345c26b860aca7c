-- Before the first job that is known a person had that job.
with reps as (
    select * from {{ ref('reps') }}
),

final as (
    select
        rep_id,
        name,
        role,
        region,
        segment,
        row_number() over (partition by rep_id order by valid_from) as job_number,
        role in ('account_executive', 'account_manager', 'development_rep') as is_selling,
        hired_on,
        terminated_on,
        case
            when row_number() over (partition by rep_id order by valid_from) = 1 then least(valid_from, coalesce(hired_on, valid_from))
            else valid_from
        end as since_on,
        valid_to
    from reps
)

select * from final
