"""Where an index is kept: a folder (Qdrant Edge) or a Qdrant server, behind one protocol."""
