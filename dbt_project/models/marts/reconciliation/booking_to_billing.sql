with policy as (
    select
        max(case when name = 'amount_tolerance' then value end) as amount_tolerance,
        max(case when name = 'amount_tolerance_share' then value end) as amount_tolerance_share,
        max(case when name = 'early_days' then value end) as early_days,
        max(case when name = 'billing_days' then value end) as billing_days,
        max(case when name = 'instalment_gap_days' then value end) as instalment_gap_days,
        max(case when name = 'instalment_share' then value end) as instalment_share,
        cast(max(case when name = 'ageing_days_1' then value end) as int) as ageing_days_1,
        cast(max(case when name = 'ageing_days_2' then value end) as int) as ageing_days_2,
        cast(max(case when name = 'ageing_days_3' then value end) as int) as ageing_days_3
    from {{ ref('reconciliation_policy') }}
),

statuses as (
    select * from {{ ref('reconciliation_statuses') }}
),

deals as (
    select * from {{ ref('opportunities') }}
    where not is_deleted
),

accounts as (
    select * from {{ ref('accounts') }}
),

leavers as (
    select rep_id from {{ ref('reps') }}
    where is_current and terminated_on is not null
),

documents as (
    select * from {{ ref('billing_documents') }}
),

invoices as (
    select * from {{ ref('int_invoices_known') }}
),

first_invoices as (
    select
        row_type,
        row_id,
        document_id
    from documents
    where document_type = 'invoice'
    qualify row_number() over (partition by row_type, row_id order by document_on, document_id) = 1
),

-- What came as a second copy does not say how the deal was found.
rules as (
    select
        row_type,
        row_id,
        match_rule
    from documents
    where document_type = 'invoice' and coalesce(match_rule, '') != 'duplicate_document'
    qualify row_number() over (partition by row_type, row_id order by document_on, document_id) = 1
),

totals as (
    select
        row_type,
        row_id,
        max(opportunity_id) as opportunity_id,
        min_by(customer_id, concat_ws(' ', case when document_type = 'invoice' then '1' else '2' end, document_on, document_id))
            as customer_id,
        max(account_id) as account_id,
        max(currency_source) as finance_currency,
        sum(amount_source) as finance_amount_source,
        case when count(amount) = count(*) then sum(amount) end as finance_amount,
        case when count(amount_at_plan) = count(*) then sum(amount_at_plan) end as finance_amount_at_plan,
        max(case when document_type = 'invoice' then amount_source end) as largest_invoice,
        -sum(case when document_type = 'credit_note' then amount_source else 0 end) as credited_amount_source,
        sum(case when is_paid then amount_source else 0 end) as paid_amount_source,
        count(*) as document_count,
        count(case when document_type = 'credit_note' then 1 end) as credit_note_count,
        count(case when document_type = 'invoice' and not is_duplicate then 1 end) as instalment_count,
        max(case when is_duplicate then 1 else 0 end) = 1 as has_duplicate,
        max(case when is_shared then 1 else 0 end) = 1 as is_shared,
        count(amount) < count(*) or count(amount_at_plan) < count(*) as lacks_rate,
        min(document_on) as first_document_on,
        max(document_on) as last_document_on,
        min(case when document_type = 'invoice' then document_on end) as first_invoice_on,
        max(case when document_type = 'invoice' then document_on end) as last_invoice_on
    from documents
    group by row_type, row_id
),

-- Without a single invoice ever, that nothing was billed is not known.
row_keys as (
    select
        'deal' as row_type,
        opportunity_id as row_id
    from deals
    where is_won and (select count(*) from invoices) > 0
    union all
    select
        row_type,
        row_id
    from totals
    where row_type != 'deal'
),

