"""What is trained on: texts, code, pictures and captions."""
