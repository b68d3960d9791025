"""The tasks a vector can be made for, and the pairs of them that a search is."""

TASKS = ("query", "document", "symmetric", "code")
# Search mode -> (task of the query, task of the documents).
SEARCH_MODES = {
    "retrieval": ("query", "document"),
    "symmetric": ("symmetric", "symmetric"),
    "code": ("code", "code"),
}
