with policy as (
    select * from {{ ref('scorecard_behaviours') }}
),

measures as (
    select * from {{ ref('int_behaviour_measures') }}
),

coverage as (
    select * from {{ ref('data_coverage') }}
),

absent as (
    select
        policy.behaviour,
        min(coverage.entity) as entity
    from policy
    inner join coverage on concat(' ', policy.needs, ' ') like concat('% ', coverage.entity, ' %')
    where not coverage.is_delivered
    group by policy.behaviour
),

judged as (
    select
        policy.*,
        absent.entity as absent_entity,
        coalesce(measures.n, 0) as n,
        measures.n >= policy.minimum_n and measures.value is not null and absent.entity is null as is_told,
        measures.value,
        measures.value_low,
        measures.value_high,
        case when policy.is_higher_better then 1 else -1 end as sign
    from policy
    left join measures on policy.behaviour = measures.behaviour
    left join absent on policy.behaviour = absent.behaviour
),

told as (
    select
        judged.*,
        case
            when not coalesce(judged.is_told, false) then 'not_enough_data'
            when judged.sign * (judged.value - judged.met_at) >= 0 then 'met'
            when judged.sign * (judged.value - judged.partly_at) >= 0 then 'partly'
            else 'not_met'
        end as status,
        -- By the end of the interval that speaks more for it, and by the one that speaks less.
        judged.sign * case when judged.is_higher_better then judged.value_low else judged.value_high end as least,
        judged.sign * case when judged.is_higher_better then judged.value_high else judged.value_low end as most
    from judged
),

final as (
    select
        behaviour,
        name,
        status,
        measure,
        what_is_measured,
        unit,
        case
            when status != 'not_enough_data' then null
            when absent_entity is not null then concat(absent_entity, ' is not delivered')
            when n < minimum_n then concat('fewer than ', cast(minimum_n as string), ' cases')
            -- Its cases are told but for those of a sponsor who leaves no trace.
            when behaviour = 'K4' then 'nothing of the sponsors on record'
            else 'not enough data'
        end as reason,
        case when status in ('partly', 'not_met') then what_to_do end as what_to_do,
        evidence_table,
        behaviour_order,
        n,
        minimum_n,
        case when status != 'not_enough_data' then value end as value,
        case when status != 'not_enough_data' then value_low end as value_low,
        case when status != 'not_enough_data' then value_high end as value_high,
        met_at,
        partly_at,
        is_higher_better,
        case
            when status = 'met' then coalesce(least >= sign * met_at, false)
            when status = 'partly' then coalesce(least >= sign * partly_at and most < sign * met_at, false)
            when status = 'not_met' then coalesce(most < sign * partly_at, false)
        end as is_clear,
        {{ as_of_date() }} as as_of_date
    from told
)

select * from final
