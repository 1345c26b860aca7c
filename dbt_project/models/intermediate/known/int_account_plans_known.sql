{{ known_rows('account_plans') }}
