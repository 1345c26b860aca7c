{{ config(materialized=growing(), pre_hook="{{ take_out(has_new_version('qualifications')) }}") }}
{{ known_rows('qualifications') }}
