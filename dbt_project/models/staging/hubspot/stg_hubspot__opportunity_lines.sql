with associations as (
    select
        from_id as id,
        to_type,
        to_id,
        category,
        typeid,
        _operation,
        _batch_id,
        _extracted_at
    from {{ source('hubspot', 'associations') }}
    where from_type = 'line_items' and to_type = 'deals'
),

lines as (
    {{ landed_with('hubspot', 'line_items', 'associations') }}
),

deals as (
    {{ associated_with('lines', 'associations', {'deal_id': 'deals'}) }}
),

-- A line of a quote alone, or one taken off its deal, is no line of a deal.
landed as (
    select
        {%- for column in landed_columns('hubspot', 'line_items') %}
        lines.{{ column }},
        {%- endfor %}
        deals.deal_id,
        lines._batch_id,
        case when deals.deal_id is null then 'delete' else lines._operation end as _operation,
        lines._extracted_at,
        lines._known_at
    from lines
    left join deals on lines.id = deals.id and lines._batch_id = deals._batch_id
)

select
    id as line_id,
    deal_id as opportunity_id,
    coalesce(hs_product_id, name, id) as product_id,
    cast(quantity as decimal(18, 4)) as quantity,
    cast(price as decimal(18, 4)) as list_unit_price,
    cast(
        cast(price as decimal(18, 4))
        - coalesce(cast(discount as decimal(18, 4)), cast(price as double) * cast(hs_discount_percentage as double) / 100, 0)
        as decimal(18, 4)
    ) as net_unit_price,
    hs_line_item_currency_code as currency,
    cast(cast(hs_term_in_months as decimal(18, 4)) as bigint) as term_months,
    discount_reason,
    {{ extra_columns('hubspot', 'line_items') }}
    {{ load_columns('hubspot') }}
from landed