joined as (
    select
        row_keys.row_type,
        row_keys.row_id,
        deals.opportunity_id,
        deals.name as opportunity_name,
        coalesce(deals.account_id, totals.account_id) as account_id,
        totals.customer_id,
        first_invoices.document_id as invoice_id,
        deals.region,
        deals.segment,
        deals.manager_id,
        deals.manager_name,
        deals.owner_id,
        deals.owner_name,
        rules.match_rule,
        case
            when totals.is_shared then 'consolidated_invoice'
            when row_keys.row_type = 'deal' and totals.instalment_count > 1 then 'instalments'
        end as group_type,
        case when row_keys.row_type = 'deal' then coalesce(deals.currency_source, '{{ var("reporting_currency") }}') end as crm_currency,
        totals.finance_currency,
        case when row_keys.row_type = 'deal' then deals.amount_source end as crm_amount_source,
        totals.finance_amount_source,
        totals.credited_amount_source,
        totals.paid_amount_source,
        case when row_keys.row_type = 'deal' then deals.amount end as crm_amount,
        totals.finance_amount,
        totals.finance_amount_at_plan,
        totals.largest_invoice,
        coalesce(totals.document_count, 0) as document_count,
        coalesce(totals.credit_note_count, 0) as credit_note_count,
        coalesce(totals.has_duplicate, false) as has_duplicate,
        coalesce(totals.lacks_rate, false)
        or (row_keys.row_type = 'deal' and deals.amount is null and deals.amount_source is not null) as lacks_rate,
        coalesce(deals.is_won, false) as is_won,
        coalesce(deals.is_lost or deals.is_no_decision, false) as is_lost,
        case
            when row_keys.row_type = 'deal' then deals.closed_on
            else coalesce(totals.first_invoice_on, totals.first_document_on)
        end as booked_on,
        totals.first_invoice_on,
        totals.last_invoice_on,
        totals.last_document_on
    from row_keys
    left join totals on row_keys.row_type = totals.row_type and row_keys.row_id = totals.row_id
    left join first_invoices on row_keys.row_type = first_invoices.row_type and row_keys.row_id = first_invoices.row_id
    left join rules on row_keys.row_type = rules.row_type and row_keys.row_id = rules.row_id
    left join deals on coalesce(totals.opportunity_id, case when row_keys.row_type = 'deal' then row_keys.row_id end) = deals.opportunity_id
),

compared as (
    select
        joined.*,
        crm_currency != finance_currency as is_other_currency,
        coalesce(
            abs(finance_amount_source - crm_amount_source)
            <= greatest(policy.amount_tolerance, policy.amount_tolerance_share * abs(crm_amount_source)),
            false
        ) as is_agreed,
        {{ day_count('booked_on', 'first_invoice_on') }} as billing_days,
        case
            when row_type != 'deal' then booked_on
            when document_count = 0 then booked_on
            else last_document_on
        end as seen_on
    from joined
    cross join policy
),

judged as (
    select
        compared.*,
        case
            when row_type = 'deal' and document_count = 0 then
                case
                    when abs(crm_amount_source) <= policy.amount_tolerance then 'matched'
                    when {{ day_count('booked_on', as_of_date()) }} <= policy.billing_days then 'awaiting_invoice'
                    else 'missing_in_finance'
                end
            when row_type = 'deal' then
                case
                    when is_other_currency then 'currency_difference'
                    when
                        is_agreed and (compared.billing_days > policy.billing_days or compared.billing_days < -policy.early_days)
                        then 'timing_difference'
                    when is_agreed then 'matched'
                    when credit_note_count > 0 and finance_amount_source < crm_amount_source then 'credited'
                    when has_duplicate and finance_amount_source > crm_amount_source then 'duplicate_in_finance'
                    when
                        finance_amount_source < crm_amount_source
                        and largest_invoice <= policy.instalment_share * crm_amount_source
                        and {{ day_count('last_invoice_on', as_of_date()) }} <= policy.instalment_gap_days
                        then 'partly_billed'
                    else 'amount_mismatch'
                end
            when row_type = 'credit_note' then 'credited'
            when credit_note_count > 0 and finance_amount_source <= policy.amount_tolerance then 'credited'
            when is_lost then 'lost_in_crm_but_billed'
            when is_won then 'currency_difference'
            else 'missing_in_crm'
        end as status_in_source
    from compared
    cross join policy
),

