"""Pre-trained text encoders as teachers, alone or joined: multilingual-e5-small, all-mpnet-base-v2, all-MiniLM-L6-v2."""
