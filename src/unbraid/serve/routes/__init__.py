"""One file for each group of routes, and the search page."""
