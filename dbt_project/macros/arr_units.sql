{# What moved the recurring revenue of each unit in each month, by docs/retention.md. A unit is whatever `keys` of int_arr_months
   tell apart: a customer, a finance customer, a customer and a product. `price` is the column that holds what comes from price:
   product_price where the units tell products apart. Movements are tried in the order of the rule: who is gone is churn, whatever
   the size of the change. #}
{% macro arr_units(keys, price='price') -%}
    with sums as (
        select
            {%- for key in keys %}
            {{ key }},
            {%- endfor %}
            {%- if 'customer_id' not in keys %}
            min(customer_id) as customer_id,
            {%- endif %}
            month_number,
            max(basis) as basis,
            {%- for name in ('opening', 'closing', 'closing_now', price) %}
            sum({{ name }}) as {{ name }},
            case
                when min(case when has_actual{{ '_now' if name == 'closing_now' }} then 1 else 0 end) = 1 then sum({{ name }}_actual)
            end as {{ name }}_actual,
            {%- endfor %}
            case when min(case when has_actual then 1 else 0 end) = 1 then sum(fx_actual) end as fx_actual,
            sum(row_count) as row_count,
            sum(unrated_count) as unrated_count,
            is_final,
            month_start,
            month_end
        from {{ ref('int_arr_months') }}
        group by {{ keys | join(', ') }}, month_number, is_final, month_start, month_end
    ),

    with_past as (
        select
            sums.*,
            coalesce(max(case when opening != 0 or closing != 0 then 1 else 0 end) over (
                partition by {{ keys | join(', ') }} order by month_number rows between unbounded preceding and 1 preceding
            ), 0) = 1 as was_there_before,
            case when opening = 0 or closing = 0 then 0 else {{ price }} end as price_amount,
            case when opening = 0 or closing = 0 then 0 else {{ price }}_actual end as price_amount_actual
        from sums
    ),

    changed as (
        select
            with_past.*,
            closing - opening - price_amount as other_amount,
            closing_actual - opening_actual - fx_actual - price_amount_actual as other_amount_actual
        from with_past
    )

    select
        {%- for key in keys %}
        {{ key }},
        {%- endfor %}
        {%- if 'customer_id' not in keys %}
        customer_id,
        {%- endif %}
        month_number,
        basis,
        opening,
        opening_actual,
        case
            when opening = 0 and closing != 0 and not was_there_before then 'new'
            when opening = 0 and closing != 0 then 'reactivation'
            when opening != 0 and closing = 0 then 'churn'
            when other_amount > 0 or (other_amount = 0 and other_amount_actual > 0) then 'expansion'
            when other_amount < 0 or (other_amount = 0 and other_amount_actual < 0) then 'contraction'
        end as movement,
        other_amount,
        other_amount_actual,
        price_amount,
        price_amount_actual,
        fx_actual,
        closing,
        closing_actual,
        closing_now - closing as restatement,
        closing_now_actual - closing_actual as restatement_actual,
        row_count,
        unrated_count,
        is_final,
        month_start,
        month_end
    from changed
{%- endmacro %}

{# The movements of a bridge, in the order of a waterfall. #}
{% macro arr_movement_words() -%}
    {%- for movement in ('opening', 'new', 'reactivation', 'expansion', 'price_change', 'contraction', 'churn', 'fx', 'closing', 'restatement') %}
    select
        '{{ movement }}' as movement,
        cast({{ loop.index }} as bigint) as movement_order
    {{ 'union all' if not loop.last }}
    {%- endfor %}
{%- endmacro %}

{# What a unit's month says of one of those words. #}
{% macro arr_movement_amount(units='units', words='words', actual=false) -%}
    {%- set suffix = '_actual' if actual -%}
    case {{ words }}.movement
        when 'opening' then {{ units }}.opening{{ suffix }}
        when 'closing' then {{ units }}.closing{{ suffix }}
        when 'price_change' then {{ units }}.price_amount{{ suffix }}
        when 'fx' then {{ units ~ '.fx_actual' if actual else '0' }}
        when 'restatement' then case when {{ units }}.is_final then {{ units }}.restatement{{ suffix }} else 0 end
        when {{ units }}.movement then {{ units }}.other_amount{{ suffix }}
        else 0
    end
{%- endmacro %}

{# The bases members are told by, one select a dimension, from a relation with int_paying_customers' columns. #}
{% macro customer_dimensions() -%}
    {{ return({
        'company': ("'company'", "'Company'"),
        'segment': ('segment', 'segment'),
        'region': ('region', 'region'),
        'account_manager': ('account_manager_id', 'account_manager_name'),
    }) }}
{%- endmacro %}
