{%- set z = z90() %}
with practices as (
    select * from {{ ref('sales_practices') }}
),

every_deal as (
    select * from {{ ref('int_practice_deals') }}
),

-- Whatever a seller makes of like deals beside the median peer.
sellers as (
    select
        seller_id,
        sum(cast(ln(own_ratio) as decimal(38, 18))) as log_own
    from {{ ref('rep_diagnosis') }}
    where reason is null
    group by seller_id
),

ranked as (
    select
        seller_id,
        row_number() over (order by log_own desc, seller_id asc)
        <= ceil(count(*) over () * {{ people_policy('practice_top_share') }}) as is_top
    from sellers
),

segments as (
    select distinct segment from every_deal
    union all
    select 'all' as segment
),

-- Fractions are added as decimals: in whatever order, the same deals give the same bytes.
strata as (
    select
        practice,
        segment,
        opportunity_type,
        stage,
        size_band,
        age_group,
        cast(count(case when is_done then 1 end) as double) as n1,
        cast(count(case when is_done and is_won then 1 end) as double) as x1,
        cast(count(case when not is_done then 1 end) as double) as n0,
        cast(count(case when not is_done and is_won then 1 end) as double) as x0,
        cast(count(*) as double) as n
    from every_deal
    group by practice, segment, opportunity_type, stage, size_band, age_group
),

in_segments as (
    select
        practice,
        segment,
        sum(n1) as with_count,
        sum(x1) as with_won,
        sum(n0) as without_count,
        sum(x0) as without_won,
        sum(case when n1 > 0 and n0 > 0 then n1 else 0 end) as matched_with_count,
        sum(case when n1 > 0 and n0 > 0 then n0 else 0 end) as matched_without_count,
        sum(case when n1 > 0 and n0 > 0 then x1 + x0 else 0 end) as matched_won,
        count(case when n1 > 0 and n0 > 0 then 1 end) as strata_count,
        count(case when n1 = 0 or n0 = 0 then 1 end) as strata_left_out_count,
        sum(cast(n1 * n0 / n as decimal(38, 18))) as weight_sum,
        sum(cast(x1 * n0 / n as decimal(38, 18))) as with_sum,
        sum(cast(x0 * n1 / n as decimal(38, 18))) as without_sum,
        sum(case
            when n1 > 0 and n0 > 0 then cast((n1 * n1 * x0 - n0 * n0 * x1 + n1 * n0 * (n0 - n1) / 2) / (n * n) as decimal(38, 18))
        end) as p_sum,
        sum(case
            when n1 > 0 and n0 > 0 then cast((x1 * (n0 - x0) + x0 * (n1 - x1)) / (2 * n) as decimal(38, 18))
        end) as q_sum
    from strata
    group by practice, segment
),

{%- set sums = ['with_count', 'with_won', 'without_count', 'without_won', 'matched_with_count', 'matched_without_count', 'matched_won',
    'strata_count', 'strata_left_out_count', 'weight_sum', 'with_sum', 'without_sum', 'p_sum', 'q_sum'] %}

summed as (
    select
        practices.practice,
        segments.segment,
        {%- for name in sums %}
        cast(coalesce(sum(in_segments.{{ name }}), 0) as double) as {{ name }}{{ ',' if not loop.last }}
        {%- endfor %}
    from practices
    cross join segments
    left join in_segments
        on practices.practice = in_segments.practice
        and (segments.segment = in_segments.segment or segments.segment = 'all')
    group by practices.practice, segments.segment
),

rated as (
    select
        summed.*,
        with_sum / nullif(weight_sum, 0) as rate_with,
        without_sum / nullif(weight_sum, 0) as rate_without,
        (with_sum - without_sum) / nullif(weight_sum, 0) as difference,
        with_won / nullif(with_count, 0) - without_won / nullif(without_count, 0) as difference_raw
    from summed
),

varied as (
    select
        rated.*,
        sqrt(greatest(0, difference * p_sum + q_sum)) / nullif(weight_sum, 0) as standard_error,
        case
            when with_count + without_count = 0 then 'no deal of that kind was decided'
            when with_count = 0 then 'no deal did it'
            when without_count = 0 then 'every deal did it'
            when strata_count = 0 then 'no alike deals to hold against each other'
            when least(matched_with_count, matched_without_count) < {{ people_policy('practice_minimum_deals') }} then 'too few alike deals'
            when matched_won = 0 or matched_won = matched_with_count + matched_without_count then 'the outcomes do not differ'
        end as reason
    from rated
),

told as (
    select
        varied.*,
        case when reason is null then greatest(-1, difference - {{ z }} * standard_error) end as effect_low,
        case when reason is null then least(1, difference + {{ z }} * standard_error) end as effect_high,
        case
            when reason is null then greatest(-1, difference - {{ people_policy('practice_strict_z') }} * standard_error)
        end as strict_low,
        case
            when reason is null then least(1, difference + {{ people_policy('practice_strict_z') }} * standard_error)
        end as strict_high
    from varied
),

of_all as (
    select
        practice,
        case
            when reason is not null then 'not_enough_data'
            when strict_high < {{ people_policy('practice_worth') }} then 'does_not_help'
            when strict_low > 0 then 'spread_it'
            else 'no_proof'
        end as verdict
    from told
    where segment = 'all'
),

