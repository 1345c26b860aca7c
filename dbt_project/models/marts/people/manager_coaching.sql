{%- set z = z90() %}
with calendar as (
    select * from {{ ref('calendar') }}
),

reps as (
    select * from {{ ref('reps') }}
),

statements as (
    select * from {{ ref('manager_statements') }}
),

sessions as (
    select * from {{ ref('int_coaching_sessions_known') }}
    where not _is_deleted and occurred_at < {{ end_of_day(as_of_date()) }}
),

activities as (
    select * from {{ ref('int_activities_known') }}
    where
        not _is_deleted
        and user_id is not null
        and activity_type in ('email', 'call', 'meeting', 'demo')
        and coalesce(is_completed, true)
        and occurred_at < {{ end_of_day(as_of_date()) }}
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
            where quarters.quarter_number <= {{ people_policy('coaching_window_quarters') }}
        ),
        (select min(calendar.day) from calendar)
    ) as window_start
),

-- Who reported to whom on which days of the window.
reports as (
    select
        reps.manager_id,
        reps.rep_id,
        reps.role,
        greatest(reps.valid_from, windows.window_start, coalesce(reps.hired_on, reps.valid_from)) as valid_from,
        least(
            coalesce(reps.valid_to, {{ add_days(as_of_date(), 1) }}),
            {{ add_days(as_of_date(), 1) }},
            coalesce({{ add_days('reps.terminated_on', 1) }}, {{ add_days(as_of_date(), 1) }})
        ) as valid_to
    from reps
    cross join windows
    where reps.manager_id is not null and reps.manager_id != reps.rep_id
),

managers as (
    select distinct manager_id from reports
    where valid_from < valid_to
    union
    select reps.rep_id as manager_id
    from reps
    cross join windows
    where
        reps.role = 'manager'
        and reps.valid_from <= {{ as_of_date() }}
        and coalesce(reps.valid_to > windows.window_start, true)
        and coalesce(reps.terminated_on >= windows.window_start, true)
),

-- Whoever leads somebody who leads.
above as (
    select distinct reports.manager_id
    from reports
    inner join reports as below on reports.rep_id = below.manager_id
    where reports.valid_from < reports.valid_to and below.valid_from < below.valid_to
),

sellers as (
    select
        manager_id,
        rep_id,
        sum({{ day_count('valid_from', 'valid_to') }}) as days
    from reports
    where valid_from < valid_to and role in ('account_executive', 'account_manager', 'development_rep')
    group by manager_id, rep_id
),

held as (
    select
        sessions.*,
        reports.rep_id is not null as is_with_own_seller
    from sessions
    inner join windows on cast(sessions.occurred_at as date) >= windows.window_start
    left join reports
        on sessions.manager_id = reports.manager_id
        and sessions.rep_id = reports.rep_id
        and reports.role in ('account_executive', 'account_manager', 'development_rep')
        and cast(sessions.occurred_at as date) >= reports.valid_from
        and cast(sessions.occurred_at as date) < reports.valid_to
    where sessions.rep_id != sessions.manager_id
),

of_sessions as (
    select
        manager_id,
        count(*) as session_count,
        count(case when session_type = 'ride_along' then 1 end) as ride_along_count,
        count(case when session_type = 'ride_along' and led_by in ('rep', 'manager') then 1 end) as led_count,
        count(case when session_type = 'ride_along' and led_by = 'rep' then 1 end) as seller_led_count,
        count(case when follow_up_on <= {{ as_of_date() }} then 1 end) as follow_up_due_count,
        count(case when follow_up_on <= {{ as_of_date() }} and completed_on <= {{ as_of_date() }} then 1 end)
            as follow_up_done_count
    from held
    group by manager_id
),

seller_sessions as (
    select
        manager_id,
        rep_id,
        count(*) as session_count
    from held
    where is_with_own_seller
    group by manager_id, rep_id
),

per_seller as (
    select
        sellers.manager_id,
        cast(sellers.days as double) / 30.4375 as months,
        coalesce(seller_sessions.session_count, 0) as session_count,
        sellers.days
    from sellers
    left join seller_sessions
        on sellers.manager_id = seller_sessions.manager_id
        and sellers.rep_id = seller_sessions.rep_id
),

rates as (
    select
        manager_id,
        count(*) as seller_count,
        cast(sum(days) as double) / 30.4375 as seller_months,
        sum(session_count) as seller_session_count,
        cast(sum(session_count) as double) / (cast(sum(days) as double) / 30.4375) as sessions_per_month
    from per_seller
    group by manager_id
),

