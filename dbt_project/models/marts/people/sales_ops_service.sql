{%- set months = policy_constant('help_window_months', 'people_policy') | float | int %}
-- docs/help.md is the rule.
with functions as (
    select
        function,
        target_days
    from {{ ref('help_functions') }}
    where kind = 'service'
),

statements as (
    select * from {{ ref('help_statements') }}
    where measure = 'service'
),

calendar as (
    select * from {{ ref('calendar') }}
),

waits as (
    select * from {{ ref('int_help_waits') }}
    where subject = 'service'
),

effects as (
    select * from {{ ref('teaming_effect') }}
    where segment = 'all'
),

requests as (
    select * from {{ ref('int_help_requests') }}
    where kind = 'service'
),

periods as (
    select
        'window' as period_type,
        'window' as part,
        {{ add_days(add_months(as_of_date(), -months), 1) }} as period_start,
        {{ as_of_date() }} as period_end
    union all
    select distinct
        'quarter' as period_type,
        quarter_name as part,
        quarter_start as period_start,
        quarter_end as period_end
    from calendar
    where quarter_start > {{ add_months(as_of_date(), -months) }} and quarter_start <= {{ as_of_date() }}
),

-- A function that policy does not name has a row all the same.
services as (
    select function from functions
    union
    select function from requests
    where is_in_window or is_in_quarter
),

