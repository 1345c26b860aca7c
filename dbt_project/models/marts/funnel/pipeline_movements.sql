{%- set movements = [
    'opening', 'created', 'reopened', 'owner_in', 'owner_out', 'pulled_in', 'pushed_out', 'amount_up', 'amount_down',
    'won', 'lost', 'no_decision', 'deleted', 'closing', 'overdue',
] %}
{%- set periods = ['month', 'quarter', 'year'] %}
with moved as (
    select * from {{ ref('opportunity_movements') }}
),

sellers as (
    select * from {{ ref('int_sellers') }}
),

reps as (
    select * from {{ ref('reps') }}
    where is_current
),

calendar as (
    select * from {{ ref('calendar') }}
),

totals as (
    select
        scope_type,
        scope_id,
        period_type,
        period_start,
        movement,
        sum(amount) as amount,
        count(*) as opportunity_count
    from moved
    group by scope_type, scope_id, period_type, period_start, movement
),

scopes as (
    select distinct scope_type, scope_id from moved
    union
    select 'company' as scope_type, 'company' as scope_id
    union
    select 'seller' as scope_type, seller_id as scope_id from sellers
),

all_periods as (
    {%- for period in periods %}
    select distinct
        '{{ period }}' as period_type,
        {{ period }}_start as period_start,
        {{ period }}_end as period_end
    from calendar
    where {{ period }}_start <= {{ as_of_date() }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

first_moves as (
    select
        period_type,
        min(period_start) as first_start
    from moved
    group by period_type
),

words as (
    {%- for movement in movements %}
    select
        '{{ movement }}' as movement,
        {{ loop.index }} as movement_order
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

selling as (
    {{ sold_in('all_periods') }}
),

moved_in as (
    select distinct
        scope_type,
        scope_id,
        period_type,
        period_start
    from totals
),

-- An empty cell has its row: a seller without pipeline must be seen. Who was not there must not.
final as (
    select
        scopes.scope_type,
        scopes.scope_id,
        case when scopes.scope_type = 'company' then 'Company' else coalesce(reps.name, scopes.scope_id) end as scope_name,
        all_periods.period_type,
        words.movement,
        cast(words.movement_order as bigint) as movement_order,
        cast(coalesce(totals.amount, 0) as decimal(18, 4)) as amount,
        coalesce(totals.opportunity_count, 0) as opportunity_count,
        all_periods.period_start,
        all_periods.period_end,
        {{ as_of_date() }} as as_of_date
    from scopes
    cross join all_periods
    inner join first_moves
        on all_periods.period_type = first_moves.period_type
        and all_periods.period_start >= first_moves.first_start
    cross join words
    left join totals
        on scopes.scope_type = totals.scope_type
        and scopes.scope_id = totals.scope_id
        and all_periods.period_type = totals.period_type
        and all_periods.period_start = totals.period_start
        and words.movement = totals.movement
    left join moved_in
        on scopes.scope_type = moved_in.scope_type
        and scopes.scope_id = moved_in.scope_id
        and all_periods.period_type = moved_in.period_type
        and all_periods.period_start = moved_in.period_start
    left join selling
        on scopes.scope_id = selling.seller_id
        and all_periods.period_type = selling.period_type
        and all_periods.period_start = selling.period_start
    left join reps
        on scopes.scope_type in ('seller', 'manager')
        and scopes.scope_id = reps.rep_id
    where scopes.scope_type != 'seller' or selling.seller_id is not null or moved_in.scope_id is not null
)

select * from final