rate_squares as (
    select
        per_seller.manager_id,
        {{ squares_around('per_seller.session_count', 'per_seller.months', 'rates.sessions_per_month') }} as squares
    from per_seller
    inner join rates on per_seller.manager_id = rates.manager_id
    group by per_seller.manager_id
),

of_activities as (
    select
        activities.user_id as manager_id,
        count(case when coalesce(activities.purpose, 'sell') != 'coaching' then 1 end) as activity_count,
        count(case when activities.purpose = 'coaching' then 1 end) as coaching_activity_count
    from activities
    inner join windows on cast(activities.occurred_at as date) >= windows.window_start
    group by activities.user_id
),

deals as (
    select
        manager_deals.manager_id,
        manager_deals.involvement,
        manager_deals.amount,
        case when manager_deals.involvement in ('taken over', 'late', 'after flag') then manager_deals.amount else 0 end as saved_amount
    from {{ ref('int_manager_deals') }} as manager_deals
    inner join windows on manager_deals.won_on >= windows.window_start
),

of_deals as (
    select
        manager_id,
        count(*) as deal_count,
        count(case when saved_amount > 0 then 1 end) as hero_count,
        sum(amount) as team_won_amount,
        sum(saved_amount) as hero_amount,
        sum(case when involvement = 'taken over' then amount else 0 end) as taken_over_amount,
        sum(case when involvement = 'late' then amount else 0 end) as late_amount,
        sum(case when involvement = 'after flag' then amount else 0 end) as after_flag_amount,
        sum(case when involvement = 'left behind' then amount else 0 end) as left_behind_amount,
        cast(sum(saved_amount) as double) / nullif(cast(sum(amount) as double), 0) as ratio,
        {{ equal_units('amount') }} as equal_n
    from deals
    group by manager_id
),

deal_squares as (
    select
        deals.manager_id,
        {{ squares_around('deals.saved_amount', 'deals.amount', 'of_deals.ratio') }} as squares
    from deals
    inner join of_deals on deals.manager_id = of_deals.manager_id
    group by deals.manager_id
),

joined as (
    select
        managers.manager_id,
        coalesce(people.name, managers.manager_id) as manager_name,
        people.role,
        people.region,
        coalesce(rates.seller_count, 0) as seller_count,
        coalesce(rates.seller_months, 0) as seller_months,
        coalesce(rates.seller_session_count, 0) as seller_session_count,
        rates.sessions_per_month,
        rate_squares.squares as rate_squares,
        coalesce(of_deals.deal_count, 0) as deal_count,
        coalesce(of_deals.hero_count, 0) as hero_count,
        {%- for name in ('team_won', 'hero', 'taken_over', 'late', 'after_flag', 'left_behind') %}
        coalesce(of_deals.{{ name }}_amount, 0) as {{ name }}_amount,
        {%- endfor %}
        of_deals.ratio,
        of_deals.equal_n,
        deal_squares.squares as deal_squares,
        coalesce(of_sessions.session_count, 0) as session_count,
        coalesce(of_activities.activity_count, 0) as activity_count,
        greatest(coalesce(of_sessions.session_count, 0), coalesce(of_activities.coaching_activity_count, 0)) as coaching_count,
        {%- for name in ('ride_along_count', 'led_count', 'seller_led_count', 'follow_up_due_count', 'follow_up_done_count') %}
        coalesce(of_sessions.{{ name }}, 0) as {{ name }},
        {%- endfor %}
        -- Of whoever writes nothing down nobody knows that they saved no deal.
        of_activities.manager_id is not null or coalesce(of_deals.hero_amount, 0) > 0 as is_on_record,
        of_activities.manager_id is not null or coalesce(of_sessions.session_count, 0) > 0 as has_written,
        coalesce(rates.seller_count, 0) > 0 and above.manager_id is null as is_comparable,
        (select count(*) from sessions) > 0 as has_sessions,
        (select count(*) from activities) > 0 as has_activities,
        windows.window_start
    from managers
    cross join windows
    left join reps as people on managers.manager_id = people.rep_id and people.is_current
    left join rates on managers.manager_id = rates.manager_id
    left join above on managers.manager_id = above.manager_id
    left join rate_squares on managers.manager_id = rate_squares.manager_id
    left join of_deals on managers.manager_id = of_deals.manager_id
    left join deal_squares on managers.manager_id = deal_squares.manager_id
    left join of_sessions on managers.manager_id = of_sessions.manager_id
    left join of_activities on managers.manager_id = of_activities.manager_id
),

