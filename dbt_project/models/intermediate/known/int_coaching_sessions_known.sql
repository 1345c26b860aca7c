{{ known_rows('coaching_sessions') }}
