{{ known_rows('support_requests') }}
