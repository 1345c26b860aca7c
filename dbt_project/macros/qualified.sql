{# Sources of the run that deliver an entity, in their order. A run says which entities of the contract the sources that speak it have
   really delivered (`delivered`); a source with objects of its own delivers what dbt_project.yml says. #}
{% macro deliverers_of(entity) -%}
    {%- set deliverers = [] -%}
    {%- set delivered = told('delivered') or {} -%}
    {%- for source_name in var('sources') if entity in delivered.get(source_name, var('source_entities')[source_name]) -%}
        {%- do deliverers.append(source_name) -%}
    {%- endfor -%}
    {{ return(deliverers) }}
{%- endmacro %}

{# An entity's own id, told so that it means one row among all sources of the run: docs/several-sources.md. #}
{% macro qualified(id, entity, source_name) -%}
    {{ return("'" ~ source_name ~ ":' || " ~ id if deliverers_of(entity) | length > 1 else id) }}
{%- endmacro %}

{# The same of a reference to an entity of these deliverers: it may say itself whose it is, else it is of the row's own source, or of the
   first that has any. #}
{% macro qualified_reference(id, deliverers, source_name) -%}
    {%- if deliverers | length < 2 -%}
        {{ return(id) }}
    {%- endif -%}
    {%- set named = [] -%}
    {%- for name in deliverers -%}
        {%- do named.append('substr(' ~ id ~ ', 1, ' ~ (name | length + 1) ~ ") = '" ~ name ~ ":'") -%}
    {%- endfor -%}
    {%- set whose = source_name if source_name in deliverers else deliverers[0] -%}
    {{ return('case when ' ~ named | join(' or ') ~ ' then ' ~ id ~ " else '" ~ whose ~ ":' || " ~ id ~ ' end') }}
{%- endmacro %}

{# A column of a staged entity: the entity's own id, a reference to another one, or neither. #}
{% macro qualified_column(relation, column, entity, source_name) -%}
    {%- set meta = column.config.meta -%}
    {%- set value = relation ~ '.' ~ column.name -%}
    {%- if column.name == own_id_of(entity) -%}
        {{ return(qualified(value, entity, source_name)) }}
    {%- elif not meta.references -%}
        {{ return(value) }}
    {%- endif -%}
    {%- set id = qualified_reference(value, deliverers_of(meta.references), source_name) -%}
    {%- if meta.when and id != value -%}
        {{ return('case when ' ~ relation ~ '.' ~ meta.when ~ ' then ' ~ id ~ ' else ' ~ value ~ ' end') }}
    {%- endif -%}
    {{ return(id) }}
{%- endmacro %}

{# The column that is an entity's own id: of a key of one column that refers to nothing else. Rows without one can have the same key in two
   sources. #}
{% macro own_id_of(entity) -%}
    {%- set keys = keys_of(entity) -%}
    {{ return(keys[0] if keys | length == 1 and not contract_of(entity).columns[keys[0]].config.meta.references) }}
{%- endmacro %}
