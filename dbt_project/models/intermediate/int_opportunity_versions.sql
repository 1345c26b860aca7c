with versions as (
    select * from {{ ref('int_opportunities_versions') }}
),

stages as (
    select * from {{ ref('core_stages') }}
),

-- What the newest row says, as everywhere.
created as (
    select
        opportunity_id,
        created_at
    from versions
    where _operation = 'upsert'
    qualify row_number() over (partition by opportunity_id order by _known_at desc, _batch_id desc) = 1
),

with_previous as (
    select
        versions.*,
        lag(_extracted_at) over (partition by opportunity_id order by _extracted_at, _batch_id) as previous_at
    from versions
),

-- Nothing about a row changed between its last update and the extract that found it; that lies after the extract before.
dated as (
    select
        with_previous.*,
        coalesce(updated_at <= _extracted_at and (previous_at is null or updated_at > previous_at), false) as is_dated
    from with_previous
),

seen as (
    select
        dated.*,
        case when is_dated then updated_at else _extracted_at end as seen_at
    from dated
),

final as (
    select
        seen.opportunity_id,
        seen.stage,
        seen.amount,
        seen.currency,
        seen.forecast_category,
        seen.owner_id,
        seen.competitor,
        seen.next_step,
        seen._source,
        seen._batch_id,
        seen._operation,
        seen._operation = 'delete' or coalesce(seen.is_deleted, false) as is_deleted,
        coalesce(not stages.is_open, false) as is_closed,
        seen.is_dated,
        seen.close_date,
        created.created_at,
        seen._extracted_at,
        seen.seen_at,
        case
            when
                not stages.is_open
                and coalesce(seen.closed_at, cast(seen.close_date as timestamp)) < seen.seen_at
                and (seen.previous_at is null or coalesce(seen.closed_at, cast(seen.close_date as timestamp)) > seen.previous_at)
                then coalesce(seen.closed_at, cast(seen.close_date as timestamp))
        end as closed_since
    from seen
    inner join created on seen.opportunity_id = created.opportunity_id
    left join stages on seen.stage = stages.stage
)

select * from final
