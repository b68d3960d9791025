"""What encodes behind the server, and the queue before it."""
