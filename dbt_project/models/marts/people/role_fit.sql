{%- set z = z90() %}
{%- set levels = ['opportunity_type', 'segment', 'lead_source'] %}
-- Who is hired already; an export may name those who are still to come.
with people as (
    select * from {{ ref('int_career_levels') }}
),

sellers as (
    select sellers.*
    from {{ ref('int_diagnosis_sellers') }} as sellers
    inner join people on sellers.seller_id = people.person_id
),

opportunities as (
    select * from {{ ref('opportunities') }}
    where not is_deleted and not is_open and opportunity_type in ('new_business', 'expansion', 'renewal')
),

role_motions as (
    select * from {{ ref('role_motions') }}
),

statements as (
    select * from {{ ref('talent_statements') }}
),

policy as (
    select
        {%- for name in ('fit_strength', 'fit_minimum_deals', 'diagnosis_cell_strength', 'diagnosis_size_strength') %}
        {{ people_policy(name) }} as {{ name }}{{ ',' if not loop.last }}
        {%- endfor %}
),

deals as (
    select
        sellers.seller_id,
        opportunities.opportunity_type,
        coalesce(opportunities.segment, '') as segment,
        coalesce(opportunities.lead_source, '') as lead_source,
        opportunities.is_won,
        cast(case when opportunities.amount > 0 then ln(cast(opportunities.amount as double)) end as decimal(30, 12)) as log_amount
    from sellers
    inner join opportunities
        on sellers.seller_id = opportunities.owner_id
        and opportunities.closed_on between sellers.record_start and sellers.window_end
    where sellers.is_ramped
),

-- What everybody makes of like deals: each group leans on the next wider one.
likened_0 as (
    select
        deals.*,
        cast(count(case when is_won then 1 end) over () as double) / count(*) over () as like_win_rate_0,
        cast(sum(log_amount) over () as double) / count(log_amount) over () as like_log_amount_0
    from deals
),
{%- for level in range(1, 4) %}
{%- set keys = levels[:level] | join(', ') %}
likened_{{ level }} as (
    select
        likened_{{ level - 1 }}.*,
        (count(case when is_won then 1 end) over (partition by {{ keys }}) + policy.diagnosis_cell_strength * like_win_rate_{{ level - 1 }})
        / (count(*) over (partition by {{ keys }}) + policy.diagnosis_cell_strength) as like_win_rate_{{ level }},
        (
            coalesce(cast(sum(log_amount) over (partition by {{ keys }}) as double), 0)
            + policy.diagnosis_cell_strength * like_log_amount_{{ level - 1 }}
        ) / (count(log_amount) over (partition by {{ keys }}) + policy.diagnosis_cell_strength) as like_log_amount_{{ level }}
    from likened_{{ level - 1 }}
    cross join policy
),
{%- endfor %}

strayed as (
    select
        likened_3.*,
        cast(log_amount as double) - like_log_amount_3 as size_difference
    from likened_3
),

sizes as (
    select
        {{ sum_of_squares('size_difference') }} / nullif(count(size_difference), 0) as size_variance
    from strayed
),

-- A deal stands in its approach, its type and its segment; new business as a type is hunting, the same deals.
in_motions as (
    select
        'approach' as motion_type,
        case when opportunity_type = 'new_business' then 'hunting' else 'account_management' end as motion,
        strayed.*
    from strayed
    union all
    select
        'opportunity_type' as motion_type,
        opportunity_type as motion,
        strayed.*
    from strayed
    where opportunity_type != 'new_business'
    union all
    select
        'segment' as motion_type,
        segment as motion,
        strayed.*
    from strayed
    where segment != ''
),

summed as (
    select
        seller_id,
        motion_type,
        motion,
        count(*) as n,
        count(case when is_won then 1 end) as won_count,
        cast(sum(cast(like_win_rate_3 as decimal(30, 12))) as double) as expected_count,
        count(size_difference) as size_n,
        coalesce(cast(sum(cast(size_difference as decimal(30, 12))) as double), 0) as size_sum
    from in_motions
    group by seller_id, motion_type, motion
),

motions as (
    {%- for motion_type, motion in [
        ('approach', 'hunting'), ('approach', 'account_management'),
        ('opportunity_type', 'expansion'), ('opportunity_type', 'renewal'),
    ] %}
    select
        sellers.seller_id,
        '{{ motion_type }}' as motion_type,
        '{{ motion }}' as motion
    from sellers
    union all
    {%- endfor %}
    select
        seller_id,
        motion_type,
        motion
    from summed
    where motion_type = 'segment'
),

