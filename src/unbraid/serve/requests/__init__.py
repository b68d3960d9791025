"""Read the parts of a request, check them, and hold them to the limits."""
