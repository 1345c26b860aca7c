{{ config(materialized='table') }}
-- Deals whose discount is judged: won in the window, or on offer. A renewal's price was agreed with the first deal.
with policy as (
    select
        {{ pricing_policy('window_months') }} as window_months,
        {{ pricing_policy('tolerance') }} as tolerance,
        {{ pricing_policy('quote_stage_order') }} as quote_stage_order,
        {{ pricing_policy('period_end_days') }} as period_end_days,
        (select count(*) from {{ ref('int_discount_approvals_known') }}) > 0 as has_approvals
),

deals as (
    select opportunities.*
    from {{ ref('opportunities') }} as opportunities
    cross join policy
    where
        not opportunities.is_deleted
        and coalesce(opportunities.opportunity_type, '') != 'renewal'
        and opportunities.discount_share is not null
        and (
            opportunities.is_open
            or (opportunities.is_won and opportunities.closed_on > {{ add_months(as_of_date(), '-policy.window_months') }})
        )
),

known as (
    select * from {{ ref('int_opportunities_known') }}
),

lines as (
    select * from {{ ref('int_opportunity_lines_known') }}
    where not _is_deleted
),

priced_lines as (
    select * from {{ ref('int_priced_lines') }}
    where basis in ('booked', 'quoted')
),

products as (
    select * from {{ ref('products') }}
),

bands as (
    select * from {{ ref('size_bands') }}
),

history as (
    select * from {{ ref('int_opportunity_history') }}
),

stages as (
    select * from {{ ref('core_stages') }}
),

reps as (
    select * from {{ ref('reps') }}
),

authority as (
    select * from {{ ref('discount_authority') }}
),

calendar as (
    select * from {{ ref('calendar') }}
),

approvals as (
    select * from {{ ref('int_discount_approvals_known') }}
    where not _is_deleted and cast(requested_at as date) <= {{ as_of_date() }}
),

line_facts as (
    select
        opportunity_id,
        max(term_months) as term_months,
        max(case when discount_reason != '' then 1 else 0 end) = 1 as has_reason
    from lines
    group by opportunity_id
),

main_products as (
    select
        lines.opportunity_id,
        lines.product_id
    from lines
    left join products on lines.product_id = products.product_id
    qualify row_number() over (
        partition by lines.opportunity_id
        order by
            lines.quantity * coalesce(lines.list_unit_price, products.list_price_source) desc nulls last,
            lines.product_id asc nulls last,
            lines.line_id asc nulls last
    ) = 1
),

line_sums as (
    select
        opportunity_id,
        cast(sum(list_amount) as decimal(18, 4)) as priced_list_amount,
        cast(sum(net_amount) as decimal(18, 4)) as priced_net_amount
    from priced_lines
    group by opportunity_id
),

quotes as (
    select
        history.opportunity_id,
        min(history.valid_from) as quoted_at
    from history
    inner join stages on history.stage = stages.stage
    cross join policy
    where stages.is_open and stages.stage_order >= policy.quote_stage_order
    group by history.opportunity_id
),

described as (
    select
        deals.opportunity_id,
        deals.name,
        deals.account_name,
        deals.owner_id,
        deals.owner_name,
        deals.manager_id,
        deals.manager_name,
        deals.region,
        coalesce(deals.segment, 'unknown') as segment,
        coalesce(bands.size_band, 'unknown') as size_band,
        coalesce(cast(line_facts.term_months as string), 'none') as term,
        coalesce(main_products.product_id, 'unknown') as product_id,
        deals.list_amount,
        line_sums.priced_list_amount,
        line_sums.priced_net_amount,
        deals.discount_share,
        deals.is_won,
        deals.is_open,
        coalesce(line_facts.has_reason, false) as has_line_reason,
        case when reps.rep_id is not null then coalesce(authority.maximum_share, 0) end as own_authority,
        quotes.quoted_at,
        -- Midnight is a day without a time: anything on that day was in time.
        case
            when cast(known.closed_at as date) = deals.closed_on and known.closed_at != cast(deals.closed_on as timestamp)
                then known.closed_at
            else {{ end_of_day('coalesce(deals.closed_on, ' ~ as_of_date() ~ ')') }}
        end as decide_by,
        deals.closed_on,
        calendar.quarter_end,
        deals.close_date
    from deals
    left join known on deals.opportunity_id = known.opportunity_id
    left join bands
        on deals.list_amount >= bands.from_amount
        and (bands.below_amount is null or deals.list_amount < bands.below_amount)
    left join line_facts on deals.opportunity_id = line_facts.opportunity_id
    left join main_products on deals.opportunity_id = main_products.opportunity_id
    left join line_sums on deals.opportunity_id = line_sums.opportunity_id
    left join quotes on deals.opportunity_id = quotes.opportunity_id
    left join calendar on deals.closed_on = calendar.day
    left join reps
        on deals.owner_id = reps.rep_id
        and coalesce(deals.closed_on, {{ as_of_date() }}) >= reps.valid_from
        and (reps.valid_to is null or coalesce(deals.closed_on, {{ as_of_date() }}) < reps.valid_to)
    left join authority on reps.role = authority.role
),

