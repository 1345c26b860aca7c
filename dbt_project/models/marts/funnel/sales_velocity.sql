{%- set periods = ['quarter', 'year'] %}
-- One population for all four factors: deals decided in the period whose creation and amount are known.
with deals as (
    select * from {{ ref('opportunities') }}
    where not is_deleted and not is_open and cycle_days is not null and amount is not null
),

reporting_lines as (
    select * from {{ ref('int_reporting_lines_then') }}
),

reps as (
    select * from {{ ref('reps') }}
    where is_current
),

sellers as (
    select * from {{ ref('int_sellers') }}
),

calendar as (
    select * from {{ ref('calendar') }}
),

scoped_deals as (
    {%- for scope, member in {'company': "'company'", 'region': 'region', 'segment': 'segment', 'seller': 'owner_id'}.items() %}
    select '{{ scope }}' as scope_type, {{ member }} as scope_id, is_won, is_before_losses, amount, cycle_days, closed_on
    from deals
    where {{ member }} is not null
    union all
    {%- endfor %}
    select 'manager' as scope_type, reporting_lines.manager_id as scope_id, is_won, is_before_losses, amount, cycle_days, closed_on
    from deals
    inner join reporting_lines
        on deals.owner_id = reporting_lines.rep_id
        and deals.closed_on >= reporting_lines.valid_from
        and deals.closed_on < reporting_lines.valid_to
),

dated as (
    {%- for period in periods %}
    select
        scoped_deals.*,
        '{{ period }}' as period_type,
        calendar.{{ period }}_start as period_start
    from scoped_deals
    inner join calendar on scoped_deals.closed_on = calendar.day
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

counted as (
    select
        scope_type,
        scope_id,
        period_type,
        period_start,
        count(case when not is_before_losses then 1 end) as n,
        count(case when is_before_losses then 1 end) as left_out_count,
        count(case when is_won and not is_before_losses then 1 end) as won_count,
        sum(case when is_won and not is_before_losses then amount end) as won_amount,
        percentile_cont(0.5) within group (order by case when not is_before_losses then cycle_days end) as median_cycle_days
    from dated
    group by scope_type, scope_id, period_type, period_start
),

scopes as (
    select distinct scope_type, scope_id from scoped_deals
    union
    select 'company' as scope_type, 'company' as scope_id
    union
    select 'seller' as scope_type, seller_id as scope_id from sellers
),

period_starts as (
    {%- for period in periods %}
    select distinct
        '{{ period }}' as period_type,
        {{ period }}_start as period_start,
        {{ period }}_end as period_end
    from calendar
    where {{ period }}_start <= {{ as_of_date() }} and {{ period }}_end >= (select min(deals.closed_on) from deals)
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

selling as (
    {{ sold_in('period_starts') }}
),

joined as (
    select
        scopes.*,
        period_starts.*,
        coalesce(counted.n, 0) as n,
        coalesce(counted.left_out_count, 0) as left_out_count,
        coalesce(counted.won_count, 0) as won_count,
        counted.won_amount,
        counted.median_cycle_days,
        cast(counted.won_count as double) / nullif(counted.n, 0) as win_rate,
        cast(counted.won_amount as double) / nullif(counted.won_count, 0) as mean_amount
    from scopes
    cross join period_starts
    left join counted
        on scopes.scope_type = counted.scope_type
        and scopes.scope_id = counted.scope_id
        and period_starts.period_type = counted.period_type
        and period_starts.period_start = counted.period_start
    left join selling
        on scopes.scope_id = selling.seller_id
        and period_starts.period_type = selling.period_type
        and period_starts.period_start = selling.period_start
    where scopes.scope_type != 'seller' or selling.seller_id is not null or counted.n > 0
),

final as (
    select
        joined.scope_type,
        joined.scope_id,
        case when joined.scope_type = 'company' then 'Company' else coalesce(reps.name, joined.scope_id) end as scope_name,
        joined.period_type,
        case
            when joined.n = 0 and joined.left_out_count > 0 then 'only won deals are on record'
            when joined.n = 0 then 'no deal decided'
            when joined.won_count = 0 then 'no deal won'
            when joined.median_cycle_days = 0 then 'median cycle is zero days'
        end as reason,
        joined.n,
        joined.won_count,
        joined.win_rate,
        {{ wilson('joined.win_rate', 'cast(joined.n as double)', -1) }} as win_rate_low,
        {{ wilson('joined.win_rate', 'cast(joined.n as double)', 1) }} as win_rate_high,
        joined.mean_amount,
        joined.median_cycle_days,
        cast(joined.n as double) * joined.win_rate * joined.mean_amount / nullif(joined.median_cycle_days, 0) as velocity,
        joined.period_start,
        joined.period_end,
        {{ as_of_date() }} as as_of_date
    from joined
    left join reps
        on joined.scope_type in ('seller', 'manager')
        and joined.scope_id = reps.rep_id
)

select * from final
