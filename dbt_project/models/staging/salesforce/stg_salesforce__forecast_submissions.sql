{%- set calls = {
    'commit': ('CommitForecast', ('CommitOnly', 'ClosedOnly')),
    'best_case': ('BestCaseForecast', ('BestCaseOnly', 'MostLikelyOnly', 'CommitOnly', 'ClosedOnly')),
} -%}
-- A call is what was submitted; where nobody submits, an adjustment of one's own forecast is one. Commit and best case are for all that is
-- won as well, as in cumulative forecasts; of an organisation that forecasts each category for itself they are added up.
with periods as (
    {{ landed_as_known('salesforce', 'Period', keeps_deleted=true) }}
),

types as (
    {{ landed_as_known('salesforce', 'ForecastingType', keeps_deleted=true) }}
),

submissions as (
    select landed.* from {{ source('salesforce', 'ForecastingSubmission') }} as landed
    where landed._operation = 'delete' or (landed.ProductFamily is null and {{ is_revenue_forecast('landed', 'types') }})
),

items as (
    {{ landed_as_known('salesforce', 'ForecastingSubmissionItem', keeps_deleted=true) }}
),

called as (
    select
        ForecastingSubmissionId as submission_id,
        max(CurrencyIsoCode) as currency,
        max(_known_at) as items_known_at
        {%- for category, (cumulative, parts) in calls.items() %},
        coalesce(
            max(case when ForecastingItemCategory = '{{ cumulative }}' then cast(Amount as decimal(18, 4)) end),
            case
                when count(case when ForecastingItemCategory = '{{ parts[0] }}' then 1 end) > 0
                    then sum(
                        case
                            when
                                ForecastingItemCategory
                                in ('{{ parts | join("', '") }}')
                                then cast(Amount as decimal(18, 4))
                        end
                    )
            end
        ) as {{ category }}
        {%- endfor %}
    from items
    group by ForecastingSubmissionId
),

submitted as (
    {%- for category in calls %}
    select
        submissions.Id || '-{{ category }}' as submission_id,
        submissions.ForecastOwnerId as submitter_id,
        submissions.PeriodId as period_id,
        '{{ category }}' as category,
        called.{{ category }} as amount,
        called.currency,
        submissions.SubmissionDateTime as submitted_at,
        submissions._batch_id,
        submissions._operation,
        submissions._extracted_at,
        greatest(submissions._known_at, coalesce(called.items_known_at, submissions._known_at)) as _known_at
    from submissions
    left join called on submissions.Id = called.submission_id
    where submissions._operation = 'delete' or called.{{ category }} is not null
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

-- An adjustment is overwritten by the next: each that was seen is a call of its own.
adjusted as (
    select
        landed.Id || '-' || landed.LastModifiedDate as submission_id,
        landed.ForecastOwnerId as submitter_id,
        landed.PeriodId as period_id,
        case landed.ForecastingItemCategory
            {%- for category, (cumulative, parts) in calls.items() %}
            when '{{ cumulative }}' then '{{ category }}'
            {%- endfor %}
        end as category,
        cast(landed.OwnerAdjustedAmount as decimal(18, 4)) as amount,
        landed.CurrencyIsoCode as currency,
        landed.LastModifiedDate as submitted_at,
        landed._batch_id,
        landed._operation,
        landed._extracted_at,
        landed._known_at
    from {{ source('salesforce', 'ForecastingOwnerAdjustment') }} as landed
    where
        landed._operation = 'upsert'
        and landed.OwnerAdjustedAmount is not null
        and landed.ProductFamily is null
        and {{ is_revenue_forecast('landed', 'types') }}
        and not exists (
            select 1 from submissions
            where
                submissions.ForecastOwnerId = landed.ForecastOwnerId
                and submissions.PeriodId = landed.PeriodId
                and submissions._known_at <= landed._known_at
        )
),

every_call as (
    select * from submitted
    union all
    select * from adjusted
    where category is not null
),

final as (
    select
        every_call.*,
        cast(substr(periods.StartDate, 1, 10) as date) as period_start,
        cast(substr(periods.EndDate, 1, 10) as date) as period_end
    from every_call
    left join periods on every_call.period_id = periods.Id
    where every_call._operation = 'delete' or periods.Id is not null
)

select
    submission_id,
    submitter_id,
    period_start,
    period_end,
    category,
    amount,
    currency,
    cast(submitted_at as timestamp) as submitted_at,
    {{ load_columns('salesforce') }}
from final
