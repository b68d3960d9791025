"""Reading data sets: BEIR folders, folders of Parquet, pair files, STS files, captioned pictures."""
