{%- set like_minimum = policy_constant('like_minimum', 'key_account_policy') | float | int %}
with facts as (
    select * from {{ ref('int_key_account_facts') }}
),

accounts as (
    select * from {{ ref('accounts') }}
    where not is_deleted
),

products as (
    select * from {{ ref('products') }}
    where not is_deleted
),

open_deals as (
    select
        account_id,
        product_id,
        count(*) as open_opportunity_count
    from {{ ref('opportunities') }}
    where is_open and not is_deleted
    group by account_id, product_id
),

owned as (
    select
        customers.account_id,
        months.product_id,
        sum(months.closing) as arr
    from {{ ref('int_arr_months') }} as months
    inner join {{ ref('int_paying_customers') }} as customers on months.finance_customer_id = customers.finance_customer_id
    where months.month_start <= {{ as_of_date() }} and months.month_end >= {{ as_of_date() }} and months.basis = 'subscriptions'
    group by customers.account_id, months.product_id
    having sum(months.closing) > 0
),

sold as (
    select distinct product_id from owned
),

paying as (
    select
        accounts.account_id,
        accounts.segment,
        accounts.industry
    from accounts
    where accounts.account_id in (select owned.account_id from owned)
),

-- The groups an account can be like, narrowest first; each counts the account itself.
peer_groups as (
    select
        1 as width,
        'segment_and_industry' as like_by,
        segment || '|' || industry as member,
        paying.account_id
    from paying
    where segment is not null and industry is not null
    union all
    select
        2 as width,
        'segment' as like_by,
        segment as member,
        paying.account_id
    from paying
    where segment is not null
    union all
    select
        3 as width,
        'company' as like_by,
        'company' as member,
        paying.account_id
    from paying
),

sizes as (
    select
        width,
        member,
        count(*) - 1 as n
    from peer_groups
    group by width, member
),

likes as (
    select
        facts.account_id,
        facts.account_name,
        facts.manager_id,
        facts.standing,
        peer_groups.width,
        peer_groups.like_by,
        peer_groups.member,
        sizes.n
    from facts
    inner join peer_groups on facts.account_id = peer_groups.account_id
    inner join sizes
        on peer_groups.width = sizes.width
        and peer_groups.member = sizes.member
    where sizes.n >= {{ like_minimum }} or peer_groups.width = 3
    qualify row_number() over (partition by facts.account_id order by peer_groups.width) = 1
),

owners as (
    select
        peer_groups.width,
        peer_groups.member,
        owned.product_id,
        count(*) as owner_count,
        percentile_cont(0.5) within group (order by cast(owned.arr as double)) as typical_amount
    from peer_groups
    inner join owned on peer_groups.account_id = owned.account_id
    group by peer_groups.width, peer_groups.member, owned.product_id
),

gaps as (
    select
        likes.*,
        products.product_id,
        products.name as product_name,
        coalesce(owners.owner_count, 0) as owner_count,
        owners.typical_amount,
        cast(coalesce(owners.owner_count, 0) as double) / nullif(likes.n, 0) as adoption_rate
    from likes
    cross join sold
    inner join products on sold.product_id = products.product_id
    left join owned
        on likes.account_id = owned.account_id
        and products.product_id = owned.product_id
    left join owners
        on likes.width = owners.width
        and likes.member = owners.member
        and products.product_id = owners.product_id
    where owned.product_id is null
),

ranged as (
    select
        gaps.*,
        -- Where nobody has it, or all, the end is that itself and not what rounding leaves of it.
        case when adoption_rate = 0 then 0.0 else {{ wilson('adoption_rate', 'cast(n as double)', -1) }} end as adoption_rate_low,
        case when adoption_rate = 1 then 1.0 else {{ wilson('adoption_rate', 'cast(n as double)', 1) }} end as adoption_rate_high
    from gaps
),

priced as (
    select
        ranged.*
        {%- for end in ('', '_low', '_high') %},
        cast(floor(100 * adoption_rate{{ end }} * typical_amount + 0.5) / 100 as decimal(18, 4)) as expected_amount{{ end }}
        {%- endfor %}
    from ranged
),

final as (
    select
        priced.account_id,
        priced.account_name,
        priced.manager_id,
        priced.standing,
        priced.product_id,
        priced.product_name,
        priced.like_by,
        case when priced.n = 0 then 'no like accounts' when priced.owner_count = 0 then 'no like account has it' end as reason,
        cast(row_number() over (
            partition by priced.account_id order by coalesce(priced.expected_amount, -1) desc, priced.product_id asc
        ) as bigint) as rank,
        priced.n,
        priced.owner_count,
        priced.adoption_rate,
        priced.adoption_rate_low,
        priced.adoption_rate_high,
        cast(floor(100 * priced.typical_amount + 0.5) / 100 as decimal(18, 4)) as typical_amount,
        priced.expected_amount,
        priced.expected_amount_low,
        priced.expected_amount_high,
        coalesce(open_deals.open_opportunity_count, 0) as open_opportunity_count,
        {{ as_of_date() }} as as_of_date
    from priced
    left join open_deals
        on priced.account_id = open_deals.account_id
        and priced.product_id = open_deals.product_id
)

select * from final
