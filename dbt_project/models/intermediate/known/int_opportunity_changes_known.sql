{{ config(materialized=growing(), pre_hook="{{ take_out(has_new_version('opportunity_changes')) }}") }}
{{ known_rows('opportunity_changes') }}
