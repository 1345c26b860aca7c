{%- set policy = {} %}
{%- for name in ('shrinking_growth', 'growing_growth', 'reactive_meetings', 'proactive_meetings', 'proactive_share', 'objectives_share',
    'plan_days', 'sponsor_days', 'enter_score') %}
{%- do policy.update({name: policy_constant(name, 'key_account_policy') | float}) %}
{%- endfor %}
{%- set plan_age = day_count('plan_looked_at_on', as_of_date()) %}
{#- Of each thing that can be found: when it is, its value, and the norm that is held against. #}
{%- set has_plan = 'not is_lost and has_plan_of_the_year' %}
{%- set found = {
    'lost': ('is_lost', 'arr', 'last_arr'),
    'renewal_cancelled': ('not is_lost and cancelled_amount > 0', 'cancelled_amount', 'arr'),
    'renewal_overdue': ('not is_lost and overdue_amount > 0', 'overdue_amount', 'arr'),
    'shrinking': ('not is_lost and nrr < ' ~ (1 + policy['shrinking_growth']), 'nrr - 1', policy['shrinking_growth']),
    'single_relationship': ('relationship_contact_count = 1', 'relationship_contact_count', 2),
    'nobody_engaged': ('engaged_contact_count = 0', 'engaged_contact_count', 1),
    'no_senior_contact': ('relationship_senior_count = 0', 'relationship_senior_count', 1),
    'reactive': (
        'not is_lost and proactive_meeting_count < ' ~ policy['reactive_meetings'], 'proactive_meeting_count',
        policy['reactive_meetings']),
    'customer_objectives_behind': (
        wilson('objectives_met_share', 'cast(objective_count as double)', 1) ~ ' < ' ~ policy['objectives_share'],
        'objectives_met_share', policy['objectives_share']),
    'no_plan': ("standing = 'on_list' and not is_lost and has_plans and not has_plan_of_the_year", '0', 1),
    'plan_not_current': (
        has_plan ~ ' and coalesce(' ~ plan_age ~ ' >= ' ~ policy['plan_days'] ~ ', true)', plan_age, policy['plan_days']),
    'no_sponsor': (has_plan ~ ' and executive_sponsor_id is null', '0', 1),
    'sponsor_absent': (
        has_plan ~ ' and not has_sponsor_meeting', day_count('last_sponsor_meeting_on', as_of_date()), policy['sponsor_days']),
    'no_wallet_estimate': ('addressable_spend is null or wallet_share > 1', 'wallet_share', 1),
    'not_on_list': ("standing = 'planned'", 'score', policy['enter_score']),
    'proactive': (
        'proactive_meeting_count >= ' ~ policy['proactive_meetings'] ~ ' and initiated_share >= ' ~ policy['proactive_share'],
        'initiated_share', policy['proactive_share']),
    'growing': ('nrr >= ' ~ (1 + policy['growing_growth']), 'nrr - 1', policy['growing_growth']),
} %}
with facts as (
    select * from {{ ref('int_key_account_facts') }}
),

words as (
    select * from {{ ref('key_account_concerns') }}
),

found as (
    {%- for concern, (condition, value, norm) in found.items() %}
    select
        account_id,
        account_name,
        manager_id,
        manager_name,
        '{{ concern }}' as concern,
        cast({{ value }} as double) as value,
        cast({{ norm }} as double) as norm,
        {{ 'objective_count' if concern == 'customer_objectives_behind' else 'cast(null as bigint)' }} as n,
        {{ 'churn_reason' if concern == 'lost' else 'cast(null as string)' }} as said_why
    from facts
    where {{ condition }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

final as (
    select
        found.account_id,
        found.account_name,
        found.manager_id,
        found.manager_name,
        found.concern,
        words.kind,
        case when found.value is null then coalesce(words.what_is_wrong_unknown, words.what_is_wrong) else words.what_is_wrong end
        || coalesce(' (finance notes: ' || found.said_why || ')', '') as what_is_wrong,
        words.what_to_do,
        words.rank,
        found.value,
        found.norm,
        found.n,
        {{ as_of_date() }} as as_of_date
    from found
    inner join words on found.concern = words.concern
)

select * from final
