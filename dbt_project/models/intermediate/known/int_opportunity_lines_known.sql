{{ known_rows('opportunity_lines') }}