told as (
    {%- for part, condition in [("'window'", 'is_in_window'), ('quarter_name', 'is_in_quarter')] %}
    select
        {{ part }} as part,
        requests.*,
        case
            when is_in_stage and (is_answered or decided_on is not null) then {{ second_count(
                'stage_entered_at', 'coalesce(stage_exited_at, ' ~ end_of_day(as_of_date()) ~ ')'
            ) }} / 86400
        end as whole_days,
        case
            when is_in_stage and (is_answered or decided_on is not null) then greatest(0, {{ second_count(
                'requested_at', 'least(coalesce(answered_at, stage_exited_at), coalesce(stage_exited_at, answered_at))'
            ) }} / 86400)
        end as stage_days
    from requests
    where {{ condition }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

counted as (
    select
        function,
        part,
        count(*) as request_count,
        count(case when is_answered then 1 end) as answered_count,
        count(case when is_answered_open then 1 end) as open_count,
        count(case when is_answered_open and answered_hours > 24 * target_days then 1 end) as overdue_count,
        {{ in_target_counts('answered') }},
        {{ mean_parts('satisfaction') }},
        {{ mean_parts('stage_days') }},
        cast(sum(cast(stage_days as decimal(28, 6))) as double)
        / nullif(cast(sum(cast(whole_days as decimal(28, 6))) as double), 0) as ratio,
        cast(sum(cast(whole_days as decimal(28, 6))) as double) as whole_days
    from told
    group by function, part
),

squares as (
    select
        told.function,
        told.part,
        {{ squares_around('told.stage_days', 'told.whole_days', 'counted.ratio') }} as squares
    from told
    inner join counted on told.function = counted.function and told.part = counted.part
    where told.stage_days is not null
    group by told.function, told.part
),

joined as (
    select
        services.function,
        periods.period_type,
        periods.period_start,
        periods.period_end,
        functions.target_days,
        {%- for name in ('request', 'answered', 'open') %}
        coalesce(counted.{{ name }}_count, 0) as {{ name }}_count,
        {%- endfor %}
        case when functions.target_days is not null then coalesce(counted.overdue_count, 0) end as overdue_count,
        coalesce(waits.n, 0) as turnaround_days_n,
        {%- for end in ('', '_low', '_high') %}
        waits.median_days{{ end }} as turnaround_days{{ end }},
        waits.p90_days{{ end }} as turnaround_days_p90{{ end }},
        {%- endfor %}
        {%- for name in ('in_target_share', 'satisfaction', 'stage_days') %}
        coalesce(counted.{{ name }}_n, 0) as {{ name }}_n,
        {%- endfor %}
        counted.in_target_count,
        counted.satisfaction_mean,
        counted.satisfaction_squares,
        counted.stage_days_mean,
        counted.stage_days_squares,
        counted.ratio,
        counted.whole_days,
        squares.squares,
        case when periods.period_type = 'window' then coalesce(effects.matched_count, 0) end as effect_n,
        effects.reason as effect_reason,
        effects.effect,
        effects.effect_low,
        effects.effect_high,
        (select count(*) from {{ ref('int_help_requests') }}) > 0 as has_requests
    from services
    cross join periods
    left join functions on services.function = functions.function
    left join counted on services.function = counted.function and periods.part = counted.part
    left join squares on services.function = squares.function and periods.part = squares.part
    left join waits on services.function = waits.function and periods.part = waits.part
    left join effects on services.function = effects.function and periods.period_type = 'window'
),

bounded as (
    select
        joined.*,
        {{ told_share('in_target_share', 'in_target_count', 'help_minimum_requests') }},
        {{ told_mean('satisfaction', 'help_minimum_requests', 1, 5) }},
        {{ told_mean('stage_days', 'help_minimum_requests', 0) }},
        {%- for end, side in {'_low': -1, '_high': 1}.items() %}
        case
            when stage_days_n >= {{ people_policy('help_minimum_requests') }}
                then {{ share_interval('ratio', 'stage_days_n', 'squares', 'whole_days', side) }}
        end as stage_days_share{{ end }},
        {%- endfor %}
        case when stage_days_n >= {{ people_policy('help_minimum_requests') }} then ratio end as stage_days_share
    from joined
),

judged as (
    select
        bounded.*,
        case
            when in_target_share is null then 'not_enough_data'
            when in_target_share_high < {{ people_policy('help_expected_share') }} then 'misses_target'
            when in_target_share_low > {{ people_policy('help_expected_share') }} then 'keeps_target'
            else 'as_expected'
        end as standing
    from bounded
),

final as (
    select
        judged.function,
        judged.period_type,
        judged.standing,
        statements.statement,
        statements.what_to_do,
        case
            when judged.turnaround_days is not null then null
            when not judged.has_requests then 'support requests are not delivered'
            when judged.turnaround_days_n < {{ people_policy('help_minimum_requests') }} then 'too few requests'
            else 'too many are still open'
        end as turnaround_reason,
        case
            when judged.in_target_share is not null then null
            when judged.target_days is null then 'policy has no target for this function'
            when not judged.has_requests then 'support requests are not delivered'
            else 'too few requests are old enough'
        end as in_target_reason,
        case
            when judged.effect is not null then null
            when judged.period_type = 'quarter' then 'told over the whole window alone'
            else coalesce(judged.effect_reason, 'nobody in this function joined a deal decided in the 24 months')
        end as effect_reason,
        cast(judged.target_days as bigint) as target_days,
        {%- for name in ('request_count', 'answered_count', 'open_count', 'overdue_count', 'turnaround_days_n') %}
        cast(judged.{{ name }} as bigint) as {{ name }},
        {%- endfor %}
        judged.turnaround_days,
        judged.turnaround_days_low,
        judged.turnaround_days_high,
        judged.turnaround_days_p90,
        judged.turnaround_days_p90_low,
        judged.turnaround_days_p90_high,
        {%- for name in ('in_target_share', 'satisfaction', 'stage_days') %}
        cast(judged.{{ name }}_n as bigint) as {{ name }}_n,
        judged.{{ name }},
        judged.{{ name }}_low,
        judged.{{ name }}_high,
        {%- endfor %}
        judged.stage_days_share,
        judged.stage_days_share_low,
        judged.stage_days_share_high,
        cast(judged.effect_n as bigint) as effect_n,
        judged.effect,
        judged.effect_low,
        judged.effect_high,
        judged.period_start,
        judged.period_end,
        {{ as_of_date() }} as as_of_date
    from judged
    left join statements
        -- Overdue requests are spoken of only where there are some.
        on statements.standing = judged.standing
        || case when judged.standing in ('misses_target', 'as_expected') and judged.overdue_count = 0 then '_none_overdue' else '' end
)

select * from final
