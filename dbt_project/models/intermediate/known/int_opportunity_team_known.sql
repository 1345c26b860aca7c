{{ known_rows('opportunity_team') }}
