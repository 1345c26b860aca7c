{{ config(materialized='table') }}
with customer_units as (
    {{ arr_units(['customer_id']) }}
),

product_units as (
    {{ arr_units(['customer_id', 'product_id'], price='product_price') }}
),

final as (
    {%- for unit_type, product in {'customer': "'all'", 'customer_product': 'product_id'}.items() %}
    select
        '{{ unit_type }}' as unit_type,
        customer_id,
        {{ product }} as product_id,
        basis,
        movement,
        {%- for name in ('opening', 'other_amount', 'price_amount', 'closing', 'restatement') %}
        cast({{ name }} as decimal(18, 4)) as {{ name }},
        cast({{ name }}_actual as decimal(18, 4)) as {{ name }}_actual,
        {%- endfor %}
        cast(fx_actual as decimal(18, 4)) as fx_actual,
        cast(row_count as bigint) as row_count,
        cast(unrated_count as bigint) as unrated_count,
        month_number,
        is_final,
        month_start,
        month_end
    from {{ 'customer_units' if unit_type == 'customer' else 'product_units' }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
)

select * from final
