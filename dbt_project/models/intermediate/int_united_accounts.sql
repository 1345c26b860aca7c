with crosswalk as (
    select * from {{ ref('int_account_crosswalk') }}
),

versions as (
    {{- known_versions('accounts', as_entered=true) }}
),

-- An account that was ever known is no mistake of the policy, whatever the day that is told.
accounts as (
    select
        account_id,
        max_by(
            name, case when _operation = 'upsert' and cast(_known_at as date) <= {{ as_of_date() }} then _known_at end
        ) as name
    from versions
    group by account_id
),

final as (
    select
        crosswalk.source,
        crosswalk.entered_account_id,
        crosswalk.same_as_source,
        crosswalk.entered_same_as_account_id,
        crosswalk.account_id,
        crosswalk.into_account_id,
        united.name,
        standing.name as into_account_name,
        coalesce(
            crosswalk.problem,
            case when united.account_id is null then crosswalk.source || ' has no account ' || crosswalk.entered_account_id end,
            case
                when standing.account_id is null
                    then crosswalk.same_as_source || ' has no account ' || crosswalk.entered_same_as_account_id
            end
        ) as problem
    from crosswalk
    left join accounts as united on crosswalk.account_id = united.account_id
    left join accounts as standing on crosswalk.into_account_id = standing.account_id
)

select * from final
