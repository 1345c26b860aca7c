-- Salesforce says how many units of a currency one unit of the corporate currency is, from a day until the next rate: it is told of each
-- of these days. An organisation without dated rates has one rate a currency for all its days.
with currencies as (
    {{ landed_as_known('salesforce', 'CurrencyType', keeps_deleted=true) }}
),

corporate as (
    select IsoCode as corporate_currency
    from currencies
    where {{ is_true('IsCorporate') }}
),

known as (
    select
        landed.*,
        cast(substr(landed.StartDate, 1, 10) as date) as valid_from
    from {{ source('salesforce', 'DatedConversionRate') }} as landed
    where {{ is_landed_by_then() }}
    qualify row_number() over (partition by landed.Id order by landed._known_at desc, landed._batch_id desc) = 1
),

dated as (
    select
        known.*,
        lead(valid_from) over (partition by IsoCode order by valid_from) as valid_to
    from known
),

first_day as (
    select coalesce(min(valid_from), cast('2000-01-01' as date)) as day
    from known
),

days as (
    {{ days_between('least(first_day.day, ' ~ as_of_date() ~ ')', as_of_date()) }}
    from first_day
),

rates as (
    select
        days.day as rate_date,
        dated.IsoCode as to_currency,
        'spot' as rate_type,
        dated.ConversionRate as rate,
        dated._batch_id,
        dated._operation,
        dated._extracted_at,
        dated._known_at
    from dated
    inner join days
        on dated.valid_from <= days.day and (dated.valid_to is null or days.day < dated.valid_to)
    union all
    select
        days.day as rate_date,
        currencies.IsoCode as to_currency,
        'plan' as rate_type,
        currencies.ConversionRate as rate,
        currencies._batch_id,
        currencies._operation,
        currencies._extracted_at,
        currencies._known_at
    from currencies
    inner join days on month(days.day) = 1 and day(days.day) = 1
    where not exists (select 1 from known) and currencies.ConversionRate is not null
),

final as (
    select
        rates.rate_date,
        corporate.corporate_currency as from_currency,
        rates.to_currency,
        rates.rate_type,
        cast(rates.rate as decimal(20, 10)) as rate,
        rates._batch_id,
        rates._operation,
        rates._extracted_at,
        rates._known_at
    from rates
    cross join corporate
    where rates.to_currency != corporate.corporate_currency
)

select
    rate_date,
    from_currency,
    to_currency,
    rate_type,
    rate,
    {{ load_columns('salesforce') }}
from final
