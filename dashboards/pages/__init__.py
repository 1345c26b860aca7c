"""One module a page: `show` draws it, and what it draws are plain queries and charts without Streamlit."""
