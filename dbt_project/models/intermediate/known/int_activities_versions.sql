with versions as (
    {{- known_versions('activities') }}
)

select * from versions
where _operation = 'upsert'
