"""From a folder to chunks: which files are indexed, how each format is read, how text is cut."""
