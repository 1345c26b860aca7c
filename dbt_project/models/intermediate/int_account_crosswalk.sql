{{ config(materialized='table') }}
{#- Of accounts as docs/several-sources.md rules; what is wrong with a row says so, and it unites nothing. -#}
{%- set known = "'" ~ var('source_entities').keys() | join("', '") ~ "'" %}
{%- set told = "'" ~ var('sources') | join("', '") ~ "'" %}
{%- set deliverers = deliverers_of('accounts') %}
{%- set delivering = "'" ~ (deliverers or ['']) | join("', '") ~ "'" %}
with policy as (
    select
        source,
        account_id,
        same_as_source,
        same_as_account_id
    from {{ ref('account_crosswalk') }}
    -- A source that is not part of this run has no accounts to unite.
    where
        (source in ({{ told }}) or source not in ({{ known }}))
        and (same_as_source in ({{ told }}) or same_as_source not in ({{ known }}))
),

counted as (
    select
        policy.*,
        count(*) over (partition by source, account_id) as n
    from policy
),

united as (
    select distinct
        source,
        account_id
    from policy
),

final as (
    select
        counted.source,
        counted.account_id as entered_account_id,
        counted.same_as_source,
        counted.same_as_account_id as entered_same_as_account_id,
        {{ "counted.source || ':' || counted.account_id" if deliverers | length > 1 else 'counted.account_id' }} as account_id,
        {{ "counted.same_as_source || ':' || counted.same_as_account_id" if deliverers | length > 1 else 'counted.same_as_account_id' }}
            as into_account_id,
        case
            when counted.source not in ({{ known }}) then 'there is no source ' || counted.source
            when counted.same_as_source not in ({{ known }}) then 'there is no source ' || counted.same_as_source
            when counted.source not in ({{ delivering }}) then counted.source || ' delivers no accounts'
            when counted.same_as_source not in ({{ delivering }}) then counted.same_as_source || ' delivers no accounts'
            when counted.source = counted.same_as_source and counted.account_id = counted.same_as_account_id
                then 'an account cannot stand for itself'
            when counted.n > 1 then 'the account is united more than once'
            when united.account_id is not null then 'the account that is to stand for it is itself united with another'
        end as problem
    from counted
    left join united on counted.same_as_source = united.source and counted.same_as_account_id = united.account_id
)

select * from final
