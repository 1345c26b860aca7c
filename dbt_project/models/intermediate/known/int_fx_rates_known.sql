{{ known_rows('fx_rates') }}
