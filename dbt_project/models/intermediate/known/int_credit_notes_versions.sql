{{ known_versions('credit_notes') }}
