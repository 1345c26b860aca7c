{%- set z = z90() %}
{%- set check_days = policy_constant('plan_check_days', 'people_policy') | float | int %}
with sellers as (
    select * from {{ ref('int_diagnosis_sellers') }}
),

diagnoses as (
    select * from {{ ref('rep_diagnosis') }}
),

ramps as (
    select * from {{ ref('rep_ramp') }}
),

seller_signals as (
    select * from {{ ref('int_seller_signals') }}
),

catalogue as (
    select * from {{ ref('signals') }}
),

practices as (
    select
        practices.*,
        coalesce(practices.gap, '') as for_gap,
        coalesce(practices.stage, '') as for_stage
    from {{ ref('coaching_practices') }} as practices
),

deals as (
    select * from {{ ref('deal_health') }}
),

fired as (
    select * from {{ ref('deal_signals') }}
),

stages as (
    select * from {{ ref('core_stages') }}
),

stages_used as (
    select
        stages.stage,
        stages.stage_order,
        dense_rank() over (order by stages.stage_order desc) as from_last
    from stages
    where stages.is_open and stages.stage in (select visits.stage from {{ ref('stage_visits') }} as visits)
),

sessions as (
    select * from {{ ref('int_coaching_sessions_known') }}
    where not _is_deleted and occurred_at < {{ end_of_day(as_of_date()) }}
),

next_weeks as (
    select min(week_start) as next_week from {{ ref('calendar') }}
    where week_start > {{ as_of_date() }}
),

-- The top factor where something is told of it; of the win rate its weakest stage, where there are words for that.
diagnosed as (
    select
        diagnoses.seller_id,
        'diagnosis' as source,
        diagnoses.factor as gap,
        narrowed.for_stage as stage,
        case when narrowed.for_stage is not null then diagnoses.stage_rate else diagnoses.estimate end as value,
        case when narrowed.for_stage is not null then diagnoses.stage_peer_rate else diagnoses.estimate / diagnoses.own_ratio end as norm,
        case when narrowed.for_stage is not null then diagnoses.stage_n else diagnoses.n end as n,
        case when narrowed.for_stage is not null then diagnoses.stage_rate_low else diagnoses.estimate_low end as value_low,
        case when narrowed.for_stage is not null then diagnoses.stage_rate_high else diagnoses.estimate_high end as value_high,
        case diagnoses.factor
            when 'activities' then cast(7 as double) / ({{ day_count('diagnoses.window_start', 'diagnoses.window_end') }} + 1)
            when 'opportunities_per_activity' then 100
            else 1
        end as scale,
        diagnoses.peer_count,
        cast(null as string) as said
    from diagnoses
    left join practices as narrowed
        on diagnoses.factor = 'win_rate'
        and narrowed.source = 'diagnosis'
        and narrowed.for_gap = 'win_rate'
        and diagnoses.weakest_stage = narrowed.stage
    where diagnoses.what_is_wrong is not null
),

-- After the weeks of the ramp its counts stand still.
ramping as (
    select
        rep_id as seller_id,
        'ramp' as source,
        gap_measure as gap,
        cast(null as string) as stage,
        cast(
            case gap_measure when 'meetings' then meetings_count when 'opened' then opened_count else won_count end as double
        ) as value,
        case gap_measure when 'meetings' then meetings_band_middle when 'opened' then opened_band_middle else won_band_middle end as norm,
        case gap_measure when 'meetings' then meetings_count when 'opened' then opened_count else won_count end as n,
        cast(1 as double) / week as scale,
        case gap_measure when 'meetings' then meetings_n when 'opened' then opened_n else won_n end as peer_count,
        what_is_behind as said
    from ramps
    where
        gap_measure is not null
        and ended_on is null
        and week < {{ people_policy('ramp_weeks') }}
),

recurring as (
    select
        seller_signals.*,
        cast(fired_count as double) / deal_count as fired_share
    from seller_signals
    where is_recurring
    qualify row_number() over (
        partition by seller_id order by fired_count - deal_count * peer_share desc, signal_rank asc
    ) = 1
),

