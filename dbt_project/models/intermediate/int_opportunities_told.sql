{{ config(materialized=growing(), pre_hook="{{ take_out(has_as_of_date=true) }}") }}
with known as (
    select * from {{ ref('int_opportunities_known') }}
    where {{ is_live() }}
),

stages as (
    select * from {{ ref('core_stages') }}
),

accounts as (
    select * from {{ ref('accounts') }}
),

products as (
    select * from {{ ref('products') }}
),

reps as (
    select * from {{ ref('reps') }}
),

rates as (
    select * from {{ ref('int_exchange_rates') }}
),

lines as (
    select * from {{ ref('int_opportunity_lines_known') }}
    where not _is_deleted and {{ is_live() }}
),

changes as (
    select
        opportunity_id,
        field,
        old_value,
        changed_at
    from {{ ref('int_opportunity_changes_known') }}
    where not _is_deleted and {{ is_live() }} and cast(changed_at as date) <= {{ as_of_date() }}
    union all
    select
        opportunity_id,
        field,
        old_value,
        changed_at
    from {{ ref('int_loaded_changes') }}
    where {{ is_live() }}
),

contacts as (
    select * from {{ ref('int_opportunity_contacts_known') }}
    where not _is_deleted and {{ is_live() }}
),

team as (
    select * from {{ ref('int_opportunity_team_known') }}
    where not _is_deleted and {{ is_live() }}
),

-- An entity without a single row was not delivered: then nothing is known, which is not the same as zero.
delivered as (
    select
        (select count(*) from {{ ref('int_opportunity_contacts_known') }}) > 0 as has_contacts,
        (select count(*) from {{ ref('int_opportunity_team_known') }}) > 0 as has_team
),

-- Sources that tell how their deals have changed: by events, or because more than one load of them is known.
telling_sources as (
    select deals._source
    from {{ ref('int_opportunities_known') }} as deals
    inner join {{ ref('int_opportunity_changes_known') }} as events on deals.opportunity_id = events.opportunity_id
    group by deals._source
    union
    select _source
    from {{ ref('int_opportunities_versions') }}
    where _operation = 'upsert'
    group by _source
    having count(distinct _batch_id) > 1
),

-- Where the deal stood on the as-of date; a deal of unknown creation has no history and is told by its row.
history as (
    select * from {{ ref('int_opportunity_history') }}
    where {{ is_live() }}
),

states as (
    select * from history
    where valid_to is null
),

-- When it came to the stage it is in.
stage_turns as (
    select
        opportunity_id,
        valid_from
    from history
    qualify
        row_number() over (partition by opportunity_id order by valid_from) = 1
        or stage is distinct from lag(stage) over (partition by opportunity_id order by valid_from)
),

stage_starts as (
    select
        opportunity_id,
        cast(max(valid_from) as date) as stage_since
    from stage_turns
    group by opportunity_id
),

-- Its first stage is closed: a booking, and in no cycle.
created_closed as (
    select opportunity_id from history
    qualify row_number() over (partition by opportunity_id order by valid_from) = 1 and not is_open
),

current_states as (
    select
        known.opportunity_id,
        known._source,
        known.account_id,
        known.name,
        known.opportunity_type,
        known.probability,
        known.created_at,
        known.closed_at,
        known.lead_source,
        known.loss_reason,
        known.competitor,
        known.product_id,
        known.stage as row_stage,
        states.opportunity_id is not null as has_history,
        known._source in (select telling_sources._source from telling_sources) as has_changes,
        case when states.opportunity_id is null then known._is_deleted else states.is_deleted end as is_deleted,
        coalesce(cast(known.closed_at as date), known.close_date) as row_closed_on,
        case when states.opportunity_id is null then known.stage else states.stage end as stage,
        case when states.opportunity_id is null then known.forecast_category else states.forecast_category end as forecast_category,
        case when states.opportunity_id is null then known.amount else states.amount end as amount,
        case when states.opportunity_id is null then known.currency else states.currency end as currency,
        case when states.opportunity_id is null then known.owner_id else states.owner_id end as owner_id,
        case when states.opportunity_id is null then known.close_date else states.close_date end as close_date,
        stage_starts.stage_since
    from known
    left join states on known.opportunity_id = states.opportunity_id
    left join stage_starts on known.opportunity_id = stage_starts.opportunity_id
),

