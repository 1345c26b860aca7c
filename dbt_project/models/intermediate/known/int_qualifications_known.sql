{{ known_rows('qualifications') }}
