{{ known_rows('subscriptions') }}
