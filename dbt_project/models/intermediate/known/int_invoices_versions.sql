{{ known_versions('invoices') }}
