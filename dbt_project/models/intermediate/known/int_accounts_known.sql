{{ known_rows('accounts') }}
