{#- Of each entity: when its facts happened, its link to an opportunity, and the marts that stand on it. #}
{%- set entities = {
    'users': ('cast(null as date)', none, 'core.reps, funnel.win_rates, funnel.pipeline_coverage, funnel.specialist_suggestions, reconciliation.forecast_to_billing, forecast_accuracy.period_forecasts, pricing.discount_discipline, pricing.discount_exceptions, people.quota_attainment, people.rep_diagnosis, people.rep_ramp, people.ramp_curves, people.manager_coaching, people.manager_deals, people.specialist_engagement, people.talent, people.talent_criteria, people.role_fit, people.career_path, people.career_criteria, scorecard.behaviours, people.coaching_plan, people.best_practices'),
    'user_roles': ('effective_from', none, 'core.reps, funnel.deal_teams, funnel.specialist_suggestions, reconciliation.forecast_to_billing, forecast_accuracy.period_forecasts, forecast_accuracy.submitter_credibility, pricing.discount_discipline, pricing.discount_exceptions, people.rep_diagnosis, people.rep_ramp, people.ramp_curves, people.manager_coaching, people.manager_deals, people.specialist_engagement, people.talent, people.talent_criteria, people.role_fit, people.career_path, people.career_criteria, scorecard.behaviours, people.coaching_plan, people.best_practices'),
    'accounts': ('cast(created_at as date)', none, 'core.accounts, key_accounts.concentration, retention.arr_movements, retention.arr_bridges, retention.revenue_retention, retention.cohort_retention, retention.account_growth, retention.renewals, key_accounts.key_account_reviews, key_accounts.key_account_list, key_accounts.key_account_health, key_accounts.key_account_findings, key_accounts.relationship_map, key_accounts.whitespace, key_accounts.plan_execution, people.talent, people.talent_criteria, people.role_fit, scorecard.behaviours, people.best_practices'),
    'contacts': ('cast(null as date)', none, 'retention.renewals, key_accounts.key_account_reviews, key_accounts.key_account_list, key_accounts.key_account_health, key_accounts.key_account_findings, key_accounts.relationship_map, scorecard.behaviours'),
    'products': ('cast(null as date)', none, 'core.products, pricing.price_realization, key_accounts.whitespace'),
    'opportunities': ('cast(created_at as date)', 'opportunity_id', 'core.opportunities, funnel.win_rates, funnel.pipeline_snapshots, funnel.pipeline_movements, funnel.pipeline_coverage, funnel.sales_velocity, funnel.deal_teams, funnel.teaming_effect, funnel.specialist_suggestions, reconciliation.booking_to_billing, reconciliation.booking_bridge, reconciliation.forecast_to_billing, forecast_accuracy.period_forecasts, retention.sales_growth, retention.revenue_retention, retention.renewals, key_accounts.whitespace, people.rep_diagnosis, people.rep_ramp, people.ramp_curves, people.manager_coaching, people.manager_deals, people.specialist_engagement, people.sales_ops_service, people.talent, people.talent_criteria, people.role_fit, people.career_path, people.career_criteria, scorecard.behaviours, scorecard.world_class_metrics, people.coaching_plan, people.best_practices'),
    'opportunity_changes': ('cast(changed_at as date)', 'opportunity_id', 'core.opportunities, funnel.opportunity_history, funnel.stage_visits, funnel.pipeline_snapshots, funnel.pipeline_movements, funnel.stage_conversion, funnel.deal_signals, funnel.deal_health, funnel.deal_teams, funnel.teaming_effect, forecast_accuracy.period_forecasts, people.rep_diagnosis, people.rep_ramp, people.ramp_curves, people.manager_coaching, people.manager_deals, people.specialist_engagement, people.sales_ops_service, people.talent, people.talent_criteria, people.role_fit, people.career_path, people.career_criteria, scorecard.behaviours, scorecard.world_class_metrics, people.coaching_plan, people.best_practices'),
    'opportunity_team': ('cast(joined_at as date)', 'opportunity_id', 'core.opportunities, people.quota_attainment, funnel.deal_teams, funnel.teaming_effect, funnel.specialist_suggestions, people.rep_ramp, people.ramp_curves, people.specialist_engagement, people.sales_ops_service, people.talent, people.talent_criteria, people.career_path, people.career_criteria, scorecard.behaviours'),
    'opportunity_contacts': ('cast(added_at as date)', 'opportunity_id', 'core.opportunities, funnel.deal_signals, funnel.deal_health, people.coaching_plan, people.best_practices'),
    'opportunity_lines': ('cast(null as date)', 'opportunity_id', 'core.opportunities, pricing.price_realization, pricing.discount_discipline, pricing.discount_exceptions, people.talent, people.talent_criteria, scorecard.behaviours'),
    'discount_approvals': ('cast(requested_at as date)', 'opportunity_id', 'pricing.discount_discipline, pricing.discount_exceptions, people.best_practices'),
    'activities': ('cast(occurred_at as date)', 'opportunity_id', 'funnel.deal_signals, funnel.deal_health, funnel.review_agenda, funnel.deal_teams, funnel.teaming_effect, funnel.specialist_suggestions, retention.renewals, key_accounts.key_account_reviews, key_accounts.key_account_list, key_accounts.key_account_health, key_accounts.key_account_findings, key_accounts.relationship_map, key_accounts.plan_execution, people.rep_diagnosis, people.rep_ramp, people.ramp_curves, people.manager_coaching, people.manager_deals, people.specialist_engagement, people.sales_ops_service, people.talent, people.talent_criteria, people.career_path, people.career_criteria, scorecard.behaviours, people.coaching_plan, people.best_practices'),
    'qualifications': ('cast(assessed_at as date)', 'opportunity_id', 'funnel.deal_signals, funnel.deal_health, scorecard.behaviours, people.coaching_plan, people.best_practices'),
    'forecast_submissions': ('cast(submitted_at as date)', none, 'reconciliation.forecast_to_billing, forecast_accuracy.period_forecasts, forecast_accuracy.forecast_value_added, forecast_accuracy.submitter_credibility, people.talent, people.talent_criteria, scorecard.behaviours, scorecard.world_class_metrics'),
    'quotas': ('effective_from', none, 'funnel.pipeline_coverage, people.quota_attainment, people.talent, people.talent_criteria, people.career_path, people.career_criteria, scorecard.behaviours, scorecard.world_class_metrics'),
    'coaching_sessions': ('cast(occurred_at as date)', 'opportunity_id', 'people.manager_coaching, people.talent, people.talent_criteria, people.career_path, people.career_criteria, scorecard.behaviours, people.coaching_plan'),
    'support_requests': ('cast(requested_at as date)', 'opportunity_id', 'funnel.deal_health, funnel.deal_teams, funnel.teaming_effect, funnel.specialist_suggestions, people.specialist_engagement, people.sales_ops_service, scorecard.behaviours'),
    'account_plans': ('approved_on', none, 'key_accounts.key_account_health, key_accounts.key_account_findings, key_accounts.plan_execution, scorecard.behaviours'),
    'account_plan_objectives': ('due_on', none, 'key_accounts.key_account_health, key_accounts.key_account_findings, key_accounts.plan_execution'),
    'customers': ('cast(null as date)', none, 'reconciliation.booking_to_billing, retention.arr_movements, retention.arr_bridges, retention.revenue_retention, retention.cohort_retention, retention.account_growth, retention.renewals, retention.sales_growth, key_accounts.key_account_reviews, key_accounts.key_account_list, key_accounts.key_account_health, key_accounts.key_account_findings, key_accounts.whitespace, scorecard.behaviours, scorecard.world_class_metrics'),
    'subscriptions': ('start_date', 'crm_opportunity_id', 'retention.arr_movements, retention.arr_bridges, retention.revenue_retention, retention.cohort_retention, retention.account_growth, retention.renewals, key_accounts.key_account_reviews, key_accounts.key_account_list, key_accounts.key_account_health, key_accounts.key_account_findings, key_accounts.whitespace, scorecard.world_class_metrics'),
    'invoices': ('invoice_date', 'crm_opportunity_id', 'reconciliation.booking_to_billing, reconciliation.booking_bridge, reconciliation.forecast_to_billing, retention.arr_movements, retention.arr_bridges, retention.revenue_retention, retention.cohort_retention, retention.account_growth, retention.renewals, retention.sales_growth, key_accounts.key_account_reviews, key_accounts.key_account_list, key_accounts.key_account_health, key_accounts.key_account_findings, pricing.price_realization, scorecard.behaviours, scorecard.world_class_metrics'),
    'invoice_lines': ('cast(null as date)', none, 'pricing.price_realization'),
    'credit_notes': ('credit_date', none, 'reconciliation.booking_to_billing, reconciliation.booking_bridge, reconciliation.forecast_to_billing, retention.arr_movements, retention.arr_bridges, retention.revenue_retention, retention.cohort_retention, retention.account_growth, retention.sales_growth, key_accounts.key_account_reviews, key_accounts.key_account_list, key_accounts.key_account_health, key_accounts.key_account_findings, pricing.price_realization, scorecard.world_class_metrics'),
    'fx_rates': ('rate_date', none, 'core.opportunities, pricing.price_realization, reconciliation.booking_to_billing, reconciliation.booking_bridge, reconciliation.forecast_to_billing, forecast_accuracy.period_forecasts, retention.arr_movements, retention.arr_bridges, retention.revenue_retention, retention.cohort_retention, retention.account_growth, retention.renewals, retention.sales_growth, key_accounts.key_account_reviews, key_accounts.key_account_list, key_accounts.key_account_health, key_accounts.key_account_findings, key_accounts.whitespace, key_accounts.plan_execution, people.talent, people.talent_criteria, people.career_path, people.career_criteria, scorecard.world_class_metrics'),
    'targets': ('period_start', none, 'funnel.pipeline_coverage, scorecard.world_class_metrics'),
} %}
with deals as (
    select opportunity_id from {{ ref('opportunities') }}
    where not is_deleted
),

counted as (
    {%- for entity, (day, deal, marts) in entities.items() %}
    select
        '{{ entity }}' as entity,
        cast({{ "'" ~ marts ~ "'" if marts else 'null' }} as string) as marts,
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

final as (
    select
        counted.entity,
        counted.marts,
        case when counted.row_count + counted.deleted_count = 0 then 'not delivered: what stands on it is not known' end as note,
        counted.row_count,
        counted.deleted_count,
        {%- for count in ('doubled', 'unreadable', 'late', 'same_second', 'contradicting') %}
        case when counted.entity = 'opportunity_changes' then settled.{{ count }}_count end as {{ count }}_count,
        {%- endfor %}
        cast(counted.deal_count as double) / nullif((select count(*) from deals), 0) as opportunity_share,
        counted.row_count + counted.deleted_count > 0 as is_delivered,
        counted.first_event_on,
        counted.last_event_on,
        {{ as_of_date() }} as as_of_date
    from counted
    cross join settled
)

select * from final
