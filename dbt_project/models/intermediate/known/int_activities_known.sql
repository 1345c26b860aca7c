{{ config(materialized=growing(), pre_hook="{{ take_out(has_new_version('activities')) }}") }}
{{ known_rows('activities') }}
