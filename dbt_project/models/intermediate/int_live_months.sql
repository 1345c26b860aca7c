{{ config(materialized='table') }}
{#- What a norm takes of a review. -#}
{%- set facts = [
    'opportunity_id', 'segment', 'opportunity_type', 'stage', 'age_days', 'days_in_stage', 'quiet_days', 'unanswered_days', 'buyer_count',
    'economic_buyer_count', 'push_count', 'next_step_days', 'verified_count', 'claimed_count', 'hours_spent', 'hours_in_all',
    'has_effort', 'has_specialist', 'cycle_days', 'closed_on', 'snapshot_date',
] %}
-- Months whose norms are told anew: every one, or those that have begun since the last build and those that rest on a changed deal.
-- depends_on: {{ ref('int_last_deal_weeks') }}
-- depends_on: {{ ref('int_live_deals') }}
-- depends_on: {{ ref('int_deal_weeks') }}
with calendar as (
    select distinct month_start from {{ ref('calendar') }}
    where month_start <= {{ as_of_date() }}
),

{% if builds_on_the_last() -%}
weeks as (
    select * from {{ ref('int_deal_weeks') }}
),

live as (
    select opportunity_id from {{ ref('int_live_deals') }}
),

before as (
    select {{ facts | join(', ') }} from {{ ref('int_last_deal_weeks') }}
    where is_won
),

now as (
    select {{ facts | join(', ') }} from weeks
    where is_won and opportunity_id in (select live.opportunity_id from live)
),

changed as (
    select closed_on from (select * from before except select * from now) as taken_back
    union
    select closed_on from (select * from now except select * from before) as added
),

-- Whether silence means something: effort that is recorded on deals as they were says so before and now.
recorded as (
    select count(*) as n from weeks
    where has_effort and opportunity_id not in (select live.opportunity_id from live)
),

final as (
    select calendar.month_start from calendar
    cross join recorded
    where
        calendar.month_start > {{ last_as_of_date() }}
        or recorded.n = 0
        or exists (
            select 1 from changed
            where
                changed.closed_on < calendar.month_start
                and changed.closed_on >= {{ add_months('calendar.month_start', -24) }}
        )
)
{%- else -%}
final as (
    select month_start from calendar
)
{%- endif %}

select * from final
