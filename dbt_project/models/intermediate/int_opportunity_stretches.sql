{{ config(materialized=growing(), pre_hook="{{ take_out() }}") }}
-- The history of each deal, told in money and cut where its owner's job changed.
with history as (
    select * from {{ ref('int_opportunity_history') }}
    where {{ is_live() }}
),

deals as (
    select * from {{ ref('opportunities') }}
),

accounts as (
    select * from {{ ref('accounts') }}
),

reps as (
    select * from {{ ref('reps') }}
),

rates as (
    select * from {{ ref('int_exchange_rates') }}
),

-- Before the first job nothing is known about a person.
jobs as (
    select
        rep_id,
        manager_id,
        region,
        segment,
        cast(valid_from as timestamp) as valid_from,
        cast(coalesce(valid_to, cast('9999-01-01' as date)) as timestamp) as valid_to
    from reps
    union all
    select
        rep_id,
        cast(null as string) as manager_id,
        cast(null as string) as region,
        cast(null as string) as segment,
        cast('1900-01-01' as timestamp) as valid_from,
        cast(min(valid_from) as timestamp) as valid_to
    from reps
    group by rep_id
    having min(valid_from) > cast('1900-01-01' as date)
),

final as (
    select
        history.opportunity_id,
        deals.account_id,
        history.owner_id,
        jobs.manager_id,
        coalesce(jobs.region, accounts.region) as region,
        coalesce(accounts.segment, jobs.segment) as segment,
        deals.opportunity_type,
        deals.product_id,
        history.stage,
        history.forecast_category,
        history.currency as currency_source,
        cast(history.amount * {{ plan_rate('history.currency') }} as decimal(18, 4)) as amount,
        history.amount as amount_source,
        deals.list_amount,
        history.episode,
        history.is_deleted,
        history.is_open,
        history.is_won,
        history.is_lost,
        history.is_no_decision,
        history.is_in_pipeline,
        -- Was it in the pipeline the moment before this stretch, in whosever hands.
        case
            when coalesce(jobs.valid_from, history.valid_from) <= history.valid_from then history.was_in_pipeline
            else history.is_in_pipeline
        end as was_in_pipeline,
        deals.created_on,
        history.close_date,
        greatest(history.valid_from, coalesce(jobs.valid_from, history.valid_from)) as valid_from,
        nullif(
            least(coalesce(history.valid_to, cast('9999-01-01' as timestamp)), coalesce(jobs.valid_to, cast('9999-01-01' as timestamp))),
            cast('9999-01-01' as timestamp)
        ) as valid_to
    from history
    inner join deals on history.opportunity_id = deals.opportunity_id
    left join accounts on deals.account_id = accounts.account_id
    left join jobs
        on history.owner_id = jobs.rep_id
        and history.valid_from < jobs.valid_to
        and (history.valid_to is null or jobs.valid_from < history.valid_to)
    left join rates
        on history.currency = rates.from_currency
        and deals.rate_date >= rates.valid_from
        and deals.rate_date < rates.valid_to
)

select * from final
