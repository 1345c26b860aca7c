{{ config(materialized='table') }}
{%- set contact_days = policy_constant('contact_days', 'key_account_policy') | float | int %}
{%- set value_days = policy_constant('value_days', 'key_account_policy') | float | int %}
{%- set longest = [contact_days, value_days] | max %}
with reviews as (
    select
        quarter_end as reviewed_on,
        {{ add_months('quarter_end', -12) }} as year_ago,
        row_number() over (order by quarter_end) as review_number
    from {{ ref('calendar') }}
    where day = quarter_end and quarter_end <= {{ as_of_date() }}
),

constant_rates as (
    select * from {{ ref('int_constant_rates') }}
),

account_spans as (
    {{ known_spans('accounts') }}
),

customer_spans as (
    {{ known_spans('customers') }}
),

contact_spans as (
    {{ known_spans('contacts') }}
),

activity_spans as (
    {{ known_spans('activities') }}
),

versions as (
    select * from {{ ref('int_revenue_versions') }}
),

valued as (
    select
        versions.*,
        case
            when coalesce(versions.currency, '{{ var("reporting_currency") }}') = '{{ var("reporting_currency") }}' then versions.arr
            else cast(versions.arr * constant_rates.rate as decimal(18, 4))
        end as value
    from versions
    left join constant_rates on versions.currency = constant_rates.from_currency
    where versions._operation = 'upsert' and (versions.end_date is null or versions.end_date > versions.start_date)
),

product_revenue as (
    select
        reviews.review_number,
        customer_spans.crm_account_id as account_id,
        valued.product_id,
        sum(case when valued.end_date is null or valued.end_date > reviews.reviewed_on then valued.value else 0 end) as arr,
        sum(
            case
                when valued.start_date <= reviews.year_ago and (valued.end_date is null or valued.end_date > reviews.year_ago)
                    then valued.value
                else 0
            end
        ) as arr_year_ago,
        min(valued.start_date) as first_paid_on
    from reviews
    inner join valued
        on reviews.reviewed_on >= valued.known_on
        and (valued.next_known_on is null or reviews.reviewed_on < valued.next_known_on)
        and reviews.reviewed_on >= valued.start_date
    inner join customer_spans
        on valued.finance_customer_id = customer_spans.customer_id
        and reviews.reviewed_on >= customer_spans.known_on
        and reviews.reviewed_on < customer_spans.next_known_on
    where valued.value is not null and customer_spans.crm_account_id is not null
    group by reviews.review_number, customer_spans.crm_account_id, valued.product_id
),

revenue as (
    select
        review_number,
        account_id,
        sum(arr) as arr,
        sum(arr_year_ago) as arr_year_ago,
        case when count(product_id) > 0 then count(case when product_id is not null and arr > 0 then 1 end) end as product_count,
        min(first_paid_on) as first_paid_on
    from product_revenue
    group by review_number, account_id
),

-- Only accounts that ever paid are looked at.
accounts_then as (
    select
        reviews.review_number,
        account_spans.account_id,
        account_spans.owner_id,
        account_spans.addressable_spend
    from reviews
    inner join account_spans
        on reviews.reviewed_on >= account_spans.known_on
        and reviews.reviewed_on < account_spans.next_known_on
    where
        not coalesce(account_spans.is_deleted, false)
        and account_spans.account_id in (select revenue.account_id from revenue)
),

reviewed as (
    select
        accounts_then.review_number,
        accounts_then.account_id,
        revenue.arr,
        revenue.arr_year_ago,
        revenue.product_count,
        revenue.first_paid_on,
        nullif(accounts_then.addressable_spend, 0) - revenue.arr as wallet_left
    from accounts_then
    inner join revenue
        on accounts_then.review_number = revenue.review_number
        and accounts_then.account_id = revenue.account_id
    where revenue.arr > 0
),

ranked as (
    select
        reviewed.*,
        percent_rank() over (partition by review_number order by arr) as revenue,
        case
            when wallet_left is not null
                then percent_rank() over (partition by review_number, wallet_left is null order by wallet_left)
        end as potential
    from reviewed
),