-- A manager is held against the others who lead sellers; those above them would count the same deals again.
compared as (
    select
        joined.*,
        {%- for name in ('hero', 'team_won') %}
        {%- set amount = 'case when is_comparable and is_on_record then ' ~ name ~ '_amount else 0 end' %}
        cast(sum({{ amount }}) over () as double) - cast({{ amount }} as double) as others_{{ name.replace('team_', '') }}_amount
        {{- ',' if not loop.last }}
        {%- endfor %}
    from joined
),

rated as (
    select
        compared.*,
        others_hero_amount / nullif(others_won_amount, 0) as others_ratio,
        case
            when deal_count = 0 then 'the team won nothing'
            when team_won_amount = 0 then 'no won deal has an amount'
            when deal_count < {{ people_policy('hero_minimum_deals') }} then 'too few won deals'
            when not has_activities then 'activities are not delivered'
            when not is_on_record then 'no activity of the manager is on record'
        end as hero_reason,
        case
            when not has_sessions then 'coaching sessions are not delivered'
            when seller_count = 0 then 'no seller reports directly'
            when seller_count < {{ people_policy('coaching_minimum_sellers') }} then 'too few sellers'
            when not has_written then 'no activity of the manager is on record'
        end as coaching_reason,
        case
            when not has_sessions and coaching_count = 0 then 'coaching sessions are not delivered'
            when coaching_count + activity_count < {{ people_policy('coaching_minimum_activities') }}
                then 'too few sessions and activities'
        end as coaching_share_reason,
        case
            when not has_sessions then 'coaching sessions are not delivered'
            when led_count < {{ people_policy('coaching_minimum_cases') }} and seller_count = 0 then 'no seller reports directly'
            when led_count < {{ people_policy('coaching_minimum_cases') }} then 'too few ride-alongs of which it is known who led'
        end as ride_along_reason,
        case
            when not has_sessions then 'coaching sessions are not delivered'
            when follow_up_due_count < {{ people_policy('coaching_minimum_cases') }} and seller_count = 0 then 'no seller reports directly'
            when follow_up_due_count < {{ people_policy('coaching_minimum_cases') }} then 'too few follow-ups are due'
        end as follow_up_reason,
        cast(coaching_count as double) / nullif(coaching_count + activity_count, 0) as coaching_ratio,
        cast(seller_led_count as double) / nullif(led_count, 0) as led_ratio,
        cast(follow_up_done_count as double) / nullif(follow_up_due_count, 0) as done_ratio
    from compared
),

