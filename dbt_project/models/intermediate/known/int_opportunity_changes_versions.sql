with versions as (
    {{- known_versions('opportunity_changes', with_backfill=true) }}
)

select * from versions
where _operation = 'upsert'
