"""Encode corpora that are too large for one process: Parquet in, vectors as Parquet out, on a Ray cluster."""

from unbraid.cluster.encoder import EncoderSpec
from unbraid.cluster.ray_job import ROWS, Report, encode_corpus

__all__ = ["ROWS", "EncoderSpec", "Report", "encode_corpus"]
