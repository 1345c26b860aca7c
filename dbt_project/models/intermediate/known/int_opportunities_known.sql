{{ known_rows('opportunities') }}
