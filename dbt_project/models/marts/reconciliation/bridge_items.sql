{#- What is dated in another period than its row leaves the one and comes into the other. #}
{%- set shift = "case when status = 'timing_difference' then 'timing_difference' else 'other_period' end" %}
{#- Line, amount, where it comes from, the period it lies in, and which rows are on it. #}
{%- set lines = [
    ("'bookings'", 'amount', 'placed_bookings', 'period_start', 'true'),
    ('status', '-amount', 'placed_bookings', 'period_start', 'true'),
    ('status', 'amount', 'placed_billings', 'booked_period_start', 'true'),
    (shift, '-amount', 'placed_billings', 'booked_period_start', 'period_start != booked_period_start'),
    (shift, 'amount', 'placed_billings', 'period_start', 'period_start != booked_period_start'),
    ("'fx_difference'", 'fx_amount', 'placed_billings', 'period_start', 'fx_amount != 0'),
    ("'finance'", 'amount + fx_amount', 'placed_billings', 'period_start', 'true'),
] %}
with reconciled as (
    select * from {{ ref('booking_to_billing') }}
),

documents as (
    select
        documents.*,
        reconciled.status,
        reconciled.booked_on
    from {{ ref('billing_documents') }} as documents
    inner join reconciled on documents.row_type = reconciled.row_type and documents.row_id = reconciled.row_id
),

periods as (
    {%- for period_type in ('month', 'quarter', 'year') %}
    select
        '{{ period_type }}' as period_type,
        day,
        {{ period_type }}_start as period_start
    from {{ ref('calendar') }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

-- What has no rate is 0 in the reporting currency: on both sides of a document, so that it is in no line of the bridge.
bookings as (
    select
        row_type,
        row_id,
        status,
        booked_on,
        'source' as currency_basis,
        crm_currency as currency,
        coalesce(crm_amount_source, 0) as amount
    from reconciled
    where row_type = 'deal'
    union all
    select
        row_type,
        row_id,
        status,
        booked_on,
        'reporting' as currency_basis,
        '{{ var("reporting_currency") }}' as currency,
        coalesce(crm_amount, 0) as amount
    from reconciled
    where row_type = 'deal'
),

billings as (
    select
        row_type,
        row_id,
        status,
        booked_on,
        document_on,
        'source' as currency_basis,
        currency_source as currency,
        amount_source as amount,
        cast(0 as decimal(18, 4)) as fx_amount
    from documents
    union all
    select
        row_type,
        row_id,
        status,
        booked_on,
        document_on,
        'reporting' as currency_basis,
        '{{ var("reporting_currency") }}' as currency,
        case when amount is null or amount_at_plan is null then 0 else amount_at_plan end as amount,
        case when amount is null or amount_at_plan is null then 0 else amount - amount_at_plan end as fx_amount
    from documents
),

placed_bookings as (
    select
        bookings.*,
        periods.period_type,
        periods.period_start
    from bookings
    inner join periods on bookings.booked_on = periods.day
),

placed_billings as (
    select
        billings.*,
        periods.period_type,
        periods.period_start,
        booked_periods.period_start as booked_period_start
    from billings
    inner join periods on billings.document_on = periods.day
    inner join periods as booked_periods on billings.booked_on = booked_periods.day and periods.period_type = booked_periods.period_type
),

postings as (
    {%- for line, amount, pieces, period_start, condition in lines %}
    select
        row_type,
        row_id,
        period_type,
        {{ period_start }} as posted_start,
        currency_basis,
        currency,
        {{ line }} as line,
        {{ amount }} as posted_amount
    from {{ pieces }}
    where {{ condition }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

final as (
    select
        row_type,
        row_id,
        period_type,
        currency_basis,
        currency,
        line,
        cast(sum(posted_amount) as decimal(18, 4)) as amount,
        posted_start as period_start,
        {{ as_of_date() }} as as_of_date
    from postings
    group by row_type, row_id, period_type, posted_start, currency_basis, currency, line
)

select * from final
