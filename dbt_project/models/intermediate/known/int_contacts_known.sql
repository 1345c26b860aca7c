{{ known_rows('contacts') }}
