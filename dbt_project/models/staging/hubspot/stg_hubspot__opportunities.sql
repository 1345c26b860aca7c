-- A stage is called what it is called on the as-of date, in every version of a deal: its name changed, not the deal.
with stages as (
    select
        id,
        {{ repaired('hubspot', 'deal_stages', 'label') }} as stage,
        _batch_id,
        _extracted_at
    from ({{ landed_as_known('hubspot', 'deal_stages', keeps_deleted=true) }}) as landed
),

associations as (
    select
        from_id as id,
        to_type,
        to_id,
        category,
        typeid,
        _operation,
        _batch_id,
        _extracted_at
    from {{ source('hubspot', 'associations') }}
    where from_type = 'deals' and to_type = 'companies' and category = 'HUBSPOT_DEFINED' and typeid = '5'
),

changes as (
    select id, _batch_id, _extracted_at from associations
    union all
    select
        deals.id,
        stages._batch_id,
        stages._extracted_at
    from (select distinct id, dealstage from {{ source('hubspot', 'deals') }}) as deals
    inner join stages on deals.dealstage = stages.id
),

landed as (
    {{ landed_with('hubspot', 'deals', 'changes') }}
),

companies as (
    {{ associated_with('landed', 'associations', {'company_id': 'companies'}) }}
),

labelled as (
    select
        landed.*,
        stages.stage,
        companies.company_id
    from landed
    left join companies on landed.id = companies.id and landed._batch_id = companies._batch_id
    left join (select id as stage_id, stage from stages) as stages on landed.dealstage = stages.stage_id
    -- The landing gate holds back a stage that the policy does not know; its deals wait with it.
    where landed._operation = 'delete' or stages.stage is not null
)

select
    id as opportunity_id,
    company_id as account_id,
    hubspot_owner_id as owner_id,
    dealname as name,
    {{ repaired('hubspot', 'deals', 'dealtype') }} as opportunity_type,
    stage,
    {{ repaired('hubspot', 'deals', 'hs_manual_forecast_category') }} as forecast_category,
    cast(amount as decimal(18, 4)) as amount,
    deal_currency_code as currency,
    cast(hs_deal_stage_probability as double) as probability,
    cast(createdate as timestamp) as created_at,
    cast(substr(closedate, 1, 10) as date) as close_date,
    case when lower(hs_is_closed) in ('true', '1') then cast(hs_v2_date_entered_current_stage as timestamp) end as closed_at,
    coalesce(lead_source, {{ repaired('hubspot', 'deals', 'hs_analytics_source') }}) as lead_source,
    closed_lost_reason as loss_reason,
    competitor,
    hs_next_step as next_step,
    cast(hs_next_step_updated_at as timestamp) as next_step_updated_at,
    cast(hs_lastmodifieddate as timestamp) as updated_at,
    coalesce(lower(archived) in ('true', '1'), false) as is_deleted,
    {{ extra_columns('hubspot', 'deals') }}
    {{ load_columns('hubspot') }}
from labelled as landed
