{%- set dimensions = {
    'company': ("'company'", "'Company'"), 'owner': ('owner_id', 'coalesce(owner_name, owner_id)'), 'manager': ('manager_id', 'manager_name'),
    'region': ('region', 'region'), 'segment': ('segment', 'segment'), 'product': ('product_id', 'product_name'),
    'opportunity_type': ('opportunity_type', 'opportunity_type'), 'lead_source': ('lead_source', 'lead_source'),
} %}
with deals as (
    select * from {{ ref('opportunities') }}
    where not is_deleted
),

sellers as (
    select * from {{ ref('int_sellers') }}
),

products as (
    select * from {{ ref('products') }}
    where not is_deleted
),

calendar as (
    select * from {{ ref('calendar') }}
),

bases as (
    select 'closed' as basis
    union all
    select 'created' as basis
),

-- Where lost deals carry no value, amounts are held against each other at list price.
amount_bases as (
    select
        case
            when count(case when is_lost or is_no_decision then 1 end) > 0
                and coalesce(sum(case when is_lost or is_no_decision then amount end), 0) = 0
                then 'list_amount'
            else 'amount'
        end as amount_basis
    from deals
),

-- Each deal counts once in every dimension.
placed as (
    {%- for dimension, (member, name) in dimensions.items() %}
    select
        bases.basis,
        '{{ dimension }}' as dimension,
        coalesce({{ member }}, 'unknown') as member,
        coalesce({{ name }}, {{ member }}, 'unknown') as member_name,
        cast(null as date) as period_start,
        deals.*
    from deals
    cross join bases
    where bases.basis = 'closed' or deals.created_on is not null
    union all
    {%- endfor %}
    {%- for basis, day in {'closed': 'closed_on', 'created': 'created_on'}.items() %}
    {%- for period in ('quarter', 'month') %}
    select
        '{{ basis }}' as basis,
        '{{ basis.replace("closed", "close") if basis == "closed" else basis }}_{{ period }}' as dimension,
        calendar.{{ period }}_name as member,
        calendar.{{ period }}_name as member_name,
        calendar.{{ period }}_start as period_start,
        deals.*
    from deals
    inner join calendar on deals.{{ day }} = calendar.day
    {{ 'union all' if not (basis == 'created' and period == 'month') }}
    {%- endfor %}
    {%- endfor %}
),

-- Who has no deal still has a row.
expected as (
    select 'company' as dimension, 'company' as member, 'Company' as member_name
    union
    select 'owner' as dimension, seller_id as member, name as member_name from sellers
    union
    select 'manager' as dimension, manager_id as member, coalesce(manager_name, manager_id) as member_name from sellers
    where manager_id is not null
    union
    select 'region' as dimension, region as member, region as member_name from sellers
    where region is not null
    union
    select 'segment' as dimension, segment as member, segment as member_name from sellers
    where segment is not null
    union
    select 'product' as dimension, product_id as member, name as member_name from products
),

-- From the first to the last period of each kind, also those in which nothing happened.
periods as (
    {%- for basis in ('closed', 'created') %}
    {%- for period in ('quarter', 'month') %}
    select distinct
        '{{ basis }}' as basis,
        '{{ "close" if basis == "closed" else basis }}_{{ period }}' as dimension,
        calendar.{{ period }}_name as member,
        calendar.{{ period }}_start as period_start
    from calendar
    inner join (select min({{ basis }}_on) as first_on, max({{ basis }}_on) as last_on from deals) as ends
        on calendar.day >= ends.first_on
        and calendar.day <= ends.last_on
    {{ 'union all' if not (basis == 'created' and period == 'month') }}
    {%- endfor %}
    {%- endfor %}
),

expected_by_basis as (
    select
        bases.basis,
        expected.dimension,
        expected.member,
        expected.member_name,
        cast(null as date) as period_start
    from expected
    cross join bases
    union all
    select
        basis,
        dimension,
        member,
        member as member_name,
        period_start
    from periods
),

counted as (
    select
        basis,
        dimension,
        member,
        max(member_name) as member_name,
        max(period_start) as period_start,
        count(case when is_won then 1 end) as won_count,
        count(case when is_won then amount end) as won_amount_count,
        count(case when is_lost then 1 end) as lost_count,
        count(case when is_no_decision then 1 end) as no_decision_count,
        count(case when is_open then 1 end) as open_count,
        count(case when is_before_losses then 1 end) as left_out_count,
        sum(case when is_before_losses then amount end) as left_out_amount,
        sum(case when is_before_losses then list_amount end) as left_out_list_amount,
        case
            when count(case when is_won then 1 end) > 0 then sum(case when is_won then amount end)
            when count(case when not is_open then 1 end) > 0 then 0
        end as won_amount,
        case
            when count(case when is_won then 1 end) > 0 then sum(case when is_won then list_amount end)
            when count(case when not is_open then 1 end) > 0 then 0
        end as won_list_amount,
        case
            when count(case when is_lost then 1 end) > 0 then sum(case when is_lost then list_amount end)
            when count(case when not is_open then 1 end) > 0 then 0
        end as lost_list_amount,
        sum(case when not is_open then list_amount end) as closed_list_amount,
        sum(case when not is_open then amount end) as closed_amount,
        median(cast(case when is_won then amount end as double)) as median_won_amount,
        sum(case when not is_open then cycle_days end) as cycle_days,
        count(case when not is_open then cycle_days end) as cycle_count,
        median(cast(case when not is_open then cycle_days end as double)) as median_cycle_days
    from placed
    group by basis, dimension, member
),

