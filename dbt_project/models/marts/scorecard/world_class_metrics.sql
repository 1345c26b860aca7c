{%- set in_a_term = policy_constant('scorecard_quarters', 'scorecard_policy') | float | int %}
with policy as (
    select * from {{ ref('scorecard_metrics') }}
),

calendar as (
    select * from {{ ref('calendar') }}
),

coverage as (
    select * from {{ ref('data_coverage') }}
),

sales_growth as (
    select * from {{ ref('sales_growth') }}
    where dimension = 'company' and period_type = 'quarter'
),

revenue_retention as (
    select * from {{ ref('revenue_retention') }}
    where dimension = 'company'
),

account_growth as (
    select * from {{ ref('account_growth') }}
    where dimension in ('company', 'key')
),

arr_bridges as (
    select * from {{ ref('arr_bridges') }}
    where dimension = 'company'
),

errors as (
    select * from {{ ref('forecast_error') }}
    where
        scope_type = 'company'
        and period_type = 'quarter'
        and reason is null
        and weeks_before_end = {{ scorecard_policy('scorecard_forecast_weeks') }}
),

attainments as (
    select * from {{ ref('quota_attainment') }}
    where scope_type = 'seller' and period_type = 'quarter' and is_judged and attainment is not null
),

pipeline as (
    select * from {{ ref('pipeline_coverage') }}
    where scope_type = 'company' and period_type = 'quarter'
),

won as (
    select
        closed_on,
        currency_source,
        amount_source
    from {{ ref('opportunities') }}
    where is_won and not is_deleted and amount_source is not null
),

rates as (
    select * from {{ ref('int_exchange_rates') }}
),

created as (
    select
        opportunity_id,
        amount,
        created_on,
        min(created_on) over () as first_created_on
    from {{ ref('opportunities') }}
    where not is_deleted and created_on is not null
),

velocities as (
    select * from {{ ref('sales_velocity') }}
    where scope_type = 'company' and period_type = 'quarter'
),

numbered as (
    select
        quarter_start,
        max(quarter_end) as quarter_end,
        row_number() over (order by quarter_start desc) as quarter_number
    from calendar
    where quarter_end <= {{ as_of_date() }}
    group by quarter_start
),

-- The quarters a metric is told over (1), as many before them (2), and before those (3).
quarters as (
    select
        quarter_start,
        quarter_end,
        cast(floor((quarter_number - 1) / {{ in_a_term }}) as bigint) + 1 as term
    from numbered
    where quarter_number <= 3 * {{ in_a_term }}
),

terms as (
    select
        term,
        min(quarter_start) as period_start,
        max(quarter_end) as period_end
    from quarters
    group by term
    having count(*) = {{ in_a_term }}
),

