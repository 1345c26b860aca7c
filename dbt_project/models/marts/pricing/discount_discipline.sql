{%- set scopes = {
    'company': "'company'", 'region': 'region', 'manager': 'manager_id', 'seller': 'owner_id',
} %}
{%- set shares = {
    'within_authority': 'authority', 'approved_before_quote': 'before_quote', 'concession': 'approval', 'reason': 'reason',
} %}
with policy as (
    select
        {%- for name in (
            'discipline_minimum_deals', 'lift_minimum_deals', 'rate_minimum_deals', 'reason_from_share', 'excess_tolerance',
            'lift_tolerance', 'window_months',
        ) %}
        {{ pricing_policy(name) }} as {{ name }}{{ ',' if not loop.last }}
        {%- endfor %}
),

deals as (
    select * from {{ ref('int_discount_deals') }}
    where is_won
),

expectations as (
    select * from {{ ref('int_discount_expectations') }}
),

closed as (
    select opportunities.*
    from {{ ref('opportunities') }} as opportunities
    cross join policy
    where
        not opportunities.is_deleted
        and coalesce(opportunities.opportunity_type, '') != 'renewal'
        and not opportunities.is_open
        and opportunities.closed_on > {{ add_months(as_of_date(), '-policy.window_months') }}
),

sellers as (
    select * from {{ ref('int_sellers') }}
),

verdicts as (
    select * from {{ ref('discount_verdicts') }}
),

expected_scopes as (
    select 'company' as scope_type, 'company' as scope_id, 'Company' as scope_name
    union
    select 'region' as scope_type, region as scope_id, region as scope_name from sellers
    where region is not null
    union
    select 'manager' as scope_type, manager_id as scope_id, coalesce(manager_name, manager_id) as scope_name from sellers
    where manager_id is not null
    union
    select 'seller' as scope_type, seller_id as scope_id, name as scope_name from sellers
),

