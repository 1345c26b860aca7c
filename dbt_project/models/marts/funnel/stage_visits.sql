with history as (
    select * from {{ ref('int_opportunity_history') }}
),

deals as (
    select * from {{ ref('opportunities') }}
    where not is_deleted
),

stages as (
    select * from {{ ref('core_stages') }}
),

-- One stretch of one stage, whatever else changed in it.
turns as (
    select
        history.*,
        lag(stage) over (partition by opportunity_id order by valid_from) as stage_before,
        lag(is_open) over (partition by opportunity_id order by valid_from) as was_open_before
    from history
),

entries as (
    select
        turns.opportunity_id,
        turns.stage,
        turns.episode,
        turns.is_open,
        turns.valid_from as entered_at,
        lead(turns.stage) over deal as next_stage,
        lead(turns.is_open) over deal as next_is_open,
        lead(turns.is_won) over deal as next_is_won,
        lead(turns.is_lost) over deal as next_is_lost,
        lead(turns.is_no_decision) over deal as next_is_no_decision,
        lead(turns.valid_from) over deal as exited_at
    from turns
    where turns.was_open_before is null or turns.is_open != turns.was_open_before or turns.stage is distinct from turns.stage_before
    window deal as (partition by turns.opportunity_id order by turns.valid_from)
),

visits as (
    select
        entries.*,
        deals.segment,
        deals.owner_id,
        deals.opportunity_type,
        deals.is_before_losses
    from entries
    inner join deals on entries.opportunity_id = deals.opportunity_id
    where entries.is_open and entries.stage is not null
),

-- Only stages somebody uses count as steps.
ranks as (
    select
        stages.stage,
        dense_rank() over (order by stages.stage_order) as stage_rank
    from stages
    where stages.is_open and stages.stage in (select visits.stage from visits)
),

final as (
    select
        visits.opportunity_id,
        cast(row_number() over (partition by visits.opportunity_id order by visits.entered_at) as bigint) as visit_number,
        visits.stage,
        visits.next_stage,
        case
            when visits.exited_at is null then 'open'
            when visits.next_is_won then 'won'
            when visits.next_is_lost then 'lost'
            when visits.next_is_no_decision then 'no_decision'
            when next_rank.stage_rank > this_rank.stage_rank + 1 then 'skip'
            when next_rank.stage_rank < this_rank.stage_rank then 'regress'
            when next_rank.stage_rank is not null and this_rank.stage_rank is not null then 'advance'
        end as direction,
        visits.segment,
        visits.owner_id,
        visits.opportunity_type,
        visits.episode,
        cast(case when next_rank.stage_rank is not null then next_rank.stage_rank - this_rank.stage_rank end as bigint) as step,
        cast(
            {{ second_count('visits.entered_at', 'coalesce(visits.exited_at, ' ~ end_of_day(as_of_date()) ~ ')') }} as double
        ) / 86400 as days,
        visits.exited_at is null as is_censored,
        visits.is_before_losses,
        visits.entered_at,
        visits.exited_at,
        {{ as_of_date() }} as as_of_date
    from visits
    left join ranks as this_rank on visits.stage = this_rank.stage
    left join ranks as next_rank on visits.next_stage = next_rank.stage
)

select * from final
