{{ config(materialized='table') }}
{%- set cell = ['subject', 'function', 'member_id', 'part'] %}
{%- set keys = cell | join(', ') %}
{%- set parts = [
    ('function', "'all'", "'all'", 'helped', "kind = 'specialist' and is_in_window"),
    ('function', "'all'", 'stage', 'helped', "kind = 'specialist' and is_in_window"),
    ('person', 'assignee_id', "'all'", 'helped', "kind = 'specialist' and is_of_person"),
    ('person', 'assignee_id', 'stage', 'helped', "kind = 'specialist' and is_of_person"),
    ('service', "'all'", "'window'", 'answered', "kind = 'service' and is_in_window"),
    ('service', "'all'", 'quarter_name', 'answered', "kind = 'service' and is_in_quarter"),
] %}
-- docs/help.md is the rule.
with requests as (
    select * from {{ ref('int_help_requests') }}
),

-- How many waited for so many hours, and how many of them no longer for help but for nobody knows how long.
counted as (
    {%- for subject, member, part, way, condition in parts %}
    select
        '{{ subject }}' as subject,
        function,
        {{ member }} as member_id,
        {{ part }} as part,
        {{ way }}_hours as hours,
        count(case when is_{{ way }} then 1 end) as ended,
        count(case when not is_{{ way }} then 1 end) as censored
    from requests
    where {{ condition }}
    group by {{ ['function', member, part, way ~ '_hours'] | reject('in', ["'all'", "'window'"]) | join(', ') }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

persons as (
    select distinct
        function,
        user_id
    from {{ ref('int_helpers') }}
    union
    select distinct
        function,
        assignee_id as user_id
    from requests
    where kind = 'specialist' and is_in_window and assignee_id is not null
),

own as (
    select * from counted
    where subject = 'person' and part = 'all'
),

everybody as (
    select
        function,
        hours,
        sum(ended) as ended,
        sum(censored) as censored
    from own
    group by function, hours
),

-- All of the function less what is one's own.
others as (
    select
        'others' as subject,
        persons.function,
        persons.user_id as member_id,
        'all' as part,
        everybody.hours,
        everybody.ended - coalesce(own.ended, 0) as ended,
        everybody.censored - coalesce(own.censored, 0) as censored
    from persons
    inner join everybody on persons.function = everybody.function
    left join own
        on persons.function = own.function
        and persons.user_id = own.member_id
        and everybody.hours = own.hours
),

steps as (
    select * from counted
    union all
    select * from others
    where ended + censored > 0
),

at_risk as (
    select
        steps.*,
        sum(ended + censored) over ({{ 'partition by ' ~ keys }}) as n,
        sum(ended + censored) over (
            partition by {{ keys }} order by hours rows between current row and unbounded following
        ) as at_risk,
        coalesce(sum(censored) over (
            partition by {{ keys }} order by hours rows between unbounded preceding and 1 preceding
        ), 0) as censored_so_far
    from steps
),

-- Kaplan-Meier and Greenwood. The last factor may be zero and is nobody's past.
survival as (
    select
        at_risk.*,
        case
            when max(case when ended = at_risk then 1 else 0 end) over so_far = 1 then 0
            else exp(sum(ln(nullif(1 - cast(ended as double) / at_risk, 0))) over so_far)
        end as still_waiting,
        sum(cast(ended as double) / nullif(cast(at_risk as double) * (at_risk - ended), 0)) over so_far as variance_sum
    from at_risk
    window so_far as (partition by {{ keys }} order by hours rows between unbounded preceding and current row)
),

-- So many requests without censoring would say it as exactly (Rothman 1978). What few who still wait say of the end is no surer.
effective as (
    select
        survival.*,
        1 - still_waiting as reached,
        min(
            case
                when still_waiting > 1e-9 and still_waiting < 1 - 1e-9
                    then least((1 - still_waiting) / nullif(still_waiting * variance_sum, 0), n)
                else greatest(n - censored_so_far, 1)
            end
        ) over (partition by {{ keys }} order by hours rows between unbounded preceding and current row) as effective_n
    from survival
),

told as (
    select
        effective.*,
        -- Of a whole number of requests the last digit may be missing.
        effective_n >= {{ people_policy('help_minimum_requests') }} - 1e-6 as is_told,
        {{ wilson('reached', 'cast(effective_n as double)', -1) }} as reached_low,
        {{ wilson('reached', 'cast(effective_n as double)', 1) }} as reached_high
    from effective
),

quantiles as (
    select
        {{ keys }},
        max(n) as n,
        {%- for name, share in {'median': 0.5, 'p90': 0.9}.items() %}
        {%- for end, reached in {'': 'reached', '_low': 'reached_high', '_high': 'reached_low'}.items() %}
        min(case when is_told and {{ reached }} >= {{ share }} - 1e-9 then hours end) as {{ name }}_hours{{ end }}
        {{- ',' if not (loop.last and name == 'p90') }}
        {%- endfor %}
        {%- endfor %}
    from told
    group by {{ keys }}
),

final as (
    select
        {{ keys }},
        cast(n as bigint) as n,
        {%- for name in ('median', 'p90') %}
        {%- for end in ('', '_low', '_high') %}
        case when {{ name }}_hours is not null then cast({{ name }}_hours{{ end }} as double) / 24 end as {{ name }}_days{{ end }}
        {{- ',' if not (loop.last and name == 'p90') }}
        {%- endfor %}
        {%- endfor %}
    from quantiles
)

select * from final