-- What is spread must hold for all first: a dozen practices in every segment find something by chance alone.
judged as (
    select
        told.*,
        case
            when told.segment = 'all' then of_all.verdict
            when told.reason is not null then 'not_enough_data'
            when of_all.verdict = 'does_not_help' and told.effect_high < {{ people_policy('practice_worth') }} then 'does_not_help'
            when of_all.verdict = 'spread_it' and told.effect_low > 0 then 'spread_it'
            else 'no_proof'
        end as verdict
    from told
    inner join of_all on told.practice = of_all.practice
),

chances as (
    select
        count(case when reason is null then 1 end) as told_count,
        count(case when effect_low > 0 then 1 end) as passed_count
    from told
),

of_sellers as (
    select
        every_deal.practice,
        segments.segment,
        ranked.is_top,
        every_deal.owner_id,
        count(*) as deal_count,
        count(case when every_deal.is_done then 1 end) as done_count
    from every_deal
    inner join ranked on every_deal.owner_id = ranked.seller_id
    inner join segments on every_deal.segment = segments.segment or segments.segment = 'all'
    group by every_deal.practice, segments.segment, ranked.is_top, every_deal.owner_id
),

with_share as (
    select
        of_sellers.*,
        sum(deal_count) over side as side_deals,
        cast(sum(done_count) over side as double) / sum(deal_count) over side as share
    from of_sellers
    window side as (partition by practice, segment, is_top)
),

sides as (
    select
        practice,
        segment,
        is_top,
        count(*) as seller_count,
        max(side_deals) as deal_count,
        max(share) as share,
        {{ squares_around('done_count', 'deal_count', 'share') }} as squares
    from with_share
    group by practice, segment, is_top
),

shares as (
    select
        practice,
        segment,
        is_top,
        seller_count,
        deal_count,
        share,
        -- By seller, or as if each deal stood for itself.
        {{ share_interval('share', 'seller_count', 'squares', 'deal_count', -1, 'cast(deal_count as double)') }} as share_low,
        {{ share_interval('share', 'seller_count', 'squares', 'deal_count', 1, 'cast(deal_count as double)') }} as share_high
    from sides
),

beside as (
    select
        judged.*,
        coalesce(tops.seller_count, 0) as top_seller_count,
        coalesce(tops.deal_count, 0) as top_n,
        tops.share as top_share,
        tops.share_low as top_share_low,
        tops.share_high as top_share_high,
        coalesce(others.seller_count, 0) as other_seller_count,
        coalesce(others.deal_count, 0) as other_n,
        others.share as other_share,
        others.share_low as other_share_low,
        others.share_high as other_share_high,
        case
            when least(coalesce(tops.seller_count, 0), coalesce(others.seller_count, 0)) < {{ people_policy('practice_minimum_sellers') }}
                then 'too few sellers'
            when least(tops.deal_count, others.deal_count) < {{ people_policy('practice_minimum_deals') }} then 'too few deals'
        end as share_reason
    from judged
    left join shares as tops
        on judged.practice = tops.practice and judged.segment = tops.segment and tops.is_top
    left join shares as others
        on judged.practice = others.practice and judged.segment = others.segment and not others.is_top
),

final as (
    select
        beside.practice,
        beside.segment,
        practices.what_it_is,
        beside.verdict,
        beside.reason,
        case
            when beside.verdict = 'spread_it' then practices.what_to_do
            when beside.verdict = 'does_not_help' then 'Do not ask for it: deals are won no more often with it'
            when beside.verdict = 'no_proof' and beside.effect_low > 0
                then 'Try it on a few deals first: it shows by itself, but twelve questions asked in every segment show as much by chance'
            when beside.verdict = 'no_proof' and beside.effect_high < 0
                then 'Do not ask for it: fewer deals are won with it, but twelve questions asked in every segment show as much by chance'
            when beside.verdict = 'no_proof' then 'Ask for it only for other reasons: no effect can be shown'
            else 'Nothing yet: too little is known'
        end as what_to_do,
        beside.share_reason,
        practices.rank as practice_rank,
        cast(beside.with_count as bigint) as with_count,
        cast(beside.without_count as bigint) as without_count,
        cast(beside.matched_with_count as bigint) as matched_with_count,
        cast(beside.matched_without_count as bigint) as matched_without_count,
        cast(beside.matched_with_count + beside.matched_without_count as bigint) as n,
        cast(beside.strata_count as bigint) as strata_count,
        cast(beside.strata_left_out_count as bigint) as strata_left_out_count,
        case when beside.reason is null then beside.rate_with end as win_rate_with,
        case when beside.reason is null then beside.rate_without end as win_rate_without,
        case when beside.reason is null then beside.difference end as effect,
        beside.effect_low,
        beside.effect_high,
        beside.strict_low,
        beside.strict_high,
        case when beside.reason is null then beside.difference_raw end as raw_difference,
        {%- for side in ('top', 'other') %}
        cast(beside.{{ side }}_seller_count as bigint) as {{ side }}_seller_count,
        cast(beside.{{ side }}_n as bigint) as {{ side }}_n,
        case when beside.share_reason is null then beside.{{ side }}_share end as {{ side }}_share,
        case when beside.share_reason is null then beside.{{ side }}_share_low end as {{ side }}_share_low,
        case when beside.share_reason is null then beside.{{ side }}_share_high end as {{ side }}_share_high,
        {%- endfor %}
        chances.told_count,
        chances.passed_count,
        cast(chances.told_count as double) / 20 as chance_count,
        {{ as_of_date() }} as as_of_date
    from beside
    inner join practices on beside.practice = practices.practice
    cross join chances
)

select * from final
