"""What a request may hold: read, checked and bounded."""
