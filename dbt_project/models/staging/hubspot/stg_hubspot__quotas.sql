-- A goal in money is the quota of its owner for its period. It is changed in place, so it holds from the start of the period; one that is
-- given to somebody else or another period is gone where it was.
with landed as (
    select * from {{ source('hubspot', 'goal_targets') }}
),

goals as (
    select
        id,
        hubspot_owner_id as user_id,
        cast(substr(hs_start_datetime, 1, 10) as date) as period_start,
        cast(substr(hs_end_datetime, 1, 10) as date) as period_end,
        cast(hs_target_amount as decimal(18, 4)) as amount,
        hs_goal_target_currency_code as currency,
        hs_kpi_unit_type = 'currency' and hubspot_owner_id is not null and hs_target_amount is not null as is_quota,
        {{ load_columns('hubspot') }}
    from landed
),

with_previous as (
    select
        goals.*,
        lag(case when is_quota then user_id end) over in_order as previous_user_id,
        lag(period_start) over in_order as previous_start,
        lag(period_end) over in_order as previous_end
    from goals
    window in_order as (partition by id order by _extracted_at, _batch_id)
),

final as (
    select
        user_id,
        period_start,
        period_end,
        amount,
        currency,
        _source,
        _batch_id,
        _operation,
        _extracted_at,
        _known_at
    from with_previous
    where _operation = 'upsert' and is_quota
    union all
    select
        previous_user_id as user_id,
        previous_start as period_start,
        previous_end as period_end,
        cast(null as decimal(18, 4)) as amount,
        cast(null as string) as currency,
        _source,
        _batch_id,
        'delete' as _operation,
        _extracted_at,
        _extracted_at as _known_at
    from with_previous
    where
        previous_user_id is not null
        and (
            _operation = 'delete' or not coalesce(is_quota, false)
            or (user_id, period_start, period_end) != (previous_user_id, previous_start, previous_end)
        )
)

select
    user_id,
    period_start,
    period_end,
    period_start as effective_from,
    amount,
    currency,
    _source,
    _batch_id,
    _operation,
    _extracted_at,
    _known_at
from final