-- What was decided after the as-of date was still only asked for on it; a day of decision without a decision is none.
decisions as (
    select
        approvals.approval_id,
        approvals.opportunity_id,
        approvals.requested_share,
        approvals.reason,
        approvals.approver_id,
        approvals.status,
        approvals.concession_received,
        approvals.decided_at
    from approvals
    where approvals.status != 'requested' and cast(approvals.decided_at as date) <= {{ as_of_date() }}
    union all
    select
        approvals.approval_id,
        approvals.opportunity_id,
        approvals.requested_share,
        approvals.reason,
        approvals.approver_id,
        'requested' as status,
        cast(null as string) as concession_received,
        cast(null as timestamp) as decided_at
    from approvals
    where approvals.status = 'requested' or approvals.decided_at is null or cast(approvals.decided_at as date) > {{ as_of_date() }}
),

-- The best that can be said of each approval.
ranked as (
    select
        decisions.opportunity_id,
        decisions.decided_at,
        case
            when decisions.status = 'rejected' then 5
            when decisions.status != 'approved' then 6
            when
                decisions.requested_share is null
                or {{ exceeds('described.discount_share', 'decisions.requested_share + policy.tolerance') }}
                then 4
            when {{ exceeds('described.discount_share', 'coalesce(authority.maximum_share, 0) + policy.tolerance') }} then 3
            when decisions.decided_at > described.decide_by then 2
            else 1
        end as standing
    from decisions
    inner join described on decisions.opportunity_id = described.opportunity_id
    cross join policy
    left join reps
        on decisions.approver_id = reps.rep_id
        and cast(decisions.decided_at as date) >= reps.valid_from
        and (reps.valid_to is null or cast(decisions.decided_at as date) < reps.valid_to)
    left join authority on reps.role = authority.role
),

standings as (
    select
        opportunity_id,
        min(standing) as standing,
        min(case when standing = 1 then decided_at end) as approved_at
    from ranked
    group by opportunity_id
),

approval_facts as (
    select
        opportunity_id,
        max(case when reason != '' then 1 else 0 end) = 1 as has_reason,
        max(case when concession_received != '' then 1 else 0 end) = 1 as has_concession
    from decisions
    group by opportunity_id
),

judged as (
    select
        described.*,
        policy.has_approvals,
        case
            when described.own_authority is null or not policy.has_approvals then 'unknown'
            when not {{ exceeds('described.discount_share', 'described.own_authority + policy.tolerance') }} then 'own_authority'
            when standings.standing = 1 then 'approved'
            when standings.standing = 2 then 'approved_late'
            when standings.standing = 3 then 'approver_lacks_authority'
            when standings.standing = 4 then 'above_approved_share'
            when standings.standing = 5 then 'rejected'
            when standings.standing = 6 then 'awaiting'
            else 'not_asked'
        end as approval_status,
        standings.approved_at,
        described.has_line_reason or coalesce(approval_facts.has_reason, false) as has_reason,
        case when policy.has_approvals then coalesce(approval_facts.has_concession, false) end as has_concession,
        case
            when described.closed_on is not null
                then {{ day_count('described.closed_on', 'described.quarter_end') }} < policy.period_end_days
        end as is_period_end
    from described
    cross join policy
    left join standings on described.opportunity_id = standings.opportunity_id
    left join approval_facts on described.opportunity_id = approval_facts.opportunity_id
),

final as (
    select
        opportunity_id,
        name,
        account_name,
        owner_id,
        owner_name,
        manager_id,
        manager_name,
        region,
        segment,
        size_band,
        term,
        product_id,
        approval_status,
        list_amount,
        priced_list_amount,
        priced_net_amount,
        discount_share,
        own_authority,
        is_won,
        is_open,
        has_approvals,
        has_reason,
        has_concession,
        case
            when approval_status not in ('unknown', 'own_authority') and quoted_at is not null
                then approval_status = 'approved' and coalesce(approved_at <= quoted_at, false)
        end as is_approved_before_quote,
        is_period_end,
        quoted_at,
        approved_at,
        close_date,
        closed_on
    from judged
)

select * from final