gaps as (
    select
        seller_id,
        1 as precedence,
        source,
        gap,
        stage,
        value,
        norm,
        cast(n as bigint) as n,
        value_low,
        value_high,
        scale,
        cast(peer_count as bigint) as peer_count,
        said
    from diagnosed
    union all
    select
        seller_id,
        2 as precedence,
        source,
        gap,
        stage,
        value,
        norm,
        cast(n as bigint) as n,
        value + {{ z * z / 2 }} - {{ z }} * sqrt(value + {{ z * z / 4 }}) as value_low,
        value + {{ z * z / 2 }} + {{ z }} * sqrt(value + {{ z * z / 4 }}) as value_high,
        scale,
        cast(peer_count as bigint) as peer_count,
        said
    from ramping
    union all
    select
        seller_id,
        3 as precedence,
        'signal' as source,
        signal as gap,
        cast(null as string) as stage,
        fired_share as value,
        peer_share as norm,
        deal_count as n,
        {{ wilson('fired_share', 'cast(deal_count as double)', -1) }} as value_low,
        {{ wilson('fired_share', 'cast(deal_count as double)', 1) }} as value_high,
        cast(deal_count as double) as scale,
        peer_deals as peer_count,
        cast(null as string) as said
    from recurring
),

chosen as (
    select * from gaps
    qualify row_number() over (partition by seller_id order by precedence) = 1
),

-- Of whom nothing is said: why, and what is nearest.
silences as (
    select
        seller_id,
        coalesce(max(reason), 'no clear gap') as reason,
        max(case when is_top then factor end) as nearest_factor,
        max(case when is_top then own_ratio end) as nearest_ratio,
        max(case when is_top then own_ratio_high end) as nearest_ratio_high
    from diagnoses
    group by seller_id
),

-- What other tables say of the same person: a plan that says nothing is clear must not speak as if all were well.
fits as (
    select
        seller_id,
        motion,
        n,
        won_count
    from {{ ref('role_fit') }}
    where verdict = 'misfit'
),

below as (
    select
        criteria.seller_id,
        criteria.criterion
    from {{ ref('talent_criteria') }} as criteria
    left join silences on criteria.seller_id = silences.seller_id
    where criteria.verdict = 'below_peers' and criteria.criterion != coalesce(silences.nearest_factor, '')
    qualify row_number() over (partition by criteria.seller_id order by criteria.track, criteria.criterion_order) = 1
),

nearest_signals as (
    select * from seller_signals
    where fired_count >= {{ people_policy('plan_signal_deals') }}
    qualify row_number() over (partition by seller_id order by fired_count desc, signal_rank asc) = 1
),

placed as (
    select
        sellers.seller_id,
        sellers.seller_name,
        sellers.role,
        sellers.manager_id,
        sellers.manager_name,
        sellers.region,
        sellers.segment,
        coalesce(chosen.source, 'none') as source,
        chosen.gap,
        chosen.stage,
        chosen.value,
        chosen.norm,
        chosen.n,
        chosen.value_low,
        chosen.value_high,
        chosen.scale,
        chosen.peer_count,
        chosen.said,
        case when chosen.source is null then silences.reason end as reason,
        case
            when silences.nearest_factor is not null
                then silences.nearest_factor || ': ' || {{ number_text('silences.nearest_ratio', 2) }}
                    || ' times what the median peer makes of the same deals and accounts, '
                    || case
                        when silences.nearest_ratio_high < 1
                            then 'below, by less than ' || {{ number_text('100 * ' ~ people_policy('diagnosis_clear_share')) }} || ' %'
                        else 'not clearly apart'
                    end
            when nearest_signals.signal is not null
                then nearest_signals.signal || ': on ' || cast(nearest_signals.fired_count as string) || ' of '
                    || cast(nearest_signals.deal_count as string) || ' open deals, not clearly more often than peers'
        end as nearest_gap,
        fits.motion || ': ' || cast(fits.won_count as string) || ' of ' || cast(fits.n as string)
        || ' decided deals won, fewer than of like deals (people.role_fit)' as nearest_motion,
        below.criterion || ': below peers (people.talent_criteria)' as nearest_criterion,
        case
            when chosen.source is not null then chosen.gap
            when silences.reason != 'no clear gap' then silences.reason
            when coalesce(silences.nearest_factor, fits.motion, below.criterion) is not null then 'no clear gap, watch'
            else silences.reason
        end as word_gap
    from sellers
    left join chosen on sellers.seller_id = chosen.seller_id
    left join silences on sellers.seller_id = silences.seller_id
    left join nearest_signals on sellers.seller_id = nearest_signals.seller_id
    left join fits on sellers.seller_id = fits.seller_id
    left join below on sellers.seller_id = below.seller_id
),

