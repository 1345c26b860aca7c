{#- How many periods before and after the current one are told. #}
{%- set reach = {'month': 4, 'quarter': 4, 'year': 1} %}
{#- How many earlier periods required coverage is learnt from at the most, and at the least. #}
{%- set lookback = {'month': 12, 'quarter': 8, 'year': 4} %}
{%- set enough = 4 %}
{%- set members = {
    'company': "'company'", 'region': 'pipeline_then.region', 'segment': 'pipeline_then.segment', 'seller': 'pipeline_then.owner_id'
} %}
with deals as (
    select * from {{ ref('opportunities') }}
    where not is_deleted
),

sellers as (
    select * from {{ ref('int_sellers') }}
),

reps as (
    select * from {{ ref('reps') }}
    where is_current
),

reporting_lines as (
    select * from {{ ref('int_reporting_lines') }}
),

calendar as (
    select * from {{ ref('calendar') }}
),

rates as (
    select * from {{ ref('int_exchange_rates') }}
),

targets as (
    select * from {{ ref('int_targets_known') }}
    where not _is_deleted and metric = 'bookings'
),

quotas as (
    select * from {{ ref('int_quotas_known') }}
    where not _is_deleted and effective_from <= {{ as_of_date() }}
),

all_periods as (
    {%- for period in reach %}
    select distinct
        '{{ period }}' as period_type,
        {{ period }}_start as period_start,
        {{ period }}_end as period_end
    from calendar
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

numbered_periods as (
    select
        all_periods.*,
        row_number() over (partition by period_type order by period_start) as number,
        period_start <= {{ as_of_date() }} and period_end >= {{ as_of_date() }} as is_current
    from all_periods
),

periods as (
    select
        numbered_periods.period_type,
        numbered_periods.period_start,
        numbered_periods.period_end,
        numbered_periods.is_current
    from numbered_periods
    inner join numbered_periods as this on numbered_periods.period_type = this.period_type and this.is_current
    where
        abs(numbered_periods.number - this.number) <= case
            {%- for period, count in reach.items() %}
            when numbered_periods.period_type = '{{ period }}' then {{ count }}
            {%- endfor %}
        end
),

scopes as (
    select 'company' as scope_type, 'company' as scope_id, 'Company' as scope_name
    union
    select 'seller' as scope_type, seller_id as scope_id, name as scope_name from sellers
    union
    select 'manager' as scope_type, reporting_lines.manager_id as scope_id, coalesce(reps.name, reporting_lines.manager_id) as scope_name
    from reporting_lines
    inner join sellers on reporting_lines.rep_id = sellers.seller_id
    left join reps on reporting_lines.manager_id = reps.rep_id
    union
    select 'region' as scope_type, region as scope_id, region as scope_name from deals
    where region is not null
    union
    select 'region' as scope_type, region as scope_id, region as scope_name from sellers
    where region is not null
    union
    select 'segment' as scope_type, segment as scope_id, segment as scope_name from deals
    where segment is not null
    union
    select 'segment' as scope_type, segment as scope_id, segment as scope_name from sellers
    where segment is not null
),

cells as (
    select
        scopes.*,
        periods.*
    from scopes
    cross join periods
),

-- Each deal stands in every scope it belongs to, in the hierarchy of the as-of date.
scoped_deals as (
    select 'company' as scope_type, 'company' as scope_id, deals.* from deals
    union all
    select 'seller' as scope_type, owner_id as scope_id, deals.* from deals
    union all
    select 'region' as scope_type, region as scope_id, deals.* from deals
    where region is not null
    union all
    select 'segment' as scope_type, segment as scope_id, deals.* from deals
    where segment is not null
    union all
    select 'manager' as scope_type, reporting_lines.manager_id as scope_id, deals.*
    from deals
    inner join reporting_lines on deals.owner_id = reporting_lines.rep_id
),

booked as (
    select
        periods.period_type,
        periods.period_start,
        scoped_deals.scope_type,
        scoped_deals.scope_id,
        sum(scoped_deals.amount) as booked,
        count(*) as won_count
    from periods
    inner join scoped_deals on scoped_deals.is_won and scoped_deals.closed_on between periods.period_start and periods.period_end
    group by periods.period_type, periods.period_start, scoped_deals.scope_type, scoped_deals.scope_id
),

-- A close date that has passed is no plan: overdue deals are in no period, and told apart on the current one.
open_deals as (
    select
        periods.period_type,
        periods.period_start,
        scoped_deals.scope_type,
        scoped_deals.scope_id,
        sum(
            case
                when scoped_deals.close_date between greatest(periods.period_start, {{ as_of_date() }}) and periods.period_end
                    then scoped_deals.amount
            end
        ) as open_pipeline,
        count(
            case when scoped_deals.close_date between greatest(periods.period_start, {{ as_of_date() }}) and periods.period_end then 1 end
        ) as open_count,
        sum(case when periods.is_current and scoped_deals.close_date < {{ as_of_date() }} then scoped_deals.amount end) as overdue_pipeline,
        count(case when periods.is_current and scoped_deals.close_date < {{ as_of_date() }} then 1 end) as overdue_count
    from periods
    inner join scoped_deals on scoped_deals.is_open
    group by periods.period_type, periods.period_start, scoped_deals.scope_type, scoped_deals.scope_id
),

created as (
    select
        periods.period_type,
        periods.period_start,
        scoped_deals.scope_type,
        scoped_deals.scope_id,
        sum(scoped_deals.amount) as pipeline_created,
        count(*) as created_count
    from periods
    inner join scoped_deals on scoped_deals.created_on between periods.period_start and periods.period_end
    group by periods.period_type, periods.period_start, scoped_deals.scope_type, scoped_deals.scope_id
),

-- A changed quota replaces the earlier one from its day on.
quotas_in_force as (
    select * from quotas
    qualify row_number() over (partition by user_id, period_start, period_end order by effective_from desc) = 1
),

plans as (
    select
        'finance_target' as target_source,
        case when scope_type = 'user' then 'seller' else scope_type end as scope_type,
        case when scope_type = 'company' then 'company' else scope_id end as scope_id,
        cast(null as string) as user_id,
        period_start,
        period_end,
        amount,
        currency
    from targets
    union all
    select
        'quotas' as target_source,
        cast(null as string) as scope_type,
        cast(null as string) as scope_id,
        user_id,
        period_start,
        period_end,
        amount,
        currency
    from quotas_in_force
    -- A manager's quota repeats those of the people below.
    where user_id not in (select reporting_lines.manager_id from reporting_lines)
),

plans_converted as (
    select
        plans.*,
        plans.amount * {{ plan_rate('plans.currency') }} as plan_amount
    from plans
    left join rates
        on plans.currency = rates.from_currency
        and least(plans.period_start, {{ as_of_date() }}) >= rates.valid_from
        and least(plans.period_start, {{ as_of_date() }}) < rates.valid_to
),

-- A period's plan is its own row, or the rows within it when their days add up to its days.
period_plans as (
    select
        plans_converted.target_source,
        plans_converted.scope_type,
        plans_converted.scope_id,
        plans_converted.user_id,
        periods.period_type,
        periods.period_start,
        coalesce(
            max(
                case
                    when plans_converted.period_start = periods.period_start and plans_converted.period_end = periods.period_end
                        then plan_amount
                end
            ),
            case
                when sum({{ day_count('plans_converted.period_start', 'plans_converted.period_end') }} + 1)
                    = max({{ day_count('periods.period_start', 'periods.period_end') }} + 1)
                    then sum(plan_amount)
            end
        ) as amount
    from plans_converted
    inner join periods
        on plans_converted.period_start >= periods.period_start
        and plans_converted.period_end <= periods.period_end
    group by
        plans_converted.target_source, plans_converted.scope_type, plans_converted.scope_id, plans_converted.user_id,
        periods.period_type, periods.period_start
),

seller_quotas as (
    select
        period_plans.*,
        reps.region,
        reps.segment
    from period_plans
    left join reps on period_plans.user_id = reps.rep_id
    where period_plans.target_source = 'quotas'
),

quota_totals as (
    select scope_type, scope_id, period_type, period_start, sum(amount) as amount
    from (
        select 'company' as scope_type, 'company' as scope_id, period_type, period_start, amount from seller_quotas
        union all
        select 'seller' as scope_type, user_id as scope_id, period_type, period_start, amount from seller_quotas
        union all
        select 'region' as scope_type, region as scope_id, period_type, period_start, amount from seller_quotas
        union all
        select 'segment' as scope_type, segment as scope_id, period_type, period_start, amount from seller_quotas
        union all
        select 'manager' as scope_type, reporting_lines.manager_id as scope_id, period_type, period_start, amount
        from seller_quotas
        inner join reporting_lines on seller_quotas.user_id = reporting_lines.rep_id
    ) as scoped_quotas
    group by scope_type, scope_id, period_type, period_start
),

-- At the same day of earlier periods: what was open for the period, and what was still booked in it.
looks as (
    select
        periods.period_type,
        periods.period_start,
        past.period_start as past_start,
        past.period_end as past_end,
        least(
            {{ add_days('past.period_start', day_count('periods.period_start', as_of_date())) }}, past.period_end
        ) as look_day
    from periods
    inner join numbered_periods as past
        on periods.period_type = past.period_type
        and past.period_end < {{ as_of_date() }}
    inner join numbered_periods as this on periods.period_type = this.period_type and this.is_current
    where
        periods.period_end >= {{ as_of_date() }}
        and this.number - past.number <= case periods.period_type
            {%- for period, count in lookback.items() %}
            when '{{ period }}' then {{ count }}
            {%- endfor %}
        end
),

stretches as (
    select * from {{ ref('int_opportunity_stretches') }}
    where is_in_pipeline
),

pipeline_then as (
    select
        looks.period_type,
        looks.period_start,
        looks.past_start,
        stretches.owner_id,
        stretches.region,
        stretches.segment,
        coalesce(stretches.amount, 0) as open_amount,
        0 as booked_amount
    from looks
    inner join stretches
        on stretches.close_date between greatest(looks.past_start, looks.look_day) and looks.past_end
        and stretches.valid_from < {{ end_of_day('looks.look_day') }}
        and (stretches.valid_to is null or stretches.valid_to >= {{ end_of_day('looks.look_day') }})
    union all
    select
        looks.period_type,
        looks.period_start,
        looks.past_start,
        deals.owner_id,
        deals.region,
        deals.segment,
        0 as open_amount,
        coalesce(deals.amount, 0) as booked_amount
    from looks
    inner join deals
        on deals.is_won
        and deals.closed_on between looks.past_start and looks.past_end
        and deals.closed_on > looks.look_day
),

scope_types as (
    {%- for scope in members %}
    select '{{ scope }}' as scope_type
    {{- ' union all' if not loop.last }}
    {%- endfor %}
),

scoped_then as (
    select
        scope_types.scope_type,
        case scope_types.scope_type
            {%- for scope, member in members.items() %}
            when '{{ scope }}' then {{ member }}
            {%- endfor %}
        end as scope_id,
        pipeline_then.*
    from pipeline_then
    cross join scope_types
    union all
    select 'manager' as scope_type, reporting_lines.manager_id as scope_id, pipeline_then.*
    from pipeline_then
    inner join reporting_lines on pipeline_then.owner_id = reporting_lines.rep_id
),

past_coverage as (
    select
        scope_type,
        scope_id,
        period_type,
        period_start,
        past_start,
        cast(sum(open_amount) as double) / nullif(cast(sum(booked_amount) as double), 0) as coverage
    from scoped_then
    where scope_id is not null
    group by scope_type, scope_id, period_type, period_start, past_start
),

learnt as (
    select
        scope_type,
        scope_id,
        period_type,
        period_start,
        percentile_cont(0.5) within group (order by coverage) as required_coverage,
        count(coverage) as n
    from past_coverage
    where coverage is not null
    group by scope_type, scope_id, period_type, period_start
),

selling as (
    {{ sold_in('periods') }}
),

joined as (
    select
        cells.*,
        cells.scope_type != 'seller' or selling.seller_id is not null as is_there,
        case
            when learnt.n >= {{ enough }} then learnt.required_coverage
            when of_company.n >= {{ enough }} then of_company.required_coverage
        end as required_coverage,
        case
            when learnt.n >= {{ enough }} then learnt.n
            when of_company.n >= {{ enough }} then of_company.n
            else coalesce(learnt.n, 0)
        end as required_coverage_n,
        case
            when cells.period_end < {{ as_of_date() }} then null
            when learnt.n >= {{ enough }} then cells.scope_type
            when of_company.n >= {{ enough }} then 'company'
            else 'not enough periods'
        end as required_coverage_level,
        coalesce(finance.amount, quota_totals.amount) as target,
        case
            when finance.amount is not null then 'finance_target'
            when quota_totals.amount is not null then 'quotas'
        end as target_source,
        -- Deals whose amounts are not known make an amount that is not known; no deals make zero.
        case when coalesce(booked.won_count, 0) = 0 then 0 else booked.booked end as booked,
        coalesce(booked.won_count, 0) as won_count,
        case when coalesce(open_deals.open_count, 0) = 0 then 0 else open_deals.open_pipeline end as open_pipeline,
        coalesce(open_deals.open_count, 0) as open_count,
        case when coalesce(open_deals.overdue_count, 0) = 0 then 0 else open_deals.overdue_pipeline end as overdue_pipeline,
        case when coalesce(created.created_count, 0) = 0 then 0 else created.pipeline_created end as pipeline_created,
        coalesce(created.created_count, 0) as created_count,
        coalesce(open_deals.overdue_count, 0) as overdue_count
    from cells
    {%- for part in ('booked', 'open_deals', 'created', 'quota_totals') %}
    left join {{ part }}
        on cells.scope_type = {{ part }}.scope_type
        and cells.scope_id = {{ part }}.scope_id
        and cells.period_type = {{ part }}.period_type
        and cells.period_start = {{ part }}.period_start
    {%- endfor %}
    left join learnt
        on cells.scope_type = learnt.scope_type
        and cells.scope_id = learnt.scope_id
        and cells.period_type = learnt.period_type
        and cells.period_start = learnt.period_start
    left join learnt as of_company
        on of_company.scope_type = 'company'
        and cells.period_type = of_company.period_type
        and cells.period_start = of_company.period_start
    left join period_plans as finance
        on finance.target_source = 'finance_target'
        and cells.scope_type = finance.scope_type
        and cells.scope_id = finance.scope_id
        and cells.period_type = finance.period_type
        and cells.period_start = finance.period_start
    left join selling
        on cells.scope_type = 'seller'
        and cells.scope_id = selling.seller_id
        and cells.period_type = selling.period_type
        and cells.period_start = selling.period_start
),

final as (
    select
        scope_type,
        scope_id,
        scope_name,
        period_type,
        target_source,
        case
            when target is null then 'no target'
            when booked is null or open_pipeline is null then 'amounts not known'
            when target <= booked then 'target met'
            when period_end < {{ as_of_date() }} then 'the period is over'
        end as reason,
        case
            when required_coverage_level is not null and not is_there then 'no selling job in the period'
            when required_coverage_level is not null and required_coverage = 0 then 'nothing was open so early'
            else required_coverage_level
        end as required_coverage_level,
        cast(target as decimal(18, 4)) as target,
        cast(booked as decimal(18, 4)) as booked,
        won_count,
        cast(open_pipeline as decimal(18, 4)) as open_pipeline,
        open_count,
        cast(overdue_pipeline as decimal(18, 4)) as overdue_pipeline,
        cast(pipeline_created as decimal(18, 4)) as pipeline_created,
        created_count,
        case
            when target > booked and period_end >= {{ as_of_date() }} then cast(open_pipeline as double) / cast(target - booked as double)
        end as coverage_to_go,
        case when is_there and required_coverage > 0 then required_coverage end as required_coverage,
        required_coverage_n,
        period_start,
        period_end,
        {{ as_of_date() }} as as_of_date
    from joined
    -- Of somebody who was not there only what there is to say.
    where is_there or target is not null or won_count + open_count + overdue_count + created_count > 0
)

select * from final
