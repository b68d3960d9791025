"""Corpora that are too large for one process: Parquet in, base vectors as Parquet out, on the cores of a Ray cluster."""

from unbraid.cluster.encoder import EncoderSpec
from unbraid.cluster.ray_job import ROWS, Report, encode_corpus

__all__ = ["ROWS", "EncoderSpec", "Report", "encode_corpus"]