-- The row says on what day it closed; where it tells of a later closing, or of none, it closed when it came to its stage. One whose
-- close date was still to come then was not closed yet, whatever its stage.
staged as (
    select
        current_states.*,
        coalesce(stages.is_open, true) as stage_is_open,
        stages.is_won as stage_is_won,
        stages.is_lost as stage_is_lost,
        stages.is_no_decision as stage_is_no_decision,
        cast(current_states.created_at as date) as created_on,
        case
            when not stages.is_open and not row_stages.is_open and current_states.row_closed_on <= {{ as_of_date() }}
                then current_states.row_closed_on
            when
                not stages.is_open and current_states.has_history and not coalesce(
                    not row_stages.is_open
                    and current_states.row_closed_on > {{ as_of_date() }}
                    and current_states.close_date > {{ as_of_date() }},
                    false
                )
                then current_states.stage_since
            when not stages.is_open then current_states.row_closed_on
        end as stated_closed_on,
        coalesce(not row_stages.is_open, false) as row_is_closed
    from current_states
    left join stages on current_states.stage = stages.stage
    left join stages as row_stages on current_states.row_stage = row_stages.stage
),

-- What the deal says about days after the as-of date was not known on it.
masked as (
    select
        staged.*,
        row_is_closed and (stated_closed_on is null or coalesce(row_closed_on > {{ as_of_date() }}, false)) as is_closed_later,
        case when stated_closed_on <= {{ as_of_date() }} then stated_closed_on end as closed_on,
        coalesce(
            case when stated_closed_on <= {{ as_of_date() }} then stated_closed_on end,
            least(close_date, {{ as_of_date() }}),
            {{ as_of_date() }}
        ) as rate_date
    from staged
),

rated as (
    select
        masked.*,
        not masked.is_closed_later or (masked.has_history and masked.stage_is_open = (masked.closed_on is null)) as is_stage_told,
        {{ plan_rate('masked.currency') }} as rate
    from masked
    left join rates
        on masked.currency = rates.from_currency
        and masked.rate_date >= rates.valid_from
        and masked.rate_date < rates.valid_to
),

-- A line without a list price of its own is listed at its product's.
priced_lines as (
    select
        lines.opportunity_id,
        lines.currency,
        lines.quantity * coalesce(lines.list_unit_price, products.list_price_source) as list_amount,
        lines.quantity * lines.net_unit_price as net_amount
    from lines
    left join products on lines.product_id = products.product_id
),

line_totals as (
    select
        opportunity_id,
        sum(case when net_amount is not null then list_amount end) as list_of_priced,
        sum(case when list_amount is not null then net_amount end) as net_of_priced
    from priced_lines
    group by opportunity_id
),

-- Without lines a deal is listed at its product.
listed as (
    select
        opportunity_id,
        currency,
        list_amount
    from priced_lines
    where list_amount is not null
    union all
    select
        rated.opportunity_id,
        products.currency_source as currency,
        products.list_price_source as list_amount
    from rated
    inner join products on rated.product_id = products.product_id
    left join line_totals on rated.opportunity_id = line_totals.opportunity_id
    where line_totals.opportunity_id is null and products.list_price_source is not null
),

-- What names no currency is in the deal's.
listed_by_currency as (
    select
        rated.opportunity_id,
        rated.rate_date,
        coalesce(listed.currency, rated.currency) as currency,
        sum(listed.list_amount) as list_amount
    from rated
    inner join listed on rated.opportunity_id = listed.opportunity_id
    group by rated.opportunity_id, rated.rate_date, coalesce(listed.currency, rated.currency)
),

converted as (
    select
        listed.opportunity_id,
        cast(listed.list_amount * {{ plan_rate('listed.currency') }} as decimal(18, 4)) as list_amount
    from listed_by_currency as listed
    left join rates
        on listed.currency = rates.from_currency
        and listed.rate_date >= rates.valid_from
        and listed.rate_date < rates.valid_to
),

-- A part without a rate leaves the whole unknown.
list_totals as (
    select
        opportunity_id,
        case when count(*) = count(list_amount) then sum(list_amount) end as list_amount
    from converted
    group by opportunity_id
),

-- The day written on a deal as it closes is no push.
pushes as (
    select
        opportunity_id,
        is_in_pipeline
        and coalesce(lag(is_in_pipeline) over (partition by opportunity_id order by valid_from), false) as is_in_pipeline,
        {{ day_count('lag(close_date) over (partition by opportunity_id order by valid_from)', 'close_date') }} as pushed_days
    from history
),

push_totals as (
    select
        opportunity_id,
        count(*) as push_count,
        sum(pushed_days) as push_days
    from pushes
    where pushed_days > 0 and is_in_pipeline
    group by opportunity_id
),

change_totals as (
    select
        opportunity_id,
        min_by(try_cast(old_value as decimal(18, 4)), case when field = 'amount' then changed_at end) as first_amount,
        count(case when field = 'amount' then 1 end) as amount_change_count,
        max(case when field = 'stage' then cast(changed_at as date) end) as stage_changed_on
    from changes
    group by opportunity_id
),

