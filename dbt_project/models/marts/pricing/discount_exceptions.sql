{%- set rules = [
    'no_approval', 'approver_lacks_authority', 'above_approved_share', 'approved_late', 'approved_after_quote', 'unlike_others',
    'nothing_in_return', 'no_reason',
] %}
with deals as (
    select * from {{ ref('int_discount_deals') }}
),

expectations as (
    select * from {{ ref('int_discount_expectations') }}
    where scope_type = 'seller'
),

rules as (
    select * from {{ ref('discount_rules') }}
),

leavers as (
    select rep_id from {{ ref('reps') }}
    where is_current and terminated_on is not null
),

policy as (
    select
        {%- for name in ('reason_from_share', 'concession_from_share', 'outlier_share') %}
        {{ pricing_policy(name) }} as {{ name }}{{ ',' if not loop.last }}
        {%- endfor %}
),

compared as (
    select
        deals.*,
        policy.reason_from_share,
        policy.concession_from_share,
        policy.outlier_share,
        expectations.like_n,
        expectations.expected_discount,
        -- Before the price is with the buyer there is still time to ask.
        deals.is_won or deals.quoted_at is not null as is_offered
    from deals
    cross join policy
    left join expectations on deals.owner_id = expectations.scope_id and deals.opportunity_id = expectations.opportunity_id
),

tested as (
    select
        compared.*,
        is_offered and approval_status in ('not_asked', 'awaiting', 'rejected') as breaks_no_approval,
        is_offered and approval_status = 'approver_lacks_authority' as breaks_approver_lacks_authority,
        is_offered and approval_status = 'above_approved_share' as breaks_above_approved_share,
        is_offered and approval_status = 'approved_late' as breaks_approved_late,
        is_offered and approval_status = 'approved' and not coalesce(is_approved_before_quote, true) as breaks_approved_after_quote,
        coalesce(discount_share - expected_discount > outlier_share, false) as breaks_unlike_others,
        {{ exceeds('discount_share', 'concession_from_share') }} and not coalesce(has_concession, true) as breaks_nothing_in_return,
        {{ exceeds('discount_share', 'reason_from_share') }} and not has_reason as breaks_no_reason
    from compared
),

broken as (
    {%- for rule in rules %}
    select
        opportunity_id,
        '{{ rule }}' as rule
    from tested
    where breaks_{{ rule }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

main_rules as (
    select
        broken.opportunity_id,
        broken.rule,
        rules.what_is_wrong,
        rules.what_to_do,
        count(*) over (partition by broken.opportunity_id) as reason_count
    from broken
    left join rules on broken.rule = rules.rule
    qualify row_number() over (partition by broken.opportunity_id order by coalesce(rules.rank, 999), broken.rule) = 1
),

final as (
    select
        tested.opportunity_id,
        tested.name as opportunity_name,
        tested.account_name,
        tested.owner_id,
        tested.owner_name,
        tested.manager_id,
        tested.manager_name,
        tested.region,
        tested.segment,
        tested.size_band,
        tested.term,
        tested.product_id,
        concat_ws(
            ', '
            {%- for rule in rules %},
            case when tested.breaks_{{ rule }} then '{{ rule }}' end
            {%- endfor %}
        ) as reasons,
        main_rules.rule as main_reason,
        main_rules.what_is_wrong,
        concat_ws(
            '; ',
            concat('discount ', {{ percent_text('tested.discount_share') }}),
            case
                when tested.own_authority is not null then concat('the owner may give ', {{ percent_text('tested.own_authority') }})
            end,
            case
                when tested.expected_discount is not null
                    then concat(
                        'like deals of others got ',
                        {{ percent_text('tested.expected_discount') }},
                        ' (',
                        cast(tested.like_n as string),
                        ' deals)'
                    )
            end,
            case
                when tested.approval_status not in ('unknown', 'own_authority')
                    then concat('approval: ', replace(tested.approval_status, '_', ' '))
            end
        ) as evidence,
        main_rules.what_to_do,
        -- What a leaver's deal needs is done by whoever answers for it today.
        case
            when left_owners.rep_id is null then coalesce(tested.owner_name, tested.owner_id, 'sales_operations')
            when left_managers.rep_id is null then coalesce(tested.manager_name, tested.manager_id, 'sales_operations')
            else 'sales_operations'
        end as who_acts,
        tested.approval_status,
        tested.list_amount,
        tested.discount_share,
        tested.own_authority,
        tested.expected_discount,
        tested.discount_share - tested.expected_discount as excess,
        cast(tested.like_n as bigint) as like_n,
        cast(main_rules.reason_count as bigint) as reason_count,
        tested.is_open,
        tested.has_reason,
        tested.has_concession,
        tested.is_approved_before_quote,
        coalesce(tested.is_period_end, false) as is_period_end,
        tested.quoted_at,
        tested.approved_at,
        tested.close_date,
        tested.closed_on,
        {{ as_of_date() }} as as_of_date
    from tested
    inner join main_rules on tested.opportunity_id = main_rules.opportunity_id
    left join leavers as left_owners on tested.owner_id = left_owners.rep_id
    left join leavers as left_managers on tested.manager_id = left_managers.rep_id
)

select * from final
