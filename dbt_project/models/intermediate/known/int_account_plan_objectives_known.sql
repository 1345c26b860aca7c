{{ known_rows('account_plan_objectives') }}
