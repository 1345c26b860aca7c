{{ known_rows('opportunity_contacts') }}