settled as (
    select
        judged.*,
        case when lacks_rate then 'missing_rate' else status_in_source end as status,
        cast(
            case
                when (not lacks_rate and status_in_source = 'matched') then null
                else {{ day_count('seen_on', as_of_date()) }}
            end as bigint
        ) as age_days,
        case when not lacks_rate then coalesce(finance_amount, 0) - coalesce(crm_amount, 0) end as difference,
        case when not lacks_rate then coalesce(finance_amount_at_plan, 0) - coalesce(crm_amount, 0) end as amount_difference,
        case when not lacks_rate then coalesce(finance_amount, 0) - coalesce(finance_amount_at_plan, 0) end as fx_difference
    from judged
),

final as (
    select
        settled.row_type,
        settled.row_id,
        settled.opportunity_id,
        settled.opportunity_name,
        settled.account_id,
        accounts.name as account_name,
        settled.customer_id,
        settled.invoice_id,
        case when settled.opportunity_id is null then accounts.region else settled.region end as region,
        case when settled.opportunity_id is null then accounts.segment else settled.segment end as segment,
        settled.manager_name,
        settled.owner_id,
        settled.status,
        settled.status_in_source,
        settled.match_rule,
        settled.group_type,
        case
            when age_days <= policy.ageing_days_1 then concat('0-', cast(policy.ageing_days_1 as string))
            when age_days <= policy.ageing_days_2
                then concat(cast(policy.ageing_days_1 + 1 as string), '-', cast(policy.ageing_days_2 as string))
            when age_days <= policy.ageing_days_3
                then concat(cast(policy.ageing_days_2 + 1 as string), '-', cast(policy.ageing_days_3 as string))
            when age_days > policy.ageing_days_3 then concat('over ', cast(policy.ageing_days_3 as string))
        end as age_band,
        -- What a leaver's deal needs is done by whoever answers for it today.
        case
            when coalesce(statuses.owner, '') != 'deal_owner' then statuses.owner
            when left_owners.rep_id is null then coalesce(settled.owner_name, settled.owner_id, 'sales_operations')
            when left_managers.rep_id is null then coalesce(settled.manager_name, settled.manager_id, 'sales_operations')
            else 'sales_operations'
        end as owner,
        statuses.what_is_wrong,
        statuses.what_to_do,
        settled.crm_currency,
        settled.finance_currency,
        cast(settled.crm_amount_source as decimal(18, 4)) as crm_amount_source,
        cast(settled.finance_amount_source as decimal(18, 4)) as finance_amount_source,
        cast(
            case
                when not coalesce(settled.is_other_currency, false)
                    then coalesce(settled.finance_amount_source, 0) - coalesce(settled.crm_amount_source, 0)
            end as decimal(18, 4)
        ) as difference_source,
        cast(settled.credited_amount_source as decimal(18, 4)) as credited_amount_source,
        cast(settled.paid_amount_source as decimal(18, 4)) as paid_amount_source,
        cast(settled.crm_amount as decimal(18, 4)) as crm_amount,
        cast(settled.finance_amount as decimal(18, 4)) as finance_amount,
        cast(settled.finance_amount_at_plan as decimal(18, 4)) as finance_amount_at_plan,
        cast(settled.difference as decimal(18, 4)) as difference,
        cast(settled.amount_difference as decimal(18, 4)) as amount_difference,
        cast(settled.fx_difference as decimal(18, 4)) as fx_difference,
        settled.document_count,
        cast(settled.billing_days as bigint) as billing_days,
        settled.age_days,
        coalesce(statuses.is_break, true) as is_break,
        settled.booked_on,
        settled.first_invoice_on,
        settled.last_document_on,
        {{ as_of_date() }} as as_of_date
    from settled
    cross join policy
    left join statuses on settled.status = statuses.status
    left join accounts on settled.account_id = accounts.account_id
    left join leavers as left_owners on settled.owner_id = left_owners.rep_id
    left join leavers as left_managers on settled.manager_id = left_managers.rep_id
)

select * from final
