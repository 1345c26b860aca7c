{{ config(materialized='table') }}
{#- What a deal is made of in the tables that grow; the rest is told in whole in every build. -#}
{%- set of_deals = ['opportunities', 'opportunity_changes', 'activities', 'opportunity_contacts', 'opportunity_lines', 'qualifications',
    'opportunity_team', 'support_requests'] %}
{%- set accounts_say = "concat_ws('|', coalesce(name, ''), coalesce(segment, ''), coalesce(region, ''))" %}
{%- set users_say = "concat_ws('|', role, coalesce(manager_id, ''), coalesce(region, ''), coalesce(segment, ''), "
    ~ "coalesce(cast(hired_on as string), ''))" %}
{%- set is_increment = builds_on_the_last() %}
{%- set carry_days = policy_constant('fx_spot_carry_days', 'gate_limits', 'limit_value') if is_increment %}
-- Deals that are told anew in this build: every one, or those about which anything may be different from the last build.
-- depends_on: {{ ref('core_stages') }}
-- depends_on: {{ ref('gate_limits') }}
-- depends_on: {{ ref('int_reporting_lines_then') }}
with calendar as (
    select
        min(day) as calendar_from,
        max(day) as calendar_to
    from {{ ref('calendar') }}
),

deals as (
    select
        opportunity_id,
        account_id
    from {{ ref('int_opportunities_known') }}
),

{% if is_increment -%}
stages as (
    select * from {{ ref('core_stages') }}
    where is_open
),

lines as (
    select * from {{ ref('int_reporting_lines_then') }}
),

last_deals as (
    select * from {{ last_built('core', 'opportunities') }}
),

last_history as (
    select * from {{ last_built('intermediate', 'int_opportunity_history') }}
),

last_teams as (
    select * from {{ last_built('funnel', 'deal_teams') }}
),

last_loaded as (
    select * from {{ last_built('intermediate', 'int_loaded_changes') }}
),

last_visits as (
    select * from {{ last_built('funnel', 'stage_visits') }}
),

{% endif -%}
{%- for entity in of_deals + ['accounts', 'users', 'user_roles', 'products', 'fx_rates'] %}
{{ entity }} as (
    select
        versions.*,
        {{ is_new(entity) }} as is_new
    from ({{ known_versions(entity, with_backfill=entity == 'opportunity_changes') }}) as versions
),
{% endfor %}
{% if is_increment -%}
-- A row that was moved from one deal to another touches both.
touched as (
    {%- for entity in of_deals %}
    {%- set keys = keys_of(entity) %}
    select distinct opportunity_id from {{ entity }}
    where
        opportunity_id is not null
        and ({{ keys | join(', ') }}) in (select ({{ keys | join(', ') }}) from {{ entity }} where is_new)
    union
    {%- endfor %}
    -- A deal that is open grows older every day.
    select opportunity_id from last_deals
    where is_open
),

changed_accounts as (
    select account_id from accounts
    where account_id in (select changed.account_id from accounts as changed where changed.is_new)
    group by account_id
    having count(distinct {{ accounts_say }}) > 1 or count(case when not is_new then 1 end) = 0
),

changed_users as (
    select user_id from users
    where user_id in (select changed.user_id from users as changed where changed.is_new)
    group by user_id
    having count(distinct {{ users_say }}) > 1 or count(case when not is_new then 1 end) = 0
    union
    select user_id from user_roles
    where is_new
),

renamed_users as (
    select user_id from users
    where user_id in (select changed.user_id from users as changed where changed.is_new)
    group by user_id
    having count(distinct name) > 1
),

-- Whoever stands below them has another line of managers.
moved_users as (
    select user_id from changed_users
    union
    select rep_id as user_id from lines
    where manager_id in (select changed_users.user_id from changed_users)
),

-- What every deal hangs on: the calendar, rates of days that are past, list prices, which stages are steps, what is delivered at all.
upheavals as (
    select 'calendar' as reason from calendar
    where not exists (
        select 1 from {{ this }} as last_live
        where last_live.calendar_from = calendar.calendar_from and last_live.calendar_to = calendar.calendar_to
    )
    union all
    select 'rates' as reason from fx_rates as changed
    where changed.is_new and (
        changed.rate_date <= {{ last_as_of_date() }}
        or not exists (
            select 1 from fx_rates as before
            where not before.is_new and before.rate_type = changed.rate_type
                and before.from_currency = changed.from_currency and before.to_currency = changed.to_currency
        )
    )
    union all
    -- A currency that has ended since: the days over which its last rate was carried have none.
    select 'rates' as reason from (
        select max(rate_date) as last_rate_date
        from fx_rates
        where rate_type = 'spot' and rate_date <= {{ as_of_date() }}
        group by from_currency, to_currency
    ) as series
    cross join (
        select
            max(case when rate_date <= {{ as_of_date() }} then rate_date end) as newest,
            max(case when rate_date <= {{ last_as_of_date() }} then rate_date end) as newest_before
        from fx_rates
        where rate_type = 'spot'
    ) as any_series
    where
        {{ add_days('series.last_rate_date', carry_days) }} < any_series.newest
        and {{ add_days('series.last_rate_date', carry_days) }} >= any_series.newest_before
    union all
    select 'products' as reason from products
    where is_new
    union all
    -- Who belongs to whom at the top: a parent that is another one, or becomes known after its child.
    select 'parents' as reason from accounts
    where account_id in (select changed.account_id from accounts as changed where changed.is_new)
    group by account_id
    having count(case when not is_new then 1 end) > 0 and count(distinct coalesce(parent_account_id, '')) > 1
    union all
    select 'parents' as reason from accounts as children
    inner join accounts as parents on children.parent_account_id = parents.account_id
    where not children.is_new and parents.is_new and parents.account_id not in (
        select before.account_id from accounts as before
        where not before.is_new
    )
    union all
    select 'stages' as reason from (
        select distinct stage from opportunities where is_new
        union
        select distinct new_value as stage from opportunity_changes where is_new and field = 'stage'
        union
        select distinct old_value as stage from opportunity_changes where is_new and field = 'stage'
    ) as seen
    inner join stages on seen.stage = stages.stage
    where seen.stage not in (select last_visits.stage from last_visits)
    union all
    select 'stages' as reason from (
        select stage from last_visits
        group by stage
        having count(case when opportunity_id not in (select touched.opportunity_id from touched) then 1 end) = 0
    ) as only_of_touched_deals
    union all
    -- The second load of a source tells of all its deals how they changed, where no event did.
    select 'loads' as reason from opportunities
    where _operation = 'upsert' and _source not in (select told._source from opportunity_changes as told where not told.is_new)
    group by _source
    having count(distinct _batch_id) > 1 and count(distinct case when not is_new then _batch_id end) = 1
    union all
    -- A first event takes the place of what loads told of the days after it.
    select 'first events' as reason from opportunity_changes
    group by _source, field
    having min(changed_at) < coalesce(min(case when not is_new then changed_at end), {{ end_of_day(last_as_of_date()) }})
    union all
    select 'next steps' as reason from opportunities
    where
        is_new and next_step is not null
        and not exists (select 1 from last_loaded where last_loaded.field = 'next_step')
        and not exists (select 1 from opportunity_changes as told where told.field = 'next_step' and not told.is_new)
    union all
    select 'next steps' as reason from opportunity_changes
    where field = 'next_step'
    having count(case when is_new then 1 end) > 0 and count(case when not is_new then 1 end) = 0
    {%- for entity in ('activities', 'opportunity_contacts', 'opportunity_team', 'qualifications', 'opportunity_changes') %}
    union all
    select '{{ entity }}' as reason from {{ entity }}
    {{- '
    group by _source' if entity == 'opportunity_changes' }}
    having count(case when is_new then 1 end) > 0 and count(case when not is_new then 1 end) = 0
    {%- endfor %}
),

live as (
    select opportunity_id from touched
    union
    select opportunity_id from deals
    where account_id in (select changed_accounts.account_id from changed_accounts) or (select count(*) from upheavals) > 0
    union
    select opportunity_id from last_history
    where owner_id in (select moved_users.user_id from moved_users)
    union
    select opportunity_id from last_teams
    where user_id in (select renamed_users.user_id from renamed_users)
    union
    select opportunity_id from last_deals
    where
        owner_id in (select moved_users.user_id from moved_users)
        or owner_id in (select renamed_users.user_id from renamed_users)
        or manager_id in (select renamed_users.user_id from renamed_users)
    union
    -- Whether somebody is a specialist or an executive shows in what was done on a deal.
    select opportunity_id from activities
    where user_id in (select changed_users.user_id from changed_users)
),
{%- else %}
live as (
    select opportunity_id from deals
),
{%- endif %}

final as (
    select
        live.opportunity_id,
        calendar.calendar_from,
        calendar.calendar_to
    from live
    cross join calendar
    where live.opportunity_id is not null
)

select * from final
