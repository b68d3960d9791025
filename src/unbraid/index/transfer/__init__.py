"""An index to and from other places: Parquet, another base space, task vectors."""
