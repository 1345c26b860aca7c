{{ config(materialized='table') }}
{%- set in_a_term = policy_constant('scorecard_quarters', 'scorecard_policy') | float | int %}
{%- set warning_days = policy_constant('scorecard_warning_days', 'scorecard_policy') | float | int %}
{%- set action_days = policy_constant('scorecard_action_days', 'scorecard_policy') | float | int %}
{%- set review_days = policy_constant('scorecard_review_days', 'scorecard_policy') | float | int %}
{%- set coaching_days = policy_constant('scorecard_coaching_days', 'scorecard_policy') | float | int %}
{%- set leader_months = policy_constant('scorecard_leader_months', 'scorecard_policy') | float | int %}
-- What each behaviour is judged by: its value, the interval, and the cases it rests on.
with calendar as (
    select * from {{ ref('calendar') }}
),

deals as (
    select * from {{ ref('opportunities') }}
    where not is_deleted
),

reps as (
    select * from {{ ref('reps') }}
),

deal_health as (
    select * from {{ ref('deal_health') }}
),

agenda as (
    select * from {{ ref('review_agenda') }}
),

sessions as (
    select
        *,
        cast(occurred_at as date) as held_on
    from {{ ref('int_coaching_sessions_known') }}
    where not _is_deleted and occurred_at < {{ end_of_day(as_of_date()) }}
),

key_accounts as (
    select * from {{ ref('key_account_health') }}
    where standing = 'on_list'
),

quarters as (
    select
        quarter_start,
        row_number() over (order by quarter_start desc) as quarter_number
    from calendar
    where quarter_end <= {{ as_of_date() }}
    group by quarter_start
),

-- Where no quarter has ended yet, from the beginning of the calendar.
windows as (
    select coalesce(
        (
            select min(quarters.quarter_start) from quarters
            where quarters.quarter_number <= {{ in_a_term }}
        ),
        (select min(calendar.day) from calendar)
    ) as window_start
),

-- F1: as it stood at the last review so many days before the end, so that a long life is no reason for a flag.
ended as (
    select
        deals.opportunity_id,
        deals.is_won,
        verdicts.is_troubled
    from deals
    inner join windows on deals.closed_on >= windows.window_start
    inner join {{ ref('int_deal_verdicts') }} as verdicts
        on deals.opportunity_id = verdicts.opportunity_id
        and {{ day_count('verdicts.snapshot_date', 'deals.closed_on') }} >= {{ warning_days }}
    where not deals.is_open
    qualify row_number() over (partition by deals.opportunity_id order by verdicts.snapshot_date desc) = 1
),

warnings as (
    select
        count(case when not is_won then 1 end) as lost_count,
        count(case when is_won then 1 end) as won_count,
        cast(count(case when not is_won and is_troubled then 1 end) as double)
        / nullif(count(case when not is_won then 1 end), 0) as lost_share,
        cast(count(case when is_won and is_troubled then 1 end) as double)
        / nullif(count(case when is_won then 1 end), 0) as won_share
    from ended
),

warning_ends as (
    select
        warnings.*,
        {{ wilson('lost_share', 'lost_count', -1) }} as lost_low,
        {{ wilson('lost_share', 'lost_count', 1) }} as lost_high,
        {{ wilson('won_share', 'won_count', -1) }} as won_low,
        {{ wilson('won_share', 'won_count', 1) }} as won_high
    from warnings
),

-- F4: larger is whatever has at least the median amount of the deals decided in the window.
sizes as (
    select percentile_cont(0.5) within group (order by cast(deals.amount as double)) as median_amount
    from deals
    cross join windows
    where
        deals.closed_on >= windows.window_start
        and not deals.is_open
        and coalesce(deals.opportunity_type, '') != 'renewal'
        and deals.amount is not null
),

teamed as (
    select
        deals.opportunity_id,
        count(distinct teams.function) >= 2 as is_hit
    from deals
    cross join windows
    cross join sizes
    left join {{ ref('deal_teams') }} as teams
        on deals.opportunity_id = teams.opportunity_id
        and teams.function != 'sourcing'
        and coalesce(teams.joined_on <= deals.closed_on, true)
    where
        deals.closed_on >= windows.window_start
        and not deals.is_open
        and coalesce(deals.opportunity_type, '') != 'renewal'
        and deals.amount >= sizes.median_amount
    group by deals.opportunity_id
),

