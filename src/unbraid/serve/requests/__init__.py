"""What a request may hold, read and checked."""