contact_totals as (
    select
        opportunity_id,
        count(distinct contact_id) as contact_count
    from contacts
    group by opportunity_id
),

team_totals as (
    select
        opportunity_id,
        count(distinct user_id) as team_size
    from team
    where left_at is null or cast(left_at as date) > {{ as_of_date() }}
    group by opportunity_id
),

-- The owner's manager, region and segment are those of the day the deal closed, or of the as-of date.
owned as (
    select
        rated.opportunity_id,
        reps.name as owner_name,
        reps.manager_id,
        reps.manager_name,
        reps.region,
        reps.segment
    from rated
    left join reps
        on rated.owner_id = reps.rep_id
        and coalesce(rated.closed_on, {{ as_of_date() }}) >= reps.valid_from
        and (reps.valid_to is null or coalesce(rated.closed_on, {{ as_of_date() }}) < reps.valid_to)
),

final as (
    select
        rated.opportunity_id,
        rated._source,
        rated.name,
        rated.account_id,
        accounts.name as account_name,
        accounts.ultimate_parent_id,
        rated.owner_id,
        owned.owner_name,
        owned.manager_id,
        owned.manager_name,
        coalesce(owned.region, accounts.region) as region,
        coalesce(accounts.segment, owned.segment) as segment,
        rated.opportunity_type,
        rated.product_id,
        products.name as product_name,
        rated.lead_source,
        case when rated.is_stage_told then rated.stage end as stage,
        case when rated.is_stage_told then rated.forecast_category end as forecast_category,
        case when not rated.is_closed_later then rated.loss_reason end as loss_reason,
        rated.competitor,
        rated.currency as currency_source,
        cast(rated.amount * rated.rate as decimal(18, 4)) as amount,
        rated.amount as amount_source,
        cast(list_totals.list_amount as decimal(18, 4)) as list_amount,
        case when not rated.is_closed_later then rated.probability end as probability,
        1 - cast(line_totals.net_of_priced as double) / nullif(cast(line_totals.list_of_priced as double), 0) as discount_share,
        cast(
            case
                when rated.closed_on < rated.created_on then null
                when rated.closed_on is not null then {{ day_count('rated.created_on', 'rated.closed_on') }}
                else {{ day_count('rated.created_on', as_of_date()) }}
            end as bigint
        ) as age_days,
        cast(
            case
                when rated.closed_on >= rated.created_on and not (rated.has_changes and created_closed.opportunity_id is not null)
                    then {{ day_count('rated.created_on', 'rated.closed_on') }}
            end as bigint
        ) as cycle_days,
        cast(
            case
                when rated.has_changes and rated.closed_on is null
                    then {{ day_count('coalesce(change_totals.stage_changed_on, rated.created_on)', as_of_date()) }}
            end as bigint
        ) as stage_age_days,
        cast(case when rated.has_changes then coalesce(push_totals.push_count, 0) end as bigint) as push_count,
        cast(case when rated.has_changes then coalesce(push_totals.push_days, 0) end as bigint) as push_days,
        cast(
            case
                when rated.has_changes and coalesce(change_totals.amount_change_count, 0) = 0 then 0
                when rated.has_changes then rated.amount - change_totals.first_amount
            end as decimal(18, 4)
        ) as amount_change,
        cast(case when delivered.has_contacts then coalesce(contact_totals.contact_count, 0) end as bigint) as contact_count,
        cast(case when delivered.has_team then coalesce(team_totals.team_size, 0) end as bigint) as team_size,
        rated.closed_on is null as is_open,
        rated.closed_on is not null and stage_is_won as is_won,
        rated.closed_on is not null and stage_is_lost as is_lost,
        rated.closed_on is not null and stage_is_no_decision as is_no_decision,
        rated.is_deleted,
        rated.created_on,
        rated.close_date,
        rated.closed_on,
        rated.rate_date,
        {{ as_of_date() }} as as_of_date
    from rated
    cross join delivered
    left join owned on rated.opportunity_id = owned.opportunity_id
    left join accounts on rated.account_id = accounts.account_id
    left join products on rated.product_id = products.product_id
    left join line_totals on rated.opportunity_id = line_totals.opportunity_id
    left join list_totals on rated.opportunity_id = list_totals.opportunity_id
    left join created_closed on rated.opportunity_id = created_closed.opportunity_id
    left join push_totals on rated.opportunity_id = push_totals.opportunity_id
    left join change_totals on rated.opportunity_id = change_totals.opportunity_id
    left join contact_totals on rated.opportunity_id = contact_totals.opportunity_id
    left join team_totals on rated.opportunity_id = team_totals.opportunity_id
)

select * from final
