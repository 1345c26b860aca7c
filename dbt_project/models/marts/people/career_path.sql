with people as (
    select * from {{ ref('int_career_levels') }}
),

levels as (
    select * from {{ ref('career_levels') }}
),

criteria as (
    select * from {{ ref('career_criteria') }}
),

statements as (
    select * from {{ ref('talent_statements') }}
),

counted as (
    select
        person_id,
        count(*) as criteria_count,
        count(case when status = 'met' then 1 end) as met_count,
        count(case when status = 'missing' then 1 end) as missing_count,
        count(case when status = 'not_enough_data' then 1 end) as not_told_count,
        min(case when status = 'missing' then criterion_order end) as first_missing
    from criteria
    group by person_id
),

joined as (
    select
        people.*,
        levels.next_role,
        levels.next_level,
        coalesce(counted.criteria_count, 0) as criteria_count,
        coalesce(counted.met_count, 0) as met_count,
        coalesce(counted.missing_count, 0) as missing_count,
        coalesce(counted.not_told_count, 0) as not_told_count,
        counted.first_missing,
        case
            when people.level is null then 'level is not known'
            when levels.next_level is null or counted.criteria_count is null then 'no next level is defined'
        end as reason
    from people
    left join levels on people.role = levels.role and people.level = levels.level
    left join counted on people.person_id = counted.person_id
),

judged as (
    select
        joined.*,
        case
            when reason is not null then 'no_next_level'
            when missing_count > 0 then 'not_yet'
            when not_told_count > 0 or criteria_count < {{ people_policy('career_minimum_criteria') }} then 'not_enough_data'
            else 'ready'
        end as verdict
    from joined
),

final as (
    select
        judged.person_id,
        judged.person_name,
        judged.role,
        judged.manager_id,
        judged.manager_name,
        judged.region,
        case when judged.reason is null then judged.next_role end as next_role,
        judged.verdict,
        case
            when judged.verdict = 'no_next_level' then judged.reason
            when judged.verdict = 'not_enough_data' and judged.not_told_count > 0 then 'a criterion cannot be told'
            when judged.verdict = 'not_enough_data' then 'too few criteria are defined'
        end as reason,
        missing.criterion as first_missing_criterion,
        coalesce(missing.what_to_do, statements.what_to_do) as what_to_do,
        cast(judged.level as bigint) as level,
        cast(case when judged.reason is null then judged.next_level end as bigint) as next_level,
        cast(judged.criteria_count as bigint) as criteria_count,
        cast(judged.met_count as bigint) as met_count,
        cast(judged.missing_count as bigint) as missing_count,
        cast(judged.not_told_count as bigint) as not_told_count,
        cast({{ day_count('judged.in_level_since', as_of_date()) }} as double) / 30.4375 as months_in_level,
        judged.in_level_since,
        {{ as_of_date() }} as as_of_date
    from judged
    left join criteria as missing
        on judged.person_id = missing.person_id
        and judged.first_missing = missing.criterion_order
    left join statements
        on statements.subject = 'career'
        and statements.verdict = case
            when judged.verdict = 'not_enough_data' and judged.not_told_count = 0 then 'too_few_criteria' else judged.verdict
        end
)

select * from final
