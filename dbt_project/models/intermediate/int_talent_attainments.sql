{{ config(materialized='table') }}
{%- set z = z90() %}
-- What each seller would attain in the long run with an ordinary territory: skill, and what was credited against quota.
with diagnosis as (
    select * from {{ ref('rep_diagnosis') }}
),

quarters as (
    select * from {{ ref('quota_attainment') }}
    where scope_type = 'seller' and period_type = 'quarter' and is_complete and attainment is not null
),

credits as (
    select * from {{ ref('int_deal_credits') }}
    where credited_amount > 0
),

diagnosed as (
    select
        seller_id,
        role,
        coalesce(segment, '') as peer_segment,
        reason,
        record_start,
        window_end,
        cast(reference_amount + sum(mix_amount) as double) / nullif(cast(reference_amount as double), 0) as territory,
        cast(sum(case
            when factor not in ('landing', 'carried_over') then cast(ln(own_ratio) as decimal(30, 12))
        end) as double) as own_log,
        cast(sum(case
            when factor not in ('landing', 'carried_over')
                then cast((ln(own_ratio_high) - ln(own_ratio)) * (ln(own_ratio_high) - ln(own_ratio)) / {{ z * z }} as decimal(30, 12))
        end) as double) as own_variance
    from diagnosis
    group by seller_id, role, segment, reason, record_start, window_end, reference_amount
),

attained as (
    select
        diagnosed.seller_id,
        count(*) as quarter_count,
        greatest(sum(quarters.credited_amount), 0) as credited_amount,
        sum(quarters.quota_amount) as quota_amount
    from diagnosed
    inner join quarters
        on diagnosed.seller_id = quarters.scope_id
        and quarters.period_start >= diagnosed.record_start
        and quarters.period_end <= diagnosed.window_end
    group by diagnosed.seller_id
),

judged as (
    select
        diagnosed.*,
        attained.quarter_count,
        cast(attained.credited_amount as double) as credited_amount,
        cast(attained.quota_amount as double) as quota_amount,
        case
            when diagnosed.reason is not null then diagnosed.reason
            when coalesce(attained.quota_amount, 0) <= 0 then 'no quota in the record'
            when coalesce(diagnosed.territory, 0) <= 0 then 'nothing to compare with'
        end as own_reason
    from diagnosed
    left join attained on diagnosed.seller_id = attained.seller_id
),

jobs as (
    select
        role,
        count(*) as seller_count,
        cast(sum(cast(credited_amount as decimal(38, 8))) as double)
        / cast(sum(cast(territory * quota_amount as decimal(38, 8))) as double) as peer_attainment
    from judged
    where own_reason is null
    group by role
),

-- Deals are uneven: what a sum of them varies by hangs on the large ones.
units as (
    select
        judged.role,
        judged.peer_segment,
        {{ sum_of_products('credits.credited_amount', 'credits.credited_amount') }}
        / cast(sum(credits.credited_amount) as double) as deal_unit
    from judged
    inner join credits
        on judged.seller_id = credits.user_id
        and credits.won_on between judged.record_start and judged.window_end
    where judged.own_reason is null
    group by judged.role, judged.peer_segment
),

expected as (
    select
        judged.*,
        jobs.peer_attainment,
        units.deal_unit,
        coalesce(
            judged.own_reason,
            case
                when jobs.seller_count < {{ people_policy('diagnosis_minimum_peers') }} then 'not enough peers'
                when coalesce(jobs.peer_attainment, 0) <= 0 or units.deal_unit is null then 'nothing to compare with'
            end
        ) as told_reason,
        jobs.peer_attainment * judged.territory * judged.quota_amount as expected_amount
    from judged
    left join jobs on judged.role = jobs.role
    left join units on judged.role = units.role and judged.peer_segment = units.peer_segment
),

weighed as (
    select
        expected.*,
        greatest(peer_attainment, 1) as attainable,
        1 / (exp(own_variance) - 1)
        + {{ people_policy('talent_outcome_weight') }} * credited_amount / deal_unit as shape,
        1 / (exp(own_variance) - 1) / exp(own_log + own_variance / 2)
        + {{ people_policy('talent_outcome_weight') }} * expected_amount / deal_unit as rate
    from expected
    where told_reason is null
),

-- The cube root of a gamma variable is nearly normal.
rooted as (
    select
        weighed.*,
        3 * sqrt(shape) * (
            power({{ people_policy('talent_low_attainment') }} / attainable * rate / shape, cast(1 as double) / 3) - 1 + 1 / (9 * shape)
        ) as low_normal
    from weighed
),

final as (
    select
        expected.seller_id,
        expected.told_reason as reason,
        coalesce(expected.quarter_count, 0) as quarter_count,
        expected.own_log,
        rooted.attainable,
        rooted.attainable * rooted.shape / rooted.rate as true_attainment,
        {%- for end, sign in [('low', '-'), ('high', '+')] %}
        rooted.attainable * rooted.shape / rooted.rate
        * power(greatest(1 - 1 / (9 * rooted.shape) {{ sign }} {{ z }} / (3 * sqrt(rooted.shape)), 0), 3) as true_attainment_{{ end }},
        {%- endfor %}
        {{ normal_cdf('rooted.low_normal') }} as low_attainment_probability
    from expected
    left join rooted on expected.seller_id = rooted.seller_id
)

select * from final
