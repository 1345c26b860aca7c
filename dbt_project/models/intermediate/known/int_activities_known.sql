{{ known_rows('activities') }}
