"""From a query to hits: fold the mapper, fetch candidates, score them exactly, merge adjacent chunks."""
