-- Each deal is for one piece of one product; what was paid is known of won deals only.
with lines as (
    select
        opportunity_id as line_id,
        opportunity_id,
        {{ repaired('maven', 'sales_pipeline', 'product') }} as product_id,
        cast(1 as decimal(18, 4)) as quantity,
        case when deal_stage = 'Won' then cast(close_value as decimal(18, 4)) end as net_unit_price,
        {{ load_columns('maven') }}
    from {{ source('maven', 'sales_pipeline') }} as landed
)

select * from lines
