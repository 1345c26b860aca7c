{{ config(materialized=growing(), pre_hook="{{ take_out(has_new_version('opportunity_lines')) }}") }}
{{ known_rows('opportunity_lines') }}
