with reviews as (
    select
        key_account_reviews.*,
        max(reviewed_on) over () as last_reviewed_on
    from {{ ref('key_account_reviews') }} as key_account_reviews
),

accounts as (
    select * from {{ ref('accounts') }}
),

stays as (
    select
        reviews.*,
        max(case when reviewed_on = entered_on then score end) over (partition by account_id, entered_on) as entry_score,
        row_number() over (partition by account_id, entered_on order by reviewed_on desc) as reviews_left
    from reviews
    where entered_on is not null
),

told as (
    select
        account_id,
        account_name,
        case when left_on is null then 'on_list' else 'left' end as standing,
        manager_id,
        manager_name,
        reason,
        rules_passed,
        rules_failed,
        rules_unknown,
        arr,
        score,
        attractiveness,
        relationship,
        entry_score,
        place,
        left_on is null as is_on_list,
        entered_on,
        left_on,
        reviewed_on,
        entered_on as valid_from,
        left_on as valid_to
    from stays
    where reviews_left = 1
    union all
    select
        account_id,
        account_name,
        standing,
        manager_id,
        manager_name,
        reason,
        rules_passed,
        rules_failed,
        rules_unknown,
        arr,
        score,
        attractiveness,
        relationship,
        cast(null as double) as entry_score,
        place,
        false as is_on_list,
        cast(null as date) as entered_on,
        cast(null as date) as left_on,
        reviewed_on,
        reviewed_on as valid_from,
        cast(null as date) as valid_to
    from reviews
    where reviewed_on = last_reviewed_on and is_reviewed and not is_key
),

final as (
    select
        told.account_id,
        told.account_name,
        accounts.ultimate_parent_id,
        accounts.ultimate_parent_name,
        accounts.segment,
        accounts.region,
        told.manager_id,
        told.manager_name,
        told.standing,
        told.reason,
        told.rules_passed,
        told.rules_failed,
        told.rules_unknown,
        told.arr,
        told.score,
        told.attractiveness,
        told.relationship,
        told.entry_score,
        told.place,
        told.is_on_list,
        told.entered_on,
        told.left_on,
        told.reviewed_on,
        told.valid_from,
        told.valid_to,
        {{ as_of_date() }} as as_of_date
    from told
    left join accounts on told.account_id = accounts.account_id
)

select * from final
