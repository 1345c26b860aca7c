{%- set snapshot_fields = ['stage', 'amount', 'close_date', 'forecast_category', 'probability'] -%}
-- OpportunityFieldHistory says what changed; OpportunityHistory says what a deal was after each change, of five fields, and is kept for
-- ever. It tells a field of a deal up to the first change that OpportunityFieldHistory has of it, and no more.
with custom_fields as (
    select
        field,
        column_name
    from {{ ref('source_fields') }}
    where source = 'salesforce' and table_name = 'Opportunity'
),

tracked as (
    select
        landed.Id as change_id,
        landed.OpportunityId as opportunity_id,
        case
            when landed.Field = 'StageName' then 'stage'
            when landed.Field = 'Amount' then 'amount'
            when landed.Field = 'CloseDate' then 'close_date'
            when landed.Field = 'ForecastCategoryName' then 'forecast_category'
            when landed.Field in ('Owner', 'OwnerId') then 'owner_id'
            when landed.Field = 'Probability' then 'probability'
            when landed.Field = 'NextStep' then 'next_step'
            when custom_fields.column_name in ('competitor', 'next_step') then custom_fields.column_name
        end as field,
        landed.OldValue as old_value,
        landed.NewValue as new_value,
        landed.CreatedDate as changed_at,
        landed.CreatedById as changed_by_id,
        landed._batch_id,
        landed._operation,
        landed._extracted_at,
        landed._known_at
    from {{ source('salesforce', 'OpportunityFieldHistory') }} as landed
    left join custom_fields on landed.Field = custom_fields.field
    -- A change of owner is told twice, by name and by id.
    where landed.Field not in ('Owner', 'OwnerId') or landed.NewValue like '005%'
),

told as (
    select
        change_id,
        opportunity_id,
        field,
        {%- for value in ('old_value', 'new_value') %}
        case
            when field = 'stage' then {{ repaired('salesforce', 'Opportunity', 'StageName', 'tracked.' ~ value) }}
            when field = 'forecast_category' then {{ repaired('salesforce', 'Opportunity', 'ForecastCategoryName', 'tracked.' ~ value) }}
            when field = 'probability' then {{ salesforce_share(value) }}
            else {{ value }}
        end as {{ value }},
        {%- endfor %}
        changed_at,
        changed_by_id,
        _batch_id,
        _operation,
        _extracted_at,
        _known_at
    from tracked
    where field is not null
),

first_told as (
    select
        opportunity_id,
        field,
        min(cast(changed_at as timestamp)) as first_at
    from told
    group by opportunity_id, field
),

snapshots as (
    select
        landed.Id as snapshot_id,
        landed.OpportunityId as opportunity_id,
        {{ repaired('salesforce', 'Opportunity', 'StageName') }} as stage,
        landed.Amount as amount,
        substr(landed.CloseDate, 1, 10) as close_date,
        {{ salesforce_forecast_category('landed.ForecastCategory') }} as forecast_category,
        {{ salesforce_share('landed.Probability') }} as probability,
        landed.CreatedDate as changed_at,
        landed.CreatedById as changed_by_id,
        landed._batch_id,
        landed._operation,
        landed._extracted_at,
        landed._known_at
    from {{ source('salesforce', 'OpportunityHistory') }} as landed
    where {{ is_landed_by_then() }}
    qualify row_number() over (partition by landed.Id order by landed._known_at desc, landed._batch_id desc) = 1
),

steps as (
    {%- for field in snapshot_fields %}
    select
        snapshot_id,
        opportunity_id,
        '{{ field }}' as field,
        lag({{ field }}) over in_order as old_value,
        {{ field }} as new_value,
        row_number() over in_order as place,
        changed_at,
        changed_by_id,
        _batch_id,
        _operation,
        _extracted_at,
        _known_at
    from snapshots
    window in_order as (partition by opportunity_id order by cast(changed_at as timestamp), snapshot_id)
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

derived as (
    select
        steps.snapshot_id || '-' || steps.field as change_id,
        steps.opportunity_id,
        steps.field,
        steps.old_value,
        steps.new_value,
        steps.changed_at,
        steps.changed_by_id,
        steps._batch_id,
        steps._operation,
        steps._extracted_at,
        steps._known_at
    from steps
    left join first_told on steps.opportunity_id = first_told.opportunity_id and steps.field = first_told.field
    where
        steps.place > 1
        and steps.new_value is distinct from steps.old_value
        and (first_told.first_at is null or cast(steps.changed_at as timestamp) < first_told.first_at)
),

final as (
    select * from told
    union all
    select * from derived
)

select
    change_id,
    opportunity_id,
    field,
    old_value,
    new_value,
    cast(changed_at as timestamp) as changed_at,
    changed_by_id,
    {{ load_columns('salesforce') }}
from final