-- A rate's own interval has no width where nobody was coached: the wider of two is told.
bounded as (
    select
        rated.*,
        case when hero_reason is null then ratio end as hero_dependency,
        {%- for end, side in {'low': -1, 'high': 1}.items() %}
        case
            when hero_reason is null
                then {{ share_interval('ratio', 'deal_count', 'deal_squares', 'team_won_amount', side, 'equal_n') }}
        end as hero_dependency_{{ end }},
        {%- endfor %}
        case when coaching_reason is null then sessions_per_month end as sessions_per_seller_month,
        {%- for end, side, wider in [('low', -1, 'least'), ('high', 1, 'greatest')] %}
        case
            when coaching_reason is null then greatest(0, {{ wider }}(
                {{ ratio_interval('sessions_per_month', 'seller_count', 'rate_squares', 'seller_months', side) }},
                (
                    seller_session_count + {{ z * z / 2 }}
                    {{ '-' if side < 0 else '+' }} {{ z }} * sqrt(seller_session_count + {{ z * z / 4 }})
                ) / seller_months
            ))
        end as sessions_per_seller_month_{{ end }},
        {%- endfor %}
        {%- for name, reason, ratio, n in [
            ('coaching_share', 'coaching_share_reason', 'coaching_ratio', '(coaching_count + activity_count)'),
            ('seller_led_share', 'ride_along_reason', 'led_ratio', 'led_count'),
            ('follow_up_done_share', 'follow_up_reason', 'done_ratio', 'follow_up_due_count'),
        ] %}
        case when {{ reason }} is null then {{ ratio }} end as {{ name }},
        {#- Of all cases or none the end is the share itself, which the formula misses by its last digit. #}
        {%- for end, side, wider in [('low', -1, 'least'), ('high', 1, 'greatest')] %}
        case
            when {{ reason }} is null
                then {{ wider }}({{ ratio }}, {{ wilson(ratio, 'cast(' ~ n ~ ' as double)', side) }})
        end as {{ name }}_{{ end }}{{ ',' if not (loop.last and name == 'follow_up_done_share') }}
        {%- endfor %}
        {%- endfor %}
    from rated
),

judged as (
    select
        bounded.*,
        case
            when hero_reason is not null then 'not_enough_data'
            when hero_dependency_low > others_ratio then 'rescues'
            when hero_dependency_high < others_ratio then 'stays_out'
            else 'as_others'
        end as hero_standing,
        {%- for name, reason, share, policy, below, above in [
            ('coaching', 'coaching_reason', 'sessions_per_seller_month', 'coaching_expected_sessions', 'coaches_rarely', 'coaches_often'),
            ('ride_along', 'ride_along_reason', 'seller_led_share', 'ride_along_expected_share', 'manager_leads', 'seller_leads'),
            ('follow_up', 'follow_up_reason', 'follow_up_done_share', 'follow_up_expected_share', 'left_open', 'kept'),
        ] %}
        case
            when {{ reason }} is not null then 'not_enough_data'
            when {{ share }}_high < {{ people_policy(policy) }} then '{{ below }}'
            when {{ share }}_low > {{ people_policy(policy) }} then '{{ above }}'
            else 'as_expected'
        end as {{ name }}_standing{{ ',' if not loop.last }}
        {%- endfor %}
    from bounded
),

final as (
    select
        judged.manager_id,
        judged.manager_name,
        judged.role,
        judged.region,
        judged.hero_standing,
        hero_words.what_to_do as hero_what_to_do,
        judged.hero_reason,
        judged.coaching_standing,
        coaching_words.what_to_do as coaching_what_to_do,
        judged.coaching_reason,
        judged.coaching_share_reason,
        judged.ride_along_standing,
        ride_along_words.what_to_do as ride_along_what_to_do,
        judged.ride_along_reason,
        judged.follow_up_standing,
        follow_up_words.what_to_do as follow_up_what_to_do,
        judged.follow_up_reason,
        cast(judged.deal_count as bigint) as hero_n,
        cast(judged.hero_count as bigint) as hero_count,
        cast(judged.team_won_amount as decimal(18, 4)) as team_won_amount,
        cast(judged.hero_amount as decimal(18, 4)) as hero_amount,
        cast(judged.taken_over_amount as decimal(18, 4)) as taken_over_amount,
        cast(judged.late_amount as decimal(18, 4)) as late_amount,
        cast(judged.after_flag_amount as decimal(18, 4)) as after_flag_amount,
        cast(judged.left_behind_amount as decimal(18, 4)) as left_behind_amount,
        judged.hero_dependency,
        judged.hero_dependency_low,
        judged.hero_dependency_high,
        judged.others_ratio as others_hero_dependency,
        cast(judged.seller_count as bigint) as coaching_n,
        cast(judged.seller_months as double) as seller_months,
        cast(judged.seller_session_count as bigint) as seller_session_count,
        judged.sessions_per_seller_month,
        judged.sessions_per_seller_month_low,
        judged.sessions_per_seller_month_high,
        cast(judged.session_count as bigint) as session_count,
        cast(judged.coaching_count + judged.activity_count as bigint) as coaching_share_n,
        judged.coaching_share,
        judged.coaching_share_low,
        judged.coaching_share_high,
        cast(judged.ride_along_count as bigint) as ride_along_count,
        cast(judged.led_count as bigint) as seller_led_n,
        cast(judged.seller_led_count as bigint) as seller_led_count,
        judged.seller_led_share,
        judged.seller_led_share_low,
        judged.seller_led_share_high,
        cast(judged.follow_up_due_count as bigint) as follow_up_due_count,
        cast(judged.follow_up_done_count as bigint) as follow_up_done_count,
        judged.follow_up_done_share,
        judged.follow_up_done_share_low,
        judged.follow_up_done_share_high,
        judged.window_start,
        {{ as_of_date() }} as as_of_date
    from judged
    {%- for measure in ('hero', 'coaching', 'ride_along', 'follow_up') %}
    left join statements as {{ measure }}_words
        on {{ measure }}_words.measure = '{{ measure }}'
        and {{ measure }}_words.standing
        = case when judged.{{ measure }}_reason = 'no seller reports directly' then 'no_seller' else judged.{{ measure }}_standing end
    {%- endfor %}
)

select * from final
