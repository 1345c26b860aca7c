{{ known_rows('invoices') }}