placed as (
    select
        sellers.*,
        motions.motion_type,
        motions.motion,
        motions.motion_type = 'approach' and coalesce(motions.motion = role_motions.motion, false) as is_role_motion,
        coalesce(summed.n, 0) as n,
        coalesce(summed.won_count, 0) as won_count,
        summed.expected_count / summed.n as expected_win_rate,
        (summed.won_count + policy.fit_strength * summed.expected_count / summed.n) / (summed.n + policy.fit_strength) as win_rate,
        coalesce(summed.size_n, 0) as size_n,
        summed.size_sum / (summed.size_n + policy.diagnosis_size_strength) as size_log,
        sizes.size_variance / (summed.size_n + policy.diagnosis_size_strength) as size_log_variance,
        case
            when sellers.window_reason is not null then sellers.window_reason
            when coalesce(summed.n, 0) < policy.fit_minimum_deals then 'too few decided deals'
        end as reason,
        policy.fit_strength
    from motions
    inner join sellers on motions.seller_id = sellers.seller_id
    cross join policy
    cross join sizes
    left join role_motions on sellers.role = role_motions.role
    left join summed
        on motions.seller_id = summed.seller_id
        and motions.motion_type = summed.motion_type
        and motions.motion = summed.motion
),

rated as (
    select
        placed.*,
        sqrt(win_rate * (1 - win_rate) / (n + fit_strength + 1)) as win_deviation,
        win_rate / expected_win_rate as win_ratio,
        case when size_n > 0 then exp(size_log) end as size_ratio
    from placed
    where reason is null
),

bounded as (
    select
        rated.*,
        greatest(win_rate - {{ z }} * win_deviation, 0) as win_rate_low,
        least(win_rate + {{ z }} * win_deviation, 1) as win_rate_high,
        win_ratio * coalesce(size_ratio, 1) as performance,
        sqrt(
            win_deviation * win_deviation / (win_rate * win_rate) + case when size_n > 0 then size_log_variance else 0 end
        ) as performance_deviation
    from rated
),

stood as (
    select
        placed.seller_id,
        placed.motion_type,
        placed.motion,
        placed.seller_name,
        placed.role,
        placed.manager_id,
        placed.manager_name,
        placed.region,
        placed.segment,
        placed.is_role_motion,
        placed.reason,
        placed.n,
        placed.won_count,
        bounded.win_rate,
        bounded.win_rate_low,
        bounded.win_rate_high,
        bounded.expected_win_rate,
        bounded.win_ratio,
        bounded.win_rate_low / bounded.expected_win_rate as win_ratio_low,
        bounded.win_rate_high / bounded.expected_win_rate as win_ratio_high,
        bounded.size_ratio,
        placed.size_n,
        case when bounded.size_n > 0 then exp(bounded.size_log - {{ z }} * sqrt(bounded.size_log_variance)) end as size_ratio_low,
        case when bounded.size_n > 0 then exp(bounded.size_log + {{ z }} * sqrt(bounded.size_log_variance)) end as size_ratio_high,
        bounded.performance,
        bounded.performance * exp(-{{ z }} * bounded.performance_deviation) as performance_low,
        bounded.performance * exp({{ z }} * bounded.performance_deviation) as performance_high,
        case
            when placed.reason is not null then 'not_enough_data'
            when bounded.win_rate_low > bounded.expected_win_rate then 'above_peers'
            when bounded.win_rate_high < bounded.expected_win_rate then 'below_peers'
            else 'as_peers'
        end as standing
    from placed
    left join bounded
        on placed.seller_id = bounded.seller_id
        and placed.motion_type = bounded.motion_type
        and placed.motion = bounded.motion
),

judged as (
    select
        stood.*,
        case
            when not is_role_motion then null
            when standing = 'not_enough_data' then 'not_enough_data'
            when standing = 'below_peers' and performance < 1 then 'misfit'
            else 'fits'
        end as verdict
    from stood
),

better as (
    select
        judged.seller_id,
        others.motion,
        row_number() over (partition by judged.seller_id order by others.win_ratio desc, others.motion asc) as place
    from judged
    inner join stood as others on judged.seller_id = others.seller_id and others.motion_type = 'approach'
    where judged.verdict = 'misfit' and others.win_ratio_low > judged.win_ratio_high
),

final as (
    select
        judged.seller_id,
        judged.motion_type,
        judged.motion,
        judged.seller_name,
        judged.role,
        judged.manager_id,
        judged.manager_name,
        judged.region,
        judged.segment,
        judged.standing,
        judged.verdict,
        judged.reason,
        better.motion as better_motion,
        statements.what_to_do,
        cast(judged.n as bigint) as n,
        cast(judged.won_count as bigint) as won_count,
        judged.win_rate,
        judged.win_rate_low,
        judged.win_rate_high,
        judged.expected_win_rate,
        judged.win_ratio,
        judged.win_ratio_low,
        judged.win_ratio_high,
        cast(judged.size_n as bigint) as size_n,
        judged.size_ratio,
        judged.size_ratio_low,
        judged.size_ratio_high,
        judged.performance,
        judged.performance_low,
        judged.performance_high,
        judged.is_role_motion,
        {{ as_of_date() }} as as_of_date
    from judged
    left join better on judged.seller_id = better.seller_id and better.place = 1 and judged.verdict = 'misfit'
    left join statements
        on statements.subject = 'fit'
        and statements.verdict = case
            when judged.verdict = 'misfit' and better.motion is not null then 'misfit_better'
            when judged.verdict = 'fits' and judged.standing = 'above_peers' then 'fits_above'
            when judged.verdict = 'not_enough_data' and judged.reason != 'too few decided deals' then 'not_ramped'
            else judged.verdict
        end
)

select * from final
