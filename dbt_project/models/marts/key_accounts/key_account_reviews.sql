{%- set rows = policy_rows('key_account_policy') %}
{%- set criteria = policy_rows('key_account_criteria').values() | selectattr('criterion') | sort(attribute='rank') %}
{%- set policy = {} %}
{%- for name in ('enter_score', 'leave_score', 'leave_reviews', 'rest_reviews', 'rules_minimum', 'manager_capacity', 
    'attractiveness_weight', 'known_weight') %}
{%- do policy.update({name: rows[name].value | float if execute else 1}) %}
{%- endfor %}
with measures as (
    select * from {{ ref('int_key_account_measures') }}
),

pointed as (
    select
        measures.*
        {%- for side in ('attractiveness', 'relationship') %}
        {%- set of_side = criteria | selectattr('side', 'equalto', side) | list %}
        {%- for part in ('weight', 'points') %},
        cast(0 as double)
        {%- for row in of_side %}
        + case
            when {{ row.criterion }} is not null
                then {{ row.weight }}

                {%- if part == 'points' %}
                * least(greatest(({{ row.criterion }} - ({{ row.zero_at }})) / ({{ row.full_at - row.zero_at }}), 0), 1)
                {%- endif %}
            else 0
        end
        {%- endfor %} as {{ side }}_{{ part }}
        {%- endfor %}
        {%- endfor %}
    from measures
),

sided as (
    select
        pointed.*
        {%- for side in ('attractiveness', 'relationship') %}
        {%- set weight = criteria | selectattr('side', 'equalto', side) | sum(attribute='weight') %},
        case
            when is_reviewed and {{ side }}_weight >= {{ policy['known_weight'] }} * {{ weight }} - 0.000001
                then floor(100 * (100 * {{ side }}_points / {{ side }}_weight) + 0.5) / 100
        end as {{ side }}
        {%- endfor %},
        {%- for word, condition in {'passed': '>=', 'failed': '<'}.items() %}
        nullif(concat_ws(
            ', '
            {%- for row in criteria %},
            case when {{ row.criterion }} {{ condition }} {{ row.pass_at }} then '{{ row.criterion }}' end
            {%- endfor %}
        ), '') as rules_{{ word }},
        {%- endfor %}
        nullif(concat_ws(
            ', '
            {%- for row in criteria %},
            case when {{ row.criterion }} is null then '{{ row.criterion }}' end
            {%- endfor %}
        ), '') as rules_unknown,
        {%- for size, count in {true: 'size_rules_passed_count', false: 'rules_passed_count'}.items() %}
        0
        {%- for row in criteria | selectattr('is_size', 'equalto', size) %}
        + case when is_reviewed and {{ row.criterion }} >= {{ row.pass_at }} then 1 else 0 end
        {%- endfor %} as {{ count }}{{ ',' if not loop.last }}
        {%- endfor %}
    from pointed
),

scored as (
    select
        sided.*,
        floor(
            100 * (
                power(attractiveness, {{ policy['attractiveness_weight'] }})
                * power(relationship, {{ 1 - policy['attractiveness_weight'] }})
            ) + 0.5
        ) / 100 as score
    from sided
),

-- Size alone neither brings an account onto the list nor keeps it there.
judged as (
    select
        scored.*,
        is_reviewed
        and coalesce(score >= {{ policy['enter_score'] }}, false)
        and rules_passed_count >= {{ policy['rules_minimum'] | int }} as can_enter,
        not is_reviewed or coalesce(score < {{ policy['leave_score'] }}, false) or rules_passed_count = 0 as is_below
    from scored
),

dropping as (
    select
        judged.*,
        count(case when is_below then 1 end) over (
            partition by account_id order by review_number rows between {{ policy['leave_reviews'] | int - 1 }} preceding and current row
        ) = {{ policy['leave_reviews'] | int }} as drops
    from judged
),

-- The last thing that happened decides: who could enter stays qualified until it drops.
qualifying as (
    select
        dropping.*,
        coalesce({{ last_known('case when can_enter then 1 when drops then 0 end') }} over (
            partition by account_id order by review_number rows between unbounded preceding and current row
        ), 0) = 1 as is_qualified
    from dropping
),

