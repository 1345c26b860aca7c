{{ known_rows('credit_notes') }}
