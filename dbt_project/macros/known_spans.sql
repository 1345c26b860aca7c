{# Versions of an entity's rows that were the newest of their key from `known_on` until before `next_known_on`, the days on which
   they became known and were replaced. Deleted rows are not among them. #}
{% macro known_spans(entity) -%}
    select spans.* from (
        select
            versions.*,
            cast(_known_at as date) as known_on,
            coalesce(cast(lead(_known_at) over (
                partition by {{ keys_of(entity) | join(', ') }} order by _known_at, case when _operation = 'delete' then 1 else 0 end, _batch_id
            ) as date), cast('9999-12-31' as date)) as next_known_on
        from ({{ known_versions(entity) }}) as versions
    ) as spans
    where _operation = 'upsert' and known_on < next_known_on
{%- endmacro %}
