{%- set horizons = {
    'month': 'month', 'quarter': 'quarter', 'next_month': 'next_month', 'next_quarter': 'next_quarter', 'days': none, 'ever': 'ever',
} %}
-- The chances by the method in use in the quarter of the review; each is told by what was known before that quarter.
with outcomes as (
    select * from {{ ref('stg_predictions__outcomes') }}
    where is_used
),

final as (
    select
        opportunity_id,
        method,
        model_version,
        {%- for horizon, ending in horizons.items() %}
        {%- set suffix = '_' ~ ending if ending else '' %}
        p_win_{{ horizon }} as p_win{{ suffix }},
        p_lose_{{ horizon }} as p_lose{{ suffix }},
        p_no_decision_{{ horizon }} as p_no_decision{{ suffix }},
        cast(1 - p_win_{{ horizon }} - p_lose_{{ horizon }} - p_no_decision_{{ horizon }} as decimal(9, 6)) as p_slip{{ suffix }},
        {%- endfor %}
        amount_ratio,
        snapshot_date
    from outcomes
)

select * from final
