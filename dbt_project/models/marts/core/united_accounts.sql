with united as (
    select * from {{ ref('int_united_accounts') }}
),

final as (
    select
        cast(row_number() over (order by source, entered_account_id, same_as_source, entered_same_as_account_id) as bigint)
            as line_number,
        source,
        entered_account_id as source_account_id,
        account_id,
        name,
        same_as_source,
        entered_same_as_account_id as same_as_source_account_id,
        into_account_id as same_as_account_id,
        into_account_name as same_as_name,
        problem,
        {{ as_of_date() }} as as_of_date
    from united
)

select * from final
