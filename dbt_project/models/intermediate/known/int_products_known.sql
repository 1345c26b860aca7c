{{ known_rows('products') }}
