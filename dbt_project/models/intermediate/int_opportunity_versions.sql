with versions as (
    {{- known_versions('opportunities') }}
),

stages as (
    select * from {{ ref('core_stages') }}
),

created as (
    select
        opportunity_id,
        max_by(created_at, _batch_id) as created_at
    from versions
    where _operation = 'upsert'
    group by opportunity_id
),

-- Nothing about a row changed between its last update and the extract that found it.
dated as (
    select
        versions.*,
        case when versions.updated_at <= versions._extracted_at then versions.updated_at else versions._extracted_at end as seen_at
    from versions
),

final as (
    select
        dated.opportunity_id,
        dated.stage,
        dated.amount,
        dated.currency,
        dated.forecast_category,
        dated.owner_id,
        dated._batch_id,
        dated._operation,
        dated._operation = 'delete' or coalesce(dated.is_deleted, false) as is_deleted,
        coalesce(not stages.is_open, false) as is_closed,
        dated.close_date,
        created.created_at,
        dated.seen_at,
        -- A closed stage was reached when the deal closed, not when somebody last touched it.
        case
            when not stages.is_open
                then least(coalesce(dated.closed_at, cast(dated.close_date as timestamp), dated.seen_at), dated.seen_at)
            else dated.seen_at
        end as stage_since
    from dated
    inner join created on dated.opportunity_id = created.opportunity_id
    left join stages on dated.stage = stages.stage
)

select * from final
