{{ known_versions('subscriptions') }}
