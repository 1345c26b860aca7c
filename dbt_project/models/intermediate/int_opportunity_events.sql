{{ config(materialized=growing(), pre_hook="{{ take_out() }}") }}
-- docs/opportunity-history.md is the rule; this model settles the events among themselves.
with landed as (
    select * from {{ ref('int_opportunity_changes_versions') }}
    -- An event that was moved from one deal to another is looked at for both.
    where change_id in (
        select versions.change_id from {{ ref('int_opportunity_changes_versions') }} as versions
        where {{ is_live('versions.opportunity_id') }}
    )
),

-- An event is a fact: a later version of one corrects it, and what is gone from a full extract stays.
latest as (
    select * from landed
    qualify row_number() over (partition by change_id order by _extracted_at desc, _batch_id desc) = 1
),

read as (
    select
        change_id,
        opportunity_id,
        field,
        old_value as entered_old_value,
        new_value as entered_new_value,
        {{ field_text('old_value') }} as old_value,
        {{ field_text('new_value') }} as new_value,
        changed_at,
        cast(_known_at as date) > cast(changed_at as date) as is_late,
        changed_at >= {{ end_of_day(as_of_date()) }} as is_after
    from latest
),

readable as (
    select
        read.*,
        row_number() over (
            partition by opportunity_id, field, changed_at, old_value, new_value order by change_id
        ) > 1 as is_doubled,
        entered_new_value is not null and new_value is null as is_unreadable
    from read
),

valid as (
    select * from readable
    where not is_doubled and not is_unreadable
),

-- Of several events of one second the last is the one whose new value no other one starts from.
followed as (
    select distinct
        valid.change_id
    from valid
    inner join valid as other
        on valid.opportunity_id = other.opportunity_id
        and valid.field = other.field
        and valid.changed_at = other.changed_at
        and valid.change_id != other.change_id
        and valid.new_value is not distinct from other.old_value
),

-- And the first is the one whose old value no other one ends in.
led as (
    select distinct valid.change_id
    from valid
    inner join valid as other
        on valid.opportunity_id = other.opportunity_id
        and valid.field = other.field
        and valid.changed_at = other.changed_at
        and valid.change_id != other.change_id
        and valid.old_value is not distinct from other.new_value
),

placed as (
    select
        valid.*,
        first_value(valid.old_value) over (
            partition by valid.opportunity_id, valid.field, valid.changed_at
            order by case when led.change_id is null then 0 else 1 end, valid.change_id
        ) as value_before,
        count(*) over same_second > 1 as is_same_second,
        row_number() over (
            partition by valid.opportunity_id, valid.field, valid.changed_at
            order by case when followed.change_id is null then 0 else 1 end, valid.change_id desc
        ) = 1 as is_last_of_second
    from valid
    left join followed on valid.change_id = followed.change_id
    left join led on valid.change_id = led.change_id
    window same_second as (partition by valid.opportunity_id, valid.field, valid.changed_at)
),

-- What the field had before, by the last event of an earlier second.
earlier as (
    select
        change_id,
        lag(new_value) over in_order as previous_value,
        row_number() over in_order > 1 as has_previous
    from placed
    where is_last_of_second
    window in_order as (partition by opportunity_id, field order by changed_at)
),

final as (
    select
        readable.change_id,
        readable.opportunity_id,
        readable.field,
        readable.old_value,
        readable.new_value,
        placed.value_before,
        readable.is_doubled,
        readable.is_unreadable,
        readable.is_late,
        readable.is_after,
        coalesce(placed.is_same_second, false) as is_same_second,
        coalesce(placed.is_last_of_second, false) as is_last_of_second,
        coalesce(
            earlier.has_previous and not placed.is_same_second and readable.old_value is distinct from earlier.previous_value, false
        ) as is_contradicting,
        readable.changed_at
    from readable
    left join placed on readable.change_id = placed.change_id
    left join earlier on readable.change_id = earlier.change_id
)

select * from final
where {{ is_live() }}
