with effects as (
    select * from {{ ref('int_teaming_effects') }}
    where comparison = 'function'
),

final as (
    select
        function,
        segment,
        reason,
        treated_count,
        matched_count,
        control_count,
        other_count,
        strata_count,
        strata_left_out_count,
        p_at_join,
        win_rate_with,
        win_rate_without,
        effect,
        effect_low,
        effect_high,
        raw_difference,
        {{ as_of_date() }} as as_of_date
    from effects
)

select * from final
