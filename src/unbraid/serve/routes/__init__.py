"""The functions behind the routes, what they share (encoding.py, index_search.py), and the search page."""
