{{ known_rows('invoice_lines') }}
