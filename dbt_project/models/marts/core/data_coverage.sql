{#- Of each entity: when its facts happened, and its link to an opportunity. Which marts stand on it is said in the contract. #}
{%- set entities = {
    'users': ('cast(null as date)', none),
    'user_roles': ('effective_from', none),
    'accounts': ('cast(created_at as date)', none),
    'contacts': ('cast(null as date)', none),
    'products': ('cast(null as date)', none),
    'opportunities': ('cast(created_at as date)', 'opportunity_id'),
    'opportunity_changes': ('cast(changed_at as date)', 'opportunity_id'),
    'opportunity_team': ('cast(joined_at as date)', 'opportunity_id'),
    'opportunity_contacts': ('cast(added_at as date)', 'opportunity_id'),
    'opportunity_lines': ('cast(null as date)', 'opportunity_id'),
    'discount_approvals': ('cast(requested_at as date)', 'opportunity_id'),
    'activities': ('cast(occurred_at as date)', 'opportunity_id'),
    'qualifications': ('cast(assessed_at as date)', 'opportunity_id'),
    'forecast_submissions': ('cast(submitted_at as date)', none),
    'quotas': ('effective_from', none),
    'coaching_sessions': ('cast(occurred_at as date)', 'opportunity_id'),
    'support_requests': ('cast(requested_at as date)', 'opportunity_id'),
    'account_plans': ('approved_on', none),
    'account_plan_objectives': ('due_on', none),
    'customers': ('cast(null as date)', none),
    'subscriptions': ('start_date', 'crm_opportunity_id'),
    'invoices': ('invoice_date', 'crm_opportunity_id'),
    'invoice_lines': ('cast(null as date)', none),
    'credit_notes': ('credit_date', none),
    'fx_rates': ('rate_date', none),
    'targets': ('period_start', none),
} %}
with deals as (
    select opportunity_id from {{ ref('opportunities') }}
    where not is_deleted
),

counted as (
    {%- for entity, (day, deal) in entities.items() %}
    select
        '{{ entity }}' as entity,
        '{{ contract_of(entity).config.meta.marts | join(', ') if execute }}' as marts,
        count(case when not known._is_deleted then 1 end) as row_count,
        count(case when known._is_deleted then 1 end) as deleted_count,
        {% if deal -%}
        count(distinct case when not known._is_deleted then deals.opportunity_id end) as deal_count,
        {% else -%}
        cast(null as bigint) as deal_count,
        {% endif -%}
        min(case when not known._is_deleted then {{ day }} end) as first_event_on,
        max(case when not known._is_deleted then {{ day }} end) as last_event_on
    from {{ ref('int_' ~ entity ~ '_known') }} as known
    {%- if deal %}
    left join deals on known.{{ deal }} = deals.opportunity_id
    {%- endif %}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

-- What the rule of docs/opportunity-history.md had to settle.
settled as (
    select
        count(case when is_doubled then 1 end) as doubled_count,
        count(case when is_unreadable then 1 end) as unreadable_count,
        count(case when is_late then 1 end) as late_count,
        count(case when is_same_second then 1 end) as same_second_count,
        count(case when is_contradicting then 1 end) as contradicting_count
    from {{ ref('int_opportunity_events') }}
    where not is_after
),

united as (
    select count(*) as n from {{ ref('int_united_accounts') }}
    where problem is null and name is not null
),

-- Sources whose deals have no field history: what changes between two loads is all that is known of it.
without_events as (
    select
        versions._source,
        min(cast(versions._extracted_at as date)) as first_load_on
    from {{ ref('int_opportunities_versions') }} as versions
    where versions._source not in (
        select told._source
        from {{ ref('int_opportunities_known') }} as told
        inner join {{ ref('int_opportunity_changes_known') }} as events on told.opportunity_id = events.opportunity_id
    )
    group by versions._source
),

loads as (
    select
        max(first_load_on) as told_by_loads_since,
        concat_ws(
            '; '
            {%- for source_name in var('sources') %},
            max(
                case
                    when _source = '{{ source_name }}'
                        then '{{ source_name ~ ': ' if var('sources') | length > 1 }}no field history: told by loads since '
                            || cast(first_load_on as string)
                end
            )
            {%- endfor %}
        ) as note
    from without_events
),

final as (
    select
        counted.entity,
        counted.marts,
        case
            when counted.entity = 'opportunity_changes' and loads.note != '' then loads.note
            when counted.row_count + counted.deleted_count = 0 then 'not delivered: what stands on it is not known'
            when counted.entity = 'accounts' and united.n > 0
                then 'without ' || cast(united.n as string) || ' that stand in core.united_accounts: the same companies as others'
        end as note,
        counted.row_count,
        counted.deleted_count,
        {%- for count in ('doubled', 'unreadable', 'late', 'same_second', 'contradicting') %}
        case when counted.entity = 'opportunity_changes' then settled.{{ count }}_count end as {{ count }}_count,
        {%- endfor %}
        cast(counted.deal_count as double) / nullif((select count(*) from deals), 0) as opportunity_share,
        counted.row_count + counted.deleted_count > 0 as is_delivered,
        counted.first_event_on,
        counted.last_event_on,
        case when counted.entity = 'opportunity_changes' then loads.told_by_loads_since end as told_by_loads_since,
        {{ as_of_date() }} as as_of_date
    from counted
    cross join settled
    cross join united
    cross join loads
)

select * from final
