{{ known_rows('customers') }}