-- C1: a session that names its deal is about that deal, else about those of the seller.
reviewed as (
    select
        sessions.session_id,
        count(agenda.opportunity_id) > 0 as is_hit
    from sessions
    inner join windows on sessions.held_on >= windows.window_start
    left join agenda
        on sessions.manager_id = agenda.manager_id
        and sessions.rep_id = agenda.owner_id
        and coalesce(sessions.opportunity_id, agenda.opportunity_id) = agenda.opportunity_id
        and agenda.review_on <= sessions.held_on
        and {{ day_count('agenda.review_on', 'sessions.held_on') }} <= {{ review_days }}
    where sessions.session_type = 'deal_review'
    group by sessions.session_id
),

-- C3
new_on_agenda as (
    select
        manager_id,
        opportunity_id,
        owner_id,
        review_on
    from agenda
    qualify row_number() over (partition by manager_id, opportunity_id order by review_on) = 1
),

coached as (
    select
        new_on_agenda.manager_id,
        new_on_agenda.opportunity_id,
        count(sessions.session_id) > 0 as is_hit
    from new_on_agenda
    inner join windows on new_on_agenda.review_on >= windows.window_start
    left join sessions
        on new_on_agenda.manager_id = sessions.manager_id
        and new_on_agenda.owner_id = sessions.rep_id
        and coalesce(sessions.opportunity_id, new_on_agenda.opportunity_id) = new_on_agenda.opportunity_id
        and sessions.session_type in ('deal_review', 'ride_along', 'skill')
        and sessions.held_on >= new_on_agenda.review_on
        and {{ day_count('new_on_agenda.review_on', 'sessions.held_on') }} <= {{ coaching_days }}
    where new_on_agenda.review_on <= {{ add_days(as_of_date(), -coaching_days) }}
    group by new_on_agenda.manager_id, new_on_agenda.opportunity_id
),

-- C6, C8
sellers as (
    select rep_id
    from reps
    where
        is_current
        and role in ('account_executive', 'account_manager', 'development_rep')
        and coalesce(terminated_on > {{ as_of_date() }}, true)
        and coalesce(hired_on <= {{ add_days(as_of_date(), -action_days) }}, true)
),

with_action as (
    select distinct rep_id from sessions
    where agreed_action is not null and held_on > {{ add_days(as_of_date(), -action_days) }}
),

developed as (
    select
        sellers.rep_id,
        with_action.rep_id is not null as is_hit
    from sellers
    left join with_action on sellers.rep_id = with_action.rep_id
),

diagnosed as (
    select distinct seller_id from {{ ref('rep_diagnosis') }}
    where reason is null
),

low_performers as (
    select
        sellers.rep_id,
        max(case when diagnosed.seller_id is not null and with_action.rep_id is not null then 1 else 0 end) = 1 as is_hit
    from {{ ref('quota_attainment') }} as attainments
    inner join windows on attainments.period_start >= windows.window_start
    inner join sellers on attainments.scope_id = sellers.rep_id
    left join diagnosed on sellers.rep_id = diagnosed.seller_id
    left join with_action on sellers.rep_id = with_action.rep_id
    where
        attainments.scope_type = 'seller'
        and attainments.period_type = 'quarter'
        and attainments.is_complete
        and attainments.is_judged
    group by sellers.rep_id
    having sum(attainments.credited_amount) < {{ scorecard_policy('scorecard_low_attainment') }} * sum(attainments.quota_amount)
),

-- C7
first_led as (
    select
        rep_id,
        min(valid_from) as valid_from
    from reps
    where role = 'manager'
    group by rep_id
),

new_leaders as (
    select
        first_led.rep_id,
        count(case when reps.role in ('account_executive', 'account_manager', 'development_rep') then 1 end) > 0 as is_hit
    from first_led
    left join reps
        on first_led.rep_id = reps.rep_id
        and reps.valid_from < first_led.valid_from
    where
        first_led.valid_from > {{ add_months(as_of_date(), -leader_months) }}
        and first_led.valid_from <= {{ as_of_date() }}
    group by first_led.rep_id
),

-- K2: as the last review found them.
listed as (
    select
        reviews.account_id,
        not reviews.is_below as is_hit
    from {{ ref('key_account_reviews') }} as reviews
    inner join key_accounts on reviews.account_id = key_accounts.account_id
    qualify row_number() over (partition by reviews.account_id order by reviews.reviewed_on desc) = 1
),

deep as (
    select
        account_id,
        engaged_function_count >= 2 and engaged_senior_count >= 1 as is_hit
    from key_accounts
),

