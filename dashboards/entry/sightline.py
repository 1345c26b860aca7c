"""What Streamlit runs. It stands alone in its folder: Streamlit would take a `pages/` beside it for its own."""

from dashboards.app import main

main()
