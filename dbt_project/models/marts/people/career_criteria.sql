with held as (
    select * from {{ ref('int_career_levels') }}
),

rules as (
    select * from {{ ref('career_rules') }}
),

attainments as (
    select * from {{ ref('quota_attainment') }}
    where scope_type = 'seller' and period_type = 'quarter'
),

sellers as (
    select * from {{ ref('int_diagnosis_sellers') }}
),

quarters as (
    select
        attainments.scope_id,
        -- Below quota in a ramp says nothing of the level.
        max(sellers.window_reason) as window_reason,
        count(attainments.attainment) as told_count,
        cast(sum(case when attainments.attainment is not null then attainments.credited_amount end) as double)
        / nullif(cast(sum(case when attainments.attainment is not null then attainments.quota_amount end) as double), 0) as attainment
    from attainments
    inner join sellers
        on attainments.scope_id = sellers.seller_id
        and attainments.period_start >= sellers.window_start
        and attainments.period_end <= sellers.window_end
    group by attainments.scope_id
),

talents as (
    select * from {{ ref('talent_criteria') }}
),

managers as (
    select * from {{ ref('manager_coaching') }}
),

statements as (
    select * from {{ ref('talent_statements') }}
),

-- What can be done about it hangs on what is told of the seller; where nothing fits the words of the rule stand.
diagnoses as (
    select
        seller_id,
        max(verdict) as verdict,
        max(case when factor = 'win_rate' then weakest_stage end) as weakest_stage,
        max(case when factor = 'win_rate' then own_ratio end) as win_ratio,
        max(case when factor = 'deal_size' then own_ratio end) as size_ratio
    from {{ ref('rep_diagnosis') }}
    group by seller_id
),

causes as (
    select
        seller_id,
        'attainment' as criterion,
        verdict as cause
    from diagnoses
    union all
    select
        seller_id,
        'deal_yield' as criterion,
        case
            when size_ratio < win_ratio then 'deal_size'
            when weakest_stage is null then 'no_stage'
        end as cause
    from diagnoses
),

measured as (
    select
        person_id,
        'months_in_level' as criterion,
        case when in_level_since is null then 'day of hiring is not known' end as reason,
        cast(null as bigint) as n,
        cast({{ day_count('in_level_since', as_of_date()) }} as double) / 30.4375 as value,
        cast(null as double) as value_low,
        cast(null as double) as value_high
    from held
    union all
    select
        scope_id as person_id,
        'attainment' as criterion,
        case
            when window_reason is not null then window_reason
            when told_count < {{ people_policy('diagnosis_quarters') }} then 'quota does not cover the window'
        end as reason,
        told_count as n,
        attainment as value,
        cast(null as double) as value_low,
        cast(null as double) as value_high
    from quarters
    union all
    select
        seller_id as person_id,
        criterion,
        reason,
        n,
        value,
        value_low,
        value_high
    from talents
    where criterion in ('deal_yield', 'collaboration', 'follow_ups')
    {%- for measure, reason, n in [
        ('sessions_per_seller_month', 'coaching_reason', 'coaching_n'),
        ('seller_led_share', 'ride_along_reason', 'seller_led_n'),
        ('follow_up_done_share', 'follow_up_reason', 'follow_up_due_count'),
    ] %}
    union all
    select
        manager_id as person_id,
        '{{ measure }}' as criterion,
        {{ reason }} as reason,
        {{ n }} as n,
        {{ measure }} as value,
        {{ measure }}_low as value_low,
        {{ measure }}_high as value_high
    from managers
    {%- endfor %}
),

final as (
    select
        held.person_id,
        rules.criterion,
        held.person_name,
        held.role,
        case
            when measured.reason is not null or measured.value is null then 'not_enough_data'
            when measured.value >= rules.threshold then 'met'
            else 'missing'
        end as status,
        case
            when measured.value is null or measured.reason is not null then coalesce(measured.reason, 'not measured')
        end as reason,
        case
            when measured.reason is null and measured.value < rules.threshold then coalesce(statements.what_to_do, rules.what_to_do)
        end as what_to_do,
        cast(held.level as bigint) as level,
        cast(rules.criterion_order as bigint) as criterion_order,
        cast(measured.n as bigint) as n,
        rules.threshold,
        case when measured.reason is null then measured.value end as value,
        case when measured.reason is null then measured.value_low end as value_low,
        case when measured.reason is null then measured.value_high end as value_high,
        held.in_level_since,
        {{ as_of_date() }} as as_of_date
    from held
    inner join rules on held.role = rules.role and held.level = rules.level
    left join measured on held.person_id = measured.person_id and rules.criterion = measured.criterion
    left join causes on held.person_id = causes.seller_id and rules.criterion = causes.criterion
    left join statements on rules.criterion = statements.subject and causes.cause = statements.verdict
)

select * from final
