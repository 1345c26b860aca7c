{{ known_rows('user_roles') }}