-- Recurring revenue is told by months that have ended: the last one, and the one of a year before.
month_ends as (
    {%- for term, months in ((1, 0), (2, -12)) %}
    select
        {{ term }} as term,
        max(month_end) as month_end
    from calendar
    where month_end <= {{ add_months(as_of_date(), months) }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

-- Growth of accounts is told at the ends of quarters.
quarter_ends as (
    select
        quarter_end,
        case when quarter_number = 1 then 1 else 2 end as term
    from numbered
    where quarter_number in (1, 1 + {{ in_a_term }})
),

sales as (
    select
        sales_growth.measure,
        quarters.term,
        sum(sales_growth.sale_count) as n,
        sum(sales_growth.amount) as amount,
        case
            when count(case when sales_growth.reason is null then 1 end) = {{ in_a_term }} then sum(sales_growth.amount_year_ago)
        end as amount_year_ago
    from sales_growth
    inner join quarters on sales_growth.period_start = quarters.quarter_start
    group by sales_growth.measure, quarters.term
),

-- What was won four quarters before, at the rates of the targets: growth that a target asks for is no change of rates.
won_before as (
    select
        quarters.term,
        sum(cast(won.amount_source * {{ plan_rate('won.currency_source') }} as decimal(18, 4))) as amount
    from quarters
    inner join numbered as aimed on quarters.quarter_start = aimed.quarter_start
    inner join numbered as earlier on aimed.quarter_number + 4 = earlier.quarter_number
    inner join won on won.closed_on between earlier.quarter_start and earlier.quarter_end
    left join rates
        on won.currency_source = rates.from_currency
        and quarters.quarter_start >= rates.valid_from
        and quarters.quarter_start < rates.valid_to
    group by quarters.term
),

targets as (
    select
        quarters.term,
        sum(pipeline.target) as target,
        case when min(pipeline.target_source) = max(pipeline.target_source) then min(pipeline.target_source) end as target_source
    from pipeline
    inner join quarters on pipeline.period_start = quarters.quarter_start
    group by quarters.term
    having count(pipeline.target) = {{ in_a_term }}
),

opened as (
    select
        quarters.term,
        count(*) as n,
        sum(created.amount) as amount
    from created
    inner join quarters on created.created_on between quarters.quarter_start and quarters.quarter_end
    group by quarters.term
    having min(created.first_created_on) <= min(quarters.quarter_start) and count(distinct quarters.quarter_start) = {{ in_a_term }}
),

ahead as (
    select * from pipeline
    where period_end > {{ as_of_date() }}
    qualify row_number() over (order by period_start) = 1
),

missed as (
    select
        errors.method,
        errors.method_order,
        quarters.term,
        count(*) as n,
        cast(sum(errors.absolute_error) as double) / nullif(cast(sum(errors.actual_amount) as double), 0) as error
    from errors
    inner join quarters on errors.period_start = quarters.quarter_start
    where errors.method = 'model' or errors.method like '%_commit'
    group by errors.method, errors.method_order, quarters.term
    having count(*) = {{ in_a_term }}
),

-- Of the commits that of the highest level that called all quarters.
called as (
    select * from missed
    where method != 'model'
    qualify row_number() over (partition by term order by method_order desc) = 1
),

of_sellers as (
    select
        quarters.term,
        attainments.scope_id,
        count(*) as quarter_count,
        count(case when attainments.attainment >= 1 then 1 end) as at_quota_count,
        sum(attainments.credited_amount) as credited_amount,
        sum(attainments.quota_amount) as quota_amount
    from attainments
    inner join quarters on attainments.period_start = quarters.quarter_start
    group by quarters.term, attainments.scope_id
),

of_quotas as (
    select
        term,
        count(*) as n,
        sum(quarter_count) as quarter_count,
        sum(quota_amount) as quota_amount,
        {{ equal_units('quarter_count') }} as equal_n,
        cast(sum(at_quota_count) as double) / sum(quarter_count) as at_quota_share,
        cast(sum(credited_amount) as double) / nullif(cast(sum(quota_amount) as double), 0) as attainment
    from of_sellers
    group by term
),

-- Quarters of one seller are alike: the interval counts sellers.
strayed as (
    select
        of_sellers.term,
        {{ squares_around('of_sellers.at_quota_count', 'of_sellers.quarter_count', 'of_quotas.at_quota_share') }} as at_quota_squares,
        {{ squares_around('of_sellers.credited_amount', 'of_sellers.quota_amount', 'of_quotas.attainment') }} as attainment_squares
    from of_sellers
    inner join of_quotas on of_sellers.term = of_quotas.term
    group by of_sellers.term
),

paces as (
    select
        quarters.term,
        sum(velocities.n) as n,
        cast(sum(cast(velocities.velocity as decimal(28, 6))) as double) / {{ in_a_term }} as velocity
    from velocities
    inner join quarters on velocities.period_start = quarters.quarter_start
    group by quarters.term
    having count(velocities.velocity) = {{ in_a_term }}
),

gained as (
    select
        month_ends.term,
        sum(case when arr_bridges.movement in ('expansion', 'price_change') then arr_bridges.amount end) as from_existing,
        sum(arr_bridges.amount) as gained,
        max(arr_bridges.basis) as basis,
        count(distinct arr_bridges.month_end) as month_count
    from month_ends
    inner join arr_bridges
        on arr_bridges.month_end <= month_ends.month_end
        and arr_bridges.month_end > {{ add_months('month_ends.month_end', -12) }}
    where arr_bridges.movement in ('new', 'reactivation', 'expansion', 'price_change')
    group by month_ends.term
),

figures as (
    {%- for measure in ('bookings', 'revenue') %}
    select
        '{{ measure }}_growth' as measure,
        sales.term,
        cast(sales.amount as double) / nullif(cast(sales.amount_year_ago as double), 0) - 1 as value,
        cast(null as double) as value_low,
        cast(null as double) as value_high,
        sales.n,
        {% if measure == 'bookings' -%}
        cast(targets.target as double) / nullif(cast(won_before.amount as double), 0) - 1 as target,
        case when won_before.amount > 0 then targets.target_source end as target_source,
        {% else -%}
        cast(null as double) as target,
        cast(null as string) as target_source,
        {% endif -%}
        cast(null as string) as method
    from sales
    {%- if measure == 'bookings' %}
    left join targets on sales.term = targets.term
    left join won_before on sales.term = won_before.term and sales.amount_year_ago > 0
    {%- endif %}
    where sales.measure = '{{ measure }}'
    union all
    {%- endfor %}
    select
        'arr_growth' as measure,
        quarter_ends.term,
        cast(account_growth.arr + account_growth.new_arr as double) / nullif(cast(account_growth.arr_year_ago as double), 0) - 1 as value,
        cast(null as double) as value_low,
        cast(null as double) as value_high,
        account_growth.n + account_growth.new_count as n,
        cast(null as double) as target,
        cast(null as string) as target_source,
        account_growth.basis as method
    from account_growth
    inner join quarter_ends on account_growth.month_end = quarter_ends.quarter_end
    where account_growth.dimension = 'company'
    {%- for measure, column in (('gross_retention', 'grr'), ('net_retention', 'nrr'), ('logo_retention', 'logo_retention')) %}
    union all
    select
        '{{ measure }}' as measure,
        month_ends.term,
        revenue_retention.{{ column }} as value,
        revenue_retention.{{ column }}_low as value_low,
        revenue_retention.{{ column }}_high as value_high,
        revenue_retention.n,
        cast(null as double) as target,
        cast(null as string) as target_source,
        revenue_retention.basis as method
    from revenue_retention
    inner join month_ends on revenue_retention.month_end = month_ends.month_end
    {%- endfor %}
    {%- for measure, table in (('commit_error', 'called'), ('outlook_error', 'missed')) %}
    union all
    select
        '{{ measure }}' as measure,
        term,
        error as value,
        cast(null as double) as value_low,
        cast(null as double) as value_high,
        n,
        cast(null as double) as target,
        cast(null as string) as target_source,
        method
    from {{ table }}
    {%- if table == 'missed' %}
    where method = 'model'
    {%- endif %}
    {%- endfor %}
    {%- for measure, squares, below, is_share in (
        ('at_quota_share', 'at_quota_squares', 'of_quotas.quarter_count', true), ('attainment', 'attainment_squares', 'of_quotas.quota_amount', false)
    ) %}
    union all
    select
        '{{ measure }}' as measure,
        of_quotas.term,
        of_quotas.{{ measure }} as value,
        {%- if is_share %}
        {{ share_interval('of_quotas.' ~ measure, 'of_quotas.n', 'strayed.' ~ squares, below, -1, 'of_quotas.equal_n') }} as value_low,
        {{ share_interval('of_quotas.' ~ measure, 'of_quotas.n', 'strayed.' ~ squares, below, 1, 'of_quotas.equal_n') }} as value_high,
        {%- else %}
        {{ ratio_interval('of_quotas.' ~ measure, 'of_quotas.n', 'strayed.' ~ squares, below, -1) }} as value_low,
        {{ ratio_interval('of_quotas.' ~ measure, 'of_quotas.n', 'strayed.' ~ squares, below, 1) }} as value_high,
        {%- endif %}
        of_quotas.n,
        cast(null as double) as target,
        cast(null as string) as target_source,
        cast(null as string) as method
    from of_quotas
    inner join strayed on of_quotas.term = strayed.term
    where of_quotas.n >= {{ people_policy('attainment_minimum_sellers') }}
    {%- endfor %}
    union all
    select
        'pipeline_created_growth' as measure,
        opened.term,
        cast(opened.amount as double) / nullif(cast(before.amount as double), 0) - 1 as value,
        cast(null as double) as value_low,
        cast(null as double) as value_high,
        opened.n,
        cast(null as double) as target,
        cast(null as string) as target_source,
        cast(null as string) as method
    from opened
    inner join opened as before on opened.term + 1 = before.term
    union all
    select
        'coverage' as measure,
        1 as term,
        ahead.coverage_to_go as value,
        cast(null as double) as value_low,
        cast(null as double) as value_high,
        ahead.open_count as n,
        ahead.required_coverage as target,
        case when ahead.required_coverage is not null then 'required coverage' end as target_source,
        cast(null as string) as method
    from ahead
    union all
    select
        'velocity' as measure,
        paces.term,
        paces.velocity as value,
        cast(null as double) as value_low,
        cast(null as double) as value_high,
        paces.n,
        cast(null as double) as target,
        cast(null as string) as target_source,
        cast(null as string) as method
    from paces
    {%- for measure, member in (('account_growth', 'company'), ('key_account_growth', 'key'), ('other_account_growth', 'other')) %}
    union all
    select
        '{{ measure }}' as measure,
        quarter_ends.term,
        account_growth.growth as value,
        {%- for end in ('low', 'high') %}
        {{ 'revenue_retention.nrr_' ~ end ~ ' - 1' if member == 'company' else 'cast(null as double)' }} as value_{{ end }},
        {%- endfor %}
        account_growth.n,
        cast(null as double) as target,
        cast(null as string) as target_source,
        account_growth.basis as method
    from account_growth
    inner join quarter_ends on account_growth.month_end = quarter_ends.quarter_end
    {%- if member == 'company' %}
    left join revenue_retention on account_growth.month_end = revenue_retention.month_end
    {%- endif %}
    where account_growth.member = '{{ member }}'
    {%- endfor %}
    union all
    select
        'expansion_share' as measure,
        term,
        cast(from_existing as double) / nullif(cast(gained as double), 0) as value,
        cast(null as double) as value_low,
        cast(null as double) as value_high,
        month_count as n,
        cast(null as double) as target,
        cast(null as string) as target_source,
        basis as method
    from gained
    where month_count = 12
),

absent as (
    select
        policy.measure,
        min(coverage.entity) as entity
    from policy
    inner join coverage on concat(' ', policy.needs, ' ') like concat('% ', coverage.entity, ' %')
    where not coverage.is_delivered
    group by policy.measure
),

compared as (
    select
        policy.*,
        absent.entity as absent_entity,
        now.value,
        now.value_low,
        now.value_high,
        now.n,
        now.method,
        before.value as previous_value,
        now.value - before.value as change,
        coalesce(now.target, policy.target) as goal,
        coalesce(now.target_source, case when policy.target is not null then 'policy' end) as goal_source,
        case when policy.is_higher_better then 1 else -1 end as sign,
        {{ scorecard_policy('scorecard_steady_change') }} * case when policy.unit = 'share' then 1 else abs(before.value) end
            as steady_change
    from policy
    left join absent on policy.measure = absent.measure
    left join figures as now
        on policy.measure = now.measure
        and now.term = 1
        and absent.entity is null
    left join figures as before
        on policy.measure = before.measure
        and before.term = 2
        and absent.entity is null
),

final as (
    select
        compared.metric,
        compared.measure,
        compared.name,
        compared.unit,
        compared.method,
        case
            when compared.value is not null and compared.previous_value is not null then null
            when compared.value is not null then 'no value before'
            when compared.absent_entity is not null then concat(compared.absent_entity, ' is not delivered')
            else 'not enough data'
        end as reason,
        case
            when compared.value is null or compared.previous_value is null then 'not_enough_data'
            when
                compared.previous_value between compared.value_low and compared.value_high
                or (compared.value_low is null and abs(compared.change) < compared.steady_change)
                then 'no_clear_change'
            when compared.sign * compared.change > 0 then 'better'
            else 'worse'
        end as direction,
        case
            when compared.value is null then 'not_enough_data'
            when compared.goal is null then 'no_target'
            when compared.sign * (compared.value - compared.goal) >= 0 then 'met'
            else 'missed'
        end as target_standing,
        compared.goal_source as target_source,
        case
            when compared.value is null then 'not_enough_data'
            when compared.benchmark_low is null then 'no_benchmark'
            when compared.value between compared.benchmark_low and compared.benchmark_high then 'as_benchmark'
            when compared.sign * (compared.value - compared.benchmark_low) > 0 then 'better'
            else 'worse'
        end as benchmark_standing,
        compared.benchmark_source,
        compared.benchmark_note,
        compared.evidence_table,
        compared.evidence_filter,
        compared.metric_order,
        compared.measure_order,
        cast(compared.n as bigint) as n,
        compared.value,
        compared.value_low,
        compared.value_high,
        compared.previous_value,
        compared.change,
        compared.goal as target,
        compared.benchmark_low,
        compared.benchmark_high,
        compared.benchmark_year,
        compared.is_headline,
        compared.is_higher_better,
        case when compared.measure = 'coverage' and compared.n is not null then ahead.period_start else terms.period_start end
            as period_start,
        case when compared.measure = 'coverage' and compared.n is not null then ahead.period_end else terms.period_end end as period_end,
        {{ as_of_date() }} as as_of_date
    from compared
    left join terms on terms.term = 1
    left join ahead on compared.measure = 'coverage'
)

select * from final
