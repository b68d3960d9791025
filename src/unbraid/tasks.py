"""The tasks of vectors, and the search modes: a task for the query and a task for the documents."""

TASKS = ("query", "document", "symmetric", "code")
# Search mode -> (task of the query, task of the documents).
SEARCH_MODES = {
    "retrieval": ("query", "document"),
    "symmetric": ("symmetric", "symmetric"),
    "code": ("code", "code"),
}
# Further tasks of a folder for sentence-transformers: no mapper, and texts that search code.
BASE, CODE_QUERY = "base", "code-query"
