{{ known_rows('quotas') }}
