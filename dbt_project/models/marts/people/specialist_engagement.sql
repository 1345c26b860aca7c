{%- set months = policy_constant('help_window_months', 'people_policy') | float | int %}
{%- set key = ['function', 'user_id', 'stage'] %}
-- docs/help.md is the rule.
with functions as (
    select * from {{ ref('help_functions') }}
    where kind = 'specialist'
),

statements as (
    select * from {{ ref('help_statements') }}
),

waits as (
    select * from {{ ref('int_help_waits') }}
),

effects as (
    select * from {{ ref('int_teaming_effects') }}
    where comparison = 'help' and segment = 'all'
),

coverage as (
    select * from {{ ref('int_help_coverage') }}
),

requests as (
    select * from {{ ref('int_help_requests') }}
    where kind = 'specialist' and is_in_window
),

deals as (
    select
        opportunity_id,
        is_open,
        closed_on
    from {{ ref('opportunities') }}
    where not is_deleted
),

helpers as (
    select
        helpers.function,
        helpers.user_id,
        helpers.opportunity_id,
        helpers.left_on is null and deals.is_open as is_on_open_deal
    from {{ ref('int_helpers') }} as helpers
    inner join deals on helpers.opportunity_id = deals.opportunity_id
    where deals.is_open or deals.closed_on > {{ add_months(as_of_date(), -months) }}
),

names as (
    select
        rep_id,
        max(name) as name
    from {{ ref('reps') }}
    group by rep_id
),

