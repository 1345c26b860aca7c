{{ config(materialized='table') }}
-- What was won, in whose hands, in which period, and while it was known; each deal in every scope it belonged to when it was won.
with stretches as (
    select
        stretches.*,
        max(episode) over (partition by opportunity_id) as last_episode
    from {{ ref('int_opportunity_stretches') }} as stretches
),

deals as (
    select * from {{ ref('opportunities') }}
),

reporting_lines as (
    select * from {{ ref('int_reporting_lines_then') }}
),

calendar as (
    select * from {{ ref('calendar') }}
),

-- Whoever owned the deal when it was won keeps it.
won as (
    select
        stretches.*,
        min(valid_from) over (partition by opportunity_id, episode) as won_at,
        {%- for column in ('owner_id', 'region', 'segment') %}
        first_value({{ column }}) over (
            partition by opportunity_id, episode order by valid_from rows between unbounded preceding and unbounded following
        ) as won_{{ column }}{{ ',' if not loop.last }}
        {%- endfor %}
    from stretches
    where is_won
),

bookings as (
    select
        won.opportunity_id,
        won.won_owner_id as owner_id,
        won.won_region as region,
        won.won_segment as segment,
        won.amount,
        case when deals.is_won and won.episode = won.last_episode then deals.closed_on else cast(won.won_at as date) end as won_on,
        won.valid_from,
        won.valid_to
    from won
    inner join deals on won.opportunity_id = deals.opportunity_id
    where not won.is_deleted and (won.valid_to is not null or deals.is_won)
    union all
    -- Without history nothing is known but how it stands.
    select
        opportunity_id,
        owner_id,
        region,
        segment,
        amount,
        closed_on as won_on,
        cast(closed_on as timestamp) as valid_from,
        cast(null as timestamp) as valid_to
    from deals
    where is_won and not is_deleted and opportunity_id not in (select stretches.opportunity_id from stretches)
),

scoped as (
    {%- for scope, member in {'company': "'company'", 'region': 'region', 'segment': 'segment', 'seller': 'owner_id'}.items() %}
    select
        '{{ scope }}' as scope_type,
        {{ member }} as scope_id,
        bookings.*
    from bookings
    where {{ member }} is not null
    union all
    {%- endfor %}
    select
        'manager' as scope_type,
        reporting_lines.manager_id as scope_id,
        bookings.*
    from bookings
    inner join reporting_lines
        on bookings.owner_id = reporting_lines.rep_id
        and bookings.won_on >= reporting_lines.valid_from
        and bookings.won_on < reporting_lines.valid_to
),

final as (
    {%- for period in ('month', 'quarter') %}
    select
        '{{ period }}' as period_type,
        calendar.{{ period }}_start as period_start,
        calendar.{{ period }}_end as period_end,
        scoped.scope_type,
        scoped.scope_id,
        scoped.opportunity_id,
        coalesce(scoped.amount, 0) as amount,
        scoped.won_on,
        scoped.valid_from,
        scoped.valid_to
    from scoped
    inner join calendar on scoped.won_on = calendar.day
    {{ 'union all' if not loop.last }}
    {%- endfor %}
)

select * from final
