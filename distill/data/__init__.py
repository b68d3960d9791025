"""Training data: texts, code, pictures and captions."""