complete as (
    select
        coalesce(counted.basis, expected.basis) as basis,
        coalesce(counted.dimension, expected.dimension) as dimension,
        coalesce(counted.member, expected.member) as member,
        coalesce(expected.member_name, counted.member_name) as member_name,
        coalesce(counted.period_start, expected.period_start) as period_start,
        coalesce(counted.won_count, 0) as won_count,
        counted.won_amount_count,
        coalesce(counted.lost_count, 0) as lost_count,
        coalesce(counted.no_decision_count, 0) as no_decision_count,
        coalesce(counted.open_count, 0) as open_count,
        coalesce(counted.left_out_count, 0) as left_out_count,
        coalesce(counted.won_count, 0) - coalesce(counted.left_out_count, 0) as rated_count,
        coalesce(counted.won_count, 0) - coalesce(counted.left_out_count, 0)
        + coalesce(counted.lost_count, 0) + coalesce(counted.no_decision_count, 0) as n,
        counted.won_amount,
        counted.won_list_amount,
        counted.lost_list_amount,
        case
            when amount_bases.amount_basis = 'amount' then counted.won_amount - coalesce(counted.left_out_amount, 0)
            else counted.won_list_amount - coalesce(counted.left_out_list_amount, 0)
        end as won_by_basis,
        case
            when amount_bases.amount_basis = 'amount' then counted.closed_amount - coalesce(counted.left_out_amount, 0)
            else counted.closed_list_amount - coalesce(counted.left_out_list_amount, 0)
        end as closed_by_basis,
        amount_bases.amount_basis,
        counted.median_won_amount,
        cast(counted.cycle_days as double) / nullif(counted.cycle_count, 0) as mean_cycle_days,
        counted.median_cycle_days
    from expected_by_basis as expected
    full outer join counted
        on expected.basis = counted.basis
        and expected.dimension = counted.dimension
        and expected.member = counted.member
    cross join amount_bases
),

rated as (
    select
        complete.*,
        cast(rated_count as double) / nullif(n, 0) as win_rate,
        cast(sum(rated_count) over dimension_members as double) / nullif(sum(n) over dimension_members, 0) as mean_rate,
        cast(sum(n) over dimension_members as double) as total_n,
        cast(sum(n * n) over dimension_members as double) as sum_of_squares,
        cast(count(case when n > 0 then 1 end) over dimension_members as double) as member_count
    from complete
    window dimension_members as (partition by basis, dimension)
),

spread as (
    select
        rated.*,
        {{ intra_class_correlation('in_one_order') }} as correlation
    from rated
    window in_one_order as (partition by basis, dimension order by member rows between unbounded preceding and unbounded following)
),

shrunk as (
    select
        spread.*,
        {{ shrunk_rate('rated_count') }} as win_rate_shrunk
    from spread
),

final as (
    select
        basis,
        dimension,
        member,
        member_name,
        amount_basis,
        case
            when n = 0 and left_out_count > 0 then 'only won deals are on record'
            when n = 0 and open_count = 0 then 'no deal'
            when n = 0 then 'no closed deal'
        end as reason,
        won_count,
        lost_count,
        no_decision_count,
        open_count,
        left_out_count,
        n,
        win_rate,
        {{ wilson('win_rate', 'cast(n as double)', -1) }} as win_rate_low,
        {{ wilson('win_rate', 'cast(n as double)', 1) }} as win_rate_high,
        win_rate_shrunk,
        cast(rated_count as double) / nullif(rated_count + lost_count, 0) as win_rate_narrow,
        cast(won_amount as decimal(18, 4)) as won_amount,
        cast(won_list_amount as decimal(18, 4)) as won_list_amount,
        cast(lost_list_amount as decimal(18, 4)) as lost_list_amount,
        cast(won_by_basis as double) / nullif(cast(closed_by_basis as double), 0) as win_rate_amount,
        cast(won_amount as double) / nullif(won_amount_count, 0) as mean_won_amount,
        median_won_amount,
        mean_cycle_days,
        median_cycle_days,
        period_start,
        {{ as_of_date() }} as as_of_date
    from shrunk
)

select * from final
