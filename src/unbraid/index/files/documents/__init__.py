"""Office files, books and mail: the lines of each, read in a process of its own (process.py)."""
