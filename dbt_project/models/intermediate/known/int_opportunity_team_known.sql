{{ config(materialized=growing(), pre_hook="{{ take_out(has_new_version('opportunity_team')) }}") }}
{{ known_rows('opportunity_team') }}
