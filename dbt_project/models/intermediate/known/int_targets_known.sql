{{ known_rows('targets') }}
