-- HubSpot keeps the values a property had; a change is a value and the one before it. What a deal was created with is no change.
with stages as (
    select
        id,
        {{ repaired('hubspot', 'deal_stages', 'label') }} as stage,
        _batch_id as stage_batch_id
    from ({{ landed_as_known('hubspot', 'deal_stages', keeps_deleted=true) }}) as landed
),

owners as (
    select
        userid as user_id,
        max(id) as owner_id
    from {{ source('hubspot', 'owners') }}
    group by userid
),

-- What the words of a deal mean, they mean in its history too; a stage that was gone before the first load is named here.
words as (
    select
        column_name,
        entered,
        max(meaning) as meaning
    from {{ ref('aliases') }}
    where source = 'hubspot' and table_name = 'deals'
    group by column_name, entered
),

history as (
    select
        landed.*,
        cast(landed.timestamp as timestamp) as changed_at,
        case landed.property
            when 'dealstage' then 'stage'
            when 'closedate' then 'close_date'
            when 'hs_manual_forecast_category' then 'forecast_category'
            when 'hubspot_owner_id' then 'owner_id'
            when 'hs_deal_stage_probability' then 'probability'
            when 'hs_next_step' then 'next_step'
            else landed.property
        end as field
    from ({{ landed_as_known('hubspot', 'deal_property_history') }}) as landed
    where
        landed.property in (
            'dealstage', 'amount', 'closedate', 'hs_manual_forecast_category', 'hubspot_owner_id', 'hs_deal_stage_probability',
            'hs_next_step', 'competitor'
        )
),

worded as (
    select
        history.*,
        coalesce(
            words.meaning,
            stages.stage,
            case when history.field = 'close_date' then substr(history.value, 1, 10) else history.value end
        ) as new_value,
        greatest(history._batch_id, coalesce(stages.stage_batch_id, history._batch_id)) as told_by
    from history
    left join words on history.property = words.column_name and history.value = words.entered
    left join stages on history.field = 'stage' and history.value = stages.id
),

in_order as (
    select
        worded.*,
        lag(new_value) over by_property as old_value,
        row_number() over by_property as place,
        greatest(told_by, coalesce(lag(told_by) over by_property, told_by)) as newest_batch_id,
        min(changed_at) over (partition by deal_id) as created_at
    from worded
    window by_property as (partition by deal_id, property order by changed_at)
),

-- A change is known since its value landed; what was told later about it, a stage's new name, comes with a later batch. Where that makes
-- the two values one, there is no change any more.
landed as (
    select
        concat_ws('-', deal_id, property, timestamp) as change_id,
        deal_id as opportunity_id,
        field,
        old_value,
        new_value,
        changed_at,
        updatedbyuserid,
        newest_batch_id as _batch_id,
        case when (new_value is not distinct from old_value) then 'delete' else _operation end as _operation,
        _extracted_at,
        _known_at
    from in_order
    where place > 1 or changed_at > created_at
)

select
    change_id,
    opportunity_id,
    field,
    old_value,
    new_value,
    changed_at,
    owners.owner_id as changed_by_id,
    {{ load_columns('hubspot') }}
from landed
left join owners on landed.updatedbyuserid = owners.user_id
