{{ known_rows('forecast_submissions') }}
