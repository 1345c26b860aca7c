{%- set months = policy_constant('help_window_months', 'people_policy') | float | int %}
-- docs/help.md is the rule.
with functions as (
    select function from {{ ref('help_functions') }}
    where kind = 'specialist'
),

helpers as (
    select * from {{ ref('int_helpers') }}
),

deals as (
    select
        opportunity_id,
        coalesce(segment, 'unknown') as segment,
        coalesce(opportunity_type, 'unknown') as opportunity_type,
        is_open,
        is_won,
        closed_on
    from {{ ref('opportunities') }}
    where not is_deleted
),

visits as (
    select * from {{ ref('stage_visits') }}
),

on_deals as (
    select
        function,
        opportunity_id,
        min(joined_on) as joined_on,
        max(case when left_on is null then 1 else 0 end) = 1 as is_there_now
    from helpers
    group by function, opportunity_id
),

stays as (
    select
        opportunity_id,
        stage,
        min(cast(entered_at as date)) as entered_on,
        max(cast(exited_at as date)) as exited_on,
        max(case when exited_at is null then 1 else 0 end) = 0 as has_left
    from visits
    group by opportunity_id, stage
),

-- After how many days in the stage each won deal had somebody of the function; null where it had nobody by leaving it.
won as (
    select
        functions.function,
        deals.segment,
        deals.opportunity_type,
        stays.stage,
        case
            when on_deals.joined_on <= stays.exited_on and on_deals.joined_on < deals.closed_on
                then greatest(0, {{ day_count('stays.entered_on', 'on_deals.joined_on') }})
        end as days
    from deals
    inner join stays on deals.opportunity_id = stays.opportunity_id
    cross join functions
    left join on_deals
        on deals.opportunity_id = on_deals.opportunity_id
        and functions.function = on_deals.function
    where deals.is_won and stays.has_left and deals.closed_on > {{ add_months(as_of_date(), -months) }}
),

cells as (
    {%- for segment in ('segment', "'all'") %}
    select
        function,
        {{ segment }} as segment,
        opportunity_type,
        stage,
        count(*) as n,
        cast(count(days) as double) / count(*) as share
    from won
    group by function, {{ 'segment, ' if loop.first }}opportunity_type, stage
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

by_days as (
    {%- for segment in ('segment', "'all'") %}
    select
        function,
        {{ segment }} as segment,
        opportunity_type,
        stage,
        days,
        count(*) as n
    from won
    where days is not null
    group by function, {{ 'segment, ' if loop.first }}opportunity_type, stage, days
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

-- Each open deal is held against its segment and type, or its type where too few were won.
open_deals as (
    select
        cells.function,
        deals.opportunity_id,
        stays.stage,
        deals.opportunity_type,
        cells.segment,
        cells.n,
        cells.share,
        {{ day_count('stays.entered_on', as_of_date()) }} as days
    from deals
    inner join stays on deals.opportunity_id = stays.opportunity_id and not stays.has_left
    inner join cells
        on stays.stage = cells.stage
        and deals.opportunity_type = cells.opportunity_type
        and (deals.segment = cells.segment or cells.segment = 'all')
        and cells.n >= {{ people_policy('help_minimum_won') }}
    where deals.is_open
    qualify row_number() over (
        partition by cells.function, deals.opportunity_id order by case when cells.segment = 'all' then 1 else 0 end
    ) = 1
),

expecting as (
    select * from open_deals
    where share >= {{ people_policy('help_expected_coverage') }}
),

final as (
    select
        expecting.function,
        expecting.opportunity_id,
        expecting.stage,
        max(case when on_deals.is_there_now then 1 else 0 end) = 1 as is_covered,
        cast(coalesce(sum(by_days.n), 0) as double) / max(expecting.n) as norm
    from expecting
    left join on_deals
        on expecting.opportunity_id = on_deals.opportunity_id
        and expecting.function = on_deals.function
    left join by_days
        on expecting.function = by_days.function
        and expecting.segment = by_days.segment
        and expecting.opportunity_type = by_days.opportunity_type
        and expecting.stage = by_days.stage
        and by_days.days <= expecting.days
    group by expecting.function, expecting.opportunity_id, expecting.stage
)

select * from final
