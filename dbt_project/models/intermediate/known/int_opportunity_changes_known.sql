{{ known_rows('opportunity_changes') }}