-- The words that say most of it.
worded as (
    select
        placed.*,
        practices.focus,
        practices.behaviour,
        practices.practice,
        practices.coaching_question,
        practices.sign,
        practices.measure,
        practices.unit,
        practices.where_to_practise,
        case when placed.source = 'signal' then placed.gap else practices.signal end as practise_signal
    from placed
    inner join practices
        on placed.source = practices.source
        and practices.for_gap in (placed.word_gap, '')
        and practices.for_stage in (coalesce(placed.stage, ''), '')
    qualify row_number() over (
        partition by placed.seller_id order by practices.for_gap desc, practices.for_stage desc
    ) = 1
),

candidates as (
    select
        worded.seller_id,
        deals.opportunity_id,
        deals.name,
        row_number() over (
            partition by worded.seller_id
            order by
                case
                    when worded.where_to_practise = 'at_stage' and deals.stage != worded.stage then 1
                    when worded.where_to_practise = 'signal_first' and fired.signal is null then 1
                    else 0
                end asc,
                coalesce(deals.expected_amount, 0) desc,
                coalesce(deals.amount, 0) desc,
                deals.opportunity_id asc
        ) as place
    from worded
    inner join deals on worded.seller_id = deals.owner_id
    left join stages_used on deals.stage = stages_used.stage
    left join stages as gap_stages on worded.stage = gap_stages.stage
    left join fired
        on deals.opportunity_id = fired.opportunity_id
        and worded.practise_signal = fired.signal
    where
        deals.verdict != 'de_resource'
        and case worded.where_to_practise
            when 'at_stage' then stages_used.stage_order <= gap_stages.stage_order
            when 'last_stages' then stages_used.from_last <= 2
            when 'before_last_stage' then stages_used.from_last > 1
            when 'with_signal' then fired.signal is not null
            when 'none' then false
            else true
        end
),

linked as (
    select
        seller_id,
        count(*) as linked_count
        {%- for place in (1, 2, 3) %},
        max(case when place = {{ place }} then opportunity_id end) as opportunity_{{ place }}_id,
        max(case when place = {{ place }} then name end) as opportunity_{{ place }}_name
        {%- endfor %}
    from candidates
    where place <= {{ people_policy('plan_deals') }}
    group by seller_id
),

owned as (
    select
        owner_id,
        count(*) as deal_count
    from deals
    group by owner_id
),

last_sessions as (
    select
        rep_id,
        session_type,
        skill,
        cast(occurred_at as date) as last_session_on,
        {{ add_days('cast(occurred_at as date)', check_days) }} as due_on
    from sessions
    qualify row_number() over (partition by rep_id order by occurred_at desc, session_id desc) = 1
),

-- What was agreed last, in whichever session that was.
last_agreed as (
    select
        rep_id,
        agreed_action,
        case
            when follow_up_on > {{ as_of_date() }} and coalesce(completed_on > {{ as_of_date() }}, true) then follow_up_on
        end as open_follow_up_on
    from sessions
    where agreed_action is not null
    qualify row_number() over (partition by rep_id order by occurred_at desc, session_id desc) = 1
),

checked as (
    select
        last_sessions.*,
        last_agreed.agreed_action,
        case
            when last_agreed.open_follow_up_on is not null and last_sessions.due_on > {{ as_of_date() }}
                then least(last_agreed.open_follow_up_on, last_sessions.due_on)
            when last_agreed.open_follow_up_on is not null then last_agreed.open_follow_up_on
            when last_sessions.due_on > {{ as_of_date() }} then last_sessions.due_on
        end as check_on
    from last_sessions
    left join last_agreed on last_sessions.rep_id = last_agreed.rep_id
),

measured as (
    select
        words.*,
        linked.linked_count,
        {%- for place in (1, 2, 3) %}
        linked.opportunity_{{ place }}_id,
        linked.opportunity_{{ place }}_name,
        {%- endfor %}
        owned.deal_count,
        checked.session_type,
        checked.skill,
        checked.agreed_action,
        checked.last_session_on,
        {{ working_day('coalesce(checked.check_on, next_weeks.next_week)') }} as next_check_on,
        checked.check_on is null as is_check_overdue,
        words.value * words.scale as measure_now,
        case when words.source = 'diagnosis' then words.scale else 1 end as evidence_scale,
        case words.source
            when 'signal' then floor(words.norm * words.scale)
            when 'ramp' then words.norm * words.scale
            else (words.value + {{ people_policy('plan_step_share') }} * (words.norm - words.value)) * words.scale
        end as measure_target
    from worded as words
    cross join next_weeks
    left join linked on words.seller_id = linked.seller_id
    left join owned on words.seller_id = owned.owner_id
    left join checked on words.seller_id = checked.rep_id
),

