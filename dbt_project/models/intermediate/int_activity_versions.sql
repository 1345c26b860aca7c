with final as (
    {{- known_versions('activities') }}
)

select * from final
where _operation = 'upsert'