turning as (
    select
        qualifying.*,
        coalesce(lag(is_qualified) over (partition by account_id order by review_number), false) as was_qualified
    from qualifying
),

stays as (
    select
        turning.*,
        {{ last_known('case when is_qualified and not was_qualified then reviewed_on end') }} over so_far as qualified_on,
        {{ last_known('case when is_qualified and not was_qualified then score end') }} over so_far as qualifying_score,
        coalesce(max(case when was_qualified and not is_qualified then 1 else 0 end) over (
            partition by account_id order by review_number rows between {{ policy['rest_reviews'] | int }} preceding and 1 preceding
        ), 0) = 1 as has_lost_its_place
    from turning
    window so_far as (partition by account_id order by review_number rows between unbounded preceding and current row)
),

queued as (
    select
        stays.*,
        case
            when is_qualified
                then row_number() over (
                    partition by review_number, manager_id, is_qualified order by qualified_on asc, qualifying_score desc, account_id asc
                )
        end as place
    from stays
),

admitted as (
    select
        queued.*,
        can_enter and place <= {{ policy['manager_capacity'] | int }} and not has_lost_its_place as is_admitted
    from queued
),

listed as (
    select
        admitted.*,
        coalesce({{ last_known('case when is_admitted then 1 when drops then 0 end') }} over (
            partition by account_id order by review_number rows between unbounded preceding and current row
        ), 0) = 1 as is_key
    from admitted
),

changing as (
    select
        listed.*,
        coalesce(lag(is_key) over (partition by account_id order by review_number), false) as was_key
    from listed
),

dated as (
    select
        changing.*,
        {{ last_known('case when is_key and not was_key then reviewed_on end') }} over (
            partition by account_id order by review_number rows between unbounded preceding and current row
        ) as entered_on,
        count(case when is_key then 1 end) over (partition by review_number, manager_id) as list_count
    from changing
),

accounts as (
    select * from {{ ref('accounts') }}
),

people as (
    select * from {{ ref('int_users_known') }}
),

final as (
    select
        dated.account_id,
        accounts.name as account_name,
        dated.manager_id,
        coalesce(people.name, dated.manager_id) as manager_name,
        case when dated.is_key then 'on_list' when dated.is_qualified then 'waiting' else 'not_on_list' end as standing,
        case
            when dated.is_key then null
            when not dated.is_reviewed then 'pays nothing'
            when dated.score is null then 'not enough data'
            when dated.rules_passed_count = 0 and dated.size_rules_passed_count > 0 then 'size alone'
            when dated.rules_passed_count < {{ policy['rules_minimum'] | int }} then 'too few rules passed'
            when dated.score < {{ policy['enter_score'] }} then 'score below entry'
            when dated.has_lost_its_place then 'lost its place within a year'
            when dated.list_count >= {{ policy['manager_capacity'] | int }} then 'waits for a place'
            else 'accounts that qualified before it hold the places, and cannot enter themselves now'
        end as reason,
        case when dated.is_reviewed then dated.rules_passed end as rules_passed,
        case when dated.is_reviewed then dated.rules_failed end as rules_failed,
        case when dated.is_reviewed then dated.rules_unknown end as rules_unknown,
        dated.arr,
        dated.attractiveness,
        dated.relationship,
        dated.score,
        dated.revenue,
        dated.potential,
        dated.growth,
        dated.breadth,
        dated.contacts,
        dated.seniority,
        dated.value_meetings,
        dated.tenure,
        cast(dated.rules_passed_count as bigint) as rules_passed_count,
        cast(dated.place as bigint) as place,
        dated.is_reviewed,
        dated.is_below,
        dated.is_qualified,
        dated.is_key,
        dated.reviewed_on,
        case when dated.is_qualified then dated.qualified_on end as qualified_on,
        case when dated.is_key or dated.was_key then dated.entered_on end as entered_on,
        case when dated.was_key and not dated.is_key then dated.reviewed_on end as left_on,
        {{ as_of_date() }} as as_of_date
    from dated
    left join accounts on dated.account_id = accounts.account_id
    left join people on dated.manager_id = people.user_id
)

select * from final
