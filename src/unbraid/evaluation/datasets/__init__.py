"""Reading data sets: BEIR folders, pair files, STS files, captioned pictures."""
