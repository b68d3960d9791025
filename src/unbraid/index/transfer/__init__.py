"""An index to and from other places: a Parquet file, another base space, task vectors."""