scoped as (
    {%- for scope, id in scopes.items() %}
    select
        '{{ scope }}' as scope_type,
        {{ id }} as scope_id,
        {{ {'company': "'Company'", 'region': 'region', 'manager': 'manager_name', 'seller': 'owner_name'}[scope] }} as scope_name,
        deals.*
    from deals
    where {{ id }} is not null
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

compared as (
    select
        scoped.*,
        policy.reason_from_share,
        expectations.like_group,
        expectations.like_level,
        expectations.like_n,
        expectations.expected_discount,
        expectations.like_variance,
        scoped.discount_share - expectations.expected_discount as excess
    from scoped
    cross join policy
    left join expectations
        on scoped.scope_type = expectations.scope_type
        and scoped.scope_id = expectations.scope_id
        and scoped.opportunity_id = expectations.opportunity_id
),

totals as (
    select
        scope_type,
        scope_id,
        max(scope_name) as scope_name,
        count(*) as n,
        sum(priced_list_amount) as list_amount,
        sum(priced_net_amount) as net_amount,
        {{ sum_of_products('discount_share', 1) }} / count(*) as mean_discount,
        count(excess) as like_n,
        {{ sum_of_products('expected_discount', 1) }} as expected_total,
        {{ sum_of_products('excess', 1) }} as excess_total,
        {{ sum_of_products('like_variance', 1) }} as like_variance_total,
        count(case when is_period_end then excess end) as late_n,
        count(case when not is_period_end then excess end) as other_n,
        {{ sum_of_products('case when is_period_end then excess end', 1) }} as late_total,
        {{ sum_of_products('case when not is_period_end then excess end', 1) }} as other_total,
        count(case when approval_status != 'unknown' then 1 end) as authority_n,
        count(case when approval_status in ('own_authority', 'approved') then 1 end) as within_authority_count,
        count(case when approval_status not in ('unknown', 'own_authority') then 1 end) as approval_n,
        count(case when approval_status not in ('unknown', 'own_authority') and has_concession then 1 end) as concession_count,
        count(is_approved_before_quote) as before_quote_n,
        count(case when is_approved_before_quote then 1 end) as approved_before_quote_count,
        count(case when {{ exceeds('discount_share', 'reason_from_share') }} then 1 end) as reason_n,
        count(case when {{ exceeds('discount_share', 'reason_from_share') }} and has_reason then 1 end) as reason_count
    from compared
    group by scope_type, scope_id
),

centred as (
    select
        compared.scope_type,
        compared.scope_id,
        compared.like_level,
        compared.like_group,
        compared.like_n,
        compared.like_variance,
        compared.excess - totals.excess_total / nullif(totals.like_n, 0) as deviation,
        case when compared.is_period_end then compared.excess - totals.late_total / nullif(totals.late_n, 0) end as late_deviation,
        case when not compared.is_period_end then compared.excess - totals.other_total / nullif(totals.other_n, 0) end as other_deviation
    from compared
    inner join totals on compared.scope_type = totals.scope_type and compared.scope_id = totals.scope_id
    where compared.excess is not null
),

deviations as (
    select
        scope_type,
        scope_id,
        {{ sum_of_squares('deviation') }} as squares,
        {{ sum_of_squares('late_deviation') }} as late_squares,
        {{ sum_of_squares('other_deviation') }} as other_squares
    from centred
    group by scope_type, scope_id
),

-- How far off the means of like deals may be themselves.
like_groups as (
    select
        scope_type,
        scope_id,
        like_level,
        like_group,
        count(*) * count(*) * max(like_variance) / max(like_n) as error
    from centred
    group by scope_type, scope_id, like_level, like_group
),

like_errors as (
    select
        scope_type,
        scope_id,
        cast(sum(cast(error as decimal(38, 12))) as double) as error
    from like_groups
    group by scope_type, scope_id
),

decided as (
    {%- for scope, id in scopes.items() %}
    select
        '{{ scope }}' as scope_type,
        {{ id }} as scope_id,
        count(*) as decided_n,
        count(case when is_won then 1 end) as won_count
    from closed
    where {{ id }} is not null
    {{ 'group by ' ~ id if scope != 'company' }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

scope_keys as (
    select scope_type, scope_id, scope_name from expected_scopes
    union all
    select scope_type, scope_id, scope_name from totals
    union all
    select scope_type, scope_id, cast(null as string) as scope_name from decided
),

measured as (
    select
        keys.scope_type,
        keys.scope_id,
        keys.scope_name,
        coalesce(totals.n, 0) as n,
        totals.list_amount,
        totals.net_amount,
        totals.mean_discount,
        cast(totals.list_amount - totals.net_amount as double) / nullif(cast(totals.list_amount as double), 0) as discount_share,
        coalesce(totals.like_n, 0) as like_n,
        totals.expected_total / nullif(totals.like_n, 0) as expected_discount,
        totals.excess_total / nullif(totals.like_n, 0) as excess,
        deviations.squares / nullif(totals.like_n - 1, 0) as variance,
        sqrt(totals.like_variance_total / nullif(totals.like_n, 0)) as dispersion_of_like_deals,
        like_errors.error / nullif(totals.like_n * totals.like_n, 0) as like_error,
        coalesce(totals.late_n, 0) as late_n,
        coalesce(totals.other_n, 0) as other_n,
        totals.late_total / nullif(totals.late_n, 0) - totals.other_total / nullif(totals.other_n, 0) as lift,
        deviations.late_squares / nullif(totals.late_n - 1, 0) / nullif(totals.late_n, 0) as late_error,
        deviations.other_squares / nullif(totals.other_n - 1, 0) / nullif(totals.other_n, 0) as other_error,
        {%- for share, base in shares.items() %}
        coalesce(totals.{{ base }}_n, 0) as {{ base }}_n,
        case
            when totals.{{ base }}_n >= policy.rate_minimum_deals then cast(totals.{{ share }}_count as double) / totals.{{ base }}_n
        end as {{ share }}_share,
        {%- endfor %}
        coalesce(decided.decided_n, 0) as decided_n,
        case when decided.decided_n >= policy.rate_minimum_deals then cast(decided.won_count as double) / decided.decided_n end as win_rate,
        policy.discipline_minimum_deals,
        policy.lift_minimum_deals,
        policy.excess_tolerance,
        policy.lift_tolerance,
        policy.window_months
    from (
        select
            scope_type,
            scope_id,
            coalesce(min(scope_name), scope_id) as scope_name
        from scope_keys
        group by scope_type, scope_id
    ) as keys
    cross join policy
    left join totals on keys.scope_type = totals.scope_type and keys.scope_id = totals.scope_id
    left join deviations on keys.scope_type = deviations.scope_type and keys.scope_id = deviations.scope_id
    left join like_errors on keys.scope_type = like_errors.scope_type and keys.scope_id = like_errors.scope_id
    left join decided on keys.scope_type = decided.scope_type and keys.scope_id = decided.scope_id
),

judgeable as (
    select
        measured.*,
        like_n > 1 and like_n >= discipline_minimum_deals as has_spread,
        like_n > 1 and like_n >= discipline_minimum_deals and scope_type != 'company' as has_excess,
        late_n > 1 and other_n > 1 and late_n >= lift_minimum_deals and other_n >= lift_minimum_deals as has_lift,
        (late_error + other_error) * (late_error + other_error)
        / nullif(late_error * late_error / nullif(late_n - 1, 0) + other_error * other_error / nullif(other_n - 1, 0), 0) as lift_degrees
    from measured
),

with_width as (
    select
        judgeable.*,
        case
            when has_excess then {{ students_t('(like_n - 1)') }} * sqrt(variance / like_n + like_error)
        end as excess_width,
        case when has_spread then exp({{ z90() }} / sqrt(2 * (like_n - 1))) end as dispersion_factor,
        case
            when has_lift and late_error + other_error = 0 then 0
            when has_lift then {{ students_t('lift_degrees') }} * sqrt(late_error + other_error)
        end as lift_width
    from judgeable
),

judged as (
    select
        with_width.*,
        case
            when excess - excess_width > excess_tolerance then 'above_like_deals'
            when lift - lift_width > lift_tolerance then 'lift_at_period_end'
            when scope_type = 'company' then 'not_compared'
            when not has_excess then 'not_enough_data'
            when excess + excess_width < -excess_tolerance then 'below_like_deals'
            else 'as_like_deals'
        end as verdict
    from with_width
),

final as (
    select
        judged.scope_type,
        judged.scope_id,
        judged.scope_name,
        judged.verdict,
        case
            when judged.scope_type = 'company' then 'nobody else to compare with'
            when not judged.has_excess then 'not enough data'
        end as excess_reason,
        case when not judged.has_lift then 'not enough data' end as lift_reason,
        verdicts.what_to_do,
        cast(judged.n as bigint) as n,
        cast(judged.list_amount as decimal(18, 4)) as list_amount,
        cast(judged.net_amount as decimal(18, 4)) as net_amount,
        judged.mean_discount,
        judged.discount_share,
        cast(judged.like_n as bigint) as like_n,
        judged.expected_discount,
        case when judged.has_excess then judged.excess end as excess,
        judged.excess - judged.excess_width as excess_low,
        judged.excess + judged.excess_width as excess_high,
        case when judged.has_spread then sqrt(judged.variance) end as dispersion,
        sqrt(judged.variance) / judged.dispersion_factor as dispersion_low,
        sqrt(judged.variance) * judged.dispersion_factor as dispersion_high,
        judged.dispersion_of_like_deals,
        cast(judged.late_n as bigint) as late_n,
        cast(judged.other_n as bigint) as other_n,
        case when judged.has_lift then judged.lift end as period_end_lift,
        judged.lift - judged.lift_width as period_end_lift_low,
        judged.lift + judged.lift_width as period_end_lift_high,
        {%- for share, base in shares.items() %}
        cast(judged.{{ base }}_n as bigint) as {{ base }}_n,
        judged.{{ share }}_share,
        case
            when judged.{{ share }}_share is not null
                then {{ wilson('judged.' ~ share ~ '_share', 'cast(judged.' ~ base ~ '_n as double)', -1) }}
        end as {{ share }}_share_low,
        case
            when judged.{{ share }}_share is not null
                then {{ wilson('judged.' ~ share ~ '_share', 'cast(judged.' ~ base ~ '_n as double)', 1) }}
        end as {{ share }}_share_high,
        {%- endfor %}
        cast(judged.decided_n as bigint) as decided_n,
        judged.win_rate,
        judged.win_rate / nullif(1 - judged.discount_share, 0) as break_even_win_rate,
        case
            when judged.win_rate is not null
                then {{ wilson('judged.win_rate', 'cast(judged.decided_n as double)', -1) }} / nullif(1 - judged.discount_share, 0)
        end as break_even_win_rate_low,
        case
            when judged.win_rate is not null
                then {{ wilson('judged.win_rate', 'cast(judged.decided_n as double)', 1) }} / nullif(1 - judged.discount_share, 0)
        end as break_even_win_rate_high,
        {{ add_days(add_months(as_of_date(), '-judged.window_months'), 1) }} as window_start,
        {{ as_of_date() }} as as_of_date
    from judged
    left join verdicts on judged.verdict = verdicts.verdict
)

select * from final
