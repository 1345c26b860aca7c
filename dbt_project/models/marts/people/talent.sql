with sellers as (
    select * from {{ ref('int_diagnosis_sellers') }}
),

told as (
    select * from {{ ref('talent_criteria') }}
),

attainments as (
    select * from {{ ref('int_talent_attainments') }}
    where reason is null
),

rules as (
    select * from {{ ref('talent_rules') }}
),

statements as (
    select * from {{ ref('talent_statements') }}
),

-- Of whom a diagnosis names a factor.
diagnoses as (
    select
        seller_id,
        count(what_is_wrong) > 0 as has_factor
    from {{ ref('rep_diagnosis') }}
    group by seller_id
),

counted as (
    select
        seller_id,
        track,
        count(case when reason is null then 1 end) as told_count,
        count(case when reason is not null then 1 end) as not_told_count,
        count(case when verdict = 'above_peers' then 1 end) as above_count,
        count(case when verdict = 'below_peers' then 1 end) as below_count,
        count(case when rule in ('above', 'at_least') and reason is not null then 1 end) as not_told_needed_count,
        count(case when not is_met then 1 end) as not_met_count,
        min(case when verdict = 'above_peers' then criterion_order end) as first_above,
        min(case when rule in ('above', 'at_least') and reason is not null then criterion_order end) as first_not_told
    from told
    group by seller_id, track
),

judged as (
    select
        counted.*,
        attainments.true_attainment,
        attainments.true_attainment_low,
        attainments.true_attainment_high,
        attainments.low_attainment_probability,
        case
            when
                attainments.low_attainment_probability > {{ people_policy('talent_low_probability') }}
                and attainments.own_log < 0 then 'low_performer'
            when
                counted.not_told_needed_count > 0 or counted.told_count < {{ people_policy('talent_minimum_criteria') }}
                then 'not_enough_data'
            when counted.not_met_count = 0 then 'high_potential'
            else 'no_statement'
        end as verdict
    from counted
    left join attainments on counted.seller_id = attainments.seller_id and counted.track = 'expert'
),

reasoned as (
    select
        judged.*,
        case
            when judged.verdict = 'not_enough_data' then coalesce(not_told.reason, 'too few criteria can be told')
        end as reason
    from judged
    left join told as not_told
        on judged.seller_id = not_told.seller_id
        and judged.track = not_told.track
        and judged.first_not_told = not_told.criterion_order
),

-- The words that say most of it.
worded as (
    select
        reasoned.*,
        statements.what_to_do
    from reasoned
    left join diagnoses on reasoned.seller_id = diagnoses.seller_id
    left join statements
        on reasoned.track = statements.subject
        and statements.verdict in (
            reasoned.verdict,
            coalesce(
                reasoned.reason,
                case when reasoned.verdict = 'no_statement' and not coalesce(diagnoses.has_factor, false) then 'no_clear_gap' end
            )
        )
    qualify row_number() over (
        partition by reasoned.seller_id, reasoned.track order by case when statements.verdict = reasoned.verdict then 1 else 0 end
    ) = 1
),

final as (
    select
        judged.seller_id,
        judged.track,
        sellers.seller_name,
        sellers.role,
        sellers.manager_id,
        sellers.manager_name,
        sellers.region,
        sellers.segment,
        judged.verdict,
        judged.reason,
        strengths.criterion as strength,
        case
            when judged.verdict = 'no_statement' then coalesce(strengths.next_opportunity, judged.what_to_do)
            else judged.what_to_do
        end as next_opportunity,
        cast(judged.told_count as bigint) as told_count,
        cast(judged.above_count as bigint) as above_count,
        cast(judged.below_count as bigint) as below_count,
        cast(judged.not_told_count as bigint) as not_told_count,
        judged.true_attainment,
        judged.true_attainment_low,
        judged.true_attainment_high,
        judged.low_attainment_probability,
        {{ as_of_date() }} as as_of_date
    from worded as judged
    inner join sellers on judged.seller_id = sellers.seller_id
    left join rules as strengths on judged.track = strengths.track and judged.first_above = strengths.criterion_order
)

select * from final
