{{ config(materialized='table') }}
{%- set scopes = {
    'company': "'company'", 'region': 'region', 'manager': 'manager_id', 'seller': 'owner_id',
} %}
{%- set groups = [
    [], ['segment'], ['segment', 'size_band'], ['segment', 'size_band', 'term'], ['segment', 'size_band', 'term', 'product_id'],
] %}
-- What like deals of others get: for each scope a deal belongs to, from the narrowest group with enough deals outside of it.
with deals as (
    select * from {{ ref('int_discount_deals') }}
),

scoped as (
    {%- for scope, id in scopes.items() %}
    select
        '{{ scope }}' as scope_type,
        {{ id }} as scope_id,
        deals.*
    from deals
    where {{ id }} is not null
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

-- Every deal stands in a group at each level; the last is the narrowest.
grouped as (
    {%- for columns in groups %}
    select
        {{ loop.index0 }} as level,
        {{ "concat_ws('|', " ~ columns | join(', ') ~ ")" if columns else "'all'" }} as like_group,
        scoped.scope_type,
        scoped.scope_id,
        scoped.opportunity_id,
        scoped.is_won,
        cast(scoped.discount_share as decimal(18, 8)) as discount,
        cast(scoped.discount_share * scoped.discount_share as decimal(18, 8)) as discount_squared
    from scoped
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

all_totals as (
    select
        level,
        like_group,
        count(*) as n,
        sum(discount) as discount,
        sum(discount_squared) as discount_squared
    from grouped
    where is_won and scope_type = 'company'
    group by level, like_group
),

-- The company has nobody beside it.
own_totals as (
    select
        level,
        like_group,
        scope_type,
        scope_id,
        count(*) as n,
        sum(discount) as discount,
        sum(discount_squared) as discount_squared
    from grouped
    where is_won and scope_type != 'company'
    group by level, like_group, scope_type, scope_id
),

others as (
    select
        grouped.level,
        grouped.like_group,
        grouped.scope_type,
        grouped.scope_id,
        grouped.opportunity_id,
        cast(all_totals.n - coalesce(own_totals.n, 0) as bigint) as n,
        cast(all_totals.discount - coalesce(own_totals.discount, 0) as double) as discount,
        cast(all_totals.discount_squared - coalesce(own_totals.discount_squared, 0) as double) as discount_squared
    from grouped
    inner join all_totals on grouped.level = all_totals.level and grouped.like_group = all_totals.like_group
    left join own_totals
        on grouped.level = own_totals.level
        and grouped.like_group = own_totals.like_group
        and grouped.scope_type = own_totals.scope_type
        and grouped.scope_id = own_totals.scope_id
),

narrowest as (
    select * from others
    where n >= {{ pricing_policy('like_minimum_deals') }} and n > 1
    qualify row_number() over (partition by scope_type, scope_id, opportunity_id order by level desc) = 1
),

final as (
    select
        scope_type,
        scope_id,
        opportunity_id,
        like_group,
        cast(level as bigint) as like_level,
        n as like_n,
        discount / n as expected_discount,
        greatest(discount_squared - discount * discount / n, 0) / (n - 1) as like_variance
    from narrowest
)

select * from final
