{%- set history = policy_constant('attainment_history_months', 'people_policy') | float | int %}
with calendar as (
    select * from {{ ref('calendar') }}
),

reps as (
    select * from {{ ref('reps') }}
),

reporting_lines as (
    select * from {{ ref('int_reporting_lines_then') }}
),

credits as (
    select * from {{ ref('int_deal_credits') }}
),

stretches as (
    select * from {{ ref('int_quota_stretches') }}
),

periods as (
    {%- for period in ('month', 'quarter', 'year') %}
    select distinct
        '{{ period }}' as period_type,
        {{ period }}_start as period_start,
        {{ period }}_end as period_end,
        least({{ period }}_end, {{ as_of_date() }}) as last_day,
        {{ period }}_end <= {{ as_of_date() }} as is_complete
    from calendar
    where
        {{ period }}_start <= {{ as_of_date() }}
        and {{ period }}_start >= {{ add_months(as_of_date(), -history) }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

credited as (
    select
        periods.period_type,
        periods.period_start,
        credits.user_id,
        sum(credits.credited_amount) as credited_amount,
        sum(credits.overlay_amount) as overlay_amount,
        count(case when credits.credit_share > 0 then 1 end) as won_count
    from periods
    inner join credits on credits.won_on between periods.period_start and periods.period_end
    group by periods.period_type, periods.period_start, credits.user_id
),

quotas as (
    select
        user_id,
        period_start,
        period_end,
        sum(quota_before_relief) as quota_before_relief,
        sum(quota_amount) as quota_amount,
        sum(quota_days) as quota_days,
        count(*) = count(quota_amount) as has_rate,
        {{ day_count('period_start', 'period_end') }} + 1 as days
    from stretches
    group by user_id, period_start, period_end
),

-- Without a day on which somebody was there to whom it applied, it is no quota.
asked as (
    select * from quotas
    where quota_days > 0
),

-- A period's quota is its own row, or else the rows within it.
matched_quotas as (
    select
        periods.period_type,
        periods.period_start as cell_start,
        periods.period_end as cell_end,
        quotas.user_id,
        quotas.quota_before_relief,
        quotas.quota_amount,
        quotas.quota_days,
        quotas.has_rate,
        quotas.days,
        max(case when quotas.period_start = periods.period_start and quotas.period_end = periods.period_end then 1 else 0 end) over (
            partition by periods.period_type, periods.period_start, quotas.user_id
        ) as has_own,
        case when quotas.period_start = periods.period_start and quotas.period_end = periods.period_end then 1 else 0 end as is_own
    from periods
    inner join asked as quotas on quotas.period_start >= periods.period_start and quotas.period_end <= periods.period_end
),

-- What is asked for a longer time is not cut.
spans as (
    {%- for span in ('quarter', 'year') %}
    select distinct
        'quota is set by {{ span }}' as set_otherwise,
        {{ span }}_start as span_start,
        {{ span }}_end as span_end
    from calendar
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

longer_quotas as (
    select
        periods.period_type,
        periods.period_start,
        asked.user_id,
        min(coalesce(spans.set_otherwise, 'quota is set for a longer time')) as set_otherwise
    from periods
    inner join asked on asked.period_start <= periods.period_start and asked.period_end >= periods.period_end
    left join spans on asked.period_start = spans.span_start and asked.period_end = spans.span_end
    group by periods.period_type, periods.period_start, asked.user_id
),

period_quotas as (
    select
        period_type,
        cell_start as period_start,
        user_id,
        sum(quota_before_relief) as quota_before_relief,
        sum(quota_amount) as quota_amount,
        sum(quota_days) as quota_days,
        min(case when has_rate then 1 else 0 end) = 1 as has_rate,
        sum(days) > max({{ day_count('cell_start', 'cell_end') }} + 1) as is_overlapping
    from matched_quotas
    where is_own = has_own
    group by period_type, cell_start, user_id
),

sellers as (
    select distinct
        periods.period_type,
        periods.period_start,
        reps.rep_id as user_id
    from periods
    inner join reps
        on reps.role in ('account_executive', 'account_manager', 'development_rep')
        and reps.valid_from <= periods.last_day
        and coalesce(reps.hired_on, reps.valid_from) <= periods.last_day
        and (reps.valid_to is null or reps.valid_to > greatest(periods.period_start, coalesce(reps.hired_on, reps.valid_from)))
        and (reps.terminated_on is null or reps.terminated_on >= greatest(periods.period_start, reps.valid_from))
    union
    select
        period_type,
        period_start,
        user_id
    from period_quotas
    union
    select
        period_type,
        period_start,
        user_id
    from credited
    where user_id is not null
),

cells as (
    select
        sellers.user_id,
        periods.*,
        people.name,
        reps.role,
        reps.manager_id,
        reps.manager_name,
        reps.region,
        reps.segment,
        people.terminated_on,
        {{ day_count('periods.period_start', 'periods.period_end') }} + 1 as period_days,
        greatest(
            {{ day_count(
                'greatest(periods.period_start, coalesce(people.hired_on, periods.period_start))',
                'least(periods.period_end, coalesce(people.terminated_on, periods.period_end))'
            ) }} + 1,
            0
        ) as days_there
    from sellers
    inner join periods on sellers.period_type = periods.period_type and sellers.period_start = periods.period_start
    left join reps
        on sellers.user_id = reps.rep_id
        and periods.last_day >= reps.valid_from
        and (reps.valid_to is null or periods.last_day < reps.valid_to)
    left join reps as people on sellers.user_id = people.rep_id and people.is_current
),

-- Who had somebody below on the last day.
leaders as (
    select distinct
        periods.period_type,
        periods.period_start,
        reporting_lines.manager_id as user_id
    from periods
    inner join reporting_lines on periods.last_day >= reporting_lines.valid_from and periods.last_day < reporting_lines.valid_to
),

joined as (
    select
        cells.*,
        coalesce(credited.credited_amount, 0) as credited_amount,
        coalesce(credited.overlay_amount, 0) as overlay_amount,
        coalesce(credited.won_count, 0) as won_count,
        case
            when period_quotas.has_rate and not period_quotas.is_overlapping then period_quotas.quota_before_relief
        end as quota_before_relief,
        case when period_quotas.has_rate and not period_quotas.is_overlapping then period_quotas.quota_amount end as quota_amount,
        coalesce(period_quotas.quota_days, 0) as quota_days,
        cast(coalesce(period_quotas.quota_days, 0) as double) / nullif(cells.days_there, 0) as covered_share,
        leaders.user_id is not null as is_leading,
        period_quotas.user_id is not null as has_quota,
        longer_quotas.set_otherwise,
        case
            when period_quotas.user_id is null then coalesce(longer_quotas.set_otherwise, 'no quota')
            when period_quotas.is_overlapping then 'quotas overlap'
            when not period_quotas.has_rate then 'no exchange rate'
            when cells.days_there = 0 or period_quotas.quota_days < cells.days_there * {{ people_policy('attainment_covered_share') }}
                then 'quota covers part of the period'
            when period_quotas.quota_amount = 0 then 'quota is zero'
        end as reason
    from cells
    left join credited
        on cells.user_id = credited.user_id
        and cells.period_type = credited.period_type
        and cells.period_start = credited.period_start
    left join period_quotas
        on cells.user_id = period_quotas.user_id
        and cells.period_type = period_quotas.period_type
        and cells.period_start = period_quotas.period_start
    left join longer_quotas
        on cells.user_id = longer_quotas.user_id
        and cells.period_type = longer_quotas.period_type
        and cells.period_start = longer_quotas.period_start
    left join leaders
        on cells.user_id = leaders.user_id
        and cells.period_type = leaders.period_type
        and cells.period_start = leaders.period_start
),

attained as (
    select
        joined.*,
        case when reason is null then cast(credited_amount as double) / cast(quota_amount as double) end as attainment,
        reason is null and is_complete and not is_leading
        and quota_days >= period_days * {{ people_policy('attainment_days_share') }} as is_judged
    from joined
),

scoped as (
    {%- for scope, member, name in [
        ('company', "'company'", "'Company'"),
        ('region', "coalesce(region, 'unknown')", "coalesce(region, 'unknown')"),
        ('segment', "coalesce(segment, 'unknown')", "coalesce(segment, 'unknown')"),
    ] %}
    select
        '{{ scope }}' as scope_type,
        {{ member }} as scope_id,
        {{ name }} as scope_name,
        attained.*
    from attained
    union all
    {%- endfor %}
    select
        'manager' as scope_type,
        reporting_lines.manager_id as scope_id,
        coalesce(managers.name, reporting_lines.manager_id) as scope_name,
        attained.*
    from attained
    inner join reporting_lines
        on attained.user_id = reporting_lines.rep_id
        and attained.last_day >= reporting_lines.valid_from
        and attained.last_day < reporting_lines.valid_to
    left join reps as managers on reporting_lines.manager_id = managers.rep_id and managers.is_current
),

-- Without a seller the company still has its row, and what nobody is credited with.
company as (
    select
        periods.period_type,
        periods.period_start,
        periods.period_end,
        periods.is_complete,
        coalesce(credited.credited_amount, 0) as credited_amount,
        coalesce(credited.won_count, 0) as won_count
    from periods
    left join credited
        on credited.user_id is null
        and periods.period_type = credited.period_type
        and periods.period_start = credited.period_start
),

rows_to_add as (
    select
        scope_type,
        scope_id,
        scope_name,
        period_type,
        period_start,
        period_end,
        is_complete,
        credited_amount,
        overlay_amount,
        won_count,
        case when attainment is not null and not is_leading then quota_before_relief end as quota_before_relief,
        case when attainment is not null and not is_leading then quota_amount end as quota_amount,
        case when attainment is not null and not is_leading then quota_days end as quota_days,
        case when has_quota and not is_leading then days_there end as days_with_quota,
        case when attainment is not null and not is_leading then days_there end as days_told,
        case when not is_leading then set_otherwise end as set_otherwise,
        case when is_judged then attainment end as judged_attainment,
        -- Added as decimals, as everything below.
        cast(
            sum(case when is_judged then cast(attainment as decimal(38, 12)) end) over (
                partition by scope_type, scope_id, period_type, period_start
            ) as double
        ) / nullif(
            count(case when is_judged then attainment end) over (partition by scope_type, scope_id, period_type, period_start), 0
        ) as mean
    from scoped
    {%- for scope, member, name in [
        ('company', 'company', 'Company'), ('region', 'unknown', 'unknown'), ('segment', 'unknown', 'unknown')
    ] %}
    union all
    select
        '{{ scope }}' as scope_type,
        '{{ member }}' as scope_id,
        '{{ name }}' as scope_name,
        period_type,
        period_start,
        period_end,
        is_complete,
        credited_amount,
        0 as overlay_amount,
        won_count,
        null as quota_before_relief,
        null as quota_amount,
        null as quota_days,
        null as days_with_quota,
        null as days_told,
        null as set_otherwise,
        null as judged_attainment,
        null as mean
    from company
    {{ "where won_count > 0" if scope != 'company' }}
    {%- endfor %}
),

-- Fractions are added as decimals: in whatever order the rows come it is the same to the last bit.
totals as (
    select
        scope_type,
        scope_id,
        scope_name,
        period_type,
        period_start,
        period_end,
        is_complete,
        sum(credited_amount) as credited_amount,
        sum(overlay_amount) as overlay_amount,
        sum(won_count) as won_count,
        sum(quota_before_relief) as quota_before_relief,
        sum(quota_amount) as quota_amount,
        coalesce(sum(quota_days), 0) as quota_days,
        coalesce(sum(days_with_quota), 0) as days_with_quota,
        coalesce(sum(days_told), 0) as days_told,
        min(set_otherwise) as set_otherwise,
        min(judged_attainment) as lowest,
        count(judged_attainment) as n,
        count(case when judged_attainment >= 1 then 1 end) as at_quota_count,
        max(mean) as mean,
        {{ sum_of_squares('(judged_attainment - mean)') }} as squares
    from rows_to_add
    group by scope_type, scope_id, scope_name, period_type, period_start, period_end, is_complete
),

judged as (
    select
        totals.*,
        -- Deals of everybody over the quota of a few would be no attainment.
        case
            when coalesce(quota_amount, 0) = 0 and days_with_quota = 0 then coalesce(set_otherwise, 'no quota')
            when coalesce(quota_amount, 0) = 0 or days_told < days_with_quota * {{ people_policy('attainment_covered_share') }}
                then 'quota covers part of the period'
        end as reason,
        case
            when not is_complete then 'period is running'
            when n < {{ people_policy('attainment_minimum_sellers') }} then 'not enough sellers'
        end as roll_up_reason,
        sqrt(squares / nullif(n - 1, 0) / nullif(n, 0)) as standard_error,
        cast(at_quota_count as double) / nullif(n, 0) as share
    from totals
),

final as (
    select
        'seller' as scope_type,
        user_id as scope_id,
        coalesce(name, user_id) as scope_name,
        period_type,
        role,
        manager_id,
        manager_name,
        region,
        segment,
        reason,
        cast(null as string) as roll_up_reason,
        cast(credited_amount as decimal(18, 4)) as credited_amount,
        cast(overlay_amount as decimal(18, 4)) as overlay_amount,
        cast(won_count as bigint) as won_count,
        cast(quota_before_relief as decimal(18, 4)) as quota_before_relief,
        cast(quota_amount as decimal(18, 4)) as quota_amount,
        cast(quota_days as bigint) as quota_days,
        covered_share,
        attainment,
        cast(
            case
                when attainment is not null and (terminated_on is null or terminated_on >= last_day)
                    then greatest(quota_amount - credited_amount, 0)
            end as decimal(18, 4)
        ) as amount_to_go,
        cast(null as bigint) as n,
        cast(null as double) as average_attainment,
        cast(null as double) as average_attainment_low,
        cast(null as double) as average_attainment_high,
        cast(null as bigint) as at_quota_count,
        cast(null as double) as at_quota_share,
        cast(null as double) as at_quota_share_low,
        cast(null as double) as at_quota_share_high,
        is_complete,
        is_judged,
        is_leading,
        period_start,
        period_end,
        {{ as_of_date() }} as as_of_date
    from attained
    union all
    select
        scope_type,
        scope_id,
        scope_name,
        period_type,
        cast(null as string) as role,
        cast(null as string) as manager_id,
        cast(null as string) as manager_name,
        cast(null as string) as region,
        cast(null as string) as segment,
        reason,
        roll_up_reason,
        cast(credited_amount as decimal(18, 4)) as credited_amount,
        cast(overlay_amount as decimal(18, 4)) as overlay_amount,
        cast(won_count as bigint) as won_count,
        cast(case when reason is null then quota_before_relief end as decimal(18, 4)) as quota_before_relief,
        cast(case when reason is null then quota_amount end as decimal(18, 4)) as quota_amount,
        cast(quota_days as bigint) as quota_days,
        cast(null as double) as covered_share,
        case when reason is null then cast(credited_amount as double) / cast(quota_amount as double) end as attainment,
        cast(case when reason is null then greatest(quota_amount - credited_amount, 0) end as decimal(18, 4)) as amount_to_go,
        cast(n as bigint) as n,
        case when roll_up_reason is null then mean end as average_attainment,
        case
            when roll_up_reason is not null then null
            -- Who cannot be below 0 is not so on average.
            when lowest >= 0 then greatest(mean - standard_error * {{ students_t('nullif(n - 1, 0)') }}, 0)
            else mean - standard_error * {{ students_t('nullif(n - 1, 0)') }}
        end as average_attainment_low,
        case when roll_up_reason is null then mean + standard_error * {{ students_t('nullif(n - 1, 0)') }} end as average_attainment_high,
        cast(at_quota_count as bigint) as at_quota_count,
        case when roll_up_reason is null then share end as at_quota_share,
        case when roll_up_reason is null then {{ wilson('share', 'n', -1) }} end as at_quota_share_low,
        case when roll_up_reason is null then {{ wilson('share', 'n', 1) }} end as at_quota_share_high,
        is_complete,
        cast(null as boolean) as is_judged,
        cast(null as boolean) as is_leading,
        period_start,
        period_end,
        {{ as_of_date() }} as as_of_date
    from judged
)

select * from final
