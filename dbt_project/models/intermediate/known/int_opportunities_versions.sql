{{ known_versions('opportunities') }}
