{{ known_rows('users') }}
