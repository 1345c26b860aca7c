{{ known_rows('discount_approvals') }}
