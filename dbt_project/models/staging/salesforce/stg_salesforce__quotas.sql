-- Salesforce keeps one amount a person and period: the first that is seen is told from the start of the period, a later one from the
-- day it was seen. Quotas for quantities and product families are others.
with periods as (
    {{ landed_as_known('salesforce', 'Period', keeps_deleted=true) }}
),

types as (
    {{ landed_as_known('salesforce', 'ForecastingType', keeps_deleted=true) }}
),

final as (
    select
        landed.QuotaOwnerId as user_id,
        cast(substr(landed.StartDate, 1, 10) as date) as period_start,
        cast(substr(periods.EndDate, 1, 10) as date) as period_end,
        greatest(cast(substr(landed.StartDate, 1, 10) as date), cast(landed._known_at as date)) as effective_from,
        cast(landed.QuotaAmount as decimal(18, 4)) as amount,
        landed.CurrencyIsoCode as currency,
        landed._batch_id,
        landed._operation,
        landed._extracted_at,
        landed._known_at
    from {{ source('salesforce', 'ForecastingQuota') }} as landed
    inner join periods on landed.PeriodId = periods.Id
    where
        -- A quota that is gone stays what it was: a person was held to it.
        landed._operation = 'upsert'
        and landed.QuotaAmount is not null
        and coalesce({{ is_true('landed.IsAmount') }}, true)
        and landed.ProductFamily is null
        and {{ is_revenue_forecast('landed', 'types') }}
)

select
    user_id,
    period_start,
    period_end,
    effective_from,
    amount,
    currency,
    {{ load_columns('salesforce') }}
from final
