"""Files: written whole or not at all, locked, fetched, read line by line."""