-- K4: of whom nothing is on record nobody knows whether they met anybody.
planned as (
    select
        key_accounts.account_id,
        plans.plan_id is not null as has_plan,
        plans.plan_id is not null
        and coalesce(key_accounts.sponsor_reason = 'nothing of the sponsor on record', false) as is_unknown,
        plans.plan_id is not null
        and coalesce(key_accounts.last_sponsor_meeting_on > {{ add_days(as_of_date(), -action_days) }}, false) as is_hit
    from key_accounts
    left join {{ ref('plan_execution') }} as plans
        on key_accounts.account_id = plans.account_id
        and key_accounts.plan_id = plans.plan_id
        and plans.year_end = {{ as_of_date() }}
        and plans.is_current
        and plans.has_executive_sponsor
),

planned_known as (
    select
        count(case when is_told and is_unknown then null else 1 end) as n,
        count(case when is_told and is_hit then 1 end) as hit_count,
        max(case when is_told then 1 else 0 end) = 1 as is_told
    from (
        select
            planned.*,
            max(case when is_unknown then 1 else 0 end) over () = 0
            or max(case when has_plan and not is_unknown then 1 else 0 end) over () = 1 as is_told
        from planned
    ) as seen
),

-- E3
rated as (
    select
        requests.request_id,
        requests.satisfaction >= 4 as is_hit
    from {{ ref('int_help_requests') }} as requests
    inner join windows on cast(requests.requested_at as date) >= windows.window_start
    where requests.kind = 'service' and requests.satisfaction is not null
),

-- E6
fitting as (
    select
        seller_id,
        verdict = 'fits' as is_hit
    from {{ ref('role_fit') }}
    where verdict in ('fits', 'misfit')
),

-- E7
moving as (
    select
        person_id,
        verdict = 'ready' or months_in_level <= {{ scorecard_policy('scorecard_level_months') }} as is_hit
    from {{ ref('career_path') }}
    where verdict != 'no_next_level' and months_in_level is not null
),

functions as (
    select * from {{ ref('specialist_engagement') }}
    where user_id = 'all' and stage = 'all'
),

