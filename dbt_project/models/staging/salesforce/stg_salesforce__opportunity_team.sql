-- Who is on the team is one table, who is credited with how much another: each moment at which one of the two changed gives a version.
-- Splits that must add up to 100 percent are credit, the others overlay.
with split_types as (
    {{ landed_as_known('salesforce', 'OpportunitySplitType', keeps_deleted=true) }}
),

-- Of several kinds of split that must add up, the first is revenue.
placed_types as (
    select
        Id as split_type_id,
        {{ is_true('IsTotalValidated') }} as is_credit,
        row_number() over (
            partition by {{ is_true('IsTotalValidated') }} order by case when DeveloperName = 'Revenue' then 0 else 1 end, Id
        ) as place
    from split_types
),

members as (
    select
        landed.*,
        {{ kept('OpportunityId') }} as opportunity_id,
        {{ kept('UserId') }} as user_id,
        case
            when _operation = 'upsert' then coalesce({{ repaired('salesforce', 'OpportunityTeamMember', 'TeamMemberRole') }}, 'member')
        end as told_role
    from {{ source('salesforce', 'OpportunityTeamMember') }} as landed
),

split_rows as (
    select
        landed.*,
        {{ kept('OpportunityId') }} as opportunity_id,
        {{ kept('SplitOwnerId') }} as user_id,
        {{ kept('SplitTypeId') }} as split_type_id
    from {{ source('salesforce', 'OpportunitySplit') }} as landed
),

splits as (
    select
        split_rows.*,
        placed_types.is_credit,
        case
            when split_rows._operation = 'upsert' then cast(split_rows.SplitPercentage as decimal(18, 4)) else 0
        end as percentage
    from split_rows
    inner join placed_types on split_rows.split_type_id = placed_types.split_type_id
    where not placed_types.is_credit or placed_types.place = 1
),

versions as (
    select
        opportunity_id,
        user_id,
        told_role,
        CreatedDate as joined_at,
        _operation as member_operation,
        cast(null as decimal(18, 4)) as credit_percentage,
        cast(null as decimal(18, 4)) as overlay_percentage,
        _batch_id,
        _extracted_at,
        _known_at
    from members
    union all
    select
        opportunity_id,
        user_id,
        cast(null as string) as told_role,
        cast(null as string) as joined_at,
        cast(null as string) as member_operation,
        case when is_credit then percentage end as credit_percentage,
        case when not is_credit then percentage end as overlay_percentage,
        _batch_id,
        _extracted_at,
        _known_at
    from splits
),

so_far as (
    select
        opportunity_id,
        user_id,
        {{ last_known('told_role') }} over up_to_now as team_role,
        {{ last_known('joined_at') }} over up_to_now as joined_at,
        {{ last_known('member_operation') }} over up_to_now as member_operation,
        {{ last_known('credit_percentage') }} over up_to_now as credit_percentage,
        {{ last_known('overlay_percentage') }} over up_to_now as overlay_percentage,
        _batch_id,
        _extracted_at,
        _known_at
    from versions
    window up_to_now as (partition by opportunity_id, user_id order by _known_at, _batch_id)
),

moments as (
    select * from so_far
    where member_operation is not null
    qualify row_number() over (partition by opportunity_id, user_id, _known_at, _batch_id order by _extracted_at) = 1
),

with_previous as (
    select
        moments.*,
        lag(team_role) over (partition by opportunity_id, user_id order by _known_at, _batch_id) as previous_role
    from moments
),

-- In another role, a member is gone from the one before.
final as (
    select
        opportunity_id,
        user_id,
        team_role,
        credit_percentage,
        overlay_percentage,
        joined_at,
        _batch_id,
        member_operation as _operation,
        _extracted_at,
        _known_at
    from with_previous
    union all
    select
        opportunity_id,
        user_id,
        previous_role as team_role,
        credit_percentage,
        overlay_percentage,
        joined_at,
        _batch_id,
        'delete' as _operation,
        _extracted_at,
        _known_at
    from with_previous
    where previous_role != team_role
)

select
    opportunity_id,
    user_id,
    team_role,
    cast(credit_percentage as double) / 100 as credit_share,
    cast(overlay_percentage as double) / 100 as overlay_share,
    cast(joined_at as timestamp) as joined_at,
    {{ load_columns('salesforce') }}
from final