-- A diagnosis looks at complete quarters: what is done in this one shows when it has ended.
due as (
    select
        measured.*,
        case measured.source
            when 'diagnosis' then days.quarter_end
            when 'none' then null
            else measured.next_check_on
        end as measure_due_on
    from measured
    left join {{ ref('calendar') }} as days on measured.next_check_on = days.day
),

final as (
    select
        words.seller_id,
        words.seller_name,
        words.role,
        words.manager_id,
        words.manager_name,
        case when words.manager_id is null then 'no manager is known on this day' end as coach_reason,
        words.region,
        words.segment,
        words.source,
        words.gap,
        words.stage,
        words.reason,
        case
            when words.source = 'none'
                then coalesce(
                    nullif(concat_ws('; ', words.nearest_gap, words.nearest_motion, words.nearest_criterion), ''), 'nothing stands out'
                )
        end as what_to_watch,
        case words.source when 'signal' then catalogue.what_is_wrong else words.focus end as focus,
        case words.source
            when 'ramp' then words.said
            when 'signal'
                then words.gap || ' on ' || {{ number_text('words.measure_now') }} || ' of ' || cast(words.n as string)
                    || ' open deals; of those of peers on ' || {{ percent_text('words.norm') }}
                    || ' of ' || cast(words.peer_count as string)
            when 'diagnosis'
                then words.measure || coalesce(' ' || words.stage, '') || ': ' || {{ measure_text('words.measure_now', 'words.unit') }}
                    || '; the median peer comes to ' || {{ measure_text('words.norm * words.scale', 'words.unit') }}
                    || ' with like deals and accounts (n ' || cast(words.n as string) || ', '
                    || cast(words.peer_count as string) || ' peers)'
        end as evidence,
        case words.source when 'signal' then catalogue.what_to_do else words.behaviour end as behaviour,
        case words.source when 'signal' then catalogue.drill else words.practice end as practice,
        case words.source when 'signal' then catalogue.coaching_question else words.coaching_question end as coaching_question,
        words.sign,
        words.measure,
        case
            when words.measure is not null
                then words.measure || coalesce(' ' || words.stage, '') || ': '
                    || case words.source when 'signal' then 'at most ' else 'at least ' end
                    || {{ measure_text('words.measure_target', 'words.unit') }}
                    || ' (now ' || {{ measure_text('words.measure_now', 'words.unit') }} || ')'
        end as known_by,
        {%- for place in (1, 2, 3) %}
        words.opportunity_{{ place }}_id,
        words.opportunity_{{ place }}_name,
        {%- endfor %}
        case
            when words.linked_count > 0 then null
            when words.where_to_practise = 'none' then 'practised on accounts, not on open deals'
            when words.deal_count is null then 'no open deal'
            else 'no open deal of that kind'
        end as linked_reason,
        words.session_type as last_session_type,
        words.skill as last_skill,
        words.agreed_action as last_agreed_action,
        case
            when words.last_session_on is not null then null
            when (select count(*) from sessions) = 0 then 'coaching sessions are not delivered'
            else 'no session yet'
        end as session_reason,
        -- In the unit the evidence is said in: that of the measure, of a ramp the count, of a signal the share.
        words.value * words.evidence_scale as evidence_value,
        words.value_low * words.evidence_scale as evidence_value_low,
        words.value_high * words.evidence_scale as evidence_value_high,
        words.norm * words.evidence_scale as evidence_norm,
        words.n,
        words.peer_count,
        words.measure_now,
        words.measure_target,
        coalesce(words.linked_count, 0) as linked_count,
        words.is_check_overdue,
        words.last_session_on,
        words.next_check_on,
        words.measure_due_on,
        {{ as_of_date() }} as as_of_date
    from due as words
    left join catalogue on words.source = 'signal' and words.gap = catalogue.signal
)

select * from final
