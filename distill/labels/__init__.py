"""The store of teacher vectors: written once, resumable, read by every student."""