counted as (
    {%- for behaviour, table in (
        ('F4', 'teamed'), ('C1', 'reviewed'), ('C3', 'coached'), ('C6', 'developed'), ('C7', 'new_leaders'), ('C8', 'low_performers'),
        ('K2', 'listed'), ('K3', 'deep'), ('E3', 'rated'), ('E6', 'fitting'), ('E7', 'moving'),
    ) %}
    select
        '{{ behaviour }}' as behaviour,
        count(*) as n,
        count(case when is_hit then 1 end) as hit_count
    from {{ table }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
    union all
    select
        'K4' as behaviour,
        n,
        case when is_told then hit_count end as hit_count
    from planned_known
    union all
    select
        'C5' as behaviour,
        sum(seller_led_n) as n,
        sum(seller_led_count) as hit_count
    from {{ ref('manager_coaching') }}
    union all
    select
        'F3' as behaviour,
        sum(in_target_share_n) as n,
        sum(round(in_target_share * in_target_share_n)) as hit_count
    from functions
    where in_target_share is not null
),

shares as (
    select
        behaviour,
        n,
        cast(hit_count as double) / nullif(n, 0) as share
    from counted
),

-- What is a part of a whole, by the unit it is counted in: deals, or accounts.
saved as (
    select
        deals.opportunity_id,
        max(case when manager_deals.is_hero then 1 else 0 end) as is_hero,
        max(manager_deals.amount) as amount
    from {{ ref('manager_deals') }} as manager_deals
    inner join deals on manager_deals.opportunity_id = deals.opportunity_id
    inner join windows on manager_deals.won_on >= windows.window_start
    group by deals.opportunity_id
),

parts as (
    select
        'F2' as behaviour,
        cast(coalesce(hours_to_release, 0) as decimal(30, 12)) as part,
        cast(hours_to_go as decimal(30, 12)) as whole
    from deal_health
    where hours_to_go > 0
    union all
    select
        'C2' as behaviour,
        cast(verified_count as decimal(30, 12)) as part,
        cast(required_count as decimal(30, 12)) as whole
    from deal_health
    where required_count > 0
    union all
    select
        'C4' as behaviour,
        cast(amount * is_hero as decimal(30, 12)) as part,
        cast(amount as decimal(30, 12)) as whole
    from saved
    where amount > 0
    union all
    select
        'K1' as behaviour,
        cast(proactive_meeting_count as decimal(30, 12)) as part,
        cast(meeting_count as decimal(30, 12)) as whole
    from key_accounts
    where meeting_count > 0
    union all
    -- What still waits for its invoice is not judged.
    select
        'E2' as behaviour,
        cast(case when status = 'matched' then crm_amount else 0 end as decimal(30, 12)) as part,
        cast(crm_amount as decimal(30, 12)) as whole
    from {{ ref('booking_to_billing') }}
    inner join windows on booked_on >= window_start
    where row_type = 'deal' and crm_amount > 0 and (status = 'matched' or is_break)
),

totals as (
    select
        behaviour,
        count(*) as n,
        sum(whole) as whole,
        cast(sum(part) as double) / cast(sum(whole) as double) as ratio,
        {{ equal_units('whole') }} as equal_n
    from parts
    group by behaviour
),

ratios as (
    select
        totals.behaviour,
        totals.n,
        totals.whole,
        totals.ratio,
        totals.equal_n,
        {{ squares_around('parts.part', 'parts.whole', 'totals.ratio') }} as squares
    from parts
    inner join totals on parts.behaviour = totals.behaviour
    group by totals.behaviour, totals.n, totals.whole, totals.ratio, totals.equal_n
),

-- E5: held against what won deals had after as many days, so that a deal that came to its stage yesterday is not behind.
covered as (
    select
        sum(coverage_n) as n,
        cast(sum(round(coverage * coverage_n)) as double) / nullif(sum(coverage_n), 0) as share,
        cast(sum(cast(coverage_norm * coverage_n as decimal(18, 9))) as double) / nullif(sum(coverage_n), 0) as norm
    from functions
    where coverage is not null
),

called as (
    select * from {{ ref('forecast_value_added') }}
    where
        scope_type = 'company'
        and period_type = 'quarter'
        and method like '%_commit'
        and weeks_before_end = {{ scorecard_policy('scorecard_forecast_weeks') }}
        and value_added_over_naive is not null
    qualify row_number() over (order by step desc) = 1
),

final as (
    -- The interval of a difference of two shares from those of each (Newcombe, Statistics in Medicine 17, 1998, method 10).
    select
        'F1' as behaviour,
        cast(lost_count + won_count as bigint) as n,
        lost_share - won_share as value,
        lost_share - won_share
        - sqrt((lost_share - lost_low) * (lost_share - lost_low) + (won_high - won_share) * (won_high - won_share)) as value_low,
        lost_share - won_share
        + sqrt((lost_high - lost_share) * (lost_high - lost_share) + (won_share - won_low) * (won_share - won_low)) as value_high
    from warning_ends
    union all
    select
        behaviour,
        cast(n as bigint) as n,
        share as value,
        {{ wilson('share', 'cast(n as double)', -1) }} as value_low,
        {{ wilson('share', 'cast(n as double)', 1) }} as value_high
    from shares
    union all
    select
        behaviour,
        cast(n as bigint) as n,
        ratio as value,
        {{ share_interval('ratio', 'n', 'squares', 'whole', -1, 'equal_n') }} as value_low,
        {{ share_interval('ratio', 'n', 'squares', 'whole', 1, 'equal_n') }} as value_high
    from ratios
    union all
    select
        'E5' as behaviour,
        cast(n as bigint) as n,
        share / nullif(norm, 0) as value,
        {{ wilson('share', 'cast(n as double)', -1) }} / nullif(norm, 0) as value_low,
        {{ wilson('share', 'cast(n as double)', 1) }} / nullif(norm, 0) as value_high
    from covered
    union all
    select
        'F5' as behaviour,
        n,
        cast(median_months as double) as value,
        cast(median_months_low as double) as value_low,
        cast(median_months_high as double) as value_high
    from {{ ref('ramp_curves') }}
    where cohort_type = 'company' and milestone = 'productive' and month = 1
    union all
    select
        'E1' as behaviour,
        naive_n as n,
        value_added_over_naive as value,
        value_added_over_naive_low as value_low,
        value_added_over_naive_high as value_high
    from called
    union all
    select
        'E4' as behaviour,
        authority_n as n,
        within_authority_share as value,
        within_authority_share_low as value_low,
        within_authority_share_high as value_high
    from {{ ref('discount_discipline') }}
    where scope_type = 'company'
)

select * from final
