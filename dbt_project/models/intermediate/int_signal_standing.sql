{{ config(materialized='table') }}
{#- Deals are dealt out to sixteen parts by the first digit of a hash; each estimate is made again without each of them. -#}
{%- set parts = '0123456789abcdef' %}
{%- set stratum = 'opportunity_type, stage' %}
{#- Sums of shares in one length: the longer they grow, the fewer decimals Spark leaves them. -#}
{%- set shares = 'decimal(20, 12)' %}
-- How each signal had done by the beginning of each month, on deals decided before it; in each segment, by the newest month.
with policy as (
    select * from {{ ref('signals') }}
),

calendar as (
    select
        month_start,
        month_start = max(month_start) over () as is_newest
    from (
        select distinct month_start from {{ ref('calendar') }}
        where month_start <= {{ as_of_date() }}
    ) as months
),

parts as (
    {%- for part in parts %}
    select '{{ part }}' as part
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

decided as (
    select
        reviews.opportunity_id,
        reviews.segment,
        reviews.opportunity_type,
        reviews.stage,
        not reviews.is_won or coalesce(reviews.closed_on > reviews.dated_quarter_end, false) as is_bad,
        cast(date_trunc('month', reviews.closed_on) as date) as closed_month,
        substr(md5(reviews.opportunity_id), 1, 1) as part,
        -- All reviews of a deal together count as one.
        cast(1.0 / count(*) over (partition by reviews.opportunity_id) as decimal(18, 12)) as share,
        reviews.snapshot_date
    from {{ ref('int_deal_reviews') }} as reviews
    inner join {{ ref('opportunities') }} as deals on reviews.opportunity_id = deals.opportunity_id
    where reviews.closed_on is not null and reviews.snapshot_date < reviews.closed_on and not deals.is_before_losses
),

in_segments as (
    {%- for segment in ["'all'", 'segment'] %}
    select
        opportunity_id,
        {{ segment }} as segment,
        opportunity_type,
        stage,
        is_bad,
        closed_month,
        part,
        share,
        snapshot_date
    from decided
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

fired as (
    select
        in_segments.*,
        fired.signal
    from in_segments
    inner join {{ ref('int_signal_weeks') }} as fired
        on in_segments.opportunity_id = fired.opportunity_id
        and in_segments.snapshot_date = fired.snapshot_date
),

-- What was known by the beginning of each month: all reviews, and those at which each signal fired.
{%- for name, rows, more in [('seen', 'in_segments', ''), ('seen_fired', 'fired', 'signal, ')] %}
{{ name }} as (
    select
        calendar.month_start,
        {{ more | replace('signal', 'closed.signal') }}closed.segment,
        closed.opportunity_type,
        closed.stage,
        closed.part,
        cast(sum(closed.share) as {{ shares }}) as share,
        cast(sum(closed.bad_share) as {{ shares }}) as bad_share
    from (
        select
            {{ more }}segment,
            opportunity_type,
            stage,
            part,
            closed_month,
            cast(sum(share) as {{ shares }}) as share,
            cast(sum(case when is_bad then share else 0 end) as {{ shares }}) as bad_share
        from {{ rows }}
        group by {{ more }}segment, opportunity_type, stage, part, closed_month
    ) as closed
    inner join calendar
        on closed.closed_month < calendar.month_start
        and (closed.segment = 'all' or calendar.is_newest)
    group by
        calendar.month_start, {{ more | replace('signal', 'closed.signal') }}closed.segment, closed.opportunity_type, closed.stage,
        closed.part
),
{% endfor %}

fired_deals as (
    select
        calendar.month_start,
        deals.signal,
        deals.segment,
        sum(deals.fired_count) as fired_count
    from (
        select
            signal,
            segment,
            closed_month,
            count(distinct opportunity_id) as fired_count
        from fired
        group by signal, segment, closed_month
    ) as deals
    inner join calendar
        on deals.closed_month < calendar.month_start
        and (deals.segment = 'all' or calendar.is_newest)
    group by calendar.month_start, deals.signal, deals.segment
),

strata as (
    select distinct month_start, segment, {{ stratum }} from seen
),

-- Of each part: fired and ended badly, fired and ended well, the same without firing.
counted as (
    select
        strata.month_start,
        policy.signal,
        strata.segment,
        strata.opportunity_type,
        strata.stage,
        parts.part,
        cast(coalesce(seen_fired.bad_share, 0) as {{ shares }}) as a,
        cast(coalesce(seen_fired.share - seen_fired.bad_share, 0) as {{ shares }}) as b,
        cast(coalesce(seen.bad_share, 0) - coalesce(seen_fired.bad_share, 0) as {{ shares }}) as c,
        cast(
            coalesce(seen.share - seen.bad_share, 0) - coalesce(seen_fired.share - seen_fired.bad_share, 0) as {{ shares }}
        ) as d
    from strata
    cross join policy
    cross join parts
    left join seen
        on strata.month_start = seen.month_start
        and strata.segment = seen.segment
        and strata.opportunity_type = seen.opportunity_type
        and strata.stage = seen.stage
        and parts.part = seen.part
    left join seen_fired
        on strata.month_start = seen_fired.month_start
        and policy.signal = seen_fired.signal
        and strata.segment = seen_fired.segment
        and strata.opportunity_type = seen_fired.opportunity_type
        and strata.stage = seen_fired.stage
        and parts.part = seen_fired.part
),

-- Each stratum whole, and without each part.
left_out as (
    select
        month_start,
        signal,
        segment,
        part,
        {%- for cell in 'abcd' %}
        cast(sum({{ cell }}) over in_stratum as {{ shares }}) as all_{{ cell }},
        cast((sum({{ cell }}) over in_stratum) - {{ cell }} as {{ shares }}) as without_{{ cell }}{{ ',' if not loop.last }}
        {%- endfor %}
    from counted
    window in_stratum as (partition by month_start, signal, segment, {{ stratum }})
),

-- Deals are compared with deals of the same type in the same stage (Mantel and Haenszel 1959).
-- Fractions are added as decimals: in whatever order, the same deals give the same bytes.
summed as (
    select
        month_start,
        signal,
        segment,
        part,
        {%- for cell in 'abcd' %}
        cast(sum(all_{{ cell }}) as double) as {{ cell }},
        {%- endfor %}
        {%- for name, group, x, y in [
            ('r', 'all', 'a', 'd'), ('s', 'all', 'b', 'c'), ('r_without', 'without', 'a', 'd'), ('s_without', 'without', 'b', 'c')
        ] %}
        cast(sum(cast(
            cast({{ group }}_{{ x }} as double) * cast({{ group }}_{{ y }} as double)
            / nullif(cast({{ group }}_a + {{ group }}_b + {{ group }}_c + {{ group }}_d as double), 0) as decimal(38, 18)
        )) as double) as {{ name }}{{ ',' if not loop.last }}
        {%- endfor %}
    from left_out
    group by month_start, signal, segment, part
),

logged as (
    select
        summed.*,
        case when r_without > 0 and s_without > 0 then ln(r_without / s_without) end as log_without
    from summed
),

averaged as (
    select
        logged.*,
        cast(sum(cast(log_without as decimal(38, 18))) over (partition by month_start, signal, segment) as double)
        / {{ parts | length }} as mean_log
    from logged
),

-- Where one side is empty in every stratum, the plain table with half a case in each cell (Haldane 1956, Anscombe 1956); else the error
-- is that of the grouped jackknife (Miller 1974).
rated as (
    select
        month_start,
        signal,
        segment,
        max(a) as a,
        max(b) as b,
        max(c) as c,
        max(d) as d,
        case
            when max(r) > 0 and max(s) > 0 then max(r) / max(s)
            when max(a) + max(b) > 0 and max(r) + max(s) > 0
                then (max(a) + 0.5) * (max(d) + 0.5) / ((max(b) + 0.5) * (max(c) + 0.5))
        end as odds_ratio,
        case
            when max(r) > 0 and max(s) > 0 and count(log_without) = {{ parts | length }}
                then sqrt(
                    {{ (parts | length) - 1 }} * cast(
                        sum(cast((log_without - mean_log) * (log_without - mean_log) as decimal(38, 18))) as double
                    ) / {{ parts | length }}
                )
            when max(a) + max(b) > 0 and max(r) + max(s) > 0 and (max(r) = 0 or max(s) = 0)
                then sqrt(1 / (max(a) + 0.5) + 1 / (max(b) + 0.5) + 1 / (max(c) + 0.5) + 1 / (max(d) + 0.5))
        end as log_error
    from averaged
    group by month_start, signal, segment
),

-- Student's t with fifteen degrees of freedom leaves out a fortieth on each side.
bounded as (
    select
        rated.*,
        exp(ln(odds_ratio) - 2.131449545559323 * log_error) as odds_ratio_low,
        exp(ln(odds_ratio) + 2.131449545559323 * log_error) as odds_ratio_high
    from rated
),

segments as (
    select 'all' as segment
    union
    select distinct segment from decided
),

final as (
    select
        policy.signal,
        segments.segment,
        case
            when not policy.is_on then 'switched off by policy'
            when segments.segment != 'all' and coalesce(fired_deals.fired_count, 0) < {{ deal_policy('signal_minimum_fired') }}
                then 'too few decided deals of the segment on which it fired'
            when segments.segment != 'all' and coalesce(bounded.odds_ratio_low, 0) <= 1
                then 'in the segment deals it fired on end no worse than others'
            when segments.segment != 'all' then 'in the segment deals it fired on end worse than others'
            when coalesce(fired_deals.fired_count, 0) < {{ deal_policy('signal_minimum_fired') }}
                then 'not judged yet: too few decided deals on which it fired'
            when coalesce(bounded.odds_ratio_low, 0) <= 1 then 'switched off: deals it fired on end no worse than others'
            else 'earns its place'
        end as reason,
        cast(round(coalesce(bounded.a + bounded.b + bounded.c + bounded.d, 0)) as bigint) as n,
        cast(coalesce(fired_deals.fired_count, 0) as bigint) as fired_count,
        coalesce(bounded.a + bounded.b, 0) as fired_share,
        coalesce(bounded.a + bounded.c, 0) as bad_share,
        coalesce(bounded.a, 0) as fired_bad_share,
        bounded.odds_ratio,
        bounded.odds_ratio_low,
        bounded.odds_ratio_high,
        -- A segment switches nothing.
        case
            when segments.segment = 'all' then policy.is_on and (
                coalesce(fired_deals.fired_count, 0) < {{ deal_policy('signal_minimum_fired') }}
                or coalesce(bounded.odds_ratio_low > 1, false)
            )
        end as is_active,
        calendar.month_start
    from calendar
    cross join policy
    inner join segments on segments.segment = 'all' or calendar.is_newest
    left join bounded
        on calendar.month_start = bounded.month_start
        and policy.signal = bounded.signal
        and segments.segment = bounded.segment
    left join fired_deals
        on calendar.month_start = fired_deals.month_start
        and policy.signal = fired_deals.signal
        and segments.segment = fired_deals.segment
)

select * from final