-- From when what people do is on record at all.
on_record as (
    select
        (select min(activity_spans.known_on) from activity_spans) as activities_from,
        (select min(case when contact_spans.seniority is not null then contact_spans.known_on end) from contact_spans) as seniorities_from
),

engaged as (
    select * from activity_spans
    where
        coalesce(direction, 'unknown') != 'internal'
        and (direction = 'inbound' or (activity_type in ('meeting', 'demo') and coalesce(is_completed, false)))
),

touches as (
    select
        reviews.review_number,
        coalesce(engaged.account_id, contact_spans.account_id) as account_id,
        case
            when cast(engaged.occurred_at as date) > {{ add_days('reviews.reviewed_on', -contact_days) }} then engaged.contact_id
        end as contact_id,
        contact_spans.seniority in ('c_level', 'vp', 'director') as is_senior,
        engaged.purpose = 'value_review'
        and engaged.activity_type in ('meeting', 'demo')
        and coalesce(engaged.is_completed, false)
        and cast(engaged.occurred_at as date) > {{ add_days('reviews.reviewed_on', -value_days) }} as is_value_meeting
    from reviews
    inner join engaged
        on reviews.reviewed_on >= cast(engaged.occurred_at as date)
        and {{ add_days('reviews.reviewed_on', -longest) }} < cast(engaged.occurred_at as date)
        and reviews.reviewed_on >= engaged.known_on
        and reviews.reviewed_on < engaged.next_known_on
    left join contact_spans
        on engaged.contact_id = contact_spans.contact_id
        and reviews.reviewed_on >= contact_spans.known_on
        and reviews.reviewed_on < contact_spans.next_known_on
),

relationships as (
    select
        review_number,
        account_id,
        count(distinct contact_id) as contact_count,
        count(distinct case when is_senior then contact_id end) as senior_count,
        count(case when is_value_meeting then 1 end) as value_meeting_count
    from touches
    group by review_number, account_id
),

-- Whoever was reviewed once is asked for at every review that follows.
grid as (
    select
        firsts.account_id,
        reviews.review_number,
        reviews.reviewed_on
    from (
        select
            ranked.account_id,
            min(ranked.review_number) as review_number
        from ranked
        group by ranked.account_id
    ) as firsts
    inner join reviews on firsts.review_number <= reviews.review_number
),

final as (
    select
        grid.account_id,
        coalesce(accounts_then.owner_id, 'unknown') as manager_id,
        cast(grid.review_number as bigint) as review_number,
        cast(coalesce(ranked.arr, 0) as decimal(18, 4)) as arr,
        ranked.revenue,
        ranked.potential,
        case
            when ranked.arr_year_ago > 0 then cast(ranked.arr as double) / cast(ranked.arr_year_ago as double) - 1
        end as growth,
        cast(ranked.product_count as double) as breadth,
        case
            when grid.reviewed_on >= on_record.activities_from then cast(coalesce(relationships.contact_count, 0) as double)
        end as contacts,
        case
            when grid.reviewed_on >= on_record.activities_from and grid.reviewed_on >= on_record.seniorities_from
                then cast(coalesce(relationships.senior_count, 0) as double)
        end as seniority,
        case
            when grid.reviewed_on >= on_record.activities_from then cast(coalesce(relationships.value_meeting_count, 0) as double)
        end as value_meetings,
        cast({{ day_count('ranked.first_paid_on', 'grid.reviewed_on') }} as double) / 365.25 as tenure,
        ranked.account_id is not null as is_reviewed,
        grid.reviewed_on
    from grid
    cross join on_record
    left join accounts_then
        on grid.review_number = accounts_then.review_number
        and grid.account_id = accounts_then.account_id
    left join ranked
        on grid.review_number = ranked.review_number
        and grid.account_id = ranked.account_id
    left join relationships
        on grid.review_number = relationships.review_number
        and grid.account_id = relationships.account_id
)

select * from final
