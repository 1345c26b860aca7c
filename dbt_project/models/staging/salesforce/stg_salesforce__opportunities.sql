-- Salesforce does not say when a deal was closed, but when its stage last changed: of a closed deal that is the same.
select
    Id as opportunity_id,
    AccountId as account_id,
    OwnerId as owner_id,
    Name as name,
    coalesce(
        {{ repaired('salesforce', 'Opportunity', 'opportunity_type') }},
        {{ contract_word('salesforce', 'Opportunity', 'Type', 'opportunities', 'opportunity_type') }}
    ) as opportunity_type,
    {{ repaired('salesforce', 'Opportunity', 'StageName') }} as stage,
    {{ salesforce_forecast_category('ForecastCategory') }} as forecast_category,
    cast(Amount as decimal(18, 4)) as amount,
    CurrencyIsoCode as currency,
    cast(Probability as double) / 100 as probability,
    cast(CreatedDate as timestamp) as created_at,
    cast(substr(CloseDate, 1, 10) as date) as close_date,
    case when {{ is_true('IsClosed') }} then cast(LastStageChangeDate as timestamp) end as closed_at,
    {{ repaired('salesforce', 'Opportunity', 'LeadSource') }} as lead_source,
    {{ repaired('salesforce', 'Opportunity', 'loss_reason') }} as loss_reason,
    {{ repaired('salesforce', 'Opportunity', 'competitor') }} as competitor,
    product_id,
    NextStep as next_step,
    cast(next_step_updated_at as timestamp) as next_step_updated_at,
    cast(LastModifiedDate as timestamp) as updated_at,
    {{ is_true('IsDeleted') }} as is_deleted,
    {{ extra_columns('salesforce', 'Opportunity') }}
    {{ load_columns('salesforce') }}
from {{ source('salesforce', 'Opportunity') }} as landed