-- Whose requests each row tells: those of the function with all that wait, those of a person once they are settled.
told as (
    {%- for user, stage, condition in [
        ("'all'", "'all'", none), ("'all'", 'stage', none), ('assignee_id', "'all'", 'is_of_person'), ('assignee_id', 'stage', 'is_of_person'),
    ] %}
    select
        {{ user }} as user_id,
        {{ stage }} as row_stage,
        requests.*
    from requests
    {%- if condition %}
    where {{ condition }}
    {%- endif %}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

covered as (
    {%- for stage in ("'all'", 'stage') %}
    select
        function,
        'all' as user_id,
        {{ stage }} as stage,
        count(*) as n,
        count(case when is_covered then 1 end) as covered_count,
        cast(sum(cast(norm as decimal(38, 18))) as double) / count(*) as norm
    from coverage
    group by function{{ ', stage' if not loop.first }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

grid as (
    select
        function,
        'all' as user_id,
        'all' as stage
    from functions
    union
    select
        function,
        user_id,
        'all' as stage
    from helpers
    union
    select
        function,
        assignee_id as user_id,
        'all' as stage
    from requests
    where assignee_id is not null
    union
    select
        function,
        user_id,
        row_stage as stage
    from told
    union
    select
        function,
        user_id,
        stage
    from covered
),

counted as (
    select
        function,
        user_id,
        row_stage as stage,
        count(*) as request_count,
        count(case when is_helped then 1 end) as helped_count,
        count(case when is_helped_open then 1 end) as waiting_count,
        count(case when is_helped_open and helped_hours > 24 * target_days then 1 end) as overdue_count,
        count(case when decided_on is not null and (not is_helped or cast(helped_at as date) >= decided_on) then 1 end) as decided_count,
        {{ in_target_counts('helped') }},
        count(case when is_settled and is_in_stage and (is_helped or stage_exited_at is not null) then 1 end) as late_n,
        count(case when is_settled and is_in_stage and stage_exited_at <= coalesce(helped_at, stage_exited_at) then 1 end) as late_count,
        {{ mean_parts('satisfaction') }}
    from told
    group by function, user_id, row_stage
),

loads as (
    select
        function,
        user_id,
        count(distinct case when is_on_open_deal then opportunity_id end) as open_deal_count
    from helpers
    group by function, user_id
    union all
    select
        function,
        'all' as user_id,
        count(distinct case when is_on_open_deal then opportunity_id end) as open_deal_count
    from helpers
    group by function
),

joined as (
    select
        grid.function,
        grid.user_id,
        grid.stage,
        names.name,
        functions.target_days,
        {%- for name in ('request', 'helped', 'waiting', 'overdue', 'decided') %}
        coalesce(counted.{{ name }}_count, 0) as {{ name }}_count,
        {%- endfor %}
        coalesce(waits.n, 0) as days_to_help_n,
        {%- for end in ('', '_low', '_high') %}
        waits.median_days{{ end }} as days_to_help{{ end }},
        waits.p90_days{{ end }} as days_to_help_p90{{ end }},
        others.median_days{{ end }} as others_days_to_help{{ end }},
        {%- endfor %}
        coalesce(others.n, 0) as others_days_to_help_n,
        coalesce(counted.in_target_share_n, 0) as in_target_share_n,
        counted.in_target_count,
        coalesce(counted.late_n, 0) as late_share_n,
        counted.late_count,
        coalesce(counted.satisfaction_n, 0) as satisfaction_n,
        counted.satisfaction_mean,
        counted.satisfaction_squares,
        case when grid.user_id = 'all' then coalesce(covered.n, 0) end as coverage_n,
        covered.covered_count,
        covered.norm,
        case when grid.stage = 'all' then coalesce(loads.open_deal_count, 0) end as open_deal_count,
        case when grid.stage = 'all' then coalesce(effects.matched_count, 0) end as effect_n,
        case when grid.stage = 'all' then coalesce(effects.control_count, 0) end as control_count,
        effects.reason as effect_reason,
        effects.win_rate_with,
        effects.win_rate_without,
        effects.effect,
        effects.effect_low,
        effects.effect_high,
        (select count(*) from {{ ref('int_help_requests') }}) > 0 as has_requests
    from grid
    inner join functions on grid.function = functions.function
    left join names on grid.user_id = names.rep_id
    left join counted
        on grid.function = counted.function and grid.user_id = counted.user_id and grid.stage = counted.stage
    left join waits
        on grid.function = waits.function
        and grid.user_id = waits.member_id
        and grid.stage = waits.part
        and waits.subject in ('function', 'person')
    left join waits as others
        on grid.function = others.function
        and grid.user_id = others.member_id
        and grid.stage = others.part
        and others.subject = 'others'
    left join covered
        on grid.function = covered.function and grid.user_id = covered.user_id and grid.stage = covered.stage
    left join loads on grid.function = loads.function and grid.user_id = loads.user_id
    left join effects
        on grid.function = effects.function and grid.user_id = effects.member_id and grid.stage = 'all'
),

bounded as (
    select
        joined.*,
        {{ told_share('in_target_share', 'in_target_count', 'help_minimum_requests') }},
        {{ told_share('late_share', 'late_count', 'help_minimum_requests') }},
        {{ told_share('coverage', 'covered_count', 'help_minimum_deals') }},
        case when coverage_n >= {{ people_policy('help_minimum_deals') }} then norm end as coverage_norm,
        {{ told_mean('satisfaction', 'help_minimum_requests', 1, 5) }}
    from joined
),

judged as (
    select
        bounded.*,
        case
            when user_id = 'all' and in_target_share is null then 'not_enough_data'
            when user_id = 'all' and in_target_share_high < {{ people_policy('help_expected_share') }} then 'misses_target'
            when user_id = 'all' and in_target_share_low > {{ people_policy('help_expected_share') }} then 'keeps_target'
            when user_id = 'all' then 'as_expected'
            when stage != 'all' then null
            when days_to_help is null or others_days_to_help is null or in_target_share is null then 'not_enough_data'
            when days_to_help_low > others_days_to_help_high and in_target_share_high < {{ people_policy('help_expected_share') }}
                then 'slow'
            when days_to_help_high < others_days_to_help_low and in_target_share_low > {{ people_policy('help_expected_share') }}
                then 'quick'
            else 'ordinary'
        end as time_standing,
        case
            when user_id != 'all' then null
            when coverage is null then 'not_enough_data'
            when coverage_high < coverage_norm then 'thin'
            when coverage_low > coverage_norm then 'covered'
            else 'as_expected'
        end as coverage_standing,
        case
            when stage != 'all' then null
            when effect is null then 'not_enough_data'
            when effect_low > 0 then 'helps'
            when effect_high < 0 then 'hurts'
            else 'not_shown'
        end as effect_standing
    from bounded
),

final as (
    select
        judged.function,
        judged.user_id,
        judged.stage,
        case when judged.user_id != 'all' then coalesce(judged.name, judged.user_id) end as name,
        judged.time_standing,
        time_words.statement as time_statement,
        time_words.what_to_do as time_what_to_do,
        case
            when judged.days_to_help is not null then null
            when not judged.has_requests then 'support requests are not delivered'
            when judged.days_to_help_n < {{ people_policy('help_minimum_requests') }} then 'too few requests'
            else 'too many still wait'
        end as days_to_help_reason,
        judged.coverage_standing,
        coverage_words.statement as coverage_statement,
        coverage_words.what_to_do as coverage_what_to_do,
        case
            when judged.user_id != 'all' or judged.coverage is not null then null
            when judged.coverage_n = 0 then 'no open deal is in a stage in which most won deals had this function'
            else 'too few open deals in stages in which most won deals had this function'
        end as coverage_reason,
        judged.effect_standing,
        effect_words.statement as effect_statement,
        effect_words.what_to_do as effect_what_to_do,
        case
            when judged.stage = 'all' and judged.effect is null
                then coalesce(judged.effect_reason, 'nobody in this function joined a deal decided in the 24 months')
        end as effect_reason,
        cast(judged.target_days as bigint) as target_days,
        {%- for name in ('request_count', 'helped_count', 'waiting_count', 'overdue_count', 'decided_count', 'days_to_help_n') %}
        cast(judged.{{ name }} as bigint) as {{ name }},
        {%- endfor %}
        judged.days_to_help,
        judged.days_to_help_low,
        judged.days_to_help_high,
        judged.days_to_help_p90,
        judged.days_to_help_p90_low,
        judged.days_to_help_p90_high,
        cast(judged.others_days_to_help_n as bigint) as others_days_to_help_n,
        judged.others_days_to_help,
        judged.others_days_to_help_low,
        judged.others_days_to_help_high,
        {%- for name in ('in_target_share', 'late_share', 'satisfaction', 'coverage') %}
        cast(judged.{{ name }}_n as bigint) as {{ name }}_n,
        judged.{{ name }},
        judged.{{ name }}_low,
        judged.{{ name }}_high,
        {%- endfor %}
        judged.coverage_norm,
        cast(judged.open_deal_count as bigint) as open_deal_count,
        cast(judged.effect_n as bigint) as effect_n,
        cast(judged.control_count as bigint) as control_count,
        judged.win_rate_with,
        judged.win_rate_without,
        judged.effect,
        judged.effect_low,
        judged.effect_high,
        {{ add_days(add_months(as_of_date(), -months), 1) }} as window_start,
        {{ as_of_date() }} as as_of_date
    from judged
    {%- for measure in ('time', 'coverage', 'effect') %}
    left join statements as {{ measure }}_words
        on {{ measure }}_words.measure = '{{ measure }}'
        and {{ measure }}_words.standing = {% if measure == 'time' -%}
            case
                when judged.time_standing = 'as_expected' and judged.waiting_count = 0 then 'as_expected_none_waiting'
                else judged.time_standing
            end
        {%- else -%}
            judged.{{ measure }}_standing
        {%- endif %}
    {%- endfor %}
)

select * from final
